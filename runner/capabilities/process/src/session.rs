//! A session: what it remembers and whom it never touches.

use std::path::Path;

use countersign_capability::{Context, Opening, Phase, Prepared, Protected, Session};
use countersign_model::{Ability, Fault, FaultKind, State};

use crate::Process;
use crate::call::{Call, Named, Which};
use crate::change::Change;
use crate::proc::{Executable, Proc, in_time};
use crate::scope::Scope;
use crate::{ProcessCapability, pid_file};

/// The longest chain of parents that is walked.
const MAX_ANCESTORS: usize = 256;

/// Looks at and signals the processes of this host.
pub struct ProcessSession {
    pub(crate) proc: Proc,
    pub(crate) phase: Phase,
    pub(crate) protected: Protected,
    /// The signals of this rehearsal, in order.
    pub(crate) pending: Vec<Change>,
    /// The signals that were sent: nothing tells afterwards what they did.
    pub(crate) sent: Vec<Change>,
    /// Tells two equal signals of one session apart.
    pub(crate) prepared: u64,
}

impl ProcessSession {
    pub(crate) fn open(opening: &Opening<'_>) -> Result<Self, Fault> {
        let settings = opening.settings;
        if !settings.is_null() && !settings.as_object().is_some_and(serde_json::Map::is_empty) {
            return Err(Fault::new(FaultKind::Invalid, "`process` takes no settings"));
        }
        Ok(Self {
            proc: Proc::open()?,
            phase: opening.phase,
            protected: opening.protected.clone(),
            pending: Vec::new(),
            sent: Vec::new(),
            prepared: 0,
        })
    }

    /// The process of this name as it is now.
    pub(crate) fn resolve(&self, cx: &Context<'_>, named: &Named) -> Result<Process, Fault> {
        in_time(cx.deadline)?;
        let executable = Executable::find(&named.executable)?;
        let process = match &named.which {
            Which::PidFile(path) => self.by_pid_file(path, &executable).map_err(|why| {
                tracing::debug!(pid_file = path, executable = named.executable, why, "a pid file leads to no process");
                pid_file::unfit(path, &named.executable)
            })?,
            Which::Started(ticks) => {
                let mut found = self.proc.processes(&executable, cx.deadline)?;
                found.retain(|process| process.started == *ticks);
                match (found.pop(), found.is_empty()) {
                    (Some(process), true) => process,
                    (None, _) => {
                        let what = format!("no process of `{}` started at {ticks}", named.executable);
                        return Err(Fault::new(FaultKind::NotFound, what));
                    }
                    (Some(_), false) => {
                        let what = format!("several processes of `{}` started at {ticks}", named.executable);
                        return Err(Fault::new(FaultKind::Unsupported, what));
                    }
                }
            }
        };
        self.refuse_own(process.pid)?;
        Ok(process)
    }

    /// The process of the executable that a pid file names.
    ///
    /// # Errors
    /// Why there is none, which a guest is not told.
    fn by_pid_file(&self, path: &str, executable: &Executable<'_>) -> Result<Process, String> {
        if self.protected.paths.iter().any(|own| Path::new(path).starts_with(own)) {
            return Err("it is the runner's own".to_owned());
        }
        let process = self.proc.process(pid_file::read(path)?, executable).map_err(|fault| fault.what)?;
        self.refuse_own(process.pid).map(|()| process).map_err(|fault| fault.what)
    }

    /// # Errors
    /// `Denied` for a process of the runner.
    pub(crate) fn refuse_own(&self, pid: u32) -> Result<(), Fault> {
        if self.is_own(pid) {
            return Err(Fault::new(FaultKind::Denied, format!("process {pid} is the runner's own")));
        }
        Ok(())
    }

    pub(crate) fn is_own(&self, pid: u32) -> bool {
        pid == std::process::id() || self.protected.processes.contains(&pid)
    }

    /// # Errors
    /// `Denied` for the first process, and for a process that the runner or a part of it descends from.
    pub(crate) fn refuse_vital(&self, pid: u32) -> Result<(), Fault> {
        self.refuse_own(pid)?;
        if pid <= 1 {
            return Err(Fault::new(FaultKind::Denied, format!("process {pid} is never signalled")));
        }
        let own = std::iter::once(std::process::id()).chain(self.protected.processes.iter().copied());
        for (at, mut descendant) in own.enumerate() {
            for _ in 0..MAX_ANCESTORS {
                descendant = match self.proc.parent(descendant) {
                    Ok(parent) => parent,
                    // Another process of the runner may have ended; this one has not.
                    Err(_) if at > 0 => break,
                    Err(fault) => return Err(fault),
                };
                if descendant == pid {
                    return Err(Fault::new(FaultKind::Denied, format!("the runner descends from process {pid}")));
                }
                if descendant <= 1 {
                    break;
                }
            }
        }
        Ok(())
    }
}

impl Session<ProcessCapability> for ProcessSession {
    fn read(&mut self, cx: &mut Context<'_>, scope: &Scope, call: Call) -> Result<Vec<u8>, Fault> {
        self.look(cx, scope, &call)
    }

    fn prepare(&mut self, cx: &mut Context<'_>, scope: &Scope, call: Call) -> Result<Prepared<Change>, Fault> {
        self.make_ready(cx, scope, &call)
    }

    fn rehearse(&mut self, _: &mut Context<'_>, change: &Change) -> Result<Vec<u8>, Fault> {
        self.note(change)
    }

    fn rehearse_undo(&mut self, _: &mut Context<'_>, _: &Change) -> Result<(), Fault> {
        Err(cannot_undo())
    }

    fn apply(&mut self, cx: &mut Context<'_>, change: &Change) -> Result<Vec<u8>, Fault> {
        self.send(cx, change)
    }

    fn probe(&mut self, cx: &mut Context<'_>, change: &Change) -> Result<State, Fault> {
        self.tell(cx, change)
    }

    fn can_apply(&mut self, cx: &mut Context<'_>, change: &Change) -> Result<Ability, Fault> {
        self.may_send(cx, change)
    }

    fn undo(&mut self, _: &mut Context<'_>, _: &Change) -> Result<(), Fault> {
        Err(cannot_undo())
    }

    fn settle(&mut self, _: &mut Context<'_>, _: &Change) -> Result<(), Fault> {
        Ok(())
    }

    fn revert(&mut self, _: &mut Context<'_>, _: &Scope, _: &Change) -> Result<Prepared<Change>, Fault> {
        Err(cannot_undo())
    }
}

fn cannot_undo() -> Fault {
    Fault::new(FaultKind::Unsupported, "a signal cannot be undone")
}
