//! What the audit log is told of decisions, and the key that signs it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use countersign_model::Digest;
use countersign_model::documents::{BreakGlassReviewDocument, namespace};
use countersign_proof::{Checkpoint, Directory, KeyKind, MAX_NOTE, ProofError, Source, Tree, VerifierKey};
use countersign_record::{CHECKPOINT, Entry, Lineage, LogKey, LoggedEntry, Published, WITNESSED};
use countersign_tlog::NoteSigner;
use countersign_trust::{Proposal, PublicKey, SigningKey};
use serde_json::Value;

use crate::error::PipelineError;
use crate::runner::{Clock, Runner};

/// How a log's origin begins, which is also the name of its key. What follows is the SHA-256 of the runner's public key in
/// SSH's wire format, in hexadecimal: what its fingerprint is in base64.
const ORIGIN: &str = "countersign.audit";

/// The runner's key as it signs the log. A checkpoint never passes for anything else that it signs, nor that for a checkpoint:
/// what is signed for SSH begins with `SSHSIG` and has bytes that no note has.
struct RunnerLogKey {
    key: Arc<SigningKey>,
    origin: String,
    clock: Clock,
}

impl NoteSigner for RunnerLogKey {
    fn name(&self) -> &str {
        &self.origin
    }

    fn public_key(&self) -> [u8; 32] {
        // A private key is of no other kind; no signature counts for the key that is none.
        self.key.public_key().ed25519().unwrap_or_default()
    }

    fn sign(&self, text: &[u8]) -> Result<[u8; 64], String> {
        self.key.sign_note(text).map_err(|error| error.to_string())
    }
}

impl LogKey for RunnerLogKey {
    fn now(&self) -> u64 {
        (self.clock)()
    }

    fn keyed_digest(&self, name: &str, content: &Digest) -> Digest {
        self.key.keyed_digest(name, content)
    }
}

/// The origin of the log that the runner of this public key signs.
#[must_use]
pub fn log_origin(key: &PublicKey) -> String {
    format!("{ORIGIN}/{}", Digest::of(&key.to_wire()).hex())
}

/// The key by which the log of this runner is verified.
///
/// # Errors
/// Where it is no key of the kind `ssh-ed25519`, which a runner's is.
pub fn log_verifier(key: &PublicKey) -> Result<VerifierKey, ProofError> {
    VerifierKey::new(&log_origin(key), KeyKind::Note, &key.ed25519().unwrap_or_default())
}

pub(crate) fn log_key(key: &Arc<SigningKey>, clock: Clock) -> Arc<dyn LogKey> {
    Arc::new(RunnerLogKey { key: Arc::clone(key), origin: log_origin(key.public_key()), clock })
}

/// A proposal was made.
pub(crate) fn proposed(proposal: &Proposal, lineage: Lineage<'_>) -> Entry {
    let document = proposal.document();
    Entry::new("proposal")
        .with("proposal", proposal.digest())
        .with("bundle", document.bundle)
        .with("proposer", proposal.proposer().name())
        .with_list("targets", document.targets.iter().map(|target| &target.name))
        .with_list("evidence", document.evidence.iter().map(|reference| &reference.id))
        .with_some("revises", lineage.revises)
        .with_some("undoes", lineage.undoes)
}

/// Somebody approved. Nothing is decided by what stands here: it is told after it was decided.
pub(crate) fn approved(runner: &Runner, proposal: &Digest, manifest: &[u8], signature: &str) -> Entry {
    let entry = Entry::new("approval").with("proposal", proposal).with("manifest", Digest::of(manifest));
    signed(entry, runner, namespace::APPROVAL, manifest, signature.as_bytes())
}

/// Somebody signed a standing approval, from a proposal as its example.
pub(crate) fn standing_approval(runner: &Runner, example: &Digest, document: &[u8], signature: &str) -> Entry {
    let entry = Entry::new("standing-approval").with("proposal", example).with("document", Digest::of(document));
    signed(entry, runner, namespace::STANDING_APPROVAL, document, signature.as_bytes())
}

/// Somebody broke the glass.
pub(crate) fn glass_broken(runner: &Runner, name: &str, proposal: &Digest, manifest: &[u8], signature: &str) -> Entry {
    let entry = Entry::new("break-glass").with("break-glass", name);
    let entry = entry.with("proposal", proposal).with("manifest", Digest::of(manifest));
    signed(entry, runner, namespace::APPROVAL, manifest, signature.as_bytes())
}

/// Somebody closed the review of a broken glass.
pub(crate) fn review_closed(
    runner: &Runner,
    document: &BreakGlassReviewDocument,
    bytes: &[u8],
    signature: &str,
) -> Entry {
    let entry = Entry::new("break-glass-reviewed").with("proposal", document.proposal);
    let entry = entry.with("manifest", document.approval).with("document", Digest::of(bytes));
    signed(entry, runner, namespace::BREAK_GLASS_REVIEW, bytes, signature.as_bytes())
}

/// Somebody denied.
pub(crate) fn denied(runner: &Runner, proposal: &Digest, document: &[u8], signature: &[u8]) -> Entry {
    let entry = Entry::new("denial").with("proposal", proposal).with("document", Digest::of(document));
    signed(entry, runner, namespace::DENIAL, document, signature)
}

/// Who signed what, and why they say.
fn signed(entry: Entry, runner: &Runner, namespace: &str, document: &[u8], signature: &[u8]) -> Entry {
    let parsed: Value = serde_json::from_slice(document).unwrap_or_default();
    let reason = parsed.pointer("/predicate/reason").or_else(|| parsed.get("reason")).and_then(Value::as_str);
    let entry = entry.with_some("reason", reason);
    match countersign_trust::verify(namespace, document, signature) {
        Ok(signer) => entry
            .with("person", runner.policy().principal(signer.fingerprint()).name())
            .with("key", signer.fingerprint()),
        Err(_) => entry,
    }
}

impl Runner {
    /// The key by which this runner's log is verified.
    ///
    /// # Errors
    /// Never of a key that was taken as one.
    pub fn log_verifier(&self) -> Result<VerifierKey, PipelineError> {
        log_verifier(self.key().public_key()).map_err(|error| PipelineError::failed(error.to_string()))
    }

    /// The folder of the log's files.
    #[must_use]
    pub fn log_dir(&self) -> PathBuf {
        self.state().audit().dir()
    }

    /// Makes the log's files say what was recorded. Only where `sync` is set is anything of them synced.
    ///
    /// # Errors
    /// When they cannot be written, or what is recorded is not what was signed.
    pub fn publish_log(&self, sync: bool) -> Result<Published, PipelineError> {
        Ok(self.state().audit().publish(sync)?)
    }

    /// Keeps a checkpoint that witnesses cosigned, durably, in the place of the last one. The caller has verified it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep_witnessed(&self, note: &[u8]) -> Result<(), PipelineError> {
        let state = self.state();
        state.durable().replace(&self.log_dir().join(WITNESSED), note, 0o600)?;
        Ok(())
    }

    /// Tells the log which trust policy is in force, where it is another one than before.
    ///
    /// # Errors
    /// When it cannot be recorded.
    pub fn log_policy(&self) -> Result<(), PipelineError> {
        let digest = self.policy().digest().to_string();
        let entry = Entry::new("policy").with("policy", &digest);
        self.state().audit().record_once("policy", &digest, &entry)?;
        Ok(())
    }

    /// Puts an entry into the audit log, for what is recorded nowhere else.
    ///
    /// # Errors
    /// When it cannot be recorded.
    pub fn log(&self, entry: &Entry) -> Result<(), PipelineError> {
        self.state().audit().record(entry).map(drop).map_err(Into::into)
    }

    /// The latest that the log has of a run, newest first.
    ///
    /// # Errors
    /// When there is no such run.
    pub fn logged_of(&self, run: &str) -> Result<(String, Vec<LoggedEntry>), PipelineError> {
        let run = self.state().runs().get(run)?.id;
        let entries = self.state().audit().of_run(&run)?;
        Ok((run, entries))
    }

    /// The entries of the log from this place on, some at a time.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn logged_from(&self, from: u64) -> Result<Vec<LoggedEntry>, PipelineError> {
        Ok(self.state().audit().entries(from, countersign_record::MAX_LISTED)?)
    }

    /// Compares what is recorded with the checkpoints beside it, which never say more than what is durable. One that cannot be
    /// read, or that this runner did not sign, says nothing.
    ///
    /// # Errors
    /// A refusal, when one of them has more entries, or others: then the database was restored from an old copy, by itself.
    pub fn compare_published(&self) -> Result<(), PipelineError> {
        let dir = self.log_dir();
        for name in [CHECKPOINT, WITNESSED] {
            let Ok(Some(bytes)) = Directory::new(&dir).read(name, MAX_NOTE) else { continue };
            let Ok(signed) = Checkpoint::open(&bytes, &self.log_verifier()?, &[]) else { continue };
            let Checkpoint { size, root, .. } = signed.checkpoint;
            // Read after the file, which another process may be writing.
            let head = self.state().audit().head()?;
            if size < head.size || (size == head.size && root == head.root()) {
                continue;
            }
            let what = format!(
                "the database of the state has {} entries of the audit log, and `{}` was signed with {size}{}",
                head.size,
                dir.join(name).display(),
                if size == head.size { ", which are others" } else { "" }
            );
            return Err(PipelineError::refused(what).with_hint(
                "nothing was changed. The database was restored from an old copy, or cut: find out which, since runs since \
                 then are not known to it; whoever goes on with it all the same removes the `audit` folder",
            ));
        }
        Ok(())
    }

    /// Compares the log's files with a checkpoint that is kept elsewhere. Where there is none yet, there is nothing to compare.
    ///
    /// # Errors
    /// A refusal, when that checkpoint has more entries, or others, or is not this log's.
    pub fn compare_held(&self, file: &Path) -> Result<(), PipelineError> {
        let (Some(dir), Some(name)) = (file.parent(), file.file_name().and_then(|name| name.to_str())) else {
            return Err(PipelineError::failed(format!("`{}` names no file", file.display())));
        };
        let unread = |error: std::io::Error| {
            PipelineError::failed(format!("the checkpoint `{}` cannot be read: {error}", file.display()))
                .with_hint("it is named under `[audit]` in the configuration: see to it; nothing was changed")
        };
        let Some(bytes) = Directory::new(dir).read(name, MAX_NOTE).map_err(unread)? else { return Ok(()) };
        self.consistent_with(&bytes).map_err(|error| {
            let what = format!("the audit log is not the one of which `{}` was kept: {error}", file.display());
            if !matches!(error, ProofError::Shorter { .. } | ProofError::SplitView { .. } | ProofError::OtherLog { .. }) {
                return PipelineError::failed(what).with_hint(
                    "nothing was changed. The file proves nothing as it is, since a power cut perhaps: look at it, and remove it \
                     where you know that the state is no old copy; `countersign recover` goes on meanwhile",
                );
            }
            PipelineError::refused(what).with_hint(
                "nothing was changed. Either the state directory is an old copy, or its log was cut or changed: find out \
                 which; runs since then may not be known here. Whoever takes the state as it is all the same removes that file",
            )
        })
    }

    fn consistent_with(&self, held: &[u8]) -> Result<(), ProofError> {
        let key = log_verifier(self.key().public_key())?;
        let held = Checkpoint::open(held, &key, &[])?.checkpoint;
        let source = Directory::new(&self.log_dir());
        let own = match source.read(CHECKPOINT, MAX_NOTE) {
            Ok(Some(bytes)) => Checkpoint::open(&bytes, &key, &[])?.checkpoint,
            _ if held.size == 0 => return Ok(()),
            _ => return Err(ProofError::Shorter { size: 0, held: held.size }),
        };
        if held.size > own.size {
            return Err(ProofError::Shorter { size: own.size, held: held.size });
        }
        let (root, _) = Tree::new(&source, &own).consistency(held.size)?;
        if root == held.root { Ok(()) } else { Err(ProofError::SplitView { size: held.size }) }
    }
}
