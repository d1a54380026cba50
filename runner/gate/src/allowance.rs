use std::collections::BTreeMap;
use std::sync::Arc;

use countersign_capability::{AnyCall, AnyScopes, Permitting, Registry};
use countersign_model::{Access, Fault, FaultKind, Grant, Stop};

/// What one step may do at the very most, whatever its grants say.
const MAX_CALLS: u64 = 10_000;
/// Bytes of content, read and written together.
const MAX_BYTES: u64 = 256 * 1024 * 1024;

/// A list of grants with what has been used of each; a call must fit inside at least one of them.
pub struct Bounds {
    terms: Arc<Terms>,
    used: Vec<Spent>,
}

/// The grants themselves, parsed once for all the steps that they bound.
struct Terms {
    grants: Vec<Grant>,
    scopes: BTreeMap<String, Scoped>,
}

struct Scoped {
    positions: Vec<usize>,
    scopes: Box<dyn AnyScopes>,
}

#[derive(Clone, Copy, Default)]
struct Spent {
    calls: u64,
    bytes: u64,
}

/// Why a list of grants does not permit a call.
enum Short {
    NotCovered,
    UsedUp(usize),
}

impl Bounds {
    /// Prepares grants to be asked.
    ///
    /// # Errors
    /// `Invalid` when one names no capability or makes no sense to it.
    pub fn new(registry: &Registry, grants: &[Grant]) -> Result<Self, Fault> {
        let mut by_capability: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (position, grant) in grants.iter().enumerate() {
            by_capability.entry(grant.capability.clone()).or_default().push(position);
        }
        let mut scopes = BTreeMap::new();
        for (name, positions) in by_capability {
            let own: Vec<Grant> = positions.iter().filter_map(|position| grants.get(*position).cloned()).collect();
            let parsed = registry.get(&name)?.scopes(&own)?;
            scopes.insert(name, Scoped { positions, scopes: parsed });
        }
        let terms = Arc::new(Terms { grants: grants.to_vec(), scopes });
        Ok(Self { terms, used: vec![Spent::default(); grants.len()] })
    }

    /// The same grants for another step, with nothing used of them.
    #[must_use]
    pub fn unused(&self) -> Self {
        Self { terms: Arc::clone(&self.terms), used: vec![Spent::default(); self.used.len()] }
    }

    /// The first grant that covers the call and has room for it: its place among its capability's, and among all.
    fn fit(&self, call: &dyn AnyCall) -> Result<(usize, usize), Short> {
        let Some(own) = self.terms.scopes.get(call.capability()) else { return Err(Short::NotCovered) };
        let (mut short, mut from) = (Short::NotCovered, 0);
        while let Some(at) = own.scopes.covering(call, from) {
            if let Some(position) = own.positions.get(at).copied() {
                if self.room(position, call.payload()) {
                    return Ok((at, position));
                }
                short = Short::UsedUp(position);
            }
            from = at.saturating_add(1);
        }
        Err(short)
    }

    fn room(&self, position: usize, bytes: u64) -> bool {
        let (Some(grant), Some(spent)) = (self.terms.grants.get(position), self.used.get(position)) else {
            return false;
        };
        grant.limits.max_calls.is_none_or(|most| spent.calls < most)
            && grant.limits.max_bytes.is_none_or(|most| spent.bytes.saturating_add(bytes) <= most)
    }

    fn spend(&mut self, position: usize, calls: u64, bytes: u64) {
        if let Some(spent) = self.used.get_mut(position) {
            spent.calls = spent.calls.saturating_add(calls);
            spent.bytes = spent.bytes.saturating_add(bytes);
        }
    }

    /// The first grant that lets the subject be changed.
    pub(crate) fn reaching(&self, capability: &str, subject: &str) -> Option<&Grant> {
        let own = self.terms.scopes.get(capability)?;
        let at = own.scopes.reaching(Access::Write, subject).into_iter().next()?;
        self.terms.grants.get(*own.positions.get(at)?)
    }

    fn reaches(&self, capability: &str, access: Access, subject: &str) -> bool {
        self.terms.scopes.get(capability).is_some_and(|own| !own.scopes.reaching(access, subject).is_empty())
    }
}

/// Everything that bounds one step: its grants, and the ceilings of the identity that it acts under.
pub struct Allowance {
    grants: Bounds,
    ceiling: Bounds,
    /// In a rehearsal: what may be read before anyone approved, which a write's before-image is.
    readable: Option<Bounds>,
    calls: u64,
    bytes: u64,
}

/// What would have allowed a denied call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// The least grant that covers it.
    LeastGrant,
    /// No grant that can be told from the call: one covers it already, or none ever will.
    None,
    /// As for `None`; why it is denied holds none of the step's own words.
    Said,
}

/// Why a call is not permitted, in a sentence fragment, and what would change that.
#[derive(Debug)]
pub(crate) struct Denied {
    pub(crate) why: String,
    pub(crate) remedy: Remedy,
}

impl Denied {
    const fn short(why: String) -> Self {
        Self { why, remedy: Remedy::LeastGrant }
    }
}

/// A permitted call: which grant permits it, to be charged with what comes back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Permit {
    /// The grant's place among those of its capability.
    at: usize,
    grant: usize,
    ceiling: usize,
}

impl Allowance {
    /// The bounds of a step that looks, or changes a target for real.
    #[must_use]
    pub fn new(grants: Bounds, ceiling: Bounds) -> Self {
        Self { grants, ceiling, readable: None, calls: 0, bytes: 0 }
    }

    /// The bounds of a rehearsed step. `ceiling` bounds its writes as the run will be bound;
    /// `readable`, the investigation's ceiling, bounds its reads and the subjects of its writes,
    /// because a plan shows what they hold.
    #[must_use]
    pub fn rehearsed(grants: Bounds, ceiling: Bounds, readable: Bounds) -> Self {
        Self { grants, ceiling, readable: Some(readable), calls: 0, bytes: 0 }
    }

    /// Counts what came as a call and is none: to read it takes time too.
    ///
    /// # Errors
    /// When the step has made as many as it may.
    pub(crate) fn waste(&mut self) -> Result<(), Stop> {
        if self.counts() { Ok(()) } else { Err(Stop(format!("a step may make {MAX_CALLS} calls at most"))) }
    }

    /// Counts one call, whatever becomes of it; false where it is one too many.
    const fn counts(&mut self) -> bool {
        let fits = self.calls < MAX_CALLS;
        if fits {
            self.calls += 1;
        }
        fits
    }

    /// Permits a call and charges it, or says why not.
    pub(crate) fn permit(&mut self, call: &dyn AnyCall) -> Result<Permit, Denied> {
        let bound = |why: String| Err(Denied { why, remedy: Remedy::None });
        if !self.counts() {
            return bound(format!("a step may make {MAX_CALLS} calls at most"));
        }
        let (access, payload) = (call.access(), call.payload());
        if self.bytes.saturating_add(payload) > MAX_BYTES {
            return bound(format!("a step may move {MAX_BYTES} bytes at most"));
        }
        let (at, grant) =
            self.grants.fit(call).map_err(|short| Denied::short(self.grants.describe(&short, "grant")))?;
        let bounds = match (&self.readable, access) {
            (Some(readable), Access::Read) => readable,
            _ => &self.ceiling,
        };
        let (_, ceiling) =
            bounds.fit(call).map_err(|short| Denied::short(bounds.describe(&short, "ceiling of the target")))?;
        if let (Some(readable), Access::Write) = (&self.readable, access)
            && !readable.reaches(call.capability(), Access::Read, call.subject())
        {
            let subject = countersign_model::text::excerpt(call.subject(), 200);
            return Err(Denied::short(format!(
                "the plan would show `{subject}`, which the target's investigation ceiling does not let anyone read"
            )));
        }
        let permit = Permit { at, grant, ceiling };
        self.charge(permit, access, 1, payload);
        Ok(permit)
    }

    /// Charges what a read brought back; over the limit, the reply must not be handed on.
    pub(crate) fn charge_reply(&mut self, permit: Permit, bytes: u64) -> Result<(), Fault> {
        let bounds = self.readable.as_ref().unwrap_or(&self.ceiling);
        let fits = self.grants.room_for_reply(permit.grant, bytes)
            && bounds.room_for_reply(permit.ceiling, bytes)
            && self.bytes.saturating_add(bytes) <= MAX_BYTES;
        if !fits {
            return Err(Fault::new(FaultKind::Denied, format!("the reply's {bytes} bytes are over the grant's limit")));
        }
        self.charge(permit, Access::Read, 0, bytes);
        Ok(())
    }

    fn charge(&mut self, permit: Permit, access: Access, calls: u64, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.grants.spend(permit.grant, calls, bytes);
        match (&mut self.readable, access) {
            (Some(readable), Access::Read) => readable.spend(permit.ceiling, calls, bytes),
            _ => self.ceiling.spend(permit.ceiling, calls, bytes),
        }
    }

    /// Whether a prepared change's subject is inside the grants, and inside the ceiling.
    pub(crate) fn takes_in(&self, capability: &str, subject: &str) -> bool {
        self.grants.reaches(capability, Access::Write, subject)
            && self.ceiling.reaches(capability, Access::Write, subject)
            && self.readable.as_ref().is_none_or(|bounds| bounds.reaches(capability, Access::Read, subject))
    }

    /// The first grant under which this subject may be changed, where ceilings and grants all take it in.
    pub(crate) fn reaching(&self, capability: &str, subject: &str) -> Option<&Grant> {
        if self.takes_in(capability, subject) { self.grants.reaching(capability, subject) } else { None }
    }

    /// The grant behind a permit.
    pub(crate) fn grant(&self, permit: Permit) -> Result<&Grant, Fault> {
        let grant = self.grants.terms.grants.get(permit.grant);
        grant.ok_or_else(|| Fault::new(FaultKind::Denied, "the grant behind a permit is gone"))
    }

    /// The same, parsed, for a call of this capability.
    pub(crate) fn by(&self, permit: Permit, capability: &str) -> Result<Permitting<'_>, Fault> {
        let own = self.grants.terms.scopes.get(capability);
        own.map(|own| Permitting { scopes: own.scopes.as_ref(), at: permit.at })
            .ok_or_else(|| Fault::new(FaultKind::Denied, "the grant behind a permit is gone"))
    }
}

impl Bounds {
    fn describe(&self, short: &Short, what: &str) -> String {
        match short {
            Short::NotCovered => format!("no {what} covers it"),
            Short::UsedUp(position) => match self.terms.grants.get(*position) {
                Some(grant) => format!("the limit of `{grant}` is used up"),
                None => "a limit is used up".to_owned(),
            },
        }
    }

    fn room_for_reply(&self, position: usize, bytes: u64) -> bool {
        let (Some(grant), Some(spent)) = (self.terms.grants.get(position), self.used.get(position)) else {
            return false;
        };
        grant.limits.max_bytes.is_none_or(|most| spent.bytes.saturating_add(bytes) <= most)
    }
}

#[cfg(test)]
mod tests {
    use countersign_files::Files;

    use super::*;

    fn bounds(grants: &[&str]) -> Bounds {
        let grants: Vec<Grant> = grants.iter().map(|grant| grant.parse().expect("a grant")).collect();
        Bounds::new(&Registry::default().with::<Files>(), &grants).expect("bounds")
    }

    /// A capability's adapter tests the permitting grant before the gate does; the gate does not count on it.
    #[test]
    fn a_subject_is_taken_in_by_grants_and_ceilings_alike() {
        let (all, some) = (&["files.read /**", "files.write /**"], &["files.read /srv/**", "files.write /srv/**"]);
        for (grants, ceiling, readable) in [(some, all, all), (all, some, all), (all, all, some)] {
            let allowance = Allowance::rehearsed(bounds(grants), bounds(ceiling), bounds(readable));
            assert!(allowance.takes_in("files", "/srv/a"));
            assert!(!allowance.takes_in("files", "/etc/a"));
            assert!(!allowance.takes_in("http", "/srv/a"));
        }
        let writable = Allowance::new(bounds(all), bounds(&["files.read /**"]));
        assert!(!writable.takes_in("files", "/srv/a"), "to read is not to write");
    }
}
