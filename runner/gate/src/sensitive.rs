use std::collections::BTreeMap;

use countersign_capability::{AnyScopes, Registry};
use countersign_model::text::without_digests;
use countersign_model::{Access, Fault, Grant, Image, State};

/// The subjects whose content nobody is shown, as the operator's configuration names them: each a scope
/// for reading, by the capability that has it.
#[derive(Default)]
pub struct Sensitive(BTreeMap<String, Box<dyn AnyScopes>>);

impl Sensitive {
    /// What these grants to read take in.
    ///
    /// # Errors
    /// `Invalid` when one names no capability or makes no sense to it.
    pub fn new(registry: &Registry, grants: &[Grant]) -> Result<Self, Fault> {
        let mut by_capability: BTreeMap<&str, Vec<Grant>> = BTreeMap::new();
        for grant in grants {
            by_capability.entry(&grant.capability).or_default().push(grant.clone());
        }
        let scopes = by_capability
            .into_iter()
            .map(|(name, grants)| Ok((name.to_owned(), registry.get(name)?.scopes(&grants)?)))
            .collect::<Result<_, Fault>>()?;
        Ok(Self(scopes))
    }

    /// Whether the subject is among them.
    #[must_use]
    pub fn takes_in(&self, capability: &str, subject: &str) -> bool {
        self.0.get(capability).is_some_and(|scopes| !scopes.reaching(Access::Read, subject).is_empty())
    }

    /// Whether any subject of the capability is among them.
    pub(crate) fn knows(&self, capability: &str) -> bool {
        self.0.contains_key(capability)
    }
}

/// What is said of a subject, without what tells of its content where that is hidden.
pub(crate) fn discreet<T>(hidden: bool, result: Result<T, Fault>) -> Result<T, Fault> {
    if hidden { result.map_err(unsaid) } else { result }
}

/// The same fault without the digests of contents.
pub(crate) fn unsaid(fault: Fault) -> Fault {
    Fault { what: without_digests(&fault.what), ..fault }
}

/// How one content differs from another, told as [`discreet`] does.
pub(crate) fn discreet_content(hidden: bool, found: Option<Image>, wanted: Option<Image>) -> String {
    let named = |image: Option<Image>| image.map_or_else(|| "none".to_owned(), |image| image.digest.to_string());
    let what = format!("content is {}, not {}", named(found), named(wanted));
    if hidden { without_digests(&what) } else { what }
}

/// Where a subject stands, told as [`discreet`] does.
pub(crate) fn discreet_state(hidden: bool, state: Result<State, Fault>) -> Result<State, Fault> {
    match discreet(hidden, state)? {
        State::Elsewhere(what) if hidden => Ok(State::Elsewhere(without_digests(&what))),
        state => Ok(state),
    }
}
