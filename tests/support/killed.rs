//! A run whose process is killed between its changes and its end.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::{State, eventually};

/// A run that is killed while its validator looks at what was written.
pub struct Killed<'a> {
    state: &'a State,
    run: Child,
    validator: Pid,
}

impl<'a> Killed<'a> {
    /// A validator of the path that waits until it is killed; of a target whose configuration ends with this.
    pub fn validator(state: &State, target: &str, path: &Path) -> String {
        format!(
            "[[targets.{target}.validators]]\nname = \"slow\"\npaths = [\"{}\"]\n\
             command = [\"/bin/sh\", \"-c\", \"echo $$ > {}; exec sleep 60\"]\ntimeout = 90\n",
            path.display(),
            state.path("validating").display()
        )
    }

    /// Begins the run, and waits until it validates.
    pub fn validating(state: &'a State, proposal: &str) -> Self {
        let mut run = state.command(&["run", proposal]);
        let run = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts");
        let validator = eventually("the validator's start", || {
            let text = fs::read_to_string(state.path("validating")).ok()?;
            Pid::from_raw(text.strip_suffix('\n')?.parse().ok()?)
        });
        Self { state, run, validator }
    }

    /// Kills it, and gives its name.
    pub fn kill(mut self) -> String {
        let runs = self.state.run(&["--json", "runs"]).expect(0).json();
        let running = runs["runs"].as_array().expect("runs").iter().find(|run| run["outcome"] == "running");
        let name = running.expect("a run")["run"].as_str().expect("a name").to_owned();
        self.run.kill().expect("it can be killed");
        assert_eq!(self.run.wait().expect("it ended").signal(), Some(9));
        // Whoever it left behind ends with it.
        let _ = kill_process(self.validator, Signal::KILL);
        name
    }
}
