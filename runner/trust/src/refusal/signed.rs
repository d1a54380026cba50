use std::fmt;

use countersign_model::documents::namespace;

/// What a signature is on, as messages name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signed {
    /// A proposal.
    Proposal,
    /// An approval manifest.
    Approval,
    /// A denial.
    Denial,
    /// A word on a pause.
    Pause,
    /// A rehearsal document.
    Rehearsal,
    /// An evidence record.
    Evidence,
    /// A document on how targets stood.
    Standing,
    /// A standing approval.
    StandingApproval,
    /// A person's word on what a run left.
    Resolution,
    /// A person's word on a run that waits for it.
    Confirmation,
    /// A person's word that closes the review of a broken glass.
    GlassReview,
    /// A person's word that a run begins.
    Run,
    /// Something in another namespace.
    Other,
}

impl Signed {
    pub(crate) fn in_namespace(name: &str) -> Self {
        match name {
            namespace::PROPOSAL => Self::Proposal,
            namespace::APPROVAL => Self::Approval,
            namespace::DENIAL => Self::Denial,
            namespace::PAUSE => Self::Pause,
            namespace::REHEARSAL => Self::Rehearsal,
            namespace::EVIDENCE => Self::Evidence,
            namespace::STANDING => Self::Standing,
            namespace::STANDING_APPROVAL => Self::StandingApproval,
            namespace::RESOLUTION => Self::Resolution,
            namespace::CONFIRMATION => Self::Confirmation,
            namespace::BREAK_GLASS_REVIEW => Self::GlassReview,
            namespace::RUN => Self::Run,
            _ => Self::Other,
        }
    }
}

impl fmt::Display for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Proposal => "proposal",
            Self::Approval => "approval",
            Self::Denial => "denial",
            Self::Pause => "pause",
            Self::Rehearsal => "rehearsal",
            Self::Evidence => "evidence",
            Self::Standing => "standing of the targets",
            Self::StandingApproval => "standing approval",
            Self::Resolution => "resolution",
            Self::Confirmation => "confirmation",
            Self::GlassReview => "word on the review of a broken glass",
            Self::Run => "order of the run",
            Self::Other => "document",
        })
    }
}
