//! Requests to real servers on this host.

mod bounds;
mod names;
mod requests;
mod server;
mod tls;
mod whole;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use countersign_model::{Fault, Selector};
use ureq::tls::RootCerts;

use crate::call::{Call, Header, Request, Response};
use crate::read::HttpSession;
use crate::resolve::Resolve;
use crate::scope::Scope;

/// A resolver with an answer for each time that it is asked.
#[derive(Clone, Default)]
struct Answers {
    asked: Arc<AtomicUsize>,
    answers: Vec<Vec<&'static str>>,
}

impl Answers {
    fn new(answers: &[&[&'static str]]) -> Self {
        Self { asked: Arc::default(), answers: answers.iter().map(|answer| answer.to_vec()).collect() }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Resolve for Answers {
    fn resolve(&self, _: &str, _: Instant) -> Result<Vec<IpAddr>, Fault> {
        let at = self.asked.fetch_add(1, Ordering::SeqCst);
        Ok(self.answers[at].iter().map(|text| text.parse().expect("address")).collect())
    }
}

fn scope(text: &str) -> Scope {
    let (_, _, selector) = Selector::parse_named(&format!("http.read {text}")).expect(text);
    Scope::parse(&selector).expect(text)
}

fn get(url: &str) -> Call {
    Call::Get(Request { url: url.to_owned(), headers: Vec::new() })
}

fn header(name: &str, value: &str) -> Header {
    Header { name: name.to_owned(), value: value.to_owned() }
}

/// Long enough for a busy machine; no test waits for it.
fn soon() -> Instant {
    Instant::now() + Duration::from_secs(9)
}

/// A GET within a scope, with a resolver that must not be asked.
fn fetch(granted: &str, url: &str) -> Result<Response, Fault> {
    fetch_by(&Answers::default(), granted, url)
}

fn fetch_by(resolver: &Answers, granted: &str, url: &str) -> Result<Response, Fault> {
    perform(resolver, granted, &get(url), soon())
}

fn perform(resolver: &Answers, granted: &str, call: &Call, deadline: Instant) -> Result<Response, Fault> {
    let session = HttpSession::with(Box::new(resolver.clone()), RootCerts::PlatformVerifier);
    session.perform(deadline, &scope(granted), call)
}
