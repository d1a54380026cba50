//! A remediation that an ordinary toolchain built, from its investigation to its commit, and a target that wants none.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::path::PathBuf;

use support::{Ran, Runs, State, bundle};

const INERT: &str =
    "inert: no arguments, environment, files, network, clock or randomness of the host; what it prints is logged";
const OVER: &str = "192.0.2.7 1500000000 # a scanner\n";
const KEPT: &str = "# address, until\n192.0.2.8 99999999999\n192.0.2.9 for ever\n";

/// A block list with an entry that has expired, and a target that it is on.
struct List {
    state: State,
    file: PathBuf,
}

impl List {
    fn new(setting: &str) -> Self {
        let state = State::new();
        let file = state.path("blocked");
        fs::write(&file, format!("{KEPT}{OVER}")).expect("the list can be written");
        let list = file.display();
        state.configure(&format!(
            r#"
[targets.edge]
rollback-owner = "alice"
{setting}
[targets.edge.investigation]
ceiling = ["files.read {list}"]
[targets.edge.remediation]
ceiling = ["files.read {list}", "files.write {list}"]
[[targets.edge.guards]]
name = "the list is there"
command = ["/usr/bin/test", "-s", "{list}"]
"#
        ));
        Self { state, file }
    }

    fn with_bundle(&self, arguments: &[&str]) -> Ran {
        let mut command = self.state.command(arguments);
        command.arg(bundle("expired-blocks")).arg("--target=edge");
        command.arg(format!("--arg=list={}", self.file.display())).ran()
    }

    fn propose(&self) -> Ran {
        let key = format!("--key={}", self.state.path("agent").display());
        self.with_bundle(&["--json", "propose", "--hypothesis=its time is over", &key])
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.file).expect("the list is there")
    }
}

#[test]
fn what_an_ordinary_toolchain_built_runs_with_inert_wasi() {
    let list = List::new("");
    let inspected = support::countersign().arg("inspect").arg(bundle("expired-blocks")).ran().expect(0);
    assert!(inspected.stdout.contains(&format!("its WASI is {INERT}")), "{}", inspected.stdout);
    let json = support::countersign().args(["--json", "inspect"]).arg(bundle("expired-blocks")).ran().expect(0).json();
    for role in ["investigation", "fix", "check"] {
        assert_eq!(json["steps"][role]["wasi"], "inert", "{json}");
        let imports = json["steps"][role]["imports"].to_string();
        assert!(imports.contains("wasi:clocks/wall-clock@0.2.") && !imports.contains("wasi:sockets"), "{imports}");
    }

    let found = list.with_bundle(&["--json", "investigate"]).expect(0).says("1 of 4 lines have expired").json();
    assert_eq!(found["findings"][0]["summary"], "1 entries have expired", "{found}");

    let proposal = list.propose().expect(0).json()["proposal"].as_str().expect("a proposal").to_owned();
    let review = list.state.run(&["review", &proposal]).expect(0);
    for role in ["investigation", "fix", "check"] {
        let line = format!("  {role:<13} imports WASI, {INERT}");
        assert!(review.stdout.lines().any(|shown| shown == line), "{}", review.stdout);
    }
    let review = list.state.run(&["--json", "review", &proposal]).expect(0).json();
    assert_eq!(review["wasi"], serde_json::json!(["investigation", "fix", "check"]), "{review}");

    let key = format!("--key={}", list.state.path("alice").display());
    list.state.run(&["approve", &proposal, "--reason=seen", &key]).expect(0);
    let ran = list.state.run(&["--json", "run", &proposal]).expect(0).says("no longer blocked: 192.0.2.7");
    assert_eq!(ran.json()["outcome"], "committed");
    assert_eq!(list.text(), KEPT);
}

/// The SDK's own steps import nothing of WASI, and nothing is said of it.
#[test]
fn a_step_without_wasi_is_shown_without() {
    let json = support::countersign().args(["--json", "inspect"]).arg(bundle("pool-size")).ran().expect(0).json();
    assert_eq!(json["steps"]["fix"]["wasi"], "none", "{json}");
    let text = support::countersign().arg("inspect").arg(bundle("pool-size")).ran().expect(0).stdout;
    assert!(!text.contains("WASI"), "{text}");
}

#[test]
fn a_target_may_refuse_wasi() {
    let list = List::new("wasi = false");
    for refused in [list.with_bundle(&["investigate"]), list.with_bundle(&["rehearse"]), list.propose()] {
        refused
            .expect(3)
            .says("step imports WASI, and the target `edge` refuses that")
            .says("an operator may set `wasi = true` for the target; nothing was compiled, and nothing changed");
    }
    assert_eq!(list.text(), format!("{KEPT}{OVER}"));
}

/// What was approved while the target took it is not run when it no longer does.
#[test]
fn a_target_that_refuses_wasi_later_runs_nothing_of_it() {
    let list = List::new("wasi = true");
    let proposal = list.propose().expect(0).json()["proposal"].as_str().expect("a proposal").to_owned();
    let key = format!("--key={}", list.state.path("alice").display());
    list.state.run(&["approve", &proposal, "--reason=seen", &key]).expect(0);
    let config = fs::read_to_string(list.state.config()).expect("the configuration");
    fs::write(list.state.config(), config.replace("wasi = true", "wasi = false")).expect("it can be written");
    list.state.run(&["run", &proposal]).expect(3);
    list.state.run(&["review", &proposal]).expect(3).says("refuses that");
    assert_eq!(list.text(), format!("{KEPT}{OVER}"));
}
