//! What holds a worker, as the kernel tells it of a running one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use countersign_sandbox::{Failure, Limits};

use crate::guests::{empty, linked, reading, run_with};

/// The workers that this thread started: other tests start theirs meanwhile.
pub(crate) fn children() -> Vec<PathBuf> {
    let children = fs::read_to_string("/proc/thread-self/children").expect("a kernel that lists children");
    children.split_whitespace().map(|process| Path::new("/proc").join(process)).collect()
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
        assert_eq!(Some(group), worker.file_name().and_then(|name| name.to_str()));
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
        // The code, and what a memory begins with: nothing of either can be read or written any more, only mapped.
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
        .args(["-f", "-qq", "-e", "trace=landlock_restrict_self,openat,seccomp,prctl,setresuid", "-o"])
        .arg(&trace)
        .arg(here)
        .args(["--exact", "held::a_worker_holds_no_authority", "--test-threads", "1"])
        .status()
        .expect("strace runs");
    assert!(status.success());
    let trace = fs::read_to_string(trace).expect("a trace");
    let step = trace.lines().rfind(|line| line.contains("/proc/self/fd/")).expect("code is loaded");
    let process = step.split(' ').next().expect("a process");
    let own: Vec<_> = trace.lines().filter(|line| line.starts_with(&format!("{process} "))).collect();
    let at = |what: &str| own.iter().position(|line| line.contains(what));
    let (landlock, loads) = (at("landlock_restrict_self"), at("/proc/self/fd/").expect("it loads"));
    assert!(landlock.is_some_and(|landlock| landlock < loads && own[landlock].ends_with("= 0")), "{own:#?}");
    let filters =
        own.iter().enumerate().filter(|(_, line)| line.contains("SECCOMP_SET_MODE_FILTER") && line.ends_with("= 0"));
    let (before, after): (Vec<_>, Vec<_>) = filters.map(|(at, _)| at).partition(|at| *at < loads);
    assert!(!before.is_empty() && !after.is_empty(), "{own:#?}");
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
    drop(step);
    assert_eq!(children(), Vec::<PathBuf>::new());
}
