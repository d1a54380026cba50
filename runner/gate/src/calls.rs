use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

/// For how long past its time a call may go on before it is given up, unless the operator says otherwise.
pub const CALL_GRACE: Duration = Duration::from_secs(60);

/// The calls to targets that are under way, on whichever threads, for whoever watches that they return. The kernel can
/// hold one for ever, as it does where a network mount hangs; then nothing but the end of the process lets go of it.
#[derive(Debug)]
pub struct Calls {
    grace: Duration,
    under_way: Mutex<AtWork>,
}

#[derive(Debug, Default)]
struct AtWork {
    /// By the order in which they began.
    calls: BTreeMap<u64, (Instant, Duration, Overdue)>,
    begun: u64,
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
    /// The run that it is of, where whoever made it was told.
    pub run: Option<String>,
    /// The thread that made it.
    pub thread: ThreadId,
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
        Self { grace, under_way: Mutex::default() }
    }

    /// From now on this call is under way, for `time` at most; until what is given back is dropped.
    pub(crate) fn begin(
        self: &Arc<Self>,
        run: Option<&str>,
        (capability, call): (&str, String),
        time: Duration,
    ) -> UnderCall {
        let (capability, run) = (capability.to_owned(), run.map(str::to_owned));
        let call = Overdue { capability, call, seconds: 0, run, thread: std::thread::current().id() };
        let mut at_work = self.lock();
        let key = at_work.begun;
        at_work.begun = key.wrapping_add(1);
        at_work.calls.insert(key, (Instant::now(), time, call));
        UnderCall(Arc::clone(self), key)
    }

    /// The first call that is past its time and grace, if one is. All are given up by this: should one return after all,
    /// whoever made it goes no further, until the process ends.
    #[must_use]
    pub fn give_up(&self) -> Option<Overdue> {
        let mut at_work = self.lock();
        let late =
            |(since, time, _): &&(Instant, Duration, Overdue)| since.elapsed() >= time.saturating_add(self.grace);
        let (since, _, call) = at_work.calls.values().find(late)?;
        let overdue = Overdue { seconds: since.elapsed().as_secs(), ..call.clone() };
        at_work.given_up = true;
        Some(overdue)
    }

    fn lock(&self) -> MutexGuard<'_, AtWork> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that is under way.
pub(crate) struct UnderCall(Arc<Calls>, u64);

impl Drop for UnderCall {
    fn drop(&mut self) {
        let mut at_work = self.0.lock();
        at_work.calls.remove(&self.1);
        if at_work.given_up {
            drop(at_work);
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
        drop(calls.begin(None, ("files", "files.read /a".to_owned()), Duration::ZERO));
        assert_eq!(calls.give_up(), None, "it returned");
        let patient = Arc::new(Calls::default());
        let call = patient.begin(None, ("files", "files.read /a".to_owned()), Duration::ZERO);
        assert_eq!(patient.give_up(), None, "it has its grace");
        drop(call);

        let (made, goes_on) = (Arc::clone(&calls), std::sync::mpsc::channel());
        let (sender, receiver) = goes_on;
        std::thread::spawn(move || {
            let call = made.begin(None, ("files", "files.read /a".to_owned()), Duration::ZERO);
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

    /// `recover --wait` makes calls on several threads.
    #[test]
    fn a_call_that_returns_or_begins_beside_one_that_hangs_hides_it_from_nobody() {
        let calls = Arc::new(Calls::with_grace(Duration::ZERO));
        let hanging = calls.begin(Some("r-1"), ("files", "files.read /hangs".to_owned()), Duration::ZERO);
        let other = Arc::clone(&calls);
        let answering = std::thread::spawn(move || {
            drop(other.begin(Some("r-2"), ("files", "files.read /answers".to_owned()), Duration::ZERO));
            other.begin(Some("r-2"), ("files", "files.read /slow".to_owned()), Duration::MAX)
        });
        let slow = answering.join().expect("it made its calls");
        let overdue = calls.give_up().expect("one hangs");
        assert_eq!((overdue.call.as_str(), overdue.run.as_deref()), ("files.read /hangs", Some("r-1")));
        assert_eq!(overdue.thread, std::thread::current().id());
        // Dropped, they would park this thread for good.
        std::mem::forget((hanging, slow));
    }
}
