//! What a row of the table of bad input asserts, and what it is made with.

#![allow(unreachable_pub, reason = "as in the tests' other support")]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::Ran;
use crate::support::place::Place;

/// A moment in 2033, for tests that pin the clock: later than any real one.
pub const NOON: u64 = 2_000_000_000_000;

/// What a row of the table asserts.
pub trait Row {
    /// The exit code, the message, and that something is said of what to do next.
    fn row(self, code: i32, says: &str) -> Self;
}

impl Row for Ran {
    #[track_caller]
    fn row(self, code: i32, says: &str) -> Self {
        let ran = self.expect(code).says(says);
        assert!(ran.stderr.contains("hint: "), "it does not say what to do: {}", ran.stderr);
        ran
    }
}

/// The most memory that refusing bad input may take, in KiB.
const MEMORY: u64 = 192 * 1024;

/// Runs a command and insists that it took little time and memory, however much it was given.
#[track_caller]
pub fn modest(command: &mut Command) -> Ran {
    let begun = Instant::now();
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let status = format!("/proc/{}/status", child.id());
    let (ended, end) = std::sync::mpsc::channel();
    let watch = std::thread::spawn(move || {
        let mut peak = 0;
        while end.try_recv().is_err() {
            let text = fs::read_to_string(&status).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let size = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok());
            peak = peak.max(size.unwrap_or(0));
            std::thread::sleep(Duration::from_millis(1));
        }
        peak
    });
    let output = child.wait_with_output().expect("it ends");
    let _ = ended.send(());
    let peak: u64 = watch.join().expect("it was watched");
    let ran = Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).expect("stdout is UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("stderr is UTF-8"),
    };
    assert!(peak < MEMORY, "it took {peak} KiB: {}", ran.stderr);
    assert!(begun.elapsed() < Duration::from_secs(20), "it took {:?}: {}", begun.elapsed(), ran.stderr);
    ran
}

/// A file of 1 GiB that takes no room.
pub fn huge(path: &Path) {
    fs::File::create(path).and_then(|file| file.set_len(1 << 30)).expect("a sparse file can be made");
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A place whose trust policy was made on that day, and is good for nearly three years.
pub fn at_noon() -> Place {
    let place = Place::new();
    place.state.policy(|policy| {
        let line = |line: &str| match line.split_once(" = ") {
            Some(("issued", _)) => "issued = \"2033-05-18T00:00:00Z\"".to_owned(),
            Some(("expires", _)) => "expires = \"2036-05-01T00:00:00Z\"".to_owned(),
            _ => line.to_owned(),
        };
        policy.lines().map(|text| line(text) + "\n").collect()
    });
    place
}
