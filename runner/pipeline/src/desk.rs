use countersign_capability::{Blobs, Registry};
use countersign_model::documents::ProposalRun;
use countersign_model::{Digest, Evidence, Grant};
use countersign_trust::{Policy, SignedApproval, SignedDenial};

use crate::error::PipelineError;
use crate::stored::Stored;

/// Where a proposal is reviewed and signed: the runner's own host, or, away from it, an exported file. What
/// is shown and signed is made by the same code at either; nothing here looks at a target.
pub trait Desk {
    /// The capabilities of this binary.
    fn registry(&self) -> &Registry;

    /// The trust policy in force.
    fn policy(&self) -> &Policy;

    /// The time to decide by, in milliseconds since 1970-01-01 UTC.
    ///
    /// # Errors
    /// When the clock cannot be believed.
    fn decisive(&self) -> Result<u64, PipelineError>;

    /// The images behind the diffs.
    fn images(&self) -> Box<dyn Blobs + '_>;

    /// A recorded read, the runner's signature on it verified, and the digest of its signed bytes.
    ///
    /// # Errors
    /// When it is not there, or does not verify.
    fn evidence(&self, id: &str) -> Result<(Evidence, Digest), PipelineError>;

    /// Every approval of a proposal; nothing of them is verified yet.
    ///
    /// # Errors
    /// When they cannot be read, or one was changed.
    fn approvals(&self, proposal: &Digest) -> Result<Vec<SignedApproval>, PipelineError>;

    /// Every denial of a proposal, each verified before it was kept.
    ///
    /// # Errors
    /// When they cannot be read.
    fn denials(&self, proposal: &Digest) -> Result<Vec<SignedDenial>, PipelineError>;

    /// The runs of a proposal that began, oldest first.
    ///
    /// # Errors
    /// When they cannot be read.
    fn runs(&self, proposal: &Digest) -> Result<Vec<ProposalRun>, PipelineError>;

    /// A grant as its capability prints it, refused where it makes no sense or could reach what is the runner's own.
    ///
    /// # Errors
    /// A sentence fragment.
    fn normalize(&self, grant: &Grant) -> Result<Grant, String>;

    /// Refuses a proposal whose place another took, or which would undo what is undone already.
    ///
    /// # Errors
    /// That refusal, or when it cannot be told.
    fn stands(&self, stored: &Stored) -> Result<(), PipelineError>;

    /// Why a proposal can no longer be approved or run, for a denial of it that was kept; `None` where there is none.
    ///
    /// # Errors
    /// When the denials cannot be read.
    fn denial_reason(&self, proposal: &Digest) -> Result<Option<String>, PipelineError> {
        Ok(match countersign_trust::denied(&self.denials(proposal)?, *proposal, self.policy()) {
            Ok(denied) => denied.map(|denied| format!("{}: {}", denied.by, denied.reason)),
            Err(damaged) => Some(damaged.to_string()),
        })
    }
}
