//! Two things timed in turns, so that whatever else the machine does hits both alike.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

/// What was measured, against what, and what it should be.
pub struct Row {
    pub what: String,
    pub floor_name: String,
    measured: Side,
    floor: Side,
    /// Lower quartile, median and upper quartile of the rounds' own ratios.
    ratio: [f64; 3],
    goal: Option<f64>,
    /// Where the time goes, or what else to know.
    notes: Vec<String>,
}

/// Seconds for one, by rounds, sorted.
struct Side(Vec<f64>);

impl Side {
    fn at(&self, part: f64) -> f64 {
        quantile(&self.0, part)
    }
}

fn quantile(sorted: &[f64], part: f64) -> f64 {
    let at = (part * sorted.len().saturating_sub(1) as f64).round() as usize;
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

/// The time that this thread computes for one of `count`, in the kernel too: what else runs on the machine takes none
/// of it. For work that waits for nothing.
pub fn each(count: u32, work: impl FnOnce()) -> Duration {
    let now = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).expect("a time");
    let begun = now();
    work();
    (now() - begun) / count
}

/// The time that passes for one of `count`. For work that waits for a disk.
pub fn each_passing(count: u32, work: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    work();
    begun.elapsed() / count
}

/// The median of some rounds, in seconds.
pub fn median(rounds: usize, mut round: impl FnMut() -> Duration) -> f64 {
    let mut times: Vec<f64> = (0..rounds).map(|_| round().as_secs_f64()).collect();
    times.sort_unstable_by(f64::total_cmp);
    quantile(&times, 0.5)
}

impl Row {
    /// Times both sides in turns; each round is the time of one of what is measured. The first round of each is
    /// not counted, and which side goes first changes.
    pub fn of(
        what: &str,
        floor_name: &str,
        rounds: usize,
        mut measured: impl FnMut() -> Duration,
        mut floor: impl FnMut() -> Duration,
    ) -> Self {
        let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..=rounds {
            let (one, other) = if round % 2 == 0 {
                let one = measured();
                (one, floor())
            } else {
                let other = floor();
                (measured(), other)
            };
            if round > 0 {
                ours.push(one.as_secs_f64());
                theirs.push(other.as_secs_f64());
                ratios.push(one.as_secs_f64() / other.as_secs_f64());
            }
        }
        for times in [&mut ours, &mut theirs, &mut ratios] {
            times.sort_unstable_by(f64::total_cmp);
        }
        let ratio = [0.25, 0.5, 0.75].map(|part| quantile(&ratios, part));
        Self {
            what: what.to_owned(),
            floor_name: floor_name.to_owned(),
            measured: Side(ours),
            floor: Side(theirs),
            ratio,
            goal: None,
            notes: Vec::new(),
        }
    }

    /// The most that the ratio should be.
    pub fn goal(self, goal: f64) -> Self {
        Self { goal: Some(goal), ..self }
    }

    pub fn note(mut self, note: String) -> Self {
        self.notes.push(note);
        self
    }

    /// The median time of what was measured, in seconds.
    pub fn measured(&self) -> f64 {
        self.measured.at(0.5)
    }

    pub fn has_goal(&self) -> bool {
        self.goal.is_some()
    }

    pub fn missed(&self) -> bool {
        self.goal.is_some_and(|goal| self.ratio[1] > goal)
    }

    pub fn print(&self) {
        let verdict = match self.goal {
            None => String::new(),
            Some(goal) => format!("goal {goal:<5} {}", if self.missed() { "MISSED" } else { "met" }),
        };
        let [low, ratio, high] = self.ratio;
        let (measured, floor) = (shown(self.measured()), shown(self.floor.at(0.5)));
        println!("{:<46} {measured:>10} {floor:>10}  {ratio:>5.2} ({low:.2} to {high:.2})  {verdict}", self.what);
        println!("{:<46} against {}", "", self.floor_name);
        for note in &self.notes {
            println!("{:<46} {note}", "");
        }
    }

    pub fn json(&self) -> Value {
        let [low, ratio, high] = self.ratio;
        json!({
            "what": self.what,
            "floor": self.floor_name,
            "measured_ns": nanoseconds(self.measured()),
            "floor_ns": nanoseconds(self.floor.at(0.5)),
            "ratio": rounded(ratio),
            "ratio_quartiles": [rounded(low), rounded(high)],
            "goal": self.goal,
            "met": self.goal.map(|_| !self.missed()),
            "notes": self.notes,
        })
    }
}

fn nanoseconds(seconds: f64) -> u64 {
    (seconds * 1e9).round() as u64
}

fn rounded(ratio: f64) -> f64 {
    (ratio * 1000.0).round() / 1000.0
}

/// A time for people.
pub fn shown(seconds: f64) -> String {
    format!("{:.2?}", Duration::from_nanos(nanoseconds(seconds)))
}
