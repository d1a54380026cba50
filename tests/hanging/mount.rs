//! A file system that hangs: the kernel lets go neither of the call nor of the process that makes it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;

use serde_json::Value;

use crate::support::eventually;
use crate::support::under::Under;
use crate::{c, place};

/// A file system with one `file`, served by a process of the test's own: the real thing, by the kernel's own protocol.
struct Mount {
    server: Child,
    at: PathBuf,
}

impl Mount {
    /// Reading is not answered any more once there is something at `hang`. `None` where no file system can be mounted.
    fn at(at: &Path, hang: &Path) -> Option<Self> {
        static SERVER: LazyLock<PathBuf> = LazyLock::new(|| c("mount"));
        fs::create_dir_all(at).expect("it can be made");
        let mut server = Command::new(&*SERVER).arg(at).arg(hang).stdout(Stdio::piped()).spawn().expect("it starts");
        let mut line = String::new();
        BufReader::new(server.stdout.take().expect("its stdout")).read_line(&mut line).expect("it is text");
        if line != "mounted\n" {
            server.wait().expect("it ended");
            eprintln!("skipped: no file system can be mounted here");
            return None;
        }
        Some(Self { server, at: at.to_owned() })
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Whoever waits for its answers is answered by the kernel now.
        let _ = self.server.kill();
        let _ = self.server.wait();
        let _ = Command::new("umount").arg("--lazy").arg(&self.at).stderr(Stdio::null()).status();
    }
}

#[test]
fn a_run_in_a_process_that_cannot_end_is_left_alone_until_it_has() {
    let place = place("");
    let (at, hang) = (place.state.path("mount"), place.state.path("hang"));
    let Some(mount) = Mount::at(&at, &hang) else { return };
    place.state.configure(&Under::validator(&place.state, "place", &place.folder.join("b")));
    place.state.configure(&format!(
        "[[targets.place.guards]]\nname = \"mount\"\ncall = \"files.read {}/file\"\nexpect = {{ content = \"ok\\n\" }}\ntimeout = 1\n",
        at.display()
    ));
    let before = place.standing();
    let mut under = Under::way(&place.state, &place.approved());
    fs::write(&hang, "").expect("it can be written");
    under.say("good");
    // Its stdout stays open as long as the kernel holds the process.
    let mut line = String::new();
    BufReader::new(under.child.stdout.take().expect("its stdout")).read_line(&mut line).expect("it is text");
    let report: Value = serde_json::from_str(&line).expect("it is JSON");
    assert_eq!(report["outcome"], "in-doubt", "{report}");
    let run = report["run"].as_str().expect("a run");
    eventually("the process's being half gone", || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", under.pid())).expect("it is there still");
        (stat.contains(") Z ") || stat.contains(") D ")).then_some(())
    });
    assert_eq!(place.text("a"), "fixed\n");

    let runs = place.state.run(&["--json", "runs"]).expect(0).json();
    assert_eq!(runs["runs"][0]["outcome"], "running", "{runs}");
    let stuck = place.state.run(&["--json", "recover"]).expect(5).json();
    assert_eq!(stuck["stuck"][0]["run"], run, "{stuck}");
    let why = stuck["stuck"][0]["error"]["message"].as_str().expect("why");
    assert!(why.contains("its process is not gone yet, and holds `place` still: `files.read"), "{why}");
    assert_eq!(place.text("a"), "fixed\n", "nothing is touched");

    drop(mount);
    assert_eq!(under.child.wait().expect("it ended").code(), Some(5));
    fs::remove_file(&hang).expect("it is there");
    let _mount = Mount::at(&at, &hang).expect("it can be mounted again");
    eventually("the mount's answer", || fs::read(at.join("file")).ok());
    let recovered = place.state.run(&["--json", "recover"]).expect(0).json();
    assert_eq!(recovered["runs"][0]["outcome"], "rolled-back", "{recovered}");
    assert_eq!(place.standing(), before);
}

/// It only looks, so nothing waits for it.
#[test]
fn a_guards_command_that_cannot_be_ended_holds_nothing_up() {
    let place = place("");
    let (at, hang) = (place.state.path("mount"), place.state.path("hang"));
    let Some(mount) = Mount::at(&at, &hang) else { return };
    place.state.configure(&Under::validator(&place.state, "place", &place.folder.join("b")));
    place.state.configure(&format!(
        "[[targets.place.guards]]\nname = \"reads\"\ncommand = [\"/bin/cat\", \"{}/file\"]\ntimeout = 1\n",
        at.display()
    ));
    let under = Under::way(&place.state, &place.approved());
    fs::write(&hang, "").expect("it can be written");
    // Its files are back, and the guard is as bad as it was with them.
    let report = under.answer("good").expect(5).json();
    assert_eq!(report["outcome"], "rollback-incomplete", "{report}");
    let guard = report["guards"].as_array().expect("guards").iter().find(|guard| guard["name"] == "reads");
    let reason = guard.expect("it was asked")["reason"].as_str().expect("why").to_owned();
    assert_eq!(reason, "`/bin/cat` took longer than 1 s, and cannot be ended");
    assert_eq!((place.text("a"), place.text("b")), ("broken\n".to_owned(), "broken too\n".to_owned()));
    drop(mount);
}
