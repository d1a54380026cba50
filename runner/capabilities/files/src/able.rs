//! Tells whether a change could be made, and undone again, by whoever the runner is: by looking, and never by trying.
//!
//! What is asked is what [`crate::apply`] and [`crate::undo`] will need of the kernel: to rename in the directory, to give
//! a staged file its owner, mode and attributes, to write to a file in place. An effective user of 0 says little: a
//! service may have been left without the capabilities that make it root, see capabilities(7).

use countersign_capability::Context;
use countersign_model::{Ability, Fault, FaultKind};
use rustix::fs::{Access, AtFlags, StatVfsMountFlags, accessat, fstatfs, fstatvfs};
use rustix::process::{getegid, geteuid, getgroups};
use rustix::thread::{CapabilitySet, capabilities};

use crate::change::{FilesChange, Operation, changeable};
use crate::fault::{about, failed, in_time};
use crate::handle::Directory;
use crate::metadata::{Attributes, LABELS, unflagged};
use crate::path::Path;
use crate::session::FilesSession;

/// In such a directory, only the owner of a file or of the directory renames it.
const STICKY: u32 = 0o1000;
const SETGID: u32 = 0o2000;

/// File systems where another host or process has the last word, by `f_type` of statfs(2).
const ELSEWHERE: [(u64, &str); 8] = [
    (0x6969, "nfs"),
    (0x517b, "smb"),
    (0xff53_4d42, "cifs"),
    (0xfe53_4d42, "smb2"),
    (0x6573_5546, "fuse"),
    (0x0102_1997, "9p"),
    (0x00c3_6400, "ceph"),
    (0x5346_414f, "afs"),
];

/// Whether the runner could make the change as the target stands.
///
/// # Errors
/// `TimedOut` where nothing was found out in time.
pub(crate) fn can_apply(session: &FilesSession, cx: &Context<'_>, change: &FilesChange) -> Result<Ability, Fault> {
    in_time(Some(cx.deadline))?;
    match able(session, change) {
        Ok(ability) => Ok(ability),
        Err(fault) => match fault.kind {
            FaultKind::TimedOut => Err(fault),
            // An earlier change of the plan may make it; and what was exchanged meanwhile is found out when it is run.
            FaultKind::NotFound | FaultKind::Changed => Ok(Ability::CannotTell(fault.what)),
            _ => Ok(Ability::Cannot(fault.what)),
        },
    }
}

fn able(session: &FilesSession, change: &FilesChange) -> Result<Ability, Fault> {
    let path = change.path()?;
    let (directory, name) = session.opener.parent(&path, change.fixed)?;
    let directory = directory.readable()?;
    let own = Credentials::own(&path)?;
    if change.operation.is_in_place() {
        in_place(&own, &directory, change, &path, name)?;
    } else {
        renamed(&own, &directory, change, &path, name)?;
    }
    Ok(match decides(&directory, &path)? {
        None => Ability::Can,
        Some(system) => {
            let why = format!("`{path}` lies in {system}, where it is not this host that decides who may change what");
            Ability::CannotTell(why)
        }
    })
}

/// What a rename within the directory takes, and a staged file with the owner, mode and attributes of the old one.
fn renamed(
    own: &Credentials,
    directory: &Directory<'_>,
    change: &FilesChange,
    path: &Path,
    name: &str,
) -> Result<(), Fault> {
    changeable(directory)?;
    if change.operation == Operation::Create {
        // What is made belongs to whoever makes it.
        return Ok(());
    }
    let file = directory.file(name)?;
    unflagged(&file, path.as_str())?;
    let (found, above) = (file.stat()?, directory.stat());
    let owner = own.user == found.st_uid || own.user == above.st_uid;
    if above.st_mode & STICKY != 0 && !owner {
        own.need(CapabilitySet::FOWNER, path, "lies in a sticky directory and is another user's")?;
    }
    match &change.after {
        None => Ok(()),
        Some(after) => {
            // What is staged is made as any file is, see open(2).
            let group = if above.st_mode & SETGID == 0 { getegid().as_raw() } else { above.st_gid };
            own.gives(&after.attributes, group, path)
        }
    }
}

/// What a write into the file takes, or another mode.
fn in_place(
    own: &Credentials,
    directory: &Directory<'_>,
    change: &FilesChange,
    path: &Path,
    name: &str,
) -> Result<(), Fault> {
    let file = directory.file(name)?;
    unflagged(&file, path.as_str())?;
    if change.operation != Operation::SetMode {
        return accessat(directory, name, Access::WRITE_OK, AtFlags::EACCESS)
            .map_err(|errno| failed("written", path.as_str(), errno));
    }
    let system = fstatvfs(&file).map_err(|errno| failed("looked at", path.as_str(), errno))?;
    if system.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Err(failed("given another mode", path.as_str(), rustix::io::Errno::ROFS));
    }
    let found = file.stat()?;
    if own.user != found.st_uid {
        own.need(CapabilitySet::FOWNER, path, "is another user's, whose mode only its owner sets")?;
    }
    let modes = [&change.before, &change.after].into_iter().flatten().map(|image| image.attributes.mode);
    own.keeps_setgid(modes.fold(0, |all, mode| all | mode), found.st_gid, path)
}

/// The name of the file system, where it is not this kernel that decides.
fn decides(directory: &Directory<'_>, path: &Path) -> Result<Option<&'static str>, Fault> {
    let system = fstatfs(directory).map_err(|errno| failed("looked at", path.as_str(), errno))?;
    // The field's type differs between architectures; the numbers are of 32 bits.
    let magic = system.f_type as u64 & 0xffff_ffff;
    Ok(ELSEWHERE.iter().find(|(known, _)| *known == magic).map(|(_, name)| *name))
}

/// Who the runner is to the kernel.
struct Credentials {
    user: u32,
    groups: Vec<u32>,
    capabilities: CapabilitySet,
}

impl Credentials {
    fn own(path: &Path) -> Result<Self, Fault> {
        let asked = |errno| failed("judged", path.as_str(), errno);
        let mut groups: Vec<u32> = getgroups().map_err(asked)?.into_iter().map(rustix::process::Gid::as_raw).collect();
        groups.push(getegid().as_raw());
        let capabilities = capabilities(None).map_err(asked)?.effective;
        Ok(Self { user: geteuid().as_raw(), groups, capabilities })
    }

    /// A fault unless the runner has these capabilities, which it takes since the file `is` what it is.
    fn need(&self, needed: CapabilitySet, path: &Path, is: &str) -> Result<(), Fault> {
        let lacking: Vec<_> =
            (needed - self.capabilities).iter_names().map(|(name, _)| format!("CAP_{name}")).collect();
        if lacking.is_empty() {
            return Ok(());
        }
        let why = format!("{is}, and the runner, as user {}, has no {}", self.user, lacking.join(" and no "));
        Err(about(FaultKind::Denied, path.as_str(), &why))
    }

    /// A fault unless a file that the runner made, which is of this group, can be given these as [`Attributes::give`] does.
    fn gives(&self, attributes: &Attributes, group: u32, path: &Path) -> Result<(), Fault> {
        if attributes.uid != self.user {
            let is = format!("belongs to user {}, to whom what takes its place must be given", attributes.uid);
            self.need(CapabilitySet::CHOWN | CapabilitySet::FOWNER, path, &is)?;
        }
        if attributes.gid != group && !self.groups.contains(&attributes.gid) {
            let is = format!("belongs to group {}, to which what takes its place must be given", attributes.gid);
            self.need(CapabilitySet::CHOWN, path, &is)?;
        }
        self.keeps_setgid(attributes.mode, attributes.gid, path)?;
        for name in attributes.xattrs.keys().filter(|name| !LABELS.contains(&name.as_str())) {
            let needed = match name.as_str() {
                "security.capability" => CapabilitySet::SETFCAP,
                name if name.starts_with("security.") || name.starts_with("trusted.") => CapabilitySet::SYS_ADMIN,
                name if name.starts_with("user.") && attributes.uid != self.user => CapabilitySet::DAC_OVERRIDE,
                _ => continue,
            };
            let is = format!("has the extended attribute `{}`", countersign_model::text::excerpt(name, 80));
            self.need(needed, path, &is)?;
        }
        Ok(())
    }

    /// A fault where the kernel would take a set-group-id bit away without a word, see chmod(2).
    fn keeps_setgid(&self, mode: u32, group: u32, path: &Path) -> Result<(), Fault> {
        if mode & SETGID == 0 || self.groups.contains(&group) {
            return Ok(());
        }
        self.need(CapabilitySet::FSETID, path, &format!("is set-group-id of group {group}"))
    }
}
