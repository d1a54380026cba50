//! A clock that is set back makes nothing good again.

use countersign_record::{MAX_STEP_BACK, RecordError};

use crate::support::fixture;

const NOW: u64 = 1_800_000_000_000;

#[test]
fn time_is_decided_by_the_latest_that_was_seen() {
    let fixture = fixture();
    let clock = fixture.state.clock();
    assert_eq!(clock.decide_at(NOW).expect("the first"), NOW);
    assert_eq!(clock.decide_at(NOW + 5_000).expect("it goes on"), NOW + 5_000);
    // A little behind is set right by steps, and decides as if it were not behind.
    assert_eq!(clock.decide_at(NOW).expect("a step back"), NOW + 5_000);
    assert_eq!(clock.decide_at(NOW + 5_000 - MAX_STEP_BACK).expect("the furthest step"), NOW + 5_000);

    let error = clock.decide_at(NOW + 4_999 - MAX_STEP_BACK).expect_err("too far");
    assert!(matches!(error, RecordError::ClockWentBack { .. }));
    let said = error.to_string();
    assert!(said.contains("2027-01-15T08:00:05Z") && said.contains("2027-01-15T07:59:04Z"), "{said}");
    assert!(error.hint().is_some_and(|hint| hint.contains("latest-time")));
    assert!(clock.decide_at(0).is_err(), "a clock before 1970 says 0");

    // Another process sees the same.
    let second = countersign_record::State::open(fixture.path()).expect("opened again");
    assert!(second.clock().decide_at(NOW - MAX_STEP_BACK).is_err());
    assert_eq!(second.clock().decide_at(NOW + 10_000).expect("it goes on"), NOW + 10_000);
}

#[test]
fn what_was_seen_must_be_readable() {
    let fixture = fixture();
    fixture.state.clock().decide_at(NOW).expect("the first");
    std::fs::write(fixture.path().join("latest-time"), "soon").expect("it can be written");
    let file = fixture.path().join("latest-time");
    let damaged = |fixture: &crate::support::Fixture| {
        let error = fixture.state.clock().decide_at(NOW).expect_err("no time");
        let hint = error.hint().unwrap_or_default();
        assert!(hint.contains("remove `latest-time`") && hint.contains("what was approved"), "{hint}");
        assert!(error.to_string().contains("latest-time` is damaged"), "{error}");
    };
    damaged(&fixture);
    std::fs::write(&file, "1".repeat(100)).expect("it can be written");
    damaged(&fixture);
    std::fs::remove_file(&file).expect("it can be removed");
    std::os::unix::fs::symlink("/dev/null", &file).expect("a link");
    damaged(&fixture);
    std::fs::remove_file(&file).expect("it can be removed");
    std::fs::create_dir(&file).expect("a directory");
    damaged(&fixture);
    std::fs::remove_dir(&file).expect("it can be removed");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &file, rustix::fs::FileType::Fifo, mode, 0).expect("a pipe");
    damaged(&fixture);
    std::fs::remove_file(&file).expect("it can be removed");
    assert_eq!(fixture.state.clock().decide_at(5).expect("the operator began anew"), 5);
}

#[test]
fn a_moment_that_was_seen_has_come() {
    let fixture = fixture();
    let clock = fixture.state.clock();
    assert!(clock.has_come(NOW, NOW).expect("nothing was seen") && !clock.has_come(NOW + 1, NOW).expect("nor this"));
    clock.decide_at(NOW + 5_000).expect("seen");
    // However far the clock is set back.
    assert!(clock.has_come(NOW + 5_000, 0).expect("it can be told"));
    assert!(!clock.has_come(NOW + 5_001, 0).expect("it can be told"));
}
