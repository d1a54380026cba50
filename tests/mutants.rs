//! Mutations: each breaks one promise in the code, and a named test must fail for it.
//!
//! `tests/mutants/NAME.toml` says what is broken, where, and which test notices; `CONTRIBUTING.md` has the format. That
//! each still applies is tested with everything else. `make mutants` tries them: on a copy of the tree, one at a time,
//! each must compile and its test must fail, and the same test must pass where nothing is broken.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says how far it is"
)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;

/// The longest that one build or one test may take.
const PATIENCE: Duration = Duration::from_secs(20 * 60);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mutation {
    /// The promise that it breaks, in one line.
    breaks: String,
    /// Where cargo finds the test, e.g. `--test gate` or `--lib`.
    cargo: String,
    /// The test's full name.
    test: String,
    edits: Vec<Edit>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Edit {
    /// From the repository's root.
    file: String,
    /// Stands there exactly once.
    old: String,
    new: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All mutations, by name.
fn mutations() -> Vec<(String, Mutation)> {
    let mut files: Vec<PathBuf> = fs::read_dir(root().join("tests/mutants"))
        .expect("there are mutations")
        .map(|entry| entry.expect("it can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("it is text");
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a name").to_owned();
        let mutation = toml::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        (name, mutation)
    };
    files.into_iter().map(read).collect()
}

/// The files that a mutation changes, with their new text; or why it does not apply.
fn mutated(tree: &Path, mutation: &Mutation) -> Result<Vec<(PathBuf, String)>, String> {
    let mut files: Vec<(PathBuf, String)> = Vec::new();
    for Edit { file, old, new } in &mutation.edits {
        let path = tree.join(file);
        let at = match files.iter().position(|(known, _)| *known == path) {
            Some(at) => at,
            None => {
                let text = fs::read_to_string(&path).map_err(|error| format!("`{file}` cannot be read: {error}"))?;
                files.push((path, text));
                files.len() - 1
            }
        };
        let (_, text) = files.get_mut(at).ok_or("it is lost")?;
        let (old, new) = (old.trim_matches('\n'), new.trim_matches('\n'));
        match text.matches(old).count() {
            1 if old != new && !old.trim().is_empty() => *text = text.replacen(old, new, 1),
            1 => return Err(format!("it changes nothing in `{file}`")),
            count => return Err(format!("the old text stands {count} times in `{file}`, and must stand once:\n{old}")),
        }
    }
    if files.is_empty() { Err("it has no edits".to_owned()) } else { Ok(files) }
}

/// When code moves, its mutations move along.
#[test]
fn every_mutation_still_applies() {
    let mut wrong = Vec::new();
    for (name, mutation) in mutations() {
        if let Err(why) = mutated(root(), &mutation) {
            wrong.push(format!("tests/mutants/{name}.toml: {why}"));
        }
        let function = mutation.test.rsplit("::").next().unwrap_or_default();
        if mutation.breaks.trim().is_empty() || !is_a_test(function) {
            wrong.push(format!("tests/mutants/{name}.toml: there is no test `{function}`, or nothing that it breaks"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whether some source file has a function of this name; whether it is the right one, `make mutants` finds out.
fn is_a_test(function: &str) -> bool {
    fn sources(folder: &Path, found: &mut dyn FnMut(&str) -> bool) -> bool {
        let Ok(entries) = fs::read_dir(folder) else { return false };
        entries.filter_map(Result::ok).any(|entry| {
            let path = entry.path();
            if path.is_dir() {
                sources(&path, found)
            } else {
                path.extension().is_some_and(|extension| extension == "rs")
                    && fs::read_to_string(&path).is_ok_and(|text| found(&text))
            }
        })
    }
    let wanted = format!("fn {function}(");
    ["tests", "runner", "sdk"].iter().any(|folder| sources(&root().join(folder), &mut |text| text.contains(&wanted)))
}

#[derive(PartialEq, Eq)]
enum Verdict {
    Caught,
    Survived,
    Wrong(String),
}

/// `make mutants`; with `MUTANTS=a,b` those whose names contain `a` or `b`.
#[test]
#[ignore = "builds the workspace once per mutation: `make mutants`"]
fn every_mutation_is_caught() {
    let wanted = std::env::var("MUTANTS").unwrap_or_default();
    let wanted: Vec<_> = wanted.split([',', ' ']).filter(|word| !word.is_empty()).collect();
    let chosen: Vec<_> = mutations()
        .into_iter()
        .filter(|(name, _)| wanted.is_empty() || wanted.iter().any(|word| name.contains(word)))
        .collect();
    assert!(!chosen.is_empty(), "no mutation's name contains one of {wanted:?}");

    let bench = Bench::new();
    eprintln!("the tests as they are:");
    let mut seen = BTreeSet::new();
    for (_, mutation) in &chosen {
        if !seen.insert((&mutation.cargo, &mutation.test)) {
            continue;
        }
        let ran = bench.test(mutation);
        eprintln!("  {:<9} {} {}", if ran == Ran::Passed { "passes" } else { "FAILS" }, mutation.cargo, mutation.test);
        assert_eq!(ran, Ran::Passed, "`{}` must pass before anything is broken", mutation.test);
    }
    let mut survivors = Vec::new();
    for (at, (name, mutation)) in chosen.iter().enumerate() {
        let begun = Instant::now();
        let (word, why) = match bench.attempt(mutation) {
            Verdict::Caught => ("caught", None),
            Verdict::Survived => ("SURVIVED", Some("its test passes".to_owned())),
            Verdict::Wrong(why) => ("WRONG", Some(why)),
        };
        let seconds = begun.elapsed().as_secs();
        eprintln!("{:>3}/{} {word:<9} {seconds:>4} s  {name}: {}", at + 1, chosen.len(), mutation.breaks);
        if let Some(why) = why {
            eprintln!("    {why}");
            survivors.push(name.as_str());
        }
    }
    assert!(survivors.is_empty(), "not caught: {}", survivors.join(", "));
}

#[derive(Debug, PartialEq, Eq)]
enum Ran {
    Passed,
    Failed,
    DoesNotCompile(String),
    NotFound(String),
}

/// A copy of the tree, built where nothing else is.
struct Bench {
    tree: PathBuf,
    target: PathBuf,
}

impl Bench {
    fn new() -> Self {
        let built =
            Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("cargo's tmp is inside its target directory");
        let bench = Self { tree: built.join("mutants/tree"), target: built.join("mutants/build") };
        let listed = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(root())
            .output()
            .expect("git starts");
        assert!(listed.status.success(), "git lists the sources");
        let names: BTreeSet<PathBuf> = String::from_utf8(listed.stdout)
            .expect("names are UTF-8")
            .split('\0')
            .filter(|name| !name.is_empty() && (root().join(name).is_file() || root().join(name).is_symlink()))
            .map(PathBuf::from)
            .collect();
        for name in &names {
            let (from, to) = (root().join(name), bench.tree.join(name));
            // An example carries the SDK by a link, and so does its copy.
            if let Ok(link) = from.read_link() {
                if to.read_link().ok().as_ref() != Some(&link) {
                    fs::create_dir_all(to.parent().expect("it has a parent")).expect("a folder can be made");
                    std::os::unix::fs::symlink(link, &to).expect("a link can be made");
                }
                continue;
            }
            let bytes = fs::read(&from).expect("it can be read");
            // What is the same stays untouched, so that cargo does not build it again.
            if fs::read(&to).is_ok_and(|there| there == bytes) {
                continue;
            }
            fs::create_dir_all(to.parent().expect("it has a parent")).expect("a folder can be made");
            fs::copy(&from, &to).expect("it can be copied");
            fs::File::options()
                .append(true)
                .open(&to)
                .and_then(|file| file.set_modified(std::time::SystemTime::now()))
                .expect("its time can be set");
        }
        remove_strangers(&bench.tree, &bench.tree, &names);
        bench
    }

    fn attempt(&self, mutation: &Mutation) -> Verdict {
        let files = match mutated(&self.tree, mutation) {
            Ok(files) => files,
            Err(why) => return Verdict::Wrong(why),
        };
        let restore =
            Restore(files.iter().map(|(path, _)| (path.clone(), fs::read(path).expect("it can be read"))).collect());
        for (path, text) in &files {
            fs::write(path, text).expect("it can be written");
        }
        let ran = self.test(mutation);
        drop(restore);
        match ran {
            Ran::Failed => Verdict::Caught,
            Ran::Passed => Verdict::Survived,
            Ran::DoesNotCompile(why) => Verdict::Wrong(format!("it does not compile:\n{why}")),
            Ran::NotFound(why) => Verdict::Wrong(format!("the test did not run:\n{why}")),
        }
    }

    fn test(&self, mutation: &Mutation) -> Ran {
        let (built, said) = self.cargo(mutation, &["--no-run"]);
        if !built {
            return Ran::DoesNotCompile(end(&said));
        }
        let (_, said) = self.cargo(mutation, &["--no-fail-fast", "--", "--exact", &mutation.test]);
        // A process that is killed, or hangs, says nothing of its test: that too is noticed.
        let started = said.contains("running 1 test");
        if said.contains(&format!("test {} ... ok", mutation.test)) {
            Ran::Passed
        } else if started {
            Ran::Failed
        } else {
            Ran::NotFound(end(&said))
        }
    }

    fn cargo(&self, mutation: &Mutation, more: &[&str]) -> (bool, String) {
        let output = self.target.with_extension("log");
        fs::create_dir_all(&self.target).expect("the target directory can be made");
        let log = fs::File::create(&output).expect("a log can be made");
        let mut child = Command::new(env!("CARGO"))
            .args(["test", "--workspace", "--locked"])
            .args(mutation.cargo.split_whitespace())
            .args(more)
            .current_dir(&self.tree)
            .env("CARGO_TARGET_DIR", &self.target)
            .env("CARGO_INCREMENTAL", "1")
            .env_remove("RUST_TEST_THREADS")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log can be shared"))
            .stderr(log)
            .process_group(0)
            .spawn()
            .expect("cargo starts");
        let done = wait(&mut child);
        (done, fs::read_to_string(&output).unwrap_or_default())
    }
}

/// Whether it ended well; what takes too long is ended, with all that it started.
fn wait(child: &mut Child) -> bool {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("it can be waited for") {
            return status.success();
        }
        if begun.elapsed() > PATIENCE {
            let _ = rustix::process::kill_process_group(
                rustix::process::Pid::from_child(child),
                rustix::process::Signal::KILL,
            );
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Puts files back, also when a test panics.
struct Restore(Vec<(PathBuf, Vec<u8>)>);

impl Drop for Restore {
    fn drop(&mut self) {
        for (path, bytes) in &self.0 {
            let _ = fs::write(path, bytes);
        }
    }
}

fn remove_strangers(tree: &Path, folder: &Path, names: &BTreeSet<PathBuf>) {
    for entry in fs::read_dir(folder).expect("it can be read").filter_map(Result::ok) {
        let path = entry.path();
        if path.is_dir() && !path.is_symlink() {
            remove_strangers(tree, &path, names);
        } else if !path.strip_prefix(tree).is_ok_and(|name| names.contains(name)) {
            fs::remove_file(&path).expect("it can be removed");
        }
    }
}

fn end(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines.get(lines.len().saturating_sub(30)..).unwrap_or_default().join("\n")
}
