//! Times and names as messages show them.

/// A time in milliseconds since 1970-01-01 UTC, as people write it.
#[must_use]
pub fn time(milliseconds: u64) -> String {
    i64::try_from(milliseconds)
        .ok()
        .and_then(|milliseconds| jiff::Timestamp::from_millisecond(milliseconds).ok())
        .map_or_else(|| format!("{milliseconds} ms"), |time| time.to_string())
}

/// The same to the second, e.g. `2026-11-23T08:00:00Z`.
#[must_use]
pub fn moment(milliseconds: u64) -> String {
    time(milliseconds / 1000 * 1000)
}

/// Reads what [`moment`] writes, and nothing else: one moment has one spelling.
#[must_use]
pub fn parse_moment(text: &str) -> Option<u64> {
    let parsed: jiff::Timestamp = text.parse().ok()?;
    let milliseconds = u64::try_from(parsed.as_millisecond()).ok()?;
    (moment(milliseconds) == text).then_some(milliseconds)
}

/// A length of time in whole units where it has them, e.g. `10m`.
#[must_use]
pub fn length(milliseconds: u64) -> String {
    for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)] {
        if milliseconds >= size && milliseconds.is_multiple_of(size) {
            return format!("{}{unit}", milliseconds / size);
        }
    }
    format!("{milliseconds}ms")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_times() {
        assert_eq!(time(0), "1970-01-01T00:00:00Z");
        assert_eq!(moment(1999), "1970-01-01T00:00:01Z");
        for text in ["1970-01-01T00:00:01Z", "2026-11-26T05:00:00Z"] {
            assert_eq!(parse_moment(text).map(moment).as_deref(), Some(text));
        }
        for text in [
            "",
            "2026-11-26",
            "2026-11-26T05:00:00",
            "2026-11-26T05:00:00.5Z",
            "2026-11-26T06:00:00+01:00",
            "1969-12-31T00:00:00Z",
        ] {
            assert_eq!(parse_moment(text), None, "{text}");
        }
        assert_eq!(time(u64::MAX), "18446744073709551615 ms");
        assert_eq!(length(86_400_000), "1d");
        assert_eq!(length(5_400_000), "90m");
        assert_eq!(length(1), "1ms");
    }
}
