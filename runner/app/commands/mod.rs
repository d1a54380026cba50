//! One file per command, named after its verb.

pub(crate) mod approve;
pub(crate) mod audit;
pub(crate) mod break_glass;
pub(crate) mod build;
pub(crate) mod completions;
pub(crate) mod confirm;
pub(crate) mod deny;
pub(crate) mod export;
pub(crate) mod images;
pub(crate) mod import;
pub(crate) mod init;
pub(crate) mod inspect;
pub(crate) mod investigate;
pub(crate) mod man;
pub(crate) mod new;
pub(crate) mod pause;
pub(crate) mod pending;
pub(crate) mod propose;
pub(crate) mod read;
pub(crate) mod recover;
pub(crate) mod rehearse;
pub(crate) mod resolve;
pub(crate) mod review;
pub(crate) mod rollback;
pub(crate) mod run;
pub(crate) mod runs;
pub(crate) mod show;
pub(crate) mod standing;
pub(crate) mod trust;

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
        self.parse_over(bundle, None)
    }

    /// The same, with what was given `before` for those that the schema has and that are not given now.
    pub(crate) fn parse_over(
        &self,
        bundle: &Bundle,
        before: Option<&Map<String, Value>>,
    ) -> anyhow::Result<Map<String, Value>> {
        let manifest = bundle.manifest();
        let known = manifest.arguments_schema().get("properties");
        let stays = |name: &String| {
            known.is_some_and(|known| known.get(name).is_some())
                && !self.arguments.iter().any(|(given, _)| given == name)
        };
        let kept = before.into_iter().flatten().filter(|(name, _)| stays(name));
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let mut arguments: Vec<_> = kept.map(|(name, value)| (name.clone(), text(value))).collect();
        arguments.extend(self.arguments.iter().cloned());
        Ok(manifest.parse_arguments(&arguments)?)
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected `K=V`")?;
    Ok((key.to_owned(), value.to_owned()))
}
