//! Who signs: a private key in a file, or ssh-agent.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use countersign_trust::{PublicKey, Signatory, SigningFault};

use crate::agent::AgentKey;
use crate::environment::load_key;
use crate::files::{read_bounded, shown};
use crate::output::hinted;

/// The largest key file that is read, in bytes.
const MAX_KEY: u64 = 64 * 1024;

/// `--key`, `--agent`.
#[derive(Args)]
pub(crate) struct SignerArguments {
    /// A private key in OpenSSH's format; a public key means that ssh-agent signs with it
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// Let ssh-agent sign; where it holds several keys, `--key FILE.pub` says which
    #[arg(long)]
    pub(crate) agent: bool,
}

impl SignerArguments {
    /// Who signs. A passphrase is asked for on the terminal.
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
            Some(key) => Ok(Box::new(agent(Some(key))?)),
            None if self.agent => Err(hinted(
                format!("`{}` is a private key, and with `--agent` ssh-agent signs", shown(path)),
                "name the public key, or leave `--agent` out",
            )),
            None => Ok(Box::new(load_key(path)?)),
        }
    }
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
