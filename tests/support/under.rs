//! A run that is known to be under way, and what a command says while it runs.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use rustix::process::{Pid, Signal, kill_process};

use super::{Ran, State, eventually};

/// A run that stops where its validator looks at what was written, until it is told whether that is good.
pub struct Under {
    pub child: Child,
    answer: PathBuf,
    validator: Pid,
}

impl Under {
    /// A validator of the path that waits for its answer; of the target that is configured last.
    pub fn validator(state: &State, target: &str, path: &Path) -> String {
        let (answer, started) = (state.path("answer"), state.path("validating"));
        rustix::fs::mknodat(rustix::fs::CWD, &answer, rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("a FIFO");
        format!(
            "[[targets.{target}.validators]]\nname = \"asks\"\npaths = [\"{}\"]\ntimeout = 90\n\
             command = [\"/bin/sh\", \"-c\", \"echo $$ > {}; read answer < {}; test $answer = good\"]\n",
            path.display(),
            started.display(),
            answer.display(),
        )
    }

    pub fn way(state: &State, proposal: &str) -> Self {
        Self::begun(state, state.command(&["--json", "run", proposal]))
    }

    /// The same, where it was started to ignore a signal, e.g. `HUP`.
    pub fn ignoring(state: &State, proposal: &str, signal: &str) -> Self {
        let run = state.command(&["--json", "run", proposal]);
        let mut ignoring = Command::new("env");
        ignoring.arg(format!("--ignore-signal={signal}")).arg(run.get_program()).args(run.get_args());
        ignoring.envs(run.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Self::begun(state, ignoring)
    }

    fn begun(state: &State, mut run: Command) -> Self {
        let child = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
        let validator = eventually("the validator's start", || {
            let text = fs::read_to_string(state.path("validating")).ok()?;
            Pid::from_raw(text.strip_suffix('\n')?.parse().ok()?)
        });
        Self { child, answer: state.path("answer"), validator }
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Answers.
    pub fn say(&self, answer: &str) {
        let mut fifo = fs::OpenOptions::new().write(true).open(&self.answer).expect("the validator reads");
        writeln!(fifo, "{answer}").expect("it can be written");
    }

    /// Answers, and waits for its end.
    pub fn answer(self, answer: &str) -> Ran {
        self.say(answer);
        let output = self.child.wait_with_output().expect("it ended");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        let code = output.status.code().unwrap_or(-1);
        Ran { code, stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Ends it as the kernel would where memory is short.
    pub fn kill(mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ended");
        let _ = kill_process(self.validator, Signal::KILL);
    }
}

/// A command, with what it says as it says it.
pub struct Saying {
    pub child: Child,
    lines: Receiver<String>,
}

impl Saying {
    pub fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
        let (sender, lines) = channel();
        let stderr = BufReader::new(child.stderr.take().expect("its stderr"));
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, lines }
    }

    #[track_caller]
    pub fn says(&self, words: &str) -> String {
        self.lines.iter().find(|line| line.contains(words)).unwrap_or_else(|| panic!("it did not say `{words}`"))
    }

    pub fn end(self) -> Ran {
        let output = self.child.wait_with_output().expect("it ended");
        let stderr = self.lines.iter().collect::<Vec<_>>().join("\n");
        let code = output.status.code().unwrap_or(-1);
        Ran { code, stdout: String::from_utf8(output.stdout).expect("UTF-8"), stderr }
    }
}
