//! Every file that a command is given, when it is something else than that file.

use std::path::Path;
use std::process::Command;

use crate::row::{Row, huge, modest};
use crate::support::place::{Place, two_faced};
use crate::support::{Ran, countersign};

/// What can stand in a file's place, with what is said of it.
fn strangers(place: &Place) -> Vec<(String, &'static str)> {
    let path = |name: &str| place.state.path(name).to_str().expect("UTF-8").to_owned();
    huge(Path::new(&path("huge")));
    assert!(Command::new("mkfifo").arg(path("fifo")).status().expect("it starts").success());
    std::fs::create_dir(path("directory")).expect("a directory");
    let mut strangers = vec![
        (path("huge"), "is larger than the "),
        (path("fifo"), "is not a regular file"),
        (path("directory"), "is not a regular file"),
        ("/dev/zero".to_owned(), "is not a regular file"),
        (path("absent"), "cannot be read"),
    ];
    let secret = path("secret");
    std::fs::write(&secret, "x").expect("it can be written");
    std::os::unix::fs::symlink("loop", path("loop")).expect("a link");
    strangers.push((path("loop"), ""));
    strangers
}

#[track_caller]
fn each(place: &Place, prepare: impl Fn(&str) -> Command) {
    let before = place.standing();
    for (path, says) in strangers(place) {
        let ran: Ran = modest(&mut prepare(&path));
        ran.row(1, says);
    }
    assert_eq!(place.standing(), before);
}

#[test]
fn a_private_key() {
    let place = Place::new();
    each(&place, |path| {
        let mut command =
            place.command(&["propose", "--target=place", "--hypothesis", "x", &place.argument(), "--key", path]);
        command.arg(two_faced());
        command
    });
    let proposal = place.propose();
    let key = place.state.path("key");
    let approve = || modest(place.command(&["approve", &proposal, "--reason", "x", "--key"]).arg(&key));
    let private = std::fs::read_to_string(place.state.path("alice")).expect("a key");
    let owner_only = |path: &Path| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("its mode can be set");
    };
    for (text, says) in [
        ("", "no private key"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "is damaged"),
        (&private[..private.len() / 2], "is damaged"),
        // A public key means ssh-agent, as it does for ssh.
        (&std::fs::read_to_string(place.state.path("alice.pub")).expect("a key"), "no ssh-agent is at hand"),
    ] {
        std::fs::write(&key, text).expect("it can be written");
        owner_only(&key);
        approve().row(1, says);
    }
    std::fs::write(&key, private).expect("it can be written");
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).expect("its mode can be set");
    approve().row(1, "can be read by others");
    owner_only(&key);
    approve().expect(0);
}

#[test]
fn a_public_key() {
    let place = Place::new();
    each(&place, |path| {
        let mut command = countersign();
        command.arg("--state").arg(place.state.path("new")).args(["init", "--approver", path]);
        command
    });
    assert!(!place.state.path("new").exists(), "no state was made");
}

#[test]
fn a_manifest_and_its_signature() {
    let place = Place::new();
    let proposal = place.propose();
    let good = place.state.path("alice.pub");
    let good = good.to_str().expect("UTF-8");
    each(&place, |path| place.command(&["approve", &proposal, "--manifest", path, "--signature", good]));
    let place = Place::new();
    let proposal = place.propose();
    let good = place.state.path("alice.pub");
    let good = good.to_str().expect("UTF-8");
    each(&place, |path| place.command(&["approve", &proposal, "--manifest", good, "--signature", path]));
}

#[test]
fn a_configuration() {
    let place = Place::new();
    each(&place, |path| place.command(&["--config", path, "pending"]));
}

#[test]
fn a_trust_policy() {
    let place = Place::new();
    let config = std::fs::read_to_string(place.state.config()).expect("it is text");
    let other = place.state.path("state/other.toml");
    each(&place, |path| {
        std::fs::write(&other, config.replace("trust-policy.toml", path)).expect("it can be written");
        let mut command = place.command(&["--config"]);
        command.arg(&other).arg("pending");
        command
    });
}

#[test]
fn an_exported_proposal() {
    let place = Place::new();
    each(&place, |path| place.command(&["import", path]));
    for verb in ["review", "approve", "deny"] {
        let place = Place::new();
        each(&place, |path| {
            let mut command = countersign();
            command.args([verb, path]);
            if verb != "review" {
                command.args(["--reason", "x", "--key"]).arg(place.state.path("alice"));
            }
            command
        });
    }
}

#[test]
fn a_component() {
    let place = Place::new();
    for (path, says) in strangers(&place) {
        let directory = path.ends_with("directory");
        modest(countersign().args(["inspect", &path])).row(1, if directory { "is missing" } else { says });
    }
}
