//! How a run begins: in one transaction that decides whether it may, spends a use and holds the target.

use std::sync::Arc;

use countersign_model::documents::GuardState;
use countersign_model::{Digest, Plan, text};
use rusqlite::{OptionalExtension, Transaction, params};

use crate::audit::entries;
use crate::blobs::RunBlobs;
use crate::holds::{self, Holder, Wanted};
use crate::journal::Held;
use crate::lock::TargetLock;
use crate::names::{proposal_name, random_hex};
use crate::proposals::revision;
use crate::reserve::{Needed, Reserve};
use crate::rows::{self, MAX_DOCUMENT, MAX_NAME, MAX_SIGNATURE, MAX_TEXT};
use crate::runs::{count_uses, open_run};
use crate::state::transact;
use crate::{Journal, Paused, RecordError, Runs, Unattended, Unfinished, pauses, schema, standing};

/// The room that a run's journal must have on its file system before the first change, in bytes, besides before-images
/// and what is set aside.
const MIN_ROOM: u64 = 4 * 1024 * 1024;

/// A run that is about to begin. The caller has verified all of it.
#[derive(Clone, Copy, Debug)]
pub struct RunStart<'a> {
    /// The proposal.
    pub proposal: &'a Digest,
    /// The approval manifest that it uses.
    pub manifest: &'a Digest,
    /// The target.
    pub target: &'a str,
    /// How many uses the manifest is good for.
    pub max_uses: u32,
    /// The manifests that people signed, where that one was made of them, each with how many uses it is good for: one of
    /// each is spent.
    pub sources: &'a [(Digest, u32)],
    /// The standing approval by which it is, where nobody was asked.
    pub standing: Option<Unattended<'a>>,
    /// Who approved, by name.
    pub approvers: &'a [String],
    /// Whether the proposer could not have approved it.
    pub independent: bool,
    /// When, in milliseconds since 1970-01-01 UTC.
    pub at: u64,
    /// The plan that was approved for this target.
    pub plan: &'a Plan,
    /// The guards as they stand before the first change: none may be worse after a rollback.
    pub guards: &'a [GuardState],
    /// Who starts it.
    pub actor: RunActor<'a>,
}

/// Who starts a run.
#[derive(Clone, Copy, Debug)]
pub struct RunActor<'a> {
    /// Their name in the trust policy, or which local user it is.
    pub name: &'a str,
    /// What they signed, where they did.
    pub order: Option<SignedRunOrder<'a>>,
}

/// A person's signed word that one run begins.
#[derive(Clone, Copy, Debug)]
pub struct SignedRunOrder<'a> {
    /// The name that it gives the run: `r-` and 12 hexadecimal digits. There is one run of a name, so it begins no other;
    /// see [`run_name`](crate::run_name).
    pub run: &'a str,
    /// The fingerprint of their key.
    pub key: &'a str,
    /// The exact bytes that were signed.
    pub document: &'a [u8],
    /// The armored signature.
    pub signature: &'a str,
}

impl<'a> From<&'a str> for RunActor<'a> {
    /// Somebody who signed nothing.
    fn from(name: &'a str) -> Self {
        Self { name, order: None }
    }
}

/// A run that was refused before it began. It spends no use.
#[derive(Clone, Copy, Debug)]
pub struct Refusal<'a> {
    /// The proposal.
    pub proposal: &'a Digest,
    /// The target.
    pub target: &'a str,
    /// Why.
    pub reason: &'a str,
    /// When, in milliseconds since 1970-01-01 UTC.
    pub at: u64,
    /// Who would have started it, where that can be told.
    pub actor: Option<&'a str>,
}

/// Why a run did not begin. Nothing was changed and no use is spent.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// The approval was good for fewer runs.
    #[error("the approval is used up: {used} of {max} uses are spent")]
    UsedUp {
        /// The runs that began.
        used: u32,
        /// The runs that it was good for.
        max: u32,
    },
    /// The standing approval lets no more of it run, perhaps just now.
    #[error("the standing approval lets it run no more: {why}")]
    NotUnattended {
        /// Why.
        why: String,
    },
    /// Another proposal took the place of this one.
    #[error("the proposal was superseded by `{by}`")]
    Superseded {
        /// That proposal's name.
        by: String,
    },
    /// Somebody denied it, perhaps just now.
    #[error("the proposal was denied")]
    Denied,
    /// Somebody paused new runs, perhaps just now.
    #[error("new runs are paused")]
    Paused(Paused),
    /// What was signed for a run began one, or was refused, already.
    #[error("there is a run `{run}` already, and what was signed is for the one run of that name")]
    Begun {
        /// That run.
        run: String,
    },
    /// What it would undo is undone already.
    #[error("the run `{run}` was undone already, by `{by}`")]
    Undone {
        /// The run that it would undo.
        run: String,
        /// The run that undid it.
        by: String,
    },
    /// An earlier run on the target, or on another one with a subject of this run's, never ended.
    #[error("the target `{}` has the unfinished run `{}`: {}", .0.target(), .0.run(), .0.reason())]
    Unfinished(Box<Unfinished>),
    /// Another run is at work on the target, or on a subject of this run's.
    #[error("{0}")]
    Busy(Holder),
    /// It could not be recorded.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// A target that is held for a run that is about to begin: until this is dropped no other run begins on it, or with one
/// of its subjects, so what
/// is found of the target meanwhile is not another run's half of a change.
pub struct Hold(pub(crate) TargetLock);

impl Runs<'_> {
    /// Holds a target and subjects, all or none, for what a run finds before it begins to be true still when it
    /// does. No run on another target touches one of them until the run has ended, and one that never ends until it is
    /// recovered.
    ///
    /// # Errors
    /// [`BeginError::Unfinished`], or [`BeginError::Busy`] where a run is at work on one of them or is about to begin.
    pub fn hold(&self, wanted: Wanted<'_>) -> Result<Hold, BeginError> {
        rows::bounded("bytes of a target's name", wanted.target.len(), MAX_NAME)?;
        let durable = self.0.durable();
        durable.check()?;
        let mut connection = schema::open(&self.0.database())?;
        let held = transact(&mut connection, "hold the target", |tx| self.take(tx, wanted))
            .inspect_err(|error| durable.stop_if_final(error))?;
        held.map(Hold)
    }

    /// The unfinished run that holds the target or one of the subjects, if there is one.
    ///
    /// # Errors
    /// Where it cannot be told; then they must be taken for blocked.
    pub fn blocking(&self, wanted: Wanted<'_>) -> Result<Option<Unfinished>, RecordError> {
        if let Some(unfinished) = self.unfinished(wanted.target)? {
            return Ok(Some(unfinished));
        }
        let action = "look for unfinished runs";
        match self.0.write(action, |tx| holds::held_elsewhere(self, tx, wanted))? {
            Some(BeginError::Unfinished(unfinished)) => Ok(Some(*unfinished)),
            _ => Ok(None),
        }
    }

    /// Begins a run on a target that it holds already, as [`Self::begin`] does.
    ///
    /// # Errors
    /// As for [`Self::begin`].
    pub fn begin_held(&self, start: RunStart<'_>, hold: Hold) -> Result<Journal, BeginError> {
        self.begin_with(&start, Some(hold))
    }

    /// Begins a run, durably: from here on a use of the approval is spent and the target is held.
    ///
    /// # Errors
    /// A [`BeginError`]; of several that begin at once on one target, or with one use left, exactly one begins.
    pub fn begin(&self, start: RunStart<'_>) -> Result<Journal, BeginError> {
        self.begin_with(&start, None)
    }

    fn begin_with(&self, start: &RunStart<'_>, hold: Option<Hold>) -> Result<Journal, BeginError> {
        rows::bounded("bytes of a target's name", start.target.len(), MAX_NAME)?;
        let encode = |error: serde_json::Error| RecordError::BadName {
            noun: "run",
            text: text::excerpt(&error.to_string(), 80),
            expected: "a plan that is JSON",
        };
        let guards = serde_json::to_string(start.guards).map_err(encode)?;
        rows::bounded("bytes of what the guards say", guards.len(), MAX_DOCUMENT)?;
        let plan = serde_json::to_string(start.plan).map_err(encode)?;
        rows::bounded("bytes of a plan", plan.len(), MAX_DOCUMENT)?;
        let approvers = serde_json::to_string(start.approvers).map_err(encode)?;
        rows::bounded("bytes of the approvers' names", approvers.len(), MAX_TEXT)?;
        rows::bounded("bytes of a name", start.actor.name.len(), MAX_NAME)?;
        if let Some(order) = &start.actor.order {
            rows::bounded("bytes of an order of a run", order.document.len(), MAX_DOCUMENT)?;
            rows::bounded("bytes of a signature", order.signature.len(), MAX_SIGNATURE)?;
        }

        let durable = self.0.durable();
        durable.check()?;
        let needed = Needed::of(start.plan, plan.len().saturating_add(guards.len()));
        let needed = if self.0.has_images()? { needed } else { needed.without_images() };
        let reserve = Reserve::new(self.0.dir(), start.target, needed, durable);
        let mut connection = schema::open(&self.0.database())?;
        let mut lock = hold.map(|Hold(lock)| lock);
        let mut refused = None;
        // An error of our own takes the transaction back; `refused` carries what it was.
        let begun = transact(&mut connection, "begin the run", |tx| match self.admit(tx, start, &mut lock)? {
            Some(error) => {
                refused = Some(error);
                Ok(None)
            }
            None => {
                self.set_aside(&reserve)?;
                let order = start.actor.order;
                let id = match order {
                    // Nobody has it: that was looked at.
                    Some(order) => order.run.to_owned(),
                    None => unused_id(tx, run_name)?,
                };
                let sql =
                    "INSERT INTO runs (id, proposal, manifest, bundle, target, approvers, independent, started, plan, guards, standing, actor, undoes)
                           SELECT ?1, digest, ?3, bundle, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, undoes FROM proposals WHERE digest = ?2";
                let (proposal, manifest) = (start.proposal.to_string(), start.manifest.to_string());
                let (at, by) = (rows::time(start.at), start.actor.name);
                let standing = start.standing.map(|unattended| unattended.standing.to_string());
                let values = params![
                    id, proposal, manifest, start.target, approvers, start.independent, at, plan, guards, standing, by
                ];
                let entry = entries::authorized(&id, start);
                let spend = |(source, _): &(Digest, u32)| {
                    let sql = "INSERT INTO run_sources (run, manifest) VALUES (?1, ?2)";
                    tx.execute(sql, params![id, source.to_string()]).map(drop)
                };
                tx.execute(sql, values)
                    .and_then(|_| start.sources.iter().try_for_each(spend))
                    .and_then(|()| order.map_or(Ok(()), |order| keep_order(tx, order)))
                    .and_then(|()| self.0.log().append(tx, &entry))
                    .map_err(|error| RecordError::database("begin the run", error))?;
                Ok(Some(id))
            }
        })
        .inspect_err(|error| durable.stop_if_final(error));
        match (begun, lock) {
            (Ok(Some(id)), Some(lock)) => {
                let images = RunBlobs::new(connection, self.0.blobs());
                let held = Held { reserve, log: Arc::clone(self.0.log()), _lock: lock };
                Ok(Journal::new(id, start.target.to_owned(), images, Arc::clone(durable), held))
            }
            (begun, lock) => {
                // Where nobody knows whether it was recorded, it may be whoever recovers who needs it.
                let recorded = begun.as_ref().is_err_and(RecordError::is_final);
                if lock.is_some() && !recorded {
                    // While the target is held. What cannot be removed now is removed by whoever recovers next.
                    let _ = reserve.remove();
                }
                begun?;
                Err(refused.unwrap_or_else(|| BeginError::Busy(Holder::unknown(start.target))))
            }
        }
    }

    /// Sets aside what a rollback may need, and leaves room for the changes before it. Refuses where there is not so
    /// much, now or after another took it in the same moment.
    fn set_aside(&self, reserve: &Reserve) -> Result<(), RecordError> {
        let dir = self.0.dir();
        let no_room = |free| RecordError::NoRoom {
            path: crate::error::shown(dir),
            free,
            needed: MIN_ROOM.saturating_add(reserve.size()),
            reserve: reserve.size(),
        };
        let free = || -> Result<u64, RecordError> {
            let system = rustix::fs::statvfs(dir).map_err(|error| RecordError::file("look at", dir, error.into()))?;
            // Some file systems count nothing at all.
            let counts = system.f_blocks > 0;
            Ok(if counts { system.f_bavail.saturating_mul(system.f_frsize) } else { u64::MAX })
        };
        let before = free()?;
        if before < MIN_ROOM.saturating_add(reserve.size()) {
            return Err(no_room(before));
        }
        match reserve.set_aside() {
            Err(error) if error.is_full() => Err(no_room(free()?)),
            other => other,
        }
    }

    /// Decides, inside the transaction that begins the run, whether it may, and says why not. Takes the lock that is not
    /// held yet.
    fn admit(
        &self,
        tx: &Transaction<'_>,
        start: &RunStart<'_>,
        lock: &mut Option<TargetLock>,
    ) -> Result<Option<BeginError>, RecordError> {
        let failed = |error| RecordError::database("begin the run", error);
        let (proposal, manifest) = (start.proposal.to_string(), start.manifest.to_string());
        let sql = "SELECT 1 FROM manifests WHERE digest = ?1 AND proposal = ?2";
        let known: Option<i64> =
            tx.query_row(sql, [&manifest, &proposal], |row| row.get(0)).optional().map_err(failed)?;
        if known.is_none() {
            let name = format!("{manifest} of {}", proposal_name(start.proposal));
            return Err(RecordError::NotFound { noun: "approval manifest", name });
        }
        if let Some(by) = revision(tx, start.proposal).map_err(failed)? {
            return Ok(Some(BeginError::Superseded { by: proposal_name(&by) }));
        }
        // Whoever ordered the run looked before it asked guards and check, which takes minutes; a denial is final whenever
        // it is given. Only those that count are kept.
        let sql = "SELECT EXISTS (SELECT 1 FROM denials WHERE proposal = ?1)";
        if tx.query_row(sql, [&proposal], |row| row.get(0)).map_err(failed)? {
            return Ok(Some(BeginError::Denied));
        }
        if let Some(order) = &start.actor.order {
            let sql = "SELECT EXISTS (SELECT 1 FROM runs WHERE id = ?1)";
            if tx.query_row(sql, [order.run], |row| row.get(0)).map_err(failed)? {
                return Ok(Some(BeginError::Begun { run: order.run.to_owned() }));
            }
        }
        // So is a pause, whoever looked before.
        if let Some(paused) = pauses::paused(tx).map_err(failed)? {
            return Ok(Some(BeginError::Paused(paused)));
        }
        let sql = "SELECT u.undoes, u.id FROM runs u JOIN proposals p ON p.undoes = u.undoes
                   WHERE p.digest = ?1 AND u.outcome = 'committed'";
        let undone = tx.query_row(sql, [&proposal], |row| Ok((row.get(0)?, row.get(1)?))).optional().map_err(failed)?;
        if let Some((run, by)) = undone {
            return Ok(Some(BeginError::Undone { run, by }));
        }
        if lock.is_none() {
            match self.take(tx, Wanted::target(start.target))? {
                Ok(taken) => *lock = Some(taken),
                Err(error) => return Ok(Some(error)),
            }
        }
        if let Some(unattended) = &start.standing
            && let Some(why) = standing::spent(self.0, tx, unattended, start.at)?
        {
            return Ok(Some(BeginError::NotUnattended { why }));
        }
        for (manifest, max) in start.sources.iter().chain([&(*start.manifest, start.max_uses)]) {
            let used = count_uses(tx, &manifest.to_string(), start.target).map_err(failed)?;
            if used >= *max {
                return Ok(Some(BeginError::UsedUp { used, max: *max }));
            }
        }
        Ok(None)
    }

    /// Takes the target's lock and these subjects, inside a transaction, unless a run is at work on one of them or never
    /// ended.
    fn take(&self, tx: &Transaction<'_>, wanted: Wanted<'_>) -> Result<Result<TargetLock, BeginError>, RecordError> {
        let failed = |error| RecordError::database("hold the target", error);
        let target = wanted.target;
        let open = open_run(tx, target).map_err(failed)?;
        let Some(lock) = TargetLock::take(self.0.dir(), target)? else {
            let process = holds::process(tx, target).map_err(failed)?;
            let holder = Holder { run: open.map(|(id, _)| id), process, ..Holder::unknown(target) };
            return Ok(Err(BeginError::Busy(holder)));
        };
        if let Some((id, rollback)) = open {
            let unfinished = self.load_unfinished(tx, id, target, rollback)?;
            return Ok(Err(BeginError::Unfinished(Box::new(unfinished))));
        }
        if let Some(error) = holds::held_elsewhere(self, tx, wanted)? {
            return Ok(Err(error));
        }
        // One that died over a resolution has what it holds until it is recovered.
        if let Some(run) = holds::half_resolved(tx, target).map_err(failed)? {
            return Ok(Err(BeginError::Busy(Holder { run: Some(run), ..Holder::unknown(target) })));
        }
        holds::hold(tx, wanted)?;
        Ok(Ok(lock))
    }

    /// Records a run that was refused before it began, and gives its id.
    ///
    /// # Errors
    /// [`RecordError::NotFound`] where there is no such proposal.
    pub fn refuse(&self, refusal: Refusal<'_>) -> Result<String, RecordError> {
        rows::bounded("bytes of a target's name", refusal.target.len(), MAX_NAME)?;
        rows::bounded("bytes of a name", refusal.actor.unwrap_or_default().len(), MAX_NAME)?;
        let action = "record the refusal";
        self.0.write(action, |tx| {
            let id = unused_id(tx, run_name)?;
            let sql = "INSERT INTO runs
                (id, proposal, bundle, target, approvers, independent, started, outcome, reason, finished, undoes, settled,
                 actor)
                SELECT ?1, digest, bundle, ?3, '[]', 0, ?4, 'refused', ?5, ?4, undoes, 1, ?6 FROM proposals WHERE digest = ?2";
            let (proposal, reason) = (refusal.proposal.to_string(), text::excerpt(refusal.reason, MAX_TEXT));
            let values = params![id, proposal, refusal.target, rows::time(refusal.at), reason, refusal.actor];
            match tx.execute(sql, values).map_err(|error| RecordError::database(action, error))? {
                1 => {
                    let entry = entries::refused(&id, &refusal);
                    self.0.log().append(tx, &entry).map_err(|error| RecordError::database(action, error))?;
                    Ok(id)
                }
                _ => Err(RecordError::NotFound { noun: "proposal", name: proposal_name(refusal.proposal) }),
            }
        })
    }
}

/// Keeps what was signed for the run of its name.
fn keep_order(tx: &Transaction<'_>, order: SignedRunOrder<'_>) -> rusqlite::Result<()> {
    let sql = "INSERT INTO run_orders (run, document, signature) VALUES (?1, ?2, ?3)";
    tx.execute(sql, params![order.run, order.document, order.signature]).map(drop)
}

/// A name for a run, by chance.
///
/// # Errors
/// When the system gives no random bytes.
pub fn run_name() -> Result<String, RecordError> {
    Ok(format!("r-{}", random_hex()?))
}

/// A name that no run has; 48 bits are enough that a second try is rare and a fifth never happens.
fn unused_id(
    tx: &Transaction<'_>,
    mut make: impl FnMut() -> Result<String, RecordError>,
) -> Result<String, RecordError> {
    for _ in 0..5 {
        let id = make()?;
        let taken: Option<i64> = tx
            .query_row("SELECT 1 FROM runs WHERE id = ?1", [&id], |row| row.get(0))
            .optional()
            .map_err(|error| RecordError::database("name the run", error))?;
        if taken.is_none() {
            return Ok(id);
        }
    }
    Err(RecordError::Random("five names in a row were taken".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_taken_is_not_given_again() {
        let mut connection = rusqlite::Connection::open_in_memory().expect("a database");
        connection
            .execute_batch("CREATE TABLE runs (id TEXT); INSERT INTO runs VALUES ('r-1'), ('r-2')")
            .expect("rows");
        let tx = connection.transaction().expect("a transaction");
        let mut names = ["r-1", "r-2", "r-3"].into_iter();
        let id = unused_id(&tx, || Ok(names.next().unwrap_or_default().to_owned())).expect("a name");
        assert_eq!(id, "r-3");
        let error = unused_id(&tx, || Ok("r-1".to_owned())).expect_err("always taken").to_string();
        assert!(error.contains("five names"), "{error}");
    }
}
