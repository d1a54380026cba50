//! Which headers a guest may set, and which of a response it sees.

use countersign_model::text::excerpt;
use countersign_model::{Fault, FaultKind};
use ureq::http::{HeaderName, HeaderValue};

use crate::call::Header;

/// The most headers of one request.
const MAX_HEADERS: usize = 32;
/// The most bytes of all their names and values.
const MAX_BYTES: usize = 8 * 1024;

/// Connection, authority, credentials, and what servers behind a proxy take the client's word for.
const HOST_SETS: &[&str] = &[
    "accept-encoding",
    "access-control-request-headers",
    "access-control-request-method",
    "api-key",
    "authority",
    "authorization",
    "cf-connecting-ip",
    "client-ip",
    "connection",
    "cookie",
    "cookie2",
    "expect",
    "fastly-client-ip",
    "forwarded",
    "from",
    "host",
    "http2-settings",
    "keep-alive",
    "max-forwards",
    "origin",
    "referer",
    "remote-user",
    "te",
    "trailer",
    "trailers",
    "transfer-encoding",
    "true-client-ip",
    "upgrade",
    "user-agent",
    "via",
    "x-api-key",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-host",
    "x-http-method",
    "x-method-override",
    "x-original-host",
    "x-original-url",
    "x-real-ip",
    "x-rewrite-url",
];

/// As [`HOST_SETS`], by how they begin.
const HOST_SETS_ALL: &[&str] =
    &["content-", "proxy-", "sec-", "x-auth", "x-envoy-", "x-forwarded-", "x-http-method-", "x-remote-"];

/// The guest's headers as they are sent, names in lower case.
pub(crate) fn outgoing(headers: &[Header]) -> Result<Vec<(HeaderName, HeaderValue)>, Fault> {
    let invalid = |what: String| Fault::new(FaultKind::Invalid, what);
    if headers.len() > MAX_HEADERS {
        return Err(invalid(format!("{} headers are more than the {MAX_HEADERS} of a request", headers.len())));
    }
    if headers.iter().map(|header| header.name.len() + header.value.len()).sum::<usize>() > MAX_BYTES {
        return Err(invalid(format!("the headers are longer than {MAX_BYTES} bytes")));
    }
    let mut checked: Vec<(HeaderName, HeaderValue)> = Vec::with_capacity(headers.len());
    for header in headers {
        let name = header.name.to_ascii_lowercase();
        let shown = excerpt(&header.name, 60);
        // No `_`: many servers take `x_forwarded_for` for `x-forwarded-for`.
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if HOST_SETS.contains(&name.as_str()) || HOST_SETS_ALL.iter().any(|prefix| name.starts_with(prefix)) {
            return Err(invalid(format!("the header `{shown}` is not for a step to set")));
        }
        if name.is_empty() || !name.bytes().all(plain) {
            return Err(invalid(format!("`{shown}` is not a header's name: expected letters, digits and `-`")));
        }
        if !header.value.bytes().all(|b| matches!(b, b' '..=b'~')) || header.value.trim() != header.value {
            return Err(invalid(format!(
                "the header `{shown}` has a value that is not printable ASCII without spaces around it"
            )));
        }
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| invalid(format!("`{shown}` is not a header's name")))?;
        let value = HeaderValue::from_str(&header.value)
            .map_err(|_| invalid(format!("the header `{shown}` has no valid value")))?;
        if checked.iter().any(|(other, _)| *other == name) {
            return Err(invalid(format!("the header `{shown}` stands twice")));
        }
        checked.push((name, value));
    }
    Ok(checked)
}

/// Whether a guest may see this response header.
pub(crate) fn is_shown(name: &HeaderName) -> bool {
    !matches!(name.as_str(), "set-cookie" | "set-cookie2")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(name: &str, value: &str) -> String {
        let header = Header { name: name.to_owned(), value: value.to_owned() };
        let fault = outgoing(&[header]).expect_err(name);
        assert_eq!((fault.kind, fault.reached), (FaultKind::Invalid, false));
        fault.what
    }

    #[test]
    fn the_hosts_headers_are_not_the_guests() {
        for name in [
            "Host",
            "host",
            "AUTHORITY",
            "Connection",
            "Content-Length",
            "Content-Type",
            "Transfer-Encoding",
            "Upgrade",
            "TE",
            "Trailer",
            "Keep-Alive",
            "Proxy-Authorization",
            "Proxy-Connection",
            "Authorization",
            "Cookie",
            "Forwarded",
            "X-Forwarded-For",
            "X-Forwarded-Host",
            "X-Real-IP",
            "Origin",
            "Referer",
            "Expect",
            "X-HTTP-Method-Override",
            "X-HTTP-Method",
            "X-Method-Override",
            "X-Original-URL",
            "X-Rewrite-URL",
            "User-Agent",
            "Accept-Encoding",
            "Via",
            "X-Auth-Token",
            "X-API-Key",
            "Sec-Fetch-Site",
            "Remote-User",
        ] {
            assert!(refused(name, "x").contains("not for a step to set"), "{name}");
        }
    }

    #[test]
    fn no_header_holds_another() {
        for name in [":authority", ":path", "", "a b", "a:", "a\r\nhost", "x_forwarded_for", "ä", "a\0"] {
            assert!(refused(name, "x").contains("not a header's name"), "{name:?}");
        }
        for value in ["a\r\nhost: b", "a\nb", "a\rb", "a\0b", "ä", "a\tb", "\u{7f}", " a", "a "] {
            assert!(refused("accept", value).contains("printable ASCII"), "{value:?}");
        }
        let many = |count: usize, length: usize| {
            let value = "v".repeat(length);
            let headers: Vec<_> =
                (0..count).map(|at| Header { name: format!("x-{at:03}"), value: value.clone() }).collect();
            outgoing(&headers).map(|headers| headers.len()).map_err(|fault| fault.what)
        };
        assert_eq!(many(32, 1), Ok(32));
        assert!(many(33, 1).expect_err("33").contains("more than the 32"));
        assert!(many(32, 300).expect_err("long").contains("longer than"));
        let twice = ["accept", "Accept"].map(|name| Header { name: name.to_owned(), value: "a".to_owned() });
        assert!(outgoing(&twice).expect_err("twice").what.contains("twice"));
    }
}
