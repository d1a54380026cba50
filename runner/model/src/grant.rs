use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::text::excerpt;

/// The longest grant or call in text, in bytes.
const MAX_TEXT: usize = 8 * 1024;

/// Whether a call looks or changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Looks.
    Read,
    /// Changes.
    Write,
}

impl Access {
    /// The word in a grant's text and the name of the WIT interface.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Permission for some calls of one capability: `capability.access selector [key=value]...`.
///
/// In text: words parted by spaces; a word is quoted with `"` where it holds a space, a quote, a
/// backslash or something invisible, with `\"`, `\\` and `\u{…}` inside. Printing and then parsing
/// gives the same grant. The selector's meaning belongs to the capability.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Grant {
    /// The capability's name.
    pub capability: String,
    /// Reads or writes.
    pub access: Access,
    /// What part of the capability is opened.
    pub scope: Selector,
    /// How much of it.
    pub limits: Limits,
}

/// The words of a grant or call after its name: plain ones in order, and named ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selector {
    /// The plain words.
    pub words: Vec<String>,
    /// The `key=value` words, by key.
    pub named: BTreeMap<String, String>,
}

/// Upper bounds on what one step may do under one grant; absent means the runner's own bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Limits {
    /// `max-calls`: how many calls.
    pub max_calls: Option<u64>,
    /// `max-bytes`: how many bytes of content in all, written or read.
    pub max_bytes: Option<u64>,
}

impl Limits {
    /// Whether `narrow` allows nothing that `self` does not.
    #[must_use]
    pub fn contains(&self, narrow: &Self) -> bool {
        fn within(wide: Option<u64>, narrow: Option<u64>) -> bool {
            wide.is_none_or(|wide| narrow.is_some_and(|narrow| narrow <= wide))
        }
        within(self.max_calls, narrow.max_calls) && within(self.max_bytes, narrow.max_bytes)
    }
}

/// Why a text is not a grant.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum GrantError {
    /// Its shape is wrong.
    #[error("`{text}` is not a grant: {why}")]
    Syntax {
        /// The beginning of the text.
        text: String,
        /// What is wrong.
        why: String,
    },
}

impl Grant {
    /// `capability.access`, as grants and messages begin.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}.{}", self.capability, self.access)
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.capability, self.access)?;
        write!(f, "{}", self.scope)?;
        if let Some(calls) = self.limits.max_calls {
            write!(f, " max-calls={calls}")?;
        }
        if let Some(bytes) = self.limits.max_bytes {
            write!(f, " max-bytes={bytes}")?;
        }
        Ok(())
    }
}

impl FromStr for Grant {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, GrantError> {
        let syntax = |why: String| GrantError::Syntax { text: excerpt(text, 120), why };
        let (capability, access, mut scope) = Selector::parse_named(text).map_err(syntax)?;
        let access = match access.as_str() {
            "read" => Access::Read,
            "write" => Access::Write,
            other => {
                return Err(syntax(format!("`{}` is neither `read` nor `write`", excerpt(other, 40))));
            }
        };
        let mut limit = |key: &str| match scope.named.remove(key) {
            None => Ok(None),
            // Only the one spelling that is printed: no sign, no leading zero.
            Some(value) => match value.parse::<u64>() {
                Ok(number) if number.to_string() == value => Ok(Some(number)),
                _ => Err(syntax(format!("`{key}` must be a whole number"))),
            },
        };
        let limits = Limits { max_calls: limit("max-calls")?, max_bytes: limit("max-bytes")? };
        if let Some(key) = scope.named.keys().find(|key| key.starts_with("max-")) {
            return Err(syntax(format!("`{key}` is not a limit: expected `max-calls` or `max-bytes`")));
        }
        Ok(Self { capability, access, scope, limits })
    }
}

/// A text, whose shape a schema cannot tell.
impl schemars::JsonSchema for Grant {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "grant".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string" })
    }
}

impl Serialize for Grant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Grant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Selector {
    /// A selector of one plain word.
    #[must_use]
    pub fn word(word: impl Into<String>) -> Self {
        Self { words: vec![word.into()], named: BTreeMap::new() }
    }

    /// Adds a `key=value` word.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.named.insert(key.to_owned(), value.into());
        self
    }

    /// Splits `capability.name word [key=value]...` into its three parts.
    ///
    /// # Errors
    /// A sentence fragment that says what is wrong with the text.
    pub fn parse_named(text: &str) -> Result<(String, String, Self), String> {
        if text.len() > MAX_TEXT {
            return Err(format!("it is longer than {MAX_TEXT} bytes"));
        }
        let mut words = split(text)?.into_iter();
        let name = words.next().ok_or("it is empty")?;
        let (capability, function) = match name {
            Word::Plain(name) => {
                let (capability, function) = name.split_once('.').ok_or("it must begin with `capability.name`")?;
                (capability.to_owned(), function.to_owned())
            }
            Word::Named(..) => return Err("it must begin with `capability.name`".to_owned()),
        };
        if !is_name(&capability) || !is_name(&function) {
            return Err("it must begin with `capability.name`, in lower-case letters, digits and `-`".to_owned());
        }
        let mut selector = Self::default();
        for word in words {
            match word {
                Word::Plain(word) => selector.words.push(word),
                Word::Named(key, value) => {
                    if selector.named.insert(key.clone(), value).is_some() {
                        return Err(format!("`{key}` stands twice"));
                    }
                }
            }
        }
        Ok((capability, function, selector))
    }

    /// The single plain word of a selector that has nothing else.
    ///
    /// # Errors
    /// A sentence fragment that says what was expected.
    pub fn only_word(&self, expected: &str) -> Result<&str, String> {
        match (self.words.as_slice(), self.named.keys().next()) {
            ([word], None) => Ok(word),
            (_, Some(key)) => Err(format!("`{key}` is not known here: expected {expected}")),
            _ => Err(format!("expected {expected}")),
        }
    }
}

impl fmt::Display for Selector {
    /// Every word with a space before it, so that it can follow a name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for word in &self.words {
            f.write_str(" ")?;
            let looks_named = word.split_once('=').is_some_and(|(key, _)| is_name(key));
            write_word(f, word, looks_named)?;
        }
        for (key, value) in &self.named {
            write!(f, " {key}=")?;
            write_word(f, value, false)?;
        }
        Ok(())
    }
}

/// Lower-case letters, digits and `-`, beginning with a letter.
fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn write_word(f: &mut fmt::Formatter<'_>, word: &str, force: bool) -> fmt::Result {
    let visible = crate::text::visible(word);
    if !force && !word.is_empty() && visible == word && !word.contains([' ', '"', '\\']) {
        return f.write_str(word);
    }
    f.write_str("\"")?;
    for (c, misleads) in crate::text::marked(word) {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            c if misleads => write!(f, "{}", c.escape_unicode())?,
            c => f.write_char(c)?,
        }
    }
    f.write_str("\"")
}

enum Word {
    Plain(String),
    Named(String, String),
}

fn split(text: &str) -> Result<Vec<Word>, String> {
    let mut words = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(' ');
        if rest.is_empty() {
            return Ok(words);
        }
        let key_end = rest.find(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'));
        let key = key_end.and_then(|end| {
            let (key, after) = rest.split_at(end);
            after.strip_prefix('=').filter(|_| is_name(key)).map(|after| (key, after))
        });
        let (word, after) = match key {
            Some((key, after)) => {
                let (value, after) = take_word(after)?;
                (Word::Named(key.to_owned(), value), after)
            }
            None => {
                let (value, after) = take_word(rest)?;
                (Word::Plain(value), after)
            }
        };
        words.push(word);
        rest = after;
    }
}

/// One plain or quoted word and what follows it.
fn take_word(text: &str) -> Result<(String, &str), String> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (word, rest) = text.split_at(text.find(' ').unwrap_or(text.len()));
        if word.contains(['"', '\\']) || crate::text::visible(word) != word {
            return Err("a word with a quote, a backslash, an invisible character or one that looks like another must be quoted".to_owned());
        }
        return Ok((word.to_owned(), rest));
    };
    let mut word = String::new();
    let mut chars = quoted.chars();
    loop {
        match chars.next() {
            None => return Err("a quote is not closed".to_owned()),
            Some('"') => {
                let rest = chars.as_str();
                if !rest.is_empty() && !rest.starts_with(' ') {
                    return Err("a closing quote must be followed by a space".to_owned());
                }
                return Ok((word, rest));
            }
            Some('\\') => match chars.next() {
                Some(c @ ('"' | '\\')) => word.push(c),
                Some('u') => {
                    let (hex, rest) = chars
                        .as_str()
                        .strip_prefix('{')
                        .and_then(|rest| rest.split_once('}'))
                        .ok_or("`\\u` must be followed by `{…}`")?;
                    let c = u32::from_str_radix(hex, 16).ok().and_then(char::from_u32);
                    word.push(c.ok_or_else(|| format!("`\\u{{{}}}` is not a character", excerpt(hex, 10)))?);
                    chars = rest.chars();
                }
                _ => return Err("a backslash must be followed by `\"`, `\\` or `u{…}`".to_owned()),
            },
            Some(c) => word.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_it_was_written() {
        for text in [
            "files.read /etc/nginx/**",
            "files.write /etc/nginx/nginx.conf max-calls=2 max-bytes=65536",
            "http.read http://127.0.0.1:8080/healthz?a=b",
            "process.write exe=/usr/sbin/nginx signals=HUP",
            "postgres.write orders verbs=terminate-backend max-calls=5",
            r#"files.read "/srv/a b\"c\\d\u{202e}""#,
            r#"files.read "/srv/c\u{43e}nf""#,
            "files.read /srv/Übung",
            r#"files.read "exe=x""#,
            r#"files.read "" a="""#,
        ] {
            let grant: Grant = text.parse().expect(text);
            assert_eq!(grant.to_string(), text);
            assert_eq!(grant.to_string().parse(), Ok(grant));
        }
    }

    #[test]
    fn refuses_with_a_reason() {
        for (text, why) in [
            ("", "empty"),
            ("files", "capability.name"),
            ("Files.read /x", "lower-case"),
            ("files.exec /x", "neither `read` nor `write`"),
            ("files.read /x max-calls=-1", "whole number"),
            ("files.read /x max-calls=01", "whole number"),
            ("files.read /x max-files=1", "not a limit"),
            ("files.read a=1 a=2", "stands twice"),
            ("files.read \"/x", "not closed"),
            ("files.read \"/x\"y", "followed by a space"),
            ("files.read /x\u{202e}", "must be quoted"),
            ("files.read \"\\u{zz}\"", "not a character"),
        ] {
            let error = text.parse::<Grant>().expect_err(text).to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn narrower_limits_are_contained() {
        let limits = |calls, bytes| Limits { max_calls: calls, max_bytes: bytes };
        assert!(limits(None, None).contains(&limits(Some(1), None)));
        assert!(limits(Some(2), None).contains(&limits(Some(2), Some(1))));
        assert!(!limits(Some(2), None).contains(&limits(None, None)));
        assert!(!limits(Some(2), None).contains(&limits(Some(3), None)));
    }
}
