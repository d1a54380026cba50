//! Paths, arguments and hypotheses with control, bidirectional and look-alike characters.

use crate::row::Row;
use crate::support::Runs;
use crate::support::place::{Place, name, two_faced};

/// A Cyrillic letter that looks like an `a`.
const LOOKALIKE: &str = "\u{430}";

/// Nothing that is printed may hold any of these.
#[track_caller]
fn plain(text: &str) {
    for bad in ["\u{1b}", "\u{7}", "\u{202e}", "\u{2066}", "\u{200b}", "\u{9b}", "\r", LOOKALIKE] {
        assert!(!text.contains(bad), "{bad:?}: {text:?}");
    }
}

#[test]
fn a_path() {
    let place = Place::new();
    let folder = place.folder.display().to_string();
    for (word, shown) in [
        ("x\u{1b}[31m".to_owned(), "\\u{1b}[31m"),
        ("x\u{202e}gnp".to_owned(), "x\\u{202e}gnp"),
        ("x\u{200b}".to_owned(), "x\\u{200b}"),
        (format!("p{LOOKALIKE}sswd"), "p\\u{430}sswd"),
    ] {
        let ran = place.command(&["read", "place", &format!("files.read {folder}/{word}")]).ran();
        let ran = ran.row(1, "must be quoted");
        assert!(ran.stderr.contains(shown), "{}", ran.stderr);
        plain(&ran.stderr);
        // Quoted it is a name like any other, and shown as what it is.
        let ran = place.command(&["read", "place", &format!("files.read \"{folder}/{word}\"")]).ran();
        let ran = ran.row(1, shown);
        plain(&ran.stderr);
        let ran = place.command(&["read", "place", &format!("files.read \"/elsewhere/{word}\"")]).ran();
        plain(&ran.stderr);
    }
    let bad = place.state.path("no-such-\u{202e}file");
    let ran = place.command(&["--config"]).arg(&bad).arg("pending").ran();
    plain(&ran.row(1, "no-such-\\u{202e}file").stderr);
    let ran = crate::support::countersign().arg("inspect").arg(&bad).ran();
    plain(&ran.row(1, "no-such-\\u{202e}file").stderr);
}

/// A file whose name looks like another's can be put right, and is shown as what it is.
#[test]
fn an_argument() {
    let place = Place::new();
    let odd = place.state.path(&format!("p{LOOKALIKE}y"));
    std::fs::create_dir(&odd).expect("a folder");
    for name in ["a", "b", "c", "mood"] {
        std::fs::copy(place.folder.join(name), odd.join(name)).expect("it can be copied");
    }
    let odd = odd.display().to_string();
    place.state.configure(
        &place
            .target("")
            .replace("targets.place", "targets.odd")
            .replace(&format!("{}/", place.folder.display()), &format!("{odd}/"))
            .replace("\"files.read ", "'files.read \"")
            .replace("\"files.write ", "'files.write \"")
            .replace("/**\"", "/**\"'")
            .replace("/** verbs=", "/**\" verbs=")
            .replace("discard\"", "discard'")
            .replace("/c\"", "/c\"'"),
    );
    let mut command = place.command(&["--json", "propose", "--target=odd", "--hypothesis", "x", "--key"]);
    command.arg(place.state.path("agent")).arg(two_faced()).arg(format!("--arg=folder={odd}"));
    let proposed = command.ran().expect(0);
    let proposal = name(&proposed.json());
    let reviewed = place.command(&["review", &proposal]).ran().expect(0);
    plain(&reviewed.stdout);
    plain(&reviewed.stderr);
    assert!(reviewed.stdout.contains("/p\\u{430}y/a"), "{}", reviewed.stdout);
    place.command(&["approve", &proposal, "--reason", "x", "--key"]).arg(place.state.path("alice")).ran().expect(0);
    let ran = place.command(&["run", &proposal]).ran().expect(0);
    plain(&ran.stdout);
    plain(&ran.stderr);
    assert_eq!(std::fs::read_to_string(format!("{odd}/a")).expect("it is text"), "fixed\n");
}

#[test]
fn a_hypothesis_and_a_reason() {
    let place = Place::new();
    let words = format!("it is \u{1b}[2Jbroken\u{202e}, says p{LOOKALIKE}ypal\r\u{7} — naïve, but привет");
    let mut command = place.command(&["propose", "--target=place", &place.argument(), "--hypothesis", &words, "--key"]);
    let ran = command.arg(place.state.path("agent")).arg(two_faced()).ran().expect(0);
    plain(&ran.stdout);
    let pending = place.command(&["--json", "pending"]).ran().expect(0).json();
    let proposal = name(&pending["pending"][0]);
    let reviewed = place.command(&["review", &proposal]).ran().expect(0);
    plain(&reviewed.stdout);
    assert!(reviewed.stdout.contains("p\\u{430}ypal"), "{}", reviewed.stdout);
    assert!(reviewed.stdout.contains("— naïve, but привет"), "what people write stays: {}", reviewed.stdout);
    let ran = place.command(&["deny", &proposal, "--reason", &words, "--key"]).arg(place.state.path("alice")).ran();
    plain(&ran.stdout);
    plain(&ran.stderr);
    let ran = place.command(&["review", &proposal]).ran();
    plain(&ran.stdout);
    for empty in ["", "  "] {
        let mut command =
            place.command(&["propose", "--target=place", &place.argument(), "--hypothesis", empty, "--key"]);
        command.arg(place.state.path("agent")).arg(two_faced()).ran().row(1, "`--hypothesis` is empty");
    }
    let long = "x".repeat(100_000);
    let mut command = place.command(&["propose", "--target=place", &place.argument(), "--hypothesis", &long, "--key"]);
    command.arg(place.state.path("agent")).arg(two_faced()).ran().row(1, "`--hypothesis` is longer than");
}

#[test]
fn a_target_and_a_key_name() {
    let place = Place::new();
    for target in ["pl\u{430}ce", "place\u{202e}", "place\n", "../place", ""] {
        let ran = place.command(&["read", target, "files.read /x"]).ran().row(1, "is not configured");
        plain(&ran.stderr);
    }
    let config = place.state.config();
    let text = std::fs::read_to_string(&config).expect("it is text");
    std::fs::write(&config, text.replace("[targets.place", "[targets.\"pl\u{430}ce\"")).expect("it can be written");
    let ran = place.command(&["pending"]).ran().row(1, "is not a target's name");
    plain(&ran.stderr);
}
