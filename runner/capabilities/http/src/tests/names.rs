use countersign_model::FaultKind;

use super::server::{Server, answer, redirect};
use super::*;

#[test]
fn a_name_is_resolved_once_and_what_was_checked_is_connected_to() {
    let server = Server::answering(|line| match line {
        "GET /1 HTTP/1.1" => redirect("/2"),
        "GET /2 HTTP/1.1" => redirect("/3"),
        _ => answer("200 OK", "", "here"),
    });
    let port = server.address.port();
    // A second question would be answered with another host, a third not at all.
    let resolver = Answers::new(&[&["127.0.0.1"], &["169.254.169.254"]]);
    let granted = format!("http://api.example:{port}/* address=127.0.0.1");
    let reply = fetch_by(&resolver, &granted, &format!("http://api.example:{port}/1")).expect("a reply");
    assert_eq!((reply.body.as_slice(), resolver.asked()), (b"here".as_slice(), 1));
    assert!(server.requests().iter().all(|request| request.contains(&format!("\r\nhost: api.example:{port}\r\n"))));

    // The next call asks again, and is denied before anything is sent.
    let fault = fetch_by(&resolver, &granted, &format!("http://api.example:{port}/1")).expect_err("rebound");
    assert_eq!((fault.kind, fault.reached, resolver.asked()), (FaultKind::Denied, false, 2));
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn a_name_does_not_reach_this_host_unless_the_grant_says_so() {
    let server = Server::answering(|_| answer("200 OK", "", "here"));
    let port = server.address.port();
    for answers in [&["127.0.0.1"][..], &["::ffff:127.0.0.1"], &["10.255.255.1", "127.0.0.1"]] {
        let url = format!("http://api.example:{port}/");
        let fault = fetch_by(&Answers::new(&[answers]), &url, &url).expect_err("loopback");
        assert_eq!((fault.kind, fault.reached), (FaultKind::Denied, false));
        assert!(fault.what.contains("address="), "{fault}");
    }
    assert_eq!(server.requests().len(), 0);
    let url = format!("http://localhost:{port}/");
    assert!(fetch_by(&Answers::new(&[&["127.0.0.1"]]), &url, &url).is_ok());
    // Of several permitted addresses, one that answers.
    let granted = format!("http://api.example:{port}/ address=127.0.0.0/8");
    let resolver = Answers::new(&[&["127.255.255.254", "127.0.0.1"]]);
    assert!(fetch_by(&resolver, &granted, &format!("http://api.example:{port}/")).is_ok());
}

#[test]
fn an_address_is_not_resolved() {
    let server = Server::answering(|_| answer("200 OK", "", "here"));
    let resolver = Answers::default();
    assert!(fetch_by(&resolver, &server.url("/"), &server.url("/")).is_ok());
    assert_eq!(resolver.asked(), 0);
}
