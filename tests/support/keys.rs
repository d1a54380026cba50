//! What `docs/json.md` says of the objects that `--json` prints, and whether they are so.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::markdown::anchor;

/// The tables of the page, by the name of their heading: each key with what it is.
pub(crate) struct Keys {
    shapes: BTreeMap<String, BTreeMap<String, String>>,
    seen: BTreeSet<(String, String)>,
    wrong: BTreeSet<String>,
}

impl Keys {
    pub(crate) fn of(page: &str) -> Self {
        let mut shapes: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        let mut names: Vec<String> = Vec::new();
        for line in page.lines() {
            if let Some(heading) = line.strip_prefix("### ") {
                // Several commands may share a table.
                names = heading.split(", ").map(anchor).collect();
            }
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            if let ([key, is, _], true) = (cells.as_slice(), line.starts_with("| `")) {
                for name in &names {
                    shapes.entry(name.clone()).or_default().insert(key.trim_matches('`').to_owned(), (*is).to_owned());
                }
            }
        }
        Self { shapes, seen: BTreeSet::new(), wrong: BTreeSet::new() }
    }

    /// Compares what a command printed.
    pub(crate) fn compare(&mut self, verb: &str, object: &Value) {
        let keys = object.as_object().expect("an object");
        let shape = if keys.len() == 1 && keys.contains_key("error") { "failure" } else { verb };
        self.shape(verb, shape, object);
    }

    fn shape(&mut self, at: &str, shape: &str, value: &Value) {
        let Some(table) = self.shapes.get(shape).cloned() else {
            self.wrong.insert(format!("`{at}`: there is no table `{shape}`"));
            return;
        };
        let Some(object) = value.as_object() else {
            self.wrong.insert(format!("`{at}` is no object but {value}"));
            return;
        };
        for (key, value) in object {
            let at = format!("{at}.{key}");
            match table.get(key) {
                Some(is) => {
                    self.seen.insert((shape.to_owned(), key.clone()));
                    self.value(&at, is, value);
                }
                None => {
                    self.wrong.insert(format!("`{at}` is not in the table `{shape}`: {value}"));
                }
            }
        }
    }

    fn value(&mut self, at: &str, is: &str, value: &Value) {
        if value.is_null() || is == "any" {
            return;
        }
        if let Some(of) = is.strip_prefix("list of ") {
            match value.as_array() {
                Some(list) => list.iter().for_each(|value| self.value(&format!("{at}[]"), of, value)),
                None => _ = self.wrong.insert(format!("`{at}` is no list but {value}")),
            }
        } else if let Some(of) = is.strip_prefix("table of ") {
            match value.as_object() {
                Some(table) => table.values().for_each(|value| self.value(&format!("{at}.*"), of, value)),
                None => _ = self.wrong.insert(format!("`{at}` is no table but {value}")),
            }
        } else if let Some((_, shape)) = is.split_once("](#") {
            self.shape(at, shape.trim_end_matches(')'), value);
        } else {
            let fits = match is {
                "text" => value.is_string(),
                "number" | "moment" => value.is_u64(),
                "yes or no" => value.is_boolean(),
                _ => false,
            };
            if !fits {
                self.wrong.insert(format!("`{at}` is no {is} but {value}"));
            }
        }
    }

    /// What is on the page and was never printed, apart from these.
    pub(crate) fn unseen(&self, apart_from: &[(&str, &str)]) -> Vec<String> {
        let all = self.shapes.iter().flat_map(|(shape, keys)| keys.keys().map(move |key| (shape.clone(), key.clone())));
        let unseen = all.filter(|pair| !self.seen.contains(pair));
        let unseen = unseen.filter(|(shape, key)| !apart_from.contains(&(shape.as_str(), key.as_str())));
        unseen.map(|(shape, key)| format!("`{shape}`.`{key}`")).collect()
    }

    pub(crate) fn wrong(&self) -> Vec<&str> {
        self.wrong.iter().map(String::as_str).collect()
    }
}
