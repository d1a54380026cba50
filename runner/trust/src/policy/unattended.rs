//! How far standing approvals may reach.

use super::{PolicyError, file};
use crate::duration::parse_duration;
use crate::text::length;

/// The most runs, or subjects, that a policy may let a standing approval be good for.
const MOST: u64 = 100_000;

/// What bounds each standing approval, and what must have happened before one counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnattendedBounds {
    /// How many attended runs must have been committed first; at least 1.
    pub committed: u64,
    /// The longest validity, in milliseconds.
    pub max_validity_ms: u64,
    /// The most runs in an hour; at least 1.
    pub per_hour: u32,
    /// The most runs in a day; at least 1.
    pub per_day: u32,
    /// The most subjects of one proposal; at least 1.
    pub subjects: u32,
}

impl UnattendedBounds {
    pub(super) fn read(file: file::UnattendedBounds) -> Result<Self, PolicyError> {
        let count = |key: &str, count: u64| {
            let bounded = u32::try_from(count).ok().filter(|_| (1..=MOST).contains(&count));
            bounded.ok_or_else(|| PolicyError::Unattended(format!("`{key}` is {count}, expected 1 to {MOST}")))
        };
        let validity = parse_duration(&file.max_validity)
            .map_err(|error| PolicyError::Unattended(format!("`max-validity`: {error}")))?;
        Ok(Self {
            committed: count("committed", file.committed)?.into(),
            // At most a year: it fits.
            max_validity_ms: u64::try_from(validity.as_millis()).unwrap_or(0),
            per_hour: count("per-hour", file.per_hour)?,
            per_day: count("per-day", file.per_day)?,
            subjects: count("subjects", file.subjects)?,
        })
    }

    /// In words, for who reads the policy.
    pub(super) fn says(&self) -> String {
        format!(
            "by a standing approval of at most {}, {} runs an hour, {} a day and {} subjects, after {} committed runs",
            length(self.max_validity_ms),
            self.per_hour,
            self.per_day,
            self.subjects,
            self.committed
        )
    }
}
