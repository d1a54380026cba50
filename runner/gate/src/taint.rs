//! What a step may still do and say that has read what is sensitive.
//!
//! Its own words may carry the content out: the text of a call, a path or a URL, a line in its log. From the read
//! on nothing that it chooses is shown, and it changes only what is sensitive too, where content is not shown.

use countersign_capability::{AnyCall, Choice};
use countersign_model::{Access, Fault, Grant};

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
    /// sensitive subjects, which may be whoever answers it. They must be the grant's words, and not the step's, and such a
    /// read may leave nothing to pick besides, like a header.
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
        if !named().is_ok_and(|exactly: bool| exactly) {
            return Err(format!(
                "the step had read what is sensitive, and could tell it by what it picks inside `{grant}`: from then on it \
                 does only what a grant names exactly"
            ));
        }
        let picked = match (call.access(), call.choice()) {
            (_, Choice::Nothing) => return Ok(()),
            (Access::Write, _) => {
                let withheld = sessions.sensitive().takes_in(call.capability(), call.subject());
                return self.permits_write(call, grant, withheld);
            }
            (Access::Read, Choice::Content) => "content",
            (Access::Read, Choice::More(what)) => what,
        };
        Err(format!(
            "the step had read what is sensitive, and could tell it by {picked} that it picks for `{grant}`: from then on \
             it asks others only for what a grant says all of"
        ))
    }

    /// Tests a write before anything is done for it, and the change that it comes to: by what a step picks it could tell
    /// what it knows, so what it picks goes where it is withheld, or nowhere. Why not is told in the grant's words: the
    /// step may have picked the subject's.
    ///
    /// # Errors
    /// Why the call is denied, in a sentence fragment.
    pub(crate) fn permits_write(self, call: &dyn AnyCall, grant: &Grant, withheld: bool) -> Result<(), String> {
        if !self.0 || call.access() == Access::Read {
            return Ok(());
        }
        match call.choice() {
            Choice::Nothing => Ok(()),
            Choice::Content if withheld => Ok(()),
            Choice::More(what) if withheld => Err(format!(
                "the step had read what is sensitive, and could tell it by {what} that it picks for `{grant}`, which the \
                 plan would show"
            )),
            Choice::Content | Choice::More(_) => Err(format!(
                "the step had read what is sensitive, and the plan would show what it does by `{grant}`, which is for \
                 nothing sensitive: from then on it changes only what is sensitive"
            )),
        }
    }
}
