use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use countersign_capability::{Port, StepContext, StepState, step};
use countersign_model::text::{excerpt, visible};
use countersign_model::{Stop, Verdict};
use serde::{Deserialize, Serialize};
use wasmtime::{PoolConcurrencyLimitError, Store, Trap};

use crate::engine::{TICK, on_thread, one_line};
use crate::limits::{Limits, MAX_HANDLES};
use crate::link::{Entry, Linked};
use crate::room;
use crate::wasi::{self, Exited};

/// The most findings that an investigation may return.
pub const MAX_FINDINGS: usize = 100;
/// The longest summary of a finding, in characters.
const MAX_SUMMARY: usize = 200;
/// The longest detail of a finding, in bytes.
const MAX_DETAIL: usize = 16 << 10;
/// The longest error or reason that is kept, in bytes.
const MAX_TEXT: usize = 4 << 10;

/// How a step ended.
#[derive(Debug)]
pub struct Ended {
    /// What it answered, or why it did not.
    pub result: Result<Output, Failure>,
    /// Fuel that it used.
    pub fuel_used: u64,
    /// From its start to its end.
    pub elapsed: Duration,
}

/// What a step that ran to its end answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Output {
    /// An investigation's findings, at most [`MAX_FINDINGS`].
    Findings(Vec<Finding>),
    /// A fix or a rollback is done.
    Done,
    /// A check's verdict; a reason is cut at 4 KiB.
    Verdict(Verdict),
}

/// One thing that an investigation found out; untrusted text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Cut at 200 characters.
    pub summary: String,
    /// Cut at 16 KiB.
    pub detail: String,
}

/// Why a step gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Failure {
    /// It returned an error: its own words, untrusted, cut at 4 KiB.
    #[error("the step failed: {}", visible(.0))]
    Returned(String),
    /// The port ended it.
    #[error("{0}")]
    Stopped(Stop),
    /// It ended its program instead of answering, with this exit code.
    #[error("the step called exit, with code {0}, instead of answering")]
    Exited(u8),
    /// It used up its fuel.
    #[error("the step used up its fuel of {0} instructions")]
    OutOfFuel(u64),
    /// It ran past its wall-clock limit.
    #[error("the step did not end within {} ms", .0.as_millis())]
    OutOfTime(Duration),
    /// It needed more memory, or larger tables, than its limit.
    #[error("the step needs more memory than its limit: {0}")]
    OutOfMemory(String),
    /// It trapped, or passed something over its boundary that cannot be taken.
    #[error("the step trapped: {0}")]
    Trapped(String),
    /// It answered with more than is taken.
    #[error("the step's answer cannot be used: {0}")]
    Unusable(String),
    /// It was ended before its time.
    #[error("the step was interrupted")]
    Interrupted,
    /// The process that it ran in died, or said what no worker says.
    #[error("the step's worker process {0}")]
    Crashed(String),
    /// The host failed, not the step.
    #[error("the step was ended by its host: {0}")]
    Host(String),
}

impl Ended {
    /// What another process, which the step may have taken over, says of how it ended: bounded as what this one says is, and
    /// without what it cannot know. A stop is the port's to tell.
    #[must_use]
    pub fn claimed(result: Result<Output, Failure>, fuel_used: u64, limits: &Limits) -> Self {
        let result = match result {
            Ok(Output::Findings(found)) => findings(found),
            Ok(Output::Verdict(said)) => Ok(Output::Verdict(cut_verdict(said))),
            Ok(Output::Done) => Ok(Output::Done),
            Err(failure) => Err(failure.claimed(limits)),
        };
        Self { result, fuel_used: fuel_used.min(limits.fuel), elapsed: Duration::ZERO }
    }
}

impl Failure {
    fn claimed(self, limits: &Limits) -> Self {
        let text = |text: String| excerpt(&text, 600);
        match self {
            Self::Returned(text) => returned(text),
            Self::Stopped(_) => Self::Crashed("said that it was stopped, and nobody had stopped it".to_owned()),
            Self::OutOfFuel(_) => Self::OutOfFuel(limits.fuel),
            Self::OutOfTime(_) => Self::OutOfTime(limits.wall_clock),
            Self::OutOfMemory(what) => Self::OutOfMemory(text(what)),
            Self::Trapped(what) => Self::Trapped(text(what)),
            Self::Unusable(what) => Self::Unusable(text(what)),
            Self::Crashed(what) => Self::Crashed(text(what)),
            Self::Host(what) => Self::Host(text(what)),
            Self::Interrupted => Self::Crashed("said that it was interrupted, and nobody had".to_owned()),
            own @ Self::Exited(_) => own,
        }
    }
}

impl Linked {
    /// Runs the step in a store of its own and waits for it; the store is gone after. A thread that has room for it
    /// runs it itself, see [`take_room`](crate::take_room); otherwise the step gets a thread of its own.
    ///
    /// A host call that is under way is never abandoned: an undo must not race it.
    #[must_use]
    pub fn run(&self, port: Box<dyn Port>, context: StepContext, limits: Limits) -> Ended {
        let started = Instant::now();
        let guest = self.core.settings.stack_bytes;
        let work = || self.run_here(port, context, &limits);
        let ran = if room::is_for(guest) {
            // What it works on is the store, which is gone after a panic, and the port, which is made for it.
            std::panic::catch_unwind(AssertUnwindSafe(work)).map_err(|panic| room::said(panic.as_ref()))
        } else {
            on_thread("countersign-step", room::stack(guest), work)
        };
        let elapsed = started.elapsed();
        let (mut result, fuel_used) = match ran {
            Ok(ran) => ran,
            Err(why) => (Err(Failure::Host(why)), 0),
        };
        // The epoch ends a guest that goes on. One that returns right after a slow call is late all the same.
        if result.is_ok() && elapsed > limits.wall_clock {
            result = Err(Failure::OutOfTime(limits.wall_clock));
        }
        Ended { result, fuel_used, elapsed }
    }

    fn run_here(&self, port: Box<dyn Port>, context: StepContext, limits: &Limits) -> (Result<Output, Failure>, u64) {
        let mut state = StepState::new(port, limits.store(self.memories), context);
        state.inert = self.wasi.then(Box::default);
        let mut store = Store::new(&self.core.engine, state);
        store.limiter(|state| &mut state.limits);
        store.set_hostcall_fuel(limits.hostcall_bytes);
        store.set_max_component_handles(MAX_HANDLES);
        store.epoch_deadline_trap();
        store.set_epoch_deadline(ticks(limits.wall_clock));
        if let Err(error) = store.set_fuel(limits.fuel) {
            return (Err(Failure::Host(one_line(&error))), 0);
        }
        let result = match self.call(&mut store) {
            Ok(answer) => answer,
            Err(error) => Err(failure(&error, limits)),
        };
        wasi::finish(store.data_mut());
        let left = store.get_fuel().unwrap_or(0);
        (result, limits.fuel.saturating_sub(left))
    }

    /// The outer error is a trap or a failed instantiation.
    fn call(&self, store: &mut Store<StepState>) -> wasmtime::Result<Result<Output, Failure>> {
        Ok(match &self.entry {
            Entry::Investigation(pre) => pre
                .instantiate(&mut *store)?
                .call_investigate(store)?
                .map_err(returned)
                .and_then(|found| findings(found.into_iter().map(Finding::from).collect())),
            Entry::Fix(pre) => done(pre.instantiate(&mut *store)?.call_fix(store)?),
            Entry::Rollback(pre) => done(pre.instantiate(&mut *store)?.call_rollback(store)?),
            Entry::Check(pre) => pre
                .instantiate(&mut *store)?
                .call_check(store)?
                .map_err(returned)
                .map(|said| Output::Verdict(cut_verdict(verdict(said)))),
        })
    }
}

/// Epochs until the deadline. The one that has begun already does not count.
fn ticks(wall_clock: Duration) -> u64 {
    let ticks = wall_clock.as_nanos().div_ceil(TICK.as_nanos()).saturating_add(1);
    // Far below the overflow of wasmtime's own addition.
    u64::try_from(ticks).unwrap_or(u64::MAX).min(u64::MAX / 4)
}

fn done(answer: Result<(), String>) -> Result<Output, Failure> {
    answer.map(|()| Output::Done).map_err(returned)
}

fn returned(text: String) -> Failure {
    Failure::Returned(cut(text, MAX_TEXT))
}

fn findings(found: Vec<Finding>) -> Result<Output, Failure> {
    if found.len() > MAX_FINDINGS {
        return Err(Failure::Unusable(format!("{} findings are more than {MAX_FINDINGS}", found.len())));
    }
    let finding = |found: Finding| {
        let summary = match found.summary.char_indices().nth(MAX_SUMMARY) {
            Some((end, _)) => cut(found.summary, end),
            None => found.summary,
        };
        Finding { summary, detail: cut(found.detail, MAX_DETAIL) }
    };
    Ok(Output::Findings(found.into_iter().map(finding).collect()))
}

impl From<step::types::Finding> for Finding {
    fn from(found: step::types::Finding) -> Self {
        Self { summary: found.summary, detail: found.detail }
    }
}

fn verdict(verdict: step::types::Verdict) -> Verdict {
    match verdict {
        step::types::Verdict::Healthy => Verdict::Healthy,
        step::types::Verdict::Unhealthy(reason) => Verdict::Unhealthy(reason),
        step::types::Verdict::CannotTell(reason) => Verdict::CannotTell(reason),
    }
}

fn cut_verdict(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Healthy => Verdict::Healthy,
        Verdict::Unhealthy(reason) => Verdict::Unhealthy(cut(reason, MAX_TEXT)),
        Verdict::CannotTell(reason) => Verdict::CannotTell(cut(reason, MAX_TEXT)),
    }
}

/// At most the first `limit` bytes, and `…` where something was cut.
fn cut(mut text: String, limit: usize) -> String {
    if text.len() > limit {
        text.truncate(text.floor_char_boundary(limit));
        text.push('…');
    }
    text
}

/// Tells a trap's sort. What the host said last decides: a stop is a stop, however it came through the guest.
fn failure(error: &wasmtime::Error, limits: &Limits) -> Failure {
    if let Some(stop) = error.downcast_ref::<Stop>() {
        return Failure::Stopped(stop.clone());
    }
    if let Some(Exited(code)) = error.downcast_ref::<Exited>() {
        return Failure::Exited(*code);
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return Failure::Host("more steps run at once than the sandbox was set up for".to_owned());
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => Failure::OutOfTime(limits.wall_clock),
        Some(Trap::OutOfFuel) => Failure::OutOfFuel(limits.fuel),
        Some(trap) => Failure::Trapped(excerpt(trap.to_string().trim_start_matches("wasm trap: "), 200)),
        None => {
            let what = one_line(error);
            // The wording of wasmtime's `StoreLimits`, which has no type; a test holds it.
            match what.split_once("forcing trap when growing ") {
                Some((_, growth)) => Failure::OutOfMemory(format!("growing {growth}")),
                None => Failure::Trapped(what),
            }
        }
    }
}
