//! Gates at work on two stores, with what they let through.

use std::io::Read;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use countersign_capability::{Blobs, LogLine, Phase, Port, Protected, Registry, Stream};
use countersign_files::Files;
use countersign_gate::{
    Allowance, Bounds, Denials, Gate, GatePort, Live, ReadRecord, Rehearsal, Sensitive, Sessions, Step, Witness, Work,
};
use countersign_model::documents::Denial;
use countersign_model::{Call, Change, Digest, Fault, FaultKind, Grant, Image, Plan, Reply, Role, Stop};

use super::memory::Memory;
use super::store::{Attic, Shelf, Store};
use super::target::Target;

/// Everything that the stores have.
pub(crate) const ALL: &[&str] = &["shelf.read *", "shelf.write *", "attic.read *", "attic.write *"];

/// Two targets of two capabilities, and the files of this machine as a third.
pub(crate) struct Host {
    pub(crate) shelf: Target,
    pub(crate) attic: Target,
    registry: Arc<Registry>,
    sensitive: Vec<Grant>,
}

impl Host {
    pub(crate) fn new() -> Self {
        let registry = Registry::default().with::<Store<Shelf>>().with::<Store<Attic>>().with::<Files>();
        Self { shelf: Target::new(), attic: Target::new(), registry: Arc::new(registry), sensitive: Vec::new() }
    }

    /// From now on nobody is shown what these grants to read take in.
    pub(crate) fn keep_from_view(&mut self, grants: &[&str]) {
        self.sensitive = grants.iter().map(|grant| grant.parse().expect("a grant")).collect();
    }

    /// With these entries on the shelf.
    pub(crate) fn with(entries: &[(&str, &str)]) -> Self {
        let host = Self::new();
        entries.iter().for_each(|(key, contents)| host.shelf.set(key, contents));
        host
    }

    pub(crate) fn sessions(&self, phase: Phase) -> Sessions {
        let settings = [("shelf", &self.shelf), ("attic", &self.attic)];
        let settings = settings.map(|(name, target)| (name.to_owned(), target.settings())).into();
        Sessions::new(Arc::clone(&self.registry), settings, phase, Arc::new(Protected::default()))
            .keeping_from_view(Sensitive::new(&self.registry, &self.sensitive).expect("scopes"))
    }

    fn bench(&self, phase: Phase, work: Work) -> Bench {
        self.bench_on(self.sessions(phase), work)
    }

    fn bench_on(&self, sessions: Sessions, work: Work) -> Bench {
        let seen = Arc::<Mutex<Seen>>::default();
        let gate = Gate::new(sessions, work, Box::new(Recorder(Arc::clone(&seen))));
        Bench { port: GatePort::new(gate), seen, registry: Arc::clone(&self.registry), images: Arc::default() }
    }

    pub(crate) fn observing(&self) -> Bench {
        self.bench(Phase::Observe, Work::Observe { denied: Denials::default() })
    }

    /// With this much time for a call.
    pub(crate) fn observing_within(&self, time: Duration) -> Bench {
        self.bench_on(self.sessions(Phase::Observe).within(time), Work::Observe { denied: Denials::default() })
    }

    pub(crate) fn rehearsing(&self) -> Bench {
        self.rehearsing_with(usize::MAX)
    }

    /// With room for so many bytes of images.
    pub(crate) fn rehearsing_with(&self, room: usize) -> Bench {
        let images = Arc::new(Mutex::new(Memory { room, ..Memory::default() }));
        let rehearsal = Rehearsal::new(Box::new(Shared(Arc::clone(&images))));
        Bench { images, ..self.bench(Phase::Rehearse, Work::Rehearse(Box::new(rehearsal))) }
    }

    pub(crate) fn live(&self, phase: Phase, live: Live) -> Bench {
        self.bench(phase, Work::Live(Box::new(live)))
    }

    /// What a rehearsal of these calls of a fix, and after the host's undo of a rollback, plans.
    pub(crate) fn plan(&self, fix: &[Call], rollback: &[Call]) -> Plan {
        let mut bench = self.rehearsing();
        bench.begin(Role::Fix, ALL);
        fix.iter().for_each(|call| drop(bench.value(call.clone())));
        bench.rehearsal(|rehearsal, sessions| rehearsal.undo_exact(sessions)).expect("undone on the overlay");
        bench.begin(Role::Rollback, ALL);
        rollback.iter().for_each(|call| drop(bench.value(call.clone())));
        self.shelf.asked();
        self.attic.asked();
        bench.rehearsal(|rehearsal, _| rehearsal.plan().clone())
    }
}

/// A gate, the port to it, and what its witness was told.
pub(crate) struct Bench {
    pub(crate) port: GatePort,
    seen: Arc<Mutex<Seen>>,
    registry: Arc<Registry>,
    /// The images of a rehearsal.
    images: Arc<Mutex<Memory>>,
}

#[derive(Default)]
pub(crate) struct Seen {
    /// Role, call and reply of every read; a fault's kind in place of its reply.
    pub(crate) reads: Vec<(Option<Role>, String, Result<String, FaultKind>)>,
    pub(crate) lines: Vec<(Option<Role>, String)>,
    /// The reads by which a step learned what is sensitive.
    pub(crate) tainted: Vec<(Option<Role>, String)>,
    /// The calls whose reply is withheld, as they are told.
    pub(crate) withheld: Vec<String>,
    /// The summaries of changes, as they were made.
    pub(crate) changed: Vec<String>,
    /// Whether nothing can be recorded.
    pub(crate) fails: bool,
}

impl Bench {
    fn bounds(&self, grants: &[&str]) -> Bounds {
        let grants: Vec<Grant> = grants.iter().map(|grant| grant.parse().expect("a grant")).collect();
        Bounds::new(&self.registry, &grants).expect("bounds")
    }

    /// Begins a step; its ceilings have everything.
    pub(crate) fn begin(&self, role: impl Into<Option<Role>>, grants: &[&str]) {
        self.begin_under(role, grants, ALL);
    }

    /// Begins a step under this ceiling; in a rehearsal everything may be read.
    pub(crate) fn begin_under(&self, role: impl Into<Option<Role>>, grants: &[&str], ceiling: &[&str]) {
        let rehearses = matches!(self.port.lock().work(), Work::Rehearse(_));
        if rehearses {
            return self.begin_readable(role, grants, ceiling, ALL);
        }
        let allowance = Allowance::new(self.bounds(grants), self.bounds(ceiling));
        self.port.lock().begin(Step { role: role.into(), allowance });
    }

    /// Begins what undoes an earlier run; its ceilings have everything.
    pub(crate) fn begin_forward(&self, role: Role, grants: &[&str]) {
        let rehearses = matches!(self.port.lock().work(), Work::Rehearse(_));
        let allowance = if rehearses {
            Allowance::rehearsed(self.bounds(grants), self.bounds(ALL), self.bounds(ALL))
        } else {
            Allowance::new(self.bounds(grants), self.bounds(ALL))
        };
        self.port.lock().begin_forward(Step { role: Some(role), allowance });
    }

    /// Images that an earlier run left behind.
    pub(crate) fn keep_images(&self, contents: &[&str]) {
        for contents in contents {
            match self.port.lock().parts() {
                (Work::Live(live), _) => live.journal().blobs().put(contents.as_bytes()).map(drop).expect("kept"),
                _ => self
                    .images
                    .lock()
                    .expect("images")
                    .kept
                    .insert(Digest::of(contents.as_bytes()), contents.as_bytes().to_vec())
                    .map_or((), drop),
            }
        }
    }

    /// Begins a rehearsed step, `readable` being the investigation's ceiling.
    pub(crate) fn begin_readable(
        &self,
        role: impl Into<Option<Role>>,
        grants: &[&str],
        ceiling: &[&str],
        readable: &[&str],
    ) {
        let allowance = Allowance::rehearsed(self.bounds(grants), self.bounds(ceiling), self.bounds(readable));
        self.port.lock().begin(Step { role: role.into(), allowance });
    }

    pub(crate) fn call(&mut self, call: Call) -> Result<Reply, Stop> {
        self.port.call(call)
    }

    /// What a call answers that must succeed.
    pub(crate) fn value(&mut self, call: Call) -> String {
        match self.call(call) {
            Ok(Reply::Value(bytes)) => String::from_utf8(bytes).expect("text"),
            other => panic!("no value: {other:?}"),
        }
    }

    /// The fault of a call that the guest gets an error for.
    pub(crate) fn fault(&mut self, call: Call) -> Fault {
        match self.call(call) {
            Ok(Reply::Fault(fault)) => fault,
            other => panic!("no fault: {other:?}"),
        }
    }

    /// The words of a denial that the guest gets.
    pub(crate) fn denial(&mut self, call: Call) -> String {
        let fault = self.fault(call);
        assert_eq!((fault.kind, fault.reached), (FaultKind::Denied, false), "{fault}");
        fault.what
    }

    /// Why a call ends its step.
    pub(crate) fn stop(&mut self, call: Call) -> String {
        match self.call(call) {
            Err(Stop(why)) => why,
            other => panic!("the step goes on: {other:?}"),
        }
    }

    pub(crate) fn rehearsal<T>(&self, f: impl FnOnce(&mut Rehearsal, &mut Sessions) -> T) -> T {
        match self.port.lock().parts() {
            (Work::Rehearse(rehearsal), sessions) => f(rehearsal, sessions),
            _ => panic!("this is no rehearsal"),
        }
    }

    pub(crate) fn with_live<T>(&self, f: impl FnOnce(&mut Live, &mut Sessions) -> T) -> T {
        match self.port.lock().parts() {
            (Work::Live(live), sessions) => f(live, sessions),
            _ => panic!("this is no run"),
        }
    }

    /// What was denied, as it is listed at the end.
    pub(crate) fn denied(&self) -> Vec<Denial> {
        match self.port.lock().work() {
            Work::Observe { denied } => denied.list().to_vec(),
            Work::Rehearse(rehearsal) => rehearsal.denied().to_vec(),
            Work::Live(live) => live.denied().into_iter().cloned().collect(),
        }
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Recorder(Arc<Mutex<Seen>>);

impl Witness for Recorder {
    fn read(&mut self, record: &ReadRecord<'_>) -> Result<(), Fault> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.fails {
            return Err(Fault::new(FaultKind::Other, "the disk is full"));
        }
        if record.withheld {
            seen.withheld.push(record.text());
        }
        let reply = record.reply.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        seen.reads.push((record.role, record.text(), reply.map_err(|fault| fault.kind)));
        Ok(())
    }

    fn log(&mut self, role: Option<Role>, line: LogLine) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).lines.push((role, line.message));
    }

    fn tainted(&mut self, role: Option<Role>, call: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).tainted.push((role, call.to_owned()));
    }

    fn changed(&mut self, change: &Change) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).changed.push(change.summary.clone());
    }
}

/// Blobs that a test can add to.
struct Shared(Arc<Mutex<Memory>>);

impl Blobs for Shared {
    fn put(&mut self, bytes: &[u8]) -> Result<Digest, Fault> {
        self.0.lock().expect("images").put(bytes)
    }

    fn get(&mut self, digest: &Digest) -> Result<Vec<u8>, Fault> {
        self.0.lock().expect("images").get(digest)
    }

    fn put_from(&mut self, size: u64, from: &mut dyn Read) -> Result<Image, Fault> {
        self.0.lock().expect("images").put_from(size, from)
    }

    fn open(&mut self, digest: &Digest) -> Result<Box<dyn Stream>, Fault> {
        self.0.lock().expect("images").open(digest)
    }
}
