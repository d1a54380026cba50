use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign_capability::{AnyCall, AnySession, Blobs, Context, Opening, Permitting, Phase, Protected, Registry};
use countersign_model::{Change, Fault, FaultKind, Grant, State};

/// How long one call may take.
pub const CALL_TIME: Duration = Duration::from_secs(30);

/// The open sessions of one target in one phase; each is opened when it is first needed.
pub struct Sessions {
    registry: Arc<Registry>,
    settings: BTreeMap<String, serde_json::Value>,
    phase: Phase,
    protected: Arc<Protected>,
    open: BTreeMap<&'static str, Box<dyn AnySession>>,
    call_time: Duration,
}

impl Sessions {
    /// Nothing is opened yet. `settings` are the target's, by capability: those of its
    /// investigation identity unless the phase is live.
    #[must_use]
    pub fn new(
        registry: Arc<Registry>,
        settings: BTreeMap<String, serde_json::Value>,
        phase: Phase,
        protected: Arc<Protected>,
    ) -> Self {
        Self { registry, settings, phase, protected, open: BTreeMap::new(), call_time: CALL_TIME }
    }

    /// The same with another time for one call, never longer than [`CALL_TIME`].
    #[must_use]
    pub fn within(mut self, call_time: Duration) -> Self {
        self.call_time = call_time.min(CALL_TIME);
        self
    }

    /// What they were opened for.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.phase
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
        let deadline = self.deadline();
        self.get(call.capability())?.read(&mut Context { blobs, deadline }, by, call)
    }

    pub(crate) fn prepare(
        &mut self,
        blobs: &mut dyn Blobs,
        by: Permitting<'_>,
        call: &dyn AnyCall,
    ) -> Result<Change, Fault> {
        if self.phase == Phase::Observe {
            return Err(Fault::new(FaultKind::Denied, "nothing is written while observing"));
        }
        let deadline = self.deadline();
        self.get(call.capability())?.prepare(&mut Context { blobs, deadline }, by, call)
    }

    pub(crate) fn rehearse(&mut self, blobs: &mut dyn Blobs, change: &Change) -> Result<Vec<u8>, Fault> {
        let deadline = self.deadline();
        self.get(&change.capability)?.rehearse(&mut Context { blobs, deadline }, change)
    }

    pub(crate) fn rehearse_undo(&mut self, blobs: &mut dyn Blobs, change: &Change) -> Result<(), Fault> {
        let deadline = self.deadline();
        self.get(&change.capability)?.rehearse_undo(&mut Context { blobs, deadline }, change)
    }

    pub(crate) fn apply(&mut self, blobs: &mut dyn Blobs, change: &Change) -> Result<Vec<u8>, Fault> {
        self.live()?;
        let deadline = self.deadline();
        self.get(&change.capability)?.apply(&mut Context { blobs, deadline }, change)
    }

    pub(crate) fn undo(&mut self, blobs: &mut dyn Blobs, change: &Change) -> Result<(), Fault> {
        self.live()?;
        let deadline = self.deadline();
        self.get(&change.capability)?.undo(&mut Context { blobs, deadline }, change)
    }

    pub(crate) fn settle(&mut self, blobs: &mut dyn Blobs, change: &Change) -> Result<(), Fault> {
        self.live()?;
        let deadline = self.deadline();
        self.get(&change.capability)?.settle(&mut Context { blobs, deadline }, change)
    }

    pub(crate) fn revert(&mut self, blobs: &mut dyn Blobs, grant: &Grant, change: &Change) -> Result<Change, Fault> {
        if self.phase == Phase::Observe {
            return Err(Fault::new(FaultKind::Denied, "nothing is written while observing"));
        }
        let deadline = self.deadline();
        self.get(&change.capability)?.revert(&mut Context { blobs, deadline }, grant, change)
    }

    /// Where a change's subject stands: on the target, or in a rehearsal on the overlay.
    ///
    /// # Errors
    /// When the target cannot be read.
    pub fn probe(&mut self, blobs: &mut dyn Blobs, change: &Change) -> Result<State, Fault> {
        let deadline = self.deadline();
        self.get(&change.capability)?.probe(&mut Context { blobs, deadline }, change)
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
