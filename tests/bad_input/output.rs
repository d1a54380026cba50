//! A result that nobody can be given: what was done stays done, and the exit code says what it was.

use std::fs::File;
use std::process::{Command, Stdio};

use crate::support::Runs;
use crate::support::place::{Place, two_faced};

fn into_full(command: &mut Command) -> (i32, String) {
    let full = File::options().write(true).open("/dev/full").expect("/dev/full");
    let output =
        command.stdout(Stdio::from(full)).stderr(Stdio::piped()).spawn().expect("it starts").wait_with_output();
    let output = output.expect("it ends");
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn where_stdout_is_full() {
    for form in [&[][..], &["--json"]] {
        let place = Place::new();
        let command = |arguments: &[&str]| {
            let mut all = form.to_vec();
            all.extend(arguments);
            place.command(&all)
        };
        // What only looks has failed.
        let (code, said) = into_full(&mut command(&["pending"]));
        assert_eq!(code, 1, "{said}");
        assert!(said.contains("the result could not be printed") && !said.contains("panicked"), "{said}");

        // What acted has acted.
        let (code, said) = into_full(&mut place.proposing(two_faced()));
        assert_eq!(code, 0, "{said}");
        assert!(said.contains("what the command did stays done"), "{said}");
        let pending = place.state.run(&["--json", "pending"]).expect(0).json();
        let proposal = crate::support::place::name(&pending["pending"][0]);
        let (code, said) = into_full(&mut place.approving(&proposal));
        assert_eq!(code, 0, "{said}");

        // A refusal, a rollback and a commit keep their codes.
        place.put("mood", "bad");
        let (code, said) = into_full(&mut command(&["run", &proposal]));
        assert_eq!(code, 4, "{said}");
        let (code, said) = into_full(&mut command(&["run", &proposal]));
        assert_eq!(code, 3, "{said}");
        place.put("mood", "good");
        place.approve(&proposal);
        let (code, said) = into_full(&mut command(&["run", &proposal]));
        assert_eq!(code, 0, "{said}");
        assert_eq!(place.text("a"), "fixed\n");
        let runs = place.command(&["--json", "runs"]).ran().expect(0).json();
        assert_eq!(runs["runs"][0]["outcome"], "committed");
    }
}

#[test]
fn where_stdout_and_stderr_are_closed() {
    let place = Place::new();
    let proposal = place.approved();
    let binary = env!("CARGO_BIN_EXE_countersign");
    let state = place.state.path("state");
    let script = format!("exec {binary} --state {} run {proposal} >&- 2>&-", state.display());
    let status = Command::new("sh").args(["-c", &script]).stdin(Stdio::null()).status().expect("it starts");
    assert_eq!(status.code(), Some(0));
    assert_eq!(place.text("a"), "fixed\n");
}
