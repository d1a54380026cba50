use std::collections::BTreeMap;

use countersign_capability::Registry;
use countersign_model::Access;
use countersign_model::text::excerpt;

/// The interfaces that a step may import, by exact name. No name is matched loosely: wasmtime itself would
/// take `@0.1.7` for a host's `@0.1.0`.
pub(crate) struct Known(BTreeMap<String, Interface>);

/// What an interface gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Interface {
    /// Types only: allowed in every role.
    Types,
    /// Arguments, log, time and seed: allowed in every role.
    Host,
    /// What an ordinary toolchain's runtime imports: inert, allowed in every role.
    Wasi,
    /// One access to one capability.
    Access(&'static str, Access),
}

/// The version of `countersign:step`.
const STEP_VERSION: &str = "0.1.0";

impl Known {
    /// What this registry's capabilities and `countersign:step` offer.
    pub(crate) fn of(registry: &Registry) -> Self {
        let mut names = BTreeMap::new();
        for capability in registry.iter() {
            let (name, version) = (capability.name(), capability.wit_version());
            names.insert(format!("countersign:{name}/types@{version}"), Interface::Types);
            for access in capability.accesses() {
                names.insert(interface(name, *access, version), Interface::Access(name, *access));
            }
        }
        names.extend(crate::wasi::names().map(|name| (name, Interface::Wasi)));
        // Last, so that no capability can take these names.
        names.insert(format!("countersign:step/types@{STEP_VERSION}"), Interface::Types);
        names.insert(format!("countersign:step/host@{STEP_VERSION}"), Interface::Host);
        Self(names)
    }

    /// The interface of exactly this name.
    pub(crate) fn get(&self, name: &str) -> Option<&Interface> {
        self.0.get(name)
    }

    /// What to say that there is instead of an unknown name: the nearest things first.
    pub(crate) fn instead_of(&self, name: &str) -> String {
        let stem = name.split_once('@').map_or(name, |(stem, _)| stem);
        let package = stem.split_once('/').map_or(stem, |(package, _)| package);
        let some = |matches: &dyn Fn(&str) -> bool| -> Option<String> {
            let names: Vec<_> =
                self.0.keys().filter(|known| matches(known)).map(|known| format!("`{known}`")).collect();
            (!names.is_empty()).then(|| excerpt(&names.join(", "), 2000))
        };
        some(&|known| known.split_once('@').is_some_and(|(known, _)| known == stem))
            .or_else(|| some(&|known| known.split_once('/').is_some_and(|(known, _)| known == package)))
            .or_else(|| some(&|known| !crate::wasi::is_wasi(known)))
            .unwrap_or_default()
    }
}

/// The full name of a capability's interface.
pub(crate) fn interface(capability: &str, access: Access, version: &str) -> String {
    format!("countersign:{capability}/{access}@{version}")
}
