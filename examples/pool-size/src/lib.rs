//! What the steps of this remediation share.

use std::ops::Range;

/// The arguments, as `remediation.toml` describes them.
#[derive(serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Arguments {
    pub config: String,
    pub origin: String,
    pub executable: String,
    pub pid_file: String,
    pub pool_size: u32,
}

/// Where the value of `pool-size` stands in a configuration of `key = value` lines.
pub fn pool_size(config: &str) -> Option<Range<usize>> {
    let mut start = 0;
    for line in config.split_inclusive('\n') {
        if let Some((key, value)) = line.split_once('=')
            && key.trim() == "pool-size"
        {
            let value = value.split('#').next().unwrap_or_default();
            let start = start + key.len() + 1 + (value.len() - value.trim_start().len());
            return Some(start..start + value.trim().len());
        }
        start += line.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_value_and_nothing_else() {
        for (config, value) in [
            ("pool-size = 0\n", "0"),
            ("# pool-size = 1\r\n a=b\r\n\tpool-size=  20 \t# four\r\nc", "20"),
            ("pool-size-max = 1\npool-size = ", ""),
        ] {
            assert_eq!(pool_size(config).map(|range| &config[range]), Some(value), "{config:?}");
        }
        assert_eq!(pool_size("#pool-size = 1\npool-size\n"), None);
    }
}
