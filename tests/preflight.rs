//! Whether a run's credentials could do what a plan needs is asked before any person is, and again when a run begins.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]
#![allow(clippy::print_stderr, reason = "a test that is skipped says why")]

mod support;

use std::fs;
use std::os::unix::fs::chown;
use std::process::Command;

use serde_json::json;
use support::place::Place;
use support::{Ran, Runs};

/// Somebody whom files are given to.
const NOBODY: u32 = 65_534;

/// A place whose file `a` is another user's; `None` where this user cannot give it away.
fn given_away() -> Option<Place> {
    let place = Place::new();
    if chown(place.folder.join("a"), Some(NOBODY), Some(NOBODY)).is_err() {
        eprintln!("skipped: only root gives files away");
        return None;
    }
    Some(place)
}

/// The command by a root that may give no file away, as a service often is.
fn lacking(command: &Command) -> Ran {
    let mut lacking = Command::new("setpriv");
    lacking.args(["--bounding-set=-chown", "--inh-caps=-chown"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => lacking.env(name, value),
            None => lacking.env_remove(name),
        };
    }
    lacking.ran()
}

#[track_caller]
fn says_what_is_lacking(ran: Ran, place: &Place) -> Ran {
    let file = place.folder.join("a");
    ran.expect(3)
        .says("the remediation identity of `place` cannot do what the plan needs")
        .says(&format!("`{}` belongs to user {NOBODY}", file.display()))
        .says("has no CAP_CHOWN")
}

fn rehearsing(place: &Place, more: &[&str]) -> Command {
    let mut command = place.command(more);
    command.args(["rehearse", "--target=place"]).arg(support::place::two_faced()).arg(place.argument());
    command
}

#[test]
fn what_the_credentials_cannot_do_is_not_proposed() {
    let Some(place) = given_away() else { return };
    let before = place.standing();
    let refused = says_what_is_lacking(lacking(&place.proposing(support::place::two_faced())), &place);
    refused.says("nothing changed and nothing is proposed");
    let pending = place.state.run(&["--json", "pending"]).expect(0).json();
    assert_eq!(pending["pending"], json!([]));
    assert_eq!(place.standing(), before);

    let seen = says_what_is_lacking(lacking(&rehearsing(&place, &[])), &place);
    seen.shows("preflight\n  the remediation identity can make 1 of the 2 changes\n  1. CANNOT be made: ");
    let seen = says_what_is_lacking(lacking(&rehearsing(&place, &["--json"])), &place).json();
    assert!(seen["preflight"][0]["why"].as_str().expect("why").contains("CAP_CHOWN"), "{}", seen["preflight"]);
    assert_eq!(seen["preflight"][0]["ability"], "cannot");
    assert_eq!((&seen["preflight"][1], &seen["error"]["code"]), (&json!({ "ability": "can" }), &json!(3)));

    // They are what was lacking.
    rehearsing(&place, &[]).ran().expect(0).shows("preflight\n  the remediation identity can make the 2 changes\n");
    let proposal = place.propose();
    let review = place.state.run(&["review", &proposal]).expect(0);
    review.shows("PREFLIGHT, when it was rehearsed\n  the remediation identity can make the 2 changes\n");
}

/// Between the approval and the run they may have been taken away.
#[test]
fn a_run_whose_credentials_went_meanwhile_spends_no_use() {
    let Some(place) = given_away() else { return };
    let proposal = place.approved();
    let before = place.standing();
    let refused = says_what_is_lacking(lacking(&place.command(&["run", &proposal])), &place);
    refused.says("nothing changed and no use of the approval is spent");
    assert_eq!(place.standing(), before);
    let runs = place.state.run(&["--json", "runs"]).expect(0).json();
    assert_eq!((&runs["runs"][0]["outcome"], &runs["runs"][1]), (&json!("refused"), &json!(null)));
    place.run(&proposal).expect(0);
    assert_eq!(place.text("a"), "fixed\n");
}

#[test]
fn undoing_a_run_is_not_proposed_where_it_cannot_be_done() {
    let Some(place) = given_away() else { return };
    let proposal = place.approved();
    let run = place.run(&proposal).expect(0).json()["run"].as_str().expect("a run").to_owned();
    let second = place.state.path("second");
    let rollback =
        place.command(&["rollback", &run, "--reason", "it was wrong", "--key", second.to_str().expect("UTF-8")]);
    says_what_is_lacking(lacking(&rollback), &place);
    let mut rollback = rollback;
    rollback.ran().expect(0);
}

/// The rehearsal asks the one identity and the run needs the other.
#[test]
fn it_is_the_remediation_identity_that_is_asked() {
    let place = Place::new();
    let config = fs::read_to_string(place.state.config()).expect("a configuration");
    let settings = "[targets.place.remediation.settings.files]\nuser = \"deploy\"\n[[targets.place.guards]]";
    fs::write(place.state.config(), config.replacen("[[targets.place.guards]]", settings, 1)).expect("written");
    let refused =
        place.try_propose().expect(3).says("the remediation identity of `place` cannot do what the plan needs");
    refused.says("the capability `files` has no settings").says("(and 1 more)");
}

#[test]
fn a_file_system_that_is_read_only_is_found_out_before_anybody_is_asked() {
    let place = Place::new();
    place.put("mood", "mode\n");
    let propose = place.proposing(support::place::two_faced());
    let script = "set -e; mount --bind \"$1\" \"$1\"; mount -o remount,ro,bind \"$1\"; shift; exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"]).arg(&place.folder);
    command.arg(propose.get_program()).args(propose.get_args());
    if !Command::new("unshare").args(["--mount", "true"]).status().is_ok_and(|status| status.success()) {
        eprintln!("skipped: only root can mount here");
        return;
    }
    let refused = command.ran().expect(3).says("the remediation identity of `place` cannot do what the plan needs");
    refused.says(&format!(
        "`{}` could not be given another mode: its file system is read-only",
        place.folder.join("a").display()
    ));
    place.propose();
}

/// What an earlier change makes possible is not called impossible, and not called possible either.
#[test]
fn what_depends_on_an_earlier_change_is_said_to_be_unknown() {
    let place = Place::new();
    place.put("mood", "cut closed\n");
    place.put("log", "a line\nanother\n");
    let why =
        format!("`{}` is what an earlier change of the plan makes of it by then", place.folder.join("log").display());
    let told = format!(
        "  the remediation identity can make 3 of the 4 changes\n  2. cannot be told before it is tried: {why}\n"
    );
    rehearsing(&place, &[]).ran().expect(0).shows(&format!("preflight\n{told}"));
    let proposal = place.propose();
    let can = json!({ "ability": "can" });
    let preflight = json!([can, { "ability": "cannot-tell", "why": why }, can, can]);
    let review = place.state.run(&["--json", "review", &proposal]).expect(0).json();
    assert_eq!(review["targets"][0]["preflight"], preflight);
    place.state.run(&["review", &proposal]).expect(0).shows(&format!("PREFLIGHT, when it was rehearsed\n{told}"));
    place.approve(&proposal);
    place.run(&proposal).expect(0);
}

/// A run's credentials are not used for what nobody could be asked to approve.
#[test]
fn what_cannot_be_proposed_is_not_asked_about() {
    let place = Place::new();
    fs::remove_file(place.folder.join("b")).expect("removed");
    rehearsing(&place, &[]).ran().expect(1).shows("preflight\n  the remediation identity was not asked what it may\n");
}
