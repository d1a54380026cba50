//! URLs in one spelling: what is matched is, byte for byte, what is sent.

use std::fmt;

use countersign_model::text::excerpt;

use crate::origin::Origin;

/// The longest URL, in bytes.
pub(crate) const MAX_URL: usize = 2_048;

/// A normalized URL that a request may name: no user name, no fragment, no raw `*`, no dot segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) origin: Origin,
    /// Begins with `/`.
    pub(crate) path: String,
    /// Without its `?`; never empty.
    pub(crate) query: Option<String>,
}

impl Url {
    /// Reads and normalizes a URL.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let Parts { origin, path, query } = Parts::parse(text)?;
        // In a pattern `*` stands for something, so that in a URL it must be written out.
        if path.contains('*') || query.as_deref().is_some_and(|query| query.contains('*')) {
            return Err("`*` must be written `%2A` here".to_owned());
        }
        if query.as_deref() == Some("") {
            return Err("nothing follows its `?`".to_owned());
        }
        let url = Self { origin, path, query };
        if url.to_string().len() > MAX_URL { Err(too_long()) } else { Ok(url) }
    }

    /// The URL that a `location` header, seen at `self`, names. A fragment in it is dropped.
    pub(crate) fn join(&self, location: &str) -> Result<Self, String> {
        if location.len() > MAX_URL {
            return Err(too_long());
        }
        let location = location.split('#').next().unwrap_or_default();
        let scheme = location.split_once(':').map(|(scheme, _)| scheme).filter(|scheme| {
            scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
        });
        if scheme.is_some() {
            return Self::parse(location);
        }
        if location.starts_with("//") {
            let scheme = if self.origin.secure { "https" } else { "http" };
            return Self::parse(&format!("{scheme}:{location}"));
        }
        let (path, query) = match location.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (location, None),
        };
        let (path, query) = match path {
            "" => (self.path.clone(), query.or(self.query.as_deref())),
            absolute if absolute.starts_with('/') => (without_dots(absolute), query),
            relative => {
                let directory = self.path.rsplit_once('/').map_or("", |(directory, _)| directory);
                (without_dots(&format!("{directory}/{relative}")), query)
            }
        };
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        Self::parse(&format!("{}{path}{query}", self.origin))
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.path)?;
        self.query.as_ref().map_or(Ok(()), |query| write!(f, "?{query}"))
    }
}

/// The parts of a URL or URL pattern, each in canonical spelling.
pub(crate) struct Parts {
    pub(crate) origin: Origin,
    pub(crate) path: String,
    pub(crate) query: Option<String>,
}

impl Parts {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_URL {
            return Err(too_long());
        }
        if let Some(c) = text.chars().find(|c| !c.is_ascii_graphic()) {
            return Err(format!("`{}` must be percent-encoded", countersign_model::text::visible(&c.to_string())));
        }
        if text.contains('#') {
            return Err("a fragment is refused: it is never sent".to_owned());
        }
        if text.contains('\\') {
            return Err("a backslash is refused".to_owned());
        }
        let (scheme, rest) = text.split_once("://").ok_or("it must begin with `http://` or `https://`")?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err("it must begin with `http://` or `https://`".to_owned()),
        };
        let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let origin = Origin::parse(secure, authority)?;
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(canonical(query, Place::Query)?)),
            None => (rest, None),
        };
        let path = if path.is_empty() { "/".to_owned() } else { canonical(path, Place::Path)? };
        refuse_odd_segments(&path)?;
        Ok(Self { origin, path, query })
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Path,
    Query,
}

/// Percent-encoding in its one canonical form: unreserved characters decoded, hexadecimal digits in upper case.
fn canonical(text: &str, place: Place) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut meant = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            if !may_stand(byte, place) {
                return Err(format!("`{}` must be percent-encoded as `%{byte:02X}`", char::from(byte)));
            }
            out.push(char::from(byte));
            meant.push(byte);
            continue;
        }
        let digits = [bytes.next(), bytes.next()].map(|digit| digit.and_then(|b| char::from(b).to_digit(16)));
        let [Some(high), Some(low)] = digits else {
            return Err("`%` must be followed by two hexadecimal digits".to_owned());
        };
        let byte = u8::try_from(high * 16 + low).unwrap_or_default();
        match byte {
            0..=31 | 127 => return Err(format!("the encoded control character `%{byte:02X}` is refused")),
            b'/' | b'\\' if place == Place::Path => {
                return Err(format!("`%{byte:02X}` is refused in a path: servers disagree on what it means"));
            }
            unreserved if is_unreserved(unreserved) => out.push(char::from(unreserved)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
        meant.push(byte);
    }
    if std::str::from_utf8(&meant).is_err() {
        return Err("what is percent-encoded is not UTF-8".to_owned());
    }
    // A server that decodes twice would see another path than was matched.
    if place == Place::Path && has_escape(&meant) {
        return Err("percent-encoding within percent-encoding is refused in a path".to_owned());
    }
    Ok(out)
}

fn has_escape(bytes: &[u8]) -> bool {
    bytes
        .windows(3)
        .any(|window| matches!(window, [b'%', high, low] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit()))
}

fn refuse_odd_segments(path: &str) -> Result<(), String> {
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        if segment.is_empty() && segments.peek().is_some() {
            return Err("`//` is refused in a path: servers disagree on what it means".to_owned());
        }
        // Some servers cut `;parameters` off before they walk the path.
        let plain = segment.replace("%3B", ";");
        if matches!(plain.split(';').next(), Some("." | "..")) {
            return Err(format!("the path segment `{}` is refused", excerpt(segment, 40)));
        }
    }
    Ok(())
}

/// RFC 3986, section 5.2.4, for an absolute path.
fn without_dots(path: &str) -> String {
    let mut kept = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            segment => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn may_stand(byte: u8, place: Place) -> bool {
    is_unreserved(byte) || b"!$&'()*+,;=:@/".contains(&byte) || (byte == b'?' && place == Place::Query)
}

fn too_long() -> String {
    format!("it is longer than {MAX_URL} bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(text: &str) -> Result<String, String> {
        Url::parse(text).map(|url| url.to_string())
    }

    #[test]
    fn one_spelling_for_each_url() {
        for (text, expected) in [
            ("HTTP://Example.COM", "http://example.com/"),
            ("http://example.com:80/a", "http://example.com/a"),
            ("https://example.com:443?x=1", "https://example.com/?x=1"),
            ("http://example.com:443/", "http://example.com:443/"),
            ("http://127.0.0.1:8080/healthz", "http://127.0.0.1:8080/healthz"),
            ("http://[0:0::1]:8080/", "http://[::1]:8080/"),
            ("http://h/%7euser/%41%2d%e4%bd%a0", "http://h/~user/A-%E4%BD%A0"),
            ("http://h/a%2a?q=%2A&r=%2fb%5cd", "http://h/a%2A?q=%2A&r=%2Fb%5Cd"),
            ("http://h/a/...", "http://h/a/..."),
            ("http://h/a/", "http://h/a/"),
            ("http://a_b.c-d/", "http://a_b.c-d/"),
        ] {
            assert_eq!(normal(text).as_deref(), Ok(expected), "{text}");
            assert_eq!(normal(expected).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn refuses_what_two_readers_may_take_differently() {
        for (text, why) in [
            ("ftp://h/", "must begin"),
            ("//h/", "must begin"),
            ("h/a", "must begin"),
            ("http:///a", "host is missing"),
            ("http://u@h/", "user name"),
            ("http://u:p@h/", "user name"),
            ("http://h@evil/", "user name"),
            ("http://h#@evil/", "fragment"),
            ("http://h/a#b", "fragment"),
            ("http://h\\evil/", "backslash"),
            ("http://h/a b", "percent-encoded"),
            ("http://h/a\tb", "percent-encoded"),
            ("http://h/a\r\nX: y", "percent-encoded"),
            ("http://h/ä", "percent-encoded"),
            ("http://ｈ/", "percent-encoded"),
            ("http://h/<a>", "percent-encoded"),
            ("http://h/%2f", "refused in a path"),
            ("http://h/%5C", "refused in a path"),
            ("http://h/%00", "control"),
            ("http://h/?a=%0d%0a", "control"),
            ("http://h/%7F", "control"),
            ("http://h/%", "two hexadecimal"),
            ("http://h/%4", "two hexadecimal"),
            ("http://h/%4g", "two hexadecimal"),
            ("http://h/%+1", "two hexadecimal"),
            ("http://h/%ff", "not UTF-8"),
            ("http://h/%c0%af", "not UTF-8"),
            ("http://h/%252e%252e/x", "within percent-encoding"),
            ("http://h/%25%32e", "within percent-encoding"),
            ("http://h/a/../b", "segment"),
            ("http://h/a/..", "segment"),
            ("http://h/./b", "segment"),
            ("http://h/a/%2e%2E/b", "segment"),
            ("http://h/a/.%2e/b", "segment"),
            ("http://h/a/..;x=1/b", "segment"),
            ("http://h/a/..%3b/b", "segment"),
            ("http://h//a", "`//`"),
            ("http://h/a//b", "`//`"),
            ("http://h/a*", "%2A"),
            ("http://h/a?b=*", "%2A"),
            ("http://h/?", "nothing follows"),
            ("http://h:/", "not a port"),
            ("http://h:0/", "not a port"),
            ("http://h:080/", "not a port"),
            ("http://h:+80/", "not a port"),
            ("http://h:65536/", "not a port"),
            ("http://h:80:80/", "not a port"),
            ("http://h:*/", "not a port"),
            ("http://*.example.com/", "without `*`"),
            ("http://h./", "not a host"),
            ("http://.h/", "not a host"),
            ("http://a..b/", "not a host"),
            ("http://-a/", "not a host"),
            ("http://%68/", "not a host"),
            ("http://127.1/", "not an IPv4"),
            ("http://2130706433/", "not an IPv4"),
            ("http://0x7f000001/", "not an IPv4"),
            ("http://0x7f.0.0.1/", "not an IPv4"),
            ("http://127.0.0.0x1/", "not an IPv4"),
            ("http://0177.0.0.1/", "not an IPv4"),
            ("http://127.0.0.01/", "not an IPv4"),
            ("http://127.0.0.1.5/", "not an IPv4"),
            ("http://256.0.0.1/", "not an IPv4"),
            ("http://[::1/", "not closed"),
            ("http://[::1]x/", "followed by"),
            ("http://[fe80::1%25eth0]/", "not an IPv6"),
            ("http://[127.0.0.1]/", "not an IPv6"),
            ("http://[::ffff:127.0.0.1]/", "must be written `127.0.0.1`"),
            ("http://::1/", "host is missing"),
        ] {
            let error = normal(text).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
        let long = format!("http://h/{}", "a".repeat(MAX_URL));
        assert!(normal(&long).expect_err("long").contains("longer than"));
        assert!(normal(&format!("http://h/{}", "a".repeat(MAX_URL - 9))).is_ok());
        assert!(normal(&format!("http://h?{}", "a".repeat(MAX_URL - 9))).expect_err("grown").contains("longer"));
    }

    #[test]
    fn a_location_is_read_from_where_it_was_seen() {
        let base = Url::parse("http://h:8080/a/b?x=1").expect("base");
        for (location, expected) in [
            ("http://h:8080/c", "http://h:8080/c"),
            ("//other/c", "http://other/c"),
            ("/c?d=e#f", "http://h:8080/c?d=e"),
            ("c", "http://h:8080/a/c"),
            ("./c", "http://h:8080/a/c"),
            ("../c", "http://h:8080/c"),
            ("../../../c", "http://h:8080/c"),
            ("..", "http://h:8080/"),
            ("?y=2", "http://h:8080/a/b?y=2"),
            ("", "http://h:8080/a/b?x=1"),
            ("c:d", "error"),
            ("javascript:alert(1)", "error"),
            ("http:c", "error"),
            ("/%2e%2e/c", "error"),
            ("\\\\evil\\c", "error"),
            ("/\\evil", "error"),
            ("http://h:8080@evil/", "error"),
        ] {
            let joined = base.join(location).map_or("error".to_owned(), |url| url.to_string());
            assert_eq!(joined, expected, "{location}");
        }
    }
}
