use std::collections::BTreeSet;

use countersign_model::{Access, Role};
use serde::{Deserialize, Serialize};

use crate::inspect::{Inspection, Wanted};
use crate::wasi::is_wasi;

/// A step that may be compiled: its role is the expected one, and all that it imports is granted.
#[derive(Clone, Debug)]
pub struct Admitted(Inspection);

impl Admitted {
    /// What was inspected and admitted.
    #[must_use]
    pub fn inspection(&self) -> &Inspection {
        &self.0
    }

    /// What has to be known of it where its bytes are not: in the process that runs it.
    #[must_use]
    pub fn outline(&self) -> Outline {
        let Inspection { role, imports, wanted, .. } = &self.0;
        Outline { role: *role, imports: imports.clone(), wanted: wanted.clone() }
    }
}

/// What was inspected of a step, without its bytes: what its native code must ask for, and may be linked to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outline {
    pub(crate) role: Role,
    /// The full names of the interfaces that it imports, in its own order.
    pub(crate) imports: Vec<String>,
    pub(crate) wanted: Vec<Wanted>,
}

impl Outline {
    /// Whether it imports WASI.
    pub(crate) fn wasi(&self) -> bool {
        self.imports.iter().any(|import| is_wasi(import))
    }
}

/// Why a step may not be compiled.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refusal {
    /// It is a step for something else.
    #[error("the component is a step in the role `{found}`, where the role `{expected}` is expected")]
    Role {
        /// What it had to be.
        expected: Role,
        /// What its export makes it.
        found: Role,
    },
    /// It could write in a role that only reads.
    #[error(
        "a step in the role `{role}` may import `read` interfaces only, and this one imports `{import}`: refused before it was compiled"
    )]
    Writes {
        /// Its role.
        role: Role,
        /// The interface.
        import: String,
    },
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
}

impl Inspection {
    /// Decides whether the step may be compiled for this role under these grants, given as capability and access.
    ///
    /// # Errors
    /// When its role is another one, when it imports a `write` interface in a role that only reads, whatever
    /// is granted, or when it imports an interface that is not granted.
    pub fn admit(self, role: Role, granted: &BTreeSet<(String, Access)>) -> Result<Admitted, Refusal> {
        if self.role() != role {
            return Err(Refusal::Role { expected: role, found: self.role() });
        }
        if !role.may_write()
            && let Some(wanted) = self.wanted().iter().find(|wanted| wanted.access == Access::Write)
        {
            return Err(Refusal::Writes { role, import: wanted.import.clone() });
        }
        for wanted in self.wanted() {
            if !granted.contains(&(wanted.capability.clone(), wanted.access)) {
                return Err(Refusal::NotGranted {
                    import: wanted.import.clone(),
                    capability: wanted.capability.clone(),
                    access: wanted.access,
                });
            }
        }
        Ok(Admitted(self))
    }
}
