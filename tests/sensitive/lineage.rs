//! Proposals that come of another: a revision, which tells two plans apart, and what undoes a run.

use std::fs;

use serde_json::Value;

use crate::support::Runs;
use crate::vault::{NEW, OLD, OTHER, TellsNothing, Vault, digest, tells_a_mode};

fn named(proposed: &Value) -> String {
    proposed["proposal"].as_str().expect("a proposal").to_owned()
}

/// A revision is made of two plans, and of what differs between them.
#[test]
fn a_revision_tells_nothing_of_either_plan() {
    let vault = Vault::new();
    let old = vault.approved("no");
    vault.write("private/password", OTHER);
    vault.state.run(&["--json", "run", &old]).expect(3).tells_nothing();
    let proposed = vault.revise(&old, &[]).expect(0).tells_nothing().json();
    let new = named(&proposed);
    assert_eq!(proposed["plan"]["changes"][0]["diff"], "");
    let revision = vault.reviewed(&new)["revision"].clone();
    assert_eq!(revision["revises"], old.as_str());
    let change = &revision["targets"][0]["changes"][0];
    for (what, size) in [("was", OLD.len()), ("is", OTHER.len())] {
        let summary = change["summary"][what].as_str().expect("a summary");
        assert!(summary.contains(&format!("{size} bytes become {}", NEW.len())), "{summary}");
    }
    assert_eq!((&change["before"], &change["after"]), (&Value::Null, &Value::Null), "{change}");
    assert_eq!((&change["drifted"], &change["rewritten"]), (&Value::from(""), &Value::from("")));
    vault.approve(&new);
    let text = vault.state.run(&["run", &new]).expect(0).tells_nothing();
    assert!(text.stdout.contains("committed"), "{}", text.stdout);
    assert_eq!(vault.read("private/password"), NEW);
}

/// Both were rehearsed before anybody said so, and the check told each time what it had read.
#[test]
fn a_revision_withholds_what_is_held_for_sensitive_since() {
    let vault = Vault::with("", "");
    let config = fs::read_to_string(vault.state.config()).expect("a configuration");
    let configure = |target: &str| {
        fs::write(vault.state.config(), format!("{config}{target}")).expect("it can be written");
    };
    configure(&vault.target("vault", "", ""));
    let old = named(&vault.propose("blind").expect(0).json());
    vault.write("private/password", OTHER);
    let new = named(&vault.revise(&old, &[]).expect(0).json());
    vault.state.run(&["review", &new]).expect(0).shows("check before the fix on vault").shows("hunter2-marlin");

    configure(&vault.target("vault", &vault.sensitive(), ""));
    let text = vault.state.run(&["review", &new]).expect(0).tells_nothing();
    text.shows(&format!("REVISES {old}")).shows("content WITHHELD");
    vault.state.run(&["--json", "review", &new]).expect(0).tells_nothing();

    // Rehearsed again, it may leave the host, with what differs from one that may not.
    let newest = named(&vault.revise(&new, &[]).expect(0).tells_nothing().json());
    assert_eq!(vault.reviewed(&newest)["revision"]["revises"], new.as_str());
}

/// A step that read it before anybody said so wrote what it liked of it, wherever its grants let it.
#[test]
fn what_a_step_chose_is_withheld_where_what_it_read_is_held_for_sensitive_since() {
    let vault = Vault::with("", "");
    let config = fs::read_to_string(vault.state.config()).expect("a configuration");
    let configure = |target: &str| {
        fs::write(vault.state.config(), format!("{config}{target}")).expect("it can be written");
    };
    for way in ["content", "name", "mode"] {
        configure(&vault.target("vault", "", ""));
        let old = named(&vault.propose(way).expect(0).json());
        configure(&vault.target("vault", &vault.sensitive(), ""));
        for verb in [&["review", &old][..], &["--json", "review", &old]] {
            let review = vault.state.run(verb).expect(0).tells_nothing();
            let review = review.shows("withheld: the step had read what is sensitive by now");
            assert!(!tells_a_mode(&review.stdout), "a mode is a byte of it: {}", review.stdout);
        }
        vault.state.run(&["export", &old, "nowhere"]).expect(3).tells_nothing();
        let new = named(&vault.revise(&old, &["--arg=way=no"]).expect(0).tells_nothing().json());
        let revision = vault.reviewed(&new)["revision"].clone();
        let changes = revision["targets"][0]["changes"].as_array().expect("changes").clone();
        assert!(
            changes.iter().any(|change| change["subject"] == "withheld: the step had read what is sensitive by now")
        );
        assert!(!tells_a_mode(&revision.to_string()), "{revision}");
    }
}

/// What is sensitive on a target, its own configuration says; where the revision is for another target, that is not asked.
#[test]
fn a_revision_for_another_target_tells_nothing_of_the_one_before() {
    let vault = Vault::with("", "");
    let config = fs::read_to_string(vault.state.config()).expect("a configuration");
    let configure = |sensitive: &str| {
        let both = ["vault", "other"].map(|name| vault.target(name, sensitive, ""));
        fs::write(vault.state.config(), format!("{config}{}", both.concat())).expect("it can be written");
    };
    configure("");
    let old = named(&vault.propose("blind").expect(0).json());
    configure(&vault.sensitive());
    let new = named(&vault.revise(&old, &["--target", "other"]).expect(0).tells_nothing().json());
    let targets = vault.reviewed(&new)["revision"]["targets"].clone();
    let dropped = targets.as_array().expect("targets").iter().find(|target| target["name"] == "vault").expect("it is");
    assert!(dropped["check_before"]["was"]["reason"].as_str().expect("why").starts_with("withheld: "), "{dropped}");
    assert_eq!(dropped["changes"][0]["before"], Value::Null, "{dropped}");
}

#[test]
fn what_undoes_a_run_tells_nothing_either() {
    let vault = Vault::new();
    let proposal = vault.approved("no");
    let report = vault.state.run(&["--json", "run", &proposal]).expect(0).json();
    let run = report["run"].as_str().expect("a run");
    let rollback = || {
        let mut command = vault.state.command(&["--json", "rollback", run, "--reason", "it is known again", "--key"]);
        command.arg(vault.state.path("second")).env("RUST_LOG", "trace").ran()
    };
    vault.write("private/password", OTHER);
    rollback().expect(3).tells_nothing().says("content is sha256:…");
    vault.write("private/password", NEW);
    let undoing = named(&rollback().expect(0).tells_nothing().json());
    assert_eq!(vault.reviewed(&undoing)["undoes"]["run"], run);
    vault.approve(&undoing);
    let undone = vault.state.run(&["--json", "run", &undoing]).expect(0).tells_nothing().json();
    vault.state.run(&["show", undone["run"].as_str().expect("a run")]).expect(0).tells_nothing();
    assert_eq!(vault.read("private/password"), OLD);
}

/// A run on another target is held against what that target's own configuration says by now.
#[test]
fn an_earlier_run_on_another_target_is_told_unless_it_quotes_what_is_sensitive_there() {
    let vault = Vault::with("", "");
    let config = fs::read_to_string(vault.state.config()).expect("a configuration");
    let other = vault.target("other", "", "");
    let configure = |vaults: &str| {
        fs::write(vault.state.config(), format!("{config}{other}{vaults}")).expect("it can be written");
    };
    configure(&vault.target("vault", "", ""));
    let old = vault.approved_openly("blind");
    vault.write("private/password", OTHER);
    vault.state.run(&["run", &old]).expect(3);
    let elsewhere = named(&vault.revise(&old, &["--target", "other"]).expect(0).json());
    let told = || {
        let review = vault.state.run(&["--json", "review", &elsewhere]).expect(0).json();
        assert_eq!(review["earlier_runs"][0]["target"], "vault");
        review["earlier_runs"][0]["reason"].as_str().expect("a reason").to_owned()
    };
    assert!(told().contains(&digest(OTHER)), "{}", told());
    let file = vault.state.path("other.proposal");
    let file = file.to_str().expect("UTF-8");
    vault.state.run(&["export", &elsewhere, file]).expect(0);
    vault.state.run(&["--json", "review", file]).expect(0).shows(&told());

    configure(&vault.target("vault", &vault.sensitive(), ""));
    assert_eq!(told(), "withheld: it may quote what is sensitive by now, and was not then");
    configure("");
    assert_eq!(told(), "withheld: its target is not configured any more, and nobody says what is sensitive there");
}

/// A rollback that a guard does not follow, and whose lines have that guard's words.
#[test]
fn what_is_not_as_before_is_withheld_once_it_is_held_for_sensitive() {
    let vault = Vault::with("", "");
    let config = fs::read_to_string(vault.state.config()).expect("a configuration");
    let (secret, seen) = (vault.secret(), vault.state.path("seen"));
    let (secret, seen) = (secret.display(), seen.display());
    // It holds until the fix has been there, and never again.
    let script = format!("grep -q correct {secret} && touch {seen}; test ! -e {seen} || {{ cat {secret}; exit 1; }}");
    let guard = format!("[[targets.vault.guards]]\nname = \"g\"\ncommand = [\"/bin/sh\", \"-c\", \"{script}\"]");
    let configure = |sensitive: &str| {
        let target = vault.target("vault", sensitive, &guard);
        fs::write(vault.state.config(), format!("{config}{target}")).expect("it can be written");
    };
    configure("");
    let proposal = named(&vault.propose("blind").expect(0).json());
    let approve = ["approve", &proposal, "--reason", "agreed", "--key"];
    vault.state.command(&approve).arg(vault.state.path("alice")).ran().expect(0);
    let report = vault.state.run(&["--json", "run", &proposal]).expect(5).json();
    let run = report["run"].as_str().expect("a run");
    assert!(report["left"].to_string().contains("hunter2"), "{report}");
    assert_eq!(vault.read("private/password"), OLD);
    vault.state.run(&["show", run]).expect(0).shows("not as before: ").shows("hunter2");

    configure(&vault.sensitive());
    vault.state.run(&["show", run]).expect(0).tells_nothing().shows("not as before: withheld: it may quote");
    vault.state.run(&["--json", "show", run]).expect(0).tells_nothing();
}

/// Runs of before anybody said so quoted the check, and gave digests that a short content can be told by.
#[test]
fn runs_withhold_what_is_held_for_sensitive_since() {
    let vault = Vault::with("", "");
    let config = fs::read_to_string(vault.state.config()).expect("a configuration");
    let configure = |target: &str| {
        fs::write(vault.state.config(), format!("{config}{target}")).expect("it can be written");
    };
    configure(&vault.target("vault", "", ""));
    let proposal = vault.approved_openly("blind");
    vault.write("private/password", OTHER);
    let refused = vault.state.run(&["--json", "run", &proposal]).expect(3).json();
    assert!(refused["reason"].as_str().expect("a reason").contains(&digest(OTHER)), "{refused}");
    vault.write("private/password", OLD);
    // A guard that fails has it rolled back, for what the guard says.
    let guard = format!(
        "[[targets.vault.guards]]\nname = \"old\"\ncall = \"files.read {}\"\nexpect = {{ content = \"{}\" }}",
        vault.secret().display(),
        OLD.replace('\n', "\\n")
    );
    configure(&vault.target("vault", "", &guard));
    let again = vault.approved_openly("blind");
    let ran = vault.state.run(&["--json", "run", &again]).expect(4).json();
    let run = ran["run"].as_str().expect("a run");
    assert!(ran["reason"].as_str().expect("a reason").contains("correct-horse"), "{ran}");
    vault.state.run(&["--json", "show", run]).expect(0).shows(&digest(OLD)).shows("correct-horse");
    vault.state.run(&["--json", "runs"]).expect(0).shows("correct-horse").shows(&digest(OTHER));

    configure(&vault.target("vault", &vault.sensitive(), ""));
    let later = named(&vault.propose("blind").expect(0).tells_nothing().json());
    let earlier = vault.reviewed(&later)["earlier_runs"].clone();
    let told = "withheld: it may quote what is sensitive by now, and was not then";
    assert!(earlier.as_array().expect("runs").iter().all(|run| run["reason"] == told), "{earlier}");
    for target in [vault.target("vault", &vault.sensitive(), ""), vault.target("other", &vault.sensitive(), "")] {
        // The other way round, the target goes, and what is sensitive on another is so there too.
        configure(&target);
        for verb in [&["runs"][..], &["--json", "runs"], &["show", run], &["--json", "show", run]] {
            vault.state.run(verb).expect(0).tells_nothing().shows("withheld: it may quote what is sensitive by now");
        }
        vault.state.run(&["show", run]).expect(0).shows("content WITHHELD");
    }
    // Where nothing that it touched has become sensitive, it is told as before.
    configure(&vault.target("vault", "sensitive = [\"/nowhere/**\"]", ""));
    vault.state.run(&["runs"]).expect(0).shows("correct-horse");
}
