//! Lengths of time in text: a whole number and a unit.

use std::time::Duration;

use countersign_model::text::excerpt;

/// The longest time that can be written: 366 days.
pub const MAX_DURATION: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// The text is no length of time.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a length of time: expected a whole number above zero and `s`, `m`, `h` or `d`, at most `366d`")]
pub struct DurationError(String);

/// Reads `90s`, `10m`, `24h` or `7d`.
///
/// # Errors
/// When it is anything else, zero, or longer than [`MAX_DURATION`].
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let parse = || {
        let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let seconds: u64 = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 60 * 60,
            "d" => 24 * 60 * 60,
            _ => return None,
        };
        // `parse` would take a sign.
        if !number.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let duration = Duration::from_secs(number.parse::<u64>().ok()?.checked_mul(seconds)?);
        (!duration.is_zero() && duration <= MAX_DURATION).then_some(duration)
    };
    parse().ok_or_else(|| DurationError(excerpt(text, 40)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_each_unit() {
        for (text, seconds) in [("90s", 90), ("10m", 600), ("24h", 86_400), ("7d", 604_800), ("366d", 31_622_400)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn refuses_everything_else() {
        for text in ["", "h", "24", "0s", "-1h", "+1h", "1.5h", "1h30m", " 1h", "1 h", "1w", "1H", "367d", "1ü"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert!(parse_duration("99999999999999999999d").is_err());
        assert!(parse_duration("18446744073709551615d").is_err());
    }
}
