//! What a browser says of what it had signed: the client data of a WebAuthn assertion.
//!
//! It must begin as the standard has it written, and be read as JSON besides: whoever reads it by its beginning and whoever
//! reads it by its keys must see the same.
//! <https://www.w3.org/TR/webauthn-3/#clientdatajson-serialization>

use base64ct::{Base64UrlUnpadded, Encoding};
use countersign_model::strict;
use countersign_model::text::excerpt;
use serde_json::{Map, Value};

/// The longest origin, in bytes: a scheme, a domain name and a port.
pub(crate) const MAX_ORIGIN: usize = 280;
/// The largest client data that is read, in bytes; browsers write some 300.
const MAX_CLIENT_DATA: usize = 4096;
/// The largest extensions that are taken, in bytes.
const MAX_EXTENSIONS: usize = 1024;

/// What stands in a signature that a browser was between.
pub(crate) struct Spoken<'a> {
    /// The origin, e.g. `https://countersign.example.org`.
    pub(crate) origin: &'a str,
    /// The client data, JSON.
    pub(crate) client_data: &'a [u8],
    /// What the authenticator added, a map in CBOR, or nothing.
    pub(crate) extensions: &'a [u8],
}

/// Whether a browser spoke for `signed`, at the origin that it says. `Err(None)`: it spoke for something else.
pub(crate) fn check(spoken: &Spoken<'_>, signed: &[u8]) -> Result<(), Option<String>> {
    let not = |why: &str| Err(Some(why.to_owned()));
    if let Some(why) = wrong_origin(spoken.origin) {
        return Err(Some(format!("the origin `{}` {why}", excerpt(spoken.origin, 80))));
    }
    if spoken.client_data.len() > MAX_CLIENT_DATA || spoken.extensions.len() > MAX_EXTENSIONS {
        return not("it is larger than is read");
    }
    // Major type 5 of CBOR is a map.
    if spoken.extensions.first().is_some_and(|first| first >> 5 != 5) {
        return not("its extensions are not a map");
    }
    let said: Map<String, Value> = match strict::from_slice(spoken.client_data, MAX_CLIENT_DATA) {
        Ok(said) => said,
        Err(error) => return Err(Some(excerpt(&error.to_string(), 120))),
    };
    let text = |key: &str| said.get(key).and_then(Value::as_str);
    if text("type") != Some("webauthn.get") {
        return not("its type is not `webauthn.get`");
    }
    if text("origin") != Some(spoken.origin) {
        return not("its origin is not the signature's");
    }
    // A page inside another's page must sign nothing for it.
    if said.get("crossOrigin").is_some_and(|crosses| *crosses != Value::Bool(false)) || said.contains_key("topOrigin") {
        return not("it was made inside of another origin's page");
    }
    let challenge = Base64UrlUnpadded::encode_string(signed);
    if text("challenge") != Some(challenge.as_str()) {
        return Err(None);
    }
    let begins = format!(r#"{{"type":"webauthn.get","challenge":"{challenge}","origin":"{}""#, spoken.origin);
    if !spoken.client_data.starts_with(begins.as_bytes()) {
        return not("it does not begin as the standard has it written");
    }
    Ok(())
}

/// What is wrong with an origin, if anything: `https://`, a host's name and perhaps a port, as a browser writes it.
/// Without encryption only the machine itself is one, as for browsers.
pub(crate) fn wrong_origin(origin: &str) -> Option<&'static str> {
    if origin.len() > MAX_ORIGIN {
        return Some("is too long");
    }
    let place = origin.strip_prefix("https://");
    let place = place.or_else(|| {
        origin.strip_prefix("http://").filter(|place| *place == "localhost" || place.starts_with("localhost:"))
    });
    let Some(place) = place else { return Some("does not begin with `https://`") };
    let (host, port) = place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port)));
    let label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte))
    };
    if !host.split('.').all(label) {
        return Some("does not name one host in lower case and nothing after it");
    }
    let number = |port: &str| !port.starts_with('0') && port.bytes().all(|byte| byte.is_ascii_digit());
    if port.is_some_and(|port| !number(port) || !port.parse::<u16>().is_ok_and(|port| port > 0)) {
        return Some("has a port that is none");
    }
    None
}

#[cfg(test)]
mod tests;
