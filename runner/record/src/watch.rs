//! Telling when something was signed, or said.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;

use crate::State;

/// How many buffers of events one look takes in; the rest is for the next.
const MAX_READS: usize = 64;

/// The folder in which runs that wait for a person's word are told that one was kept, and the file whose closing tells it.
pub(crate) const WAITING: &str = "waiting";
pub(crate) const TOLD: &str = "told";

/// Watches a folder of the state. It holds no lock, and keeps nobody from anything.
pub struct Watch(Option<OwnedFd>);

impl State {
    /// From now on, what is put into `approvals/` ends [`Watch::wait`] early. Where the system cannot tell, it waits
    /// its time: whoever waits must look again after that in any case.
    #[must_use]
    pub fn watch_approvals(&self) -> Watch {
        self.watch("approvals")
    }

    /// From now on, [`State::tell_waiting`] ends [`Watch::wait`] early; else as [`State::watch_approvals`].
    #[must_use]
    pub fn watch_waiting(&self) -> Watch {
        self.watch(WAITING)
    }

    fn watch(&self, folder: &str) -> Watch {
        let watched = || -> rustix::io::Result<OwnedFd> {
            let fd = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
            let events = inotify::WatchFlags::CREATE
                | inotify::WatchFlags::MOVED_TO
                | inotify::WatchFlags::CLOSE_WRITE
                | inotify::WatchFlags::DELETE
                | inotify::WatchFlags::ONLYDIR;
            inotify::add_watch(&fd, self.dir().join(folder), events)?;
            Ok(fd)
        };
        Watch(watched().ok())
    }
}

impl Watch {
    /// Waits until something may have been signed or said, a signal came, or this time is up, whichever is first. It does not
    /// say which.
    pub fn wait(&self, time: Duration) {
        let Some(fd) = &self.0 else { return std::thread::sleep(time) };
        let Ok(timeout) = Timespec::try_from(time) else { return std::thread::sleep(time) };
        match poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&timeout)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => self.drain(fd),
            Err(_) => std::thread::sleep(time),
        }
    }

    /// Takes the events away, so that the next wait is for new ones.
    fn drain(&self, fd: &OwnedFd) {
        let mut buffer = [MaybeUninit::<u8>::uninit(); 4096];
        for _ in 0..MAX_READS {
            if rustix::io::read(fd, &mut buffer[..]).is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn state() -> (tempfile::TempDir, State) {
        let dir = tempfile::tempdir().expect("a directory");
        let state = State::create(&dir.path().join("state")).expect("a new state directory");
        (dir, state)
    }

    #[test]
    fn what_is_signed_ends_a_wait_and_only_once() {
        let (_dir, state) = state();
        let watch = state.watch_approvals();
        assert!(watch.0.is_some(), "this system can tell");
        state.write_new(std::path::Path::new("approvals/x.json"), b"{}", 0o600).expect("written");
        let begun = Instant::now();
        watch.wait(Duration::from_secs(60));
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
        let begun = Instant::now();
        watch.wait(Duration::from_millis(100));
        assert!(begun.elapsed() >= Duration::from_millis(100), "nothing new came: {:?}", begun.elapsed());
    }

    #[test]
    fn where_the_system_cannot_tell_the_time_is_waited() {
        let begun = Instant::now();
        Watch(None).wait(Duration::from_millis(50));
        assert!(begun.elapsed() >= Duration::from_millis(50));
    }
}
