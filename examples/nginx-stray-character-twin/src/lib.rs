//! What the steps of this remediation share.

/// The arguments, as `remediation.toml` describes them.
#[derive(serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Arguments {
    pub config: String,
    pub error_log: String,
    pub executable: String,
    pub line: usize,
    pub origin: String,
    pub pid_file: String,
    pub stray: String,
}

/// The text of a line, counted from 1, and where it stands.
pub fn line(config: &str, number: usize) -> Option<(&str, usize)> {
    let mut start = 0;
    for (count, line) in (1..).zip(config.split_inclusive('\n')) {
        if count == number {
            return Some((line.trim_end_matches(['\r', '\n']), start));
        }
        start += line.len();
    }
    None
}
