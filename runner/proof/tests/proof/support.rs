use std::path::Path;

use countersign_proof::{Checkpoint, Directory, KeyKind, ProofError, VerifierKey, Whole, verify_log};
use countersign_tlog::{Edge, FileKind, Hash, NoteSigner, bundle, files_after, leaf_hash, path, sign_checkpoint, tile};
use ed25519_dalek::{Signer as _, SigningKey};

pub(crate) const ORIGIN: &str = "example.com/log";

pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) key: SigningKey,
}

impl Key {
    pub(crate) fn new(name: &str, seed: u8) -> Self {
        Self { name: name.to_owned(), key: SigningKey::from_bytes(&[seed; 32]) }
    }

    pub(crate) fn verifier(&self, kind: KeyKind) -> VerifierKey {
        VerifierKey::new(&self.name, kind, &self.public_key()).unwrap()
    }
}

impl NoteSigner for Key {
    fn name(&self) -> &str {
        &self.name
    }
    fn public_key(&self) -> [u8; 32] {
        self.key.verifying_key().to_bytes()
    }
    fn sign(&self, text: &[u8]) -> Result<[u8; 64], String> {
        Ok(self.key.sign(text).to_bytes())
    }
}

pub(crate) fn log_key() -> Key {
    Key::new(ORIGIN, 7)
}

pub(crate) fn log_verifier() -> VerifierKey {
    log_key().verifier(KeyKind::Note)
}

pub(crate) fn entry(index: u64) -> Vec<u8> {
    format!("entry {index}").into_bytes()
}

/// A log with its key and all its entries, as it is written to a directory.
pub(crate) struct Log {
    pub(crate) entries: Vec<Vec<u8>>,
    pub(crate) edge: Edge,
    nodes: Vec<Vec<Hash>>,
}

impl Log {
    pub(crate) fn of(entries: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let mut log = Self { entries: Vec::new(), edge: Edge::default(), nodes: vec![Vec::new(); 8] };
        for entry in entries {
            log.nodes[0].push(leaf_hash(&entry));
            for node in log.edge.append(&entry) {
                assert_eq!(log.nodes[usize::from(node.level)].len() as u64, node.index);
                log.nodes[usize::from(node.level)].push(node.hash);
            }
            log.entries.push(entry);
        }
        log
    }

    pub(crate) fn sized(size: u64) -> Self {
        Self::of((0..size).map(entry))
    }

    pub(crate) fn checkpoint(&self) -> String {
        sign_checkpoint(&self.edge, &log_key()).unwrap()
    }

    pub(crate) fn head(&self) -> Checkpoint {
        Checkpoint { origin: ORIGIN.to_owned(), size: self.edge.size(), root: self.edge.root() }
    }

    pub(crate) fn write(&self, dir: &Path) {
        for file in files_after(0, self.edge.size()) {
            let range = file.first() as usize..file.first() as usize + usize::from(file.width);
            let bytes = match file.kind {
                FileKind::Bundle => bundle(&self.entries[range]).unwrap(),
                FileKind::Tile(level) => tile(&self.nodes[usize::from(level)][range]),
            };
            let path = dir.join(path(&file));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        std::fs::write(dir.join("checkpoint"), self.checkpoint()).unwrap();
    }

    pub(crate) fn written(&self) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        self.write(dir.path());
        dir
    }
}

pub(crate) fn verify(dir: &Path) -> Result<Whole, ProofError> {
    verify_against(dir, &[])
}

pub(crate) fn verify_against(dir: &Path, held: &[Checkpoint]) -> Result<Whole, ProofError> {
    verify_log(&Directory::new(dir), &log_verifier(), &[], held, &mut |_, _| Ok(()))
}
