//! Files that hold a process identifier.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;

use countersign_model::{Fault, FaultKind};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

use crate::proc::number;

/// The longest pid file, in bytes.
const MAX_BYTES: u64 = 64;

/// The identifier in the file.
///
/// # Errors
/// `NotFound` when there is no such file; `Unsupported` when it is not a regular file of one number
/// that only its owner and group can write, or is reached through a symbolic link.
pub(crate) fn read(path: &str) -> Result<u32, Fault> {
    let unsupported = |why: &str| Fault::new(FaultKind::Unsupported, format!("the pid file `{path}` {why}"));
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let file = openat2(CWD, path, flags, Mode::empty(), resolve).map_err(|error| match error {
        Errno::NOENT | Errno::NOTDIR => Fault::new(FaultKind::NotFound, format!("there is no pid file `{path}`")),
        Errno::LOOP => unsupported("is, or is reached through, a symbolic link: name what it leads to"),
        error => Fault::new(FaultKind::Other, format!("the pid file `{path}` was not opened: {error}")),
    })?;
    let file = File::from(file);
    let failed =
        |error: std::io::Error| Fault::new(FaultKind::Other, format!("the pid file `{path}` was not read: {error}"));
    let facts = file.metadata().map_err(failed)?;
    if !facts.is_file() {
        return Err(unsupported("is not a regular file"));
    }
    if facts.mode() & 0o002 != 0 {
        return Err(unsupported("can be written by anybody"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(unsupported("holds more than a number"));
    }
    let text = std::str::from_utf8(&bytes).ok();
    text.map(str::trim_ascii).and_then(number).ok_or_else(|| unsupported("does not hold one process identifier"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn only_a_plain_file_of_one_number_counts() {
        let directory = tempfile::tempdir().expect("directory");
        let root = directory.path().canonicalize().expect("its path");
        let place = |name: &str| root.join(name).to_str().expect("UTF-8").to_owned();
        let written = |text: &str, mode: u32| {
            let path = place("pid");
            let _ = std::fs::remove_file(&path);
            std::fs::write(&path, text).expect("a file");
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).expect("its mode");
            read(&path).map_err(|fault| fault.kind)
        };
        for text in ["17", "17\n", "        17\n"] {
            assert_eq!(written(text, 0o644), Ok(17), "{text:?}");
        }
        for text in ["", "\n", "-17", "+17", "017", "0x11", "17 18", "17\n18", "17\0", "4294967296", "1e1", "seventeen"]
        {
            assert_eq!(written(text, 0o644), Err(FaultKind::Unsupported), "{text:?}");
        }
        assert_eq!(written(&format!("17{}", " ".repeat(63)), 0o644), Err(FaultKind::Unsupported));
        assert_eq!(written("17", 0o666), Err(FaultKind::Unsupported));
        assert_eq!(written("17", 0o660), Ok(17));

        symlink(place("pid"), place("link")).expect("a link");
        symlink(&root, place("here")).expect("a link");
        for name in ["link", "here/pid", "."] {
            assert_eq!(read(&place(name)).expect_err(name).kind, FaultKind::Unsupported, "{name}");
        }
        assert_eq!(read(&place("none")).expect_err("none").kind, FaultKind::NotFound);
        assert_eq!(read("/dev/null").expect_err("a device").kind, FaultKind::Unsupported);
        // A pipe that nobody writes to does not hold the runner up.
        rustix::fs::mknodat(CWD, place("fifo"), rustix::fs::FileType::Fifo, Mode::RUSR, 0).expect("a pipe");
        assert_eq!(read(&place("fifo")).expect_err("a pipe").kind, FaultKind::Unsupported);
    }
}
