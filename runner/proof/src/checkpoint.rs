//! A tree's head, by `tlog-checkpoint` of C2SP, and who signed and cosigned it.

use crate::key::{KeyKind, VerifierKey, decimal, hash};
use crate::note::{Note, NoteSignature};
use crate::{Hash, ProofError};

/// The most entries of a log that is read.
pub const MAX_SIZE: u64 = (1 << 62) - 1;
const WHAT: &str = "checkpoint";

/// A tree's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name.
    pub origin: String,
    /// How many entries it has.
    pub size: u64,
    /// The root of its tree.
    pub root: Hash,
}

/// A witness's word that it saw a checkpoint, and none that contradicts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosignature {
    /// The witness, by its key's name.
    pub witness: String,
    /// When it signed, in seconds since 1970-01-01 UTC, as it says.
    pub at: u64,
}

/// A checkpoint that the log's key signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// What was signed.
    pub checkpoint: Checkpoint,
    /// The known witnesses that cosigned it, each once, in the order of the note.
    pub cosignatures: Vec<Cosignature>,
    /// The note, as it was read.
    pub note: Note,
}

impl Opened {
    /// Refuses where fewer witnesses cosigned it.
    ///
    /// # Errors
    /// [`ProofError::TooFewWitnesses`].
    pub fn witnessed_by(&self, wanted: usize) -> Result<(), ProofError> {
        let found = self.cosignatures.len();
        if found < wanted { Err(ProofError::TooFewWitnesses { found, wanted }) } else { Ok(()) }
    }
}

impl Checkpoint {
    /// Reads a note's text. Nothing of it is verified.
    ///
    /// # Errors
    /// Where it is no checkpoint, or of more than [`MAX_SIZE`] entries. Lines after the third are let pass.
    pub fn parse(text: &str) -> Result<Self, ProofError> {
        let bad = |why| ProofError::malformed(WHAT, why);
        let lines: Vec<&str> =
            text.strip_suffix('\n').ok_or_else(|| bad("its last line does not end"))?.split('\n').collect();
        if lines.iter().any(|line| line.is_empty()) {
            return Err(bad("it has an empty line"));
        }
        let [origin, size, root, ..] = lines.as_slice() else {
            return Err(bad("it has fewer than three lines"));
        };
        let size =
            decimal(size).filter(|size| *size <= MAX_SIZE).ok_or_else(|| bad("its size is no size of a tree"))?;
        let root = hash(root).ok_or_else(|| bad("its root is no hash in base64"))?;
        Ok(Self { origin: (*origin).to_owned(), size, root })
    }

    /// Reads a signed checkpoint of the log that this key is of, whose name is its origin. Cosignatures by others than these
    /// witnesses are ignored.
    ///
    /// # Errors
    /// Where it is none, another log's, not signed by the key, or a signature that names a known key does not verify.
    pub fn open(bytes: &[u8], log: &VerifierKey, witnesses: &[VerifierKey]) -> Result<Opened, ProofError> {
        let note = Note::parse(bytes)?;
        let mut by_the_log = false;
        let mut cosignatures: Vec<Cosignature> = Vec::new();
        let known = std::iter::once(log).chain(witnesses);
        for signature in &note.signatures {
            let by = known.clone().find(|key| key.name() == signature.name && key.id() == signature.id);
            let Some(key) = by else { continue };
            match (key.kind(), verified(&note, signature, key)) {
                (_, None) => return Err(ProofError::BadSignature { what: WHAT }),
                (KeyKind::Note, Some(_)) => by_the_log |= key == log,
                (KeyKind::Cosignature, Some(at)) => {
                    if cosignatures.iter().all(|one| one.witness != key.name()) {
                        cosignatures.push(Cosignature { witness: key.name().to_owned(), at });
                    }
                }
            }
        }
        if !by_the_log {
            return Err(ProofError::NotSigned { what: WHAT });
        }
        // Only now is the text worth reading.
        let checkpoint = Self::parse(&note.text)?;
        if checkpoint.origin != log.name() {
            return Err(ProofError::OtherLog { what: WHAT });
        }
        Ok(Opened { checkpoint, cosignatures, note })
    }
}

/// When a signature of this key was made, in seconds, or 0 where it does not say; none where it does not verify.
fn verified(note: &Note, line: &NoteSignature, key: &VerifierKey) -> Option<u64> {
    match key.kind() {
        KeyKind::Note => {
            let signature = <&[u8; 64]>::try_from(line.signature.as_slice()).ok()?;
            key.verifies(note.text.as_bytes(), signature).then_some(0)
        }
        KeyKind::Cosignature => {
            let (at, signature) = line.signature.split_first_chunk::<8>()?;
            let at = u64::from_be_bytes(*at);
            let signature = <&[u8; 64]>::try_from(signature).ok()?;
            let message = format!("cosignature/v1\ntime {at}\n{}", note.text);
            (i64::try_from(at).is_ok() && key.verifies(message.as_bytes(), signature)).then_some(at)
        }
    }
}
