//! `remediation.toml` as it is written, before anything but its shape is checked.

use countersign_model::{Mode, RollbackBy};
use schemars::JsonSchema;
use serde::Deserialize;

/// What a remediation is called, which arguments it takes, what its steps ask for and when it has succeeded.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Document {
    /// A lower-case letter, then at most 63 lower-case letters, digits and `-`.
    pub(crate) name: String,
    /// What it does: one line of at most 200 characters. Approvers see it as the author's own words.
    pub(crate) description: String,
    /// How closely a run is held to its plan.
    #[serde(default)]
    pub(crate) mode: Mode,
    /// What pairs with the fix.
    pub(crate) rollback: RollbackBy,
    /// A JSON Schema (2020-12) of one object: `required` and `properties`, each with `type`, `description` and
    /// whatever else it must be. No `$ref`, no keyword that is not enforced, whole numbers only.
    #[serde(default)]
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    pub(crate) arguments: toml::Table,
    #[serde(default)]
    pub(crate) build: Build,
    pub(crate) steps: Steps,
}

/// How `countersign build` makes the steps.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Build {
    /// `rust`, for one program per step in `src/bin`; left out where every step names its `module`.
    pub(crate) language: Option<String>,
    /// The Rust target to build the steps for: `wasm32-unknown-unknown`, which is meant where it is left out, or
    /// `wasm32-wasip2`, whose WASI imports are inert.
    pub(crate) target: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Steps {
    pub(crate) investigation: Option<Step>,
    pub(crate) fix: Step,
    pub(crate) rollback: Option<Step>,
    pub(crate) check: Check,
}

/// A step; `investigation` may be left out, `rollback` stands exactly where `rollback = "step"` does.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    /// What it may reach, at most; at most 64. `{argument}` stands for an argument's value, which must not lead out
    /// of its word. `investigation` and `check` may only ask for reads.
    #[serde(default)]
    pub(crate) grants: Vec<String>,
    /// A built module or component, relative to the project, where `build` shall not make it.
    pub(crate) module: Option<String>,
}

/// The step that tells whether the target is healthy, and when it is asked.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Check {
    /// As for the other steps; reads only.
    #[serde(default)]
    pub(crate) grants: Vec<String>,
    /// As for the other steps.
    pub(crate) module: Option<String>,
    /// Check and guards must hold within this time after the fix: a whole number and `ms`, `s`, `m` or `h`, at
    /// most `1h`; `10s` where it is left out.
    pub(crate) within: Option<String>,
    /// The pause between two attempts, `50ms` to `1h`; `250ms` where it is left out.
    pub(crate) every: Option<String>,
    /// From their first holding, they must go on holding for this long, at most `within`; `0s` where it is left out.
    pub(crate) hold: Option<String>,
    /// Whether it may pass before the fix. Where it does not say so, such a remediation is refused: its check would
    /// prove nothing.
    #[serde(default, rename = "may-pass-before")]
    pub(crate) may_pass_before: bool,
}
