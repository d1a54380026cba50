//! What the steps of this remediation share.

use std::time::{SystemTime, UNIX_EPOCH};

/// The arguments, as `remediation.toml` describes them.
#[derive(serde::Deserialize)]
pub struct Arguments {
    pub list: String,
}

/// The time, in seconds since 1970. In a step that is the proposal's: a rehearsal and its run see the same.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The address of a line whose time is over.
pub fn expired(line: &str, now: u64) -> Option<&str> {
    let entry = line.split('#').next()?;
    let (address, until) = entry.trim().split_once(char::is_whitespace)?;
    let until: u64 = until.trim().parse().ok()?;
    (until <= now).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_time_that_is_over_expires() {
        for (line, address) in [
            ("192.0.2.1 100", Some("192.0.2.1")),
            ("\t192.0.2.1\t99 # a scanner", Some("192.0.2.1")),
            ("192.0.2.1 101", None),
            ("192.0.2.1 for ever", None),
            ("192.0.2.1", None),
            ("# 192.0.2.1 99", None),
            ("", None),
        ] {
            assert_eq!(expired(line, 100), address, "{line:?}");
        }
    }
}
