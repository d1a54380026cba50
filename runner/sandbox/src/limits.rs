use std::time::Duration;

use serde::{Deserialize, Serialize};
use wasmtime::{StoreLimits, StoreLimitsBuilder};

/// Linear memories that one component may have.
pub(crate) const MAX_MEMORIES: u32 = 4;
/// Tables that one component may have.
pub(crate) const MAX_TABLES: u32 = 16;
/// Core instances that one component may have; a Python step has some thirty.
pub(crate) const MAX_CORE_INSTANCES: u32 = 100;
/// The most elements that any table may have.
pub(crate) const MAX_TABLE_ELEMENTS: usize = 100_000;
/// Component handles alive at once. The contract has no resources: what counts is what a guest makes for itself, and
/// the streams and timers that the inert WASI gives it.
pub(crate) const MAX_HANDLES: usize = 1_000;

/// What the whole sandbox may use; fixed when it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Steps that may run at once; one more is refused, not queued.
    pub concurrent_steps: u32,
    /// Memory in bytes that the largest step may have.
    pub memory_bytes: usize,
    /// Stack in bytes that a guest may use.
    pub stack_bytes: usize,
}

impl Default for Settings {
    /// Four steps at once, 256 MiB of memory and 1 MiB of stack each.
    fn default() -> Self {
        Self { concurrent_steps: 4, memory_bytes: 256 << 20, stack_bytes: 1 << 20 }
    }
}

/// What one step may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Linear memory in bytes, over all memories of the step; at most [`Settings::memory_bytes`] has an effect.
    pub memory_bytes: usize,
    /// Elements per table; at most 100,000 has an effect.
    pub table_elements: usize,
    /// Wasm instructions, roughly; what host calls do costs none.
    pub fuel: u64,
    /// From the start of the step to its end, host calls included. A host call is never abandoned: the step
    /// ends as soon as the call that passed this moment has returned. Counted in steps of 10 ms.
    pub wall_clock: Duration,
    /// Bytes that one call may carry from the guest to the host, arguments and lists as the host holds them.
    pub hostcall_bytes: usize,
}

impl Default for Limits {
    /// 256 MiB, 100,000 table elements, 20 thousand million instructions (about ten seconds), one minute, and
    /// 8 MiB and 64 KiB for each call: the largest file that can be written, with its path.
    fn default() -> Self {
        Self {
            memory_bytes: 256 << 20,
            table_elements: MAX_TABLE_ELEMENTS,
            fuel: 20_000_000_000,
            wall_clock: Duration::from_secs(60),
            hostcall_bytes: (8 << 20) + (64 << 10),
        }
    }
}

impl Limits {
    /// The limiter of a store whose component has this many memories: they share [`Limits::memory_bytes`] evenly,
    /// since wasmtime bounds each memory and not their sum.
    ///
    /// A growth beyond the limit traps. A guest that is told of it instead aborts in nearly every language, and
    /// then says nothing of memory.
    pub(crate) fn store(&self, memories: u32) -> StoreLimits {
        let memories = memories.clamp(1, MAX_MEMORIES) as usize;
        StoreLimitsBuilder::new()
            .memory_size(self.memory_bytes / memories)
            .memories(memories)
            .table_elements(self.table_elements)
            .tables(MAX_TABLES as usize)
            // Component and core instances count alike.
            .instances(2 * MAX_CORE_INSTANCES as usize)
            .trap_on_grow_failure(true)
            .build()
    }
}
