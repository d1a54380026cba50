//! Two runs of one proposal at once, and names that nothing has.

use std::process::{Output, Stdio};

use crate::row::Row;
use crate::support::Runs;
use crate::support::place::{Place, two_faced};

#[test]
fn of_two_at_once_one_runs_and_one_is_refused() {
    let place = Place::new();
    for round in 0..20 {
        place.put("a", "broken\n");
        place.put("b", &format!("broken too, {round}\n"));
        let proposal = place.approved();
        let begin = || {
            let mut command = place.command(&["--json", "run", &proposal]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts")
        };
        let both = [begin(), begin()];
        let mut ended: Vec<Output> = both.into_iter().map(|child| child.wait_with_output().expect("it ends")).collect();
        ended.sort_by_key(|output| output.status.code());
        let codes: Vec<_> = ended.iter().map(|output| output.status.code()).collect();
        let said = String::from_utf8_lossy(&ended[1].stderr).into_owned();
        assert_eq!(codes, [Some(0), Some(3)], "round {round}: {said}");
        assert!(said.contains("error: ") && said.contains("hint: ") && !said.contains("panicked"), "{said}");
        let refused: serde_json::Value = serde_json::from_slice(&ended[1].stdout).expect("one object");
        assert_eq!(refused["outcome"], "refused");
        assert_eq!((place.text("a").as_str(), place.text("b").as_str()), ("fixed\n", "fixed too\n"));
        let left: Vec<_> = place.standing().into_keys().filter(|name| name.starts_with('.')).collect();
        assert_eq!(left, Vec::<String>::new());
    }
    let runs = place.state.run(&["--json", "runs"]).expect(0).json();
    let committed = runs["runs"].as_array().expect("runs").iter().filter(|run| run["outcome"] == "committed").count();
    assert_eq!(committed, 20);
}

#[test]
fn of_an_unknown_name() {
    let place = Place::new();
    for verb in ["run", "review", "approve", "deny"] {
        let more: &[&str] = if verb == "run" || verb == "review" { &[] } else { &["--reason", "x", "--key"] };
        let mut command = place.command(&[verb, "p-0123456789ab"]);
        command.args(more);
        if !more.is_empty() {
            command.arg(place.state.path("alice"));
        }
        command.ran().row(1, "there is no proposal `p-0123456789ab`").says("`countersign pending` lists");
    }
    place
        .command(&["show", "r-0123456789ab"])
        .ran()
        .row(1, "there is no run `r-0123456789ab`")
        .says("`countersign runs`");
    for bad in ["", "p-", "../../x", "p-0123\u{202e}456789", "p-xyz", "'; DROP TABLE runs; --"] {
        place.command(&["run", bad]).ran().row(1, "names no proposal");
        place.command(&["show", bad]).ran().row(1, "names no run");
    }
    let mut command = place.proposing(two_faced());
    command.args(["--evidence", "ev-0123456789ab"]).ran().row(1, "there is no evidence `ev-0123456789ab`");
}
