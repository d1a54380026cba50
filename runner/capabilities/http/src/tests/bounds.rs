use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use countersign_model::FaultKind;

use super::server::{Server, answer, redirect};
use super::*;
use crate::client::MAX_BODY;

fn fault_of(server: &Server) -> Fault {
    fetch(&server.url("/**"), &server.url("/")).expect_err("a fault")
}

/// Writes until the client has had enough.
fn pour(stream: &mut TcpStream, chunk: &[u8]) -> usize {
    let mut poured = 0;
    while stream.write_all(chunk).is_ok() {
        poured += chunk.len();
        assert!(poured < 64 * 1024 * 1024, "the client takes everything");
    }
    poured
}

#[test]
fn a_body_that_is_announced_too_large_is_not_read() {
    let server = Server::with(|_, stream| {
        let _ = write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", MAX_BODY + 1);
        let _ = stream.read(&mut [0]);
    });
    let fault = fault_of(&server);
    assert_eq!((fault.kind, fault.reached), (FaultKind::TooLarge, true), "{fault}");
}

#[test]
fn a_body_without_end_is_cut_off() {
    for head in ["transfer-encoding: chunked\r\n", "connection: close\r\n"] {
        let server = Server::with(move |_, stream| {
            let _ = write!(stream, "HTTP/1.1 200 OK\r\n{head}\r\n");
            let mut chunk = vec![b'x'; 0x10000];
            if head.starts_with("transfer") {
                chunk = [b"10000\r\n".as_slice(), &chunk, b"\r\n"].concat();
            }
            pour(stream, &chunk);
        });
        let fault = fault_of(&server);
        assert_eq!((fault.kind, fault.reached), (FaultKind::TooLarge, true), "{head}: {fault}");
    }
}

#[test]
fn the_largest_body_arrives_whole() {
    let server = Server::with(|_, stream| {
        let _ = write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {MAX_BODY}\r\n\r\n");
        let _ = stream.write_all(&vec![b'x'; MAX_BODY]);
    });
    assert_eq!(fetch(&server.url("/"), &server.url("/")).expect("a reply").body.len(), MAX_BODY);
}

#[test]
fn compressed_bodies_stay_as_they_are() {
    let server = Server::answering(|_| answer("200 OK", "content-encoding: gzip\r\n", "\u{1f}not gzip"));
    let reply = fetch(&server.url("/"), &server.url("/")).expect("a reply");
    assert_eq!(reply.body, "\u{1f}not gzip".as_bytes());
    assert!(reply.headers.contains(&header("content-encoding", "gzip")));
}

#[test]
fn headers_are_bounded() {
    let with = |count: usize, length: usize| {
        let headers: String = (0..count).map(|at| format!("x-{at}: {}\r\n", "v".repeat(length))).collect();
        let server = Server::answering(move |_| answer("200 OK", &headers, ""));
        fetch(&server.url("/"), &server.url("/")).map(|reply| reply.headers.len()).map_err(|fault| fault.kind)
    };
    assert_eq!(with(99, 10), Ok(100));
    assert_eq!(with(100, 10), Err(FaultKind::TooLarge));
    assert_eq!(with(60, 1000), Ok(61));
    assert_eq!(with(70, 1000), Err(FaultKind::TooLarge));
    let server = Server::with(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nx: ");
        pour(stream, &[b'v'; 1024]);
    });
    assert_eq!(fault_of(&server).kind, FaultKind::TooLarge);
}

/// What comes of a call that may take 150 ms, and it must not take much more.
fn in_a_moment(url: &str) -> Fault {
    let begun = Instant::now();
    let call = get(url);
    let (origin, _) = url.rsplit_once('/').expect("a path");
    let granted = format!("{origin}/**");
    let outcome = perform(&Answers::default(), &granted, &call, begun + Duration::from_millis(150));
    assert!(begun.elapsed() < Duration::from_secs(5), "it took {:?}", begun.elapsed());
    outcome.expect_err("no answer in time")
}

/// Writes a byte at a time, so that no single read is ever late.
fn drip(stream: &mut TcpStream, bytes: &[u8]) {
    for byte in bytes.iter().cycle().take(10_000) {
        if stream.write_all(&[*byte]).is_err() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_slow_server_is_left_at_the_deadline() {
    let silent = Server::with(|_, stream| {
        let _ = stream.read(&mut [0]);
    });
    let slow_head = Server::with(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nx: ");
        drip(stream, b"v");
    });
    let slow_body = Server::with(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10000\r\n\r\n");
        drip(stream, b"v");
    });
    let slow_redirects = Server::with(|_, stream| {
        std::thread::sleep(Duration::from_millis(60));
        let _ = stream.write_all(redirect("/").as_bytes());
    });
    let endless_continue = Server::with(|_, stream| drip(stream, b"HTTP/1.1 100 Continue\r\n\r\n"));
    for server in [silent, slow_head, slow_body, slow_redirects, endless_continue] {
        let fault = in_a_moment(&server.url("/"));
        assert_eq!((fault.kind, fault.reached), (FaultKind::TimedOut, true), "{fault}");
    }
}

#[test]
fn no_call_outlasts_ten_seconds_whatever_its_deadline() {
    // Proved on what is left of a deadline that has passed: nothing is connected to.
    let server = Server::answering(|_| answer("200 OK", "", ""));
    let fault =
        perform(&Answers::default(), &server.url("/"), &get(&server.url("/")), Instant::now()).expect_err("over");
    assert_eq!((fault.kind, fault.reached), (FaultKind::TimedOut, false));
    assert_eq!(server.requests().len(), 0);
    let hour = Instant::now() + Duration::from_secs(3600);
    assert!(crate::read::until(hour) <= Instant::now() + Duration::from_secs(10));
    let moment = Instant::now();
    assert_eq!(crate::read::until(moment), moment);
}

#[test]
fn what_was_sent_is_said() {
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let url = format!("http://{closed}/");
    let fault = fetch(&url, &url).expect_err("closed");
    assert_eq!((fault.kind, fault.reached), (FaultKind::Unreachable, false), "{fault}");

    let broken = Server::with(|_, _| {});
    let cut = Server::with(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
    });
    for server in [broken, cut] {
        let fault = fault_of(&server);
        assert_eq!((fault.kind, fault.reached), (FaultKind::Unreachable, true), "{fault}");
    }
    // One that is gone when the redirect is followed: the first request did reach it.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/", listener.local_addr().expect("address"));
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        drop(listener);
        while !matches!(stream.read(&mut [0; 4096]), Ok(read) if read > 0) {}
        let _ = stream.write_all(redirect("/").as_bytes());
    });
    let fault = fetch(&url, &url).expect_err("gone");
    assert_eq!((fault.kind, fault.reached), (FaultKind::Unreachable, true), "{fault}");
    thread.join().expect("server");

    let other = Server::answering(|_| "SSH-2.0-OpenSSH_9.2\r\n\r\n".to_owned());
    let fault = fault_of(&other);
    assert_eq!((fault.kind, fault.reached), (FaultKind::Other, true), "{fault}");
}
