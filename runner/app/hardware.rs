//! A key in hardware, with which OpenSSH's own `ssh-keygen` signs: it knows how to reach it, and asks for PIN and touch.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use countersign_trust::{MAX_SIGNATURE, PublicKey, Signatory, SigningFault};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::files::shown;

/// How long a person has to give a PIN and to touch the key.
const SIGN_TIME: Duration = Duration::from_secs(120);

/// A key in hardware, by the file that `ssh-keygen` reaches it with.
pub(crate) struct HardwareKey {
    handle: PathBuf,
    key: PublicKey,
}

impl HardwareKey {
    /// `handle` is what `ssh-keygen` wrote beside the public key when it made it.
    pub(crate) const fn new(handle: PathBuf, key: PublicKey) -> Self {
        Self { handle, key }
    }

    /// Whatever is asked for is asked for on standard error and on the terminal, or through `SSH_ASKPASS`, as
    /// `ssh-keygen` does it. The document is a file: where there is no terminal a PIN is read from standard input, and would be
    /// the document's first line.
    fn start(&self, namespace: &str, document: &Path) -> Result<Child, SigningFault> {
        let mut command = Command::new("ssh-keygen");
        command.args(["-Y", "sign", "-n", namespace, "-f"]).arg(&self.handle).arg(document);
        command.stdin(Stdio::inherit()).stdout(Stdio::null()).stderr(Stdio::inherit());
        command.spawn().map_err(|error| match error.kind() {
            ErrorKind::NotFound => SigningFault::new(
                "`ssh-keygen`, which signs with hardware keys, is not installed or not in PATH",
                "nothing was signed; install OpenSSH's client, 8.2 or later, or have an ssh-agent sign with `--agent`",
            ),
            _ => self.fault(format!("cannot be started: {error}")),
        })
    }

    fn fault(&self, what: impl std::fmt::Display) -> SigningFault {
        let key = format!("`{}`, the key `{}`", shown(&self.handle), self.key.fingerprint());
        SigningFault::new(
            format!("`ssh-keygen` {what}; it was to sign with {key}"),
            "nothing was signed; plug the key in, give its PIN where it is asked for, and touch it while it blinks; \
             `ssh-keygen -Y sign` says more",
        )
    }
}

impl Signatory for HardwareKey {
    fn public_key(&self) -> &PublicKey {
        &self.key
    }

    fn sign(&self, namespace: &str, bytes: &[u8]) -> Result<String, SigningFault> {
        let given = |error| self.fault(format!("cannot be given the document: {error}"));
        // Only its owner looks into it, and it goes with what is in it.
        let place = tempfile::Builder::new().prefix("countersign-sign-").tempdir().map_err(given)?;
        let document = place.path().join("document");
        std::fs::write(&document, bytes).map_err(given)?;
        let mut child = self.start(namespace, &document)?;
        let ended =
            wait(&mut child, SIGN_TIME).map_err(|error| self.fault(format!("cannot be waited for: {error}")))?;
        let Some(status) = ended else {
            return Err(self.fault(format!("did not end within {} s and was ended", SIGN_TIME.as_secs())));
        };
        match status.code() {
            Some(0) => {}
            Some(code) => return Err(self.fault(format!("signed nothing, exit code {code}, and says why above"))),
            None => return Err(self.fault("was ended before it signed")),
        }
        signature(&document.with_extension("sig"))
            .ok_or_else(|| self.fault("answered with something that is no signature"))
    }
}

/// Waits for its end; past its time it is killed, and there is none.
fn wait(child: &mut Child, time: Duration) -> std::io::Result<Option<ExitStatus>> {
    let ended = ended(child, time);
    if !matches!(ended, Ok(true)) {
        child.kill()?;
    }
    // It has ended, or was just killed.
    let status = child.wait()?;
    ended.map(|ended| ended.then_some(status))
}

fn ended(child: &Child, time: Duration) -> std::io::Result<bool> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(ErrorKind::InvalidInput)?;
    let process: OwnedFd = pidfd_open(pid, PidfdFlags::empty())?;
    let deadline = std::time::Instant::now() + time;
    loop {
        let left = deadline.saturating_duration_since(std::time::Instant::now());
        let left = Timespec::try_from(left).map_err(|_| ErrorKind::InvalidInput)?;
        match poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&left)) {
            Ok(ready) => return Ok(ready > 0),
            // A signal: whoever catches it says what it means.
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// What it wrote beside the document, if that is text and no more than is read.
fn signature(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(MAX_SIGNATURE as u64 + 1).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    (!text.is_empty() && text.len() <= MAX_SIGNATURE).then_some(text)
}
