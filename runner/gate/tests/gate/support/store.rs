//! The capability: entries that are put, removed (exact), turned (compensating) and rung (irreversible).

use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;
use std::time::Instant;

use countersign_capability::{Capability, Choice, Context, Linker, Opening, Prepared, Protected, Session, TypedCall};
use countersign_model::{Ability, Access, Call, Fault, FaultKind, Image, Reversibility, Selector, State};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::target::{Entry, Target, Trouble};

/// A key that has no least scope.
pub(crate) const NAMELESS: &str = "?";

/// Tells the capabilities of this sort apart.
pub(crate) trait Kind: Send + Sync + 'static {
    const NAME: &'static str;
}

pub(crate) enum Shelf {}
pub(crate) enum Attic {}

impl Kind for Shelf {
    const NAME: &'static str = "shelf";
}

impl Kind for Attic {
    const NAME: &'static str = "attic";
}

pub(crate) struct Store<K>(PhantomData<K>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Op {
    Get,
    Put,
    Remove,
    Turn,
    Ring,
}

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct StoreCall {
    op: Op,
    key: String,
    #[serde(with = "serde_bytes")]
    contents: Vec<u8>,
    mode: u32,
}

fn call(capability: &str, op: Op, key: &str, contents: &str, mode: u32) -> Call {
    let typed = StoreCall { op, key: key.to_owned(), contents: contents.into(), mode };
    let arguments = postcard::to_stdvec(&typed).expect("encoded");
    Call { capability: capability.to_owned(), function: typed.function().to_owned(), arguments }
}

pub(crate) fn get(capability: &str, key: &str) -> Call {
    call(capability, Op::Get, key, "", 0)
}

/// A read with something that no grant names.
pub(crate) fn get_as(capability: &str, key: &str, mode: u32) -> Call {
    call(capability, Op::Get, key, "", mode)
}

pub(crate) fn put(capability: &str, key: &str, contents: &str) -> Call {
    put_mode(capability, key, contents, 0o644)
}

pub(crate) fn put_mode(capability: &str, key: &str, contents: &str, mode: u32) -> Call {
    call(capability, Op::Put, key, contents, mode)
}

pub(crate) fn remove(capability: &str, key: &str) -> Call {
    call(capability, Op::Remove, key, "", 0)
}

/// Sets the mode and nothing else: a change without images.
pub(crate) fn turn(capability: &str, key: &str, mode: u32) -> Call {
    call(capability, Op::Turn, key, "", mode)
}

/// Nothing undoes it; the mode tells one ring from another.
pub(crate) fn ring(capability: &str, key: &str, mode: u32) -> Call {
    call(capability, Op::Ring, key, "", mode)
}

impl TypedCall for StoreCall {
    fn function(&self) -> &'static str {
        match self.op {
            Op::Get => "get",
            Op::Put => "put",
            Op::Remove => "remove",
            Op::Turn => "turn",
            Op::Ring => "ring",
        }
    }

    fn access(&self) -> Access {
        if self.op == Op::Get { Access::Read } else { Access::Write }
    }

    fn selector(&self) -> Selector {
        Selector::word(&self.key)
    }

    fn subject(&self) -> Result<String, Fault> {
        Ok(self.key.clone())
    }

    fn payload(&self) -> u64 {
        self.contents.len() as u64
    }

    fn choice(&self) -> Choice {
        match self.op {
            Op::Get if self.mode != 0 => Choice::More("the mode"),
            Op::Get | Op::Ring => Choice::Nothing,
            Op::Remove => Choice::Content,
            Op::Put if self.mode == 0o644 => Choice::Content,
            Op::Put | Op::Turn => Choice::More("the mode"),
        }
    }
}

/// One key, or with a closing `*` every key that begins so.
pub(crate) struct Scope(Access, String);

impl Scope {
    fn takes_in(&self, key: &str) -> bool {
        self.1.strip_suffix('*').map_or(self.1 == key, |start| key.starts_with(start))
    }
}

/// What an entry was or will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    image: Image,
    mode: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct StoreChange {
    op: Op,
    key: String,
    before: Option<Kept>,
    after: Option<Kept>,
}

impl<K: Kind> Capability for Store<K> {
    const NAME: &'static str = K::NAME;
    const WIT_VERSION: &'static str = "0.1.0";
    const FORMAT: u32 = 1;

    type Scope = Scope;
    type Call = StoreCall;
    type Change = StoreChange;
    type Session = StoreSession;

    const ACCESSES: &'static [Access] = &[Access::Read, Access::Write];

    fn parse_scope(access: Access, selector: &Selector) -> Result<Scope, String> {
        Ok(Scope(access, selector.only_word("one key")?.to_owned()))
    }

    fn scope_selector(scope: &Scope) -> Selector {
        Selector::word(&scope.1)
    }

    fn parse_call(_: &str, _: &Selector) -> Result<StoreCall, String> {
        Err("not by hand".to_owned())
    }

    fn least_scope(call: &StoreCall) -> Result<Scope, Fault> {
        if call.key == NAMELESS {
            return Err(Fault::new(FaultKind::Invalid, "no scope is that of this key alone"));
        }
        Ok(Scope(call.access(), call.key.clone()))
    }

    fn covers(scope: &Scope, call: &StoreCall) -> bool {
        scope.0 == call.access() && scope.takes_in(&call.key)
    }

    fn reaches(scope: &Scope, subject: &str) -> bool {
        scope.takes_in(subject)
    }

    fn contains(wide: &Scope, narrow: &Scope) -> bool {
        wide.takes_in(&narrow.1)
    }

    fn endangers(_: &Scope, _: &Protected) -> Option<String> {
        None
    }

    fn describe_reply(_: &StoreCall, reply: &[u8]) -> serde_json::Value {
        String::from_utf8_lossy(reply).into()
    }

    fn link(_: &mut Linker, _: Access) -> wasmtime::Result<()> {
        Ok(())
    }

    fn open(opening: &Opening<'_>) -> Result<StoreSession, Fault> {
        let target = Target::find(opening.settings)
            .ok_or_else(|| Fault::new(FaultKind::Unreachable, "there is no such target"))?;
        Ok(StoreSession { target, overlay: BTreeMap::new(), rung: BTreeSet::new() })
    }
}

pub(crate) struct StoreSession {
    target: Target,
    overlay: BTreeMap<String, Vec<Option<Entry>>>,
    rung: BTreeSet<String>,
}

impl StoreSession {
    fn note(&self, what: &str, key: &str) {
        self.target.lock().asked.push(format!("{what} {key}"));
    }

    fn now(&self, key: &str) -> Option<Entry> {
        let pending = self.overlay.get(key).and_then(|layers| layers.last());
        pending.cloned().unwrap_or_else(|| self.target.lock().entries.get(key).cloned())
    }

    /// What the name stands for.
    fn resolve(&self, key: &str) -> Result<String, Fault> {
        let content = self.target.lock();
        let key = content.aliases.get(key).map_or(key, String::as_str);
        if content.forbidden.contains(key) {
            return Err(Fault::new(FaultKind::Denied, format!("`{key}` is never touched")));
        }
        Ok(key.to_owned())
    }

    fn state(&self, change: &StoreChange) -> State {
        if change.op == Op::Ring {
            return State::Unknowable;
        }
        let now = self.now(&change.key).map(|entry| kept(&entry));
        match now {
            now if now == change.before => State::Before,
            now if now == change.after => State::After,
            Some(kept) => State::Elsewhere(format!("it has the content {}", kept.image.digest)),
            None => State::Elsewhere("it is gone".to_owned()),
        }
    }
}

fn kept(entry: &Entry) -> Kept {
    Kept { image: Image::of(&entry.contents), mode: entry.mode }
}

fn entry(cx: &mut Context<'_>, kept: Kept) -> Result<Entry, Fault> {
    Ok(Entry { contents: cx.blobs.get(&kept.image.digest)?, mode: kept.mode })
}

impl<K: Kind> Session<Store<K>> for StoreSession {
    fn read(&mut self, cx: &mut Context<'_>, _: &Scope, call: StoreCall) -> Result<Vec<u8>, Fault> {
        self.note("read", &call.key);
        self.target.lock().times.push(cx.deadline.saturating_duration_since(Instant::now()));
        let key = self.resolve(&call.key)?;
        if self.rung.contains(&key) {
            return Err(Fault::new(FaultKind::Unknowable, "what it is like after a ring"));
        }
        let found = self.now(&key).ok_or_else(|| Fault::new(FaultKind::NotFound, "no such entry"))?;
        Ok(found.contents)
    }

    fn prepare(&mut self, cx: &mut Context<'_>, _: &Scope, call: StoreCall) -> Result<Prepared<StoreChange>, Fault> {
        self.note("prepare", &call.key);
        let key = self.resolve(&call.key)?;
        let before = self.now(&key);
        if before.is_none() && call.op != Op::Put {
            return Err(Fault::new(FaultKind::NotFound, "no such entry"));
        }
        let after = match call.op {
            Op::Remove => None,
            Op::Put => Some(Entry { contents: call.contents, mode: call.mode }),
            Op::Turn => before.clone().map(|entry| Entry { mode: call.mode, ..entry }),
            _ => before.clone(),
        };
        if !self.target.lock().forgetful {
            for entry in [&before, &after].into_iter().flatten() {
                cx.blobs.put(&entry.contents)?;
            }
        }
        let (before, after) = (before.as_ref().map(kept), after.as_ref().map(kept));
        // What tells the sorts of change apart is their reversibility alone.
        let (reversibility, images) = match call.op {
            Op::Put | Op::Remove => (Reversibility::Exact, true),
            Op::Turn => (Reversibility::Compensating, false),
            _ => (Reversibility::Irreversible, true),
        };
        let image = |kept: Option<Kept>| kept.filter(|_| images).map(|kept| kept.image);
        Ok(Prepared {
            subject: key.clone(),
            reversibility,
            summary: format!("{:?} `{key}`", call.op).to_lowercase(),
            before: image(before),
            after: image(after),
            kept: None,
            effect: json!({ "mode": call.mode }),
            change: StoreChange { op: call.op, key, before, after },
        })
    }

    fn rehearse(&mut self, cx: &mut Context<'_>, change: &StoreChange) -> Result<Vec<u8>, Fault> {
        self.note("rehearse", &change.key);
        if self.target.lock().trouble.take().is_some() {
            return Err(Fault::new(FaultKind::TooLarge, "no more is held pending"));
        }
        if change.op == Op::Ring {
            self.rung.insert(change.key.clone());
            return Ok(Vec::new());
        }
        let after = change.after.map(|kept| entry(cx, kept)).transpose()?;
        self.overlay.entry(change.key.clone()).or_default().push(after);
        Ok(Vec::new())
    }

    fn rehearse_undo(&mut self, _: &mut Context<'_>, change: &StoreChange) -> Result<(), Fault> {
        self.note("rehearse-undo", &change.key);
        if self.now(&change.key).map(|entry| kept(&entry)) != change.after {
            return Err(Fault::new(FaultKind::Changed, "it is not pending as this change left it"));
        }
        self.overlay.get_mut(&change.key).and_then(Vec::pop);
        Ok(())
    }

    fn apply(&mut self, cx: &mut Context<'_>, change: &StoreChange) -> Result<Vec<u8>, Fault> {
        self.note("apply", &change.key);
        let (watch, trouble) = {
            let mut content = self.target.lock();
            (content.watch.take(), content.trouble.take())
        };
        if let Some(mut watch) = watch {
            watch();
            self.target.lock().watch = Some(watch);
        }
        match trouble {
            Some(Trouble::Missed) => return Err(Fault::new(FaultKind::Unreachable, "nobody answered")),
            Some(Trouble::Unsure) => return Err(Fault::reached(FaultKind::TimedOut, "no answer came")),
            _ => {}
        }
        if change.op != Op::Ring {
            if self.now(&change.key).map(|entry| kept(&entry)) != change.before {
                return Err(Fault::new(FaultKind::Changed, "it is not as the change was prepared for"));
            }
            let after = change.after.map(|kept| entry(cx, kept)).transpose()?;
            let mut content = self.target.lock();
            match after {
                Some(after) => content.entries.insert(change.key.clone(), after),
                None => content.entries.remove(&change.key),
            };
        }
        match trouble {
            Some(Trouble::UnsureButDone) => Err(Fault::reached(FaultKind::TimedOut, "no answer came")),
            Some(Trouble::Panics) => panic!("a defect of the capability"),
            _ => Ok(Vec::new()),
        }
    }

    fn probe(&mut self, _: &mut Context<'_>, change: &StoreChange) -> Result<State, Fault> {
        self.note("probe", &change.key);
        Ok(self.state(change))
    }

    fn can_apply(&mut self, _: &mut Context<'_>, change: &StoreChange) -> Result<Ability, Fault> {
        self.note("ask", &change.key);
        Ok(match self.resolve(&change.key) {
            Ok(_) => Ability::Can,
            Err(fault) => Ability::Cannot(format!("{} ({:?})", fault.what, self.state(change))),
        })
    }

    fn undo(&mut self, cx: &mut Context<'_>, change: &StoreChange) -> Result<(), Fault> {
        self.note("undo", &change.key);
        if self.target.lock().stuck {
            return Err(Fault::reached(FaultKind::TimedOut, "no answer came"));
        }
        let slow = self.target.lock().slow;
        if let Some(left @ 1..) = slow {
            let mut content = self.target.lock();
            content.slow = Some(left - 1);
            content.entries.insert(change.key.clone(), Entry { contents: format!("{left} to go").into(), mode: 0 });
            return Err(Fault::reached(FaultKind::TimedOut, "the call's time is over"));
        }
        match self.state(change) {
            State::Before => Ok(()),
            State::Elsewhere(what) if slow.is_none() => Err(Fault::new(FaultKind::Changed, what)),
            State::After | State::Elsewhere(_) => {
                let before = change.before.map(|kept| entry(cx, kept)).transpose()?;
                let mut content = self.target.lock();
                match before {
                    Some(before) => content.entries.insert(change.key.clone(), before),
                    None => content.entries.remove(&change.key),
                };
                Ok(())
            }
            State::Unknowable => Err(Fault::new(FaultKind::Unknowable, "a ring is not undone")),
        }
    }

    fn revert(
        &mut self,
        cx: &mut Context<'_>,
        _: &Scope,
        change: &StoreChange,
    ) -> Result<Prepared<StoreChange>, Fault> {
        self.note("revert", &change.key);
        let key = self.resolve(&change.key)?;
        match self.state(change) {
            State::After => {}
            State::Unknowable => return Err(Fault::new(FaultKind::Unsupported, "a ring is not undone")),
            State::Before => return Err(Fault::new(FaultKind::Changed, "it is as before already")),
            State::Elsewhere(what) => return Err(Fault::new(FaultKind::Changed, what)),
        }
        for kept in [change.before, change.after].into_iter().flatten() {
            let bytes = cx.blobs.get(&kept.image.digest)?;
            cx.blobs.put(&bytes)?;
        }
        let (before, after) = (change.after, change.before);
        Ok(Prepared {
            subject: key.clone(),
            reversibility: Reversibility::Exact,
            summary: format!("revert {:?} `{key}`", change.op).to_lowercase(),
            before: before.map(|kept| kept.image),
            after: after.map(|kept| kept.image),
            kept: None,
            effect: json!({ "mode": after.map(|kept| kept.mode) }),
            change: StoreChange { op: Op::Put, key, before, after },
        })
    }

    fn settle(&mut self, _: &mut Context<'_>, change: &StoreChange) -> Result<(), Fault> {
        self.note("settle", &change.key);
        if self.target.lock().stuck {
            return Err(Fault::new(FaultKind::Other, format!("the bin beside `{}` is full", change.key)));
        }
        Ok(())
    }
}
