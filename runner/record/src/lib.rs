//! Everything durable: the state directory, its database, blobs, and the journal of each run.
//!
//! | file | holds |
//! |---|---|
//! | `state.rs` | [`State`]: the directory, its layout, permissions and version |
//! | `durable.rs` | the only place that makes files durable, behind [`Disk`] |
//! | `schema.sql`, `schema.rs` | the tables and how a connection is set up |
//! | `images.rs` | [`ImagesPlace`]: where images are kept, their cap and their reserve |
//! | `blobs.rs` | [`FileBlobs`] for what is kept as files, [`RunBlobs`] for runs |
//! | `scratch.rs` | [`RehearsalBlobs`]: what is put aside until a proposal keeps it |
//! | `evidence.rs`, `rehearsals.rs`, `proposals.rs`, `approvals.rs` | signed bytes, kept exactly |
//! | `glass.rs` | [`GlassReview`]: broken glass, and its review that stays open until somebody closes it |
//! | `policies.rs` | trust policies that were accepted, each with a higher serial than the one before |
//! | `begin.rs`, `runs.rs`, `lock.rs`, `unfinished.rs` | who may run now, and what became of each run |
//! | `reserve.rs` | what a rollback may need on the disk, set aside before the first change |
//! | `recovery.rs` | [`TakenOver`] and [`Unsettled`]: what is left of runs whose process died |
//! | `resolutions.rs` | [`Resolving`]: what runs left otherwise than before, and what people said of it |
//! | `journal.rs`, `changes.rs` | [`Journal`]: the write-ahead record of one run's changes |
//! | `audit.rs`, `audit/` | [`Audit`]: the log of everything decided and done, and its files |
//! | `journal/waiting.rs`, `confirmations.rs`, `watch.rs` | runs that wait for a person's word, and how they are told |
//!
//! Two rules hold everywhere. Bytes that were signed are returned exactly as they were given. And what
//! could not be made durable is never retried as if it had been: the first failed sync stops all
//! further writing by this process (see [`Durable`]).

#![forbid(unsafe_code)]

mod approvals;
mod audit;
mod begin;
mod blobs;
mod changes;
mod clock;
mod confirmations;
mod durable;
mod error;
mod evidence;
mod glass;
mod holds;
mod images;
mod journal;
mod lock;
mod looks;
mod names;
mod pauses;
mod policies;
mod proposals;
mod recovery;
mod rehearsals;
mod reserve;
mod resolutions;
mod rows;
mod runs;
mod schema;
mod scratch;
mod standing;
mod state;
mod streams;
mod unfinished;
mod watch;

pub use approvals::{Approval, Approvals, Denial, KeptFiles, MAX_SIGNATURES};
pub use audit::{AUDIT, About, Audit, CHECKPOINT, Entry, LogHead, LogKey, LoggedEntry, Published, Told, WITNESSED};
pub use begin::{BeginError, Hold, Refusal, RunActor, RunStart, SignedRunOrder, run_name};
pub use blobs::{FileBlobs, INLINE_LIMIT, MAX_BLOB, MAX_STREAM, RunBlobs};
pub use changes::{ChangeState, JournaledChange};
pub use clock::{Clock, MAX_STEP_BACK};
pub use confirmations::KeptConfirmation;
pub use durable::{Disk, Durable, RealDisk, Unsynced};
pub use error::RecordError;
pub use evidence::{EvidenceRecord, EvidenceStore, NewEvidence};
pub use glass::{BrokenGlass, ClosedReview, ClosingReview, GlassReview};
pub use holds::{Holder, Subject, Wanted};
pub use images::{ImagesPlace, ImagesUse};
pub use journal::{Decided, Journal, MAX_CHANGES, MAX_EVENTS, When};
pub use looks::Looks;
pub use names::proposal_name;
pub use pauses::{NewPause, Paused, Pauses};
pub use policies::{AcceptedPolicy, Policies};
pub use proposals::{
    DeniedLike, Lineage, NewProposal, PendingBounds, PlannedSubject, ProposalRecord, ProposalSummary, Proposals,
};
pub use recovery::{TakenOver, Unsettled};
pub use rehearsals::{RehearsalRecord, Rehearsals};
pub use resolutions::{NewResolution, Resolution, Resolving};
pub use rows::{MAX_DOCUMENT, MAX_LISTED, MAX_SIGNATURE};
pub use runs::{RunEvent, RunRecord, RunState, Runs, Waiting};
pub use schema::FORMAT;
pub use scratch::RehearsalBlobs;
pub use standing::{HistoryOf, KeptStanding, NewStanding, StandingApprovals, StandingHistory, Unattended};
pub use state::State;
pub use unfinished::Unfinished;
pub use watch::Watch;
