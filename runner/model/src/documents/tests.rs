#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "tests may fail")]

use serde_json::{Map, json};

use super::{DOCUMENT_VERSION, RehearsalDocument, RoleGrants};
use crate::{Ability, Digest, Plan, Verdict};

fn rehearsal(preflight: Vec<Ability>) -> RehearsalDocument {
    RehearsalDocument {
        version: DOCUMENT_VERSION,
        bundle: Digest::of(b"bundle"),
        arguments: Map::new(),
        target: "web".to_owned(),
        configuration: Digest::of(b"configuration"),
        grants: RoleGrants::new(),
        now: 1,
        seed: 2,
        undoes: None,
        plan: Plan::default(),
        preflight,
        check_before: Verdict::Unhealthy("it is down".to_owned()),
        check_after: Verdict::Healthy,
        fix_failure: None,
        rollback_failure: None,
        rollback_rehearsed: true,
        restores: true,
        unrestored: Vec::new(),
        denied: Vec::new(),
        least: RoleGrants::new(),
        evidence: Vec::new(),
        at: 3,
    }
}

/// What was rehearsed by a runner that asked nobody is read as that, and written as it was signed.
#[test]
fn a_rehearsal_without_a_preflight_is_one_that_asked_nobody() {
    let written = serde_json::to_value(rehearsal(Vec::new())).expect("JSON");
    assert_eq!(written.get("preflight"), None);
    let read: RehearsalDocument = serde_json::from_value(written).expect("it reads");
    assert_eq!(read, rehearsal(Vec::new()));
}

#[test]
fn what_was_said_of_each_change_reads_back() {
    let (cannot, cannot_tell) = (Ability::Cannot("`/a` is not".to_owned()), Ability::CannotTell("`/b` may".to_owned()));
    let asked = rehearsal(vec![Ability::Can, cannot, cannot_tell]);
    let written = serde_json::to_value(&asked).expect("JSON");
    let said = json!([
        { "ability": "can" },
        { "ability": "cannot", "why": "`/a` is not" },
        { "ability": "cannot-tell", "why": "`/b` may" },
    ]);
    assert_eq!(written["preflight"], said);
    assert_eq!(serde_json::from_value::<RehearsalDocument>(written).expect("it reads"), asked);
}
