//! Names: random ones for runs and temporary files, and short ones that people type.

use countersign_model::{Digest, text};
use rusqlite::{Connection, params};

use crate::RecordError;

/// The fewest hexadecimal digits that a short name has.
const SHORTEST: usize = 6;
/// How many candidates an ambiguous name lists.
const CANDIDATES: usize = 10;

/// The name of a proposal that people see: `p-` and the digest's first 12 hexadecimal digits.
#[must_use]
pub fn proposal_name(digest: &Digest) -> String {
    format!("p-{}", digest.short())
}

/// Twelve random hexadecimal digits.
pub(crate) fn random_hex() -> Result<String, RecordError> {
    let mut bytes = [0; 6];
    getrandom::fill(&mut bytes).map_err(|error| RecordError::Random(error.to_string()))?;
    Ok(hex::encode(bytes))
}

/// A sort of name that may be shortened.
pub(crate) struct Names {
    pub(crate) noun: &'static str,
    pub(crate) expected: &'static str,
    /// What may stand before the hexadecimal digits.
    pub(crate) markers: &'static [&'static str],
    /// What stands before them in the database.
    pub(crate) stored: &'static str,
    pub(crate) longest: usize,
    /// Takes the lower and the upper bound and how many to list.
    pub(crate) sql: &'static str,
    /// How a stored name is shown in a list of candidates.
    pub(crate) show: fn(&str) -> String,
}

impl Names {
    /// The stored name that this text means.
    pub(crate) fn resolve(&self, connection: &Connection, text: &str) -> Result<String, RecordError> {
        let digits = self.markers.iter().find_map(|marker| text.strip_prefix(marker)).unwrap_or(text);
        let lower_hex = digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !lower_hex || !(SHORTEST..=self.longest).contains(&digits.len()) {
            let text = text::excerpt(text, 80);
            return Err(RecordError::BadName { noun: self.noun, text, expected: self.expected });
        }
        let lower = format!("{}{digits}", self.stored);
        // `g` follows every hexadecimal digit.
        let upper = format!("{lower}g");
        let mut found =
            self.list(connection, &lower, &upper).map_err(|e| RecordError::database("look up a name", e))?;
        match (found.pop(), found.is_empty()) {
            (None, _) => Err(RecordError::NotFound { noun: self.noun, name: text.to_owned() }),
            (Some(only), true) => Ok(only),
            (Some(last), false) => {
                found.push(last);
                let candidates = found.iter().take(CANDIDATES).map(|name| (self.show)(name)).collect();
                Err(RecordError::Ambiguous { noun: self.noun, prefix: text.to_owned(), candidates })
            }
        }
    }

    fn list(&self, connection: &Connection, lower: &str, upper: &str) -> rusqlite::Result<Vec<String>> {
        let mut statement = connection.prepare(self.sql)?;
        let limit = i64::try_from(CANDIDATES).unwrap_or_default();
        let rows = statement.query_map(params![lower, upper, limit], |row| row.get(0))?;
        rows.collect()
    }
}
