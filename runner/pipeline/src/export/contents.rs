//! What stands in an exported proposal, taken out piece by piece, so that what nothing takes is seen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use countersign_bundle::Bundle;
use countersign_model::documents::{EvidenceReference, RehearsalDocument, namespace};
use countersign_model::text::excerpt;
use countersign_model::{Digest, Evidence};
use countersign_trust::{MAX_SIGNATURES, PublicKey, SignedApproval, SignedDenial};

use super::container::{Entries, damaged};
use super::name;
use crate::error::PipelineError;
use crate::signed::{read_evidence, verified};
use crate::stored::Stored;

/// The most approvals, and the most denials, that a file carries.
const MAX_PAPERS: usize = 64;

/// The entries that nothing has taken yet.
pub(super) struct Contents(Entries);

/// A document and its one signature.
type Signed = (Arc<[u8]>, Arc<[u8]>);

impl Contents {
    pub(super) const fn new(entries: Entries) -> Self {
        Self(entries)
    }

    /// Refuses what nothing has taken.
    pub(super) fn end(self) -> Result<(), PipelineError> {
        match self.0.keys().next() {
            Some(stranger) => Err(damaged(format!("`{stranger}` does not belong to it"))),
            None => Ok(()),
        }
    }

    pub(super) fn take(&mut self, name: &str) -> Result<Arc<[u8]>, PipelineError> {
        self.0.remove(name).ok_or_else(|| damaged(format!("`{name}` is missing")))
    }

    pub(super) fn text(&mut self, name: &str) -> Result<String, PipelineError> {
        let bytes = self.take(name)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| damaged(format!("`{name}` is not text")))
    }

    /// A document and its one signature.
    pub(super) fn signed(&mut self, name: &str) -> Result<Signed, PipelineError> {
        Ok((self.take(name)?, self.take(&name::signature(name))?))
    }

    /// A document that is named for its digest.
    fn named(&mut self, name: &str, digest: &Digest) -> Result<Signed, PipelineError> {
        let (bytes, signature) = self.signed(name)?;
        if Digest::of(&bytes) != *digest {
            return Err(damaged(format!("`{name}` holds other bytes than it is named for")));
        }
        Ok((bytes, signature))
    }

    /// Everything in a folder, by the rest of its name.
    fn folder(&mut self, folder: &str) -> Vec<(String, Arc<[u8]>)> {
        let names: Vec<String> = self.0.keys().filter(|name| name.starts_with(folder)).cloned().collect();
        let take = |name: String| {
            let bytes = self.0.remove(&name)?;
            Some((name.strip_prefix(folder)?.to_owned(), bytes))
        };
        names.into_iter().filter_map(take).collect()
    }

    pub(super) fn bundle(&mut self, digest: &Digest) -> Result<Bundle, PipelineError> {
        let files: BTreeMap<String, Arc<[u8]>> = self.folder(name::BUNDLE).into_iter().collect();
        let blob =
            |(path, bytes): (&String, &Arc<[u8]>)| Some((path.rsplit_once('/')?.1.parse_hex()?, Arc::clone(bytes)));
        let blobs = files.iter().filter_map(blob).collect();
        let bundle = Bundle::from_blobs(*digest, &blobs).map_err(|error| damaged(format!("the bundle: {error}")))?;
        // Its other files say nothing of their own.
        if bundle.files() != files {
            return Err(damaged("the bundle's folder holds something else"));
        }
        Ok(bundle)
    }

    pub(super) fn rehearsal(
        &mut self,
        digest: &Digest,
        runner: &PublicKey,
    ) -> Result<RehearsalDocument, PipelineError> {
        let (bytes, signature) = self.named(&name::rehearsal(digest), digest)?;
        verified("the rehearsal", namespace::REHEARSAL, &bytes, &signature, runner.fingerprint())
    }

    pub(super) fn evidence(
        &mut self,
        stored: &Stored,
        runner: &PublicKey,
    ) -> Result<BTreeMap<String, (Evidence, Digest)>, PipelineError> {
        let mut records = BTreeMap::new();
        for EvidenceReference { id, digest } in stored.evidence() {
            let (bytes, signature) = self.named(&name::evidence(digest), digest)?;
            records.insert(id.clone(), read_evidence(id, &bytes, &signature, runner.fingerprint())?);
        }
        Ok(records)
    }

    pub(super) fn images(&mut self) -> Result<BTreeMap<Digest, Arc<[u8]>>, PipelineError> {
        let mut images = BTreeMap::new();
        for (name, bytes) in self.folder(name::IMAGES) {
            let digest = Digest::of(&bytes);
            if digest.hex() != name {
                return Err(damaged(format!(
                    "the image `{}` holds other bytes than it is named for",
                    excerpt(&name, 80)
                )));
            }
            images.insert(digest, bytes);
        }
        Ok(images)
    }

    /// The approvals, each with its signatures in their order.
    pub(super) fn approvals(&mut self) -> Result<Vec<SignedApproval>, PipelineError> {
        self.papers(name::APPROVALS)
    }

    /// The denials; one that several people signed is several.
    pub(super) fn denials(&mut self) -> Result<Vec<SignedDenial>, PipelineError> {
        let one = |SignedApproval { manifest: document, signatures }| {
            signatures.into_iter().map(move |signature| SignedDenial { document: Vec::clone(&document), signature })
        };
        Ok(self.papers(name::DENIALS)?.into_iter().flat_map(one).collect())
    }

    /// Documents that people signed.
    fn papers(&mut self, folder: &str) -> Result<Vec<SignedApproval>, PipelineError> {
        let mut files: BTreeMap<String, Arc<[u8]>> = self.folder(folder).into_iter().collect();
        let documents: BTreeSet<Digest> =
            files.keys().filter_map(|name| name.strip_suffix(".json")?.parse_hex()).collect();
        if documents.len() > MAX_PAPERS {
            return Err(damaged(format!("it carries more than {MAX_PAPERS} approvals or denials")));
        }
        let mut papers = Vec::new();
        for digest in documents {
            let document = files.remove(&name::paper("", &digest)).unwrap_or_default();
            if Digest::of(&document) != digest {
                return Err(damaged(format!("`{folder}{}.json` holds other bytes than it is named for", digest.hex())));
            }
            let signatures: Vec<Vec<u8>> = (1..=MAX_SIGNATURES)
                .map_while(|number| files.remove(&name::numbered("", &digest, number)))
                .map(|signature| signature.to_vec())
                .collect();
            if signatures.is_empty() {
                return Err(damaged(format!("nobody signed `{folder}{}.json`", digest.hex())));
            }
            papers.push(SignedApproval { manifest: document.to_vec(), signatures });
        }
        match files.keys().next() {
            Some(stranger) => Err(damaged(format!("`{folder}{stranger}` does not belong to it"))),
            None => Ok(papers),
        }
    }
}

/// A digest from its digits alone, as names have it.
trait ParseHex {
    fn parse_hex(&self) -> Option<Digest>;
}

impl ParseHex for str {
    fn parse_hex(&self) -> Option<Digest> {
        format!("sha256:{self}").parse().ok()
    }
}
