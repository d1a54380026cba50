//! Writing a bundle's directory: prepared beside its place, then put there in one step.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use countersign_model::Digest;
use countersign_model::text::visible;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use tempfile::TempDir;

use crate::oci::{BLOBS, INDEX_FILE, LAYOUT_FILE};
use crate::{Bundle, BundleError};

pub(crate) fn save(
    dir: &Path,
    layout: &[u8],
    index: &[u8],
    blobs: &BTreeMap<Digest, Arc<[u8]>>,
) -> Result<(), BundleError> {
    let failed = |source| BundleError::Io { what: visible(&dir.to_string_lossy()), source };
    let occupied = occupied(dir)?;
    let fresh = prepare(dir, layout, index, blobs).map_err(failed)?;
    put(fresh, dir, occupied).map_err(failed)
}

/// Whether an intact bundle stands there, which may be replaced; anything else may not.
fn occupied(dir: &Path) -> Result<bool, BundleError> {
    let refused = |why: String| BundleError::Occupied { dir: visible(&dir.to_string_lossy()), why };
    match fs::symlink_metadata(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(BundleError::Io { what: visible(&dir.to_string_lossy()), source }),
        Ok(metadata) if !metadata.is_dir() => Err(refused("it is not a directory".to_owned())),
        Ok(_) => Bundle::open(dir).map(|_| true).map_err(|error| refused(error.to_string())),
    }
}

fn prepare(dir: &Path, layout: &[u8], index: &[u8], blobs: &BTreeMap<Digest, Arc<[u8]>>) -> io::Result<TempDir> {
    let name = dir.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path has no name"))?;
    let mut prefix = std::ffi::OsString::from(".");
    prefix.push(name);
    prefix.push(".");
    let fresh =
        tempfile::Builder::new().prefix(&prefix).permissions(Permissions::from_mode(0o755)).tempdir_in(parent(dir))?;
    let mut blobs_dir = fresh.path().to_path_buf();
    for name in BLOBS {
        blobs_dir.push(name);
        fs::create_dir(&blobs_dir)?;
    }
    for (digest, bytes) in blobs {
        write(&blobs_dir.join(digest.hex()), bytes)?;
    }
    write(&fresh.path().join(LAYOUT_FILE), layout)?;
    write(&fresh.path().join(INDEX_FILE), index)?;
    for dir in blobs_dir.ancestors().take(BLOBS.len() + 1) {
        File::open(dir)?.sync_all()?;
    }
    Ok(fresh)
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// What stood there before is deleted under the temporary name.
fn put(fresh: TempDir, dir: &Path, occupied: bool) -> io::Result<()> {
    if occupied {
        match renameat_with(CWD, fresh.path(), CWD, dir, RenameFlags::EXCHANGE) {
            Ok(()) => {}
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => put_in_two_steps(&fresh, dir)?,
            Err(error) => return Err(error.into()),
        }
    } else {
        // Fails where something that is not empty has come to stand there since.
        fs::rename(fresh.path(), dir)?;
    }
    // Either the old bundle is deleted with it, or there is nothing there any more.
    drop(fresh);
    File::open(parent(dir))?.sync_all()
}

/// For a file system that cannot exchange: the old bundle stands aside for a moment.
fn put_in_two_steps(fresh: &TempDir, dir: &Path) -> io::Result<()> {
    let aside = tempfile::Builder::new().prefix(".").tempdir_in(parent(dir))?;
    fs::rename(dir, aside.path())?;
    if let Err(error) = fs::rename(fresh.path(), dir) {
        // Kept, whether or not it can be put back: it is the user's only copy.
        fs::rename(aside.keep(), dir)?;
        return Err(error);
    }
    Ok(())
}

fn parent(dir: &Path) -> PathBuf {
    match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_without_an_exchange() {
        let place = tempfile::tempdir().expect("a directory");
        let (dir, old) = (place.path().join("bundle"), place.path().join("bundle/old"));
        fs::create_dir(&dir).expect("created");
        fs::write(&old, "old").expect("written");
        let fresh = TempDir::with_prefix_in(".fresh", place.path()).expect("a directory");
        fs::write(fresh.path().join("new"), "new").expect("written");
        put_in_two_steps(&fresh, &dir).expect("replaced");
        drop(fresh);
        assert_eq!(fs::read(dir.join("new")).expect("there"), b"new");
        assert_eq!(fs::read_dir(place.path()).expect("a directory").count(), 1);

        let gone = TempDir::with_prefix_in(".gone", place.path()).expect("a directory");
        fs::remove_dir(gone.path()).expect("removed");
        put_in_two_steps(&gone, &dir).expect_err("nothing to put there");
        assert_eq!(fs::read(dir.join("new")).expect("still there"), b"new");
        assert_eq!(fs::read_dir(place.path()).expect("a directory").count(), 1);
    }
}
