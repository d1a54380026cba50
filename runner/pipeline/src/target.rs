use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use countersign_capability::{Protected, Registry};
use countersign_gate::Sensitive;
use countersign_model::text::{excerpt, hides};
use countersign_model::{Access, Digest, Fault, Grant, Success};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::PipelineError;
use crate::paths;

/// The longest pause between two looks at check and guards, in milliseconds.
const MOST_SELDOM: u64 = 5000;
/// The longest `hold`, in seconds.
const MAX_HOLD: u64 = 3600;
/// The longest name of a guard or a validator, in bytes.
pub(crate) const MAX_NAME: usize = 256;
/// The longest time of a command, in seconds.
const MAX_TIMEOUT: u64 = 300;

/// A host or environment that the operator's configuration names.
///
/// Its digest is part of every approval, so whatever is changed here voids what was approved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Target {
    /// One line for people.
    #[serde(default)]
    pub description: String,
    /// Who answers for the target if a rollback does not restore it.
    pub rollback_owner: String,
    /// For how many seconds check and guards must at least go on holding, whatever a bundle asks for.
    #[serde(default)]
    #[schemars(range(max = MAX_HOLD))]
    pub hold: u64,
    /// Whether steps may import WASI. It is inert, and gives a step no authority that `countersign:step/host` does not:
    /// so it is allowed unless the operator says otherwise.
    #[serde(default = "yes")]
    pub wasi: bool,
    /// Paths whose content nobody is shown: patterns as in `files.read`, where `*` also stands for a name's first dot.
    #[serde(default)]
    pub sensitive: Vec<String>,
    /// Who looks: investigations, rehearsals and checks.
    #[serde(default)]
    pub investigation: Identity,
    /// Who changes: fixes and rollbacks, after approval. Before it, it is asked whether it could, and nothing else.
    #[serde(default)]
    pub remediation: Identity,
    /// What must hold after every run, whatever its own check says.
    #[serde(default)]
    pub guards: Vec<Guard>,
    /// Commands that test what was written before anything irreversible follows from it.
    #[serde(default)]
    pub validators: Vec<Validator>,
}

/// Credentials and a ceiling; nothing that is asked for or approved can exceed the ceiling.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// The most that may be granted.
    #[serde(default)]
    pub ceiling: Vec<Grant>,
    /// What each capability needs to reach the target, by the capability's name.
    #[serde(default)]
    pub settings: BTreeMap<String, Value>,
}

/// A health check that the operator wrote: a read and what it must say, or a command that must exit with 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Guard {
    /// What people call it: at most 256 bytes, all of which can be seen; no other guard of the target may have the same
    /// name.
    pub name: String,
    /// A read through the gate, e.g. `http.get http://127.0.0.1:8080/healthz`.
    #[serde(default)]
    pub call: Option<String>,
    /// What the reply must say: each named field of its JSON description must be equal.
    #[serde(default)]
    pub expect: BTreeMap<String, Value>,
    /// A command and its arguments, run without a shell.
    #[serde(default)]
    pub command: Vec<String>,
    /// How long the command may take, in seconds.
    #[serde(default = "ten")]
    #[schemars(range(min = 1, max = MAX_TIMEOUT))]
    pub timeout: u64,
}

/// An operator-named command that tests what was written, e.g. `nginx -t`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Validator {
    /// What people call it: at most 256 bytes, all of which can be seen; no other validator of the target may have the same
    /// name.
    pub name: String,
    /// Paths whose writing it tests, as in `files.write`.
    pub paths: Vec<String>,
    /// A command and its arguments, run without a shell; exit code 0 means good.
    pub command: Vec<String>,
    /// How long the command may take, in seconds.
    #[serde(default = "ten")]
    #[schemars(range(min = 1, max = MAX_TIMEOUT))]
    pub timeout: u64,
}

const fn yes() -> bool {
    true
}

const fn ten() -> u64 {
    10
}

impl Target {
    /// Digest of the configuration as it was resolved: compact JSON of these fields.
    #[must_use]
    pub fn digest(&self) -> Digest {
        // Strings, numbers and JSON values always serialize.
        Digest::of(&serde_json::to_vec(self).unwrap_or_default())
    }

    /// The subjects whose content nobody is shown.
    ///
    /// # Errors
    /// When a path makes no sense; [`Target::validate`] told so.
    pub(crate) fn sensitive(&self, registry: &Registry) -> Result<Sensitive, Fault> {
        let grants = self.sensitive.iter().flat_map(|path| paths::with_dots(path));
        let grants: Vec<_> = grants.map(|path| paths::grant(Access::Read, &path)).collect();
        Sensitive::new(registry, &grants)
    }

    /// When check and guards are asked here: as the terms say, but held for as long as the operator wants, and
    /// never asked more seldom than every five seconds.
    #[must_use]
    pub fn success(&self, terms: Success) -> Success {
        Success {
            within_ms: terms.within_ms,
            every_ms: terms.every_ms.min(MOST_SELDOM),
            hold_ms: terms.hold_ms.max(self.hold.saturating_mul(1000)),
            ..terms
        }
    }

    /// Tests everything that can be wrong in a target's configuration before it is used.
    ///
    /// # Errors
    /// The first thing that is wrong, as a sentence fragment that names where.
    pub fn validate(&mut self, registry: &Registry, protected: &Protected) -> Result<(), String> {
        if self.rollback_owner.trim().is_empty() {
            return Err("`rollback-owner` is empty: name who answers for the target".to_owned());
        }
        if self.hold > MAX_HOLD {
            return Err(format!("`hold` must be 0 to {MAX_HOLD} seconds"));
        }
        let investigation = ceiling(registry, protected, &self.investigation.ceiling)
            .map_err(|why| format!("investigation ceiling: {why}"))?;
        if let Some(grant) = investigation.iter().find(|grant| grant.access == Access::Write) {
            return Err(format!("investigation ceiling: `{grant}` is a write, and an investigation only reads"));
        }
        self.investigation.ceiling = investigation;
        self.sensitive = paths::sensitive(registry, &self.sensitive).map_err(|why| format!("sensitive: {why}"))?;
        self.remediation.ceiling = ceiling(registry, protected, &self.remediation.ceiling)
            .map_err(|why| format!("remediation ceiling: {why}"))?;
        for guard in &self.guards {
            named("guard", &guard.name)?;
            guard.validate(registry).map_err(|why| format!("guard `{}`: {why}", guard.name))?;
        }
        distinct("guard", self.guards.iter().map(|guard| &guard.name))?;
        distinct("validator", self.validators.iter().map(|validator| &validator.name))?;
        for validator in &self.validators {
            named("validator", &validator.name)?;
            let in_validator = |why| format!("validator `{}`: {why}", validator.name);
            command(&validator.command, validator.timeout).map_err(in_validator)?;
            for grant in validator.grants() {
                let known = registry.get(&grant.capability).and_then(|known| known.normalize(&grant));
                known.map_err(|fault| in_validator(fault.what))?;
            }
        }
        Ok(())
    }
}

impl Target {
    /// Refuses a target whose commands could not be started, before anything is changed that they must test: its guards',
    /// and its validators' where they will be asked.
    pub(crate) fn can_be_asked(&self, name: &str, validated: bool) -> Result<(), PipelineError> {
        let guards = self.guards.iter().map(|guard| ("guard", &guard.name, &guard.command));
        let validators = self.validators.iter().map(|validator| ("validator", &validator.name, &validator.command));
        for (what, named, command) in guards.chain(validators.filter(|_| validated)) {
            let Some(program) = command.first() else { continue };
            let why = match std::fs::metadata(program) {
                Err(error) => error.to_string(),
                Ok(found) if !found.is_file() => "it is not a regular file".to_owned(),
                Ok(_) => match rustix::fs::access(program.as_str(), rustix::fs::Access::EXEC_OK) {
                    Ok(()) => continue,
                    Err(error) => error.to_string(),
                },
            };
            let program = excerpt(program, 200);
            return Err(PipelineError::refused(format!(
                "{what} `{named}` of `{name}` cannot be asked: `{program}` cannot be executed: {why}"
            ))
            .with_hint(format!("nothing changed; correct the command of this {what} in the configuration")));
        }
        Ok(())
    }
}

impl Validator {
    /// The paths as grants, by which subjects are matched.
    pub(crate) fn grants(&self) -> Vec<Grant> {
        self.paths.iter().map(|path| paths::grant(Access::Write, path)).collect()
    }

    pub(crate) const fn time(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }
}

impl Guard {
    fn validate(&self, registry: &Registry) -> Result<(), String> {
        match (&self.call, self.command.is_empty()) {
            (Some(call), true) => {
                crate::guards::parse_call(registry, call)?;
                if self.expect.is_empty() {
                    return Err(
                        "`expect` is empty: say what the reply must be, e.g. `expect = { status = 200 }`".to_owned()
                    );
                }
                time(self.timeout)
            }
            (None, false) => command(&self.command, self.timeout),
            _ => Err("it needs either `call` and `expect`, or `command`".to_owned()),
        }
    }

    pub(crate) const fn time(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }
}

/// Refuses what could not be shown as the name that it is.
fn named(what: &str, name: &str) -> Result<(), String> {
    if hides(name) || name.len() > MAX_NAME {
        let name = excerpt(name, 80);
        return Err(format!("{what} `{name}`: a name has at most {MAX_NAME} bytes, all of which can be seen"));
    }
    Ok(())
}

/// Refuses two of one name: what one of them says would be taken for the other's.
fn distinct<'a>(what: &str, names: impl Iterator<Item = &'a String>) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            let name = countersign_model::text::excerpt(name, 80);
            return Err(format!("two {what}s have the name `{name}`: give each one of its own"));
        }
    }
    Ok(())
}

pub(crate) fn command(command: &[String], timeout: u64) -> Result<(), String> {
    match command.first() {
        Some(program) if program.starts_with('/') => {}
        Some(program) => return Err(format!("`{program}` must be an absolute path")),
        None => return Err("`command` is empty".to_owned()),
    }
    time(timeout)
}

fn time(timeout: u64) -> Result<(), String> {
    if (1..=MAX_TIMEOUT).contains(&timeout) {
        Ok(())
    } else {
        Err(format!("`timeout` must be 1 to {MAX_TIMEOUT} seconds"))
    }
}

/// The ceiling's grants normalized, none of which may reach what is the runner's own.
fn ceiling(registry: &Registry, protected: &Protected, grants: &[Grant]) -> Result<Vec<Grant>, String> {
    grants.iter().map(|grant| normalize(registry, protected, grant)).collect()
}

/// A grant as its capability prints it, refused where it could reach what is the runner's own.
pub(crate) fn normalize(registry: &Registry, protected: &Protected, grant: &Grant) -> Result<Grant, String> {
    let capability = registry.get(&grant.capability).map_err(|fault| fault.what)?;
    let grant = capability.normalize(grant).map_err(|fault| fault.what)?;
    match capability.endangers(&grant, protected).map_err(|fault| fault.what)? {
        None => Ok(grant),
        Some(own) => Err(format!("`{grant}` would reach {own}, which is the runner's own and never in scope")),
    }
}

/// Whether some grant of the list allows everything that `narrow` does.
pub(crate) fn contained(registry: &Registry, wide: &[Grant], narrow: &Grant) -> Result<bool, String> {
    for grant in wide.iter().filter(|grant| grant.capability == narrow.capability) {
        if contains(registry, grant, narrow)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The same as [`contains`], for the decider.
pub(crate) fn containing(registry: &Registry) -> impl Fn(&Grant, &Grant) -> Result<bool, String> + '_ {
    move |wide, narrow| contains(registry, wide, narrow)
}

/// Whether one grant allows everything that another does, limits included.
pub(crate) fn contains(registry: &Registry, wide: &Grant, narrow: &Grant) -> Result<bool, String> {
    if wide.capability != narrow.capability || !wide.limits.contains(&narrow.limits) {
        return Ok(false);
    }
    registry.get(&wide.capability).and_then(|known| known.contains(wide, narrow)).map_err(|fault| fault.what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(hold: u64) -> Target {
        Target {
            wasi: true,
            description: String::new(),
            rollback_owner: "alice".to_owned(),
            hold,
            sensitive: Vec::new(),
            investigation: Identity::default(),
            remediation: Identity::default(),
            guards: Vec::new(),
            validators: Vec::new(),
        }
    }

    #[test]
    fn two_of_one_name_are_refused() {
        let guard = |name: &str| Guard {
            name: name.to_owned(),
            call: None,
            expect: BTreeMap::new(),
            command: vec!["/bin/true".to_owned()],
            timeout: 1,
        };
        let validator = |name: &str| Validator {
            name: name.to_owned(),
            paths: Vec::new(),
            command: vec!["/bin/true".to_owned()],
            timeout: 1,
        };
        let (registry, protected) = (Registry::default(), Protected::default());
        let mut target = target(0);
        target.guards = vec![guard("up"), guard("down")];
        target.validators = vec![validator("up"), validator("down")];
        assert_eq!(target.validate(&registry, &protected), Ok(()), "a validator may be called as a guard is");
        target.validators.push(validator("down"));
        assert!(
            target
                .validate(&registry, &protected)
                .is_err_and(|why| why.contains("two validators have the name `down`"))
        );
        target.guards.push(guard("up"));
        assert!(target.validate(&registry, &protected).is_err_and(|why| why.contains("two guards have the name `up`")));
    }

    /// A bundle that asks once an hour would have the guards asked once.
    #[test]
    fn the_pause_between_two_looks_is_the_hosts_to_bound() {
        let asked = |every_ms| target(0).success(Success { every_ms, ..Success::default() }).every_ms;
        assert_eq!((asked(50), asked(5000), asked(5001), asked(3_600_000)), (50, 5000, 5000, 5000));
    }

    #[test]
    fn the_operators_hold_stands_above_the_bundles() {
        let held = |hold, hold_ms| target(hold).success(Success { hold_ms, ..Success::default() }).hold_ms;
        assert_eq!(
            (held(0, 0), held(0, 700), held(2, 700), held(2, 9000), held(u64::MAX, 1)),
            (0, 700, 2000, 9000, u64::MAX)
        );
    }

    #[test]
    fn the_rest_of_the_terms_is_the_bundles() {
        let terms = Success { within_ms: 77, every_ms: 60, hold_ms: 0, may_pass_before: true };
        assert_eq!(target(0).success(terms), terms);
    }
}
