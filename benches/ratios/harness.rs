//! Two things timed in turns, so that whatever else the machine does hits both alike; and counts of two things, such as bytes.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

/// What was measured, against what, and what it should be.
pub struct Row {
    pub what: String,
    pub floor_name: String,
    measured: Side,
    floor: Side,
    /// What is counted, where it is no time.
    unit: Option<&'static str>,
    /// Lower quartile, median and upper quartile of the rounds' own ratios.
    ratio: [f64; 3],
    goal: Option<f64>,
    /// Where the time goes, or what else to know.
    notes: Vec<String>,
}

/// Seconds for one, or how many, by rounds, sorted.
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
        Self::from(what, floor_name, None, [ours, theirs, ratios])
    }

    /// The same for what is counted, such as bytes, once or several times.
    pub fn counted(what: &str, floor_name: &str, unit: &'static str, measured: &[u64], floor: &[u64]) -> Self {
        let [ours, theirs] =
            [measured, floor].map(|counts| counts.iter().map(|count| *count as f64).collect::<Vec<_>>());
        let ratios = ours.iter().zip(&theirs).map(|(one, other)| one / other).collect();
        Self::from(what, floor_name, Some(unit), [ours, theirs, ratios])
    }

    /// Of both sides and the rounds' own ratios.
    fn from(what: &str, floor_name: &str, unit: Option<&'static str>, mut rounds: [Vec<f64>; 3]) -> Self {
        rounds.iter_mut().for_each(|values| values.sort_unstable_by(f64::total_cmp));
        let [ours, theirs, ratios] = rounds;
        let ratio = [0.25, 0.5, 0.75].map(|part| quantile(&ratios, part));
        Self {
            what: what.to_owned(),
            floor_name: floor_name.to_owned(),
            measured: Side(ours),
            floor: Side(theirs),
            unit,
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

    /// The median of what was measured, in seconds where it is a time.
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
        let shown = |value: f64| self.unit.map_or_else(|| shown(value), |unit| format!("{value} {unit}"));
        let (measured, floor) = (shown(self.measured()), shown(self.floor.at(0.5)));
        println!("{:<46} {measured:>10} {floor:>10}  {ratio:>5.2} ({low:.2} to {high:.2})  {verdict}", self.what);
        println!("{:<46} against {}", "", self.floor_name);
        for note in &self.notes {
            println!("{:<46} {note}", "");
        }
    }

    pub fn json(&self) -> Value {
        let [low, ratio, high] = self.ratio;
        let whole = |value: f64| if self.unit.is_some() { value.round() as u64 } else { nanoseconds(value) };
        json!({
            "what": self.what,
            "floor": self.floor_name,
            "unit": self.unit.unwrap_or("ns"),
            "measured": whole(self.measured()),
            "floor_measured": whole(self.floor.at(0.5)),
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
