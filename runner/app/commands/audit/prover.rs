use countersign_pipeline::Runner;
use countersign_proof::{Checkpoint, Directory, MAX_NOTE, Receipt, Source, Tree, VerifierKey};
use countersign_record::{CHECKPOINT, WITNESSED};

use super::unverified;

/// Makes receipts of this host's log as it is now.
pub(super) struct Prover {
    pub(super) log: VerifierKey,
    source: Directory,
    note: Vec<u8>,
    pub(super) checkpoint: Checkpoint,
}

impl Prover {
    /// By the newest checkpoint.
    pub(super) fn newest(runner: &Runner) -> anyhow::Result<Self> {
        Self::of(runner, |_| false)
    }

    /// By the checkpoint that witnesses cosigned last, where that has the entry at this place.
    pub(super) fn of_entry(runner: &Runner, index: u64) -> anyhow::Result<Self> {
        Self::of(runner, |checkpoint| checkpoint.size > index)
    }

    fn of(runner: &Runner, witnessed: impl Fn(&Checkpoint) -> bool) -> anyhow::Result<Self> {
        // Of runs that were recovered just now as well.
        runner.publish_log(true)?;
        let log = runner.log_verifier()?;
        let source = Directory::new(&runner.log_dir());
        let read = |name: &str| source.read(name, MAX_NOTE).ok().flatten();
        // Cosignatures are not verified here: whoever checks the receipt knows which witnesses count.
        let open = |note: &[u8]| Checkpoint::open(note, &log, &[]).map(|opened| opened.checkpoint);
        let cosigned = read(WITNESSED).filter(|note| open(note).is_ok_and(|checkpoint| witnessed(&checkpoint)));
        let note = cosigned.or_else(|| read(CHECKPOINT)).unwrap_or_default();
        let checkpoint =
            open(&note).map_err(|error| unverified("nothing of the log can be proven".to_owned(), error))?;
        Ok(Self { log, source, note, checkpoint })
    }

    /// The receipt of the entry at this place. Only what whoever gets it will accept is handed out.
    pub(super) fn receipt(&self, index: u64) -> anyhow::Result<Vec<u8>> {
        let failed = |error| unverified(format!("the entry {index} cannot be proven"), error);
        let (entry, proof) = Tree::new(&self.source, &self.checkpoint).inclusion(index).map_err(failed)?;
        let receipt = Receipt { entry, index, proof, checkpoint: self.note.clone() };
        let bytes = receipt.to_bytes();
        receipt.verify(&self.log, &[]).map_err(failed)?;
        Ok(bytes)
    }
}
