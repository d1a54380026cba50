//! A text and who signed it, by `signed-note` of C2SP.

use crate::ProofError;
use crate::key::{base64, is_name};

/// The largest note that is read, in bytes.
pub const MAX_NOTE: usize = 256 * 1024;
/// The most signatures of a note.
pub const MAX_SIGNATURES: usize = 64;
const WHAT: &str = "note";

/// A note, parsed. Nothing of it is verified: its text must not be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// What is signed, with its last line feed.
    pub text: String,
    /// Who says to have signed it, in order.
    pub signatures: Vec<NoteSignature>,
}

/// A signature line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteSignature {
    /// The key's name, as the line says.
    pub name: String,
    /// The key's id, as the line says.
    pub id: [u8; 4],
    /// What follows the id.
    pub signature: Vec<u8>,
}

impl Note {
    /// Reads a note.
    ///
    /// # Errors
    /// Where it is none, larger than [`MAX_NOTE`], or has more than [`MAX_SIGNATURES`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ProofError> {
        let bad = |why| ProofError::malformed(WHAT, why);
        if bytes.len() > MAX_NOTE {
            return Err(ProofError::TooLarge { what: WHAT, limit: MAX_NOTE });
        }
        let note = std::str::from_utf8(bytes).map_err(|_| bad("it is not UTF-8"))?;
        if note.bytes().any(|byte| byte < 0x20 && byte != b'\n') {
            return Err(bad("it has control characters"));
        }
        // The last empty line ends the text.
        let Some((text, lines)) = note.rsplit_once("\n\n") else {
            return Err(bad("no empty line ends its text"));
        };
        let signatures = signature_lines(lines)?;
        Ok(Self { text: format!("{text}\n"), signatures })
    }

    /// In the form that [`Note::parse`] reads.
    #[must_use]
    pub fn to_text(&self) -> String {
        let lines: String = self.signatures.iter().map(NoteSignature::to_line).collect();
        format!("{}\n{lines}", self.text)
    }
}

impl NoteSignature {
    fn to_line(&self) -> String {
        use base64ct::Encoding;
        let encoded = base64ct::Base64::encode_string(&[&self.id[..], &self.signature].concat());
        format!("\u{2014} {} {encoded}\n", self.name)
    }
}

/// Signature lines, one at least, each with its line feed.
pub(crate) fn signature_lines(lines: &str) -> Result<Vec<NoteSignature>, ProofError> {
    let bad = |why| ProofError::malformed(WHAT, why);
    let Some(lines) = lines.strip_suffix('\n') else {
        return Err(bad("its last line does not end"));
    };
    let mut signatures = Vec::new();
    for line in lines.split('\n') {
        if signatures.len() == MAX_SIGNATURES {
            return Err(bad("it has too many signatures"));
        }
        let rest = line.strip_prefix("\u{2014} ").ok_or_else(|| bad("a signature line does not begin with a dash"))?;
        let (name, encoded) = rest.split_once(' ').ok_or_else(|| bad("a signature line has no signature"))?;
        let decoded = base64(encoded).ok_or_else(|| bad("a signature is not base64"))?;
        match decoded.split_first_chunk::<4>() {
            Some((id, signature)) if !signature.is_empty() && is_name(name) => {
                let signature = signature.to_vec();
                signatures.push(NoteSignature { name: name.to_owned(), id: *id, signature });
            }
            _ => return Err(bad("a signature line names no key, or is too short")),
        }
    }
    Ok(signatures)
}
