//! Connections that go to checked addresses only, and that end at a deadline whatever the server does.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport};
use ureq::{Error, Timeout};

/// One request on its way; shared between the client and the parts that it hands to ureq.
#[derive(Clone, Default)]
pub(crate) struct Attempt(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    addresses: Vec<SocketAddr>,
    deadline: Option<Instant>,
    sent: bool,
}

impl Attempt {
    /// Begins a request: it may go to these addresses, until then.
    pub(crate) fn begin(&self, addresses: Vec<SocketAddr>, deadline: Instant) {
        *self.state() = State { addresses, deadline: Some(deadline), sent: false };
    }

    /// Whether a part of the request may have left; a TLS handshake alone is none.
    pub(crate) fn sent(&self) -> bool {
        self.state().sent
    }

    pub(crate) fn is_over(&self) -> bool {
        self.left().is_err()
    }

    /// The time that is left, never zero.
    fn left(&self) -> Result<Duration, Error> {
        let left = self.state().deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        left.filter(|left| !left.is_zero()).ok_or(Error::Timeout(Timeout::Global))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Attempt")
    }
}

/// Gives ureq the addresses that were checked. Asks nobody.
#[derive(Debug)]
pub(crate) struct Checked(pub(crate) Attempt);

impl Resolver for Checked {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let mut found = self.empty();
        for address in &self.0.state().addresses {
            // More than ureq takes are left out.
            if found.try_push(*address).is_err() {
                break;
            }
        }
        if found.is_empty() { Err(Error::HostNotFound) } else { Ok(found) }
    }
}

/// Opens the connection; knows no proxy.
#[derive(Debug)]
pub(crate) struct Direct(pub(crate) Attempt);

impl Connector<()> for Direct {
    type Out = Wire;

    fn connect(&self, details: &ConnectionDetails<'_>, _: Option<()>) -> Result<Option<Wire>, Error> {
        let mut latest = Error::HostNotFound;
        for (at, address) in details.addrs.iter().enumerate() {
            // One that does not answer leaves time for the others.
            let others = u32::try_from(details.addrs.len() - at).unwrap_or(u32::MAX);
            let patience = self.0.left()?.checked_div(others).filter(|patience| !patience.is_zero());
            match TcpStream::connect_timeout(address, patience.unwrap_or(Duration::from_millis(1))) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    let sizes = (details.config.input_buffer_size(), details.config.output_buffer_size());
                    let buffers = LazyBuffers::new(sizes.0, sizes.1);
                    return Ok(Some(Wire { stream, buffers, attempt: self.0.clone() }));
                }
                Err(error) => latest = Error::Io(error),
            }
        }
        Err(latest)
    }
}

/// A TCP connection on which no read or write outlasts the deadline, and all of them together neither.
pub(crate) struct Wire {
    stream: TcpStream,
    buffers: LazyBuffers,
    attempt: Attempt,
}

impl Wire {
    fn write_all(&mut self, amount: usize) -> Result<(), Error> {
        let output = self.buffers.output();
        let mut rest = output.get(..amount).unwrap_or_default();
        while !rest.is_empty() {
            self.stream.set_write_timeout(Some(self.attempt.left()?))?;
            match self.stream.write(rest) {
                Ok(0) => return Err(io::Error::from(ErrorKind::WriteZero).into()),
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(error) if is_wait(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

impl Transport for Wire {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), Error> {
        self.write_all(amount)
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, Error> {
        loop {
            self.stream.set_read_timeout(Some(self.attempt.left()?))?;
            match self.stream.read(self.buffers.input_append_buf()) {
                Ok(amount) => {
                    self.buffers.input_appended(amount);
                    return Ok(amount > 0);
                }
                Err(error) if is_wait(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn is_open(&mut self) -> bool {
        // No connection is used for a second request: that one may have other addresses.
        false
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wire")
    }
}

/// Whether to look at the deadline and try again.
fn is_wait(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Notes when the request itself, beyond any handshake, begins to leave.
#[derive(Debug)]
pub(crate) struct Noting(pub(crate) Attempt);

impl<In: Transport> Connector<In> for Noting {
    type Out = Noted<In>;

    fn connect(&self, _: &ConnectionDetails<'_>, chained: Option<In>) -> Result<Option<Noted<In>>, Error> {
        Ok(chained.map(|inner| Noted { inner, attempt: self.0.clone() }))
    }
}

/// A connection, perhaps encrypted, that notes its first write.
#[derive(Debug)]
pub(crate) struct Noted<In> {
    inner: In,
    attempt: Attempt,
}

impl<In: Transport> Transport for Noted<In> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.attempt.state().sent = true;
        self.inner.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.inner.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}
