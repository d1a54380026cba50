//! The story: investigate, rehearse, propose, review, approve, remediate, roll back.
//!
//! Begin reading at `remediate.rs`.

#![forbid(unsafe_code)]

mod approval;
mod approve;
mod audit;
mod before;
mod cautions;
mod check;
mod command;
mod confirm;
mod desk;
mod diff;
mod drift;
mod error;
mod explain;
mod export;
mod given;
mod guards;
mod hung;
mod images;
mod investigate;
mod left;
mod link;
mod listing;
mod locks;
mod order;
mod past;
mod paths;
mod pause;
mod pending;
mod policy;
mod progress;
mod propose;
mod reader;
mod recover;
mod rehearse;
mod remediate;
mod report;
mod resolve;
mod review;
mod revision;
mod roll_back;
mod run;
mod runner;
mod schedule;
mod shown;
mod signed;
mod signers;
mod standing;
mod stored;
mod target;
mod told;
mod under_way;
mod undo;
mod undoing;
mod validators;
mod waiting;
mod withhold;
mod witness;

pub use approve::{ApprovalTerms, Approved, deny, draft_approval, given_approval, keep_approval, sign_approval};
pub use audit::{log_origin, log_verifier};
pub use before::Before;
pub use cautions::cautions;
pub use confirm::{Said, Word, awaits_word, say};
pub use countersign_gate::{CALL_GRACE, Calls};
pub use countersign_model::documents::{EarlierRun, GuardState, OpenSubject, Way};
pub use countersign_record::Paused;
pub use desk::Desk;
pub use error::{BlockingRun, PipelineError};
pub use explain::{Explained, explain};
pub use export::{Exported, Imported, ImportedPaper, MAX_EXPORT, NotKept, Pins, export, import};
pub use given::{Given, committed, given, may_sign, quorum};
pub use hung::{CallWatch, GivenUp};
pub use investigate::{Investigated, ReadResult, investigate, read};
pub use link::Linked;
pub use listing::{ListedRun, ListedWaiting, MAX_EARLIER, OpenRun, ShownChange, ShownResolution, ShownRun};
pub use locks::LOCK_TIMEOUT;
pub use order::Order;
pub use pause::{PauseSaid, describe_pause, pause};
pub use pending::{MAX_PENDING, Pending, PendingProposal, WaitingForWord, pending};
pub use policy::{Draft, NeededSignatures, PolicyFile, draft_policy, installable};
pub use progress::Progress;
pub use propose::{Drafted, ProposalDraft, UndoDraft, draft, draft_undo, proposal_name, requested};
pub use reader::Reader;
pub use recover::{Recovered, StillWaiting, Stuck, Tries, recover, recover_and_wait};
pub use rehearse::{RehearsalRequest, Rehearsed, rehearse_for};
pub use remediate::remediate;
pub use report::{ReportedChange, ReportedConfirmation, RunReport, Sizes, UndoneRun};
pub use resolve::{Closing, Resolved, resolve};
pub use review::{
    ApprovalReview, EvidenceReview, GrantReview, ProposerReview, Provenance, Review, SignedConfirmation, TargetReview,
    Words, review,
};
pub use revision::Revised;
pub use run::Run;
pub use runner::{Clock, Runner, Setup};
pub use shown::{ChangeReview, planned_changes};
pub use signers::{Signer, signers};
pub use stored::Stored;
pub use target::{Guard, Identity, Target, Validator};
pub use under_way::UnderWay;
pub use undo::Undo;
pub use waiting::await_approval;
