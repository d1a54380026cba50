use std::fmt;
use std::str::FromStr;

use countersign_capability::{Choice, TypedCall};
use countersign_model::text::excerpt;
use countersign_model::{Access, Fault, FaultKind, Selector};
use serde::{Deserialize, Serialize};

use crate::path;

/// A call of `countersign:process`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Call {
    /// `read.list`
    List {
        /// The executable's path.
        executable: String,
    },
    /// `read.inspect`
    Inspect(Named),
    /// `write.signal`
    Signal {
        /// Who gets it.
        process: Named,
        /// What is sent.
        signal: Signal,
    },
}

/// One process, named so that it is the right one or none.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Named {
    /// The executable's path.
    pub executable: String,
    /// Which of its processes.
    pub which: Which,
}

/// Which process of an executable is meant.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Which {
    /// The one whose identifier this file holds.
    PidFile(String),
    /// The one that started at this moment, in clock ticks since boot.
    Started(u64),
}

/// What may be sent, in the order of the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Signal {
    /// Hang up; by custom, read the configuration again.
    Hup,
    /// Interrupt.
    Int,
    /// End at once; cannot be caught.
    Kill,
    /// Quit; by custom, finish first or leave a core.
    Quit,
    /// Terminate.
    Term,
    /// For the program to decide.
    Usr1,
    /// For the program to decide.
    Usr2,
    /// Window size change; some servers take it for a graceful stop.
    Winch,
}

/// One process at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its identifier.
    pub pid: u32,
    /// When it started, in clock ticks since boot.
    pub started: u64,
    /// The executable's path.
    pub executable: String,
    /// The identifier of its parent.
    pub parent: u32,
    /// The real user identifier.
    pub user: u32,
    /// `R`, `S`, `D`, `T`, ...
    pub state: String,
    /// Resident memory in bytes.
    pub memory: u64,
    /// How many threads it has.
    pub threads: u32,
}

impl Signal {
    /// Every signal, in the order of the names.
    pub const ALL: [Self; 8] =
        [Self::Hup, Self::Int, Self::Kill, Self::Quit, Self::Term, Self::Usr1, Self::Usr2, Self::Winch];

    /// The name without `SIG`, in upper case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hup => "HUP",
            Self::Int => "INT",
            Self::Kill => "KILL",
            Self::Quit => "QUIT",
            Self::Term => "TERM",
            Self::Usr1 => "USR1",
            Self::Usr2 => "USR2",
            Self::Winch => "WINCH",
        }
    }

    /// Whether its custom is to end the process.
    pub(crate) const fn ends(self) -> bool {
        matches!(self, Self::Int | Self::Kill | Self::Quit | Self::Term | Self::Winch)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Signal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|signal| signal.name() == text).ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            format!("`{}` is not a signal that can be granted: expected one of {known}", excerpt(text, 40))
        })
    }
}

impl Named {
    /// Its name in grants, subjects and texts.
    pub(crate) fn selector(&self) -> Selector {
        let selector = Selector::default().with("exe", self.executable.clone());
        match &self.which {
            Which::PidFile(path) => selector.with("pid-file", path.clone()),
            Which::Started(ticks) => selector.with("started", ticks.to_string()),
        }
    }

    pub(crate) fn parse(selector: &Selector) -> Result<Self, String> {
        const EXPECTED: &str = "`exe=PATH` with `pid-file=PATH` or `started=TICKS`";
        let get = |key: &str| selector.named.get(key).cloned();
        let (true, 2, Some(executable)) = (selector.words.is_empty(), selector.named.len(), get("exe")) else {
            return Err(format!("expected {EXPECTED}"));
        };
        let which = match (get("pid-file"), get("started")) {
            (Some(path), None) => Which::PidFile(path),
            (None, Some(text)) => match text.parse::<u64>() {
                Ok(ticks) if ticks.to_string() == text => Which::Started(ticks),
                _ => return Err("`started` must be a whole number of clock ticks".to_owned()),
            },
            _ => return Err(format!("expected {EXPECTED}")),
        };
        let named = Self { executable, which };
        named.check().map(|()| named)
    }

    fn check(&self) -> Result<(), String> {
        path::check("exe", &self.executable)?;
        match &self.which {
            Which::PidFile(path) => path::check("pid-file", path),
            Which::Started(_) => Ok(()),
        }
    }

    /// The process's name as changes and grants have it: canonical text.
    pub(crate) fn subject(&self) -> String {
        words(&self.selector())
    }
}

fn words(selector: &Selector) -> String {
    selector.to_string().trim_start().to_owned()
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.subject())
    }
}

impl Call {
    pub(crate) fn executable(&self) -> &str {
        match self {
            Self::List { executable } => executable,
            Self::Inspect(process) | Self::Signal { process, .. } => &process.executable,
        }
    }

    /// The one process that is named, if one is.
    pub(crate) fn process(&self) -> Option<&Named> {
        match self {
            Self::List { .. } => None,
            Self::Inspect(process) | Self::Signal { process, .. } => Some(process),
        }
    }

    pub(crate) fn check(&self) -> Result<(), Fault> {
        let checked = match self {
            Self::List { executable } => path::check("exe", executable),
            Self::Inspect(process) | Self::Signal { process, .. } => process.check(),
        };
        checked.map_err(|why| Fault::new(FaultKind::Invalid, why))
    }

    pub(crate) fn parse(function: &str, selector: &Selector) -> Result<Self, String> {
        match function {
            "list" => match (selector.words.as_slice(), selector.named.get("exe"), selector.named.len()) {
                ([], Some(executable), 1) => {
                    path::check("exe", executable).map(|()| Self::List { executable: executable.clone() })
                }
                _ => Err("expected `exe=PATH`".to_owned()),
            },
            "inspect" => Named::parse(selector).map(Self::Inspect),
            "signal" => Err("it changes something and cannot be called this way".to_owned()),
            other => Err(format!("`{}` is not known: expected `list` or `inspect`", excerpt(other, 40))),
        }
    }
}

impl TypedCall for Call {
    fn function(&self) -> &'static str {
        match self {
            Self::List { .. } => "list",
            Self::Inspect(_) => "inspect",
            Self::Signal { .. } => "signal",
        }
    }

    fn access(&self) -> Access {
        match self {
            Self::List { .. } | Self::Inspect(_) => Access::Read,
            Self::Signal { .. } => Access::Write,
        }
    }

    fn selector(&self) -> Selector {
        match self {
            Self::List { executable } => Selector::default().with("exe", executable.clone()),
            Self::Inspect(process) => process.selector(),
            Self::Signal { process, signal } => process.selector().with("signal", signal.name()),
        }
    }

    fn subject(&self) -> Result<String, Fault> {
        self.check()?;
        Ok(match self.process() {
            Some(process) => process.subject(),
            None => words(&self.selector()),
        })
    }

    fn payload(&self) -> u64 {
        0
    }

    fn choice(&self) -> Choice {
        // A grant names no moment: which of its processes is meant is for the step to pick.
        match self.process().map(|process| &process.which) {
            Some(Which::Started(_)) => Choice::More("the process, by when it started,"),
            Some(Which::PidFile(_)) | None => Choice::Nothing,
        }
    }
}
