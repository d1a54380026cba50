//! A small file system, mounted for a test where root allows it.

#![allow(unreachable_pub, clippy::print_stderr, reason = "several crates' tests use it, and it says what it skips")]

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A small file system in memory, unmounted at the end, also of a test that fails.
pub struct Mount(pub PathBuf);

impl Mount {
    /// `None`, with a printed reason, where it cannot be mounted.
    pub fn new(point: &Path, megabytes: u32) -> Option<Self> {
        fs::create_dir(point).expect("a mount point");
        let options = format!("size={megabytes}m,mode=0755,nosuid,nodev");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "countersign-test"]).arg(point).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(point.to_owned())),
            Ok(output) => {
                eprintln!("skipped: no file system can be mounted: {}", String::from_utf8_lossy(&output.stderr).trim());
                None
            }
            Err(error) => {
                eprintln!("skipped: `mount` cannot be started: {error}");
                None
            }
        }
    }

    /// Somebody else's file, which takes all the room that there is.
    pub fn fill(&self) {
        let mut fill = File::options().append(true).create(true).open(self.0.join("filler")).expect("a file");
        let mut size = 1 << 20;
        while size > 0 {
            while fill.write_all(&vec![0; size]).is_ok() {}
            size /= 2;
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: also where a failed test still has a file of it open.
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.0).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("`{}` could not be unmounted", self.0.display());
        }
    }
}
