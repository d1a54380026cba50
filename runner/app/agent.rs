//! ssh-agent, as far as signing needs it: which keys it holds, and one signature. Every answer is bounded in size and
//! time, and the signature is verified by who asked for it.
//!
//! <https://datatracker.ietf.org/doc/html/draft-ietf-sshm-ssh-agent>

use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use countersign_model::text::visible;
use countersign_trust::{KeyError, PublicKey, Signatory, SigningFault, ToSign, wire_string};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// How long an agent may take to list its keys.
const LIST_TIME: Duration = Duration::from_secs(5);
/// How long it may take to sign: it may have to ask a person.
const SIGN_TIME: Duration = Duration::from_secs(120);
/// The largest answer, as OpenSSH has it, in bytes.
const MAX_ANSWER: usize = 256 * 1024;
/// The most keys that are looked at.
const MAX_KEYS: u32 = 1024;

const FAILURE: u8 = 5;
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGNED: u8 = 14;

/// A key that an agent holds.
pub(crate) struct AgentKey {
    socket: PathBuf,
    key: PublicKey,
}

impl AgentKey {
    /// The key that is wanted, or the only key of a kind that is taken that the agent of `SSH_AUTH_SOCK` holds.
    pub(crate) fn find(wanted: Option<PublicKey>) -> Result<Self, SigningFault> {
        let socket = std::env::var_os("SSH_AUTH_SOCK").filter(|path| !path.is_empty()).ok_or_else(|| {
            fault(
                "no ssh-agent is at hand: SSH_AUTH_SOCK is not set",
                "start one with `eval $(ssh-agent)`, or name a private key with `--key`",
            )
        })?;
        let socket = PathBuf::from(socket);
        let keys = keys(&socket)?;
        let key = match wanted {
            Some(wanted) if keys.ours.contains(&wanted) => wanted,
            Some(wanted) => {
                let what = format!("ssh-agent does not hold the key `{}`: {keys}", wanted.fingerprint());
                return Err(fault(what, "add it with `ssh-add`; `ssh-add -X` unlocks a locked agent"));
            }
            None => match keys.ours.as_slice() {
                [only] => only.clone(),
                _ => {
                    return Err(fault(
                        format!("which of ssh-agent's keys to sign with cannot be told: {keys}"),
                        "name an ssh-ed25519 or a hardware key that it holds with `--key FILE.pub`",
                    ));
                }
            },
        };
        Ok(Self { socket, key })
    }
}

impl Signatory for AgentKey {
    fn public_key(&self) -> &PublicKey {
        &self.key
    }

    fn sign(&self, namespace: &str, bytes: &[u8]) -> Result<String, SigningFault> {
        let to_sign = ToSign::new(namespace, bytes);
        let mut request = vec![SIGN_REQUEST];
        put(&mut request, &self.key.to_wire());
        put(&mut request, to_sign.blob());
        // No flags.
        request.extend([0; 4]);
        let answer = exchange(&self.socket, &request, SIGN_TIME)?;
        let (kind, rest) = answer.split_first().ok_or_else(garbage)?;
        match *kind {
            SIGNED => signature(rest).map(|signature| to_sign.armored(&self.key, signature)).ok_or_else(garbage),
            FAILURE if self.key.kind().is_hardware() => Err(fault(
                "ssh-agent refused to sign: the hardware key may not be plugged in, nobody touched it or gave its PIN, or \
                 the agent is locked",
                "nothing was signed; plug it in and touch it, or name its private key's file with `--key`, so that \
                 `ssh-keygen` asks here",
            )),
            FAILURE => Err(fault(
                "ssh-agent refused to sign: it may be locked, or whoever it asked said no",
                "nothing was signed; `ssh-add -X` unlocks it, `ssh-add -l` lists what it holds",
            )),
            _ => Err(garbage()),
        }
    }
}

/// The keys that an agent holds, those that are taken and the kinds of those that are not.
struct Keys {
    ours: Vec<PublicKey>,
    others: Vec<String>,
}

impl std::fmt::Display for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.ours.is_empty() && self.others.is_empty() {
            return f.write_str("it holds none, or is locked");
        }
        let ours: Vec<String> = self.ours.iter().map(|key| format!("`{}`", key.fingerprint())).collect();
        match ours.is_empty() {
            true => f.write_str("it holds no ssh-ed25519 and no hardware key")?,
            false => write!(f, "it holds {}", ours.join(", "))?,
        }
        if !self.others.is_empty() {
            write!(f, ", and keys of kinds that are not taken: {}", self.others.join(", "))?;
        }
        Ok(())
    }
}

fn keys(socket: &Path) -> Result<Keys, SigningFault> {
    let answer = exchange(socket, &[REQUEST_IDENTITIES], LIST_TIME)?;
    match answer.split_first() {
        Some((&IDENTITIES, rest)) => identities(rest).ok_or_else(garbage),
        Some((&FAILURE, _)) => Err(fault("ssh-agent refused to list its keys", "look after it with `ssh-add -l`")),
        _ => Err(garbage()),
    }
}

fn identities(bytes: &[u8]) -> Option<Keys> {
    let (count, mut rest) = number(bytes)?;
    let mut keys = Keys { ours: Vec::new(), others: Vec::new() };
    if count > MAX_KEYS {
        return None;
    }
    for _ in 0..count {
        let (blob, after) = wire_string(rest)?;
        let (_comment, after) = wire_string(after)?;
        rest = after;
        match PublicKey::from_wire(blob, "") {
            Ok(key) => keys.ours.push(key),
            Err(KeyError::UnsupportedAlgorithm(kind)) if !keys.others.contains(&kind) => keys.others.push(kind),
            Err(_) => {}
        }
    }
    rest.is_empty().then_some(keys)
}

/// The signature, with its kind, as SSH's wire format has it. What is inside is verified with the whole.
fn signature(bytes: &[u8]) -> Option<&[u8]> {
    wire_string(bytes).filter(|(_, end)| end.is_empty()).map(|(signature, _)| signature)
}

fn number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*number), rest))
}

fn put(to: &mut Vec<u8>, bytes: &[u8]) {
    // What is signed is a few hundred bytes: SSHSIG's wrapping of a digest.
    to.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    to.extend(bytes);
}

/// One request and its answer, within a time.
fn exchange(socket: &Path, request: &[u8], time: Duration) -> Result<Vec<u8>, SigningFault> {
    let deadline = Instant::now() + time;
    let mut stream = connect(socket)?;
    let mut message = Vec::new();
    put(&mut message, request);
    let left = |stream: &UnixStream| {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(std::io::Error::from(ErrorKind::TimedOut));
        }
        stream.set_read_timeout(Some(left)).and_then(|()| stream.set_write_timeout(Some(left)))
    };
    let mut talk = || -> std::io::Result<Option<Vec<u8>>> {
        left(&stream)?;
        stream.write_all(&message)?;
        let mut read = |length: usize| -> std::io::Result<Vec<u8>> {
            let mut bytes = vec![0; length];
            let mut rest = bytes.as_mut_slice();
            // An agent that gives a byte at a time has no more time than one that gives all.
            while !rest.is_empty() {
                left(&stream)?;
                let count = stream.read(rest)?;
                if count == 0 {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
                rest = rest.split_at_mut_checked(count).map(|(_, rest)| rest).unwrap_or_default();
            }
            Ok(bytes)
        };
        let length = read(4)?;
        let length = number(&length).map_or(0, |(length, _)| length as usize);
        if !(1..=MAX_ANSWER).contains(&length) {
            return Ok(None);
        }
        read(length).map(Some)
    };
    match talk() {
        Ok(Some(answer)) => Ok(answer),
        Ok(None) => Err(garbage()),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Err(fault(
            format!("ssh-agent did not answer within {} s", time.as_secs()),
            "nothing was signed; restart it, or name a private key with `--key`",
        )),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
            Err(fault("ssh-agent hung up", "nothing was signed; look after it with `ssh-add -l`"))
        }
        Err(error) => Err(fault(format!("ssh-agent cannot be talked to: {error}"), "nothing was signed")),
    }
}

/// Connects without waiting: an agent whose queue is full would hold up whoever waits.
fn connect(path: &Path) -> Result<UnixStream, SigningFault> {
    let connect = || -> Result<OwnedFd, Errno> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
        Ok(socket)
    };
    let none = |error: &dyn std::fmt::Display| {
        fault(
            format!("no ssh-agent answers at `{}`: {error}", visible(&path.to_string_lossy())),
            "start one with `eval $(ssh-agent)`, or name a private key with `--key`",
        )
    };
    let stream = UnixStream::from(connect().map_err(|error| none(&std::io::Error::from(error)))?);
    stream.set_nonblocking(false).map_err(|error| none(&error))?;
    Ok(stream)
}

fn garbage() -> SigningFault {
    fault("what answers at SSH_AUTH_SOCK does not speak as an ssh-agent does", "nothing was signed")
}

fn fault(what: impl Into<String>, hint: impl Into<String>) -> SigningFault {
    SigningFault::new(what, hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(parts: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        parts.iter().for_each(|part| put(&mut bytes, part));
        bytes
    }

    #[test]
    fn answers_are_read_to_their_end_and_no_further() {
        let good = [&2_u32.to_be_bytes()[..], &strings(&[&strings(&[b"ssh-rsa", b"x"]), b"c", b"", b""])].concat();
        let keys = identities(&good).expect("two keys");
        assert!(keys.ours.is_empty());
        assert_eq!(
            keys.to_string(),
            "it holds no ssh-ed25519 and no hardware key, and keys of kinds that are not taken: ssh-rsa"
        );
        for length in 0..good.len() {
            assert!(identities(&good[..length]).is_none(), "{length}");
        }
        assert!(identities(&[&good[..], b"x"].concat()).is_none());
        assert!(identities(&u32::MAX.to_be_bytes()).is_none());

        let good = strings(&[b"kind and signature"]);
        assert_eq!(signature(&good), Some(&b"kind and signature"[..]));
        for length in 0..good.len() {
            assert_eq!(signature(&good[..length]), None, "{length}");
        }
        for bad in [[&good[..], b"x"].concat(), strings(&[b"x", b""]), u32::MAX.to_be_bytes().to_vec()] {
            assert_eq!(signature(&bad), None, "{bad:?}");
        }
    }
}
