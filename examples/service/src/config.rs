//! The configuration: `key = value` lines, with `#` for comments.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// The most workers that a pool may have.
const MAX_POOL: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Read at the start only.
    pub listen: SocketAddr,
    /// How many orders are taken at a time.
    pub pool_size: usize,
    /// How long an order waits for its turn.
    pub timeout: Duration,
}

impl Config {
    /// Reads and checks a configuration file.
    pub fn load(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("`{}`: {error}", path.display()))?;
        Self::parse(&text)
    }

    /// Every key must be there, once, and no other.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (mut listen, mut pool_size, mut timeout) = (None, None, None);
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let (key, value) = line.split_once('=').ok_or_else(|| format!("line {number}: expected `key = value`"))?;
            let place = match key.trim() {
                "listen" => &mut listen,
                "pool-size" => &mut pool_size,
                "timeout-ms" => &mut timeout,
                key => return Err(format!("line {number}: `{key}` is not known")),
            };
            if place.replace(value.trim()).is_some() {
                return Err(format!("line {number}: `{}` stands twice", key.trim()));
            }
        }
        let listen = listen.ok_or("`listen` is missing")?;
        let address = listen.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        let pool_size = number("pool-size", pool_size)?;
        if pool_size > MAX_POOL as u64 {
            return Err(format!("pool-size: `{pool_size}` is more than {MAX_POOL}"));
        }
        Ok(Self {
            listen: address
                .and_then(|address| address.parse().ok())
                .ok_or_else(|| format!("listen: expected an address and port in quotes, found `{listen}`"))?,
            pool_size: pool_size as usize,
            timeout: Duration::from_millis(number("timeout-ms", timeout)?.min(60_000)),
        })
    }
}

fn number(key: &str, value: Option<&str>) -> Result<u64, String> {
    let value = value.ok_or_else(|| format!("`{key}` is missing"))?;
    value.parse().map_err(|_| format!("{key}: expected a number, found `{value}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_a_configuration() {
        let config = Config::parse(include_str!("../orders.toml")).expect("a configuration");
        assert_eq!((config.pool_size, config.timeout), (8, Duration::from_millis(500)));
    }

    #[test]
    fn refuses_with_a_reason() {
        let good = "listen = \"127.0.0.1:0\"\npool-size = 1\ntimeout-ms = 1\n";
        assert!(Config::parse(good).is_ok());
        for (from, to, why) in [
            ("pool-size = 1", "pool-size = 65", "more than 64"),
            ("pool-size = 1", "pool-size = many", "expected a number"),
            ("pool-size = 1", "pool-size = -1", "expected a number"),
            ("pool-size = 1", "", "`pool-size` is missing"),
            ("pool-size = 1", "pool-size = 1\npool-size = 2", "line 3: `pool-size` stands twice"),
            ("pool-size = 1", "pool-size", "line 2: expected `key = value`"),
            ("timeout-ms", "timeout", "line 3: `timeout` is not known"),
            ("\"127.0.0.1:0\"", "here", "expected an address"),
        ] {
            let error = Config::parse(&good.replace(from, to)).expect_err(why);
            assert!(error.contains(why), "{error}");
        }
    }
}
