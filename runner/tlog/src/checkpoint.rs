//! A tree's head, by `tlog-checkpoint` of C2SP.

use base64ct::{Base64, Encoding};

use crate::note::{BadName, NoteSigner, sign_note, valid_name};
use crate::{Edge, Hash};

/// The longest origin, in bytes.
pub const MAX_ORIGIN: usize = 255;

/// What is signed of a tree: the log's origin, how many entries there are, and the root, a line each.
///
/// # Errors
/// Where the origin is none that we give: it is held to the rules of a key's name, and to [`MAX_ORIGIN`].
pub fn checkpoint_text(origin: &str, size: u64, root: &Hash) -> Result<String, BadName> {
    if !valid_name(origin) || origin.len() > MAX_ORIGIN {
        return Err(BadName::Name);
    }
    Ok(format!("{origin}\n{size}\n{}\n", Base64::encode_string(root)))
}

/// The signed checkpoint of a tree. The signer's name is the log's origin. The same tree always gives the same bytes.
///
/// # Errors
/// As for [`checkpoint_text`], and where the key does not sign.
pub fn sign_checkpoint(edge: &Edge, signer: &dyn NoteSigner) -> Result<String, BadName> {
    sign_note(&checkpoint_text(signer.name(), edge.size(), &edge.root())?, signer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::tests::Key;

    #[test]
    fn a_checkpoint_says_origin_size_and_root() {
        let key = Key::new("example.com/log", "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz");
        let mut edge = Edge::default();
        let empty = sign_checkpoint(&edge, &key).unwrap();
        let start = "example.com/log\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n\u{2014} example.com/log ";
        assert!(empty.starts_with(start), "{empty}");
        edge.append(b"");
        let one = sign_checkpoint(&edge, &key).unwrap();
        assert!(one.starts_with("example.com/log\n1\nbjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0=\n\n"), "{one}");
        assert_eq!(one, sign_checkpoint(&edge, &key).unwrap());
        for origin in ["", "two\nlines", "a space", &"x".repeat(256)] {
            checkpoint_text(origin, 0, &edge.root()).expect_err("no origin");
        }
    }
}
