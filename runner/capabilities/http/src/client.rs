//! One request to one checked address: no proxy, no cookies, no redirects, no connection kept.

use std::io::Read;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use countersign_model::text::excerpt;
use countersign_model::{Fault, FaultKind};
use ureq::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::unversioned::transport::{Connector, RustlsConnector};
use ureq::{Agent, Body, Error};

use crate::call::{Header, Response};
use crate::headers::is_shown;
use crate::url::Url;
use crate::wire::{Attempt, Checked, Direct, Noting};

/// The largest body, in bytes.
pub(crate) const MAX_BODY: usize = 4 * 1024 * 1024;
/// The most bytes of a response's status line and headers.
const MAX_HEADER_BYTES: usize = 64 * 1024;
/// The most headers of a response.
const MAX_HEADERS: usize = 100;

pub(crate) struct Client {
    agent: Agent,
    attempt: Attempt,
}

/// A response of which the body is not read yet.
pub(crate) struct Incoming {
    status: u16,
    headers: HeaderMap,
    body: Body,
}

impl Client {
    pub(crate) fn new(roots: RootCerts) -> Self {
        let tls = TlsConfig::builder()
            .root_certs(roots)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let config = Agent::config_builder()
            .tls_config(tls)
            // The default is to look into the environment.
            .proxy(None)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .user_agent("countersign")
            .accept_encoding("identity")
            .max_response_header_size(MAX_HEADER_BYTES)
            .max_idle_connections(0)
            .max_idle_connections_per_host(0)
            .build();
        let attempt = Attempt::default();
        let connector = Direct(attempt.clone()).chain(RustlsConnector::default()).chain(Noting(attempt.clone()));
        let agent = Agent::with_parts(config, connector, Checked(attempt.clone()));
        Self { agent, attempt }
    }

    /// Sends the request to the first of these addresses that takes it, and waits for the headers.
    pub(crate) fn send(
        &self,
        method: Method,
        url: &Url,
        headers: &[(HeaderName, HeaderValue)],
        addresses: Vec<SocketAddr>,
        deadline: Instant,
    ) -> Result<Incoming, Fault> {
        self.attempt.begin(addresses, deadline);
        let mut request = Request::builder().method(method).uri(url.to_string());
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request
            .body(())
            .map_err(|error| Fault::new(FaultKind::Invalid, format!("`{url}` was not taken for a URL: {error}")))?;
        let (head, body) = self.agent.run(request).map_err(|error| self.fault(url, &error))?.into_parts();
        if head.headers.len() > MAX_HEADERS {
            let what = format!("`{}` answered with more than {MAX_HEADERS} headers", url.origin);
            return Err(Fault::reached(FaultKind::TooLarge, what));
        }
        Ok(Incoming { status: head.status.as_u16(), headers: head.headers, body })
    }

    /// Reads the body, all of it.
    pub(crate) fn receive(&self, url: &Url, incoming: Incoming) -> Result<Response, Fault> {
        let Incoming { status, headers, body } = incoming;
        let too_large = || {
            let what = format!("`{}` answered with a body of more than {MAX_BODY} bytes", url.origin);
            Fault::reached(FaultKind::TooLarge, what)
        };
        let announced = body.content_length().unwrap_or(0);
        if announced > MAX_BODY as u64 {
            return Err(too_large());
        }
        let mut bytes = Vec::new();
        let limit = MAX_BODY as u64 + 1;
        body.into_reader().take(limit).read_to_end(&mut bytes).map_err(|error| self.fault(url, &Error::from(error)))?;
        if bytes.len() > MAX_BODY {
            return Err(too_large());
        }
        let headers = headers.iter().filter(|(name, _)| is_shown(name)).map(|(name, value)| Header {
            name: name.as_str().to_owned(),
            value: String::from_utf8_lossy(value.as_bytes()).into_owned(),
        });
        Ok(Response { status, headers: headers.collect(), body: bytes })
    }

    fn fault(&self, url: &Url, error: &Error) -> Fault {
        let origin = &url.origin;
        let sent = self.attempt.sent();
        let why = excerpt(&error.to_string(), 200);
        let (kind, what) = match error {
            _ if self.attempt.is_over() => (FaultKind::TimedOut, format!("`{origin}` did not answer in time")),
            Error::LargeResponseHeader(..) => {
                (FaultKind::TooLarge, format!("`{origin}` answered with headers of more than {MAX_HEADER_BYTES} bytes"))
            }
            _ if !sent => (FaultKind::Unreachable, format!("`{origin}` was not reached: {why}")),
            Error::Io(_) => (FaultKind::Unreachable, format!("`{origin}` broke off: {why}")),
            _ => (FaultKind::Other, format!("`{origin}` answered with what is not HTTP: {why}")),
        };
        Fault { kind, reached: sent, what }
    }
}

impl Incoming {
    /// Where the response sends the client on to, if it does.
    ///
    /// # Errors
    /// `Other` where it names several places or none that is text.
    pub(crate) fn redirect(&self) -> Result<Option<&str>, Fault> {
        if !matches!(self.status, 301 | 302 | 303 | 307 | 308) {
            return Ok(None);
        }
        let mut locations = self.headers.get_all(header::LOCATION).iter();
        match (locations.next(), locations.next()) {
            (None, _) => Ok(None),
            (Some(location), None) => location
                .to_str()
                .map(Some)
                .map_err(|_| Fault::reached(FaultKind::Denied, "a redirect names a place that is not printable ASCII")),
            (Some(_), Some(_)) => Err(Fault::reached(FaultKind::Denied, "a redirect names several places")),
        }
    }
}
