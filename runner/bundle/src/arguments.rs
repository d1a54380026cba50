//! Arguments against the schema of `remediation.toml`.

use std::collections::BTreeSet;
use std::fmt;

use countersign_model::strict;
use countersign_model::text::{excerpt, visible};
use jsonschema::error::ValidationErrorKind;
use jsonschema::paths::LocationSegment;
use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use serde_json::{Map, Value};

use crate::schema;

/// The largest arguments of one proposal, in bytes of JSON.
pub const MAX_ARGUMENTS_BYTES: usize = 16 * 1024;

/// Bounds on one compiled `pattern`, in bytes. The engine's time is linear in the text, with this as factor.
const PATTERN_SIZE: usize = 128 * 1024;

/// The deepest nesting of one argument: it must still be read when it stands inside a signed document.
const MAX_DEPTH: usize = 16;

/// The most characters that are shown of what validation says.
const MAX_WHY: usize = 300;

/// Why arguments are refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ArgumentsError {
    /// They are larger than [`MAX_ARGUMENTS_BYTES`].
    #[error("the arguments are larger than {MAX_ARGUMENTS_BYTES} bytes")]
    TooLarge,
    /// The bundle has no such argument.
    #[error("`{name}` is not an argument of this bundle: expected {expected}")]
    Unknown {
        /// What was given.
        name: String,
        /// The ones that there are.
        expected: String,
    },
    /// A required argument is not given.
    #[error("the argument `{name}` is missing{description}")]
    Missing {
        /// Its name.
        name: String,
        /// Its description in the schema, after `: `, if it has one.
        description: String,
    },
    /// An argument is given twice.
    #[error("the argument `{name}` is given twice")]
    Twice {
        /// Its name.
        name: String,
    },
    /// An argument is not what the schema says.
    #[error("the argument `{name}` does not fit: {why}")]
    Invalid {
        /// Its name.
        name: String,
        /// What was expected.
        why: String,
    },
    /// Each may be right, but not all of them together.
    #[error("the arguments do not fit together: {0}")]
    Together(String),
    /// An argument cannot stand in a grant.
    #[error("the argument `{name}` cannot stand in the grant `{grant}`: {why}")]
    Grant {
        /// Its name.
        name: String,
        /// The grant with its placeholders.
        grant: String,
        /// What is wrong with the value.
        why: String,
    },
    /// With its arguments a grant would be longer than a grant can be.
    #[error("the grant `{grant}` is too long with these arguments")]
    LongGrant {
        /// The grant with its placeholders.
        grant: String,
    },
}

/// What can be written on a command line and in a grant as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scalar {
    Text,
    Integer,
    Boolean,
}

impl Scalar {
    /// From the schema of one argument: its `type`, or that of every value that it allows.
    fn of(schema: &Value) -> Option<Self> {
        match schema.get("type") {
            Some(Value::String(name)) => match name.as_str() {
                "string" => Some(Self::Text),
                "integer" => Some(Self::Integer),
                "boolean" => Some(Self::Boolean),
                _ => None,
            },
            Some(_) => None,
            None => {
                let allowed = schema.get("const").map(std::slice::from_ref);
                let allowed = allowed.or_else(|| schema.get("enum")?.as_array().map(Vec::as_slice))?;
                let mut kinds = allowed.iter().map(Self::of_value);
                let first = kinds.next()??;
                kinds.all(|kind| kind == Some(first)).then_some(first)
            }
        }
    }

    fn of_value(value: &Value) -> Option<Self> {
        match value {
            Value::String(_) => Some(Self::Text),
            Value::Number(number) if !number.is_f64() => Some(Self::Integer),
            Value::Bool(_) => Some(Self::Boolean),
            _ => None,
        }
    }

    /// The one text of a value of this kind.
    pub(crate) fn print(self, value: &Value) -> Option<String> {
        (Self::of_value(value) == Some(self)).then(|| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
    }

    /// The value of this kind that prints as the text.
    fn read(self, text: &str) -> Option<Value> {
        let value = match self {
            Self::Text => Value::from(text),
            Self::Integer => {
                text.parse::<i64>().map(Value::from).or_else(|_| text.parse::<u64>().map(Value::from)).ok()?
            }
            Self::Boolean => Value::from(text.parse::<bool>().ok()?),
        };
        (self.print(&value)? == text).then_some(value)
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "a string",
            Self::Integer => "a whole number",
            Self::Boolean => "`true` or `false`",
        })
    }
}

/// The arguments that a bundle takes.
#[derive(Clone, Debug)]
pub(crate) struct Arguments {
    schema: Value,
    validator: Validator,
}

impl Arguments {
    /// # Errors
    /// A sentence fragment that begins with the place in the table.
    pub(crate) fn from_table(table: &toml::Table) -> Result<Self, String> {
        let schema = Value::Object(schema::from_table(table)?);
        let validator = compile(&schema, "arguments")?;
        let arguments = Self { schema, validator };
        for (name, property) in arguments.properties() {
            let at = format!("arguments.properties.{name}");
            if let Some(default) = property.get("default")
                && let Err(error) = compile(property, &at)?.validate(default)
            {
                return Err(format!("`{at}.default`: {}", excerpt(&error.to_string(), MAX_WHY)));
            }
        }
        Ok(arguments)
    }

    pub(crate) fn schema(&self) -> &Value {
        &self.schema
    }

    fn properties(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.schema.get("properties").and_then(Value::as_object).into_iter().flatten()
    }

    fn property(&self, name: &str) -> Option<&Value> {
        self.schema.get("properties")?.get(name)
    }

    /// What kind of value the argument has, for a placeholder.
    pub(crate) fn scalar(&self, name: &str) -> Result<Scalar, String> {
        let property = self.property(name).ok_or("is not an argument")?;
        Scalar::of(property).ok_or_else(|| "is neither a string, an integer nor a boolean".to_owned())
    }

    pub(crate) fn validate(&self, arguments: &Map<String, Value>) -> Result<(), ArgumentsError> {
        for (name, value) in arguments {
            if !strictly(value, MAX_DEPTH) {
                let why = format!("numbers are whole and nesting ends after {MAX_DEPTH} levels");
                return Err(ArgumentsError::Invalid { name: excerpt(name, 80), why });
            }
        }
        let whole = Value::Object(arguments.clone());
        if whole.to_string().len() > MAX_ARGUMENTS_BYTES {
            return Err(ArgumentsError::TooLarge);
        }
        self.validator.validate(&whole).map_err(|error| self.explain(&error))
    }

    /// Reads `key=value` pairs, each value by the type that the schema gives it, adds the defaults
    /// and validates.
    pub(crate) fn read<K: AsRef<str>, V: AsRef<str>>(
        &self,
        given: &[(K, V)],
    ) -> Result<Map<String, Value>, ArgumentsError> {
        let mut arguments = Map::new();
        for (name, text) in given {
            let (name, text) = (name.as_ref(), text.as_ref());
            let property = self.property(name).ok_or_else(|| self.unknown(name))?;
            let invalid = |why: String| ArgumentsError::Invalid { name: name.to_owned(), why };
            if text.len() > MAX_ARGUMENTS_BYTES {
                return Err(ArgumentsError::TooLarge);
            }
            let value = match Scalar::of(property) {
                Some(kind) => {
                    kind.read(text).ok_or_else(|| invalid(format!("`{}` is not {kind}", excerpt(text, 80))))?
                }
                None => strict::from_slice(text.as_bytes(), MAX_ARGUMENTS_BYTES)
                    .map_err(|error| invalid(format!("it is not JSON: {}", excerpt(&error.to_string(), MAX_WHY))))?,
            };
            if arguments.insert(name.to_owned(), value).is_some() {
                return Err(ArgumentsError::Twice { name: name.to_owned() });
            }
        }
        for (name, property) in self.properties() {
            if let Some(default) = property.get("default")
                && !arguments.contains_key(name)
            {
                arguments.insert(name.clone(), default.clone());
            }
        }
        self.validate(&arguments)?;
        Ok(arguments)
    }

    fn unknown(&self, name: &str) -> ArgumentsError {
        let known: BTreeSet<&str> = self.properties().map(|(name, _)| name.as_str()).collect();
        let expected = match known.len() {
            0 => "none".to_owned(),
            _ => format!("`{}`", known.into_iter().collect::<Vec<_>>().join("`, `")),
        };
        ArgumentsError::Unknown { name: excerpt(name, 80), expected: excerpt(&expected, MAX_WHY) }
    }

    fn explain(&self, error: &ValidationError<'_>) -> ArgumentsError {
        let why = || excerpt(&error.to_string(), MAX_WHY);
        if let Some(LocationSegment::Property(name)) = error.instance_path().iter().next() {
            return ArgumentsError::Invalid { name: visible(&name), why: why() };
        }
        match error.kind() {
            ValidationErrorKind::Required { property: Value::String(name) } => {
                let description = self.property(name).and_then(|schema| schema.get("description")?.as_str());
                let description = description.map(|text| format!(": {}", excerpt(text, MAX_WHY)));
                ArgumentsError::Missing { name: visible(name), description: description.unwrap_or_default() }
            }
            ValidationErrorKind::AdditionalProperties { unexpected } => {
                self.unknown(unexpected.first().map_or("", String::as_str))
            }
            _ => ArgumentsError::Together(why()),
        }
    }
}

/// Whether a value could have been read by [`strict`]: what is signed must be readable again.
fn strictly(value: &Value, depth: usize) -> bool {
    match value {
        Value::Number(number) => !number.is_f64(),
        Value::Array(items) => depth > 0 && items.iter().all(|item| strictly(item, depth - 1)),
        Value::Object(object) => depth > 0 && object.values().all(|item| strictly(item, depth - 1)),
        _ => true,
    }
}

/// `regex`'s engine in place of the default backtracking one, whose time a pattern can make exponential.
fn compile(schema: &Value, at: &str) -> Result<Validator, String> {
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .with_pattern_options(PatternOptions::regex().size_limit(PATTERN_SIZE).dfa_size_limit(PATTERN_SIZE))
        .should_validate_formats(true)
        .should_ignore_unknown_formats(false)
        .offline()
        .build(schema)
        .map_err(|error| {
            let place = error.instance_path().as_str().replace('/', ".");
            let why = match error.kind() {
                ValidationErrorKind::Format { format } if format == "regex" => {
                    "expected a regular expression without look-around and back-references, \
                     and with small repetitions: it must be matched in linear time"
                        .to_owned()
                }
                _ => excerpt(&error.to_string(), MAX_WHY),
            };
            format!("`{at}{}`: {why}", excerpt(&place, 200))
        })
}
