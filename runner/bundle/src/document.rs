//! `remediation.toml` as it is written, before anything but its shape is checked.

use countersign_model::{Mode, RollbackBy};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Document {
    pub(crate) name: String,
    pub(crate) description: String,
    #[serde(default)]
    pub(crate) mode: Mode,
    pub(crate) rollback: RollbackBy,
    #[serde(default)]
    pub(crate) arguments: toml::Table,
    #[serde(default)]
    pub(crate) build: Build,
    pub(crate) steps: Steps,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Build {
    pub(crate) language: Option<String>,
    pub(crate) target: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Steps {
    pub(crate) investigation: Option<Step>,
    pub(crate) fix: Step,
    pub(crate) rollback: Option<Step>,
    pub(crate) check: Check,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    #[serde(default)]
    pub(crate) grants: Vec<String>,
    pub(crate) module: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Check {
    #[serde(default)]
    pub(crate) grants: Vec<String>,
    pub(crate) module: Option<String>,
    pub(crate) within: Option<String>,
    pub(crate) every: Option<String>,
    pub(crate) hold: Option<String>,
    #[serde(default, rename = "may-pass-before")]
    pub(crate) may_pass_before: bool,
}
