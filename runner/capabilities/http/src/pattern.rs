//! What of an origin's paths and queries a grant opens.

use std::fmt;

/// A path pattern: `*` within one segment, `**` as the last one for everything below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PathPattern {
    segments: Vec<String>,
    /// Whether `**` follows.
    below: bool,
}

/// A query pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum QueryPattern {
    /// No query at all.
    Absent,
    /// Any query, or none.
    Any,
    /// These parameters, in this order.
    Exact(Vec<Parameter>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Parameter {
    /// `key=*`: any value that does not hold `;`, which some servers take for another `&`.
    AnyValue(String),
    /// Exactly this, mostly `key=value`.
    Is(String),
}

impl PathPattern {
    /// Reads a canonical path in which `*` and `**` may stand.
    pub(crate) fn parse(path: &str) -> Result<Self, String> {
        let mut segments: Vec<String> = path.split('/').skip(1).map(str::to_owned).collect();
        let below = segments.last().is_some_and(|last| last == "**");
        if below {
            segments.pop();
        }
        if segments.iter().any(|segment| segment.contains("**")) {
            return Err("`**` may only be the whole last segment of a path".to_owned());
        }
        Ok(Self { segments, below })
    }

    /// Whether it takes in this canonical path.
    pub(crate) fn matches(&self, path: &str) -> bool {
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        self.takes_in(&segments, false)
    }

    /// Whether it takes in every path that `narrow` does.
    pub(crate) fn contains(&self, narrow: &Self) -> bool {
        // A `*` of the narrow pattern is one more character, which only a `*` of the wide one takes in.
        let segments: Vec<&str> = narrow.segments.iter().map(String::as_str).collect();
        self.takes_in(&segments, narrow.below)
    }

    fn takes_in(&self, segments: &[&str], below: bool) -> bool {
        let length = match (self.below, below) {
            (true, true) => segments.len() >= self.segments.len(),
            (true, false) => segments.len() > self.segments.len(),
            (false, true) => false,
            (false, false) => segments.len() == self.segments.len(),
        };
        length && self.segments.iter().zip(segments).all(|(pattern, segment)| segment_matches(pattern, segment))
    }
}

/// `*` alone takes in any segment but the empty one; as a part of a segment it may stand for nothing.
fn segment_matches(pattern: &str, segment: &str) -> bool {
    if pattern == "*" {
        return !segment.is_empty();
    }
    let (pattern, segment) = (units(pattern), units(segment));
    let (mut pattern, mut rest) = (pattern.as_slice(), segment.as_slice());
    // Where to go on when the text after the latest `*` does not fit: one unit further.
    let mut retry = None;
    loop {
        match (pattern.split_first(), rest.split_first()) {
            (Some((&"*", after)), _) => {
                retry = Some((after, rest));
                pattern = after;
            }
            (Some((wanted, after)), Some((unit, left))) if wanted == unit => (pattern, rest) = (after, left),
            (None, None) => return true,
            _ => match retry.and_then(|(after, from)| from.split_first().map(|(_, left)| (after, left))) {
                Some((after, left)) => {
                    retry = Some((after, left));
                    (pattern, rest) = (after, left);
                }
                None => return false,
            },
        }
    }
}

/// The characters of a canonical text, with `%XX` as one, so that no `*` ends within it.
fn units(text: &str) -> Vec<&str> {
    let mut units = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if first == '%' { 3 } else { first.len_utf8() };
        let Some((unit, after)) = rest.split_at_checked(length) else { break };
        units.push(unit);
        rest = after;
    }
    units
}

impl QueryPattern {
    /// Reads a canonical query, without its `?`, in which `*` may stand.
    pub(crate) fn parse(query: Option<&str>) -> Result<Self, String> {
        match query {
            None => Ok(Self::Absent),
            Some("*") => Ok(Self::Any),
            Some("") => Err("nothing follows its `?`: expected `*` or parameters".to_owned()),
            Some(query) => query.split('&').map(Parameter::parse).collect::<Result<_, _>>().map(Self::Exact),
        }
    }

    /// Whether it takes in this canonical query.
    pub(crate) fn matches(&self, query: Option<&str>) -> bool {
        match (self, query) {
            (Self::Any, _) | (Self::Absent, None) => true,
            (Self::Exact(parameters), Some(query)) => {
                let found: Vec<&str> = query.split('&').collect();
                found.len() == parameters.len()
                    && parameters.iter().zip(found).all(|(parameter, found)| parameter.matches(found))
            }
            _ => false,
        }
    }

    /// Whether it takes in every query that `narrow` does.
    pub(crate) fn contains(&self, narrow: &Self) -> bool {
        match (self, narrow) {
            (Self::Any, _) | (Self::Absent, Self::Absent) => true,
            (Self::Exact(wide), Self::Exact(narrow)) => {
                wide.len() == narrow.len() && wide.iter().zip(narrow).all(|(wide, narrow)| wide.contains(narrow))
            }
            _ => false,
        }
    }
}

impl Parameter {
    fn parse(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((key, "*")) if !key.contains('*') => Ok(Self::AnyValue(key.to_owned())),
            _ if text.contains('*') => Err("in a query `*` stands for all of it or for one whole value".to_owned()),
            _ => Ok(Self::Is(text.to_owned())),
        }
    }

    fn matches(&self, found: &str) -> bool {
        match self {
            Self::Is(text) => text == found,
            Self::AnyValue(key) => {
                found.split_once('=').is_some_and(|(name, value)| name == key && !value.contains(';'))
            }
        }
    }

    fn contains(&self, narrow: &Self) -> bool {
        match narrow {
            Self::Is(text) => self.matches(text),
            Self::AnyValue(_) => self == narrow,
        }
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.segments {
            write!(f, "/{segment}")?;
        }
        f.write_str(if self.below { "/**" } else { "" })
    }
}

impl fmt::Display for QueryPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => Ok(()),
            Self::Any => f.write_str("?*"),
            Self::Exact(parameters) => parameters.iter().enumerate().try_for_each(|(at, parameter)| {
                f.write_str(if at == 0 { "?" } else { "&" })?;
                match parameter {
                    Parameter::AnyValue(key) => write!(f, "{key}=*"),
                    Parameter::Is(text) => f.write_str(text),
                }
            }),
        }
    }
}
