//! Through the registry, as the runner uses it.

use std::io::Read;

use countersign_capability::{Blobs, Context, Opening, Permitting, Phase, Protected, Registry, Stream};
use countersign_model::{Access, Digest, FaultKind, Grant, Image};

use super::server::{Server, answer};
use super::*;
use crate::Http;

struct NoBlobs;

impl Blobs for NoBlobs {
    fn put(&mut self, _: &[u8]) -> Result<Digest, Fault> {
        unreachable!("a read keeps nothing")
    }

    fn get(&mut self, _: &Digest) -> Result<Vec<u8>, Fault> {
        unreachable!("a read keeps nothing")
    }

    fn put_from(&mut self, _: u64, _: &mut dyn Read) -> Result<Image, Fault> {
        unreachable!("a read keeps nothing")
    }

    fn open(&mut self, _: &Digest) -> Result<Box<dyn Stream>, Fault> {
        unreachable!("a read keeps nothing")
    }
}

fn grant(text: &str) -> Grant {
    text.parse().expect(text)
}

#[test]
fn a_call_in_text_becomes_a_described_reply() {
    let server = Server::answering(|_| answer("200 OK", "x-a: 1\r\nx-a: 2\r\n", "gr\u{fc}n"));
    let registry = Registry::default().with::<Http>();
    let http = registry.get("http").expect("http");
    let call = http.parse_call("get", &Selector::word(server.url("/%61"))).expect("a call");
    let call = http.decode(&call).expect("decoded");
    assert_eq!((call.access(), call.subject(), call.payload()), (Access::Read, server.url("/a").as_str(), 0));
    assert_eq!(call.text(), format!("http.get {}", server.url("/a")));
    let least = call.least_grant().expect("a grant");
    assert_eq!(least.to_string(), format!("http.read {}", server.url("/a")));

    let grants = [grant(&format!("http.read {}", server.url("/b"))), grant(&format!("http.read {}", server.url("/*")))];
    let scopes = http.scopes(&grants).expect("scopes");
    let by = |at| Permitting { scopes: scopes.as_ref(), at };
    assert_eq!((scopes.covering(call.as_ref(), 0), scopes.covering(call.as_ref(), 2)), (Some(1), None));
    assert_eq!(scopes.reaching(Access::Read, &server.url("/b")), [0, 1]);
    assert_eq!(http.contains(&grants[1], &least), Ok(true));
    assert_eq!(http.contains(&least, &grants[1]), Ok(false));
    assert_eq!(http.endangers(&grants[1], &Protected::default()), Ok(None));

    let opening =
        Opening { settings: &serde_json::Value::Null, phase: Phase::Observe, protected: &Protected::default() };
    let mut session = http.open(&opening).expect("a session");
    let mut blobs = NoBlobs;
    let mut cx = Context { blobs: &mut blobs, deadline: soon() };
    let reply = session.read(&mut cx, by(1), call.as_ref()).expect("a reply");
    assert_eq!(
        call.describe_reply(&reply),
        serde_json::json!({
            "status": 200, "headers": {"content-length": "5", "x-a": "1, 2"}, "body": "gr\u{fc}n", "bytes": 5
        })
    );
    assert_eq!(session.read(&mut cx, by(0), call.as_ref()).expect_err("not covered").kind, FaultKind::Denied);
    assert_eq!(session.prepare(&mut cx, by(1), call.as_ref()).expect_err("no write").kind, FaultKind::Denied);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let registry = Registry::default().with::<Http>();
    let http = registry.get("http").expect("http");
    assert!(http.normalize(&grant("http.write http://h/")).is_err());
    assert!(http.normalize(&grant("http.read http://h@i/")).is_err());
    assert_eq!(
        http.normalize(&grant("http.read HTTP://H:80 max-calls=1")).map(|grant| grant.to_string()),
        Ok("http.read http://h/ max-calls=1".to_owned())
    );
    for (function, selector) in [
        ("post", Selector::word("http://h/")),
        ("get", Selector::default()),
        ("get", Selector::word("h")),
        ("get", Selector::word("http://h/").with("headers", "accept")),
    ] {
        assert_eq!(http.parse_call(function, &selector).expect_err(function).kind, FaultKind::Invalid);
    }
    let settings = serde_json::json!({"proxy": "http://p/"});
    let opening = Opening { settings: &settings, phase: Phase::Live, protected: &Protected::default() };
    assert!(http.open(&opening).is_err_and(|fault| fault.kind == FaultKind::Invalid));
    assert_eq!(
        http.describe_reply(&http.parse_call("get", &Selector::word("http://h/")).expect("a call"), b"\xff"),
        serde_json::Value::Null
    );
}

#[test]
fn the_text_of_a_call_names_the_guests_headers() {
    use countersign_capability::TypedCall;
    let call = Call::Get(Request { url: "http://H/".to_owned(), headers: vec![header("Accept", "secret")] });
    assert_eq!(call.selector().to_string(), " http://h/ headers=accept");
}

/// What was read must be told from what is sensitive by its record, whatever was sent with it.
#[test]
fn a_recorded_call_reads_back() {
    let registry = Registry::default().with::<Http>();
    let http = registry.get("http").expect("http");
    for headers in [vec![], vec![header("Accept", "secret"), header("x y", "z")]] {
        let typed = Call::Head(Request { url: "http://H/a?b".to_owned(), headers });
        let arguments = postcard::to_stdvec(&typed).expect("encoded");
        let call = countersign_model::Call { capability: "http".to_owned(), function: "head".to_owned(), arguments };
        let text = http.decode(&call).expect("decoded").text();
        let (_, function, selector) = Selector::parse_named(&text).expect("words");
        let call = http.parse_recorded(&function, &selector).and_then(|call| http.decode(&call)).expect(&text);
        assert_eq!((call.function(), call.subject()), ("head", "http://h/a?b"));
    }
}

/// A step that has read what is sensitive could tell it by whatever its grant leaves to pick.
#[test]
fn only_a_plain_get_leaves_nothing_to_pick() {
    use countersign_capability::{Choice, TypedCall};
    let request = |headers: &[Header]| Request { url: "http://h/".to_owned(), headers: headers.to_vec() };
    let secret = [header("accept", "hunter2")];
    assert_eq!(Call::Get(request(&[])).choice(), Choice::Nothing);
    assert_eq!(Call::Get(request(&secret)).choice(), Choice::More("the headers"));
    assert_eq!(Call::Head(request(&secret)).choice(), Choice::More("the headers"));
    assert!(matches!(Call::Head(request(&[])).choice(), Choice::More(_)));
}
