//! How much memory another process had at most.

use std::process::{Child, Command};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Runs a command to its end, which must be a good one: how long it took, the most memory that it had, in KiB resident, and
/// the process, which has ended.
pub fn of(mut command: Command) -> (Duration, u64, Child) {
    let begun = Instant::now();
    let mut child = command.spawn().expect("it starts");
    let watch = watch(child.id());
    let status = child.wait().expect("it ends");
    let time = begun.elapsed();
    assert!(status.success(), "{command:?} failed");
    (time, watch.join().expect("watched"), child)
}

/// The high-water mark of a process's resident memory, in KiB, looked at every few milliseconds until it ends. (What
/// wait4(2) says is no use: it begins with the memory of the process that forked.)
fn watch(pid: u32) -> JoinHandle<u64> {
    std::thread::spawn(move || {
        let mut peak = 0;
        // A process that has ended has a status still, but no memory.
        while let Some(now) = high_water(pid) {
            peak = now.max(peak);
            std::thread::sleep(Duration::from_millis(2));
        }
        peak
    })
}

fn high_water(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}
