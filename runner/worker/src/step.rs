use std::os::fd::{AsFd as _, OwnedFd};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use countersign_capability::{LogLine, LogSink, Port, StepContext};
use countersign_sandbox::{Ended, Failure, Limits};

use crate::confine::Mechanism;
use crate::process::{Process, Processes};
use crate::wire::{Broken, FromWorker, Job, Patience, ToStep};
use crate::workers::{WorkerError, held_by, unasked};

/// The longest that a worker may take to load and link a step.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// A step that is compiled and was linked once, to what its grants name. Each run of it is in a process of its own.
pub struct Step {
    processes: Arc<Processes>,
    job: Job,
    code: OwnedFd,
    /// What its process may go without where the kernel lacks it.
    without: Vec<Mechanism>,
    /// What the kernel lacks of what holds its process.
    lacking: Vec<Mechanism>,
    /// The process of the next run, with the step linked already.
    waiting: Mutex<Option<Process>>,
}

impl Step {
    /// Starts its first process, and does not wait for it.
    pub(crate) fn start(
        processes: Arc<Processes>,
        job: Job,
        code: OwnedFd,
        (without, lacking): (Vec<Mechanism>, Vec<Mechanism>),
    ) -> Result<Self, WorkerError> {
        let step = Self { processes, job, code, without, lacking, waiting: Mutex::default() };
        let process = step.process(&Patience::ENDLESS)?;
        *step.waiting.lock().unwrap_or_else(PoisonError::into_inner) = Some(process);
        Ok(step)
    }

    /// Waits until its first process has linked it.
    pub(crate) fn await_ready(&mut self) -> Result<(), WorkerError> {
        let waiting = self.waiting.get_mut().unwrap_or_else(PoisonError::into_inner);
        let Some(process) = waiting.take() else { return Ok(()) };
        let (process, lacking) = linked(
            process,
            &self.without,
            &Patience { until: Some(Instant::now() + READY_WITHIN), abandoned: &|| false },
        )?;
        *waiting = Some(process);
        self.lacking.extend(lacking);
        self.lacking.sort_unstable();
        self.lacking.dedup();
        Ok(())
    }

    /// What this kernel lacks of what has to hold a step's process, where the operator said that it may.
    #[must_use]
    pub fn lacking(&self) -> &[Mechanism] {
        &self.lacking
    }

    fn process(&self, patience: &Patience<'_>) -> Result<Process, WorkerError> {
        let mut process = self.processes.start("step", patience)?;
        match process.channel.send_with(&self.job, &[self.code.as_fd()]) {
            Ok(()) => Ok(process),
            Err(broken) => Err(WorkerError::Crashed { what: "loaded", how: process.end(&broken) }),
        }
    }

    /// Runs the step in a process of its own, which is gone after, and waits for it. Its calls go through the port, one at a
    /// time; a call that is under way is never abandoned, since an undo must not race it. `interrupted` is asked now and then
    /// whether the step is to be ended before its time.
    #[must_use]
    pub fn run(
        &self,
        port: &mut dyn Port,
        context: StepContext,
        limits: &Limits,
        interrupted: &dyn Fn() -> bool,
    ) -> Ended {
        let started = Instant::now();
        let mut ended = self.run_until(started + limits.wall_clock, port, context, limits, interrupted);
        ended.elapsed = started.elapsed();
        // One that answers right after a slow call is late all the same.
        if ended.result.is_ok() && ended.elapsed > limits.wall_clock {
            ended.result = Err(Failure::OutOfTime(limits.wall_clock));
        }
        ended
    }

    fn run_until(
        &self,
        until: Instant,
        port: &mut dyn Port,
        context: StepContext,
        limits: &Limits,
        interrupted: &dyn Fn() -> bool,
    ) -> Ended {
        let failed = |failure| Ended { result: Err(failure), fuel_used: 0, elapsed: Duration::ZERO };
        let patience = Patience { until: Some(until), abandoned: interrupted };
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        let run = ToStep::Run { context, limits: *limits };
        // One that waited for long may have been killed by whoever clears memory, and has done nothing yet.
        let begun = waiting.and_then(|mut process| process.channel.send(&run, &patience).is_ok().then_some(process));
        let begun = begun.map_or_else(
            || {
                let soon = Instant::now() + READY_WITHIN;
                let ready = Patience { until: Some(soon.min(until)), abandoned: interrupted };
                let (mut process, _) = linked(self.process(&ready)?, &self.without, &ready)?;
                match process.channel.send(&run, &patience) {
                    Ok(()) => Ok(process),
                    Err(broken) => Err(WorkerError::Crashed { what: "runs", how: process.end(&broken) }),
                }
            },
            Ok,
        );
        let mut process = match begun {
            Ok(process) => process,
            Err(_) if interrupted() => return failed(Failure::Interrupted),
            Err(_) if Instant::now() >= until => return failed(Failure::OutOfTime(limits.wall_clock)),
            Err(error) => return failed(Failure::Host(error.to_string())),
        };
        match converse(&mut process, port, &patience, limits) {
            Ok(ended) => ended,
            Err(Halt::Failure(failure)) => failed(failure),
            Err(Halt::Broken(Broken::Late)) => failed(Failure::OutOfTime(limits.wall_clock)),
            Err(Halt::Broken(Broken::Abandoned)) => failed(Failure::Interrupted),
            Err(Halt::Broken(broken)) => failed(Failure::Crashed(process.end(&broken))),
        }
    }
}

/// Why a step's process is ended before it says that it has ended.
enum Halt {
    Broken(Broken),
    Failure(Failure),
}

impl From<Broken> for Halt {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

/// Answers what the step calls until it has ended.
fn converse(
    process: &mut Process,
    port: &mut dyn Port,
    patience: &Patience<'_>,
    limits: &Limits,
) -> Result<Ended, Halt> {
    let mut log = LogSink::default();
    loop {
        match process.channel.receive(patience)? {
            FromWorker::Call(call) => {
                // What it works on is made for this step, and the step is ended after a panic.
                let answered = std::panic::catch_unwind(AssertUnwindSafe(|| port.call(call)));
                let reply = answered
                    .map_err(|panic| Halt::Failure(Failure::Host(countersign_sandbox::said(panic.as_ref()))))?
                    .map_err(|stop| Halt::Failure(Failure::Stopped(stop)))?;
                process.channel.send(&ToStep::Reply(reply), patience)?;
            }
            FromWorker::Log(level, message) if log.take(&message) => port.log(LogLine { level: level.name(), message }),
            FromWorker::Ended(result, fuel) => return Ok(Ended::claimed(result.map(Into::into), fuel, limits)),
            _ => return Err(Halt::Failure(Failure::Crashed("broke its protocol".to_owned()))),
        }
    }
}

/// Waits until a process has linked its step, and gives what it lacks.
fn linked(
    mut process: Process,
    without: &[Mechanism],
    patience: &Patience<'_>,
) -> Result<(Process, Vec<Mechanism>), WorkerError> {
    let crashed = |how: String| WorkerError::Crashed { what: "loaded", how };
    let lacking = match process.channel.receive(patience) {
        Ok(said) => held_by(said, without, crashed)?,
        Err(broken) => return Err(crashed(process.end(&broken))),
    };
    match process.channel.receive(patience) {
        Ok(FromWorker::Ready) => Ok((process, lacking)),
        Ok(FromWorker::NotCompiled(error)) => Err(error.claimed().into()),
        Ok(FromWorker::NotLinked(error)) => Err(error.claimed().into()),
        Ok(said) => Err(crashed(unasked(said))),
        Err(broken) => Err(crashed(process.end(&broken))),
    }
}
