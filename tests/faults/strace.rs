//! Faults in system calls, by `strace`: it counts those of each thread, and kills or fails the one that is named.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
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
    "open",
    "openat",
];

/// What is done to a call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// The process is killed in its place.
    Kill,
    /// It fails with this error.
    Error(&'static str),
    /// It writes nothing, and says so.
    Nothing,
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

/// One call of a name, on whichever thread makes so many first.
#[derive(Clone, Debug)]
pub(crate) struct Point {
    nth: u32,
    /// Where only those of this file are counted.
    path: Option<String>,
}

impl Point {
    pub(crate) const fn nth(nth: u32) -> Self {
        Self { nth, path: None }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            None => write!(f, "{}", self.nth),
            Some(path) => write!(f, "{} of `{path}`", self.nth),
        }
    }
}

/// Which of each of these calls a command makes to change something, on whichever of its threads, counted from 1 on each;
/// and what the command came to. What other processes do that it starts is not among them.
pub(crate) fn points(command: &Command, calls: &[&str], log: &Path) -> (BTreeMap<String, Vec<Point>>, Ran) {
    let traced = [calls, &["clone", "clone3"]].concat().join(",");
    let options = [format!("-o{}", log.display()), "-e".to_owned(), format!("trace={traced}")];
    let ran = Ran::of(strace(command, &options));
    let text = std::fs::read_to_string(log).expect("strace wrote its log");
    // The thread's number, then the call.
    let lines: Vec<_> = text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(thread, line)| (thread, line.trim_start()))
        .collect();
    let threads = threads(&lines);
    // Most files are only opened to be read, and a loader looks for its libraries in many places.
    let changes = |line: &str| !line.starts_with("open") || line.contains("O_CREAT");
    // strace counts the calls of each thread, and whichever makes its n-th first is the one that is met.
    let (mut made, mut met) = (BTreeMap::<(&str, &str, &str), u32>::new(), BTreeMap::<(&str, &str, u32), &str>::new());
    let (mut points, mut missed) = (BTreeMap::<String, Vec<Point>>::new(), Vec::new());
    for (thread, line) in lines.iter().filter(|(thread, _)| threads.contains(thread)) {
        let call = line.split('(').next().unwrap_or_default();
        let Some(call) = calls.iter().find(|known| **known == call) else { continue };
        // Else by its file, where it is opened by the whole of its path.
        let path = line.split('"').nth(1).filter(|path| *call == "openat" && path.starts_with('/')).unwrap_or_default();
        let [plain, of_path] = ["any", path].map(|path| {
            let nth = made.entry((thread, call, path)).or_default();
            *nth += 1;
            (*met.entry((call, path, *nth)).or_insert(thread) == *thread).then_some(*nth)
        });
        let path = (!path.is_empty()).then(|| path.to_owned());
        let point = match (plain, of_path, path) {
            (Some(nth), ..) => Some(Point::nth(nth)),
            (None, Some(nth), Some(path)) => Some(Point { nth, path: Some(path) }),
            _ => None,
        };
        match point {
            _ if !changes(line) => {}
            Some(point) => points.entry((*call).to_owned()).or_default().push(point),
            None => missed.push(*line),
        }
    }
    assert!(missed.is_empty(), "no fault meets these calls, since another thread makes as many before: {missed:?}");
    (points, ran)
}

/// The threads of the process that comes first.
fn threads<'a>(lines: &[(&'a str, &'a str)]) -> BTreeSet<&'a str> {
    let mut threads: BTreeSet<&str> = lines.first().map(|(thread, _)| *thread).into_iter().collect();
    let mut begun = BTreeSet::new();
    for (thread, line) in lines.iter().filter(|(_, line)| line.contains("clone")) {
        if line.contains("CLONE_THREAD") && threads.contains(thread) {
            begun.insert(*thread);
        } else if !line.contains("resumed>") {
            begun.remove(thread);
        }
        // The answer is the new one's number, here or where the call is resumed.
        let answer = line.rsplit_once(" = ").map(|(_, answer)| answer.trim());
        if let (Some(answer), true) = (answer, begun.contains(thread) && !line.contains("<unfinished")) {
            threads.insert(answer);
            begun.remove(thread);
        }
    }
    threads
}

/// All that the threads of a command did by these calls, one line each, in order, with every text in hexadecimal digits and
/// every descriptor with its path; and what the command came to.
pub(crate) fn story(command: &Command, calls: &[&str], log: &Path) -> (Vec<String>, Ran) {
    let traced = [calls, &["clone", "clone3"]].concat().join(",");
    let options = ["-y", "-xx", "-s16777216"].map(str::to_owned);
    let options =
        [&options[..], &[format!("-o{}", log.display()), "-e".to_owned(), format!("trace={traced}")]].concat();
    let ran = Ran::of(strace(command, &options));
    let text = std::fs::read_to_string(log).expect("strace wrote its log");
    let lines: Vec<_> = text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(thread, line)| (thread, line.trim_start()))
        .collect();
    let threads = threads(&lines);
    let (mut begun, mut story) = (BTreeMap::<&str, &str>::new(), Vec::new());
    for (thread, line) in lines.iter().filter(|(thread, _)| threads.contains(thread)) {
        if let Some(beginning) = line.strip_suffix(" <unfinished ...>") {
            begun.insert(thread, beginning);
        } else if let Some((_, end)) = line.split_once(" resumed>") {
            story.push(format!("{}{end}", begun.remove(thread).unwrap_or_default()));
        } else {
            story.push((*line).to_owned());
        }
    }
    (story, ran)
}

/// How many of a command's writes came back with less than they were to write, and what the command came to.
pub(crate) fn short_writes(command: &Command, log: &Path) -> (usize, Ran) {
    let options = [format!("-o{}", log.display()), "-e".to_owned(), "trace=pwrite64".to_owned()];
    let ran = Ran::of(strace(command, &options));
    let text = std::fs::read_to_string(log).expect("strace wrote its log");
    let short = |line: &&str| {
        // `pwrite64(7, "..."..., 4096, 12392) = 72`
        let (call, answer) = line.rsplit_once(" = ")?;
        let asked: i64 = call.trim_end().strip_suffix(')')?.rsplit(", ").nth(1)?.parse().ok()?;
        (0..asked).contains(&answer.parse().ok()?).then_some(())
    };
    (text.lines().filter(|line| short(line).is_some()).count(), ran)
}

/// Runs a command with one fault. Gives what it came to; one that was killed has the code -1.
pub(crate) fn inject(command: &Command, call: &str, point: &Point, fault: Fault) -> Ran {
    let what = match fault {
        Fault::Kill => "signal=KILL".to_owned(),
        Fault::Error(error) => format!("error={error}"),
        Fault::Nothing => "retval=0".to_owned(),
    };
    let Point { nth, path } = point;
    let mut options = vec![
        "-o/dev/null".to_owned(),
        "-e".to_owned(),
        format!("trace={call}"),
        "-e".to_owned(),
        format!("inject={call}:{what}:when={nth}"),
    ];
    options.extend(path.iter().map(|path| format!("-P{path}")));
    Ran::of(strace(command, &options))
}
