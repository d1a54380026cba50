//! What holds a worker process, whatever becomes of the code in it.
//!
//! The template confines itself as far as all its forks go on: no descriptors but its socket, death with its runner, no files
//! and no network (Landlock), nobody's user and group where it was root's. A fork has one thread when it goes on from there, so
//! that all that follows in it inherits: limits on what it may use, and nearly no system calls (seccomp).

use std::collections::{BTreeMap, BTreeSet};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _, RulesetStatus,
    Scope,
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
pub(crate) enum Purpose {
    /// Compile, in threads, into memory; so many bytes of memory and seconds of processor time.
    Compile { memory: u64, seconds: u64 },
    /// Run a step; so many bytes of memory.
    Step { memory: u64 },
}

/// The user and group that nobody is on every Linux.
const NOBODY: u32 = 65_534;
/// The most threads and processes that nobody may have while a step is compiled.
const MAX_THREADS: u64 = 4096;
/// The largest native code that a compiling worker may write, in bytes.
const MAX_CODE: u64 = 512 << 20;

/// Does the first part, in the template, which is given nothing of any step. Gives what this kernel lacks.
///
/// # Errors
/// When something fails that no kernel lacks.
pub(crate) fn give_up() -> std::io::Result<BTreeSet<Mechanism>> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    limit(Resource::Core, 0)?;
    limit(Resource::Msgqueue, 0)?;
    drop_capabilities()?;
    rustix::thread::set_no_new_privs(true)?;
    let mut missing = BTreeSet::new();
    if !landlock()? {
        missing.insert(Mechanism::Landlock);
    }
    become_nobody()?;
    if ![absent(), refused()].into_iter().all(apply) {
        missing.insert(Mechanism::Seccomp);
    }
    Ok(missing)
}

/// The second part, in a fork, before anything of a step is looked at.
///
/// # Errors
/// When something fails that no kernel lacks.
pub(crate) fn confine(purpose: Purpose, missing: &BTreeSet<Mechanism>) -> std::io::Result<()> {
    let filter = match purpose {
        Purpose::Compile { memory, seconds } => {
            limit(Resource::Data, memory)?;
            limit(Resource::Cpu, seconds)?;
            // Where it is nobody: of another user it would count all that this user runs.
            if is_nobody() {
                limit(Resource::Nproc, MAX_THREADS)?;
            }
            limit(Resource::Fsize, MAX_CODE)?;
            allowed(&[COMMON, THREADS, WRITING], compiling())
        }
        Purpose::Step { memory } => {
            limit(Resource::Data, memory)?;
            limit(Resource::Fsize, 0)?;
            allowed(&[COMMON, LOADING], loading())
        }
    };
    last(filter, missing)
}

/// The third part, once a step's code is loaded: from here on no memory becomes code.
///
/// # Errors
/// When something fails that succeeded a moment ago.
pub(crate) fn seal(missing: &BTreeSet<Mechanism>) -> std::io::Result<()> {
    limit(Resource::Nofile, 0)?;
    limit(Resource::Nproc, 0)?;
    last(allowed(&[COMMON], running()), missing)
}

fn last(filter: Option<BpfProgram>, missing: &BTreeSet<Mechanism>) -> std::io::Result<()> {
    if missing.contains(&Mechanism::Seccomp) || apply(filter) {
        return Ok(());
    }
    Err(std::io::Error::other("the last filter of system calls was not taken"))
}

/// Closes what the process inherited beside its standard descriptors.
pub(crate) fn close_all_but_the_socket() -> std::io::Result<()> {
    #[expect(unsafe_code, reason = "rustix has no `close_range`, and no safe way to close what another owns")]
    // SAFETY: a system call that takes three numbers. Nothing in this process owns a descriptor above 2 yet: it is the first
    // thing that it does.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) };
    if closed == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// A copy of this process, which has one thread: nothing in the copy, or its number in this one. Its parent is the runner, which
/// waits for it and hears how it ended.
pub(crate) fn fork() -> std::io::Result<Option<i32>> {
    let flags = libc::CLONE_PARENT | libc::SIGCHLD;
    #[expect(unsafe_code, reason = "no library makes a copy whose parent is this process's parent")]
    // SAFETY: as `fork`, with the one difference of who its parent is: the copy goes on with its own memory and stack. This
    // process has one thread, so nothing in the copy waits for another.
    let made = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    match i32::try_from(made) {
        Ok(0) => Ok(None),
        Ok(pid) if pid > 0 => Ok(Some(pid)),
        _ => Err(std::io::Error::last_os_error()),
    }
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
fn landlock() -> std::io::Result<bool> {
    // What a kernel's Landlock does not know of this is left out; but all of it is either taken or not.
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ABI::V5))
        .and_then(|ruleset| ruleset.handle_access(AccessNet::from_all(ABI::V4)))
        .and_then(|ruleset| ruleset.scope(Scope::from_all(ABI::V6)))
        .and_then(Ruleset::create)
        // With no rule: none of it is ever allowed.
        .and_then(landlock::RulesetCreated::restrict_self)
        .map_err(|error| std::io::Error::other(error.to_string()))?;
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

fn is_nobody() -> bool {
    rustix::process::geteuid() == Uid::from_raw(NOBODY)
}

/// Root's worker goes on as nobody, without root's capabilities. Another user's stays what it is.
fn become_nobody() -> std::io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    change_user().map_err(|error| {
        std::io::Error::other(format!(
            "root's worker cannot go on as nobody (user and group {NOBODY}), as in a user namespace without them or without \
             CAP_SETUID and CAP_SETGID: {error}"
        ))
    })?;
    // A change of the user takes these back.
    die_with_runner()?;
    Ok(rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

fn change_user() -> rustix::io::Result<()> {
    let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(group, group, group)?;
    rustix::thread::set_thread_res_uid(user, user, user)
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

/// What loading and the last filter need besides.
const LOADING: &[i64] =
    &[libc::SYS_mprotect, libc::SYS_fstat, libc::SYS_statx, libc::SYS_seccomp, libc::SYS_membarrier];

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
    let at_once = u64::from(libc::MSG_DONTWAIT.unsigned_abs());
    let asking = u64::from(libc::F_GETFD.unsigned_abs());
    let on = |flags| [is(0, 0), is(3, flags), null(4)];
    vec![
        (libc::SYS_sendto, when(&on(no_signal))),
        (libc::SYS_recvfrom, [when(&on(0)), when(&on(at_once))].concat()),
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

/// Names for threads and memory; and, for a worker whose last filter is still to come, what that is set by.
fn controlling(rest: bool) -> (i64, Vec<SeccompRule>) {
    let number = |option: i32| u64::from(option.unsigned_abs());
    let mut rules = vec![when(&[is(0, number(libc::PR_SET_NAME))]), when(&[is(0, number(libc::PR_SET_VMA))])];
    if rest {
        rules.push(when(&[is(0, number(libc::PR_SET_NO_NEW_PRIVS)), is(1, 1)]));
    }
    (libc::SYS_prctl, rules.concat())
}

/// What compiling needs besides: threads, and no processes.
fn compiling() -> Rules {
    let thread = u64::from(libc::CLONE_THREAD.unsigned_abs());
    let clone = (libc::SYS_clone, when(&[condition(0, SeccompCmpOp::MaskedEq(thread), thread)]));
    socket().into_iter().chain(plain_memory()).chain([clone, aborting(), controlling(false)]).collect()
}

/// What loading needs besides, and the rest of the confinement: limits of its own.
fn loading() -> Rules {
    let rest =
        [(libc::SYS_mmap, when(&[own()])), (libc::SYS_prlimit64, when(&[is(0, 0)])), aborting(), controlling(true)];
    socket().into_iter().chain(words()).chain(rest).collect()
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
