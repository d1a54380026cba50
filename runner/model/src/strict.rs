//! JSON from outside, read strictly: no duplicate keys anywhere, no floats, bounded size and depth.
//!
//! Unknown fields are refused by the types themselves (`deny_unknown_fields`). Two parsers that
//! disagree about a document with duplicate keys could show one thing and run another.

use std::fmt;

use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// The deepest nesting that is read.
pub const MAX_DEPTH: usize = 32;

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
    let value = Strict { depth: MAX_DEPTH }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(T::deserialize(value)?)
}

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
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without floats or duplicate keys")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(Number::from(value)))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Err(E::custom(format_args!("the number {value} is not a whole number in 64 bits")))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(self.inner()?)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let value = map.next_value_seed(self.inner()?)?;
            if object.contains_key(&key) {
                let key = crate::text::excerpt(&key, 80);
                return Err(serde::de::Error::custom(format_args!("the key `{key}` stands twice")));
            }
            object.insert(key, value);
        }
        Ok(Value::Object(object))
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
        let deep = "[".repeat(40) + &"]".repeat(40);
        assert!(read(&deep).expect_err("deep").contains("nested too deeply"));
        assert!(from_slice::<Value>(&[b' '; 11], 10).is_err());
    }
}
