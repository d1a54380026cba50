//! What a witness is sent and what it answers, by `tlog-witness` of C2SP.

use base64ct::{Base64, Encoding};

use crate::checkpoint::Checkpoint;
use crate::key::{VerifierKey, decimal, hash};
use crate::merkle::MAX_PROOF;
use crate::note::{MAX_NOTE, MAX_SIGNATURES, Note, signature_lines};
use crate::{Hash, ProofError};

const WHAT: &str = "request of a witness";
const ANSWER: &str = "answer of the witness";

/// The body of a request to `add-checkpoint`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The size that the witness is thought to have cosigned last; 0 where it has none.
    pub old: u64,
    /// The consistency proof from there.
    pub proof: Vec<Hash>,
    /// The signed checkpoint.
    pub checkpoint: Vec<u8>,
}

impl Request {
    /// As it is sent.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = format!("old {}\n", self.old);
        for hash in &self.proof {
            text.push_str(&Base64::encode_string(hash));
            text.push('\n');
        }
        text.push('\n');
        [text.as_bytes(), &self.checkpoint].concat()
    }

    /// Reads what [`Request::to_bytes`] gave.
    ///
    /// # Errors
    /// Where it is something else, or too large.
    pub fn parse(bytes: &[u8]) -> Result<Self, ProofError> {
        let bad = |why| ProofError::malformed(WHAT, why);
        if bytes.len() > MAX_NOTE {
            return Err(ProofError::TooLarge { what: WHAT, limit: MAX_NOTE });
        }
        let text = std::str::from_utf8(bytes).map_err(|_| bad("it is not UTF-8"))?;
        let (head, checkpoint) = text.split_once("\n\n").ok_or_else(|| bad("no empty line ends its proof"))?;
        let mut lines = head.split('\n');
        let old = lines.next().and_then(|line| line.strip_prefix("old ")).and_then(decimal);
        let old = old.ok_or_else(|| bad("it does not say the old size"))?;
        let proof: Option<Vec<Hash>> = lines.take(MAX_PROOF.saturating_add(1)).map(hash).collect();
        let proof = proof.filter(|proof| proof.len() <= MAX_PROOF).ok_or_else(|| bad("its proof is none"))?;
        Ok(Self { old, proof, checkpoint: checkpoint.as_bytes().to_vec() })
    }
}

/// The size that a witness cosigned last, which it answers with where it was thought to be another.
///
/// # Errors
/// Where it is no size.
pub fn conflicting_size(body: &[u8]) -> Result<u64, ProofError> {
    let line = std::str::from_utf8(body).ok().and_then(|text| text.strip_suffix('\n'));
    line.and_then(decimal).ok_or_else(|| ProofError::malformed(ANSWER, "it is no size of a tree"))
}

/// The signed checkpoint with the cosignatures that a witness answered with: those by this key, which must be one at least and
/// verify. Others are left out, and earlier ones of the same key.
///
/// # Errors
/// Where the answer is none, or has no cosignature by the key.
pub fn with_cosignatures(
    checkpoint: &[u8],
    answer: &[u8],
    log: &VerifierKey,
    witness: &VerifierKey,
) -> Result<Vec<u8>, ProofError> {
    if answer.len() > MAX_NOTE {
        return Err(ProofError::TooLarge { what: ANSWER, limit: MAX_NOTE });
    }
    let text = std::str::from_utf8(answer).map_err(|_| ProofError::malformed(ANSWER, "it is not UTF-8"))?;
    let mut note = Note::parse(checkpoint)?;
    let of_witness = |name: &str, id: [u8; 4]| name == witness.name() && id == witness.id();
    note.signatures.retain(|line| !of_witness(&line.name, line.id));
    note.signatures.extend(signature_lines(text)?.into_iter().filter(|line| of_witness(&line.name, line.id)));
    if note.signatures.len() > MAX_SIGNATURES {
        return Err(ProofError::malformed("checkpoint", "it would have too many signatures"));
    }
    let text = note.to_text().into_bytes();
    Checkpoint::open(&text, log, std::slice::from_ref(witness))?.witnessed_by(1)?;
    Ok(text)
}
