//! The latest time that this state has seen, so that a clock that is set back makes nothing good again.

use std::path::{Path, PathBuf};

use crate::state::FILE_MODE;
use crate::{RecordError, State};

/// The file that holds it: milliseconds since 1970-01-01 UTC.
const FILE: &str = "latest-time";
/// The largest such file, in bytes.
const MAX_SIZE: u64 = 32;
/// How far the clock may be behind what was seen, in milliseconds: what setting a clock right by steps needs.
pub const MAX_STEP_BACK: u64 = 60_000;
/// How far the file may lag behind, in milliseconds: one command writes it once.
const LAG: u64 = 1000;

/// The clock of a state; see [`State::clock`].
pub struct Clock<'a>(pub(crate) &'a State);

impl Clock<'_> {
    /// The time to decide by, in milliseconds since 1970-01-01 UTC: `now`, or the latest that was seen where the clock
    /// is a little behind that. From here on, `now` was seen.
    ///
    /// # Errors
    /// [`RecordError::ClockWentBack`] where it is behind by more than [`MAX_STEP_BACK`]; or the file cannot be read or written.
    pub fn decide_at(&self, now: u64) -> Result<u64, RecordError> {
        let latest = self.seen()?;
        if now.saturating_add(MAX_STEP_BACK) < latest {
            return Err(RecordError::ClockWentBack { path: crate::error::shown(&self.path()), latest, now });
        }
        if now > latest.saturating_add(LAG) {
            self.0.durable().replace(&self.path(), now.to_string().as_bytes(), FILE_MODE)?;
        }
        Ok(now.max(latest))
    }

    /// Whether this moment has come, by `now` or by the latest time that was seen: a clock that is set back makes nothing
    /// that is over last any longer.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn has_come(&self, moment: u64, now: u64) -> Result<bool, RecordError> {
        Ok(now >= moment || self.seen()? >= moment)
    }

    /// The latest time that was seen: of the file, which anybody may have removed, and of the audit log's last entry.
    fn seen(&self) -> Result<u64, RecordError> {
        let noted = self.latest()?.unwrap_or_default();
        Ok(noted.max(self.0.audit().head()?.time()))
    }

    fn latest(&self) -> Result<Option<u64>, RecordError> {
        let path = self.path();
        let no_time = |what: &str| RecordError::NoTime { path: crate::error::shown(&path), what: what.to_owned() };
        match path.symlink_metadata() {
            Ok(metadata) if !metadata.is_file() => return Err(no_time("it is not a regular file")),
            Ok(metadata) if metadata.len() > MAX_SIZE => return Err(no_time("it holds no time")),
            // Read, it says why.
            Ok(_) | Err(_) => {}
        }
        let Some(bytes) = self.0.durable().read(&path, MAX_SIZE as usize)? else { return Ok(None) };
        let latest = str::from_utf8(&bytes).ok().and_then(|text| text.parse().ok());
        latest.map(Some).ok_or_else(|| no_time("it holds no time"))
    }

    fn path(&self) -> PathBuf {
        self.0.dir().join(Path::new(FILE))
    }
}
