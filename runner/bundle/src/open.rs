//! A directory, or blobs by their digests, that may say anything, into a bundle.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use countersign_model::Digest;

use crate::bundle::{Bundle, Step, blob_path};
use crate::directory::Directory;
use crate::oci::{self, BLOBS, Descriptor, INDEX_FILE, LAYOUT_FILE, Part};
use crate::{BundleError, MAX_COMPONENT_BYTES, MAX_JSON_BYTES, MAX_MANIFEST_BYTES, Manifest};

/// The blobs that were read, each once.
struct Blobs<'a> {
    source: Source<'a>,
    read: BTreeMap<Digest, Arc<[u8]>>,
}

/// Where blobs come from.
enum Source<'a> {
    Directory(Directory),
    Memory(&'a BTreeMap<Digest, Arc<[u8]>>),
}

pub(crate) fn open(path: &Path) -> Result<Bundle, BundleError> {
    let directory = Directory::open(path)?;
    oci::read_layout(&small(&directory, LAYOUT_FILE)?)?;
    let index = small(&directory, INDEX_FILE)?;
    let bundle = oci::read_directory_index(&index)?;
    let [blobs, algorithm] = BLOBS;
    let blobs_directory = directory.directory(blobs)?;
    let source = Source::Directory(blobs_directory.directory(algorithm)?);
    let mut blobs = Blobs { source, read: BTreeMap::new() };
    let read = read(&mut blobs, &bundle)?;

    // A bundle is exactly what it names.
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    directory.holds_only(&names(&[LAYOUT_FILE, INDEX_FILE, BLOBS[0]]))?;
    blobs_directory.holds_only(&names(&[algorithm]))?;
    if let Source::Directory(directory) = &blobs.source {
        directory.holds_only(&blobs.read.keys().map(Digest::hex).collect())?;
    }
    Ok(read)
}

/// The bundle of this digest, from its blobs.
pub(crate) fn from_blobs(digest: Digest, held: &BTreeMap<Digest, Arc<[u8]>>) -> Result<Bundle, BundleError> {
    let missing = || BundleError::Missing { what: blob_path(&digest) };
    let bundle = oci::bundle_descriptor(digest, held.get(&digest).ok_or_else(missing)?);
    let mut blobs = Blobs { source: Source::Memory(held), read: BTreeMap::new() };
    let read = read(&mut blobs, &bundle)?;
    match held.keys().find(|digest| !blobs.read.contains_key(digest)) {
        Some(stranger) => Err(BundleError::Unexpected { what: blob_path(stranger) }),
        None => Ok(read),
    }
}

fn read(blobs: &mut Blobs<'_>, bundle: &Descriptor) -> Result<Bundle, BundleError> {
    let manifests = oci::read_bundle_index(&blobs.json("the bundle's index", bundle)?)?;
    let mut manifest = None;
    let mut steps = BTreeMap::new();
    for (part, descriptor) in &manifests {
        let (config, layer) =
            oci::read_manifest(*part, &blobs.json(&format!("the manifest of `{part}`"), descriptor)?)?;
        let config = blobs.json(&format!("the configuration of `{part}`"), &config)?;
        let content = match part {
            Part::Remediation => blobs.blob("`remediation.toml`", &layer, MAX_MANIFEST_BYTES)?,
            Part::Step(_) => blobs.blob(&format!("the component of `{part}`"), &layer, MAX_COMPONENT_BYTES)?,
        };
        oci::read_config(*part, &config, &content)?;
        match part {
            Part::Remediation => manifest = Some((Manifest::parse(&content)?, content)),
            Part::Step(role) => {
                steps.insert(*role, Step::new(layer.digest, content));
            }
        }
    }
    let (manifest, manifest_bytes) = manifest.ok_or_else(|| BundleError::NoSuchPart(Part::Remediation.to_string()))?;
    for role in manifest.roles() {
        if !steps.contains_key(&role) {
            return Err(BundleError::NoSuchPart(Part::Step(role).to_string()));
        }
    }
    let described: BTreeSet<_> = manifest.roles().collect();
    if let Some(role) = steps.keys().find(|role| !described.contains(role)) {
        return Err(BundleError::Undescribed(*role));
    }
    Ok(Bundle::new(bundle.digest, manifest, manifest_bytes, steps, blobs.read.clone()))
}

/// A document that stands beside the blobs.
fn small(directory: &Directory, name: &str) -> Result<Vec<u8>, BundleError> {
    let too_large = |size| BundleError::TooLarge { what: format!("`{name}`"), size, limit: MAX_JSON_BYTES };
    let (file, size) = directory.file(name)?;
    let limit = usize::try_from(size).ok().filter(|size| *size <= MAX_JSON_BYTES).ok_or_else(|| too_large(size))?;
    let bytes = file.read(limit)?;
    // It may have grown; the strict parser decides on the bytes that were read.
    if bytes.len() > MAX_JSON_BYTES {
        return Err(too_large(bytes.len() as u64));
    }
    Ok(bytes)
}

impl Blobs<'_> {
    fn json(&mut self, what: &str, descriptor: &Descriptor) -> Result<Arc<[u8]>, BundleError> {
        self.blob(what, descriptor, MAX_JSON_BYTES)
    }

    /// The bytes of a blob: its name comes from its digest alone, and its size and bytes are the descriptor's.
    fn blob(&mut self, what: &str, descriptor: &Descriptor, limit: usize) -> Result<Arc<[u8]>, BundleError> {
        let Descriptor { digest: blob, size: expected, .. } = *descriptor;
        let what = format!("{what}, blob `{blob}`,");
        let size = usize::try_from(expected).ok().filter(|size| *size <= limit);
        let size = size.ok_or(BundleError::TooLarge { what, size: expected, limit })?;
        let bytes: Arc<[u8]> = match self.read.get(&blob) {
            Some(bytes) => Arc::clone(bytes),
            None => match &self.source {
                Source::Directory(directory) => {
                    let (file, found) = directory.file(&blob.hex())?;
                    if found != expected {
                        return Err(BundleError::WrongSize { blob, expected, found });
                    }
                    file.read(size)?.into()
                }
                Source::Memory(held) => {
                    let missing = || BundleError::Missing { what: blob_path(&blob) };
                    Arc::clone(held.get(&blob).ok_or_else(missing)?)
                }
            },
        };
        if bytes.len() != size {
            return Err(BundleError::WrongSize { blob, expected, found: bytes.len() as u64 });
        }
        let found = Digest::of(&bytes);
        if found != blob {
            return Err(BundleError::WrongDigest { blob, found });
        }
        self.read.insert(blob, Arc::clone(&bytes));
        Ok(bytes)
    }
}
