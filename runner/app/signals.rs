//! Ctrl-C and its like while a run is under way: it is rolled back, and whoever insists is told how far that is.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use anyhow::Context;
use countersign_pipeline::UnderWay;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

const ENDING: [(i32, &str); 4] = [(SIGINT, "SIGINT"), (SIGTERM, "SIGTERM"), (SIGHUP, "SIGHUP"), (SIGQUIT, "SIGQUIT")];

/// Set where a run is under way that somebody wants to end.
static WANTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// From now on, what asks this process to end rolls its run back, and nothing but SIGKILL ends it half way.
pub(crate) fn roll_back(interrupted: &Arc<AtomicBool>, under_way: &Arc<UnderWay>) -> anyhow::Result<()> {
    if WANTED.set(Arc::clone(interrupted)).is_err() {
        return Ok(());
    }
    let ignored = ignored();
    // Who starts a program to go on without its terminal, as `nohup` does, has it ignore what tells of its end.
    let stays = |signal: i32| signal != SIGTERM && ignored.is_some_and(|ignored| ignores(ignored, signal));
    let ending: Vec<i32> = ENDING.map(|(signal, _)| signal).into_iter().filter(|signal| !stays(*signal)).collect();
    for signal in &ending {
        // Set at once; what is said of it may come later.
        signal_hook::flag::register(*signal, Arc::clone(interrupted)).context("signals cannot be caught")?;
    }
    let mut signals = Signals::new(ending).context("signals cannot be caught")?;
    let under_way = Arc::clone(under_way);
    let tell = move || {
        for (times, signal) in signals.forever().enumerate() {
            let name = ENDING.iter().find(|(known, _)| *known == signal).map_or("a signal", |(_, name)| name);
            let says = under_way.describe(times > 0, std::process::id());
            crate::output::complain(format_args!("{name}: {says}"));
        }
    };
    std::thread::Builder::new()
        .name("countersign-signals".to_owned())
        .spawn(tell)
        .context("signals cannot be told of")?;
    Ok(())
}

/// Has the kernel keep how a child ended until this process asks. Whoever starts a program may have it ignore SIGCHLD, and then
/// nothing is kept: a command of the operator's that went well would be lost, and a number that is to be ended may be
/// somebody else's by then.
pub(crate) fn keep_children() -> anyhow::Result<()> {
    let child = signal_hook::consts::SIGCHLD;
    // Where it cannot be told, too. What it is caught by does nothing.
    if ignored().is_none_or(|ignored| ignores(ignored, child)) {
        signal_hook::flag::register(child, Arc::default()).context("the ends of children cannot be heard of")?;
    }
    Ok(())
}

/// The signals that this process ignores, a bit each; none where it cannot be told.
fn ignored() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok())
}

const fn ignores(ignored: u64, signal: i32) -> bool {
    ignored & (1 << (signal - 1)) != 0
}

/// Whoever read what the run says has ended, as a terminal that was closed: that asks it to end, as SIGHUP does.
pub(crate) fn unread() {
    if let Some(wanted) = WANTED.get() {
        wanted.store(true, Ordering::Relaxed);
    }
}
