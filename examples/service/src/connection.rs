//! One request per connection: the least of HTTP/1.1 that a health check needs.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::service::Service;

/// How long a client may take to send its request, and to take the answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest request head, in bytes.
const MAX_HEAD: usize = 8 * 1024;

/// Serves for as long as the process lives.
pub fn accept(listener: &TcpListener, service: &Arc<Service>) {
    for stream in listener.incoming() {
        let mut stream = match stream {
            Ok(stream) => stream,
            Err(error) => {
                eprintln!("orders: a connection was not accepted: {error}");
                // Out of descriptors, most likely: without a pause this would spin.
                std::thread::sleep(Duration::from_millis(20));
                continue;
            }
        };
        if !service.connect() {
            let _ = stream.set_write_timeout(Some(PATIENCE));
            let _ = answer(&mut stream, 503, "text/plain", "too many connections\n", true);
            continue;
        }
        let shared = Arc::clone(service);
        let thread = std::thread::Builder::new().spawn(move || {
            if let Err(error) = serve(stream, &shared) {
                eprintln!("orders: a connection failed: {error}");
            }
            shared.disconnect();
        });
        if thread.is_err() {
            service.disconnect();
        }
    }
}

fn serve(mut stream: TcpStream, service: &Service) -> io::Result<()> {
    stream.set_write_timeout(Some(PATIENCE))?;
    let Some(head) = head(&mut stream)? else {
        return answer(&mut stream, 400, "text/plain", "not a request\n", true);
    };
    let mut words = head.lines().next().unwrap_or_default().split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let with_body = method != "HEAD";
    if !matches!(method, "GET" | "HEAD") {
        return answer(&mut stream, 405, "text/plain", "only GET and HEAD\n", with_body);
    }
    let (status, kind, body) = match target.split('?').next().unwrap_or_default() {
        "/orders" => match service.order() {
            Ok(number) => {
                service.done();
                (200, "application/json", format!("{{\"order\":{number}}}\n"))
            }
            Err(why) => (503, "text/plain", format!("{why}\n")),
        },
        "/healthz" => {
            let health = service.health();
            let status = if health.up { 200 } else { 503 };
            let body = format!(
                "{{\"reason\":{},\"generation\":{},\"pool-size\":{},\"reload-error\":{}}}\n",
                json(health.reason.as_deref()),
                health.generation,
                health.pool_size.map_or("null".to_owned(), |size| size.to_string()),
                json(health.reload_error.as_deref()),
            );
            (status, "application/json", body)
        }
        _ => (404, "text/plain", "there are /orders and /healthz\n".to_owned()),
    };
    answer(&mut stream, status, kind, &body, with_body)
}

/// The request line and headers; `None` where they do not end in time or are none.
fn head(stream: &mut TcpStream) -> io::Result<Option<String>> {
    let deadline = Instant::now() + PATIENCE;
    let mut head = Vec::new();
    let mut chunk = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let left = deadline.saturating_duration_since(Instant::now());
        if head.len() > MAX_HEAD || left.is_zero() {
            return Ok(None);
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut chunk) {
            Ok(0) => return Ok(None),
            Ok(count) => head.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(String::from_utf8(head).ok())
}

fn answer(stream: &mut TcpStream, status: u16, kind: &str, body: &str, with_body: bool) -> io::Result<()> {
    let reason = match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        _ => "Service Unavailable",
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} {reason}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(format!("{head}{}", if with_body { body } else { "" }).as_bytes())
}

/// A JSON string, or `null`.
fn json(text: Option<&str>) -> String {
    let Some(text) = text else { return "null".to_owned() };
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
