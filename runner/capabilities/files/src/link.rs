//! WIT imports become calls.

use countersign_capability::{Guest, Linker, StepState, ViaPort, step};
use countersign_model::Access;

use crate::Files;
use crate::call::{self, Content, FilesCall};

#[allow(missing_docs, unreachable_pub, reason = "generated; the documentation stands in the WIT")]
mod bindings {
    wasmtime::component::bindgen!({
        path: ["../../../sdk/wit/step", "../../../sdk/wit/files"],
        inline: "
            package countersign:files-host;
            world files {
                import countersign:files/read@0.1.0;
                import countersign:files/write@0.1.0;
            }
        ",
        with: { "countersign:step/types@0.1.0": countersign_capability::step::types },
        imports: { default: trappable },
        additional_derives: [serde::Serialize, serde::Deserialize, Clone, PartialEq],
    });
}

use bindings::countersign::files::{read, types, write};

/// What linking gives.
pub(crate) type Linked = wasmtime::Result<()>;
/// What a host function gives: the outer error ends the step.
type Answer<T> = wasmtime::Result<Result<T, step::types::Error>>;

/// Links one interface, and nothing else.
pub(crate) fn link(linker: &mut Linker, access: Access) -> Linked {
    match access {
        Access::Read => read::add_to_linker::<_, ViaPort>(linker, StepState::guest),
        Access::Write => write::add_to_linker::<_, ViaPort>(linker, StepState::guest),
    }
}

impl read::Host for Guest<'_> {
    fn read(&mut self, path: String) -> Answer<Vec<u8>> {
        let content = self.ask::<Files, Content>(&FilesCall::Read { path })?;
        Ok(content.map(Content::into_vec))
    }

    fn tail(&mut self, path: String, bytes: u32) -> Answer<Vec<u8>> {
        let content = self.ask::<Files, Content>(&FilesCall::Tail { path, bytes })?;
        Ok(content.map(Content::into_vec))
    }

    fn read_range(&mut self, path: String, offset: u64, length: u32) -> Answer<Vec<u8>> {
        let content = self.ask::<Files, Content>(&FilesCall::ReadRange { path, offset, length })?;
        Ok(content.map(Content::into_vec))
    }

    fn usage(&mut self, path: String) -> Answer<types::Usage> {
        let usage = self.ask::<Files, call::Usage>(&FilesCall::Usage { path })?;
        Ok(usage.map(Into::into))
    }

    fn stat(&mut self, path: String) -> Answer<types::Stat> {
        let stat = self.ask::<Files, call::Stat>(&FilesCall::Stat { path })?;
        Ok(stat.map(Into::into))
    }

    fn list(&mut self, path: String) -> Answer<Vec<types::Entry>> {
        let entries = self.ask::<Files, Vec<call::Entry>>(&FilesCall::List { path })?;
        Ok(entries.map(|entries| entries.into_iter().map(Into::into).collect()))
    }
}

impl write::Host for Guest<'_> {
    fn replace(&mut self, path: String, contents: Vec<u8>) -> Answer<()> {
        self.ask::<Files, ()>(&FilesCall::Replace { path, contents })
    }

    fn create(&mut self, path: String, contents: Vec<u8>, mode: u32) -> Answer<()> {
        self.ask::<Files, ()>(&FilesCall::Create { path, contents, mode })
    }

    fn remove(&mut self, path: String) -> Answer<()> {
        self.ask::<Files, ()>(&FilesCall::Remove { path })
    }

    fn truncate(&mut self, path: String, length: u64) -> Answer<()> {
        self.ask::<Files, ()>(&FilesCall::Truncate { path, length })
    }

    fn set_mode(&mut self, path: String, mode: u32) -> Answer<()> {
        self.ask::<Files, ()>(&FilesCall::SetMode { path, mode })
    }

    fn discard(&mut self, path: String) -> Answer<()> {
        self.ask::<Files, ()>(&FilesCall::Discard { path })
    }
}

impl From<call::Kind> for types::Kind {
    fn from(kind: call::Kind) -> Self {
        match kind {
            call::Kind::File => Self::File,
            call::Kind::Directory => Self::Directory,
            call::Kind::Symlink => Self::Symlink,
            call::Kind::Other => Self::Other,
        }
    }
}

impl From<call::Stat> for types::Stat {
    fn from(stat: call::Stat) -> Self {
        Self {
            kind: stat.kind.into(),
            size: stat.size,
            mode: stat.mode,
            owner: stat.owner,
            group: stat.group,
            modified: stat.modified,
        }
    }
}

impl From<call::Space> for types::Space {
    fn from(space: call::Space) -> Self {
        Self { total: space.total, free: space.free, available: space.available }
    }
}

impl From<call::Usage> for types::Usage {
    fn from(usage: call::Usage) -> Self {
        Self { bytes: usage.bytes.into(), inodes: usage.inodes.into() }
    }
}

impl From<call::Entry> for types::Entry {
    fn from(entry: call::Entry) -> Self {
        Self { name: entry.name, kind: entry.kind.into() }
    }
}
