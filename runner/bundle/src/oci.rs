//! The JSON documents of the image layout: what they look like written, and what they must look
//! like read.
//!
//! Written as plain structs: a general type for the image specification accepts what a bundle never
//! has. The formats:
//! - layout, index, manifest, descriptor: <https://github.com/opencontainers/image-spec/blob/v1.1.1/spec.md>
//! - a component's manifest and configuration: <https://tag-runtime.cncf.io/wgs/wasm/deliverables/wasm-oci-artifact/>

use std::collections::BTreeMap;
use std::fmt;

use countersign_model::text::excerpt;
use countersign_model::{Digest, Role, strict};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::component::{Names, names};
use crate::{BundleError, MAX_JSON_BYTES};

pub(crate) const LAYOUT_FILE: &str = "oci-layout";
pub(crate) const INDEX_FILE: &str = "index.json";
pub(crate) const BLOBS: [&str; 2] = ["blobs", "sha256"];

/// The annotation that says what a manifest is for.
const ROLE: &str = "org.countersign.role";

const LAYOUT_VERSION: &str = "1.0.0";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const BUNDLE_ARTIFACT: &str = "application/vnd.countersign.bundle.v1";
const WASM_CONFIG: &str = "application/vnd.wasm.config.v0+json";
const WASM: &str = "application/wasm";
const EMPTY_CONFIG: &str = "application/vnd.oci.empty.v1+json";
const REMEDIATION: &str = "application/vnd.countersign.remediation.v1+toml";
/// The same for every build, so that equal steps make equal bundles.
const EPOCH: &str = "1970-01-01T00:00:00Z";

/// One manifest of a bundle: the remediation's, then one per step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Remediation,
    Step(Role),
}

impl Part {
    fn from_name(name: &str) -> Option<Self> {
        if name == "remediation" { Some(Self::Remediation) } else { name.parse().ok().map(Self::Step) }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Remediation => f.write_str("remediation"),
            Self::Step(role) => fmt::Display::fmt(role, f),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Layout {
    image_layout_version: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Index {
    schema_version: u32,
    media_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
    manifests: Vec<Descriptor>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Manifest {
    schema_version: u32,
    media_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
    config: Descriptor,
    layers: Vec<Descriptor>,
    annotations: BTreeMap<String, String>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Descriptor {
    media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct WasmConfig {
    created: String,
    architecture: String,
    os: String,
    layer_digests: Vec<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    component: Option<Component>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Component {
    exports: Vec<String>,
    imports: Vec<String>,
}

impl Descriptor {
    fn of(media_type: &str, bytes: &[u8]) -> Self {
        let size = bytes.len() as u64;
        Self { media_type: media_type.to_owned(), digest: Digest::of(bytes), size, annotations: BTreeMap::new() }
    }
}

fn role_annotation(part: Part) -> BTreeMap<String, String> {
    BTreeMap::from([(ROLE.to_owned(), part.to_string())])
}

/// Structs of strings, numbers and lists always serialize.
fn json<T: Serialize>(document: &T) -> Vec<u8> {
    serde_json::to_vec(document).unwrap_or_default()
}

pub(crate) fn layout() -> Vec<u8> {
    json(&Layout { image_layout_version: LAYOUT_VERSION.to_owned() })
}

/// The index of a directory that holds one bundle.
pub(crate) fn directory_index(bundle: &[u8]) -> Vec<u8> {
    json(&Index {
        schema_version: 2,
        media_type: INDEX.to_owned(),
        artifact_type: None,
        manifests: vec![Descriptor::of(INDEX, bundle)],
    })
}

/// The descriptor of a bundle by its index's bytes, under the digest that it is asked for.
pub(crate) fn bundle_descriptor(digest: Digest, index: &[u8]) -> Descriptor {
    Descriptor { digest, ..Descriptor::of(INDEX, index) }
}

/// The index that is the bundle, over the manifests in their order.
pub(crate) fn bundle_index<'a>(manifests: impl Iterator<Item = (Part, &'a [u8])>) -> Vec<u8> {
    let describe = |(part, bytes)| Descriptor { annotations: role_annotation(part), ..Descriptor::of(MANIFEST, bytes) };
    json(&Index {
        schema_version: 2,
        media_type: INDEX.to_owned(),
        artifact_type: Some(BUNDLE_ARTIFACT.to_owned()),
        manifests: manifests.map(describe).collect(),
    })
}

/// The configuration that belongs to a part's content.
pub(crate) fn config(part: Part, content: &[u8]) -> Vec<u8> {
    if part == Part::Remediation {
        return b"{}".to_vec();
    }
    // The artifact layout knows components and core modules; for want of a better name it calls the
    // latter, and so everything else, `wasip1`.
    let component = names(content).map(|Names { imports, exports }| Component { exports, imports });
    json(&WasmConfig {
        created: EPOCH.to_owned(),
        architecture: "wasm".to_owned(),
        os: if component.is_some() { "wasip2" } else { "wasip1" }.to_owned(),
        layer_digests: vec![Digest::of(content)],
        component,
    })
}

pub(crate) fn manifest(part: Part, config: &[u8], content: &[u8]) -> Vec<u8> {
    let (artifact_type, config_type, layer_type) = match part {
        // Without a configuration of its own, an artifact must say what it is.
        Part::Remediation => (Some(REMEDIATION.to_owned()), EMPTY_CONFIG, REMEDIATION),
        Part::Step(_) => (None, WASM_CONFIG, WASM),
    };
    json(&Manifest {
        schema_version: 2,
        media_type: MANIFEST.to_owned(),
        artifact_type,
        config: Descriptor::of(config_type, config),
        layers: vec![Descriptor::of(layer_type, content)],
        annotations: role_annotation(part),
    })
}

/// One document that is being read, with the name that errors call it by.
struct Reading<'a> {
    what: &'a str,
}

impl Reading<'_> {
    fn json<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, BundleError> {
        strict::from_slice(bytes, MAX_JSON_BYTES).map_err(|error| BundleError::Malformed {
            what: self.what.to_owned(),
            why: excerpt(&error.to_string(), 300),
        })
    }

    fn expect(&self, field: &'static str, found: &str, expected: &str) -> Result<(), BundleError> {
        if found == expected {
            return Ok(());
        }
        let (what, expected) = (self.what.to_owned(), expected.to_owned());
        Err(BundleError::Field { what, field, found: excerpt(found, 200), expected })
    }

    fn only<T>(&self, field: &'static str, items: Vec<T>) -> Result<T, BundleError> {
        let count = items.len();
        match <[T; 1]>::try_from(items) {
            Ok([item]) => Ok(item),
            Err(_) => {
                let expected = "1 entry".to_owned();
                Err(BundleError::Field {
                    what: self.what.to_owned(),
                    field,
                    found: format!("{count} entries"),
                    expected,
                })
            }
        }
    }

    /// A descriptor without annotations.
    fn plain(&self, field: &'static str, descriptor: Descriptor, media: &str) -> Result<Descriptor, BundleError> {
        self.expect(field, &descriptor.media_type, media)?;
        self.expect(field, &annotations(&descriptor.annotations), "")?;
        Ok(descriptor)
    }

    fn index(&self, bytes: &[u8], artifact_type: &str) -> Result<Vec<Descriptor>, BundleError> {
        let index: Index = self.json(bytes)?;
        self.expect("schemaVersion", &index.schema_version.to_string(), "2")?;
        self.expect("mediaType", &index.media_type, INDEX)?;
        self.expect("artifactType", &index.artifact_type.unwrap_or_default(), artifact_type)?;
        Ok(index.manifests)
    }
}

fn annotations(annotations: &BTreeMap<String, String>) -> String {
    annotations.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
}

pub(crate) fn read_layout(bytes: &[u8]) -> Result<(), BundleError> {
    let reading = Reading { what: "`oci-layout`" };
    let layout: Layout = reading.json(bytes)?;
    reading.expect("imageLayoutVersion", &layout.image_layout_version, LAYOUT_VERSION)
}

/// The descriptor of the one bundle in a directory.
pub(crate) fn read_directory_index(bytes: &[u8]) -> Result<Descriptor, BundleError> {
    let reading = Reading { what: "`index.json`" };
    let bundle = reading.only("manifests", reading.index(bytes, "")?)?;
    reading.plain("manifests", bundle, INDEX)
}

/// The descriptors of a bundle's manifests: each part at most once, in their order.
pub(crate) fn read_bundle_index(bytes: &[u8]) -> Result<BTreeMap<Part, Descriptor>, BundleError> {
    let reading = Reading { what: "the bundle's index" };
    let mut manifests = BTreeMap::<Part, Descriptor>::new();
    for mut descriptor in reading.index(bytes, BUNDLE_ARTIFACT)? {
        let annotation = descriptor.annotations.remove(ROLE).unwrap_or_default();
        let Some(part) = Part::from_name(&annotation) else {
            let expected = "remediation, or a step's role".to_owned();
            let (what, found) = (reading.what.to_owned(), excerpt(&annotation, 80));
            return Err(BundleError::Field { what, field: ROLE, found, expected });
        };
        let descriptor = reading.plain("manifests", descriptor, MANIFEST)?;
        if manifests.contains_key(&part) {
            return Err(BundleError::Twice(part.to_string()));
        }
        if let Some((before, _)) = manifests.last_key_value().filter(|(last, _)| **last > part) {
            return Err(BundleError::Order { found: part.to_string(), before: before.to_string() });
        }
        manifests.insert(part, descriptor);
    }
    Ok(manifests)
}

/// The descriptors of a part's configuration and content.
pub(crate) fn read_manifest(part: Part, bytes: &[u8]) -> Result<(Descriptor, Descriptor), BundleError> {
    let what = format!("the manifest of `{part}`");
    let reading = Reading { what: &what };
    let manifest: Manifest = reading.json(bytes)?;
    let (artifact_type, config_type, layer_type) = match part {
        Part::Remediation => (REMEDIATION, EMPTY_CONFIG, REMEDIATION),
        Part::Step(_) => ("", WASM_CONFIG, WASM),
    };
    reading.expect("schemaVersion", &manifest.schema_version.to_string(), "2")?;
    reading.expect("mediaType", &manifest.media_type, MANIFEST)?;
    reading.expect("artifactType", &manifest.artifact_type.unwrap_or_default(), artifact_type)?;
    reading.expect("annotations", &annotations(&manifest.annotations), &annotations(&role_annotation(part)))?;
    let config = reading.plain("config", manifest.config, config_type)?;
    let layer = reading.plain("layers", reading.only("layers", manifest.layers)?, layer_type)?;
    Ok((config, layer))
}

/// A configuration must say of the content what is true: other tools show it.
pub(crate) fn read_config(part: Part, bytes: &[u8], content: &[u8]) -> Result<(), BundleError> {
    let expected = config(part, content);
    if bytes == expected {
        return Ok(());
    }
    let what = format!("the configuration of `{part}`");
    let reading = Reading { what: &what };
    if part == Part::Remediation {
        return reading.expect("bytes", &String::from_utf8_lossy(bytes), "{}");
    }
    let (found, expected): (WasmConfig, WasmConfig) = (reading.json(bytes)?, reading.json(&expected)?);
    let list = |items: &[Digest]| items.iter().map(Digest::to_string).collect::<Vec<_>>().join(" ");
    let names = |component: &Option<Component>| {
        component.as_ref().map(json).map(|json| String::from_utf8_lossy(&json).into_owned())
    };
    reading.expect("created", &found.created, &expected.created)?;
    reading.expect("architecture", &found.architecture, &expected.architecture)?;
    reading.expect("os", &found.os, &expected.os)?;
    reading.expect("layerDigests", &list(&found.layer_digests), &list(&expected.layer_digests))?;
    let (found, expected) =
        (names(&found.component).unwrap_or_default(), names(&expected.component).unwrap_or_default());
    reading.expect("component", &found, &expected)
}
