//! What the steps of this remediation share.

use countersign_sdk::files::Usage;

/// What a log may have for its end to be kept, in bytes: then undo brings it back. What is larger is discarded.
pub const KEPT: u64 = 8 * 1024 * 1024;

/// The arguments, as `remediation.toml` describes them.
#[derive(serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Arguments {
    pub config: String,
    pub directory: String,
    pub most_used: u64,
    pub offender: String,
}

/// The log level, and where in the configuration it stands.
pub fn level(config: &str) -> Option<(&str, usize)> {
    let mut start = 0;
    for line in config.split_inclusive('\n') {
        if let Some(value) = line.strip_prefix("level = ") {
            return Some((value.trim_end(), start + "level = ".len()));
        }
        start += line.len();
    }
    None
}

/// The configuration with the level `info` in place of `debug`, and every other byte as it was.
///
/// # Errors
/// When the level is another: then this is another incident, or it is over.
pub fn quiet(config: &str) -> Result<String, String> {
    let (found, start) = level(config).ok_or("the configuration has no `level`")?;
    if found != "debug" {
        return Err(format!("the level is `{found}`, not `debug`"));
    }
    Ok(format!("{}info{}", &config[..start], &config[start + found.len()..]))
}

/// How much of the room for content is in use, in percent, as df(1) counts it.
pub fn used(usage: &Usage) -> u64 {
    let used = usage.bytes.total - usage.bytes.free;
    let all = used + usage.bytes.available;
    if all == 0 { 100 } else { (used * 100).div_ceil(all) }
}

#[cfg(test)]
mod tests {
    use countersign_sdk::files::Space;

    use super::*;

    #[test]
    fn sets_the_level_and_nothing_else() {
        assert_eq!(quiet("a = 1\r\nlevel = debug\r\nb = debug"), Ok("a = 1\r\nlevel = info\r\nb = debug".to_owned()));
        assert!(quiet("level = warn\n").is_err_and(|why| why.contains("`warn`")));
        assert!(quiet("a = 1\n").is_err());
    }

    #[test]
    fn counts_what_is_reserved_as_neither() {
        let space = |total, free, available| Space { total, free, available };
        let usage = |bytes| Usage { bytes, inodes: space(0, 0, 0) };
        assert_eq!(used(&usage(space(100, 10, 0))), 100);
        assert_eq!(used(&usage(space(100, 50, 50))), 50);
        assert_eq!(used(&usage(space(0, 0, 0))), 100);
    }
}
