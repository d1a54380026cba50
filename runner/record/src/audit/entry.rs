//! What stands in the log: a small JSON object of a kind and a time, with digests and never contents.

use std::collections::BTreeMap;

use countersign_model::{Digest, text};
use serde_json::Value;

use super::LogKey;

/// The longest text in an entry, in characters.
pub(super) const MAX_FIELD: usize = 1_000;
/// The most values of a list in an entry.
const MAX_LIST: usize = 32;
/// The longest entry, in bytes.
const MAX_BYTES: usize = countersign_tlog::MAX_ENTRY;

/// An entry that is to be logged. Its JSON has its keys in order and no spaces, so the same entry has one encoding.
#[derive(Clone, Debug)]
pub struct Entry {
    kind: &'static str,
    run: Option<String>,
    fields: BTreeMap<&'static str, Value>,
    keyed: BTreeMap<&'static str, Digest>,
}

impl Entry {
    /// An entry of this kind; its time is that at which it is logged. `docs/audit.md` lists the kinds.
    #[must_use]
    pub fn new(kind: &'static str) -> Self {
        Self { kind, run: None, fields: BTreeMap::new(), keyed: BTreeMap::new() }
    }

    /// Says which run it is of; it is found by that.
    #[must_use]
    pub fn of_run(mut self, run: &str) -> Self {
        self.run = Some(run.to_owned());
        self.with("run", run)
    }

    /// Adds a text, made visible and cut to 1,000 characters.
    #[must_use]
    pub fn with(mut self, key: &'static str, text: impl ToString) -> Self {
        self.fields.insert(key, text::excerpt(&text.to_string(), MAX_FIELD).into());
        self
    }

    /// The same of a text that may not be there.
    #[must_use]
    pub fn with_some(self, key: &'static str, text: Option<impl ToString>) -> Self {
        match text {
            Some(text) => self.with(key, text),
            None => self,
        }
    }

    /// Adds texts, the first 32 of them, and says how many there are where there are more.
    #[must_use]
    pub fn with_list<T: ToString>(mut self, key: &'static str, texts: impl IntoIterator<Item = T>) -> Self {
        let mut texts = texts.into_iter().map(|text| text::excerpt(&text.to_string(), 256));
        let mut list: Vec<Value> = texts.by_ref().take(MAX_LIST).map(Value::from).collect();
        let more = texts.count();
        if more > 0 {
            list.push(format!("and {more} more").into());
        }
        self.fields.insert(key, list.into());
        self
    }

    /// Adds a number.
    #[must_use]
    pub fn with_number(mut self, key: &'static str, number: u64) -> Self {
        self.fields.insert(key, number.into());
        self
    }

    /// Adds a yes or a no.
    #[must_use]
    pub fn with_flag(mut self, key: &'static str, flag: bool) -> Self {
        self.fields.insert(key, flag.into());
        self
    }

    /// Adds what stands for a content that is not told: a digest that only the log's key can make, since that of a short
    /// content could be found by trying.
    #[must_use]
    pub fn with_keyed(mut self, key: &'static str, content: Option<&Digest>) -> Self {
        if let Some(content) = content {
            self.keyed.insert(key, *content);
        }
        self
    }

    /// The run that it is of.
    pub(crate) fn run(&self) -> Option<&str> {
        self.run.as_deref()
    }

    /// Its bytes at this place of the log, of this moment in milliseconds since 1970-01-01 UTC. Without a key, keyed digests
    /// are left out.
    pub(crate) fn to_bytes(&self, index: u64, at: u64, key: Option<&dyn LogKey>) -> Vec<u8> {
        let mut object: BTreeMap<&str, Value> = self.fields.iter().map(|(key, value)| (*key, value.clone())).collect();
        if let Some(signer) = key {
            for (key, content) in &self.keyed {
                let name = format!("audit log entry {index} {key}");
                object.insert(key, signer.keyed_digest(&name, content).to_string().into());
            }
        }
        object.insert("at", at.into());
        object.insert("kind", self.kind.into());
        let bytes = serde_json::to_vec(&object).unwrap_or_default();
        if bytes.len() <= MAX_BYTES {
            return bytes;
        }
        // Never reached by what is built here: fields are few and bounded.
        let few = serde_json::json!({"at": at, "kind": self.kind, "left-out": "it was too long"});
        few.to_string().into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_one_encoding_and_bounded_texts() {
        let entry = Entry::new("outcome").of_run("r-1").with("reason", "a\n\u{202e}b").with_number("a", 3);
        let bytes = entry.to_bytes(0, 7, None);
        let text = String::from_utf8(bytes).expect("text");
        assert!(text.starts_with("{\"a\":3,\"at\":7,\"kind\":\"outcome\",\"reason\":\"a"), "{text}");
        assert!(!text.contains('\u{202e}'), "{text}");
        let long = Entry::new("x").with("why", "y".repeat(5_000)).with_list("all", vec!["z".repeat(500); 100]);
        let bytes = long.to_bytes(0, 0, None);
        assert!(bytes.len() < 12_000, "{}", bytes.len());
        assert!(String::from_utf8(bytes).expect("text").contains("and 68 more"));
    }
}
