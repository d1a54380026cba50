//! The reference of the three files that people write, made from the types that read them: names, sorts, defaults,
//! bounds and words are the types' own.

use std::fmt::Write as _;

use schemars::Schema;
use serde_json::{Map, Value};

use super::root;

type MakeSchema = fn() -> Schema;

/// A page and what of it is made from the code, each between two comments that name it.
const MADE: [(&str, &str, MakeSchema); 3] = [
    ("docs/configuration.md", "config.toml", || schemars::schema_for!(crate::config::Config)),
    ("docs/configuration.md", "trust-policy.toml", countersign_trust::Policy::schema),
    ("docs/remediation.md", "remediation.toml", countersign_bundle::Manifest::schema),
];

/// Set, the pages are written anew: `make pages`.
const WRITE: &str = "COUNTERSIGN_WRITE_PAGES";

#[test]
fn the_reference_is_what_the_code_says() {
    for (path, name, schema) in MADE {
        let path = root().join(path);
        let page = std::fs::read_to_string(&path).expect("the page is there");
        let (begin, end) = (format!("<!-- from the code: {name} -->\n"), "<!-- end -->\n");
        let (before, rest) = page.split_once(&begin).unwrap_or_else(|| panic!("`{begin}` is not in {path:?}"));
        let (made, after) = rest.split_once(end).expect("what is made has an end");
        let fresh = format!("\n{}\n", Reference::of(&schema().to_value()).trim_end());
        if made == fresh {
            continue;
        }
        assert!(std::env::var_os(WRITE).is_some(), "{path:?} is not what the code says: run `make pages`");
        std::fs::write(&path, format!("{before}{begin}{fresh}{end}{after}")).expect("the page can be written");
    }
}

struct Reference<'a> {
    definitions: &'a Map<String, Value>,
    text: String,
}

/// What a file's place is called: `targets.NAME.guards`, once or as often as wanted.
#[derive(Clone)]
struct Place {
    name: String,
    repeated: bool,
}

impl Place {
    fn heading(&self) -> String {
        if self.repeated { format!("`[[{}]]`", self.name) } else { format!("`[{}]`", self.name) }
    }

    fn below(&self, key: &str, repeated: bool) -> Self {
        let name = if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) };
        Self { name, repeated }
    }
}

/// A table of the file that one or several keys lead to.
struct Section<'a> {
    places: Vec<Place>,
    words: Vec<String>,
    table: &'a Map<String, Value>,
}

impl<'a> Reference<'a> {
    fn of(schema: &'a Value) -> String {
        static NONE: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
        let definitions = schema["$defs"].as_object().unwrap_or(&NONE);
        let mut reference = Self { definitions, text: String::new() };
        let table = schema.as_object().expect("a file is a table");
        reference.table(&Place { name: String::new(), repeated: false }, table);
        reference.text
    }

    /// The keys that hold a value, then the tables below.
    fn table(&mut self, place: &Place, table: &'a Map<String, Value>) {
        assert_eq!(table["additionalProperties"], false, "{} takes keys that it does not know", place.name);
        let (mut required_rows, mut other_rows) = (String::new(), String::new());
        let mut sections: Vec<Section<'a>> = Vec::new();
        for (key, property) in table["properties"].as_object().expect("a table has keys") {
            let required = table
                .get("required")
                .and_then(Value::as_array)
                .is_some_and(|keys| keys.contains(&(key.as_str().into())));
            let property = property.as_object().expect("a key has a schema");
            let words = words(property);
            if let Some((place, below)) = self.section(&place.below(key, false), property) {
                match sections.iter_mut().find(|section| std::ptr::eq(section.table, below)) {
                    Some(section) => {
                        section.places.push(place);
                        section.words.push(words);
                    }
                    None => sections.push(Section { places: vec![place], words: vec![words], table: below }),
                }
                continue;
            }
            let default = match property.get("default") {
                _ if required => "required".to_owned(),
                None | Some(Value::Null) => "none".to_owned(),
                Some(default) => format!("`{default}`"),
            };
            let (sort, more) = self.sort(property);
            let rows = if required { &mut required_rows } else { &mut other_rows };
            writeln!(rows, "| `{key}` | {sort} | {default} | {words}{more} |").expect("a string takes everything");
        }
        if !required_rows.is_empty() || !other_rows.is_empty() {
            let head = "| key | value | default | |\n|---|---|---|---|";
            writeln!(self.text, "{head}\n{required_rows}{other_rows}").expect("a string takes everything");
        }
        for section in sections {
            // A table that only holds tables needs no heading of its own.
            if self.has_values(section.table) || !section.words.concat().is_empty() {
                self.head(&section);
            }
            self.table(&section.places[0], section.table);
        }
    }

    fn head(&mut self, section: &Section<'_>) {
        let places: Vec<_> = section.places.iter().map(Place::heading).collect();
        let own = words(section.table);
        let text = &mut self.text;
        writeln!(text, "### {}\n", places.join(" and ")).expect("a string takes everything");
        if !own.is_empty() {
            writeln!(text, "{own}\n").expect("a string takes everything");
        }
        let said: Vec<_> = section.places.iter().zip(&section.words).filter(|(_, words)| !words.is_empty()).collect();
        for (place, words) in &said {
            if section.places.len() == 1 {
                writeln!(text, "{words}").expect("a string takes everything");
            } else {
                writeln!(text, "- {}: {words}", place.heading()).expect("a string takes everything");
            }
        }
        if !said.is_empty() {
            self.text.push('\n');
        }
    }

    fn has_values(&self, table: &'a Map<String, Value>) -> bool {
        let place = Place { name: String::new(), repeated: false };
        let keys = table["properties"].as_object().expect("a table has keys");
        keys.values().filter_map(Value::as_object).any(|property| self.section(&place, property).is_none())
    }

    fn resolve(&self, schema: &'a Map<String, Value>) -> &'a Map<String, Value> {
        if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
            let name = name.strip_prefix("#/$defs/").expect("a definition of this schema");
            return self.resolve(self.definitions[name].as_object().expect("a definition is a schema"));
        }
        // What may be left out: itself or null.
        let either = schema.get("anyOf").and_then(Value::as_array).into_iter().flatten();
        let some = either.filter_map(Value::as_object).find(|schema| schema.get("type") != Some(&"null".into()));
        some.map_or(schema, |some| self.resolve(some))
    }

    /// The table that a key leads to, directly, under names that the operator chooses, or in a list.
    fn section(&self, place: &Place, property: &'a Map<String, Value>) -> Option<(Place, &'a Map<String, Value>)> {
        let schema = self.resolve(property);
        let below = |key: &str| schema.get(key).and_then(Value::as_object).map(|schema| self.resolve(schema));
        let is_table = |table: &&'a Map<String, Value>| table.contains_key("properties");
        if is_table(&schema) {
            return Some((place.clone(), schema));
        }
        if let Some(table) = below("additionalProperties").filter(is_table) {
            return Some((place.below("NAME", false), table));
        }
        let table = below("items").filter(is_table)?;
        Some((Place { name: place.name.clone(), repeated: true }, table))
    }

    /// What a value is, and what its words mean where it is one of a few.
    fn sort(&self, property: &'a Map<String, Value>) -> (String, String) {
        let schema = self.resolve(property);
        if let Some(choices) = schema.get("oneOf").and_then(Value::as_array) {
            let choices: Vec<_> = choices.iter().filter_map(Value::as_object).collect();
            let name = |choice: &Map<String, Value>| format!("`\"{}\"`", choice["const"].as_str().expect("a word"));
            let names: Vec<_> = choices.iter().map(|choice| name(choice)).collect();
            let meanings: Vec<_> =
                choices.iter().map(|choice| format!("{}: {}", name(choice), lower(&words(choice)))).collect();
            return (names.join(" or "), format!(" {}", meanings.join(" ")));
        }
        let sort = match schema
            .get("type")
            .map(|sort| sort.as_array().map_or(sort, |sorts| &sorts[0]))
            .and_then(Value::as_str)
        {
            Some("string") => self.text_sort(property).to_owned(),
            Some("boolean") => "`true` or `false`".to_owned(),
            Some("integer") => number(property),
            Some("array") => {
                let (of, more) = self.sort(schema["items"].as_object().expect("a list has a schema for what it holds"));
                return (format!("list of {of}"), more);
            }
            Some("object") => "table".to_owned(),
            // Any value at all.
            None => "any".to_owned(),
            Some(other) => panic!("`{other}` has no words here"),
        };
        (sort, String::new())
    }

    fn text_sort(&self, property: &Map<String, Value>) -> &'static str {
        match property.get("$ref").and_then(Value::as_str).and_then(|name| name.rsplit('/').next()) {
            Some("grant") => "[grant](grants.md)",
            Some("digest") => "`sha256:…`",
            _ => "text",
        }
    }
}

fn number(property: &Map<String, Value>) -> String {
    let bound = |key: &str| property.get(key).and_then(Value::as_u64);
    match (bound("minimum").unwrap_or(0), bound("maximum")) {
        (least, Some(most)) if least == most => format!("`{least}`"),
        (least, Some(most)) => format!("{least} to {most}"),
        (least, None) => format!("{least} or more"),
    }
}

/// A doc comment as one line.
fn words(schema: &Map<String, Value>) -> String {
    let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

fn lower(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}
