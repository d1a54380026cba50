//! A proposal on its way to people who are not on the runner's host, and back.
//!
//! | file | holds |
//! |---|---|
//! | `container.rs` | the file's outer form, strictly |
//! | `contents.rs` | what stands in it |
//! | `exported.rs` | the file opened and verified: a desk to review and sign at, away from the host |
//! | `names.rs` | names, which say no more than they seem to |
//! | `import.rs` | what people signed, taken back by the runner |

mod container;
mod contents;
mod exported;
mod import;
mod names;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Cursor, Read};
use std::sync::Arc;

use countersign_capability::{Blobs, Stream};
use countersign_model::documents::namespace;
use countersign_model::{Digest, Fault, Image};

use crate::approve::{deniable, signer};
use crate::desk::Desk;
use crate::error::PipelineError;
use crate::runner::Runner;
use crate::stored::Stored;
use crate::target::Target;
use crate::withhold::Since;

use container::Entries;

pub use container::MAX_EXPORT;
pub use exported::{Exported, Pins};
pub use import::{Imported, ImportedPaper, NotKept, import};

/// The most bytes of images that a file carries.
const MAX_IMAGES: usize = 64 * 1024 * 1024;

/// Where each thing stands in an exported proposal.
mod name {
    use countersign_model::Digest;

    pub(super) const PROPOSAL: &str = "proposal.json";
    pub(super) const STANDING: &str = "standing.json";
    pub(super) const POLICY: &str = "trust-policy.toml";
    pub(super) const RUNNER: &str = "runner.pub";
    pub(super) const BUNDLE: &str = "bundle/";
    pub(super) const IMAGES: &str = "images/";
    pub(super) const APPROVALS: &str = "approvals/";
    pub(super) const DENIALS: &str = "denials/";

    pub(super) fn rehearsal(digest: &Digest) -> String {
        format!("rehearsals/{}.json", digest.hex())
    }

    pub(super) fn evidence(digest: &Digest) -> String {
        format!("evidence/{}.json", digest.hex())
    }

    /// The one signature on a document of the runner or the proposer.
    pub(super) fn signature(document: &str) -> String {
        format!("{document}.sig")
    }

    /// A paper that people sign.
    pub(super) fn paper(folder: &str, digest: &Digest) -> String {
        format!("{folder}{}.json", digest.hex())
    }

    /// A signature on such a paper; the first has the number 1.
    pub(super) fn numbered(folder: &str, digest: &Digest, number: usize) -> String {
        format!("{folder}{}.{number}.sig", digest.hex())
    }
}

/// Looks at the targets as they stand now, signs what was found, and packs it with everything that a reviewer needs
/// and can verify without the state. Changes nothing. `configured` are all targets.
///
/// # Errors
/// When anything does not verify, something is sensitive by now and was not withheld when it was recorded, a plan is too large to be shown, or all of it is too large to be exported.
pub fn export(
    runner: &Runner,
    stored: &Stored,
    targets: &[(&str, &Target)],
    configured: &BTreeMap<String, Target>,
) -> Result<Vec<u8>, PipelineError> {
    let policy = Desk::policy(runner);
    if !runner.has_newest_policy()? {
        return Err(PipelineError::refused("another trust policy was installed meanwhile")
            .with_hint("nothing was written; export it again"));
    }
    for rehearsal in stored.rehearsals() {
        crate::shown::showable(runner, rehearsal)?;
    }
    Since::of(runner, targets)?.nothing(runner, stored)?;
    let mut standing = crate::standing::look(runner, stored, targets, configured)?;
    for target in &mut standing.targets {
        target.shown = crate::withhold::rehearsal(stored.rehearsal(&target.name)?);
    }
    let whole: BTreeSet<String> =
        standing.targets.iter().filter(|target| target.shown.is_none()).map(|target| target.name.clone()).collect();
    let standing = serde_json::to_vec(&standing).map_err(|error| PipelineError::failed(error.to_string()))?;
    let signature = runner.sign(namespace::STANDING, &standing)?;

    let mut entries = Entries::new();
    let mut put = |name: &str, bytes: &[u8]| entries.insert(name.to_owned(), bytes.into());
    put(name::STANDING, &standing);
    put(&name::signature(name::STANDING), signature.as_bytes());
    put(name::POLICY, policy.source());
    put(name::RUNNER, runner_line(runner.key().public_key()).as_bytes());
    let (document, signature) = runner.signed_proposal(&stored.proposal.digest())?;
    put(name::PROPOSAL, &document);
    put(&name::signature(name::PROPOSAL), signature.as_bytes());
    for target in stored.proposal.document().targets.iter().filter(|target| whole.contains(&target.name)) {
        let (document, signature) = runner.signed_rehearsal(&target.rehearsal)?;
        put(&name::rehearsal(&target.rehearsal), &document);
        put(&name::signature(&name::rehearsal(&target.rehearsal)), signature.as_bytes());
    }
    for reference in stored.evidence() {
        let (record, signature) = runner.signed_evidence(&reference.id)?;
        put(&name::evidence(&reference.digest), &record);
        put(&name::signature(&name::evidence(&reference.digest)), signature.as_bytes());
    }
    for (digest, bytes) in shown_images(runner, stored)? {
        put(&format!("{}{}", name::IMAGES, digest.hex()), &bytes);
    }
    for (path, bytes) in stored.bundle.files() {
        put(&format!("{}{path}", name::BUNDLE), &bytes);
    }
    // One that does not count here would refuse the file to everybody, and says nothing to them.
    for mut approval in runner.approvals(&stored.proposal.digest())? {
        approval.signatures.retain(|signature| signer(runner, stored, &approval.manifest, signature).is_ok());
        if !approval.signatures.is_empty() {
            put_paper(&mut entries, name::APPROVALS, &approval.manifest, &approval.signatures);
        }
    }
    for denial in runner.denials(&stored.proposal.digest())? {
        // Whoever opens the file has only today's policy to verify it by.
        match deniable(runner, stored, &denial) {
            Ok(_) => put_paper(&mut entries, name::DENIALS, &denial.document, &[denial.signature]),
            Err(_) => crate::approve::undenied(runner, stored)?,
        }
    }
    let packed = container::pack(&entries)?;
    // What could not be opened again is not given to anybody.
    Exported::open(&packed, runner.shared_registry(), runner.clock(), &Pins::default())?;
    Ok(packed)
}

/// The line of a runner's key.
fn runner_line(key: &countersign_trust::PublicKey) -> String {
    format!("{}\n", key.to_openssh())
}

/// Adds a paper with its signatures, after those that it has already.
fn put_paper(entries: &mut Entries, folder: &str, document: &[u8], signatures: &[Vec<u8>]) {
    let digest = Digest::of(document);
    entries.insert(name::paper(folder, &digest), document.into());
    let mut number = 0;
    for signature in signatures {
        // Ends: there are finitely many entries.
        let name = loop {
            number += 1;
            let name = name::numbered(folder, &digest, number);
            match entries.get(&name) {
                Some(known) if **known == **signature => break None,
                Some(_) => {}
                None => break Some(name),
            }
        };
        if let Some(name) = name {
            entries.insert(name, signature.as_slice().into());
        }
    }
}

/// The images that the diffs of a proposal are made of, and no others: what a review does not read is not carried.
fn shown_images(desk: &dyn Desk, stored: &Stored) -> Result<BTreeMap<Digest, Arc<[u8]>>, Unshown> {
    let mut images = Recording { images: desk.images(), read: BTreeMap::new(), bytes: 0, missing: false };
    for rehearsal in stored.rehearsals() {
        for planned in rehearsal.plan.changes() {
            if let Err(error) = crate::shown::change(&mut images, planned.role, planned.change) {
                return Err(if images.missing { Unshown::Image(error) } else { Unshown::Plan(error) });
            }
            if images.bytes > MAX_IMAGES {
                let what =
                    format!("the proposal is too large to be exported: what it changes has over {MAX_IMAGES} bytes");
                let error = PipelineError::refused(what).with_hint("review and approve it on the host");
                return Err(Unshown::Plan(error));
            }
        }
    }
    Ok(images.read)
}

/// Why a change cannot be shown.
enum Unshown {
    /// An image of it cannot be had.
    Image(PipelineError),
    /// The change itself, or all of them, is too much.
    Plan(PipelineError),
}

impl From<Unshown> for PipelineError {
    fn from(unshown: Unshown) -> Self {
        match unshown {
            Unshown::Image(error) | Unshown::Plan(error) => error,
        }
    }
}

/// Images, with those that were asked for.
struct Recording<'a> {
    /// Whether one could not be had.
    missing: bool,
    images: Box<dyn Blobs + 'a>,
    read: BTreeMap<Digest, Arc<[u8]>>,
    bytes: usize,
}

impl Blobs for Recording<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<Digest, Fault> {
        self.images.put(bytes)
    }

    fn get(&mut self, digest: &Digest) -> Result<Vec<u8>, Fault> {
        let bytes = self.images.get(digest).inspect_err(|_| self.missing = true)?;
        if self.read.insert(*digest, bytes.as_slice().into()).is_none() {
            self.bytes = self.bytes.saturating_add(bytes.len());
        }
        Ok(bytes)
    }

    fn put_from(&mut self, size: u64, from: &mut dyn Read) -> Result<Image, Fault> {
        self.images.put_from(size, from)
    }

    /// All of it: what is carried is carried whole.
    fn open(&mut self, digest: &Digest) -> Result<Box<dyn Stream>, Fault> {
        Ok(Box::new(Cursor::new(self.get(digest)?)))
    }
}
