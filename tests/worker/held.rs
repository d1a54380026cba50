//! What holds a worker, as the kernel tells it of a running one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use countersign_sandbox::{Failure, Limits};

use crate::guests::{empty, linked, reading, run_with};

/// The workers that this thread started: other tests start theirs meanwhile.
pub(crate) fn children() -> Vec<PathBuf> {
    named("cs-worker")
}

/// Children of this thread that go by this name.
pub(crate) fn named(name: &str) -> Vec<PathBuf> {
    let children = fs::read_to_string("/proc/thread-self/children").expect("a kernel that lists children");
    let children = children.split_whitespace().map(|process| Path::new("/proc").join(process));
    children.filter(|child| fs::read_to_string(child.join("comm")).is_ok_and(|comm| comm.trim() == name)).collect()
}

/// Looks at the worker of a step while it waits for the answer to a call, and then stops the step.
fn while_it_waits(look: impl Fn(&Path) + Send + Sync) {
    let step = linked(&reading());
    let ended = run_with(
        &step,
        &mut |_| {
            let workers = children();
            let [worker] = workers.as_slice() else { panic!("{workers:?}") };
            look(worker);
            Err(countersign_model::Stop("seen".to_owned()))
        },
        &Limits::default(),
    );
    assert_eq!(ended.result, Err(Failure::Stopped(countersign_model::Stop("seen".to_owned()))));
    assert_eq!(children(), Vec::<PathBuf>::new(), "a step that was stopped leaves a process");
}

fn status(worker: &Path) -> impl Fn(&str) -> String {
    let status = fs::read_to_string(worker.join("status")).expect("a status");
    move |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("no {key}")).trim().to_owned()
    }
}

#[test]
fn a_worker_holds_no_authority() {
    // As a shell that started the runner may have left it: open in every program that is started.
    let inherited = fs::File::open("/etc/passwd").expect("a file");
    rustix::io::fcntl_setfd(&inherited, rustix::io::FdFlags::empty()).expect("it is inherited");
    while_it_waits(|worker| {
        let status = status(worker);
        assert_eq!(status("NoNewPrivs"), "1");
        assert_eq!(status("Seccomp"), "2");
        assert_eq!(status("CapEff"), "0000000000000000");
        assert_eq!(status("CapPrm"), "0000000000000000");
        assert_eq!(status("Threads"), "1");
        if rustix::process::geteuid().is_root() {
            assert_eq!(status("Uid"), "65534\t65534\t65534\t65534");
            assert_eq!(status("Gid"), "65534\t65534\t65534\t65534");
            assert_eq!(status("Groups"), "");
        }
        // What is said to the runner's whole group is not said to it.
        let stat = fs::read_to_string(worker.join("stat")).expect("its state");
        let group = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(2)).expect("a group");
        assert_ne!(group, rustix::process::getpgrp().as_raw_nonzero().to_string());
        let open: Vec<_> = fs::read_dir(worker.join("fd"))
            .expect("descriptors")
            .map(|entry| {
                let path = entry.expect("a descriptor").path();
                let name = path.file_name().expect("a number").to_string_lossy().into_owned();
                let leads = fs::read_link(&path).expect("a link").to_string_lossy().into_owned();
                (name, leads)
            })
            .collect();
        let leads = |number: &str| open.iter().find(|(name, _)| name == number).map(|(_, leads)| leads.as_str());
        assert!(leads("0").is_some_and(|leads| leads.starts_with("socket:")), "{open:?}");
        assert_eq!((leads("1"), leads("2")), (Some("/dev/null"), Some("/dev/null")));
        // The code, which is mapped already.
        let others = open.iter().filter(|(name, _)| !["0", "1", "2"].contains(&name.as_str()));
        assert!(others.clone().all(|(_, leads)| leads.starts_with("/memfd:")), "{open:?}");
        assert_eq!(fs::read(worker.join("environ")).expect("an environment"), b"");
        assert_eq!(fs::read_link(worker.join("cwd")).expect("a directory"), Path::new("/"));
    });
}

#[test]
fn a_worker_has_limits() {
    while_it_waits(|worker| {
        let limits = fs::read_to_string(worker.join("limits")).expect("limits");
        let hard = |name: &str| {
            let line = limits.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_else(|| panic!("no {name}")).split_whitespace().nth(1).expect("a limit").to_owned()
        };
        assert_eq!(hard("Max core file size"), "0");
        assert_eq!(hard("Max open files"), "0");
        assert_eq!(hard("Max file size"), "0");
        assert_eq!(hard("Max processes"), "0");
        assert_eq!(hard("Max data size"), ((256_u64 + 128) << 20).to_string());
        assert_eq!(hard("Max msgqueue size"), "0");
    });
}

/// Landlock leaves no trace in /proc: what the kernel answered does.
#[test]
fn a_worker_has_no_files_before_it_loads_anything() {
    let place = tempfile::tempdir().expect("a directory");
    let trace = place.path().join("trace");
    let here = std::env::current_exe().expect("this program");
    let status = Command::new("strace")
        .args(["-f", "-qq", "-e", "trace=landlock_restrict_self,clone,mprotect,seccomp,setresuid", "-o"])
        .arg(&trace)
        .arg(here)
        .args(["--exact", "held::a_worker_holds_no_authority", "--test-threads", "1"])
        .status()
        .expect("strace runs");
    assert!(status.success());
    let trace = fs::read_to_string(trace).expect("a trace");
    let of = |process: &str| -> Vec<_> {
        trace.lines().filter(|line| line.split(' ').next() == Some(process)).map(str::to_owned).collect()
    };
    let at = |lines: &[String], what: &str| lines.iter().position(|line| line.contains(what));
    let (forked, template) = trace
        .lines()
        .rfind(|line| line.contains("CLONE_PARENT"))
        .map(|line| (line, line.split(' ').next().expect("a process")))
        .expect("a fork");
    let before = of(template);
    let (landlock, fork) = (at(&before, "landlock_restrict_self"), at(&before, "CLONE_PARENT").expect("a fork"));
    assert!(landlock.is_some_and(|landlock| landlock < fork && before[landlock].ends_with("= 0")), "{before:#?}");
    // The last process that was made is the step's.
    let step = of(forked.rsplit_once("= ").expect("a number").1);
    // Code is what may be run: its memory is the first that this process makes so.
    let loads = at(&step, "PROT_EXEC").expect("it loads");
    let filters: Vec<_> = (0..step.len()).filter(|at| step[*at].contains("SECCOMP_SET_MODE_FILTER")).collect();
    assert!(filters.iter().any(|at| *at < loads) && filters.iter().any(|at| *at > loads), "{step:#?}");
    assert!(filters.iter().all(|at| step[*at].ends_with("= 0")), "{step:#?}");
}

#[test]
fn steps_run_one_after_the_other_leave_no_process() {
    let step = linked(&reading());
    for _ in 0..5 {
        let mut calls = 0;
        let mut answer = |_| {
            calls += 1;
            if calls < 3 { Ok(empty()) } else { Err(countersign_model::Stop("enough".to_owned())) }
        };
        run_with(&step, &mut answer, &Limits::default()).result.expect_err("it was stopped");
    }
    assert_eq!(named("cs-template").len(), 1);
    drop(step);
    assert_eq!(children(), Vec::<PathBuf>::new());
    assert_eq!(named("cs-template"), Vec::<PathBuf>::new());
}

/// What it is a fork of is never given anything of a step, and has given up what it held before there is any.
#[test]
fn a_template_holds_no_authority_either() {
    let _step = linked(&reading());
    let templates = named("cs-template");
    let [template] = templates.as_slice() else { panic!("{templates:?}") };
    let status = status(template);
    assert_eq!(status("NoNewPrivs"), "1");
    assert_eq!(status("Seccomp"), "2");
    assert_eq!(status("CapEff"), "0000000000000000");
    assert_eq!(status("Threads"), "1");
    if rustix::process::geteuid().is_root() {
        assert_eq!(status("Uid"), "65534\t65534\t65534\t65534");
    }
    let open = fs::read_dir(template.join("fd")).expect("descriptors").count();
    assert_eq!(open, 3, "a socket and /dev/null twice");
}
