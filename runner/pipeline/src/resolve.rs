//! A person closes what a run left otherwise than before: it may stay as it is, or what it was before is put back.
//!
//! How the run ended stays what it was. Once nothing of it is open any more, what it kept on its target is let go.

use std::collections::BTreeMap;

use countersign_capability::Phase;
use countersign_gate::{Bounds, NotRestored, Sessions};
use countersign_model::documents::{DOCUMENT_VERSION, OpenSubject, ResolutionDocument, Way, namespace};
use countersign_model::text::excerpt;
use countersign_model::{Change, Digest, FaultKind, Outcome};
use countersign_record::{
    BeginError, ChangeState, Journal, MAX_LISTED, NewResolution, RecordError, Resolving, RunRecord, RunState, Wanted,
};
use countersign_trust::{Principal, Signatory};

use crate::error::PipelineError;
use crate::propose::PROPOSE;
use crate::runner::Runner;
use crate::target::Target;

/// What a person says of one subject.
#[derive(Clone, Copy, Debug)]
pub struct Closing<'a> {
    /// The run, by its name or the beginning of it.
    pub run: &'a str,
    /// The subject, as the run's report names it.
    pub subject: &'a str,
    /// What is to become of it.
    pub way: Way,
    /// Why.
    pub reason: &'a str,
}

/// What came of it.
#[derive(Debug)]
pub struct Resolved {
    /// The run.
    pub run: String,
    /// Its target.
    pub target: String,
    /// The subject.
    pub subject: String,
    /// What became of it.
    pub way: Way,
    /// Whose word it was.
    pub by: String,
    /// Digest of the content that may stay, or that was replaced; none where it is withheld or cannot be told.
    pub found: Option<Digest>,
    /// What of the run is open still.
    pub open: Vec<OpenSubject>,
    /// Files of the runner's own that could not be removed from the target; they harm nothing.
    pub left_behind: Vec<String>,
}

/// Closes one subject of a run that ended `rollback-incomplete` or `in-doubt`.
///
/// # Errors
/// A refusal, where nothing changed; where a person is needed still, what was changed is undone and the subject stays open.
pub fn resolve(
    runner: &Runner,
    targets: &BTreeMap<String, Target>,
    word: &Closing<'_>,
    signatory: &dyn Signatory,
) -> Result<Resolved, PipelineError> {
    let state = runner.state();
    let run = state.runs().get(word.run)?;
    let open = find(runner, &run, word.subject)?;
    let proposers = proposers(runner, &run)?;
    let refused = |refusal: countersign_trust::Refusal| {
        PipelineError::refused(refusal.to_string()).with_hint(refusal.hint(PROPOSE))
    };
    let who = runner.policy().principal(signatory.fingerprint());
    countersign_trust::may_resolve(&who, &proposers).map_err(refused)?;
    let target = targets.get(&run.target).ok_or_else(|| {
        let what =
            format!("the target `{}` of the run `{}` is not configured, so nobody can look at it", run.target, run.id);
        PipelineError::refused(what).with_hint("nothing changed; configure it again, as it was, and resolve it then")
    })?;
    if word.way == Way::Restore && !open.restorable {
        let what = format!("nothing puts `{}` back: {}", open.subject, open.why);
        return Err(PipelineError::refused(what).with_hint(
            "nothing changed; see how it is, put it right by hand if need be, and close it with `--accept`",
        ));
    }

    if word.way == Way::Restore {
        for later in later(runner, &run, &open)? {
            runner
                .note(&format!("`{}` was changed since by run {later}, which committed: that goes too", open.subject));
        }
    }
    let mut sessions = runner.sessions(target, Phase::Live)?;
    let made = changes_of(runner, &run, &open)?;
    let found = look(runner, &mut sessions, &made, &open)?;
    let document = ResolutionDocument {
        version: DOCUMENT_VERSION,
        run: run.id.clone(),
        proposal: run.proposal,
        target: run.target.clone(),
        runner: runner.fingerprint().to_owned(),
        subject: open.subject.clone(),
        way: word.way,
        found: found.signed(runner, &run, &open),
        reason: word.reason.to_owned(),
        at: runner.decisive()?,
    };
    let bytes = countersign_trust::draft_resolution(&document)
        .map_err(|error| PipelineError::failed(format!("the resolution: {error}")).with_hint(error.hint()))?;
    let signature = crate::approve::signed(signatory, namespace::RESOLUTION, &bytes)?;
    // The runner takes one only as it will be read again.
    let (_, person) = countersign_trust::verify_resolution(&bytes, signature.as_bytes(), &proposers, runner.policy())
        .map_err(refused)?;

    let subjects = crate::locks::of_open(runner, &open)?;
    let wanted = Wanted { target: &run.target, subjects: &subjects, gone: &|name| runner.is_gone(name) };
    let hold = state.runs().hold(wanted).map_err(|error| not_held(runner, &run, target, error))?;
    // Signing may have taken its time, and a word on one thing is none on another.
    if look(runner, &mut sessions, &made, &open)? != found {
        let what = format!("`{}` was changed while this was signed", open.subject);
        return Err(PipelineError::refused(what).with_hint("nothing was done; look at it again, and sign again"));
    }
    let new = NewResolution { subject: &open.subject, person: person.name(), document: &bytes, signature: &signature };
    let mut resolving = state.runs().resolve(&run, new, hold)?;
    if word.way == Way::Restore {
        runner.note(&format!("run {}: `{}` is put back as it was before the run", run.id, open.subject));
        let ceiling = Bounds::new(runner.registry(), &target.remediation.ceiling)?;
        runner.under_way().restores(&run.id, &open.subject);
        let restored = countersign_gate::restore(&mut resolving, &mut sessions, &ceiling);
        runner.under_way().over();
        if let Err(why) = restored {
            return Err(not_restored(resolving, &run, &why));
        }
    }
    let is_now = if word.way == Way::Restore { "is as it was before the run" } else { "was left as it is" };
    let mut journal = resolving.close().map_err(|error| {
        let what = format!("`{}` {is_now}, and this could not be recorded: {}", open.subject, error.full());
        person_needed(
            what,
            "it is open still: see that the state directory is writable and has room, then resolve it again",
        )
    })?;
    let open_still = state.runs().open_subjects(&run.id).map_err(|error| {
        let what = format!("`{}` is resolved; what else is open cannot be read: {}", open.subject, error.full());
        person_needed(what, "see `countersign runs` once the state can be read")
    })?;
    let left_behind = if open_still.is_empty() { let_go(runner, &mut journal, &mut sessions) } else { Vec::new() };
    Ok(Resolved {
        run: run.id,
        target: run.target,
        subject: open.subject,
        way: word.way,
        by: person.name().to_owned(),
        found: found.told(),
        open: open_still,
        left_behind,
    })
}

/// How a resolution ended whose process died.
pub(crate) struct Ended {
    /// What came of it, in a line.
    pub(crate) what: String,
    /// Whether the subject is as before the run or as it was found, and not something in between.
    pub(crate) as_found: bool,
}

/// Ends a resolution whose process died: where the subject is as before the run, it is closed; otherwise what was changed is
/// undone, and it stays open. Gives what came of it, or nothing where somebody else is at work on it.
pub(crate) fn recover(runner: &Runner, run: &RunRecord, target: &Target) -> Result<Option<Ended>, PipelineError> {
    let Some(mut resolving) = runner.state().runs().take_over_resolution(run)? else { return Ok(None) };
    let subject = resolving.open.subject.clone();
    runner.note(&format!("run {}: the resolution of `{subject}` was cut off", run.id));
    let mut sessions = runner.sessions(target, Phase::Live)?;
    // One that accepts changed nothing, and is given again by whoever gave it.
    let changed = resolving.own().next().is_some();
    runner.under_way().restores(&run.id, &subject);
    let restored = if changed { countersign_gate::restored(&mut resolving, &mut sessions) } else { Err(cut_off()) };
    runner.under_way().over();
    match restored {
        Ok(()) => {
            let mut journal = resolving.close()?;
            if runner.state().runs().open_subjects(&run.id)?.is_empty() {
                let_go(runner, &mut journal, &mut sessions);
            }
            let what =
                format!("run {}: `{subject}` is as it was before the run, as somebody had said it should be", run.id);
            Ok(Some(Ended { what, as_found: true }))
        }
        Err(NotRestored { left, .. }) => {
            let as_found = left.is_none();
            let stays = match left {
                None => "it is as it was found".to_owned(),
                Some(why) => format!("it could not be left as it was found: {why}"),
            };
            let what = format!("the runner ended before it was resolved; {stays}, and is open still");
            resolving.fail(&what)?;
            Ok(Some(Ended { what: format!("run {}: `{subject}`: {what}", run.id), as_found }))
        }
    }
}

fn cut_off() -> NotRestored {
    NotRestored { why: "nothing was changed".to_owned(), left: None }
}

/// The subject, if it is open.
fn find(runner: &Runner, run: &RunRecord, subject: &str) -> Result<OpenSubject, PipelineError> {
    let id = &run.id;
    let show = format!("nothing changed; see `countersign show {id}`");
    match run.state {
        RunState::Finished(Outcome::RollbackIncomplete | Outcome::InDoubt) => {}
        RunState::Finished(outcome) => {
            let what = format!("the run `{id}` ended `{outcome}` and left nothing to be resolved");
            return Err(PipelineError::refused(what).with_hint(show));
        }
        RunState::Running => {
            return Err(PipelineError::refused(format!("the run `{id}` has not ended"))
                .with_hint("nothing changed; wait until it has"));
        }
        RunState::Unfinished => {
            return Err(PipelineError::refused(format!("the run `{id}` died without an outcome"))
                .with_hint("nothing changed; `countersign recover` rolls it back, or tells why it cannot"));
        }
    }
    let open = runner.state().runs().open_subjects(id)?;
    if let Some(found) = open.iter().find(|open| open.subject == subject) {
        return Ok(found.clone());
    }
    let subject = excerpt(subject, 200);
    let resolutions = runner.state().runs().resolutions(id)?;
    if let Some(by) = resolutions.iter().find(|by| by.closed == Some(true) && by.subject == subject) {
        let what = format!("`{subject}` of the run `{id}` was resolved already, by {}", excerpt(&by.person, 80));
        return Err(PipelineError::refused(what).with_hint(show));
    }
    let what = format!("`{subject}` is nothing that the run `{id}` left open");
    let names: Vec<_> = open.iter().map(|open| format!("`{}`", excerpt(&open.subject, 200))).collect();
    let hint = match names.as_slice() {
        [] => "nothing changed; nothing of it is open any more".to_owned(),
        names => format!("nothing changed; open are {}", names.join(", ")),
    };
    Err(PipelineError::refused(what).with_hint(hint))
}

/// Whose run it is: its proposer, and the proposer of the run that it was to undo.
fn proposers(runner: &Runner, run: &RunRecord) -> Result<Vec<Principal>, PipelineError> {
    let document = crate::undo::proposal(runner, run)?;
    let undone = document.undoes.as_ref().map(|undoes| undoes.proposer.as_str());
    let keys = std::iter::once(document.proposer.as_str()).chain(undone);
    Ok(keys.map(|key| runner.policy().principal(key)).collect())
}

/// What the run's steps did to the subject.
fn changes_of(runner: &Runner, run: &RunRecord, open: &OpenSubject) -> Result<Vec<Change>, PipelineError> {
    let changes = runner.state().runs().changes(&run.id)?.into_iter();
    let of_subject = changes.filter(|made| {
        made.resolution.is_none()
            && made.state != ChangeState::NotApplied
            && open.capability.as_ref() == Some(&made.change.capability)
            && made.change.subject == open.subject
    });
    Ok(of_subject.map(|made| made.change).collect())
}

/// The runs that changed the subject later and were committed, oldest first: of the latest that are listed.
fn later(runner: &Runner, run: &RunRecord, open: &OpenSubject) -> Result<Vec<String>, PipelineError> {
    let state = runner.state();
    let mut later = Vec::new();
    let since = state.runs().list(MAX_LISTED)?.into_iter().take_while(|later| later.started >= run.started);
    for found in since.filter(|later| later.id != run.id && later.target == run.target) {
        let committed = found.state == RunState::Finished(Outcome::Committed);
        if committed && !changes_of(runner, &found, open)?.is_empty() {
            later.push(found.id);
        }
    }
    later.reverse();
    Ok(later)
}

/// What a subject is now.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    content: Option<Digest>,
    withheld: bool,
}

impl Found {
    /// The digest as it is signed.
    fn signed(&self, runner: &Runner, run: &RunRecord, open: &OpenSubject) -> Option<Digest> {
        let name = || format!("{} {}", run.id, open.subject);
        self.content.map(|content| if self.withheld { runner.key().keyed_digest(&name(), &content) } else { content })
    }

    /// The digest as it may be told.
    fn told(&self) -> Option<Digest> {
        self.content.filter(|_| !self.withheld)
    }
}

fn look(runner: &Runner, sessions: &mut Sessions, made: &[Change], open: &OpenSubject) -> Result<Found, PipelineError> {
    let Some(change) = made.first() else { return Ok(Found { content: None, withheld: false }) };
    let withheld =
        made.iter().any(|made| made.withheld) || sessions.sensitive().takes_in(&change.capability, &change.subject);
    let content = match sessions.image(&mut runner.blobs(), change) {
        Ok(image) => image.map(|image| image.digest),
        // A signal, or something that has no content: nothing of it can be told apart.
        Err(fault) if matches!(fault.kind, FaultKind::Unknowable | FaultKind::Unsupported) => None,
        Err(fault) => {
            let what = format!("`{}` cannot be looked at: {}", open.subject, fault.what);
            return Err(PipelineError::refused(what)
                .with_hint("nothing changed; nobody says of what they cannot see that it may stay"));
        }
    };
    Ok(Found { content, withheld })
}

/// Lets go of what a run of which nothing is open any more kept on its target. Where that is cut off, the next command does.
fn let_go(runner: &Runner, journal: &mut Journal, sessions: &mut Sessions) -> Vec<String> {
    let changes: Vec<Change> = journal.changes().iter().map(|made| made.change.clone()).collect();
    runner.under_way().settles(journal.run());
    let left = countersign_gate::let_go(sessions, journal.blobs(), changes.iter());
    runner.under_way().over();
    if left.is_empty()
        && let Err(error) = journal.settled()
    {
        tracing::warn!(%error, "that a run is settled was not recorded");
    }
    left
}

fn person_needed(what: String, hint: impl Into<String>) -> PipelineError {
    PipelineError::PersonNeeded { what, hint: Some(hint.into()), run: None, changes: Vec::new() }
}

fn not_restored(resolving: Resolving, run: &RunRecord, not: &NotRestored) -> PipelineError {
    let subject = resolving.open.subject.clone();
    let touched = resolving.own().any(|made| made.state != ChangeState::NotApplied);
    let mut what = format!("`{subject}` was not put back: {}", not.why);
    match (&not.left, touched) {
        (Some(left), _) => what.push_str(&format!("; nor could it be left as it was found: {left}")),
        (None, true) => what.push_str("; it is as it was found"),
        (None, false) => what.push_str("; nothing changed"),
    }
    if let Err(error) = resolving.fail(&what) {
        what.push_str(&format!("; and this could not be recorded: {error}"));
    }
    let hint = format!(
        "it is open still; `countersign show {} --before SUBJECT` prints what it was: put it right by hand, and close it \
         with `--accept`",
        run.id
    );
    if touched { person_needed(what, hint) } else { PipelineError::refused(what).with_hint(hint) }
}

fn not_held(runner: &Runner, run: &RunRecord, target: &Target, error: BeginError) -> PipelineError {
    match error {
        BeginError::Unfinished(unfinished) => crate::order::blocked(runner, &run.target, target, &unfinished),
        BeginError::Record(error) => RecordError::into(error),
        error => PipelineError::refused(error.to_string())
            .with_hint("nothing changed; wait until it has ended, as `countersign runs` shows"),
    }
}
