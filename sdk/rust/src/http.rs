//! HTTP at pinned origins; requests that only look.
//!
//! A call needs a grant of `http.read` that covers the URL. A redirect within the grant is followed, at
//! most five times. In a rehearsal, every request after a pending change is `unknowable`.

use std::borrow::Cow;

use serde::de::DeserializeOwned;

use crate::Error;
use crate::bindings::countersign::http::{read, types};

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code, e.g. 200. An error status is a response like any other.
    pub status: u16,
    /// Names, in lower case, and values, in the order received; `set-cookie` is left out.
    pub headers: Vec<(String, String)>,
    /// At most 4 MiB; empty for HEAD.
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of this name, in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body, with U+FFFD for what is not UTF-8.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    /// The body, read as JSON.
    ///
    /// # Errors
    /// When it is not JSON of that type.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }
}

impl From<types::Response> for Response {
    fn from(response: types::Response) -> Self {
        let headers = response.headers.into_iter().map(|header| (header.name, header.value)).collect();
        Self { status: response.status, headers, body: response.body }
    }
}

/// GET of an absolute URL.
///
/// # Errors
/// `unreachable`, `timed-out`, `too-large`, `unknowable`, `denied`, also for a redirect to elsewhere.
pub fn get(url: impl AsRef<str>) -> Result<Response, Error> {
    get_with(url, &[])
}

/// As [`get`], with these headers. Host, connection and credential headers are the runner's to set.
///
/// # Errors
/// As for [`get`]; `invalid` for a header that is not the step's to set.
pub fn get_with(url: impl AsRef<str>, headers: &[(&str, &str)]) -> Result<Response, Error> {
    Ok(read::get(url.as_ref(), &headers_of(headers))?.into())
}

/// HEAD of an absolute URL.
///
/// # Errors
/// As for [`get`].
pub fn head(url: impl AsRef<str>) -> Result<Response, Error> {
    head_with(url, &[])
}

/// As [`head`], with these headers.
///
/// # Errors
/// As for [`get_with`].
pub fn head_with(url: impl AsRef<str>, headers: &[(&str, &str)]) -> Result<Response, Error> {
    Ok(read::head(url.as_ref(), &headers_of(headers))?.into())
}

fn headers_of(headers: &[(&str, &str)]) -> Vec<types::Header> {
    let header = |&(name, value): &(&str, &str)| types::Header { name: name.to_owned(), value: value.to_owned() };
    headers.iter().map(header).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_easy_to_look_at() {
        let header = types::Header { name: "content-type".to_owned(), value: "application/json".to_owned() };
        let response =
            Response::from(types::Response { status: 503, headers: vec![header], body: b"{\"a\": 1}".to_vec() });
        assert_eq!(response.header("Content-Type"), Some("application/json"));
        assert_eq!(response.header("x"), None);
        assert_eq!(response.json::<std::collections::BTreeMap<String, u8>>().expect("JSON").get("a"), Some(&1));
        assert_eq!(Response { body: vec![b'a', 0xff], ..response }.text(), "a\u{fffd}");
    }
}
