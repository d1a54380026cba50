//! TOML from outside, read with bounds: on its size, and on its nesting before the parser runs.
//!
//! Duplicate keys are refused by the parser, unknown ones by the types themselves (`deny_unknown_fields`).

use serde::de::DeserializeOwned;

use crate::nesting;
use crate::text::excerpt;

/// Why a text was not read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TomlError {
    /// It is larger than the caller allows.
    #[error("{size} bytes are more than the {limit} that are read")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The caller's limit in bytes.
        limit: usize,
    },
    /// It is not UTF-8.
    #[error("it is not UTF-8 text")]
    NotText,
    /// It is not TOML of the expected shape.
    #[error("line {line}: {why}")]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// What is wrong, made visible.
        why: String,
    },
}

/// Reads a TOML document of at most `limit` bytes as a `T`.
///
/// # Errors
/// When it is larger, is nested too deeply, is not TOML, has a key twice, or is not a `T`.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8], limit: usize) -> Result<T, TomlError> {
    if bytes.len() > limit {
        return Err(TomlError::TooLarge { size: bytes.len(), limit });
    }
    let text = str::from_utf8(bytes).map_err(|_| TomlError::NotText)?;
    let syntax = |offset: usize, why: String| {
        let line = bytes.iter().take(offset).filter(|byte| **byte == b'\n').count() + 1;
        TomlError::Syntax { line, why }
    };
    if let Some(offset) = nesting::excess(text) {
        return Err(syntax(offset, "it is nested too deeply, or a bracket has no partner".to_owned()));
    }
    ::toml::from_str(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        syntax(offset, excerpt(error.message(), 300))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "it is only read")]
    struct Small {
        a: u32,
    }

    #[test]
    fn says_the_line_and_why() {
        assert!(from_slice::<Small>(b"a = 1\n", 10).is_ok());
        for (text, why) in [
            ("a = 1\na = 2\n", "line 2: duplicate key"),
            ("a = 1\n\nb = 2\n", "line 3: unknown field `b`"),
            ("a = \n", "line 1: "),
            ("a = \"x\"", "line 1: invalid type"),
        ] {
            let error = from_slice::<Small>(text.as_bytes(), 100).expect_err(text).to_string();
            assert!(error.starts_with(why), "{text}: {error}");
        }
        assert_eq!(from_slice::<Small>(b"a = 1\xff", 10).err(), Some(TomlError::NotText));
        assert_eq!(from_slice::<Small>(b"a = 1", 4).err(), Some(TomlError::TooLarge { size: 5, limit: 4 }));
    }

    /// What overflows the parser's stack never reaches it.
    #[test]
    fn deep_nesting_is_refused_before_it_is_parsed() {
        let keys = ["a"; 60].join(".");
        let text = format!("{}1{}", format!("{keys} = {{ ").repeat(60), " }".repeat(60));
        let error = from_slice::<Small>(text.as_bytes(), 100_000).expect_err("deep").to_string();
        assert!(error.contains("nested too deeply"), "{error}");
    }
}
