//! What the runner and a worker say to each other: frames over one socket.
//!
//! A frame is its length, four bytes, little-endian, and so many bytes of postcard. Both ends are the same binary, so there
//! is no version. What comes from a worker is believed in nothing: its length is bounded before memory is taken for it, and a
//! frame that is not exactly one message ends the worker.

use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use countersign_capability::{LogLine, StepContext};
use countersign_model::{Access, Call, Reply, Role, Verdict};
use countersign_sandbox::{CompileError, Failure, Finding, Limits, LinkError, MAX_FINDINGS, Outline, Output};
use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};
use serde::de::{DeserializeOwned, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::confine::Mechanism;

/// The largest frame, in bytes: what one call may carry, 8 MiB and 64 KiB, with its envelope; a reply is no larger.
pub const MAX_FRAME: usize = 16 << 20;
/// Bytes that are read at a time, where no more are expected.
const CHUNK: usize = 64 << 10;
/// The longest that one wait lasts before whoever waits is asked whether to go on.
const SLICE: Duration = Duration::from_millis(20);

/// How long a message is awaited without sleep.
const AWAKE: Duration = Duration::from_micros(30);
/// The most messages that are slept for before one is awaited awake again.
const MOST_ASLEEP: u32 = 256;

/// What a template is asked for, with one descriptor: a fork of itself, whose socket that is.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Fork;

/// What a worker is asked to be, with one descriptor: the step's bytes, or its native code.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Job {
    /// Inspect, admit and compile the step; the native code goes into a second descriptor.
    Compile {
        /// The role that it is admitted in.
        role: Role,
        /// What its grants open.
        granted: Vec<(String, Access)>,
        /// What it may go without where the kernel lacks it.
        without: Vec<Mechanism>,
        /// What it may take.
        limits: CompileLimits,
    },
    /// Load the native code and link it.
    Step {
        /// What was inspected of it.
        outline: Outline,
        /// What its grants open.
        granted: Vec<(String, Access)>,
        /// What it may go without where the kernel lacks it.
        without: Vec<Mechanism>,
    },
}

/// What compiling one step may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompileLimits {
    /// From its start to its end.
    pub within: Duration,
    /// Memory in bytes.
    pub memory: u64,
}

impl Default for CompileLimits {
    /// One minute and 2 GiB. The largest step that a common toolchain makes, Python's, takes some four seconds and
    /// a third of it.
    fn default() -> Self {
        Self { within: Duration::from_secs(60), memory: 2 << 30 }
    }
}

/// What the runner sends to a worker that is ready.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToStep {
    /// Run the step, once.
    Run { context: StepContext, limits: Limits },
    /// The answer to its call.
    Reply(Reply),
}

/// What a worker sends.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum FromWorker {
    /// It could not be set up, and did nothing.
    Failed(String),
    /// It is held, before it has looked at anything of the step; this kernel lacks these. Without leave it ends then.
    Held(Missing),
    /// The native code is written.
    Compiled,
    /// The step was not compiled, or its code not loaded.
    NotCompiled(CompileError),
    /// The step was not linked.
    NotLinked(LinkError),
    /// The step is linked and waits.
    Ready,
    /// The step calls.
    Call(Call),
    /// The step logs.
    Log(Level, String),
    /// The step ended.
    Ended(Result<Answer, Failure>, u64),
    /// A template's only word: the number of the process that it made.
    Forked(i32),
}

/// What a kernel lacks of what holds a worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Missing {
    pub(crate) landlock: bool,
    pub(crate) seccomp: bool,
}

impl Missing {
    pub(crate) fn mechanisms(self) -> Vec<Mechanism> {
        let all = [(self.landlock, Mechanism::Landlock), (self.seccomp, Mechanism::Seccomp)];
        all.into_iter().filter_map(|(missing, mechanism)| missing.then_some(mechanism)).collect()
    }
}

/// A log line's level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Level {
    /// `debug`
    Debug,
    /// `info`
    Info,
    /// `warn`
    Warn,
    /// `error`
    Error,
}

impl Level {
    pub(crate) fn of(line: &LogLine) -> Self {
        match line.level {
            "debug" => Self::Debug,
            "warn" => Self::Warn,
            "error" => Self::Error,
            _ => Self::Info,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// An [`Output`] as it travels: postcard cannot read the tags that a verdict has in JSON.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// Findings; as many as may be at most.
    Findings(#[serde(deserialize_with = "few")] Vec<Finding>),
    /// Done.
    Done,
    /// A verdict.
    Healthy,
    /// A verdict.
    Unhealthy(String),
    /// A verdict.
    CannotTell(String),
}

/// Stops at the first finding that is too many: a byte on the wire is many in memory.
fn few<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Finding>, D::Error> {
    struct Few;
    impl<'de> Visitor<'de> for Few {
        type Value = Vec<Finding>;

        fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(formatter, "at most {MAX_FINDINGS} findings")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
            let mut found = Vec::new();
            while let Some(finding) = sequence.next_element()? {
                found.push(finding);
                if found.len() > MAX_FINDINGS {
                    return Err(serde::de::Error::custom("too many findings"));
                }
            }
            Ok(found)
        }
    }
    deserializer.deserialize_seq(Few)
}

impl From<Output> for Answer {
    fn from(output: Output) -> Self {
        match output {
            Output::Findings(found) => Self::Findings(found),
            Output::Done => Self::Done,
            Output::Verdict(Verdict::Healthy) => Self::Healthy,
            Output::Verdict(Verdict::Unhealthy(why)) => Self::Unhealthy(why),
            Output::Verdict(Verdict::CannotTell(why)) => Self::CannotTell(why),
        }
    }
}

impl From<Answer> for Output {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Findings(found) => Self::Findings(found),
            Answer::Done => Self::Done,
            Answer::Healthy => Self::Verdict(Verdict::Healthy),
            Answer::Unhealthy(why) => Self::Verdict(Verdict::Unhealthy(why)),
            Answer::CannotTell(why) => Self::Verdict(Verdict::CannotTell(why)),
        }
    }
}

/// Why nothing more comes or goes, as what follows `the process`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    /// The other end is closed.
    #[error("ended")]
    Closed,
    /// The time was up first.
    #[error("did not answer in time")]
    Late,
    /// Whoever waited was told to stop.
    #[error("was no longer waited for")]
    Abandoned,
    /// A frame is longer than any may be.
    #[error("sent a frame of {0} bytes")]
    TooLong(usize),
    /// The bytes are no message.
    #[error("sent what is no message")]
    Malformed,
    /// The socket failed.
    #[error("cannot be spoken to: {0}")]
    Io(#[from] std::io::Error),
}

impl From<Errno> for Broken {
    fn from(error: Errno) -> Self {
        match std::io::Error::from(error) {
            error if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => Self::Closed,
            error => Self::Io(error),
        }
    }
}

/// Until when to wait, and what else ends the wait.
#[derive(Clone, Copy)]
pub(crate) struct Patience<'a> {
    pub(crate) until: Option<Instant>,
    pub(crate) abandoned: &'a dyn Fn() -> bool,
}

impl Patience<'_> {
    /// For the worker itself, which is ended from outside, and for whoever has no bound of its own.
    pub(crate) const ENDLESS: Patience<'static> = Patience { until: None, abandoned: &|| false };

    /// Whether it is used up.
    pub(crate) fn ask(&self) -> Result<(), Broken> {
        if self.until.is_some_and(|until| Instant::now() >= until) {
            return Err(Broken::Late);
        }
        if (self.abandoned)() { Err(Broken::Abandoned) } else { Ok(()) }
    }
}

/// One end of the socket, with what was read ahead, and the memory of the frame that was sent last.
pub(crate) struct Channel<S> {
    socket: S,
    read: Vec<u8>,
    sent: Vec<u8>,
    /// How many messages are slept for before one is awaited awake again; and how many after the next that is in vain.
    asleep: (u32, u32),
}

impl Channel<OwnedFd> {
    /// An end at which nothing is waited for without end, whatever the other one does.
    pub(crate) fn watched(socket: OwnedFd) -> Result<Self, Broken> {
        sockopt::set_socket_timeout(&socket, Timeout::Recv, Some(SLICE))?;
        sockopt::set_socket_timeout(&socket, Timeout::Send, Some(SLICE))?;
        Ok(Self::new(socket))
    }
}

impl<S: AsFd> Channel<S> {
    pub(crate) const fn new(socket: S) -> Self {
        Self { socket, read: Vec::new(), sent: Vec::new(), asleep: (0, 1) }
    }

    /// Has the other end find it closed.
    pub(crate) fn shut(&self) -> rustix::io::Result<()> {
        rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both)
    }

    /// Sends one message.
    pub(crate) fn send<T: Serialize>(&mut self, message: &T, patience: &Patience<'_>) -> Result<(), Broken> {
        self.sent = frame(message, std::mem::take(&mut self.sent))?;
        let mut rest = self.sent.as_slice();
        while !rest.is_empty() {
            match rustix::net::send(&self.socket, rest, SendFlags::NOSIGNAL) {
                Ok(sent) => rest = rest.get(sent..).unwrap_or_default(),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            if !rest.is_empty() {
                patience.ask()?;
            }
        }
        Ok(())
    }

    /// Sends one message, short enough for the socket's buffer, and gives descriptors along.
    pub(crate) fn send_with<T: Serialize>(&mut self, message: &T, fds: &[BorrowedFd<'_>]) -> Result<(), Broken> {
        let frame = frame(message, Vec::new())?;
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(Broken::Malformed);
        }
        let sent = loop {
            let bytes = [std::io::IoSlice::new(&frame)];
            match rustix::net::sendmsg(&self.socket, &bytes, &mut ancillary, SendFlags::NOSIGNAL) {
                Err(Errno::INTR) => {}
                other => break other?,
            }
        };
        if sent == frame.len() { Ok(()) } else { Err(Broken::Malformed) }
    }

    /// Receives one message.
    pub(crate) fn receive<T: DeserializeOwned>(&mut self, patience: &Patience<'_>) -> Result<T, Broken> {
        loop {
            // Each time: one who never falls silent, or sends a byte now and then, is late like one who says nothing.
            patience.ask()?;
            if let Some(message) = self.take()? {
                return Ok(message);
            }
            self.read.reserve(CHUNK);
            match self.more() {
                Ok(0) => return Err(Broken::Closed),
                Ok(_) | Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Reads what comes next. Two ends that answer each other at once are faster than a processor that falls asleep and is
    /// woken: it is awaited awake for a moment, and the less often the more often that was in vain, as it always is where both
    /// ends share one processor.
    fn more(&mut self) -> rustix::io::Result<usize> {
        let (left, next) = self.asleep;
        if left > 0 {
            self.asleep = (left - 1, next);
        } else {
            let until = Instant::now() + AWAKE;
            while Instant::now() < until {
                match rustix::net::recv(&self.socket, spare_capacity(&mut self.read), RecvFlags::DONTWAIT) {
                    Err(Errno::AGAIN) => std::hint::spin_loop(),
                    other => {
                        self.asleep = (0, 1);
                        return other.map(|(_, some)| some);
                    }
                }
            }
            self.asleep = (next, next.saturating_mul(2).min(MOST_ASLEEP));
        }
        let read = rustix::net::recv(&self.socket, spare_capacity(&mut self.read), RecvFlags::empty());
        read.map(|(_, some)| some)
    }

    /// Receives the first message, and the descriptors that come with it.
    pub(crate) fn receive_with<T: DeserializeOwned>(&mut self) -> Result<(T, Vec<OwnedFd>), Broken> {
        let mut fds = Vec::new();
        loop {
            if let Some(message) = self.take()? {
                return Ok((message, fds));
            }
            let mut bytes = [0_u8; CHUNK];
            let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let mut slices = [std::io::IoSliceMut::new(&mut bytes)];
            let received = rustix::net::recvmsg(&self.socket, &mut slices, &mut ancillary, RecvFlags::CMSG_CLOEXEC);
            let some = match received {
                Ok(message) if message.bytes == 0 => return Err(Broken::Closed),
                Ok(message) => message.bytes,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            for message in ancillary.drain() {
                if let RecvAncillaryMessage::ScmRights(rights) = message {
                    fds.extend(rights);
                }
            }
            self.read.extend_from_slice(bytes.get(..some).unwrap_or_default());
        }
    }

    /// A message that was read already, whole.
    fn take<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Broken> {
        let Some(header) = self.read.first_chunk::<4>() else { return Ok(None) };
        let length = usize::try_from(u32::from_le_bytes(*header)).unwrap_or(usize::MAX);
        if length > MAX_FRAME {
            return Err(Broken::TooLong(length));
        }
        let end = length.saturating_add(4);
        let Some(body) = self.read.get(4..end) else {
            return Ok(None);
        };
        let message = decode(body).ok_or(Broken::Malformed)?;
        self.read.drain(..end);
        Ok(Some(message))
    }
}

/// The most descriptors that go with one message.
const MAX_FDS: usize = 2;

/// The call in a frame, without its length, that a worker sent; none where it is something else, or nothing. For whoever
/// tries frames out, as fuzzing does.
#[must_use]
pub fn called(frame: &[u8]) -> Option<Call> {
    match decode(frame)? {
        FromWorker::Call(call) => Some(call),
        _ => None,
    }
}

/// The message that these bytes are, all of them.
pub(crate) fn decode<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    match postcard::take_from_bytes(body) {
        Ok((message, [])) => Some(message),
        _ => None,
    }
}

/// A message's frame, in memory that was used before.
fn frame<T: Serialize>(message: &T, mut memory: Vec<u8>) -> Result<Vec<u8>, Broken> {
    memory.clear();
    memory.shrink_to(CHUNK);
    // For the length, which is only known afterwards.
    memory.extend_from_slice(&[0; 4]);
    let mut frame = postcard::to_extend(message, memory).map_err(|_| Broken::Malformed)?;
    let length = frame.len().saturating_sub(4);
    let header = u32::try_from(length).ok().filter(|_| length <= MAX_FRAME).ok_or(Broken::TooLong(length))?;
    if let Some(place) = frame.first_chunk_mut::<4>() {
        *place = header.to_le_bytes();
    }
    Ok(frame)
}
