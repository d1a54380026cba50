use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use countersign_capability::{Blobs, Phase, Protected, Registry};
use countersign_gate::{Calls, Sessions};
use countersign_model::documents::ProposalRun;
use countersign_model::{Digest, Evidence, Grant};
use countersign_record::{
    BeginError, Hold, ImagesPlace, Journal, RecordError, RehearsalBlobs, RunStart, State, Unfinished, Wanted,
};
use countersign_trust::{Policy, PolicyPins, SignedApproval, SignedDenial, SigningKey};
use countersign_worker::{Confinement, Program, Workers};

use crate::desk::Desk;
use crate::error::PipelineError;
use crate::policy::PolicyFile;
use crate::progress::Progress;
use crate::stored::Stored;
use crate::target::Target;
use crate::under_way::UnderWay;

mod papers;

/// Milliseconds since 1970-01-01 UTC, asked where a moment is needed.
pub type Clock = fn() -> u64;

/// What a runner is made of.
pub struct Setup {
    /// The state directory.
    pub state: PathBuf,
    /// Where images are kept, and how much of them.
    pub images: ImagesPlace,
    /// What is started as a worker, which must know the same capabilities.
    pub worker: Program,
    /// How workers are held.
    pub confinement: Confinement,
    /// Every capability of this binary.
    pub registry: Arc<Registry>,
    /// The names of the targets that are configured.
    pub targets: BTreeSet<String>,
    /// What no grant may reach.
    pub protected: Arc<Protected>,
    /// The trust policy that the operator's configuration names.
    pub policy: PolicyFile,
    /// Who is told what happens.
    pub progress: Arc<dyn Progress>,
    /// The time.
    pub clock: Clock,
    /// Set when somebody wants the run to end: it is rolled back.
    pub interrupted: Arc<AtomicBool>,
    /// Told how far the run is.
    pub under_way: Arc<UnderWay>,
    /// Told of every call to a target.
    pub calls: Arc<Calls>,
}

/// A state directory opened, with the runner's key, its workers and the capabilities: what every verb works with.
pub struct Runner {
    state: Arc<State>,
    key: Arc<SigningKey>,
    workers: Workers,
    registry: Arc<Registry>,
    targets: BTreeSet<String>,
    protected: Arc<Protected>,
    policy: Arc<Policy>,
    pins: PolicyPins,
    progress: Arc<dyn Progress>,
    clock: Clock,
    interrupted: Arc<AtomicBool>,
    under_way: Arc<UnderWay>,
    calls: Arc<Calls>,
    /// The narrowed approval manifests that were rehearsed by this process, and found good.
    tried: Mutex<BTreeSet<Digest>>,
}

impl Runner {
    /// Opens the state directory and reads the runner's key.
    ///
    /// # Errors
    /// When the state cannot be trusted or used.
    pub fn open(setup: Setup) -> Result<Self, PipelineError> {
        let state = State::open(&setup.state)?.keeping_images(&setup.images)?;
        // A command that only looks is refused nothing here; what it saw of the time counts all the same.
        if let Err(error) = state.clock().decide_at((setup.clock)()) {
            tracing::debug!(%error, "the time was not taken note of");
        }
        let policy = crate::policy::enforce(&state, &setup.registry, &setup.policy, (setup.clock)())?;
        let key = state.read_private(Path::new("runner.key"), 64 * 1024)?;
        let key = SigningKey::from_openssh(&String::from_utf8_lossy(&key), &mut || None)
            .map_err(|error| PipelineError::failed(format!("the runner's key cannot be used: {error}")))?;
        let key = Arc::new(key);
        let state = state.logging(crate::audit::log_key(&key, setup.clock))?;
        let workers = Workers::new(setup.worker, setup.confinement, Some(&state.cache()));
        Ok(Self {
            state: Arc::new(state),
            key,
            workers,
            registry: setup.registry,
            targets: setup.targets,
            protected: setup.protected,
            policy: Arc::new(policy),
            pins: setup.policy.pins,
            progress: setup.progress,
            clock: setup.clock,
            interrupted: setup.interrupted,
            under_way: setup.under_way,
            calls: setup.calls,
            tried: Mutex::default(),
        })
    }

    /// The trust policy in force when this runner was opened.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The time, in milliseconds since 1970-01-01 UTC.
    #[must_use]
    pub fn now(&self) -> u64 {
        (self.clock)()
    }

    /// The time to decide by: never earlier than what this state has seen, so that nothing that expired is good again.
    ///
    /// # Errors
    /// A refusal, when the clock was set back by more than a minute.
    pub(crate) fn decisive(&self) -> Result<u64, PipelineError> {
        self.state.clock().decide_at(self.now()).map_err(|error| match error {
            RecordError::ClockWentBack { .. } => {
                PipelineError::refused(format!("{error}; nothing changed")).with_hint(error.hint().unwrap_or_default())
            }
            error => error.into(),
        })
    }

    /// Whether a moment has come, by this clock or by what the state has seen. The time is not noted.
    ///
    /// # Errors
    /// When what was seen cannot be read.
    pub(crate) fn has_come(&self, moment: u64) -> Result<bool, PipelineError> {
        Ok(self.state.clock().has_come(moment, self.now())?)
    }

    /// A number for a step's seed.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn random(&self) -> Result<u64, PipelineError> {
        // Half the range, so that every JSON reader takes it as a whole number.
        getrandom::u64().map(|number| number >> 1).map_err(|error| PipelineError::failed(error.to_string()))
    }

    /// The trust policy in force now: a run takes its time, and another process may have accepted a later one since.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn policy_now(&self) -> Result<Arc<Policy>, PipelineError> {
        if self.has_newest_policy()? {
            return Ok(Arc::clone(&self.policy));
        }
        crate::policy::now(&self.state, &self.pins).map(Arc::new)
    }

    /// Whether the policy that this runner was opened with is the last that was accepted: another process may have
    /// accepted a later one since.
    pub(crate) fn has_newest_policy(&self) -> Result<bool, PipelineError> {
        Ok(self.state.policies().newest()? == Some(self.policy.serial()))
    }

    /// The fingerprint of the runner's key.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        self.key.fingerprint()
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(crate) fn shared_registry(&self) -> Arc<Registry> {
        Arc::clone(&self.registry)
    }

    pub(crate) fn protected(&self) -> &Protected {
        &self.protected
    }

    pub(crate) const fn workers(&self) -> &Workers {
        &self.workers
    }

    pub(crate) fn state(&self) -> Arc<State> {
        Arc::clone(&self.state)
    }

    pub(crate) fn key(&self) -> Arc<SigningKey> {
        Arc::clone(&self.key)
    }

    pub(crate) const fn clock(&self) -> Clock {
        self.clock
    }

    pub(crate) fn progress(&self) -> Arc<dyn Progress> {
        Arc::clone(&self.progress)
    }

    pub(crate) fn interruption(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.interrupted)
    }

    pub(crate) fn calls(&self) -> Arc<Calls> {
        Arc::clone(&self.calls)
    }

    pub(crate) fn shared_under_way(&self) -> Arc<UnderWay> {
        Arc::clone(&self.under_way)
    }

    pub(crate) fn under_way(&self) -> &UnderWay {
        &self.under_way
    }

    pub(crate) fn interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    pub(crate) fn note(&self, line: &str) {
        self.progress.note(line);
    }

    /// Whether this process rehearsed what the manifest of this digest narrows.
    pub(crate) fn has_tried(&self, manifest: &Digest) -> bool {
        self.tried.lock().unwrap_or_else(PoisonError::into_inner).contains(manifest)
    }

    pub(crate) fn tried(&self, manifest: Digest) {
        self.tried.lock().unwrap_or_else(PoisonError::into_inner).insert(manifest);
    }

    pub(crate) fn waits(&self, line: &str) {
        self.progress.waits(line);
    }

    /// Contents by digest. What is put here is gone with this process, unless a proposal keeps it.
    pub(crate) fn blobs(&self) -> RehearsalBlobs {
        self.state.rehearsal_blobs()
    }

    /// Sessions on a target under the identity that the phase is for; nothing is opened yet. They keep from view
    /// what the target's configuration holds to be sensitive.
    pub(crate) fn sessions(&self, target: &Target, phase: Phase) -> Result<Sessions, PipelineError> {
        let identity = match phase {
            Phase::Observe | Phase::Rehearse => &target.investigation,
            Phase::Preflight | Phase::Live => &target.remediation,
        };
        let (registry, protected) = (Arc::clone(&self.registry), Arc::clone(&self.protected));
        let sessions = Sessions::new(registry, identity.settings.clone(), phase, protected).watched_by(self.calls());
        Ok(sessions.keeping_from_view(target.sensitive(&self.registry)?))
    }
}

impl Desk for Runner {
    fn registry(&self) -> &Registry {
        self.registry()
    }

    fn policy(&self) -> &Policy {
        self.policy()
    }

    fn decisive(&self) -> Result<u64, PipelineError> {
        self.decisive()
    }

    fn images(&self) -> Box<dyn Blobs + '_> {
        Box::new(self.blobs())
    }

    fn evidence(&self, id: &str) -> Result<(Evidence, Digest), PipelineError> {
        self.evidence(id)
    }

    fn approvals(&self, proposal: &Digest) -> Result<Vec<SignedApproval>, PipelineError> {
        self.approvals(proposal)
    }

    fn denials(&self, proposal: &Digest) -> Result<Vec<SignedDenial>, PipelineError> {
        self.denials(proposal)
    }

    fn stands(&self, stored: &Stored) -> Result<(), PipelineError> {
        crate::order::stands(self, &stored.proposal, stored.undo.as_ref())
    }

    fn runs(&self, proposal: &Digest) -> Result<Vec<ProposalRun>, PipelineError> {
        self.runs_of(proposal)
    }

    fn normalize(&self, grant: &Grant) -> Result<Grant, String> {
        crate::target::normalize(self.registry(), self.protected(), grant)
    }
}

impl Runner {
    pub(crate) fn unfinished(&self, target: &str) -> Result<Option<Unfinished>, PipelineError> {
        Ok(self.state.runs().unfinished(target)?)
    }

    /// Whether a target of this name is configured no more.
    pub(crate) fn is_gone(&self, target: &str) -> bool {
        !self.targets.contains(target)
    }

    pub(crate) fn uses(&self, manifest: &Digest, target: &str) -> Result<u32, PipelineError> {
        Ok(self.state.runs().uses(manifest, target)?)
    }

    pub(crate) fn hold(&self, wanted: Wanted<'_>) -> Result<Hold, BeginError> {
        self.state.runs().hold(wanted)
    }

    pub(crate) fn begin_run(&self, start: RunStart<'_>, hold: Hold) -> Result<Journal, BeginError> {
        self.state.runs().begin_held(start, hold)
    }
}

/// Twelve hexadecimal digits of chance, for names.
pub(crate) fn random_hex() -> Result<String, PipelineError> {
    let mut bytes = [0; 6];
    getrandom::fill(&mut bytes).map_err(|error| PipelineError::failed(error.to_string()))?;
    Ok(hex::encode(bytes))
}

impl From<RecordError> for PipelineError {
    fn from(error: RecordError) -> Self {
        let mut what = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            what.push_str(&format!(": {error}"));
            cause = error.source();
        }
        let failed = Self::failed(what);
        match error.hint() {
            Some(hint) => failed.with_hint(hint),
            None => failed,
        }
    }
}
