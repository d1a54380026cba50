//! A run that waits for a person's word before it commits: nothing else ends its waiting well, but for silence where
//! that was signed to keep what was changed.

use std::time::{Duration, Instant};

use countersign_model::documents::{Confirmation, Terms};
use countersign_record::{Decided, Watch};
use countersign_trust::{length, moment};

use super::Run;
use crate::confirm::{self, Word};
use crate::error::PipelineError;
use crate::report::ReportedConfirmation;
use crate::undoing;

/// The longest pause between two looks at what people said: where the system cannot tell of a word, it is seen then.
const AT_MOST: Duration = Duration::from_secs(1);
/// The shortest: nobody can make it look without a pause.
const AT_LEAST: Duration = Duration::from_millis(20);
/// The time between two words on how long it still waits.
const TOLD_EVERY: Duration = Duration::from_secs(60);
/// For how long, at the least, check and guards are given to hold again where somebody goes on with a run: longer where
/// the signed schedule gave the fix longer.
const STARTING: Duration = Duration::from_secs(120);
/// How often the decision to keep is tried to be recorded, with a pause in between.
const TRIES: u32 = 10;

/// How the waiting ended.
#[derive(Debug)]
pub(crate) enum Heard {
    /// What was changed stays.
    Keep,
    /// It is rolled back, and why.
    RollBack(String),
    /// Nothing was decided, and somebody else has to go on.
    Nothing,
}

/// What a signal means to who waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnSignal {
    /// Whoever ordered the run wants it to end.
    RollBack,
    /// Somebody else's run is only no longer waited for.
    Leave,
}

/// How long a run waits, and what silence means: as was signed, or as was ordered where that is stricter.
///
/// # Errors
/// A refusal where it would wait longer than was signed.
pub(super) fn agreed(terms: &Terms, ordered: Option<u64>) -> Result<Option<Confirmation>, PipelineError> {
    match (terms.confirmation, ordered) {
        (signed, None) => Ok(signed),
        (None, Some(within_ms)) => Ok(Some(Confirmation { within_ms, silence_keeps: false })),
        (Some(signed), Some(within_ms)) if within_ms > signed.within_ms => {
            let (signed, asked) = (length(signed.within_ms), length(within_ms));
            let what = format!("the approval has it confirmed within {signed}, and `--confirm-within` says {asked}");
            Err(PipelineError::refused(what).with_hint(format!(
                "nothing changed and no use is spent; a run may wait shorter than was signed, and no longer: leave \
                 `--confirm-within` out, or give at most {signed}"
            )))
        }
        (Some(signed), Some(within_ms)) => Ok(Some(Confirmation { within_ms, ..signed })),
    }
}

/// A waiting under way. It ends by the clock or by the time that it was waited here, whichever is first: one clock may
/// be set back, and the other stands still while the machine sleeps.
pub(crate) struct Wait {
    confirmation: Confirmation,
    until: u64,
    deadline: Instant,
    on_signal: OnSignal,
    watch: Watch,
    /// When check and guards are asked next.
    look_at: Instant,
    /// How many words there were at the last look, none of which counted.
    heard: usize,
    /// Of how many it was said that they do not count.
    rejected: usize,
    told_at: Instant,
    /// Until when check and guards need not hold, if they did not since somebody went on with the run: its services may
    /// be starting still.
    starting: Option<Instant>,
    /// How often the decision could not be recorded.
    failed: u32,
}

/// What a signal makes of a run that waits.
fn interrupted(on_signal: OnSignal) -> Heard {
    match on_signal {
        OnSignal::RollBack => Heard::RollBack(countersign_gate::INTERRUPTED.to_owned()),
        OnSignal::Leave => Heard::Nothing,
    }
}

impl Run<'_> {
    /// Waits for a person's word, where one is needed. Meanwhile check and guards are repeated.
    ///
    /// # Errors
    /// Why the run has to be rolled back.
    pub(crate) fn await_confirmation(&mut self) -> Result<(), String> {
        let Some(confirmation) = self.confirmation else { return Ok(()) };
        // Never before a time that was seen already, or it would be over at once.
        let since = self.runner.decisive().unwrap_or_else(|_| self.runner.now());
        let until = since.saturating_add(confirmation.within_ms);
        // Whatever silence means: nothing is committed later than that.
        let until = self.terms().finish_by.map_or(until, |end| until.min(end));
        let mut wait = self.wait(confirmation, until, OnSignal::RollBack);
        let recorded = self.with_live(|live, _| live.journal().wait(since, until))?;
        recorded.map_err(|error| format!("that it waits for a confirmation could not be recorded: {error}"))?;
        self.tell_waiting(&wait);
        match self.hear(&mut wait) {
            Heard::Keep => Ok(()),
            Heard::RollBack(why) => Err(why),
            // Only where somebody else's run is waited for.
            Heard::Nothing => Err("nobody waits for its confirmation any more".to_owned()),
        }
    }

    /// A waiting that begins here.
    pub(super) fn wait(&self, confirmation: Confirmation, until: u64, on_signal: OnSignal) -> Wait {
        let now = Instant::now();
        let left = match self.runner.decisive() {
            Ok(now) => until.saturating_sub(now).min(confirmation.within_ms),
            Err(_) => confirmation.within_ms,
        };
        Wait {
            confirmation,
            until,
            deadline: now.checked_add(Duration::from_millis(left)).unwrap_or(now),
            on_signal,
            watch: self.runner.state().watch_waiting(),
            look_at: now,
            heard: 0,
            rejected: 0,
            told_at: now,
            starting: None,
            failed: 0,
        }
    }

    /// A waiting that goes on, perhaps after the machine was started.
    pub(super) fn wait_on(&self, confirmation: Confirmation, until: u64) -> Wait {
        let wait = self.wait(confirmation, until, OnSignal::Leave);
        let starting = STARTING.max(Duration::from_millis(self.success().within_ms));
        Wait { starting: wait.look_at.checked_add(starting), ..wait }
    }

    /// Says what it waits for, who can say it and what silence means.
    pub(super) fn tell_waiting(&self, wait: &Wait) {
        let silence = if wait.confirmation.silence_keeps { "keeps what was changed" } else { "rolls it back" };
        let may = confirm::may_say(self.runner, &self.approval);
        let may = if may.is_empty() { "nobody".to_owned() } else { may.join(", ") };
        self.runner.note(&format!(
            "run {} waits for a confirmation until {}: `countersign confirm {}`; silence {silence}; may confirm: {may}",
            self.id,
            moment(wait.until),
            self.id
        ));
    }

    /// Waits until it is decided, durably, what becomes of what was changed.
    pub(super) fn hear(&mut self, wait: &mut Wait) -> Heard {
        loop {
            let looked = Instant::now();
            let decided = match self.look_once(wait) {
                None => None,
                Some(Heard::Nothing) => return Heard::Nothing,
                Some(heard) => self.decide(wait, heard),
            };
            if let Some(heard) = decided {
                return heard;
            }
            let pause = wait.deadline.min(wait.look_at).saturating_duration_since(looked).min(AT_MOST);
            wait.watch.wait(pause);
            std::thread::sleep(AT_LEAST.saturating_sub(looked.elapsed()));
        }
    }

    /// One look: first at what people said, then at signals, check and guards, and the time.
    fn look_once(&mut self, wait: &mut Wait) -> Option<Heard> {
        if let Some(word) = self.listen(wait) {
            return Some(self.take(word, wait));
        }
        if self.runner.interrupted() {
            return Some(interrupted(wait.on_signal));
        }
        if let Err(late) = self.in_time() {
            return Some(Heard::RollBack(late));
        }
        let now = Instant::now();
        let over = now >= wait.deadline || self.runner.has_come(wait.until).unwrap_or_default();
        // Silence keeps nothing that does not hold at its end.
        if now >= wait.look_at || over {
            wait.look_at = now.checked_add(Duration::from_millis(self.success().every_ms.max(50))).unwrap_or(now);
            match self.still_holds() {
                Ok(()) if wait.starting.take().is_some() => {
                    self.runner.note(&format!("run {}: check and guards hold", self.id));
                }
                Ok(()) => {}
                // A step under way is ended by the signal, and says nothing of the target.
                Err(_) if self.runner.interrupted() => return Some(interrupted(wait.on_signal)),
                Err(_) if !over && wait.starting.is_some_and(|until| now < until) => {}
                Err(why) => return Some(Heard::RollBack(format!("while it waited for a confirmation, {why}"))),
            }
        }
        let within = length(wait.confirmation.within_ms);
        match (over, wait.confirmation.silence_keeps) {
            (false, _) => {
                self.tell_left(wait);
                None
            }
            (true, false) => Some(Heard::RollBack(format!("nobody confirmed it within {within}"))),
            (true, true) => {
                let says = format!("nobody said anything within {within}, and silence keeps it, as was signed");
                Some(self.keep(says))
            }
        }
    }

    /// What was signed, check and guards once more; of a run that undoes another, proof and guards.
    fn still_holds(&mut self) -> Result<(), String> {
        self.is_not_revoked()?;
        match self.undo {
            Some(undo) => undoing::still_proven(self, undo),
            None => self.look(),
        }
    }

    /// The first word that counts.
    fn listen(&self, wait: &mut Wait) -> Option<Word> {
        let words = match confirm::words(self.runner, &self.id, self.name, &self.approval, wait.heard) {
            Ok(words) => words?,
            Err(error) => {
                // It is looked at again before anything is decided.
                tracing::warn!(%error, "what people said of the run could not be read");
                return None;
            }
        };
        wait.heard = words.len();
        for (at, said) in words.into_iter().enumerate() {
            match said {
                Ok(word) => return Some(word),
                Err(_) if at < wait.rejected => {}
                Err(refusal) => {
                    wait.rejected = at.saturating_add(1);
                    self.runner.note(&format!("what was said of run {} does not count: {refusal}", self.id));
                }
            }
        }
        None
    }

    /// What a word comes to.
    fn take(&mut self, word: Word, wait: &Wait) -> Heard {
        let says = word.says();
        self.runner.note(&format!("run {}: {says}", self.id));
        let keeps = word.keeps;
        self.word = Some(ReportedConfirmation::new(wait.until, wait.confirmation, Some(word)));
        if keeps { self.keep(says) } else { Heard::RollBack(says) }
    }

    /// It stays, unless what was signed for it was revoked since it began to wait.
    fn keep(&mut self, says: String) -> Heard {
        if let Err(why) = self.goes_on() {
            return Heard::RollBack(format!("{says}, and it may not stay: {why}"));
        }
        self.kept = Some(says);
        Heard::Keep
    }

    /// Makes a decision durable; none where there is more to hear, or it has to be tried again.
    fn decide(&mut self, wait: &mut Wait, heard: Heard) -> Option<Heard> {
        let decided = match &heard {
            Heard::Keep => Decided::Keep(self.kept.as_deref().unwrap_or_default()),
            Heard::RollBack(why) => Decided::RollBack(why),
            Heard::Nothing => return Some(heard),
        };
        if self.word.is_none() {
            self.word = Some(ReportedConfirmation::new(wait.until, wait.confirmation, None));
        }
        let ended = self.with_live(|live, _| live.journal().end_waiting(decided, wait.heard));
        let error = match ended {
            Ok(Ok(true)) => return Some(heard),
            Ok(Ok(false)) => {
                // Somebody said something in this moment; who was first is told from all of it.
                (self.kept, self.word, wait.heard) = (None, None, 0);
                return None;
            }
            Ok(Err(error)) => error.to_string(),
            Err(lost) => lost,
        };
        self.runner.note(&format!("what becomes of run {} could not be recorded: {error}", self.id));
        wait.failed = wait.failed.saturating_add(1);
        // Undoing waits for no mark. What is to stay stays: its commit is tried, and says so where it cannot be recorded.
        if matches!(heard, Heard::RollBack(_)) || wait.failed >= TRIES { Some(heard) } else { self.again(wait) }
    }

    /// Tries a decision again after a pause, by whatever is so then.
    fn again(&mut self, wait: &mut Wait) -> Option<Heard> {
        std::thread::sleep(AT_MOST);
        (self.kept, self.word, wait.heard) = (None, None, 0);
        None
    }

    /// Says from time to time how long it still waits.
    fn tell_left(&self, wait: &mut Wait) {
        if wait.told_at.elapsed() < TOLD_EVERY {
            return;
        }
        wait.told_at = Instant::now();
        // The time is noted, for whoever goes on after the machine was started by another clock.
        if let Err(error) = self.runner.decisive() {
            tracing::debug!(%error, "the time was not taken note of");
        }
        let seconds = wait.deadline.saturating_duration_since(Instant::now()).as_secs();
        let hold = if wait.starting.is_some() { "do not hold yet" } else { "hold" };
        self.runner.waits(&format!(
            "run {}: check and guards {hold}; waits for a confirmation for another {}",
            self.id,
            length(seconds.saturating_mul(1000))
        ));
    }
}
