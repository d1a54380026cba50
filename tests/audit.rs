//! The audit log through the binary: what stands in it, every way to bend it, receipts, witnesses, and a state that was restored.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;
#[path = "support/witness.rs"]
mod witness;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use support::place::Place;
use support::under::Under;
use support::{Ran, Runs};
use witness::Witness;

/// A command about a state directory, perhaps a copy.
fn of(state: &Path, words: &[&str]) -> Ran {
    support::countersign().arg("--state").arg(state).args(words).ran()
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp starts");
    assert!(status.success(), "it can be copied");
}

fn audit(place: &Place, words: &[&str]) -> Ran {
    place.command(&["--json", "audit"]).args(words).ran()
}

fn pause(place: &Place, state: &Path, reason: &str) {
    let mut command = support::countersign();
    command.arg("--state").arg(state).args(["pause", "--reason", reason, "--key"]).arg(place.state.path("alice"));
    command.ran().expect(0);
}

/// The entries of a log, by what its files say.
fn entries(place: &Place) -> Vec<Value> {
    let out = place.state.path("audit.jsonl");
    let _ = fs::remove_file(&out);
    let exported = audit(place, &["export", "--out", out.to_str().expect("UTF-8")]).expect(0).json();
    let lines: Vec<Value> = fs::read_to_string(&out)
        .expect("it was written")
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(exported["entries"], json!(lines.len()));
    lines.into_iter().map(|line| line["entry"].clone()).collect()
}

fn kinds(entries: &[Value]) -> Vec<&str> {
    entries.iter().map(|entry| entry["kind"].as_str().expect("a kind")).collect()
}

fn key(place: &Place) -> String {
    audit(place, &["verify"]).expect(0).json()["key"].as_str().expect("a key").to_owned()
}

#[test]
fn a_change_is_in_the_log_from_its_proposal_to_its_outcome() {
    let place = Place::new();
    let proposal = place.approved();
    let run = place.run(&proposal).expect(0).json()["run"].as_str().expect("a run").to_owned();
    let log = entries(&place);
    let kinds = kinds(&log);
    let at = |kind: &str| kinds.iter().position(|found| *found == kind).unwrap_or_else(|| panic!("{kind}: {kinds:?}"));
    let order = ["policy", "read", "proposal", "approval", "authorized", "change", "outcome"];
    assert!(order.is_sorted_by_key(|kind| at(kind)), "{kinds:?}");
    assert_eq!((&log[at("proposal")]["proposer"], &log[at("approval")]["person"]), (&json!("agent"), &json!("alice")));
    assert_eq!(log[at("approval")]["reason"], "seen, agreed");
    assert_eq!((&log[at("authorized")]["run"], &log[at("authorized")]["approvers"]), (&json!(run), &json!(["alice"])));
    assert_eq!((&log[at("outcome")]["outcome"], &log[at("outcome")]["run"]), (&json!("committed"), &json!(run)));
    // Neither a content nor a digest that could be tried.
    let text = serde_json::to_string(&log).expect("JSON");
    for content in ["broken", "as ever"] {
        let output = Command::new("sh").args(["-c", &format!("printf '{content}\\n' | sha256sum")]).output();
        let digest = String::from_utf8_lossy(&output.expect("sha256sum starts").stdout)[..64].to_owned();
        assert!(!text.contains(&digest) && !text.contains(&format!("\"{content}")), "{content}: {text}");
    }
    let times: Vec<_> = log.iter().map(|entry| entry["at"].as_u64().expect("a time")).collect();
    assert!(times.is_sorted(), "{times:?}");
}

#[test]
fn what_is_refused_denied_and_recovered_is_in_the_log_too() {
    let place = Place::new();
    let denied = place.propose();
    let mut deny = place.command(&["deny", &denied, "--reason", "not now", "--key"]);
    deny.arg(place.state.path("alice")).ran().expect(0);
    place.run(&denied).expect(3);
    place.state.run(&["review", &place.propose()]).expect(0);
    pause(&place, &place.state.path("state"), "the sale");
    let mut lift = place.command(&["pause", "--lift", "--reason", "over", "--key"]);
    lift.arg(place.state.path("alice")).ran().expect(0);
    place.state.configure(&Under::validator(&place.state, "place", &place.folder.join("b")));
    Under::way(&place.state, &place.approved()).kill();
    place.state.run(&["recover"]).expect(0).shows("rolled-back");
    let log = entries(&place);
    let kinds = kinds(&log);
    for kind in ["denial", "refusal", "review", "pause", "pause-lifted", "authorized", "recovery", "rollback"] {
        assert!(kinds.contains(&kind), "{kind}: {kinds:?}");
    }
    let one = |kind: &str| log[kinds.iter().rposition(|found| *found == kind).expect("it is there")].clone();
    assert_eq!((&one("denial")["person"], &one("denial")["reason"]), (&json!("alice"), &json!("not now")));
    assert_eq!(one("outcome")["outcome"], "rolled-back");
    assert!(one("review")["principal"].as_str().is_some_and(|who| who.starts_with("uid:")));
    audit(&place, &["verify"]).expect(0);
}

#[test]
fn a_receipt_stands_alone() {
    let place = Place::new();
    let refused = place.propose();
    let refused = place.run(&refused).expect(3).json()["run"].as_str().expect("a run").to_owned();
    let run = place.run(&place.approved()).expect(0).json()["run"].as_str().expect("a run").to_owned();
    let key = key(&place);
    let elsewhere = tempfile::tempdir().expect("a directory");
    let file = |name: &str| elsewhere.path().join(name).to_str().expect("UTF-8").to_owned();
    fs::write(file("log.vkey"), format!("{key}\n")).expect("written");
    audit(&place, &["prove", &run, "--out", &file("run")]).expect(0);
    audit(&place, &["prove", &refused, "--out", &file("refused")]).expect(0);
    // To stdout, too.
    let printed = place.state.run(&["audit", "prove", &run]).expect(0).stdout;
    assert!(printed.starts_with("c2sp.org/tlog-proof@v1\nextra "), "{printed}");
    audit(&place, &["prove", "r-000000000000"]).expect(1);
    audit(&place, &["prove", "--entry", "9999"]).expect(1).says("beyond");

    // Where there is neither state nor configuration.
    let check = |words: &[&str]| {
        of(&elsewhere.path().join("nothing"), &[&["--json", "audit", "check-receipt"][..], words].concat())
    };
    let checked = check(&[&file("run"), "--key", &key]).expect(0).json();
    assert_eq!((&checked["entry"]["run"], &checked["entry"]["outcome"]), (&json!(run), &json!("committed")));
    let checked = check(&[&file("refused"), "--key", &file("log.vkey")]).expect(0).json();
    assert_eq!((&checked["entry"]["run"], &checked["entry"]["kind"]), (&json!(refused), &json!("refusal")));
    check(&[&file("run")]).expect(1).says("no key of the log is named");
    check(&[&file("run"), "--key", "x"]).expect(1);
    let other = Place::new();
    check(&[&file("run"), "--key", &self::key(&other)]).expect(1).says("not signed by the log's key");
    let witness = Witness::start(&key, 1);
    check(&[&file("run"), "--key", &key, "--witness", &witness.key, "--witnesses", "1"])
        .expect(1)
        .says("0 of the witnesses");

    let receipt = fs::read_to_string(file("run")).expect("text");
    let lines: Vec<&str> = receipt.lines().collect();
    for (at, line) in lines.iter().enumerate().filter(|(_, line)| !line.is_empty()) {
        let mut bent: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        let middle = line.len() / 2 + usize::from(line.is_char_boundary(line.len() / 2 + 1));
        let middle = (middle..).find(|at| line.is_char_boundary(*at)).expect("a place").min(line.len() - 1);
        bent[at] = format!(
            "{}{}{}",
            &line[..middle],
            if line[middle..].starts_with('A') { 'B' } else { 'A' },
            &line[middle + 1..]
        );
        fs::write(file("bent"), bent.join("\n") + "\n").expect("written");
        check(&[&file("bent"), "--key", &key]).expect(1).says("proves nothing");
    }
}

/// The files of a log in a copy, which the tests bend.
struct Copied {
    key: String,
    dir: tempfile::TempDir,
}

impl Copied {
    fn of(place: &Place) -> Self {
        let key = key(place);
        let dir = tempfile::tempdir().expect("a directory");
        copy(&place.state.path("state/audit"), &dir.path().join("audit"));
        Self { key, dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("audit").join(name)
    }

    /// The latest file of a sort.
    fn file(&self, folder: &str) -> PathBuf {
        let found = fs::read_dir(self.path(folder).join("000.p")).expect("a folder");
        let files = found.map(|entry| entry.expect("a file").path());
        let number = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok());
        files.max_by_key(number).expect("a file")
    }

    fn verify(&self, words: &[&str]) -> Ran {
        let log = self.path("");
        let mut command = support::countersign();
        command.arg("--state").arg(self.dir.path().join("nothing")).args(["--json", "audit", "verify"]).arg(log);
        command.args(["--key", &self.key]).args(words).ran()
    }
}

#[test]
fn edits_and_reordering_are_found() {
    let place = Place::new();
    place.run(&place.approved()).expect(0);
    let copied = Copied::of(&place);
    let whole = copied.verify(&[]).expect(0).json();
    assert!(whole["entries"].as_u64().expect("a number") > 5, "{whole}");
    let (bundle, tile) = (copied.file("tile/entries"), copied.file("tile/0"));
    let (entries, hashes) = (fs::read(&bundle).expect("a bundle"), fs::read(&tile).expect("a tile"));

    // One word of one entry.
    let at = entries.windows(5).position(|word| word == b"alice").expect("a name");
    let mut bent = entries.clone();
    bent[at..at + 5].copy_from_slice(b"malic");
    fs::write(&bundle, &bent).expect("written");
    copied.verify(&[]).expect(1).says("an entry or the tile was changed");
    // Two entries in another order, and their hashes too.
    let mut parts: Vec<&[u8]> = Vec::new();
    let mut rest = entries.as_slice();
    while rest.len() > 2 {
        let length = usize::from(u16::from_be_bytes([rest[0], rest[1]])) + 2;
        parts.push(&rest[..length]);
        rest = &rest[length..];
    }
    parts.swap(2, 3);
    fs::write(&bundle, parts.concat()).expect("written");
    copied.verify(&[]).expect(1).says("an entry or the tile was changed");
    let mut swapped = hashes.clone();
    swapped[64..96].copy_from_slice(&hashes[96..128]);
    swapped[96..128].copy_from_slice(&hashes[64..96]);
    fs::write(&tile, &swapped).expect("written");
    copied.verify(&[]).expect(1).says("do not give the signed root");
    // As it was.
    fs::write(&bundle, &entries).expect("written");
    fs::write(&tile, &hashes).expect("written");
    copied.verify(&[]).expect(0);
    let checkpoint = fs::read_to_string(copied.path("checkpoint")).expect("a checkpoint");
    let size = whole["entries"].as_u64().expect("a number");
    fs::write(copied.path("checkpoint"), checkpoint.replace(&format!("\n{size}\n"), &format!("\n{}\n", size - 1)))
        .expect("written");
    copied.verify(&[]).expect(1).says("forged or damaged");
    fs::write(copied.path("checkpoint"), &checkpoint).expect("written");
    fs::remove_file(&tile).expect("removed");
    copied.verify(&[]).expect(1).says("is missing");
}

#[test]
fn a_cut_log_and_another_history_are_found_by_a_checkpoint_held_elsewhere() {
    let place = Place::new();
    place.propose();
    let early = Copied::of(&place);
    pause(&place, &place.state.path("state"), "the sale");
    let later = Copied::of(&place);
    let held = |copied: &Copied| copied.path("checkpoint").to_str().expect("UTF-8").to_owned();
    let verified = later.verify(&["--checkpoint", &held(&early)]).expect(0).json();
    assert_eq!(verified["held"].as_array().expect("a list").len(), 1);
    // What was cut is an earlier log of the runner's own, signed and whole.
    early.verify(&[]).expect(0);
    early.verify(&["--checkpoint", &held(&later)]).expect(1).says("it was cut, or restored from an old copy");
    // A state that was copied, and goes another way.
    let other = place.state.path("other");
    copy(&place.state.path("state"), &other);
    pause(&place, &other, "another sale");
    pause(&place, &place.state.path("state"), "still the sale");
    let copied = Copied::of(&place);
    of(&other, &["audit", "verify"]).expect(0);
    let theirs = other.join("audit/checkpoint");
    copied
        .verify(&["--checkpoint", theirs.to_str().expect("UTF-8")])
        .expect(1)
        .says("two histories of this log were signed");
    // Of another runner's log it says nothing.
    let stranger = Copied::of(&Place::new());
    copied.verify(&["--checkpoint", &held(&stranger)]).expect(1).says("is no checkpoint of this log");
}

#[test]
fn rows_that_were_changed_are_noticed_by_whoever_opens_the_state() {
    let place = Place::new();
    place.propose();
    let database = rusqlite::Connection::open(place.state.path("state/countersign.db")).expect("the database");
    let before: Vec<u8> =
        database.query_row("SELECT entry FROM log_entries WHERE position = 1", [], |row| row.get(0)).expect("an entry");
    database.execute("UPDATE log_entries SET entry = x'7b7d' WHERE position = 1", []).expect("changed");
    place.state.run(&["pending"]).expect(0).says("the entry 1 was changed after it was signed");
    database.execute("UPDATE log_entries SET entry = ?1 WHERE position = 1", [before]).expect("changed back");
    let sql = "UPDATE log_head SET checkpoint = replace(checkpoint, 'countersign', 'countersigm')";
    database.execute(sql, []).expect("changed");
    place.state.run(&["pending"]).expect(1).says("are not those that the runner's key signed last");
}

#[test]
fn torn_and_missing_files_are_made_again_by_the_next_command() {
    let place = Place::new();
    place.propose();
    let copied = Copied::of(&place);
    let own = |path: PathBuf| place.state.path("state/audit").join(path.strip_prefix(copied.path("")).expect("inside"));
    fs::write(own(copied.file("tile/entries")), b"torn").expect("written");
    fs::remove_file(own(copied.file("tile/0"))).expect("removed");
    fs::write(own(copied.path("checkpoint")), b"").expect("written");
    place.state.run(&["pending"]).expect(0);
    let words = ["--json", "audit", "verify", own(copied.path("")).to_str().expect("UTF-8")].map(str::to_owned);
    place.state.run(&words.each_ref().map(String::as_str)).expect(0);
}

#[test]
fn a_state_from_an_old_copy_is_refused_where_a_checkpoint_is_kept_elsewhere() {
    let place = Place::new();
    let kept = place.state.path("kept.checkpoint");
    let config = fs::read_to_string(place.state.config()).expect("a configuration");
    let write = |path: &Path| {
        fs::write(place.state.config(), format!("{config}\n[audit]\ncheckpoint = {path:?}\n")).expect("written");
    };
    write(&place.state.path("state/kept"));
    place.state.run(&["pending"]).expect(1).says("must be outside of the state directory");
    write(Path::new("kept"));
    place.state.run(&["pending"]).expect(1).says("must be the absolute path of a file");
    write(&kept);
    let proposal = place.approved();
    let old = place.state.path("old");
    copy(&place.state.path("state"), &old);
    place.run(&proposal).expect(0);
    place.state.run(&["pending"]).expect(0);

    fs::rename(place.state.path("state"), place.state.path("state.new")).expect("moved");
    copy(&old, &place.state.path("state"));
    let standing = place.standing();
    let refused = place.run(&proposal).expect(3);
    let refused = refused.says("it was cut, or restored from an old copy").says("nothing was changed");
    assert!(refused.stdout.contains("\"error\""), "{}", refused.stdout);
    // What it does not know was done, it would undo.
    place.state.run(&["recover"]).expect(3).says("restored from an old copy");
    assert_eq!(place.standing(), standing);
    // It does not go on from there either, once it is as long: that is another history.
    let with = fs::read_to_string(place.state.config()).expect("a configuration");
    fs::write(place.state.config(), &config).expect("written");
    for reason in 0..8 {
        pause(&place, &place.state.path("state"), &format!("the sale {reason}"));
    }
    fs::write(place.state.config(), &with).expect("written");
    place.state.run(&["pending"]).expect(3).says("is not the one of which");
    // Whoever takes the state as it is removes the file.
    fs::remove_dir_all(place.state.path("state")).expect("removed");
    copy(&old, &place.state.path("state"));
    fs::remove_file(&kept).expect("removed");
    place.state.run(&["pending"]).expect(0);
}

/// As a power cut may leave it: what must go on goes on, and the file is left for a person.
#[test]
fn a_checkpoint_that_cannot_be_read_keeps_nothing_from_being_undone() {
    let place = Place::new();
    let kept = place.state.path("kept.checkpoint");
    place.state.configure(&format!("[audit]\ncheckpoint = {kept:?}\n"));
    place.state.configure(&Under::validator(&place.state, "place", &place.folder.join("b")));
    let standing = place.standing();
    Under::way(&place.state, &place.approved()).kill();
    fs::write(&kept, "").expect("written");
    place.state.run(&["pending"]).expect(1).says("proves nothing as it is").says("countersign recover");
    place.state.run(&["recover"]).expect(0).shows("rolled-back").says("is not the one of which");
    assert_eq!(place.standing(), standing);
    assert_eq!(fs::read(&kept).expect("it is left"), b"");
}

#[test]
fn witnesses_cosign_one_history_and_no_other() {
    let place = Place::new();
    let run = place.run(&place.approved()).expect(0).json()["run"].as_str().expect("a run").to_owned();
    let key = key(&place);
    let (one, two) = (Witness::start(&key, 1), Witness::start(&key, 2));
    let state = place.state.path("state");
    let ask = |state: &Path, witness: &Witness| {
        of(state, &["--json", "audit", "witness", &witness.url, "--key", &witness.key])
    };
    let cosigned = ask(&state, &one).expect(0).json();
    assert_eq!(cosigned["entries"], json!(one.size()));
    assert_eq!(cosigned["at"], json!(witness::SIGNED_AT));
    ask(&state, &two).expect(0);

    // Both stand in the receipt.
    let receipt = place.state.path("receipt");
    let out = receipt.to_str().expect("UTF-8");
    audit(&place, &["prove", &run, "--out", out]).expect(0);
    let check = ["audit", "check-receipt", out, "--key", &key, "--witness", &one.key, "--witness", &two.key];
    place.state.run(&[&check[..], &["--witnesses", "2"]].concat()).expect(0).shows("cosigned by witness.example/1");
    place.state.run(&[&check[..], &["--witnesses", "3"]].concat()).expect(1).says("2 of the witnesses");

    // The log goes on, and so do they, from wherever each is.
    let old = place.state.path("old");
    copy(&state, &old);
    pause(&place, &state, "the sale");
    ask(&state, &one).expect(0);
    let size = one.size();
    assert!(size > two.size());
    pause(&place, &state, "still the sale");
    ask(&state, &two).expect(0);
    ask(&state, &one).expect(0);

    // An old copy is noticed by whoever saw more, and another history by whoever saw as much.
    ask(&old, &one).expect(1).says("the state was restored from an old copy, or its log cut");
    for reason in ["a", "b", "c", "d"] {
        pause(&place, &old, reason);
    }
    ask(&old, &one).expect(1).says("another history of this log");
    // Whoever is no witness of this log, or answers with no cosignature.
    let stranger = Witness::start(&self::key(&Place::new()), 3);
    ask(&state, &stranger).expect(1).says("status 403");
    of(&state, &["audit", "witness", &one.url, "--key", &two.key]).expect(1).says("no cosignature by its key");
    of(&state, &["audit", "witness", "ftp://x", "--key", &one.key]).expect(1).says("no address of a witness");
    of(&state, &["audit", "witness", &one.url, "--key", &key]).expect(1).says("no witness's");
    audit(&place, &["verify"]).expect(0);
}

#[test]
fn a_report_tells_who_approved_what_and_what_came_of_it_with_receipts() {
    let place = Place::new();
    let denied = place.propose();
    let mut deny = place.command(&["deny", &denied, "--reason", "<script>alert(1)</script>", "--key"]);
    deny.arg(place.state.path("alice")).ran().expect(0);
    place.run(&denied).expect(3);
    let approved = place.approved();
    let run = place.run(&approved).expect(0).json()["run"].as_str().expect("a run").to_owned();
    let report = audit(&place, &["report", "--since", "1h", "--format", "json"]).expect(0).json();

    let changes = report["changes"].as_array().expect("a list");
    let [change] = changes.as_slice() else { panic!("{changes:?}") };
    assert_eq!((&change["run"], &change["outcome"]), (&json!(run), &json!("committed")));
    assert_eq!((&change["approvers"], &change["proposer"]), (&json!(["alice"]), &json!("agent")));
    assert_eq!(change["reasons"], json!([{ "person": "alice", "reason": "seen, agreed" }]));
    assert!(change["evidence"].is_array() && change["receipt"].is_string(), "{change}");
    assert_eq!((&report["denied"][0]["person"], &report["refused"][0]["target"]), (&json!("alice"), &json!("place")));
    assert_eq!(report["open"], json!([]));
    let agent = &report["agents"][0];
    assert_eq!((&agent["proposer"], &agent["proposals"], &agent["committed"]), (&json!("agent"), &json!(2), &json!(1)));
    assert!(agent["scopes"][0].as_str().is_some_and(|scope| scope.contains("may investigate and propose")), "{agent}");
    let counts = &report["counts"];
    assert_eq!((&counts["approvals"], &counts["denials"], &counts["runs"]), (&json!(1), &json!(1), &json!(1)));

    // Each line's receipt stands alone.
    let key = report["key"].as_str().expect("a key");
    for line in [change, &report["denied"][0], &report["refused"][0], agent] {
        let receipt = place.state.path("receipt");
        fs::write(&receipt, line["receipt"].as_str().expect("a receipt")).expect("it can be written");
        let checked =
            audit(&place, &["check-receipt", receipt.to_str().expect("UTF-8"), "--key", key]).expect(0).json();
        assert_eq!(checked["index"], line["index"]);
    }

    // Nothing before, and the page is no program.
    let later = audit(&place, &["report", "--since", "2030-01-01T00:00:00Z", "--format", "json"]).expect(0).json();
    assert_eq!((&later["changes"], &later["counts"]["runs"]), (&json!([]), &json!(0)));
    let page = place.command(&["audit", "report", "--since", "1h", "--format", "html"]).ran().expect(0).stdout;
    assert!(page.contains("&lt;script&gt;") && !page.contains("<script"), "{page}");
    place.command(&["audit", "report", "--since", "yesterday", "--format", "html"]).ran().expect(2).says("30d");
}
