//! What a directory holds, as a rollback must give it back: content, mode, owner, attributes, and nothing besides.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// One entry, without its times: those that a rollback gives back are tested where that is promised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    mode: u32,
    owner: (u32, u32),
    attributes: BTreeMap<String, Vec<u8>>,
    content: Option<Vec<u8>>,
}

pub(crate) type Tree = BTreeMap<PathBuf, Entry>;

/// Everything below a directory but what `ignored` names.
pub(crate) fn tree(root: &Path, ignored: &[&str]) -> Tree {
    let mut found = Tree::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("it can be listed") {
            let path = entry.expect("an entry").path();
            let name = path.strip_prefix(root).expect("below it").to_owned();
            if ignored.iter().any(|ignored| name == Path::new(ignored)) {
                continue;
            }
            let metadata = path.symlink_metadata().expect("it is there");
            if metadata.is_dir() {
                folders.push(path.clone());
            }
            let content = metadata.is_file().then(|| std::fs::read(&path).expect("it can be read"));
            let mode = metadata.permissions().mode();
            let owner = (metadata.uid(), metadata.gid());
            found.insert(name, Entry { mode, owner, attributes: attributes(&path), content });
        }
    }
    found
}

pub(crate) fn attributes(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut names = vec![0; 65536];
    let length = rustix::fs::llistxattr(path, &mut names).unwrap_or(0);
    let names = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    names
        .map(|name| {
            let name = String::from_utf8(name.to_vec()).expect("a name");
            let mut value = vec![0; 65536];
            let length = rustix::fs::lgetxattr(path, name.as_str(), &mut value).expect("its value");
            (name, value[..length].to_vec())
        })
        .collect()
}
