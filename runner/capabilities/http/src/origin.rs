//! Where a URL points: scheme, host and port, in one spelling only.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use countersign_model::text::excerpt;

/// Scheme, host and port of a URL, normalized: equal origins are equal values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Whether it is `https`.
    pub(crate) secure: bool,
    /// The host.
    pub(crate) host: Host,
    /// The port, with the scheme's own filled in.
    pub(crate) port: u16,
}

/// A host: an address, or a name in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    /// A literal address; never an IPv4 address in IPv6 form.
    Address(IpAddr),
    /// A name of letters, digits, `-` and `_`, without a dot at its end.
    Name(String),
}

impl Origin {
    /// Reads `host` or `host:port`.
    pub(crate) fn parse(secure: bool, authority: &str) -> Result<Self, String> {
        if authority.contains('@') {
            return Err("a user name or password in a URL is refused".to_owned());
        }
        let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
            let (host, rest) = rest.split_once(']').ok_or("`[` is not closed")?;
            let port = match rest.strip_prefix(':') {
                Some(port) => Some(port),
                None if rest.is_empty() => None,
                None => return Err("`]` must be followed by a port or the path".to_owned()),
            };
            (Host::parse_v6(host)?, port)
        } else {
            match authority.split_once(':') {
                Some((host, port)) => (Host::parse(host)?, Some(port)),
                None => (Host::parse(authority)?, None),
            }
        };
        let default = default_port(secure);
        let port = match port {
            None => default,
            // Only the one spelling: no sign, no leading zero, not empty.
            Some(text) => match text.parse::<u16>() {
                Ok(port) if port != 0 && port.to_string() == text => port,
                _ => return Err(format!("`{}` is not a port", excerpt(text, 20))),
            },
        };
        Ok(Self { secure, host, port })
    }
}

impl Host {
    fn parse(text: &str) -> Result<Self, String> {
        let text = text.to_ascii_lowercase();
        let shown = || excerpt(&text, 80);
        if text.is_empty() {
            return Err("the host is missing".to_owned());
        }
        if text.contains('*') {
            return Err(format!("`{}`: a host is named whole, without `*`", shown()));
        }
        // What ends in a number is an address to somebody: `127.1`, `0x7f000001`, `2130706433`, `0177.0.0.1`.
        let last = text.rsplit('.').next().unwrap_or_default();
        let hexadecimal = last.strip_prefix("0x").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_hexdigit()));
        if hexadecimal || (!last.is_empty() && last.bytes().all(|b| b.is_ascii_digit())) {
            return text.parse::<Ipv4Addr>().map(|address| Self::Address(address.into())).map_err(|_| {
                format!("`{}` is not an IPv4 address: expected four decimal numbers without leading zeros", shown())
            });
        }
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
        };
        if text.len() > 253 || !text.split('.').all(label) {
            return Err(format!(
                "`{}` is not a host: expected letters, digits, `-` and `_` in parts joined by single dots",
                shown()
            ));
        }
        Ok(Self::Name(text))
    }

    fn parse_v6(text: &str) -> Result<Self, String> {
        let address: Ipv6Addr =
            text.parse().map_err(|_| format!("`[{}]` is not an IPv6 address without a zone", excerpt(text, 60)))?;
        match address.to_ipv4_mapped() {
            Some(inner) => Err(format!("`[{}]` must be written `{inner}`", excerpt(text, 60))),
            None => Ok(Self::Address(address.into())),
        }
    }
}

const fn default_port(secure: bool) -> u16 {
    if secure { 443 } else { 80 }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.secure { "https" } else { "http" }, self.host)?;
        if self.port == default_port(self.secure) { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Self::Name(name) => f.write_str(name),
        }
    }
}
