//! Whole outputs of every command: what was typed, the exit code, stdout and stderr, in text and with `--json`,
//! through one story of the orders service. Clock and keys are pinned; names, digests and ports are counted.
//!
//! `make snapshots` records them anew. Read what changed as an approver would.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "support/keys.rs"]
mod keys;
#[path = "../runner/app/docs/markdown.rs"]
#[allow(dead_code, reason = "the documentation's own tests use the rest")]
mod markdown;
mod support;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Stdio;

use keys::Keys;
use serde_json::Value;
use support::normal::{Normal, Style};
use support::spoken::Spoken;
use support::{Incident, Ran, Runs, State, bundle, eventually, root};

/// 2026-01-05T08:00:00Z, when the story begins; every step takes a minute.
const BEGIN: u64 = 1_767_600_000_000;

/// The story in one of its two forms.
struct Story {
    json: bool,
    incident: Incident,
    normal: RefCell<Normal>,
    minutes: RefCell<u64>,
    verbs: RefCell<BTreeSet<String>>,
    /// What `--json` printed, by verb.
    objects: RefCell<Vec<(String, Value)>>,
}

impl Story {
    fn new(json: bool) -> Self {
        let incident = Incident::of(State::pinned());
        let mut normal = Normal::new(Style::Counted);
        normal.know(incident.state.dir.path().to_str().expect("UTF-8"), "/tmp/story");
        normal.know(root().to_str().expect("UTF-8"), "/src/countersign");
        normal.know(incident.address.clone(), "127.0.0.1:8080");
        let pid = incident.pid();
        normal.know(format!("process {pid}, in state S"), "process 4711, in state S");
        normal.know(format!("process {pid}, in state R"), "process 4711, in state S");
        for key in ["agent", "alice", "bob", "bobs-glass", "second", "runner"] {
            let file = root().join("tests/keys").join(format!("{key}.pub"));
            let output = support::ssh_keygen(&["-lf", file.to_str().expect("UTF-8")]);
            let line = String::from_utf8(output.stdout).expect("text");
            let fingerprint = line.split(' ').nth(1).expect("a fingerprint").to_owned();
            normal.know(fingerprint, format!("SHA256:(the key of {key})"));
        }
        Self {
            json,
            incident,
            normal: RefCell::new(normal),
            minutes: RefCell::default(),
            verbs: RefCell::default(),
            objects: RefCell::default(),
        }
    }

    fn path(&self, name: &str) -> String {
        self.incident.state.path(name).to_str().expect("UTF-8").to_owned()
    }

    /// One command, as it is kept in `tests/snapshots`.
    #[track_caller]
    fn step(&self, name: &str, expected: i32, arguments: &[&str]) -> Ran {
        self.verbs.borrow_mut().insert(arguments[0].to_owned());
        let mut command = self.incident.state.command(&[]);
        command.env_remove("COLUMNS");
        if self.json {
            command.arg("--json");
        }
        *self.minutes.borrow_mut() += 1;
        command.env("COUNTERSIGN_TEST_NOW", self.now().to_string());
        // The target directory is on the machine's own path, and its steps have the same names for every project.
        command.env("CARGO_TARGET_DIR", support::steps());
        command.current_dir(self.incident.state.dir.path()).args(arguments);
        let lock = (arguments[0] == "build").then(support::build_lock);
        let ran = command.ran().expect(expected);
        drop(lock);
        self.keep(name, arguments, &ran);
        ran
    }

    fn now(&self) -> u64 {
        BEGIN + *self.minutes.borrow() * 60_000
    }

    #[track_caller]
    fn keep(&self, name: &str, arguments: &[&str], ran: &Ran) {
        let mut stdout = ran.stdout.clone();
        if self.json {
            let lines = stdout.lines().count();
            assert_eq!(lines, 1, "`{name}` printed {lines} lines where one object is expected: {stdout}");
            let object = ran.json();
            assert!(object.is_object(), "{object}");
            stdout = serde_json::to_string_pretty(&object).expect("JSON");
            self.objects.borrow_mut().push((arguments[0].to_owned(), object));
        }
        let typed: Vec<String> = arguments.iter().map(|word| quoted(word)).collect();
        let flag = if self.json { "--json " } else { "" };
        let all = format!("$ countersign {flag}{}\n{stdout}\n\u{1}\n{}", typed.join(" "), ran.stderr);
        let all = self.normal.borrow_mut().of(&all);
        let (out, err) = all.split_once('\u{1}').expect("it stands between the two");
        let code = ran.code;
        let kept = format!("{}\n\n--- exit code {code}; stderr:\n{}", out.trim_end(), err.trim());
        let folder = if self.json { "json" } else { "text" };
        insta::with_settings!({
            snapshot_path => root().join("tests/snapshots").join(folder),
            prepend_module_to_snapshot => false,
            omit_expression => true,
        }, { insta::assert_snapshot!(name, kept) });
    }

    /// The first name of a sort in an output.
    #[track_caller]
    fn name(ran: &Ran, begins: &str) -> String {
        let text = format!("{}{}", ran.stdout, ran.stderr);
        let found = text.match_indices(begins).find_map(|(at, _)| {
            let name = text.get(at..at + begins.len() + 12)?;
            let after_word = text[..at].ends_with(|c: char| c.is_ascii_alphanumeric());
            let hex = name[begins.len()..].bytes().all(|b| b.is_ascii_hexdigit());
            (hex && !after_word).then(|| name.to_owned())
        });
        found.unwrap_or_else(|| panic!("no `{begins}…` in {text}"))
    }

    fn propose(&self, step: &str, bundle: &str, target: &str, more: &[&str]) -> String {
        let given = self.incident.arguments();
        let target = format!("--target={target}");
        let mut arguments = vec!["propose", bundle, &target];
        arguments.extend(given.iter().skip(1).map(String::as_str));
        let key = self.path("agent");
        arguments.extend(["--hypothesis", "pool-size is 0, so no worker takes orders", "--key", &key]);
        arguments.extend(more);
        Self::name(&self.step(step, 0, &arguments), "p-")
    }

    /// A run of the same proposal, approved once more, whose process is killed while it waits for a confirmation.
    fn left_waiting(&self, proposal: &str) -> String {
        // Runs are listed by when they began.
        *self.minutes.borrow_mut() += 1;
        let quietly = |words: &[&str]| {
            let mut command = self.incident.state.command(words);
            command.env("COUNTERSIGN_TEST_NOW", self.now().to_string());
            command
        };
        let alice = self.path("alice");
        let reason = ["--reason", "once more", "--confirm-within", "1h"];
        quietly(&[&["approve", proposal, "--key", &alice], reason.as_slice()].concat()).ran().expect(0);
        let run = Spoken::start(&mut quietly(&["run", proposal]));
        let line = run.says("waits for a confirmation until");
        run.kill();
        line.split(' ').nth(1).expect("a run").to_owned()
    }

    /// Bob operates the service, and has a key by which he breaks the glass; somebody is told.
    fn lists_who_breaks_the_glass(&self) {
        let key = |name: &str| fs::read_to_string(self.path(&format!("{name}.pub"))).expect("a key").trim().to_owned();
        let Incident { state, config, executable, address, .. } = &self.incident;
        let (config, executable) = (config.display(), executable.display());
        state.policy(|policy| {
            format!(
                "{policy}\n[[people]]\nname = \"bob\"\nkeys = [\"{}\"]\nmay = [\"operate\"]\n\n[[break-glass]]\nname = \"orders at night\"\n\
                 targets = [\"orders\"]\ngrants = [\"files.read {config}\", \"files.write {config}\", \"http.read http://{address}/**\", \
                 \"process.read exe={executable}\", \"process.write exe={executable} signals=HUP\"]\nmax-validity = \"1h\"\n\
                 keys = [{{ person = \"bob\", key = \"{}\" }}]\n",
                key("bob"),
                key("bobs-glass")
            )
        });
        state.configure(
            "\n[notice]\ncommand = [\"/bin/sh\", \"-c\", \"cat >>notices\"]\n"
                .replace("notices", &self.path("notices"))
                .as_str(),
        );
    }

    fn approve(&self, step: &str, proposal: &str) {
        let key = self.path("alice");
        self.step(step, 0, &["approve", proposal, "--key", &key, "--reason", "pool-size 0 explains the 503s"]);
    }
}

fn quoted(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:=,@".contains(&b);
    if word.bytes().all(plain) { word.to_owned() } else { format!("'{word}'") }
}

/// A copy of a bundle in the story's own directory.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the folder can be made");
    for entry in fs::read_dir(from).expect("the folder can be read") {
        let entry = entry.expect("it can be read").path();
        let to = to.join(entry.file_name().expect("it has a name"));
        if entry.is_dir() {
            copy(&entry, &to);
        } else {
            fs::copy(&entry, &to).expect("it can be copied");
        }
    }
}

fn story(json: bool) -> Story {
    let story = Story::new(json);
    let (agent, alice, second) = (story.path("agent"), story.path("alice"), story.path("second"));
    for name in ["pool-size", "pool-size-twin", "hostile/out-of-bounds"] {
        let to = story.incident.state.path(name.rsplit('/').next().expect("a name"));
        copy(&bundle(name), &to);
    }

    // The operator.
    let (agent_public, alice_public) = (format!("{agent}.pub"), format!("{alice}.pub"));
    let second_public = format!("{second}.pub");
    let proposers = ["--proposer", &agent_public, "--proposer", &second_public];
    story.step("init", 0, &[&["init", "--approver", &alice_public][..], &proposers].concat());
    story.step("init-again", 1, &["init", "--approver", &alice_public]);
    story.incident.state.pin_runner();
    story.lists_who_breaks_the_glass();
    story.incident.state.configure(&story.incident.target("orders", ""));
    let started = story.incident.state.path("validating");
    story.incident.state.configure(&story.incident.target(
        "slow",
        &format!(
            "[[targets.slow.validators]]\nname = \"waits\"\npaths = [\"{}\"]\ntimeout = 90\n\
             command = [\"/bin/sh\", \"-c\", \"echo $$ > {}; exec sleep 60\"]\n",
            story.incident.config.display(),
            started.display()
        ),
    ));
    story.step("pending-none", 0, &["pending"]);
    story.step("runs-none", 0, &["runs"]);

    // The agent looks, and packs a fix.
    let config = story.incident.config.display().to_string();
    let read = story.step("read", 0, &["read", "orders", &format!("files.read {config}"), "--key", &agent]);
    let evidence = Story::name(&read, "ev-");
    story.step("read-denied", 3, &["read", "orders", "files.read /etc/shadow", "--key", &agent]);
    story.step("read-no-target", 1, &["read", "nowhere", "files.read /etc/hosts", "--key", &agent]);
    let given = story.incident.arguments();
    let with_given = |words: &[&str]| -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).chain(given.clone()).chain([format!("--key={agent}")]).collect()
    };
    let step = |name: &str, expected: i32, words: Vec<String>| {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        story.step(name, expected, &words)
    };
    step("investigate", 0, with_given(&["investigate", "pool-size"]));
    story.step("new", 0, &["new", "replace-text"]);
    story.step("build", 0, &["build", "replace-text"]);
    let hostile = root().join("examples/hostile/writing-investigation").display().to_string();
    story.step("build-refused", 3, &["build", &hostile, "--out", "refused"]);
    story.step("inspect", 0, &["inspect", "pool-size"]);
    step("rehearse", 0, with_given(&["rehearse", "pool-size"]));
    step("rehearse-denied", 3, with_given(&["rehearse", "out-of-bounds"]));
    let proposal = story.propose("propose", "pool-size", "orders", &["--evidence", &evidence]);

    // The approver.
    story.step("pending", 0, &["pending"]);
    story.step("review", 0, &["review", &proposal]);
    story.step("run-unapproved", 3, &["run", &proposal]);
    story.step("approve-refused", 3, &["approve", &proposal, "--key", &agent, "--reason", "it is mine"]);
    story.step(
        "approve-write-manifest",
        0,
        &["approve", &proposal, "--reason", "signed elsewhere", "--write-manifest", "approval.json"],
    );
    story.approve("approve", &proposal);

    // The operator runs it.
    let committed = Story::name(&story.step("run", 0, &["run", &proposal]), "r-");
    story.step("run-again", 3, &["run", &proposal]);
    // It is undone again, by somebody else's proposal; and what drifted is rehearsed again.
    story.step("rollback-own", 3, &["rollback", &committed, "--key", &agent, "--reason", "my own"]);
    let undoing = ["rollback", &committed, "--key", &second, "--reason", "the sale is over"];
    let undoing = Story::name(&story.step("rollback", 0, &undoing), "p-");
    story.step("review-rollback", 0, &["review", &undoing]);
    story.approve("approve-rollback", &undoing);
    story.step("run-rollback", 0, &["run", &undoing, "--wait"]);
    story.step("show-undone", 0, &["show", &committed]);
    let drifting = story.propose("propose-drifting", "pool-size", "orders", &[]);
    let edited = fs::read_to_string(&story.incident.config).expect("it is there");
    fs::write(&story.incident.config, format!("{edited}# edited\n")).expect("it can be edited");
    let revise = ["propose", "--revise", &drifting, "--arg", "pool-size=4", "--key", &agent];
    let revised = Story::name(&story.step("propose-revise", 0, &revise), "p-");
    story.step("review-revised", 0, &["review", &revised]);
    story.step("review-superseded", 0, &["review", &drifting]);
    story.step("run-superseded", 3, &["run", &drifting]);
    fs::write(&story.incident.config, edited).expect("it can be put back");
    let twin = story.propose("propose-twin", "pool-size-twin", "orders", &[]);
    story.approve("approve-twin", &twin);
    let rolled_back = Story::name(&story.step("run-rolled-back", 4, &["run", &twin]), "r-");
    story.step("runs", 0, &["runs"]);
    story.step("show", 0, &["show", &rolled_back]);
    let denied = story.propose("propose-to-deny", "pool-size", "orders", &[]);
    story.step("deny", 0, &["deny", &denied, "--key", &alice, "--reason", "not during the sale"]);
    story.step("run-denied", 3, &["run", &denied]);
    story.step("review-denied", 0, &["review", &denied]);

    // A run whose process dies leaves its target blocked.
    let slow = story.propose("propose-slow", "pool-size", "slow", &[]);
    // It is signed on another machine.
    story.step("export", 0, &["export", &slow, "slow.proposal"]);
    story.step("review-away", 0, &["review", "slow.proposal"]);
    story.step(
        "approve-away",
        0,
        &[
            "approve",
            "slow.proposal",
            "--runner",
            "state/runner.pub",
            "--key",
            &alice,
            "--reason",
            "pool-size 0 explains the 503s",
        ],
    );
    story.step("import", 0, &["import", "slow.proposal"]);

    // Somebody denies elsewhere what was approved there.
    let ended = story.propose("propose-to-end", "pool-size", "orders", &[]);
    let quietly = |words: &[&str]| {
        let mut command = story.incident.state.command(words);
        command.env("COUNTERSIGN_TEST_NOW", story.now().to_string()).current_dir(story.incident.state.dir.path());
        command.ran().expect(0);
    };
    quietly(&["export", &ended, "ended.proposal"]);
    for verb in ["approve", "deny"] {
        let runner = ["--runner", "state/runner.pub", "--key", &alice, "--reason", "not during the sale"];
        quietly(&[&[verb, "ended.proposal"], runner.as_slice()].concat());
    }
    story.step("import-denied", 0, &["import", "ended.proposal"]);

    // Somebody edits while a run is at work, which is rolled back: what they wrote is a person's to decide on.
    let edits = format!(
        "[[targets.edited.validators]]\nname = \"edits\"\npaths = [\"{config}\"]\n\
         command = [\"/bin/sh\", \"-c\", \"echo '# edited' >>{config}; exit 1\"]\n"
    );
    story.incident.state.configure(&story.incident.target("edited", &edits));
    let edited = story.propose("propose-edited", "pool-size", "edited", &[]);
    story.approve("approve-edited", &edited);
    let open = Story::name(&story.step("run-incomplete", 5, &["run", &edited]), "r-");
    story.step("pending-open", 0, &["pending"]);
    story.step("runs-open", 0, &["runs", "--limit", "1"]);
    story.step("show-open", 0, &["show", &open]);
    story.step("show-before", 0, &["show", &open, "--before", &config]);
    story.step("show-before-unchanged", 3, &["show", &open, "--before", "/etc/hosts"]);
    let resolve = |step: &str, code: i32, way: &str, key: &str| {
        story.step(step, code, &["resolve", &open, &config, way, "--key", key, "--reason", "the fix is proposed again"])
    };
    resolve("resolve-own", 3, "--restore", &agent);
    resolve("resolve", 0, "--restore", &alice);
    resolve("resolve-again", 3, "--accept", &alice);
    story.step("show-resolved", 0, &["show", &open]);
    // The service goes by what it read last.
    story.incident.reload();
    eventually("the incident again", || (story.incident.status("/orders") == 503).then_some(()));

    let mut run = story.incident.state.command(&["run", &slow]);
    run.env("COUNTERSIGN_TEST_NOW", story.now().to_string()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut run = run.spawn().expect("the binary starts");
    let validator =
        eventually("the validator's start", || fs::read_to_string(&started).ok().filter(|text| text.ends_with('\n')));
    run.kill().expect("it can be killed");
    run.wait().expect("it ended");
    let validator = validator.trim().parse().ok().and_then(rustix::process::Pid::from_raw).expect("a process");
    let _ = rustix::process::kill_process(validator, rustix::process::Signal::KILL);
    // What cannot be read whole is not gone by.
    story.incident.state.damage_journal(true);
    story.step("run-blocked", 5, &["run", &slow]);
    let mut runs = story.incident.state.command(&["runs"]);
    let unfinished = Story::name(&runs.env("COUNTERSIGN_TEST_NOW", story.now().to_string()).ran(), "r-");
    story.step("show-unfinished", 0, &["show", &unfinished]);
    story.step("recover-stuck", 5, &["recover"]);
    story.incident.state.damage_journal(false);
    story.step("recover", 0, &["recover"]);

    // What a run changed stays only once somebody has confirmed it.
    let waits = story.propose("propose-waiting", "pool-size", "orders", &[]);
    let asking =
        ["approve", &waits, "--key", &alice, "--reason", "as long as somebody looks", "--confirm-within", "1h"];
    story.step("approve-waiting", 0, &asking);
    story.step("review-waiting", 0, &["review", &waits]);
    story.step("run-unconfirmed", 4, &["run", &waits, "--confirm-within", "1s"]);
    let left = story.left_waiting(&waits);
    story.step("rollback-waiting", 0, &["rollback", &left, "--key", &alice, "--reason", "the queue grows"]);
    let left = story.left_waiting(&waits);
    story.step("runs-waiting", 0, &["runs", "--limit", "1"]);
    story.step("pending-waiting", 0, &["pending"]);
    story.step("show-waiting", 0, &["show", &left]);
    story.step("recover-waiting", 0, &["recover"]);
    story.step("confirm-own", 3, &["confirm", &left, "--key", &agent]);
    story.step("confirm", 0, &["confirm", &left, "--key", &alice, "--reason", "the queue drains"]);
    story.step("confirm-again", 3, &["confirm", &left, "--key", &alice]);

    // Nobody who may approve answers: bob breaks the glass, and alice reviews that.
    story.incident.deploy(0);
    let glass = story.path("bobs-glass");
    let burns = story.propose("propose-at-night", "pool-size", "orders", &[]);
    let breaks = |step: &str, code: i32, key: &str| {
        let why = ["--reason", "orders are lost, nobody else answers"];
        story.step(step, code, &[&["break-glass", "approve", &burns, "--key", key][..], &why].concat())
    };
    breaks("break-glass-ordinary-key", 3, &alice);
    let broken = breaks("break-glass", 0, &glass).stdout;
    let (_, digest) = broken.split_once("approval").and_then(|(_, rest)| rest.split_once("sha256:")).expect("a digest");
    let digest = &digest[..64];
    story.step("pending-glass", 0, &["pending"]);
    story.step("review-glass", 0, &["review", &burns]);
    let burnt = Story::name(&story.step("run-glass", 0, &["run", &burns]), "r-");
    story.step("show-glass", 0, &["show", &burnt]);
    story.step("break-glass-list", 0, &["break-glass", "list"]);
    let close = |step: &str, code: i32, key: &str| {
        let found = ["--key", key, "--reason", "the pool was empty; the fix is right"];
        story.step(step, code, &[&["break-glass", "close", digest][..], &found].concat())
    };
    close("break-glass-close-own", 3, &story.path("bob"));
    close("break-glass-close", 0, &alice);
    story.step("break-glass-list-all", 0, &["break-glass", "list", "--all"]);

    // The service is gone: neither check nor guard can tell that all is well.
    story.incident.stop();
    story.step("review-down", 0, &["review", &slow]);

    story.step("images", 0, &["images"]);

    // What was decided and done is proven to whoever trusts nobody here.
    story.step("audit-verify", 0, &["audit", "verify"]);
    story.step("audit-prove", 0, &["audit", "prove", &left, "--out", "receipt"]);
    story.step("audit-check-receipt", 0, &["audit", "check-receipt", "receipt"]);
    story.step("audit-export", 0, &["audit", "export", "--out", "audit.jsonl"]);

    // Somebody stops new runs, and lets them begin again.
    story.step("pause-own", 3, &["pause", "--key", &agent, "--reason", "I want to"]);
    story.step("pause", 0, &["pause", "--key", &alice, "--reason", "the database is being moved"]);
    story.step("runs-paused", 0, &["runs", "--limit", "1"]);
    story.step("pause-lifted", 0, &["pause", "--lift", "--key", &alice, "--reason", "it is moved"]);

    // The next trust policy, and what it says of a proposal.
    let next = fs::read_to_string(story.incident.state.path("state/trust-policy.toml")).expect("a policy");
    let next = next.replace("serial = 2\n", "serial = 3\n").replace("max-uses = 1", "max-uses = 2");
    fs::write(story.incident.state.path("next.toml"), next).expect("it can be written");
    story.step("trust-show", 0, &["trust", "show"]);
    story.step("trust-propose", 0, &["trust", "propose", "next.toml"]);
    story.step("trust-install-unsigned", 3, &["trust", "install", "next.toml"]);
    story.step("trust-sign", 0, &["trust", "sign", "next.toml", "--key", &alice]);
    story.step("trust-install", 0, &["trust", "install", "next.toml"]);
    story.step("trust-explain", 0, &["trust", "explain", &denied]);
    story.step("trust-signers", 0, &["trust", "signers"]);

    // What could never run unattended is not signed for it.
    story.step("standing-refused", 3, &["standing", "approve", &denied, "--key", &alice, "--reason", "it is small"]);
    story.step("standing-list", 0, &["standing", "list"]);

    // Everybody.
    story.step("man", 0, &["man", "pages"]);
    story.step("completions-unknown", 2, &["completions", "csh"]);
    story.step("usage", 2, &["approve"]);
    story.verbs.borrow_mut().insert("completions".to_owned());
    story
}

/// Every command of this binary, by the manual pages that it wrote.
fn commands(story: &Story) -> BTreeSet<String> {
    let pages = fs::read_dir(story.incident.state.path("pages")).expect("the pages are there");
    let names = pages.map(|page| page.expect("it can be read").file_name().into_string().expect("UTF-8"));
    names.filter_map(|name| Some(name.strip_prefix("countersign-")?.strip_suffix(".1")?.to_owned())).collect()
}

#[test]
fn in_text() {
    let story = story(false);
    let missing: Vec<_> = commands(&story).difference(&story.verbs.borrow()).cloned().collect();
    assert!(missing.is_empty(), "no snapshot shows {missing:?}");
}

/// And every key that was printed stands in `docs/json.md`, as what it is; and every key there was printed.
#[test]
fn in_json() {
    let story = story(true);
    let page = fs::read_to_string(root().join("docs/json.md")).expect("there is such a page");
    let mut keys = Keys::of(&page);
    for (verb, object) in story.objects.borrow().iter() {
        keys.compare(verb, object);
    }
    for (verb, words) in [("completions", &["completions", "bash"][..]), ("man", &["man"])] {
        keys.compare(verb, &support::countersign().arg("--json").args(words).ran().expect(0).json());
    }
    assert_eq!(keys.wrong(), Vec::<&str>::new());
    // What the story does not meet is looked at in `full_disk.rs`, `incident.rs`, `preflight.rs`, `hardware.rs`,
    // `standing.rs` and `audit.rs`.
    let hardware = ["touch", "pin", "counter", "application", "origin"].map(|key| ("hardware", key));
    let audit = [
        ("audit", "witness"),
        ("audit", "at"),
        ("audit", "checkpoint"),
        ("audit", "since"),
        ("audit", "until"),
        ("audit", "counts"),
        ("audit", "changes"),
        ("audit", "refused"),
        ("audit", "denied"),
        ("audit", "standing"),
        ("audit", "break_glass"),
        ("audit", "open"),
        ("audit", "agents"),
        ("cosignature", "witness"),
        ("cosignature", "at"),
    ];
    let of_one = ["standing", "example", "bundle", "agent", "arguments", "grants", "budget", "not_before", "expires"];
    let of_one = of_one.into_iter().chain(["reason", "approvers", "targets"]).map(|key| ("standing-approval", key));
    let of_target = ["target", "unattended", "why"].map(|key| ("standing-target", key));
    let standing = of_one.chain(of_target).chain([("standing", "signed_by"), ("run", "unattended")]);
    let standing: Vec<_> = standing.collect();
    let others = [("change", "kept_at"), ("planned-change", "runs_as"), ("ability", "why")];
    let elsewhere = [&others[..], &hardware, &audit, &standing].concat();
    assert_eq!(keys.unseen(&elsewhere), Vec::<String>::new(), "what `docs/json.md` says is printed nowhere");
}

/// `--help` of the program and of every command, as on a terminal of a hundred columns.
#[test]
fn help() {
    let state = State::pinned();
    let text = |words: &[&str]| support::countersign().env_remove("COLUMNS").args(words).ran().expect(0).stdout;
    state.run(&["man", state.path("pages").to_str().expect("UTF-8")]).expect(0);
    let mut kept = text(&["--help"]);
    let mut pages: Vec<_> =
        fs::read_dir(state.path("pages")).expect("pages").map(|page| page.expect("a page").file_name()).collect();
    pages.sort();
    for page in pages {
        let page = page.into_string().expect("UTF-8");
        if let Some(verb) = page.strip_prefix("countersign-").and_then(|page| page.strip_suffix(".1")) {
            kept.push_str(&format!("\n==== {verb}\n{}", text(&[verb, "--help"])));
        }
    }
    insta::with_settings!({
        snapshot_path => root().join("tests/snapshots"), prepend_module_to_snapshot => false, omit_expression => true,
    }, { insta::assert_snapshot!("help", kept) });
}
