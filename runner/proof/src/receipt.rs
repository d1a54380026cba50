//! One entry of a log with all that proves it, by `tlog-proof` of C2SP. The entry itself is its extra data.

use base64ct::{Base64, Encoding};

use crate::checkpoint::{Checkpoint, Opened};
use crate::key::{VerifierKey, base64, decimal, hash};
use crate::merkle::{MAX_PROOF, leaf_hash, verify_inclusion};
use crate::note::MAX_NOTE;
use crate::{Hash, ProofError};

/// The largest receipt that is read, in bytes.
pub const MAX_RECEIPT: usize = MAX_NOTE + 128 * 1024;
const MAX_ENTRY: usize = 65_535;
const FIRST: &str = "c2sp.org/tlog-proof@v1";
const WHAT: &str = "receipt";

/// A receipt, parsed. Nothing of it is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The entry.
    pub entry: Vec<u8>,
    /// Its place in the log, from 0.
    pub index: u64,
    /// The inclusion proof, the leaf's sibling first.
    pub proof: Vec<Hash>,
    /// The signed checkpoint, as the log gave it out.
    pub checkpoint: Vec<u8>,
}

/// What a receipt proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The entry, which the log has.
    pub entry: Vec<u8>,
    /// Its place in the log, from 0.
    pub index: u64,
    /// The checkpoint, and who cosigned it.
    pub opened: Opened,
}

impl Receipt {
    /// Reads a receipt.
    ///
    /// # Errors
    /// Where it is none, is larger than [`MAX_RECEIPT`], or has no entry.
    pub fn parse(bytes: &[u8]) -> Result<Self, ProofError> {
        let bad = |why| ProofError::malformed(WHAT, why);
        if bytes.len() > MAX_RECEIPT {
            return Err(ProofError::TooLarge { what: WHAT, limit: MAX_RECEIPT });
        }
        let text = std::str::from_utf8(bytes).map_err(|_| bad("it is not UTF-8"))?;
        let (head, checkpoint) = text.split_once("\n\n").ok_or_else(|| bad("no empty line ends its proof"))?;
        let mut lines = head.split('\n');
        if lines.next() != Some(FIRST) {
            return Err(bad("its first line is not `c2sp.org/tlog-proof@v1`"));
        }
        let extra = lines.next().and_then(|line| line.strip_prefix("extra "));
        let extra = extra.ok_or_else(|| bad("it has no entry: its second line must begin with `extra`"))?;
        let entry = base64(extra).ok_or_else(|| bad("its entry is not base64"))?;
        if entry.len() > MAX_ENTRY {
            return Err(bad("its entry is longer than one can be"));
        }
        let index = lines.next().and_then(|line| line.strip_prefix("index ")).and_then(decimal);
        let index = index.ok_or_else(|| bad("it does not say the entry's index"))?;
        let proof: Option<Vec<Hash>> = lines.by_ref().take(MAX_PROOF.saturating_add(1)).map(hash).collect();
        let proof = proof.ok_or_else(|| bad("a line of its proof is no hash in base64"))?;
        if proof.len() > MAX_PROOF {
            return Err(bad("its proof is longer than one can be"));
        }
        Ok(Self { entry, index, proof, checkpoint: checkpoint.as_bytes().to_vec() })
    }

    /// In the form that [`Receipt::parse`] reads; the checkpoint is what it is.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = format!("{FIRST}\nextra {}\nindex {}\n", Base64::encode_string(&self.entry), self.index);
        for hash in &self.proof {
            text.push_str(&Base64::encode_string(hash));
            text.push('\n');
        }
        text.push('\n');
        [text.as_bytes(), &self.checkpoint].concat()
    }

    /// Verifies that the log of this key has the entry at its place.
    ///
    /// # Errors
    /// As for [`Checkpoint::open`] and [`verify_inclusion`].
    pub fn verify(self, log: &VerifierKey, witnesses: &[VerifierKey]) -> Result<Verified, ProofError> {
        let opened = Checkpoint::open(&self.checkpoint, log, witnesses)?;
        let (size, root) = (opened.checkpoint.size, opened.checkpoint.root);
        verify_inclusion(self.index, size, &leaf_hash(&self.entry), &self.proof, &root)?;
        Ok(Verified { entry: self.entry, index: self.index, opened })
    }
}
