use std::collections::BTreeSet;
use std::sync::Arc;

use countersign_capability::{Linker, Registry, StepState};
use countersign_model::text::excerpt;
use countersign_model::{Access, Role};
use serde::{Deserialize, Serialize};
use wasmtime::component::InstancePre;

use crate::engine::{Compiled, Core, Sandbox, one_line};
use crate::wasi;

/// The four worlds of `countersign:step`, whose host side the capability crate has.
mod worlds {
    macro_rules! world {
        ($module:ident, $world:literal) => {
            #[allow(missing_docs, unreachable_pub, dead_code, reason = "generated; the documentation stands in the WIT")]
            pub(crate) mod $module {
                wasmtime::component::bindgen!({
                    path: "../../sdk/wit/step",
                    world: $world,
                    imports: { default: trappable },
                    with: { "countersign:step": countersign_capability::step },
                });
            }
        };
    }
    world!(investigation, "countersign:step/investigation");
    world!(fix, "countersign:step/fix");
    world!(rollback, "countersign:step/rollback");
    world!(check, "countersign:step/check");
}
pub(crate) use worlds::check::CheckPre;
pub(crate) use worlds::fix::FixPre;
pub(crate) use worlds::investigation::InvestigationPre;
pub(crate) use worlds::rollback::RollbackPre;

/// A step with its imports filled in, as far as they are granted, and its export's type checked.
#[derive(Clone)]
pub struct Linked {
    pub(crate) core: Arc<Core>,
    pub(crate) entry: Entry,
    /// Linear memories that it will make.
    pub(crate) memories: u32,
    /// Whether it imports WASI.
    pub(crate) wasi: bool,
}

/// The role's export, typed.
#[derive(Clone)]
pub(crate) enum Entry {
    Investigation(InvestigationPre<StepState>),
    Fix(FixPre<StepState>),
    Rollback(RollbackPre<StepState>),
    Check(CheckPre<StepState>),
}

/// Why a step was not linked.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq, Serialize, Deserialize)]
pub enum LinkError {
    /// It imports what no grant opens.
    #[error("the component imports `{import}` and nothing grants it: a grant `{capability}.{access} SELECTOR` would")]
    NotGranted {
        /// The interface.
        import: String,
        /// The capability's name.
        capability: String,
        /// The access that is missing.
        access: Access,
    },
    /// It uses an interface otherwise than its WIT says.
    #[error("the component does not fit the interfaces that it imports: {0}")]
    Imports(String),
    /// Its export has another type than `countersign:step` gives it.
    #[error("the component's export `{export}` has not the type that `countersign:step` gives it: {why}")]
    Export {
        /// The export's name.
        export: String,
        /// In what it differs.
        why: String,
    },
    /// A capability failed to link, or is not in the registry; a defect of the runner.
    #[error("the capability `{capability}` was not linked: {why}")]
    Capability {
        /// The capability's name.
        capability: String,
        /// What happened.
        why: String,
    },
}

impl LinkError {
    /// The same as another process says it, which may have been taken over: cut, as a step's own words are.
    #[must_use]
    pub fn claimed(self) -> Self {
        let cut = |text: String| excerpt(&text, 600);
        match self {
            Self::NotGranted { import, capability, access } => {
                Self::NotGranted { import: cut(import), capability: cut(capability), access }
            }
            Self::Imports(why) => Self::Imports(cut(why)),
            Self::Export { export, why } => Self::Export { export: cut(export), why: cut(why) },
            Self::Capability { capability, why } => Self::Capability { capability: cut(capability), why: cut(why) },
        }
    }
}

impl Sandbox {
    /// Builds a linker for this step alone: the host interface, what it imports of the inert WASI, and each interface
    /// that is both imported and granted, once. Nothing is stubbed and nothing shadowed.
    ///
    /// # Errors
    /// When the step imports what is not granted, or its types differ from the contract's.
    pub fn link(
        &self,
        compiled: &Compiled,
        registry: &Registry,
        granted: &BTreeSet<(String, Access)>,
    ) -> Result<Linked, LinkError> {
        // The component's own engine, should it come from another sandbox.
        let core = Arc::clone(&compiled.core);
        let mut linker = Linker::new(&core.engine);
        StepState::link_host(&mut linker)
            .map_err(|error| LinkError::Capability { capability: "step".to_owned(), why: one_line(&error) })?;
        wasi::link(&mut linker, &compiled.outline.imports)
            .map_err(|error| LinkError::Capability { capability: "wasi".to_owned(), why: one_line(&error) })?;
        for wanted in &compiled.outline.wanted {
            let (capability, access) = (wanted.capability.clone(), wanted.access);
            if !granted.contains(&(capability.clone(), access)) {
                return Err(LinkError::NotGranted { import: wanted.import.clone(), capability, access });
            }
            let linked = match registry.get(&capability) {
                Ok(known) => known.link(&mut linker, access).map_err(|error| one_line(&error)),
                Err(fault) => Err(fault.what),
            };
            linked.map_err(|why| LinkError::Capability { capability, why })?;
        }
        let pre = linker.instantiate_pre(&compiled.component).map_err(|error| LinkError::Imports(one_line(&error)))?;
        let role = compiled.outline.role;
        let entry = Entry::new(role, pre)
            .map_err(|error| LinkError::Export { export: role.export().to_owned(), why: one_line(&error) })?;
        // Unknown only where modules are imported, which inspection refuses.
        let memories = compiled.component.resources_required().map_or(u32::MAX, |required| required.num_memories);
        Ok(Linked { core, entry, memories, wasi: compiled.outline.wasi() })
    }
}

impl Entry {
    fn new(role: Role, pre: InstancePre<StepState>) -> wasmtime::Result<Self> {
        Ok(match role {
            Role::Investigation => Self::Investigation(InvestigationPre::new(pre)?),
            Role::Fix => Self::Fix(FixPre::new(pre)?),
            Role::Rollback => Self::Rollback(RollbackPre::new(pre)?),
            Role::Check => Self::Check(CheckPre::new(pre)?),
        })
    }
}
