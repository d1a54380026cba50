//! Faults in system calls, by `strace`: it counts those of each thread, and kills or fails the one that is named.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::Ran;

/// The calls that change something, on a disk or in another process.
pub(crate) const MUTATING: &[&str] = &[
    "write",
    "pwrite64",
    "fsync",
    "fdatasync",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "mkdir",
    "mkdirat",
    "ftruncate",
    "fallocate",
    "fchmod",
    "chmod",
    "fchmodat",
    "fchown",
    "fchownat",
    "fsetxattr",
    "utimensat",
    "kill",
    "pidfd_send_signal",
    "flock",
    "openat",
];

/// What is done to a call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// The process is killed in its place.
    Kill,
    /// It fails with this error.
    Error(&'static str),
}

/// A command under strace.
fn strace(command: &Command, options: &[String]) -> Command {
    let mut traced = Command::new("strace");
    traced.args(["-f", "-qq", "-e", "signal=none"]).args(options).arg("--").arg(command.get_program());
    traced.args(command.get_args()).stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => traced.env(name, value),
            None => traced.env_remove(name),
        };
    }
    traced
}

/// Which of each of these calls the busiest thread of a command makes to change something, counted from 1; and what the
/// command came to.
pub(crate) fn points(command: &Command, calls: &[&str], log: &Path) -> (BTreeMap<String, Vec<u32>>, Ran) {
    let options = [format!("-o{}", log.display()), "-e".to_owned(), format!("trace={}", calls.join(","))];
    let ran = Ran::of(strace(command, &options));
    let text = std::fs::read_to_string(log).expect("strace wrote its log");
    // The thread's number, then the call.
    let lines: Vec<_> = text.lines().filter_map(|line| line.split_once(' ')).collect();
    // Most files are only opened to be read, and a loader looks for its libraries in many places.
    let changes = |line: &str| !line.trim_start().starts_with("openat(") || line.contains("O_CREAT");
    let mut made: BTreeMap<&str, usize> = BTreeMap::new();
    let changing = lines.iter().filter(|(_, line)| changes(line));
    changing.for_each(|(thread, _)| *made.entry(thread).or_default() += 1);
    let busiest = made.into_iter().max_by_key(|(_, made)| *made).map(|(thread, _)| thread);
    let (mut nth, mut points) = (BTreeMap::<&str, u32>::new(), BTreeMap::<String, Vec<u32>>::new());
    for (_, line) in lines.into_iter().filter(|(thread, _)| Some(*thread) == busiest) {
        let call = line.trim_start().split('(').next().unwrap_or_default();
        let Some(call) = calls.iter().find(|known| **known == call) else { continue };
        let nth = nth.entry(call).or_default();
        *nth += 1;
        if changes(line) {
            points.entry((*call).to_owned()).or_default().push(*nth);
        }
    }
    (points, ran)
}

/// Runs a command with one fault. Gives what it came to; one that was killed has the code -1.
pub(crate) fn inject(command: &Command, call: &str, nth: u32, fault: Fault) -> Ran {
    let what = match fault {
        Fault::Kill => "signal=KILL".to_owned(),
        Fault::Error(error) => format!("error={error}"),
    };
    let options = [
        "-o/dev/null".to_owned(),
        "-e".to_owned(),
        format!("trace={call}"),
        "-e".to_owned(),
        format!("inject={call}:{what}:when={nth}"),
    ];
    Ran::of(strace(command, &options))
}
