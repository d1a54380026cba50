//! From a host's name to its addresses.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Instant;

use countersign_model::text::excerpt;
use countersign_model::{Fault, FaultKind};

/// The most addresses of one name that are looked at.
pub(crate) const MAX_ADDRESSES: usize = 16;
/// The most lookups that may be stuck at a time.
const MAX_LOOKUPS: usize = 8;

/// Tells a name's addresses. Asked once for each call; what it says is checked and then connected to.
pub(crate) trait Resolve: Send {
    /// At least one and at most [`MAX_ADDRESSES`] addresses.
    fn resolve(&self, name: &str, deadline: Instant) -> Result<Vec<IpAddr>, Fault>;
}

/// The system's resolver.
pub(crate) struct System;

static LOOKUPS: AtomicUsize = AtomicUsize::new(0);

impl Resolve for System {
    fn resolve(&self, name: &str, deadline: Instant) -> Result<Vec<IpAddr>, Fault> {
        if name == "localhost" {
            // Not a question for a name server (RFC 6761).
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        let owned = name.to_owned();
        let answer = in_time(deadline, move || {
            (owned.as_str(), 0).to_socket_addrs().map(|found| found.take(MAX_ADDRESSES).map(|a| a.ip()).collect())
        })?;
        let shown = excerpt(name, 260);
        let unknown = |why: String| Fault::new(FaultKind::Unreachable, format!("the host `{shown}` {why}"));
        match answer {
            Ok(found) if Vec::is_empty(&found) => Err(unknown("has no address".to_owned())),
            Ok(found) => Ok(found),
            Err(error) => {
                let error = error.to_string();
                Err(unknown(format!("was not resolved: {}", excerpt(&error, 200))))
            }
        }
    }
}

type Answer = io::Result<Vec<IpAddr>>;

/// The system's resolver knows no deadline, so that it is left behind on a thread of its own.
fn in_time(deadline: Instant, lookup: impl FnOnce() -> Answer + Send + 'static) -> Result<Answer, Fault> {
    if LOOKUPS.fetch_add(1, Ordering::SeqCst) >= MAX_LOOKUPS {
        LOOKUPS.fetch_sub(1, Ordering::SeqCst);
        return Err(Fault::new(
            FaultKind::Unreachable,
            format!("{MAX_LOOKUPS} lookups of host names are stuck already"),
        ));
    }
    let (sender, receiver) = mpsc::sync_channel(1);
    let started = std::thread::Builder::new().name("lookup".to_owned()).spawn(move || {
        let _done = Done;
        let _ = sender.send(lookup());
    });
    if let Err(error) = started {
        LOOKUPS.fetch_sub(1, Ordering::SeqCst);
        return Err(Fault::new(FaultKind::Other, format!("no thread for a lookup: {error}")));
    }
    receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())).map_err(|error| match error {
        RecvTimeoutError::Timeout => Fault::new(FaultKind::TimedOut, "the host's name was not resolved in time"),
        RecvTimeoutError::Disconnected => Fault::new(FaultKind::Other, "the lookup of the host's name broke off"),
    })
}

struct Done;

impl Drop for Done {
    fn drop(&mut self) {
        LOOKUPS.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn localhost_needs_no_name_server() {
        let found = System.resolve("localhost", Instant::now()).expect("localhost");
        assert!(found.iter().all(IpAddr::is_loopback) && found.len() == 2);
    }

    #[test]
    fn a_stuck_lookup_ends_in_time_and_stuck_ones_are_bounded() {
        let (release, stuck) = mpsc::channel::<()>();
        let stuck = std::sync::Arc::new(std::sync::Mutex::new(stuck));
        let ask = || {
            let stuck = std::sync::Arc::clone(&stuck);
            in_time(Instant::now() + Duration::from_millis(5), move || {
                let _ = stuck.lock().map(|stuck| stuck.recv());
                Ok(vec![Ipv4Addr::LOCALHOST.into()])
            })
        };
        for _ in 0..MAX_LOOKUPS {
            assert_eq!(ask().expect_err("stuck").kind, FaultKind::TimedOut);
        }
        assert!(ask().expect_err("bounded").what.contains("stuck already"));
        drop(release);
        // Each thread ends by itself, and then there is room again.
        while LOOKUPS.load(Ordering::SeqCst) > 0 {
            std::thread::yield_now();
        }
        assert!(in_time(Instant::now() + Duration::from_secs(10), || Ok(Vec::new())).is_ok());
    }
}
