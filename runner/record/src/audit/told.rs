//! What the log tells of a proposal, read from rows that are what the runner's key signed: so that what somebody took out of
//! the other tables is not done a second time.

use std::borrow::Cow;
use std::collections::BTreeSet;

use countersign_model::Digest;
use countersign_model::text::excerpt;
use countersign_tlog::{BUNDLE_WIDTH, File, FileKind, files_after, sign_checkpoint};
use rusqlite::{Connection, OptionalExtension};
use serde::Deserialize;

use super::entry::MAX_FIELD;
use super::files::{agrees, rows_of};
use super::{Audit, LogHead, damaged, head};
use crate::{RecordError, rows};

/// What is asked of the log.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// The proposal.
    pub proposal: &'a Digest,
    /// The approval manifest whose uses are counted, also those by one that was made of it.
    pub manifest: &'a Digest,
    /// The target on which they are.
    pub target: &'a str,
    /// A moment before which nothing became of the proposal, in milliseconds since 1970-01-01 UTC. What was logged since is
    /// read, entry by entry.
    pub since: u64,
}

/// What the log tells of a proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// How many uses of the approval are spent on the target: of every run that began and was not refused before its first
    /// change.
    pub uses: u32,
    /// Whether it was denied.
    pub denied: bool,
    /// Whether another proposal took its place.
    pub superseded: bool,
}

impl Audit<'_> {
    /// What the log tells of a proposal. Costs as much as there are entries since that moment, in the memory of 256 of them.
    ///
    /// # Errors
    /// [`RecordError::Damaged`] where the entries since then are not those that the runner's key signed; or the database
    /// cannot be read.
    pub fn told(&self, about: &About<'_>) -> Result<Told, RecordError> {
        let failed = |error| RecordError::database("read the audit log", error);
        self.0.with_connection(|connection| {
            // One view of the rows, whoever adds to them meanwhile.
            let tx = connection.transaction().map_err(failed)?;
            let head = head(&tx).map_err(failed)?;
            self.is_signed(&head)?;
            let from = before(&tx, head.size, about.since)?;
            let mut found = Found::default();
            for file in files_after(from, head.size).filter(|file| file.kind != FileKind::Tile(0)) {
                let rows = rows_of(&tx, &file).map_err(failed)?;
                agrees(&tx, &head, &file, &rows)?;
                if file.kind != FileKind::Bundle {
                    continue;
                }
                agrees(&tx, &head, &File { kind: FileKind::Tile(0), ..file }, &rows)?;
                // What was found by looking at few entries is only believed where these are signed as well.
                let first = rows.entries.first().filter(|_| from > 0 && file.first() == from);
                if first.map(|entry| read(entry)).transpose()?.is_some_and(|first| first.at >= about.since) {
                    return Err(damaged(format!("the entry {from} is not older than those after it")));
                }
                rows.entries.iter().try_for_each(|entry| read(entry).map(|line| found.take(&line, about)))?;
            }
            Ok(found.told())
        })
    }

    /// Whether the head is what the runner's key signs of it, where that is known.
    fn is_signed(&self, head: &LogHead) -> Result<(), RecordError> {
        let Some(key) = self.0.log().key.get() else { return Ok(()) };
        let signed = sign_checkpoint(&head.edge, &**key).map_err(|error| damaged(error.to_string()))?;
        if head.size == 0 || head.checkpoint.as_ref() == Some(&signed) {
            return Ok(());
        }
        Err(damaged(format!("its {} entries are not those that the runner's key signed last", head.size)))
    }
}

/// An entry, as far as it is of interest here.
#[derive(Deserialize)]
struct Line<'a> {
    at: u64,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    run: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    proposal: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    manifest: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    sources: Vec<Cow<'a, str>>,
    #[serde(borrow, default)]
    target: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    outcome: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    revises: Option<Cow<'a, str>>,
}

fn read(entry: &[u8]) -> Result<Line<'_>, RecordError> {
    serde_json::from_slice(entry).map_err(|error| damaged(format!("an entry cannot be read: {error}")))
}

/// What was found so far.
#[derive(Default)]
struct Found {
    runs: BTreeSet<String>,
    denied: bool,
    superseded: bool,
}

impl Found {
    fn take(&mut self, line: &Line<'_>, about: &About<'_>) {
        let is = |field: &Option<Cow<'_, str>>, digest: &Digest| field.as_deref() == Some(digest.to_string().as_str());
        let of = |listed: &[Cow<'_, str>], digest: &Digest| {
            let digest = digest.to_string();
            listed.iter().any(|one| **one == digest)
        };
        match &*line.kind {
            "authorized" if is(&line.manifest, about.manifest) || of(&line.sources, about.manifest) => {
                let same = line.target.as_deref() == Some(excerpt(about.target, MAX_FIELD).as_str());
                self.runs.extend(line.run.as_deref().filter(|_| same).map(str::to_owned));
            }
            "outcome" if line.outcome.as_deref() == Some(countersign_model::Outcome::Refused.name()) => {
                line.run.as_deref().map(|run| self.runs.remove(run));
            }
            "denial" => self.denied |= is(&line.proposal, about.proposal),
            "proposal" => self.superseded |= is(&line.revises, about.proposal),
            _ => {}
        }
    }

    fn told(self) -> Told {
        let uses = u32::try_from(self.runs.len()).unwrap_or(u32::MAX);
        Told { uses, denied: self.denied, superseded: self.superseded }
    }
}

/// The place of the first entry of a bundle that has one from before this moment; 0 where there is none. Entries' times never
/// go back, so few are looked at.
fn before(connection: &Connection, size: u64, since: u64) -> Result<u64, RecordError> {
    let (mut low, mut high) = (0, size);
    while low < high {
        let middle = low.midpoint(high);
        let sql = "SELECT entry FROM log_entries WHERE position = ?1";
        let entry: Option<Vec<u8>> = connection
            .query_row(sql, [rows::time(middle)], |row| row.get(0))
            .optional()
            .map_err(|error| RecordError::database("read the audit log", error))?;
        let entry = entry.ok_or_else(|| damaged(format!("the entry {middle} is missing")))?;
        if read(&entry)?.at < since {
            low = middle.saturating_add(1);
        } else {
            high = middle;
        }
    }
    Ok(low.saturating_sub(1) / BUNDLE_WIDTH * BUNDLE_WIDTH)
}
