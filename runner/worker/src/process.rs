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
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process, test_kill_process, waitid, waitpid,
};

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
        let (ours, theirs) = pair()?;
        Process::spawn(&self.program.path, None, ours, theirs)
    }

    /// Starts a process, for `what`, with a socket and nothing else: no environment, no directory but the root, no output.
    ///
    /// # Errors
    /// When none can be started, or not while whoever waits has patience.
    pub(crate) fn start(&self, what: &str, patience: &Patience<'_>) -> std::io::Result<Process> {
        if !self.program.forks {
            let (ours, theirs) = pair()?;
            return Process::spawn(&self.program.path, Some(what), ours, theirs);
        }
        let mut template = self.template.lock().unwrap_or_else(PoisonError::into_inner);
        let here = std::thread::current().id();
        // Another thread's ends here.
        if let Some((_, mut process)) = template.take().filter(|(thread, _)| *thread == here) {
            match process.fork(patience) {
                Ok(fork) => {
                    *template = Some((here, process));
                    return Ok(fork);
                }
                Err(Unforked::Broken(broken)) if patience.ask().is_err() => return Err(process.unable(&broken)),
                // One that died, as whoever clears memory may have killed it.
                Err(_) => {}
            }
        }
        let mut process = self.template()?;
        match process.fork(patience) {
            Ok(fork) => {
                *template = Some((here, process));
                Ok(fork)
            }
            Err(Unforked::Refused(why)) => Err(std::io::Error::other(why)),
            Err(Unforked::Broken(broken)) => Err(process.unable(&broken)),
        }
    }
}

/// The two ends of a socket.
fn pair() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
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

    /// Has a template make a fork of itself, which is a child of this process, and of this thread if this thread started the
    /// template.
    fn fork(&mut self, patience: &Patience<'_>) -> Result<Self, Unforked> {
        let refused = |why: &dyn std::fmt::Display| Unforked::Refused(why.to_string());
        // Of each fork its own: one that a template made and then died, before it could tell, finds its socket closed.
        let (ours, theirs) = pair().map_err(|error| refused(&error))?;
        let soon = Instant::now() + FORKS_WITHIN;
        let patience = Patience { until: Some(patience.until.map_or(soon, |until| until.min(soon))), ..*patience };
        let said = match self.channel.send_with(&Fork, &[theirs.as_fd()]) {
            // One that could not be set up said why before it ended.
            Ok(()) | Err(Broken::Closed) => self.channel.receive(&patience),
            Err(broken) => Err(broken),
        };
        let pid = match said {
            Ok(FromWorker::Forked(pid)) => pid,
            Ok(FromWorker::Failed(why)) => return Err(Unforked::Refused(excerpt(&why, 300))),
            Ok(_) => return Err(Unforked::Broken(Broken::Malformed)),
            Err(broken) => {
                self.give_up();
                return Err(Unforked::Broken(broken));
            }
        };
        let pid = child(pid).map_err(|error| refused(&error))?;
        let process = Self::new(pid, ours).map_err(|error| refused(&error))?;
        // Known before it is given anything to do.
        match test_kill_process(pid) {
            Err(error @ Errno::PERM) => Err(refused(&format_args!(
                "this process may not end the processes that it starts, as without CAP_KILL: {error}"
            ))),
            _ => Ok(process),
        }
    }

    /// Ends it, a template that is not waited for any longer, and the fork that it may have made meanwhile.
    fn give_up(&mut self) {
        let _ = kill_process(self.pid, Signal::KILL);
        let soon = Patience { until: Some(Instant::now() + ENDS_WITHIN), abandoned: &|| false };
        // What it said of the fork comes before the end of its socket. One that it was killed before it could tell of ends by
        // itself.
        let said = self.channel.receive(&soon);
        if let Ok(FromWorker::Forked(pid)) = said
            && let Ok(pid) = child(pid)
        {
            let _ = kill_process(pid, Signal::KILL).map(|()| wait(pid));
        }
    }

    /// Why it, a template, made no fork.
    fn unable(self, broken: &Broken) -> std::io::Error {
        std::io::Error::other(format!("the process that it is a fork of {}", self.end(broken)))
    }

    /// Ends it, and says how it had ended by itself, as what follows `the worker process`.
    pub(crate) fn end(mut self, why: &Broken) -> String {
        if !matches!(why, Broken::Closed) {
            return why.to_string();
        }
        // A closed socket is the end of its process, but for one that closed it and goes on.
        match self.ended() {
            Ok(Some(status)) => describe(status),
            Ok(None) => "closed its socket and went on, and was ended".to_owned(),
            Err(error) => format!("is lost: {error}"),
        }
    }

    /// Waits for the end of one that ends by itself; none where it does not in time.
    fn ended(&mut self) -> rustix::io::Result<Option<ExitStatus>> {
        let until = Instant::now() + ENDS_WITHIN;
        loop {
            match waitpid(Some(self.pid), WaitOptions::NOHANG) {
                Ok(Some((_, status))) => {
                    self.waited = true;
                    return Ok(Some(ExitStatus::from_raw(status.as_raw())));
                }
                Ok(None) if Instant::now() < until => std::thread::sleep(LOOK),
                Ok(None) => return Ok(None),
                Err(Errno::INTR) => {}
                Err(error) => {
                    self.waited = true;
                    return Err(error);
                }
            }
        }
    }
}

/// The process of this number, if it is a child of this one: whatever else it is, it is not to be ended.
fn child(number: i32) -> std::io::Result<Pid> {
    let pid = Some(number).filter(|number| *number > 0).and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| std::io::Error::other("a process without a number"))?;
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    loop {
        match waitid(WaitId::Pid(pid), look) {
            Ok(_) => return Ok(pid),
            Err(Errno::INTR) => {}
            Err(error) => {
                let what = format!("process {number}, of which it was told, is no child of this one: {error}");
                return Err(std::io::Error::other(what));
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
        if kill_process(self.pid, Signal::KILL).is_err() {
            // It may not be ended by this one, and was given nothing to do: it ends with its socket, and is not waited for
            // for ever.
            let _ = self.channel.shut();
            let _ = self.ended();
            return;
        }
        wait(self.pid);
    }
}

/// Waits for one that was killed.
fn wait(pid: Pid) {
    while matches!(waitpid(Some(pid), WaitOptions::empty()), Err(Errno::INTR)) {}
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
