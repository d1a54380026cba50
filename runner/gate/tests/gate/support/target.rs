//! What a store's sessions reach: entries in memory, which a test can watch, change and make lie.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// One named entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) contents: Vec<u8>,
    pub(crate) mode: u32,
}

/// How the next `apply` goes wrong; any of them for the next `rehearse`, which just fails.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It fails, and says that nothing was reached.
    Missed,
    /// It fails and cannot say; nothing happened.
    Unsure,
    /// It fails and cannot say; it happened.
    UnsureButDone,
    /// It happened, and then the capability panics.
    Panics,
}

/// Called when a change is about to be applied.
type Watch = Box<dyn FnMut() + Send>;

#[derive(Default)]
pub(crate) struct Content {
    pub(crate) entries: BTreeMap<String, Entry>,
    /// Names that stand for others, as a symbolic link does.
    pub(crate) aliases: BTreeMap<String, String>,
    /// What a session refuses whatever its grant says.
    pub(crate) forbidden: BTreeSet<String>,
    /// Everything that sessions were asked, in order.
    pub(crate) asked: Vec<String>,
    /// How long each read had.
    pub(crate) times: Vec<Duration>,
    pub(crate) trouble: Option<Trouble>,
    /// Whether an undo gets stuck.
    pub(crate) stuck: bool,
    /// How many more calls an undo takes that has begun.
    pub(crate) slow: Option<u32>,
    /// Whether images are promised and never put.
    pub(crate) forgetful: bool,
    pub(crate) watch: Option<Watch>,
}

/// A target that sessions find by the number in their settings.
#[derive(Clone)]
pub(crate) struct Target {
    id: u64,
    content: Arc<Mutex<Content>>,
}

static TARGETS: LazyLock<Mutex<BTreeMap<u64, Target>>> = LazyLock::new(Mutex::default);
static NEXT: AtomicU64 = AtomicU64::new(1);

impl Target {
    pub(crate) fn new() -> Self {
        let target = Self { id: NEXT.fetch_add(1, Ordering::Relaxed), content: Arc::default() };
        TARGETS.lock().unwrap_or_else(PoisonError::into_inner).insert(target.id, target.clone());
        target
    }

    pub(crate) fn find(settings: &serde_json::Value) -> Option<Self> {
        let id = settings.get("target")?.as_u64()?;
        TARGETS.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    pub(crate) fn settings(&self) -> serde_json::Value {
        serde_json::json!({ "target": self.id })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets an entry behind everybody's back.
    pub(crate) fn set(&self, key: &str, contents: &str) {
        let entry = Entry { contents: contents.into(), mode: 0o644 };
        self.lock().entries.insert(key.to_owned(), entry);
    }

    /// An entry's content; `-` where there is none.
    pub(crate) fn content(&self, key: &str) -> String {
        let content = self.lock();
        content.entries.get(key).map_or("-".to_owned(), |entry| String::from_utf8_lossy(&entry.contents).into_owned())
    }

    /// What sessions were asked since this was last called.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().asked)
    }
}
