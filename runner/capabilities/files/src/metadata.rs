//! What a file has besides its content: mode, owner and extended attributes, ACLs among them.

use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::AsFd;

use countersign_model::text::excerpt;
use countersign_model::{Digest, Fault, FaultKind};
use rustix::fs::{
    Gid, IFlags, Mode, Stat, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags, fchmod, fchown, fgetxattr,
    fgetxattr_query, flistxattr, flistxattr_query, fremovexattr, fsetxattr, fstat, futimens, ioctl_getflags,
};
use rustix::io::Errno;
use rustix::process::{getegid, geteuid, getgroups};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

use crate::call::octal;
use crate::fault::{about, failed};

/// The most that a file's extended attributes may hold together, in bytes.
const MAX_XATTRS: usize = 256 * 1024;
/// How often an attribute is read that grew between its size and its value.
const TRIES: usize = 4;
/// `FS_VERITY_FL`: the content is sealed.
const VERITY: u32 = 0x0010_0000;
/// Labels that the kernel gives to every new file by its own policy.
pub(crate) const LABELS: [&str; 2] = ["security.selinux", "security.SMACK64"];
/// Attributes that seal the content: with other content they would be wrong.
const SEALS: [&str; 2] = ["security.ima", "security.evm"];
/// The ACL that a directory gives to new files.
const DEFAULT_ACL: &str = "system.posix_acl_default";
/// A file's own ACL.
const ACCESS_ACL: &str = "system.posix_acl_access";
const SETUID: u32 = 0o4000;
const SETGID: u32 = 0o2000;

/// Mode, owner, group and extended attributes of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Attributes {
    /// All twelve permission bits.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// By name; POSIX ACLs and file capabilities are among them.
    pub(crate) xattrs: BTreeMap<String, Bytes>,
}

/// The value of an extended attribute; hexadecimal in the journal.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

/// A time of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Time {
    /// Since 1970-01-01 UTC.
    pub(crate) seconds: i64,
    pub(crate) nanoseconds: u32,
}

impl Attributes {
    /// Those of an open file.
    ///
    /// # Errors
    /// `Unsupported` where an extended attribute cannot be read or has a name that is not text.
    pub(crate) fn of(file: impl AsFd, path: &str) -> Result<Self, Fault> {
        let stat = fstat(&file).map_err(|errno| failed("looked at", path, errno))?;
        let xattrs = xattrs(&file, path)?;
        Ok(Self { mode: stat.st_mode & 0o7777, uid: stat.st_uid, gid: stat.st_gid, xattrs })
    }

    /// What an approver sees: values of extended attributes as digests.
    pub(crate) fn describe(&self) -> Value {
        let xattrs: BTreeMap<_, _> =
            self.xattrs.iter().map(|(name, value)| (name, Digest::of(&value.0).to_string())).collect();
        json!({ "mode": octal(self.mode), "uid": self.uid, "gid": self.gid, "xattrs": xattrs })
    }

    /// What of `found` is not as in `self`, for a person; empty where all is.
    pub(crate) fn differences(&self, found: &Self) -> Vec<String> {
        let mut differences = Vec::new();
        if self.mode != found.mode {
            differences.push(format!("mode is {}, not {}", octal(found.mode), octal(self.mode)));
        }
        if (self.uid, self.gid) != (found.uid, found.gid) {
            differences.push(format!("owner is {}:{}, not {}:{}", found.uid, found.gid, self.uid, self.gid));
        }
        for name in self.xattrs.keys() {
            match found.xattrs.get(name) {
                None => differences.push(format!("the extended attribute `{}` is missing", excerpt(name, 80))),
                Some(value) if Some(value) != self.xattrs.get(name) => {
                    differences.push(format!("the extended attribute `{}` is another", excerpt(name, 80)));
                }
                Some(_) => {}
            }
        }
        for name in found.xattrs.keys().filter(|name| !self.xattrs.contains_key(*name) && !label(name)) {
            differences.push(format!("the extended attribute `{}` was added", excerpt(name, 80)));
        }
        differences
    }

    /// Gives these to an open file that this process made, and proves by reading that it has them.
    pub(crate) fn give(&self, file: impl AsFd, path: &str) -> Result<(), Fault> {
        let set = |errno| failed("given its owner, mode and attributes", path, errno);
        let has = Self::of(&file, path)?;
        // A change of owner takes setuid bits and file capabilities away, so it comes first.
        if (has.uid, has.gid) != (self.uid, self.gid) {
            fchown(&file, Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid))).map_err(set)?;
        }
        for name in has.xattrs.keys().filter(|name| !self.xattrs.contains_key(*name) && !label(name)) {
            fremovexattr(&file, name.as_str()).map_err(set)?;
        }
        for (name, value) in self.xattrs.iter().filter(|(name, value)| has.xattrs.get(*name) != Some(value)) {
            fsetxattr(&file, name.as_str(), &value.0, XattrFlags::empty()).map_err(set)?;
        }
        // An ACL that is set can take the setgid bit away, so the mode comes last.
        fchmod(&file, Mode::from_raw_mode(self.mode)).map_err(set)?;
        match self.differences(&Self::of(&file, path)?).first() {
            None => Ok(()),
            Some(difference) => {
                Err(about(FaultKind::Unsupported, path, &format!("did not take what it must have: its {difference}")))
            }
        }
    }

    /// A fault if this process could not give these to a file again.
    pub(crate) fn restorable(&self, path: &str) -> Result<(), Fault> {
        let refuse = |what: String| Err(about(FaultKind::Unsupported, path, &what));
        let user = geteuid();
        if user.is_root() {
            return Ok(());
        }
        if self.uid != user.as_raw() {
            return refuse(format!("belongs to user {}, whom the runner's user cannot give files to", self.uid));
        }
        let group = Gid::from_raw(self.gid);
        let groups = getgroups().map_err(|errno| failed("looked at", path, errno))?;
        if group != getegid() && !groups.contains(&group) {
            return refuse(format!("belongs to group {}, which the runner's user is not in", self.gid));
        }
        let reserved = |name: &&String| {
            name.starts_with("trusted.") || (name.starts_with("security.") && !LABELS.contains(&name.as_str()))
        };
        match self.xattrs.keys().find(reserved) {
            None => Ok(()),
            Some(name) => refuse(format!(
                "has the extended attribute `{}`, which the runner's user cannot set",
                excerpt(name, 80)
            )),
        }
    }

    /// The same with other permission bits: an ACL's entries for the owner, the mask and others follow them, see acl(5).
    pub(crate) fn with_mode(&self, mode: u32) -> Self {
        let mut attributes = Self { mode, ..self.clone() };
        if let Some(acl) = attributes.xattrs.get_mut(ACCESS_ACL) {
            follow(&mut acl.0, mode);
        }
        attributes
    }

    /// A fault if a write would take away what the file has.
    pub(crate) fn kept_by_a_write(&self, path: &str) -> Result<(), Fault> {
        self.unsealed(path)?;
        let what = if self.mode & (SETUID | SETGID) != 0 {
            "a set-user-id or set-group-id bit"
        } else if self.xattrs.contains_key("security.capability") {
            "file capabilities"
        } else {
            return Ok(());
        };
        Err(about(FaultKind::Unsupported, path, &format!("has {what}, which a write takes away")))
    }

    /// A fault if other content would break an attribute.
    pub(crate) fn unsealed(&self, path: &str) -> Result<(), Fault> {
        match SEALS.iter().find(|name| self.xattrs.contains_key(**name)) {
            None => Ok(()),
            Some(name) => {
                Err(about(FaultKind::Unsupported, path, &format!("has its content sealed by the attribute `{name}`")))
            }
        }
    }
}

/// A fault if the file or directory has a flag that keeps it from being renamed or given new content.
pub(crate) fn unflagged(file: impl AsFd, path: &str) -> Result<(), Fault> {
    let flags = match ioctl_getflags(file) {
        Ok(flags) => flags,
        // The file system has no such flags.
        Err(Errno::NOTTY | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => return Ok(()),
        Err(errno) => return Err(failed("asked for its flags", path, errno)),
    };
    for (flag, name) in [
        (IFlags::IMMUTABLE, "immutable"),
        (IFlags::APPEND, "append-only"),
        (IFlags::from_bits_retain(VERITY), "sealed by fs-verity"),
    ] {
        if flags.intersects(flag) {
            return Err(about(FaultKind::Unsupported, path, &format!("is {name}")));
        }
    }
    Ok(())
}

/// A fault if a new file in this directory would get an ACL from it.
pub(crate) fn without_default_acl(directory: impl AsFd, path: &str) -> Result<(), Fault> {
    if xattrs(directory, path)?.contains_key(DEFAULT_ACL) {
        return Err(about(FaultKind::Unsupported, path, "has a default ACL, which new files would take over"));
    }
    Ok(())
}

/// When the file was last modified.
pub(crate) fn modified(stat: &Stat) -> Time {
    Time { seconds: stat.st_mtime, nanoseconds: u32::try_from(stat.st_mtime_nsec).unwrap_or_default() }
}

/// When anything of the file was last changed, its attributes included. Nobody can set this time.
pub(crate) fn changed(stat: &Stat) -> Time {
    Time { seconds: stat.st_ctime, nanoseconds: u32::try_from(stat.st_ctime_nsec).unwrap_or_default() }
}

/// Sets when the file was last modified.
pub(crate) fn set_modified(file: impl AsFd, path: &str, time: Time) -> Result<(), Fault> {
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: time.seconds, tv_nsec: time.nanoseconds.into() },
    };
    futimens(file, &times).map_err(|errno| failed("given its time", path, errno))
}

/// Sets the entries of an ACL that are the same as permission bits. Its form is that of `linux/posix_acl_xattr.h`: a
/// version of four bytes, then entries of tag, permissions and identifier, in 2, 2 and 4 bytes, little-endian.
fn follow(acl: &mut [u8], mode: u32) {
    const OWNER: [u8; 2] = [0x01, 0];
    const GROUP: [u8; 2] = [0x04, 0];
    const MASK: [u8; 2] = [0x10, 0];
    const OTHERS: [u8; 2] = [0x20, 0];
    let Some((_, entries)) = acl.split_at_mut_checked(4) else { return };
    let masked = entries.chunks_exact(8).any(|entry| entry.starts_with(&MASK));
    for entry in entries.chunks_exact_mut(8) {
        let bits = match entry.first_chunk::<2>() {
            Some(&OWNER) => mode >> 6,
            Some(&MASK) => mode >> 3,
            // With a mask, the bits in the middle are the mask's.
            Some(&GROUP) if !masked => mode >> 3,
            Some(&OTHERS) => mode,
            _ => continue,
        };
        if let Some(permissions) = entry.get_mut(2) {
            *permissions = u8::try_from(bits & 0o7).unwrap_or_default();
        }
    }
}

fn label(name: &str) -> bool {
    LABELS.contains(&name)
}

fn xattrs(file: impl AsFd, path: &str) -> Result<BTreeMap<String, Bytes>, Fault> {
    let unreadable = |what: &str, errno: Errno| {
        let why = std::io::Error::from(errno);
        about(FaultKind::Unsupported, path, &format!("has extended attributes that cannot be read: {what}: {why}"))
    };
    let names = match sized(|| flistxattr_query(&file), |buffer| flistxattr(&file, buffer)) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(BTreeMap::new()),
        other => other.map_err(|errno| unreadable("the list", errno))?,
    };
    let mut xattrs = BTreeMap::new();
    let mut total = 0;
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let Ok(name) = std::str::from_utf8(name) else {
            return Err(about(FaultKind::Unsupported, path, "has an extended attribute whose name is not text"));
        };
        let value = sized(|| fgetxattr_query(&file, name), |buffer| fgetxattr(&file, name, buffer))
            .map_err(|errno| unreadable(&format!("`{}`", excerpt(name, 80)), errno))?;
        total += name.len() + value.len();
        if total > MAX_XATTRS {
            return Err(about(FaultKind::Unsupported, path, "has more than 256 KiB of extended attributes"));
        }
        xattrs.insert(name.to_owned(), Bytes(value));
    }
    Ok(xattrs)
}

/// Asks for a size and then for that many bytes; again, a few times, where there were more by then.
fn sized(
    mut size: impl FnMut() -> Result<usize, Errno>,
    mut fill: impl FnMut(&mut [u8]) -> Result<usize, Errno>,
) -> Result<Vec<u8>, Errno> {
    for _ in 0..TRIES {
        let mut buffer = vec![0; size()?];
        if buffer.is_empty() {
            return Ok(buffer);
        }
        match fill(&mut buffer) {
            Err(Errno::RANGE) => {}
            Err(errno) => return Err(errno),
            Ok(filled) => {
                buffer.truncate(filled);
                return Ok(buffer);
            }
        }
    }
    Err(Errno::RANGE)
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        hex::decode(String::deserialize(deserializer)?).map(Self).map_err(serde::de::Error::custom)
    }
}
