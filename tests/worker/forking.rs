//! What may happen to the process that workers are forks of, and to a fork before it is given anything.

use std::fs;
use std::io::{IoSliceMut, Write as _};
use std::mem::MaybeUninit;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use countersign_model::Role;
use countersign_sandbox::{Failure, Limits, Output};
use countersign_worker::{Confinement, Program, Workers};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{Pid, Signal, kill_process};

use crate::guests::{admitted, granted, linked, run, run_with, trivial, workers};
use crate::held::{children, named};
use crate::support::eventually;

const DYING: &str = "COUNTERSIGN_DYING";
const TRYING: &str = "COUNTERSIGN_TRYING";

/// Not a test of its own: a template that makes one process, to hear what its socket says, and ends.
#[test]
fn dies() {
    let Some(here) = std::env::var_os(DYING).map(PathBuf::from) else { return };
    let (mut bytes, mut space) = ([0; 64], [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))]);
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut slices = [IoSliceMut::new(&mut bytes)];
    recvmsg(rustix::stdio::stdin(), &mut slices, &mut ancillary, RecvFlags::CMSG_CLOEXEC).expect("asked for a fork");
    let rights = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut rights) => rights.next(),
        _ => None,
    });
    let hears = Command::new("/bin/sh")
        .args(["-c", "cat >heard; mv heard ended"])
        .current_dir(here)
        .stdin(Stdio::from(rights.expect("a socket")))
        .spawn();
    hears.expect("a process");
    std::process::exit(1);
}

#[test]
fn a_fork_that_nobody_heard_of_is_given_nothing_and_ends() {
    let place = tempfile::tempdir().expect("a directory");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/worker/dying.sh");
    for (name, leads) in [
        ("dying", script),
        ("test", std::env::current_exe().expect("this program")),
        ("countersign-worker", env!("CARGO_BIN_EXE_countersign").into()),
    ] {
        symlink(leads, place.path().join(name)).expect("a link");
    }
    let workers = Workers::new(Program::at(&place.path().join("dying")), Confinement::default(), None);
    // The one that dies; another takes its place.
    workers.warm();
    let step = workers.start(&admitted(&trivial(Role::Fix)), &granted()).expect("started").ready().expect("linked");
    let heard = eventually("it ends while the step waits", || fs::read(place.path().join("ended")).ok());
    assert_eq!(heard, b"");
    assert_eq!(run(&step).result, Ok(Output::Done));
}

#[test]
fn a_template_that_stands_still_takes_no_more_than_the_steps_time() {
    let step = linked(&trivial(Role::Fix));
    let templates = named("cs-template");
    let template = templates[0].file_name().expect("a number").to_string_lossy().parse().expect("a number");
    kill_process(Pid::from_raw(template).expect("a process"), Signal::STOP).expect("it is there");
    // The process that waits for it was made before.
    assert_eq!(run(&step).result, Ok(Output::Done));
    let limits = Limits { wall_clock: Duration::from_millis(500), ..Limits::default() };
    let ended = run_with(&step, &mut |_| panic!("it calls nothing"), &limits);
    assert_eq!(ended.result, Err(Failure::OutOfTime(limits.wall_clock)));
    // A long way from both: of its own a template is given 30 s.
    assert!(ended.elapsed < Duration::from_secs(20), "{:?}", ended.elapsed);
    // And the next one has another.
    assert_eq!(run(&step).result, Ok(Output::Done));
    drop(step);
    assert_eq!((children(), named("cs-template")), (Vec::new(), Vec::new()));
}

/// Not a test of its own: says why no step starts.
#[test]
fn tries() {
    if std::env::var_os(TRYING).is_none() {
        return;
    }
    let (workers, admitted) = (workers(None), admitted(&trivial(Role::Fix)));
    let why = workers.start(&admitted, &granted()).err().expect("none starts");
    writeln!(std::io::stdout(), "why: {why}").expect("it is heard");
    drop(workers);
    assert_eq!((children(), named("cs-template")), (Vec::new(), Vec::new()));
}

/// Why no step starts in a process that is started by this.
fn why(starter: &[&str]) -> String {
    let output = Command::new("timeout")
        .args(["--signal=KILL", "60"])
        .args(starter)
        .arg(std::env::current_exe().expect("this program"))
        .args(["--exact", "forking::tries", "--nocapture", "--test-threads", "1"])
        .env(TRYING, "1")
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said.lines().find_map(|line| line.split_once("why: ")).expect("it says why").1.to_owned()
}

#[test]
fn what_may_not_be_ended_is_given_nothing_to_do() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let why = why(&["setpriv", "--bounding-set", "-kill"]);
    assert!(why.contains("this process may not end the processes that it starts, as without CAP_KILL"), "{why}");
}

#[test]
fn a_kernel_that_makes_no_process_is_told_of() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let why = why(&["prlimit", "--nproc=1:1"]);
    assert!(why.contains("the kernel makes no more processes of its user: Resource temporarily unavailable"), "{why}");
}

#[test]
fn a_root_that_cannot_be_nobody_starts_nothing() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let why = why(&["setpriv", "--bounding-set", "-setuid,-setgid"]);
    assert!(why.contains("root's worker cannot go on as nobody"), "{why}");
}
