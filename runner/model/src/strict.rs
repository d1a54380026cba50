//! JSON from outside, read strictly: no duplicate keys anywhere, no floats, bounded size and depth.
//!
//! Unknown fields are refused by the types themselves (`deny_unknown_fields`). Two parsers that
//! disagree about a document with duplicate keys could show one thing and run another.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// The deepest nesting that is read.
pub const MAX_DEPTH: usize = 32;

/// So many keys are looked through one by one, which is faster than to sort them.
const FEW: usize = 16;

/// Why a document was not read.
#[derive(Debug, thiserror::Error)]
pub enum StrictError {
    /// It is larger than the caller allows.
    #[error("{size} bytes are more than the {limit} that are read")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The caller's limit in bytes.
        limit: usize,
    },
    /// It is not the JSON that is expected.
    #[error("{0}")]
    Malformed(#[from] serde_json::Error),
}

/// Reads one JSON document of at most `limit` bytes as a `T`.
///
/// # Errors
/// When it is larger, is not JSON, has a duplicate key, a float, deeper nesting than
/// [`MAX_DEPTH`] or something after its end, or is not a `T`.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8], limit: usize) -> Result<T, StrictError> {
    if bytes.len() > limit {
        return Err(StrictError::TooLarge { size: bytes.len(), limit });
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    Strict { depth: MAX_DEPTH }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    match serde_json::from_slice(bytes) {
        Ok(read) => Ok(read),
        // Told without a line and a column, which mean nothing to whoever signs or reads such a document.
        Err(_) => Ok(T::deserialize(serde_json::from_slice::<Value>(bytes)?)?),
    }
}

/// Goes through a document, and builds nothing of it.
struct Strict {
    depth: usize,
}

impl Strict {
    fn inner<E: serde::de::Error>(&self) -> Result<Self, E> {
        let depth = self.depth.checked_sub(1).ok_or_else(|| E::custom("nested too deeply"))?;
        Ok(Self { depth })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without floats or duplicate keys")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        Err(E::custom(format_args!("the number {value} is not a whole number in 64 bits")))
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(self.inner()?)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut keys = Keys::default();
        while let Some(key) = map.next_key_seed(Key)? {
            map.next_value_seed(self.inner()?)?;
            keys.add(key).map_err(|key| {
                let key = crate::text::excerpt(&key, 80);
                serde::de::Error::custom(format_args!("the key `{key}` stands twice"))
            })?;
        }
        Ok(())
    }
}

/// The keys of one object, of which there are a few mostly, and may be millions.
#[derive(Default)]
struct Keys<'de> {
    first: Vec<Cow<'de, str>>,
    others: BTreeSet<Cow<'de, str>>,
}

impl<'de> Keys<'de> {
    /// Gives back one that is known.
    fn add(&mut self, key: Cow<'de, str>) -> Result<(), Cow<'de, str>> {
        if self.first.contains(&key) || self.others.contains(&key) {
            return Err(key);
        }
        if self.first.len() < FEW {
            self.first.push(key);
        } else {
            self.others.insert(key);
        }
        Ok(())
    }
}

/// A key, as it stands in the document where nothing of it is escaped.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(key))
    }

    fn visit_str<E>(self, key: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Value, String> {
        from_slice(text.as_bytes(), 1000).map_err(|error| error.to_string())
    }

    #[test]
    fn reads_plain_json() {
        let text = r#"{"a":[1,-2,true,null,"x"]}"#;
        assert_eq!(read(text).map(|value| value.to_string()), Ok(text.to_owned()));
    }

    #[test]
    fn refuses_what_two_parsers_may_read_differently() {
        for (text, why) in [
            (r#"{"a":1,"a":1}"#, "stands twice"),
            (r#"[{"b":{"a":1,"a":2}}]"#, "stands twice"),
            (r#"{"a":1,"\u0061":1}"#, "the key `a` stands twice"),
            ("1.0", "not a whole number"),
            ("1e3", "not a whole number"),
            ("99999999999999999999", "not a whole number"),
            ("{} {}", "trailing"),
            ("", "EOF"),
            ("{'a':1}", "key must be"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
        // However many there are, and wherever the two stand.
        let many = |last: usize| {
            let keys: Vec<_> = (0..40).chain([last]).map(|key| format!("\"{key}\":0")).collect();
            format!("{{{}}}", keys.join(","))
        };
        for twice in [0, FEW - 1, FEW, 39] {
            let error = read(&many(twice)).expect_err("twice");
            assert!(error.contains(&format!("the key `{twice}` stands twice")), "{error}");
        }
        read(&many(40)).expect("each once");
        let deep = "[".repeat(40) + &"]".repeat(40);
        assert!(read(&deep).expect_err("deep").contains("nested too deeply"));
        assert!(from_slice::<Value>(&[b' '; 11], 10).is_err());
    }
}
