use std::collections::BTreeMap;
use std::marker::PhantomData;

use countersign_model::text::excerpt;
use countersign_model::{Access, Call, Change, Fault, FaultKind, Grant, Selector, State};

use crate::capability::{Capability, Opening, Protected, TypedCall};
use crate::guest::{Linker, decode, encode};
use crate::session::{Context, Prepared, Session};

/// Every capability that this binary knows, by name.
#[derive(Default)]
pub struct Registry(BTreeMap<&'static str, Box<dyn AnyCapability>>);

impl Registry {
    /// Adds a capability.
    #[must_use]
    pub fn with<C: Capability>(mut self) -> Self {
        self.0.insert(C::NAME, Box::new(Entry::<C>(PhantomData)));
        self
    }

    /// The capability of this name.
    ///
    /// # Errors
    /// `Unsupported` with the names that are known.
    pub fn get(&self, name: &str) -> Result<&dyn AnyCapability, Fault> {
        self.0.get(name).map(AsRef::as_ref).ok_or_else(|| {
            let known: Vec<_> = self.0.keys().copied().collect();
            let name = excerpt(name, 40);
            Fault::new(
                FaultKind::Unsupported,
                format!("there is no capability `{name}`: expected one of {}", known.join(", ")),
            )
        })
    }

    /// Every capability, by name.
    pub fn iter(&self) -> impl Iterator<Item = &dyn AnyCapability> {
        self.0.values().map(AsRef::as_ref)
    }
}

/// [`Capability`] without its types.
pub trait AnyCapability: Send + Sync {
    /// [`Capability::NAME`].
    fn name(&self) -> &'static str;
    /// [`Capability::WIT_VERSION`].
    fn wit_version(&self) -> &'static str;
    /// [`Capability::ACCESSES`].
    fn accesses(&self) -> &'static [Access];
    /// The grant with its scope normalized.
    ///
    /// # Errors
    /// `Invalid` when the scope makes no sense here.
    fn normalize(&self, grant: &Grant) -> Result<Grant, Fault>;
    /// The scopes of these grants, ready to be asked.
    ///
    /// # Errors
    /// `Invalid` when one makes no sense.
    fn scopes(&self, grants: &[Grant]) -> Result<Box<dyn AnyScopes>, Fault>;
    /// [`Capability::contains`], scopes only.
    ///
    /// # Errors
    /// `Invalid` when one makes no sense.
    fn contains(&self, wide: &Grant, narrow: &Grant) -> Result<bool, Fault>;
    /// [`Capability::endangers`].
    ///
    /// # Errors
    /// `Invalid` when the scope makes no sense.
    fn endangers(&self, grant: &Grant, protected: &Protected) -> Result<Option<String>, Fault>;
    /// [`Capability::parse_call`].
    ///
    /// # Errors
    /// `Invalid` with what was expected.
    fn parse_call(&self, function: &str, selector: &Selector) -> Result<Call, Fault>;
    /// [`Capability::least_scope`], as a grant without limits.
    ///
    /// # Errors
    /// `Invalid` when the call makes no sense.
    fn least_grant(&self, call: &Call) -> Result<Grant, Fault>;
    /// What the gate must know of a call before it permits it.
    ///
    /// # Errors
    /// `Invalid` when it does not decode or names no subject.
    fn outline(&self, call: &Call) -> Result<Outline, Fault>;
    /// [`Capability::describe_reply`].
    fn describe_reply(&self, call: &Call, reply: &[u8]) -> serde_json::Value;
    /// [`Capability::link`].
    ///
    /// # Errors
    /// As there.
    fn link(&self, linker: &mut Linker, access: Access) -> wasmtime::Result<()>;
    /// [`Capability::open`].
    ///
    /// # Errors
    /// As there.
    fn open(&self, opening: &Opening<'_>) -> Result<Box<dyn AnySession>, Fault>;
}

/// What a call is, without its types.
#[derive(Clone, Debug)]
pub struct Outline {
    /// Whether it looks or changes.
    pub access: Access,
    /// What it names.
    pub subject: String,
    /// The call in text.
    pub text: String,
    /// Bytes of content that it carries.
    pub payload: u64,
}

/// Some grants of one capability, parsed once.
pub trait AnyScopes: Send + Sync {
    /// The positions of the grants that permit the call, in the order given.
    ///
    /// # Errors
    /// `Invalid` when the call does not decode.
    fn covering(&self, call: &Call) -> Result<Vec<usize>, Fault>;
    /// The positions of the grants with this access that take in the subject.
    fn reaching(&self, access: Access, subject: &str) -> Vec<usize>;
}

/// [`Session`] without its types. `scope` is a grant that permits the call.
pub trait AnySession: Send {
    /// [`Session::read`]; tests [`Capability::covers`] again.
    ///
    /// # Errors
    /// As there.
    fn read(&mut self, cx: &mut Context<'_>, grant: &Grant, call: &Call) -> Result<Vec<u8>, Fault>;
    /// [`Session::prepare`]; tests [`Capability::covers`] and then [`Capability::reaches`] again.
    ///
    /// # Errors
    /// As there.
    fn prepare(&mut self, cx: &mut Context<'_>, grant: &Grant, call: &Call) -> Result<Change, Fault>;
    /// [`Session::rehearse`].
    ///
    /// # Errors
    /// As there.
    fn rehearse(&mut self, cx: &mut Context<'_>, change: &Change) -> Result<Vec<u8>, Fault>;
    /// [`Session::rehearse_undo`].
    ///
    /// # Errors
    /// As there.
    fn rehearse_undo(&mut self, cx: &mut Context<'_>, change: &Change) -> Result<(), Fault>;
    /// [`Session::apply`].
    ///
    /// # Errors
    /// As there.
    fn apply(&mut self, cx: &mut Context<'_>, change: &Change) -> Result<Vec<u8>, Fault>;
    /// [`Session::probe`].
    ///
    /// # Errors
    /// As there.
    fn probe(&mut self, cx: &mut Context<'_>, change: &Change) -> Result<State, Fault>;
    /// [`Session::undo`].
    ///
    /// # Errors
    /// As there.
    fn undo(&mut self, cx: &mut Context<'_>, change: &Change) -> Result<(), Fault>;
    /// [`Session::settle`].
    ///
    /// # Errors
    /// As there.
    fn settle(&mut self, cx: &mut Context<'_>, change: &Change) -> Result<(), Fault>;
    /// [`Session::revert`]; tests before and after that the grant takes in the change's subject.
    ///
    /// # Errors
    /// As there.
    fn revert(&mut self, cx: &mut Context<'_>, grant: &Grant, change: &Change) -> Result<Change, Fault>;
}

/// Erases a capability's types.
struct Entry<C>(PhantomData<fn() -> C>);

impl<C: Capability> Entry<C> {
    fn scope(grant: &Grant) -> Result<C::Scope, Fault> {
        C::parse_scope(grant.access, &grant.scope)
            .map_err(|why| Fault::new(FaultKind::Invalid, format!("`{grant}` is not a grant of {}: {why}", C::NAME)))
    }

    fn typed(call: &Call) -> Result<C::Call, Fault> {
        let typed: C::Call = decode(&call.arguments)?;
        if call.capability != C::NAME || call.function != typed.function() {
            return Err(Fault::new(FaultKind::Invalid, "a call names another function than it encodes"));
        }
        Ok(typed)
    }

    fn covered(grant: &Grant, call: &Call) -> Result<(C::Scope, C::Call), Fault> {
        let scope = Self::scope(grant)?;
        let typed = Self::typed(call)?;
        if grant.capability != C::NAME || grant.access != typed.access() || !C::covers(&scope, &typed) {
            return Err(Fault::new(FaultKind::Denied, format!("`{grant}` does not cover the call")));
        }
        Ok((scope, typed))
    }
}

impl<C: Capability> AnyCapability for Entry<C> {
    fn name(&self) -> &'static str {
        C::NAME
    }

    fn wit_version(&self) -> &'static str {
        C::WIT_VERSION
    }

    fn accesses(&self) -> &'static [Access] {
        C::ACCESSES
    }

    fn normalize(&self, grant: &Grant) -> Result<Grant, Fault> {
        if !C::ACCESSES.contains(&grant.access) {
            let what = format!("`{grant}`: the capability {} has no {} interface", C::NAME, grant.access);
            return Err(Fault::new(FaultKind::Invalid, what));
        }
        let scope = Self::scope(grant)?;
        Ok(Grant { scope: C::scope_selector(&scope), ..grant.clone() })
    }

    fn scopes(&self, grants: &[Grant]) -> Result<Box<dyn AnyScopes>, Fault> {
        let scopes =
            grants.iter().map(|grant| Ok((grant.access, Self::scope(grant)?))).collect::<Result<Vec<_>, Fault>>()?;
        Ok(Box::new(Scopes::<C>(scopes)))
    }

    fn contains(&self, wide: &Grant, narrow: &Grant) -> Result<bool, Fault> {
        Ok(wide.access == narrow.access && C::contains(&Self::scope(wide)?, &Self::scope(narrow)?))
    }

    fn endangers(&self, grant: &Grant, protected: &Protected) -> Result<Option<String>, Fault> {
        Ok(C::endangers(&Self::scope(grant)?, protected))
    }

    fn parse_call(&self, function: &str, selector: &Selector) -> Result<Call, Fault> {
        let typed = C::parse_call(function, selector).map_err(|why| {
            let what = format!("`{}.{function}{selector}` is not a call of {}: {why}", C::NAME, C::NAME);
            Fault::new(FaultKind::Invalid, what)
        })?;
        Ok(Call { capability: C::NAME.to_owned(), function: typed.function().to_owned(), arguments: encode(&typed)? })
    }

    fn least_grant(&self, call: &Call) -> Result<Grant, Fault> {
        let typed = Self::typed(call)?;
        let scope = C::scope_selector(&C::least_scope(&typed)?);
        Ok(Grant { capability: C::NAME.to_owned(), access: typed.access(), scope, limits: Default::default() })
    }

    fn outline(&self, call: &Call) -> Result<Outline, Fault> {
        let typed = Self::typed(call)?;
        Ok(Outline {
            access: typed.access(),
            subject: typed.subject()?,
            text: format!("{}.{}{}", C::NAME, typed.function(), typed.selector()),
            payload: typed.payload(),
        })
    }

    fn describe_reply(&self, call: &Call, reply: &[u8]) -> serde_json::Value {
        Self::typed(call).map_or(serde_json::Value::Null, |typed| C::describe_reply(&typed, reply))
    }

    fn link(&self, linker: &mut Linker, access: Access) -> wasmtime::Result<()> {
        C::link(linker, access)
    }

    fn open(&self, opening: &Opening<'_>) -> Result<Box<dyn AnySession>, Fault> {
        Ok(Box::new(Opened::<C>(C::open(opening)?)))
    }
}

struct Scopes<C: Capability>(Vec<(Access, C::Scope)>);

impl<C: Capability> AnyScopes for Scopes<C> {
    fn covering(&self, call: &Call) -> Result<Vec<usize>, Fault> {
        let typed = Entry::<C>::typed(call)?;
        let access = typed.access();
        Ok(self.positions(|granted, scope| granted == access && C::covers(scope, &typed)))
    }

    fn reaching(&self, access: Access, subject: &str) -> Vec<usize> {
        self.positions(|granted, scope| granted == access && C::reaches(scope, subject))
    }
}

impl<C: Capability> Scopes<C> {
    fn positions(&self, mut test: impl FnMut(Access, &C::Scope) -> bool) -> Vec<usize> {
        self.0.iter().enumerate().filter(|(_, (access, scope))| test(*access, scope)).map(|(at, _)| at).collect()
    }
}

struct Opened<C: Capability>(C::Session);

impl<C: Capability> Opened<C> {
    fn change(change: &Change) -> Result<C::Change, Fault> {
        if change.capability != C::NAME || change.format != C::FORMAT {
            let what = format!("a change of {} format {} is not known here", change.capability, change.format);
            return Err(Fault::new(FaultKind::Unsupported, what));
        }
        serde_json::from_value(change.body.clone())
            .map_err(|error| Fault::new(FaultKind::Other, format!("a recorded change was not decoded: {error}")))
    }

    /// What a session made ready, without its types. The call may have named one thing and the session have opened
    /// another.
    fn recorded(prepared: Prepared<C::Change>, grant: &Grant, scope: &C::Scope) -> Result<Change, Fault> {
        if !C::reaches(scope, &prepared.subject) {
            return Err(uncovered(grant, &prepared.subject));
        }
        let body = serde_json::to_value(&prepared.change)
            .map_err(|error| Fault::new(FaultKind::Other, format!("a change was not encoded: {error}")))?;
        Ok(Change {
            capability: C::NAME.to_owned(),
            format: C::FORMAT,
            subject: prepared.subject,
            reversibility: prepared.reversibility,
            summary: prepared.summary,
            before: prepared.before,
            after: prepared.after,
            kept: prepared.kept,
            effect: prepared.effect,
            body,
        })
    }
}

fn uncovered(grant: &Grant, subject: &str) -> Fault {
    Fault::new(FaultKind::Denied, format!("`{grant}` does not cover `{}`", excerpt(subject, 200)))
}

impl<C: Capability> AnySession for Opened<C> {
    fn read(&mut self, cx: &mut Context<'_>, grant: &Grant, call: &Call) -> Result<Vec<u8>, Fault> {
        let (scope, typed) = Entry::<C>::covered(grant, call)?;
        if typed.access() != Access::Read {
            return Err(Fault::new(FaultKind::Denied, "a write was sent as a read"));
        }
        self.0.read(cx, &scope, typed)
    }

    fn prepare(&mut self, cx: &mut Context<'_>, grant: &Grant, call: &Call) -> Result<Change, Fault> {
        let (scope, typed) = Entry::<C>::covered(grant, call)?;
        if typed.access() != Access::Write {
            return Err(Fault::new(FaultKind::Denied, "a read was sent as a write"));
        }
        let prepared = self.0.prepare(cx, &scope, typed)?;
        Self::recorded(prepared, grant, &scope)
    }

    fn rehearse(&mut self, cx: &mut Context<'_>, change: &Change) -> Result<Vec<u8>, Fault> {
        self.0.rehearse(cx, &Self::change(change)?)
    }

    fn rehearse_undo(&mut self, cx: &mut Context<'_>, change: &Change) -> Result<(), Fault> {
        self.0.rehearse_undo(cx, &Self::change(change)?)
    }

    fn apply(&mut self, cx: &mut Context<'_>, change: &Change) -> Result<Vec<u8>, Fault> {
        self.0.apply(cx, &Self::change(change)?)
    }

    fn probe(&mut self, cx: &mut Context<'_>, change: &Change) -> Result<State, Fault> {
        self.0.probe(cx, &Self::change(change)?)
    }

    fn undo(&mut self, cx: &mut Context<'_>, change: &Change) -> Result<(), Fault> {
        self.0.undo(cx, &Self::change(change)?)
    }

    fn settle(&mut self, cx: &mut Context<'_>, change: &Change) -> Result<(), Fault> {
        self.0.settle(cx, &Self::change(change)?)
    }

    fn revert(&mut self, cx: &mut Context<'_>, grant: &Grant, change: &Change) -> Result<Change, Fault> {
        let typed = Self::change(change)?;
        let scope = Entry::<C>::scope(grant)?;
        if grant.capability != C::NAME || grant.access != Access::Write || !C::reaches(&scope, &change.subject) {
            return Err(uncovered(grant, &change.subject));
        }
        let prepared = self.0.revert(cx, &scope, &typed)?;
        if prepared.subject != change.subject {
            let what = format!("what would put `{}` back names another subject", excerpt(&change.subject, 200));
            return Err(Fault::new(FaultKind::Denied, what));
        }
        Self::recorded(prepared, grant, &scope)
    }
}
