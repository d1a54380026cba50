//! Real processes: a copy of the shell, so that its executable is nobody else's.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Answers `ping` with `pong`, says `hup` for each HUP, and ends at `quit`. A signal may end a read
/// early, as the end of the input does; after many of these nobody is there any more.
const SCRIPT: &str = "trap 'echo hup' HUP; echo ready; early=0; \
    while [ $early -lt 1000 ]; do line=; read -r line; \
    case $line in ping) echo pong;; quit) exit;; '') early=$((early + 1));; esac; done";

/// A directory with a program in it.
pub(crate) struct Place {
    _directory: tempfile::TempDir,
    root: PathBuf,
}

impl Place {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path().canonicalize().expect("its path");
        let place = Self { _directory: directory, root };
        place.copy("program");
        place
    }

    /// Copies the shell there, by another process: a file that this one writes could not be run meanwhile.
    pub(crate) fn copy(&self, name: &str) {
        let shell = Path::new("/bin/sh").canonicalize().expect("a shell");
        let copied = Command::new("cp").arg(shell).arg(self.path(name)).status().expect("cp");
        assert!(copied.success());
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.root.join(name).to_str().expect("UTF-8").to_owned()
    }

    pub(crate) fn pid_file(&self, pid: u32) -> String {
        let path = self.path("pid");
        std::fs::write(&path, format!("{pid}\n")).expect("a pid file");
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).expect("its mode");
        path
    }

    pub(crate) fn run(&self, name: &str) -> Running {
        Self::started(Command::new(self.path(name)))
    }

    /// The same as another user, whom the directory is opened to.
    pub(crate) fn run_as(&self, name: &str, user: u32) -> Running {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&self.root, PermissionsExt::from_mode(0o755)).expect("its mode");
        let mut command = Command::new(self.path(name));
        command.uid(user).gid(user);
        Self::started(command)
    }

    fn started(mut command: Command) -> Running {
        // Where the shell is one of many programs in one file, its name decides.
        let mut child = command
            .arg0("sh")
            .args(["-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child");
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("output"));
        let mut running = Running { child, input, output };
        assert_eq!(running.line(), "ready");
        running
    }
}

pub(crate) struct Running {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Running {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line that it says; empty at its end.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }

    /// Whether it says nothing more before it answers.
    pub(crate) fn is_quiet(&mut self) -> bool {
        self.input.as_mut().expect("input").write_all(b"ping\n").expect("ping");
        self.line() == "pong"
    }

    /// Ends it, and leaves it as a zombie.
    pub(crate) fn end(&mut self) {
        self.quit();
        let pid = rustix::process::Pid::from_child(&self.child);
        let options = rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT;
        rustix::process::waitid(rustix::process::WaitId::Pid(pid), options).expect("its end");
    }

    fn quit(&mut self) {
        // It may have ended already.
        let _ = self.input.as_mut().map(|input| input.write_all(b"quit\n"));
    }

    pub(crate) fn reap(&mut self) {
        self.quit();
        self.child.wait().expect("its end");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
