//! The capability `http`: GET and HEAD at a pinned origin.
//!
//! A grant names one origin. Its name is resolved once for each call, every address is checked, and
//! the connection goes to a checked address; redirects are followed only within the same grant.
//! Trusted certificates are the system's, for which `SSL_CERT_FILE` and `SSL_CERT_DIR` count.

#![forbid(unsafe_code)]

mod address;
mod call;
mod client;
mod headers;
mod link;
mod origin;
mod pattern;
mod read;
mod resolve;
mod scope;
mod url;
mod wire;

#[cfg(test)]
mod tests;

use countersign_capability::{Capability, Linker, Opening, Protected};
use countersign_model::{Access, Fault, FaultKind, Selector};
use serde::{Deserialize, Serialize};

pub use call::{Call, Header, Request, Response};
pub use read::HttpSession;
pub use scope::Scope;

/// The capability itself.
#[derive(Clone, Copy, Debug)]
pub struct Http;

/// There are no changes yet: nothing is written through HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {}

impl Capability for Http {
    const NAME: &'static str = "http";
    const WIT_VERSION: &'static str = "0.1.0";
    const FORMAT: u32 = 1;
    const ACCESSES: &'static [Access] = &[Access::Read];

    type Scope = Scope;
    type Call = Call;
    type Change = Change;
    type Session = HttpSession;

    fn parse_scope(access: Access, selector: &Selector) -> Result<Scope, String> {
        match access {
            Access::Read => Scope::parse(selector),
            Access::Write => Err("`http` can be granted for reading only".to_owned()),
        }
    }

    fn scope_selector(scope: &Scope) -> Selector {
        scope.selector()
    }

    fn parse_call(function: &str, selector: &Selector) -> Result<Call, String> {
        Call::parse(function, selector)
    }

    /// A record names the guest's headers, and leaves their values out.
    fn parse_recorded(function: &str, selector: &Selector) -> Result<Call, String> {
        let mut selector = selector.clone();
        selector.named.remove(call::HEADERS);
        Call::parse(function, &selector)
    }

    fn least_scope(call: &Call) -> Result<Scope, Fault> {
        Scope::of(&call.url()?).map_err(|why| Fault::new(FaultKind::Invalid, why))
    }

    fn covers(scope: &Scope, call: &Call) -> bool {
        call.url().is_ok_and(|url| scope.takes_in(&url))
    }

    fn reaches(scope: &Scope, subject: &str) -> bool {
        url::Url::parse(subject).is_ok_and(|url| scope.takes_in(&url))
    }

    fn contains(wide: &Scope, narrow: &Scope) -> bool {
        wide.contains(narrow)
    }

    fn endangers(_: &Scope, _: &Protected) -> Option<String> {
        None
    }

    fn describe_reply(_: &Call, reply: &[u8]) -> serde_json::Value {
        let Ok(Response { status, headers, body }) = postcard::from_bytes(reply) else {
            return serde_json::Value::Null;
        };
        let mut shown = serde_json::Map::new();
        for Header { name, value } in headers {
            match shown.get_mut(&name) {
                // Those of one name are a list (RFC 9110, section 5.2).
                Some(serde_json::Value::String(earlier)) => {
                    earlier.push_str(", ");
                    earlier.push_str(&value);
                }
                _ => {
                    shown.insert(name, value.into());
                }
            }
        }
        serde_json::json!({
            "status": status,
            "headers": shown,
            "body": String::from_utf8_lossy(&body),
            "bytes": body.len(),
        })
    }

    fn link(linker: &mut Linker, access: Access) -> link::Result<()> {
        link::link(linker, access)
    }

    fn open(opening: &Opening<'_>) -> Result<HttpSession, Fault> {
        let settings = opening.settings;
        if !settings.is_null() && !settings.as_object().is_some_and(serde_json::Map::is_empty) {
            return Err(Fault::new(FaultKind::Invalid, "`http` takes no settings"));
        }
        Ok(HttpSession::new())
    }
}
