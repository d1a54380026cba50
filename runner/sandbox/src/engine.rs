use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use countersign_model::text::excerpt;
use serde::{Deserialize, Serialize};
use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Strategy};

use crate::admit::{Admitted, Outline};
use crate::inspect::FEATURES;
use crate::limits::{MAX_CORE_INSTANCES, MAX_MEMORIES, MAX_TABLE_ELEMENTS, MAX_TABLES, Settings};

/// The length of an epoch, in which wall-clock limits are counted.
pub(crate) const TICK: Duration = Duration::from_millis(10);
/// Stack of the thread that compiles; Cranelift's other threads have their own.
const COMPILER_STACK: usize = 16 << 20;

/// The one engine and its clock. Cheap to share behind a reference; made once per process.
pub struct Sandbox {
    pub(crate) core: Arc<Core>,
}

/// What must live for as long as any step may run: without the ticker no epoch would ever end.
pub(crate) struct Core {
    pub(crate) engine: Engine,
    pub(crate) settings: Settings,
    _ticker: Option<Ticker>,
}

/// The sandbox could not be set up on this system.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the sandbox was not set up: {0}")]
pub struct SandboxError(String);

/// Why there is no native code of an admitted step.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq, Serialize, Deserialize)]
pub enum CompileError {
    /// The compiler refused it or gave up.
    #[error("the component was not compiled: {0}")]
    Compile(String),
    /// It is not native code of this engine.
    #[error("the native code was not loaded: {0}")]
    Load(String),
    /// What was compiled does not ask for what was inspected.
    #[error("the compiled component imports {compiled} where {inspected} was inspected")]
    Imports {
        /// What the inspection read.
        inspected: String,
        /// What the compiler read.
        compiled: String,
    },
}

/// A step's native code, and what was inspected of what it was compiled from.
#[derive(Clone)]
pub struct Compiled {
    pub(crate) core: Arc<Core>,
    pub(crate) component: Component,
    pub(crate) outline: Outline,
}

impl CompileError {
    /// The same as another process says it, which may have been taken over: cut, as a step's own words are.
    #[must_use]
    pub fn claimed(self) -> Self {
        let cut = |text: String| excerpt(&text, 600);
        match self {
            Self::Compile(why) => Self::Compile(cut(why)),
            Self::Load(why) => Self::Load(cut(why)),
            Self::Imports { inspected, compiled } => {
                Self::Imports { inspected: cut(inspected), compiled: cut(compiled) }
            }
        }
    }
}

impl Sandbox {
    /// Sets up the engine and the thread that counts its time.
    ///
    /// # Errors
    /// When the engine does not support this system or memory cannot be reserved.
    pub fn new(settings: Settings) -> Result<Self, SandboxError> {
        let engine = Engine::new(&config(&settings)).map_err(|error| SandboxError(one_line(&error)))?;
        let ticker = Ticker::start(engine.clone()).map_err(|error| SandboxError(error.to_string()))?;
        Ok(Self { core: Arc::new(Core { engine, settings, _ticker: Some(ticker) }) })
    }

    /// The same without a clock, and so without a thread: for a process that runs one step and is ended from outside
    /// when the step's time is up.
    ///
    /// # Errors
    /// As those of [`Sandbox::new`].
    pub fn without_clock(settings: Settings) -> Result<Self, SandboxError> {
        let engine = Engine::new(&config(&settings)).map_err(|error| SandboxError(one_line(&error)))?;
        Ok(Self { core: Arc::new(Core { engine, settings, _ticker: None }) })
    }

    /// Compiles exactly the buffer that was inspected. Then compares the imports once more, as the engine reads them.
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
        let bytes = admitted.inspection().bytes();
        let component = on_thread("countersign-compile", COMPILER_STACK, || {
            Component::from_binary(&self.core.engine, bytes).map_err(|error| one_line(&error))
        })
        .and_then(|compiled| compiled)
        .map_err(CompileError::Compile)?;
        self.compiled(component, admitted.outline())
    }

    /// Native code of exactly the buffer that was inspected, for [`Sandbox::load`] by an engine with the same settings, of the
    /// same release, on a processor that can do the same. Nothing of it can be run here.
    ///
    /// # Errors
    /// When the compiler refuses it.
    pub fn precompile(&self, admitted: &Admitted) -> Result<Vec<u8>, CompileError> {
        let bytes = admitted.inspection().bytes();
        on_thread("countersign-compile", COMPILER_STACK, || {
            self.core.engine.precompile_component(bytes).map_err(|error| one_line(&error))
        })
        .and_then(|code| code)
        .map_err(CompileError::Compile)
    }

    /// Native code is only taken for what was inspected where it asks for the same.
    pub(crate) fn compiled(&self, component: Component, outline: Outline) -> Result<Compiled, CompileError> {
        same_imports(&self.core.engine, &component, &outline)?;
        Ok(Compiled { core: Arc::clone(&self.core), component, outline })
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
        // A process runs one step once: what its memories begin with is copied into them, with no file between.
        .memory_init_cow(false)
        .epoch_interruption(true)
        .consume_fuel(true)
        .max_wasm_stack(settings.stack_bytes)
        .async_stack_size(settings.stack_bytes)
        .wasm_backtrace_max_frames(None)
        .debug_info(false)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    #[cfg(target_arch = "x86_64")]
    config.with_custom_code_memory(Some(Arc::new(crate::load::mapped::Mapped::new())));
    config
}

/// The instances that the engine will ask the linker for must be those that the inspection named.
fn same_imports(engine: &Engine, component: &Component, outline: &Outline) -> Result<(), CompileError> {
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
    if compiled == outline.imports {
        return Ok(());
    }
    let list = |names: &[String]| excerpt(&names.join(", "), 400);
    Err(CompileError::Imports { inspected: list(&outline.imports), compiled: list(&compiled) })
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
        let sandbox = Sandbox::new(Settings::default()).expect("a sandbox");
        let engine = sandbox.core.engine.weak();
        drop(sandbox);
        // The ticker's thread holds the engine for as long as it runs.
        assert!(engine.upgrade().is_none());
    }
}
