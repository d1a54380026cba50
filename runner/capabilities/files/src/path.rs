//! Paths as calls name them: text, absolute, in one spelling only.

use std::fmt;

use countersign_model::text::excerpt;
use countersign_model::{Fault, FaultKind};

/// The longest path that is taken, in bytes; `PATH_MAX` of Linux without its closing NUL.
pub(crate) const MAX_PATH: usize = 4095;

/// How the names begin that the runner gives to staged and kept files beside a changed file.
pub(crate) const OWN_PREFIX: &str = ".countersign-";

/// An absolute path without `.`, `..`, empty segments, `*`, control characters or a slash at its end.
///
/// Its last segment does not begin with [`OWN_PREFIX`]: what the runner keeps beside a file can be
/// listed, but neither opened nor changed by a call.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Path(String);

impl Path {
    /// Reads a path as it stands in a call; it is refused, not repaired, where it is not normalized.
    pub(crate) fn parse(text: &str) -> Result<Self, Fault> {
        let invalid = |why: &str| Err(Fault::new(FaultKind::Invalid, format!("`{}` {why}", excerpt(text, 200))));
        if text.contains('*') {
            return invalid("cannot be named in a call: it holds a `*`");
        }
        if text == "/" {
            return Ok(Self(text.to_owned()));
        }
        let segments = match split(text) {
            Ok(segments) => segments,
            Err(why) => return invalid(why),
        };
        if segments.last().is_some_and(|name| name.starts_with(OWN_PREFIX)) {
            return invalid("has a name of the runner's own: it may be listed, not opened");
        }
        Ok(Self(text.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Its names from the root on; none for `/` itself.
    pub(crate) fn segments(&self) -> Vec<&str> {
        self.0.split('/').filter(|segment| !segment.is_empty()).collect()
    }

    /// The name in its directory that this path gives to `directory`'s entry, if it lies right in there.
    pub(crate) fn name_in<'a>(&'a self, directory: &Self) -> Option<&'a str> {
        let (parent, name) = self.0.rsplit_once('/')?;
        let within = if directory.0 == "/" { parent.is_empty() } else { parent == directory.0 };
        (within && !name.is_empty()).then_some(name)
    }
}

impl fmt::Display for Path {
    /// The path, fit to be shown, cut to 200 characters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&excerpt(&self.0, 200))
    }
}

/// The segments of a normalized absolute path or pattern that is not `/`.
pub(crate) fn split(text: &str) -> Result<Vec<&str>, &'static str> {
    if text.len() > MAX_PATH {
        return Err("is longer than 4095 bytes");
    }
    let rest = text.strip_prefix('/').ok_or("is not an absolute path")?;
    if text.chars().any(char::is_control) {
        return Err("holds a control character");
    }
    let segments: Vec<_> = rest.split('/').collect();
    for segment in &segments {
        match *segment {
            "" => return Err("holds an empty segment or ends in a slash"),
            "." | ".." => return Err("is not normalized: it holds `.` or `..`"),
            name if name.len() > 255 => return Err("holds a name of more than 255 bytes"),
            _ => {}
        }
    }
    Ok(segments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_one_spelling_only() {
        for good in ["/", "/etc", "/etc/nginx/nginx.conf", "/srv/a b", "/srv/...", "/srv/.countersign-x/conf"] {
            assert_eq!(Path::parse(good).expect(good).as_str(), good);
        }
        let long = format!("/{}", "a".repeat(256));
        let deep = "/a".repeat(2048);
        for bad in
            ["", "etc", "//", "/etc/", "//etc", "/etc//x", "/etc/./x", "/etc/../x", "/..", "/.", "/a\0b", "/a\nb"]
        {
            assert_eq!(Path::parse(bad).expect_err(bad).kind, FaultKind::Invalid);
        }
        for bad in ["/etc/*", "/**", "/srv/.countersign-00", long.as_str(), deep.as_str()] {
            assert!(Path::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn knows_what_lies_in_a_directory() {
        let path = |text| Path::parse(text).expect(text);
        assert_eq!(path("/a/b").name_in(&path("/a")), Some("b"));
        assert_eq!(path("/b").name_in(&path("/")), Some("b"));
        assert_eq!(path("/a/b/c").name_in(&path("/a")), None);
        assert_eq!(path("/ab/c").name_in(&path("/a")), None);
        assert_eq!(path("/").name_in(&path("/")), None);
        assert_eq!(path("/a").name_in(&path("/a")), None);
    }
}
