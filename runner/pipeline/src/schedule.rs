use std::time::{Duration, Instant};

use countersign_model::Success;

/// One asking of check and guards.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    /// From 1.
    pub(crate) number: u32,
    /// Milliseconds since the fix ended.
    pub(crate) after_ms: u128,
}

/// Asks every `every` until the answer is good, for at most `within`, and then on for `hold`, unless `ended` says why it is over.
///
/// # Errors
/// The last reason, when the answer was never good in time or stopped being good.
pub(crate) fn hold(
    success: Success,
    ended: impl Fn() -> Option<String>,
    mut ask: impl FnMut(Attempt) -> Result<(), String>,
) -> Result<(), String> {
    let begun = Instant::now();
    let every = Duration::from_millis(success.every_ms.max(50));
    let within = Duration::from_millis(success.within_ms);
    let holding = Duration::from_millis(success.hold_ms);
    let mut good_since: Option<Instant> = None;
    let mut number = 0;
    loop {
        if let Some(why) = ended() {
            return Err(why);
        }
        number += 1;
        let asked = Instant::now();
        match (ask(Attempt { number, after_ms: begun.elapsed().as_millis() }), good_since) {
            (Ok(()), None) if holding.is_zero() => return Ok(()),
            (Ok(()), None) => good_since = Some(asked),
            (Ok(()), Some(since)) if since.elapsed() >= holding => return Ok(()),
            (Ok(()), Some(_)) => {}
            (Err(why), Some(since)) => {
                return Err(format!("it held for {} ms and then no longer: {why}", since.elapsed().as_millis()));
            }
            (Err(why), None) if begun.elapsed() + every > within => {
                return Err(format!("{why} (asked {number} times within {} ms)", within.as_millis()));
            }
            (Err(_), None) => {}
        }
        while asked.elapsed() < every && ended().is_none() {
            std::thread::sleep(every.saturating_sub(asked.elapsed()).min(Duration::from_millis(100)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn success(within_ms: u64, every_ms: u64, hold_ms: u64) -> Success {
        Success { within_ms, every_ms, hold_ms, may_pass_before: false }
    }

    #[test]
    fn asks_until_it_is_good() {
        let mut left = 2;
        let result = hold(
            success(60_000, 50, 0),
            || None,
            |_| {
                left -= 1;
                if left == 0 { Ok(()) } else { Err("not yet".to_owned()) }
            },
        );
        assert_eq!((result, left), (Ok(()), 0));
    }

    #[test]
    fn ends_when_it_is_interrupted() {
        let result = hold(success(60_000, 50, 60_000), || Some(countersign_gate::INTERRUPTED.to_owned()), |_| Ok(()));
        assert!(result.is_err_and(|why| why.contains("interrupted")));
    }

    #[test]
    fn gives_up_with_the_last_reason() {
        let result = hold(success(100, 60, 0), || None, |attempt| Err(format!("no {}", attempt.number)));
        assert!(result.is_err_and(|why| why.starts_with("no ") && why.contains("within 100 ms")));
    }

    #[test]
    fn must_go_on_holding() {
        let result = hold(
            success(60_000, 50, 120),
            || None,
            |attempt| if attempt.number < 3 { Ok(()) } else { Err("gone".to_owned()) },
        );
        assert!(result.is_err_and(|why| why.contains("no longer: gone")));
        let mut asked = 0;
        let result = hold(
            success(60_000, 50, 120),
            || None,
            |_| {
                asked += 1;
                Ok(())
            },
        );
        assert_eq!(result, Ok(()));
        assert!(asked >= 3, "{asked}");
    }
}
