//! Whose word counts, and on what.

use rustix::process::Signal;

use crate::support::Runs;
use crate::support::place::Place;
use crate::{Confirming, confirm, ends, outcome, word};

/// What is kept of the words on runs.
fn database(place: &Place) -> rusqlite::Connection {
    rusqlite::Connection::open(place.state.path("state/countersign.db")).expect("the database")
}

#[test]
fn only_who_may_approve_and_did_not_propose() {
    let place = Place::new();
    let confirming = Confirming::approved(&place, &["--confirm-within", "1h"], &[]);
    for verb in ["confirm", "rollback"] {
        word(&place, verb, &confirming.run, "agent").ran().expect(3).says("has no say in whether this run stays");
        word(&place, verb, &confirming.run, "second").ran().expect(3).says("may not confirm a run");
        place.state.keygen(verb);
        word(&place, verb, &confirming.run, verb).ran().expect(3).says("may not confirm a run").says("unlisted key");
    }
    let count: u32 =
        database(&place).query_row("SELECT count(*) FROM confirmations", [], |row| row.get(0)).expect("a number");
    assert_eq!((count, outcome(&place, &confirming.run).as_str()), (0, "open"));
    confirm(&place, &confirming.run).expect(0);
    ends(confirming, 0, "committed");
}

/// An agent's owner answers for it, and does not confirm what it proposed.
#[test]
fn not_who_owns_the_proposer() {
    let place = Place::new();
    place.state.keygen("owner");
    let key = std::fs::read_to_string(place.state.path("owner.pub")).expect("a key");
    place.state.policy(|policy| {
        let name = policy.lines().find_map(|line| line.strip_prefix("name = ")).expect("a name").to_owned();
        assert!(policy.contains(&name));
        let agent = policy.replace("[[agents]]", "[[agents]]\nowner = \"owner\"");
        format!("{agent}\n[[people]]\nname = \"owner\"\nkeys = [\"{}\"]\nmay = [\"approve\"]\n", key.trim())
    });
    let confirming = Confirming::approved(&place, &["--confirm-within", "1h"], &[]);
    word(&place, "confirm", &confirming.run, "owner").ran().expect(3).says("they own the proposer");
    confirm(&place, &confirming.run).expect(0);
    ends(confirming, 0, "committed");
}

/// Whoever can write to the database still cannot say what somebody else did not sign.
#[test]
fn what_is_forged_or_altered_does_not_count() {
    let place = Place::new();
    let before = place.standing();
    // Two words that were really signed: alice's on another run, and hers that rolls this one back.
    let other = Confirming::approved(&place, &["--confirm-within", "1h"], &[]);
    confirm(&place, &other.run).expect(0);
    let earlier = other.run.clone();
    ends(other, 0, "committed");
    for (name, text) in [("a", "broken\n"), ("b", "broken too\n")] {
        place.put(name, text);
    }
    let confirming = Confirming::approved(&place, &["--confirm-within", "2s"], &[]);
    let database = database(&place);
    let insert = "INSERT INTO confirmations (run, position, document, signature) SELECT ?1, ?2, ";
    let moved = format!("{insert} document, signature FROM confirmations WHERE run = ?3");
    database.execute(&moved, (&confirming.run, 1, &earlier)).expect("it can be written");
    let renamed = format!(
        "{insert} CAST(replace(CAST(document AS TEXT), ?3, ?1) AS BLOB), signature FROM confirmations WHERE run = ?3"
    );
    database.execute(&renamed, (&confirming.run, 2, &earlier)).expect("it can be written");
    let garbage = format!("{insert} x'7b7d', 'no signature'");
    database.execute(&garbage, (&confirming.run, 3)).expect("it can be written");
    confirming.spoken.says("does not count: the confirmation is of another run");
    confirming.spoken.says("does not count: the signature on the confirmation is not valid");
    confirming.spoken.says("does not count: the signature on the confirmation is not valid");
    let report = ends(confirming, 4, "rolled-back");
    assert_eq!(report["reason"], "nobody confirmed it within 2s");
    assert_eq!(place.standing(), before);
}

/// Of two words the first one counts, whoever heard of which.
#[test]
fn the_first_word_counts() {
    for (first, second, code, ended) in
        [("confirm", "rollback", 0, "committed"), ("rollback", "confirm", 4, "rolled-back")]
    {
        let place = Place::new();
        let confirming = Confirming::approved(&place, &["--confirm-within", "1h"], &[]);
        // It hears of both at once.
        confirming.spoken.signal(Signal::STOP);
        word(&place, first, &confirming.run, "alice").ran().expect(0);
        word(&place, second, &confirming.run, "alice").ran().expect(0);
        confirming.spoken.signal(Signal::CONT);
        ends(confirming, code, ended);
    }
}

#[test]
fn nobody_confirms_what_does_not_wait() {
    let place = Place::new();
    let proposal = place.approved();
    let run = place.run(&proposal).expect(0).json();
    let run = run["run"].as_str().expect("a run");
    confirm(&place, run).expect(3).says("it ended committed: check and guards hold").says("countersign show");
    confirm(&place, "r-000000000000").expect(1).says("countersign runs");
}

/// Whose word counts is decided by the policy in force when it is said, for who says it and for the run that waits.
/// Puts the next policy in force, signed by its root.
pub(crate) fn install(place: &Place, change: impl FnOnce(String) -> String) {
    let policy = std::fs::read_to_string(place.state.path("state/trust-policy.toml")).expect("a policy");
    let next = place.state.path("next.toml");
    std::fs::write(&next, change(policy.replace("serial = 1\n", "serial = 2\n"))).expect("it can be written");
    place.command(&["trust", "sign", "--key"]).arg(place.state.path("alice")).arg(&next).ran().expect(0);
    place.command(&["trust", "install"]).arg(&next).ran().expect(0);
}

/// However long it waits: what is revoked does not stay, whoever says so and whoever says nothing.
#[test]
fn what_is_revoked_while_it_waits_is_rolled_back() {
    let revoked =
        |policy: String| format!("{policy}\n[[revocations]]\nprincipal = \"agent\"\nreason = \"its key was lost\"\n");
    let place = Place::new();
    let before = place.standing();
    let confirming = Confirming::approved(&place, &["--confirm-within", "1h"], &[]);
    install(&place, revoked);
    ends(confirming, 4, "rolled-back");
    assert_eq!(place.standing(), before);

    // Where it hears of both at once.
    let place = Place::new();
    let confirming = Confirming::approved(&place, &["--confirm-within", "1h"], &[]);
    confirming.spoken.signal(Signal::STOP);
    confirm(&place, &confirming.run).expect(0);
    install(&place, revoked);
    confirming.spoken.signal(Signal::CONT);
    ends(confirming, 4, "rolled-back");
}

/// What is at stake is what the plan says, for whoever confirms as for whoever approves.
#[test]
fn where_much_is_at_stake_a_confirmation_is_touched_too() {
    let place = Place::new();
    let confirming = Confirming::approved(&place, &["--confirm-within", "1h"], &[]);
    // It would go back by itself: what was approved was not touched either.
    confirming.spoken.signal(Signal::STOP);
    install(&place, |policy| {
        format!("{policy}\n[[quorums]]\nname = \"broad\"\npeople = 1\nsubjects-over = 1\ntouch = true\n")
    });
    confirm(&place, &confirming.run).expect(3).says("hardware");
    // That it is put back is in nobody's way.
    word(&place, "rollback", &confirming.run, "alice").ran().expect(0);
    confirming.spoken.signal(Signal::CONT);
    ends(confirming, 4, "rolled-back");
}

#[test]
fn a_policy_that_was_changed_since_decides_whose_word_counts() {
    let place = Place::new();
    place.state.keygen("bob");
    let confirming = Confirming::approved(&place, &["--confirm-within", "30s"], &[]);
    let bob = std::fs::read_to_string(place.state.path("bob.pub")).expect("a key");
    word(&place, "confirm", &confirming.run, "bob").ran().expect(3).says("unlisted key");
    // Whoever waits goes by what its configuration pinned when it began, and by what follows from that.
    install(&place, |policy| {
        format!("{policy}\n[[people]]\nname = \"bob\"\nkeys = [\"{}\"]\nmay = [\"approve\"]\n", bob.trim())
    });
    word(&place, "confirm", &confirming.run, "bob").ran().expect(0);
    ends(confirming, 0, "committed");

    // Who approved it and may not any more did not approve it: it does not stay, whoever else says so.
    let place = Place::new();
    place.state.keygen("bob");
    let bob = std::fs::read_to_string(place.state.path("bob.pub")).expect("a key");
    let confirming = Confirming::approved(&place, &["--confirm-within", "1h"], &[]);
    confirming.spoken.signal(Signal::STOP);
    install(&place, |policy| {
        let policy = policy.replace("may = [\"approve\", \"operate\"]", "may = [\"operate\"]");
        format!("{policy}\n[[people]]\nname = \"bob\"\nkeys = [\"{}\"]\nmay = [\"approve\"]\n", bob.trim())
    });
    confirm(&place, &confirming.run).expect(3).says("person `alice` may not confirm a run");
    word(&place, "confirm", &confirming.run, "bob").ran().expect(0);
    confirming.spoken.signal(Signal::CONT);
    ends(confirming, 4, "rolled-back");
}

/// The clock decides for who says something; a word that was kept counts whatever it says later.
#[test]
fn a_clock_that_was_set_back_lets_nobody_confirm() {
    let place = Place::new();
    let confirming = Confirming::approved(&place, &["--confirm-within", "1h"], &[]);
    let mut early = word(&place, "confirm", &confirming.run, "alice");
    early.env("COUNTERSIGN_TEST_NOW", "1000000").ran().expect(3).says("clock");
    let mut late = word(&place, "confirm", &confirming.run, "alice");
    let refused = late.env("COUNTERSIGN_TEST_NOW", crate::hours_from_now(2)).ran().expect(3);
    // Whoever waits may have seen that time first.
    assert!(
        ["which is over", "nobody confirmed it within"].iter().any(|why| refused.stderr.contains(why)),
        "{}",
        refused.stderr
    );
    // That time was seen now, and the run ends by it.
    ends(confirming, 4, "rolled-back");
}
