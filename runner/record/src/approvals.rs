use std::path::PathBuf;

use countersign_model::Digest;
use rusqlite::{OptionalExtension, params};

use crate::error::shown;
use crate::names::proposal_name;
use crate::rows::{self, MAX_DOCUMENT, MAX_SIGNATURE};
use crate::{Entry, RecordError, State};

/// The most signatures of one manifest that are kept and read.
pub const MAX_SIGNATURES: usize = 64;
/// The most manifests or denials of one proposal that are kept.
const MAX_PER_PROPOSAL: usize = 64;
const MODE: u32 = 0o600;
const RECORD_MANIFEST: &str = "record the approval manifest";

/// Approval manifests with their signatures, and denials; see [`State::approvals`].
///
/// A manifest is `approvals/HEX.json` and its signatures are `approvals/HEX.1.sig` and so on. These
/// files are the truth. `approvals/HEX.json.sig`, which `ssh-keygen -Y sign` makes, counts as well.
pub struct Approvals<'a>(pub(crate) &'a State);

/// A manifest with its signatures, as they are on disk. Nothing of it is verified yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// The digest under which the manifest was recorded; the caller compares it with the bytes.
    pub digest: Digest,
    /// The manifest's file.
    pub path: PathBuf,
    /// Its bytes, read once.
    pub manifest: Vec<u8>,
    /// The armored signatures.
    pub signatures: Vec<String>,
}

/// Where a signature and its manifest are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptFiles {
    /// The manifest's file.
    pub manifest: PathBuf,
    /// The signature's file.
    pub signature: PathBuf,
}

/// A denial, as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The digest under which it was recorded; the caller compares it with the bytes.
    pub digest: Digest,
    /// The exact bytes that were signed.
    pub document: Vec<u8>,
    /// The armored signature.
    pub signature: String,
}

impl Approvals<'_> {
    /// Keeps a manifest durably as a file and gives its digest. The same one twice is kept once.
    ///
    /// # Errors
    /// [`RecordError::NotFound`] where there is no such proposal; [`RecordError::Damaged`] where its
    /// file holds something else.
    pub fn add_manifest(&self, proposal: &Digest, manifest: &[u8]) -> Result<Digest, RecordError> {
        self.0.write(RECORD_MANIFEST, |tx| self.index(tx, proposal, manifest))
    }

    /// Keeps signatures, each with its manifest: all of them, or none where any cannot be kept. Gives for each the
    /// files of both. Each that is new puts the entry of its place into the audit log. Where the power fails meanwhile, no manifest counts that was new; a signature on one that was
    /// there may.
    ///
    /// # Errors
    /// As for [`Approvals::add_manifest`] and [`Approvals::add_signature`].
    pub fn add_all(
        &self,
        proposal: &Digest,
        signed: &[(&[u8], &str)],
        entries: &[Entry],
    ) -> Result<Vec<KeptFiles>, RecordError> {
        let mut fresh = Vec::new();
        let kept = self.0.write(RECORD_MANIFEST, |tx| {
            let mut kept = Vec::new();
            for (place, (manifest, armored)) in signed.iter().enumerate() {
                let digest = self.index(tx, proposal, manifest)?;
                let (signature, new) = self.sign(&digest, armored)?;
                if let (true, Some(entry)) = (new, entries.get(place)) {
                    let failed = |error| RecordError::database(RECORD_MANIFEST, error);
                    self.0.log().append(tx, entry).map_err(failed)?;
                }
                fresh.extend(new.then(|| signature.clone()));
                kept.push(KeptFiles { manifest: self.path(&digest, "json"), signature });
            }
            Ok(kept)
        });
        kept.inspect_err(|_| fresh.iter().for_each(|path| self.0.durable().tidy(path)))
    }

    /// Writes a manifest's file and its entry in the index, by which it counts.
    pub(crate) fn index(
        &self,
        tx: &rusqlite::Transaction<'_>,
        proposal: &Digest,
        manifest: &[u8],
    ) -> Result<Digest, RecordError> {
        rows::bounded("bytes of an approval manifest", manifest.len(), MAX_DOCUMENT)?;
        let digest = Digest::of(manifest);
        let failed = |error| RecordError::database(RECORD_MANIFEST, error);
        let text = digest.to_string();
        let sql = "SELECT proposal FROM manifests WHERE digest = ?1";
        let earlier: Option<String> = tx.query_row(sql, [&text], |row| row.get(0)).optional().map_err(failed)?;
        match earlier {
            Some(earlier) if earlier != proposal.to_string() => {
                return Err(RecordError::Duplicate { noun: "approval manifest", name: text });
            }
            Some(_) => {}
            None => self.room(tx, "manifests", proposal)?,
        }
        // The file first: an index entry without a file would block the proposal.
        self.keep(&self.path(&digest, "json"), manifest)?;
        let sql = "INSERT INTO manifests (digest, proposal) VALUES (?1, ?2) ON CONFLICT (digest) DO NOTHING";
        tx.execute(sql, params![text, proposal.to_string()]).map_err(failed)?;
        Ok(digest)
    }

    /// Keeps a signature of a manifest durably as a file and gives its path. The same one twice is kept once.
    ///
    /// # Errors
    /// [`RecordError::NotFound`] where there is no such manifest; [`RecordError::TooLarge`] beyond [`MAX_SIGNATURES`].
    pub fn add_signature(&self, manifest: &Digest, armored: &str) -> Result<PathBuf, RecordError> {
        let sql = "SELECT 1 FROM manifests WHERE digest = ?1";
        let known: Option<i64> = self.0.read("find the approval manifest", |connection| {
            connection.query_row(sql, [manifest.to_string()], |row| row.get(0)).optional()
        })?;
        if known.is_none() {
            return Err(RecordError::NotFound { noun: "approval manifest", name: manifest.to_string() });
        }
        Ok(self.sign(manifest, armored)?.0)
    }

    /// Writes a signature's file; whether it is new.
    pub(crate) fn sign(&self, manifest: &Digest, armored: &str) -> Result<(PathBuf, bool), RecordError> {
        rows::bounded("bytes of a signature", armored.len(), MAX_SIGNATURE)?;
        for n in 1..=MAX_SIGNATURES {
            let path = self.path(manifest, &format!("{n}.sig"));
            match self.keep(&path, armored.as_bytes()) {
                Ok(new) => return Ok((path, new)),
                // Another signature has this number.
                Err(RecordError::Damaged { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let limit = MAX_SIGNATURES as u64;
        Err(RecordError::TooLarge { what: "signatures of an approval manifest", size: limit.saturating_add(1), limit })
    }

    /// Every manifest of a proposal with its signatures, each file read once.
    ///
    /// # Errors
    /// Where a manifest that was recorded is missing, or a file cannot be read or is too large.
    pub fn of(&self, proposal: &Digest) -> Result<Vec<Approval>, RecordError> {
        let sql = "SELECT digest FROM manifests WHERE proposal = ?1 ORDER BY rowid LIMIT ?2";
        let digests: Vec<Digest> = self.0.read("list the approvals", |connection| {
            connection
                .prepare(sql)?
                .query_map(params![proposal.to_string(), rows::limit(MAX_PER_PROPOSAL)], |row| {
                    rows::get_digest(row, 0)
                })?
                .collect()
        })?;
        digests.into_iter().map(|digest| self.load(digest)).collect()
    }

    /// The bytes of one manifest as they are on disk; the caller compares them with the digest. None where there is no such
    /// file.
    ///
    /// # Errors
    /// Where it cannot be read or is too large.
    pub fn manifest(&self, digest: &Digest) -> Result<Option<Vec<u8>>, RecordError> {
        self.0.durable().read(&self.path(digest, "json"), MAX_DOCUMENT)
    }

    fn load(&self, digest: Digest) -> Result<Approval, RecordError> {
        let path = self.path(&digest, "json");
        let Some(manifest) = self.0.durable().read(&path, MAX_DOCUMENT)? else {
            return Err(RecordError::NotFound { noun: "approval manifest", name: shown(&path) });
        };
        let mut signatures = Vec::new();
        let numbered = (1..=MAX_SIGNATURES).map(|n| format!("{n}.sig"));
        for suffix in numbered.chain(["json.sig".to_owned()]) {
            let path = self.path(&digest, &suffix);
            if let Some(bytes) = self.0.durable().read(&path, MAX_SIGNATURE)? {
                let armored = String::from_utf8(bytes).map_err(|_| RecordError::Damaged {
                    path: shown(&path),
                    what: "an armored signature is text, and this is not".to_owned(),
                })?;
                if !signatures.contains(&armored) {
                    signatures.push(armored);
                }
            }
        }
        Ok(Approval { digest, path, manifest, signatures })
    }

    /// Records a denial durably and gives the digest of its document. The same one twice is recorded once, and
    /// these entries of the audit log with it.
    ///
    /// # Errors
    /// [`RecordError::NotFound`] where there is no such proposal.
    pub fn add_denial(
        &self,
        proposal: &Digest,
        document: &[u8],
        armored: &str,
        entries: &[Entry],
    ) -> Result<Digest, RecordError> {
        rows::bounded("bytes of a denial", document.len(), MAX_DOCUMENT)?;
        rows::bounded("bytes of a signature", armored.len(), MAX_SIGNATURE)?;
        let digest = Digest::of(document);
        self.0.write("record the denial", |tx| {
            self.room(tx, "denials", proposal)?;
            let sql = "INSERT INTO denials (digest, proposal, document, signature, standing)
                       SELECT ?1, ?2, ?3, ?4, coalesce(max(position), 0) FROM standing_approvals WHERE true
                       ON CONFLICT DO NOTHING";
            let failed = |error| RecordError::database("record the denial", error);
            let values = params![digest.to_string(), proposal.to_string(), document, armored];
            if tx.execute(sql, values).map_err(failed)? == 1 {
                self.0.log().append_all(tx, entries).map_err(failed)?;
            }
            Ok(digest)
        })
    }

    /// Every denial of a proposal.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub fn denials_of(&self, proposal: &Digest) -> Result<Vec<Denial>, RecordError> {
        let sql = "SELECT digest, document, signature FROM denials WHERE proposal = ?1 ORDER BY rowid LIMIT ?2";
        self.0.read("list the denials", |connection| {
            connection
                .prepare(sql)?
                .query_map(params![proposal.to_string(), rows::limit(MAX_PER_PROPOSAL)], |row| {
                    Ok(Denial { digest: rows::get_digest(row, 0)?, document: row.get(1)?, signature: row.get(2)? })
                })?
                .collect()
        })
    }

    pub(crate) fn path(&self, manifest: &Digest, suffix: &str) -> PathBuf {
        self.0.dir().join("approvals").join(format!("{}.{suffix}", manifest.hex()))
    }

    /// Writes a file, or finds it with these bytes already; whether it is new.
    fn keep(&self, path: &std::path::Path, bytes: &[u8]) -> Result<bool, RecordError> {
        match self.0.durable().write_new(path, bytes, MODE) {
            Err(RecordError::Duplicate { .. }) => {}
            other => return other.map(|()| true),
        }
        if self.0.durable().read(path, MAX_DOCUMENT)?.as_deref() == Some(bytes) {
            // Whoever wrote it may have died before its name was durable.
            path.parent().map_or(Ok(()), |folder| self.0.durable().sync_dir(folder))?;
            return Ok(false);
        }
        Err(RecordError::Damaged { path: shown(path), what: "it holds something else".to_owned() })
    }

    /// Refuses an unknown proposal, and one more row of it than is ever read.
    fn room(&self, tx: &rusqlite::Transaction<'_>, table: &'static str, proposal: &Digest) -> Result<(), RecordError> {
        let sql = format!(
            "SELECT (SELECT count(*) FROM {table} t WHERE t.proposal = p.digest) FROM proposals p WHERE p.digest = ?1"
        );
        let rows: Option<u64> = tx
            .query_row(&sql, [proposal.to_string()], |row| rows::get_count(row, 0))
            .optional()
            .map_err(|error| RecordError::database("find the proposal", error))?;
        let Some(count) = rows else {
            return Err(RecordError::NotFound { noun: "proposal", name: proposal_name(proposal) });
        };
        let limit = MAX_PER_PROPOSAL as u64;
        if count >= limit {
            let size = count.saturating_add(1);
            return Err(RecordError::TooLarge { what: "approvals or denials of a proposal", size, limit });
        }
        Ok(())
    }
}
