//! Manifests that are signed by whoever may, and are not what a manifest is.

use std::fs;

use crate::signed::{APPROVAL, Unsigned};
use crate::support::place::Place;

/// Each is refused though its signature is good, and keeps nothing.
#[test]
fn that_say_a_thing_twice_or_too_much() {
    let place = Place::new();
    let unsigned = Unsigned::of(&place);
    let good = String::from_utf8(unsigned.bytes()).expect("UTF-8");
    let predicate = |more: &str| good.replacen("\"predicate\":{", &format!("\"predicate\":{{{more},"), 1);
    let wide = format!("\"reason\":\"{}\"", "x".repeat(4 << 20));
    let table = [
        ("a key twice", predicate("\"uses\":1"), "the key `uses` stands twice"),
        ("a key twice, escaped", predicate("\"us\\u0065s\":9"), "the key `uses` stands twice"),
        (
            "a key twice, deep",
            good.replacen("\"name\":\"place\"", "\"name\":\"x\",\"name\":\"place\"", 1),
            "stands twice",
        ),
        ("an unknown field", predicate("\"emergency\":true"), "unknown field `emergency`"),
        (
            "an unknown field in a target",
            good.replacen("\"name\":\"place\"", "\"name\":\"place\",\"x\":1", 1),
            "unknown field `x`",
        ),
        ("a float", good.replacen("\"uses\":1", "\"uses\":1.0", 1), "not a whole number"),
        ("an exponent", good.replacen("\"uses\":1", "\"uses\":1e0", 1), "not a whole number"),
        ("a negative number", good.replacen("\"uses\":1", "\"uses\":-1", 1), "-1"),
        (
            "more than there is room for",
            good.replacen("\"uses\":1", "\"uses\":99999999999999999999999", 1),
            "not a whole number",
        ),
        (
            "another type of statement",
            good.replacen("in-toto.io/Statement/v1", "in-toto.io/Statement/v2", 1),
            "expected",
        ),
        ("another predicate", good.replacen("\"predicateType\":\"", "\"predicateType\":\"x", 1), "expected"),
        ("two values", format!("{good}{good}"), "trailing characters"),
        ("a byte order mark", format!("\u{feff}{good}"), "expected value"),
        ("a line feed before its end", good.replacen("\"reason\":\"x\"", "\"reason\":\"\n\"", 1), "control character"),
        ("too much of it", good.replacen("\"reason\":\"x\"", &wide, 1), ""),
    ];
    for (what, manifest, says) in table {
        assert_ne!(manifest, good, "{what}: the edit changes something");
        fs::write(&unsigned.manifest, manifest).expect("it can be written");
        let ran = unsigned.hand_in(&unsigned.sign("alice", APPROVAL));
        assert!(
            [1, 3].contains(&ran.code) && (ran.code == 3 || says.is_empty()),
            "{what}: {} {}",
            ran.code,
            ran.stderr
        );
        assert!(ran.stderr.contains(says) && ran.stderr.contains("hint: "), "{what}: {}", ran.stderr);
        assert!(ran.stderr.len() < 4000, "{what}: it is told in few words");
    }
    place.run(&unsigned.proposal).expect(3).says("nobody has");
    fs::write(&unsigned.manifest, good).expect("it can be put back");
    unsigned.hand_in(&unsigned.sign("alice", APPROVAL)).expect(0);
    place.run(&unsigned.proposal).expect(0);
}
