//! What a rehearsal has changed: pending images over the target, which is never touched.

use std::collections::BTreeMap;

use crate::path::Path;
use crate::snapshot::FileImage;

/// One pending change.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    /// The change's own name.
    pub(crate) nonce: String,
    /// What stands there then; `None` where nothing does.
    pub(crate) image: Option<FileImage>,
    /// Where the content is.
    pub(crate) held: Held,
    /// When it was rehearsed, in milliseconds since 1970-01-01 UTC.
    pub(crate) at: u64,
}

/// Where the content of what is pending is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// It is a blob, by its digest.
    Blob,
    /// Nowhere as a whole: parts of it are on the target and parts a blob.
    Nowhere,
    /// It is what this file of the target begins with: of what is changed in place, nothing is copied.
    Target { device: u64, inode: u64 },
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

    /// Whether nothing is pending.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
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
