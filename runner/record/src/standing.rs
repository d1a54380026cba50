//! Standing approvals, and what came of what they let run.

use countersign_model::Digest;
use rusqlite::{Connection, OptionalExtension, params};

use crate::lock::TargetLock;
use crate::names::proposal_name;
use crate::rows::{self, MAX_DOCUMENT, MAX_LISTED, MAX_NAME, MAX_SIGNATURE};
use crate::state::transact;
use crate::{Entry, RecordError, State};

/// The most signatures of one standing approval that are kept.
const MAX_SIGNATURES: u64 = 64;
/// An hour and a day, in milliseconds.
const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;

/// Standing approvals; see [`State::standing`].
pub struct StandingApprovals<'a>(pub(crate) &'a State);

/// A standing approval with its signatures. Nothing of it is verified yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptStanding {
    /// The digest under which it was recorded; the caller compares it with the bytes.
    pub digest: Digest,
    /// The proposal that is its example.
    pub example: Digest,
    /// The exact bytes that were signed.
    pub document: Vec<u8>,
    /// The armored signatures.
    pub signatures: Vec<String>,
}

/// A standing approval to be kept. The caller has verified all of it.
#[derive(Clone, Copy, Debug)]
pub struct NewStanding<'a> {
    /// The proposal that is its example.
    pub example: &'a Digest,
    /// Whose bundle it is for.
    pub bundle: &'a Digest,
    /// For whose proposals, by name.
    pub agent: &'a str,
    /// What was signed.
    pub document: &'a [u8],
    /// One more signature on it.
    pub signature: &'a str,
}

/// Which runs are asked about.
#[derive(Clone, Copy, Debug)]
pub struct HistoryOf<'a> {
    /// The standing approval.
    pub standing: &'a Digest,
    /// Its bundle.
    pub bundle: &'a Digest,
    /// Its agent, by name.
    pub agent: &'a str,
    /// The target whose committed runs are counted.
    pub target: &'a str,
    /// All of its targets.
    pub targets: &'a [&'a str],
    /// Since when it is valid, in milliseconds since 1970-01-01 UTC.
    pub since: u64,
    /// The time.
    pub now: u64,
}

/// What came of a bundle's runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StandingHistory {
    /// Runs on the target that were committed and not undone, by the agent's proposals.
    pub committed: u64,
    /// The first run on one of the targets since then that was rolled back or undone, or left its target in doubt, or
    /// whose process ended before it did.
    pub failed: Option<String>,
    /// A proposal of the bundle that was denied since the standing approval was kept.
    pub denied: Option<Digest>,
    /// Runs by the standing approval that began in the last hour.
    pub last_hour: u32,
    /// In the last day.
    pub last_day: u32,
}

/// A use of a standing approval, which is counted again where the run begins.
#[derive(Clone, Copy, Debug)]
pub struct Unattended<'a> {
    /// The standing approval.
    pub standing: &'a Digest,
    /// Since when it is valid.
    pub since: u64,
    /// All of its targets.
    pub targets: &'a [String],
    /// The most runs in an hour.
    pub per_hour: u32,
    /// The most runs in a day.
    pub per_day: u32,
}

impl StandingApprovals<'_> {
    /// Keeps a signature on a standing approval durably, and the standing approval with the first; gives its digest. The same
    /// signature twice is kept once, and these entries of the audit log with it.
    ///
    /// # Errors
    /// [`RecordError::TooLarge`] beyond 64 signatures, or where it could not be recorded.
    pub fn add(&self, new: NewStanding<'_>, entries: &[Entry]) -> Result<Digest, RecordError> {
        rows::bounded("bytes of a standing approval", new.document.len(), MAX_DOCUMENT)?;
        rows::bounded("bytes of a signature", new.signature.len(), MAX_SIGNATURE)?;
        rows::bounded("bytes of an agent's name", new.agent.len(), MAX_NAME)?;
        let digest = Digest::of(new.document);
        let action = "record the standing approval";
        self.0.write(action, |tx| {
            let text = digest.to_string();
            let add = || {
                let sql = "INSERT INTO standing_approvals (digest, example, bundle, agent, document)
                           VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (digest) DO NOTHING";
                let values = params![text, new.example.to_string(), new.bundle.to_string(), new.agent, new.document];
                tx.execute(sql, values)?;
                let sql =
                    "INSERT INTO standing_signatures (standing, signature) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
                if tx.execute(sql, params![text, new.signature])? == 1 {
                    self.0.log().append_all(tx, entries)?;
                }
                let sql = "SELECT count(*) FROM standing_signatures WHERE standing = ?1";
                tx.query_row(sql, [&text], |row| rows::get_count(row, 0))
            };
            let size = add().map_err(|error| RecordError::database(action, error))?;
            if size > MAX_SIGNATURES {
                let what = "signatures of a standing approval";
                return Err(RecordError::TooLarge { what, size, limit: MAX_SIGNATURES });
            }
            Ok(digest)
        })
    }

    /// The standing approvals of a bundle for an agent's proposals, newest first.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub fn of(&self, bundle: &Digest, agent: &str) -> Result<Vec<KeptStanding>, RecordError> {
        self.select("WHERE bundle = ?1 AND agent = ?2 ORDER BY position DESC LIMIT ?3", &bundle.to_string(), agent)
    }

    /// One of them by its digest.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub fn get(&self, digest: &Digest) -> Result<Option<KeptStanding>, RecordError> {
        Ok(self.select("WHERE digest = ?1 AND ?2 = '' LIMIT ?3", &digest.to_string(), "")?.pop())
    }

    /// All of them, newest first.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub fn list(&self) -> Result<Vec<KeptStanding>, RecordError> {
        self.select("WHERE ?1 = '' AND ?2 = '' ORDER BY position DESC LIMIT ?3", "", "")
    }

    fn select(&self, rest: &str, one: &str, two: &str) -> Result<Vec<KeptStanding>, RecordError> {
        let sql = format!("SELECT digest, example, document FROM standing_approvals {rest}");
        self.0.read("list the standing approvals", |connection| {
            let found: Vec<(Digest, Digest, Vec<u8>)> = connection
                .prepare(&sql)?
                .query_map(params![one, two, rows::limit(MAX_LISTED)], |row| {
                    Ok((rows::get_digest(row, 0)?, rows::get_digest(row, 1)?, row.get(2)?))
                })?
                .collect::<Result<_, _>>()?;
            let sql = "SELECT signature FROM standing_signatures WHERE standing = ?1 ORDER BY position";
            let mut signatures = connection.prepare(sql)?;
            let with_signatures = |(digest, example, document): (Digest, Digest, Vec<u8>)| {
                let signatures = signatures.query_map([digest.to_string()], |row| row.get(0))?;
                let signatures = signatures.collect::<Result<_, _>>()?;
                Ok(KeptStanding { digest, example, document, signatures })
            };
            found.into_iter().map(with_signatures).collect()
        })
    }

    /// What came of a bundle's runs.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub fn history(&self, of: HistoryOf<'_>) -> Result<StandingHistory, RecordError> {
        let bundle = of.bundle.to_string();
        let dead = self.dead(&bundle, of.targets, of.since)?;
        self.0.read("count the runs of a standing approval", |connection| {
            let sql = "SELECT count(*) FROM runs r JOIN proposals p ON p.digest = r.proposal
                       WHERE r.bundle = ?1 AND r.target = ?2 AND p.proposer = ?3 AND r.outcome = 'committed'
                         AND r.undoes IS NULL
                         AND NOT EXISTS (SELECT 1 FROM runs u WHERE u.undoes = r.id AND u.outcome = 'committed')";
            let values = params![bundle, of.target, of.agent];
            let committed = connection.query_row(sql, values, |row| rows::get_count(row, 0))?;
            let standing = of.standing.to_string();
            Ok(StandingHistory {
                committed,
                failed: failed(connection, &bundle, of.targets, of.since)?.or(dead),
                denied: denied(connection, &standing)?,
                last_hour: began(connection, &standing, of.now.saturating_sub(HOUR))?,
                last_day: began(connection, &standing, of.now.saturating_sub(DAY))?,
            })
        })
    }

    /// A run of a bundle that nobody is at work on and that never ended; none that waits for a person's word.
    fn dead(&self, bundle: &str, targets: &[&str], since: u64) -> Result<Option<String>, RecordError> {
        let action = "look for unfinished runs";
        if self.0.read(action, |connection| under_way(connection, bundle, targets, since))?.is_empty() {
            return Ok(None);
        }
        // Again where nobody can begin or end a run, so that a lock that is free means a process that ended.
        self.0.with_connection(|connection| {
            transact(connection, action, |tx| {
                let found =
                    under_way(tx, bundle, targets, since).map_err(|error| RecordError::database(action, error))?;
                let dead = |(_, target): &(String, String)| Ok(TargetLock::take(self.0.dir(), target)?.is_some());
                first(found, dead)
            })
        })
    }
}

/// The name of the first of these runs of which something is so.
fn first(
    runs: Vec<(String, String)>,
    is_so: impl Fn(&(String, String)) -> Result<bool, RecordError>,
) -> Result<Option<String>, RecordError> {
    for run in runs {
        if is_so(&run)? {
            return Ok(Some(run.0));
        }
    }
    Ok(None)
}

/// Why a use of a standing approval is none any more, inside the transaction that would begin its run; `at` is its time.
pub(crate) fn spent(
    state: &State,
    connection: &Connection,
    of: &Unattended<'_>,
    at: u64,
) -> Result<Option<String>, RecordError> {
    let failed = |error| RecordError::database("begin the run", error);
    let bundle = match recorded(connection, of, at).map_err(failed)? {
        Ok(bundle) => bundle,
        Err(why) => return Ok(Some(why)),
    };
    let targets: Vec<&str> = of.targets.iter().map(String::as_str).collect();
    let found = under_way(connection, &bundle, &targets, of.since).map_err(failed)?;
    let dead = first(found, |(_, target)| Ok(TargetLock::take(state.dir(), target)?.is_some()))?;
    Ok(dead.map(|run| format!("its run {run} died without an outcome")))
}

/// The bundle of a standing approval of which there may be a run, as far as rows tell; else why not.
fn recorded(connection: &Connection, of: &Unattended<'_>, at: u64) -> rusqlite::Result<Result<String, String>> {
    let standing = of.standing.to_string();
    let sql = "SELECT bundle FROM standing_approvals WHERE digest = ?1";
    let bundle: Option<String> = connection.query_row(sql, [&standing], |row| row.get(0)).optional()?;
    let Some(bundle) = bundle else { return Ok(Err("it is not kept".to_owned())) };
    let sql = "SELECT EXISTS (SELECT 1 FROM denials d JOIN standing_approvals s ON s.example = d.proposal
               WHERE s.digest = ?1)";
    if connection.query_row(sql, [&standing], |row| row.get(0))? {
        return Ok(Err("its example was denied".to_owned()));
    }
    if let Some(proposal) = denied(connection, &standing)? {
        return Ok(Err(format!("it ended with the denial of {}", proposal_name(&proposal))));
    }
    if let Some(run) = failed(connection, &bundle, of.targets, of.since)? {
        return Ok(Err(format!("it ended with the run {run}")));
    }
    for (what, span, most) in [("hour", HOUR, of.per_hour), ("day", DAY, of.per_day)] {
        if began(connection, &standing, at.saturating_sub(span))? >= most {
            return Ok(Err(format!("it ran {most} times within the last {what}")));
        }
    }
    Ok(Ok(bundle))
}

fn began(connection: &Connection, standing: &str, after: u64) -> rusqlite::Result<u32> {
    let sql = "SELECT count(*) FROM runs WHERE standing = ?1 AND started > ?2";
    connection.query_row(sql, params![standing, rows::time(after)], |row| row.get(0))
}

/// A proposal of a standing approval's bundle that was denied after that was kept: what people deny does not come back with
/// nobody asked. Which was first is told by rows, and by no clock.
fn denied(connection: &Connection, standing: &str) -> rusqlite::Result<Option<Digest>> {
    let sql = "SELECT d.proposal FROM standing_approvals s JOIN denials d ON d.standing >= s.position
               JOIN proposals p ON p.digest = d.proposal AND p.bundle = s.bundle AND p.undoes IS NULL
               WHERE s.digest = ?1 ORDER BY d.rowid LIMIT 1";
    connection.query_row(sql, [standing], |row| rows::get_digest(row, 0)).optional()
}

/// The runs of a bundle on these targets, begun since then, that are neither ended nor rolled back nor wait for a person's word,
/// each with its target.
fn under_way(
    connection: &Connection,
    bundle: &str,
    targets: &[&str],
    since: u64,
) -> rusqlite::Result<Vec<(String, String)>> {
    let sql =
        "SELECT id, target FROM runs WHERE bundle = ?1 AND started >= ?2 AND outcome IS NULL AND waiting_until IS NULL
               AND target IN (SELECT value FROM json_each(?3)) ORDER BY started";
    let targets = serde_json::Value::from(targets.to_vec()).to_string();
    let values = params![bundle, rows::time(since), targets];
    connection.prepare(sql)?.query_map(values, |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// The first run of a bundle on one of these targets, begun or ended since then, that was rolled back or undone, or left its
/// target in doubt. One that is being rolled back has no other end. A clock that was set back meanwhile hides none.
fn failed(
    connection: &Connection,
    bundle: &str,
    targets: impl IntoIterator<Item = impl AsRef<str>>,
    since: u64,
) -> rusqlite::Result<Option<String>> {
    let targets: Vec<_> = targets.into_iter().map(|target| serde_json::Value::from(target.as_ref())).collect();
    let sql = "SELECT id FROM (
            SELECT id, finished FROM runs
            WHERE bundle = ?1 AND max(started, coalesce(finished, 0)) >= ?2
              AND (outcome IN ('rolled-back', 'rollback-incomplete', 'in-doubt') OR outcome IS NULL AND rollback IS NOT NULL)
              AND target IN (SELECT value FROM json_each(?3))
            UNION ALL
            SELECT r.id, u.finished FROM runs u JOIN runs r ON r.id = u.undoes
            WHERE r.bundle = ?1 AND max(u.started, u.finished) >= ?2 AND u.outcome = 'committed'
              AND r.target IN (SELECT value FROM json_each(?3)))
        ORDER BY finished LIMIT 1";
    let values = params![bundle, rows::time(since), serde_json::Value::from(targets).to_string()];
    connection.query_row(sql, values, |row| row.get(0)).optional()
}
