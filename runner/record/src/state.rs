//! The state directory: made once, opened by every command.

use std::fmt;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use countersign_model::{Digest, Image};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};

use crate::audit::{AUDIT, Log};
use crate::error::shown;
use crate::images::{Found, ImagesPlace, ImagesUse, Needs, Room};
use crate::schema;
use crate::scratch::Scratch;
use crate::watch::WAITING;
use crate::{
    Approvals, Clock, Disk, Durable, EvidenceStore, FileBlobs, Looks, Pauses, Policies, Proposals, RealDisk,
    RecordError, RehearsalBlobs, Rehearsals, Runs, StandingApprovals,
};

/// The database's file name.
pub(crate) const DATABASE: &str = "countersign.db";
pub(crate) const DIR_MODE: u32 = 0o700;
pub(crate) const FILE_MODE: u32 = 0o600;
const FOLDERS: [&str; 8] = ["blobs", "blobs/sha256", "bundles", "approvals", AUDIT, "cache", "locks", WAITING];

/// An open state directory. It may be shared between threads; each operation is one transaction.
///
/// | path | holds |
/// |---|---|
/// | `countersign.db` | the database |
/// | `runner.key`, `runner.pub`, `config.toml`, `trust-policy.toml` | written by `init` |
/// | `blobs/sha256/XX/HEX` | contents by digest, unless another place is configured |
/// | `blobs/scratch/` | contents of rehearsals, there or in that place, while the process runs that put them |
/// | `bundles/HEX/` | bundles that were proposed |
/// | `approvals/` | manifests and signatures; they are the truth, the database indexes them |
/// | `audit/` | the audit log's files, made from the database |
/// | `cache/` | compiled steps; may be removed |
/// | `locks/` | one lock per target, and beside it what is set aside for the rollback of its run; what else a run holds is in the database |
/// | `waiting/` | a file whose closing tells runs that wait for a person's word that one was kept |
/// | `latest-time` | the latest time that was seen, in milliseconds since 1970-01-01 UTC |
pub struct State {
    dir: PathBuf,
    durable: Arc<Durable>,
    connection: Arc<Mutex<Connection>>,
    room: Arc<Room>,
    scratch: Arc<Scratch>,
    log: Arc<Log>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl State {
    /// Makes a state directory with mode 0700 where nothing is, or in an empty directory, and opens it.
    ///
    /// # Errors
    /// [`RecordError::NotEmpty`] where something is there. What was made before another error stays.
    pub fn create(dir: &Path) -> Result<Self, RecordError> {
        let failed = |error| RecordError::file("create", dir, error);
        std::fs::DirBuilder::new().recursive(true).mode(DIR_MODE).create(dir).map_err(failed)?;
        let dir = &dir.canonicalize().map_err(failed)?;
        if std::fs::read_dir(dir).map_err(failed)?.next().is_some() {
            return Err(RecordError::NotEmpty(shown(dir)));
        }
        owned(dir, &dir.metadata().map_err(failed)?)?;
        let durable = Durable::new(Box::new(RealDisk));
        rustix::fs::chmod(dir, rustix::fs::Mode::from_raw_mode(DIR_MODE)).map_err(|e| failed(e.into()))?;
        for folder in FOLDERS {
            durable.make_dir(&dir.join(folder), DIR_MODE)?;
        }
        // All at once, so that putting a blob never has to make and sync a directory.
        let blobs = dir.join("blobs/sha256");
        for first in 0..=u8::MAX {
            durable.make_dir(&blobs.join(format!("{first:02x}")), DIR_MODE)?;
        }
        durable.sync_dir(&blobs)?;
        durable.sync_dir(&dir.join("blobs"))?;
        // Last, since a directory without it is no state directory.
        let database = dir.join(DATABASE);
        durable.write_new(&database, b"", FILE_MODE)?;
        schema::create(&database)?;
        durable.sync_dir(dir)?;
        if let Some(above) = dir.parent() {
            durable.sync_dir(above)?;
        }
        Self::open(dir)
    }

    /// Opens a state directory.
    ///
    /// # Errors
    /// Where it is missing, something else, another user's, writable by others, damaged, or made by
    /// a newer version. Nothing is changed then.
    pub fn open(dir: &Path) -> Result<Self, RecordError> {
        Self::open_with(dir, Box::new(RealDisk))
    }

    /// Like [`State::open`], with blobs, approvals and bundles on the given disk.
    ///
    /// # Errors
    /// As for [`State::open`].
    pub fn open_with(dir: &Path, disk: Box<dyn Disk>) -> Result<Self, RecordError> {
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => RecordError::NoState(shown(dir)),
            _ => RecordError::file("open", dir, error),
        };
        let dir = &dir.canonicalize().map_err(failed)?;
        let metadata = dir.metadata().map_err(failed)?;
        let not_a_state = |why: String| RecordError::NotAState { path: shown(dir), why };
        if !metadata.is_dir() {
            return Err(not_a_state("it is not a directory".to_owned()));
        }
        owned(dir, &metadata)?;
        private(dir, &metadata, 0o022, DIR_MODE)?;
        let database = dir.join(DATABASE);
        let metadata = match database.symlink_metadata() {
            Ok(metadata) if metadata.is_file() => metadata,
            Ok(_) => return Err(not_a_state(format!("its `{DATABASE}` is not a regular file"))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(not_a_state(format!("it has no `{DATABASE}`")));
            }
            Err(error) => return Err(RecordError::file("open", &database, error)),
        };
        owned(&database, &metadata)?;
        private(&database, &metadata, 0o077, FILE_MODE)?;
        let durable = Durable::new(disk);
        let connection = schema::open(&database)?;
        // SQLite syncs the name of a new -wal by itself, but takes no notice if that fails. It exists
        // now, and stays while this connection does.
        durable.sync_dir(dir)?;
        for suffix in ["-wal", "-shm"] {
            let beside = dir.join(format!("{DATABASE}{suffix}"));
            // SQLite gives them the database's mode; a copied directory may have others.
            match rustix::fs::chmod(&beside, rustix::fs::Mode::from_raw_mode(FILE_MODE)) {
                Ok(()) | Err(rustix::io::Errno::NOENT) => {}
                Err(error) => return Err(RecordError::file("set the mode of", &beside, error.into())),
            }
        }
        let connection = Arc::new(Mutex::new(connection));
        let room = Arc::new(Room::new(dir, Arc::clone(&connection), &durable, &ImagesPlace::UNBOUNDED)?);
        let durable = Arc::new(durable);
        let scratch = Arc::new(Scratch::new(Arc::clone(&room), Arc::clone(&durable)));
        Ok(Self { dir: dir.clone(), durable, connection, room, scratch, log: Arc::default() })
    }

    /// The same with another place for images, which is made where it is missing, and bounds to what they take.
    /// Those that were kept in the state directory before are found there.
    ///
    /// # Errors
    /// [`RecordError::NotAPlace`], or where the directory is another user's or others can reach it.
    pub fn keeping_images(mut self, place: &ImagesPlace) -> Result<Self, RecordError> {
        self.room = Arc::new(Room::new(&self.dir, Arc::clone(&self.connection), &self.durable, place)?);
        self.scratch = Arc::new(Scratch::new(Arc::clone(&self.room), Arc::clone(&self.durable)));
        Ok(self)
    }

    /// What images take, and what there is.
    ///
    /// # Errors
    /// Where it cannot be counted.
    pub fn images(&self) -> Result<ImagesUse, RecordError> {
        self.room.usage()
    }

    /// Whether a run could keep all of these images, with what stays free afterwards; those that a rehearsal put aside
    /// are kept for its proposal before.
    ///
    /// # Errors
    /// [`RecordError::OverCap`] or [`RecordError::UnderReserve`], and where it cannot be told.
    pub fn admit_images(&self, images: impl Iterator<Item = Image>) -> Result<(), RecordError> {
        let (blobs, mut needs) = (self.blobs(), Needs::default());
        for image in images {
            let inline = self.room.has_inline(&image.digest)?;
            let (filed, aside) = (blobs.has(&image), self.scratch.path(&image.digest).is_some());
            needs.add(image, Found { filed, inline, aside });
        }
        self.room.whole()?;
        self.room.admit(&needs)
    }

    /// Keeps these images for good, durably, those that a rehearsal put aside among them.
    ///
    /// # Errors
    /// [`RecordError::OverCap`], and [`RecordError::NotFound`] where one is nowhere; then nothing more is kept.
    pub fn keep_images(&self, images: impl Iterator<Item = Image>) -> Result<(), RecordError> {
        self.rehearsal_blobs().keep(images)
    }

    /// The directory, with all symbolic links resolved.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The folder of compiled steps.
    #[must_use]
    pub fn cache(&self) -> PathBuf {
        self.dir.join("cache")
    }

    /// Makes a new file durably, with exactly these permission bits. A relative path is in the state directory.
    ///
    /// # Errors
    /// As for [`Durable::write_new`].
    pub fn write_new(&self, path: &Path, bytes: &[u8], mode: u32) -> Result<(), RecordError> {
        self.durable.write_new(&self.dir.join(path), bytes, mode)
    }

    /// The bytes of a private file, such as the runner's key. A relative path is in the state directory.
    ///
    /// # Errors
    /// Where it is missing, larger than `limit` bytes, no regular file, another user's, or others can reach it.
    pub fn read_private(&self, path: &Path, limit: usize) -> Result<Vec<u8>, RecordError> {
        let path = self.dir.join(path);
        let missing = || RecordError::NotFound { noun: "file", name: shown(&path) };
        match path.symlink_metadata() {
            Ok(metadata) => {
                owned(&path, &metadata)?;
                private(&path, &metadata, 0o077, FILE_MODE)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing()),
            Err(error) => return Err(RecordError::file("read", &path, error)),
        }
        self.durable.read(&path, limit)?.ok_or_else(missing)
    }

    /// Where the bundle of this digest stands, or is to stand.
    #[must_use]
    pub fn bundle(&self, digest: &Digest) -> PathBuf {
        self.dir.join("bundles").join(digest.hex())
    }

    /// Durable writes, with what stopped them if anything did.
    #[must_use]
    pub fn durable(&self) -> &Arc<Durable> {
        &self.durable
    }

    /// Contents by digest that are kept for good, as files.
    #[must_use]
    pub fn blobs(&self) -> FileBlobs {
        FileBlobs::new(Arc::clone(&self.room), Arc::clone(&self.durable))
    }

    /// Contents by digest, wherever they are. What is put here is put aside, and gone with this state unless
    /// [`State::keep_images`] keeps it.
    #[must_use]
    pub fn rehearsal_blobs(&self) -> RehearsalBlobs {
        RehearsalBlobs::new(Arc::clone(&self.scratch), self.blobs())
    }

    /// Where a content is kept, for a person who puts a target right by hand: its file's path, or its row in the
    /// database. None where it is not kept.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub fn place(&self, image: &Image) -> Result<Option<String>, RecordError> {
        if self.room.has_inline(&image.digest)? {
            let row = format!("row `{}` of the table `images` in {}", image.digest, self.database().display());
            return Ok(Some(row));
        }
        Ok(self.blobs().file(image).map(|path| path.display().to_string()))
    }

    /// Recorded reads.
    #[must_use]
    pub const fn evidence(&self) -> EvidenceStore<'_> {
        EvidenceStore(self)
    }

    /// Rehearsals, signed by the runner.
    #[must_use]
    pub const fn rehearsals(&self) -> Rehearsals<'_> {
        Rehearsals(self)
    }

    /// Proposals, signed by their proposers.
    #[must_use]
    pub const fn proposals(&self) -> Proposals<'_> {
        Proposals(self)
    }

    /// What people signed once for many runs.
    #[must_use]
    pub const fn standing(&self) -> StandingApprovals<'_> {
        StandingApprovals(self)
    }

    /// Approval manifests, their signatures and denials.
    #[must_use]
    pub const fn approvals(&self) -> Approvals<'_> {
        Approvals(self)
    }

    /// How often somebody looks at targets.
    #[must_use]
    pub const fn looks(&self) -> Looks<'_> {
        Looks(self)
    }

    /// Whether new runs may begin.
    #[must_use]
    pub const fn pauses(&self) -> Pauses<'_> {
        Pauses(self)
    }

    /// Trust policies that were accepted.
    #[must_use]
    pub const fn policies(&self) -> Policies<'_> {
        Policies(self)
    }

    /// The latest time that was seen.
    #[must_use]
    pub const fn clock(&self) -> Clock<'_> {
        Clock(self)
    }

    /// Runs.
    #[must_use]
    pub const fn runs(&self) -> Runs<'_> {
        Runs(self)
    }

    /// Whether images are kept in the file system of the state.
    pub(crate) fn has_images(&self) -> Result<bool, RecordError> {
        self.room.is_of_the_state()
    }

    pub(crate) const fn log(&self) -> &Arc<Log> {
        &self.log
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.dir.join(DATABASE)
    }

    /// One read.
    pub(crate) fn read<T>(
        &self,
        action: &'static str,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, RecordError> {
        self.with_connection(|connection| read(connection).map_err(|error| RecordError::database(action, error)))
    }

    /// Several reads, or reads with errors of their own.
    pub(crate) fn with_connection<T>(
        &self,
        read: impl FnOnce(&mut Connection) -> Result<T, RecordError>,
    ) -> Result<T, RecordError> {
        // A thread that panicked left no transaction behind: dropping one takes it back.
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        read(&mut connection)
    }

    /// One durable transaction, in which nobody else writes.
    pub(crate) fn write<T>(
        &self,
        action: &'static str,
        write: impl FnOnce(&Transaction<'_>) -> Result<T, RecordError>,
    ) -> Result<T, RecordError> {
        self.durable.check()?;
        self.with_connection(|connection| transact(connection, action, write))
            .inspect_err(|error| self.durable.stop_if_final(error))
    }
}

/// One immediate transaction: committed where `write` succeeds, taken back otherwise.
pub(crate) fn transact<T>(
    connection: &mut Connection,
    action: &'static str,
    write: impl FnOnce(&Transaction<'_>) -> Result<T, RecordError>,
) -> Result<T, RecordError> {
    let failed = |error| RecordError::database(action, error);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let value = write(&transaction).map_err(RecordError::in_transaction)?;
    transaction.commit().map_err(|error| failed(error).in_transaction())?;
    Ok(value)
}

pub(crate) fn image(connection: &Connection, digest: &Digest) -> rusqlite::Result<Option<Vec<u8>>> {
    connection
        .query_row("SELECT bytes FROM images WHERE digest = ?1", [digest.to_string()], |row| row.get(0))
        .optional()
}

pub(crate) fn has_image(connection: &Connection, digest: &Digest) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM images WHERE digest = ?1";
    Ok(connection.query_row(sql, [digest.to_string()], |_| Ok(())).optional()?.is_some())
}

pub(crate) fn owned(path: &Path, metadata: &Metadata) -> Result<(), RecordError> {
    let (owner, user) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if owner == user { Ok(()) } else { Err(RecordError::OtherOwner { path: shown(path), owner, user }) }
}

pub(crate) fn private(path: &Path, metadata: &Metadata, forbidden: u32, wanted: u32) -> Result<(), RecordError> {
    let mode = metadata.mode() & 0o7777;
    if mode & forbidden == 0 {
        return Ok(());
    }
    let access = if mode & 0o022 == 0 { "read" } else { "write" };
    Err(RecordError::Exposed { path: shown(path), mode, access, wanted })
}
