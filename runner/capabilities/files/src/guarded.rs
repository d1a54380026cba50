//! The runner's own files by device and inode, so that no bind mount gives them another path.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use countersign_capability::Protected;
use countersign_model::{Fault, FaultKind};
use rustix::fs::Stat;

/// The most mounts that are looked at.
const MAX_MOUNTS: usize = 100_000;

/// Devices and inodes of the runner's own paths, and of every mount that shows a part of one.
pub(crate) struct Guarded(BTreeSet<(u64, u64)>);

impl Guarded {
    /// Looks the protected paths up. One that does not exist has no inode yet; its path is still
    /// refused by [`crate::scope::Scope::endangers`].
    ///
    /// Mounts that are made later are not seen: only an administrator can make them.
    pub(crate) fn look_up(protected: &Protected) -> Result<Self, Fault> {
        let mut found = BTreeSet::new();
        for path in &protected.paths {
            found.extend(identity(path)?);
        }
        if !protected.paths.is_empty() {
            let table = std::fs::read("/proc/self/mountinfo").map_err(|error| {
                Fault::new(FaultKind::Other, format!("the mounts of this host could not be read: {error}"))
            })?;
            for alias in aliases(&table, &protected.paths)? {
                // What cannot be looked up through this name cannot be reached through it either.
                found.extend(identity(&alias).ok().flatten());
            }
        }
        Ok(Self(found))
    }

    /// Whether this is one of the runner's own.
    pub(crate) fn holds(&self, stat: &Stat) -> bool {
        self.0.contains(&(stat.st_dev, stat.st_ino))
    }
}

fn identity(path: &Path) -> Result<Option<(u64, u64)>, Fault> {
    match std::fs::metadata(path) {
        Ok(metadata) => Ok(Some((metadata.dev(), metadata.ino()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            let path = countersign_model::text::excerpt(&path.to_string_lossy(), 200);
            Err(Fault::new(FaultKind::Other, format!("the runner's own `{path}` could not be looked up: {error}")))
        }
    }
}

/// One line of `/proc/self/mountinfo`, see proc_pid_mountinfo(5).
struct Mount {
    device: Vec<u8>,
    /// What of the file system is mounted.
    root: PathBuf,
    /// Where.
    point: PathBuf,
}

/// The mount points that show something at or below a protected path under another path.
fn aliases(table: &[u8], protected: &[PathBuf]) -> Result<Vec<PathBuf>, Fault> {
    let mounts: Vec<_> = table.split(|byte| *byte == b'\n').take(MAX_MOUNTS + 1).filter_map(mount).collect();
    if mounts.len() > MAX_MOUNTS {
        return Err(Fault::new(FaultKind::Unsupported, format!("this host has more than {MAX_MOUNTS} mounts")));
    }
    let mut found = Vec::new();
    for path in protected {
        // The last of the longest: a later mount hides an earlier one at the same point.
        let home = mounts
            .iter()
            .filter(|mount| path.starts_with(&mount.point))
            .max_by_key(|mount| mount.point.as_os_str().len());
        let Some(home) = home else { continue };
        let Ok(rest) = path.strip_prefix(&home.point) else { continue };
        let inside = home.root.join(rest);
        let shows = |mount: &&Mount| mount.device == home.device && mount.root.starts_with(&inside);
        found.extend(
            mounts.iter().filter(shows).map(|mount| mount.point.clone()).filter(|point| !point.starts_with(path)),
        );
    }
    Ok(found)
}

fn mount(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ').skip(2);
    let device = fields.next()?.to_vec();
    let root = unescaped(fields.next()?);
    let point = unescaped(fields.next()?);
    Some(Mount { device, root, point })
}

/// Space, tab, line feed and backslash stand as `\` and three octal digits.
fn unescaped(field: &[u8]) -> PathBuf {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((byte, after)) = rest.split_first() {
        let code = (*byte == b'\\').then(|| after.split_at_checked(3)).flatten();
        let value = code.and_then(|(digits, _)| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        match (value, code) {
            (Some(value), Some((_, after))) => {
                out.push(value);
                rest = after;
            }
            _ => {
                out.push(*byte);
                rest = after;
            }
        }
    }
    PathBuf::from(OsString::from_vec(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"\
21 1 254:0 / / rw - ext4 /dev/vda rw
22 21 254:1 / /var rw shared:2 - ext4 /dev/vdb rw
23 21 254:1 /lib/runner/blobs /srv/x\\040y rw - ext4 /dev/vdb rw
24 21 254:1 /lib /srv/whole rw - ext4 /dev/vdb rw
25 21 254:1 /lib/runner2 /srv/other rw - ext4 /dev/vdb rw
26 21 254:0 /lib/runner /srv/otherdevice rw - ext4 /dev/vda rw
27 21 254:1 /lib/runner/tmp /var/lib/runner/tmp rw - ext4 /dev/vdb rw
";

    #[test]
    fn finds_mounts_that_show_a_protected_path() {
        let protected = [PathBuf::from("/var/lib/runner")];
        assert_eq!(aliases(TABLE, &protected).expect("mounts"), [PathBuf::from("/srv/x y")]);
        // Through `/srv/whole` the directory itself is met on the way, by its inode.
        let elsewhere = [PathBuf::from("/nowhere")];
        assert!(aliases(TABLE, &elsewhere).expect("mounts").is_empty());
    }

    #[test]
    fn knows_the_inode() {
        let directory = tempfile::tempdir().expect("directory");
        let protected =
            Protected { paths: vec![directory.path().to_owned(), directory.path().join("missing")], processes: vec![] };
        let guarded = Guarded::look_up(&protected).expect("looked up");
        let own = rustix::fs::stat(directory.path()).expect("stat");
        assert!(guarded.holds(&own));
        assert!(!guarded.holds(&rustix::fs::stat("/").expect("stat")));
    }
}
