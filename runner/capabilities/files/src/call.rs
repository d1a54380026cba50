//! The calls, one variant per WIT function, and what is answered to them.

use countersign_capability::{Choice, TypedCall};
use countersign_model::{Access, Digest, Fault, Selector};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::path::Path;

/// The largest file that is read, replaced or removed, in bytes.
pub const MAX_CONTENT: u64 = 8 * 1024 * 1024;
/// The longest end of a file that `tail` gives, in bytes.
pub const MAX_TAIL: u32 = 1024 * 1024;
/// The longest part of a file that `read-range` gives, in bytes.
pub const MAX_RANGE: u32 = 1024 * 1024;
/// The most that `truncate` cuts off, since it is kept, in bytes.
pub const MAX_CUT: u64 = 1024 * 1024 * 1024;
/// How much of the end is kept of what `discard` takes away, in bytes.
pub const KEPT_END: u64 = 64 * 1024;
/// The one mode that a file is created with by a step that must tell nothing by it.
const PRIVATE_MODE: u32 = 0o600;
/// The most entries of a directory that `list` gives.
pub const MAX_ENTRIES: usize = 10_000;

/// A call of `countersign:files`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FilesCall {
    /// The whole content of a regular file.
    Read {
        /// Absolute and normalized.
        path: String,
    },
    /// The end of a regular file.
    Tail {
        /// Absolute and normalized.
        path: String,
        /// How much of it, at most [`MAX_TAIL`].
        bytes: u32,
    },
    /// A part of a regular file of any size.
    ReadRange {
        /// Absolute and normalized.
        path: String,
        /// Where it begins, in bytes.
        offset: u64,
        /// How much of it, at most [`MAX_RANGE`].
        length: u32,
    },
    /// What a path names.
    Stat {
        /// Absolute and normalized.
        path: String,
    },
    /// How full the file system is that a file or directory lies in.
    Usage {
        /// Absolute and normalized.
        path: String,
    },
    /// The names in a directory.
    List {
        /// Absolute and normalized.
        path: String,
    },
    /// New content for an existing file.
    Replace {
        /// Absolute and normalized.
        path: String,
        /// At most [`MAX_CONTENT`].
        #[serde(with = "serde_bytes")]
        contents: Vec<u8>,
    },
    /// A file that does not exist yet.
    Create {
        /// Absolute and normalized.
        path: String,
        /// At most [`MAX_CONTENT`].
        #[serde(with = "serde_bytes")]
        contents: Vec<u8>,
        /// Permission bits, at most `0o777`.
        mode: u32,
    },
    /// An existing file less.
    Remove {
        /// Absolute and normalized.
        path: String,
    },
    /// The beginning of an existing file only, in place.
    Truncate {
        /// Absolute and normalized.
        path: String,
        /// How much of it stays, in bytes; at most [`MAX_CUT`] go.
        length: u64,
    },
    /// Other permission bits for an existing file, in place.
    SetMode {
        /// Absolute and normalized.
        path: String,
        /// The twelve permission bits; the upper three can be kept or taken away, never added.
        mode: u32,
    },
    /// An existing file made empty, in place, without its content being kept.
    Discard {
        /// Absolute and normalized.
        path: String,
    },
}

impl FilesCall {
    /// Reads a read call from its text.
    pub(crate) fn parse(function: &str, selector: &Selector) -> Result<Self, String> {
        let path = |selector: &Selector| {
            let path = selector.only_word("one absolute path")?;
            Path::parse(path).map_err(|fault| fault.what)?;
            Ok::<_, String>(path.to_owned())
        };
        match function {
            "read" => Ok(Self::Read { path: path(selector)? }),
            "stat" => Ok(Self::Stat { path: path(selector)? }),
            "list" => Ok(Self::List { path: path(selector)? }),
            "usage" => Ok(Self::Usage { path: path(selector)? }),
            "tail" => {
                let mut rest = selector.clone();
                let bytes = number(&mut rest, "bytes", MAX_TAIL.into())?;
                Ok(Self::Tail { path: path(&rest)?, bytes: u32::try_from(bytes).unwrap_or(MAX_TAIL) })
            }
            "read-range" => {
                let mut rest = selector.clone();
                let offset = number(&mut rest, "offset", u64::MAX)?;
                let length = number(&mut rest, "length", MAX_RANGE.into())?;
                let length = u32::try_from(length).unwrap_or(MAX_RANGE);
                Ok(Self::ReadRange { path: path(&rest)?, offset, length })
            }
            "replace" | "create" | "remove" | "truncate" | "set-mode" | "discard" => {
                Err("a write cannot be called by hand".to_owned())
            }
            _ => Err("expected `read`, `read-range`, `tail`, `stat`, `list` or `usage`".to_owned()),
        }
    }

    /// The path that the call names.
    pub(crate) fn path(&self) -> Result<Path, Fault> {
        Path::parse(match self {
            Self::Read { path }
            | Self::Tail { path, .. }
            | Self::ReadRange { path, .. }
            | Self::Stat { path }
            | Self::Usage { path }
            | Self::List { path }
            | Self::Replace { path, .. }
            | Self::Create { path, .. }
            | Self::Remove { path }
            | Self::Truncate { path, .. }
            | Self::SetMode { path, .. }
            | Self::Discard { path } => path,
        })
    }
}

impl TypedCall for FilesCall {
    fn function(&self) -> &'static str {
        match self {
            Self::Read { .. } => "read",
            Self::Tail { .. } => "tail",
            Self::ReadRange { .. } => "read-range",
            Self::Usage { .. } => "usage",
            Self::Truncate { .. } => "truncate",
            Self::SetMode { .. } => "set-mode",
            Self::Discard { .. } => "discard",
            Self::Stat { .. } => "stat",
            Self::List { .. } => "list",
            Self::Replace { .. } => "replace",
            Self::Create { .. } => "create",
            Self::Remove { .. } => "remove",
        }
    }

    fn access(&self) -> Access {
        match self {
            Self::Read { .. }
            | Self::Tail { .. }
            | Self::ReadRange { .. }
            | Self::Stat { .. }
            | Self::Usage { .. }
            | Self::List { .. } => Access::Read,
            Self::Replace { .. }
            | Self::Create { .. }
            | Self::Remove { .. }
            | Self::Truncate { .. }
            | Self::SetMode { .. }
            | Self::Discard { .. } => Access::Write,
        }
    }

    fn selector(&self) -> Selector {
        match self {
            Self::Tail { path, bytes } => Selector::word(path).with("bytes", bytes.to_string()),
            Self::ReadRange { path, offset, length } => {
                Selector::word(path).with("length", length.to_string()).with("offset", offset.to_string())
            }
            Self::Create { path, mode, .. } | Self::SetMode { path, mode } => {
                Selector::word(path).with("mode", octal(*mode))
            }
            Self::Truncate { path, length } => Selector::word(path).with("length", length.to_string()),
            Self::Read { path }
            | Self::Stat { path }
            | Self::Usage { path }
            | Self::List { path }
            | Self::Replace { path, .. }
            | Self::Remove { path }
            | Self::Discard { path } => Selector::word(path),
        }
    }

    fn subject(&self) -> Result<String, Fault> {
        self.path().map(|path| path.as_str().to_owned())
    }

    fn payload(&self) -> u64 {
        match self {
            Self::Replace { contents, .. } | Self::Create { contents, .. } => contents.len() as u64,
            _ => 0,
        }
    }

    fn choice(&self) -> Choice {
        match self {
            Self::SetMode { .. } => Choice::More("the mode"),
            Self::Create { mode, .. } if *mode != PRIVATE_MODE => Choice::More("the mode, which can only be 0600,"),
            _ => Choice::Content,
        }
    }
}

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, not followed.
    Symlink,
    /// A FIFO, socket or device.
    Other,
}

/// The answer to [`FilesCall::Stat`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stat {
    /// What the path names.
    pub kind: Kind,
    /// In bytes.
    pub size: u64,
    /// The twelve permission bits.
    pub mode: u32,
    /// The owning user.
    pub owner: u32,
    /// The owning group.
    pub group: u32,
    /// Milliseconds since 1970-01-01 UTC.
    pub modified: u64,
}

/// How much of something there is in a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Space {
    /// All of it; 0 where the file system does not count it.
    pub total: u64,
    /// What is not used.
    pub free: u64,
    /// What of that is not reserved for the superuser.
    pub available: u64,
}

/// The answer to [`FilesCall::Usage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Room for content, in bytes.
    pub bytes: Space,
    /// Room for files.
    pub inodes: Space,
}

/// One entry of the answer to [`FilesCall::List`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The name; what is not UTF-8 in it is replaced by `U+FFFD`, and such a name cannot be used in a call.
    pub name: String,
    /// What it names.
    pub kind: Kind,
}

/// Content as it travels: as bytes, not as a sequence of numbers.
pub(crate) type Content = serde_bytes::ByteBuf;

/// A whole number of at most `most`, taken from the call's words, in one spelling only.
fn number(selector: &mut Selector, key: &str, most: u64) -> Result<u64, String> {
    let word = selector.named.remove(key).ok_or_else(|| format!("expected `{key}=` and how many"))?;
    match word.parse::<u64>() {
        Ok(number) if number.to_string() == word && number <= most => Ok(number),
        _ => Err(format!("`{key}` must be a whole number of at most {most}")),
    }
}

/// A reply's content as JSON; `null` where it is not a reply to this call.
pub(crate) fn describe(call: &FilesCall, reply: &[u8]) -> Value {
    match call {
        FilesCall::Read { .. } | FilesCall::Tail { .. } | FilesCall::ReadRange { .. } => {
            postcard::from_bytes::<Content>(reply).map(|content| {
                json!({
                    "content": String::from_utf8_lossy(&content),
                    "bytes": content.len(),
                    "digest": Digest::of(&content).to_string(),
                })
            })
        }
        FilesCall::Stat { .. } => postcard::from_bytes::<Stat>(reply).map(|stat| {
            json!({
                "kind": stat.kind,
                "size": stat.size,
                "mode": octal(stat.mode),
                "owner": stat.owner,
                "group": stat.group,
                "modified": stat.modified,
            })
        }),
        FilesCall::List { .. } => {
            postcard::from_bytes::<Vec<Entry>>(reply).map(|entries| json!({ "entries": entries }))
        }
        FilesCall::Usage { .. } => {
            let space =
                |space: Space| json!({ "total": space.total, "free": space.free, "available": space.available });
            postcard::from_bytes::<Usage>(reply)
                .map(|usage| json!({ "bytes": space(usage.bytes), "inodes": space(usage.inodes) }))
        }
        FilesCall::Replace { .. }
        | FilesCall::Create { .. }
        | FilesCall::Remove { .. }
        | FilesCall::Truncate { .. }
        | FilesCall::SetMode { .. }
        | FilesCall::Discard { .. } => Ok(Value::Null),
    }
    .unwrap_or(Value::Null)
}

/// Permission bits as people write them, e.g. `0644`.
pub(crate) fn octal(mode: u32) -> String {
    format!("{mode:04o}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<FilesCall, String> {
        let (_, function, selector) = Selector::parse_named(text).expect(text);
        FilesCall::parse(&function, &selector)
    }

    #[test]
    fn reads_calls_from_text() {
        for text in [
            "files.read /etc/hosts",
            "files.list /",
            "files.stat /srv/a",
            "files.tail /var/log/x bytes=100",
            "files.read-range /var/log/x length=100 offset=18446744073709551615",
            "files.usage /var/log",
        ] {
            let call = parse(text).expect(text);
            assert_eq!(format!("files.{}{}", call.function(), call.selector()), text);
        }
    }

    #[test]
    fn refuses_calls_with_a_reason() {
        for (text, why) in [
            ("files.read", "one absolute path"),
            ("files.read /a /b", "one absolute path"),
            ("files.read /a x=1", "not known here"),
            ("files.read /a/../b", "not normalized"),
            ("files.read a", "absolute"),
            ("files.tail /a", "bytes="),
            ("files.tail /a bytes=-1", "whole number"),
            ("files.tail /a bytes=1048577", "at most 1048576"),
            ("files.tail /a bytes=1 lines=2", "not known here"),
            ("files.remove /a", "a write"),
            ("files.chmod /a", "expected `read`"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn describes_replies() {
        let read = FilesCall::Read { path: "/a".to_owned() };
        let reply = postcard::to_stdvec(&Content::from(b"x\xff".to_vec())).expect("encoded");
        let shown = describe(&read, &reply);
        assert_eq!(shown["content"], "x\u{fffd}");
        assert_eq!(shown["bytes"], 2);
        assert_eq!(shown["digest"], Digest::of(b"x\xff").to_string());
        assert_eq!(describe(&read, &[0xff]), Value::Null);
        let list = FilesCall::List { path: "/a".to_owned() };
        let reply = postcard::to_stdvec(&vec![Entry { name: "a".to_owned(), kind: Kind::Symlink }]).expect("encoded");
        assert_eq!(describe(&list, &reply), json!({"entries": [{"name": "a", "kind": "symlink"}]}));
    }
}
