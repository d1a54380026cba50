//! What the steps of this remediation share.

/// The arguments, as `remediation.toml` describes them.
#[derive(serde::Deserialize)]
pub struct Arguments {
    pub folder: String,
}

impl Arguments {
    /// A file among the settings.
    pub fn file(&self, name: &str) -> String {
        format!("{}/{name}", self.folder)
    }
}

/// The line that takes the development settings in.
pub const INCLUDE: &str = "include = \"development.toml\"\n";
/// What the service runs as, wrongly and rightly.
pub const DEVELOPMENT: &str = "environment = \"development\"\n";
pub const PRODUCTION: &str = "environment = \"production\"\n";
