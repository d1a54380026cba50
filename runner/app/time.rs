//! Moments and durations as people write and read them.

use std::time::{SystemTime, UNIX_EPOCH};

use countersign_trust::MAX_CONFIRMATION;
pub(crate) use countersign_trust::moment;

/// Pins the clock of a debug build, for tests: milliseconds since 1970-01-01 UTC. A release build does not know it.
#[cfg(debug_assertions)]
const PINNED: &str = "COUNTERSIGN_TEST_NOW";

/// Milliseconds since 1970-01-01 UTC.
pub(crate) fn now() -> u64 {
    // Whoever sets the environment of a runner must not be able to make an expired approval good again.
    #[cfg(debug_assertions)]
    if let Some(pinned) = std::env::var_os(PINNED) {
        // What is no number is as far from any approval's window as can be.
        return pinned.to_str().and_then(|text| text.parse().ok()).unwrap_or(u64::MAX);
    }
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// A span as people say it, to the nearest unit: `3 s`, `12 min`, `5 h`, `2 d`.
pub(crate) fn span(milliseconds: u64) -> String {
    let nearest = |seconds: u64, unit: u64| seconds.saturating_add(unit / 2) / unit;
    match milliseconds / 1000 {
        0 => format!("{milliseconds} ms"),
        seconds @ 1..=119 => format!("{seconds} s"),
        seconds @ 120..=7199 => format!("{} min", nearest(seconds, 60)),
        seconds @ 7200..=172_799 => format!("{} h", nearest(seconds, 3600)),
        seconds => format!("{} d", nearest(seconds, 86_400)),
    }
}

/// Milliseconds from `90s`, `10m`, `1h` or `7d`.
pub(crate) fn parse_duration(text: &str) -> Result<u64, String> {
    let expected = || "expected a whole number from 1 on and `s`, `m`, `h` or `d`, e.g. `1h`".to_owned();
    let unit = text.chars().last().ok_or_else(expected)?;
    let factor = match unit {
        's' => 1000,
        'm' => 60_000,
        'h' => 3_600_000,
        'd' => 86_400_000,
        _ => return Err(expected()),
    };
    let number: u64 = text.strip_suffix(unit).unwrap_or_default().parse().map_err(|_| expected())?;
    number.checked_mul(factor).filter(|milliseconds| *milliseconds > 0).ok_or_else(expected)
}

/// The same, or `0s`.
pub(crate) fn parse_duration_or_none(text: &str) -> Result<u64, String> {
    if text == "0s" { Ok(0) } else { parse_duration(text) }
}

/// A moment, such as `2026-11-01T00:00:00Z`, or how long ago it was, such as `30d`.
pub(crate) fn parse_since(text: &str) -> Result<u64, String> {
    if let Some(moment) = countersign_trust::parse_moment(text) {
        return Ok(moment);
    }
    let ago =
        parse_duration(text).map_err(|_| "expected a moment such as `2026-11-01T00:00:00Z`, or `30d`".to_owned())?;
    Ok(now().saturating_sub(ago))
}

/// The same for how long a run waits for a confirmation.
pub(crate) fn parse_confirmation(text: &str) -> Result<u64, String> {
    let within = parse_duration(text)?;
    let longest =
        || format!("a confirmation is waited for for at most `{}`", countersign_trust::length(MAX_CONFIRMATION));
    if within > MAX_CONFIRMATION { Err(longest()) } else { Ok(within) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_and_spans() {
        assert_eq!(moment(0), "1970-01-01T00:00:00Z");
        assert_eq!(span(45_000), "45 s");
        assert_eq!(span(3_600_000), "60 min");
        assert_eq!(span(7 * 86_400_000 - 1), "7 d", "just now it was a week");
        assert_eq!(span(5 * 3_600_000 - 60_000), "5 h");
        assert_eq!(parse_duration("10m"), Ok(600_000));
        assert_eq!(parse_confirmation("7d"), Ok(MAX_CONFIRMATION));
        assert!(parse_confirmation("169h").is_err_and(|why| why.contains("at most `7d`")));
        for bad in ["", "h", "1", "1.5h", "-1h", "0s", "1w", "99999999999999999d"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }
}
