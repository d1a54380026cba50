use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use countersign_capability::{Capability, Context, Opening, Phase, Prepared, Protected, Session, TypedCall};
use countersign_files::{Entry, Files, FilesCall, FilesChange, FilesSession, MAX_CONTENT, Scope, Stat};
use countersign_model::{Access, Fault, FaultKind, Selector, State};
pub(crate) use memory::Memory;
use serde::de::DeserializeOwned;

#[path = "../../../../../sdk/capability/tests/support/memory.rs"]
mod memory;

type Bytes = serde_bytes::ByteBuf;

/// A session over a directory of its own.
pub(crate) struct Host {
    pub(crate) session: FilesSession,
    pub(crate) blobs: Memory,
    pub(crate) root: PathBuf,
    _directory: Option<tempfile::TempDir>,
}

pub(crate) fn open(phase: Phase, paths: &[PathBuf]) -> FilesSession {
    let protected = Protected { paths: paths.to_vec(), processes: vec![] };
    let opening = Opening { settings: &serde_json::Value::Null, phase, protected: &protected };
    Files::open(&opening).expect("session")
}

impl Host {
    pub(crate) fn new(phase: Phase) -> Self {
        Self::protecting(phase, &[])
    }

    pub(crate) fn live() -> Self {
        Self::new(Phase::Live)
    }

    /// With these names in its directory protected.
    pub(crate) fn protecting(phase: Phase, names: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("directory");
        let root = directory.path().canonicalize().expect("resolved");
        for name in names {
            std::fs::create_dir_all(root.join(name)).expect("made");
        }
        let paths: Vec<_> = names.iter().map(|name| root.join(name)).collect();
        Self { session: open(phase, &paths), blobs: Memory::default(), root, _directory: Some(directory) }
    }

    /// The same directory and blobs, as another process finds them.
    pub(crate) fn reopened(&mut self, phase: Phase) {
        self.session = open(phase, &[]);
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.root.join(name).to_str().expect("text").to_owned()
    }

    pub(crate) fn write(&self, name: &str, content: &str) {
        std::fs::write(self.root.join(name), content).expect("written");
    }

    pub(crate) fn content(&self, name: &str) -> String {
        std::fs::read_to_string(self.root.join(name)).expect("read")
    }

    pub(crate) fn inode(&self, name: &str) -> u64 {
        std::fs::symlink_metadata(self.root.join(name)).expect("metadata").ino()
    }

    pub(crate) fn set_mode(&self, name: &str, mode: u32) {
        std::fs::set_permissions(self.root.join(name), PermissionsExt::from_mode(mode)).expect("mode");
    }

    /// All names in the directory, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        names(&self.root)
    }

    /// A scope, `pattern` being relative to the directory.
    pub(crate) fn scope(&self, call: &FilesCall, pattern: &str) -> Scope {
        scope(call, &self.path(pattern))
    }

    /// A call under the scope of the whole directory.
    pub(crate) fn read<T: DeserializeOwned>(&mut self, call: FilesCall) -> Result<T, Fault> {
        let scope = self.scope(&call, "**");
        self.read_in(&scope, call)
    }

    pub(crate) fn read_in<T: DeserializeOwned>(&mut self, scope: &Scope, call: FilesCall) -> Result<T, Fault> {
        assert!(Files::covers(scope, &call), "the scope does not cover {call:?}");
        let reply = self.session.read(&mut context(&mut self.blobs), scope, call)?;
        Ok(postcard::from_bytes(&reply).expect("reply"))
    }

    pub(crate) fn cat(&mut self, name: &str) -> Result<String, Fault> {
        let bytes: serde_bytes::ByteBuf = self.read(FilesCall::Read { path: self.path(name) })?;
        Ok(String::from_utf8(bytes.into_vec()).expect("text"))
    }

    pub(crate) fn stat(&mut self, name: &str) -> Result<Stat, Fault> {
        self.read(FilesCall::Stat { path: self.path(name) })
    }

    pub(crate) fn list(&mut self) -> Result<Vec<Entry>, Fault> {
        let path = self.root.to_str().expect("text").to_owned();
        self.read(FilesCall::List { path })
    }

    pub(crate) fn prepare(&mut self, call: FilesCall) -> Result<Prepared<FilesChange>, Fault> {
        let scope = self.scope(&call, "**");
        assert!(Files::covers(&scope, &call), "the scope does not cover {call:?}");
        let prepared = self.session.prepare(&mut context(&mut self.blobs), &scope, call)?;
        assert!(Files::reaches(&scope, &prepared.subject));
        Ok(Prepared { change: journaled(&prepared.change), ..prepared })
    }

    pub(crate) fn replace(&mut self, name: &str, contents: &str) -> Result<FilesChange, Fault> {
        let call = FilesCall::Replace { path: self.path(name), contents: contents.into() };
        Ok(self.prepare(call)?.change)
    }

    pub(crate) fn create(&mut self, name: &str, contents: &str, mode: u32) -> Result<FilesChange, Fault> {
        let call = FilesCall::Create { path: self.path(name), contents: contents.into(), mode };
        Ok(self.prepare(call)?.change)
    }

    pub(crate) fn remove(&mut self, name: &str) -> Result<FilesChange, Fault> {
        Ok(self.prepare(FilesCall::Remove { path: self.path(name) })?.change)
    }

    pub(crate) fn apply(&mut self, change: &FilesChange) -> Result<(), Fault> {
        let reply = self.session.apply(&mut context(&mut self.blobs), change)?;
        assert!(reply.is_empty());
        Ok(())
    }

    pub(crate) fn rehearse(&mut self, change: &FilesChange) -> Result<(), Fault> {
        self.session.rehearse(&mut context(&mut self.blobs), change).map(drop)
    }

    pub(crate) fn rehearse_undo(&mut self, change: &FilesChange) -> Result<(), Fault> {
        self.session.rehearse_undo(&mut context(&mut self.blobs), change)
    }

    pub(crate) fn probe(&mut self, change: &FilesChange) -> State {
        self.session.probe(&mut context(&mut self.blobs), change).expect("probed")
    }

    pub(crate) fn undo(&mut self, change: &FilesChange) -> Result<(), Fault> {
        self.session.undo(&mut context(&mut self.blobs), change)
    }

    pub(crate) fn revert(&mut self, change: &FilesChange) -> Result<Prepared<FilesChange>, Fault> {
        let scope = Files::parse_scope(Access::Write, &Selector::word(self.path("**"))).expect("a scope");
        self.session.revert(&mut context(&mut self.blobs), &scope, change)
    }

    pub(crate) fn settle(&mut self, change: &FilesChange) -> Result<(), Fault> {
        self.session.settle(&mut context(&mut self.blobs), change)
    }
}

/// Changes in place, and how a file stands that they change.
impl Host {
    pub(crate) fn truncating(&mut self, name: &str, length: u64) -> Result<Prepared<FilesChange>, Fault> {
        self.prepare(FilesCall::Truncate { path: self.path(name), length })
    }

    pub(crate) fn truncate(&mut self, name: &str, length: u64) -> Result<FilesChange, Fault> {
        Ok(self.truncating(name, length)?.change)
    }

    pub(crate) fn chmod(&mut self, name: &str, mode: u32) -> Result<FilesChange, Fault> {
        Ok(self.prepare(FilesCall::SetMode { path: self.path(name), mode })?.change)
    }

    pub(crate) fn discarding(&mut self, name: &str) -> Result<Prepared<FilesChange>, Fault> {
        self.prepare(FilesCall::Discard { path: self.path(name) })
    }

    pub(crate) fn discard(&mut self, name: &str) -> Result<FilesChange, Fault> {
        Ok(self.discarding(name)?.change)
    }

    pub(crate) fn mode(&self, name: &str) -> u32 {
        std::fs::metadata(self.root.join(name)).expect("metadata").mode() & 0o7777
    }

    pub(crate) fn size(&self, name: &str) -> u64 {
        std::fs::metadata(self.root.join(name)).expect("metadata").len()
    }

    pub(crate) fn modified(&self, name: &str) -> (i64, i64) {
        let metadata = std::fs::metadata(self.root.join(name)).expect("metadata");
        (metadata.mtime(), metadata.mtime_nsec())
    }

    pub(crate) fn appender(&self, name: &str) -> File {
        OpenOptions::new().append(true).open(self.root.join(name)).expect("opened")
    }

    pub(crate) fn append(&self, name: &str, text: &str) {
        self.appender(name).write_all(text.as_bytes()).expect("appended");
    }

    pub(crate) fn range(&mut self, name: &str, offset: u64, length: u32) -> Result<Vec<u8>, Fault> {
        self.read::<Bytes>(FilesCall::ReadRange { path: self.path(name), offset, length }).map(Bytes::into_vec)
    }

    pub(crate) fn tail(&mut self, name: &str, bytes: u32) -> Result<Vec<u8>, Fault> {
        self.read::<Bytes>(FilesCall::Tail { path: self.path(name), bytes }).map(Bytes::into_vec)
    }

    /// A file of more bytes than a read gives, that differ from place to place.
    pub(crate) fn write_large(&self, name: &str) -> Vec<u8> {
        let bytes: Vec<u8> = (0..MAX_CONTENT / 4 + 1000).flat_map(|number| (number as u32).to_le_bytes()).collect();
        std::fs::write(self.root.join(name), &bytes).expect("written");
        bytes
    }
}

pub(crate) fn context(blobs: &mut Memory) -> Context<'_> {
    Context { blobs, deadline: Instant::now() + Duration::from_secs(60) }
}

pub(crate) fn scope(call: &FilesCall, pattern: &str) -> Scope {
    let word = Selector::word(pattern);
    let word = match call.access() {
        Access::Read => word,
        Access::Write => word.with("verbs", call.function()),
    };
    Files::parse_scope(call.access(), &word).expect(pattern)
}

/// A change as it comes back from the journal.
pub(crate) fn journaled(change: &FilesChange) -> FilesChange {
    let text = serde_json::to_string(change).expect("encoded");
    let value = countersign_model::strict::from_slice(text.as_bytes(), 1 << 20).expect("strict");
    let back: FilesChange = serde_json::from_value(value).expect("decoded");
    assert_eq!(&back, change);
    back
}

pub(crate) fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).expect("directory");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("entry").file_name().into_string().expect("text")).collect();
    names.sort();
    names
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[track_caller]
pub(crate) fn refused<T: std::fmt::Debug>(result: Result<T, Fault>, kind: FaultKind, says: &str) {
    let fault = result.expect_err("refused");
    assert!(fault.kind == kind && fault.what.contains(says), "{fault:?}");
    assert!(!fault.reached, "{fault:?}");
}
