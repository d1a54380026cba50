//! Broken glass: signature, review and log entry are there together, or none of them is.

use countersign_model::Digest;
use countersign_record::{BrokenGlass, ClosedReview, ClosingReview, Entry, RecordError};

use crate::audit::{kinds, logged};
use crate::support::{Fixture, fail};

const MANIFEST: &[u8] = b"{\"breaks\":1}";

fn breaks(run: &Fixture, person: &str, signature: &str) -> Result<(), RecordError> {
    let broken = BrokenGlass {
        proposal: &run.proposal,
        manifest: MANIFEST,
        signature,
        name: "nobody else",
        person,
        reason: "it burns",
        at: 2_000,
        expires: 5_000,
    };
    run.state.approvals().break_glass(&broken, &Entry::new("break-glass")).map(drop)
}

fn closes(run: &Fixture, approval: &Digest) -> Result<(), RecordError> {
    let closing =
        ClosingReview { approval, by: "bob", reason: "seen", at: 6_000, document: b"{}", signature: "signed" };
    run.state.approvals().close_review(&closing, &Entry::new("break-glass-reviewed"))
}

#[test]
fn a_review_is_open_until_it_is_closed_once() {
    let run = logged();
    let approval = Digest::of(MANIFEST);
    breaks(&run, "carol", "one").expect("broken");
    let open = run.state.approvals().open_reviews().expect("listed");
    assert_eq!((open.len(), open[0].approval, open[0].opened, open[0].expires), (1, approval, 2_000, 5_000));
    // The same signature again is nothing new; another person's stands beside it.
    breaks(&run, "carol", "one").expect("again");
    breaks(&run, "dave", "two").expect("broken");
    let review = run.state.approvals().review(&approval).expect("read").expect("one");
    assert_eq!(review.broken_by, ["carol", "dave"]);
    assert_eq!(kinds(&run.state), ["break-glass", "break-glass"]);
    let kept = run.state.approvals().of(&run.proposal).expect("approvals");
    let kept = kept.iter().find(|kept| kept.digest == approval).expect("the manifest");
    assert_eq!((kept.manifest.as_slice(), kept.signatures.len()), (MANIFEST, 2));

    assert!(matches!(closes(&run, &run.manifest), Err(RecordError::NotFound { .. })));
    closes(&run, &approval).expect("closed");
    assert_eq!(run.state.approvals().open_reviews().expect("listed"), []);
    let review = run.state.approvals().reviews().expect("listed").remove(0);
    assert_eq!(review.closed, Some(ClosedReview { by: "bob".to_owned(), reason: "seen".to_owned(), at: 6_000 }));
    assert!(matches!(closes(&run, &approval), Err(RecordError::NotFound { .. })));
    assert_eq!(kinds(&run.state), ["break-glass", "break-glass", "break-glass-reviewed"]);
}

#[test]
fn without_its_review_or_its_entry_nothing_is_kept() {
    for table in ["glass_reviews", "log_entries"] {
        let run = logged();
        fail(&run.second(), &format!("INSERT ON {table}"));
        breaks(&run, "carol", "one").expect_err("nothing is kept");
        let kept = run.state.approvals().of(&run.proposal).expect("approvals");
        assert!(kept.iter().all(|kept| kept.digest != Digest::of(MANIFEST)), "{table}");
        assert_eq!((run.state.approvals().reviews().expect("listed"), kinds(&run.state).len()), (Vec::new(), 0));
        let signature = run.path().join("approvals").join(format!("{}.1.sig", Digest::of(MANIFEST).hex()));
        assert!(!signature.exists(), "{table}");
    }
    let run = logged();
    breaks(&run, "carol", "one").expect("broken");
    fail(&run.second(), "INSERT ON log_entries");
    closes(&run, &Digest::of(MANIFEST)).expect_err("it stays open");
    assert_eq!(run.state.approvals().open_reviews().expect("listed").len(), 1);
}
