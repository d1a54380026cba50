use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign_capability::{AnyCall, AnySession, Blobs, Context, Opening, Permitting, Phase, Protected, Registry};
use countersign_model::text::without_digests;
use countersign_model::{Ability, Change, Fault, FaultKind, Grant, Image, State};

use crate::calls::{Calls, UnderCall};
use crate::sensitive::{Sensitive, discreet, discreet_state, unsaid};

/// How long one call may take.
pub const CALL_TIME: Duration = Duration::from_secs(30);

/// The open sessions of one target in one phase; each is opened when it is first needed. What they say of a
/// sensitive subject leaves here without the digests of its contents.
pub struct Sessions {
    registry: Arc<Registry>,
    settings: BTreeMap<String, serde_json::Value>,
    phase: Phase,
    protected: Arc<Protected>,
    sensitive: Arc<Sensitive>,
    open: BTreeMap<&'static str, Box<dyn AnySession>>,
    call_time: Duration,
    calls: Arc<Calls>,
    /// The run that the calls are of.
    run: Option<String>,
    /// The call that a step makes now, in words that may be told.
    told: String,
}

impl Sessions {
    /// Nothing is opened yet. `settings` are the target's, by capability: those of its
    /// investigation identity unless the phase is live or preflight.
    #[must_use]
    pub fn new(
        registry: Arc<Registry>,
        settings: BTreeMap<String, serde_json::Value>,
        phase: Phase,
        protected: Arc<Protected>,
    ) -> Self {
        let (sensitive, calls) = (Arc::default(), Arc::default());
        let (open, run, told) = (BTreeMap::new(), None, String::new());
        Self { registry, settings, phase, protected, sensitive, open, call_time: CALL_TIME, calls, run, told }
    }

    /// The same where nobody is shown the content of these subjects.
    #[must_use]
    pub fn keeping_from_view(mut self, sensitive: Sensitive) -> Self {
        self.sensitive = Arc::new(sensitive);
        self
    }

    /// The same with another time for one call, never longer than [`CALL_TIME`].
    #[must_use]
    pub fn within(mut self, call_time: Duration) -> Self {
        self.call_time = call_time.min(CALL_TIME);
        self
    }

    /// The same, watched by whoever asks there whether a call returns.
    #[must_use]
    pub fn watched_by(mut self, calls: Arc<Calls>) -> Self {
        self.calls = calls;
        self
    }

    /// Notes the run that the calls are of.
    pub(crate) fn of_run(&mut self, run: &str) {
        self.run = Some(run.to_owned());
    }

    /// Notes what the next call is called where it is told.
    pub(crate) fn called(&mut self, told: String) {
        self.told = told;
    }

    /// A step's call is under way.
    fn under_call(&self, call: &dyn AnyCall) -> UnderCall {
        self.calls.begin(self.run.as_deref(), (call.capability(), format!("`{}`", self.told)), self.call_time)
    }

    /// Something is under way with a change.
    fn under(&self, what: &str, change: &Change) -> UnderCall {
        let subject = countersign_model::text::excerpt(&change.subject, 200);
        self.calls.begin(self.run.as_deref(), (&change.capability, format!("{what} of `{subject}`")), self.call_time)
    }

    /// What they were opened for.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// The subjects whose content nobody is shown.
    #[must_use]
    pub fn sensitive(&self) -> &Sensitive {
        &self.sensitive
    }

    /// Every capability that this binary knows.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    fn get(&mut self, capability: &str) -> Result<&mut dyn AnySession, Fault> {
        let known = self.registry.get(capability)?;
        let vacant = match self.open.entry(known.name()) {
            Entry::Occupied(open) => return Ok(open.into_mut().as_mut()),
            Entry::Vacant(vacant) => vacant,
        };
        let settings = self.settings.get(capability).unwrap_or(&serde_json::Value::Null);
        let opening = Opening { settings, phase: self.phase, protected: &self.protected };
        Ok(vacant.insert(known.open(&opening)?).as_mut())
    }

    pub(crate) fn read(
        &mut self,
        blobs: &mut dyn Blobs,
        by: Permitting<'_>,
        call: &dyn AnyCall,
    ) -> Result<Vec<u8>, Fault> {
        if self.phase == Phase::Preflight {
            return Err(Fault::new(FaultKind::Denied, "a run's credentials read nothing before it is approved"));
        }
        let _under = self.under_call(call);
        let deadline = self.deadline();
        let read = self.get(call.capability())?.read(&mut Context { blobs, deadline }, by, call);
        read.map_err(|fault| self.discreet_call(call, fault))
    }

    pub(crate) fn prepare(
        &mut self,
        blobs: &mut dyn Blobs,
        by: Permitting<'_>,
        call: &dyn AnyCall,
    ) -> Result<Change, Fault> {
        self.prepares()?;
        let _under = self.under_call(call);
        let deadline = self.deadline();
        let prepared = self.get(call.capability())?.prepare(&mut Context { blobs, deadline }, by, call);
        prepared.map(|change| self.marked(change)).map_err(|fault| self.discreet_call(call, fault))
    }

    pub(crate) fn rehearse(&mut self, blobs: &mut dyn Blobs, change: &Change) -> Result<Vec<u8>, Fault> {
        let _under = self.under("rehearsing the change", change);
        let deadline = self.deadline();
        let hidden = self.hides(change);
        discreet(hidden, self.get(&change.capability)?.rehearse(&mut Context { blobs, deadline }, change))
    }

    pub(crate) fn rehearse_undo(&mut self, blobs: &mut dyn Blobs, change: &Change) -> Result<(), Fault> {
        let _under = self.under("rehearsing the undoing", change);
        let deadline = self.deadline();
        let hidden = self.hides(change);
        discreet(hidden, self.get(&change.capability)?.rehearse_undo(&mut Context { blobs, deadline }, change))
    }

    pub(crate) fn apply(&mut self, blobs: &mut dyn Blobs, change: &Change) -> Result<Vec<u8>, Fault> {
        self.live()?;
        let _under = self.under("applying the change", change);
        let deadline = self.deadline();
        let hidden = self.hides(change);
        discreet(hidden, self.get(&change.capability)?.apply(&mut Context { blobs, deadline }, change))
    }

    /// Whether these sessions' credentials, which are a run's, could make the change and undo it. Nothing is written, and
    /// nothing of the subject's content is told.
    pub fn can_apply(&mut self, blobs: &mut dyn Blobs, change: &Change) -> Ability {
        if !matches!(self.phase, Phase::Preflight | Phase::Live) {
            return Ability::CannotTell("only a run's credentials tell what a run can do".to_owned());
        }
        let _under = self.under("asking about the change", change);
        let deadline = self.deadline();
        let hidden = self.hides(change);
        let ability = match self.get(&change.capability) {
            Ok(session) => session
                .can_apply(&mut Context { blobs, deadline }, change)
                .unwrap_or_else(|fault| Ability::CannotTell(fault.what)),
            // Whoever has no access at all has none to this.
            Err(fault) => Ability::Cannot(fault.what),
        };
        if hidden { ability.map(|why| without_digests(&why)) } else { ability }
    }

    pub(crate) fn undo(&mut self, blobs: &mut dyn Blobs, change: &Change) -> Result<(), Fault> {
        self.live()?;
        let _under = self.under("undoing the change", change);
        let deadline = self.deadline();
        let hidden = self.hides(change);
        discreet(hidden, self.get(&change.capability)?.undo(&mut Context { blobs, deadline }, change))
    }

    pub(crate) fn settle(&mut self, blobs: &mut dyn Blobs, change: &Change) -> Result<(), Fault> {
        self.live()?;
        let _under = self.under("letting go of what is kept", change);
        let deadline = self.deadline();
        let hidden = self.hides(change);
        discreet(hidden, self.get(&change.capability)?.settle(&mut Context { blobs, deadline }, change))
    }

    pub(crate) fn revert(&mut self, blobs: &mut dyn Blobs, grant: &Grant, change: &Change) -> Result<Change, Fault> {
        self.prepares()?;
        let _under = self.under("reverting the change", change);
        let deadline = self.deadline();
        let hidden = self.hides(change);
        let reverted = self.get(&change.capability)?.revert(&mut Context { blobs, deadline }, grant, change);
        discreet(hidden, reverted).map(|change| self.marked(change))
    }

    pub(crate) fn restore(&mut self, blobs: &mut dyn Blobs, grant: &Grant, made: &[Change]) -> Result<Change, Fault> {
        self.live()?;
        let Some(first) = made.first() else { return Err(Fault::new(FaultKind::Invalid, "nothing was changed")) };
        let deadline = self.deadline();
        let hidden = made.iter().any(|change| self.hides(change));
        let restoring = self.get(&first.capability)?.restore(&mut Context { blobs, deadline }, grant, made);
        // What was withheld once stays so: the image of what stands there now is as private as the other.
        discreet(hidden, restoring).map(|change| Change { withheld: hidden, ..change })
    }

    /// The content that a change's subject has: on the target, or in a rehearsal on the overlay.
    ///
    /// # Errors
    /// When it cannot be told.
    pub fn image(&mut self, blobs: &mut dyn Blobs, change: &Change) -> Result<Option<Image>, Fault> {
        let deadline = self.deadline();
        let hidden = self.hides(change);
        discreet(hidden, self.get(&change.capability)?.image(&mut Context { blobs, deadline }, change))
    }

    /// Where a change's subject stands: on the target, or in a rehearsal on the overlay.
    ///
    /// # Errors
    /// When the target cannot be read.
    pub fn probe(&mut self, blobs: &mut dyn Blobs, change: &Change) -> Result<State, Fault> {
        let _under = self.under("looking at the change", change);
        let deadline = self.deadline();
        let hidden = self.hides(change);
        discreet_state(hidden, self.get(&change.capability)?.probe(&mut Context { blobs, deadline }, change))
    }

    /// A prepared change, with whether its content is shown.
    fn marked(&self, change: Change) -> Change {
        let withheld = self.sensitive.takes_in(&change.capability, &change.subject);
        Change { withheld, ..change }
    }

    /// Whether nobody is shown the content of the change's subject: so it was when it was prepared, or is now.
    pub(crate) fn hides(&self, change: &Change) -> bool {
        change.withheld || self.sensitive.takes_in(&change.capability, &change.subject)
    }

    /// A call's fault as it may be told.
    fn discreet_call(&self, call: &dyn AnyCall, fault: Fault) -> Fault {
        if self.sensitive.takes_in(call.capability(), call.subject()) { unsaid(fault) } else { fault }
    }

    /// A fault in a phase in which no write is even made ready.
    fn prepares(&self) -> Result<(), Fault> {
        if matches!(self.phase, Phase::Rehearse | Phase::Live) {
            return Ok(());
        }
        Err(Fault::new(FaultKind::Denied, "nothing is written while observing"))
    }

    fn live(&self) -> Result<(), Fault> {
        if self.phase == Phase::Live {
            return Ok(());
        }
        Err(Fault::new(FaultKind::Denied, "only a run changes its target"))
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.call_time
    }
}
