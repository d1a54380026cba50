use countersign_model::FaultKind;

use super::child::Place;
use super::*;

fn started(process: &Value) -> u64 {
    process["started"].as_u64().expect("a start")
}

#[test]
fn lists_the_processes_of_one_executable_only() {
    let place = Place::new();
    place.copy("other");
    let (first, second, other) = (place.run("program"), place.run("program"), place.run("other"));
    let mut bench = Bench::new(Phase::Observe);
    let found = bench.read(&format!("process.list exe={}", place.path("program"))).expect("a list");
    let pids: Vec<_> = found.as_array().expect("a list").iter().map(|process| process["pid"].as_u64()).collect();
    let mut expected = [first.pid(), second.pid()].map(|pid| Some(u64::from(pid)));
    expected.sort_unstable();
    assert_eq!(pids, expected);
    let found = bench.read(&format!("process.list exe={}", place.path("other"))).expect("a list");
    assert_eq!(found[0]["pid"], other.pid());
    place.copy("idle");
    assert_eq!(bench.read(&format!("process.list exe={}", place.path("idle"))), Ok(Value::Array(vec![])));
}

#[test]
fn inspects_by_pid_file_and_by_start() {
    let place = Place::new();
    let running = place.run("program");
    let exe = place.path("program");
    let mut bench = Bench::new(Phase::Observe);
    let call = format!("process.inspect exe={exe} pid-file={}", place.pid_file(running.pid()));
    let found = bench.read(&call).expect("a process");
    assert_eq!(found["pid"], running.pid());
    assert_eq!(found["executable"], exe);
    assert_eq!(found["parent"], std::process::id());
    assert_eq!(found["user"], rustix::process::getuid().as_raw());
    assert_eq!(found["threads"], 1);
    assert!(found["memory"].as_u64() > Some(0) && found["state"].as_str().map(str::len) == Some(1), "{found}");
    let again = bench.read(&format!("process.inspect exe={exe} started={}", started(&found))).expect("a process");
    assert_eq!(again["pid"], found["pid"]);
    let fault = bench.read(&format!("process.inspect exe={exe} started=1")).expect_err("none");
    assert_eq!((fault.kind, fault.reached), (FaultKind::NotFound, false));
}

/// A grant of an executable opens its processes by any pid file: what else a file is or holds, nobody learns by that.
#[test]
fn a_pid_file_that_names_no_process_of_it_tells_nothing_more() {
    let place = Place::new();
    place.copy("other");
    let (running, other) = (place.run("program"), place.run("other"));
    let own = Protected { paths: vec![place.path("own").into()], processes: vec![] };
    let file = |name: &str, text: &str, mode: u32| {
        std::fs::write(place.path(name), text).expect("a file");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(place.path(name), mode).expect("its mode");
    };
    std::fs::create_dir_all(place.path("own")).expect("a directory");
    std::os::unix::fs::symlink(place.path("good"), place.path("link")).expect("a link");
    let good = running.pid().to_string();
    file("good", &good, 0o644);
    file("own/pid", &good, 0o644);
    file("writable", &good, 0o666);
    file("secret", "hunter2", 0o600);
    file("pin", "4711", 0o600);
    file("long", &"1".repeat(65), 0o600);
    file("ours", &std::process::id().to_string(), 0o600);
    file("another", &other.pid().to_string(), 0o600);
    file("none", "0", 0o600);

    let exe = place.path("program");
    let call = |name: &str| format!("exe={exe} pid-file={}", place.path(name));
    assert!(Bench::protecting(Phase::Observe, &own).read(&format!("process.inspect {}", call("good"))).is_ok());
    let told = |fault: Fault, name: &str| {
        assert!(fault.what.starts_with(&format!("the pid file `{}` leads to no process", place.path(name))), "{fault}");
        Fault { what: fault.what.replacen(&place.path(name), "", 1), ..fault }
    };
    let missing = Bench::new(Phase::Observe).read(&format!("process.inspect {}", call("missing")));
    let missing = told(missing.expect_err("missing"), "missing");
    assert_eq!((missing.kind, missing.reached), (FaultKind::NotFound, false));
    for name in ["own", "own/pid", "link", "writable", "secret", "pin", "long", "ours", "another", "none"] {
        let read = Bench::protecting(Phase::Observe, &own).read(&format!("process.inspect {}", call(name)));
        assert_eq!(told(read.expect_err(name), name), missing, "{name}");
        let prepared = Bench::protecting(Phase::Live, &own).prepare(&format!("{} signal=HUP", call(name)));
        assert_eq!(told(prepared.expect_err(name), name), missing, "{name}");
    }
}

#[test]
fn a_replaced_executable_is_said_to_be_replaced() {
    let place = Place::new();
    let mut running = place.run("program");
    let exe = place.path("program");
    let pid_file = place.pid_file(running.pid());
    let mut bench = Bench::new(Phase::Observe);
    // First moved away and another put in its place, then deleted.
    place.copy("new");
    std::fs::rename(place.path("program"), place.path("moved")).expect("moved away");
    std::fs::rename(place.path("new"), &exe).expect("replaced");
    let fault = bench.read(&format!("process.inspect exe={exe} pid-file={pid_file}")).expect_err("moved");
    assert_eq!(fault.kind, FaultKind::NotFound);
    std::fs::rename(place.path("moved"), place.path("program")).expect("back");
    assert!(bench.read(&format!("process.inspect exe={exe} pid-file={pid_file}")).is_ok());

    std::fs::remove_file(&exe).expect("deleted");
    place.copy("program");
    let fault = bench.read(&format!("process.inspect exe={exe} pid-file={pid_file}")).expect_err("replaced");
    assert_eq!(fault.kind, FaultKind::NotFound);
    let fault = bench.read(&format!("process.list exe={exe}")).expect_err("replaced");
    assert_eq!(fault.kind, FaultKind::Changed);
    assert!(fault.what.contains("deleted or replaced"), "{fault}");
    // Beside one that runs the new file it is left out.
    let new = place.run("program");
    let found = bench.read(&format!("process.list exe={exe}")).expect("a list");
    assert_eq!((found[0]["pid"].clone(), found[1].clone()), (new.pid().into(), Value::Null));
    running.reap();
}

#[test]
fn a_pid_file_that_is_out_of_date_names_nobody() {
    let place = Place::new();
    let mut running = place.run("program");
    let call = format!("process.inspect exe={} pid-file={}", place.path("program"), place.pid_file(running.pid()));
    let mut bench = Bench::new(Phase::Observe);
    running.end();
    let fault = bench.read(&call).expect_err("a zombie");
    assert_eq!((fault.kind, fault.reached), (FaultKind::NotFound, false));
    assert_eq!(bench.read(&format!("process.list exe={}", place.path("program"))), Ok(Value::Array(vec![])));
    running.reap();
    assert_eq!(bench.read(&call).expect_err("gone").kind, FaultKind::NotFound);
    place.pid_file(0);
    assert_eq!(bench.read(&call).expect_err("no process").kind, FaultKind::NotFound);
    std::fs::remove_file(place.path("pid")).expect("removed");
    assert_eq!(bench.read(&call).expect_err("no file").kind, FaultKind::NotFound);
}

#[test]
fn an_executable_has_one_name() {
    let place = Place::new();
    std::os::unix::fs::symlink(place.path("program"), place.path("link")).expect("a link");
    let mut bench = Bench::new(Phase::Observe);
    let fault = bench.read(&format!("process.list exe={}", place.path("link"))).expect_err("a link");
    assert_eq!(fault.kind, FaultKind::Unsupported);
    assert!(fault.what.contains(&format!("leads to `{}`", place.path("program"))), "{fault}");
    let fault = bench.read(&format!("process.list exe={}", place.path("none"))).expect_err("none");
    assert_eq!(fault.kind, FaultKind::NotFound);
}

#[test]
fn a_thread_is_not_a_process() {
    let exe = std::env::current_exe().and_then(|path| path.canonicalize()).expect("this test");
    let proc = crate::proc::Proc::open().expect("/proc");
    let executable = crate::proc::Executable::find(exe.to_str().expect("UTF-8")).expect("this test");
    let own = std::process::id();
    assert_eq!(proc.process(own, &executable).map(|process| process.pid), Ok(own));
    let looked = std::thread::spawn(move || {
        let this = std::fs::read_link("/proc/thread-self").expect("this thread");
        let number: u32 = this.file_name().and_then(|name| name.to_str()?.parse().ok()).expect("a number");
        (number != own).then(|| {
            let executable = crate::proc::Executable::find(exe.to_str().expect("UTF-8")).expect("this test");
            crate::proc::Proc::open().and_then(|proc| proc.process(number, &executable)).expect_err("a thread")
        })
    });
    let fault = looked.join().expect("a thread").expect("another number");
    assert!(fault.kind == FaultKind::Changed && fault.what.contains("thread of process"), "{fault}");
}

#[test]
fn reads_end_with_their_time() {
    let place = Place::new();
    let running = place.run("program");
    let mut bench = Bench::new(Phase::Observe);
    bench.patience = Duration::ZERO;
    let exe = place.path("program");
    for call in [
        format!("process.list exe={exe}"),
        format!("process.inspect exe={exe} pid-file={}", place.pid_file(running.pid())),
    ] {
        let fault = bench.read(&call).expect_err("over");
        assert_eq!((fault.kind, fault.reached), (FaultKind::TimedOut, false));
    }
}

#[test]
fn the_runners_own_processes_are_left_out() {
    let place = Place::new();
    let running = place.run("program");
    let protected = Protected { paths: vec![], processes: vec![running.pid()] };
    let mut bench = Bench::protecting(Phase::Observe, &protected);
    let exe = place.path("program");
    assert_eq!(bench.read(&format!("process.list exe={exe}")), Ok(Value::Array(vec![])));
    let call = format!("process.inspect exe={exe} pid-file={}", place.pid_file(running.pid()));
    assert_eq!(bench.read(&call).expect_err("own").kind, FaultKind::NotFound);
}

#[test]
fn settings_and_calls_that_make_no_sense_are_refused() {
    let registry = registry();
    let process = registry.get("process").expect("process");
    let settings = serde_json::json!({"root": "/"});
    let opening = Opening { settings: &settings, phase: Phase::Observe, protected: &Protected::default() };
    assert!(process.open(&opening).is_err_and(|fault| fault.kind == FaultKind::Invalid));
    for text in [
        "process.list",
        "process.list /n",
        "process.list exe=/n pid-file=/p",
        "process.list exe=n",
        "process.inspect exe=/n",
        "process.inspect exe=/n pid-file=/p started=1",
        "process.inspect exe=/n started=01",
        "process.inspect exe=/n pid=1",
        "process.signal exe=/n started=1",
        "process.kill exe=/n",
    ] {
        let (_, function, selector) = Selector::parse_named(text).expect(text);
        assert_eq!(process.parse_call(&function, &selector).expect_err(text).kind, FaultKind::Invalid);
    }
    let call = parse("process.inspect exe=\"/a b\" pid-file=/p");
    let call = process.decode(&call).expect("decoded");
    assert_eq!(call.subject(), "exe=\"/a b\" pid-file=/p");
    assert_eq!(call.text(), "process.inspect exe=\"/a b\" pid-file=/p");
}
