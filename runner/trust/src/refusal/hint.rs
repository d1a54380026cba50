//! What to do next where something was refused.

use super::{Refusal, Signed};
use crate::sshsig::SignatureError;

impl Refusal {
    /// Whether another approval, or the time until one is valid, could still allow the run. Otherwise the proposal is
    /// over, or what would run is not what was proposed.
    #[must_use]
    pub const fn awaits_approval(&self) -> bool {
        match self {
            Self::NotApproved { .. }
            | Self::MayNotApproveThis { .. }
            | Self::AboveCeiling { .. }
            | Self::QuorumNotReached { .. }
            | Self::SignedApart { .. }
            | Self::NotUnattended { .. }
            | Self::BreakGlass(_)
            | Self::UnknownApprover { .. }
            | Self::MayNotApprove { .. }
            | Self::OwnProposal { .. }
            | Self::OtherStatement { .. }
            | Self::OtherSubjects { .. }
            | Self::OtherTerm { .. }
            | Self::TargetNotApproved { .. }
            | Self::TargetDiffers { .. }
            | Self::Grants(_)
            | Self::OtherPolicy { .. }
            | Self::NotYetValid { .. }
            | Self::Expired { .. }
            | Self::TooLate { .. }
            | Self::ValidTooLong { .. }
            | Self::ProposalExpired { .. }
            | Self::UsesNotAllowed { .. }
            | Self::UsedUp { .. }
            | Self::ScopedNotAllowed => true,
            Self::Signature { on, .. }
            | Self::Unmet { on, .. }
            | Self::Unreadable { on, .. }
            | Self::Version { on, .. }
            | Self::Senseless { on, .. }
            | Self::OtherProposal { on, .. } => matches!(on, Signed::Approval),
            _ => false,
        }
    }

    /// What to do next, in one line. `again` is the command, in backticks, that rehearses and proposes the same again.
    #[must_use]
    pub fn hint(&self, again: &str) -> String {
        let fixed = match self {
            Self::Signature { error, .. } => match error {
                SignatureError::NotASignature(_) => {
                    "give the file that `ssh-keygen -Y sign` or `countersign` wrote, whole and nothing else"
                }
                SignatureError::WrongNamespace { .. } => {
                    "sign again with `ssh-keygen -Y sign -n` and the namespace that is expected"
                }
                SignatureError::UnsupportedAlgorithm(_) | SignatureError::WeakKey => {
                    "sign with an ssh-ed25519 key, or one in hardware: `ssh-keygen -t ed25519` and `-t ed25519-sk` make one"
                }
                SignatureError::NotARunners(_) => "get the document again from the runner that signed it",
                SignatureError::ClientData(_) => {
                    "sign again at an origin that the trust policy lists, in a browser that keeps to the standard"
                }
                SignatureError::WrongSignature { .. } => {
                    "the document or its signature was changed: get both again from who signed them"
                }
                SignatureError::CannotSign(_) => "name a namespace",
                SignatureError::NotMade(_) => "nothing was signed; sign again",
            },
            Self::Unmet { unmet, .. } => return unmet.hint(),
            Self::Unreadable { .. } | Self::Version { .. } | Self::Senseless { .. } => {
                "make the document again with this version of `countersign`"
            }
            Self::TooMany { .. } => "remove what is not needed and try again",
            Self::OtherProposer { .. } => "propose again with `countersign propose --key` and the proposer's own key",
            Self::MayNotPropose { .. } => {
                "list the key in the trust policy, under [[agents]] or with may = [\"propose\"], or let a rule name `unlisted`"
            }
            Self::NoRule { .. } => {
                "nothing changed; ask for less, or have a rule of the trust policy take it in: `countersign trust show` lists \
                 them, `countersign trust propose` makes the next version"
            }
            Self::Revoked { .. } => {
                "nothing changed; a revocation ends with a trust policy that does not list it: `countersign trust show`"
            }
            Self::PolicyExpired { .. } => {
                "nothing changed; propose a trust policy with a later `expires` and a higher serial, have it signed and install \
                 it: `countersign trust propose`"
            }
            Self::Frozen { .. } => {
                "nothing changed and no use is spent; run it then, or lift the freeze by a new trust policy"
            }
            Self::AboveCeiling { .. } => "approve it again with narrower grants; no approval can exceed the ceiling",
            Self::MayNotApproveThis { .. } => {
                "have it approved by somebody of the groups that these rules name: `countersign trust show` lists them"
            }
            Self::NotThisRunner { .. } | Self::OtherRunner { .. } => {
                "run it on the runner that it is meant for, or propose it again on this one"
            }
            Self::NewerPolicy => "nothing changed; try again: it decides anew",
            Self::BundleChanged { .. } | Self::StepChanged { .. } | Self::ArgumentsChanged => {
                "put back what was proposed, or propose the change again and have it approved"
            }
            Self::TargetNotProposed { .. } => "run it on a target that it was proposed for, or propose it for this one",
            Self::ConfigurationChanged { .. } | Self::PlanChanged { .. } => {
                return format!(
                    "the target is no longer what was proposed for: rehearse it again with {again}, and have that approved"
                );
            }
            Self::Denied { .. } => "talk to who denied it; a changed proposal can be made and reviewed anew",
            Self::DamagedDenial { .. } => {
                "the state is damaged: restore it from a backup, or propose the change again and have that reviewed"
            }
            Self::MayNotDeny { .. } | Self::UnknownApprover { .. } | Self::MayNotApprove { .. } => {
                "have it signed by somebody the trust policy lists with may = [\"approve\"], or change the policy"
            }
            Self::MayNotPause { .. } => {
                "nothing changed; use the key of somebody the trust policy lists as a person with may = [\"operate\"] or [\"approve\"]"
            }
            Self::OtherProposal { .. } => "use the document that belongs to this proposal",
            Self::NotApproved { .. } => "an approver runs `countersign review`, then `countersign approve`",
            Self::SignedApart { .. } => {
                "of each term the stricter one counts: `countersign review` lists the approvals; sign one as it stands with `countersign approve PROPOSAL --cosign APPROVAL`, or let those that do not fit expire"
            }
            Self::NotUnattended { .. } => {
                "an approver runs `countersign review`, then `countersign approve`; `countersign trust explain` tells what a standing approval lacks"
            }
            Self::NothingUnattended => {
                "have the trust policy say how far standing approvals may reach, under [unattended], and a rule let it be run with may = [\"unattended\"]"
            }
            Self::BeyondUnattended { .. } => {
                "ask for less: `countersign trust show` tells what the trust policy allows, under [unattended]"
            }
            Self::OutsideStanding { .. } => {
                "have this proposal approved by itself, or a standing approval signed for it"
            }
            Self::StandingEnded { .. } => {
                "look at that run; people who may approve renew it with `countersign standing approve`"
            }
            Self::StandingDenied { .. } => {
                "see why with `countersign review`; people who may approve renew it with `countersign standing approve`"
            }
            Self::TooFewCommitted { .. } => "have it approved and run with people looking on until then",
            Self::BudgetSpent { .. } => "wait, or have this proposal approved by itself",
            Self::ApprovalLost { .. } => "restore the state directory from a backup; what the run changed is put back",
            Self::QuorumNotReached { .. } => {
                "have more people review it and sign the same approval: `countersign review`, `countersign approve`"
            }
            Self::MayNotResolve { .. } => {
                "nothing changed; have it resolved by somebody whom the trust policy lists with may = [\"approve\"], and who \
                 neither proposed the run nor owns the agent that did"
            }
            Self::BreakGlass(refusal) => refusal.hint(),
            Self::MayNotCloseReview { .. } => {
                "nothing changed; have it closed by somebody whom the trust policy lists with may = [\"approve\"], and who neither \
                 broke the glass nor proposed it nor owns the agent that did"
            }
            Self::OwnProposal { .. } => "have it approved by somebody who did not propose it",
            Self::OtherStatement { .. }
            | Self::OtherSubjects { .. }
            | Self::OtherTerm { .. }
            | Self::TargetNotApproved { .. }
            | Self::TargetDiffers { .. } => "approve this proposal anew with `countersign approve`",
            Self::Grants(_) => "approve it again with grants that are the same as proposed, or narrower",
            Self::OtherPolicy { .. } => "approve it again under the trust policy that is in force",
            Self::NotYetValid { .. } => "wait until it is valid, or approve it again from now on",
            Self::Expired { .. } | Self::TooLate { .. } | Self::UsedUp { .. } => {
                "review and approve it again with `countersign approve`"
            }
            Self::ValidTooLong { .. } => "approve it again with a shorter `--expires`",
            Self::ProposalExpired { .. } => "propose it again: it must be approved before it expires",
            Self::UsesNotAllowed { .. } => "approve it again for as many runs as the trust policy allows",
            Self::ScopedNotAllowed => "propose it in mode `exact`, or allow `scoped` in the trust policy",
            Self::OwnRun { .. } => "ask somebody who neither proposed it nor answers for the agent that did",
            Self::MayNotConfirm { .. } => {
                "ask somebody the trust policy lists with may = [\"approve\"]; nothing changed"
            }
            Self::MayNotRun { .. } => {
                "nothing changed and no use is spent; have it started by a person whom the trust policy lists with \
                 may = [\"operate\"] or [\"approve\"], and who did not propose it"
            }
            Self::RunNotSigned => {
                "nothing changed and no use is spent; start it with `--key FILE`, or `--agent` for ssh-agent"
            }
            Self::OtherOrder { .. } => "start the run anew: an order is good for the one run that it was made for",
            Self::OtherRun { .. } => "confirm the run that waits, by its own name: `countersign runs` lists it",
        };
        fixed.to_owned()
    }
}
