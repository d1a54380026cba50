//! What a step may still do and say that has read what is sensitive.
//!
//! Its own words may carry the content out: the text of a call, a path or a URL, a line in its log. From the read
//! on nothing that it chooses is shown, and it writes only where nothing of what it writes is shown.

use countersign_capability::AnyCall;
use countersign_model::{Access, Change, Fault, Grant};

use crate::sensitive::Sensitive;
use crate::sessions::Sessions;

/// Said in the place of what is withheld of a step that has read what is sensitive.
pub const WITHHELD: &str = "withheld: the step had read what is sensitive";

/// Whether the step that runs has read what is sensitive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Taint(bool);

impl Taint {
    /// Notes a read; true where it is the first of what is sensitive.
    pub(crate) fn reads(&mut self, sensitive: &Sensitive, call: &dyn AnyCall) -> bool {
        let first = !self.0 && sensitive.takes_in(call.capability(), call.subject());
        self.0 |= first;
        first
    }

    /// Notes the reply to a change: of what is sensitive, it may hold content.
    pub(crate) fn learns(&mut self, withheld: bool, reply: &[u8]) {
        self.0 |= withheld && !reply.is_empty();
    }

    pub(crate) const fn is_set(self) -> bool {
        self.0
    }

    /// The call's text as it may be told: none of the step's own words.
    pub(crate) fn text(self, call: &dyn AnyCall) -> String {
        if !self.0 {
            return call.text();
        }
        format!("{}.{} ({WITHHELD})", call.capability(), call.function())
    }

    /// The grant by which a call is counted among those that are needed: the least that covers it, and where that
    /// would repeat the step's own words, the one that permits it.
    ///
    /// # Errors
    /// `Invalid` when the call makes no sense.
    pub(crate) fn least(self, call: &dyn AnyCall, grant: &Grant) -> Result<Grant, Fault> {
        let least = call.least_grant()?;
        Ok(if self.0 { Grant { scope: grant.scope.clone(), ..least } } else { least })
    }

    /// Tests a permitted call whose words somebody sees: a write's, in the plan, and those of a capability without
    /// sensitive subjects, which may be whoever answers it. They must be the grant's words, and not the step's.
    ///
    /// # Errors
    /// Why the call is denied, in a sentence fragment.
    pub(crate) fn permits(self, sessions: &Sessions, call: &dyn AnyCall, grant: &Grant) -> Result<(), String> {
        if !self.0 || (call.access() == Access::Read && sessions.sensitive().knows(call.capability())) {
            return Ok(());
        }
        let named = || {
            let least = call.least_grant()?;
            sessions.registry().get(call.capability())?.contains(&least, grant)
        };
        if named().is_ok_and(|exactly: bool| exactly) {
            return Ok(());
        }
        Err(format!(
            "the step had read what is sensitive, and could tell it by what it picks inside `{grant}`: from then on it \
             does only what a grant names exactly"
        ))
    }

    /// Tests a prepared change: content goes where content is withheld, or nowhere.
    ///
    /// # Errors
    /// Why the call is denied, in a sentence fragment.
    pub(crate) fn permits_change(self, change: &Change) -> Result<(), String> {
        let writes_content = change.after.is_some() && change.after != change.before;
        if !self.0 || change.withheld || !writes_content {
            return Ok(());
        }
        // A grant names the subject exactly, so it is not the step's own word.
        let subject = countersign_model::text::excerpt(&change.subject, 200);
        Err(format!(
            "the step had read what is sensitive, and the plan would show what it writes to `{subject}`, which is not"
        ))
    }
}
