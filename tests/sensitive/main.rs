//! What the operator holds to be sensitive is shown nowhere, whatever a step does to tell it.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod lineage;
#[path = "../support/mod.rs"]
mod support;
mod vault;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use support::Runs;
use vault::{NEW, OLD, TellsNothing, Vault, WORDS, digest, tells_a_mode};

#[test]
fn a_read_shows_no_content_and_says_why() {
    let vault = Vault::new();
    let call = format!("files.read {}", vault.secret().display());
    let text = vault.state.run(&["read", "vault", &call]).expect(0).tells_nothing();
    assert!(text.stdout.starts_with("content withheld: ") && text.stdout.contains("is among what is sensitive"));
    let read = vault.state.run(&["--json", "read", "vault", &call]).expect(0).tells_nothing().json();
    assert_eq!((&read["reply"], &read["call"]), (&Value::Null, &Value::from(call.as_str())));
    assert!(read["withheld"].as_str().expect("why").contains("bytes were read, recorded and not shown"));
    // A file beside it is shown, and so is one that only begins alike.
    vault.write("private-not", "plain\n");
    for name in ["open", "private-not"] {
        let call = format!("files.read {}/{name}", vault.home.display());
        vault.state.run(&["read", "vault", &call]).expect(0).shows("\n");
    }
    // Its names are content too.
    let call = format!("files.list {}/private", vault.home.display());
    let list = vault.state.run(&["read", "vault", &call]).expect(0);
    assert!(list.stdout.starts_with("content withheld: "), "{}", list.stdout);
}

#[test]
fn evidence_holds_call_and_size_and_a_digest_that_nobody_can_try() {
    let vault = Vault::new();
    let call = format!("files.read {}", vault.secret().display());
    let ids = [0, 1].map(|_| {
        let read = vault.state.run(&["--json", "read", "vault", &call]).expect(0).json();
        read["evidence"][0]["id"].as_str().expect("an id").to_owned()
    });
    let state = countersign_record::State::open(&vault.state.path("state")).expect("the state");
    let records = ids.map(|id| state.evidence().get(&id).expect("a record").record);
    let records: Vec<Value> = records.iter().map(|record| serde_json::from_slice(record).expect("JSON")).collect();
    for record in &records {
        assert_eq!((&record["call"], &record["excerpt"]), (&Value::from(call.as_str()), &Value::from("")));
        assert_eq!(record["withheld"], true);
        assert!(record["bytes"].as_u64().expect("a size") >= OLD.len() as u64);
        assert!(record["digest"].as_str().expect("a digest").starts_with("sha256:"));
    }
    assert_ne!(records[0]["digest"], records[1]["digest"], "that it was the same content is not told either");
    let mut encoded = vec![u8::try_from(OLD.len()).expect("short")];
    encoded.extend_from_slice(OLD.as_bytes());
    let plain: String = Sha256::digest(&encoded).iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(records.iter().all(|record| record["digest"] != format!("sha256:{plain}").as_str()));
}

#[test]
fn an_investigation_is_heard_until_it_reads_it() {
    let vault = Vault::new();
    let ran = vault.with_bundle(&["--json", "investigate"], "no").ran().expect(3).tells_nothing();
    let ran = ran.says("0 names to begin with").says("the investigation step reads what is sensitive");
    let found = ran.json();
    let findings = found["findings"].as_array().expect("findings");
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0]["summary"], "findings withheld: the step had read what is sensitive");
    // It looked for a file by the password's name: what is recorded is the grant, and what was denied is not told.
    let state = countersign_record::State::open(&vault.state.path("state")).expect("the state");
    let calls: Vec<String> = found["evidence"]
        .as_array()
        .expect("evidence")
        .iter()
        .map(|reference| {
            let record = state.evidence().get(reference["id"].as_str().expect("an id")).expect("a record");
            assert!(WORDS.iter().all(|word| !String::from_utf8_lossy(&record.record).contains(word)));
            let record: Value = serde_json::from_slice(&record.record).expect("JSON");
            record["call"].as_str().expect("a call").replace(vault.home.to_str().expect("UTF-8"), "")
        })
        .collect();
    assert_eq!(calls, ["files.list /public", "files.read /private/password", "files.read /public/**"]);
    assert_eq!(found["denied"][0]["call"], "files.stat (withheld: the step had read what is sensitive)");
    assert_eq!(found["denied"][0]["grant"], Value::Null);
}

#[test]
fn a_change_is_proposed_reviewed_run_and_shown_without_a_line_of_it() {
    let vault = Vault::new();
    let rehearsed = vault.with_bundle(&["--json", "rehearse"], "no").ran().expect(0).tells_nothing().json();
    let change = &rehearsed["changes"][0];
    let (old, new) = (OLD.len(), NEW.len());
    assert_eq!(change["withheld"], serde_json::json!({ "before": old, "after": new }));
    assert_eq!((&change["before"], &change["after"], &change["diff"]), (&Value::Null, &Value::Null, &Value::from("")));
    assert!(change["summary"].as_str().expect("a summary").contains(&format!("{old} bytes become {new}")));
    assert_eq!(change["effect"]["before"]["mode"], "0640", "attributes are shown");
    assert_eq!(rehearsed["check"]["before"]["reason"], "withheld: the step had read what is sensitive");
    assert_eq!(rehearsed["check"]["after"]["verdict"], "healthy");
    let text = vault.with_bundle(&["rehearse"], "no").ran().expect(0).tells_nothing();
    let text =
        text.shows(&format!("content WITHHELD, the subject is sensitive: before {old} bytes, after {new} bytes"));
    text.says("the fix step reads what is sensitive").says("from here on its words are withheld");

    let proposal = vault.approved("no");
    vault.state.run(&["--json", "review", &proposal]).expect(0).tells_nothing();
    vault
        .state
        .run(&["review", &proposal])
        .expect(0)
        .tells_nothing()
        .shows("NOTE: 1 change is of what the operator holds to be sensitive: what it would write is signed unseen")
        .shows("content withheld: it is sensitive, or the step had read what is")
        .shows(&format!("content WITHHELD, the subject is sensitive: before {old} bytes, after {new} bytes"));

    // What leaves the host carries none of it either.
    let file = vault.state.path("exported");
    vault.state.command(&["export", &proposal]).arg(&file).ran().expect(0).tells_nothing();
    let exported = fs::read(&file).expect("it can be read");
    // The new one is the fix's own constant, and so in its component.
    let word = WORDS[0];
    assert!(!exported.windows(word.len()).any(|window| window == word.as_bytes()), "`{word}` is exported");

    let report = vault.state.run(&["--json", "run", &proposal]).expect(0).tells_nothing().json();
    assert_eq!(report["changes"][0]["withheld"]["after"], new);
    assert_eq!(vault.read("private/password"), NEW);
    let run = report["run"].as_str().expect("a run");
    vault.state.run(&["--json", "show", run]).expect(0).tells_nothing();
    vault.state.run(&["show", run]).expect(0).tells_nothing().shows("content WITHHELD");
    vault.state.run(&["--json", "runs"]).expect(0).tells_nothing();
}

/// What leaves the host is what a review shows: no content, no digest of one, and not the chance that keeps it from
/// being guessed.
#[test]
fn an_exported_proposal_tells_nothing_and_is_approved_all_the_same() {
    let vault = Vault::new();
    let proposed = vault.propose("no").expect(0).tells_nothing().json();
    let proposal = proposed["proposal"].as_str().expect("a name");
    let file = vault.state.path("vault.proposal");
    let file = file.to_str().expect("UTF-8");
    vault.state.run(&["export", proposal, file]).expect(0).tells_nothing();
    let bytes = fs::read(file).expect("it was exported");
    let holds = |word: &str| bytes.windows(word.len()).any(|window| window == word.as_bytes());
    // What it would write stands in the agent's own bundle.
    for word in ["hunter2", &digest(OLD), &digest(NEW), "\"blind\":"] {
        assert!(!holds(word), "`{word}` is in the exported file");
    }
    let entries = support::away::unpack(&bytes);
    assert!(!entries.keys().any(|name| name.starts_with("rehearsals/") || name.starts_with("images/")));

    let review = |what: &str| {
        let mut review = vault.state.run(&["--json", "review", what]).expect(0).tells_nothing().json();
        review.as_object_mut().expect("an object").remove("exported");
        review
    };
    assert_eq!(review(file), review(proposal));
    vault.state.run(&["review", file]).expect(0).tells_nothing().shows("content WITHHELD, the subject is sensitive");
    let alice = vault.state.path("alice");
    let approve = ["approve", file, "--runner", &vault.state.runner(), "--reason", "seen", "--key"];
    vault.state.command(&approve).arg(alice).ran().expect(0);
    vault.state.run(&["import", file]).expect(0).tells_nothing();
    vault.state.run(&["run", proposal]).expect(0).tells_nothing();
    assert_eq!(vault.read("private/password"), NEW);
}

/// How much it reads of a file that anybody may see is a word of its own.
#[test]
fn the_sizes_of_what_a_step_reads_that_has_read_it_are_withheld() {
    let vault = Vault::new();
    vault.write("open", &"x".repeat(300));
    let proposed = vault.propose("size").expect(0).tells_nothing().json();
    let proposal = proposed["proposal"].as_str().expect("a name");
    let review = vault.state.run(&["--json", "review", proposal]).expect(0).tells_nothing().json();
    let records = review["evidence"].as_array().expect("evidence").iter();
    let of_open: Vec<&Value> = records.filter(|record| record["call"].to_string().contains("/open")).collect();
    assert_eq!(of_open.len(), "hunter2-swordfish".len());
    for record in of_open {
        assert_eq!((record.get("bytes"), &record["excerpt"]), (None, &Value::from("")), "{record}");
    }
    vault.state.run(&["review", proposal]).expect(0).tells_nothing().shows("size withheld");
}

#[test]
fn two_plans_of_one_content_cannot_be_compared() {
    let vault = Vault::new();
    let plan = || {
        let ran = vault.with_bundle(&["--json", "rehearse"], "blind").ran().expect(0).tells_nothing();
        ran.json()["plan"]["digest"].as_str().expect("a digest").to_owned()
    };
    assert_ne!(plan(), plan(), "else a short content could be told from the digest, by trying");
}

#[test]
fn a_step_that_did_not_read_it_is_heard() {
    let vault = Vault::new();
    let ran = vault.with_bundle(&["--json", "rehearse"], "blind").ran().expect(0).tells_nothing();
    ran.says("writes what it was told to write");
}

#[test]
fn a_fix_that_would_tell_it_is_denied_in_rehearsal_with_a_reason() {
    let vault = Vault::new();
    vault.propose("content").expect(3).tells_nothing().says("the plan would show what it does by").says("/open");
    for way in ["mode", "absence"] {
        vault.propose(way).expect(3).tells_nothing().says("the plan would show what it does by").says("/open");
    }
    vault.propose("own-mode").expect(3).tells_nothing().says("by the mode that it picks for").says("/password");
    // To rehearse is enough to see a plan, and what is denied is in none.
    let rehearsed = vault.with_bundle(&["rehearse"], "mode").ran().tells_nothing();
    assert!(!tells_a_mode(&rehearsed.stdout), "{}", rehearsed.stdout);
    vault.propose("name").expect(3).tells_nothing().says("could tell it by what it picks inside").says("/public/**");
    vault
        .propose("error")
        .expect(3)
        .tells_nothing()
        .says("the fix failed in rehearsal: the step failed: withheld: the step had read what is sensitive");
    assert_eq!((vault.read("private/password"), vault.read("open")), (OLD.to_owned(), "nothing to see\n".to_owned()));
    // Where nothing is sensitive, the same fix does what its grants allow.
    let other = Vault::with("", "");
    other.state.configure(&other.target("vault", "", ""));
    other.propose("content").expect(0);
    other.propose("name").expect(0);
}

#[test]
fn drift_is_told_without_digests() {
    let vault = Vault::new();
    let proposal = vault.approved("no");
    vault.write("private/password", NEW);
    let reviewed = vault.state.run(&["review", &proposal]).expect(0).tells_nothing();
    reviewed.shows("it is already as the plan would leave it");
    vault.write("private/password", "password = correct-horse-battery\n");
    let reviewed = vault.state.run(&["--json", "review", &proposal]).expect(0).tells_nothing().json();
    let drift = reviewed["targets"][0]["drift"][0].as_str().expect("a line");
    assert!(drift.contains("content is sha256:…, not sha256:…"), "{drift}");
    let refused = vault.state.run(&["--json", "run", &proposal]).expect(3).tells_nothing().json();
    assert!(refused["reason"].as_str().expect("a reason").contains("content is sha256:…, not sha256:…"));
}

/// What a validator, a guard and a check say of the target may quote what the fix wrote.
#[test]
fn what_commands_print_is_withheld_once_it_was_changed() {
    let vault = Vault::with("", "");
    let secret = vault.secret();
    let secret = secret.display();
    let quoting = format!("command = [\"/bin/sh\", \"-c\", \"cat {secret}; grep -q hunter2 {secret}\"]");
    let validator = format!("[[targets.vault.validators]]\nname = \"v\"\npaths = [\"{secret}\"]\n{quoting}");
    let guard = format!("[[targets.vault.guards]]\nname = \"g\"\n{quoting}");
    let sensitive = vault.sensitive();
    let config = fs::read_to_string(vault.state.config()).expect("a configuration");
    for more in [validator, guard] {
        let target = vault.target("vault", &sensitive, &more);
        fs::write(vault.state.config(), format!("{config}{target}")).expect("it can be written");
        let proposal = vault.approved("no");
        let report = vault.state.run(&["--json", "run", &proposal]).expect(4).tells_nothing().json();
        let reason = report["reason"].as_str().expect("a reason");
        assert!(reason.contains("what it printed is withheld"), "{reason}");
        assert_eq!(vault.read("private/password"), OLD);
        let run = report["run"].as_str().expect("a run");
        vault.state.run(&["--json", "show", run]).expect(0).tells_nothing();
    }
}

#[test]
fn a_guard_that_reads_it_says_no_more_than_that_it_differs() {
    let vault = Vault::with("", "");
    let secret = vault.secret();
    let guard = format!(
        "[[targets.vault.guards]]\nname = \"g\"\ncall = \"files.read {}\"\nexpect = {{ content = \"else\" }}",
        secret.display()
    );
    vault.state.configure(&vault.target("vault", &vault.sensitive(), &guard));
    let proposed = vault.propose("no").expect(0).json();
    let proposal = proposed["proposal"].as_str().expect("a name");
    let reviewed = vault.state.run(&["--json", "review", proposal]).expect(0).tells_nothing().json();
    let reason = reviewed["targets"][0]["guards_now"][1]["reason"].as_str().expect("a reason");
    assert!(reason.contains("`content` is not what is expected"), "{reason}");
}

#[test]
fn what_is_held_for_sensitive_later_is_withheld_from_then_on() {
    let vault = Vault::with("", "");
    let config = fs::read_to_string(vault.state.config()).expect("a configuration");
    let configure = |sensitive: &str| {
        let target = vault.target("vault", sensitive, "");
        fs::write(vault.state.config(), format!("{config}{target}")).expect("it can be written");
    };
    configure("");
    let call = format!("files.read {}", vault.secret().display());
    let read = vault.state.run(&["--json", "read", "vault", &call]).expect(0).json();
    let evidence = read["evidence"][0]["id"].as_str().expect("an id");
    let proposed = vault
        .with_bundle(&["--json", "propose", "--hypothesis", "it is known", "--evidence", evidence], "blind")
        .arg("--key")
        .arg(vault.state.path("agent"))
        .ran()
        .expect(0)
        .json();
    let proposal = proposed["proposal"].as_str().expect("a name");
    vault.state.run(&["review", proposal]).expect(0).shows("hunter2").shows("+password = correct-horse");
    configure(&vault.sensitive());
    let reviewed = vault.state.run(&["review", proposal]).expect(0).tells_nothing();
    reviewed.shows("content WITHHELD").shows("content withheld: it is").shows("the target's configuration was changed");
    vault.state.run(&["--json", "review", proposal]).expect(0).tells_nothing();
    let file = vault.state.path("exported");
    let exported = vault.state.command(&["export", proposal]).arg(&file).ran().expect(3);
    exported.says("is sensitive by now, and was not when it was rehearsed").says("propose it again");
    assert!(!file.exists());
    let cited = vault
        .with_bundle(&["propose", "--hypothesis", "it is known", "--evidence", evidence], "blind")
        .arg("--key")
        .arg(vault.state.path("agent"))
        .ran();
    cited.expect(3).tells_nothing().says("shows what is sensitive by now").says("read it again");
    vault
        .state
        .command(&["approve", proposal, "--reason", "agreed", "--key"])
        .arg(vault.state.path("alice"))
        .ran()
        .expect(3)
        .says("the configuration of `vault` was changed since the proposal");
}

#[test]
fn a_list_for_every_target_counts_on_each() {
    let vault = Vault::with("\"/nowhere/**\"", "");
    let config = fs::read_to_string(vault.state.config()).expect("a configuration");
    let path = vault.secret();
    let config = config.replace("/nowhere/**", path.to_str().expect("UTF-8"));
    fs::write(vault.state.config(), config).expect("it can be written");
    vault.state.configure(&vault.target("vault", "", ""));
    vault.state.configure(&vault.target("other", "sensitive = [\"/srv/**\"]", ""));
    for target in ["vault", "other"] {
        let call = format!("files.read {}", path.display());
        let read = vault.state.run(&["read", target, &call]).expect(0).tells_nothing();
        assert!(read.stdout.starts_with("content withheld"), "{}", read.stdout);
    }
}

#[test]
fn a_path_that_makes_no_sense_is_an_error() {
    for (path, why) in
        [("etc/shadow", "is not an absolute path"), ("/a/**/b", "holds `**` elsewhere"), ("/", "names no file")]
    {
        let vault = Vault::with("", "");
        vault.state.configure(&vault.target("vault", &format!("sensitive = [\"{path}\"]"), ""));
        vault
            .state
            .run(&["read", "vault", "files.read /etc/hosts"])
            .expect(1)
            .says("target `vault`: sensitive")
            .says(why);
    }
}

#[test]
fn a_path_that_would_cover_less_than_it_seems_is_an_error() {
    let vault = Vault::with("", "");
    let home = vault.home.display();
    std::os::unix::fs::symlink(vault.home.join("private"), vault.home.join("link")).expect("a link");
    std::os::unix::fs::symlink(vault.secret(), vault.home.join("also")).expect("a link");
    let config = fs::read_to_string(vault.state.config()).expect("a configuration");
    for (path, why) in [
        ("link/**", "/link` is a symbolic link, and files are known by the path without one; it leads to `"),
        ("link/pass*", "/private`: name what is there"),
        ("also", "/also` is a symbolic link"),
        ("private", "/private` is a directory, and what is in it is not covered: write `"),
        ("*/*/*/*/*", "has more than 4 segments that begin with `*`"),
    ] {
        let target = vault.target("vault", &format!("sensitive = [\"{home}/{path}\"]"), "");
        fs::write(vault.state.config(), format!("{config}{target}")).expect("it can be written");
        let read = vault.state.run(&["read", "vault", "files.read /etc/hosts"]).expect(1);
        read.says("target `vault`: sensitive").says(why).says("nothing was changed");
    }
}

#[test]
fn a_star_covers_names_that_begin_with_a_dot() {
    let vault = Vault::with("", "");
    vault.write("private/.pw", OLD);
    vault.state.configure(&vault.target("vault", &format!("sensitive = [\"{}/private/*\"]", vault.home.display()), ""));
    let call = format!("files.tail {}/private/password bytes=9", vault.home.display());
    vault.state.run(&["read", "vault", &call]).expect(0).tells_nothing();
    let call = format!("files.read {}/private/.pw", vault.home.display());
    let read = vault.state.run(&["read", "vault", &call]).expect(0).tells_nothing();
    assert!(read.stdout.starts_with("content withheld"), "{}", read.stdout);
}

/// What is kept for undo stays where only the runner's user can read it.
#[test]
fn images_stay_private() {
    let vault = Vault::new();
    let proposal = vault.approved("no");
    vault.state.run(&["--json", "run", &proposal]).expect(0);
    let mut seen = 0;
    private(&vault.state.path("state"), &mut seen);
    assert!(seen > 0, "the images are there");
}

fn private(folder: &Path, seen: &mut u32) {
    for entry in fs::read_dir(folder).expect("it can be read") {
        let path = entry.expect("it can be read").path();
        let metadata = path.symlink_metadata().expect("it is there");
        if metadata.is_dir() {
            private(&path, seen);
        } else if fs::read(&path).expect("it can be read") == OLD.as_bytes() {
            assert_eq!(metadata.permissions().mode() & 0o7777, 0o600, "{}", path.display());
            *seen += 1;
        }
    }
}
