//! What a rehearsal has changed: pending images over the target, which is never touched.

use std::collections::BTreeMap;

use crate::path::Path;
use crate::snapshot::FileImage;

/// One pending change.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    /// The change's own name.
    pub(crate) nonce: String,
    /// What stands there then; `None` where nothing does. The content is a blob.
    pub(crate) image: Option<FileImage>,
    /// When it was rehearsed, in milliseconds since 1970-01-01 UTC.
    pub(crate) at: u64,
}

/// Pending changes by path, the latest last.
#[derive(Default)]
pub(crate) struct Overlay(BTreeMap<Path, Vec<Layer>>);

impl Overlay {
    /// What is pending at this path.
    pub(crate) fn at(&self, path: &Path) -> Option<&Layer> {
        self.0.get(path)?.last()
    }

    /// What is pending right in this directory, by name.
    pub(crate) fn within<'a>(&'a self, directory: &'a Path) -> impl Iterator<Item = (&'a str, &'a Layer)> {
        self.0.iter().filter_map(|(path, layers)| Some((path.name_in(directory)?, layers.last()?)))
    }

    /// How many changes are pending.
    pub(crate) fn len(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    pub(crate) fn push(&mut self, path: Path, layer: Layer) {
        self.0.entry(path).or_default().push(layer);
    }

    /// Takes the latest change at the path away.
    pub(crate) fn pop(&mut self, path: &Path) {
        if let Some(layers) = self.0.get_mut(path) {
            layers.pop();
            if layers.is_empty() {
                self.0.remove(path);
            }
        }
    }
}
