//! The one change: a signal.

use std::io::Read;

use countersign_capability::{Context, Phase, Prepared};
use countersign_model::{Ability, Fault, FaultKind, Reversibility, State};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal, test_kill_process};
use serde::{Deserialize, Serialize};

use crate::Process;
use crate::call::{Call, Named, Signal, Which};
use crate::proc::in_time;
use crate::scope::Scope;
use crate::session::ProcessSession;

/// The most signals of one session.
const MAX_SIGNALS: usize = 10_000;

/// A signal made ready: to whom it goes, as named and as found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// The process as the call named it.
    pub process: Named,
    /// What is sent.
    pub signal: Signal,
    /// The identifier when it was prepared.
    pub pid: u32,
    /// When that process started, in clock ticks since boot.
    pub started: u64,
    /// The kernel's identifier of that boot, without which the other two mean nothing.
    pub boot: String,
    /// Counts the changes that the session prepared.
    pub number: u64,
}

impl ProcessSession {
    pub(crate) fn make_ready(
        &mut self,
        cx: &Context<'_>,
        scope: &Scope,
        call: &Call,
    ) -> Result<Prepared<Change>, Fault> {
        if !matches!(self.phase, Phase::Rehearse | Phase::Live) {
            return Err(Fault::new(FaultKind::Denied, "nothing is changed while a target is only looked at"));
        }
        call.check()?;
        let Call::Signal { process, signal } = call else {
            return Err(Fault::new(FaultKind::Denied, "a read was sent as a write"));
        };
        if !scope.covers(call) {
            return Err(Fault::new(FaultKind::Denied, "the grant does not cover the call"));
        }
        let ended = |change: &Change| change.signal.ends() && change.process.executable == process.executable;
        if self.pending.iter().any(ended) {
            let what = format!("whether `{}` still runs after a signal cannot be rehearsed", process.executable);
            return Err(Fault::new(FaultKind::Unknowable, what));
        }
        let found = self.resolve(cx, process)?;
        self.refuse_vital(found.pid)?;
        self.prepared += 1;
        let change = Change {
            process: process.clone(),
            signal: *signal,
            pid: found.pid,
            started: found.started,
            boot: boot()?,
            number: self.prepared,
        };
        let mut effect = serde_json::json!({ "op": "signal", "signal": signal.name(), "exe": process.executable });
        let (key, value) = match &process.which {
            Which::PidFile(path) => ("pid-file", path.as_str().into()),
            Which::Started(ticks) => ("started", (*ticks).into()),
        };
        if let Some(effect) = effect.as_object_mut() {
            effect.insert(key.to_owned(), value);
        }
        let whose = match &process.which {
            Which::PidFile(path) => format!("that `{path}` names"),
            Which::Started(ticks) => format!("that started at {ticks}"),
        };
        Ok(Prepared {
            subject: process.subject(),
            reversibility: Reversibility::Irreversible,
            summary: format!("send {signal} to the process of `{}` {whose}", process.executable),
            before: None,
            after: None,
            kept: None,
            effect,
            change,
        })
    }

    pub(crate) fn note(&mut self, change: &Change) -> Result<Vec<u8>, Fault> {
        if self.phase != Phase::Rehearse {
            return Err(Fault::new(FaultKind::Denied, "this is no rehearsal"));
        }
        keep(&mut self.pending, change)?;
        Ok(Vec::new())
    }

    pub(crate) fn send(&mut self, cx: &Context<'_>, change: &Change) -> Result<Vec<u8>, Fault> {
        if self.phase != Phase::Live {
            return Err(Fault::new(FaultKind::Denied, "signals are sent in a run only"));
        }
        let Change { process, signal, pid, started, boot: booted, .. } = change;
        let changed = |why: String| Fault::new(FaultKind::Changed, why);
        if *booted != boot()? {
            return Err(changed("the host was started anew since the change was prepared".to_owned()));
        }
        self.refuse_vital(*pid)?;
        let target = i32::try_from(*pid).ok().and_then(Pid::from_raw);
        let target = target.ok_or_else(|| changed(format!("{pid} is not a process identifier")))?;
        // From here on the handle stands for one process, whatever becomes of its identifier.
        let handle = pidfd_open(target, PidfdFlags::empty()).map_err(|error| match error {
            Errno::SRCH | Errno::INVAL | Errno::NOENT => changed(format!("process {pid} is not there any more")),
            error => Fault::new(FaultKind::Other, format!("process {pid} was not opened: {error}")),
        })?;
        let found = self.resolve(cx, process).map_err(|fault| match fault.kind {
            FaultKind::NotFound => Fault { kind: FaultKind::Changed, ..fault },
            _ => fault,
        })?;
        if (found.pid, found.started) != (*pid, *started) {
            return Err(changed(format!("`{process}` is another process than the change was prepared for")));
        }
        in_time(cx.deadline)?;
        if self.sent.len() >= MAX_SIGNALS {
            return Err(too_many());
        }
        pidfd_send_signal(&handle, number(*signal)).map_err(|error| match error {
            Errno::SRCH => changed(format!("process {pid} ended")),
            Errno::PERM => not_permitted(*pid),
            error => Fault::new(FaultKind::Other, format!("process {pid} was not signalled: {error}")),
        })?;
        keep(&mut self.sent, change)?;
        Ok(Vec::new())
    }

    /// Whether the process that the change names is there and the runner may signal it: the kernel is asked with no
    /// signal at all, see kill(2).
    pub(crate) fn may_send(&self, cx: &Context<'_>, change: &Change) -> Result<Ability, Fault> {
        if !matches!(self.phase, Phase::Preflight | Phase::Live) {
            return Err(Fault::new(FaultKind::Denied, "only a run's session tells whether a signal could be sent"));
        }
        match self.asked(cx, change) {
            Ok(()) => Ok(Ability::Can),
            Err(fault) if fault.kind == FaultKind::TimedOut => Err(fault),
            Err(fault) => Ok(Ability::Cannot(fault.what)),
        }
    }

    fn asked(&self, cx: &Context<'_>, change: &Change) -> Result<(), Fault> {
        let Process { pid, .. } = self.resolve(cx, &change.process)?;
        self.refuse_vital(pid)?;
        let gone = || Fault::new(FaultKind::Changed, format!("process {pid} is not there any more"));
        let process = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(gone)?;
        test_kill_process(process).map_err(|errno| match errno {
            Errno::SRCH => gone(),
            Errno::PERM => not_permitted(pid),
            errno => Fault::new(FaultKind::Other, format!("process {pid} could not be asked for: {errno}")),
        })
    }

    /// Whether the process that the change names is there; it need not be the one that was found then.
    pub(crate) fn tell(&self, cx: &Context<'_>, change: &Change) -> Result<State, Fault> {
        if self.sent.contains(change) || self.pending.contains(change) {
            return Ok(State::Unknowable);
        }
        match self.resolve(cx, &change.process) {
            Ok(_) => Ok(State::Before),
            Err(fault) => match fault.kind {
                FaultKind::NotFound | FaultKind::Changed | FaultKind::Unsupported | FaultKind::Denied => {
                    Ok(State::Elsewhere(fault.what))
                }
                _ => Err(fault),
            },
        }
    }
}

fn keep(changes: &mut Vec<Change>, change: &Change) -> Result<(), Fault> {
    if changes.len() >= MAX_SIGNALS {
        return Err(too_many());
    }
    changes.push(change.clone());
    Ok(())
}

fn not_permitted(pid: u32) -> Fault {
    Fault::new(FaultKind::Denied, format!("the runner may not signal process {pid}"))
}

fn too_many() -> Fault {
    Fault::new(FaultKind::TooLarge, format!("more than {MAX_SIGNALS} signals"))
}

/// The kernel's random identifier of this boot.
fn boot() -> Result<String, Fault> {
    const MAX: u64 = 64;
    let mut text = String::new();
    std::fs::File::open("/proc/sys/kernel/random/boot_id")
        .and_then(|file| file.take(MAX).read_to_string(&mut text))
        .map_err(|error| Fault::new(FaultKind::Other, format!("the boot's identifier was not read: {error}")))?;
    Ok(text.trim_ascii().to_owned())
}

fn number(signal: Signal) -> rustix::process::Signal {
    match signal {
        Signal::Hup => rustix::process::Signal::HUP,
        Signal::Int => rustix::process::Signal::INT,
        Signal::Kill => rustix::process::Signal::KILL,
        Signal::Quit => rustix::process::Signal::QUIT,
        Signal::Term => rustix::process::Signal::TERM,
        Signal::Usr1 => rustix::process::Signal::USR1,
        Signal::Usr2 => rustix::process::Signal::USR2,
        Signal::Winch => rustix::process::Signal::WINCH,
    }
}
