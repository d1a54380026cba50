//! Contents by digest: as files, and in a run inside the database until they are large.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use countersign_capability::{Blobs, Stream};
use countersign_model::{Digest, Fault, FaultKind, Image};
use rusqlite::{Connection, Transaction, params};

use crate::images::Room;
use crate::streams::{self, Digesting};
use crate::{Durable, RecordError, rows, state};

/// The largest image that is committed inside the database, in bytes.
pub const INLINE_LIMIT: usize = 1024 * 1024;
/// The largest blob that is taken or given as a whole, in bytes.
pub const MAX_BLOB: usize = 256 * 1024 * 1024;
/// The largest blob that is taken or given piece by piece, in bytes.
pub const MAX_STREAM: u64 = 4 * 1024 * 1024 * 1024;
/// The most that waits in memory for an intent, in bytes; what is put beyond it becomes a file.
const MAX_PENDING: usize = 64 * 1024 * 1024;
pub(crate) const MODE: u32 = 0o600;

/// Content-addressed files, durable when `put` returns.
#[derive(Clone)]
pub struct FileBlobs {
    room: Arc<Room>,
    durable: Arc<Durable>,
    /// Whether cap and reserve count.
    bounded: bool,
}

impl FileBlobs {
    pub(crate) const fn new(room: Arc<Room>, durable: Arc<Durable>) -> Self {
        Self { room, durable, bounded: true }
    }

    /// Where the content is put.
    pub(crate) fn path(&self, digest: &Digest) -> PathBuf {
        path_in(&self.room.root, digest)
    }

    /// Where the content may be found, first where it is kept now.
    fn paths(&self, digest: &Digest) -> impl Iterator<Item = PathBuf> {
        let roots = [Some(&self.room.root), self.room.earlier.as_ref()];
        roots.into_iter().flatten().map(|root| path_in(root, digest)).collect::<Vec<_>>().into_iter()
    }

    /// Whether a file of this size is kept under the digest's name; its bytes are not looked at.
    pub(crate) fn has(&self, image: &Image) -> bool {
        self.file(image).is_some()
    }

    /// The file of this size that is kept under the digest's name; its bytes are not looked at.
    pub(crate) fn file(&self, image: &Image) -> Option<PathBuf> {
        self.paths(&image.digest).find(|path| path.metadata().is_ok_and(|metadata| metadata.len() == image.size))
    }

    /// Keeps the bytes durably and gives their digest.
    ///
    /// # Errors
    /// Where they are more than [`MAX_BLOB`], have no room or could not be made durable.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest, RecordError> {
        rows::bounded("bytes of a blob", bytes.len(), MAX_BLOB)?;
        let digest = Digest::of(bytes);
        let path = self.path(&digest);
        let size = bytes.len() as u64;
        let kept = self.found(&digest);
        if let (Err(RecordError::NotFound { .. }), true) = (&kept, self.bounded) {
            self.room.admit_file(size)?;
        }
        match kept {
            Ok((found, _)) => {
                // Whoever put it may have died before its name was durable.
                if let Some(folder) = found.parent() {
                    self.durable.sync_dir(folder)?;
                }
            }
            Err(RecordError::NotFound { .. }) => match self.durable.write_new(&path, bytes, MODE) {
                // Somebody put the same bytes in this moment; theirs may not be durable yet.
                Err(RecordError::Duplicate { .. }) => self.durable.replace(&path, bytes, MODE)?,
                other => {
                    other?;
                    self.room.kept(size);
                }
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
        self.found(digest).map(|(_, bytes)| bytes)
    }

    /// The bytes of this digest, verified, and where they are.
    fn found(&self, digest: &Digest) -> Result<(PathBuf, Vec<u8>), RecordError> {
        for path in self.paths(digest) {
            if let Some(bytes) = self.durable.read(&path, MAX_BLOB)? {
                return verified(digest, bytes).map(|bytes| (path, bytes));
            }
        }
        Err(RecordError::NotFound { noun: "blob", name: digest.to_string() })
    }

    /// Keeps the `size` bytes of a reader durably, piece by piece, and gives their image.
    ///
    /// # Errors
    /// [`RecordError::TooLarge`] over [`MAX_STREAM`] and [`RecordError::UnderReserve`] before anything is read,
    /// [`RecordError::OverCap`] once it is known not to be kept already. [`RecordError::Unread`] where the
    /// reader fails, [`RecordError::OtherSize`] where it gives more or fewer bytes; then nothing is kept.
    pub fn put_from(&self, size: u64, from: &mut dyn Read) -> Result<Image, RecordError> {
        if size > MAX_STREAM {
            return Err(RecordError::TooLarge { what: "bytes of a blob", size, limit: MAX_STREAM });
        }
        if self.bounded {
            self.room.admit_stream(size)?;
        }
        let mut digesting = Digesting::new(from, size);
        let staged = self.durable.stage(&self.room.root, &mut digesting, MODE);
        let staged = staged.map_err(|error| digesting.blame(error))?;
        let image = digesting.image()?;
        if self.bounded && !self.has(&image) {
            self.room.admit_staged(size)?;
        }
        // Its name says what it holds: in the place of a sound blob or a damaged one it is right.
        staged.publish(&self.path(&image.digest))?;
        Ok(image)
    }

    /// The bytes of this digest as a reader, verified piece by piece.
    ///
    /// # Errors
    /// [`RecordError::NotFound`] or [`RecordError::Damaged`].
    pub fn open(&self, digest: &Digest) -> Result<Box<dyn Stream>, RecordError> {
        for path in self.paths(digest) {
            if let Some(stream) = self.durable.open(&path)? {
                return streams::verified(digest, MAX_STREAM, stream);
            }
        }
        Err(RecordError::NotFound { noun: "blob", name: digest.to_string() })
    }
}

impl Blobs for FileBlobs {
    fn put(&mut self, bytes: &[u8]) -> Result<Digest, Fault> {
        Self::put(self, bytes).map_err(|error| fault(&error))
    }

    fn get(&mut self, digest: &Digest) -> Result<Vec<u8>, Fault> {
        Self::get(self, digest).map_err(|error| fault(&error))
    }

    fn put_from(&mut self, size: u64, from: &mut dyn Read) -> Result<Image, Fault> {
        Self::put_from(self, size, from).map_err(|error| fault(&error))
    }

    fn open(&mut self, digest: &Digest) -> Result<Box<dyn Stream>, Fault> {
        Self::open(self, digest).map_err(|error| fault(&error))
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
    /// How much of it is stored nowhere yet, and counts against the cap.
    new_bytes: u64,
    /// What this run put as files: durable and sound, so that no intent reads it again.
    filed: BTreeSet<Digest>,
}

impl RunBlobs {
    pub(crate) const fn new(connection: Connection, files: FileBlobs) -> Self {
        Self { connection, files, pending: BTreeMap::new(), pending_bytes: 0, new_bytes: 0, filed: BTreeSet::new() }
    }

    /// Keeps the bytes and gives their digest. They are durable when the next intent is.
    ///
    /// # Errors
    /// Where they are more than [`MAX_BLOB`] or could not be made durable.
    pub fn put(&mut self, bytes: &[u8]) -> Result<Digest, RecordError> {
        if bytes.len() > INLINE_LIMIT || self.pending_bytes.saturating_add(bytes.len()) > MAX_PENDING {
            let digest = self.files.put(bytes)?;
            self.filed.insert(digest);
            return Ok(digest);
        }
        let digest = Digest::of(bytes);
        if self.pending.contains_key(&digest) {
            return Ok(digest);
        }
        // What is stored takes no more than it does.
        if !self.stored(&digest)? {
            let size = bytes.len() as u64;
            if self.files.bounded {
                self.files.room.admit_inline(size)?;
            }
            self.files.room.waits(size);
            self.new_bytes = self.new_bytes.saturating_add(size);
        }
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
        match self.inline(digest)? {
            Some(bytes) => Ok(bytes),
            None => self.files.get(digest),
        }
    }

    /// Keeps the `size` bytes of a reader and gives their image. They are durable when the next intent is.
    ///
    /// # Errors
    /// As for [`FileBlobs::put_from`].
    pub fn put_from(&mut self, size: u64, from: &mut dyn Read) -> Result<Image, RecordError> {
        let Some(few) = usize::try_from(size).ok().filter(|size| *size <= INLINE_LIMIT) else {
            let image = self.files.put_from(size, from)?;
            self.filed.insert(image.digest);
            return Ok(image);
        };
        let mut bytes = Vec::with_capacity(few);
        let mut digesting = Digesting::new(from, size);
        streams::copy(&mut digesting, &mut bytes).map_err(|source| RecordError::Unread { source })?;
        let image = digesting.image()?;
        self.put(&bytes)?;
        Ok(image)
    }

    /// The bytes of this digest as a reader, verified.
    ///
    /// # Errors
    /// [`RecordError::NotFound`] or [`RecordError::Damaged`].
    pub fn open(&self, digest: &Digest) -> Result<Box<dyn Stream>, RecordError> {
        match self.inline(digest)? {
            Some(bytes) => Ok(Box::new(Cursor::new(bytes))),
            None => self.files.open(digest),
        }
    }

    /// The bytes where they are in memory or in the database, verified.
    fn inline(&self, digest: &Digest) -> Result<Option<Vec<u8>>, RecordError> {
        if let Some(bytes) = self.pending.get(digest) {
            return Ok(Some(bytes.clone()));
        }
        let image = state::image(&self.connection, digest).map_err(|e| RecordError::database("read an image", e))?;
        image.map(|bytes| verified(digest, bytes)).transpose()
    }

    /// Whether the database has an image of this digest.
    fn stored(&self, digest: &Digest) -> Result<bool, RecordError> {
        state::has_image(&self.connection, digest).map_err(|error| RecordError::database("look for an image", error))
    }

    /// Whether the bytes are here, so that the next intent makes them durable if they are not yet.
    pub(crate) fn holds(&self, digest: &Digest) -> Result<bool, RecordError> {
        if self.pending.contains_key(digest) || self.filed.contains(digest) {
            return Ok(true);
        }
        match self.open(digest) {
            Ok(_) => Ok(true),
            Err(RecordError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// From now on neither cap nor reserve count: what puts the target back is what the reserve is for.
    pub(crate) fn unbound(&mut self) {
        self.files.bounded = false;
    }

    /// What waits for an intent.
    pub(crate) fn take_pending(&mut self) -> BTreeMap<Digest, Vec<u8>> {
        self.pending_bytes = 0;
        self.files.room.waited(std::mem::take(&mut self.new_bytes));
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

    fn put_from(&mut self, size: u64, from: &mut dyn Read) -> Result<Image, Fault> {
        Self::put_from(self, size, from).map_err(|error| fault(&error))
    }

    fn open(&mut self, digest: &Digest) -> Result<Box<dyn Stream>, Fault> {
        Self::open(self, digest).map_err(|error| fault(&error))
    }
}

fn path_in(root: &Path, digest: &Digest) -> PathBuf {
    let hex = digest.hex();
    root.join(hex.get(..2).unwrap_or_default()).join(hex)
}

pub(crate) fn verified(digest: &Digest, bytes: Vec<u8>) -> Result<Vec<u8>, RecordError> {
    let found = Digest::of(&bytes);
    if found == *digest {
        return Ok(bytes);
    }
    Err(RecordError::Damaged { path: digest.to_string(), what: format!("its bytes have the digest {found}") })
}

pub(crate) fn fault(error: &RecordError) -> Fault {
    let kind = match error {
        RecordError::NotFound { .. } => FaultKind::NotFound,
        RecordError::TooLarge { .. } => FaultKind::TooLarge,
        RecordError::OtherSize { .. } => FaultKind::Changed,
        RecordError::Unread { source } if source.kind() == io::ErrorKind::TimedOut => FaultKind::TimedOut,
        _ => FaultKind::Other,
    };
    let mut what = error.full();
    if let (RecordError::OverCap { .. } | RecordError::UnderReserve { .. }, Some(hint)) = (error, error.hint()) {
        what.push_str(&format!("; {hint}"));
    }
    Fault::new(kind, what)
}
