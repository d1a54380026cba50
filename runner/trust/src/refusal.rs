use countersign_model::{Digest, Role};

use crate::break_glass::BreakGlassRefusal;
use crate::demands::Unmet;
use crate::grants::GrantMismatch;
use crate::principal::Activity;
use crate::sshsig::SignatureError;
use crate::text::{length, moment, time};

mod hint;
mod signed;

pub use signed::Signed;

/// Why a proposal, an approval or a run is refused. Nothing has changed when one is given.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refusal {
    /// A signature is none, is on something else, or does not match.
    #[error("the signature on the {on} is not valid: {error}")]
    Signature {
        /// What it is on.
        on: Signed,
        /// What is wrong.
        error: SignatureError,
    },
    /// A signature is valid, and was not made as is demanded.
    #[error("the signature on the {on} is not enough: {unmet}")]
    Unmet {
        /// What it is on.
        on: Signed,
        /// What is missing.
        unmet: Unmet,
    },
    /// A signed document is not the strict JSON that is expected.
    #[error("the {on} cannot be read: {why}")]
    Unreadable {
        /// Which document.
        on: Signed,
        /// What is wrong.
        why: String,
    },
    /// A signed document's version is another one.
    #[error("the {on} has the version `{found}`, expected `{expected}`")]
    Version {
        /// Which document.
        on: Signed,
        /// Its version.
        found: u32,
        /// The version that is read.
        expected: u32,
    },
    /// A signed document contradicts itself.
    #[error("the {on} makes no sense: {why}")]
    Senseless {
        /// Which document.
        on: Signed,
        /// What is wrong.
        why: String,
    },
    /// There is more of something than is looked at.
    #[error("there are {found} {what}, more than the {limit} that are looked at")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many are looked at.
        limit: usize,
    },
    /// The proposal names another proposer than the key that signed it.
    #[error("the proposal names the proposer `{named}` and is signed by `{signer}`")]
    OtherProposer {
        /// The fingerprint in the document.
        named: String,
        /// The fingerprint of the key that signed.
        signer: String,
    },
    /// The proposer has no right to propose.
    #[error("{who} may not propose")]
    MayNotPropose {
        /// The proposer.
        who: String,
    },
    /// No rule of the trust policy takes it in.
    #[error("{who} may not {} this on `{target}`: {why}", .activity.verb())]
    NoRule {
        /// Who wants to.
        who: String,
        /// To do what.
        activity: Activity,
        /// Where.
        target: String,
        /// Why the rule that came closest does not.
        why: String,
    },
    /// The trust policy revokes it.
    #[error("{what} is revoked: {reason}")]
    Revoked {
        /// What.
        what: String,
        /// Why, in the words of who revoked it, made visible.
        reason: String,
    },
    /// The trust policy is over.
    #[error("the trust policy expired at {}, and it is {}", time(*.at), time(*.now))]
    PolicyExpired {
        /// When, in milliseconds since 1970-01-01 UTC.
        at: u64,
        /// The time.
        now: u64,
    },
    /// The trust policy lets no run begin on the target now.
    #[error("no run begins on `{target}` until {}, by the freeze `{freeze}`: {reason}", moment(*.until))]
    Frozen {
        /// The freeze's name.
        freeze: String,
        /// The target.
        target: String,
        /// Until when, in milliseconds since 1970-01-01 UTC.
        until: u64,
        /// Why, in the words of who froze it, made visible.
        reason: String,
    },
    /// The approval grants more than the trust policy lets anybody approve there.
    #[error("`{grant}` is above the trust policy's ceiling `{ceiling}` for `{target}`: {why}")]
    AboveCeiling {
        /// The ceiling's name.
        ceiling: String,
        /// The target.
        target: String,
        /// The grant.
        grant: String,
        /// Why.
        why: String,
    },
    /// Its signer may approve, and not this.
    #[error("{who} may not approve this on `{target}`: by the rules that take it in ({}), others do", names(.rules))]
    MayNotApproveThis {
        /// Who signed it.
        who: String,
        /// The target.
        target: String,
        /// The rules' names.
        rules: Vec<String>,
    },
    /// A runner's document was not signed by this runner.
    #[error("the {on} is signed by `{signer}` and not by this runner, `{runner}`")]
    NotThisRunner {
        /// Which document.
        on: Signed,
        /// The fingerprint of the key that signed.
        signer: String,
        /// The fingerprint of the runner's key.
        runner: String,
    },

    /// The trust policy that was read is in force no more.
    #[error("another trust policy was installed meanwhile")]
    NewerPolicy,
    /// The bundle is not the proposed one.
    #[error("the bundle is `{found}`, and `{proposed}` was proposed")]
    BundleChanged {
        /// What was proposed.
        proposed: Digest,
        /// What was read.
        found: Digest,
    },
    /// A step is not the proposed one.
    #[error("the {role} step is {}, and {} was proposed", or_none(.found.as_ref()), or_none(.proposed.as_ref()))]
    StepChanged {
        /// Which step.
        role: Role,
        /// What was proposed.
        proposed: Option<Digest>,
        /// What was read.
        found: Option<Digest>,
    },
    /// The arguments are not the proposed ones.
    #[error("the arguments are not the proposed ones")]
    ArgumentsChanged,
    /// The target is not in the proposal.
    #[error("the proposal is not for the target `{target}`")]
    TargetNotProposed {
        /// The target.
        target: String,
    },
    /// The target's configuration was changed.
    #[error("the configuration of `{target}` was changed since it was proposed")]
    ConfigurationChanged {
        /// The target.
        target: String,
        /// What was proposed.
        proposed: Digest,
        /// What it is now.
        found: Digest,
    },
    /// The proposal is for another runner.
    #[error("the proposal for `{target}` is meant for the runner `{proposed}`, and this is `{found}`")]
    OtherRunner {
        /// The target.
        target: String,
        /// The fingerprint in the proposal.
        proposed: String,
        /// This runner's.
        found: String,
    },
    /// The plan is not the proposed one.
    #[error("the plan for `{target}` is `{found}`, and `{proposed}` was proposed")]
    PlanChanged {
        /// The target.
        target: String,
        /// What was proposed.
        proposed: Digest,
        /// What it is now.
        found: Digest,
    },

    /// Somebody who may approve said no.
    #[error("`{by}` denied the proposal: {reason}")]
    Denied {
        /// The person.
        by: String,
        /// Their words, made visible.
        reason: String,
    },
    /// A denial was kept that does not verify any more.
    #[error("a denial of the proposal is kept that cannot be verified any more: {why}")]
    DamagedDenial {
        /// What is wrong with it.
        why: String,
    },
    /// A denial was signed by somebody who has no say.
    #[error("{who} may not deny: only people who may approve can")]
    MayNotDeny {
        /// Who signed it.
        who: String,
    },
    /// New runs were to be paused by somebody who has no say.
    #[error("{who} may not pause new runs: only people who may operate or approve can")]
    MayNotPause {
        /// Who signed it.
        who: String,
    },
    /// A signed document is about another proposal.
    #[error("the {on} is for the proposal `{found}`, and this is `{expected}`")]
    OtherProposal {
        /// Which document.
        on: Signed,
        /// The proposal at hand.
        expected: Digest,
        /// The one it names.
        found: Digest,
    },
    /// Nobody has approved.
    #[error("the proposal is not approved: {needed} must approve, and nobody has")]
    NotApproved {
        /// How many must.
        needed: usize,
    },
    /// Enough people have approved, and what they approved has too little in common.
    #[error("several approvals were given, and they do not go together: {why}")]
    SignedApart {
        /// Why not.
        why: String,
    },
    /// What a run began by is kept no longer as it was.
    #[error("the approval `{digest}` is missing, or is not what it was")]
    ApprovalLost {
        /// Its digest.
        digest: Digest,
    },
    /// A standing approval of its bundle does not take the run in.
    #[error("nobody approved the proposal, and it does not run unattended by the standing approval {standing}: {why}")]
    NotUnattended {
        /// The beginning of its digest.
        standing: String,
        /// Why not.
        why: String,
    },
    /// The trust policy has no section for it.
    #[error("the trust policy lets nothing run unattended")]
    NothingUnattended,
    /// More is asked of a standing approval than the trust policy allows, or than was signed.
    #[error("{found} {what}, and {most} at most may be unattended")]
    BeyondUnattended {
        /// Of what.
        what: &'static str,
        /// How many.
        found: u32,
        /// How many there may be.
        most: u32,
    },
    /// What is proposed is something else than was signed.
    #[error("{why}")]
    OutsideStanding {
        /// What is.
        why: String,
    },
    /// A run went wrong, and nobody has looked since.
    #[error("it ended with the run {run}, which was rolled back, undone, cut off or left in doubt")]
    StandingEnded {
        /// The run.
        run: String,
    },
    /// People denied a proposal of its bundle since it was signed.
    #[error("it ended with the denial of `p-{}`, a proposal of its bundle", proposal.short())]
    StandingDenied {
        /// The denied one.
        proposal: Digest,
    },
    /// People have not seen it do well often enough.
    #[error("{committed} runs of it were committed on the target, and {needed} must be before one is unattended")]
    TooFewCommitted {
        /// How many were.
        committed: u64,
        /// How many must be.
        needed: u64,
    },
    /// Its runs had to be finished by now.
    #[error("the approval has its runs finished by {}, and it is {}", time(*.at), time(*.now))]
    TooLate {
        /// By when, in milliseconds since 1970-01-01 UTC.
        at: u64,
        /// The time.
        now: u64,
    },
    /// It ran as often as it may, for now.
    #[error("it ran {most} times within the last {what}, and may no more")]
    BudgetSpent {
        /// Within which time.
        what: &'static str,
        /// How often it may.
        most: u32,
    },
    /// Too few have approved.
    #[error("{wants} must approve by the quorum `{quorum}`, and {} did: {}", .approvers.len(), names(.approvers))]
    QuorumNotReached {
        /// The quorum's name.
        quorum: String,
        /// Whom it counts and how many, e.g. `2 people of `sre``.
        wants: String,
        /// Who has.
        approvers: Vec<String>,
    },
    /// An approval was signed by a key that the trust policy does not list.
    #[error("the approval is signed by the key `{fingerprint}`, which the trust policy does not list")]
    UnknownApprover {
        /// The key.
        fingerprint: String,
    },
    /// An approval was signed by somebody who has no right to approve.
    #[error("{who} may not approve")]
    MayNotApprove {
        /// Who signed it.
        who: String,
    },
    /// Somebody else has to say what becomes of what a run left.
    #[error("{who} may not resolve what the run left: {why}")]
    MayNotResolve {
        /// Who signed it.
        who: String,
        /// Why not.
        why: String,
    },
    /// An approval by break-glass does not count.
    #[error(transparent)]
    BreakGlass(#[from] BreakGlassRefusal),
    /// Somebody else has to review a broken glass.
    #[error("{who} may not close the review of the broken glass: {why}")]
    MayNotCloseReview {
        /// Who signed it.
        who: String,
        /// Why not.
        why: String,
    },
    /// An approval was signed by the proposer, or by who answers for it.
    #[error("the approval by {approver} does not count: {why}")]
    OwnProposal {
        /// Who signed it.
        approver: String,
        /// How they are the proposer.
        why: String,
    },

    /// The manifest is another kind of statement.
    #[error("the approval's `{field}` is `{found}`, expected `{expected}`")]
    OtherStatement {
        /// Which field.
        field: &'static str,
        /// What it is.
        found: String,
        /// What it must be.
        expected: &'static str,
    },
    /// The manifest's subjects are not the steps.
    #[error("the approval is not for these steps: {why}")]
    OtherSubjects {
        /// What differs.
        why: String,
    },
    /// A term differs from what was proposed.
    #[error("the approval's {term} is not what was proposed")]
    OtherTerm {
        /// Which one.
        term: &'static str,
    },
    /// The manifest does not list the target.
    #[error("the approval is not for the target `{target}`")]
    TargetNotApproved {
        /// The target.
        target: String,
    },
    /// A target of the manifest is not as it was proposed.
    #[error("the approval's {what} for `{target}` is not what was proposed")]
    TargetDiffers {
        /// The target.
        target: String,
        /// What differs.
        what: &'static str,
    },
    /// A grant of the manifest goes beyond what was proposed.
    #[error("the approval grants more than was proposed: {0}")]
    Grants(GrantMismatch),
    /// The manifest was made under another trust policy.
    #[error(
        "the approval was given under the trust policy `{approved}`, and `{current}` is in force, which does not follow it"
    )]
    OtherPolicy {
        /// The one it names.
        approved: Digest,
        /// The one in force.
        current: Digest,
    },
    /// It may not run yet.
    #[error("the approval is valid from {} on, and it is {}", time(*.from), time(*.now))]
    NotYetValid {
        /// From when on, in milliseconds since 1970-01-01 UTC.
        from: u64,
        /// The time.
        now: u64,
    },
    /// It may no longer run.
    #[error("the approval expired at {}, and it is {}", time(*.at), time(*.now))]
    Expired {
        /// When, in milliseconds since 1970-01-01 UTC.
        at: u64,
        /// The time.
        now: u64,
    },
    /// It is valid for longer than the trust policy allows.
    #[error("the approval is valid for {}, and the trust policy allows {}", length(*.length_ms), length(*.limit_ms))]
    ValidTooLong {
        /// For how long, in milliseconds.
        length_ms: u64,
        /// For how long it may be.
        limit_ms: u64,
    },
    /// It begins after the proposal could no longer be approved.
    #[error("the approval begins at {}, and the proposal expired at {}", time(*.from), time(*.expired))]
    ProposalExpired {
        /// When the approval begins, in milliseconds since 1970-01-01 UTC.
        from: u64,
        /// When the proposal expired.
        expired: u64,
    },
    /// It is good for no run, or for more than the trust policy allows.
    #[error("the approval is for {uses} runs, and the trust policy allows 1 to {limit}")]
    UsesNotAllowed {
        /// How many.
        uses: u32,
        /// How many it may be.
        limit: u32,
    },
    /// It was used as often as it was good for.
    #[error("the approval is used up: {spent} of {uses} runs")]
    UsedUp {
        /// How many it was good for.
        uses: u32,
        /// How many there were.
        spent: u32,
    },
    /// Mode `scoped` is not allowed.
    #[error("the approval is in mode `scoped`, which the trust policy does not allow")]
    ScopedNotAllowed,
    /// Its signer proposed the run, or answers for who did.
    #[error("{who} has no say in whether this run stays: {why}")]
    OwnRun {
        /// The signer.
        who: String,
        /// How the run is theirs.
        why: String,
    },
    /// Its signer may not approve, and so not confirm.
    #[error("{who} may not confirm a run, or have it rolled back while it waits")]
    MayNotConfirm {
        /// The signer.
        who: String,
    },
    /// A run was ordered by somebody who does not start it.
    #[error("{who} may not start this run: {why}")]
    MayNotRun {
        /// Who signed the order.
        who: String,
        /// Why not.
        why: String,
    },
    /// A run was ordered without a signature, where the trust policy wants one.
    #[error("nobody signed for this run, and the trust policy wants somebody to: `signed` under `[runs]`")]
    RunNotSigned,
    /// An order is of another run.
    #[error("the order is of another {what}: it names `{found}`, and this is `{expected}`")]
    OtherOrder {
        /// What differs.
        what: &'static str,
        /// What the order names.
        found: String,
        /// What it is to be of.
        expected: String,
    },
    /// A confirmation is of another run, or of another use of it.
    #[error("the confirmation is of another {what}: it names `{found}`, and this is `{expected}`")]
    OtherRun {
        /// What differs.
        what: &'static str,
        /// What the confirmation names.
        found: String,
        /// What it is to be of.
        expected: String,
    },
}

fn or_none(digest: Option<&Digest>) -> String {
    digest.map_or_else(|| "missing".to_owned(), |digest| format!("`{digest}`"))
}

fn names(names: &[String]) -> String {
    if names.is_empty() { "nobody".to_owned() } else { names.join(", ") }
}
