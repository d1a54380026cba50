use std::collections::{BTreeMap, BTreeSet};

use countersign_model::text::{excerpt, hides};
use countersign_model::toml::{self, TomlError};
use countersign_model::{Access, Grant, Mode, Role, RollbackBy, Success};
use serde_json::{Map, Value};

use crate::MAX_MANIFEST_BYTES;
use crate::arguments::{Arguments, ArgumentsError};
use crate::document::{Check, Document};
use crate::duration::milliseconds;
use crate::template::Template;

const MAX_NAME_BYTES: usize = 64;
const MAX_DESCRIPTION: usize = 200;
const MAX_MODULE_BYTES: usize = 256;
/// The most grants of one step.
const MAX_GRANTS: usize = 64;

const HOUR_MS: u64 = 3_600_000;
const SHORTEST_PAUSE_MS: u64 = 50;

/// A `remediation.toml` that was read whole: what a remediation is called, what its steps ask for,
/// which arguments it takes and when it has succeeded.
#[derive(Clone, Debug)]
pub struct Manifest {
    name: String,
    description: String,
    mode: Mode,
    rollback: RollbackBy,
    success: Success,
    language: Option<String>,
    build_target: Option<String>,
    arguments: Arguments,
    steps: BTreeMap<Role, StepManifest>,
}

#[derive(Clone, Debug)]
struct StepManifest {
    grants: Vec<Template>,
    module: Option<String>,
}

/// Why bytes are not a `remediation.toml`.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ManifestError {
    /// They are more than [`MAX_MANIFEST_BYTES`], or not TOML of the expected shape.
    #[error(transparent)]
    Toml(#[from] TomlError),
    /// A value is not one that can stand there.
    #[error("{0}")]
    Value(String),
}

impl Manifest {
    /// Reads a `remediation.toml`.
    ///
    /// # Errors
    /// When it is too large or too deeply nested, is not TOML, has an unknown key, or when a value
    /// cannot be used: every rule that does not depend on the arguments' values is tested here.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        let document: Document = toml::from_slice(bytes, MAX_MANIFEST_BYTES)?;
        Self::from_document(document).map_err(ManifestError::Value)
    }

    fn from_document(document: Document) -> Result<Self, String> {
        let Document { name, description, mode, rollback, arguments, build, steps } = document;
        if !is_name(&name) {
            return Err(format!(
                "`name`: expected a lower-case letter, then at most {} of them, digits and `-`",
                MAX_NAME_BYTES - 1
            ));
        }
        if description.trim().is_empty() || description.chars().count() > MAX_DESCRIPTION || hides(&description) {
            return Err(format!(
                "`description`: expected one line of at most {MAX_DESCRIPTION} characters, none of them invisible"
            ));
        }
        match (rollback, &steps.rollback) {
            (RollbackBy::Step, None) => {
                return Err("`steps.rollback` is missing: `rollback = \"step\"` needs it".to_owned());
            }
            (RollbackBy::Undo, Some(_)) => {
                return Err("`steps.rollback`: `rollback = \"undo\"` has no rollback step".to_owned());
            }
            _ => {}
        }
        if let Some(language) = build.language.as_deref().filter(|language| !is_name(language)) {
            return Err(format!("`build.language`: `{}` is not a language", excerpt(language, 80)));
        }
        if let Some(target) = build.target.as_deref().filter(|target| !is_name(target)) {
            return Err(format!("`build.target`: `{}` is not a compiler's target", excerpt(target, 80)));
        }
        let arguments = Arguments::from_table(&arguments)?;
        let success = success(&steps.check)?;
        let read = |role, grants: Vec<String>, module| StepManifest::read(role, &grants, module, &arguments);
        let mut read_steps = BTreeMap::new();
        if let Some(step) = steps.investigation {
            read_steps.insert(Role::Investigation, read(Role::Investigation, step.grants, step.module)?);
        }
        read_steps.insert(Role::Fix, read(Role::Fix, steps.fix.grants, steps.fix.module)?);
        if let Some(step) = steps.rollback {
            read_steps.insert(Role::Rollback, read(Role::Rollback, step.grants, step.module)?);
        }
        read_steps.insert(Role::Check, read(Role::Check, steps.check.grants, steps.check.module)?);
        let (language, build_target) = (build.language, build.target);
        Ok(Self { name, description, mode, rollback, success, language, build_target, arguments, steps: read_steps })
    }

    /// The format as a JSON Schema, for the reference.
    #[must_use]
    pub fn schema() -> schemars::Schema {
        schemars::schema_for!(Document)
    }

    /// Its name: a lower-case letter, then lower-case letters, digits and `-`; at most 64.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What its author says that it does: one line of at most 200 characters; untrusted, but nothing in it is invisible.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// How closely its author asks for a run to be held to its plan.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// What pairs with the fix.
    #[must_use]
    pub fn rollback(&self) -> RollbackBy {
        self.rollback
    }

    /// When the check is asked, and whether it may pass before the fix.
    #[must_use]
    pub fn success(&self) -> Success {
        self.success
    }

    /// The language that `countersign build` is to build the steps from; not tested against the languages that it knows.
    #[must_use]
    pub fn language(&self) -> Option<&str> {
        self.language.as_deref()
    }

    /// The compiler's target that `countersign build` is to build the steps for; not tested against those that it knows.
    #[must_use]
    pub fn build_target(&self) -> Option<&str> {
        self.build_target.as_deref()
    }

    /// The steps that it has: fix and check always, investigation and rollback if they are described.
    pub fn roles(&self) -> impl Iterator<Item = Role> + '_ {
        self.steps.keys().copied()
    }

    /// The file that holds a step, relative to the project: no `..`, no root, no backslash.
    #[must_use]
    pub fn module(&self, role: Role) -> Option<&str> {
        self.steps.get(&role)?.module.as_deref()
    }

    /// The JSON Schema (2020-12) of the arguments: one object without other properties than it names.
    #[must_use]
    pub fn arguments_schema(&self) -> &Value {
        self.arguments.schema()
    }

    /// Whether these arguments fit the schema. No default is added.
    ///
    /// # Errors
    /// The first that does not fit, with what was expected.
    pub fn validate(&self, arguments: &Map<String, Value>) -> Result<(), ArgumentsError> {
        self.arguments.validate(arguments)
    }

    /// Arguments from a command line: strings, integers and booleans as they are written, everything
    /// else as JSON, by the schema's type; with the schema's defaults for those that are not given.
    ///
    /// # Errors
    /// When an argument is unknown, given twice, not of its type, or does not fit the schema.
    pub fn parse_arguments<K: AsRef<str>, V: AsRef<str>>(
        &self,
        given: &[(K, V)],
    ) -> Result<Map<String, Value>, ArgumentsError> {
        self.arguments.read(given)
    }

    /// What a step asks for, with these arguments filled in; nothing for a step that there is not.
    ///
    /// # Errors
    /// When an argument is missing or not of its type, or when its value is empty, holds a control or
    /// invisible character, `*`, `,` or `..`, or leads out of the word that it is a part of: an
    /// argument must not make a grant wider than it reads.
    pub fn grants(&self, role: Role, arguments: &Map<String, Value>) -> Result<Vec<Grant>, ArgumentsError> {
        self.templates(role).map(|template| template.fill(arguments)).collect()
    }

    /// What a step asks for as it is written, with `{argument}` where an argument will stand.
    pub fn requested(&self, role: Role) -> impl Iterator<Item = &Grant> {
        self.templates(role).map(Template::written)
    }

    /// The interfaces that a step's grants name.
    #[must_use]
    pub fn capabilities(&self, role: Role) -> BTreeSet<(String, Access)> {
        self.templates(role).map(Template::name).collect()
    }

    fn templates(&self, role: Role) -> impl Iterator<Item = &Template> {
        self.steps.get(&role).into_iter().flat_map(|step| &step.grants)
    }
}

impl StepManifest {
    fn read(role: Role, grants: &[String], module: Option<String>, arguments: &Arguments) -> Result<Self, String> {
        if grants.len() > MAX_GRANTS {
            return Err(format!("`steps.{role}.grants`: there are more than {MAX_GRANTS}"));
        }
        if module.as_deref().is_some_and(|module| !is_module(module)) {
            return Err(format!("`steps.{role}.module`: expected a relative path inside the project, without `..`"));
        }
        let read = |text: &String| {
            let template = Template::parse(text, arguments)?;
            if template.written().access == Access::Write && !role.may_write() {
                return Err(format!("`{}` writes, and a step in this role only reads", excerpt(text, 120)));
            }
            Ok(template)
        };
        let grants = grants.iter().map(|text| read(text).map_err(|why| format!("`steps.{role}.grants`: {why}")));
        Ok(Self { grants: grants.collect::<Result<_, _>>()?, module })
    }
}

fn is_name(text: &str) -> bool {
    text.len() <= MAX_NAME_BYTES
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn is_module(path: &str) -> bool {
    path.len() <= MAX_MODULE_BYTES
        && !hides(path)
        && !path.contains(['\\', ':'])
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

fn success(check: &Check) -> Result<Success, String> {
    let read = |key: &str, text: &Option<String>, default: u64| match text {
        None => Ok(default),
        Some(text) => milliseconds(text).ok_or_else(|| {
            format!("`steps.check.{key}`: `{}` is not a duration such as `250ms`, `10s` or `5m`", excerpt(text, 40))
        }),
    };
    let default = Success::default();
    let success = Success {
        within_ms: read("within", &check.within, default.within_ms)?,
        every_ms: read("every", &check.every, default.every_ms)?,
        hold_ms: read("hold", &check.hold, default.hold_ms)?,
        may_pass_before: check.may_pass_before,
    };
    if success.within_ms > HOUR_MS {
        return Err("`steps.check.within`: at most `1h`".to_owned());
    }
    if !(SHORTEST_PAUSE_MS..=HOUR_MS).contains(&success.every_ms) {
        return Err(format!("`steps.check.every`: at least `{SHORTEST_PAUSE_MS}ms` and at most `1h`"));
    }
    if success.hold_ms > success.within_ms {
        return Err("`steps.check.hold`: at most as long as `within`".to_owned());
    }
    Ok(success)
}
