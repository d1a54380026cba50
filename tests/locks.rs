//! One run at a time for each subject, whatever target it is reached by: who comes second waits, and says for whom.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use support::place::{Place, name, two_faced};
use support::under::{Saying, Under};
use support::{Runs, bundle_with};

/// A place with a second target on the same folder, and a third on another one.
struct Places {
    place: Place,
}

impl Places {
    fn new() -> Self {
        let place = Place::new();
        let other = place.state.path("other");
        fs::create_dir(&other).expect("a folder");
        for entry in fs::read_dir(&place.folder).expect("it can be read") {
            let entry = entry.expect("an entry");
            fs::copy(entry.path(), other.join(entry.file_name())).expect("it can be copied");
        }
        let places = Self { place };
        places.configure("also", &places.place.folder, "");
        places.configure("other", &other, "");
        places
    }

    fn configure(&self, target: &str, folder: &Path, more: &str) {
        let text = self.place.target(more).replace("targets.place", &format!("targets.{target}"));
        let text = text.replace(self.place.folder.to_str().expect("UTF-8"), folder.to_str().expect("UTF-8"));
        self.place.state.configure(&text);
    }

    /// A proposal of a bundle on a target, approved.
    #[track_caller]
    fn approved(&self, bundle: &Path, target: &str, folder: &Path) -> String {
        let target = format!("--target={target}");
        let mut command = self.place.command(&["--json", "propose", &target, "--hypothesis", "it is broken", "--key"]);
        command.arg(self.place.state.path("agent")).arg(bundle).arg(format!("--arg=folder={}", folder.display()));
        let proposal = name(&command.ran().expect(0).json());
        self.place.approve(&proposal);
        proposal
    }

    fn also(&self) -> String {
        self.approved(two_faced(), "also", &self.place.folder)
    }

    fn other(&self) -> String {
        self.approved(two_faced(), "other", &self.place.state.path("other"))
    }

    /// A bundle whose runs may do whatever its grants open, and a trust policy that allows it.
    fn scoped(&self) -> PathBuf {
        self.place.state.policy(|policy| policy.replace("scoped = false", "scoped = true"));
        let scoped = |manifest: &str| manifest.replace("mode = \"exact\"", "mode = \"scoped\"");
        bundle_with("hostile/two-faced", &self.place.state.path("scoped"), scoped)
    }

    fn runs(&self) -> Vec<Value> {
        let runs = self.place.state.run(&["--json", "runs"]).expect(0).json();
        runs["runs"].as_array().expect("runs").clone()
    }
}

/// A run on `place` that is at work on the folder's `a`, `b` and `c`.
fn at_work(places: &Places) -> Under {
    let place = &places.place;
    place.state.configure(&Under::validator(&place.state, "place", &place.folder.join("b")));
    Under::way(&place.state, &place.approved())
}

#[test]
fn a_run_waits_for_who_holds_its_subjects_and_says_for_whom() {
    let places = Places::new();
    let also = places.also();
    let first = at_work(&places);
    let second = Saying::start(places.place.command(&["--json", "run", &also]));
    let says = second.says("waiting");
    let (pid, a) = (first.pid(), places.place.folder.join("a"));
    let run = places.runs().iter().find(|run| run["outcome"] == "running").expect("a run")["run"].clone();
    let expected = format!(
        "waiting, for at most 60 s: `{}` is held by the run `{}` on `place` (process {pid}); nothing is held meanwhile",
        a.display(),
        run.as_str().expect("a name"),
    );
    assert_eq!(says, expected);
    first.answer("bad").expect(4);
    assert_eq!(second.end().expect(0).json()["outcome"], "committed");
    assert_eq!(places.place.text("a"), "fixed\n");
}

#[test]
fn what_is_held_too_long_is_refused_and_spends_nothing() {
    let places = Places::new();
    let also = places.also();
    let first = at_work(&places);
    for (timeout, waited) in [("0s", "(process"), ("1s", "; waited 1 s")] {
        let ran = places.place.state.run(&["--json", "run", &also, "--lock-timeout", timeout]).expect(3);
        let ran = ran.says(waited).says("nothing changed and no use is spent");
        let object = ran.json();
        assert_eq!(object["outcome"], "refused", "{object}");
        assert_eq!(ran.stderr.contains("waiting, for"), timeout == "1s", "{}", ran.stderr);
    }
    first.answer("bad").expect(4);
    // Its one use is there still.
    places.place.run(&also).expect(0);
}

#[test]
fn a_signal_ends_the_waiting() {
    let places = Places::new();
    let also = places.also();
    let first = at_work(&places);
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let second = Saying::start(places.place.command(&["--json", "run", &also]));
        second.says("waiting, for");
        kill_process(Pid::from_child(&second.child), signal).expect("it waits");
        second.end().expect(1).says("was ended by a signal").says("no use is spent");
    }
    first.answer("bad").expect(4);
    places.place.run(&also).expect(0);
}

#[test]
fn runs_of_other_subjects_go_on_side_by_side() {
    let places = Places::new();
    let other = places.other();
    let first = at_work(&places);
    places.place.state.run(&["--json", "run", &other, "--lock-timeout", "0s"]).expect(0);
    first.answer("good").expect(0);
}

/// What a run in mode `scoped` will change, nobody knows before it does.
#[test]
fn a_scoped_run_holds_whatever_it_may_write_to() {
    let places = Places::new();
    let scoped = places.scoped();
    let first = at_work(&places);
    let wide = places.approved(&scoped, "other", &places.place.state.path("other"));
    let refused = places.place.state.run(&["--json", "run", &wide, "--lock-timeout", "0s"]).expect(3);
    refused.says("on `place` (process");
    first.answer("bad").expect(4);

    // And the other way round.
    let _ = fs::remove_file(places.place.state.path("validating"));
    let _ = fs::remove_file(places.place.state.path("answer"));
    let folder = places.place.state.path("wide");
    fs::rename(places.place.state.path("other"), &folder).expect("it can be renamed");
    let more = Under::validator(&places.place.state, "wide", &folder.join("b"));
    places.configure("wide", &folder, &more);
    let wide = places.approved(&scoped, "wide", &folder);
    let narrow = places.also();
    let first = Under::way(&places.place.state, &wide);
    let refused = places.place.state.run(&["--json", "run", &narrow, "--lock-timeout", "0s"]).expect(3);
    refused.says("is held by the run").says("on `wide` (process");
    first.answer("good").expect(0);
    places.place.run(&narrow).expect(0);
}

#[test]
fn what_a_dead_run_holds_is_blocked_until_it_is_recovered() {
    let places = Places::new();
    let also = places.also();
    at_work(&places).kill();
    places.place.state.damage_journal(true);
    let blocked = places.place.state.run(&["--json", "run", &also]).expect(5);
    let blocked = blocked.says("blocks what it changes there, which a run on `also` would change too");
    let object = blocked.json();
    assert_eq!((&object["target"], &object["rollback_owner"]), (&"place".into(), &"alice".into()), "{object}");
    let pending = places.place.state.run(&["--json", "pending"]).expect(0).json();
    assert_eq!(pending["pending"][0]["status"], "cannot run", "{pending}");
    places.place.state.damage_journal(false);
    places.place.state.run(&["recover"]).expect(0).shows("rolled-back");
    places.place.run(&also).expect(0);
}

/// The way out where nothing recovers it: what it changed is put right by hand, and its target described under another name.
#[test]
fn what_a_dead_run_holds_on_a_target_that_is_gone_is_free() {
    let places = Places::new();
    at_work(&places).kill();
    places.place.state.damage_journal(true);
    for (name, text) in [("a", "broken\n"), ("b", "broken too\n")] {
        places.place.put(name, text);
    }
    let config = fs::read_to_string(places.place.state.config()).expect("it is text");
    let asks = format!("read answer < {}", places.place.state.path("answer").display());
    let config = config.replace("targets.place", "targets.again").replace(&asks, "answer=good");
    fs::write(places.place.state.config(), config).expect("it can be written");
    let again = places.approved(two_faced(), "again", &places.place.folder);
    places.place.run(&again).expect(0);
}

/// What has two names would be two subjects, and two runs could change it at once: there is no second name.
#[test]
fn a_subject_has_one_name() {
    let places = Places::new();
    let folder = places.place.folder.clone();
    let link = places.place.state.path("link");
    std::os::unix::fs::symlink(&folder, &link).expect("a link");
    let linked = places.place.state.path("linked");
    fs::create_dir(&linked).expect("a folder");
    for name in ["mood", "b", "c"] {
        fs::copy(folder.join(name), linked.join(name)).expect("it can be copied");
    }
    fs::hard_link(folder.join("a"), linked.join("a")).expect("a hard link");
    let around = linked.join("../folder");
    for (target, folder, why) in [
        ("link", &link, "is a symbolic link"),
        ("linked", &linked, "2 hard links"),
        ("around", &around, "it holds `.` or `..`"),
    ] {
        let before = fs::read(places.place.state.config()).expect("it is there");
        places.configure(target, folder, "");
        let mut command = places.place.command(&["--json", "propose", "--hypothesis", "it is broken", "--key"]);
        command.arg(places.place.state.path("agent")).arg(two_faced()).arg(format!("--target={target}"));
        let ran = command.arg(format!("--arg=folder={}", folder.display())).ran();
        assert!(ran.code != 0 && ran.stderr.contains(why), "{target}: {} {}", ran.code, ran.stderr);
        fs::write(places.place.state.config(), before).expect("it can be written");
    }
}
