use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use countersign_model::text::excerpt;
use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Strategy};

use crate::admit::Admitted;
use crate::cache::Cache;
use crate::inspect::{FEATURES, Inspection};
use crate::limits::{MAX_CORE_INSTANCES, MAX_MEMORIES, MAX_TABLE_ELEMENTS, MAX_TABLES, Settings};

/// The length of an epoch, in which wall-clock limits are counted.
pub(crate) const TICK: Duration = Duration::from_millis(10);
/// Stack of the thread that compiles; Cranelift's other threads have their own.
const COMPILER_STACK: usize = 16 << 20;

/// The one engine, its clock and its cache. Cheap to share behind a reference; made once per process.
pub struct Sandbox {
    pub(crate) core: Arc<Core>,
    cache: Option<Cache>,
    compilations: AtomicU64,
}

/// What must live for as long as any step may run: without the ticker no epoch would ever end.
pub(crate) struct Core {
    pub(crate) engine: Engine,
    pub(crate) settings: Settings,
    _ticker: Ticker,
}

/// The sandbox could not be set up on this system.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the sandbox was not set up: {0}")]
pub struct SandboxError(String);

/// Why an admitted step was not compiled.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CompileError {
    /// The compiler refused it or gave up.
    #[error("the component was not compiled: {0}")]
    Compile(String),
    /// What was compiled does not ask for what was inspected.
    #[error("the compiled component imports {compiled} where {inspected} was inspected")]
    Imports {
        /// What the inspection read.
        inspected: String,
        /// What the compiler read.
        compiled: String,
    },
}

/// A step's native code, and the inspection that it was compiled from.
#[derive(Clone)]
pub struct Compiled {
    pub(crate) core: Arc<Core>,
    pub(crate) component: Component,
    pub(crate) inspection: Inspection,
    from_cache: bool,
}

impl Compiled {
    /// What it was compiled from.
    #[must_use]
    pub fn inspection(&self) -> &Inspection {
        &self.inspection
    }

    /// Whether it came out of the cache.
    #[must_use]
    pub fn from_cache(&self) -> bool {
        self.from_cache
    }
}

impl Sandbox {
    /// Sets up the engine, and uses `cache_dir` to keep compiled steps if it can be trusted: it is made if it
    /// is missing, and must belong to this process's user, with mode 0700. Otherwise a warning is logged and
    /// steps are compiled every time.
    ///
    /// # Errors
    /// When the engine does not support this system or memory cannot be reserved.
    pub fn new(settings: Settings, cache_dir: Option<&Path>) -> Result<Self, SandboxError> {
        let engine = Engine::new(&config(&settings)).map_err(|error| SandboxError(one_line(&error)))?;
        let ticker = Ticker::start(engine.clone()).map_err(|error| SandboxError(error.to_string()))?;
        let cache = cache_dir.and_then(|dir| {
            Cache::open(dir, compatibility(&engine))
                .inspect_err(|why| tracing::warn!(directory = %dir.display(), "the compile cache is not used: {why}"))
                .ok()
        });
        let core = Arc::new(Core { engine, settings, _ticker: ticker });
        Ok(Self { core, cache, compilations: AtomicU64::new(0) })
    }

    /// How many components this sandbox has compiled so far; what came out of the cache does not count.
    #[must_use]
    pub fn compilations(&self) -> u64 {
        self.compilations.load(Ordering::Relaxed)
    }

    /// Whether the cache directory was found fit for use.
    #[must_use]
    pub fn caches(&self) -> bool {
        self.cache.is_some()
    }

    /// Compiles exactly the buffer that was inspected, or takes its code out of the cache. Then compares the
    /// imports once more, as the engine reads them.
    ///
    /// An inspection alone cannot be compiled:
    ///
    /// ```compile_fail,E0308
    /// fn early(sandbox: &countersign_sandbox::Sandbox, inspection: &countersign_sandbox::Inspection) {
    ///     let _ = sandbox.compile(inspection);
    /// }
    /// ```
    ///
    /// # Errors
    /// When the compiler refuses it, or the imports differ.
    pub fn compile(&self, admitted: &Admitted) -> Result<Compiled, CompileError> {
        let inspection = admitted.inspection().clone();
        let compiled = |component, from_cache| Compiled {
            core: Arc::clone(&self.core),
            component,
            inspection: inspection.clone(),
            from_cache,
        };
        if let Some(cache) = &self.cache
            && let Some(component) = cache.load(&self.core.engine, inspection.digest())
        {
            match same_imports(&self.core.engine, &component, &inspection) {
                Ok(()) => return Ok(compiled(component, true)),
                Err(error) => tracing::warn!("a cached step is compiled again: {error}"),
            }
        }
        self.compilations.fetch_add(1, Ordering::Relaxed);
        let component = on_thread("countersign-compile", COMPILER_STACK, || {
            Component::from_binary(&self.core.engine, inspection.bytes()).map_err(|error| one_line(&error))
        })
        .and_then(|compiled| compiled)
        .map_err(CompileError::Compile)?;
        same_imports(&self.core.engine, &component, &inspection)?;
        if let Some(cache) = &self.cache {
            cache.store(&component, inspection.digest());
        }
        Ok(compiled(component, false))
    }
}

impl Settings {
    /// Everything that the engine may do for a guest, said explicitly. An engine made of it elsewhere has no clock:
    /// it is for measuring against.
    #[must_use]
    pub fn engine_config(&self) -> Config {
        config(self)
    }
}

fn config(settings: &Settings) -> Config {
    let steps = settings.concurrent_steps;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(steps)
        .total_core_instances(steps.saturating_mul(MAX_CORE_INSTANCES))
        .total_memories(steps.saturating_mul(MAX_MEMORIES))
        .total_tables(steps.saturating_mul(MAX_TABLES))
        .total_gc_heaps(0)
        .max_core_instances_per_component(MAX_CORE_INSTANCES)
        .max_memories_per_component(MAX_MEMORIES)
        .max_tables_per_component(MAX_TABLES)
        .max_memories_per_module(1)
        .max_tables_per_module(MAX_TABLES)
        .max_memory_size(settings.memory_bytes)
        .table_elements(MAX_TABLE_ELEMENTS);
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        .wasm_features(FEATURES.complement(), false)
        .wasm_features(FEATURES, true)
        .concurrency_support(false)
        .gc_support(false)
        .shared_memory(false)
        // A rehearsal and its run may be on different machines, and must see the same.
        .cranelift_nan_canonicalization(true)
        .epoch_interruption(true)
        .consume_fuel(true)
        .max_wasm_stack(settings.stack_bytes)
        .async_stack_size(settings.stack_bytes)
        .wasm_backtrace_max_frames(None)
        .debug_info(false)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

/// Names the engine's settings and version: code compiled under others is never loaded.
fn compatibility(engine: &Engine) -> String {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// The instances that the engine will ask the linker for must be those that the inspection named.
fn same_imports(engine: &Engine, component: &Component, inspection: &Inspection) -> Result<(), CompileError> {
    let ty = component.component_type();
    let compiled: Vec<_> = ty
        .imports(engine)
        // Aliases of types that imported instances export, which no linker provides.
        .filter(|(_, item)| !matches!(item.ty, ComponentItem::Type(_)))
        .map(|(name, item)| match item.ty {
            ComponentItem::ComponentInstance(_) => name.to_owned(),
            _ => format!("{name}, which is no instance"),
        })
        .collect();
    if compiled == inspection.imports() {
        return Ok(());
    }
    let list = |names: &[String]| excerpt(&names.join(", "), 400);
    Err(CompileError::Imports { inspected: list(inspection.imports()), compiled: list(&compiled) })
}

/// Does the work on a thread of its own with a stack of its own, and waits for it. A panic becomes an error.
pub(crate) fn on_thread<T: Send>(name: &str, stack: usize, work: impl FnOnce() -> T + Send) -> Result<T, String> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name(name.to_owned()).stack_size(stack).spawn_scoped(scope, work);
        let thread = thread.map_err(|error| format!("no thread was started: {error}"))?;
        thread.join().map_err(|panic| crate::room::said(panic.as_ref()))
    })
}

/// An error and its causes on one line that is fit to be shown.
pub(crate) fn one_line(error: &wasmtime::Error) -> String {
    let causes: Vec<_> = error.chain().map(ToString::to_string).collect();
    let words: Vec<_> = causes.iter().flat_map(|cause| cause.lines()).map(str::trim).collect();
    excerpt(&words.join(": "), 600)
}

/// Advances the engine's epoch every [`TICK`] for as long as it lives.
struct Ticker {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    fn start(engine: Engine) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::Builder::new().name("countersign-epoch".to_owned()).spawn(move || {
            let mut next = Instant::now() + TICK;
            loop {
                match stopped.recv_timeout(next.saturating_duration_since(Instant::now())) {
                    Err(RecvTimeoutError::Timeout) => engine.increment_epoch(),
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
                }
                // From when it was due and not from now, so that a busy machine makes no limit longer.
                next += TICK;
            }
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It does nothing that could panic; and there is nobody left to tell.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_and_the_validator_allow_the_same() {
        let engine = Engine::new(&config(&Settings::default())).expect("an engine");
        assert_eq!(engine.get_wasm_features(), FEATURES);
        assert!(engine.get_consume_fuel() && engine.get_epoch_interruption());
        assert!(!engine.get_concurrency_support() && !engine.get_shared_memory());
        assert_eq!(engine.get_max_wasm_stack(), Settings::default().stack_bytes);
    }

    #[test]
    fn the_clock_stops_with_the_sandbox() {
        let sandbox = Sandbox::new(Settings::default(), None).expect("a sandbox");
        let engine = sandbox.core.engine.weak();
        drop(sandbox);
        // The ticker's thread holds the engine for as long as it runs.
        assert!(engine.upgrade().is_none());
    }
}
