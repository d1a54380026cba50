use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// For how long past its time a call may go on before it is given up, unless the operator says otherwise.
pub const CALL_GRACE: Duration = Duration::from_secs(60);

/// The call to a target that is under way, for whoever watches that it returns. The kernel can hold one for ever, as it
/// does where a network mount hangs; then nothing but the end of the process lets go of it.
#[derive(Debug)]
pub struct Calls {
    grace: Duration,
    slot: Mutex<Slot>,
}

#[derive(Debug, Default)]
struct Slot {
    call: Option<(Instant, Duration, Overdue)>,
    given_up: bool,
}

/// A call that did not return.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overdue {
    /// The capability.
    pub capability: String,
    /// What was done, with the subject, in words that may be told.
    pub call: String,
    /// For how long, in whole seconds.
    pub seconds: u64,
}

impl Default for Calls {
    fn default() -> Self {
        Self::with_grace(CALL_GRACE)
    }
}

impl Calls {
    /// Calls that are given up so long after their own time is up.
    #[must_use]
    pub fn with_grace(grace: Duration) -> Self {
        Self { grace, slot: Mutex::default() }
    }

    /// From now on this call is under way, for `time` at most; until what is given back is dropped.
    pub(crate) fn begin(self: &Arc<Self>, capability: &str, call: String, time: Duration) -> UnderCall {
        let call = Overdue { capability: capability.to_owned(), call, seconds: 0 };
        self.lock().call = Some((Instant::now(), time, call));
        UnderCall(Arc::clone(self))
    }

    /// The call that is past its time and grace, if one is. It is given up by this: should it return after all, whoever
    /// made it goes no further, until the process ends.
    #[must_use]
    pub fn give_up(&self) -> Option<Overdue> {
        let mut slot = self.lock();
        let (since, time, call) = slot.call.as_ref()?;
        let passed = since.elapsed();
        if passed < time.saturating_add(self.grace) {
            return None;
        }
        let overdue = Overdue { seconds: passed.as_secs(), ..call.clone() };
        slot.given_up = true;
        Some(overdue)
    }

    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that is under way.
pub(crate) struct UnderCall(Arc<Calls>);

impl Drop for UnderCall {
    fn drop(&mut self) {
        let mut slot = self.0.lock();
        slot.call = None;
        if slot.given_up {
            drop(slot);
            // What was said of the run would be true no more.
            loop {
                std::thread::park();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_past_its_time_and_grace_is_given_up_for_good() {
        let calls = Arc::new(Calls::with_grace(Duration::ZERO));
        assert_eq!(calls.give_up(), None, "nothing is under way");
        drop(calls.begin("files", "files.read /a".to_owned(), Duration::ZERO));
        assert_eq!(calls.give_up(), None, "it returned");
        let patient = Arc::new(Calls::default());
        let call = patient.begin("files", "files.read /a".to_owned(), Duration::ZERO);
        assert_eq!(patient.give_up(), None, "it has its grace");
        drop(call);

        let (made, goes_on) = (Arc::clone(&calls), std::sync::mpsc::channel());
        let (sender, receiver) = goes_on;
        std::thread::spawn(move || {
            let call = made.begin("files", "files.read /a".to_owned(), Duration::ZERO);
            sender.send("under way").expect("somebody listens");
            while !made.lock().given_up {
                std::thread::yield_now();
            }
            drop(call);
            let _ = sender.send("goes on");
        });
        assert_eq!(receiver.recv(), Ok("under way"));
        assert_eq!(calls.give_up().map(|overdue| overdue.call).as_deref(), Some("files.read /a"));
        let after = receiver.recv_timeout(Duration::from_millis(200));
        assert!(after.is_err(), "whoever made it goes no further");
    }
}
