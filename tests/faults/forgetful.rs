//! A simulated disk under the whole runner: what its system calls did to files and names, and what of that was synced. It
//! makes the trees that a loss of power may leave, on any file system and without privileges.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What may be left of what was never synced.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Left {
    /// Nothing.
    Nothing,
    /// Names, and no bytes.
    Names,
    /// Bytes, and no names.
    Bytes,
    /// Names, and of the bytes every other sector.
    Torn,
    /// All of it: as if the power had not been cut.
    All,
}

pub(crate) const LEFT: [Left; 4] = [Left::Nothing, Left::Names, Left::Bytes, Left::Torn];

/// The calls that it understands: all by which the runner changes files.
pub(crate) const CALLS: &[&str] = &[
    "open",
    "openat",
    "openat2",
    "write",
    "pwrite64",
    "ftruncate",
    "fallocate",
    "fsync",
    "fdatasync",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "mkdir",
    "mkdirat",
    "fchmod",
    "chmod",
    "fchmodat",
    "fchown",
    "fsetxattr",
];
const SECTOR: usize = 512;

/// A file's content and what belongs to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Content {
    bytes: Vec<u8>,
    mode: u32,
    owner: (u32, u32),
    attributes: BTreeMap<String, Vec<u8>>,
}

#[derive(Clone, Debug)]
enum Node {
    File { now: Arc<Content>, synced: Arc<Content> },
    Folder { now: BTreeMap<String, usize>, synced: BTreeMap<String, usize> },
}

/// What is left: files with their content, and folders without.
pub(crate) type Leftover = BTreeMap<PathBuf, Option<Arc<Content>>>;

#[derive(Clone)]
pub(crate) struct Disk {
    root: PathBuf,
    nodes: Vec<Node>,
    /// Where the next write goes, by descriptor: nowhere in particular where it appends.
    offsets: BTreeMap<String, Option<usize>>,
}

impl Disk {
    /// As it stands, all of it synced. The root is the first node.
    pub(crate) fn of(root: &Path) -> Self {
        let mut disk = Self { root: root.to_owned(), nodes: Vec::new(), offsets: BTreeMap::new() };
        disk.load(root);
        disk
    }

    fn load(&mut self, path: &Path) -> usize {
        let number = self.nodes.len();
        let metadata = path.symlink_metadata().expect("it is there");
        if !metadata.is_dir() {
            let content = Arc::new(Content {
                bytes: fs::read(path).unwrap_or_default(),
                mode: metadata.permissions().mode() & 0o7777,
                owner: (metadata.uid(), metadata.gid()),
                attributes: crate::tree::attributes(path),
            });
            self.nodes.push(Node::File { now: content.clone(), synced: content });
            return number;
        }
        self.nodes.push(Node::Folder { now: BTreeMap::new(), synced: BTreeMap::new() });
        let mut names = BTreeMap::new();
        for entry in fs::read_dir(path).expect("it can be listed") {
            let entry = entry.expect("an entry");
            let name = entry.file_name().into_string().expect("text");
            names.insert(name, self.load(&entry.path()));
        }
        self.nodes[number] = Node::Folder { now: names.clone(), synced: names };
        number
    }

    fn find(&self, path: &Path) -> Option<usize> {
        let mut number = 0;
        for name in path.strip_prefix(&self.root).ok()?.iter() {
            let Node::Folder { now, .. } = &self.nodes[number] else { return None };
            number = *now.get(name.to_str()?)?;
        }
        Some(number)
    }

    fn file(&mut self, path: &Path) -> Option<&mut Content> {
        let number = self.find(path)?;
        match &mut self.nodes[number] {
            Node::File { now, .. } => Some(Arc::make_mut(now)),
            Node::Folder { .. } => None,
        }
    }

    /// The folder that a path is in, and its name there.
    fn names(&mut self, path: &Path) -> Option<(&mut BTreeMap<String, usize>, String)> {
        let (above, name) = (path.parent()?, path.file_name()?.to_str()?.to_owned());
        let number = self.find(above)?;
        match &mut self.nodes[number] {
            Node::Folder { now, .. } => Some((now, name)),
            Node::File { .. } => None,
        }
    }

    fn make(&mut self, path: &Path, node: Node) {
        let number = self.nodes.len();
        if let Some((names, name)) = self.names(path) {
            names.insert(name, number);
            self.nodes.push(node);
        }
    }

    fn rename(&mut self, from: &Path, to: &Path, exchange: bool) {
        let (moved, replaced) = (self.find(from), self.find(to));
        let (Some(moved), Some((names, name))) = (moved, self.names(from)) else { return };
        match replaced.filter(|_| exchange) {
            Some(other) => names.insert(name, other),
            None => names.remove(&name),
        };
        if let Some((names, name)) = self.names(to) {
            names.insert(name, moved);
        }
    }

    /// Does what a line of strace's says (`-y -xx`). Whether it changed anything.
    pub(crate) fn replay(&mut self, line: &str) -> bool {
        let Some((call, answer)) = line.rsplit_once(" = ") else { return false };
        let Some((call, arguments)) = call.trim_end().strip_suffix(')').and_then(|call| call.split_once('(')) else {
            return false;
        };
        if answer.starts_with('-') {
            return false;
        }
        let arguments = split(arguments);
        let argument = |at: usize| arguments.get(at).copied().unwrap_or_default();
        let number = |at: usize| argument(at).parse::<usize>().unwrap_or_default();
        let octal = |at: usize| u32::from_str_radix(argument(at), 8).unwrap_or_default();
        // A descriptor's path, and a path that may be relative to one.
        let of = |at: usize| PathBuf::from(text(argument(at)));
        let below = |at: usize| of(at).join(text(argument(at + 1)));
        let is_ours = |path: &Path| path.starts_with(&self.root) && !path.to_string_lossy().ends_with("-shm");
        match call {
            "open" | "openat" | "openat2" => {
                let (path, flags) = (PathBuf::from(text(answer)), argument(if call == "open" { 1 } else { 2 }));
                let descriptor = answer.split('<').next().unwrap_or_default().to_owned();
                self.offsets.insert(descriptor, (!flags.contains("O_APPEND")).then_some(0));
                if !is_ours(&path) || !flags.contains("O_CREAT") || self.find(&path).is_some() {
                    // Nothing of the runner cuts a file by opening it.
                    assert!(!is_ours(&path) || !flags.contains("O_TRUNC"), "{line}");
                    return false;
                }
                let new = Arc::new(Content { mode: 0o600, owner: user(), ..Content::default() });
                // Until it is synced it is nothing but its name.
                self.make(&path, Node::File { now: new.clone(), synced: new });
            }
            "write" => {
                let descriptor = argument(0).split('<').next().unwrap_or_default().to_owned();
                let (bytes, at) = (bytes(argument(1)), self.offsets.get(&descriptor).copied().flatten());
                let Some(file) = self.file(&of(0)) else { return false };
                let at = at.unwrap_or(file.bytes.len());
                put(&mut file.bytes, at, &bytes);
                if let Some(Some(offset)) = self.offsets.get_mut(&descriptor) {
                    *offset = at + bytes.len();
                }
            }
            "pwrite64" if is_ours(&of(0)) => match self.file(&of(0)) {
                Some(file) => put(&mut file.bytes, number(3), &bytes(argument(1))),
                None => return false,
            },
            "ftruncate" | "fallocate" if is_ours(&of(0)) => {
                let Some(file) = self.file(&of(0)) else { return false };
                match call {
                    "ftruncate" => file.bytes.resize(number(1), 0),
                    _ if argument(1) == "0" => file.bytes.resize(file.bytes.len().max(number(2) + number(3)), 0),
                    _ => return false,
                }
            }
            "fsync" | "fdatasync" => match self.find(&of(0)).map(|found| &mut self.nodes[found]) {
                Some(Node::File { now, synced }) => synced.clone_from(now),
                Some(Node::Folder { now, synced }) => synced.clone_from(now),
                None => return false,
            },
            "rename" => self.rename(&of(0), &of(1), false),
            "renameat" | "renameat2" => self.rename(&below(0), &below(2), argument(4).contains("EXCHANGE")),
            "unlink" | "unlinkat" => {
                let path = if call == "unlink" { of(0) } else { below(0) };
                match self.names(&path) {
                    Some((names, name)) => drop(names.remove(&name)),
                    None => return false,
                }
            }
            "mkdir" | "mkdirat" => {
                let path = if call == "mkdir" { of(0) } else { below(0) };
                self.make(&path, Node::Folder { now: BTreeMap::new(), synced: BTreeMap::new() });
            }
            "fchmod" | "chmod" | "fchmodat" => {
                let (path, mode) = if call == "fchmodat" { (below(0), octal(2)) } else { (of(0), octal(1)) };
                match self.file(&path) {
                    Some(file) => file.mode = mode,
                    None => return false,
                }
            }
            "fchown" => match self.file(&of(0)) {
                Some(file) => {
                    file.owner =
                        (argument(1).parse().unwrap_or(file.owner.0), argument(2).parse().unwrap_or(file.owner.1))
                }
                None => return false,
            },
            "fsetxattr" => match self.file(&of(0)) {
                Some(file) => drop(file.attributes.insert(text(argument(1)), bytes(argument(2)))),
                None => return false,
            },
            _ => return false,
        }
        true
    }

    /// What may be left where the power is cut now.
    pub(crate) fn left(&self, left: Left) -> Leftover {
        let mut found = Leftover::new();
        let mut folders = vec![(self.root.clone(), 0)];
        while let Some((path, number)) = folders.pop() {
            let Node::Folder { now, synced } = &self.nodes[number] else { continue };
            let names = if matches!(left, Left::Names | Left::Torn | Left::All) { now } else { synced };
            for (name, number) in names.iter().filter(|(name, _)| !name.ends_with("-shm")) {
                let path = path.join(name);
                let content = match &self.nodes[*number] {
                    Node::Folder { .. } => {
                        folders.push((path.clone(), *number));
                        None
                    }
                    Node::File { now, synced } => Some(match left {
                        Left::Nothing | Left::Names => synced.clone(),
                        Left::Bytes | Left::All => now.clone(),
                        Left::Torn if now == synced => now.clone(),
                        Left::Torn => Arc::new(torn(now, synced)),
                    }),
                };
                found.insert(path, content);
            }
        }
        found
    }
}

/// Makes of what stands what is left; only where the two differ.
pub(crate) fn restore(standing: &Leftover, left: &Leftover) {
    for (path, content) in standing.iter().rev() {
        match (content, left.get(path)) {
            (_, Some(_)) => {}
            (Some(_), None) => fs::remove_file(path).expect("it can be removed"),
            (None, None) => fs::remove_dir(path).expect("it can be removed"),
        }
    }
    for (path, content) in left.iter().filter(|(path, content)| standing.get(*path) != Some(content)) {
        let Some(content) = content else {
            fs::create_dir(path).expect("it can be made");
            fs::set_permissions(path, fs::Permissions::from_mode(0o700)).expect("its mode");
            continue;
        };
        let _ = fs::remove_file(path);
        fs::write(path, &content.bytes).expect("it can be written");
        if content.owner != user() {
            std::os::unix::fs::chown(path, Some(content.owner.0), Some(content.owner.1)).expect("its owner");
        }
        for (name, value) in &content.attributes {
            rustix::fs::setxattr(path, name.as_str(), value, rustix::fs::XattrFlags::empty()).expect("an attribute");
        }
        fs::set_permissions(path, fs::Permissions::from_mode(content.mode)).expect("its mode");
    }
}

fn user() -> (u32, u32) {
    (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
}

fn torn(now: &Content, synced: &Content) -> Content {
    let mut bytes = now.bytes.clone();
    for at in (SECTOR..bytes.len()).step_by(2 * SECTOR) {
        for place in at..bytes.len().min(at + SECTOR) {
            bytes[place] = synced.bytes.get(place).copied().unwrap_or_default();
        }
    }
    Content { bytes, ..now.clone() }
}

fn put(file: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    file.resize(file.len().max(at + bytes.len()), 0);
    file[at..at + bytes.len()].copy_from_slice(bytes);
}

/// The path that a line of strace's begins with, of a descriptor or as a text.
pub(crate) fn path_of(line: &str) -> PathBuf {
    let argument = line.split_once('(').and_then(|(_, arguments)| split(arguments).first().copied());
    PathBuf::from(text(argument.unwrap_or_default().trim_end_matches(") = 0")))
}

/// The arguments of a call, in which every text is in hexadecimal digits.
fn split(arguments: &str) -> Vec<&str> {
    let (mut found, mut depth, mut begun) = (Vec::new(), 0, 0);
    for (at, byte) in arguments.bytes().enumerate() {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            b',' if depth == 0 => {
                found.push(arguments[begun..at].trim());
                begun = at + 1;
            }
            _ => {}
        }
    }
    found.push(arguments[begun..].trim());
    found
}

fn bytes(argument: &str) -> Vec<u8> {
    assert!(!argument.ends_with("..."), "strace tells all of it");
    let digits = argument.split("\\x").skip(1);
    digits.map(|digits| u8::from_str_radix(&digits[..2], 16).expect("hexadecimal digits")).collect()
}

fn text(argument: &str) -> String {
    String::from_utf8(bytes(argument)).expect("text")
}
