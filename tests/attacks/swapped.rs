//! Rehearsals and evidence that the runner's key did not sign, put where its own were.

use std::fs;

use rusqlite::Connection;

use crate::signed::{database, sign};
use crate::support::place::Place;

/// Signs a text with the agent's key, as the runner would with its own.
fn by_the_agent(place: &Place, namespace: &str, document: &[u8]) -> String {
    let file = place.state.path("forged");
    fs::write(&file, document).expect("it can be written");
    sign(&place.state, "agent", namespace, &file)
}

fn only(database: &Connection, sql: &str) -> (Vec<u8>, String) {
    database.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).expect("a row")
}

/// Neither shown, approved nor run.
#[track_caller]
fn refused(place: &Place, proposal: &str, says: &str) {
    let alice = place.state.path("alice");
    let alice = alice.to_str().expect("UTF-8");
    let out = place.state.path("out.proposal");
    for words in [
        &["review", proposal][..],
        &["approve", proposal, "--reason", "x", "--key", alice],
        &["run", proposal],
        &["export", proposal, out.to_str().expect("UTF-8")],
    ] {
        place.state.run(words).expect(3).says(says);
    }
    assert!(!out.exists());
}

#[test]
fn a_rehearsal_that_another_key_signed() {
    let place = Place::new();
    let proposal = place.approved();
    let before = place.standing();
    let database = database(&place.state);
    let (document, signature) = only(&database, "SELECT document, signature FROM rehearsals");
    let put = |document: &[u8], signature: &str| {
        let sql = "UPDATE rehearsals SET document = ?1, signature = ?2";
        assert_eq!(database.execute(sql, rusqlite::params![document, signature]).expect("written"), 1);
    };
    // The same words, by another key; other words, by another key and by the runner's own signature on the first.
    put(&document, &by_the_agent(&place, "rehearsal@countersign", &document));
    refused(&place, &proposal, "not by this runner");
    let other =
        String::from_utf8(document.clone()).expect("JSON").replacen("\"restores\":true", "\"restores\":false", 1);
    assert_ne!(other.as_bytes(), document);
    put(other.as_bytes(), &signature);
    refused(&place, &proposal, "was changed since");
    put(other.as_bytes(), &by_the_agent(&place, "rehearsal@countersign", other.as_bytes()));
    refused(&place, &proposal, "was changed since");
    // By the runner, as something else.
    let evidence = only(&database, "SELECT record, signature FROM evidence LIMIT 1").1;
    put(&document, &evidence);
    refused(&place, &proposal, "");
    assert_eq!(place.standing(), before, "nothing changed");
    put(&document, &signature);
    place.run(&proposal).expect(0);
}

#[test]
fn evidence_that_another_key_signed() {
    let place = Place::new();
    let cited = place.state.run(&["--json", "read", "place", &format!("files.read {}/a", place.folder.display())]);
    let cited = cited.expect(0).json()["evidence"][0]["id"].as_str().expect("an id").to_owned();
    let mut proposing = place.proposing(crate::support::place::two_faced());
    proposing.arg("--evidence").arg(&cited);
    let proposed = crate::support::Runs::ran(&mut proposing).expect(0).json();
    let proposal = crate::support::place::name(&proposed);
    let database = database(&place.state);
    let of = |column: &str| format!("SELECT record, {column} FROM evidence WHERE id = '{cited}'");
    let (record, signature) = only(&database, &of("signature"));
    let put = |record: &[u8], signature: &str| {
        let sql = "UPDATE evidence SET record = ?1, signature = ?2 WHERE id = ?3";
        assert_eq!(database.execute(sql, rusqlite::params![record, signature, cited]).expect("written"), 1);
    };
    put(&record, &by_the_agent(&place, "evidence@countersign", &record));
    let review = place.state.run(&["review", &proposal]).expect(3);
    review.says("not by this runner");
    let other = String::from_utf8(record.clone()).expect("JSON").replacen("broken", "spoken", 1);
    put(other.as_bytes(), &signature);
    place.state.run(&["review", &proposal]).expect(3);
    // It cannot be cited either.
    put(&record, &by_the_agent(&place, "evidence@countersign", &record));
    let mut proposing = place.proposing(crate::support::place::two_faced());
    crate::support::Runs::ran(proposing.arg("--evidence").arg(&cited)).expect(3).says("not by this runner");
    put(&record, &signature);
    place.state.run(&["review", &proposal]).expect(0);
}
