//! TOML and JSON that is malformed, doubled, unknown, deep or huge, wherever it is taken.

use std::fs;

use crate::row::{Row, huge, modest};
use crate::support::place::{Place, two_faced};
use crate::support::{Runs, countersign};

/// Two kilobytes that nest hundreds of tables.
fn deep() -> String {
    let keys = ["a"; 60].join(".");
    format!("{}1{}\n", format!("{keys} = {{ ").repeat(60), " }".repeat(60))
}

/// Texts that are no configuration, policy or manifest, and what is said of them.
fn texts(good: &str) -> Vec<(String, &'static str)> {
    let doubled = format!("{}\nversion = 1\n", good.lines().take(1).collect::<Vec<_>>().join("\n"));
    vec![
        ("version = \n".to_owned(), "line 1: "),
        (format!("version = 1\n{doubled}version = 1\n"), "duplicate key"),
        (format!("colour = \"red\"\n{good}"), "unknown field `colour`"),
        (format!("{}{good}", deep()), "line 1: it is nested too deeply"),
        (format!("x = {}\n{good}", "[".repeat(100_000)), "line 1: it is nested too deeply"),
        (format!("{good}\n# \u{0}\n"), ": "),
        (String::new(), "missing field"),
    ]
}

#[test]
fn a_configuration() {
    let place = Place::new();
    let file = place.state.config();
    let (good, before) = (fs::read_to_string(&file).expect("it is text"), place.standing());
    for (text, says) in texts(&good) {
        fs::write(&file, text).expect("it can be written");
        modest(&mut place.command(&["pending"])).row(1, says).says(&file.display().to_string());
        modest(&mut place.command(&["run", "p-0123456789ab"])).row(1, says);
    }
    fs::write(&file, b"version = 1 # \xff\n").expect("it can be written");
    modest(&mut place.command(&["pending"])).row(1, "not UTF-8");
    fs::write(&file, good.replacen("version = 1", "version = 2", 1)).expect("it can be written");
    modest(&mut place.command(&["pending"])).row(1, "is of version 2, and this countersign reads version 1");
    huge(&file);
    modest(&mut place.command(&["pending"])).row(1, "is larger than the 1048576 bytes that are read");
    fs::write(&file, good).expect("it can be put back");
    place.command(&["pending"]).ran().expect(0);
    assert_eq!(place.standing(), before);
}

#[test]
fn a_trust_policy() {
    let place = Place::new();
    let (file, config) = (place.state.path("state/trust-policy.toml"), place.state.config());
    let good = fs::read_to_string(&file).expect("it is text");
    let pinned = countersign_model::Digest::of(good.as_bytes()).to_string();
    let configured = fs::read_to_string(&config).expect("it is text");
    // As it is, and pinned as it is.
    for (text, says) in texts(&good) {
        fs::write(&file, &text).expect("it can be written");
        fs::write(&config, &configured).expect("it can be written");
        modest(&mut place.command(&["pending"])).row(1, says);
        let digest = countersign_model::Digest::of(text.as_bytes()).to_string();
        fs::write(&config, configured.replace(&pinned, &digest)).expect("it can be written");
        modest(&mut place.command(&["pending"])).row(1, says);
    }
    // What nobody signed, of the same serial or of the next.
    fs::write(&config, &configured).expect("it can be written");
    for (changed, says) in [
        (good.replace("max-uses = 1", "max-uses = 2"), "another policy with that serial was accepted here"),
        (
            good.replace("serial = 1\n", "serial = 2\n"),
            "1 of the roots of the policy in force must sign it, and 0 have",
        ),
    ] {
        // One that is good was accepted before.
        fs::write(&file, &good).expect("it can be written");
        place.command(&["pending"]).ran().expect(0);
        assert_ne!(changed, good);
        fs::write(&file, &changed).expect("it can be written");
        modest(&mut place.command(&["pending"])).row(1, says);
    }
    huge(&file);
    modest(&mut place.command(&["pending"])).row(1, "is larger than the 1048576 bytes that are read");
}

#[test]
fn a_remediation() {
    let place = Place::new();
    countersign().current_dir(place.state.dir.path()).args(["new", "project"]).ran().expect(0);
    let project = place.state.path("project");
    let file = project.join("remediation.toml");
    let good = fs::read_to_string(&file).expect("it is text");
    let first = good.lines().next().expect("a line").to_owned();
    for (text, says) in [
        (format!("name = \n{good}"), "line 1: "),
        (format!("{first}\n{good}"), "duplicate key"),
        (format!("colour = \"red\"\n{good}"), "unknown field `colour`"),
        (format!("{}{good}", deep()), "nested too deeply"),
        (good.replacen(&first, "name = \"../up\"", 1), "`name`"),
    ] {
        fs::write(&file, text).expect("it can be written");
        modest(countersign().arg("build").arg(&project)).row(1, says);
        assert!(!project.join("bundle").exists() && !project.join("target").exists(), "nothing was built");
    }
    huge(&file);
    modest(countersign().arg("build").arg(&project)).row(1, "is larger than the 262144 bytes that are read");
    for kind in ["mkfifo", "mkdir"] {
        fs::remove_file(&file).expect("it can be removed");
        assert!(std::process::Command::new(kind).arg(&file).status().expect("it starts").success());
        modest(countersign().arg("build").arg(&project)).row(1, "is not a regular file");
    }
}

#[test]
fn an_argument() {
    let place = Place::new();
    let folder = place.folder.display().to_string();
    let deep = "[".repeat(50_000);
    for (argument, says) in [
        ("colour=red".to_owned(), "`colour` is not an argument of this bundle"),
        (format!("folder={folder}/../folder"), "it holds `..`"),
        (format!("folder={folder}/*"), "it holds `*`"),
        (format!("folder={folder}\u{202e}"), "it holds a control or invisible character"),
        (format!("folder={folder}\n"), "it holds a control or invisible character"),
        (format!("folder={deep}"), "larger than 16384 bytes"),
        ("folder=".to_owned(), "it is empty"),
    ] {
        let mut command =
            place.command(&["propose", "--target=place", "--hypothesis", "x", "--arg", &argument, "--key"]);
        command.arg(place.state.path("agent")).arg(two_faced());
        modest(&mut command).row(1, says);
    }
    // Twice, and a list where no list is.
    place.proposing(two_faced()).arg(place.argument()).ran().row(1, "given twice");
    let usage = place.command(&["propose", "--arg", "no-equals"]).ran();
    assert_eq!(usage.code, 2);
}
