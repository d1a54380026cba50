//! Who signs: a private key in a file, one in hardware, or ssh-agent.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use countersign_trust::{PublicKey, Signatory, SigningFault};

use crate::agent::AgentKey;
use crate::environment::load_key;
use crate::files::{read_bounded, shown};
use crate::hardware::HardwareKey;
use crate::output::hinted;

/// The largest key file that is read, in bytes.
const MAX_KEY: u64 = 64 * 1024;

/// `--key`, `--agent`.
#[derive(Args)]
pub(crate) struct SignerArguments {
    /// A private key in OpenSSH's format, or a hardware key's handle; a public key means that ssh-agent signs with it
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// Let ssh-agent sign; where it holds several keys, `--key FILE.pub` says which
    #[arg(long)]
    pub(crate) agent: bool,
}

impl SignerArguments {
    /// Who signs. A passphrase is asked for on the terminal; a hardware key's PIN and touch are asked for by `ssh-keygen`.
    pub(crate) fn signatory(&self) -> anyhow::Result<Box<dyn Signatory>> {
        let agent = |wanted| {
            let key = AgentKey::find(wanted);
            key.map_err(|fault: SigningFault| match &self.key {
                Some(path) if !self.agent => hinted(
                    format!("`{}` is a public key, so ssh-agent would sign with it: {fault}", shown(path)),
                    format!("{}; or name the private key", fault.hint()),
                ),
                _ => hinted(fault.to_string(), fault.hint()),
            })
        };
        let Some(path) = &self.key else { return Ok(Box::new(agent(None)?)) };
        match public_key(path)? {
            Some(key) => match handle_beside(path, &key) {
                Some(handle) if !self.agent => Ok(Box::new(HardwareKey::new(handle, key))),
                _ => Ok(Box::new(agent(Some(key))?)),
            },
            None if self.agent => Err(hinted(
                format!("`{}` is a private key, and with `--agent` ssh-agent signs", shown(path)),
                "name the public key, or leave `--agent` out",
            )),
            None => match handle(path) {
                Some(key) => Ok(Box::new(HardwareKey::new(path.clone(), key))),
                None => Ok(Box::new(load_key(path)?)),
            },
        }
    }
}

/// The public key of a handle, which is what `ssh-keygen -t ed25519-sk` writes where other keys' private half is.
fn handle(path: &Path) -> Option<PublicKey> {
    let text = read_bounded(path, MAX_KEY).ok()?;
    PublicKey::of_private(&String::from_utf8_lossy(&text)).ok().filter(|key| key.kind().is_hardware())
}

/// The handle of this public key, where it lies beside it as `ssh-keygen` puts it.
fn handle_beside(public: &Path, key: &PublicKey) -> Option<PathBuf> {
    let beside = public.extension().filter(|extension| *extension == "pub").map(|_| public.with_extension(""))?;
    (key.kind().is_hardware() && handle(&beside).is_some_and(|held| held == *key)).then_some(beside)
}

/// The public key in a file, if it is one.
fn public_key(path: &Path) -> anyhow::Result<Option<PublicKey>> {
    let bytes = read_bounded(path, MAX_KEY)?;
    let begins = [&b"ssh-"[..], b"ecdsa-", b"sk-"];
    if !begins.iter().any(|kind| bytes.starts_with(kind)) {
        return Ok(None);
    }
    let key = PublicKey::from_openssh(&String::from_utf8_lossy(&bytes));
    key.map(Some).with_context(|| format!("the key `{}` cannot be used", shown(path)))
}
