//! Performs read calls.

use countersign_capability::Context;
use countersign_model::{Fault, FaultKind};
use serde::Serialize;

use crate::call::Call;
use crate::proc::Executable;
use crate::scope::Scope;
use crate::session::ProcessSession;

impl ProcessSession {
    pub(crate) fn look(&self, cx: &Context<'_>, scope: &Scope, call: &Call) -> Result<Vec<u8>, Fault> {
        call.check()?;
        if !scope.covers(call) {
            return Err(Fault::new(FaultKind::Denied, "the grant does not cover the call"));
        }
        if self.pending.iter().any(|change| change.process.executable == call.executable()) {
            let what = format!("what a signal does to `{}` cannot be rehearsed", call.executable());
            return Err(Fault::new(FaultKind::Unknowable, what));
        }
        match call {
            Call::List { executable } => {
                let mut found = self.proc.processes(&Executable::find(executable)?, cx.deadline)?;
                found.retain(|process| !self.is_own(process.pid));
                encode(&found)
            }
            Call::Inspect(process) => encode(&self.resolve(cx, process)?),
            Call::Signal { .. } => Err(Fault::new(FaultKind::Denied, "a write was sent as a read")),
        }
    }
}

fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, Fault> {
    postcard::to_stdvec(value)
        .map_err(|error| Fault::new(FaultKind::Other, format!("a reply was not encoded: {error}")))
}
