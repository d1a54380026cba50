//! What holds a worker process, whatever becomes of the code in it.
//!
//! A worker has one thread when it confines itself, so that all that follows in it inherits. In this order: no descriptors
//! but its socket, limits on what it may use, death with its runner, no files and no network (Landlock), nearly no system
//! calls (seccomp), and nobody's user and group where it was root's.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::BorrowedFd;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, PathBeneath, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetStatus, Scope,
};
use rustix::process::{DumpableBehavior, Gid, Resource, Rlimit, Signal, Uid};
use rustix::thread::{CapabilitySet, CapabilitySets};
use schemars::JsonSchema;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};
use serde::{Deserialize, Serialize};

/// What a kernel may lack of what holds a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mechanism {
    /// No files, no network, no signals and sockets of others: Linux 5.13 or later, and switched on.
    Landlock,
    /// Nearly no system calls.
    Seccomp,
}

impl Mechanism {
    /// Its name, as in configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Landlock => "landlock",
            Self::Seccomp => "seccomp",
        }
    }
}

/// What the process is for, which decides what it still needs.
#[derive(Clone, Copy)]
pub(crate) enum Purpose<'a> {
    /// Compile, in threads, into memory; so many bytes of memory and seconds of processor time.
    Compile { memory: u64, seconds: u64 },
    /// Run a step, whose code is this file unless it is memory; so many bytes of memory.
    Step { code: Option<BorrowedFd<'a>>, memory: u64 },
}

/// The user and group that nobody is on every Linux.
const NOBODY: u32 = 65_534;
/// The most threads and processes that nobody may have while a step is compiled.
const MAX_THREADS: u64 = 4096;
/// The largest native code that a compiling worker may write, in bytes.
const MAX_CODE: u64 = 512 << 20;

/// Does the first part, before anything of a step is looked at. Gives what this kernel lacks.
///
/// # Errors
/// When something fails that no kernel lacks.
pub(crate) fn confine(purpose: Purpose<'_>) -> std::io::Result<BTreeSet<Mechanism>> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    limit(Resource::Core, 0)?;
    limit(Resource::Msgqueue, 0)?;
    match purpose {
        Purpose::Compile { memory, seconds } => {
            limit(Resource::Data, memory)?;
            limit(Resource::Cpu, seconds)?;
            // As nobody: of another user it would count all that this user runs.
            if rustix::process::geteuid().is_root() {
                limit(Resource::Nproc, MAX_THREADS)?;
            }
            limit(Resource::Fsize, MAX_CODE)?;
        }
        Purpose::Step { memory, .. } => {
            limit(Resource::Data, memory)?;
            // The engine keeps what memories begin with in files that have no name.
            limit(Resource::Fsize, memory)?;
        }
    }
    drop_capabilities()?;
    rustix::thread::set_no_new_privs(true)?;
    let mut missing = BTreeSet::new();
    let code = match purpose {
        Purpose::Step { code, .. } => code,
        Purpose::Compile { .. } => None,
    };
    if !landlock(code)? {
        missing.insert(Mechanism::Landlock);
    }
    if let Purpose::Compile { .. } = purpose {
        become_nobody()?;
    }
    let filters = match purpose {
        Purpose::Compile { .. } => vec![absent(), refused(), allowed(&[COMMON, THREADS, WRITING], compiling())],
        Purpose::Step { .. } => vec![absent(), allowed(&[COMMON, LOADING], loading())],
    };
    if !filters.into_iter().all(apply) {
        missing.insert(Mechanism::Seccomp);
    }
    Ok(missing)
}

/// The second part, once a step's code is loaded: from here on nothing more is opened, and no memory becomes code.
///
/// # Errors
/// When something fails that succeeded a moment ago.
pub(crate) fn seal(missing: &BTreeSet<Mechanism>) -> std::io::Result<()> {
    become_nobody()?;
    limit(Resource::Nofile, 0)?;
    limit(Resource::Nproc, 0)?;
    let filters = [refused(), allowed(&[COMMON], running())];
    if !missing.contains(&Mechanism::Seccomp) && !filters.into_iter().all(apply) {
        return Err(std::io::Error::other("the last filter of system calls was not taken"));
    }
    Ok(())
}

/// Closes what the process inherited beside its standard descriptors.
pub(crate) fn close_all_but_the_socket() -> std::io::Result<()> {
    #[expect(unsafe_code, reason = "rustix has no `close_range`, and no safe way to close what another owns")]
    // SAFETY: a system call that takes three numbers. Nothing in this process owns a descriptor above 2 yet: it is the first
    // thing that it does.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) };
    if closed == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// That this process ends with the one that started it.
pub(crate) fn die_with_runner() -> std::io::Result<()> {
    Ok(rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?)
}

/// Lowers a limit for good; one that is lower already stays.
fn limit(resource: Resource, most: u64) -> std::io::Result<()> {
    let old = rustix::process::getrlimit(resource);
    let most = old.maximum.map_or(most, |maximum| maximum.min(most));
    Ok(rustix::process::setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?)
}

/// False where the kernel has no Landlock, or does not use it.
fn landlock(code: Option<BorrowedFd<'_>>) -> std::io::Result<bool> {
    let failed = |error: landlock::RulesetError| std::io::Error::other(error.to_string());
    // What a kernel's Landlock does not know of this is left out; but all of it is either taken or not.
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ABI::V5))
        .and_then(|ruleset| ruleset.handle_access(AccessNet::from_all(ABI::V4)))
        .and_then(|ruleset| ruleset.scope(Scope::from_all(ABI::V6)))
        .and_then(Ruleset::create)
        .map_err(failed)?;
    let ruleset = match code {
        Some(code) => ruleset.add_rule(PathBeneath::new(code, AccessFs::ReadFile)).map_err(failed)?,
        None => ruleset,
    };
    let status = ruleset.restrict_self().map_err(failed)?;
    Ok(status.ruleset != RulesetStatus::NotEnforced)
}

/// Gives up what a worker that is not root's may have been given: by its service manager, by its file, by whoever started it.
fn drop_capabilities() -> std::io::Result<()> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    if rustix::process::getuid().is_root() {
        return Err(std::io::Error::other(
            "a runner that root started and that acts as another user could become root again",
        ));
    }
    let none = CapabilitySet::empty();
    rustix::thread::clear_ambient_capability_set()?;
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    Ok(rustix::thread::set_capabilities(None, sets)?)
}

/// Root's worker goes on as nobody, without root's capabilities. Another user's stays what it is.
fn become_nobody() -> std::io::Result<()> {
    if rustix::process::geteuid().is_root() {
        let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
        rustix::thread::set_thread_groups(&[])?;
        rustix::thread::set_thread_res_gid(group, group, group)?;
        rustix::thread::set_thread_res_uid(user, user, user)?;
        // A change of the user takes these back.
        die_with_runner()?;
        rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    }
    Ok(())
}

/// What every worker needs once it is confined, besides its socket: memory, its own signals and end, time and chance.
const COMMON: &[i64] = &[
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_futex,
    // The engine hands a fault that is none of its own back to the kernel.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigprocmask,
    libc::SYS_sigaltstack,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_sched_yield,
    libc::SYS_clock_gettime,
    libc::SYS_getrandom,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// What loading and the rest of the confinement need besides.
const LOADING: &[i64] = &[
    libc::SYS_mprotect,
    libc::SYS_openat,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_read,
    libc::SYS_seccomp,
    libc::SYS_geteuid,
    libc::SYS_membarrier,
    libc::SYS_memfd_create,
    libc::SYS_ftruncate,
    libc::SYS_write,
    libc::SYS_pwrite64,
    libc::SYS_writev,
    libc::SYS_fcntl,
];

/// What starting and stopping threads needs besides; `clone` itself with flags of its own.
const THREADS: &[i64] =
    &[libc::SYS_set_robust_list, libc::SYS_rseq, libc::SYS_sched_getaffinity, libc::SYS_clock_nanosleep];

/// What writing native code into memory needs besides.
const WRITING: &[i64] = &[
    libc::SYS_read,
    libc::SYS_pread64,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_statx,
];

/// What libraries try now and then and go on without: it fails, and the process lives. Nothing of it is ever done.
const REFUSED: &[i64] = &[
    libc::SYS_openat,
    libc::SYS_newfstatat,
    libc::SYS_readlinkat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_readlink,
];

/// `clone3` has its flags where no filter can look; libraries go on with `clone`.
const ABSENT: &[i64] = &[libc::SYS_clone3];

type Rules = Vec<(i64, Vec<SeccompRule>)>;

fn condition(argument: u8, operator: SeccompCmpOp, value: u64) -> Option<SeccompCondition> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value).ok()
}

/// That an argument is this number of 32 bits.
fn is(argument: u8, value: u64) -> Option<SeccompCondition> {
    condition(argument, SeccompCmpOp::Eq, value)
}

/// That an argument is no address.
fn null(argument: u8) -> Option<SeccompCondition> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0).ok()
}

/// A rule of these conditions; one that cannot be made allows nothing.
fn when(conditions: &[Option<SeccompCondition>]) -> Vec<SeccompRule> {
    let conditions: Option<Vec<_>> = conditions.iter().cloned().collect();
    conditions.and_then(|conditions| SeccompRule::new(conditions).ok()).into_iter().collect()
}

/// The socket, which is descriptor 0, and no other, in the one way in which it is used; closing others; what a debug build
/// asks of descriptors; and words for nobody, on descriptor 2.
fn socket() -> Rules {
    let no_signal = u64::from(libc::MSG_NOSIGNAL.unsigned_abs());
    let asking = u64::from(libc::F_GETFD.unsigned_abs());
    let on = |flags| [is(0, 0), is(3, flags), null(4)];
    vec![
        (libc::SYS_sendto, when(&on(no_signal))),
        (libc::SYS_recvfrom, when(&on(0))),
        (libc::SYS_close, when(&[condition(0, SeccompCmpOp::Ne, 0)])),
        (libc::SYS_fcntl, when(&[is(1, asking)])),
    ]
}

/// What a panic says, which goes nowhere.
fn words() -> Rules {
    [libc::SYS_write, libc::SYS_writev].map(|call| (call, when(&[is(0, 2)]))).to_vec()
}

/// Memory of this process alone, which its limit counts: neither shared nor growing by itself.
fn own() -> Option<SeccompCondition> {
    let others = u64::from((libc::MAP_SHARED | libc::MAP_GROWSDOWN).unsigned_abs());
    condition(3, SeccompCmpOp::MaskedEq(others), 0)
}

/// Memory that never holds code.
fn plain_memory() -> Rules {
    let exec = u64::from(libc::PROT_EXEC.unsigned_abs());
    let no_code = condition(2, SeccompCmpOp::MaskedEq(exec), 0);
    vec![(libc::SYS_mmap, when(&[no_code.clone(), own()])), (libc::SYS_mprotect, when(&[no_code]))]
}

/// To die by its own hand, so that it can be told what the runner's own code gave up on.
fn aborting() -> (i64, Vec<SeccompRule>) {
    let own = u64::try_from(rustix::process::getpid().as_raw_nonzero().get()).unwrap_or(u64::MAX);
    (libc::SYS_tgkill, when(&[is(0, own), is(2, u64::from(libc::SIGABRT.unsigned_abs()))]))
}

/// Names for threads and memory; and, for a worker that is not confined to its end yet, what the rest of that needs.
fn controlling(rest: bool) -> (i64, Vec<SeccompRule>) {
    let number = |option: i32| u64::from(option.unsigned_abs());
    let mut rules = vec![when(&[is(0, number(libc::PR_SET_NAME))]), when(&[is(0, number(libc::PR_SET_VMA))])];
    if rest {
        rules.push(when(&[is(0, number(libc::PR_SET_NO_NEW_PRIVS)), is(1, 1)]));
        rules.push(when(&[is(0, number(libc::PR_SET_DUMPABLE)), is(1, 0)]));
        rules.push(when(&[is(0, number(libc::PR_SET_PDEATHSIG)), is(1, number(libc::SIGKILL))]));
    }
    (libc::SYS_prctl, rules.concat())
}

/// What compiling needs besides: threads, and no processes.
fn compiling() -> Rules {
    let thread = u64::from(libc::CLONE_THREAD.unsigned_abs());
    let clone = (libc::SYS_clone, when(&[condition(0, SeccompCmpOp::MaskedEq(thread), thread)]));
    socket().into_iter().chain(plain_memory()).chain([clone, aborting(), controlling(false)]).collect()
}

/// What loading needs besides, and the rest of the confinement: limits of its own, and to become nobody.
fn loading() -> Rules {
    let nobody = u64::from(NOBODY);
    let rest = [
        (libc::SYS_mmap, when(&[own()])),
        (libc::SYS_prlimit64, when(&[is(0, 0)])),
        (libc::SYS_setgroups, when(&[is(0, 0)])),
        (libc::SYS_setresuid, when(&[is(0, nobody), is(1, nobody), is(2, nobody)])),
        (libc::SYS_setresgid, when(&[is(0, nobody), is(1, nobody), is(2, nobody)])),
        aborting(),
        controlling(true),
    ];
    // The engine keeps what memories begin with in files without names, and seals them.
    socket().into_iter().filter(|(call, _)| *call != libc::SYS_fcntl).chain(rest).collect()
}

/// What a running step needs besides.
fn running() -> Rules {
    socket().into_iter().chain(words()).chain(plain_memory()).chain([aborting()]).collect()
}

/// Everything but this ends the process.
fn allowed(sets: &[&[i64]], rules: Rules) -> Option<BpfProgram> {
    // A call without a rule would be allowed whatever its arguments are.
    if rules.iter().any(|(_, rules)| rules.is_empty()) {
        return None;
    }
    let mut all: BTreeMap<_, _> = rules.into_iter().collect();
    for call in sets.iter().copied().flatten().chain(REFUSED).chain(ABSENT) {
        all.entry(*call).or_default();
    }
    filter(all, SeccompAction::KillProcess, SeccompAction::Allow)
}

/// What fails and is survived: the strictest of all filters decides.
fn refused() -> Option<BpfProgram> {
    failing(REFUSED, libc::EACCES)
}

/// What is tried and done in another way where a kernel does not have it.
fn absent() -> Option<BpfProgram> {
    failing(ABSENT, libc::ENOSYS)
}

fn failing(calls: &[i64], error: i32) -> Option<BpfProgram> {
    let calls = calls.iter().map(|call| (*call, Vec::new())).collect();
    filter(calls, SeccompAction::Allow, SeccompAction::Errno(error.unsigned_abs()))
}

fn filter(rules: BTreeMap<i64, Vec<SeccompRule>>, otherwise: SeccompAction, then: SeccompAction) -> Option<BpfProgram> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).ok()?;
    SeccompFilter::new(rules, otherwise, then, arch).ok()?.try_into().ok()
}

/// False where the kernel takes no filter, or there is none for this processor.
fn apply(program: Option<BpfProgram>) -> bool {
    program.is_some_and(|program| seccompiler::apply_filter(&program).is_ok())
}

#[cfg(test)]
mod tests;
