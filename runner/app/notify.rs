//! Telling the service manager that started this process that it is ready: one datagram to the socket that it names.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Tells it, where there is one that wants to know. Where it cannot be told it goes on waiting, and says so itself.
///
/// <https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html>
pub(crate) fn ready() {
    let Some(named) = std::env::var_os("NOTIFY_SOCKET").filter(|named| !named.is_empty()) else { return };
    let address = match named.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&named),
    };
    let told = address.and_then(|address| UnixDatagram::unbound()?.send_to_addr(b"READY=1", &address));
    if let Err(error) = told {
        crate::output::note(&format!("the service manager could not be told that recovery is done: {error}"));
    }
}
