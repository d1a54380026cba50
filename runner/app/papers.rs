//! A proposal that a command names: one of this host's, or an exported file, which needs neither state nor
//! configuration.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use countersign_model::Digest;
use countersign_pipeline::{
    ApprovalTerms, Approved, Desk, Exported, Given, MAX_EXPORT, Pins, Review, Stored, proposal_name,
};
use countersign_trust::{KeyError, Policy, PublicKey, Signatory};

use crate::cli::Global;
use crate::environment::{Environment, registry};
use crate::files::{read_private, shown};
use crate::output::{hinted, hinted_by, noted};

/// What a reviewer knows of an exported file from somewhere else.
#[derive(Args)]
pub(crate) struct PinArguments {
    /// Of an exported file: the runner that must have exported it, by its key's fingerprint or a file with its public
    /// key, one or more to a line each
    #[arg(long, value_name = "FINGERPRINT|FILE")]
    runner: Option<String>,
    /// Of an exported file: the digest of the trust policy that must be in force
    #[arg(long, value_name = "DIGEST")]
    policy: Option<Digest>,
}

impl PinArguments {
    fn pins(&self) -> anyhow::Result<Pins> {
        let runners = match &self.runner {
            None => Vec::new(),
            Some(fingerprint) if fingerprint.starts_with("SHA256:") => vec![fingerprint.clone()],
            Some(file) if !Path::new(file).exists() => {
                return Err(hinted(
                    format!("`{}` is neither a fingerprint nor a file", countersign_model::text::excerpt(file, 120)),
                    "name the runner's fingerprint, `SHA256:…`, or a file with its public key",
                ));
            }
            Some(file) => known_runners(Path::new(file))?,
        };
        Ok(Pins { runners, policy: self.policy })
    }
}

/// The fingerprints of the public keys in a file, one a line; what begins with `#` is no key.
fn known_runners(path: &Path) -> anyhow::Result<Vec<String>> {
    let shown = shown(path);
    // Whoever can write it says which runner the reviewer trusts.
    let bytes = read_private(path, 1024 * 1024)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    let keys = lines.map(|line| match PublicKey::from_openssh(line)? {
        key if key.kind().is_hardware() => Err(KeyError::Hardware(key.kind()).into()),
        key => Ok(key.fingerprint().to_owned()),
    });
    let keys: Vec<String> = keys.collect::<anyhow::Result<_>>().with_context(|| format!("`{shown}` is not taken"))?;
    if keys.is_empty() {
        return Err(hinted(
            format!("`{shown}` holds no runner's key"),
            "name a fingerprint, `SHA256:…`, or a file with the runner's public key",
        ));
    }
    Ok(keys)
}

/// What a command is about.
pub(crate) enum Papers {
    /// A proposal of this host.
    Here(Box<Environment>, Box<Stored>),
    /// An exported file.
    Away(Box<ExportedFile>),
}

/// Where an approval is kept.
pub(crate) struct Kept {
    pub(crate) approver: String,
    pub(crate) approval: Digest,
    /// The same approval as it stands now, with everybody who signed it; none where that could not be read again.
    pub(crate) given: Option<Given>,
    /// Everybody by whose approvals a run could be by now, whatever each of them approved.
    pub(crate) people: BTreeSet<String>,
    pub(crate) quorum: usize,
    /// What could not be done once it was kept.
    pub(crate) notes: Vec<String>,
    /// Manifest and signature, where they are files of this host.
    pub(crate) files: Option<(PathBuf, PathBuf)>,
}

impl Papers {
    /// Opens what is to be signed, which nobody else signs meanwhile.
    pub(crate) fn to_sign(global: &Global, name: &str, pins: &PinArguments) -> anyhow::Result<Self> {
        Self::open(global, name, pins, File::try_lock)
    }

    /// Opens what is to be looked at, as others may.
    pub(crate) fn to_review(global: &Global, name: &str, pins: &PinArguments) -> anyhow::Result<Self> {
        Self::open(global, name, pins, File::try_lock_shared)
    }

    /// Opens what is named: a name with a `/` or a `.` in it is a file's, since no proposal's has one.
    fn open(global: &Global, name: &str, pins: &PinArguments, lock: Lock) -> anyhow::Result<Self> {
        if name.contains(['/', '.']) {
            return Ok(Self::Away(Box::new(ExportedFile::open(Path::new(name), &pins.pins()?, lock)?)));
        }
        if pins.runner.is_some() || pins.policy.is_some() {
            return Err(hinted(
                "`--runner` and `--policy` are for exported files",
                format!("a file's name has a `/` or a `.` in it, e.g. `./{name}`"),
            ));
        }
        let environment = Environment::open(global)?;
        let stored = Stored::load(&environment.runner, name)?;
        Ok(Self::Here(Box::new(environment), Box::new(stored)))
    }

    fn desk(&self) -> &dyn Desk {
        match self {
            Self::Here(environment, _) => &environment.runner,
            Self::Away(file) => &file.exported,
        }
    }

    pub(crate) fn stored(&self) -> &Stored {
        match self {
            Self::Here(_, stored) => stored,
            Self::Away(file) => file.exported.stored(),
        }
    }

    /// The proposal's name.
    pub(crate) fn name(&self) -> String {
        proposal_name(&self.stored().proposal.digest())
    }

    /// The trust policy in force.
    pub(crate) fn policy(&self) -> &Policy {
        self.desk().policy()
    }

    /// The exported file, where it is one.
    pub(crate) fn file(&self) -> Option<&Path> {
        match self {
            Self::Here(..) => None,
            Self::Away(file) => Some(&file.path),
        }
    }

    /// The runner that exported the file, where it is one.
    pub(crate) fn runner(&self) -> Option<&str> {
        match self {
            Self::Here(..) => None,
            Self::Away(file) => Some(file.exported.runner()),
        }
    }

    /// What could not be done once something was signed.
    pub(crate) fn notes(&self) -> Vec<String> {
        match self {
            Self::Here(..) => Vec::new(),
            Self::Away(file) => file.notes.clone(),
        }
    }

    /// Refuses what would be signed for nobody knows which runner.
    pub(crate) fn signable(&self) -> anyhow::Result<()> {
        match self {
            Self::Here(..) => Ok(()),
            Self::Away(file) => Ok(file.exported.signable()?),
        }
    }

    /// Refuses an approval that this key's owner has no business to give once more, before anything is signed.
    pub(crate) fn may_sign(&self, manifest: &[u8], signatory: &dyn Signatory) -> anyhow::Result<()> {
        Ok(countersign_pipeline::may_sign(self.desk(), self.stored(), manifest, signatory)?)
    }

    /// What whoever signs ought to know of the targets.
    pub(crate) fn cautions(&self) -> anyhow::Result<Vec<String>> {
        Ok(match self {
            Self::Here(environment, stored) => {
                countersign_pipeline::cautions(&environment.runner, stored, &environment.targets_of(stored)?)?
            }
            Self::Away(file) => file.exported.cautions(),
        })
    }

    /// The runs of the proposal that committed.
    pub(crate) fn committed(&self) -> anyhow::Result<Vec<String>> {
        Ok(countersign_pipeline::committed(self.desk(), self.stored())?)
    }

    /// Everything that an approver needs to see.
    pub(crate) fn review(&self) -> anyhow::Result<Review> {
        Ok(match self {
            Self::Here(environment, stored) => {
                let targets = environment.targets_of(stored)?;
                countersign_pipeline::review(&environment.runner, stored, &targets, &environment.targets)?
            }
            Self::Away(file) => file.exported.review()?,
        })
    }

    /// A new approval manifest.
    pub(crate) fn draft(&self, terms: &ApprovalTerms<'_>) -> anyhow::Result<Vec<u8>> {
        Ok(match self {
            Self::Here(environment, stored) => {
                let targets = environment.targets_of(stored)?;
                countersign_pipeline::draft_approval(&environment.runner, stored, &targets, terms)?
            }
            Self::Away(file) => file.exported.draft_approval(terms)?,
        })
    }

    /// The manifest of an approval that somebody gave already.
    pub(crate) fn given(&self, name: &str) -> anyhow::Result<Vec<u8>> {
        Ok(countersign_pipeline::given_approval(self.desk(), self.stored(), name)?)
    }

    /// Verifies an approval and keeps it.
    pub(crate) fn keep(&mut self, manifest: &[u8], signature: &str) -> anyhow::Result<Kept> {
        let (approver, files) = match self {
            Self::Here(environment, stored) => {
                let Approved { approver, files } = countersign_pipeline::keep_approval(
                    &environment.runner,
                    stored,
                    &environment.targets_of(stored)?,
                    manifest,
                    signature,
                )?;
                (approver, Some((files.manifest, files.signature)))
            }
            Self::Away(file) => (file.change(|exported| exported.add_approval(manifest, signature))?, None),
        };
        let (approval, mut notes) = (Digest::of(manifest), self.notes());
        let given = countersign_pipeline::given(self.desk(), self.stored());
        let given = noted(&mut notes, "the approval was kept, and cannot be read again", given);
        let now = noted(&mut notes, "the time could not be told", self.desk().decisive().map(Some));
        let people = now.map(|now| countersign_pipeline::people(&given, now)).unwrap_or_default();
        let given = given.into_iter().find(|given| given.approval == approval);
        Ok(Kept {
            approver,
            approval,
            given,
            people,
            quorum: countersign_pipeline::quorum(self.desk(), self.stored()),
            notes,
            files,
        })
    }

    /// Signs and keeps a denial; gives who denied.
    pub(crate) fn deny(&mut self, signatory: &dyn Signatory, reason: &str) -> anyhow::Result<String> {
        Ok(match self {
            Self::Here(environment, stored) => {
                countersign_pipeline::deny(&environment.runner, stored, signatory, reason)?
            }
            Self::Away(file) => file.change(|exported| exported.deny(signatory, reason))?,
        })
    }
}

/// An exported proposal in its file, which nobody else changes meanwhile.
pub(crate) struct ExportedFile {
    /// As it was named.
    path: PathBuf,
    /// Where it really is.
    resolved: PathBuf,
    /// Holds the lock.
    file: File,
    exported: Exported,
    notes: Vec<String>,
}

/// How a file is locked: for oneself, or beside others who only look at it.
type Lock = fn(&File) -> Result<(), TryLockError>;

impl ExportedFile {
    fn open(path: &Path, pins: &Pins, lock: Lock) -> anyhow::Result<Self> {
        let shown = shown(path);
        let meant = "name the file that `countersign export` wrote";
        let unreadable = |error: std::io::Error| hinted_by(error, format!("`{shown}` cannot be read"), meant);
        let resolved = path.canonicalize().map_err(unreadable)?;
        let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
        let mut file = OpenOptions::new().read(true).custom_flags(flags).open(&resolved).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(hinted(format!("`{shown}` is not a regular file"), meant));
        }
        let limit = MAX_EXPORT as u64;
        if metadata.len() > limit {
            let what = format!("`{shown}` is larger than the {limit} bytes that an exported proposal may have");
            return Err(hinted(what, meant));
        }
        lock(&file).map_err(|error| match error {
            TryLockError::WouldBlock => hinted(
                format!("somebody else is about to sign `{shown}`, or looks at it"),
                "nothing was signed; try again when they are done",
            ),
            TryLockError::Error(error) => hinted_by(
                error,
                format!("`{shown}` cannot be locked, so others could sign it meanwhile"),
                "nothing was signed; copy it to a file system that has locks, and name it there",
            ),
        })?;
        let mut bytes = Vec::new();
        (&mut file).take(limit + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        let exported = Exported::open(&bytes, Arc::new(registry()), crate::time::now, pins)?;
        Ok(Self { path: path.to_owned(), resolved, file, exported, notes: Vec::new() })
    }

    /// Puts a file with more signatures in this one's place.
    fn change(
        &mut self,
        change: impl FnOnce(&Exported) -> Result<(String, Exported), countersign_pipeline::PipelineError>,
    ) -> anyhow::Result<String> {
        let (who, changed) = change(&self.exported)?;
        self.replace(&changed.to_bytes()?)?;
        self.exported = changed;
        Ok(who)
    }

    fn replace(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let shown = shown(&self.path);
        let failed = |error: std::io::Error| {
            hinted_by(
                error,
                format!("`{shown}` cannot be replaced; it is as before, and nothing that was signed is in it"),
                "make room, or copy it to where you may write, and sign it there",
            )
        };
        let locked = self.file.metadata().map_err(failed)?;
        let there = std::fs::metadata(&self.resolved).map_err(failed)?;
        if (locked.dev(), locked.ino()) != (there.dev(), there.ino()) {
            let what = format!("somebody else replaced `{shown}` meanwhile; nothing that was signed is in it");
            return Err(hinted(what, "look at it again, and sign again"));
        }
        let folder = self.resolved.parent().unwrap_or(Path::new("/"));
        let prepare = || {
            let mut fresh = tempfile::NamedTempFile::new_in(folder)?;
            fresh.write_all(bytes)?;
            fresh.as_file().set_permissions(locked.permissions())?;
            fresh.as_file().sync_all()?;
            Ok(fresh)
        };
        prepare().map_err(failed)?.persist(&self.resolved).map_err(|error| failed(error.error))?;
        // It has been replaced; what is left is to make sure that it stays so.
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        noted(
            &mut self.notes,
            &format!("`{shown}` was signed, and may be as before after a power cut: copy it"),
            synced,
        );
        Ok(())
    }
}
