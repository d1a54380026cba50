use std::io;
use std::path::Path;

use countersign_model::text;
use rusqlite::ErrorCode;

/// Why something could not be recorded or read back, and what state the record is in.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// A file operation failed. Nothing was recorded.
    #[error("could not {action} `{path}`; nothing was recorded")]
    File {
        /// What was tried, e.g. `create`.
        action: &'static str,
        /// The file.
        path: String,
        /// The system's answer.
        source: io::Error,
    },
    /// A sync failed. Whether the file survives a power failure is not known; nothing more is written.
    #[error(
        "`{path}` could not be made durable; whether it survives a power failure is not known, and nothing more is written"
    )]
    NotDurable {
        /// The file or directory.
        path: String,
        /// The system's answer.
        source: io::Error,
    },
    /// An earlier sync failed in this process.
    #[error("nothing more is written since an earlier write could not be made durable: {0}")]
    Stopped(String),
    /// The database refused. A transaction was taken back.
    #[error("the database could not {action}; nothing was changed")]
    Database {
        /// What was tried.
        action: &'static str,
        /// SQLite's answer.
        source: rusqlite::Error,
    },
    /// The database could not write. Whether the transaction survives is not known.
    #[error("the database could not {action}; whether it was recorded is not known, and nothing more is written")]
    DatabaseWrite {
        /// What was tried.
        action: &'static str,
        /// SQLite's answer.
        source: rusqlite::Error,
    },
    /// The content is not what it must be.
    #[error("`{path}` is damaged: {what}")]
    Damaged {
        /// The file, or the row in words.
        path: String,
        /// What is wrong with it.
        what: String,
    },
    /// Nothing is there.
    #[error("there is no state directory at `{0}`")]
    NoState(String),
    /// Something else is there.
    #[error("`{path}` is not a state directory: {why}")]
    NotAState {
        /// The directory.
        path: String,
        /// What is missing or different.
        why: String,
    },
    /// A state directory is only made where nothing is.
    #[error("`{0}` is not empty; a state directory is only made in an empty or new directory, nothing was changed")]
    NotEmpty(String),
    /// Somebody else could write here.
    #[error("`{path}` belongs to user {owner}, and this runs as user {user}")]
    OtherOwner {
        /// The directory or file.
        path: String,
        /// Its owner's number.
        owner: u32,
        /// The effective user's number.
        user: u32,
    },
    /// Somebody else can write or read here.
    #[error("`{path}` has mode {mode:04o}, so that others can {access} it; {wanted:04o} is needed")]
    Exposed {
        /// The directory or file.
        path: String,
        /// Its permission bits.
        mode: u32,
        /// `write` or `read`.
        access: &'static str,
        /// The mode that it must have.
        wanted: u32,
    },
    /// A newer program made it.
    #[error("`{path}` has format {found}, and this version knows formats up to {known}; nothing was changed")]
    Newer {
        /// The database.
        path: String,
        /// Its format.
        found: i64,
        /// The newest format that is known.
        known: i64,
    },
    /// A later trust policy was accepted.
    #[error("the trust policy with the serial {found} is not taken: {accepted} was accepted here")]
    LowerPolicy {
        /// Its serial.
        found: u64,
        /// The highest that was accepted.
        accepted: u64,
    },
    /// An earlier program made it, and its format is known no more.
    #[error("`{path}` has format {found}, and this version knows only format {known}; nothing was changed")]
    Older {
        /// The database.
        path: String,
        /// Its format.
        found: i64,
        /// The format that is known.
        known: i64,
    },
    /// The clock says less than it did before. Nothing was changed.
    #[error(
        "the clock says {}, and this state has seen {}: an approval that expired could seem good again",
        moment(*.now), moment(*.latest)
    )]
    ClockWentBack {
        /// The file that holds what was seen.
        path: String,
        /// What was seen, in milliseconds since 1970-01-01 UTC.
        latest: u64,
        /// What the clock says.
        now: u64,
    },
    /// What holds the latest time that was seen holds none. Nothing was changed.
    #[error("`{path}` is damaged: {what}, so nothing can be decided by time")]
    NoTime {
        /// The file.
        path: String,
        /// What is wrong with it.
        what: String,
    },
    /// There is no such thing.
    #[error("there is no {noun} `{name}`")]
    NotFound {
        /// `proposal`, `run`, `blob`, ...
        noun: &'static str,
        /// What was asked for.
        name: String,
    },
    /// The short name fits several.
    #[error("`{prefix}` is the beginning of several {noun}s: {}", .candidates.join(", "))]
    Ambiguous {
        /// `proposal` or `run`.
        noun: &'static str,
        /// What was asked for.
        prefix: String,
        /// The first of those that it fits.
        candidates: Vec<String>,
    },
    /// The text cannot be a name.
    #[error("`{text}` names no {noun}: expected {expected}")]
    BadName {
        /// `proposal` or `run`.
        noun: &'static str,
        /// The text.
        text: String,
        /// The forms that are understood.
        expected: &'static str,
    },
    /// The name is taken by something else. Nothing was recorded.
    #[error("there is another {noun} `{name}` already; nothing was recorded")]
    Duplicate {
        /// `evidence`, `file`, ...
        noun: &'static str,
        /// Its name.
        name: String,
    },
    /// It is larger, longer or more than is kept. Nothing was recorded.
    #[error("{what}: {size} are more than the {limit} that are kept; nothing was recorded")]
    TooLarge {
        /// What it is and in which unit.
        what: &'static str,
        /// How much it is.
        size: u64,
        /// The most that is kept.
        limit: u64,
    },
    /// What was to be kept, or was kept, could not be read to its end. Nothing was recorded.
    #[error("the bytes could not be read; nothing was recorded")]
    Unread {
        /// The answer of the system, or of whoever gives the bytes.
        source: io::Error,
    },
    /// Images would take more than they may. Nothing was recorded.
    #[error(
        "images of {needed} bytes do not fit under the cap: {used} of {cap} bytes are taken by those in `{path}`; nothing was recorded"
    )]
    OverCap {
        /// Their place.
        path: String,
        /// What is needed, in bytes.
        needed: u64,
        /// What all images take.
        used: u64,
        /// The most that they may take.
        cap: u64,
    },
    /// Images would leave less free than must stay free. Nothing was recorded.
    #[error(
        "images of {needed} bytes would eat into the reserve of {reserve} bytes: {free} bytes are free at `{path}`; nothing was recorded"
    )]
    UnderReserve {
        /// A place on the file system.
        path: String,
        /// What is needed, in bytes.
        needed: u64,
        /// What is free.
        free: u64,
        /// What must stay free.
        reserve: u64,
    },
    /// The configured directory of images cannot be one.
    #[error("`{path}` cannot be the directory of images: {why}; nothing was changed")]
    NotAPlace {
        /// The directory.
        path: String,
        /// Why not.
        why: String,
    },
    /// Whoever gives the bytes gave more or fewer than it said. Nothing was recorded.
    #[error("{expected} bytes were to be kept and {found} or more came; nothing was recorded")]
    OtherSize {
        /// How many came; no more than one too many is read.
        found: u64,
        /// How many were said.
        expected: u64,
    },
    /// Another proposal took the place of this one.
    #[error("the proposal `{old}` was superseded by `{new}`")]
    Superseded {
        /// The name of the older one.
        old: String,
        /// The name of the one that stands.
        new: String,
    },
    /// An earlier error ended the journal: nothing more may be applied, and undo works from what is recorded.
    #[error("the journal of run `{run}` takes no more intents: {why}")]
    JournalStopped {
        /// The run.
        run: String,
        /// The first error.
        why: String,
    },
    /// A run needs room for its journal before its first change. Nothing was recorded.
    #[error(
        "`{path}` has room for {free} bytes, and a run is begun with {needed} at least, {reserve} of them set aside for its rollback"
    )]
    NoRoom {
        /// The state directory.
        path: String,
        /// The bytes that are free.
        free: u64,
        /// The bytes that must be.
        needed: u64,
        /// Those of them that are set aside.
        reserve: u64,
    },
    /// The journal was used against its rules. Nothing was recorded.
    #[error("the journal of run `{run}` does not record this: {why}")]
    JournalRule {
        /// The run.
        run: String,
        /// The rule.
        why: String,
    },
    /// There is no randomness for a new name.
    #[error("the system gives no random numbers: {0}; nothing was recorded")]
    Random(String),
}

/// A moment in UTC to the second.
fn moment(milliseconds: u64) -> String {
    let moment = i64::try_from(milliseconds / 1000).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    moment.map_or_else(|| format!("{milliseconds} ms after 1970-01-01"), |moment| moment.to_string())
}

/// A path as it may be shown.
pub(crate) fn shown(path: &Path) -> String {
    text::visible(&path.to_string_lossy())
}

impl RecordError {
    pub(crate) fn file(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::File { action, path: shown(path), source }
    }

    /// Sorts what SQLite answers.
    pub(crate) fn database(action: &'static str, source: rusqlite::Error) -> Self {
        match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Damaged { path: crate::state::DATABASE.to_owned(), what: source.to_string() }
            }
            _ => Self::Database { action, source },
        }
    }

    /// In a transaction that writes, an I/O error may be a sync that failed.
    pub(crate) fn in_transaction(self) -> Self {
        match self {
            Self::Database { action, source } if source.sqlite_error_code() == Some(ErrorCode::SystemIoFailure) => {
                Self::DatabaseWrite { action, source }
            }
            other => other,
        }
    }

    /// What to do next, in one line, where something can be said.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        const ROOM: &str = "make room on the disk of the state directory, and try again";
        const WRITABLE: &str = "the state directory must be writable by whoever runs this: see how its file system is mounted, \
                                and its owner and mode";
        match self {
            Self::File { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(ROOM),
                io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => Some(WRITABLE),
                _ => None,
            },
            Self::Database { source, .. } | Self::DatabaseWrite { source, .. } => match source.sqlite_error_code() {
                Some(ErrorCode::DiskFull) => Some(ROOM),
                Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => Some(WRITABLE),
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                    Some("another process holds the database: try again when it is done")
                }
                Some(ErrorCode::SystemIoFailure) => {
                    Some("see to the disk of the state directory: its room, how it is mounted, and whether it is sound")
                }
                _ => None,
            },
            Self::NotDurable { .. } | Self::Stopped(_) => {
                Some("see to the disk of the state directory before anything else is run")
            }
            Self::NoRoom { .. } => Some(ROOM),
            Self::Damaged { .. } => {
                Some("restore the state directory from a backup; nothing is run from a damaged one")
            }
            Self::NoState(_) => {
                Some("make one with `countersign init --approver KEY.pub`, or name yours with `--state`")
            }
            Self::NotAState { .. } => Some("name the directory that `countersign init` made"),
            Self::NotEmpty(_) => Some("name another directory with `--state`"),
            Self::OtherOwner { .. } => {
                Some("run it as the owner, or name a state directory of your own with `--state`")
            }
            Self::Exposed { .. } => Some("set its mode with chmod, and find out who used it"),
            Self::Older { .. } => Some(
                "it was made before the first release, and is not converted: make a new state directory with \
                 `countersign init`, copy your configuration into it, and keep the old one for its records",
            ),
            Self::LowerPolicy { .. } => {
                Some("nothing changed; give it a higher serial than any that was accepted here, and sign it again")
            }
            Self::Newer { .. } => Some("use the version of countersign that made it, or a later one"),
            Self::NotFound { noun, .. } | Self::Ambiguous { noun, .. } | Self::BadName { noun, .. } => match *noun {
                "proposal" => {
                    Some("`countersign pending` lists the proposals that wait, `countersign runs` those that were run")
                }
                "run" => Some("`countersign runs` lists the runs"),
                "evidence" => {
                    Some("`countersign read` and `countersign investigate` print the ids of what they recorded")
                }
                _ => None,
            },
            Self::Unread { .. } | Self::OtherSize { .. } => {
                Some("something else may be writing to what was read: try again when it is at rest")
            }
            Self::OverCap { .. } => Some(
                "`countersign images` tells what they take; raise `cap` under `[images]` in the configuration, or change \
                 smaller files: no image that is kept is removed by itself yet",
            ),
            Self::UnderReserve { .. } => Some(
                "make room there, or set a lower `reserve` or another `directory` under `[images]` in the configuration",
            ),
            Self::NotAPlace { .. } => {
                Some("name a new or empty directory of yours under `[images]` in the configuration")
            }
            Self::Duplicate { .. } | Self::TooLarge { .. } | Self::JournalStopped { .. } | Self::JournalRule { .. } => {
                None
            }
            Self::Superseded { .. } => Some("review the one that stands, or revise that"),
            Self::ClockWentBack { .. } => Some(
                "set the clock right; if it was ahead before, remove `latest-time` in the state directory and look at what \
                 was approved meanwhile. What stands in the audit log was seen for good: where something was logged while it \
                 was ahead, wait, or begin with a new state directory",
            ),
            Self::NoTime { .. } => Some(
                "look at what was approved, since an approval that expired may be good again, then remove `latest-time` in \
                 the state directory: it is made anew",
            ),
            Self::Random(_) => Some("try again"),
        }
    }

    /// Whether there was no room, and nothing else is wrong.
    pub(crate) fn is_full(&self) -> bool {
        match self {
            Self::Database { source, .. } => source.sqlite_error_code() == Some(ErrorCode::DiskFull),
            Self::File { source, .. } => {
                matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            _ => false,
        }
    }

    /// Whether nothing may be written after this: the disk did not do as it was told.
    pub(crate) const fn is_final(&self) -> bool {
        matches!(self, Self::NotDurable { .. } | Self::Stopped(_) | Self::DatabaseWrite { .. })
    }

    /// The message with its causes, in one line.
    #[must_use]
    pub fn full(&self) -> String {
        let mut line = self.to_string();
        let mut cause = std::error::Error::source(self);
        // Causes are nested by construction: this error, SQLite's or the system's, at most one more.
        for _ in 0..4 {
            let Some(inner) = cause else { break };
            line.push_str(": ");
            line.push_str(&text::excerpt(&inner.to_string(), 300));
            cause = inner.source();
        }
        line
    }
}
