//! A state directory with one approved proposal.

use std::path::Path;

use countersign_model::{Change, Digest, Image, Plan, Reversibility};
use countersign_record::{BeginError, Hold, Journal, NewProposal, RunStart, State};
use rusqlite::Connection;
use tempfile::TempDir;

pub(crate) const TARGET: &str = "web-1";

pub(crate) struct Fixture {
    pub(crate) state: State,
    pub(crate) proposal: Digest,
    pub(crate) manifest: Digest,
    pub(crate) dir: TempDir,
}

pub(crate) fn fixture() -> Fixture {
    let dir = tempfile::tempdir().expect("a directory");
    let state = State::create(&dir.path().join("state")).expect("a new state directory");
    let (proposal, manifest) = approve(&state, b"{\"proposal\":1}");
    Fixture { state, proposal, manifest, dir }
}

/// Records a proposal with an approval manifest.
pub(crate) fn approve(state: &State, document: &[u8]) -> (Digest, Digest) {
    let proposal = state.proposals().add(new_proposal(document, &[])).expect("a proposal");
    let manifest = format!("{{\"approves\":\"{proposal}\"}}");
    let manifest = state.approvals().add_manifest(&proposal, manifest.as_bytes()).expect("a manifest");
    (proposal, manifest)
}

pub(crate) fn new_proposal<'a>(document: &'a [u8], evidence: &'a [String]) -> NewProposal<'a> {
    // Any digest is as good as another here.
    static BUNDLE: std::sync::LazyLock<Digest> = std::sync::LazyLock::new(|| Digest::of(b"bundle"));
    NewProposal {
        document,
        signature: "signed",
        bundle: &BUNDLE,
        proposer: "agent",
        created: 1_000,
        expires: 9_000,
        evidence,
        fix: None,
        subjects: &[],
    }
}

impl Fixture {
    pub(crate) fn begin(&self, max_uses: u32) -> Result<Journal, BeginError> {
        begin(&self.state, TARGET, &self.proposal, &self.manifest, max_uses)
    }

    pub(crate) fn begin_held(&self, hold: Hold) -> Result<Journal, BeginError> {
        let plan = Plan::default();
        let start = RunStart {
            proposal: &self.proposal,
            manifest: &self.manifest,
            target: TARGET,
            max_uses: 9,
            sources: &[],
            standing: None,
            approvers: &[],
            independent: true,
            at: 2_000,
            plan: &plan,
            guards: &[],
            actor: "alice".into(),
        };
        self.state.runs().begin_held(start, hold)
    }

    /// What another process sees.
    pub(crate) fn second(&self) -> Connection {
        Connection::open(self.path().join("countersign.db")).expect("a second connection")
    }

    pub(crate) fn path(&self) -> &Path {
        self.state.dir()
    }
}

pub(crate) fn begin(
    state: &State,
    target: &str,
    proposal: &Digest,
    manifest: &Digest,
    max_uses: u32,
) -> Result<Journal, BeginError> {
    state.runs().begin(RunStart {
        proposal,
        manifest,
        target,
        max_uses,
        sources: &[],
        standing: None,
        approvers: &["alice".to_owned()],
        independent: true,
        at: 2_000,
        plan: &Plan::default(),
        guards: &[],
        actor: "alice".into(),
    })
}

/// A change of a file from one content to another, whose images the journal's blobs hold.
pub(crate) fn change(journal: &mut Journal, before: &[u8], after: &[u8]) -> Change {
    journal.blobs().put(before).expect("the before-image");
    journal.blobs().put(after).expect("the after-image");
    Change {
        capability: "files".to_owned(),
        format: 1,
        subject: "/etc/app.conf".to_owned(),
        reversibility: Reversibility::Exact,
        summary: "replace /etc/app.conf".to_owned(),
        before: Some(Image::of(before)),
        after: Some(Image::of(after)),
        kept: None,
        effect: serde_json::json!({"mode": 420}),
        withheld: false,
        body: serde_json::json!({"inode": 7}),
    }
}

/// A change that nothing undoes.
pub(crate) fn signal() -> Change {
    Change {
        capability: "process".to_owned(),
        format: 1,
        subject: "nginx".to_owned(),
        reversibility: Reversibility::Irreversible,
        summary: "send HUP to nginx".to_owned(),
        before: None,
        after: None,
        kept: None,
        effect: serde_json::json!({"signal": "HUP"}),
        withheld: false,
        body: serde_json::json!({"pid": 9}),
    }
}

/// Makes every statement of this sort fail, as a full disk would.
pub(crate) fn fail(connection: &Connection, sort: &str) {
    let sql = format!("CREATE TRIGGER broken BEFORE {sort} BEGIN SELECT RAISE(ABORT, 'the disk is full'); END");
    connection.execute_batch(&sql).expect("a trigger");
}
