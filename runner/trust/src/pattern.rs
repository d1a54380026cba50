//! Names by pattern: of people and agents, and of targets.

use std::fmt;

use countersign_model::text::excerpt;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

/// The longest pattern, in bytes.
const MAX_PATTERN: usize = 64;

/// A name, in which `*` stands for any characters, none too.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema)]
#[schemars(with = "String")]
pub(crate) struct Pattern(String);

impl Pattern {
    /// Whether it is this name, as far as bytes go.
    pub(crate) fn matches(&self, name: &str) -> bool {
        let mut parts = self.0.split('*');
        let Some(mut rest) = name.strip_prefix(parts.next().unwrap_or_default()) else { return false };
        let Some(last) = parts.next_back() else { return rest.is_empty() };
        // Each at its first place leaves the most for those behind it.
        for part in parts {
            let Some((_, after)) = rest.split_once(part) else { return false };
            rest = after;
        }
        rest.ends_with(last)
    }

    /// The text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let known = |b: u8| b.is_ascii_alphanumeric() || b"._@-*".contains(&b);
        if text.is_empty() || text.len() > MAX_PATTERN || !text.bytes().all(known) {
            let text = excerpt(&text, MAX_PATTERN);
            return Err(serde::de::Error::custom(format!(
                "`{text}` is no name or pattern: expected 1 to {MAX_PATTERN} letters, digits, `.`, `_`, `@`, `-` and `*`"
            )));
        }
        Ok(Self(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_characters() {
        let matches = |pattern: &str, name: &str| Pattern(pattern.to_owned()).matches(name);
        for (pattern, name) in [
            ("*", ""),
            ("*", "web"),
            ("web", "web"),
            ("web-*", "web-1"),
            ("*-1", "web-1"),
            ("*b*1", "web-1"),
            ("a*b*c", "abbc"),
            ("**", "x"),
            ("a*a", "aa"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("web", "web-1"),
            ("web", "we"),
            ("web-*", "web"),
            ("*-1", "web-12"),
            ("a*a", "a"),
            ("a*b*c", "acb"),
            ("Web", "web"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }
}
