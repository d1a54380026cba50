//! What a grant for writing lets be done to a file.

use std::collections::BTreeSet;
use std::str::FromStr;

use countersign_model::text::excerpt;

use crate::call::FilesCall;

/// One function of `countersign:files/write`, in the order in which they are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verb {
    Replace,
    Create,
    Remove,
    Truncate,
    SetMode,
    Discard,
}

impl Verb {
    const ALL: [Self; 6] = [Self::Replace, Self::Create, Self::Remove, Self::Truncate, Self::SetMode, Self::Discard];
    /// What a grant allows that names none: not what gives others access, and not what nothing undoes.
    const UNNAMED: [Self; 4] = [Self::Replace, Self::Create, Self::Remove, Self::Truncate];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Replace => "replace",
            Self::Create => "create",
            Self::Remove => "remove",
            Self::Truncate => "truncate",
            Self::SetMode => "set-mode",
            Self::Discard => "discard",
        }
    }

    /// What a call does; none where it only looks.
    pub(crate) const fn of(call: &FilesCall) -> Option<Self> {
        match call {
            FilesCall::Replace { .. } => Some(Self::Replace),
            FilesCall::Create { .. } => Some(Self::Create),
            FilesCall::Remove { .. } => Some(Self::Remove),
            FilesCall::Truncate { .. } => Some(Self::Truncate),
            FilesCall::SetMode { .. } => Some(Self::SetMode),
            FilesCall::Discard { .. } => Some(Self::Discard),
            FilesCall::Read { .. }
            | FilesCall::Tail { .. }
            | FilesCall::ReadRange { .. }
            | FilesCall::Stat { .. }
            | FilesCall::List { .. }
            | FilesCall::Usage { .. } => None,
        }
    }
}

impl FromStr for Verb {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|verb| verb.name() == text).ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            format!("`{}` is not a verb of `files.write`: expected one of {known}", excerpt(text, 40))
        })
    }
}

/// The verbs of a grant for writing.
///
/// # Errors
/// A sentence fragment that says what was expected.
pub(crate) fn parse(text: Option<&str>) -> Result<BTreeSet<Verb>, String> {
    let Some(text) = text else { return Ok(Verb::UNNAMED.into()) };
    let mut verbs = BTreeSet::new();
    for name in text.split(',') {
        if !verbs.insert(name.parse()?) {
            return Err(format!("`{name}` stands twice in `verbs`"));
        }
    }
    Ok(verbs)
}

/// They as a grant has them; none where it need not name them.
pub(crate) fn print(verbs: &BTreeSet<Verb>) -> Option<String> {
    let names: Vec<_> = verbs.iter().map(|verb| verb.name()).collect();
    (!verbs.is_empty() && *verbs != BTreeSet::from(Verb::UNNAMED)).then(|| names.join(","))
}
