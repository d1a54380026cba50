use std::collections::BTreeSet;
use std::sync::Arc;

use countersign_capability::Registry;
use countersign_model::text::excerpt;
use countersign_model::{Access, Digest, Role};
use serde::{Deserialize, Serialize};
use wasmparser::component_types::{ComponentAnyTypeId, ComponentEntityType, ComponentItem};
use wasmparser::types::Types;
use wasmparser::{
    ComponentExternName, Encoding, FuncValidatorAllocations, Parser, Payload, ValidPayload, Validator, WasmFeatures,
};

use crate::imports::{Interface, Known};
use crate::wasi::{self, is_wasi};

/// The largest component that is read.
pub const MAX_COMPONENT_BYTES: usize = 64 << 20;

/// The one set of Wasm features, for this validator and for the engine. What is not named here does not
/// exist: no threads, 64-bit memories, several memories, relaxed SIMD, tail calls, exceptions, garbage
/// collection, typed function references, nor anything asynchronous.
pub(crate) const FEATURES: WasmFeatures = WasmFeatures::MUTABLE_GLOBAL
    .union(WasmFeatures::SATURATING_FLOAT_TO_INT)
    .union(WasmFeatures::SIGN_EXTENSION)
    .union(WasmFeatures::MULTI_VALUE)
    .union(WasmFeatures::BULK_MEMORY)
    .union(WasmFeatures::REFERENCE_TYPES)
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::FLOATS)
    .union(WasmFeatures::SIMD)
    .union(WasmFeatures::COMPONENT_MODEL);

/// What a component is and what it asks for, read from its own bytes before anything is compiled.
///
/// It holds the buffer that was read, so that the very same bytes are compiled.
#[derive(Clone)]
pub struct Inspection {
    bytes: Arc<[u8]>,
    digest: Digest,
    pub(crate) role: Role,
    pub(crate) imports: Vec<String>,
    pub(crate) wanted: Vec<Wanted>,
}

/// One interface that needs a grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wanted {
    pub(crate) import: String,
    pub(crate) capability: String,
    pub(crate) access: Access,
}

/// Why bytes are no step.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InspectError {
    /// They are too many.
    #[error("{size} bytes are more than the {MAX_COMPONENT_BYTES} that a component may have")]
    TooLarge {
        /// How many there are.
        size: usize,
    },
    /// They are something else.
    #[error("this is not WebAssembly")]
    NotWasm,
    /// They are a module.
    #[error("this is a core WebAssembly module, not a component: `countersign build` makes a component of it")]
    CoreModule,
    /// They are native code.
    #[error("this is precompiled native code: the runner never loads code that it did not compile itself")]
    Precompiled,
    /// They are not valid under the features that the engine allows.
    #[error("this is not a valid component: {what} (at byte {offset})")]
    Malformed {
        /// What is wrong.
        what: String,
        /// Where.
        offset: u64,
    },
    /// They import something of WASI that no step is given.
    #[error("the component imports `{import}`, which is refused before it is compiled: {why}")]
    Wasi {
        /// The import.
        import: String,
        /// What there is of WASI instead.
        why: String,
    },
    /// They import something that this runner does not have under exactly that name.
    #[error("the component imports `{import}`, which is not known here: there is {known}")]
    UnknownImport {
        /// The import.
        import: String,
        /// What there is instead.
        known: String,
    },
    /// They import a known name in another shape.
    #[error("the component imports `{import}` as {what}")]
    Shape {
        /// The import.
        import: String,
        /// What it is, and what it had to be.
        what: String,
    },
    /// They are a component of another world.
    #[error(
        "the component exports {found}, so it is no step: a step exports one function, `investigate`, `fix`, `rollback` or `check`, and nothing else but the `wasi:cli/run` of an ordinary toolchain"
    )]
    OtherWorld {
        /// What is exported.
        found: String,
    },
}

/// Reads untrusted bytes: validates all of them, then takes the role from the outermost component's exports and
/// the authority that it asks for from its imports.
///
/// # Errors
/// When they are not a valid component, or import or export anything that a step may not.
pub fn inspect(registry: &Registry, bytes: &[u8]) -> Result<Inspection, InspectError> {
    if bytes.len() > MAX_COMPONENT_BYTES {
        return Err(InspectError::TooLarge { size: bytes.len() });
    }
    if bytes.starts_with(b"\x7fELF") {
        return Err(InspectError::Precompiled);
    }
    if !bytes.starts_with(b"\0asm") {
        return Err(InspectError::NotWasm);
    }
    // Copied once, so that what is validated, hashed and compiled cannot differ.
    let bytes: Arc<[u8]> = bytes.into();
    let outer = validate(&bytes)?;
    let role = role(&outer)?;
    let known = Known::of(registry);
    let mut imports = Vec::new();
    let mut wanted = Vec::new();
    for name in &outer.imports {
        let Some(import) = interface(&known, &outer.types, name)? else { continue };
        imports.push(name.clone());
        if let Interface::Access(capability, access) = *import {
            wanted.push(Wanted { import: name.clone(), capability: capability.to_owned(), access });
        }
    }
    Ok(Inspection { digest: Digest::of(&bytes), bytes, role, imports, wanted })
}

/// The outermost component: its import and export sections, and the types behind their names.
struct Outer {
    imports: Vec<String>,
    exports: Vec<String>,
    types: Types,
}

/// Validates every byte and collects the sections of the outermost component only.
fn validate(bytes: &[u8]) -> Result<Outer, InspectError> {
    let mut parser = Parser::new(0);
    parser.set_features(FEATURES);
    let mut validator = Validator::new_with_features(FEATURES);
    let mut allocations = FuncValidatorAllocations::default();
    let (mut imports, mut exports) = (Vec::new(), Vec::new());
    // How many modules and components the current payload is nested in.
    let mut depth = 0_u32;
    let mut types = None;
    for payload in parser.parse_all(bytes) {
        let payload = payload?;
        let ends = matches!(payload, Payload::End(_));
        match &payload {
            Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => return Err(InspectError::CoreModule),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section.clone() {
                    imports.push(plain(import?.name)?);
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section.clone() {
                    exports.push(plain(export?.name)?);
                }
            }
            _ => {}
        }
        match validator.payload(&payload)? {
            ValidPayload::Func(function, body) => {
                let mut function = function.into_validator(allocations);
                function.validate(&body)?;
                allocations = function.into_allocations();
            }
            ValidPayload::Parser(_) => depth += 1,
            ValidPayload::End(end) if depth == 0 => types = Some(end),
            ValidPayload::End(_) | ValidPayload::Ok => {}
        }
        if ends {
            depth = depth.saturating_sub(1);
        }
    }
    let unended = || InspectError::Malformed { what: "it does not end".to_owned(), offset: bytes.len() as u64 };
    Ok(Outer { imports, exports, types: types.ok_or_else(unended)? })
}

/// An import's or export's name, which nothing may annotate.
fn plain(name: ComponentExternName<'_>) -> Result<String, InspectError> {
    if name.implements.is_some() || name.version_suffix.is_some() || name.external_id.is_some() {
        let what = "something under an annotated name, which a step cannot have".to_owned();
        return Err(InspectError::Shape { import: excerpt(name.name, 120), what });
    }
    Ok(name.name.to_owned())
}

/// The role that the exports make: exactly one, a function, of one of the four names. A program's `main`, which
/// toolchains export beside it, is nobody's role and is never called.
fn role(outer: &Outer) -> Result<Role, InspectError> {
    let main = |name: &str| {
        let entity = outer.types.component_item_for_export(name).map(|item| &item.ty);
        wasi::is_run(name) && matches!(entity, Some(ComponentEntityType::Instance(_)))
    };
    let own: Vec<_> = outer.exports.iter().filter(|name| !main(name)).collect();
    if let [name] = own.as_slice()
        && let Some(role) = Role::ALL.into_iter().find(|role| role.export() == name.as_str())
        && let Some(ComponentItem { ty: ComponentEntityType::Func(_), .. }) =
            outer.types.component_item_for_export(name)
    {
        return Ok(role);
    }
    let mut found: Vec<_> = outer.exports.iter().take(8).map(|name| format!("`{}`", excerpt(name, 60))).collect();
    if outer.exports.len() > found.len() {
        found.push(format!("and {} more", outer.exports.len() - found.len()));
    }
    let found = if found.is_empty() { "nothing".to_owned() } else { found.join(", ") };
    Err(InspectError::OtherWorld { found })
}

/// The interface that an import names, or nothing where the import only gives a name to a type.
fn interface<'a>(known: &'a Known, types: &Types, name: &str) -> Result<Option<&'a Interface>, InspectError> {
    let entity = types.component_item_for_import(name).map(|item| &item.ty);
    let Some(interface) = known.get(name) else {
        // `use types.{finding}` in a world: an alias of a type that an imported instance exports. It carries
        // no authority, and its name cannot be that of an interface.
        let alias = !name.contains([':', '/', '@', '=', '<', '>', '[']);
        return match entity {
            Some(ComponentEntityType::Type { created: ComponentAnyTypeId::Defined(_), .. }) if alias => Ok(None),
            _ if is_wasi(name) => Err(InspectError::Wasi { import: excerpt(name, 120), why: wasi::refusal(name) }),
            _ => Err(InspectError::UnknownImport { import: excerpt(name, 120), known: known.instead_of(name) }),
        };
    };
    let shape = |what: String| InspectError::Shape { import: name.to_owned(), what };
    let Some(ComponentEntityType::Instance(id)) = entity else {
        return Err(shape("something else than an instance".to_owned()));
    };
    for (export, item) in &types[*id].exports {
        let export = excerpt(export, 60);
        match &item.ty {
            ComponentEntityType::Type { created: ComponentAnyTypeId::Defined(_), .. } => {}
            ComponentEntityType::Func(_) if *interface != Interface::Types => {}
            ComponentEntityType::Func(_) => {
                return Err(shape(format!("an instance with the function `{export}`, where it holds types only")));
            }
            // Only WASI's interfaces have resources, and it is the host that makes them.
            ComponentEntityType::Type { created: ComponentAnyTypeId::Resource(_), .. }
                if *interface == Interface::Wasi => {}
            ComponentEntityType::Type { created: ComponentAnyTypeId::Resource(_), .. } => {
                return Err(shape(format!("an instance with the resource `{export}`, where it holds values only")));
            }
            _ => return Err(shape(format!("an instance with `{export}`, which is neither a function nor a type"))),
        }
    }
    Ok(Some(interface))
}

impl From<wasmparser::BinaryReaderError> for InspectError {
    fn from(error: wasmparser::BinaryReaderError) -> Self {
        Self::Malformed { what: excerpt(error.message(), 300), offset: error.offset() as u64 }
    }
}

impl std::fmt::Debug for Inspection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inspection")
            .field("digest", &self.digest)
            .field("role", &self.role)
            .field("imports", &self.imports)
            .finish_non_exhaustive()
    }
}

impl Inspection {
    /// The bytes that were inspected.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Their digest.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// What the component's export makes it.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// The full names of the interfaces that it imports, in its own order.
    #[must_use]
    pub fn imports(&self) -> &[String] {
        &self.imports
    }

    /// The capabilities whose `read` interface it imports.
    #[must_use]
    pub fn reads(&self) -> BTreeSet<String> {
        self.capabilities(Access::Read)
    }

    /// The capabilities whose `write` interface it imports.
    #[must_use]
    pub fn writes(&self) -> BTreeSet<String> {
        self.capabilities(Access::Write)
    }

    /// Whether it imports WASI, as what an ordinary toolchain made does: see [`WASI_IS_INERT`](crate::WASI_IS_INERT).
    #[must_use]
    pub fn wasi(&self) -> bool {
        self.imports.iter().any(|import| is_wasi(import))
    }

    /// The interfaces that need a grant.
    pub(crate) fn wanted(&self) -> &[Wanted] {
        &self.wanted
    }

    fn capabilities(&self, access: Access) -> BTreeSet<String> {
        self.wanted.iter().filter(|wanted| wanted.access == access).map(|wanted| wanted.capability.clone()).collect()
    }
}
