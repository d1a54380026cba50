use sha2::{Digest, Sha256};

use super::Inert;
use super::bindings::wasi::random::{insecure, insecure_seed, random};

/// Random bytes that a step may draw. They are made by the host, whose work costs the step no fuel.
const MAX_DRAWN: u64 = 16 << 20;

/// What is hashed before the seed, so that nothing else that is made of a seed is the same.
const SEQUENCE: &[u8] = b"countersign inert wasi: sequence";
const ONCE: &[u8] = b"countersign inert wasi: once";

impl Inert<'_> {
    /// The next bytes of the step's sequence: SHA-256 over the seed and how many were drawn before, block by block.
    /// The same in a rehearsal and its run, and so never a secret.
    fn draw(&mut self, count: u64) -> wasmtime::Result<Vec<u8>> {
        let seed = self.0.context.seed;
        let own = self.own()?;
        let drawn = own.drawn.checked_add(count).filter(|drawn| *drawn <= MAX_DRAWN);
        let Some(drawn) = drawn else {
            return Err(wasmtime::Error::msg(format!("the step draws more than {MAX_DRAWN} random bytes")));
        };
        let mut at = std::mem::replace(&mut own.drawn, drawn);
        let count = usize::try_from(count)?;
        let mut bytes = Vec::with_capacity(count);
        while bytes.len() < count {
            let block = hash(SEQUENCE, seed, at);
            let wanted = (count - bytes.len()).min(block.len());
            bytes.extend_from_slice(block.get(..wanted).unwrap_or_default());
            at += wanted as u64;
        }
        Ok(bytes)
    }

    fn draw_u64(&mut self) -> wasmtime::Result<u64> {
        Ok(self.draw(8)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }
}

fn hash(purpose: &[u8], seed: u64, at: u64) -> [u8; 32] {
    Sha256::new()
        .chain_update(purpose)
        .chain_update(seed.to_be_bytes())
        .chain_update(at.to_be_bytes())
        .finalize()
        .into()
}

impl random::Host for Inert<'_> {
    fn get_random_bytes(&mut self, count: u64) -> wasmtime::Result<Vec<u8>> {
        self.draw(count)
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        self.draw_u64()
    }
}

impl insecure::Host for Inert<'_> {
    fn get_insecure_random_bytes(&mut self, count: u64) -> wasmtime::Result<Vec<u8>> {
        self.draw(count)
    }

    fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        self.draw_u64()
    }
}

impl insecure_seed::Host for Inert<'_> {
    /// The same whenever it is asked.
    fn insecure_seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        let half = |half| {
            let block = hash(ONCE, self.0.context.seed, half);
            block.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
        };
        Ok((half(0), half(1)))
    }
}
