//! A step of an ordinary toolchain calls all of WASI that is linked, and finds nothing of the host.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use countersign_capability::{LogLine, Port, StepContext};
use countersign_model::{Call, Reply, Role, Stop};
use countersign_sandbox::{Failure, Limits, Linked, Output, Sandbox, inspect};

use crate::support::{bytes, registry, sandbox, trivial};

/// The guest's component, built from `tests/wasi-guest`.
fn guest() -> &'static [u8] {
    static GUEST: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wasi-guest");
        // Where the examples' steps are built, which need the same crates.
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("a target directory").join("steps");
        let output = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--release", "--locked", "--target", "wasm32-wasip2", "--manifest-path"])
            .arg(project.join("Cargo.toml"))
            .env("CARGO_TARGET_DIR", &target)
            .env_remove("RUSTFLAGS")
            .output()
            .expect("cargo starts");
        let why = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "is the target there? `rustup target add wasm32-wasip2`: {why}");
        let file: PathBuf = target.join("wasm32-wasip2/release/wasi_guest.wasm");
        std::fs::read(&file).expect("the guest was built")
    });
    &GUEST
}

fn linked() -> &'static (Sandbox, Linked) {
    static LINKED: LazyLock<(Sandbox, Linked)> = LazyLock::new(|| {
        let inspection = inspect(&registry(), guest()).unwrap_or_else(|error| panic!("{error}"));
        assert!(inspection.wasi());
        let admitted = inspection.admit(Role::Investigation, &BTreeSet::new()).expect("WASI needs no grant");
        let sandbox = sandbox();
        let compiled = sandbox.compile(&admitted).expect("compiled");
        let linked = sandbox.link(&compiled, &registry(), &BTreeSet::new()).expect("linked");
        (sandbox, linked)
    });
    &LINKED
}

/// Collects the log. No call ever reaches it: the guest has none to make.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<LogLine>>>);

impl Port for Log {
    fn call(&mut self, call: Call) -> Result<Reply, Stop> {
        panic!("a call: {call:?}")
    }
    fn log(&mut self, line: LogLine) {
        self.0.lock().expect("the log").push(line);
    }
}

struct Came {
    /// What the guest told of it, or how it ended instead.
    outcome: Result<String, Failure>,
    log: Vec<LogLine>,
    elapsed: Duration,
}

const SEED: u64 = 7;

fn came_of(name: &str, seed: u64, limits: Limits) -> Came {
    let log = Log::default();
    let context = StepContext { arguments: format!(r#"{{"call":"{name}"}}"#), now: 1_700_000_000_123, seed };
    let ended = linked().1.run(Box::new(log.clone()), context, limits);
    let outcome = ended.result.map(|output| match output {
        Output::Findings(mut findings) => findings.remove(0).detail,
        other => panic!("{name}: {other:?}"),
    });
    let log = std::mem::take(&mut *log.0.lock().expect("the log"));
    Came { outcome, log, elapsed: ended.elapsed }
}

fn log(came: &Came) -> Vec<String> {
    came.log.iter().map(|line| format!("{}: {}", line.level, line.message)).collect()
}

/// Every function of the WIT from which the host's side is made: `interface#function`.
fn every_function() -> BTreeSet<String> {
    let mut resolve = wit_parser::Resolve::default();
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("wit");
    let (package, _) = resolve.push_dir(&wit).expect("the WIT is valid");
    let world = resolve.select_world(&[package], Some("inert")).expect("there is the world");
    let mut names = BTreeSet::new();
    for (key, item) in &resolve.worlds[world].imports {
        let wit_parser::WorldItem::Interface { id, .. } = item else { panic!("not an interface: {key:?}") };
        let interface = resolve.id_of(*id).expect("it has a name");
        let stem = interface.split_once('@').expect("it has a version").0;
        names.extend(resolve.interfaces[*id].functions.keys().map(|function| format!("{stem}#{function}")));
    }
    names
}

/// What a guest learns of a handle that it made up: nothing gives it one.
const NO_SUCH_HANDLE: &str = "the step trapped: unknown handle index 1";

/// What each function gives, and what is logged. A function that is added to the WIT has no line here, and the test
/// fails. The numbers are those of this seed for good: a run must see what its rehearsal saw, whichever runner made it.
#[rustfmt::skip]
const WALK: &[(&str, &str)] = &[
    ("wasi:cli/environment#get-arguments", "[]"),
    ("wasi:cli/environment#get-environment", "[]"),
    ("wasi:cli/environment#initial-cwd", "None"),
    ("wasi:cli/exit#exit", "the step called exit, with code 0, instead of answering"),
    ("wasi:cli/exit#exit-with-code", "the step called exit, with code 7, instead of answering"),
    ("wasi:cli/stderr#get-stderr", "true"),
    ("wasi:cli/stdin#get-stdin", "true"),
    ("wasi:cli/stdout#get-stdout", "true"),
    ("wasi:cli/terminal-stderr#get-terminal-stderr", "false"),
    ("wasi:cli/terminal-stdin#get-terminal-stdin", "false"),
    ("wasi:cli/terminal-stdout#get-terminal-stdout", "false"),
    ("wasi:clocks/monotonic-clock#now", "(0, 0)"),
    ("wasi:clocks/monotonic-clock#resolution", "1"),
    ("wasi:clocks/monotonic-clock#subscribe-duration", "(true, false)"),
    ("wasi:clocks/monotonic-clock#subscribe-instant", "(true, false)"),
    ("wasi:clocks/wall-clock#now", "(Datetime { seconds: 1700000000, nanoseconds: 123000000 }, Datetime { seconds: 1700000000, nanoseconds: 123000000 })"),
    ("wasi:clocks/wall-clock#resolution", "Datetime { seconds: 0, nanoseconds: 1000000 }"),
    ("wasi:filesystem/preopens#get-directories", "0"),
    ("wasi:filesystem/types#[method]descriptor.advise", NO_SUCH_HANDLE),
    ("wasi:filesystem/types#[method]descriptor.append-via-stream", NO_SUCH_HANDLE),
    ("wasi:filesystem/types#[method]descriptor.create-directory-at", NO_SUCH_HANDLE),
    ("wasi:filesystem/types#[method]descriptor.get-flags", NO_SUCH_HANDLE),
    ("wasi:filesystem/types#[method]descriptor.get-type", NO_SUCH_HANDLE),
    ("wasi:filesystem/types#[method]descriptor.is-same-object", NO_SUCH_HANDLE),
    ("wasi:filesystem/types#[method]descriptor.link-at", NO_SUCH_HANDLE),
    ("wasi:filesystem/types#[method]descriptor.metadata-hash", NO_SUCH_HANDLE),
    ("wasi:filesystem/types#[method]descriptor.metadata-hash-at", NO_SUCH_HANDLE),
    ("wasi:filesystem/types#[method]descriptor.open-at", NO_SUCH_HANDLE),
    ("wasi:filesystem/types#[method]descriptor.read", NO_SUCH_HANDLE),
    ("wasi:filesystem/types#[method]descriptor.read-directory", NO_SUCH_HANDLE),
    ("wasi:filesystem/types#[method]descriptor.read-via-stream", NO_SUCH_HANDLE),
    ("wasi:filesystem/types#[method]descriptor.readlink-at", NO_SUCH_HANDLE),
    ("wasi:filesystem/types#[method]descriptor.remove-directory-at", NO_SUCH_HANDLE),
    ("wasi:filesystem/types#[method]descriptor.rename-at", NO_SUCH_HANDLE),
    ("wasi:filesystem/types#[method]descriptor.set-size", NO_SUCH_HANDLE),
    ("wasi:filesystem/types#[method]descriptor.set-times", NO_SUCH_HANDLE),
    ("wasi:filesystem/types#[method]descriptor.set-times-at", NO_SUCH_HANDLE),
    ("wasi:filesystem/types#[method]descriptor.stat", NO_SUCH_HANDLE),
    ("wasi:filesystem/types#[method]descriptor.stat-at", NO_SUCH_HANDLE),
    ("wasi:filesystem/types#[method]descriptor.symlink-at", NO_SUCH_HANDLE),
    ("wasi:filesystem/types#[method]descriptor.sync", NO_SUCH_HANDLE),
    ("wasi:filesystem/types#[method]descriptor.sync-data", NO_SUCH_HANDLE),
    ("wasi:filesystem/types#[method]descriptor.unlink-file-at", NO_SUCH_HANDLE),
    ("wasi:filesystem/types#[method]descriptor.write", NO_SUCH_HANDLE),
    ("wasi:filesystem/types#[method]descriptor.write-via-stream", NO_SUCH_HANDLE),
    ("wasi:filesystem/types#[method]directory-entry-stream.read-directory-entry", NO_SUCH_HANDLE),
    ("wasi:filesystem/types#filesystem-error-code", NO_SUCH_HANDLE),
    ("wasi:io/error#[method]error.to-debug-string", NO_SUCH_HANDLE),
    ("wasi:io/poll#[method]pollable.block", "(5000000000, Datetime { seconds: 1700000000, nanoseconds: 123000000 })"),
    ("wasi:io/poll#[method]pollable.ready", "true"),
    ("wasi:io/poll#poll", "([2], 0, [1], 1000000000)"),
    ("wasi:io/streams#[method]input-stream.blocking-read", "Err(StreamError::Closed)"),
    ("wasi:io/streams#[method]input-stream.blocking-skip", "Err(StreamError::Closed)"),
    ("wasi:io/streams#[method]input-stream.read", "Err(StreamError::Closed)"),
    ("wasi:io/streams#[method]input-stream.skip", "Err(StreamError::Closed)"),
    ("wasi:io/streams#[method]input-stream.subscribe", "true"),
    ("wasi:io/streams#[method]output-stream.blocking-flush", "Ok(())"),
    ("wasi:io/streams#[method]output-stream.blocking-splice", "Err(StreamError::Closed)"),
    ("wasi:io/streams#[method]output-stream.blocking-write-and-flush", "Ok(()) warn: an error"),
    ("wasi:io/streams#[method]output-stream.blocking-write-zeroes-and-flush", "Ok(()) warn: \u{0}"),
    ("wasi:io/streams#[method]output-stream.check-write", "Ok(65536)"),
    ("wasi:io/streams#[method]output-stream.flush", "Ok(())"),
    ("wasi:io/streams#[method]output-stream.splice", "Err(StreamError::Closed)"),
    ("wasi:io/streams#[method]output-stream.subscribe", "true"),
    ("wasi:io/streams#[method]output-stream.write", "Ok(()) info: a line info: and a half"),
    ("wasi:io/streams#[method]output-stream.write-zeroes", "Ok(()) info: \u{0}\u{0}"),
    ("wasi:random/insecure#get-insecure-random-bytes", "[17, 254, 151, 235, 12]"),
    ("wasi:random/insecure#get-insecure-random-u64", "1296640778507125709"),
    ("wasi:random/insecure-seed#insecure-seed", "((5827287164951647081, 770398943187453969), (5827287164951647081, 770398943187453969))"),
    ("wasi:random/random#get-random-bytes", "([17, 254, 151, 235, 12], [12, 179, 64, 175, 32, 82, 93, 81, 168, 77, 92, 56, 112, 244, 36, 168, 36, 252, 239, 177, 105, 214, 196, 196, 130, 152, 122, 13, 242, 153, 63, 49, 87, 183, 32, 191, 118, 18, 200, 13])"),
    ("wasi:random/random#get-random-u64", "(1296640778507125709, 858442640185766260)"),
];

/// What came of a call and everything that was logged, on one line.
fn told(name: &str) -> String {
    let came = came_of(name, SEED, Limits::default());
    let outcome = match &came.outcome {
        Ok(detail) => detail.clone(),
        Err(failure) => failure.to_string(),
    };
    std::iter::once(outcome).chain(log(&came)).collect::<Vec<_>>().join(" ")
}

#[test]
fn every_function_is_walked_and_shows_nothing_of_the_host() {
    let walked: BTreeSet<_> = WALK.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(walked, every_function());
    for (name, expected) in WALK {
        assert_eq!(told(name), *expected, "{name}");
    }
    for resource in ["descriptor", "directory-entry-stream", "error", "terminal-input", "terminal-output"] {
        let article = if resource == "error" { "an" } else { "a" };
        assert_eq!(told(&format!("drop {article} {resource}")), NO_SUCH_HANDLE);
    }
}

/// What the language's own library makes of it.
#[test]
fn a_standard_library_finds_nothing_of_the_host() {
    let none = "Err(NotFound)";
    for (name, expected) in [
        ("std arguments", "[]"),
        ("std environment", "[] Err(NotPresent)"),
        ("std directory", r#"Ok("/")"#),
        ("std time", "(Some(1700000000.123s), Some(0ns)) 3600s"),
        ("std input", "Some(0) []"),
        ("std terminal", "(false, false, false)"),
        ("std exit", "the step called exit, with code 1, instead of answering"),
        ("std abort", "the step trapped: wasm `unreachable` instruction executed"),
        ("std print", "Ok(()) info: to the output warn: to the errors: \u{1b}[31mred info: without an end"),
    ] {
        assert_eq!(told(name), expected, "{name}");
    }
    let files = told("std files");
    assert_eq!(files.replace(none, "").trim(), "", "{files}");
    let panic = told("std panic");
    assert!(panic.starts_with("the step trapped: wasm `unreachable` instruction executed"), "{panic}");
    assert!(panic.contains("warn: it went wrong"), "{panic}");
    // Nothing that is true of this process is in any of it. A number could be there by chance; the name of this very
    // program ends in a hash that nothing else has.
    let words = |text: &String| text.len() > 5 && !text.bytes().all(|byte| byte.is_ascii_digit());
    let ours: Vec<_> = std::env::vars().map(|(_, value)| value).chain(std::env::args()).filter(words).collect();
    let everything = WALK.iter().map(|(name, _)| told(name)).chain([files, panic]).collect::<String>();
    let whole = |text: &str| {
        let word = |c: char| c.is_alphanumeric();
        everything.match_indices(text).any(|(at, _)| {
            let (before, after) = (everything.get(..at), everything.get(at + text.len()..));
            !before.is_some_and(|before| before.ends_with(word)) && !after.is_some_and(|after| after.starts_with(word))
        })
    };
    let shown: Vec<_> = ours.iter().filter(|text| whole(text)).collect();
    assert!(ours.len() > 5 && shown.is_empty(), "{shown:?}");
}

#[test]
fn chance_is_the_seed() {
    let drawn = |name: &str, seed| came_of(name, seed, Limits::default()).outcome.expect("drawn");
    for name in ["wasi:random/random#get-random-bytes", "wasi:random/insecure-seed#insecure-seed", "std hash order"] {
        assert_eq!(drawn(name, 1), drawn(name, 1), "{name}");
        assert_ne!(drawn(name, 1), drawn(name, 2), "{name}");
    }
}

#[test]
fn a_guest_never_waits() {
    for (name, expected) in [
        ("sleep for ever", u64::MAX.to_string()),
        ("sleep by steps", "3600".to_owned()),
        ("std time", told("std time")),
    ] {
        let came = came_of(name, SEED, Limits::default());
        assert_eq!(came.outcome, Ok(expected), "{name}");
        assert!(came.elapsed < Duration::from_secs(20), "{name}: {:?}", came.elapsed);
    }
    // Who goes on looking at the clock instead is ended as every loop is.
    let came = came_of("spin", SEED, Limits { fuel: 10_000_000, ..Limits::default() });
    assert_eq!(came.outcome, Err(Failure::OutOfFuel(10_000_000)));
    let time = Duration::from_millis(50);
    let came = came_of("spin", SEED, Limits { fuel: u64::MAX, wall_clock: time, ..Limits::default() });
    assert_eq!(came.outcome, Err(Failure::OutOfTime(time)));
}

#[test]
fn what_would_fill_the_host_is_bounded() {
    for (name, why) in [
        ("wait for nothing", "the step waits for nothing, which would never end"),
        ("random by the gib", "the step draws more than 16777216 random bytes"),
        ("random at once", "the step draws more than 16777216 random bytes"),
        ("write too much", "the step writes 65537 bytes at once, where 65536 are permitted"),
        ("write and flush too much", "the step writes 4097 bytes at once, where 4096 are permitted"),
        ("zeroes without end", "the step writes 18446744073709551615 bytes at once, where 65536 are permitted"),
        ("thousands of timers", "the step holds more than 1000 timers at once"),
        ("thousands of streams", "cannot allocate another handle: store handle limit exceeded"),
    ] {
        let failure = came_of(name, SEED, Limits::default()).outcome.expect_err(name);
        assert_eq!(failure, Failure::Trapped(why.to_owned()), "{name}");
    }
    for name in ["wait for a million", "write far too much"] {
        let failure = came_of(name, SEED, Limits::default()).outcome.expect_err(name).to_string();
        let why = "the step trapped: too much data is being copied between the host and the guest";
        assert!(failure.starts_with(why), "{name}: {failure}");
    }
    // What is given back can be had again.
    assert_eq!(told("thousands of timers, one by one"), "100000");
}

#[test]
fn what_is_printed_is_cut_and_counted_as_the_log_is() {
    let came = came_of("huge errors", SEED, Limits::default());
    assert_eq!(came.outcome.as_deref(), Ok("done"));
    // Lines of 4000 bytes, up to 256 KiB.
    assert_eq!(came.log.len(), 65);
    assert!(came.log.iter().all(|line| line.level == "warn" && line.message.len() == 4000));
    let came = came_of("one huge line", SEED, Limits::default());
    assert_eq!(came.outcome.as_deref(), Ok("done"));
    assert_eq!(came.log.iter().map(|line| line.message.len()).collect::<Vec<_>>(), [4096]);
}

#[test]
fn the_guest_imports_every_interface_that_has_a_function() {
    let inspection = inspect(&registry(), guest()).expect("a step");
    let imported: BTreeSet<_> =
        inspection.imports().iter().filter_map(|name| name.split_once('@')).map(|(stem, _)| stem.to_owned()).collect();
    let functions = every_function();
    let missing: Vec<_> = functions
        .iter()
        .filter_map(|name| name.split_once('#'))
        .filter(|(interface, _)| !imported.contains(*interface))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(inspection.reads().is_empty() && inspection.writes().is_empty());
    assert!(!inspect(&registry(), &bytes(&trivial(Role::Fix))).expect("a step").wasi());
}
