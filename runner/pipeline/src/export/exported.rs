use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::sync::Arc;

use countersign_capability::{Blobs, Registry, Stream};
use countersign_model::documents::{
    DOCUMENT_VERSION, ProposalRun, StandingDocument, TargetStanding, UndoStanding, namespace,
};
use countersign_model::text::excerpt;
use countersign_model::{Digest, Evidence, Fault, FaultKind, Grant, Image};
use countersign_trust::{Policy, Proposal, PublicKey, Signatory, SignedApproval, SignedDenial};

use super::container::{self, Entries, damaged};
use super::contents::Contents;
use super::{Unshown, name, put_paper, runner_line, shown_images};
use crate::approve::{ApprovalTerms, acceptable, deniable, signer};
use crate::desk::Desk;
use crate::error::PipelineError;
use crate::review::{Provenance, Review};
use crate::runner::Clock;
use crate::signed::verified;
use crate::stored::{GivenRehearsal, Stored};
use crate::withhold::Since;

/// What a reviewer knows from somewhere else, for the file to be compared with.
#[derive(Clone, Debug, Default)]
pub struct Pins {
    /// Fingerprints of runners, one of which must have exported the file; none for any.
    pub runners: Vec<String>,
    /// The trust policy that must be in force; none for any.
    pub policy: Option<Digest>,
}

/// An exported proposal, opened, and everything in it verified as far as that can be done away from the host: all
/// hangs together by digests and signatures, under the runner's key and the trust policy that the file itself names.
pub struct Exported {
    entries: Entries,
    runner: PublicKey,
    policy: Policy,
    provenance: Provenance,
    standing: StandingDocument,
    stored: Stored,
    papers: Papers,
    registry: Arc<Registry>,
    clock: Clock,
}

/// What belongs to the proposal beside its documents.
struct Papers {
    evidence: BTreeMap<String, (Evidence, Digest)>,
    images: BTreeMap<Digest, Arc<[u8]>>,
    approvals: Vec<SignedApproval>,
    denials: Vec<SignedDenial>,
}

impl Exported {
    /// Whether the bytes say that they are an exported proposal; nothing is verified.
    #[must_use]
    pub fn recognizes(bytes: &[u8]) -> bool {
        container::recognizes(bytes)
    }

    /// Opens a file that may say anything.
    ///
    /// # Errors
    /// When it is not exactly what `countersign export` writes, anything in it does not verify, belongs to something
    /// else or is missing, or it is not of a runner and under a policy that the reviewer named.
    pub fn open(bytes: &[u8], registry: Arc<Registry>, clock: Clock, pins: &Pins) -> Result<Self, PipelineError> {
        let entries = container::unpack(bytes)?;
        let mut contents = Contents::new(entries.clone());

        let line = contents.text(name::RUNNER)?;
        let runner = PublicKey::from_openssh(&line).map_err(|error| damaged(format!("the runner's key: {error}")))?;
        if line != runner_line(&runner) {
            return Err(damaged("the runner's key is not as it is written"));
        }
        let policy = Policy::parse(&contents.take(name::POLICY)?)
            .map_err(|error| damaged(format!("the trust policy: {error}")))?;
        let provenance = pinned(&runner, &policy, pins)?;

        let (bytes, signature) = contents.signed(name::STANDING)?;
        let standing: StandingDocument =
            verified("how the targets stand", namespace::STANDING, &bytes, &signature, runner.fingerprint())?;
        let provenance = Provenance { at: standing.at, ..provenance };
        if standing.version != DOCUMENT_VERSION || standing.policy != policy.digest() {
            return Err(damaged("how the targets stand was signed under another trust policy"));
        }

        let (bytes, signature) = contents.signed(name::PROPOSAL)?;
        let proposal = Proposal::verify(&bytes, &signature, &policy).map_err(|refusal| {
            PipelineError::refused(refusal.to_string()).with_hint(refusal.hint(crate::propose::PROPOSE))
        })?;
        let document = proposal.document();
        if proposal.digest() != standing.proposal {
            return Err(damaged("how the targets stand was signed for another proposal"));
        }
        let (proposed, stand): (Vec<_>, Vec<_>) = (
            document.targets.iter().map(|target| &target.name).collect(),
            standing.targets.iter().map(|target| &target.name).collect(),
        );
        if proposed != stand || document.targets.iter().any(|target| target.runner != runner.fingerprint()) {
            return Err(damaged("its targets are not those of the runner that signed how they stand"));
        }

        let bundle = contents.bundle(&document.bundle)?;
        crate::link::admit(&registry, &bundle, &document.grants, crate::link::roles(document))?;
        let stored = Stored::assemble(proposal, bundle, |target| {
            let shown = standing.targets.iter().find(|standing| standing.name == target.name);
            match shown.and_then(|standing| standing.shown.clone()) {
                Some(shown) => Ok(GivenRehearsal::Shown(shown)),
                None => contents.rehearsal(&target.rehearsal, &runner).map(GivenRehearsal::Whole),
            }
        })?;
        let papers = Papers {
            evidence: contents.evidence(&stored, &runner)?,
            images: contents.images()?,
            approvals: contents.approvals()?,
            denials: contents.denials()?,
        };
        contents.end()?;
        super::names::plain(&standing, &stored)?;
        let policy = policy.following(standing.earlier_policies.iter().copied().collect());
        let exported = Self { entries, runner, policy, provenance, standing, stored, papers, registry, clock };
        exported.hangs_together()?;
        Ok(exported)
    }

    /// What is left to verify when everything is read.
    fn hangs_together(&self) -> Result<(), PipelineError> {
        let shown = shown_images(self, &self.stored).map_err(|unshown| match unshown {
            Unshown::Image(error) => damaged(error),
            Unshown::Plan(error) => error,
        })?;
        if let Some(stranger) = self.papers.images.keys().find(|digest| !shown.contains_key(digest)) {
            return Err(damaged(format!("no change is shown by the image `{stranger}`")));
        }
        for approval in &self.papers.approvals {
            for signature in &approval.signatures {
                // One that is void by now is shown as such.
                signer(self, &self.stored, &approval.manifest, signature)?;
            }
        }
        for denial in &self.papers.denials {
            deniable(self, &self.stored, denial)?;
        }
        Ok(())
    }

    /// The proposal with its bundle and its rehearsals.
    #[must_use]
    pub const fn stored(&self) -> &Stored {
        &self.stored
    }

    /// Fingerprint of the key that signed for the runner.
    #[must_use]
    pub fn runner(&self) -> &str {
        self.runner.fingerprint()
    }

    /// Whose runner and whose policy this is, as far as can be told.
    #[must_use]
    pub const fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    pub(crate) fn signed_approvals(&self) -> &[SignedApproval] {
        &self.papers.approvals
    }

    pub(crate) fn signed_denials(&self) -> &[SignedDenial] {
        &self.papers.denials
    }

    /// What the host's own review would have shown when it was exported.
    ///
    /// # Errors
    /// When a plan is too large to be shown.
    pub fn review(&self) -> Result<Review, PipelineError> {
        let review = crate::review::lay_out(self, &self.stored, &self.standing, &Since::default())?;
        Ok(Review { exported: Some(self.provenance.clone()), ..review })
    }

    /// Refuses to have anything signed while the reviewer has not named the runner: whoever made the file chose its key.
    ///
    /// # Errors
    /// That refusal.
    pub fn signable(&self) -> Result<(), PipelineError> {
        if self.provenance.runner_pinned {
            return Ok(());
        }
        let what = format!("which runner made this file is only its own word: {}", self.runner());
        Err(PipelineError::refused(what)
            .with_hint("nothing was signed; compare it with what the operator told you and name it with `--runner`"))
    }

    /// What whoever signs ought to know of the targets, as they stood when it was exported.
    #[must_use]
    pub fn cautions(&self) -> Vec<String> {
        let mut cautions = Vec::new();
        for TargetStanding { name, found, .. } in &self.standing.targets {
            crate::cautions::of(&mut cautions, name, found.blocked.is_some(), found.guards.is_empty(), &found.drift);
        }
        cautions
    }

    /// Writes the approval manifest that the approver signs, by the rules of the host.
    ///
    /// # Errors
    /// As [`draft_approval`](crate::draft_approval).
    pub fn draft_approval(&self, terms: &ApprovalTerms<'_>) -> Result<Vec<u8>, PipelineError> {
        self.signable()?;
        let targets = self.standing.targets.iter().map(|target| (target.name.clone(), target.configured.clone()));
        crate::approve::draft(self, &self.stored, &targets.collect::<Vec<_>>(), terms)
    }

    /// Verifies a signature on a manifest as the host would and adds both; gives who approved, and the file with it.
    ///
    /// # Errors
    /// As [`keep_approval`](crate::keep_approval), or when there are too many approvals.
    pub fn add_approval(&self, manifest: &[u8], signature: &str) -> Result<(String, Self), PipelineError> {
        self.signable()?;
        let now = crate::approve::open(self, &self.stored)?;
        let approver = acceptable(self, &self.stored, manifest, signature.as_bytes())?;
        crate::approve::unexpired(&self.stored.proposal, manifest, now)?;
        crate::given::once(self, &self.stored, manifest, &approver, "nothing was kept")?;
        let added = self.with_paper(name::APPROVALS, manifest, signature.as_bytes())?;
        Ok((approver.name().to_owned(), added))
    }

    /// Signs and adds a denial, which ends the proposal once it is imported; gives who denied, and the file with it.
    ///
    /// # Errors
    /// When the key's owner may not deny, or the reason is empty or too long.
    pub fn deny(&self, signatory: &dyn Signatory, reason: &str) -> Result<(String, Self), PipelineError> {
        self.signable()?;
        let denial = crate::approve::denial(self, &self.stored, signatory, reason)?;
        let denier = deniable(self, &self.stored, &denial)?;
        let added = self.with_paper(name::DENIALS, &denial.document, &denial.signature)?;
        Ok((denier.name().to_owned(), added))
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// When they are too large.
    pub fn to_bytes(&self) -> Result<Vec<u8>, PipelineError> {
        container::pack(&self.entries)
    }

    /// The file with one more signature, verified again as whoever opens it next will.
    fn with_paper(&self, folder: &str, document: &[u8], signature: &[u8]) -> Result<Self, PipelineError> {
        let mut entries = self.entries.clone();
        put_paper(&mut entries, folder, document, &[signature.to_vec()]);
        let packed = container::pack(&entries)?;
        let pins = Pins {
            runners: self.provenance.runner_pinned.then(|| self.runner().to_owned()).into_iter().collect(),
            policy: self.provenance.policy_pinned.then(|| self.policy.digest()),
        };
        Self::open(&packed, Arc::clone(&self.registry), self.clock, &pins)
    }
}

/// Compares what the file claims with what the reviewer knows.
fn pinned(runner: &PublicKey, policy: &Policy, pins: &Pins) -> Result<Provenance, PipelineError> {
    let other = |what: &str, found: &str, named: &str| {
        PipelineError::refused(format!("the {what} of the exported proposal is `{found}`, and you named `{named}`"))
            .with_hint("nothing was signed; ask whoever sent the file where it comes from")
    };
    if !pins.runners.is_empty() && !pins.runners.iter().any(|known| known == runner.fingerprint()) {
        return Err(other("runner", runner.fingerprint(), &pins.runners.join("`, `")));
    }
    if let Some(named) = pins.policy.filter(|named| *named != policy.digest()) {
        return Err(other("trust policy", &policy.digest().to_string(), &named.to_string()));
    }
    Ok(Provenance {
        runner: runner.fingerprint().to_owned(),
        runner_pinned: !pins.runners.is_empty(),
        policy: policy.digest(),
        policy_pinned: pins.policy.is_some(),
        at: 0,
    })
}

impl Desk for Exported {
    fn registry(&self) -> &Registry {
        &self.registry
    }

    fn policy(&self) -> &Policy {
        &self.policy
    }

    fn decisive(&self) -> Result<u64, PipelineError> {
        Ok((self.clock)())
    }

    fn images(&self) -> Box<dyn Blobs + '_> {
        Box::new(Images(&self.papers.images))
    }

    fn evidence(&self, id: &str) -> Result<(Evidence, Digest), PipelineError> {
        let record = self.papers.evidence.get(id).cloned();
        record.ok_or_else(|| damaged(format!("the evidence `{}` is missing", excerpt(id, 80))))
    }

    fn approvals(&self, _: &Digest) -> Result<Vec<SignedApproval>, PipelineError> {
        Ok(self.papers.approvals.clone())
    }

    fn denials(&self, _: &Digest) -> Result<Vec<SignedDenial>, PipelineError> {
        Ok(self.papers.denials.clone())
    }

    fn runs(&self, _: &Digest) -> Result<Vec<ProposalRun>, PipelineError> {
        Ok(self.standing.runs.clone())
    }

    fn stands(&self, _: &Stored) -> Result<(), PipelineError> {
        if let Some(by) = &self.standing.superseded_by {
            return Err(crate::order::superseded(by));
        }
        match &self.standing.undoes {
            Some(UndoStanding { run, undone_by: Some(by), .. }) => Err(crate::undo::undone(run, by)),
            _ => Ok(()),
        }
    }

    /// What is the runner's own cannot be known here. A narrower grant reaches no further than the one that was asked
    /// for, which the host compared with it, and compares again.
    fn normalize(&self, grant: &Grant) -> Result<Grant, String> {
        let capability = self.registry.get(&grant.capability).map_err(|fault| fault.what)?;
        capability.normalize(grant).map_err(|fault| fault.what)
    }
}

/// The images that the file carries; nothing is added to them.
struct Images<'a>(&'a BTreeMap<Digest, Arc<[u8]>>);

impl Images<'_> {
    fn find(&self, digest: &Digest) -> Result<Arc<[u8]>, Fault> {
        let found = self.0.get(digest).map(Arc::clone);
        found.ok_or_else(|| Fault::new(FaultKind::NotFound, format!("the image `{digest}` is missing")))
    }
}

impl Blobs for Images<'_> {
    fn put(&mut self, _: &[u8]) -> Result<Digest, Fault> {
        Err(Fault::new(FaultKind::Denied, "an exported proposal takes no images"))
    }

    fn get(&mut self, digest: &Digest) -> Result<Vec<u8>, Fault> {
        Ok(self.find(digest)?.to_vec())
    }

    fn put_from(&mut self, _: u64, _: &mut dyn Read) -> Result<Image, Fault> {
        Err(Fault::new(FaultKind::Denied, "an exported proposal takes no images"))
    }

    fn open(&mut self, digest: &Digest) -> Result<Box<dyn Stream>, Fault> {
        Ok(Box::new(Cursor::new(self.find(digest)?)))
    }
}
