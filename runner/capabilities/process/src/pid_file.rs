//! Files that hold a process identifier.
//!
//! A grant of one executable opens its processes by whatever pid file a step names, and so must not tell of any file
//! more than that it names one of them: why a file does not is for the operator's log alone.

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
/// Why it is not a regular file of one number that its owner and group alone can write, reached through no symbolic
/// link. Guests are not told.
pub(crate) fn read(path: &str) -> Result<u32, String> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let file = openat2(CWD, path, flags, Mode::empty(), resolve).map_err(|error| match error {
        Errno::LOOP => "it is, or is reached through, a symbolic link".to_owned(),
        error => format!("it was not opened: {error}"),
    })?;
    let file = File::from(file);
    let facts = file.metadata().map_err(|error| format!("it was not looked at: {error}"))?;
    if !facts.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    if facts.mode() & 0o002 != 0 {
        return Err("it can be written by anybody".to_owned());
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| format!("it was not read: {error}"))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err("it holds more than a number".to_owned());
    }
    let text = std::str::from_utf8(&bytes).ok();
    text.map(str::trim_ascii).and_then(number).ok_or_else(|| "it does not hold one process identifier".to_owned())
}

/// All that a guest is told of a pid file that does not lead to a process of the executable.
pub(crate) fn unfit(path: &str, executable: &str) -> Fault {
    let what = format!(
        "the pid file `{path}` leads to no process of `{executable}`: it is missing, no plain file, reached by a symbolic \
         link, open for anybody to write, the runner's own, holds no process identifier, or that of none that runs this file"
    );
    Fault::new(FaultKind::NotFound, what)
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
            read(&path)
        };
        for text in ["17", "17\n", "        17\n"] {
            assert_eq!(written(text, 0o644), Ok(17), "{text:?}");
        }
        for text in ["", "\n", "-17", "+17", "017", "0x11", "17 18", "17\n18", "17\0", "4294967296", "1e1", "seventeen"]
        {
            assert!(written(text, 0o644).is_err(), "{text:?}");
        }
        assert!(written(&format!("17{}", " ".repeat(63)), 0o644).is_err());
        assert!(written("17", 0o666).is_err());
        assert_eq!(written("17", 0o660), Ok(17));

        symlink(place("pid"), place("link")).expect("a link");
        symlink(&root, place("here")).expect("a link");
        for name in ["link", "here/pid", "."] {
            assert!(read(&place(name)).is_err(), "{name}");
        }
        assert!(read(&place("none")).is_err());
        assert!(read("/dev/null").is_err());
        // A pipe that nobody writes to does not hold the runner up.
        rustix::fs::mknodat(CWD, place("fifo"), rustix::fs::FileType::Fifo, Mode::RUSR, 0).expect("a pipe");
        assert!(read(&place("fifo")).is_err());
    }
}
