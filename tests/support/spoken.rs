//! A command under way, with what it says as it says it.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

pub struct Spoken {
    pub child: Child,
    lines: Receiver<String>,
}

impl Spoken {
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
        let (sender, lines) = channel();
        let stderr = BufReader::new(child.stderr.take().expect("its stderr"));
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, lines }
    }

    /// The next line with these words.
    #[track_caller]
    pub fn says(&self, words: &str) -> String {
        let end = Instant::now() + Duration::from_secs(60);
        let mut said = Vec::new();
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) if line.contains(words) => return line,
                Ok(line) => said.push(line),
                Err(_) => panic!("it did not say `{words}`: {said:?}"),
            }
        }
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// Kills it, and waits until it has let go of everything.
    pub fn kill(mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ended");
    }

    /// Its exit code, the one object on stdout, and the rest of what it said. One that does not end within two minutes is
    /// killed, and has no exit code.
    pub fn end(mut self) -> (Option<i32>, Value, String) {
        let end = Instant::now() + Duration::from_secs(120);
        let mut said = Vec::new();
        // It says something until it ends.
        while let Ok(line) = self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            said.push(line);
        }
        if Instant::now() >= end {
            self.child.kill().expect("it can be killed");
        }
        let mut stdout = String::new();
        self.child.stdout.take().expect("its stdout").read_to_string(&mut stdout).expect("it is text");
        let code = self.child.wait().expect("it ended").code();
        (code, serde_json::from_str(&stdout).unwrap_or_default(), said.join("\n"))
    }
}
