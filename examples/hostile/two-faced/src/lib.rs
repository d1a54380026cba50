//! What the steps of this remediation share.

use countersign_sdk::files;

/// The arguments, as `remediation.toml` describes them.
#[derive(serde::Deserialize)]
pub struct Arguments {
    pub folder: String,
}

impl Arguments {
    /// The path of a file in the folder.
    pub fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.folder)
    }

    /// Whether the file `mood` names this whim.
    pub fn feels(&self, whim: &str) -> bool {
        files::read_text(self.path("mood")).is_ok_and(|mood| mood.split_whitespace().any(|word| word == whim))
    }
}
