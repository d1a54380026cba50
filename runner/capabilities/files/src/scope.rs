//! What a grant may name: one absolute path pattern, and for writes what is done there.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;

use countersign_capability::{Protected, TypedCall};
use countersign_model::text::visible;
use countersign_model::{Access, Selector};

use crate::call::FilesCall;
use crate::path::{Path, split};
use crate::verb::{self, Verb};

/// The key of the verbs in a grant's text.
const VERBS: &str = "verbs";

/// Where no grant may reach, whatever the runner's own paths are.
const KERNEL: [&str; 2] = ["/proc", "/sys"];

/// One absolute path pattern, and in grants for writing what may be done to a file: `PATTERN [verbs=A,B]`.
///
/// - a plain segment names itself;
/// - `*` within a segment stands for any bytes of that one name, also for none; a name that begins
///   with a dot is only matched by a segment that begins with a dot;
/// - `**` as the whole last segment stands for everything below the directory before it, names with a
///   dot included. For reads it takes in that directory itself, so that it can be listed; for
///   writes it does not;
/// - without `verbs` files may be replaced, created, removed and truncated: `set-mode` and `discard` must be named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    access: Access,
    /// Every segment but a closing `**`.
    segments: Vec<String>,
    /// Whether `**` follows.
    below: bool,
    /// Empty in a grant for reading.
    verbs: BTreeSet<Verb>,
}

impl Scope {
    /// Reads the pattern from a grant's single word.
    pub(crate) fn parse(access: Access, selector: &Selector) -> Result<Self, String> {
        let mut rest = selector.clone();
        let verbs = match access {
            Access::Read => BTreeSet::new(),
            Access::Write => verb::parse(rest.named.remove(VERBS).as_deref())?,
        };
        let text = rest.only_word("one absolute path, which may hold `*` and end in `/**`")?;
        Ok(Self { verbs, ..Self::parse_text(access, text)? })
    }

    fn parse_text(access: Access, text: &str) -> Result<Self, String> {
        let shown = countersign_model::text::excerpt(text, 200);
        if text == "/" {
            return Err("`/` names no file: expected `/**` for everything".to_owned());
        }
        let mut segments = split(text).map_err(|why| format!("`{shown}` {why}"))?;
        let below = segments.last() == Some(&"**");
        if below {
            segments.pop();
        }
        if segments.iter().any(|segment| segment.contains("**")) {
            return Err(format!("`{shown}` holds `**` elsewhere than as its whole last segment"));
        }
        Ok(Self { access, segments: segments.into_iter().map(str::to_owned).collect(), below, verbs: BTreeSet::new() })
    }

    /// The scope of exactly one call, which names this path.
    pub(crate) fn of(call: &FilesCall, path: &Path) -> Self {
        let segments: Vec<_> = path.segments().into_iter().map(str::to_owned).collect();
        // The root has no scope of its own: only `/**` takes it in.
        let below = segments.is_empty();
        Self { access: call.access(), segments, below, verbs: Verb::of(call).into_iter().collect() }
    }

    /// The pattern as the single word of a grant, and the verbs where they must be named.
    pub(crate) fn selector(&self) -> Selector {
        let mut text = String::new();
        for segment in self.segments.iter().map(String::as_str).chain(self.below.then_some("**")) {
            text.push('/');
            text.push_str(segment);
        }
        match verb::print(&self.verbs) {
            Some(verbs) => Selector::word(text).with(VERBS, verbs),
            None => Selector::word(text),
        }
    }

    /// Whether the pattern takes in the path.
    pub(crate) fn matches(&self, path: &Path) -> bool {
        let mut rest = path.as_str().split('/').filter(|name| !name.is_empty());
        let named = |pattern: &String| rest.next().is_some_and(|name| names(pattern.as_bytes(), name.as_bytes()));
        self.segments.iter().all(named)
            && match (self.below, self.access) {
                (false, _) => rest.next().is_none(),
                (true, Access::Read) => true,
                (true, Access::Write) => rest.next().is_some(),
            }
    }

    /// Whether the scope permits the call.
    pub(crate) fn covers(&self, call: &FilesCall) -> bool {
        call.access() == self.access
            && Verb::of(call).is_none_or(|verb| self.verbs.contains(&verb))
            && call.path().is_ok_and(|path| self.matches(&path))
    }

    /// Whether the scope takes in the subject of a change.
    pub(crate) fn reaches(&self, subject: &str) -> bool {
        Path::parse(subject).is_ok_and(|path| self.matches(&path))
    }

    /// Whether every path that `narrow` takes in is taken in by `self`, and for all that may be done there.
    pub(crate) fn contains(&self, narrow: &Self) -> bool {
        let (own, other) = (self.segments.len(), narrow.segments.len());
        let long_enough = match (self.below, narrow.below) {
            (false, false) => own == other,
            (false, true) => false,
            (true, true) => own <= other,
            (true, false) if self.access == Access::Read => own <= other,
            (true, false) => own < other,
        };
        // A `*` of the narrow pattern is a byte like any other here, one that only a `*` takes in.
        self.access == narrow.access
            && self.verbs.is_superset(&narrow.verbs)
            && long_enough
            && self.segments.iter().zip(&narrow.segments).all(|(wide, narrow)| includes(wide, narrow))
    }

    /// How many leading segments lie at or above the fixed directory, where mounts may be crossed:
    /// those without a `*`, but never the last segment of a scope of one path.
    pub(crate) fn fixed(&self) -> usize {
        let plain = self.segments.iter().take_while(|segment| !segment.contains('*')).count();
        if self.below { plain } else { plain.min(self.segments.len().saturating_sub(1)) }
    }

    /// The first of the runner's own paths, or of the kernel's, that the scope overlaps: something at or below
    /// it, or a directory above it that is a subject of its own.
    pub(crate) fn endangers(&self, protected: &Protected) -> Option<String> {
        let own = protected.paths.iter().map(|path| path.as_os_str().as_bytes());
        let kernel = KERNEL.iter().map(|path| path.as_bytes());
        own.chain(kernel).find(|path| self.overlaps(path)).map(|path| visible(&String::from_utf8_lossy(path)))
    }

    /// Whether the pattern and the tree at `path`, with the directories above it, have a path in common:
    /// they do when they agree as far as both go.
    fn overlaps(&self, path: &[u8]) -> bool {
        let mut other = path.split(|byte| *byte == b'/').filter(|segment| !segment.is_empty());
        self.segments.iter().all(|pattern| other.next().is_none_or(|name| names(pattern.as_bytes(), name)))
    }
}

/// Whether the pattern of one segment matches a name.
fn names(pattern: &[u8], name: &[u8]) -> bool {
    if name.first() == Some(&b'.') && pattern.first() != Some(&b'.') {
        return false;
    }
    glob(pattern, name)
}

/// Whether every name that `narrow` matches is matched by `wide`.
fn includes(wide: &str, narrow: &str) -> bool {
    names(wide.as_bytes(), narrow.as_bytes())
}

/// Wildcard matching that goes back to the last `*` only, in time of at most pattern times text. A `*` in the
/// text is only matched by a `*` in the pattern.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(byte) if text.get(t) == Some(byte) => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, seen)) => {
                    star = Some((at, seen + 1));
                    p = at + 1;
                    t = seen + 1;
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests;
