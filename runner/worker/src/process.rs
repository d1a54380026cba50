use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use crate::wire::{Broken, Channel};

/// How long a process may take to end whose socket is closed.
const ENDS_WITHIN: Duration = Duration::from_secs(1);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(1);

/// The name that a worker process goes by, its first argument: whoever is started by it calls [`serve`](crate::serve) and
/// nothing else.
pub const WORKER_NAME: &str = "countersign-worker";

/// Whether this process was started to be a worker.
#[must_use]
pub fn is_worker(name: Option<&OsStr>) -> bool {
    name == Some(OsStr::new(WORKER_NAME))
}

/// What is started as a worker.
#[derive(Clone, Debug)]
pub struct Program(PathBuf);

impl Program {
    /// The running program itself, whatever stands under its name by now.
    #[must_use]
    pub fn this() -> Self {
        Self(PathBuf::from("/proc/self/exe"))
    }

    /// Another one that calls [`serve`](crate::serve), for tests and measurements.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }
}

/// A worker process, which ends with this value.
pub(crate) struct Process {
    child: Child,
    pub(crate) channel: Channel<OwnedFd>,
}

impl Process {
    /// Starts one, for `what`, with a socket and nothing else: no environment, no directory but the root, no output.
    pub(crate) fn start(program: &Program, what: &str) -> std::io::Result<Self> {
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        let child = Command::new(&program.0)
            .arg0(WORKER_NAME)
            .arg(what)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // What a terminal or a service manager says to all of the runner's group is the runner's to hear.
            .process_group(0)
            .spawn()?;
        let channel = Channel::watched(ours).map_err(|error| std::io::Error::other(error.to_string()));
        Ok(Self { child, channel: channel? })
    }

    /// Ends it, and says how it had ended by itself, as what follows `the worker process`.
    pub(crate) fn end(mut self, why: &Broken) -> String {
        if !matches!(why, Broken::Closed) {
            return why.to_string();
        }
        // A closed socket is the end of its process, but for one that closed it and goes on.
        let until = Instant::now() + ENDS_WITHIN;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return describe(status),
                Ok(None) if Instant::now() < until => std::thread::sleep(LOOK),
                Ok(None) => return "closed its socket and went on, and was ended".to_owned(),
                Err(error) => return format!("is lost: {error}"),
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended already is not killed: its identifier is kept until it is waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) if signal == libc::SIGSYS => {
            "was ended by the kernel: it made a system call that a step's process may not make".to_owned()
        }
        (Some(signal), _) if signal == libc::SIGXCPU => {
            "was ended by the kernel: it used up its processor time".to_owned()
        }
        (Some(signal), _) if signal == libc::SIGABRT => "gave up (SIGABRT), for lack of memory perhaps".to_owned(),
        (Some(signal), _) => format!("was killed by signal {signal}{}", name(signal)),
        (None, Some(code)) => format!("ended by itself, with code {code}"),
        (None, None) => "ended".to_owned(),
    }
}

fn name(signal: i32) -> &'static str {
    match signal {
        libc::SIGKILL => " (SIGKILL)",
        libc::SIGSEGV => " (SIGSEGV)",
        libc::SIGBUS => " (SIGBUS)",
        libc::SIGILL => " (SIGILL)",
        libc::SIGFPE => " (SIGFPE)",
        libc::SIGTERM => " (SIGTERM)",
        _ => "",
    }
}
