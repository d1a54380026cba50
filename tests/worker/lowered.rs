//! Where the kernel lacks something of what holds a worker: a system call that fails as it does there.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{Incident, Ran};

/// The same command on a kernel that does not know this system call.
fn without(call: &str, command: &Command) -> Ran {
    let mut traced = Command::new("strace");
    let injected = format!("inject={call}:error=ENOSYS");
    traced.args(["-f", "-qq", "-o", "/dev/null", "-e", &injected, "--"]).arg(command.get_program());
    traced.args(command.get_args()).stdin(Stdio::null());
    Ran::of(traced)
}

fn lowered(mechanism: &str, call: &str) {
    let incident = Incident::new();
    let proposal = incident.propose("pool-size");
    incident.approve(&proposal);
    let run = || without(call, &incident.state.command(&["--json", "run", &proposal]));

    let refused = run().expect(3).json();
    let error = &refused["error"];
    assert_eq!(
        error["message"],
        format!("the investigation step: this kernel cannot confine a step's process: it has no {mechanism}")
    );
    let hint = error["hint"].as_str().expect("a hint");
    assert!(
        hint.starts_with("nothing changed. ") && hint.contains(&format!("`without = [\"{mechanism}\"]`")),
        "{hint}"
    );
    assert_eq!(incident.status("/orders"), 503, "something changed");

    // An operator's word, and then it is said and recorded.
    incident.state.configure(&format!("[sandbox]\nwithout = [\"{mechanism}\"]\n"));
    let ran =
        run().expect(0).says(&format!("this kernel has no {mechanism}, and the configuration lets steps run without"));
    let id = ran.json()["run"].as_str().expect("a run").to_owned();
    let shown: Value = incident.state.run(&["--json", "show", &id]).expect(0).json();
    assert_eq!(shown["report"]["lowered"], serde_json::json!([mechanism]), "{shown:#}");
}

#[test]
fn without_landlock_steps_are_refused_unless_the_operator_lets_them() {
    lowered("landlock", "landlock_create_ruleset");
}

#[test]
fn without_seccomp_steps_are_refused_unless_the_operator_lets_them() {
    lowered("seccomp", "seccomp");
}

#[test]
fn where_nothing_lacks_nothing_is_lowered() {
    let incident = Incident::new();
    // What may be missing is used all the same.
    incident.state.configure("[sandbox]\nwithout = [\"landlock\", \"seccomp\"]\n");
    let proposal = incident.propose("pool-size");
    incident.approve(&proposal);
    assert_eq!(incident.run(&proposal).expect(0).json()["lowered"], serde_json::json!([]));
}
