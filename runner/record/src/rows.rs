//! How values stand in columns, and the bounds on what is kept.

use std::fmt::Display;

use countersign_model::{Digest, Outcome};
use rusqlite::Row;
use rusqlite::types::Type;

use crate::RecordError;

/// The largest signed document, plan or report that is kept, in bytes.
pub const MAX_DOCUMENT: usize = 16 * 1024 * 1024;
/// The longest armored signature that is kept, in bytes.
pub const MAX_SIGNATURE: usize = 16 * 1024;
/// The most rows that a list gives, whatever its caller asks for.
pub const MAX_LISTED: usize = 1_000;
/// The longest name of a target, a principal or an identifier, in bytes.
pub(crate) const MAX_NAME: usize = 256;
/// The longest reason, in bytes.
pub(crate) const MAX_TEXT: usize = 64 * 1024;

/// A list's bound as SQLite takes it.
pub(crate) fn limit(asked: usize) -> i64 {
    i64::try_from(asked.min(MAX_LISTED)).unwrap_or_default()
}

/// Milliseconds as SQLite keeps them; what is past the year 292,000,000 becomes its end.
pub(crate) fn time(milliseconds: u64) -> i64 {
    i64::try_from(milliseconds).unwrap_or(i64::MAX)
}

/// Refuses what is longer than is kept.
pub(crate) fn bounded(what: &'static str, size: usize, limit: usize) -> Result<(), RecordError> {
    if size > limit {
        return Err(RecordError::TooLarge { what, size: size as u64, limit: limit as u64 });
    }
    Ok(())
}

pub(crate) fn bad_column(index: usize, error: impl Display) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(index, Type::Text, error.to_string().into())
}

pub(crate) fn get_digest(row: &Row<'_>, index: usize) -> rusqlite::Result<Digest> {
    let text: String = row.get(index)?;
    text.parse().map_err(|error| bad_column(index, error))
}

pub(crate) fn get_optional_digest(row: &Row<'_>, index: usize) -> rusqlite::Result<Option<Digest>> {
    let text: Option<String> = row.get(index)?;
    text.map(|text| text.parse().map_err(|error| bad_column(index, error))).transpose()
}

pub(crate) fn get_time(row: &Row<'_>, index: usize) -> rusqlite::Result<u64> {
    let stored: i64 = row.get(index)?;
    u64::try_from(stored).map_err(|error| bad_column(index, error))
}

pub(crate) fn get_outcome(row: &Row<'_>, index: usize) -> rusqlite::Result<Option<Outcome>> {
    let text: Option<String> = row.get(index)?;
    text.map(|name| Outcome::from_name(&name).ok_or_else(|| bad_column(index, "no outcome has this name"))).transpose()
}

pub(crate) fn get_count(row: &Row<'_>, index: usize) -> rusqlite::Result<u64> {
    get_time(row, index)
}
