//! The trust ramp: an agent's proposals run without anybody being asked, where people have said so once, have seen the same do
//! well often enough, and nothing has gone wrong since.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::fs;

use serde_json::{Value, json};
use support::place::{Place, name};
use support::{Ran, Runs};

/// A place whose trust policy lets the agent's proposals run unattended, after so many committed runs.
fn ramp(committed: u32) -> Place {
    let place = Place::new();
    place.state.policy(|text| lets(text, committed));
    place
}

fn lets(text: &str, committed: u32) -> String {
    let section = format!(
        "[unattended]\ncommitted = {committed}\nmax-validity = \"30d\"\nper-hour = 5\nper-day = 20\nsubjects = 4\n\n[[rules]]\n"
    );
    let text = text.replacen("[[rules]]\n", &section, 1);
    let changed =
        text.replace("may = [\"investigate\", \"propose\"]", "may = [\"investigate\", \"propose\", \"unattended\"]");
    assert_ne!(changed, text);
    changed
}

/// Has the roots sign the next trust policy, and installs it.
fn install(place: &Place, change: impl FnOnce(&str) -> String) {
    let text = fs::read_to_string(place.state.path("state/trust-policy.toml")).expect("a policy");
    let serial = text.lines().find_map(|line| line.strip_prefix("serial = ")).expect("a serial");
    let next: u32 = serial.parse::<u32>().expect("a number") + 1;
    let changed = change(&text);
    assert_ne!(changed, text);
    let draft = place.state.path("next.toml");
    fs::write(&draft, changed.replacen(&format!("serial = {serial}\n"), &format!("serial = {next}\n"), 1))
        .expect("a file");
    let mut sign = place.command(&["trust", "sign"]);
    sign.arg(&draft).arg("--key").arg(place.state.path("alice")).ran().expect(0);
    place.command(&["trust", "install"]).arg(&draft).ran().expect(0);
}

/// Breaks it again.
fn broken(place: &Place) {
    place.put("a", "broken\n");
    place.put("b", "broken too\n");
}

/// Has one approved and run with somebody looking on; gives the proposal.
#[track_caller]
fn attended(place: &Place) -> String {
    broken(place);
    let proposal = place.approved();
    let report = place.run(&proposal).expect(0).json();
    assert_eq!(report.get("unattended"), None, "{report}");
    proposal
}

fn sign(place: &Place, who: &str, arguments: &[&str]) -> Ran {
    let mut command = place.command(&["--json", "standing", "approve"]);
    command.args(arguments).arg("--key").arg(place.state.path(who)).ran()
}

fn standing(place: &Place, example: &str, more: &[&str]) -> Ran {
    sign(place, "alice", &[&[example, "--reason", "seen it do well"], more].concat())
}

#[track_caller]
fn digest(signed: &Value) -> String {
    signed["standing"].as_str().expect("a digest").to_owned()
}

/// Proposes it again, and gives what becomes of it where nobody approves it.
#[track_caller]
fn unasked(place: &Place) -> Ran {
    broken(place);
    place.run(&place.propose())
}

#[test]
fn what_people_signed_once_runs_until_it_goes_wrong() {
    let place = ramp(2);
    let first = attended(&place);
    let signed = standing(&place, &first, &["--per-hour", "2", "--per-day", "3"]).expect(0).json();
    let standing_digest = digest(&signed);
    assert_eq!(signed["budget"], json!({ "per-hour": 2, "per-day": 3, "subjects": 2 }));

    // Once is not often enough.
    let refused = unasked(&place).expect(3);
    refused.says("nobody approved the proposal").says("1 runs of it were committed on the target, and 2 must be");
    attended(&place);
    place.state.run(&["standing", "list"]).expect(0).shows("place: runs unattended");

    // Nobody is asked; the report, the run and the log say so.
    broken(&place);
    let proposal = place.propose();
    let explained = place.state.run(&["--json", "trust", "explain", &proposal]).expect(0).json();
    let findings = explained["explained"][0]["findings"].as_array().expect("findings").clone();
    let level = findings.iter().find(|finding| finding["asks"] == "level").expect("a level");
    assert_eq!(level["says"], "unattended, by a standing approval");
    let report = place.run(&proposal).expect(0).json();
    assert_eq!((&report["outcome"], &report["approvers"]), (&json!("committed"), &json!(["alice"])));
    assert_eq!(report["unattended"], standing_digest.as_str());
    assert_eq!(place.text("a"), "fixed\n");
    let run = report["run"].as_str().expect("a run");
    place.state.run(&["show", run]).expect(0).shows("nobody was asked");
    let log = place.state.log();
    let authorized = log.lines().rfind(|line| line.contains("\"authorized\"")).expect("an entry");
    assert!(authorized.contains(&standing_digest), "{authorized}");
    assert!(log.lines().any(|line| line.contains("\"standing-approval\"") && line.contains(&standing_digest)), "{log}");

    // What people approved and is used up was approved.
    broken(&place);
    let by_people = place.approved();
    place.run(&by_people).expect(0);
    broken(&place);
    let used = place.run(&by_people).expect(3).says("used up");
    assert!(!used.stderr.contains("nobody approved"), "{}", used.stderr);

    // The same proposal once; another as often as the budget says.
    broken(&place);
    place.run(&proposal).expect(3).says("used up");
    unasked(&place).expect(0);
    unasked(&place).expect(3).says("it ran 2 times within the last hour, and may no more");
    // People may, as ever.
    attended(&place);

    // One that goes wrong ends it, whoever had it run, until somebody renews it.
    let renewed = standing(&place, &first, &["--per-hour", "5", "--per-day", "9"]).expect(0).json();
    unasked(&place).expect(0);
    broken(&place);
    let bad = place.approved();
    place.put("mood", "bad\n");
    let failed = place.run(&bad).expect(4).json();
    place.put("mood", "good\n");
    let refused = unasked(&place).expect(3);
    refused.says(&format!("it ended with the run {}", failed["run"].as_str().expect("a run")));
    place.state.run(&["standing", "list"]).expect(0).shows("does not: it ended with the run");
    let again = standing(&place, &first, &["--per-hour", "5", "--per-day", "9"]).expect(0).json();
    assert_ne!(digest(&again), digest(&renewed));
    unasked(&place).expect(0);

    // To deny its example ends it.
    let mut deny = place.command(&["deny", &first, "--reason", "enough of it", "--key"]);
    deny.arg(place.state.path("alice")).ran().expect(0);
    unasked(&place).expect(3).says("`alice` denied the proposal: enough of it");
}

/// What is not like the example, or more than was signed, is asked about as ever.
/// What a person denied does not run when the agent proposes the same again, until people have signed another.
#[test]
fn what_was_denied_does_not_come_back_unasked() {
    let place = ramp(1);
    let example = attended(&place);
    standing(&place, &example, &["--per-hour", "5", "--per-day", "9"]).expect(0);
    broken(&place);
    let denied = place.propose();
    let mut deny = place.command(&["deny", &denied, "--reason", "not now", "--key"]);
    deny.arg(place.state.path("alice")).ran().expect(0);
    place.run(&denied).expect(3).says("denied");
    unasked(&place).expect(3).says(&format!("it ended with the denial of `{denied}`")).says("countersign review p-");
    assert_eq!(place.text("a"), "broken\n");
    place.state.run(&["standing", "list"]).expect(0).shows("does not: it ended with the denial");
    standing(&place, &example, &["--per-hour", "5", "--per-day", "9"]).expect(0);
    unasked(&place).expect(0);
}

/// What people approved runs, whatever became of the file that says what runs unasked.
#[test]
fn one_that_is_damaged_lets_nothing_run_and_stops_nothing() {
    let place = ramp(1);
    let example = attended(&place);
    standing(&place, &example, &["--per-hour", "5", "--per-day", "9"]).expect(0);
    let database = rusqlite::Connection::open(place.state.path("state/countersign.db")).expect("the database");
    let change = "UPDATE standing_approvals SET document = CAST(document || ' ' AS BLOB)";
    assert_eq!(database.execute(change, []).expect("it can be written"), 1);
    unasked(&place).expect(3).says("was changed since it was signed");
    attended(&place);
    place.state.run(&["standing", "list"]).expect(0).shows("was changed since it was signed");
    // Another beside it does what it says.
    standing(&place, &example, &["--per-hour", "5", "--per-day", "9"]).expect(0);
    unasked(&place).expect(0);
}

#[test]
fn what_is_not_like_it_is_asked_about() {
    let place = ramp(1);
    let first = attended(&place);
    let other = place.state.path("other");
    fs::create_dir(&other).expect("a folder");
    standing(&place, &first, &["--one-of", "nothing=1"]).expect(1).says("its example has no argument `nothing`");
    // The bundle would ask for more with it than a ceiling lets anybody be granted.
    let beyond = format!("folder={}", other.display());
    standing(&place, &first, &["--one-of", &beyond]).expect(3).says("ceiling does not contain");
    let within = place.folder.join("sub");
    fs::create_dir(&within).expect("a folder");
    for (name, text) in [("mood", "good\n"), ("a", "broken\n"), ("b", "broken too\n"), ("c", "as ever\n")] {
        fs::write(within.join(name), text).expect("it can be written");
    }
    let sub = format!("--arg=folder={}", within.display());
    let propose = |argument: &str| {
        let mut command =
            place.command(&["--json", "propose", "--target=place", "--hypothesis", "it is broken", "--key"]);
        command.arg(place.state.path("agent")).arg(support::place::two_faced()).arg(argument);
        name(&command.ran().expect(0).json())
    };
    standing(&place, &first, &["--subjects", "1", "--per-hour", "5", "--per-day", "5"]).expect(0);
    unasked(&place).expect(3).says("2 subjects, and 1 at most may be unattended");
    standing(&place, &first, &["--per-hour", "5", "--per-day", "5"]).expect(0);
    place.run(&propose(&sub)).expect(3).says("the argument `folder` is not in the range that was signed");
    let one_of = format!("folder={}", within.display());
    standing(&place, &first, &["--one-of", &one_of, "--per-hour", "5", "--per-day", "5"]).expect(0);
    place.run(&propose(&sub)).expect(0);

    // What cannot be undone never is.
    broken(&place);
    place.put("log", "one\ntwo\nthree\n");
    place.put("mood", "discard\n");
    let gone = place.propose();
    place.run(&gone).expect(3).says("a change of its plan cannot be undone");
    standing(&place, &gone, &[]).expect(3).says("it can never run unattended: a change of its plan cannot be undone");
    place.put("mood", "good\n");

    // A person's proposal has no agent, and the policy's bounds bound.
    standing(&place, &first, &["--per-hour", "6", "--per-day", "6"]).expect(3).says("6 runs an hour, and 5 at most");
    standing(&place, &first, &["--expires", "31d"]).expect(3);
    sign(&place, "agent", &[&first, "--reason", "me"]).expect(3);
    standing(&place, &first, &["--reason", " "]).expect(2);
    sign(&place, "alice", &[&first, "--reason", " "]).expect(1).says("`--reason` is empty");

    // The target is configured otherwise: what was signed is for another one.
    let config = fs::read_to_string(place.state.config()).expect("a configuration");
    fs::write(place.state.config(), config.replace("c stays", "c stays so")).expect("it can be written");
    unasked(&place).expect(3).says("the configuration of `place`, or its runner, is another one");
    fs::write(place.state.config(), config).expect("it can be put back");
    unasked(&place).expect(0);

    // A policy that takes it away takes it away; one that gives it again gives it again.
    install(&place, |text| text.replace("\"propose\", \"unattended\"]", "\"propose\"]"));
    unasked(&place).expect(3).says("does not let them run unattended");
    let digest = place.state.run(&["--json", "standing", "list"]).expect(0).json()["standing"][0]["standing"].clone();
    install(&place, |text| {
        let text = text.replace("\"investigate\", \"propose\"]", "\"investigate\", \"propose\", \"unattended\"]");
        format!("{text}\n[[revocations]]\napproval = {digest}\nreason = \"lost\"\n")
    });
    let listed = place.state.run(&["--json", "standing", "list"]).expect(0).json();
    assert!(
        listed["standing"][0]["targets"][0]["why"].as_str().is_some_and(|why| why.contains("is revoked: lost")),
        "{listed}"
    );
}

/// As many people sign it as sign any other approval there, each what the other signed.
#[test]
fn several_people_sign_one() {
    let place = ramp(1);
    let first = attended(&place);
    place.state.keygen("bob");
    let key = fs::read_to_string(place.state.path("bob.pub")).expect("a key");
    place.state.policy(|text| {
        let bob = format!("\n[[people]]\nname = \"bob\"\nkeys = [\"{}\"]\nmay = [\"approve\"]\n", key.trim());
        text.replace("people = 1", "people = 2") + &bob
    });
    let signed = standing(&place, &first, &["--per-hour", "5", "--per-day", "5"]).expect(0).json();
    assert_eq!(signed["targets"][0]["unattended"], false);
    unasked(&place).expect(3).says("2 people must approve by the quorum");
    sign(&place, "alice", &["--cosign", &digest(&signed)[7..19]]).expect(0);
    unasked(&place).expect(3).says("2 people must approve by the quorum");
    let both = sign(&place, "bob", &["--cosign", &digest(&signed)[7..19]]).expect(0).json();
    assert_eq!((&both["approvers"], &both["targets"][0]["unattended"]), (&json!(["alice", "bob"]), &json!(true)));
    let report = unasked(&place).expect(0).json();
    assert_eq!(report["approvers"], json!(["alice", "bob"]));
}
