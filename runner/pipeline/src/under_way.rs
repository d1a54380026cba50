use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;

use countersign_gate::{Overdue, Tally};
use countersign_model::text::excerpt;

/// How far the runs of this process are, for whoever wants it to end and asks meanwhile: of each thread what it is at, since
/// several runs are waited for at once.
#[derive(Debug, Default)]
pub struct UnderWay(Mutex<Vec<(ThreadId, Stage)>>);

#[derive(Clone, Debug)]
pub(crate) enum Stage {
    Run {
        known: Known,
        doing: Doing,
    },
    Ended(Known),
    /// A subject that an ended run left is put back.
    Restoring(Restoring),
    /// What a run that ended kept on its target is let go of.
    Settling(String),
}

/// What is done with a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doing {
    /// Its steps run, or it waits in the process that began it: a signal has it rolled back.
    Running,
    RollingBack,
    /// It waits for a confirmation, and its own process is gone: a signal leaves it as it is.
    Waiting,
}

/// A subject that an ended run left, and that is being put back.
#[derive(Clone, Debug)]
pub(crate) struct Restoring {
    pub(crate) run: String,
    pub(crate) subject: String,
}

/// A run that is under way, or has ended.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) run: String,
    pub(crate) target: String,
    pub(crate) rollback_owner: String,
    pub(crate) tally: Arc<Tally>,
    /// Whether it is another process's run that is rolled back.
    pub(crate) recovering: bool,
    /// Whether its outcome is recorded.
    pub(crate) ended: bool,
}

impl UnderWay {
    pub(crate) fn began(&self, run: &str, target: &str, rollback_owner: &str, tally: Arc<Tally>) {
        let (run, target, rollback_owner) = (run.to_owned(), target.to_owned(), rollback_owner.to_owned());
        let known = Known { run, target, rollback_owner, tally, recovering: false, ended: false };
        self.set(Some(Stage::Run { known, doing: Doing::Running }));
    }

    /// The same of a run whose process died.
    pub(crate) fn taken_over(&self, run: &str, target: &str, rollback_owner: &str) {
        self.found(run, target, rollback_owner, Doing::RollingBack);
    }

    /// The same of one that goes on waiting for a confirmation.
    pub(crate) fn waits(&self, run: &str, target: &str, rollback_owner: &str) {
        self.found(run, target, rollback_owner, Doing::Waiting);
    }

    fn found(&self, run: &str, target: &str, rollback_owner: &str, doing: Doing) {
        let (run, target, rollback_owner) = (run.to_owned(), target.to_owned(), rollback_owner.to_owned());
        let known = Known { run, target, rollback_owner, tally: Arc::default(), recovering: true, ended: false };
        self.set(Some(Stage::Run { known, doing }));
    }

    /// What was under way where this call was made: of its run, or on its thread; or all that is under way.
    pub(crate) fn at(&self, overdue: &Overdue) -> Option<Stage> {
        let stages = self.lock();
        let of_run = |(_, stage): &&(ThreadId, Stage)| overdue.run.as_deref() == Some(stage.run());
        let found = stages.iter().find(of_run).or_else(|| stages.iter().find(|(thread, _)| *thread == overdue.thread));
        let only = || if let [only] = stages.as_slice() { Some(only) } else { None };
        found.or_else(only).map(|(_, stage)| stage.clone())
    }

    /// A subject that an ended run left is put back from now on.
    pub(crate) fn restores(&self, run: &str, subject: &str) {
        self.set(Some(Stage::Restoring(Restoring { run: run.to_owned(), subject: subject.to_owned() })));
    }

    /// What this run, which ended, kept on its target is let go of from now on.
    pub(crate) fn settles(&self, run: &str) {
        self.set(Some(Stage::Settling(run.to_owned())));
    }

    /// From now on this thread has no run under way.
    pub(crate) fn over(&self) {
        self.set(None);
    }

    pub(crate) fn rolls_back(&self) {
        self.change(|stage| {
            if let Stage::Run { doing, .. } = stage {
                *doing = Doing::RollingBack;
            }
        });
    }

    pub(crate) fn ended(&self) {
        self.change(|stage| {
            if let Stage::Run { known, .. } | Stage::Ended(known) = stage {
                *stage = Stage::Ended(Known { ended: true, ..known.clone() });
            }
        });
    }

    /// What this thread is at from now on.
    fn set(&self, stage: Option<Stage>) {
        let this = std::thread::current().id();
        let mut stages = self.lock();
        stages.retain(|(thread, _)| *thread != this);
        stages.extend(stage.map(|stage| (this, stage)));
    }

    fn change(&self, change: impl FnOnce(&mut Stage)) {
        let this = std::thread::current().id();
        if let Some((_, stage)) = self.lock().iter_mut().find(|(thread, _)| *thread == this) {
            change(stage);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(ThreadId, Stage)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What state the targets are in, and what comes next, told to whoever wants the process to end by a signal: for the
    /// first time, or again. `process` is the runner's own.
    #[must_use]
    pub fn describe(&self, again: bool, process: u32) -> String {
        let stages = self.lock();
        if stages.is_empty() {
            return "no run has begun, and nothing was changed: none begins any more".to_owned();
        }
        let mut says: Vec<_> = stages.iter().map(|(_, stage)| stage.describe()).collect();
        if again && stages.iter().any(|(_, stage)| matches!(stage, Stage::Run { .. })) {
            says.push(format!(
                "wait for its end; or `kill -9 {process}` ends it half way, and `countersign recover` goes on from there"
            ));
        }
        says.join("; ")
    }
}

impl Stage {
    /// The run that it is of.
    fn run(&self) -> &str {
        match self {
            Self::Run { known, .. } | Self::Ended(known) => &known.run,
            Self::Restoring(restoring) => &restoring.run,
            Self::Settling(run) => run,
        }
    }

    fn describe(&self) -> String {
        let (Known { run, target, tally, .. }, doing) = match self {
            Self::Run { known, doing } => (known, doing),
            Self::Ended(_) => return "the run has ended, and its result is about to be printed".to_owned(),
            Self::Restoring(Restoring { run, subject }) => {
                let subject = excerpt(subject, 200);
                return format!("`{subject}` is being put back as it was before run {run}, and that goes on");
            }
            Self::Settling(run) => {
                return format!("run {run} had ended, and what it kept on its target for undo is let go of");
            }
        };
        let (made, undone) = (tally.made(), tally.undone());
        let made = if made == 1 { "1 change".to_owned() } else { format!("{made} changes") };
        match doing {
            Doing::Running => format!(
                "run {run} on `{target}` has made {made}, and is rolled back as soon as what is being done has ended"
            ),
            Doing::RollingBack => format!(
                "run {run} on `{target}` is being rolled back, and that goes on: of {made}, {undone} undone so far"
            ),
            Doing::Waiting => format!(
                "run {run} on `{target}` waits for a confirmation, and is left as it is: nobody looks at its check and guards \
                 any more then"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stage_is_told() {
        let under_way = UnderWay::default();
        assert!(under_way.describe(false, 7).starts_with("no run has begun"));
        under_way.rolls_back();
        assert!(under_way.describe(true, 7).starts_with("no run has begun"), "what has not begun is not rolled back");
        under_way.began("r-1", "web", "alice", Arc::default());
        assert!(under_way.describe(false, 7).contains("has made 0 changes, and is rolled back as soon as"));
        under_way.rolls_back();
        let says = under_way.describe(true, 7);
        assert!(says.contains("goes on: of 0 changes, 0 undone so far") && says.contains("`kill -9 7`"), "{says}");
        under_way.ended();
        assert!(under_way.describe(true, 7).starts_with("the run has ended"));
    }

    #[test]
    fn each_of_several_runs_is_told_of() {
        let under_way = Arc::new(UnderWay::default());
        under_way.waits("r-1", "web", "alice");
        let other = Arc::clone(&under_way);
        let rolling_back = std::thread::spawn(move || {
            other.taken_over("r-2", "db", "bob");
            std::thread::current().id()
        });
        let thread = rolling_back.join().expect("it ended");
        let says = under_way.describe(false, 7);
        assert!(says.contains("run r-1 on `web` waits for a confirmation, and is left as it is"), "{says}");
        assert!(says.contains("run r-2 on `db` is being rolled back"), "{says}");

        // What hangs is of one of them: by its run, or by the thread that waits for it.
        let mut overdue = Overdue {
            capability: "files".to_owned(),
            call: "`files.read /a`".to_owned(),
            seconds: 31,
            run: Some("r-1".to_owned()),
            thread,
        };
        assert_eq!(under_way.at(&overdue).as_ref().map(Stage::run), Some("r-1"));
        overdue.run = None;
        assert_eq!(under_way.at(&overdue).as_ref().map(Stage::run), Some("r-2"));
        under_way.over();
        assert!(!under_way.describe(false, 7).contains("r-1"));
        overdue.thread = std::thread::current().id();
        assert_eq!(under_way.at(&overdue).as_ref().map(Stage::run), Some("r-2"), "nothing else is under way");
    }

    #[test]
    fn one_that_waited_is_told_as_rolled_back_once_it_is() {
        let under_way = UnderWay::default();
        under_way.waits("r-1", "web", "alice");
        assert!(!under_way.describe(true, 7).contains("rolled back"));
        under_way.rolls_back();
        assert!(under_way.describe(false, 7).contains("is being rolled back"));
    }
}
