use countersign_model::{Call, Fault, FaultKind, Reply, Stop};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use wasmtime::StoreLimits;
use wasmtime::component::{HasData, ResourceTable};

use crate::capability::{Capability, TypedCall};

/// The types of `countersign:step/types`, which every capability's bindings share.
pub mod step {
    #[expect(missing_docs, reason = "generated; the documentation stands in the WIT")]
    mod bindings {
        wasmtime::component::bindgen!({
            path: "../wit/step",
            inline: "
                package countersign:shared;
                world shared {
                    import countersign:step/types@0.1.0;
                    import countersign:step/host@0.1.0;
                }
            ",
            imports: { default: trappable },
            additional_derives: [serde::Serialize, serde::Deserialize, Clone, PartialEq],
        });
    }
    pub use bindings::countersign::step::{host, types};
}

/// All that a guest's host functions see: the gate itself, or a socket to it.
pub trait Port: Send {
    /// Performs one call.
    ///
    /// # Errors
    /// A [`Stop`] ends the step: the guest is trapped.
    fn call(&mut self, call: Call) -> Result<Reply, Stop>;

    /// Takes a line that the step logged. The sink has cut and counted it already.
    fn log(&mut self, line: LogLine);
}

/// One line that a step logged; untrusted text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// `debug`, `info`, `warn` or `error`.
    pub level: &'static str,
    /// The line, cut to 4 KiB.
    pub message: String,
}

/// Counts a step's log against its bound.
#[derive(Debug)]
pub struct LogSink {
    left: usize,
}

impl LogSink {
    /// The longest line, in bytes.
    pub const MAX_LINE: usize = 4 * 1024;
    /// The most that a step may log, in bytes.
    pub const MAX_TOTAL: usize = 256 * 1024;

    /// Counts a line, which must not be longer than [`LogSink::MAX_LINE`]; false where the bound is used up or the line is
    /// too long.
    pub fn take(&mut self, message: &str) -> bool {
        // A line costs at least 64 bytes, so that empty ones cannot be sent without end.
        let left = self.left.checked_sub(message.len().max(64)).filter(|_| message.len() <= Self::MAX_LINE);
        self.left = left.unwrap_or(self.left);
        left.is_some()
    }
}

impl Default for LogSink {
    fn default() -> Self {
        Self { left: Self::MAX_TOTAL }
    }
}

/// What `countersign:step/host` answers from; fixed by the proposal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepContext {
    /// The arguments, one JSON object.
    pub arguments: String,
    /// Milliseconds since 1970-01-01 UTC.
    pub now: u64,
    /// For whatever needs chance.
    pub seed: u64,
}

impl StepContext {
    /// With the arguments as a step reads them.
    #[must_use]
    pub fn new(arguments: &Map<String, Value>, now: u64, seed: u64) -> Self {
        Self { arguments: Value::Object(arguments.clone()).to_string(), now, seed }
    }
}

/// A step's store data.
pub struct StepState {
    /// Where its calls go.
    pub port: Box<dyn Port>,
    /// What it may allocate.
    pub limits: StoreLimits,
    /// What it may know.
    pub context: StepContext,
    /// What it may still log.
    pub log: LogSink,
    /// What the sandbox keeps for a step that imports WASI; for others there is none, and no capability sees it.
    pub inert: Option<Box<InertState>>,
}

/// What the runtime of an ordinary toolchain leaves in its step's store between two calls of the inert WASI.
/// It is made anew for every step, from nothing of the host's.
#[derive(Default)]
pub struct InertState {
    /// The timers that it holds.
    pub timers: ResourceTable,
    /// How long it has waited so far, in nanoseconds: its monotonic clock.
    pub waited: u64,
    /// Random bytes that it has drawn so far.
    pub drawn: u64,
    /// The lines that it has begun to print, to its output and to its errors.
    pub lines: [Vec<u8>; 2],
}

/// A linker of the runner's sandbox.
pub type Linker = wasmtime::component::Linker<StepState>;

/// The view of a store that a capability's host functions get: a port and nothing else.
pub struct Guest<'a>(&'a mut dyn Port);

/// Selects [`Guest`] as the view of a store, for `add_to_linker::<_, ViaPort>`.
pub struct ViaPort;

impl HasData for ViaPort {
    type Data<'a> = Guest<'a>;
}

impl StepState {
    /// A step's state at its beginning, without WASI.
    #[must_use]
    pub fn new(port: Box<dyn Port>, limits: StoreLimits, context: StepContext) -> Self {
        Self { port, limits, context, log: LogSink::default(), inert: None }
    }

    /// The view that `add_to_linker` takes.
    pub fn guest(&mut self) -> Guest<'_> {
        Guest(self.port.as_mut())
    }

    /// Sends a line to the step's log, cut and counted; past the bound it is dropped.
    pub fn write_log(&mut self, level: &'static str, mut message: String) {
        message.truncate(message.floor_char_boundary(LogSink::MAX_LINE));
        if self.log.take(&message) {
            self.port.log(LogLine { level, message });
        }
    }
}

impl Guest<'_> {
    /// Sends a typed call through the port and decodes what comes back.
    ///
    /// # Errors
    /// The outer error traps the guest; the inner one is the guest's typed error.
    pub fn ask<C: Capability, R: DeserializeOwned>(
        &mut self,
        call: &C::Call,
    ) -> wasmtime::Result<Result<R, step::types::Error>> {
        let call = Call {
            capability: C::NAME.to_owned(),
            function: call.function().to_owned(),
            arguments: encode(call).map_err(|fault| wasmtime::Error::msg(fault.what))?,
        };
        match self.0.call(call).map_err(wasmtime::Error::new)? {
            Reply::Value(bytes) => Ok(Ok(decode(&bytes).map_err(|fault| wasmtime::Error::msg(fault.what))?)),
            Reply::Fault(fault) => Ok(Err(fault.into())),
        }
    }
}

/// A value as it travels in calls and replies.
///
/// # Errors
/// When the type cannot be encoded, which is a defect of the capability.
pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, Fault> {
    postcard::to_stdvec(value).map_err(|error| Fault::new(FaultKind::Other, format!("a call was not encoded: {error}")))
}

/// The value of these bytes.
///
/// # Errors
/// When they are not such a value.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Fault> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(Fault::new(FaultKind::Other, format!("a call has {} bytes too many", rest.len()))),
        Err(error) => Err(Fault::new(FaultKind::Other, format!("a call was not decoded: {error}"))),
    }
}

impl From<Fault> for step::types::Error {
    fn from(fault: Fault) -> Self {
        use step::types::ErrorKind;
        let kind = match fault.kind {
            FaultKind::Denied => ErrorKind::Denied,
            FaultKind::NotFound => ErrorKind::NotFound,
            FaultKind::Exists => ErrorKind::Exists,
            FaultKind::Invalid => ErrorKind::Invalid,
            FaultKind::TooLarge => ErrorKind::TooLarge,
            FaultKind::Unsupported => ErrorKind::Unsupported,
            FaultKind::Changed => ErrorKind::Changed,
            FaultKind::Unknowable => ErrorKind::Unknowable,
            FaultKind::Unreachable => ErrorKind::Unreachable,
            FaultKind::TimedOut => ErrorKind::TimedOut,
            FaultKind::Other => ErrorKind::Other,
        };
        Self { kind, message: fault.what, reached: fault.reached }
    }
}

/// `countersign:step/host` itself: the same for every step, so it stands here and not in a capability.
impl StepState {
    /// Links `countersign:step/types` and `countersign:step/host`, which every step may import.
    ///
    /// # Errors
    /// When the linker has them already.
    pub fn link_host(linker: &mut Linker) -> wasmtime::Result<()> {
        step::types::add_to_linker::<_, Own>(linker, |state| state)?;
        step::host::add_to_linker::<_, Own>(linker, |state| state)
    }
}

struct Own;

impl HasData for Own {
    type Data<'a> = &'a mut StepState;
}

impl step::types::Host for &mut StepState {}

impl step::host::Host for &mut StepState {
    fn arguments(&mut self) -> wasmtime::Result<String> {
        Ok(self.context.arguments.clone())
    }

    fn log(&mut self, level: step::host::Level, message: String) -> wasmtime::Result<()> {
        let level = match level {
            step::host::Level::Debug => "debug",
            step::host::Level::Info => "info",
            step::host::Level::Warn => "warn",
            step::host::Level::Error => "error",
        };
        self.write_log(level, message);
        Ok(())
    }

    fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(self.context.now)
    }

    fn seed(&mut self) -> wasmtime::Result<u64> {
        Ok(self.context.seed)
    }
}
