//! A run's changes as they stand in the journal.

use std::fmt;

use countersign_model::{Change, Role};
use rusqlite::{Connection, Row, params};
use serde::Serialize;

use crate::journal::MAX_CHANGES;
use crate::rows::bad_column;

/// A change in a run's journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JournaledChange {
    /// Its place in the run, from 1.
    pub seq: u32,
    /// The step that made it.
    pub role: Role,
    /// The change.
    pub change: Change,
    /// How far it got.
    pub state: ChangeState,
    /// What stands in the way of undoing it, where something does; untrusted text.
    pub note: Option<String>,
    /// The resolution by which it was made, by its place among the run's; none of a step's.
    pub resolution: Option<u32>,
}

/// How far a change got, as far as the journal knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeState {
    /// About to be applied. After a crash: perhaps applied; only a probe can tell.
    Intended,
    /// Applied.
    Done,
    /// It failed before it reached the target.
    NotApplied,
    /// It failed, and may have reached the target.
    Unclear,
    /// The subject is as it was before.
    Undone,
    /// It was not undone, since the subject is neither as before nor as the change left it.
    Conflict,
}

impl ChangeState {
    const ALL: [Self; 6] = [Self::Intended, Self::Done, Self::NotApplied, Self::Unclear, Self::Undone, Self::Conflict];

    /// The name in JSON and in the database.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Intended => "intended",
            Self::Done => "done",
            Self::NotApplied => "not-applied",
            Self::Unclear => "unclear",
            Self::Undone => "undone",
            Self::Conflict => "conflict",
        }
    }

    /// Whether the target may differ because of the change.
    #[must_use]
    pub const fn may_stand(self) -> bool {
        !matches!(self, Self::NotApplied | Self::Undone)
    }

    /// Whether the journal may go from this state to that one.
    pub(crate) const fn may_become(self, next: Self) -> bool {
        match next {
            Self::Intended => false,
            Self::Done | Self::NotApplied | Self::Unclear => matches!(self, Self::Intended),
            Self::Undone => !matches!(self, Self::NotApplied),
            Self::Conflict => !matches!(self, Self::NotApplied | Self::Undone),
        }
    }
}

impl fmt::Display for ChangeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A run's changes, in order.
pub(crate) fn of_run(connection: &Connection, run: &str) -> rusqlite::Result<Vec<JournaledChange>> {
    let sql = "SELECT seq, role, change, state, note, resolution FROM changes WHERE run = ?1 ORDER BY seq LIMIT ?2";
    connection.prepare(sql)?.query_map(params![run, MAX_CHANGES], decode)?.collect()
}

fn decode(row: &Row<'_>) -> rusqlite::Result<JournaledChange> {
    let (role, change, state): (String, String, String) = (row.get(1)?, row.get(2)?, row.get(3)?);
    Ok(JournaledChange {
        seq: row.get(0)?,
        role: role.parse().map_err(|error| bad_column(1, error))?,
        change: parse(&change).map_err(|error| bad_column(2, error))?,
        state: ChangeState::ALL
            .into_iter()
            .find(|known| known.name() == state)
            .ok_or_else(|| bad_column(3, "no state has this name"))?,
        note: row.get(4)?,
        resolution: row.get(5)?,
    })
}

/// The largest change that is journaled, as JSON, in bytes.
pub(crate) const MAX_CHANGE: usize = 1024 * 1024;

/// Reads a change as it stands in the journal.
pub(crate) fn parse(json: &str) -> Result<Change, countersign_model::strict::StrictError> {
    countersign_model::strict::from_slice(json.as_bytes(), MAX_CHANGE)
}
