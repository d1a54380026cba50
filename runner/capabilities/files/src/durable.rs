//! Durable file primitives: staged files, renames that are verified, changes in place, syncs. They stand only here.
//!
//! A rename names a directory and two names, and what stood under a name may have been exchanged
//! by somebody else a moment before. So every rename is verified afterwards and taken back where it
//! moved something else than was meant. A sync that failed is never tried again: nobody knows what
//! it left behind.

use std::fs::File;
use std::io::{Read, Write as _};
use std::os::fd::AsFd;

use countersign_model::{Fault, FaultKind};
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags, fchmod, fsync, ftruncate, openat, renameat_with, tell, unlinkat};
use rustix::io::Errno;

use crate::fault::{Deadline, about, after_all, errno, failed, in_time};
use crate::handle::{Directory, Opened, size};
use crate::metadata::{Attributes, Time, set_modified};
use crate::snapshot::Identity;
use crate::span::PIECE;

/// How much is appended first, in bytes: what somebody else appends in the moment before it is found out then.
const FIRST: usize = 512;

/// Writes a new file under a name of the runner's own, complete and synced; on failure it is gone again.
pub(crate) fn stage(
    directory: &Directory<'_>,
    name: &str,
    bytes: &[u8],
    attributes: &Attributes,
    modified: Option<Time>,
    deadline: Deadline,
) -> Result<Identity, Fault> {
    let path = directory.path_of(name);
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let private = Mode::RUSR | Mode::WUSR;
    let fd = openat(directory, name, flags, private).map_err(|errno| failed("made", &path, errno))?;
    let staged = fill(File::from(fd), &path, bytes, attributes, modified, deadline);
    if staged.is_err() {
        // The first failure is the one to report; undo looks for the file again.
        let _ = unlinkat(directory, name, AtFlags::empty());
    }
    staged
}

fn fill(
    mut file: File,
    path: &str,
    bytes: &[u8],
    attributes: &Attributes,
    modified: Option<Time>,
    deadline: Deadline,
) -> Result<Identity, Fault> {
    for chunk in bytes.chunks(PIECE) {
        in_time(deadline)?;
        file.write_all(chunk).map_err(|error| failed("written", path, errno(&error)))?;
    }
    attributes.give(&file, path)?;
    if let Some(modified) = modified {
        set_modified(&file, path, modified)?;
    }
    sync(&file, path)?;
    let stat = rustix::fs::fstat(&file).map_err(|errno| failed("looked at", path, errno))?;
    Ok(Identity::of(&stat))
}

/// Exchanges the file under `own`, which must be `staged`, with the one under `name`. `came_out` tells what is wrong
/// with the file that is then under `own`; if anything is, both are put back.
///
/// # Errors
/// `Changed` with `reached` unset where both are as they were.
pub(crate) fn swap(
    directory: &Directory<'_>,
    own: &str,
    name: &str,
    staged: Identity,
    came_out: impl Fn() -> Result<Option<String>, Fault>,
) -> Result<(), Fault> {
    let path = directory.path_of(name);
    let exchange = || {
        #[cfg(test)]
        tests::note("exchange");
        renameat_with(directory, own, directory, name, RenameFlags::EXCHANGE)
    };
    exchange().map_err(|errno| renaming(&path, errno))?;
    if !is(directory, name, staged)? {
        sync(directory, &path)?;
        let why = format!("was exchanged by somebody else meanwhile; what was there before is kept as `{own}`");
        return Err(after_all(about(FaultKind::Changed, &path, &why)));
    }
    let Some(wrong) = came_out().unwrap_or_else(|fault| Some(fault.what)) else { return sync(directory, &path) };
    exchange().map_err(|errno| after_all(renaming(&path, errno)))?;
    if is(directory, own, staged)? {
        sync(directory, &path)?;
        return Err(about(FaultKind::Changed, &path, &format!("is not what the change was prepared for: {wrong}")));
    }
    // Somebody put a third file there between the two: theirs is the latest, so it goes back.
    exchange().map_err(|errno| after_all(renaming(&path, errno)))?;
    sync(directory, &path)?;
    let why = format!("was exchanged by somebody else meanwhile; what was there before is kept as `{own}`");
    Err(after_all(about(FaultKind::Changed, &path, &why)))
}

/// Renames `from` to `to`, where nothing may be. `moved` tells what is wrong with the file that is then
/// under `to`; if anything is, it is put back.
///
/// # Errors
/// `Exists` where something is there already, `Changed` with `reached` unset where all is as it was.
pub(crate) fn shift(
    directory: &Directory<'_>,
    from: &str,
    to: &str,
    moved: impl Fn() -> Result<Option<String>, Fault>,
) -> Result<(), Fault> {
    let path = directory.path_of(from);
    #[cfg(test)]
    tests::note("rename");
    renameat_with(directory, from, directory, to, RenameFlags::NOREPLACE)
        .map_err(|errno| renaming(if errno == Errno::EXIST { directory.path_of(to) } else { path.clone() }, errno))?;
    let Some(wrong) = moved().unwrap_or_else(|fault| Some(fault.what)) else { return sync(directory, &path) };
    let back = renameat_with(directory, to, directory, from, RenameFlags::NOREPLACE);
    let synced = sync(directory, &path);
    match back {
        Ok(()) => {
            synced?;
            Err(about(FaultKind::Changed, &path, &format!("is not what the change was prepared for: {wrong}")))
        }
        Err(errno) => {
            let why = std::io::Error::from(errno);
            let why = format!("is not what the change was prepared for: {wrong}; it is kept as `{to}`: {why}");
            Err(after_all(about(FaultKind::Changed, &path, &why)))
        }
    }
}

/// Removes a file under a name of the runner's own, durably.
pub(crate) fn discard(directory: &Directory<'_>, own: &str) -> Result<(), Fault> {
    let path = directory.path_of(own);
    #[cfg(test)]
    tests::note("remove");
    match unlinkat(directory, own, AtFlags::empty()) {
        Ok(()) => sync(directory, &path),
        Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(failed("removed", &path, errno)),
    }
}

/// Takes away all of a file but its first bytes, durably, whoever else has it open.
pub(crate) fn cut(file: &Opened, length: u64) -> Result<(), Fault> {
    #[cfg(test)]
    tests::note("cut");
    ftruncate(file, length).map_err(|errno| failed("truncated", file.path(), errno))?;
    sync(file, file.path())
}

/// Appends what `from` gives to a file that ends at `at`, until it ends at `end`, and makes it durable. The file must
/// have been opened to be appended to: so nothing that somebody else appends meanwhile is ever written over.
///
/// # Errors
/// `Changed` where somebody else appended meanwhile: before anything was, with `reached` unset; else it is no longer
/// as it was meant to become, and is left so.
pub(crate) fn append(
    file: &Opened,
    from: &mut dyn Read,
    at: u64,
    end: u64,
    modified: Option<Time>,
    deadline: Deadline,
) -> Result<(), Fault> {
    let path = file.path();
    let written = |errno| after_all(failed("written", path, errno));
    let from_here = at;
    let mut at = at;
    let so_far = |fault: Fault, at: u64| if at == from_here { fault } else { after_all(fault) };
    let mut chunk = vec![0; PIECE];
    while at < end {
        in_time(deadline).map_err(|fault| so_far(fault, at))?;
        let most = if at == from_here { FIRST } else { PIECE };
        let count = usize::try_from(end - at).unwrap_or(most).min(most);
        let mut rest = chunk.get_mut(..count).unwrap_or_default();
        from.read_exact(rest).map_err(|error| so_far(failed("put back", path, errno(&error)), at))?;
        if at == from_here {
            // The last look, however long it took to find it as it should be: from here to the first write there is
            // nothing but one system call.
            let found = size(&file.stat()?);
            if found != at {
                return Err(about(FaultKind::Changed, path, &format!("has {found} bytes, not {at}: it is left alone")));
            }
        }
        while !rest.is_empty() {
            #[cfg(test)]
            tests::note("append");
            let more = match rustix::io::write(file, rest) {
                Err(Errno::INTR) => continue,
                more => more.map_err(written)?,
            };
            at += more as u64;
            // The offset is that of the end of what was written, wherever the file ended by then.
            if tell(file).map_err(written)? != at {
                return Err(after_all(about(FaultKind::Changed, path, "was appended to while it was put back")));
            }
            rest = rest.get_mut(more..).unwrap_or_default();
        }
    }
    if let Some(modified) = modified {
        // Only its owner may, and the content is what counts.
        let _ = set_modified(file, path, modified);
    }
    sync(file, path)?;
    let size = size(&file.stat().map_err(after_all)?);
    if size == end {
        return Ok(());
    }
    Err(after_all(about(FaultKind::Changed, path, "was written to while it was put back")))
}

/// Gives a file these permission bits, durably. They are looked at by whoever calls: the kernel may leave some out.
pub(crate) fn set_mode(file: &Opened, mode: u32) -> Result<(), Fault> {
    #[cfg(test)]
    tests::note("set-mode");
    let path = file.path();
    fchmod(file, Mode::from_raw_mode(mode)).map_err(|errno| failed("given its mode", path, errno))?;
    sync(file, path)
}

/// Makes a file or a directory durable.
pub(crate) fn sync(file: impl AsFd, path: &str) -> Result<(), Fault> {
    #[cfg(test)]
    tests::before_sync(path)?;
    fsync(file).map_err(|errno| after_all(failed("made durable", path, errno)))
}

/// Whether this file is what stands under the name.
pub(crate) fn is(directory: &Directory<'_>, name: &str, identity: Identity) -> Result<bool, Fault> {
    let stat = directory.look(name).map_err(after_all)?;
    Ok(stat.is_some_and(|stat| stat.st_dev == identity.device && stat.st_ino == identity.inode))
}

fn renaming(path: impl AsRef<str>, errno: Errno) -> Fault {
    let path = path.as_ref();
    match errno {
        Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP => {
            about(FaultKind::Unsupported, path, "lies in a file system that cannot exchange two files at once")
        }
        errno => failed("renamed", path, errno),
    }
}

#[cfg(test)]
mod tests;
