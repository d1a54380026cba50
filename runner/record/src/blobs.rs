//! Contents by digest: as files, and in a run inside the database until they are large.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use countersign_capability::Blobs;
use countersign_model::{Digest, Fault, FaultKind};
use rusqlite::{Connection, Transaction, params};

use crate::{Durable, RecordError, rows, state};

/// The largest image that is committed inside the database, in bytes.
pub const INLINE_LIMIT: usize = 1024 * 1024;
/// The largest blob, in bytes.
pub const MAX_BLOB: usize = 256 * 1024 * 1024;
/// The most that waits in memory for an intent, in bytes; what is put beyond it becomes a file.
const MAX_PENDING: usize = 64 * 1024 * 1024;
const MODE: u32 = 0o600;

/// Content-addressed files, durable when `put` returns.
#[derive(Clone)]
pub struct FileBlobs {
    root: PathBuf,
    durable: Arc<Durable>,
}

impl FileBlobs {
    pub(crate) const fn new(root: PathBuf, durable: Arc<Durable>) -> Self {
        Self { root, durable }
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.root.join(hex.get(..2).unwrap_or_default()).join(hex)
    }

    /// Keeps the bytes durably and gives their digest.
    ///
    /// # Errors
    /// Where they are more than [`MAX_BLOB`] or could not be made durable.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest, RecordError> {
        rows::bounded("bytes of a blob", bytes.len(), MAX_BLOB)?;
        let digest = Digest::of(bytes);
        let path = self.path(&digest);
        match self.get(&digest) {
            Ok(_) => {
                // Whoever put it may have died before its name was durable.
                if let Some(folder) = path.parent() {
                    self.durable.sync_dir(folder)?;
                }
            }
            Err(RecordError::NotFound { .. }) => match self.durable.write_new(&path, bytes, MODE) {
                // Somebody put the same bytes in this moment; theirs may not be durable yet.
                Err(RecordError::Duplicate { .. }) => self.durable.replace(&path, bytes, MODE)?,
                other => other?,
            },
            Err(RecordError::Damaged { .. }) => self.durable.replace(&path, bytes, MODE)?,
            Err(error) => return Err(error),
        }
        Ok(digest)
    }

    /// The bytes of this digest, verified.
    ///
    /// # Errors
    /// [`RecordError::NotFound`] or [`RecordError::Damaged`].
    pub fn get(&self, digest: &Digest) -> Result<Vec<u8>, RecordError> {
        match self.durable.read(&self.path(digest), MAX_BLOB)? {
            Some(bytes) => verified(digest, bytes),
            None => Err(RecordError::NotFound { noun: "blob", name: digest.to_string() }),
        }
    }
}

impl Blobs for FileBlobs {
    fn put(&mut self, bytes: &[u8]) -> Result<Digest, Fault> {
        Self::put(self, bytes).map_err(|error| fault(&error))
    }

    fn get(&mut self, digest: &Digest) -> Result<Vec<u8>, Fault> {
        Self::get(self, digest).map_err(|error| fault(&error))
    }
}

/// The images of one run, and the connection on which they are committed.
///
/// What is put is kept in memory until the next intent commits it, so that an image never costs a
/// commit of its own; what is larger than [`INLINE_LIMIT`] is a synced file before that.
pub struct RunBlobs {
    pub(crate) connection: Connection,
    files: FileBlobs,
    pending: BTreeMap<Digest, Vec<u8>>,
    pending_bytes: usize,
}

impl RunBlobs {
    pub(crate) const fn new(connection: Connection, files: FileBlobs) -> Self {
        Self { connection, files, pending: BTreeMap::new(), pending_bytes: 0 }
    }

    /// Keeps the bytes and gives their digest. They are durable when the next intent is.
    ///
    /// # Errors
    /// Where they are more than [`MAX_BLOB`] or could not be made durable.
    pub fn put(&mut self, bytes: &[u8]) -> Result<Digest, RecordError> {
        if bytes.len() > INLINE_LIMIT || self.pending_bytes.saturating_add(bytes.len()) > MAX_PENDING {
            return self.files.put(bytes);
        }
        let digest = Digest::of(bytes);
        if self.pending.insert(digest, bytes.to_vec()).is_none() {
            self.pending_bytes = self.pending_bytes.saturating_add(bytes.len());
        }
        Ok(digest)
    }

    /// The bytes of this digest, verified.
    ///
    /// # Errors
    /// [`RecordError::NotFound`] or [`RecordError::Damaged`].
    pub fn get(&self, digest: &Digest) -> Result<Vec<u8>, RecordError> {
        if let Some(bytes) = self.pending.get(digest) {
            return Ok(bytes.clone());
        }
        let image = state::image(&self.connection, digest).map_err(|e| RecordError::database("read an image", e))?;
        match image {
            Some(bytes) => verified(digest, bytes),
            None => self.files.get(digest),
        }
    }

    /// Whether the bytes are here, so that the next intent makes them durable if they are not yet.
    pub(crate) fn holds(&self, digest: &Digest) -> Result<bool, RecordError> {
        if self.pending.contains_key(digest) {
            return Ok(true);
        }
        match self.get(digest) {
            Ok(_) => Ok(true),
            Err(RecordError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What waits for an intent.
    pub(crate) fn take_pending(&mut self) -> BTreeMap<Digest, Vec<u8>> {
        self.pending_bytes = 0;
        std::mem::take(&mut self.pending)
    }
}

/// Writes images inside an intent's transaction.
pub(crate) fn write_images(tx: &Transaction<'_>, images: &BTreeMap<Digest, Vec<u8>>) -> rusqlite::Result<()> {
    // What is stored already stays, unless it is damaged.
    let sql = "INSERT INTO images (digest, bytes) VALUES (?1, ?2)
               ON CONFLICT (digest) DO UPDATE SET bytes = excluded.bytes WHERE bytes <> excluded.bytes";
    for (digest, bytes) in images {
        tx.execute(sql, params![digest.to_string(), bytes])?;
    }
    Ok(())
}

impl Blobs for RunBlobs {
    fn put(&mut self, bytes: &[u8]) -> Result<Digest, Fault> {
        Self::put(self, bytes).map_err(|error| fault(&error))
    }

    fn get(&mut self, digest: &Digest) -> Result<Vec<u8>, Fault> {
        Self::get(self, digest).map_err(|error| fault(&error))
    }
}

pub(crate) fn verified(digest: &Digest, bytes: Vec<u8>) -> Result<Vec<u8>, RecordError> {
    let found = Digest::of(&bytes);
    if found == *digest {
        return Ok(bytes);
    }
    Err(RecordError::Damaged { path: digest.to_string(), what: format!("its bytes have the digest {found}") })
}

fn fault(error: &RecordError) -> Fault {
    let kind = match error {
        RecordError::NotFound { .. } => FaultKind::NotFound,
        RecordError::TooLarge { .. } => FaultKind::TooLarge,
        _ => FaultKind::Other,
    };
    Fault::new(kind, error.full())
}
