//! What is sensitive is not told: neither by the runner nor by a step that has read it.

use countersign_capability::{LogLine, Port};
use countersign_gate::WITHHELD;
use countersign_model::{Ability, Call, FaultKind, Mode, Reversibility, Role, State};

use crate::support::{ALL, Host, NAMELESS, Run, get, get_as, put, put_mode, remove, ring, turn};

/// A shelf where what begins with `key-` is sensitive.
fn host() -> Host {
    let mut host = Host::with(&[("key-a", "hunter2"), ("key-b", "swordfish"), ("a", "1"), ("bell", "b")]);
    host.attic.set("x", "9");
    host.keep_from_view(&["shelf.read key-*"]);
    host
}

fn log(bench: &crate::support::Bench, message: &str) {
    bench.port.clone().log(LogLine { level: "info", message: message.to_owned() });
}

#[test]
fn a_step_that_has_read_it_is_known_and_says_no_more() {
    let host = host();
    let mut bench = host.observing();
    bench.begin(Role::Investigation, ALL);
    bench.value(get("shelf", "a"));
    log(&bench, "before");
    assert!(!bench.port.lock().tainted());
    assert_eq!(bench.value(get("shelf", "key-a")), "hunter2", "the step itself is told");
    log(&bench, "hunter2");
    assert!(bench.port.lock().tainted());
    bench.value(get("shelf", "key-b"));
    let role = Some(Role::Investigation);
    assert_eq!(bench.seen().tainted, [(role, "shelf.get key-a".to_owned())], "told once");
    assert_eq!(bench.seen().lines, [(role, "before".to_owned())]);

    bench.port.lock().end();
    assert!(bench.port.lock().tainted(), "what it answers at its end is not shown either");
    bench.begin(Role::Check, ALL);
    assert!(!bench.port.lock().tainted(), "the next step knows nothing");
    log(&bench, "after");
    assert_eq!(bench.seen().lines.len(), 2);
}

#[test]
fn also_a_read_that_fails_makes_it_known() {
    let host = host();
    let mut bench = host.observing();
    bench.begin(Role::Investigation, ALL);
    assert_eq!(bench.fault(get("shelf", "key-none")).kind, FaultKind::NotFound);
    assert!(bench.port.lock().tainted());
    // A read that was denied told nothing.
    bench.begin(Role::Investigation, &["shelf.read a"]);
    bench.denial(get("shelf", "key-a"));
    assert!(!bench.port.lock().tainted());
}

#[test]
fn a_read_is_recorded_as_withheld_and_later_ones_by_their_grant() {
    let host = host();
    let mut bench = host.observing();
    bench.begin(Role::Investigation, &["shelf.read key-* max-calls=9", "shelf.read a", "attic.read x"]);
    for key in ["a", "key-a", "key-b", "a"] {
        bench.value(get("shelf", key));
    }
    bench.value(get("attic", "x"));
    let seen = bench.seen();
    let calls: Vec<_> = seen.reads.iter().map(|(_, call, _)| call.as_str()).collect();
    // The words of the second were chosen before the step knew anything.
    let told = ["shelf.get a", "shelf.get key-a", "shelf.read key-* max-calls=9", "shelf.read a", "attic.read x"];
    assert_eq!(calls, told);
    assert_eq!(seen.withheld, told[1..]);
}

#[test]
fn what_is_denied_repeats_none_of_its_words() {
    let host = host();
    let mut bench = host.observing();
    bench.begin(Role::Investigation, &["shelf.read key-*", "shelf.read a max-calls=1", "attic.read *"]);
    bench.value(get("shelf", "key-a"));
    bench.value(get("shelf", "a"));
    bench.denial(get("shelf", "hunter2"));
    bench.denial(get("shelf", "a"));
    bench.denial(get("attic", "hunter2"));
    let denied = bench.denied();
    assert_eq!(denied.len(), 2, "two of one capability are the same: {denied:?}");
    for denial in &denied {
        assert_eq!(denial.grant, None);
        assert!(!format!("{denial:?}").contains("hunter2"), "{denial:?}");
    }
    assert_eq!(denied[0].call, format!("shelf.get ({WITHHELD})"));
    assert_eq!(denied[0].why, WITHHELD);

    let mut run = Run::of(&host, Mode::Scoped, &countersign_model::Plan::default());
    run.begin(Role::Fix, &["shelf.read key-*"]);
    run.value(get("shelf", "key-a"));
    let why = run.stop(get("shelf", "hunter2"));
    assert!(!why.contains("hunter2"), "{why}");
    assert_eq!(run.failure(), Some(format!("`shelf.get ({WITHHELD})` was denied: {WITHHELD}")));
    run.begin(Role::Fix, &["shelf.read key-*"]);
    run.value(get("shelf", "key-a"));
    assert!(!run.stop(get("shelf", NAMELESS)).contains(NAMELESS), "also where no grant could be told");
}

#[test]
fn the_words_of_another_capability_must_be_the_grants() {
    let host = host();
    let mut bench = host.observing();
    let grants = ["shelf.read *", "attic.read x*"];
    bench.begin(Role::Investigation, &grants);
    bench.value(get("attic", "x"));
    bench.value(get("shelf", "key-a"));
    let why = bench.denial(get("attic", "x"));
    assert!(why.contains("picks inside `attic.read x*`") && why.contains("what a grant names exactly"), "{why}");
    assert_eq!(host.attic.asked(), ["read x"], "the second was not performed");
    bench.value(get("shelf", "a"));
    bench.begin(Role::Investigation, &["shelf.read *", "attic.read x"]);
    bench.value(get("shelf", "key-a"));
    assert_eq!(bench.value(get("attic", "x")), "9");
    let why = bench.denial(get_as("attic", "x", 0o150));
    assert!(why.contains("by the mode that it picks for `attic.read x`"), "{why}");
    assert_eq!(host.attic.asked(), ["read x"], "like a header: the server would be told");
    bench.value(get_as("shelf", "a", 0o150));
}

#[test]
fn a_change_of_what_is_sensitive_is_marked_in_rehearsal_and_run() {
    let host = host();
    let calls = [put("shelf", "a", "2"), put("shelf", "key-a", "new")];
    let plan = host.plan(&calls, &[remove("shelf", "key-b")]);
    assert_eq!(plan.forward.iter().map(|change| change.withheld).collect::<Vec<_>>(), [false, true]);
    assert!(plan.back[0].withheld);

    let mut run = Run::exact(&host, &calls, &[]);
    calls.iter().for_each(|call| drop(run.value(call.clone())));
    assert_eq!(run.complete(), Ok(()), "a run is held to what was rehearsed");
    assert!(!run.port.lock().tainted(), "to write is not to read");
    let journaled = run.state.runs().changes(&run.id).expect("changes");
    assert_eq!(journaled.iter().map(|made| made.change.withheld).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn a_plan_that_withholds_less_is_another_plan() {
    let mut host = host();
    let call = put("shelf", "key-a", "new");
    let plan = host.plan(std::slice::from_ref(&call), &[]);
    host.keep_from_view(&[]);
    let shown = host.plan(std::slice::from_ref(&call), &[]);
    assert_ne!(plan.digest(), shown.digest());
    let mut run = Run::of(&host, Mode::Exact, &plan);
    run.begin(Role::Fix, ALL);
    assert!(run.stop(call).starts_with("deviation: "));
}

/// What a step writes that has read what is sensitive, and what becomes of it.
fn writes_after_reading(grants: &[&str], calls: &[Call]) -> Vec<Option<String>> {
    let host = host();
    let mut bench = host.rehearsing();
    bench.begin(Role::Fix, grants);
    bench.value(get("shelf", "key-a"));
    let answers = calls.iter().map(|call| match bench.call(call.clone()) {
        Ok(countersign_model::Reply::Value(_)) => None,
        Ok(countersign_model::Reply::Fault(fault)) => Some(fault.what),
        Err(stop) => Some(stop.0),
    });
    let answers: Vec<_> = answers.collect();
    let planned = bench.rehearsal(|rehearsal, _| rehearsal.plan().forward.len());
    assert_eq!(planned, answers.iter().filter(|answer| answer.is_none()).count(), "what is denied is not planned");
    assert_eq!(bench.denied().is_empty(), calls.len() == planned);
    answers
}

#[test]
fn a_step_that_knows_changes_only_what_is_sensitive() {
    let grants = ["shelf.read *", "shelf.write a", "shelf.write key-a", "shelf.write new", "shelf.write bell"];
    let denied = [
        put("shelf", "a", "hunter2"),
        put("shelf", "new", "hunter2"),
        // The bytes of a secret are modes, and whether a file goes is a bit of one.
        turn("shelf", "a", 0o150),
        put_mode("shelf", "a", "1", 0o165),
        remove("shelf", "a"),
    ];
    for answer in writes_after_reading(&grants, &denied) {
        let why = answer.expect("it is denied");
        assert!(why.contains("the plan would show what it does by") && why.contains("only what is sensitive"), "{why}");
    }
    let shown = [turn("shelf", "key-a", 0o150), put_mode("shelf", "key-a", "hunter3", 0o165)];
    for answer in writes_after_reading(&grants, &shown) {
        let why = answer.expect("it is denied");
        assert!(why.contains("could tell it by the mode that it picks for `shelf.write key-a`"), "{why}");
    }
    let kept = [put("shelf", "key-a", "hunter3"), ring("shelf", "bell", 1), remove("shelf", "key-a")];
    assert_eq!(writes_after_reading(&grants, &kept), [None, None, None], "where it is withheld, or picks nothing");
}

#[test]
fn what_is_denied_to_a_step_that_knows_is_not_counted() {
    let host = host();
    let mut bench = host.rehearsing();
    bench.begin(Role::Fix, &["shelf.read key-a", "shelf.write a"]);
    bench.value(get("shelf", "key-a"));
    bench.denial(put("shelf", "a", "hunter2"));
    let least = bench.rehearsal(|rehearsal, _| rehearsal.usage().least());
    let least: Vec<_> = least[&Role::Fix].iter().map(ToString::to_string).collect();
    assert_eq!(least, ["shelf.read key-a"], "its size would be told");
}

#[test]
fn a_step_that_knows_writes_only_where_a_grant_names_the_subject() {
    let answers = writes_after_reading(
        &["shelf.read *", "shelf.write key-*"],
        &[put("shelf", "key-hunter2", ""), put("shelf", "key-a", "")],
    );
    for answer in answers {
        let why = answer.expect("it is denied");
        assert!(why.contains("picks inside `shelf.write key-*`") && !why.contains("key-hunter2"), "{why}");
    }
}

#[test]
fn in_a_run_such_a_write_ends_the_step() {
    let host = host();
    let mut run = Run::of(&host, Mode::Scoped, &host.plan(&[], &[put("shelf", "a", "2")]));
    run.begin(Role::Fix, &["shelf.read *", "shelf.write a"]);
    run.value(get("shelf", "key-a"));
    let why = run.stop(put("shelf", "a", "hunter2"));
    assert!(why.contains("the plan would show what it does by `shelf.write a`") && !why.contains("hunter2"), "{why}");
    assert_eq!(host.shelf.content("a"), "1");
    assert_eq!(run.journaled(), 0);
    // The rollback step is another one.
    run.begin_rollback();
    run.value(put("shelf", "a", "2"));
}

#[test]
fn what_is_needed_is_told_by_the_grants_of_a_step_that_knows() {
    let host = host();
    let mut bench = host.rehearsing();
    let grants = ["shelf.read * max-calls=9", "shelf.write key-a max-bytes=99"];
    bench.begin(Role::Fix, &grants);
    bench.value(get("shelf", "a"));
    bench.value(get("shelf", "key-a"));
    bench.value(get("shelf", "key-b"));
    bench.value(put("shelf", "key-a", "12345"));
    let least = bench.rehearsal(|rehearsal, _| rehearsal.usage().least());
    let least: Vec<_> = least[&Role::Fix].iter().map(ToString::to_string).collect();
    assert_eq!(
        least,
        ["shelf.read *", "shelf.read a", "shelf.read key-a", "shelf.write key-a max-calls=1 max-bytes=5"]
    );
}

#[test]
fn where_it_stands_is_told_without_digests() {
    let host = host();
    let calls = [put("shelf", "a", "2"), put("shelf", "key-a", "new")];
    let plan = host.plan(&calls, &[]);
    let mut run = Run::exact(&host, &calls, &[]);
    calls.iter().for_each(|call| drop(run.value(call.clone())));
    host.shelf.set("a", "else");
    host.shelf.set("key-a", "else");
    let undone: Vec<_> = run.undo().into_iter().map(|(subject, result)| (subject, format!("{result:?}"))).collect();
    assert!(undone[0].0 == "key-a" && undone[0].1.contains("the content sha256:…"), "{undone:?}");
    assert!(undone[1].0 == "a" && !undone[1].1.contains('…'), "{undone:?}");
    let unrestored = run.unrestored();
    assert!(unrestored.iter().any(|(subject, why)| subject == "key-a" && why.ends_with("sha256:…")), "{unrestored:?}");
    assert!(unrestored.iter().any(|(subject, why)| subject == "a" && why.len() > 64), "{unrestored:?}");
    let journaled = run.state.runs().changes(&run.id).expect("changes");
    assert!(journaled.iter().all(|made| made.change.subject != "key-a" || made.note.is_none()));

    // Also where a subject came to be held for sensitive after the plan was made.
    let mut late = Host::with(&[("a", "else")]);
    late.keep_from_view(&["shelf.read a"]);
    let mut sessions = late.sessions(countersign_capability::Phase::Observe);
    let mut blobs = run.state.blobs();
    assert_eq!(plan.forward[0].reversibility, Reversibility::Exact);
    match sessions.probe(&mut blobs, &plan.forward[0]) {
        Ok(State::Elsewhere(what)) => assert_eq!(what, "it has the content sha256:…"),
        other => panic!("{other:?}"),
    }
    late.shelf.lock().forbidden.insert("a".to_owned());
    let mut sessions = late.sessions(countersign_capability::Phase::Preflight);
    match sessions.can_apply(&mut blobs, &plan.forward[0]) {
        Ability::Cannot(what) => assert_eq!(what, "`a` is never touched (Elsewhere(\"it has the content sha256:…\"))"),
        other => panic!("{other:?}"),
    }
}
