//! What a rollback did not put back: as it is told, and as it is open until a person closes it.

use countersign_gate::NotAsBefore;
use countersign_model::documents::OpenSubject;
use countersign_model::{Change, Reversibility};

use crate::past::NOT_AS_BEFORE;

/// The subject of what a rollback step failed to do, where that is no subject of its own.
const ROLLBACK_STEP: &str = "rollback step";

/// What is not as before, or nobody knows of, gathered while a run is rolled back.
#[derive(Default)]
pub(crate) struct Left {
    lines: Vec<String>,
    open: Vec<OpenSubject>,
}

impl Left {
    pub(crate) const fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Each in a line, and each subject once.
    pub(crate) fn into_parts(self) -> (Vec<String>, Vec<OpenSubject>) {
        (self.lines, self.open)
    }

    /// What the rollback step failed to do.
    pub(crate) fn rollback_step(&mut self, line: String) {
        self.of_run(ROLLBACK_STEP.to_owned(), line);
    }

    /// A guard that is worse than before.
    pub(crate) fn guard(&mut self, name: &str, line: String) {
        self.of_run(format!("guard {name}"), line);
    }

    fn of_run(&mut self, subject: String, line: String) {
        let why = line.clone();
        self.add(line, OpenSubject { subject, capability: None, why, restorable: false, before: None, found: None });
    }

    /// What may have happened, or was not done, and what nobody can read back.
    pub(crate) fn untold(&mut self, capability: &str, subject: &str, line: String) {
        let (subject, capability, why) = (subject.to_owned(), Some(capability.to_owned()), line.clone());
        self.add(line, OpenSubject { subject, capability, why, restorable: false, before: None, found: None });
    }

    /// A subject that was read back and is not as before; `rest` follows in the line.
    pub(crate) fn not_as_before(&mut self, left: NotAsBefore, rest: &str) {
        let NotAsBefore { change, why, found } = left;
        let line = format!("{}{NOT_AS_BEFORE}{why}{rest}", change.subject);
        let Change { subject, capability, before, reversibility, withheld, .. } = change;
        let told = |image: Option<countersign_model::Image>| image.filter(|_| !withheld).map(|image| image.digest);
        let open = OpenSubject {
            subject,
            capability: Some(capability),
            why,
            restorable: reversibility != Reversibility::Irreversible,
            before: told(before),
            found: told(found),
        };
        self.add(line, open);
    }

    fn add(&mut self, line: String, open: OpenSubject) {
        self.lines.push(line);
        let Some(known) = self.open.iter_mut().find(|known| known.subject == open.subject) else {
            self.open.push(open);
            return;
        };
        // One subject is closed once, whatever is to be said of it.
        known.why = format!("{}; {}", known.why, open.why);
        if known.capability != open.capability {
            (known.capability, known.restorable) = (None, false);
        } else {
            known.restorable |= open.restorable;
            known.before = known.before.or(open.before);
            known.found = known.found.or(open.found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_subject_is_open_once_with_all_that_is_to_be_said() {
        let mut left = Left::default();
        left.untold("process", "exe=/x", "sent?".to_owned());
        left.untold("process", "exe=/x", "not done".to_owned());
        left.guard("up", "it is down".to_owned());
        // No two capabilities name a subject alike; where they did, nothing would be put back by the name.
        left.untold("other", "exe=/x", "as well".to_owned());
        let (lines, open) = left.into_parts();
        assert_eq!(lines.len(), 4);
        let open: Vec<_> = open.iter().map(|open| (open.subject.as_str(), open.why.as_str())).collect();
        assert_eq!(open, [("exe=/x", "sent?; not done; as well"), ("guard up", "it is down")]);
    }
}
