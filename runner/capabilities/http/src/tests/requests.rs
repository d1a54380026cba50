use countersign_model::FaultKind;

use super::server::{Server, answer, redirect};
use super::*;

#[test]
fn a_request_carries_nothing_that_was_not_asked_for() {
    let server = Server::answering(|_| {
        answer(
            "200 OK",
            "Content-Type: text/plain\r\nSet-Cookie: a=b\r\nX-Two: 1\r\nx-two: 2\r\nset-cookie: c=d\r\n",
            "hello",
        )
    });
    let reply = fetch(&server.url("/**"), &server.url("/a/%7eb")).expect("a reply");
    assert_eq!((reply.status, reply.body.as_slice()), (200, b"hello".as_slice()));
    assert_eq!(
        reply.headers,
        [
            header("content-length", "5"),
            header("content-type", "text/plain"),
            header("x-two", "1"),
            header("x-two", "2")
        ]
    );
    let request = server.requests().remove(0);
    let mut lines: Vec<_> = request.trim_end().lines().collect();
    lines[1..].sort_unstable();
    assert_eq!(lines[0], "GET /a/~b HTTP/1.1");
    assert_eq!(
        lines[1..],
        ["accept-encoding: identity", "accept: */*", &format!("host: {}", server.address), "user-agent: countersign"]
    );
}

#[test]
fn a_guests_headers_are_sent_and_the_hosts_are_not_replaced() {
    let server = Server::answering(|_| answer("200 OK", "", ""));
    let mut call =
        Request { url: server.url("/"), headers: vec![header("Accept", "text/x"), header("X-Scope-OrgID", "a b")] };
    perform(&Answers::default(), &server.url("/"), &Call::Get(call.clone()), soon()).expect("a reply");
    let request = server.requests().remove(0);
    assert!(request.contains("\r\naccept: text/x\r\n") && request.contains("\r\nx-scope-orgid: a b\r\n"), "{request}");
    assert!(!request.contains("*/*"));

    for bad in [header("host", "evil"), header("accept", "a\r\nhost: evil"), header("x\r\nhost", "evil")] {
        call.headers = vec![bad];
        let fault = perform(&Answers::default(), &server.url("/"), &Call::Get(call.clone()), soon()).expect_err("bad");
        assert_eq!((fault.kind, fault.reached), (FaultKind::Invalid, false));
    }
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn head_has_no_body_and_statuses_are_answers() {
    let server = Server::answering(|line| match line {
        "HEAD / HTTP/1.1" => "HTTP/1.1 200 OK\r\ncontent-length: 9999999999\r\n\r\n".to_owned(),
        _ => answer("503 Service Unavailable", "retry-after: 1\r\n", "busy"),
    });
    let head = Call::Head(Request { url: server.url("/"), headers: Vec::new() });
    let reply = perform(&Answers::default(), &server.url("/"), &head, soon()).expect("a reply");
    assert_eq!((reply.status, reply.body.len()), (200, 0));
    let reply = fetch(&server.url("/x"), &server.url("/x")).expect("a reply");
    assert_eq!((reply.status, reply.body.as_slice()), (503, b"busy".as_slice()));
}

#[test]
fn what_the_scope_does_not_take_in_is_not_sent() {
    let server = Server::answering(|_| answer("200 OK", "", ""));
    for (granted, url) in [("/a", "/b"), ("/a", "/a?x"), ("/a/*", "/a/b/c")] {
        let fault = fetch(&server.url(granted), &server.url(url)).expect_err(url);
        assert_eq!((fault.kind, fault.reached), (FaultKind::Denied, false));
    }
    assert_eq!(server.requests().len(), 0);
}

#[test]
fn redirects_within_the_scope_are_followed() {
    let server = Server::answering(|line| match line {
        "GET /a/1 HTTP/1.1" => redirect("2?x=y#part"),
        "GET /a/2?x=y HTTP/1.1" => redirect("/a/b/../3"),
        "GET /a/3 HTTP/1.1" => answer("308 Permanent Redirect", "location: ?x=z\r\n", ""),
        "GET /a/3?x=z HTTP/1.1" => answer("200 OK", "", "there"),
        _ => answer("404 Not Found", "", ""),
    });
    let reply = fetch(&server.url("/a/*?*"), &server.url("/a/1")).expect("a reply");
    assert_eq!(reply.body, b"there");
    assert_eq!(
        server.lines(),
        ["GET /a/1 HTTP/1.1", "GET /a/2?x=y HTTP/1.1", "GET /a/3 HTTP/1.1", "GET /a/3?x=z HTTP/1.1"]
    );
}

#[test]
fn redirects_out_of_the_scope_are_denied_by_name() {
    let other = Server::answering(|_| answer("200 OK", "", "secret"));
    let elsewhere = other.url("/ok");
    let port = other.address.port();
    for location in [
        "/secret",
        "/ok?token=1",
        "/ok/../secret",
        "/%6fk/x",
        elsewhere.as_str(),
        "http://169.254.169.254/latest/meta-data/",
        "http://evil.example/ok",
        "https://127.0.0.1/ok",
        &format!("//127.0.0.1:{port}/ok"),
        "http://u:p@127.0.0.1/ok",
        "file:///etc/shadow",
        "\\\\evil",
        "",
    ] {
        let target = location.to_owned();
        let server = Server::answering(move |line| {
            if line == "GET /ok HTTP/1.1" { redirect(&target) } else { answer("200 OK", "", "secret") }
        });
        let outcome = fetch(&server.url("/ok"), &server.url("/ok"));
        let fault = outcome.expect_err(location);
        if location.is_empty() {
            // That is the same URL again.
            assert_eq!((fault.kind, fault.reached), (FaultKind::Other, true), "{fault}");
            continue;
        }
        assert_eq!((fault.kind, fault.reached), (FaultKind::Denied, true), "{location}: {fault}");
        assert!(fault.what.contains(&format!("to `{location}`")), "{fault}");
        assert_eq!(server.requests().len(), 1);
    }
    assert_eq!(other.requests().len(), 0);
}

#[test]
fn a_redirect_cannot_draw_on_a_terminal_or_name_two_places() {
    let server = Server::with(|_, stream| {
        use std::io::Write;
        let _ = stream.write_all(b"HTTP/1.1 302 Found\r\nlocation: /\xe2\x80\xae\r\ncontent-length: 0\r\n\r\n");
    });
    let fault = fetch(&server.url("/"), &server.url("/")).expect_err("not ASCII");
    assert_eq!((fault.kind, fault.reached), (FaultKind::Denied, true));
    assert!(fault.what.is_ascii());
    let server = Server::answering(|_| answer("302 Found", "location: /\r\nlocation: /b\r\n", ""));
    let fault = fetch(&server.url("/**"), &server.url("/")).expect_err("two");
    assert!(fault.what.contains("several places"), "{fault}");
    // Without a place it is an answer like any other.
    let server = Server::answering(|_| answer("302 Found", "", "x"));
    assert_eq!(fetch(&server.url("/"), &server.url("/")).expect("a reply").status, 302);
}

#[test]
fn a_redirect_loop_ends() {
    let server = Server::answering(|_| redirect("/"));
    let fault = fetch(&server.url("/"), &server.url("/")).expect_err("a loop");
    assert_eq!((fault.kind, fault.reached), (FaultKind::Other, true));
    assert!(fault.what.contains("more than 5 times"), "{fault}");
    assert_eq!(server.requests().len(), 6);
}

#[test]
fn proxies_of_the_environment_are_ignored() {
    const URL: &str = "COUNTERSIGN_TEST_URL";
    if let Ok(url) = std::env::var(URL) {
        // The child, with the variables set.
        assert!(std::env::var_os("http_proxy").is_some());
        assert_eq!(fetch(&url, &url).expect("a reply").body, b"direct");
        return;
    }
    let proxy = Server::answering(|_| answer("200 OK", "", "proxied"));
    let server = Server::answering(|_| answer("200 OK", "", "direct"));
    let mut child = std::process::Command::new(std::env::current_exe().expect("this test"));
    child.args(["--exact", "tests::requests::proxies_of_the_environment_are_ignored"]).env(URL, server.url("/"));
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        child.env(name, proxy.url(""));
    }
    let output = child.env_remove("NO_PROXY").env_remove("no_proxy").output().expect("a child");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!((server.requests().len(), proxy.requests().len()), (1, 0));
}
