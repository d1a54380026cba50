//! The quick starts in `docs/` are walked: every command after a `$` in their console blocks is typed, in order, in
//! one shell, and must print what stands below it. A line `…` stands for any lines.
//!
//! `make pages` writes what the commands print now; where one `…` stood it keeps as many lines before and after it.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use tempfile::TempDir;

use support::normal::{Normal, Style};
use support::{bundle, root, service_executable};

/// 2026-01-05T08:00:00Z; every command takes a minute.
const BEGIN: u64 = 1_767_600_000_000;

/// Set, the pages are written anew.
const WRITE: &str = "COUNTERSIGN_WRITE_PAGES";

/// One command of a page and what stands below it.
struct Step {
    /// As the shell gets it.
    command: String,
    /// The numbers of the lines of what it prints: the first, and the one behind the last.
    output: (usize, usize),
}

fn steps(lines: &[&str]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut inside = false;
    let mut continued = false;
    for (at, line) in lines.iter().enumerate() {
        if let Some(language) = line.strip_prefix("```") {
            inside = !inside && language == "console";
            continued = false;
            continue;
        }
        if !inside {
            continue;
        }
        match (line.strip_prefix("$ "), line.strip_prefix("> ").or((*line == ">").then_some("")), steps.last_mut()) {
            (Some(command), _, _) => {
                steps.push(Step { command: command.to_owned(), output: (at + 1, at + 1) });
                continued = true;
            }
            (None, Some(more), Some(step)) if continued => {
                step.command = format!("{}\n{more}", step.command);
                step.output = (at + 1, at + 1);
            }
            (None, _, Some(step)) => {
                step.output.1 = at + 1;
                continued = false;
            }
            _ => panic!("a console block begins with a command, not with `{line}`"),
        }
    }
    assert!(!steps.is_empty(), "the page has no console block");
    steps
}

/// A shell that types what it is told, and a home of its own.
struct Walk {
    shell: Child,
    typing: ChildStdin,
    printed: BufReader<ChildStdout>,
    normal: Normal,
    home: TempDir,
    minutes: u64,
}

impl Walk {
    fn new() -> Self {
        let home = tempfile::Builder::new().prefix("countersign-").rand_bytes(6).tempdir_in("/tmp").expect("a home");
        let bin = home.path().join("bin");
        fs::create_dir(&bin).expect("a folder for the binary");
        symlink(env!("CARGO_BIN_EXE_countersign"), bin.join("countersign")).expect("it can be linked");
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("bash");
        command.current_dir(root()).env("HOME", home.path()).env("PATH", format!("{}:{path}", bin.display()));
        command.env("COUNTERSIGN_BUILT", support::built()).env("CARGO_TARGET_DIR", support::steps());
        // The toolchain's own places must not be looked for in the new home.
        for (variable, folder) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
            if let (None, Some(home)) = (std::env::var_os(variable), std::env::var_os("HOME")) {
                command.env(variable, Path::new(&home).join(folder));
            }
        }
        for variable in ["COUNTERSIGN_STATE", "COUNTERSIGN_CONFIG", "RUST_LOG", "COLUMNS", "SSH_AUTH_SOCK"] {
            command.env_remove(variable);
        }
        let mut shell = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("bash starts");
        let mut typing = shell.stdin.take().expect("its stdin");
        let printed = BufReader::new(shell.stdout.take().expect("its stdout"));
        writeln!(typing, "exec 2>&1").expect("the shell reads");
        let mut normal = Normal::new(Style::Lifelike);
        normal.know(home.path().to_str().expect("UTF-8"), "/home/you");
        normal.know(root().to_str().expect("UTF-8"), "/home/you/countersign");
        Self { shell, typing, printed, normal, home, minutes: 0 }
    }

    /// What the command prints, as it always does, with its exit code where that is not 0.
    fn step(&mut self, command: &str) -> String {
        let now = BEGIN + self.minutes * 60_000;
        self.minutes += 1;
        // The page names what it was told as it stands there.
        let command = self.normal.back(command);
        let code = r#"code=$?; [ $code = 0 ] || echo "(exit code $code)"; printf '\001'"#;
        write!(self.typing, "export COUNTERSIGN_TEST_NOW={now}\n{{ {command}\n}} </dev/null\n{code}\n")
            .expect("the shell reads");
        let mut bytes = Vec::new();
        self.printed.read_until(1, &mut bytes).expect("the shell prints");
        assert_eq!(bytes.pop(), Some(1), "the shell ended at `{command}`: {}", String::from_utf8_lossy(&bytes));
        let text = String::from_utf8(bytes).expect("it prints text");
        for (before, after, by) in [("answers at http://", ",", "127.0.0.1:8080"), ("stop it:   kill ", "\n", "4711")] {
            let found = text.split_once(before).and_then(|(_, rest)| rest.split_once(after));
            if let Some((found, _)) = found.filter(|_| command.contains("practice.sh")) {
                for state in ["in state R", "in state S"] {
                    self.normal.know(format!("process {found}, {state}"), format!("process {by}, in state S"));
                }
                let whole = if by == "4711" { "kill " } else { "" };
                self.normal.know(format!("{whole}{found}"), format!("{whole}{by}"));
            }
        }
        self.normal.of(&text).trim_end().to_owned()
    }
}

impl Drop for Walk {
    fn drop(&mut self) {
        // A walk that ended early leaves its service behind.
        for entry in fs::read_dir(self.home.path()).into_iter().flatten().flatten() {
            let file = fs::read_to_string(entry.path().join("orders/orders.pid"));
            let pid = file.ok().and_then(|text| text.trim().parse().ok()).and_then(rustix::process::Pid::from_raw);
            if let Some(pid) = pid {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            }
        }
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

/// Whether the output is what stands on the page, where `…` stands for any lines.
fn fits(page: &[&str], output: &[&str]) -> bool {
    match page.split_first() {
        None => output.is_empty(),
        Some((&"…", rest)) => (0..=output.len()).any(|skipped| fits(rest, &output[skipped..])),
        Some((line, rest)) => {
            output.split_first().is_some_and(|(first, more)| line.trim_end() == first.trim_end() && fits(rest, more))
        }
    }
}

/// What the page shall say: as much of the output as it showed.
fn shown<'a>(page: &[&str], output: &[&'a str]) -> Vec<&'a str> {
    let gaps: Vec<_> = page.iter().enumerate().filter(|(_, line)| **line == "…").map(|(at, _)| at).collect();
    match gaps.as_slice() {
        [gap] if output.len() > page.len() => {
            let tail = page.len() - gap - 1;
            let mut lines = output[..*gap].to_vec();
            lines.push("…");
            lines.extend(&output[output.len() - tail..]);
            lines
        }
        _ => output.to_vec(),
    }
}

fn page(path: &str) {
    let path = root().join("docs/quick-start").join(path);
    let text = fs::read_to_string(&path).expect("the page is there");
    let lines: Vec<&str> = text.lines().collect();
    let steps = steps(&lines);
    if text.contains("practice.sh") {
        bundle("pool-size");
        bundle("pool-size-twin");
        service_executable();
    }
    // The steps of every project have the same names.
    let _lock = text.contains("$ countersign build").then(support::build_lock);
    let mut walk = Walk::new();
    let outputs: Vec<String> = steps.iter().map(|step| walk.step(&step.command)).collect();
    let mut fresh: Vec<&str> = Vec::new();
    let mut kept = 0;
    let mut wrong = Vec::new();
    for (step, output) in steps.iter().zip(&outputs) {
        let (begin, end) = step.output;
        fresh.extend(&lines[kept..begin]);
        kept = end;
        let (said, printed) = (&lines[begin..end], output.lines().collect::<Vec<_>>());
        if fits(said, &printed) {
            fresh.extend(said);
        } else {
            fresh.extend(shown(said, &printed));
            wrong.push(format!("line {begin}: $ {}\nsays:\n{}\nprints:\n{output}", step.command, said.join("\n")));
        }
    }
    fresh.extend(&lines[kept..]);
    if wrong.is_empty() {
        return;
    }
    assert!(std::env::var_os(WRITE).is_some(), "{} (`make pages` writes it):\n{}", path.display(), wrong.join("\n\n"));
    fs::write(&path, format!("{}\n", fresh.join("\n"))).expect("the page can be written");
}

#[test]
fn agent() {
    page("agent.md");
}

#[test]
fn approver() {
    page("approver.md");
}

#[test]
fn operator() {
    page("operator.md");
}

#[test]
fn capability_author() {
    page("capability-author.md");
}
