//! A file that was changed on its way: nobody is shown it, nobody signs it, and nothing of it is kept.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use crate::support::away::{Elsewhere, pack, text, unpack};
use crate::support::{Incident, Runs, ssh_keygen};

type Entries = BTreeMap<String, Vec<u8>>;

/// One incident with a proposal, exported and approved elsewhere.
struct Way {
    incident: Incident,
    elsewhere: Elsewhere,
    proposal: String,
    bytes: Vec<u8>,
}

impl Way {
    fn new() -> Self {
        let incident = Incident::new();
        let proposal = incident.propose("pool-size");
        let elsewhere = Elsewhere::new();
        let file = elsewhere.export(&incident, &proposal);
        elsewhere.approve(&incident, &file).expect(0);
        let bytes = fs::read(&file).expect("the file is there");
        Self { incident, elsewhere, proposal, bytes }
    }

    fn put(&self, bytes: &[u8]) -> PathBuf {
        let file = self.elsewhere.path("tampered.proposal");
        fs::write(&file, bytes).expect("it can be written");
        file
    }

    /// Neither shown, signed nor taken, with this exit code and these words.
    #[track_caller]
    fn refused(&self, bytes: &[u8], code: i32, why: &str) {
        self.refused_as("", bytes, code, why);
    }

    #[track_caller]
    fn refused_as(&self, what: &str, bytes: &[u8], code: i32, why: &str) {
        let file = self.put(bytes);
        let alice = self.incident.state.path("alice");
        for ran in [
            self.elsewhere.run(&["review", text(&file)]),
            self.elsewhere.run(&["approve", text(&file), "--reason", "seen", "--key", text(&alice)]),
            self.incident.state.run(&["import", text(&file)]),
        ] {
            assert!(ran.stderr.contains(why), "{what}: `{why}` is not in: {}", ran.stderr);
            ran.expect(code).says("hint: ");
        }
        assert_eq!(fs::read(&file).expect("it is there"), bytes, "{what}");
    }

    /// Nothing was signed or kept on the way.
    fn nothing_was_kept(&self) {
        let reviewed = self.incident.state.run(&["--json", "review", &self.proposal]).expect(0).json();
        assert_eq!(reviewed["approvals"].as_array().map(Vec::len), Some(0), "{reviewed}");
        assert_eq!(reviewed["denied"], serde_json::Value::Null);
        self.incident.run(&self.proposal).expect(3).says("nobody has");
    }
}

#[test]
fn cut_padded_flipped_or_packed_otherwise() {
    let way = Way::new();
    let whole = &way.bytes;
    let size = whole.len();
    for length in [0, 1, 511, 512, 1024, size / 2, size - 1024, size - 512, size - 1] {
        let code = if length < 21 { 1 } else { 3 };
        way.refused(&whole[..length], code, "exported proposal");
    }
    for more in [&[0_u8][..], &[0; 512], &[0; 9 * 512], b"more"] {
        way.refused(&[whole, more].concat(), 3, "damaged or was tampered with");
    }
    // One bit, anywhere.
    let file = way.elsewhere.path("flipped.proposal");
    for at in (0..48).map(|n| 30 + n * (size - 60) / 48) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        fs::write(&file, flipped).expect("it can be written");
        let ran = way.elsewhere.run(&["review", text(&file)]);
        assert!([1, 3].contains(&ran.code), "{at}: {} {}", ran.code, ran.stderr);
    }
    // The same content, as another program packs it.
    let unpacked = way.elsewhere.path("unpacked");
    fs::create_dir(&unpacked).expect("a folder can be made");
    let tar = |arguments: &[&str]| {
        let status = std::process::Command::new("tar").args(arguments).status().expect("tar starts");
        assert!(status.success(), "{arguments:?}");
    };
    let good = way.put(whole);
    tar(&["-xf", text(&good), "-C", text(&unpacked)]);
    let packed = way.elsewhere.path("packed.proposal");
    tar(&["-cf", text(&packed), "-C", text(&unpacked), "countersign-proposal", "proposal.json"]);
    way.refused(&fs::read(&packed).expect("it is there"), 3, "damaged or was tampered with");
    way.nothing_was_kept();
    // The test's own packing is the right one, so that what it changes is what is refused below.
    assert_eq!(pack(&unpack(whole)), *whole);
    way.incident.state.run(&["import", text(&way.put(whole))]).expect(0);
}

fn named(entries: &Entries, folder: &str, suffix: &str) -> String {
    let found = entries.keys().find(|name| name.starts_with(folder) && name.ends_with(suffix));
    found.unwrap_or_else(|| panic!("there is a `{folder}…{suffix}`")).clone()
}

/// One bit of every component.
fn flip_steps(entries: &mut Entries) {
    for (_, bytes) in entries.iter_mut().filter(|(_, bytes)| bytes.starts_with(b"\0asm")) {
        *bytes.last_mut().expect("it is not empty") ^= 1;
    }
}

/// Puts other words in the place of some, of an entry of text.
fn edit(entries: &mut Entries, name: &str, from: &str, to: &str) {
    let before = String::from_utf8_lossy(&entries[name]).into_owned();
    assert!(before.contains(from), "`{from}` is not in `{name}`");
    entries.insert(name.to_owned(), before.replace(from, to).into_bytes());
}

#[test]
fn every_part_is_what_was_signed_and_belongs_to_the_rest() {
    let way = Way::new();
    // Another proposal of the same runner, and one of another runner.
    let second = way.incident.propose("pool-size");
    let other = fs::read(way.elsewhere.export(&way.incident, &second)).expect("it is there");
    let other = unpack(&other);
    let stranger = Way::new();
    let foreign = unpack(&stranger.bytes);

    type Tamper<'a> = Box<dyn Fn(&mut Entries) + 'a>;
    let swap = |name: &'static str, from: &'_ Entries| -> Tamper<'_> {
        let bytes = from[name].clone();
        Box::new(move |entries: &mut Entries| drop(entries.insert(name.to_owned(), bytes.clone())))
    };
    let folder = |folder: &'static str, from: &'_ Entries| -> Tamper<'_> {
        let theirs: Entries =
            from.iter().filter(|(name, _)| name.starts_with(folder)).map(|(n, b)| (n.clone(), b.clone())).collect();
        Box::new(move |entries: &mut Entries| {
            entries.retain(|name, _| !name.starts_with(folder));
            entries.extend(theirs.clone());
        })
    };
    let without = |start: &'static str, end: &'static str| -> Tamper<'_> {
        Box::new(move |entries: &mut Entries| {
            let name = named(entries, start, end);
            entries.remove(&name);
        })
    };
    let changed = |start: &'static str, end: &'static str, from: &'static str, to: &'static str| -> Tamper<'_> {
        Box::new(move |entries: &mut Entries| {
            let name = named(entries, start, end);
            edit(entries, &name, from, to);
        })
    };
    let with = |name: &'static str, bytes: &'static [u8]| -> Tamper<'_> {
        Box::new(move |entries: &mut Entries| drop(entries.insert(name.to_owned(), bytes.to_vec())))
    };
    let table: Vec<(&str, Tamper<'_>, &str)> = vec![
        // What was signed.
        ("the proposal", changed("proposal.json", "", "no worker", "no workers"), "did not sign these bytes"),
        ("its signature", swap("proposal.json.sig", &other), "did not sign these bytes"),
        ("no signature", without("proposal.json.sig", ""), "`proposal.json.sig` is missing"),
        ("an empty signature", with("proposal.json.sig", b""), "it is empty"),
        (
            "the rehearsal",
            changed("rehearsals/", ".json", "pool-size", "pool-sise"),
            "other bytes than it is named for",
        ),
        ("its signature, cut", changed("rehearsals/", ".sig", "-----END", "----END"), "the rehearsal: the signature"),
        ("no rehearsal", without("rehearsals/", ".json"), "is missing"),
        ("evidence", changed("evidence/", ".json", "ev-", "ev-0"), "other bytes than it is named for"),
        ("no evidence", without("evidence/", ".json"), "is missing"),
        ("no evidence signature", without("evidence/", ".sig"), "is missing"),
        ("how it stands", changed("standing.json", "", "unhealthy", "healthy"), "how the targets stand: the signature"),
        ("the policy", changed("trust-policy.toml", "", "scoped = false", "scoped = true"), "another trust policy"),
        ("an image", changed("images/", "", "pool-size", "pool-sise"), "other bytes than it is named for"),
        ("no image", without("images/", ""), "is missing"),
        ("the steps", Box::new(flip_steps), "holds other bytes: they are"),
        ("no step", without("bundle/blobs/", ""), "the bundle"),
        ("the layout", changed("bundle/oci-layout", "", "1.0.0", "1.0.1"), "the bundle's folder holds something else"),
        ("no index", without("bundle/index.json", ""), "the bundle's folder holds something else"),
        // Parts of two proposals.
        ("another standing", swap("standing.json", &other), "how the targets stand: the signature"),
        ("another proposal's rehearsals", folder("rehearsals/", &other), "is missing"),
        ("another proposal's evidence", folder("evidence/", &other), "is missing"),
        ("another proposal", folder("proposal.json", &other), "signed for another proposal"),
        ("another proposal's standing", folder("standing.json", &other), "signed for another proposal"),
        ("another runner's key", swap("runner.pub", &foreign), "not by this runner"),
        ("another runner's rehearsal", folder("rehearsals/", &foreign), "is missing"),
        ("another runner's approval", folder("approvals/", &foreign), "does not list"),
        // What does not belong to it.
        ("a stranger", with("notes.txt", b"hello"), "`notes.txt` does not belong to it"),
        ("a stranger image", with("images/x", b"hello"), "other bytes than it is named for"),
        (
            "an image that nothing shows",
            with("images/e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", b""),
            "no change is shown by the image",
        ),
        ("a stranger blob", with("bundle/blobs/sha256/x", b"hello"), "the bundle's folder holds something else"),
        ("a stranger approval", with("approvals/x", b"hello"), "does not belong to it"),
        ("a stranger signature", with("approvals/x.1.sig", b"hello"), "does not belong to it"),
        ("another version", with("countersign-proposal", b"2\n"), "another version"),
        // What people signed.
        (
            "the approval",
            changed("approvals/", ".json", "\"uses\":1", "\"uses\":9"),
            "other bytes than it is named for",
        ),
        (
            "its signature, cut",
            changed("approvals/", ".sig", "-----END SSH SIGNATURE-----\n", ""),
            "it must begin with",
        ),
        ("nobody signed", without("approvals/", ".sig"), "nobody signed"),
    ];
    for (what, tamper, why) in table {
        let mut entries = unpack(&way.bytes);
        tamper(&mut entries);
        way.refused_as(what, &pack(&entries), if what == "another version" { 1 } else { 3 }, why);
    }

    // An approval that was changed and is named for what it is now, and one in two armors.
    let mut entries = unpack(&way.bytes);
    let (manifest, signature) = (named(&entries, "approvals/", ".json"), named(&entries, "approvals/", ".sig"));
    let twice = entries[&signature].repeat(2);
    entries.insert(signature.clone(), twice);
    way.refused(&pack(&entries), 3, "more than one block");
    let mut entries = unpack(&way.bytes);
    edit(&mut entries, &manifest, "\"uses\":1", "\"uses\":9");
    let changed = entries.remove(&manifest).expect("a manifest");
    let signed = entries.remove(&signature).expect("a signature");
    let file = way.elsewhere.path("manifest");
    fs::write(&file, &changed).expect("it can be written");
    let output = std::process::Command::new("sha256sum").arg(&file).output().expect("sha256sum starts");
    let digest = String::from_utf8_lossy(&output.stdout).split(' ').next().expect("a digest").to_owned();
    entries.insert(format!("approvals/{digest}.json"), changed.clone());
    entries.insert(format!("approvals/{digest}.1.sig"), signed);
    way.refused(&pack(&entries), 3, "did not sign these bytes");
    // Signed anew by somebody whose signature does not count.
    for key in ["agent", "stranger"] {
        if key == "stranger" {
            way.incident.state.keygen(key);
        }
        let _ = fs::remove_file(way.elsewhere.path("manifest.sig"));
        let key = way.incident.state.path(key);
        ssh_keygen(&["-Y", "sign", "-q", "-n", "approval@countersign", "-f", text(&key), text(&file)]);
        let signed = fs::read(way.elsewhere.path("manifest.sig")).expect("it is there");
        entries.insert(format!("approvals/{digest}.1.sig"), signed);
        way.refused(&pack(&entries), 3, "approv");
    }
    way.nothing_was_kept();
    assert_eq!(way.incident.status("/orders"), 503);
}

/// One good signature and one bad: nothing is kept of either.
#[test]
fn a_file_is_taken_whole_or_not_at_all() {
    let way = Way::new();
    let file = way.put(&way.bytes);
    let alice = way.incident.state.path("alice");
    let mut again =
        way.elsewhere.signing(&way.incident, "approve", &file, &["--reason", "again", "--key", text(&alice)]);
    // The first one has expired by then.
    let later = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("the clock").as_millis();
    let later = (later + 2 * 3_600_000).to_string();
    again.env("COUNTERSIGN_TEST_NOW", later).ran().expect(0);
    // Under the policy of the host as it is now, the approver has no say any more.
    way.incident.state.keygen("bob");
    let listed = |from: &str, to: &str| {
        let key = |name: &str| {
            let line = fs::read_to_string(way.incident.state.path(&format!("{name}.pub"))).expect("their key");
            line.split(' ').nth(1).expect("base64").to_owned()
        };
        way.incident.state.policy(|policy| policy.replace(&key(from), &key(to)));
    };
    listed("alice", "bob");
    way.incident.state.run(&["import", text(&file)]).expect(3).says("does not list");
    listed("bob", "alice");

    let mut entries = unpack(&fs::read(&file).expect("it is there"));
    let last = entries.keys().rfind(|name| name.starts_with("approvals/") && name.ends_with(".sig"));
    let last = last.expect("two approvals").clone();
    let first = named(&entries, "approvals/", ".sig");
    let swapped = entries[&first].clone();
    entries.insert(last, swapped);
    way.incident.state.run(&["import", text(&way.put(&pack(&entries)))]).expect(3).says("did not sign these bytes");
    way.nothing_was_kept();

    // Of too much.
    let mut entries = unpack(&way.bytes);
    let (manifest, signature) = (named(&entries, "approvals/", ".json"), named(&entries, "approvals/", ".sig"));
    let hex = manifest.trim_start_matches("approvals/").trim_end_matches(".json").to_owned();
    let signed = entries[&signature].clone();
    for number in 2..=65 {
        entries.insert(format!("approvals/{hex}.{number}.sig"), signed.clone());
    }
    way.refused(&pack(&entries), 3, "does not belong to it");
    let huge = way.elsewhere.path("huge.proposal");
    let file = fs::File::create(&huge).expect("it can be made");
    file.set_len(10 * 1024 * 1024 * 1024).expect("a sparse file");
    way.elsewhere.run(&["review", text(&huge)]).expect(1).says("larger than");
    way.incident.state.command(&["import", text(&huge)]).ran().expect(1).says("larger than");
    way.elsewhere.run(&["review", "/dev/zero"]).expect(1).says("not a regular file");
}
