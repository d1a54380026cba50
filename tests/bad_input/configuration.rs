//! A configuration that somebody else can write, or swap.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

use crate::row::{Row, is_root};
use crate::support::Runs;
use crate::support::place::Place;

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("its mode can be set");
}

/// Every command that would act by it refuses, and nothing changes.
#[track_caller]
fn refused(place: &Place, proposal: &str, says: &str) {
    let before = place.standing();
    place.command(&["run", proposal]).ran().row(1, says);
    place.command(&["review", proposal]).ran().row(1, says);
    assert_eq!(place.standing(), before);
}

#[test]
fn a_file_that_others_can_write() {
    let place = Place::new();
    let proposal = place.approved();
    for file in ["state/config.toml", "state/trust-policy.toml"] {
        for open in [0o620, 0o602, 0o666] {
            mode(&place.state.path(file), open);
            refused(&place, &proposal, "can be written by others");
        }
        mode(&place.state.path(file), 0o644);
    }
    place.run(&proposal).expect(0);
}

#[test]
fn a_call_grace_of_no_time_or_too_much() {
    let place = Place::new();
    let proposal = place.approved();
    let config = fs::read_to_string(place.state.config()).expect("it is text");
    for grace in [0, 3601] {
        fs::write(place.state.config(), format!("call-grace = {grace}\n{config}")).expect("it can be written");
        refused(&place, &proposal, &format!("`call-grace` is {grace}, expected 1 to 3600 seconds"));
    }
}

#[test]
fn a_file_of_another_user() {
    let place = Place::new();
    if !is_root() {
        println!("skipped: only root can give a file away");
        return;
    }
    let proposal = place.approved();
    chown(place.state.config(), Some(65534), None).expect("it can be given away");
    refused(&place, &proposal, "belongs to user 65534");
    chown(place.state.config(), Some(0), None).expect("it can be taken back");
    chown(place.state.path("state"), Some(65534), None).expect("it can be given away");
    refused(&place, &proposal, "belongs to user nobody, and this is user root");
}

#[test]
fn a_directory_above_that_others_can_write() {
    let place = Place::new();
    let proposal = place.approved();
    for open in [0o770, 0o777, 0o703] {
        mode(place.state.dir.path(), open);
        refused(&place, &proposal, "could put another file in the place of what is in it");
    }
    // Like /tmp: others can add names there, and take none away.
    mode(place.state.dir.path(), 0o1777);
    place.command(&["review", &proposal]).ran().expect(0);
    mode(place.state.dir.path(), 0o700);
    mode(&place.state.path("state"), 0o770);
    refused(&place, &proposal, "by others");
    mode(&place.state.path("state"), 0o700);
    place.run(&proposal).expect(0);
}

#[test]
fn a_symlink_that_others_can_swap() {
    let place = Place::new();
    let proposal = place.approved();
    let open = place.state.path("open");
    fs::create_dir(&open).expect("a directory");
    let link = open.join("config.toml");
    symlink(place.state.config(), &link).expect("a link");
    let run = |verb: &str| place.command(&["--config", link.to_str().expect("UTF-8"), verb, &proposal]).ran();
    mode(&open, 0o777);
    run("run").row(1, "could put another file in the place of what is in it");
    mode(&open, 0o755);
    // A link of one's own is as good as the file; the policy stands beside the link then.
    run("review").row(1, "trust-policy.toml");
    fs::copy(place.state.path("state/trust-policy.toml"), open.join("trust-policy.toml")).expect("it can be copied");
    run("review").expect(0);
}
