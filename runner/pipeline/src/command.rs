use std::io::{Read, Seek, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use countersign_model::text::excerpt;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

/// How much of a command's output is kept, in bytes.
const MAX_OUTPUT: u64 = 16 * 1024;

/// For how long a command may still be there once it was killed.
const UNKILLED: Duration = Duration::from_secs(5);

/// Whether what a command prints is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Printed {
    /// Its end.
    Told,
    /// Not: it may quote what is sensitive.
    Withheld,
}

/// Runs an operator-named command without a shell, with an empty environment but for `PATH`, this input,
/// and its own process group, which is killed when the time is up.
///
/// # Errors
/// A sentence fragment: it did not start, took too long, or exited with another code than 0, with the
/// end of what it printed, made visible, unless that is withheld.
pub(crate) fn run(command: &[String], time: Duration, printed: Printed, input: &[u8]) -> Result<(), String> {
    let (program, arguments) = command.split_first().ok_or("the command is empty")?;
    let failed = |what: &str, error: std::io::Error| format!("`{program}` {what}: {error}");
    // One file takes both streams: a pipe that nobody drains could hang the command.
    let output = tempfile::tempfile().map_err(|error| failed("could not be given a place for its output", error))?;
    let stream = || output.try_clone().map(Stdio::from).map_err(|error| failed("did not start", error));
    let given = match input {
        [] => Stdio::null(),
        // A file too: one that reads nothing is not waited for.
        input => file_of(input).map_err(|error| failed("could not be given its input", error))?.into(),
    };
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .current_dir("/")
        .stdin(given)
        .stdout(stream()?)
        .stderr(stream()?)
        .process_group(0)
        .spawn()
        .map_err(|error| failed("did not start", error))?;
    let ended = wait(&mut child, time);
    if !matches!(ended, Ok(true)) {
        let group = Pid::from_child(&child);
        let _ = kill_process_group(group, Signal::KILL);
        // The kernel may hold it, as it does where a network mount hangs. It only looks, so nothing waits for it.
        if !matches!(wait(&mut child, UNKILLED), Ok(true)) {
            return Err(format!("`{program}` took longer than {} s, and cannot be ended", time.as_secs()));
        }
    }
    let status = child.wait().map_err(|error| failed("was lost", error))?;
    if !ended.map_err(|error| failed("was lost", error))? {
        return Err(format!("`{program}` took longer than {} s", time.as_secs()));
    }
    if status.success() {
        return Ok(());
    }
    let said = match printed {
        Printed::Told => tail(output).unwrap_or_default(),
        Printed::Withheld => "what it printed is withheld, since what is sensitive was changed".to_owned(),
    };
    let ending =
        status.code().map_or_else(|| "was killed by a signal".to_owned(), |code| format!("exited with {code}"));
    // On one line, so that a command cannot print what looks like the runner's own.
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let said = excerpt(&lines.join(" / "), 600);
    Err(if said.is_empty() { format!("`{program}` {ending}") } else { format!("`{program}` {ending}: {said}") })
}

/// A file of no name that begins with these bytes.
fn file_of(bytes: &[u8]) -> std::io::Result<std::fs::File> {
    let mut file = tempfile::tempfile()?;
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}

/// Waits for the child's end through its pidfd; false when the time was up first.
fn wait(child: &mut Child, time: Duration) -> std::io::Result<bool> {
    let end = Instant::now() + time;
    let pidfd = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).map_err(|_| std::io::ErrorKind::InvalidInput)?;
        let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn tail(mut output: std::fs::File) -> std::io::Result<String> {
    use std::io::SeekFrom;
    let size = output.seek(SeekFrom::End(0))?;
    output.seek(SeekFrom::Start(size.saturating_sub(MAX_OUTPUT)))?;
    let mut bytes = Vec::new();
    output.take(MAX_OUTPUT).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Vec<String> {
        ["/bin/sh", "-c", script].map(str::to_owned).to_vec()
    }

    fn told(command: &[String], time: Duration) -> Result<(), String> {
        run(command, time, Printed::Told, b"")
    }

    #[test]
    fn tells_how_a_command_ended() {
        let time = Duration::from_secs(20);
        assert_eq!(told(&sh("exit 0"), time), Ok(()));
        assert_eq!(
            told(&sh("echo no; echo way >&2; exit 3"), time),
            Err("`/bin/sh` exited with 3: no / way".to_owned())
        );
        assert_eq!(told(&sh("kill -9 $$"), time), Err("`/bin/sh` was killed by a signal".to_owned()));
        assert!(told(&["/nowhere".to_owned()], time).is_err_and(|why| why.contains("did not start")));
    }

    #[test]
    fn what_it_printed_can_be_withheld() {
        let error =
            run(&sh("echo hunter2; exit 3"), Duration::from_secs(20), Printed::Withheld, b"").expect_err("it failed");
        assert!(error.starts_with("`/bin/sh` exited with 3: what it printed is withheld"), "{error}");
        assert!(!error.contains("hunter2"));
    }

    #[test]
    fn reads_what_it_is_given_and_nothing_else() {
        let reads = sh("test \"$(cat)\" = 'a word'");
        assert_eq!(run(&reads, Duration::from_secs(20), Printed::Told, b"a word"), Ok(()));
        assert!(told(&reads, Duration::from_secs(20)).is_err());
    }

    #[test]
    fn gives_nothing_of_its_own_environment_away() {
        assert_eq!(told(&sh("test -z \"$CARGO$HOME$RUST_BACKTRACE\""), Duration::from_secs(20)), Ok(()));
    }

    #[test]
    fn ends_what_takes_too_long_with_its_children() {
        let begun = Instant::now();
        let error = told(&sh("sleep 600 & sleep 600"), Duration::from_millis(200));
        assert_eq!(error, Err("`/bin/sh` took longer than 0 s".to_owned()));
        assert!(begun.elapsed() < Duration::from_secs(60));
    }
}
