//! What a run leaves otherwise than before is open until a person closes it: accepted as it is, or put back.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use countersign_model::Digest;
use serde_json::{Value, json};
use support::place::{Place, give_up, half_resolved};
use support::{Incident, Ran, Runs, State};

/// A validator that changes something and then refuses what was written: whoever edits while a run is at work.
fn editing(place: &Place, edit: &str) -> String {
    format!(
        "[[targets.place.validators]]\nname = \"edits\"\npaths = [\"{0}/b\"]\n\
         command = [\"/bin/sh\", \"-c\", \"cd {0}; {edit}; exit 1\"]\n",
        place.folder.display()
    )
}

/// A place where somebody edited while a run was at work, which then failed; and the run's report.
fn edited(edit: &str) -> (Place, Value) {
    let place = Place::new();
    let report = failed(&place, edit);
    (place, report)
}

fn failed(place: &Place, edit: &str) -> Value {
    place.state.configure(&editing(place, edit));
    let proposal = place.approved();
    let report = place.run(&proposal).expect(5).json();
    assert_eq!(report["outcome"], "rollback-incomplete", "{report}");
    report
}

fn name(report: &Value) -> &str {
    report["run"].as_str().expect("a run")
}

fn digest(text: &str) -> Value {
    json!(Digest::of(text.as_bytes()).to_string())
}

impl Place {
    fn path(&self, name: &str) -> String {
        self.folder.join(name).to_str().expect("UTF-8").to_owned()
    }

    fn resolve(&self, run: &str, subject: &str, way: &str, key: &str) -> Ran {
        let words = ["--json", "resolve", run, subject, way, "--reason", "seen, agreed", "--key"];
        self.command(&words).arg(self.state.path(key)).ran()
    }

    fn shown(&self, run: &str) -> Value {
        self.state.run(&["--json", "show", run]).expect(0).json()
    }

    /// The runner's own files beside the target's.
    fn kept(&self) -> Vec<String> {
        self.standing().into_keys().filter(|name| name.starts_with(".countersign-")).collect()
    }
}

#[test]
fn a_conflict_is_left_alone_and_told_with_both_digests() {
    let (place, report) = edited("echo somebody >a");
    assert_eq!(place.text("a"), "somebody\n", "it is never overwritten");
    assert_eq!(place.text("b"), "broken too\n");
    let open = report["open"].as_array().expect("a list");
    assert_eq!(open.len(), 1, "{report}");
    assert_eq!(open[0]["subject"], place.path("a"));
    assert_eq!((&open[0]["before"], &open[0]["found"]), (&digest("broken\n"), &digest("somebody\n")));
    assert_eq!(open[0]["restorable"], true);

    let run = name(&report);
    let command = format!("countersign resolve {run} {} --accept|--restore", place.path("a"));
    let digests = format!("expected {}, found {}", digest("broken\n"), digest("somebody\n")).replace('"', "");
    place.state.run(&["show", run]).expect(0).shows(&digests).shows(&command);
    let shown = place.shown(run);
    assert_eq!((&shown["open"], &shown["resolved"]), (&report["open"], &json!(false)));
    for verb in ["runs", "pending"] {
        place.state.run(&[verb]).expect(0).shows(&format!("{run} left open: {}", place.path("a")));
        let listed = place.state.run(&["--json", verb]).expect(0).json();
        let listed = if verb == "runs" { &listed["runs"][0] } else { &listed["open"][0] };
        assert_eq!((&listed["run"], &listed["open"]), (&json!(run), &json!([place.path("a")])), "{listed}");
    }
}

/// What is kept beside the files may be all that there is of them, so long as anything is open.
#[test]
fn what_is_accepted_stays_and_what_was_kept_goes_with_the_last() {
    let (place, report) = edited("echo somebody >a; echo else >b");
    let run = name(&report);
    let kept = place.kept();
    assert_eq!(kept.len(), 2, "{kept:?}");
    place.state.run(&["recover"]).expect(0).shows("nothing to recover");
    assert_eq!(place.kept(), kept);

    let resolved = place.resolve(run, &place.path("a"), "--accept", "alice").expect(0).json();
    assert_eq!(
        (&resolved["by"], &resolved["way"], &resolved["found"]),
        (&json!("alice"), &json!("accept"), &digest("somebody\n"))
    );
    assert_eq!(resolved["open"][0]["subject"], place.path("b"));
    place.state.run(&["recover"]).expect(0).shows("nothing to recover");
    assert_eq!(place.kept(), kept, "`b` is open still");

    let resolved = place.resolve(run, &place.path("b"), "--accept", "alice").expect(0).json();
    assert_eq!((&resolved["open"], &resolved["left_behind"]), (&json!([]), &json!([])));
    assert_eq!((place.text("a").as_str(), place.text("b").as_str()), ("somebody\n", "else\n"));
    assert_eq!(place.kept(), [""; 0]);
    // History is not rewritten.
    let shown = place.shown(run);
    assert_eq!((&shown["outcome"], &shown["resolved"]), (&json!("rollback-incomplete"), &json!(true)));
    assert_eq!((&shown["report"]["open"], &shown["open"]), (&report["open"], &json!([])));
    assert_eq!(shown["resolutions"][0]["reason"], "seen, agreed");
    assert_eq!(shown["resolutions"][0]["found"], digest("somebody\n"));
    place.state.run(&["runs"]).expect(0).shows("resolved; ");
    assert_eq!(place.state.run(&["--json", "pending"]).expect(0).json()["open"], json!([]));
    place.resolve(run, &place.path("a"), "--restore", "alice").expect(3).says("was resolved already, by alice");
}

#[test]
fn what_is_restored_is_as_before_and_what_it_replaced_is_kept() {
    let (place, report) = edited("echo somebody >a; chmod 600 a");
    let run = name(&report);
    let resolved = place.resolve(run, &place.path("a"), "--restore", "alice").expect(0).json();
    assert_eq!((&resolved["found"], &resolved["open"]), (&digest("somebody\n"), &json!([])));
    assert_eq!(place.text("a"), "broken\n");
    let mode = fs::metadata(place.folder.join("a")).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o7777, 0o640);
    assert_eq!(place.kept(), [""; 0]);
    // It is journaled like any change, with what it replaced.
    let shown = place.shown(run);
    let changes = shown["changes"].as_array().expect("changes");
    let own = changes.iter().find(|change| change["resolution"] == 1).expect("the resolution's");
    assert_eq!((&own["before"], &own["after"]), (&digest("somebody\n"), &digest("broken\n")));
    assert_eq!(own["state"], "done");
    let database = rusqlite::Connection::open(place.state.path("state/countersign.db")).expect("the database");
    let image: Vec<u8> = database
        .query_row("SELECT bytes FROM images WHERE digest = ?1", [own["before"].as_str()], |row| row.get(0))
        .expect("its image");
    assert_eq!(image, b"somebody\n");
    let text = place.state.run(&["show", run]).expect(0).stdout;
    assert!(text.contains("resolution: replace") && text.contains("nothing is open any more"), "{text}");
}

/// What was there or not there, and what was cut off.
#[test]
fn whatever_stands_there_is_replaced_by_what_was() {
    for (mood, edit, name) in [
        ("good", "rm a", "a"),
        ("good", "rm a; ln -s b a", "a"),
        ("cut", "echo a new line >>log", "log"),
        ("cut closed", "echo a new line >>log; chmod 644 log", "log"),
        ("closed", "chmod 644 log", "log"),
    ] {
        let place = Place::new();
        place.put("mood", mood);
        place.put("log", "a line\nand another\n");
        let before = place.standing();
        let report = failed(&place, edit);
        let run = report["run"].as_str().expect("a run");
        let link = fs::symlink_metadata(place.folder.join(name)).is_ok_and(|found| found.is_symlink());
        let resolved = place.resolve(run, &place.path(name), "--restore", "alice");
        if link {
            // What has no content that could be kept is not written over.
            resolved.expect(3).says("nothing changed").says("--before SUBJECT");
            assert_eq!(place.shown(run)["resolved"], false);
            fs::remove_file(place.folder.join(name)).expect("it can be removed");
            place.resolve(run, &place.path(name), "--restore", "alice").expect(0);
        } else {
            resolved.expect(0);
        }
        assert_eq!(place.standing(), before, "{mood}: {edit}");
    }
}

#[test]
fn nobody_resolves_who_may_not_approve_or_proposed_it() {
    let (place, report) = edited("echo somebody >a");
    let (run, a) = (name(&report), place.path("a"));
    place.state.keygen("stranger");
    for (way, key) in [("--accept", "agent"), ("--restore", "agent"), ("--accept", "second"), ("--restore", "stranger")]
    {
        place.resolve(run, &a, way, key).expect(3).says("may not resolve what the run left");
    }
    // Who answers for the agent that proposed it.
    place.state.policy(|policy| policy.replace("[[agents]]\n", "[[agents]]\nowner = \"alice\"\n"));
    for way in ["--accept", "--restore"] {
        place.resolve(run, &a, way, "alice").expect(3).says("they own agent `agent`").says("nothing changed");
    }
    assert_eq!((place.text("a").as_str(), &place.shown(run)["resolved"]), ("somebody\n", &json!(false)));
    assert_eq!(place.shown(run)["resolutions"], json!([]));
}

#[test]
fn what_is_not_open_is_not_resolved() {
    let (place, report) = edited("echo somebody >a");
    let run = name(&report);
    let named = format!("open are `{}`", place.path("a"));
    place.resolve(run, &place.path("c"), "--restore", "alice").expect(3).says("is nothing that the run").says(&named);
    place.resolve("r-0123456789ab", &place.path("a"), "--accept", "alice").expect(1);
    // A run that was rolled back left nothing.
    let place = Place::new();
    place.put("mood", "bad\n");
    let proposal = place.approved();
    let report = place.run(&proposal).expect(4).json();
    assert_eq!(report["open"], json!([]));
    place
        .resolve(report["run"].as_str().expect("a run"), &place.path("a"), "--restore", "alice")
        .expect(3)
        .says("ended `rolled-back` and left nothing to be resolved");
}

/// The ceiling of today, not that of the run.
#[test]
fn nothing_is_put_back_outside_the_ceiling() {
    let (place, report) = edited("echo somebody >a");
    let run = name(&report);
    let config = fs::read_to_string(place.state.config()).expect("it is text");
    let write = format!("\"files.write {}/** verbs", place.folder.display());
    let narrow = config.replace(&write, &format!("\"files.write {}/b verbs", place.folder.display()));
    assert_ne!(narrow, config);
    fs::write(place.state.config(), narrow).expect("it can be written");
    place.resolve(run, &place.path("a"), "--restore", "alice").expect(3).says("ceiling").says("nothing changed");
    assert_eq!(place.text("a"), "somebody\n");
    assert_eq!(place.shown(run)["resolutions"][0]["closed"], false);
    place.resolve(run, &place.path("a"), "--accept", "alice").expect(0);
    // And nothing at all where nobody says what the target is.
    let (place, report) = edited("echo somebody >a");
    let config = fs::read_to_string(place.state.config()).expect("it is text");
    fs::write(place.state.config(), config.replace("targets.place", "targets.elsewhere")).expect("it can be written");
    for way in ["--accept", "--restore"] {
        place.resolve(name(&report), &place.path("a"), way, "alice").expect(3).says("is not configured");
    }
    assert_eq!(place.text("a"), "somebody\n");
}

/// Of what nobody can put back a person only says that it may stay.
#[test]
fn a_guard_and_what_was_discarded_can_only_be_accepted() {
    let place = Place::new();
    place.put("mood", "gone\n");
    place.state.configure(&format!(
        "[[targets.place.validators]]\nname = \"spoils\"\npaths = [\"{0}/a\"]\n\
         command = [\"/bin/sh\", \"-c\", \"echo worse >{0}/c; exit 1\"]\n",
        place.folder.display()
    ));
    // Nothing validates what was discarded: the check is what fails.
    place.put("mood", "gone bad\n");
    let proposal = place.approved();
    let report = place.run(&proposal).expect(5).json();
    let run = name(&report);
    let discarded = report["open"].as_array().expect("a list").iter().find(|open| open["subject"] == place.path("a"));
    assert_eq!(discarded.expect("it is open")["restorable"], false, "{report}");
    place.resolve(run, &place.path("a"), "--restore", "alice").expect(3).says("nothing puts").says("--accept");
    place.resolve(run, &place.path("a"), "--accept", "alice").expect(0);
    assert_eq!(place.shown(run)["resolved"], true);

    let (place, report) = edited("echo worse >c");
    let run = name(&report);
    let open: Vec<_> = report["open"].as_array().expect("a list").iter().map(|open| open["subject"].clone()).collect();
    assert!(open.contains(&json!("guard c stays")), "{report}");
    place.resolve(run, "guard c stays", "--restore", "alice").expect(3).says("nothing puts");
    for subject in open {
        place.resolve(run, subject.as_str().expect("text"), "--accept", "alice").expect(0);
    }
    assert_eq!(place.shown(run)["resolved"], true);
}

#[test]
fn what_a_subject_was_is_printed_and_nothing_else() {
    let place = Place::new();
    place.put("a", "broken\u{1b}[2J\n\n");
    fs::write(place.folder.join("b"), b"\xff\x00binary").expect("it can be written");
    let report = failed(&place, "echo somebody >a");
    let run = name(&report);
    let before = |subject: &str| {
        let output = place.command(&["show", run, "--before", &place.path(subject)]).output().expect("it starts");
        (output.status.code(), output.stdout, String::from_utf8(output.stderr).expect("text"))
    };
    assert_eq!(before("a"), (Some(0), "broken\u{1b}[2J\n\n".into(), String::new()));
    assert_eq!(before("b"), (Some(0), b"\xff\x00binary".to_vec(), String::new()));
    let json = place.state.run(&["--json", "show", run, "--before", &place.path("b")]).expect(0).json();
    assert_eq!((&json["base64"], &json["bytes"], &json["from"]), (&json!("/wBiaW5hcnk="), &json!(8), &json!(0)));
    let (code, out, said) = before("mood");
    assert!(code == Some(3) && out.is_empty() && said.contains("did not change"), "{said}");
    // It stays when everything is resolved.
    place.resolve(run, &place.path("a"), "--accept", "alice").expect(0);
    assert_eq!(before("a").1, b"broken\x1b[2J\n\n");
}

/// A terminal is shown plain text, byte for byte, and nothing that would move its cursor.
#[test]
fn a_terminal_is_shown_plain_text_only() {
    let place = Place::new();
    place.put("a", "broken\u{1b}[2J\n");
    let report = failed(&place, "echo somebody >a; echo else >b");
    let on_a_terminal = |subject: &str| {
        let command = place.command(&["show", name(&report), "--before", &place.path(subject)]);
        let words: Vec<_> = [command.get_program()].into_iter().chain(command.get_args()).collect();
        let words = words.into_iter().map(|word| word.to_str().expect("UTF-8")).collect::<Vec<_>>().join(" ");
        let mut script = std::process::Command::new("script");
        script.args(["-qec", &words, "/dev/null"]).stdin(std::process::Stdio::null());
        let output = script.output().expect("script is there, as on every Debian");
        (output.status.code(), String::from_utf8(output.stdout).expect("text"))
    };
    let (code, said) = on_a_terminal("a");
    assert!(code == Some(1) && !said.contains('\u{1b}') && said.contains("it is no plain text"), "{said}");
    assert_eq!(on_a_terminal("b"), (Some(0), "broken too\r\n".to_owned()));
}

/// Whoever puts an old content back over what an approved run made of it since is told so.
#[test]
fn what_a_later_run_made_of_it_is_told() {
    let (place, report) = edited("echo somebody >a");
    let config = fs::read_to_string(place.state.config()).expect("it is text");
    let validator = editing(&place, "echo somebody >a");
    fs::write(place.state.config(), config.replace(&validator, "")).expect("it can be written");
    let proposal = place.approved();
    let later = place.run(&proposal).expect(0).json();
    let told = format!("was changed since by run {}, which committed", name(&later));
    place.resolve(name(&report), &place.path("a"), "--restore", "alice").expect(0).says(&told);
    assert_eq!(place.text("a"), "broken\n");
}

#[test]
fn of_what_was_cut_off_the_end_is_printed() {
    let place = Place::new();
    place.put("mood", "cut closed");
    place.put("log", "a line\nand another\n");
    let report = failed(&place, "echo somebody >a");
    let shown = place.state.run(&["show", name(&report), "--before", &place.path("log")]).expect(0);
    assert_eq!(shown.stdout, "and another\n");
    shown.says("only the end that was cut off is kept: it follows byte 7");
}

/// Nobody is shown what is sensitive; it can be put back unseen.
#[test]
fn what_is_sensitive_is_put_back_unseen() {
    let place = Place::new();
    let config = fs::read_to_string(place.state.config()).expect("it is text");
    let sensitive = format!("[targets.place]\nsensitive = [\"{}/a\"]\n", place.folder.display());
    let of = |text: &str| config.replace("[targets.place]\n", text);
    fs::write(place.state.config(), of(&sensitive)).expect("it can be written");
    let report = failed(&place, "echo somebody >a");
    let run = name(&report);
    let tell = [digest("broken\n"), digest("somebody\n")].map(|digest| digest.as_str().expect("text").to_owned());
    let silent = |ran: &Ran| {
        for digest in &tell {
            let hex = digest.trim_start_matches("sha256:");
            assert!(!ran.stdout.contains(hex) && !ran.stderr.contains(hex), "{}{}", ran.stdout, ran.stderr);
        }
    };
    assert_eq!((&report["open"][0]["before"], &report["open"][0]["found"]), (&Value::Null, &Value::Null));
    let refused = place.state.run(&["show", run, "--before", &place.path("a")]).expect(3).says("is sensitive");
    assert_eq!(refused.stdout, "");
    let resolved = place.resolve(run, &place.path("a"), "--restore", "alice").expect(0);
    assert_eq!(place.text("a"), "broken\n");
    silent(&resolved);
    silent(&place.state.run(&["--json", "show", run]).expect(0));
    silent(&place.state.run(&["show", run]).expect(0));
    // Nor is it in what was signed.
    let database = rusqlite::Connection::open(place.state.path("state/countersign.db")).expect("the database");
    let signed: Vec<u8> =
        database.query_row("SELECT document FROM resolutions", [], |row| row.get(0)).expect("what was signed");
    let signed = String::from_utf8(signed).expect("it is text");
    assert!(signed.contains("\"found\":\"sha256:") && tell.iter().all(|digest| !signed.contains(digest)), "{signed}");
}

/// What was shown before it was held for sensitive is not shown by now.
#[test]
fn what_came_to_be_sensitive_since_is_not_shown() {
    let (place, report) = edited("echo somebody >a");
    let run = name(&report);
    let config = fs::read_to_string(place.state.config()).expect("it is text");
    let sensitive = format!("[targets.place]\nsensitive = [\"{}/a\"]\n", place.folder.display());
    fs::write(place.state.config(), config.replace("[targets.place]\n", &sensitive)).expect("it can be written");
    place.state.run(&["show", run, "--before", &place.path("a")]).expect(3).says("is sensitive");
    place.resolve(run, &place.path("a"), "--accept", "alice").expect(0);
    let shown = place.state.run(&["--json", "show", run]).expect(0);
    for text in ["broken\n", "somebody\n"] {
        assert!(!shown.stdout.contains(Digest::of(text.as_bytes()).hex().as_str()), "{}", shown.stdout);
    }
}

/// A run that another is at work on its target waits for it; so does a resolution.
#[test]
fn nothing_is_resolved_beside_a_run() {
    let (place, report) = edited("echo somebody >a");
    let lock = format!("{}.lock", Digest::of(b"place").hex());
    let lock = fs::File::open(place.state.path("state/locks").join(lock)).expect("the target's lock");
    lock.lock().expect("it can be taken");
    place
        .resolve(name(&report), &place.path("a"), "--restore", "alice")
        .expect(3)
        .says("is held by")
        .says("nothing changed");
    drop(lock);
    place.resolve(name(&report), &place.path("a"), "--restore", "alice").expect(0);
}

/// An agent may take its time until somebody confirms, and a word on one thing is none on another.
#[test]
fn what_changes_while_it_is_signed_is_not_resolved() {
    let (place, report) = edited("echo somebody >a");
    let (run, a) = (name(&report), place.path("a"));
    // Whoever is asked to confirm edits the file, and agrees.
    let ask = place.state.path("ask");
    fs::write(&ask, format!("#!/bin/sh\necho else >{a}\n")).expect("it can be written");
    fs::set_permissions(&ask, fs::Permissions::from_mode(0o700)).expect("its mode can be set");
    let agent = support::agent::Agent::confirming(&ask);
    agent.add_to_confirm(&place.state.path("alice"));
    for way in ["--accept", "--restore"] {
        place.put("a", "somebody\n");
        let mut command = place.command(&["resolve", run, &a, way, "--reason", "seen", "--agent"]);
        command.env("SSH_AUTH_SOCK", agent.socket()).ran().expect(3).says("was changed while this was signed");
        assert_eq!(place.text("a"), "else\n");
    }
    let shown = place.shown(run);
    assert_eq!((&shown["resolved"], &shown["resolutions"]), (&json!(false), &json!([])));
    let mut command = place.command(&["resolve", run, &a, "--accept", "--reason", "seen", "--agent"]);
    command.env("SSH_AUTH_SOCK", agent.socket()).ran().expect(0);
}

/// What was signed verifies with OpenSSH alone.
#[test]
fn a_resolution_is_signed_in_a_namespace_of_its_own() {
    let (place, report) = edited("echo somebody >a");
    place.resolve(name(&report), &place.path("a"), "--accept", "alice").expect(0);
    let database = rusqlite::Connection::open(place.state.path("state/countersign.db")).expect("the database");
    let (document, signature): (Vec<u8>, String) = database
        .query_row("SELECT document, signature FROM resolutions", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .expect("what was signed");
    let public = fs::read_to_string(place.state.path("alice.pub")).expect("a key");
    fs::write(place.state.path("signers"), format!("alice {public}")).expect("written");
    fs::write(place.state.path("document.sig"), signature).expect("written");
    fs::write(place.state.path("document"), &document).expect("written");
    let verify = |namespace: &str| {
        let mut command = std::process::Command::new("ssh-keygen");
        command.args(["-q", "-Y", "verify", "-I", "alice", "-n", namespace]);
        command.arg("-f").arg(place.state.path("signers")).arg("-s").arg(place.state.path("document.sig"));
        command.stdin(fs::File::open(place.state.path("document")).expect("read"));
        command.output().expect("ssh-keygen starts").status.success()
    };
    assert!(verify("resolution@countersign") && !verify("approval@countersign"));
    let signed: Value = serde_json::from_slice(&document).expect("JSON");
    assert_eq!((&signed["way"], &signed["found"]), (&json!("accept"), &digest("somebody\n")));
    assert_eq!((&signed["run"], &signed["subject"]), (&report["run"], &json!(place.path("a"))));
}

/// A signal that may or may not have been sent is nobody's to put back.
#[test]
fn what_is_in_doubt_is_accepted() {
    let incident = Incident::on(State::new());
    // Killed once the signal's intent is durable, and before anybody knows what became of it.
    let proposal = incident.propose("pool-size");
    incident.approve(&proposal);
    let mut run = std::process::Command::new("strace");
    run.args(["-f", "-qq", "-e", "signal=none", "-o/dev/null", "-e", "trace=pidfd_send_signal", "-e"]);
    run.arg("inject=pidfd_send_signal:signal=KILL:when=1").arg("--").arg(env!("CARGO_BIN_EXE_countersign"));
    run.arg("--state").arg(incident.state.path("state")).args(["run", &proposal]);
    assert!(!run.output().expect("strace starts").status.success());
    let report = support::eventually("the end of the killed", || {
        let recovered = incident.state.run(&["--json", "recover"]);
        recovered.json()["runs"].get(0).cloned()
    });
    assert_eq!(report["outcome"], "in-doubt", "{report}");
    let run = name(&report);
    let subject = report["open"][0]["subject"].as_str().expect("a subject");
    assert!(subject.starts_with("exe="), "{report}");
    let resolve = |way: &str| {
        let words = ["--json", "resolve", run, subject, way, "--reason", "reloaded by hand", "--key"];
        incident.state.command(&words).arg(incident.state.path("alice")).ran()
    };
    resolve("--restore").expect(3).says("nothing puts");
    let resolved = resolve("--accept").expect(0).json();
    assert_eq!((&resolved["found"], &resolved["open"]), (&Value::Null, &json!([])));
    assert_eq!(incident.state.run(&["--json", "show", run]).expect(0).json()["outcome"], "in-doubt");
}

/// Whoever has other work is not held up by a target that does not answer.
#[test]
fn a_resolution_that_hung_is_tried_by_recover_alone() {
    let (place, report) = edited("echo somebody >a");
    let run = name(&report);
    half_resolved(&place.state, run, &place.path("a"));
    // What was given up of the run itself says nothing of its resolution.
    give_up(&place.state, run, "run");
    place.state.run(&["runs"]).expect(0).says("the runner ended before it was resolved");
    half_resolved(&place.state, run, &place.path("a"));
    give_up(&place.state, run, "resolution 2");
    let listed = place.state.run(&["runs"]).expect(0);
    assert!(!listed.stderr.contains("the runner ended before it was resolved"), "{}", listed.stderr);
    let recovered = place.state.run(&["--json", "recover"]).expect(0).json();
    let came = recovered["resolutions"][0].as_str().expect("what came of it");
    assert!(
        came.contains("the runner ended before it was resolved; it is as it was found, and is open still"),
        "{came}"
    );
    place.resolve(run, &place.path("a"), "--restore", "alice").expect(0);
    assert_eq!(place.text("a"), "broken\n");
}
