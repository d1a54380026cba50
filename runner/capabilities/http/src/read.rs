//! Performs read calls.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use countersign_capability::{Context, Prepared, Session};
use countersign_model::text::excerpt;
use countersign_model::{Fault, FaultKind, State};
use ureq::http::Method;
use ureq::tls::RootCerts;

use crate::call::{Call, Response};
use crate::client::Client;
use crate::headers::outgoing;
use crate::origin::{Host, Origin};
use crate::resolve::{MAX_ADDRESSES, Resolve, System};
use crate::scope::Scope;
use crate::url::Url;
use crate::{Change, Http};

/// The longest that one call may take, redirects included.
const MAX_TIME: Duration = Duration::from_secs(10);
/// The most redirects that one call follows.
const MAX_REDIRECTS: usize = 5;

/// Sends requests. Keeps nothing between two calls but the settings of its client.
pub struct HttpSession {
    client: Client,
    resolver: Box<dyn Resolve>,
}

impl HttpSession {
    /// With the system's resolver and the system's trusted certificates.
    pub(crate) fn new() -> Self {
        Self::with(Box::new(System), RootCerts::PlatformVerifier)
    }

    pub(crate) fn with(resolver: Box<dyn Resolve>, roots: RootCerts) -> Self {
        Self { client: Client::new(roots), resolver }
    }

    pub(crate) fn perform(&self, deadline: Instant, scope: &Scope, call: &Call) -> Result<Response, Fault> {
        let deadline = until(deadline);
        let method = match call {
            Call::Get(_) => Method::GET,
            Call::Head(_) => Method::HEAD,
        };
        let headers = outgoing(&call.request().headers)?;
        let mut url = call.url()?;
        if !scope.takes_in(&url) {
            return Err(Fault::new(FaultKind::Denied, format!("the grant does not cover `{url}`")));
        }
        // Once for the whole call: a scope has one origin, so that redirects stay at it.
        let addresses = self.addresses(scope, deadline)?;
        for hop in 0..=MAX_REDIRECTS {
            // Whatever happens after the first answer, that request was sent.
            let earlier = |fault: Fault| Fault { reached: fault.reached || hop > 0, ..fault };
            let incoming =
                self.client.send(method.clone(), &url, &headers, addresses.clone(), deadline).map_err(earlier)?;
            match incoming.redirect()? {
                None => return self.client.receive(&url, incoming),
                Some(location) => url = follow(scope, &url, location)?,
            }
        }
        let what = format!("`{}` redirected more than {MAX_REDIRECTS} times", scope.origin());
        Err(Fault::reached(FaultKind::Other, what))
    }

    fn addresses(&self, scope: &Scope, deadline: Instant) -> Result<Vec<SocketAddr>, Fault> {
        let Origin { host, port, .. } = scope.origin();
        let found: Vec<IpAddr> = match host {
            Host::Address(address) => vec![*address],
            Host::Name(name) => self.resolver.resolve(name, deadline)?,
        };
        let admitted = scope.admit(&found)?;
        Ok(admitted.into_iter().take(MAX_ADDRESSES).map(|address| SocketAddr::new(address, *port)).collect())
    }
}

/// When a call with this deadline ends at the latest.
pub(crate) fn until(deadline: Instant) -> Instant {
    deadline.min(Instant::now() + MAX_TIME)
}

/// The URL that a redirect leads to, if the same scope takes it in.
pub(crate) fn follow(scope: &Scope, from: &Url, location: &str) -> Result<Url, Fault> {
    let denied = |why: String| {
        let what = format!("`{from}` redirects to `{}`, {why}", excerpt(location, 200));
        Err(Fault::reached(FaultKind::Denied, what))
    };
    match from.join(location) {
        Err(why) => denied(format!("which is not followed: {why}")),
        Ok(next) if from.origin.secure && !next.origin.secure => {
            denied("which is not followed: it leaves `https`".to_owned())
        }
        Ok(next) if !scope.takes_in(&next) => denied("which the grant does not cover".to_owned()),
        Ok(next) => Ok(next),
    }
}

impl Session<Http> for HttpSession {
    fn read(&mut self, cx: &mut Context<'_>, scope: &Scope, call: Call) -> Result<Vec<u8>, Fault> {
        let response = self.perform(cx.deadline, scope, &call)?;
        postcard::to_stdvec(&response)
            .map_err(|error| Fault::reached(FaultKind::Other, format!("a reply was not encoded: {error}")))
    }

    fn prepare(&mut self, _: &mut Context<'_>, _: &Scope, _: Call) -> Result<Prepared<Change>, Fault> {
        Err(Fault::new(FaultKind::Unsupported, "`http` has no calls that change anything"))
    }

    fn rehearse(&mut self, _: &mut Context<'_>, change: &Change) -> Result<Vec<u8>, Fault> {
        match *change {}
    }

    fn rehearse_undo(&mut self, _: &mut Context<'_>, change: &Change) -> Result<(), Fault> {
        match *change {}
    }

    fn apply(&mut self, _: &mut Context<'_>, change: &Change) -> Result<Vec<u8>, Fault> {
        match *change {}
    }

    fn probe(&mut self, _: &mut Context<'_>, change: &Change) -> Result<State, Fault> {
        match *change {}
    }

    fn undo(&mut self, _: &mut Context<'_>, change: &Change) -> Result<(), Fault> {
        match *change {}
    }

    fn settle(&mut self, _: &mut Context<'_>, change: &Change) -> Result<(), Fault> {
        match *change {}
    }

    fn revert(&mut self, _: &mut Context<'_>, _: &Scope, change: &Change) -> Result<Prepared<Change>, Fault> {
        match *change {}
    }
}
