//! Files that a command is given: regular, of bounded size, and, where they decide what may happen, nobody else's.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use anyhow::Context;
use countersign_bundle::Bundle;
use countersign_model::text::visible;
use rustix::fs::OFlags;

use crate::output::{hinted, hinted_by};

/// The most symbolic links that one path leads through, as in Linux.
const MAX_LINKS: usize = 40;

/// A path as messages show it.
pub(crate) fn shown(path: &Path) -> String {
    visible(&path.to_string_lossy())
}

/// A regular file of at most `limit` bytes.
pub(crate) fn read_bounded(path: &Path, limit: u64) -> anyhow::Result<Vec<u8>> {
    Ok(read(path, limit, OFlags::empty())?.0)
}

/// A file that decides what may happen, such as the configuration: a regular one of at most `limit` bytes that nobody but
/// its owner, who is this user or root, can write or put another one in the place of.
pub(crate) fn read_private(path: &Path, limit: u64) -> anyhow::Result<Vec<u8>> {
    let resolved = only_ours(path)?;
    let shown = shown(path);
    let (bytes, metadata) = read(&resolved, limit, OFlags::NOFOLLOW)?;
    let owner = metadata.uid();
    if !is_ours(owner) {
        return Err(hinted(format!("`{shown}` belongs to user {owner}"), "only the operator may own it: chown it"));
    }
    if metadata.mode() & 0o022 != 0 {
        return Err(hinted(format!("`{shown}` can be written by others"), format!("chmod go-w {shown}")));
    }
    Ok(bytes)
}

fn read(path: &Path, limit: u64, flags: OFlags) -> anyhow::Result<(Vec<u8>, Metadata)> {
    let shown = shown(path);
    let unreadable = |error: std::io::Error| {
        hinted_by(error, format!("`{shown}` cannot be read"), "name a file that is there and that you may read")
    };
    // A pipe without a writer would hold the reader up; regular files take no notice.
    let flags = (flags | OFlags::NONBLOCK).bits() as i32;
    let file = std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(hinted(
            format!("`{shown}` is not a regular file"),
            "name a regular file; pipes, devices and directories are not read",
        ));
    }
    let mut bytes = Vec::new();
    if metadata.len() <= limit {
        file.take(limit + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    }
    if metadata.len() > limit || bytes.len() as u64 > limit {
        return Err(hinted(
            format!("`{shown}` is larger than the {limit} bytes that are read"),
            "make sure that it is the file that you mean",
        ));
    }
    Ok((bytes, metadata))
}

/// Follows a path from the root on and refuses it where somebody else could make it lead elsewhere: each directory on the
/// way, and each that a link on the way leads through, must be this user's or root's, and writable by nobody else, or
/// only as `/tmp` is. Gives the path without links.
pub(crate) fn only_ours(path: &Path) -> anyhow::Result<PathBuf> {
    let absolute = std::path::absolute(path).with_context(|| format!("`{}` is not a path", shown(path)))?;
    let mut left: VecDeque<OsString> = names(&absolute);
    let mut reached = PathBuf::from("/");
    let mut links = 0;
    trusted(&reached, &look(&reached)?)?;
    while let Some(name) = left.pop_front() {
        if name == ".." {
            reached.pop();
            continue;
        }
        let next = reached.join(&name);
        let metadata = look(&next)?;
        trusted(&next, &metadata)?;
        if !metadata.is_symlink() {
            reached = next;
            continue;
        }
        links += 1;
        if links > MAX_LINKS {
            return Err(hinted(
                format!("`{}` leads through more than {MAX_LINKS} symbolic links", shown(path)),
                "name the file itself",
            ));
        }
        let target = std::fs::read_link(&next).with_context(|| format!("`{}` cannot be read", shown(&next)))?;
        if target.is_absolute() {
            reached = PathBuf::from("/");
        }
        for name in names(&target).into_iter().rev() {
            left.push_front(name);
        }
    }
    Ok(reached)
}

fn names(path: &Path) -> VecDeque<OsString> {
    let name = |part: Component<'_>| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    };
    path.components().filter_map(name).collect()
}

fn look(path: &Path) -> anyhow::Result<Metadata> {
    path.symlink_metadata().map_err(|error| {
        hinted_by(error, format!("`{}` cannot be read", shown(path)), "name a file that is there and that you may read")
    })
}

fn is_ours(owner: u32) -> bool {
    owner == 0 || owner == rustix::process::geteuid().as_raw()
}

/// Whether nobody else can change this step of the way.
fn trusted(path: &Path, metadata: &Metadata) -> anyhow::Result<()> {
    let (shown, mode) = (shown(path), metadata.mode());
    let owner = metadata.uid();
    if !is_ours(owner) && !metadata.is_file() {
        return Err(hinted(
            format!("`{shown}` belongs to user {owner}, who could put another file in the place of what is below it"),
            "keep the state and the configuration in directories of your own or of root",
        ));
    }
    // In a directory like /tmp others can add names, but not take ours.
    let sticky = mode & 0o1000 != 0;
    if metadata.is_dir() && mode & 0o022 != 0 && !sticky {
        return Err(hinted(
            format!("`{shown}` can be written by others, who could put another file in the place of what is in it"),
            format!("chmod go-w {shown}"),
        ));
    }
    Ok(())
}

/// Refuses the directory of a project, where its bundle is meant.
fn no_project(path: &Path) -> anyhow::Result<()> {
    if path.join("remediation.toml").is_file() && path.join("Cargo.toml").is_file() {
        let shown = shown(path).trim_end_matches('/').to_owned();
        return Err(hinted(
            format!("`{shown}` is a project, not a bundle"),
            format!("countersign build {shown}, then name {shown}/bundle"),
        ));
    }
    Ok(())
}

/// Opens a bundle's directory.
pub(crate) fn open_bundle(path: &Path) -> anyhow::Result<Bundle> {
    no_project(path)?;
    Ok(Bundle::open(path)?)
}

/// Writes a file that does not exist yet: all of it, or nothing.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    write_new_with(path, bytes, |_| Ok(()))
}

/// The same, and it is there after a power cut, too.
pub(crate) fn write_new_durably(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    write_new_with(path, bytes, File::sync_all)?;
    // It is written; what is left is to make sure that its name stays.
    if let Err(error) = File::open(folder_of(path)).and_then(|folder| folder.sync_all()) {
        crate::output::note(&format!("`{}` may be gone after a power cut: copy it: {error}", shown(path)));
    }
    Ok(())
}

/// Puts a file in the place of whatever stands there, whole or not at all, and durably; a link there stays, and what it
/// leads to is replaced.
pub(crate) fn put_durably(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let shown = shown(path);
    let failed = |error: std::io::Error| {
        hinted_by(
            error,
            format!("`{shown}` cannot be written, and is as before"),
            "make room, or name a place where you may write",
        )
    };
    let resolved = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let mut fresh = tempfile::NamedTempFile::new_in(folder_of(&resolved)).map_err(failed)?;
    fresh.write_all(bytes).and_then(|()| fresh.as_file().sync_all()).map_err(failed)?;
    fresh.persist(&resolved).map_err(|error| failed(error.error))?;
    File::open(folder_of(&resolved)).and_then(|folder| folder.sync_all()).map_err(|error| {
        hinted_by(error, format!("`{shown}` was written, and may be as before after a power cut"), "write it again")
    })
}

fn write_new_with(path: &Path, bytes: &[u8], sync: fn(&File) -> std::io::Result<()>) -> anyhow::Result<()> {
    let shown = shown(path);
    let unmade = |error: std::io::Error| {
        hinted_by(error, format!("`{shown}` cannot be made"), "name a file that is not there yet, where you may write")
    };
    // Only its owner can read it, since it may hold what the target's files say.
    let mut fresh = tempfile::NamedTempFile::new_in(folder_of(path)).map_err(unmade)?;
    fresh.write_all(bytes).and_then(|()| sync(fresh.as_file())).map_err(|error| {
        hinted_by(error, format!("`{shown}` cannot be written, and is not there"), "make room, and try again")
    })?;
    fresh.persist_noclobber(path).map(drop).map_err(|error| unmade(error.error))
}

/// Copies a small file to another place, in one step, in the place of what is there; where it is synced, whole after a power cut,
/// and otherwise some time later.
pub(crate) fn replace_copy(from: &Path, to: &Path, synced: bool) -> anyhow::Result<()> {
    let Ok(bytes) = std::fs::read(from) else { return Ok(()) };
    if std::fs::read(to).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    let mut fresh = tempfile::NamedTempFile::new_in(folder_of(to))?;
    fresh.write_all(&bytes)?;
    if synced {
        fresh.as_file().sync_all()?;
    }
    fresh.persist(to).map(drop).map_err(|error| error.error.into())
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("its mode can be set");
    }

    #[test]
    fn what_others_could_swap_is_not_read() {
        let home = tempfile::tempdir().expect("a directory");
        let (outer, inner) = (home.path().join("outer"), home.path().join("outer/inner"));
        std::fs::create_dir_all(&inner).expect("directories");
        let file = inner.join("config.toml");
        std::fs::write(&file, "a").expect("it can be written");
        assert_eq!(read_private(&file, 1).expect("it is ours"), b"a");

        for directory in [&outer, &inner] {
            for open in [0o775, 0o757] {
                mode(directory, open);
                let error = read_private(&file, 1).expect_err("it can be swapped").to_string();
                assert!(error.contains("can be written by others"), "{error}");
            }
            mode(directory, 0o1777);
            read_private(&file, 1).expect("nobody can take a name out of a sticky directory");
            mode(directory, 0o755);
        }
        mode(&file, 0o660);
        assert!(read_private(&file, 1).is_err());
        mode(&file, 0o600);

        // A link is as good as the directories that it stands in and leads through.
        let link = home.path().join("link");
        symlink(&file, &link).expect("a link");
        read_private(&link, 1).expect("all of it is ours");
        mode(&inner, 0o777);
        assert!(read_private(&link, 1).is_err());
        mode(&inner, 0o755);
        let open = home.path().join("open");
        std::fs::create_dir(&open).expect("a directory");
        symlink("../outer/inner/config.toml", open.join("link")).expect("a link");
        read_private(&open.join("link"), 1).expect("all of it is ours");
        mode(&open, 0o777);
        assert!(read_private(&open.join("link"), 1).is_err(), "the link itself could be swapped");
    }

    #[test]
    fn a_loop_of_links_ends() {
        let home = tempfile::tempdir().expect("a directory");
        let link = home.path().join("link");
        symlink("link", &link).expect("a link");
        assert!(only_ours(&link).expect_err("it has no end").to_string().contains("40 symbolic links"));
    }
}
