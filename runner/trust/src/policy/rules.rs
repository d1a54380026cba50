//! Rules and ceilings: what may be asked for, and at most.

use std::collections::BTreeSet;

use countersign_model::documents::RoleGrants;
use countersign_model::text::visible;
use countersign_model::{Grant, Role};

use super::{PolicyError, UNLISTED, file};
use crate::grants::{Contains, GrantMismatch, inside, within};
use crate::pattern::Pattern;
use crate::principal::{Activity, Principal, PrincipalKind};

/// Who may investigate or propose what, where, and who may approve it.
#[derive(Clone, Debug)]
pub struct Rule {
    name: String,
    who: Vec<Pattern>,
    targets: Vec<Pattern>,
    may: BTreeSet<Activity>,
    /// `None`: whatever the ceilings of the target allow.
    grants: Option<Vec<Grant>>,
    approvers: BTreeSet<String>,
}

impl Rule {
    pub(super) fn read(rule: file::Rule) -> Result<Self, PolicyError> {
        let wrong = |why: &str| PolicyError::Entry { what: "rule", name: rule.name.clone(), why: why.to_owned() };
        if rule.who.is_empty() || rule.targets.is_empty() || rule.may.is_empty() {
            return Err(wrong("`who`, `targets` and `may` each need one entry at least"));
        }
        match (&rule.grants, rule.within_ceilings) {
            (Some(grants), false) if !grants.is_empty() => {}
            (None, true) => {}
            _ => return Err(wrong("it needs either `grants` or `within-ceilings = true`")),
        }
        Ok(Self {
            name: rule.name,
            who: rule.who,
            targets: rule.targets,
            may: rule.may,
            grants: rule.grants,
            approvers: rule.approvers,
        })
    }

    /// What people call it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What may be asked for; nothing where that is whatever the ceilings of the target allow.
    pub(super) fn grants(&self) -> impl Iterator<Item = &Grant> {
        self.grants.iter().flatten()
    }

    pub(crate) const fn approvers(&self) -> &BTreeSet<String> {
        &self.approvers
    }

    pub(super) fn names_unlisted(&self) -> bool {
        self.who.iter().any(|who| who.as_str() == UNLISTED)
    }

    /// Whether it names them.
    pub(crate) fn names(&self, who: &Principal) -> bool {
        match who.kind() {
            PrincipalKind::Unlisted => self.names_unlisted(),
            PrincipalKind::Person | PrincipalKind::Agent => self.who.iter().any(|pattern| pattern.matches(who.name())),
            // No rule gives such a key anything.
            PrincipalKind::BreakGlass => false,
        }
    }

    pub(crate) fn reaches(&self, target: &str) -> bool {
        self.targets.iter().any(|pattern| pattern.matches(target))
    }

    pub(crate) fn lets(&self, activity: Activity) -> bool {
        self.may.contains(&activity)
    }

    /// Whether everything that is asked for is inside it; else the first that is not, as a sentence fragment.
    pub(crate) fn takes_in(&self, asked: &RoleGrants, contains: Contains<'_>) -> Result<(), String> {
        let Some(grants) = &self.grants else { return Ok(()) };
        let mine: RoleGrants = asked.keys().map(|role| (*role, grants.clone())).collect();
        within(&mine, asked, contains).map_err(|mismatch| match mismatch {
            GrantMismatch::NotRequested { grant, role } => {
                format!("`{grant}`{} is inside none of its grants", role.map(of).unwrap_or_default())
            }
            GrantMismatch::LimitsAddUp { role, grant } => {
                format!("with `{grant}`{} the limits add up to more than its grants allow", of(role))
            }
            unreadable @ GrantMismatch::Unreadable { .. } => unreadable.to_string(),
        })
    }

    /// The rule in words, beside its name.
    pub(super) fn says(&self) -> String {
        let grants = match &self.grants {
            None => "whatever the target's ceilings allow".to_owned(),
            Some(grants) => list(grants),
        };
        let may: Vec<_> = self.may.iter().map(|activity| activity.verb()).collect();
        let approvers = match self.approvers.len() {
            0 => "everybody who may approve".to_owned(),
            _ => format!("the people of {}", list(&self.approvers)),
        };
        format!(
            "{} may {} on {}: {grants}; {approvers} may approve it",
            list(&self.who),
            may.join(" and "),
            list(&self.targets)
        )
    }
}

fn of(role: Role) -> String {
    format!(" for the {role} step")
}

/// What no approval exceeds on its targets.
#[derive(Clone, Debug)]
pub struct Ceiling {
    name: String,
    targets: Vec<Pattern>,
    grants: Vec<Grant>,
}

impl Ceiling {
    pub(super) fn read(ceiling: file::Ceiling) -> Result<Self, PolicyError> {
        let file::Ceiling { name, targets, grants } = ceiling;
        if targets.is_empty() {
            let why = "`targets` needs one entry at least".to_owned();
            return Err(PolicyError::Entry { what: "ceiling", name, why });
        }
        Ok(Self { name, targets, grants })
    }

    /// What people call it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn grants(&self) -> &[Grant] {
        &self.grants
    }

    pub(crate) fn reaches(&self, target: &str) -> bool {
        self.targets.iter().any(|pattern| pattern.matches(target))
    }

    /// The first grant that goes beyond it, with why where that cannot be told.
    pub(crate) fn exceeded(&self, grants: &RoleGrants, contains: Contains<'_>) -> Option<(Grant, String)> {
        for grant in grants.values().flatten() {
            let mut found = false;
            for wide in &self.grants {
                match inside(wide, grant, contains) {
                    Ok(inside) => found |= inside,
                    Err(why) => return Some((grant.clone(), visible(&why.to_string()))),
                }
            }
            if !found {
                return Some((grant.clone(), "it is inside none of its grants".to_owned()));
            }
        }
        None
    }

    /// The ceiling in words, beside its name.
    pub(super) fn says(&self) -> String {
        format!("on {} at most: {}", list(&self.targets), list(&self.grants))
    }
}

/// Several in words.
pub(super) fn list<T: std::fmt::Display>(of: impl IntoIterator<Item = T>) -> String {
    let all: Vec<_> = of.into_iter().map(|one| format!("`{one}`")).collect();
    if all.is_empty() { "nothing".to_owned() } else { all.join(", ") }
}
