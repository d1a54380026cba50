//! The file with the trust policy, and the signatures beside it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use countersign_model::documents::namespace;
use countersign_pipeline::PolicyFile;
use countersign_trust::{MAX_POLICY, MAX_SIGNATURE, MAX_SIGNATURES, PolicyPins, SignedPolicy};

use crate::files::{read_bounded, read_private};

/// The most files that are taken for signatures: those of earlier policies stay beside.
const MAX_FILES: usize = 1024;

/// The policy that the configuration names, which nobody else may be able to write. `lenient`: where it cannot be read
/// either, the one that was accepted last stays in force.
pub(crate) fn read(path: &Path, pins: PolicyPins, lenient: bool) -> anyhow::Result<PolicyFile> {
    let document = match read_private(path, MAX_POLICY as u64) {
        Err(error) if lenient => {
            crate::output::note(&format!("{error:#}"));
            Vec::new()
        }
        document => document?,
    };
    Ok(PolicyFile { signed: SignedPolicy { signatures: signatures(path, &document), document }, pins, lenient })
}

/// A policy that somebody wants to become the one in force, from anywhere.
pub(crate) fn draft(path: &Path) -> anyhow::Result<SignedPolicy> {
    let document = read_bounded(path, MAX_POLICY as u64)?;
    Ok(SignedPolicy { signatures: signatures(path, &document), document })
}

/// The signatures on a policy that stand beside it, as `NAME.sig` or `NAME.ANYTHING.sig`. What cannot be read or does not
/// verify is none: the signatures on the policy before may stand there, too.
fn signatures(path: &Path, document: &[u8]) -> Vec<Vec<u8>> {
    let mut files = beside(path);
    files.sort();
    files.truncate(MAX_FILES);
    let verifies =
        |signature: &Vec<u8>| countersign_trust::verify(namespace::TRUST_POLICY, document, signature).is_ok();
    files
        .iter()
        .filter_map(|file| read_bounded(file, MAX_SIGNATURE as u64).ok())
        .filter(verifies)
        .take(MAX_SIGNATURES)
        .collect()
}

fn beside(path: &Path) -> Vec<PathBuf> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(OsStr::to_str)) else {
        return Vec::new();
    };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let names = entries.filter_map(Result::ok).map(|entry| entry.file_name());
    let signatures = names.filter(|file| {
        let rest = file.to_str().and_then(|file| file.strip_prefix(name));
        rest.is_some_and(|rest| rest == ".sig" || (rest.starts_with('.') && rest.ends_with(".sig")))
    });
    signatures.map(|file| folder.join(file)).collect()
}
