//! What a confined process can do, tried by one: this program, started again for each thing that it tries. How it ends tells.

#![expect(unsafe_code, reason = "what is tried is what safe code cannot do")]

use std::fs::File;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitStatus};

use rustix::fs::{Mode, OFlags, ResolveFlags};

use super::*;

const PROBE: &str = "COUNTERSIGN_WORKER_PROBE";
const DONE: i32 = 40;
const REFUSED: i32 = 41;
const OTHER: i32 = 42;

/// What is tried, by whom, and whether it has its step's code to load still.
fn tried(what: &str) -> ExitStatus {
    Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "confine::tests::probe", "--nocapture", "--test-threads", "1"])
        .env(PROBE, what)
        .output()
        .expect("it starts")
        .status
}

/// Not a test of its own: what the others start.
#[test]
fn probe() {
    let Ok(what) = std::env::var(PROBE) else { return };
    let (code, other) = (File::open("/proc/self/exe").expect("this program"), "/etc/passwd");
    let (stage, what) = what.split_once(' ').expect("a stage, and what is tried");
    let purpose = match stage {
        "compiling" => Purpose::Compile { memory: 1 << 30, seconds: 60 },
        _ => Purpose::Step { memory: 384 << 20 },
    };
    let missing = give_up().expect("given up");
    assert!(missing.is_empty(), "{missing:?}");
    if stage != "template" {
        confine(purpose, &missing).expect("confined");
    }
    if stage == "sealed" {
        seal(&missing).expect("sealed");
    }
    let path = |number: i32| format!("/proc/self/fd/{number}");
    let ended = match what {
        "its descriptors by name" => File::open(path(std::os::fd::AsRawFd::as_raw_fd(&code))).map(drop),
        "another file" => File::open(other).map(drop),
        "another file, in a new way" => {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            rustix::fs::openat2(rustix::fs::CWD, other, flags, Mode::empty(), ResolveFlags::empty())
                .map(drop)
                .map_err(Into::into)
        }
        "a new file" => File::create("/tmp/countersign-probe").map(drop),
        "a directory" => std::fs::read_dir("/").map(drop),
        "a socket" => std::net::TcpStream::connect("127.0.0.1:1").map(drop),
        "a program" => Command::new("/bin/true").status().map(drop),
        "a thread" => std::thread::Builder::new().spawn(|| ()).map(drop),
        "a signal" => rustix::process::kill_process(rustix::process::getpid(), Signal::USR1).map_err(Into::into),
        "new code" => {
            // SAFETY: new memory, which nothing else knows of.
            let new = unsafe {
                let (private, executable) =
                    (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, libc::PROT_READ | libc::PROT_EXEC);
                libc::mmap(std::ptr::null_mut(), 4096, executable, private, -1, 0)
            };
            assert_ne!(new, libc::MAP_FAILED);
            Ok(())
        }
        "shared memory" => raw(|| {
            let shared = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
            // SAFETY: new memory, which nothing else knows of.
            let _ = unsafe { libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_READ, shared, -1, 0) };
        }),
        "memory that grows" => raw(|| {
            let growing = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_GROWSDOWN;
            // SAFETY: new memory, which nothing else knows of.
            let _ = unsafe { libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_READ, growing, -1, 0) };
        }),
        // SAFETY: system calls that take numbers, and touch no memory.
        "urgent data" => raw(|| _ = unsafe { libc::syscall(libc::SYS_sendto, 0, 0, 0, libc::MSG_OOB, 0, 0) }),
        "its socket" => raw(|| _ = unsafe { libc::syscall(libc::SYS_close, 0) }),
        "another's limits" => raw(|| _ = unsafe { libc::syscall(libc::SYS_prlimit64, 1, libc::RLIMIT_CORE, 0, 0) }),
        "an abort of another" => raw(|| _ = unsafe { libc::syscall(libc::SYS_tgkill, 1, 1, libc::SIGABRT) }),
        "a core dump" => rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable).map_err(Into::into),
        "life beyond its runner" => rustix::process::set_parent_process_death_signal(None).map_err(Into::into),
        "memory" => {
            std::hint::black_box(vec![1_u8; 64 << 20]);
            Ok(())
        }
        "too much memory" => {
            let mut much: Vec<u8> = Vec::new();
            much.try_reserve_exact(2 << 30).map_err(std::io::Error::other)
        }
        other => panic!("{other}"),
    };
    let code = match ended {
        Ok(()) => DONE,
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => REFUSED,
        Err(_) => OTHER,
    };
    std::process::exit(code);
}

/// What safe code cannot try.
fn raw(call: impl FnOnce()) -> std::io::Result<()> {
    call();
    Ok(())
}

/// What no worker may do at any time: it would reach others, outlive its runner, or take memory that nothing counts.
const NEVER: &[&str] = &[
    "shared memory",
    "memory that grows",
    "urgent data",
    "its socket",
    "another's limits",
    "an abort of another",
    "a core dump",
    "life beyond its runner",
];

#[test]
fn no_worker_reaches_others_or_what_nothing_counts() {
    for stage in ["loading", "sealed", "compiling"] {
        for what in NEVER {
            assert!(ended_by_the_kernel(tried(&format!("{stage} {what}"))), "{stage} {what}");
        }
    }
}

fn ended_by_the_kernel(status: ExitStatus) -> bool {
    status.signal() == Some(libc::SIGSYS)
}

#[test]
fn a_template_reaches_no_file_and_no_network() {
    // Of these no filter knows: it is Landlock that refuses them.
    for what in ["another file, in a new way", "a socket"] {
        assert_eq!(tried(&format!("template {what}")).code(), Some(REFUSED), "{what}");
    }
    for what in ["another file", "a new file"] {
        assert_eq!(tried(&format!("template {what}")).code(), Some(REFUSED), "{what}");
    }
}

#[test]
fn before_its_code_is_loaded_a_worker_opens_nothing() {
    for what in ["its descriptors by name", "another file", "a new file", "a directory"] {
        assert_eq!(tried(&format!("loading {what}")).code(), Some(REFUSED), "{what}");
    }
    for what in ["a socket", "a program", "a thread", "a signal"] {
        assert!(ended_by_the_kernel(tried(&format!("loading {what}"))), "{what}");
    }
}

#[test]
fn a_sealed_worker_opens_nothing() {
    for what in ["its descriptors by name", "another file", "a new file"] {
        assert_eq!(tried(&format!("sealed {what}")).code(), Some(REFUSED), "{what}");
    }
    for what in ["a socket", "a program", "a thread", "a signal", "new code"] {
        assert!(ended_by_the_kernel(tried(&format!("sealed {what}"))), "{what}");
    }
    assert_eq!(tried("sealed memory").code(), Some(DONE));
    assert_eq!(tried("sealed too much memory").code(), Some(OTHER));
}

#[test]
fn a_compiling_worker_has_threads_and_nothing_else() {
    assert_eq!(tried("compiling a thread").code(), Some(DONE));
    for what in ["another file", "a new file"] {
        assert_eq!(tried(&format!("compiling {what}")).code(), Some(REFUSED), "{what}");
    }
    for what in ["a socket", "a program", "a signal", "new code"] {
        assert!(ended_by_the_kernel(tried(&format!("compiling {what}"))), "{what}");
    }
    assert_eq!(tried("compiling memory").code(), Some(DONE));
}
