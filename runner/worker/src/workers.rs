use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use countersign_model::Access;
use countersign_model::text::excerpt;
use countersign_sandbox::{Admitted, CompileError, LinkError};
use rustix::fs::{MemfdFlags, SealFlags};

use crate::cache::Cache;
use crate::confine::Mechanism;
use crate::process::{Processes, Program};
use crate::step::Step;
use crate::wire::{Broken, CompileLimits, FromWorker, Job, Patience};

/// How steps are held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Confinement {
    /// What a worker may go without where the kernel lacks it; what the kernel has is used all the same.
    pub without: BTreeSet<Mechanism>,
    /// What compiling one step may take.
    pub compile: CompileLimits,
}

/// Starts worker processes, and keeps the native code that they made.
pub struct Workers {
    processes: Arc<Processes>,
    confinement: Confinement,
    cache: Option<Cache>,
}

/// Why a step is not ready to be run.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// No process was started.
    #[error("no worker process was started: {0}")]
    Start(#[from] std::io::Error),
    /// The kernel cannot hold a step as it has to be held.
    #[error("this kernel cannot confine a step's process: it has no {}", names(.0))]
    Unconfined(Vec<Mechanism>),
    /// It was not compiled, or its code not loaded.
    #[error("{0}")]
    Compile(#[from] CompileError),
    /// Compiling it takes too long.
    #[error("the component was not compiled within {0} s")]
    CompileTime(u64),
    /// It was not linked.
    #[error("{0}")]
    Link(#[from] LinkError),
    /// Its process died, or said what no worker says.
    #[error("the process that {what} it {how}")]
    Crashed {
        /// What it was to do: `compiled` or `loaded`.
        what: &'static str,
        /// What became of it.
        how: String,
    },
}

fn names(mechanisms: &[Mechanism]) -> String {
    mechanisms.iter().map(|mechanism| mechanism.name()).collect::<Vec<_>>().join(" and no ")
}

/// A step whose process is on its way.
pub struct Starting<'a> {
    workers: &'a Workers,
    admitted: &'a Admitted,
    granted: Vec<(String, Access)>,
    step: Step,
    from_cache: bool,
}

/// Native code, by descriptor.
pub(crate) struct Code {
    pub(crate) file: OwnedFd,
    /// What the kernel lacked where it was compiled.
    missing: Vec<Mechanism>,
}

impl Workers {
    /// Workers of this program. Uses `cache_dir` to keep native code if it can be trusted: it is made if it is missing, and
    /// must belong to this process's user, with mode 0700. Otherwise a warning is logged and steps are compiled every time.
    #[must_use]
    pub fn new(program: Program, confinement: Confinement, cache_dir: Option<&Path>) -> Self {
        let cache = cache_dir.and_then(|dir| {
            Cache::open(dir)
                .inspect_err(|why| tracing::warn!(directory = %dir.display(), "the compile cache is not used: {why}"))
                .ok()
        });
        Self { processes: Arc::new(Processes::of(program)), confinement, cache }
    }

    /// Whether the cache directory was found fit for use.
    #[must_use]
    pub fn caches(&self) -> bool {
        self.cache.is_some()
    }

    /// Begins what the first step that is started would wait for. For whoever has something else to do before that.
    pub fn warm(&self) {
        self.processes.warm();
    }

    /// Compiles an admitted step where no code of it is kept, and starts the process that loads and links it. Nothing but
    /// what is granted, given as capability and access, is linked.
    ///
    /// # Errors
    /// When it is not compiled, or no process starts.
    pub fn start<'a>(
        &'a self,
        admitted: &'a Admitted,
        granted: &BTreeSet<(String, Access)>,
    ) -> Result<Starting<'a>, WorkerError> {
        let granted: Vec<_> = granted.iter().cloned().collect();
        let digest = admitted.inspection().digest();
        let (code, from_cache) = match self.cache.as_ref().and_then(|cache| cache.load(digest)) {
            Some(file) => (Code { file, missing: Vec::new() }, true),
            None => (self.compile(admitted, &granted)?, false),
        };
        let step = self.step(admitted, &granted, code)?;
        Ok(Starting { workers: self, admitted, granted, step, from_cache })
    }

    fn step(&self, admitted: &Admitted, granted: &[(String, Access)], code: Code) -> Result<Step, WorkerError> {
        let job = Job::Step { outline: admitted.outline(), granted: granted.to_vec(), without: self.without() };
        Step::start(Arc::clone(&self.processes), job, code.file, (self.without(), code.missing))
    }

    fn without(&self) -> Vec<Mechanism> {
        self.confinement.without.iter().copied().collect()
    }

    /// Compiles the very buffer that was inspected, in a process of its own.
    fn compile(&self, admitted: &Admitted, granted: &[(String, Access)]) -> Result<Code, WorkerError> {
        let limits = self.confinement.compile;
        let source = memory("countersign-step")?;
        std::io::Write::write_all(&mut File::from(source.try_clone()?), admitted.inspection().bytes())?;
        std::io::Seek::rewind(&mut File::from(source.try_clone()?))?;
        let code = memory("countersign-code")?;
        let job = Job::Compile {
            role: admitted.inspection().role(),
            granted: granted.to_vec(),
            without: self.without(),
            limits,
        };
        let mut process = self.processes.start("compile", &Patience::ENDLESS)?;
        let until = Instant::now() + limits.within;
        let patience = Patience { until: Some(until), abandoned: &|| false };
        let crashed = |how: String| WorkerError::Crashed { what: "compiled", how };
        let late = |broken: &Broken| matches!(broken, Broken::Late);
        let sent = process.channel.send_with(&job, &[source.as_fd(), code.as_fd()]);
        let held = match sent.and_then(|()| process.channel.receive(&patience)) {
            Ok(said) => said,
            Err(broken) if late(&broken) => return Err(WorkerError::CompileTime(limits.within.as_secs())),
            Err(broken) => return Err(crashed(process.end(&broken))),
        };
        let missing = held_by(held, &self.without(), crashed)?;
        match process.channel.receive(&patience) {
            Ok(FromWorker::Compiled) => {
                // Nobody writes to it any more.
                drop(process);
                rustix::fs::fcntl_add_seals(&code, SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW)
                    .map_err(std::io::Error::from)?;
                let digest = admitted.inspection().digest();
                let kept = self.cache.as_ref().and_then(|cache| cache.store(&code, digest));
                Ok(match kept {
                    Some(file) => Code { file, missing },
                    None => Code { file: code, missing },
                })
            }
            Ok(FromWorker::NotCompiled(error)) => Err(error.claimed().into()),
            Ok(said) => Err(crashed(unasked(said))),
            Err(broken) if late(&broken) => Err(WorkerError::CompileTime(limits.within.as_secs())),
            Err(broken) => Err(crashed(process.end(&broken))),
        }
    }
}

/// What a worker says first: how it is held. It may lack only what it was given leave to, and what it lacks is the kernel's
/// doing: it says so before it has looked at anything of the step.
pub(crate) fn held_by(
    said: FromWorker,
    without: &[Mechanism],
    crashed: impl Fn(String) -> WorkerError,
) -> Result<Vec<Mechanism>, WorkerError> {
    match said {
        FromWorker::Held(missing) => {
            let missing = missing.mechanisms();
            if missing.iter().all(|mechanism| without.contains(mechanism)) {
                return Ok(missing);
            }
            Err(WorkerError::Unconfined(missing))
        }
        said => Err(crashed(unasked(said))),
    }
}

/// What became of a worker that said something else than what was due.
pub(crate) fn unasked(said: FromWorker) -> String {
    match said {
        FromWorker::Failed(why) => format!("could not be set up: {}", excerpt(&why, 300)),
        _ => "broke its protocol".to_owned(),
    }
}

/// A file without a name, in memory.
pub(crate) fn memory(name: &str) -> std::io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    Ok(rustix::fs::memfd_create(name, flags)?)
}

impl Starting<'_> {
    /// Whether its code came out of the cache.
    #[must_use]
    pub const fn from_cache(&self) -> bool {
        self.from_cache
    }

    /// Waits until the step is linked. Code out of the cache that cannot be loaded, as another release or processor made it,
    /// is compiled once more.
    ///
    /// # Errors
    /// When it does not load, is not linked, or its process cannot be confined or dies.
    pub fn ready(mut self) -> Result<Step, WorkerError> {
        match self.step.await_ready() {
            Err(why @ (WorkerError::Compile(_) | WorkerError::Crashed { .. })) if self.from_cache => {
                tracing::warn!("a cached step is compiled again: {why}");
                let code = self.workers.compile(self.admitted, &self.granted)?;
                let mut step = self.workers.step(self.admitted, &self.granted, code)?;
                step.await_ready()?;
                Ok(step)
            }
            other => other.map(|()| self.step),
        }
    }
}
