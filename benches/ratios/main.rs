//! Ratios against a floor measured in the same run; `make bench` prints them, and why each is measured as it is
//! stands in `benches/README.md`. Times alone say more about the machine than about the code, and nothing is
//! asserted: a busy machine must not fail a build.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    unreachable_pub,
    reason = "a benchmark prints, and fails by panicking"
)]

#[path = "../../tests/support/mod.rs"]
mod support;

mod approving;
mod audit;
mod guest;
mod harness;
mod loading;
mod memory;
mod peak;
mod raw;
mod reads;
mod recovering;
mod replacing;
mod running;
mod steps;
mod workers;

use harness::Row;
use serde_json::Value;

/// A subject's name, and what measures it.
type Subject = (&'static str, fn() -> Vec<Row>);

const SUBJECTS: [Subject; 9] = [
    ("steps", steps::measure),
    ("reads", reads::measure),
    ("loading", loading::measure),
    ("workers", workers::measure),
    ("replacing", replacing::measure),
    ("running", running::measure),
    ("recovering", recovering::measure),
    ("audit", audit::measure),
    ("approving", approving::measure),
];

fn main() {
    if std::env::args().nth(1).as_deref() == Some(workers::ECHO) {
        return workers::echo();
    }
    // As a worker does.
    let thread = std::thread::Builder::new().stack_size(countersign_sandbox::ROOM_BYTES);
    let measured = thread.spawn(|| {
        countersign_sandbox::take_room();
        measure();
    });
    measured.expect("a thread").join().expect("measured");
}

fn measure() {
    // Cargo adds `--bench`; what else is given names the subjects to measure.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let json = arguments.iter().any(|argument| argument == "--json");
    let named: Vec<&String> = arguments.iter().filter(|argument| *argument != "--json").collect();
    if !json {
        println!("{:<46} {:>10} {:>10}  {:>5} (quartiles)", "what", "measured", "floor", "ratio");
    }
    let mut rows = Vec::new();
    for (name, measure) in SUBJECTS {
        if !named.is_empty() && !named.iter().any(|wanted| *wanted == name) {
            continue;
        }
        for row in measure() {
            if !json {
                row.print();
            }
            rows.push(row);
        }
    }
    let missed = rows.iter().filter(|row| row.missed()).count();
    let all = Value::Array(rows.iter().map(Row::json).collect());
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("ratios.json");
    std::fs::write(&file, format!("{all:#}\n")).expect("the results can be written");
    if json {
        println!("{all:#}");
    } else {
        println!(
            "{missed} of {} goals missed; the same as JSON: {}",
            rows.iter().filter(|row| row.has_goal()).count(),
            file.display()
        );
    }
}
