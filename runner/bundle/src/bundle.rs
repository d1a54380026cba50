use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use countersign_model::{Digest, Role};

use crate::oci::{self, Part};
use crate::{BundleError, MAX_COMPONENT_BYTES, MAX_JSON_BYTES, Manifest, open, save};

/// A remediation, built: an OCI image layout, named by its digest, never changed.
///
/// Whoever has one has its bytes in memory, each read once and equal to its digest. Whether the
/// components do what they say is for the sandbox and the approver.
#[derive(Clone)]
pub struct Bundle {
    digest: Digest,
    manifest: Manifest,
    manifest_bytes: Arc<[u8]>,
    steps: BTreeMap<Role, Step>,
    blobs: BTreeMap<Digest, Arc<[u8]>>,
}

/// One step of a bundle: a component, not yet inspected.
#[derive(Clone)]
pub struct Step {
    digest: Digest,
    bytes: Arc<[u8]>,
}

impl Step {
    pub(crate) fn new(digest: Digest, bytes: Arc<[u8]>) -> Self {
        Self { digest, bytes }
    }

    /// The digest of the component's bytes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The component's bytes, at most [`MAX_COMPONENT_BYTES`]: the ones to inspect, hash and compile.
    #[must_use]
    pub fn bytes(&self) -> &Arc<[u8]> {
        &self.bytes
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Step").field("digest", &self.digest).field("size", &self.bytes.len()).finish()
    }
}

impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bundle").field("digest", &self.digest).field("steps", &self.steps).finish_non_exhaustive()
    }
}

impl Bundle {
    pub(crate) fn new(
        digest: Digest,
        manifest: Manifest,
        manifest_bytes: Arc<[u8]>,
        steps: BTreeMap<Role, Step>,
        blobs: BTreeMap<Digest, Arc<[u8]>>,
    ) -> Self {
        Self { digest, manifest, manifest_bytes, steps, blobs }
    }

    /// Reads the bundle in a directory, all of which may be hostile.
    ///
    /// # Errors
    /// When anything in the directory is missing, is not named by the bundle, is not a regular file,
    /// is larger than a bundle may be, has other bytes than its digest says, or is not as
    /// [`Self::write`] lays it out.
    pub fn open(dir: &Path) -> Result<Self, BundleError> {
        open::open(dir)
    }

    /// Reads the bundle of this digest from its blobs, all of which may be hostile.
    ///
    /// # Errors
    /// As [`Self::open`]; a blob that the bundle does not name is refused.
    pub fn from_blobs(digest: Digest, blobs: &BTreeMap<Digest, Arc<[u8]>>) -> Result<Self, BundleError> {
        open::from_blobs(digest, blobs)
    }

    /// Makes a bundle of a `remediation.toml` and the component of every step that it describes, and
    /// writes it. The same input makes the same bytes everywhere.
    ///
    /// `dir` appears whole or not at all. An intact bundle that stands there is replaced; anything
    /// else is left alone.
    ///
    /// # Errors
    /// When `remediation.toml` cannot be used, the steps are not the ones that it describes, a
    /// component is too large, something else stands at `dir`, or writing fails.
    pub fn write(dir: &Path, manifest: &[u8], steps: &BTreeMap<Role, Vec<u8>>) -> Result<Self, BundleError> {
        let bundle = Self::assemble(manifest, steps)?;
        bundle.copy_to(dir)?;
        Ok(bundle)
    }

    fn assemble(manifest_bytes: &[u8], components: &BTreeMap<Role, Vec<u8>>) -> Result<Self, BundleError> {
        let manifest = Manifest::parse(manifest_bytes)?;
        let mut contents: BTreeMap<Part, Arc<[u8]>> = BTreeMap::from([(Part::Remediation, manifest_bytes.into())]);
        for role in manifest.roles() {
            let bytes = components.get(&role).ok_or_else(|| BundleError::NoSuchPart(role.to_string()))?;
            let what = format!("the component of `{role}`");
            within(what, bytes, MAX_COMPONENT_BYTES)?;
            contents.insert(Part::Step(role), bytes.as_slice().into());
        }
        if let Some(role) = components.keys().find(|role| !contents.contains_key(&Part::Step(**role))) {
            return Err(BundleError::Undescribed(*role));
        }

        let mut blobs = BTreeMap::new();
        let mut keep = |bytes: Arc<[u8]>| {
            let digest = Digest::of(&bytes);
            blobs.insert(digest, bytes);
            digest
        };
        let mut manifests = Vec::new();
        let mut steps = BTreeMap::new();
        for (part, content) in &contents {
            let config = oci::config(*part, content);
            within(format!("the configuration of `{part}`"), &config, MAX_JSON_BYTES)?;
            manifests.push((*part, oci::manifest(*part, &config, content)));
            keep(config.into());
            let digest = keep(Arc::clone(content));
            if let Part::Step(role) = part {
                steps.insert(*role, Step::new(digest, Arc::clone(content)));
            }
        }
        let index = oci::bundle_index(manifests.iter().map(|(part, bytes)| (*part, bytes.as_slice())));
        for (_, manifest) in manifests {
            keep(manifest.into());
        }
        let digest = keep(index.into());
        Ok(Self { digest, manifest, manifest_bytes: manifest_bytes.into(), steps, blobs })
    }

    /// Writes the same bytes elsewhere, under the same digest, by the rules of [`Self::write`].
    ///
    /// # Errors
    /// When something else stands at `dir`, or writing fails.
    pub fn copy_to(&self, dir: &Path) -> Result<(), BundleError> {
        let index = self.blobs.get(&self.digest).map(|index| oci::directory_index(index)).unwrap_or_default();
        save::save(dir, &oci::layout(), &index, &self.blobs)
    }

    /// Its directory as [`Self::copy_to`] lays it out: every file by its path in it.
    #[must_use]
    pub fn files(&self) -> BTreeMap<String, Arc<[u8]>> {
        let index = self.blobs.get(&self.digest).map(|index| oci::directory_index(index)).unwrap_or_default();
        let blob = |(digest, bytes): (&Digest, &Arc<[u8]>)| (blob_path(digest), Arc::clone(bytes));
        let mut files: BTreeMap<_, _> = self.blobs.iter().map(blob).collect();
        files.insert(oci::LAYOUT_FILE.to_owned(), oci::layout().into());
        files.insert(oci::INDEX_FILE.to_owned(), index.into());
        files
    }

    /// The bundle's name: the digest of the index of its manifests.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Its `remediation.toml`.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The bytes of its `remediation.toml`.
    #[must_use]
    pub fn manifest_bytes(&self) -> &[u8] {
        &self.manifest_bytes
    }

    /// The step in this role, if the bundle has one; fix and check are always there.
    #[must_use]
    pub fn step(&self, role: Role) -> Option<&Step> {
        self.steps.get(&role)
    }

    /// The digest of every step.
    #[must_use]
    pub fn steps(&self) -> BTreeMap<Role, Digest> {
        self.steps.iter().map(|(role, step)| (*role, step.digest)).collect()
    }
}

/// Where a blob stands in a bundle's directory.
pub(crate) fn blob_path(digest: &Digest) -> String {
    format!("{}/{}", oci::BLOBS.join("/"), digest.hex())
}

fn within(what: String, bytes: &[u8], limit: usize) -> Result<(), BundleError> {
    if bytes.len() > limit {
        return Err(BundleError::TooLarge { what, size: bytes.len() as u64, limit });
    }
    Ok(())
}
