//! The worker process itself.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::process::ExitCode;

use countersign_capability::{LogLine, Port, Registry};
use countersign_model::{Access, Call, Reply, Stop};
use countersign_sandbox::{CompileError, Linked, MAX_COMPONENT_BYTES, Outline, ROOM_BYTES, Sandbox, Settings, inspect};
use rustix::process::{Resource, Rlimit};

use crate::confine::{self, Mechanism, Purpose};
use crate::wire::{Broken, Channel, CompileLimits, Fork, FromWorker, Job, Level, Missing, Patience, ToStep};

/// What a worker has besides the step's own memory, in bytes: the engine, its tables, and one call at a time.
const OWN_MEMORY: u64 = 128 << 20;

/// Settings of the engine in a worker. What one compiles another loads, so they are the same in all.
const SETTINGS: Settings = Settings { concurrent_steps: 1, memory_bytes: 256 << 20, stack_bytes: 1 << 20 };

/// Everything that a worker does, from its first instruction to its last. It must be called before the process has started
/// a thread or opened anything.
///
/// The process gives up what it holds, and is the template from there on: it makes a fork of itself whenever its standard
/// input, which is a socket, asks for one and gives that one's socket along. The fork takes one job from its own, confines
/// itself further, and does it.
///
/// Whoever starts such a process by hand, without a runner at the other end, sees it end.
#[must_use]
pub fn serve(registry: &Registry) -> ExitCode {
    match work(registry) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Whoever is at the other end is told, where that can be done still.
            let why = match error {
                // Of its own confinement, nearly always, and not of the socket.
                Broken::Io(error) => error.to_string(),
                other => other.to_string(),
            };
            let said = FromWorker::Failed(why);
            let _ = Channel::new(rustix::stdio::stdin()).send(&said, &Patience::ENDLESS);
            ExitCode::FAILURE
        }
    }
}

type Socket = Channel<BorrowedFd<'static>>;

fn work(registry: &Registry) -> Result<(), Broken> {
    confine::close_all_but_the_socket()?;
    let runner = rustix::process::getppid();
    confine::die_with_runner()?;
    let _ = rustix::thread::set_name(c"cs-template");
    let sandbox = Sandbox::without_clock(SETTINGS).map_err(|error| Broken::Io(std::io::Error::other(error)))?;
    let missing = confine::give_up()?;
    let mut socket = Channel::new(rustix::stdio::stdin());
    loop {
        let mut sockets = match socket.receive_with::<Fork>() {
            Ok((Fork, sockets)) => sockets.into_iter(),
            Err(Broken::Closed) => return Ok(()),
            Err(broken) => return Err(broken),
        };
        let (Some(theirs), None) = (sockets.next(), sockets.next()) else { return Err(Broken::Malformed) };
        let said = match confine::fork() {
            Ok(None) => {
                confine::die_with_runner()?;
                // One whose runner died a moment before would hear nothing of that.
                if rustix::process::getppid() != runner {
                    return Ok(());
                }
                // From here on there is nothing of the template's in it.
                rustix::stdio::dup2_stdin(&theirs)?;
                drop(theirs);
                let _ = rustix::thread::set_name(c"cs-worker");
                return job(registry, &sandbox, missing);
            }
            Ok(Some(pid)) => FromWorker::Forked(pid),
            Err(error) => FromWorker::Failed(format!("the kernel makes no more processes of its user: {error}")),
        };
        socket.send(&said, &Patience::ENDLESS)?;
    }
}

/// What a fork does.
fn job(registry: &Registry, sandbox: &Sandbox, missing: BTreeSet<Mechanism>) -> Result<(), Broken> {
    let mut socket = Channel::new(rustix::stdio::stdin());
    let (job, descriptors) = socket.receive_with::<Job>()?;
    let mut descriptors = descriptors.into_iter();
    match (job, descriptors.next(), descriptors.next()) {
        (Job::Compile { role, granted, without, limits }, Some(step), Some(code)) => {
            if !held(&mut socket, Purpose::of_compiling(&limits), &without, &missing)? {
                return Ok(());
            }
            let said = match compile(sandbox, registry, role, granted, step) {
                Ok(native) => {
                    File::from(code).write_all(&native)?;
                    FromWorker::Compiled
                }
                Err(error) => FromWorker::NotCompiled(error),
            };
            socket.send(&said, &Patience::ENDLESS)
        }
        (Job::Step { outline, granted, without }, Some(code), None) => {
            let purpose = Purpose::Step { memory: OWN_MEMORY.saturating_add(SETTINGS.memory_bytes as u64) };
            if !held(&mut socket, purpose, &without, &missing)? {
                return Ok(());
            }
            match link(sandbox, registry, outline, granted, code) {
                Ok(linked) => run(socket, &linked, &missing),
                Err(refused) => socket.send(&refused, &Patience::ENDLESS),
            }
        }
        _ => Err(Broken::Malformed),
    }
}

/// Confines this process, and says how far this kernel can. False where it may not go on so.
fn held(
    socket: &mut Socket,
    purpose: Purpose,
    without: &[Mechanism],
    missing: &BTreeSet<Mechanism>,
) -> Result<bool, Broken> {
    confine::confine(purpose, missing)?;
    let lacks = |mechanism| missing.contains(&mechanism);
    let said = Missing { landlock: lacks(Mechanism::Landlock), seccomp: lacks(Mechanism::Seccomp) };
    socket.send(&FromWorker::Held(said), &Patience::ENDLESS)?;
    Ok(missing.iter().all(|mechanism| without.contains(mechanism)))
}

impl Purpose {
    const fn of_compiling(limits: &CompileLimits) -> Self {
        // On each of some processors, and a little longer than whoever waits.
        Self::Compile { memory: limits.memory, seconds: limits.within.as_secs().saturating_mul(64) }
    }
}

/// The same bytes once more through inspection and admission: what is compiled here was never anything else.
fn compile(
    sandbox: &Sandbox,
    registry: &Registry,
    role: countersign_model::Role,
    granted: Vec<(String, Access)>,
    step: OwnedFd,
) -> Result<Vec<u8>, CompileError> {
    let refused = |error: &dyn std::fmt::Display| CompileError::Compile(error.to_string());
    let mut bytes = Vec::new();
    let most = MAX_COMPONENT_BYTES as u64 + 1;
    File::from(step).take(most).read_to_end(&mut bytes).map_err(|error| refused(&error))?;
    let inspection = inspect(registry, &bytes).map_err(|error| refused(&error))?;
    drop(bytes);
    let admitted = inspection.admit(role, &granted.into_iter().collect()).map_err(|error| refused(&error))?;
    sandbox.precompile(&admitted)
}

fn link(
    sandbox: &Sandbox,
    registry: &Registry,
    outline: Outline,
    granted: Vec<(String, Access)>,
    code: OwnedFd,
) -> Result<Linked, FromWorker> {
    let compiled = sandbox.load(&File::from(code), outline).map_err(FromWorker::NotCompiled)?;
    sandbox.link(&compiled, registry, &granted.into_iter().collect()).map_err(FromWorker::NotLinked)
}

/// Waits for the word to run, and runs.
fn run(mut socket: Socket, linked: &Linked, missing: &BTreeSet<Mechanism>) -> Result<(), Broken> {
    let most = rustix::process::getrlimit(Resource::Stack).maximum;
    let room = (ROOM_BYTES as u64).min(most.unwrap_or(u64::MAX));
    rustix::process::setrlimit(Resource::Stack, Rlimit { current: Some(room), maximum: most })?;
    confine::seal(missing)?;
    countersign_sandbox::take_room();
    socket.send(&FromWorker::Ready, &Patience::ENDLESS)?;
    let ToStep::Run { context, limits } = socket.receive(&Patience::ENDLESS)? else { return Err(Broken::Malformed) };
    let ended = linked.run(Box::new(Remote(socket)), context, limits);
    let said = FromWorker::Ended(ended.result.map(Into::into), ended.fuel_used);
    Channel::new(rustix::stdio::stdin()).send(&said, &Patience::ENDLESS)
}

/// The gate, at the other end of the socket.
struct Remote(Socket);

impl Remote {
    fn ask(&mut self, call: Call) -> Result<Reply, Broken> {
        self.0.send(&FromWorker::Call(call), &Patience::ENDLESS)?;
        match self.0.receive(&Patience::ENDLESS)? {
            ToStep::Reply(reply) => Ok(reply),
            ToStep::Run { .. } => Err(Broken::Malformed),
        }
    }
}

impl Port for Remote {
    fn call(&mut self, call: Call) -> Result<Reply, Stop> {
        // The runner never answers with a stop: it ends this process.
        self.ask(call).map_err(|error| Stop(format!("the runner {error}")))
    }

    fn log(&mut self, line: LogLine) {
        // Where the runner is gone, the next call ends the step.
        let _ = self.0.send(&FromWorker::Log(Level::of(&line), line.message), &Patience::ENDLESS);
    }
}
