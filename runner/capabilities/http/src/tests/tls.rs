//! `cert.pem` and `key.pem` are a certificate for `tls.example` that nobody trusts, made for these tests.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::JoinHandle;

use countersign_model::FaultKind;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use ureq::tls::Certificate;

use super::server::redirect;
use super::*;

const CERTIFICATE: &[u8] = include_bytes!("cert.pem");
const KEY: &[u8] = include_bytes!("key.pem");

/// Answers one connection; gives what it read, empty where the handshake failed.
fn serve(reply: String) -> (u16, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("address").port();
    let thread = std::thread::spawn(move || {
        let certificate = CertificateDer::from_pem_slice(CERTIFICATE).expect("certificate");
        let key = PrivateKeyDer::from_pem_slice(KEY).expect("key");
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("configuration");
        let (stream, _) = listener.accept().expect("a connection");
        let mut stream = StreamOwned::new(ServerConnection::new(Arc::new(config)).expect("server"), stream);
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).unwrap_or(0);
        let _ = stream.write_all(reply.as_bytes());
        stream.conn.send_close_notify();
        let _ = stream.flush();
        String::from_utf8_lossy(&buffer[..read]).into_owned()
    });
    (port, thread)
}

fn fetch_tls(host: &str, port: u16, trusted: bool, deadline: Instant) -> Result<Response, Fault> {
    let certificate = Certificate::from_pem(CERTIFICATE).expect("certificate");
    let roots = if trusted { RootCerts::new_with_certs(&[certificate]) } else { RootCerts::PlatformVerifier };
    let session = HttpSession::with(Box::new(Answers::new(&[&["127.0.0.1"]])), roots);
    let granted = scope(&format!("https://{host}:{port}/** address=127.0.0.1"));
    session.perform(deadline, &granted, &get(&format!("https://{host}:{port}/a")))
}

#[test]
fn a_trusted_server_is_talked_to() {
    let (port, thread) = serve(super::server::answer("200 OK", "", "sealed"));
    assert_eq!(fetch_tls("tls.example", port, true, soon()).expect("a reply").body, b"sealed");
    assert!(thread.join().expect("server").starts_with("GET /a HTTP/1.1\r\n"));
}

#[test]
fn a_server_that_cannot_prove_its_name_gets_no_request() {
    for (host, trusted) in [("tls.example", false), ("other.example", true)] {
        let (port, thread) = serve(super::server::answer("200 OK", "", "sealed"));
        let fault = fetch_tls(host, port, trusted, soon()).expect_err("no proof");
        assert_eq!((fault.kind, fault.reached), (FaultKind::Unreachable, false), "{fault}");
        assert_eq!(thread.join().expect("server"), "");
    }
}

#[test]
fn a_handshake_ends_at_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("address").port();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        // A record that never comes to its end, so slowly that each byte is in time.
        let _ = stream.write_all(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc");
        while stream.write_all(b"\0").is_ok() {
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    let begun = Instant::now();
    let fault = fetch_tls("tls.example", port, true, begun + Duration::from_millis(150)).expect_err("stuck");
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!((fault.kind, fault.reached), (FaultKind::TimedOut, false), "{fault}");
    thread.join().expect("server");
}

#[test]
fn no_redirect_leaves_https() {
    let (port, thread) = serve(redirect("http://tls.example/a"));
    let fault = fetch_tls("tls.example", port, true, soon()).expect_err("a downgrade");
    assert_eq!((fault.kind, fault.reached), (FaultKind::Denied, true));
    assert!(fault.what.contains("leaves `https`"), "{fault}");
    thread.join().expect("server");
}
