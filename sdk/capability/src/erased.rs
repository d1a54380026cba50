use std::any::Any;
use std::collections::BTreeMap;
use std::marker::PhantomData;

use countersign_model::text::excerpt;
use countersign_model::{Access, Call, Change, Fault, FaultKind, Grant, Selector};

use crate::capability::{Capability, Choice, Opening, Protected, TypedCall};
use crate::guest::{Linker, decode, encode};

mod session;

pub use session::AnySession;
use session::Opened;

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
    /// [`Capability::parse_recorded`].
    ///
    /// # Errors
    /// `Invalid` with what was expected.
    fn parse_recorded(&self, function: &str, selector: &Selector) -> Result<Call, Fault>;
    /// [`Capability::least_scope`], as a grant without limits.
    ///
    /// # Errors
    /// `Invalid` when the call makes no sense.
    fn least_grant(&self, call: &Call) -> Result<Grant, Fault>;
    /// The call, decoded once for everything that is asked of it.
    ///
    /// # Errors
    /// `Invalid` when it does not decode or names no subject.
    fn decode(&self, call: &Call) -> Result<Box<dyn AnyCall>, Fault>;
    /// [`Capability::describe_reply`].
    fn describe_reply(&self, call: &Call, reply: &[u8]) -> serde_json::Value;
    /// [`Capability::kept_beside`]; none for a change that does not decode.
    fn kept_beside(&self, change: &Change) -> Option<String>;
    /// [`Capability::held_as`].
    fn held_as(&self, subject: &str) -> String;
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

/// A call of one capability, decoded; [`TypedCall`] without its type.
pub trait AnyCall: Any + Send {
    /// [`Capability::NAME`].
    fn capability(&self) -> &'static str;
    /// [`TypedCall::function`].
    fn function(&self) -> &'static str;
    /// Whether it looks or changes.
    fn access(&self) -> Access;
    /// What it names.
    fn subject(&self) -> &str;
    /// The call in text.
    fn text(&self) -> String;
    /// Bytes of content that it carries.
    fn payload(&self) -> u64;
    /// [`TypedCall::choice`].
    fn choice(&self) -> Choice;
    /// [`Capability::least_scope`], as a grant without limits.
    ///
    /// # Errors
    /// `Invalid` when the call makes no sense.
    fn least_grant(&self) -> Result<Grant, Fault>;
    /// [`Capability::describe_reply`].
    fn describe_reply(&self, reply: &[u8]) -> serde_json::Value;
}

/// Some grants of one capability, parsed once.
pub trait AnyScopes: Any + Send + Sync {
    /// The first grant from position `from` on that permits the call; none permits another capability's.
    fn covering(&self, call: &dyn AnyCall, from: usize) -> Option<usize>;
    /// The positions of the grants with this access that take in the subject.
    fn reaching(&self, access: Access, subject: &str) -> Vec<usize>;
}

/// The grant that permits a call: one of several.
#[derive(Clone, Copy)]
pub struct Permitting<'a> {
    /// The grants, parsed.
    pub scopes: &'a dyn AnyScopes,
    /// Its position.
    pub at: usize,
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

    fn parsed(function: &str, selector: &Selector, parsed: Result<C::Call, String>) -> Result<Call, Fault> {
        let typed = parsed.map_err(|why| {
            let what = format!("`{}.{function}{selector}` is not a call of {}: {why}", C::NAME, C::NAME);
            Fault::new(FaultKind::Invalid, what)
        })?;
        Ok(Call { capability: C::NAME.to_owned(), function: typed.function().to_owned(), arguments: encode(&typed)? })
    }

    fn least(typed: &C::Call) -> Result<Grant, Fault> {
        let scope = C::scope_selector(&C::least_scope(typed)?);
        Ok(Grant { capability: C::NAME.to_owned(), access: typed.access(), scope, limits: Default::default() })
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
        Self::parsed(function, selector, C::parse_call(function, selector))
    }

    fn parse_recorded(&self, function: &str, selector: &Selector) -> Result<Call, Fault> {
        Self::parsed(function, selector, C::parse_recorded(function, selector))
    }

    fn least_grant(&self, call: &Call) -> Result<Grant, Fault> {
        Self::least(&Self::typed(call)?)
    }

    fn decode(&self, call: &Call) -> Result<Box<dyn AnyCall>, Fault> {
        let typed = Self::typed(call)?;
        let subject = typed.subject()?;
        Ok(Box::new(Decoded::<C> { typed, subject }))
    }

    fn describe_reply(&self, call: &Call, reply: &[u8]) -> serde_json::Value {
        Self::typed(call).map_or(serde_json::Value::Null, |typed| C::describe_reply(&typed, reply))
    }

    fn kept_beside(&self, change: &Change) -> Option<String> {
        C::kept_beside(&Opened::<C>::change(change).ok()?)
    }

    fn held_as(&self, subject: &str) -> String {
        C::held_as(subject)
    }

    fn link(&self, linker: &mut Linker, access: Access) -> wasmtime::Result<()> {
        C::link(linker, access)
    }

    fn open(&self, opening: &Opening<'_>) -> Result<Box<dyn AnySession>, Fault> {
        Ok(Box::new(Opened::<C>(C::open(opening)?)))
    }
}

struct Decoded<C: Capability> {
    typed: C::Call,
    subject: String,
}

impl<C: Capability> AnyCall for Decoded<C> {
    fn capability(&self) -> &'static str {
        C::NAME
    }

    fn function(&self) -> &'static str {
        self.typed.function()
    }

    fn access(&self) -> Access {
        self.typed.access()
    }

    fn subject(&self) -> &str {
        &self.subject
    }

    fn text(&self) -> String {
        format!("{}.{}{}", C::NAME, self.typed.function(), self.typed.selector())
    }

    fn payload(&self) -> u64 {
        self.typed.payload()
    }

    fn choice(&self) -> Choice {
        self.typed.choice()
    }

    fn least_grant(&self) -> Result<Grant, Fault> {
        Entry::<C>::least(&self.typed)
    }

    fn describe_reply(&self, reply: &[u8]) -> serde_json::Value {
        C::describe_reply(&self.typed, reply)
    }
}

struct Scopes<C: Capability>(Vec<(Access, C::Scope)>);

impl<C: Capability> AnyScopes for Scopes<C> {
    fn covering(&self, call: &dyn AnyCall, from: usize) -> Option<usize> {
        let call: &dyn Any = call;
        let call = &call.downcast_ref::<Decoded<C>>()?.typed;
        let access = call.access();
        let mut later = self.0.iter().enumerate().skip(from);
        later.find(|(_, (granted, scope))| *granted == access && C::covers(scope, call)).map(|(at, _)| at)
    }

    fn reaching(&self, access: Access, subject: &str) -> Vec<usize> {
        let reaches = |(granted, scope): &(Access, C::Scope)| *granted == access && C::reaches(scope, subject);
        self.0.iter().enumerate().filter(|(_, scope)| reaches(scope)).map(|(at, _)| at).collect()
    }
}
