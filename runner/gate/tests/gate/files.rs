//! The same rules over real files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use countersign_capability::TypedCall as _;
use countersign_files::FilesCall;
use countersign_gate::Undone;
use countersign_model::{Call, Mode, Plan, Reversibility, Role};

use crate::support::{Host, Run};

/// A directory with `app.conf`, and the grants for all of it.
struct Folder {
    _directory: tempfile::TempDir,
    root: PathBuf,
    grants: [String; 2],
}

impl Folder {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path().canonicalize().expect("resolved");
        fs::write(root.join("app.conf"), "size = 1\n").expect("written");
        set_mode(&root.join("app.conf"), 0o640);
        let all = "verbs=replace,create,remove,truncate,set-mode,discard";
        let grants = [format!("files.read {}/**", root.display()), format!("files.write {}/** {all}", root.display())];
        Self { _directory: directory, root, grants }
    }

    fn path(&self, name: &str) -> String {
        self.root.join(name).to_str().expect("text").to_owned()
    }

    fn grants(&self) -> [&str; 2] {
        self.grants.each_ref().map(String::as_str)
    }

    fn read(&self, name: &str) -> Call {
        call("read", &FilesCall::Read { path: self.path(name) })
    }

    fn replace(&self, name: &str, contents: &str) -> Call {
        call("replace", &FilesCall::Replace { path: self.path(name), contents: contents.into() })
    }

    fn create(&self, name: &str, contents: &str, mode: u32) -> Call {
        call("create", &FilesCall::Create { path: self.path(name), contents: contents.into(), mode })
    }

    fn content(&self, name: &str) -> String {
        fs::read_to_string(self.root.join(name)).unwrap_or_else(|_| "-".to_owned())
    }

    fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.root.join(name)).expect("metadata").permissions().mode() & 0o7777
    }

    /// What stands in the directory, sorted.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(&self.root)
            .expect("listed")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
            .collect();
        names.sort();
        names
    }

    fn plan(&self, host: &Host, calls: &[Call]) -> Plan {
        let mut bench = host.rehearsing();
        bench.begin_readable(Role::Fix, &self.grants(), &self.grants(), &self.grants());
        calls.iter().for_each(|call| drop(bench.value(call.clone())));
        bench.rehearsal(|rehearsal, _| rehearsal.plan().clone())
    }

    fn run(&self, host: &Host, plan: &Plan) -> Run {
        let run = Run::of(host, Mode::Exact, plan);
        run.begin_under(Role::Fix, &self.grants(), &self.grants());
        run
    }
}

fn call(function: &str, typed: &FilesCall) -> Call {
    let arguments = postcard::to_stdvec(typed).expect("encoded");
    Call { capability: "files".to_owned(), function: function.to_owned(), arguments }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("the mode is set");
}

#[test]
fn a_rehearsed_fix_is_run_and_undone() {
    let (host, folder) = (Host::new(), Folder::new());
    let calls = [folder.replace("app.conf", "size = 20\n"), folder.create("extra.conf", "on\n", 0o600)];

    let mut bench = host.rehearsing();
    bench.begin_readable(Role::Fix, &folder.grants(), &folder.grants(), &folder.grants());
    calls.iter().for_each(|call| drop(bench.value(call.clone())));
    assert!(bench.value(folder.read("app.conf")).ends_with("size = 20\n"));
    assert_eq!((folder.names(), folder.content("app.conf").as_str()), (vec!["app.conf".to_owned()], "size = 1\n"));
    let least = bench.rehearsal(|rehearsal, _| rehearsal.usage().least());
    let least: Vec<_> = least[&Role::Fix].iter().map(ToString::to_string).collect();
    assert_eq!(
        least,
        [
            format!("files.read {}", folder.path("app.conf")),
            format!("files.write {} verbs=replace max-calls=1 max-bytes=10", folder.path("app.conf")),
            format!("files.write {} verbs=create max-calls=1 max-bytes=3", folder.path("extra.conf")),
        ]
    );
    let plan = bench.rehearsal(|rehearsal, _| rehearsal.plan().clone());

    let mut run = folder.run(&host, &plan);
    calls.iter().for_each(|call| drop(run.value(call.clone())));
    assert_eq!(run.complete(), Ok(()));
    assert_eq!(["app.conf", "extra.conf"].map(|name| folder.content(name)), ["size = 20\n", "on\n"]);
    assert_eq!(["app.conf", "extra.conf"].map(|name| folder.mode(name)), [0o640, 0o600]);

    assert!(run.undo().iter().all(|(_, result)| *result == Undone::Restored));
    assert_eq!(run.unrestored(), []);
    assert_eq!(run.with_live(|live, sessions| live.settle(sessions)), [""; 0]);
    assert_eq!((folder.names(), folder.content("app.conf").as_str()), (vec!["app.conf".to_owned()], "size = 1\n"));
    assert_eq!(folder.mode("app.conf"), 0o640);
}

#[test]
fn another_mode_is_a_deviation() {
    let (host, folder) = (Host::new(), Folder::new());
    let plan = folder.plan(&host, &[folder.create("extra.conf", "on\n", 0o600)]);
    let mut run = folder.run(&host, &plan);
    let why = run.stop(folder.create("extra.conf", "on\n", 0o644));
    assert!(why.ends_with("(owner, mode, attributes or another detail differ)"), "{why}");
    assert_eq!((folder.names(), run.journaled()), (vec!["app.conf".to_owned()], 0));

    // The file's own mode is another than it was in the rehearsal.
    let plan = folder.plan(&host, &[folder.replace("app.conf", "size = 20\n")]);
    set_mode(&folder.root.join("app.conf"), 0o644);
    let mut run = folder.run(&host, &plan);
    run.stop(folder.replace("app.conf", "size = 20\n"));
    assert_eq!((folder.content("app.conf").as_str(), run.journaled()), ("size = 1\n", 0));
}

#[test]
fn an_edit_after_the_rehearsal_is_a_deviation() {
    let (host, folder) = (Host::new(), Folder::new());
    let plan = folder.plan(&host, &[folder.replace("app.conf", "size = 20\n")]);
    fs::write(folder.root.join("app.conf"), "size = 2\n").expect("written");
    let mut run = folder.run(&host, &plan);
    let why = run.stop(folder.replace("app.conf", "size = 20\n"));
    assert!(why.ends_with("(the content before is another)"), "{why}");
    assert_eq!((folder.content("app.conf").as_str(), run.journaled()), ("size = 2\n", 0));
}

#[test]
fn an_edit_after_the_run_is_left_alone_and_the_proof_says_so() {
    let (host, folder) = (Host::new(), Folder::new());
    let calls = [folder.replace("app.conf", "size = 20\n"), folder.create("extra.conf", "on\n", 0o600)];
    let mut run = folder.run(&host, &folder.plan(&host, &calls));
    calls.iter().for_each(|call| drop(run.value(call.clone())));
    fs::write(folder.root.join("app.conf"), "size = 3\n").expect("written");
    let undone = run.undo();
    assert_eq!(undone[0], (folder.path("extra.conf"), Undone::Restored));
    assert!(matches!(&undone[1], (_, Undone::Left(why)) if why.contains("it is left alone")), "{undone:?}");
    assert_eq!(folder.content("app.conf"), "size = 3\n");
    let left = run.unrestored();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].0, folder.path("app.conf"));
}

#[test]
fn what_is_changed_behind_the_undos_back_is_reported() {
    let (host, folder) = (Host::new(), Folder::new());
    let calls = [folder.replace("app.conf", "size = 20\n")];
    let mut run = folder.run(&host, &folder.plan(&host, &calls));
    run.value(calls[0].clone());
    run.undo();
    assert_eq!(run.unrestored(), []);
    set_mode(&folder.root.join("app.conf"), 0o666);
    let left = run.unrestored();
    assert!(left.len() == 1 && left[0].1.contains("0666"), "{left:?}");
}

#[test]
fn a_rollback_step_does_not_make_a_rehearsed_file_with_another_mode() {
    let (host, folder) = (Host::new(), Folder::new());
    let plan = Plan { back: folder.plan(&host, &[folder.create("note", "n\n", 0o600)]).forward, ..Plan::default() };
    for (mode, made) in [(0o666, false), (0o600, true)] {
        let mut run = folder.run(&host, &plan);
        run.with_live(|live, _| live.journal().begin_rollback("why")).expect("marked");
        run.begin_under(Role::Rollback, &folder.grants(), &folder.grants());
        let result = run.call(folder.create("note", "n\n", mode));
        assert_eq!((result.is_ok(), folder.content("note") == "n\n"), (made, made), "{mode:o}: {result:?}");
    }
}

#[test]
fn a_truncation_is_run_and_undone_from_what_was_kept_of_it() {
    let (host, folder) = (Host::new(), Folder::new());
    let log: String = (0..300_000).map(|number| format!("line {number}\n")).collect();
    fs::write(folder.root.join("app.log"), &log).expect("written");
    let calls = [call("truncate", &FilesCall::Truncate { path: folder.path("app.log"), length: 14 })];
    let mut run = folder.run(&host, &folder.plan(&host, &calls));
    run.value(calls[0].clone());
    assert_eq!((run.complete(), folder.content("app.log").as_str()), (Ok(()), "line 0\nline 1\n"));
    assert_eq!(run.undo(), [(folder.path("app.log"), Undone::Restored)]);
    assert_eq!((run.unrestored(), run.lost()), (vec![], vec![]));
    assert!(folder.content("app.log") == log);
}

#[test]
fn a_discard_is_irreversible_and_what_it_took_stays_named() {
    let (host, folder) = (Host::new(), Folder::new());
    fs::write(folder.root.join("app.log"), "x".repeat(100_000)).expect("written");
    let discard = call("discard", &FilesCall::Discard { path: folder.path("app.log") });
    let calls = [folder.replace("app.conf", "size = 20\n"), discard];
    let plan = folder.plan(&host, &calls);
    assert_eq!(plan.forward[1].reversibility, Reversibility::Irreversible);
    let mut run = folder.run(&host, &plan);
    run.value(calls[0].clone());
    assert_eq!(run.lost(), []);
    run.value(calls[1].clone());
    // What was written is validated before what cannot be undone.
    assert_eq!(run.validated(), [[folder.path("app.conf")]]);
    assert_eq!(
        run.undo(),
        [(folder.path("app.log"), Undone::Irreversible), (folder.path("app.conf"), Undone::Restored)]
    );
    assert_eq!((run.unrestored(), folder.content("app.log").as_str()), (vec![], ""));
    let lost = run.lost();
    assert!(lost.len() == 1 && lost[0].0 == folder.path("app.log"), "{lost:?}");
    assert!(lost[0].1.contains("100000 bytes") && lost[0].1.ends_with("nothing undoes it"), "{lost:?}");
    fs::write(folder.root.join("app.log"), "next\n").expect("written");
    assert!(run.lost()[0].1.contains("it was changed since"), "{:?}", run.lost());
}

/// A change of mode is compared by attributes alone, and says nothing of what else the run did to the file.
#[test]
fn a_file_that_was_first_given_another_mode_is_proven_by_its_content_too() {
    let (host, folder) = (Host::new(), Folder::new());
    for (mode, taken_over) in [(0o600, false), (0o600, true), (0o640, true)] {
        fs::write(folder.root.join("app.conf"), "size = 1\n").expect("written");
        set_mode(&folder.root.join("app.conf"), 0o640);
        let sets = call("set-mode", &FilesCall::SetMode { path: folder.path("app.conf"), mode });
        let calls = [sets, folder.replace("app.conf", "size = 20\n")];
        let plan = folder.plan(&host, &calls);
        let mut run = folder.run(&host, &plan);
        calls.iter().for_each(|call| drop(run.value(call.clone())));
        if mode == 0o640 {
            // The mode is as before whatever happened: the content is not, and is put back.
            let run = run.dies(&host, Mode::Exact, &plan);
            run.undo();
            assert_eq!((run.unrestored(), folder.content("app.conf").as_str()), (vec![], "size = 1\n"));
            continue;
        }
        fs::write(folder.root.join("app.conf"), "somebody's\n").expect("written");
        let run = if taken_over { run.dies(&host, Mode::Exact, &plan) } else { run };
        run.undo();
        set_mode(&folder.root.join("app.conf"), 0o640);
        let left = run.unrestored();
        assert_eq!(left.len(), 1);
        assert!(left[0].1.starts_with("content is sha256:"), "{left:?}");
        assert_eq!(folder.content("app.conf"), "somebody's\n");
    }
}

#[test]
fn what_a_daemon_appends_after_the_rehearsal_is_a_deviation() {
    let (host, folder) = (Host::new(), Folder::new());
    fs::write(folder.root.join("app.log"), "one\n").expect("written");
    for typed in [
        FilesCall::Truncate { path: folder.path("app.log"), length: 0 },
        FilesCall::Discard { path: folder.path("app.log") },
    ] {
        let calls = [call(typed.function(), &typed)];
        let plan = folder.plan(&host, &calls);
        let before = folder.content("app.log");
        fs::write(folder.root.join("app.log"), format!("{before}two\n")).expect("written");
        let mut run = folder.run(&host, &plan);
        let why = run.stop(calls[0].clone());
        assert!(why.ends_with("(the content before is another)"), "{why}");
        assert_eq!((folder.content("app.log"), run.journaled()), (format!("{before}two\n"), 0));
    }
}

/// The content is as before whatever the mode becomes: that alone must not make it a restoration.
#[test]
fn a_rollback_step_sets_no_mode_but_the_one_before() {
    let (host, folder) = (Host::new(), Folder::new());
    let set = |mode| call("set-mode", &FilesCall::SetMode { path: folder.path("app.conf"), mode });
    for (mode, may) in [(0o666, false), (0o640, true)] {
        let mut run = folder.run(&host, &folder.plan(&host, &[set(0o600)]));
        run.value(set(0o600));
        run.with_live(|live, _| live.journal().begin_rollback("why")).expect("marked");
        run.begin_under(Role::Rollback, &folder.grants(), &folder.grants());
        assert_eq!(run.call(set(mode)).is_ok(), may, "{mode:o}");
        assert_eq!(folder.mode("app.conf"), if may { 0o640 } else { 0o600 });
        set_mode(&folder.root.join("app.conf"), 0o640);
    }
}
