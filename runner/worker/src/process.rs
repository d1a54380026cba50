use std::ffi::OsStr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use countersign_model::text::excerpt;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use crate::wire::{Broken, Channel, Fork, FromWorker, Patience};

/// How long a process may take to end whose socket is closed.
const ENDS_WITHIN: Duration = Duration::from_secs(1);
/// How long a template may take to make a fork, its own start included.
const FORKS_WITHIN: Duration = Duration::from_secs(30);
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
pub struct Program {
    path: PathBuf,
    forks: bool,
}

impl Program {
    /// The running program itself, whatever stands under its name by now.
    #[must_use]
    pub fn this() -> Self {
        Self::at(Path::new("/proc/self/exe"))
    }

    /// Another one that calls [`serve`](crate::serve), for tests and measurements.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned(), forks: true }
    }

    /// One that is a worker from the beginning and is started anew each time, with `compile` or `step` as its argument: for
    /// tests of what a worker may say.
    #[must_use]
    pub fn each(path: &Path) -> Self {
        Self { path: path.to_owned(), forks: false }
    }
}

/// Starts processes. Most of what starting one takes is the same for all, so one process does it once, and is never given
/// anything of a step: the template, which a worker is a fork of.
pub(crate) struct Processes {
    program: Program,
    /// And the thread that started it: with a thread end the processes that it started.
    template: Mutex<Option<(ThreadId, Process)>>,
}

impl Processes {
    pub(crate) const fn of(program: Program) -> Self {
        Self { program, template: Mutex::new(None) }
    }

    /// Starts the template already, where none is, and does not wait for it.
    pub(crate) fn warm(&self) {
        let mut template = self.template.lock().unwrap_or_else(PoisonError::into_inner);
        if self.program.forks && template.is_none() {
            // Whoever starts a process says why that fails.
            *template = self.template().ok().map(|process| (std::thread::current().id(), process));
        }
    }

    fn template(&self) -> std::io::Result<Process> {
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        Process::spawn(&self.program.path, None, ours, theirs)
    }

    /// Starts a process, for `what`, with a socket and nothing else: no environment, no directory but the root, no output.
    pub(crate) fn start(&self, what: &str) -> std::io::Result<Process> {
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        if !self.program.forks {
            return Process::spawn(&self.program.path, Some(what), ours, theirs);
        }
        let mut template = self.template.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((thread, process)) = template.as_mut()
            && *thread == std::thread::current().id()
            && let Ok(pid) = process.fork(&theirs)
        {
            return Process::new(pid, ours);
        }
        // None yet, another thread's, or one that died, as whoever clears memory may have killed it.
        *template = None;
        let mut process = self.template()?;
        let pid = match process.fork(&theirs) {
            Ok(pid) => pid,
            Err(Unforked::Refused(why)) => return Err(std::io::Error::other(why)),
            Err(Unforked::Broken(broken)) => {
                return Err(std::io::Error::other(format!(
                    "the process that it is a fork of {}",
                    process.end(&broken)
                )));
            }
        };
        *template = Some((std::thread::current().id(), process));
        Process::new(pid, ours)
    }
}

/// Why a template made no fork.
enum Unforked {
    Refused(String),
    Broken(Broken),
}

/// A process, which ends with this value.
pub(crate) struct Process {
    /// A child of this process, which nobody else waits for: its number is its own until it is waited for.
    pid: Pid,
    waited: bool,
    pub(crate) channel: Channel<OwnedFd>,
}

impl Process {
    fn new(pid: Pid, socket: OwnedFd) -> std::io::Result<Self> {
        let channel = Channel::watched(socket).map_err(|error| std::io::Error::other(error.to_string()))?;
        Ok(Self { pid, waited: false, channel })
    }

    fn spawn(program: &Path, what: Option<&str>, ours: OwnedFd, theirs: OwnedFd) -> std::io::Result<Self> {
        let child = Command::new(program)
            .arg0(WORKER_NAME)
            .args(what)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // What a terminal or a service manager says to all of the runner's group is the runner's to hear.
            .process_group(0)
            .spawn()?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        Self::new(pid.ok_or_else(|| std::io::Error::other("a process without a number"))?, ours)
    }

    /// Has a template make a fork of itself, whose standard input is this socket. It is a child of this process, and of this
    /// thread if this thread started the template.
    fn fork(&mut self, socket: &OwnedFd) -> Result<Pid, Unforked> {
        let patience = Patience { until: Some(Instant::now() + FORKS_WITHIN), abandoned: &|| false };
        let sent = self.channel.send_with(&Fork, &[socket.as_fd()]);
        match sent.and_then(|()| self.channel.receive(&patience)).map_err(Unforked::Broken)? {
            FromWorker::Forked(pid) => Pid::from_raw(pid).ok_or(Unforked::Broken(Broken::Malformed)),
            FromWorker::Failed(why) => Err(Unforked::Refused(excerpt(&why, 300))),
            _ => Err(Unforked::Broken(Broken::Malformed)),
        }
    }

    /// Ends it, and says how it had ended by itself, as what follows `the worker process`.
    pub(crate) fn end(mut self, why: &Broken) -> String {
        if !matches!(why, Broken::Closed) {
            return why.to_string();
        }
        // A closed socket is the end of its process, but for one that closed it and goes on.
        let until = Instant::now() + ENDS_WITHIN;
        loop {
            match waitpid(Some(self.pid), WaitOptions::NOHANG) {
                Ok(Some((_, status))) => {
                    self.waited = true;
                    return describe(ExitStatus::from_raw(status.as_raw()));
                }
                Ok(None) if Instant::now() < until => std::thread::sleep(LOOK),
                Ok(None) => return "closed its socket and went on, and was ended".to_owned(),
                Err(Errno::INTR) => {}
                Err(error) => {
                    self.waited = true;
                    return format!("is lost: {error}");
                }
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.waited {
            return;
        }
        // One that has ended already is not killed: its number is kept until it is waited for.
        let _ = kill_process(self.pid, Signal::KILL);
        while matches!(waitpid(Some(self.pid), WaitOptions::empty()), Err(Errno::INTR)) {}
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
