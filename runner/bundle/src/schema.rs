//! The `[arguments]` table as a JSON Schema (2020-12), held to keywords whose cost and meaning are
//! bounded and that this runner enforces.
//!
//! JSON Schema ignores keywords that it does not know, so a misspelt bound would be no bound: here
//! it is an error. There is no `$ref`, local or remote: chains of references make validation
//! exponential in the schema's size, and arguments are not that complicated.

use countersign_model::text::excerpt;
use serde_json::{Map, Value, json};

/// The most schemas within one another and side by side.
const MAX_SCHEMAS: usize = 256;
/// The most `pattern`s, and the longest, in bytes: each may be matched with the whole of the arguments.
const MAX_PATTERNS: usize = 16;
const MAX_PATTERN_BYTES: usize = 256;
/// The longest argument name, in bytes.
const MAX_NAME_BYTES: usize = 64;

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// Formats are enforced, all by code whose time is linear.
const FORMATS: [&str; 10] =
    ["date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "uri", "uuid"];

/// The table as the schema of one object without other properties than it describes.
///
/// # Errors
/// A sentence fragment that begins with the place in the table.
pub(crate) fn from_table(table: &toml::Table) -> Result<Map<String, Value>, String> {
    let mut schema = object(table, "arguments")?;
    if let Some(dialect) = schema.remove("$schema")
        && dialect != DIALECT
    {
        return Err(format!("`arguments.$schema`: expected `{DIALECT}`"));
    }
    if *schema.entry("type").or_insert_with(|| json!("object")) != json!("object") {
        return Err("`arguments.type`: the arguments are one `object`".to_owned());
    }
    if *schema.entry("additionalProperties").or_insert_with(|| json!(false)) != json!(false) {
        return Err("`arguments.additionalProperties`: every argument must be described, so only `false`".to_owned());
    }
    Count::default().walk_object(&schema, "arguments")?;
    schema.entry("properties").or_insert_with(|| json!({}));
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return Err("`arguments.properties`: expected a table".to_owned());
    };
    if let Some(name) = properties.keys().find(|name| !is_argument_name(name)) {
        return Err(format!(
            "`arguments.properties`: `{}` cannot name an argument: expected a letter, then at most {} letters, digits, `-` and `_`",
            excerpt(name, 80),
            MAX_NAME_BYTES - 1
        ));
    }
    let required = schema.get("required").and_then(Value::as_array);
    for name in required.into_iter().flatten().filter_map(Value::as_str) {
        if !properties.contains_key(name) {
            return Err(format!("`arguments.required`: `{}` is not among the properties", excerpt(name, 80)));
        }
    }
    Ok(schema)
}

fn is_argument_name(name: &str) -> bool {
    name.len() <= MAX_NAME_BYTES
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// The depth is bounded by [`countersign_model::toml`].
fn object(table: &toml::Table, at: &str) -> Result<Map<String, Value>, String> {
    table.iter().map(|(key, value)| Ok((key.clone(), json(value, &format!("{at}.{}", excerpt(key, 80)))?))).collect()
}

fn json(value: &toml::Value, at: &str) -> Result<Value, String> {
    Ok(match value {
        toml::Value::String(text) => Value::from(text.as_str()),
        toml::Value::Integer(number) => Value::from(*number),
        toml::Value::Boolean(flag) => Value::from(*flag),
        toml::Value::Array(items) => items.iter().map(|item| json(item, at)).collect::<Result<_, _>>()?,
        toml::Value::Table(table) => Value::Object(object(table, at)?),
        toml::Value::Float(_) => return Err(format!("`{at}`: numbers are whole, here and in arguments")),
        toml::Value::Datetime(_) => return Err(format!("`{at}`: JSON has no dates, write a string")),
    })
}

#[derive(Default)]
struct Count {
    schemas: usize,
    patterns: usize,
}

impl Count {
    fn walk(&mut self, schema: &Value, at: &str) -> Result<(), String> {
        match schema {
            Value::Bool(_) => Ok(()),
            Value::Object(schema) => self.walk_object(schema, at),
            _ => Err(format!("`{at}`: expected a schema, which is a table")),
        }
    }

    fn walk_object(&mut self, schema: &Map<String, Value>, at: &str) -> Result<(), String> {
        self.schemas += 1;
        if self.schemas > MAX_SCHEMAS {
            return Err(format!("`{at}`: there are more than {MAX_SCHEMAS} schemas"));
        }
        for (keyword, value) in schema {
            let at = format!("{at}.{}", excerpt(keyword, 80));
            match keyword.as_str() {
                "type" | "enum" | "const" | "title" | "description" | "$comment" | "default" | "examples"
                | "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" | "multipleOf" | "minLength"
                | "maxLength" | "minItems" | "maxItems" | "uniqueItems" | "required" | "minProperties"
                | "maxProperties" | "dependentRequired" => {}
                "pattern" => self.pattern(value, &at)?,
                "format" => {
                    if !value.as_str().is_some_and(|format| FORMATS.contains(&format)) {
                        return Err(format!("`{at}`: expected one of `{}`", FORMATS.join("`, `")));
                    }
                }
                "items" | "additionalProperties" | "not" | "if" | "then" | "else" => self.walk(value, &at)?,
                "allOf" | "anyOf" | "oneOf" | "prefixItems" => {
                    for schema in value.as_array().into_iter().flatten() {
                        self.walk(schema, &at)?;
                    }
                }
                "properties" => {
                    for (name, schema) in value.as_object().into_iter().flatten() {
                        self.walk(schema, &format!("{at}.{}", excerpt(name, 80)))?;
                    }
                }
                _ => return Err(format!("`{at}` is not a keyword that this runner enforces")),
            }
        }
        Ok(())
    }

    fn pattern(&mut self, pattern: &Value, at: &str) -> Result<(), String> {
        self.patterns += 1;
        if self.patterns > MAX_PATTERNS {
            return Err(format!("`{at}`: there are more than {MAX_PATTERNS} patterns"));
        }
        match pattern.as_str() {
            Some(pattern) if pattern.len() <= MAX_PATTERN_BYTES => Ok(()),
            _ => Err(format!("`{at}`: expected a regular expression of at most {MAX_PATTERN_BYTES} bytes")),
        }
    }
}
