//! One file per command, named after its verb.

pub(crate) mod approve;
pub(crate) mod build;
pub(crate) mod completions;
pub(crate) mod deny;
pub(crate) mod export;
pub(crate) mod images;
pub(crate) mod import;
pub(crate) mod init;
pub(crate) mod inspect;
pub(crate) mod investigate;
pub(crate) mod man;
pub(crate) mod new;
pub(crate) mod pending;
pub(crate) mod propose;
pub(crate) mod read;
pub(crate) mod rehearse;
pub(crate) mod review;
pub(crate) mod run;
pub(crate) mod runs;
pub(crate) mod show;

use clap::Args;
use countersign_bundle::Bundle;
use serde_json::{Map, Value};

/// `--arg K=V`, as often as there are arguments.
#[derive(Args)]
pub(crate) struct StepArguments {
    /// An argument of the remediation
    #[arg(long = "arg", value_name = "K=V", value_parser = key_value)]
    arguments: Vec<(String, String)>,
}

impl StepArguments {
    /// The arguments, typed and tested against the bundle's schema.
    pub(crate) fn parse(&self, bundle: &Bundle) -> anyhow::Result<Map<String, Value>> {
        Ok(bundle.manifest().parse_arguments(&self.arguments)?)
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected `K=V`")?;
    Ok((key.to_owned(), value.to_owned()))
}
