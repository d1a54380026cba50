//! What the sandbox is measured against: wasmtime itself with the same engine settings, and nothing around it.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use countersign_capability::step::types::{Error, ErrorKind, Verdict};
use countersign_sandbox::{Limits, Settings};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use wasmtime::component::{Component, ComponentExportIndex, InstancePre, Linker};
use wasmtime::{Engine, Store, StoreLimits, StoreLimitsBuilder};

/// An engine with a clock.
pub struct Raw {
    pub engine: Engine,
    stop: Arc<AtomicBool>,
    ticker: Option<JoinHandle<()>>,
}

impl Raw {
    pub fn new() -> Self {
        let engine = Engine::new(&Settings::default().engine_config()).expect("an engine");
        let stop = Arc::<AtomicBool>::default();
        let (over, ticking) = (Arc::clone(&stop), engine.clone());
        let ticker = std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(10));
                ticking.increment_epoch();
            }
        });
        Self { engine, stop, ticker: Some(ticker) }
    }

    /// A check, compiled and linked to a `files` of its own.
    pub fn check(&self, component: &[u8], directory: &Path) -> Check {
        let component = Component::from_binary(&self.engine, component).expect("compiled");
        let mut linker = Linker::<Data>::new(&self.engine);
        linker.instance("countersign:step/types@0.1.0").expect("an instance");
        linker
            .instance("countersign:files/read@0.1.0")
            .expect("an instance")
            .func_wrap("read", |store: wasmtime::StoreContextMut<'_, Data>, (path,): (String,)| {
                Ok((store.data().files.read(&path),))
            })
            .expect("linked");
        let pre = linker.instantiate_pre(&component).expect("linked");
        let export = component.get_export_index(None, "check").expect("a check");
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(directory, flags, Mode::empty()).expect("a directory");
        Check { pre, export, files: Arc::new(Files { directory: directory.to_owned(), fd }) }
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.ticker.take().map(JoinHandle::join);
    }
}

pub struct Check {
    pre: InstancePre<Data>,
    export: ComponentExportIndex,
    files: Arc<Files>,
}

struct Data {
    files: Arc<Files>,
    limits: StoreLimits,
}

impl Check {
    /// Instantiates and calls it in a store of its own, with the limits that the sandbox sets.
    pub fn run(&self) {
        let own = Limits::default();
        let limits = StoreLimitsBuilder::new()
            .memory_size(own.memory_bytes)
            .memories(1)
            .table_elements(own.table_elements)
            .tables(16)
            .instances(200)
            .trap_on_grow_failure(true)
            .build();
        let mut store = Store::new(self.pre.engine(), Data { files: Arc::clone(&self.files), limits });
        store.limiter(|data| &mut data.limits);
        store.set_hostcall_fuel(own.hostcall_bytes);
        store.set_max_component_handles(1000);
        store.epoch_deadline_trap();
        store.set_epoch_deadline(6000);
        store.set_fuel(own.fuel).expect("fuel");
        let instance = self.pre.instantiate(&mut store).expect("an instance");
        let check = instance.get_typed_func::<(), (Result<Verdict, String>,)>(&mut store, &self.export);
        let (answer,) = check.expect("a check").call(&mut store, ()).expect("it answers");
        assert!(matches!(answer, Ok(Verdict::Healthy)));
    }
}

impl Check {
    /// What its host function does, without the guest.
    pub fn read(&self, path: &Path) {
        assert!(self.files.read(path.to_str().expect("UTF-8")).is_ok());
    }
}

/// A careful host's own reading of files below one directory.
pub struct Files {
    directory: PathBuf,
    fd: OwnedFd,
}

impl Files {
    /// The content of a regular file of one link that no symbolic link leads to.
    fn read(&self, path: &str) -> Result<Vec<u8>, Error> {
        let failed = |message: &str| Error { kind: ErrorKind::Other, message: message.to_owned(), reached: false };
        let name = Path::new(path).strip_prefix(&self.directory).map_err(|_| failed("not in there"))?;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let fd = openat2(&self.fd, name, flags, Mode::empty(), resolve).map_err(|_| failed("not opened"))?;
        let stat = fstat(&fd).map_err(|_| failed("not looked at"))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_nlink != 1 {
            return Err(failed("no regular file of one link"));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(stat.st_size).unwrap_or_default());
        let mut file = std::fs::File::from(fd);
        std::io::Read::read_to_end(&mut file, &mut bytes).map_err(|_| failed("not read"))?;
        Ok(bytes)
    }
}
