//! `countersign new` makes projects that build as they stand.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use support::{Runs, State, countersign};

#[test]
fn new_projects_build_as_they_stand() {
    let state = State::new();
    for (name, capabilities, writes) in [
        ("plain", &[][..], "files"),
        ("everything", &["files:write", "files:read", "http:read", "process:read", "process:write"][..], "process"),
    ] {
        let mut command = countersign();
        command.current_dir(state.dir.path()).args(["new", name, "--language", "rust"]);
        for capability in capabilities {
            command.args(["--capability", capability]);
        }
        command.ran().expect(0);
        let project = state.path(name);
        let built = support::build(&project, &project.join("bundle"));
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        let inspected = countersign().args(["--json", "inspect"]).arg(project.join("bundle")).ran().expect(0).json();
        let fix = &inspected["steps"]["fix"];
        let written: Vec<_> =
            fix["writes"].as_array().expect("writes").iter().filter_map(|name| name.as_str()).collect();
        assert!(written.contains(&writes), "{fix}");
        let imports = inspected["steps"]["check"]["imports"].to_string();
        assert!(!imports.contains("write") && !imports.contains("wasi"), "{imports}");
    }
    countersign().current_dir(state.dir.path()).args(["new", "plain"]).ran().expect(1);
    countersign().current_dir(state.dir.path()).args(["new", "../up"]).ran().expect(1).says("not a name");
    countersign()
        .current_dir(state.dir.path())
        .args(["new", "other", "--capability", "http:write"])
        .ran()
        .expect(1)
        .says("files:write");
}

/// Imports give the interfaces and remediation.toml their scopes: one without the other is refused.
#[test]
fn build_refuses_grants_and_imports_that_do_not_match() {
    let state = State::new();
    countersign().current_dir(state.dir.path()).args(["new", "odd"]).ran().expect(0);
    let file = state.path("odd/remediation.toml");
    let text = std::fs::read_to_string(&file).expect("it is text");
    let build = |text: String| {
        std::fs::write(&file, text).expect("it can be written");
        let output = support::build(&state.path("odd"), &state.path("odd/bundle"));
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, stderr) = build(text.replace("    \"files.write {path} max-calls=1\",\n", ""));
    assert_eq!(code, Some(3), "{stderr}");
    assert!(stderr.contains("countersign:files/write@0.1.0"), "{stderr}");
    let (code, stderr) =
        build(text.replace("[steps.check]\ngrants = [\n", "[steps.check]\ngrants = [\n    \"http.read http://x/\",\n"));
    assert_eq!(code, Some(3), "{stderr}");
    assert!(stderr.contains("http.read"), "{stderr}");
}

/// Steps of all projects have the same names: two builds into one target directory must not take each other's.
#[test]
fn one_build_at_a_time_in_one_target_directory() {
    let state = State::new();
    countersign().current_dir(state.dir.path()).args(["new", "late"]).ran().expect(0);
    let target = state.path("target/countersign");
    std::fs::create_dir_all(&target).expect("it can be made");
    let lock = std::fs::File::create(target.join("build.lock")).expect("the lock can be made");
    lock.lock().expect("it can be taken");
    let mut build = countersign();
    build.current_dir(state.dir.path()).args(["build", "late"]).env("CARGO_TARGET_DIR", state.path("target"));
    let mut building = build.stderr(std::process::Stdio::piped()).spawn().expect("the binary starts");
    let mut line = String::new();
    let stderr = building.stderr.take().expect("its stderr");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stderr), &mut line).expect("it says something");
    assert!(line.starts_with("waiting for another build in"), "{line}");
    assert!(!target.join("cargo-home").exists(), "nothing is touched meanwhile");
    building.kill().expect("it can be stopped");
    building.wait().expect("it ends");
}
