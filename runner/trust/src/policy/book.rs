//! Names and keys, each once.

use std::collections::{BTreeMap, BTreeSet};

use countersign_model::text::excerpt;

use super::{MAX_NAME, PolicyError, UNLISTED, file, is_name};
use crate::principal::{Principal, PrincipalKind, Right};
use crate::public_key::PublicKey;

/// Who has which key, and who is in which group.
#[derive(Clone, Debug, Default)]
pub(crate) struct Book {
    names: BTreeSet<String>,
    /// By fingerprint.
    keys: BTreeMap<String, Principal>,
    /// Keys that break the glass, by fingerprint: listed nowhere else.
    glass: BTreeMap<String, Principal>,
    /// What the secrets of those have in common, as in `secrets`.
    glass_secrets: BTreeSet<Vec<u8>>,
    /// The keys as they were read, those that break the glass among them, by their wire format: a signature's key that is
    /// among them need not be judged again.
    known: BTreeMap<Vec<u8>, PublicKey>,
    /// Whose each key is, by what one secret has in common under several kinds and applications.
    secrets: BTreeMap<Vec<u8>, String>,
    /// The people who may approve.
    approvers: BTreeSet<String>,
    /// People, by group.
    groups: BTreeMap<String, BTreeSet<String>>,
}

impl Book {
    pub(super) fn read(people: &[file::Person], agents: &[file::Agent]) -> Result<Self, PolicyError> {
        let mut book = Self::default();
        for person in people {
            let rights = person.may.iter().copied().collect::<BTreeSet<_>>();
            book.enrolled(people, &person.name, person.enrolled_by.as_deref())?;
            if let Some(group) = person.groups.iter().find(|group| !is_name(group)) {
                return Err(PolicyError::Name(excerpt(group, MAX_NAME)));
            }
            if rights.contains(&Right::Approve) {
                book.approvers.insert(person.name.clone());
            }
            for group in &person.groups {
                book.groups.entry(group.clone()).or_default().insert(person.name.clone());
            }
            let principal = Principal {
                name: person.name.clone(),
                kind: PrincipalKind::Person,
                fingerprint: String::new(),
                owner: None,
                enrolled_by: person.enrolled_by.clone(),
                rights,
                revoked: None,
            };
            book.add(principal, &person.keys)?;
        }
        for agent in agents {
            book.person(people, &agent.name, "the owner", agent.owner.as_deref())?;
            book.enrolled(people, &agent.name, agent.enrolled_by.as_deref())?;
            let principal = Principal {
                name: agent.name.clone(),
                kind: PrincipalKind::Agent,
                fingerprint: String::new(),
                owner: agent.owner.clone(),
                enrolled_by: agent.enrolled_by.clone(),
                rights: BTreeSet::from([Right::Propose]),
                revoked: None,
            };
            book.add(principal, &agent.keys)?;
        }
        Ok(book)
    }

    fn enrolled(&self, people: &[file::Person], of: &str, by: Option<&str>) -> Result<(), PolicyError> {
        self.person(people, of, "who enrolled the keys", by)
    }

    /// Refuses who is no listed person.
    fn person(
        &self,
        people: &[file::Person],
        of: &str,
        role: &'static str,
        name: Option<&str>,
    ) -> Result<(), PolicyError> {
        match name {
            Some(name) if !people.iter().any(|person| person.name == name) => {
                Err(PolicyError::UnknownPerson { of: excerpt(of, MAX_NAME), role, person: excerpt(name, MAX_NAME) })
            }
            _ => Ok(()),
        }
    }

    fn add(&mut self, principal: Principal, lines: &[String]) -> Result<(), PolicyError> {
        let name = &principal.name;
        if !is_name(name) {
            return Err(PolicyError::Name(excerpt(name, MAX_NAME)));
        }
        if name.eq_ignore_ascii_case(UNLISTED) {
            return Err(PolicyError::ReservedName(name.clone()));
        }
        if !self.names.insert(name.to_ascii_lowercase()) {
            return Err(PolicyError::DuplicateName(name.clone()));
        }
        if lines.is_empty() {
            return Err(PolicyError::NoKeys(name.clone()));
        }
        for line in lines {
            let key = PublicKey::from_openssh(line).map_err(|error| PolicyError::Key { name: name.clone(), error })?;
            let fingerprint = key.fingerprint().to_owned();
            if let Some(first) = self.keys.get(&fingerprint) {
                let (first, second) = (first.name.clone(), name.clone());
                return Err(PolicyError::DuplicateKey { fingerprint, first, second });
            }
            if principal.kind == PrincipalKind::Agent && key.kind().is_hardware() {
                return Err(PolicyError::AgentInHardware { name: name.clone(), kind: key.kind() });
            }
            if let Some(first) = self.secrets.insert(key.secret(), name.clone()) {
                return Err(PolicyError::SameSecret { fingerprint, first, second: name.clone() });
            }
            self.known.insert(key.to_wire(), key);
            self.keys.insert(fingerprint.clone(), Principal { fingerprint, ..principal.clone() });
        }
        Ok(())
    }

    /// Takes in a key of a listed person that breaks the glass and does nothing else; gives its fingerprint.
    pub(super) fn add_break_glass(&mut self, person: &str, line: &str) -> Result<String, PolicyError> {
        let name = excerpt(person, MAX_NAME);
        let theirs = |known: &&Principal| known.kind == PrincipalKind::Person && known.name == person;
        let Some(owner) = self.keys.values().find(theirs).cloned() else {
            return Err(PolicyError::UnknownPerson {
                of: excerpt(line, 80),
                role: "whose break-glass key is",
                person: name,
            });
        };
        let key = PublicKey::from_openssh(line).map_err(|error| PolicyError::Key { name: name.clone(), error })?;
        let fingerprint = key.fingerprint().to_owned();
        if let Some(first) = self.principal(&fingerprint) {
            return Err(PolicyError::DuplicateKey { fingerprint, first: first.name.clone(), second: name });
        }
        let secret = key.secret();
        if let Some(first) = self.secrets.insert(secret.clone(), name.clone()) {
            return Err(PolicyError::SameSecret { fingerprint, first, second: name });
        }
        self.glass_secrets.insert(secret);
        let rights = BTreeSet::new();
        let principal =
            Principal { fingerprint: fingerprint.clone(), kind: PrincipalKind::BreakGlass, rights, ..owner };
        self.known.insert(key.to_wire(), key);
        self.glass.insert(fingerprint.clone(), principal);
        Ok(fingerprint)
    }

    /// The key of this wire format, where it is listed.
    pub(super) fn key(&self, wire: &[u8]) -> Option<&PublicKey> {
        self.known.get(wire)
    }

    /// Whose break-glass key has this secret, perhaps under another kind or application.
    pub(super) fn breaks_glass(&self, key: &PublicKey) -> Option<&str> {
        let secret = key.secret();
        self.glass_secrets.contains(&secret).then(|| self.secrets.get(&secret).map(String::as_str))?
    }

    /// Whose key this is, where it is listed.
    pub(super) fn principal(&self, fingerprint: &str) -> Option<&Principal> {
        self.keys.get(fingerprint).or_else(|| self.glass.get(fingerprint))
    }

    /// Every principal with each of its keys, by fingerprint; those that break the glass are not among them.
    pub(super) fn principals(&self) -> impl Iterator<Item = &Principal> {
        self.keys.values()
    }

    /// Every key that is listed, with whose it is.
    pub(super) fn keys(&self) -> impl Iterator<Item = (&Principal, &PublicKey)> {
        self.known.values().filter_map(|key| Some((self.principal(key.fingerprint())?, key)))
    }

    /// The people who may approve.
    pub(super) fn approvers(&self) -> impl Iterator<Item = &str> {
        self.approvers.iter().map(String::as_str)
    }

    /// The people of a group who may approve.
    pub(super) fn members(&self, group: &str) -> impl Iterator<Item = &str> {
        self.groups.get(group).into_iter().flatten().map(String::as_str).filter(|name| self.approvers.contains(*name))
    }

    /// The groups of a person.
    pub(super) fn groups_of(&self, person: &str) -> impl Iterator<Item = &str> {
        self.groups.iter().filter(move |(_, members)| members.contains(person)).map(|(group, _)| group.as_str())
    }
}
