//! What the steps of this remediation share.

/// The arguments, as `remediation.toml` describes them.
#[derive(serde::Deserialize)]
pub struct Arguments {
    pub secret: String,
    pub open: String,
    pub folder: String,
    pub way: Way,
}

/// How the fix tells what it knows.
#[derive(serde::Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    No,
    Error,
    Content,
    Name,
    Mode,
    OwnMode,
    Absence,
    Size,
    Blind,
}

/// What the fix writes.
pub const NEW: &str = "password = correct-horse\n";
