//! Through the registry, on real processes.

mod child;
mod reads;
mod signals;

use std::io::Read;
use std::time::{Duration, Instant};

use countersign_capability::{
    AnyCall, AnyScopes, AnySession, Blobs, Context, Opening, Permitting, Phase, Protected, Registry, Stream,
};
use countersign_model::{Call as Untyped, Change as AnyChange, Digest, Fault, Grant, Image, Selector};
use serde_json::Value;

use crate::ProcessCapability;
use crate::call::Call;

struct NoBlobs;

impl Blobs for NoBlobs {
    fn put(&mut self, _: &[u8]) -> Result<Digest, Fault> {
        unreachable!("a signal has no image")
    }

    fn get(&mut self, _: &Digest) -> Result<Vec<u8>, Fault> {
        unreachable!("a signal has no image")
    }

    fn put_from(&mut self, _: u64, _: &mut dyn Read) -> Result<Image, Fault> {
        unreachable!("a signal has no image")
    }

    fn open(&mut self, _: &Digest) -> Result<Box<dyn Stream>, Fault> {
        unreachable!("a signal has no image")
    }
}

fn registry() -> Registry {
    Registry::default().with::<ProcessCapability>()
}

/// A session and the time that its calls have.
struct Bench {
    session: Box<dyn AnySession>,
    patience: Duration,
}

impl Bench {
    fn new(phase: Phase) -> Self {
        Self::protecting(phase, &Protected::default())
    }

    fn protecting(phase: Phase, protected: &Protected) -> Self {
        let opening = Opening { settings: &Value::Null, phase, protected };
        let session = registry().get("process").and_then(|process| process.open(&opening)).expect("a session");
        Self { session, patience: Duration::from_secs(10) }
    }

    fn with<T>(&mut self, ask: impl FnOnce(&mut dyn AnySession, &mut Context<'_>) -> T) -> T {
        let mut blobs = NoBlobs;
        let mut cx = Context { blobs: &mut blobs, deadline: Instant::now() + self.patience };
        ask(self.session.as_mut(), &mut cx)
    }

    fn read(&mut self, call: &str) -> Result<Value, Fault> {
        let (call, scopes) = least(&parse(call));
        let by = Permitting { scopes: scopes.as_ref(), at: 0 };
        let reply = self.with(|session, cx| session.read(cx, by, call.as_ref()))?;
        Ok(call.describe_reply(&reply))
    }

    fn prepare(&mut self, call: &str) -> Result<AnyChange, Fault> {
        let (call, scopes) = least(&signal(call));
        let by = Permitting { scopes: scopes.as_ref(), at: 0 };
        self.with(|session, cx| session.prepare(cx, by, call.as_ref()))
    }

    fn apply(&mut self, change: &AnyChange) -> Result<Vec<u8>, Fault> {
        self.with(|session, cx| session.apply(cx, change))
    }

    fn probe(&mut self, change: &AnyChange) -> countersign_model::State {
        self.with(|session, cx| session.probe(cx, change)).expect("a state")
    }
}

/// The call, decoded, and the least grant that covers it.
fn least(call: &Untyped) -> (Box<dyn AnyCall>, Box<dyn AnyScopes>) {
    let call = registry().get("process").and_then(|process| process.decode(call)).expect("decoded");
    let grant = call.least_grant().expect("a grant");
    (call, scopes(&grant))
}

fn scopes(grant: &Grant) -> Box<dyn AnyScopes> {
    registry().get("process").and_then(|process| process.scopes(std::slice::from_ref(grant))).expect("scopes")
}

/// A read in text.
fn parse(text: &str) -> Untyped {
    let (_, function, selector) = Selector::parse_named(text).expect(text);
    registry().get("process").and_then(|process| process.parse_call(&function, &selector)).expect(text)
}

/// `exe=… pid-file=… signal=…` as the call that a guest makes.
fn signal(text: &str) -> Untyped {
    let (_, _, mut selector) = Selector::parse_named(&format!("process.signal {text}")).expect(text);
    let signal = selector.named.remove("signal").expect("a signal").parse().expect("a signal");
    let process = crate::Named::parse(&selector).expect(text);
    let arguments = postcard::to_stdvec(&Call::Signal { process, signal }).expect("a call");
    Untyped { capability: "process".to_owned(), function: "signal".to_owned(), arguments }
}
