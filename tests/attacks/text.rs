//! Texts that are not what they look like: escapes, bidirectional controls and look-alikes, in whatever an agent chooses.

use std::fs;

use serde_json::Value;

use crate::support::Runs;
use crate::support::bundle_with;
use crate::support::place::{Place, name, two_faced};

/// What may reach no terminal: an escape, its one-byte form, a bell, an override and an isolate, a space of no width, a tag,
/// and letters that pass for ASCII.
const BAD: &[char] =
    &['\u{1b}', '\u{9b}', '\u{7}', '\r', '\u{202e}', '\u{2066}', '\u{200b}', '\u{e0041}', '\u{430}', '\u{ff41}'];

fn bad() -> String {
    BAD.iter().map(|c| format!("p{c}l")).collect()
}

/// Of text for people, all of it; of JSON, what a terminal would heed.
#[track_caller]
fn plain(printed: &str, json: bool) {
    for c in BAD {
        let heeded = !json || !matches!(c, '\u{430}' | '\u{ff41}');
        assert!(!heeded || !printed.contains(*c), "{c:?} in {printed:?}");
    }
}

/// Shows a proposal in every way that there is, and gives its review as a program has it.
fn shown(place: &Place, proposal: &str) -> Value {
    let file = place.state.path(&format!("{proposal}.proposal"));
    let file = file.to_str().expect("UTF-8");
    let _ = fs::remove_file(file);
    place.state.run(&["export", proposal, file]).expect(0);
    let mut review = Value::Null;
    for words in
        [&["review", proposal][..], &["review", file], &["pending"], &["trust", "explain", proposal], &["runs"]]
    {
        let people = place.state.run(words).expect(0);
        plain(&people.stdout, false);
        plain(&people.stderr, false);
        let program = place.state.run(&[&["--json"], words].concat()).expect(0);
        plain(&program.stdout, true);
        plain(&program.stderr, false);
        if words == ["review", proposal] {
            review = program.json();
        }
    }
    let log = place.state.run(&["audit", "export", "--out", place.state.path("log").to_str().expect("UTF-8")]);
    plain(&log.expect(0).stdout, false);
    plain(&fs::read_to_string(place.state.path("log")).expect("text"), false);
    fs::remove_file(place.state.path("log")).expect("it was written");
    review
}

#[test]
fn a_hypothesis_a_reason_and_a_description() {
    let place = Place::new();
    let renamed = place.state.path("renamed");
    let words = bad();
    // What is not seen at all is refused in a bundle; what looks like something else is a word that somebody may have written.
    bundle_with("hostile/two-faced", &renamed, |manifest| manifest.replace("Says one thing", "p\u{430}l \u{ff41}"));
    let mut command = place.command(&["--json", "propose", "--target=place", "--hypothesis", &words, "--key"]);
    command.arg(place.state.path("agent")).arg(&renamed).arg(place.argument());
    let proposed = command.ran().expect(0);
    plain(&proposed.stdout, true);
    let proposal = name(&proposed.json());
    let review = shown(&place, &proposal);
    assert_eq!(review["words"]["hypothesis"], words.as_str(), "a program has it as it was written");
    let mut inspect = place.command(&["inspect"]);
    plain(&inspect.arg(&renamed).ran().expect(0).stdout, false);
    let approve = ["approve", &proposal, "--reason", &words, "--key"];
    let approved = place.command(&approve).arg(place.state.path("alice")).ran().expect(0);
    plain(&approved.stdout, false);
    shown(&place, &proposal);
    let ran = place.command(&["run", &proposal]).ran().expect(0);
    plain(&ran.stdout, false);
    plain(&ran.stderr, false);
    shown(&place, &proposal);
}

/// What stands in the target's files is shown as what it is too: a diff with a look-alike would be approved for another.
#[test]
fn contents_and_the_names_of_files() {
    let place = Place::new();
    place.put("a", &format!("{}\n", bad()));
    let proposal = name(&place.proposing(two_faced()).ran().expect(0).json());
    let review = place.state.run(&["review", &proposal]).expect(0);
    for c in BAD {
        assert!(review.stdout.contains(&format!("\\u{{{:x}}}", u32::from(*c))), "{c:?}: {}", review.stdout);
    }
    shown(&place, &proposal);
    // A folder whose name ends a line, or goes over it.
    for c in ['\n', '\u{1b}', '\u{202e}', '\u{430}'] {
        let folder = format!("{}/x{c}y", place.folder.display());
        fs::create_dir(&folder).expect("a folder");
        let mut command = place.command(&["propose", "--target=place", "--hypothesis", "x", "--key"]);
        command.arg(place.state.path("agent")).arg(two_faced()).arg(format!("--arg=folder={folder}"));
        let ran = command.ran();
        assert_ne!(ran.code, 0, "there is nothing to be fixed: {}", ran.stdout);
        plain(&ran.stdout, false);
        plain(&ran.stderr, false);
        assert!(!ran.stderr.contains("x\ny"), "{}", ran.stderr);
    }
}

/// A file that is imported names targets and runs as it likes.
#[test]
fn names_in_a_file_that_is_imported() {
    let place = Place::new();
    let proposal = place.propose();
    let file = place.state.path("file.proposal");
    place.state.run(&["export", &proposal, file.to_str().expect("UTF-8")]).expect(0);
    let entries = crate::support::away::unpack(&fs::read(&file).expect("it was written"));
    for c in BAD {
        let mut forged = entries.clone();
        let text = String::from_utf8(forged["proposal.json"].clone()).expect("JSON");
        let escaped = serde_json::to_string(&format!("pl{c}ce")).expect("JSON");
        forged.insert("proposal.json".to_owned(), text.replace("\"place\"", &escaped).into_bytes());
        forged.insert(format!("x{c}y"), b"x".to_vec());
        let path = place.state.path("forged.proposal");
        fs::write(&path, crate::support::away::pack(&forged)).expect("it can be written");
        for verb in ["review", "import", "inspect"] {
            for form in [&[verb][..], &["--json", verb]] {
                let ran = place.state.run(&[form, &[path.to_str().expect("UTF-8")]].concat());
                assert_eq!(ran.code, 3, "{verb} {c:?}: {}", ran.stderr);
                plain(&ran.stdout, form.len() > 1);
                plain(&ran.stderr, false);
            }
        }
    }
}
