//! Whoever trusts nothing here but OpenSSH verifies each approval that is kept.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::authenticator::{Authenticator, ORIGIN};
use crate::edwards::{Secret, armored, line, to_sign};
use crate::signed::{APPROVAL, Unsigned, alice_has};
use crate::support::away::text;
use crate::support::place::Place;

/// The files of a kind in a folder of the state.
fn files(folder: &Path, end: &str) -> Vec<PathBuf> {
    let all = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    all.filter(|path| text(path).ends_with(end)).collect()
}

/// Whether OpenSSH takes a signature for one by that person.
fn verifies(signers: &Path, person: &str, namespace: &str, signature: &Path, signed: &Path) -> bool {
    let output = Command::new("ssh-keygen")
        .args(["-Y", "verify", "-n", namespace, "-I", person, "-s", text(signature), "-f", text(signers)])
        .stdin(File::open(signed).expect("it is kept"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    output.expect("ssh-keygen starts").success()
}

/// One approval by each kind of key that there is, under three policies; the keys of the first are in none that came after.
#[test]
fn ssh_keygen_takes_every_approval_that_is_kept() {
    let place = Place::new();
    let mut by: BTreeMap<String, String> = BTreeMap::new();
    let mut keep = |unsigned: &Unsigned<'_>, signature: &str, kind: &str| {
        unsigned.hand_in(signature).expect(0);
        by.insert(unsigned.digest().replace("sha256:", ""), kind.to_owned());
    };
    let unsigned = Unsigned::of(&place);
    let signature = unsigned.sign("alice", APPROVAL);
    keep(&unsigned, &signature, "a file");
    let secret = Secret::new(5);
    alice_has(&place.state, &[line(&secret.public)], &format!("[keys]\norigins = [\"{ORIGIN}\"]\n"));
    let unsigned = Unsigned::of(&place);
    let signature = armored(&secret.public, APPROVAL, &secret.sign(&to_sign(APPROVAL, &unsigned.bytes())));
    keep(&unsigned, &signature, "a key by hand");
    let hardware = [Authenticator::ed25519(1), Authenticator::ecdsa(2), Authenticator::passkey(3)];
    alice_has(&place.state, &hardware.each_ref().map(Authenticator::line), "");
    for hardware in hardware {
        let unsigned = Unsigned::of(&place);
        let signature = hardware.verified().sign(APPROVAL, &unsigned.bytes());
        keep(&unsigned, &signature, "hardware");
    }

    let signers = place.state.path("allowed_signers");
    let printed = place.state.run(&["trust", "signers"]).expect(0).stdout;
    assert_eq!(printed.matches("has this key no more").count(), 2, "{printed}");
    fs::write(&signers, &printed).expect("it can be written");
    let kept = files(&place.state.path("state/approvals"), ".json");
    assert_eq!(kept.len(), 5, "{kept:?}");
    for manifest in &kept {
        let digest = manifest.file_stem().and_then(|stem| stem.to_str()).expect("a digest");
        let kind = &by[digest];
        let signature = manifest.with_file_name(format!("{digest}.1.sig"));
        assert!(verifies(&signers, "alice", APPROVAL, &signature, manifest), "{kind}");
        // As what it is, by whom it is, of what it is.
        assert!(!verifies(&signers, "agent", APPROVAL, &signature, manifest), "{kind}");
        assert!(!verifies(&signers, "alice", "denial@countersign", &signature, manifest), "{kind}");
        let other = kept.iter().find(|other| *other != manifest).expect("another");
        assert!(!verifies(&signers, "alice", APPROVAL, &signature, other), "{kind}");
    }
    // An agent's key is good for proposals, and for nothing that people sign.
    let manifest = place.state.path("bad");
    fs::write(&manifest, "x").expect("it can be written");
    crate::signed::sign(&place.state, "agent", APPROVAL, &manifest);
    assert!(!verifies(&signers, "agent", APPROVAL, &place.state.path("bad.sig"), &manifest));
    crate::signed::sign(&place.state, "agent", "proposal@countersign", &manifest);
    assert!(verifies(&signers, "agent", "proposal@countersign", &place.state.path("bad.sig"), &manifest));
    // What the runner signed is in the database.
    let database = crate::signed::database(&place.state);
    let sql = "SELECT document, signature FROM rehearsals LIMIT 1";
    let (document, signature): (Vec<u8>, String) =
        database.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).expect("a rehearsal");
    fs::write(&manifest, document).expect("it can be written");
    fs::write(place.state.path("bad.sig"), signature).expect("it can be written");
    let rehearsal = "rehearsal@countersign";
    assert!(verifies(&signers, "countersign:runner", rehearsal, &place.state.path("bad.sig"), &manifest));
}
