use std::io;

/// Why a log, a note or a receipt is not what it should be. No text of what was read stands in it.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// It is not in its format.
    #[error("the {what} is malformed: {why}")]
    Malformed {
        /// What it is.
        what: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// It is larger than is read.
    #[error("the {what} is larger than the {limit} bytes that are read")]
    TooLarge {
        /// What it is.
        what: &'static str,
        /// How many bytes are read.
        limit: usize,
    },
    /// No signature on it is by the key that it must be signed by.
    #[error("the {what} is not signed by the log's key")]
    NotSigned {
        /// What it is.
        what: &'static str,
    },
    /// A signature says that it is by a known key and is not.
    #[error("a signature on the {what} is forged or damaged: it names a known key and does not verify")]
    BadSignature {
        /// What it is.
        what: &'static str,
    },
    /// It is another log's.
    #[error("the {what} is of another log: its origin is not the name of the log's key")]
    OtherLog {
        /// What it is.
        what: &'static str,
    },
    /// Too few witnesses cosigned it.
    #[error("{found} of the witnesses that count cosigned the checkpoint, and {wanted} are wanted")]
    TooFewWitnesses {
        /// How many did.
        found: usize,
        /// How many must.
        wanted: usize,
    },
    /// A file of the log is not there.
    #[error("`{path}` is missing")]
    Missing {
        /// Its name below the log's directory.
        path: String,
    },
    /// A file of the log cannot be read.
    #[error("`{path}` cannot be read")]
    Unreadable {
        /// Its name below the log's directory.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// A file of the log is damaged.
    #[error("`{path}` is damaged: {why}")]
    Damaged {
        /// Its name below the log's directory.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A tile does not hold the hashes of what lies below it.
    #[error("`{path}` does not hold the hash of what lies below it at place {place}: an entry or the tile was changed")]
    WrongTile {
        /// The tile's name below the log's directory.
        path: String,
        /// The first place that differs, from 0.
        place: usize,
    },
    /// The entries do not give the signed root.
    #[error(
        "the {size} entries do not give the signed root: they were changed, left out, added or put in another order"
    )]
    WrongRoot {
        /// How many entries there are.
        size: u64,
    },
    /// Whoever looks at the entries says that one is not as it should be.
    #[error("the entry {index} is not as it should be: {why}")]
    BadEntry {
        /// Its place in the log, from 0.
        index: u64,
        /// Why.
        why: String,
    },
    /// A checkpoint that was kept elsewhere says more entries.
    #[error(
        "the log has {size} entries, and a checkpoint held elsewhere says {held}: it was cut, or restored from an old copy"
    )]
    Shorter {
        /// How many entries there are.
        size: u64,
        /// How many there were.
        held: u64,
    },
    /// A checkpoint that was kept elsewhere is of another history.
    #[error(
        "the first {size} entries are not those of a checkpoint held elsewhere: two histories of this log were signed"
    )]
    SplitView {
        /// How many entries that checkpoint is of.
        size: u64,
    },
    /// A proof does not lead to the root.
    #[error("the {what} does not lead to the signed root")]
    BadProof {
        /// What sort of proof it is.
        what: &'static str,
    },
    /// Something is asked for that the log has not.
    #[error("{asked} is beyond the {size} entries of the log")]
    Beyond {
        /// What was asked for.
        asked: u64,
        /// How many entries there are.
        size: u64,
    },
}

impl ProofError {
    pub(crate) const fn malformed(what: &'static str, why: &'static str) -> Self {
        Self::Malformed { what, why }
    }
}
