//! Rehearsing: reads see what is pending, the target stays as it is.

use countersign_capability::Phase;
use countersign_files::{FilesCall, Kind};
use countersign_model::{FaultKind, State};

use crate::support::{Host, refused};

#[test]
fn reads_see_what_is_pending_and_the_target_stays() {
    let mut host = Host::new(Phase::Rehearse);
    host.write("old", "before");
    host.set_mode("old", 0o640);
    host.write("gone", "gone");
    let names = |host: &mut Host| -> Vec<_> {
        host.list().expect("list").into_iter().map(|entry| (entry.name, entry.kind)).collect()
    };
    let file = |name: &str| (name.to_owned(), Kind::File);

    let replace = host.replace("old", "long after").expect("prepared");
    assert_eq!(host.probe(&replace), State::Before);
    host.rehearse(&replace).expect("rehearsed");
    assert_eq!(host.probe(&replace), State::After);
    assert_eq!(host.cat("old").expect("read"), "long after");
    let stat = host.stat("old").expect("stat");
    assert_eq!((stat.kind, stat.size, stat.mode), (Kind::File, 10, 0o640));
    let tail = FilesCall::Tail { path: host.path("old"), bytes: 5 };
    assert_eq!(host.read::<serde_bytes::ByteBuf>(tail).expect("tail").into_vec(), b"after");

    let create = host.create("new", "new", 0o604).expect("prepared");
    refused(host.cat("new"), FaultKind::NotFound, "");
    host.rehearse(&create).expect("rehearsed");
    assert_eq!(host.cat("new").expect("read"), "new");
    assert_eq!(host.stat("new").expect("stat").mode, 0o604);

    let remove = host.remove("gone").expect("prepared");
    host.rehearse(&remove).expect("rehearsed");
    refused(host.cat("gone"), FaultKind::NotFound, "");
    refused(host.stat("gone"), FaultKind::NotFound, "");
    assert_eq!(names(&mut host), [file("new"), file("old")]);

    // The target was not touched, and each comes back.
    assert_eq!((host.names(), host.content("old").as_str()), (vec!["gone".to_owned(), "old".to_owned()], "before"));
    for change in [&remove, &create, &replace] {
        host.rehearse_undo(change).expect("undone");
        assert_eq!(host.probe(change), State::Before);
        refused(host.rehearse_undo(change), FaultKind::Changed, "not pending");
    }
    assert_eq!(names(&mut host), [file("gone"), file("old")]);
    assert_eq!(host.cat("old").expect("read"), "before");
}

#[test]
fn a_second_change_sees_the_first() {
    let mut host = Host::new(Phase::Rehearse);
    host.write("file", "zero");
    let first = host.replace("file", "one").expect("prepared");
    host.rehearse(&first).expect("rehearsed");
    let call = FilesCall::Replace { path: host.path("file"), contents: b"two".to_vec() };
    let second = host.prepare(call).expect("prepared");
    assert_eq!(second.before, Some(countersign_model::Image::of(b"one")));
    host.rehearse(&second.change).expect("rehearsed");
    let third = host.remove("file").expect("prepared");
    host.rehearse(&third).expect("rehearsed");
    refused(host.replace("file", "x"), FaultKind::NotFound, "");
    refused(host.remove("file"), FaultKind::NotFound, "");
    let fourth = host.create("file", "four", 0o600).expect("prepared");
    host.rehearse(&fourth).expect("rehearsed");
    refused(host.create("file", "x", 0o600), FaultKind::Exists, "");
    assert_eq!(host.cat("file").expect("read"), "four");
    // Only the latest can be undone.
    refused(host.rehearse_undo(&second.change), FaultKind::Changed, "not pending");
    for (change, content) in
        [(&fourth, None), (&third, Some("two")), (&second.change, Some("one")), (&first, Some("zero"))]
    {
        host.rehearse_undo(change).expect("undone");
        assert_eq!(host.cat("file").ok().as_deref(), content);
        assert_eq!(host.probe(change), State::Before);
    }
}

#[test]
fn a_run_prepares_what_the_rehearsal_did() {
    let mut host = Host::new(Phase::Rehearse);
    host.write("file", "zero");
    host.set_mode("file", 0o604);
    let call = |host: &Host, contents: &str| FilesCall::Replace { path: host.path("file"), contents: contents.into() };
    let remove = |host: &Host| FilesCall::Remove { path: host.path("file") };
    let create = |host: &Host| FilesCall::Create { path: host.path("file"), contents: b"new".to_vec(), mode: 0o640 };
    let mut steps = Vec::new();
    for _ in 0..2 {
        let mut effects = Vec::new();
        for call in [call(&host, "one"), call(&host, "two"), remove(&host), create(&host)] {
            let prepared = host.prepare(call).expect("prepared");
            effects.push((prepared.subject, prepared.before, prepared.after, prepared.effect, prepared.summary));
            if steps.is_empty() {
                host.rehearse(&prepared.change).expect("rehearsed");
            } else {
                host.apply(&prepared.change).expect("applied");
            }
        }
        steps.push(effects);
        host.reopened(Phase::Live);
    }
    assert_eq!(steps[0], steps[1]);
}

#[test]
fn a_rehearsed_change_cannot_be_applied_over_a_pending_one() {
    let mut host = Host::new(Phase::Rehearse);
    host.write("file", "zero");
    let first = host.replace("file", "one").expect("prepared");
    let second = host.replace("file", "two").expect("prepared");
    host.rehearse(&first).expect("rehearsed");
    refused(host.rehearse(&second), FaultKind::Changed, "content is");
    let second = host.replace("file", "two").expect("prepared");
    // It was prepared for a file that only the overlay has.
    host.reopened(Phase::Live);
    host.write("file", "one");
    refused(host.apply(&second), FaultKind::Changed, "another file");
}

#[test]
fn pending_files_are_only_seen_where_they_may_be_opened() {
    let mut host = Host::new(Phase::Rehearse);
    std::fs::create_dir(host.root.join("a")).expect("made");
    host.write("a/file", "before");
    let change = host.replace("a/file", "after").expect("prepared");
    host.rehearse(&change).expect("rehearsed");
    std::fs::rename(host.root.join("a"), host.root.join("b")).expect("renamed");
    std::os::unix::fs::symlink("b", host.root.join("a")).expect("link");
    refused(host.cat("a/file"), FaultKind::Unsupported, "symbolic link");
}
