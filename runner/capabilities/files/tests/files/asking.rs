//! What a session says that it could do, against what it then can; and that it asks without writing.

use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::process::Command;

use countersign_capability::{Phase, Session};
use countersign_files::FilesChange;
use countersign_model::{Ability, FaultKind};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

use crate::support::{Host, context, is_root, names, refused};

impl Host {
    fn can(&mut self, change: &FilesChange) -> Ability {
        self.session.can_apply(&mut context(&mut self.blobs), change).expect("an answer")
    }

    #[track_caller]
    fn cannot(&mut self, change: &FilesChange, why: &str) {
        let ability = self.can(change);
        assert!(matches!(&ability, Ability::Cannot(said) if said.contains(why)), "{ability:?}");
    }
}

/// One change of each sort: of `a` and `new` by a rename, of `log` in place.
fn changes(host: &mut Host) -> Vec<FilesChange> {
    host.write("a", "a");
    host.write("gone", "gone");
    host.write("log", "a line\nanother\n");
    vec![
        host.replace("a", "b").expect("prepared"),
        host.create("new", "new", 0o600).expect("prepared"),
        host.remove("gone").expect("prepared"),
        host.truncate("log", 7).expect("prepared"),
        host.chmod("log", 0o640).expect("prepared"),
        host.discard("log").expect("prepared"),
    ]
}

/// All that a write would leave a trace of.
fn trace(root: &Path) -> Vec<String> {
    let of = |name: String| {
        let found = std::fs::symlink_metadata(root.join(&name)).expect("metadata");
        let (modified, changed) = ((found.mtime(), found.mtime_nsec()), (found.ctime(), found.ctime_nsec()));
        format!("{name} {} {} {:o} {modified:?} {changed:?}", found.ino(), found.len(), found.mode())
    };
    [".".to_owned()].into_iter().chain(names(root)).map(of).collect()
}

/// Without these capabilities, in a thread of its own: the kernel has them by thread.
fn without<T: Send>(lacking: CapabilitySet, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let lacks = scope.spawn(|| {
            let mut sets = capabilities(None).expect("capabilities");
            sets.effective -= lacking;
            set_capabilities(None, sets).expect("fewer can always be had");
            work()
        });
        lacks.join().expect("it ended")
    })
}

#[test]
fn what_can_be_done_is_said_and_nothing_is_written() {
    for phase in [Phase::Preflight, Phase::Live] {
        let mut host = Host::live();
        let changes = changes(&mut host);
        let before = trace(&host.root);
        host.reopened(phase);
        for change in &changes {
            assert_eq!(host.can(change), Ability::Can, "{change:?}");
        }
        assert_eq!(trace(&host.root), before);
    }
}

#[test]
fn a_session_that_only_asks_does_nothing_else() {
    let mut host = Host::live();
    let changes = changes(&mut host);
    let before = trace(&host.root);
    host.reopened(Phase::Preflight);
    refused(host.replace("a", "c"), FaultKind::Denied, "cannot be prepared in a session that only asks what it may");
    for change in &changes {
        refused(host.apply(change), FaultKind::Denied, "cannot be applied");
        refused(host.undo(change), FaultKind::Denied, "cannot be undone");
        refused(host.settle(change), FaultKind::Denied, "cannot be settled");
        refused(host.rehearse(change), FaultKind::Denied, "cannot be rehearsed");
    }
    assert_eq!(trace(&host.root), before);
    for phase in [Phase::Observe, Phase::Rehearse] {
        host.reopened(phase);
        let asked = host.session.can_apply(&mut context(&mut host.blobs), &changes[0]);
        refused(asked, FaultKind::Denied, "cannot be asked about");
    }
}

/// A user of number 0 is not always root: a service is often left without what makes it so.
#[test]
fn what_takes_a_capability_that_is_lacking_is_said_and_is_so() {
    if !is_root() {
        eprintln!("skipped: only root has capabilities to lack");
        return;
    }
    type Case = (CapabilitySet, &'static str, fn(&mut Host) -> FilesChange);
    let nobody = |host: &Host, name: &str| chown(host.root.join(name), Some(65_534), Some(65_534)).expect("given");
    let cases: [Case; 8] = [
        (CapabilitySet::CHOWN, "belongs to user 65534, to whom what takes its place must be given", |host| {
            chown(host.root.join("a"), Some(65_534), None).expect("given");
            host.replace("a", "b").expect("prepared")
        }),
        (CapabilitySet::FOWNER, "no CAP_FOWNER", |host| {
            chown(host.root.join("a"), Some(65_534), None).expect("given");
            host.replace("a", "b").expect("prepared")
        }),
        (CapabilitySet::CHOWN, "belongs to group 65534", |host| {
            chown(host.root.join("a"), None, Some(65_534)).expect("given");
            host.replace("a", "b").expect("prepared")
        }),
        (CapabilitySet::FOWNER, "whose mode only its owner sets", |host| {
            chown(host.root.join("a"), Some(65_534), None).expect("given");
            host.chmod("a", 0o600).expect("prepared")
        }),
        (CapabilitySet::FOWNER, "lies in a sticky directory", |host| {
            chown(host.root.join("a"), Some(65_534), None).expect("given");
            host.set_mode(".", 0o1777);
            chown(&host.root, Some(65_533), None).expect("given");
            host.remove("a").expect("prepared")
        }),
        (CapabilitySet::FSETID, "is set-group-id of group 65534", |host| {
            chown(host.root.join("a"), None, Some(65_534)).expect("given");
            host.set_mode("a", 0o2755);
            host.chmod("a", 0o2700).expect("prepared")
        }),
        (CapabilitySet::DAC_OVERRIDE, "the runner's user may not", |host| {
            host.set_mode(".", 0o555);
            host.replace("a", "b").expect("prepared")
        }),
        (CapabilitySet::DAC_OVERRIDE, "the runner's user may not", |host| {
            host.set_mode("a", 0o444);
            host.truncate("a", 0).expect("prepared")
        }),
    ];
    for (lacking, why, prepare) in cases {
        let mut host = Host::live();
        host.write("a", "a");
        let change = prepare(&mut host);
        assert_eq!(host.can(&change), Ability::Can, "{why}");
        let before = trace(&host.root);
        without(lacking, || {
            host.reopened(Phase::Live);
            host.cannot(&change, why);
            assert_eq!(trace(&host.root), before);
            host.apply(&change).expect_err(why);
        });
        // Where the kernel took a bit without a word, it could not be put back either.
        if lacking != CapabilitySet::FSETID {
            host.apply(&change).expect(why);
        }
    }
    // What is not needed is not asked for.
    let mut host = Host::live();
    let changes = changes(&mut host);
    nobody(&host, "log");
    host.set_mode("log", 0o666);
    without(CapabilitySet::all(), || {
        host.reopened(Phase::Live);
        for change in &changes[..3] {
            assert_eq!(host.can(change), Ability::Can, "{change:?}");
            host.apply(change).expect("it was said");
        }
        assert_eq!(host.can(&changes[3]), Ability::Can);
    });
}

#[test]
fn what_nobody_may_change_is_said() {
    for flag in ["i", "a"] {
        for (target, name) in [("a", "a"), (".", "")] {
            let mut host = Host::live();
            let changes = changes(&mut host);
            let change = &changes[0];
            let set =
                |how: &str| Command::new("chattr").arg(format!("{how}{flag}")).arg(host.root.join(target)).status();
            if !is_root() || !set("+").is_ok_and(|status| status.success()) {
                eprintln!("skipped: such a flag cannot be set here");
                return;
            }
            let said = host.session.can_apply(&mut context(&mut host.blobs), change).expect("an answer");
            let cleared = set("-").expect("chattr runs");
            assert!(cleared.success());
            let word = if flag == "i" { "is immutable" } else { "is append-only" };
            let path = host.path(name);
            assert!(matches!(&said, Ability::Cannot(why) if why.contains(word) && why.contains(&path)), "{said:?}");
            assert_eq!(host.can(change), Ability::Can);
        }
    }
}

#[test]
fn what_is_not_there_yet_cannot_be_told() {
    let mut host = Host::live();
    let changes = changes(&mut host);
    std::fs::remove_file(host.root.join("a")).expect("removed");
    let said = host.can(&changes[0]);
    assert!(matches!(&said, Ability::CannotTell(why) if why.contains("it does not exist")), "{said:?}");
    let root = host.root.clone();
    std::fs::remove_dir_all(&root).expect("removed");
    for change in &changes {
        let said = host.can(change);
        assert!(matches!(&said, Ability::CannotTell(why) if why.contains("it does not exist")), "{said:?}");
    }
    std::fs::create_dir(&root).expect("made");
}
