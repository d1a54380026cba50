use std::io::{Cursor, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_capability::{AnyCall, Blobs, LogLine, Port, Stream};
use countersign_model::documents::Denial;
use countersign_model::{Access, Call, Change, Digest, Fault, FaultKind, Grant, Image, Reply, Role, Stop};

use crate::allowance::{Allowance, Permit, Remedy};
use crate::denials::Denials;
use crate::keeping::Keeping;
use crate::live::Live;
use crate::rehearsal::Rehearsal;
use crate::sessions::Sessions;
use crate::taint::{Taint, WITHHELD};

/// One read as it is witnessed: what was asked and what came back.
pub struct ReadRecord<'a> {
    /// The step that asked; `None` for `countersign read`, which is no step's.
    pub role: Option<Role>,
    /// The call, which can describe its reply to people.
    pub call: &'a dyn AnyCall,
    /// Where the step had read what is sensitive, the grant that permits the call, to be told in the place of its words.
    pub veiled: Option<&'a Grant>,
    /// What the guest gets.
    pub reply: Result<&'a [u8], &'a Fault>,
    /// Whether nobody may be shown the reply, nor anything by which it could be told.
    pub withheld: bool,
}

impl ReadRecord<'_> {
    /// The call as it may be told.
    #[must_use]
    pub fn text(&self) -> String {
        self.veiled.map_or_else(|| self.call.text(), ToString::to_string)
    }
}

/// Who is told of every read and every log line.
pub trait Witness: Send {
    /// Told of a read before the guest gets the reply.
    ///
    /// # Errors
    /// When it cannot be recorded; then the step ends, because a read that leaves no trace is refused.
    fn read(&mut self, record: &ReadRecord<'_>) -> Result<(), Fault>;

    /// Told of a line that a step logged; untrusted text. A step that has read what is sensitive logs no more.
    fn log(&mut self, role: Option<Role>, line: LogLine);

    /// Told when a step reads what is sensitive, before it gets the reply: from then on its words are withheld.
    fn tainted(&mut self, _role: Option<Role>, _call: &str) {}

    /// Told of a change of a run that was, or may have been, made, before the guest gets the reply.
    fn changed(&mut self, _change: &Change) {}
}

/// What the gate does with calls.
pub enum Work {
    /// Reads only: an investigation, a check, a guard, `countersign read`.
    Observe {
        /// What was denied, to be listed at the end.
        denied: Denials,
    },
    /// Writes go to an overlay and into a plan.
    Rehearse(Box<Rehearsal>),
    /// Writes go to the journal and the target.
    Live(Box<Live>),
}

/// The step whose calls are now performed.
pub struct Step {
    /// Its role; `None` for `countersign read` and guards.
    pub role: Option<Role>,
    /// What it may do.
    pub allowance: Allowance,
}

/// Permit, perform, record: every host call of every step goes through here, and nowhere else.
pub struct Gate {
    sessions: Sessions,
    work: Work,
    witness: Box<dyn Witness>,
    step: Option<Step>,
    /// Whose words are told: the step's that has begun, also where a stop has ended it.
    speaking: Option<Role>,
    /// Whether the step's changes are the plan's forward part, whatever its role.
    forward: bool,
    taint: Taint,
}

/// A call with what the gate knows of it.
#[derive(Clone, Copy)]
struct Asked<'a> {
    role: Option<Role>,
    call: &'a dyn AnyCall,
    taint: Taint,
}

impl Gate {
    /// A gate that permits nothing until a step begins.
    #[must_use]
    pub fn new(mut sessions: Sessions, mut work: Work, witness: Box<dyn Witness>) -> Self {
        if let Work::Live(live) = &mut work {
            sessions.of_run(live.journal().run());
        }
        Self { sessions, work, witness, step: None, speaking: None, forward: false, taint: Taint::default() }
    }

    /// From now on, calls are this step's.
    pub fn begin(&mut self, step: Step) {
        if let Work::Rehearse(rehearsal) = &mut self.work {
            rehearsal.stale = false;
        }
        self.speaking = step.role;
        self.step = Some(step);
        self.forward = false;
        self.taint = Taint::default();
    }

    /// The same for what undoes an earlier run: the host's reverts, and the rollback step that follows them. What
    /// they change is the forward part of the plan.
    pub fn begin_forward(&mut self, step: Step) {
        self.begin(step);
        self.forward = true;
    }

    /// Makes the change that puts back what an earlier run's change did, within what the step that has begun may do.
    /// Permitted, compared with the plan and journaled like a step's own write; no limit of a grant is charged, as for
    /// every undo.
    ///
    /// # Errors
    /// The step's end, as for a guest's call. In a rehearsal, what stands in the way is a fault.
    pub fn revert(&mut self, made: &Change) -> Result<Reply, Stop> {
        let result = self.try_revert(made);
        self.ended_by(result)
    }

    fn try_revert(&mut self, made: &Change) -> Result<Reply, Stop> {
        let Self { sessions, work, step, .. } = self;
        let step = step.as_ref().ok_or_else(|| Stop("a revert came when nothing was running".to_owned()))?;
        let blobs: &mut dyn Blobs = match work {
            Work::Observe { .. } => return Err(Stop("nothing is written while observing".to_owned())),
            Work::Rehearse(rehearsal) => rehearsal.blobs.as_mut(),
            Work::Live(live) => live.blobs(),
        };
        let Some(grant) = step.allowance.reaching(&made.capability, &made.subject) else {
            let subject = countersign_model::text::excerpt(&made.subject, 200);
            return Err(Stop(format!("denied: it would change `{subject}`, which no grant or ceiling covers")));
        };
        let mut keeping = Keeping::new(blobs);
        let reverted = sessions.revert(&mut keeping, grant, made);
        keeping.all()?;
        let change = match reverted {
            Ok(change) => change,
            Err(fault) if matches!(work, Work::Live(_)) => return Err(Stop(fault.what)),
            Err(fault) => return Ok(Reply::Fault(fault)),
        };
        make(sessions, work, Role::Fix, change)
    }

    /// From now on, every call is refused.
    pub fn end(&mut self) {
        self.step = None;
        self.speaking = None;
    }

    /// Whether the step that runs, or ran last, has read what is sensitive: its words are not to be shown.
    #[must_use]
    pub const fn tainted(&self) -> bool {
        self.taint.is_set()
    }

    /// What was done.
    #[must_use]
    pub const fn work(&self) -> &Work {
        &self.work
    }

    /// What was done, with the sessions that it was done with.
    pub fn parts(&mut self) -> (&mut Work, &mut Sessions) {
        (&mut self.work, &mut self.sessions)
    }

    /// Takes the gate apart.
    #[must_use]
    pub fn into_parts(self) -> (Work, Sessions) {
        (self.work, self.sessions)
    }

    fn perform(&mut self, call: &Call) -> Result<Reply, Stop> {
        let result = self.try_perform(call);
        self.ended_by(result)
    }

    /// A stop is final: the step is over and its run failed, whatever the guest makes of it.
    fn ended_by(&mut self, result: Result<Reply, Stop>) -> Result<Reply, Stop> {
        if let Work::Live(live) = &mut self.work {
            live.untold().for_each(|change| self.witness.changed(change));
        }
        if let Err(Stop(why)) = &result {
            self.step = None;
            if let Work::Live(live) = &mut self.work {
                live.fail(why);
            }
        }
        result
    }

    fn try_perform(&mut self, call: &Call) -> Result<Reply, Stop> {
        let Self { sessions, work, witness, step, forward, taint, .. } = self;
        let step = step.as_mut().ok_or_else(|| Stop("a call came when no step was running".to_owned()))?;
        let role = step.role;
        // Decoded once: what is permitted is what is performed and recorded.
        let call = match sessions.registry().get(&call.capability).and_then(|known| known.decode(call)) {
            Ok(call) => call,
            Err(fault) => return step.allowance.waste().map(|()| Reply::Fault(fault)),
        };
        let call = call.as_ref();
        let asked = Asked { role, call, taint: *taint };
        tracing::debug!(call = asked.text(), "host call");
        sessions.called(asked.text());

        // A role that may not write has no `write` interface linked; this holds even if it had.
        let writes_here = role.is_some_and(Role::may_write) && !matches!(work, Work::Observe { .. });
        if call.access() == Access::Write && !writes_here {
            return Err(Stop(format!("`{}` is a write, and only a fix or a rollback writes", asked.text())));
        }
        let permit = match step.allowance.permit(call) {
            Ok(permit) => permit,
            Err(denied) => return deny(work, asked, &denied.why, denied.remedy),
        };
        let grant = step.allowance.grant(permit).map_err(|fault| Stop(fault.what))?;
        if let Err(why) = taint.permits(sessions, call, grant) {
            return deny(work, asked, &why, Remedy::Said);
        }
        if let (Work::Rehearse(rehearsal), Some(role)) = (&mut *work, role)
            && let Ok(least) = taint.least(call, grant)
        {
            rehearsal.usage.add(role, least, call.payload());
        }
        match call.access() {
            Access::Read => {
                let veiled = taint.is_set().then(|| grant.clone());
                if taint.reads(sessions.sensitive(), call) {
                    witness.tainted(role, &call.text());
                }
                let result = read(sessions, work, &mut step.allowance, permit, call);
                let (veiled, withheld) = (veiled.as_ref(), taint.is_set());
                witness
                    .read(&ReadRecord { role, call, veiled, reply: result.as_deref(), withheld })
                    .map_err(|fault| Stop(format!("the read was not recorded, so it is refused: {}", fault.what)))?;
                answer(work, asked, result)
            }
            Access::Write => {
                let side = if *forward { Some(Role::Fix) } else { role };
                write(sessions, work, &step.allowance, permit, side, asked, taint)
            }
        }
    }
}

impl Asked<'_> {
    /// The call as it may be told.
    fn text(&self) -> String {
        self.taint.text(self.call)
    }
}

/// A permitted call's answer. What a session denies by what it opened is a denied call like any other
/// where a run's step would end with it; a check is asked again, and has its answer.
fn answer(work: &mut Work, asked: Asked<'_>, result: Result<Vec<u8>, Fault>) -> Result<Reply, Stop> {
    match result {
        Ok(value) => Ok(Reply::Value(value)),
        Err(fault) if fault.kind == FaultKind::Denied && asked.role.is_some_and(Role::may_write) => {
            deny(work, asked, &fault.what, Remedy::None)?;
            Ok(Reply::Fault(fault))
        }
        Err(fault) => Ok(Reply::Fault(fault)),
    }
}

/// A denied call: an answer while nothing can happen yet, the step's end in a run.
fn deny(work: &mut Work, asked: Asked<'_>, why: &str, remedy: Remedy) -> Result<Reply, Stop> {
    let text = asked.text();
    // The least grant, and mostly why, would repeat what the step asked for.
    let veiled = asked.taint.is_set();
    let why = if veiled && remedy != Remedy::Said { WITHHELD } else { why };
    let mut what = format!("denied: `{text}`: {why}");
    let grant = if remedy == Remedy::LeastGrant && !veiled { asked.call.least_grant().ok() } else { None };
    if let Some(grant) = &grant {
        what.push_str(&format!("; the grant `{grant}` would allow it"));
    }
    let denial = Denial { role: asked.role.unwrap_or(Role::Investigation), call: text, why: why.to_owned(), grant };
    match work {
        Work::Observe { denied } => denied.add(denial),
        Work::Rehearse(rehearsal) => rehearsal.denied.add(denial),
        Work::Live(live) => {
            live.deny(denial);
            return Err(Stop(what));
        }
    }
    Ok(Reply::Fault(Fault::new(FaultKind::Denied, what)))
}

fn read(
    sessions: &mut Sessions,
    work: &mut Work,
    allowance: &mut Allowance,
    permit: Permit,
    call: &dyn AnyCall,
) -> Result<Vec<u8>, Fault> {
    let blobs: &mut dyn Blobs = match work {
        Work::Observe { .. } => &mut NoBlobs,
        Work::Rehearse(rehearsal) => {
            if let Some(pending) = rehearsal.unsettled_by(call.capability()) {
                let what = format!("a change of {pending} is pending: what this read would say after it is not known");
                rehearsal.stale = true;
                return Err(Fault::new(FaultKind::Unknowable, what));
            }
            rehearsal.blobs.as_mut()
        }
        Work::Live(live) => live.blobs(),
    };
    let result = sessions.read(blobs, allowance.by(permit, call.capability())?, call);
    if let (Err(fault), Work::Rehearse(rehearsal)) = (&result, &mut *work) {
        rehearsal.stale |= fault.kind == FaultKind::Unknowable;
    }
    let bytes = result?;
    allowance.charge_reply(permit, bytes.len() as u64)?;
    Ok(bytes)
}

fn write(
    sessions: &mut Sessions,
    work: &mut Work,
    allowance: &Allowance,
    permit: Permit,
    side: Option<Role>,
    asked: Asked<'_>,
    taint: &mut Taint,
) -> Result<Reply, Stop> {
    let call = asked.call;
    let blobs: &mut dyn Blobs = match work {
        Work::Observe { .. } => return Err(Stop("nothing is written while observing".to_owned())),
        Work::Rehearse(rehearsal) => rehearsal.blobs.as_mut(),
        Work::Live(live) => live.blobs(),
    };
    let mut keeping = Keeping::new(blobs);
    let prepared = allowance.by(permit, call.capability()).and_then(|by| sessions.prepare(&mut keeping, by, call));
    keeping.all()?;
    let change = match prepared {
        Ok(change) => change,
        Err(fault) => return answer(work, asked, Err(fault)),
    };
    // The call was inside its bounds; what it turned out to change must be too.
    if !allowance.takes_in(&change.capability, &change.subject) {
        let subject = countersign_model::text::excerpt(&change.subject, 200);
        let why = format!("it would change `{subject}`, which no grant covers");
        return deny(work, asked, &why, Remedy::None);
    }
    let grant = allowance.grant(permit).map_err(|fault| Stop(fault.what))?;
    if let Err(why) = taint.permits_write(call, grant, change.withheld) {
        return deny(work, asked, &why, Remedy::Said);
    }
    let withheld = change.withheld;
    match make(sessions, work, side.unwrap_or(Role::Fix), change)? {
        Reply::Fault(fault) => answer(work, asked, Err(fault)),
        Reply::Value(reply) => {
            taint.learns(withheld, &reply);
            Ok(Reply::Value(reply))
        }
    }
}

/// A change made ready is made: on the overlay and in the plan, or in the journal and on the target.
fn make(sessions: &mut Sessions, work: &mut Work, side: Role, change: Change) -> Result<Reply, Stop> {
    match work {
        Work::Observe { .. } => Err(Stop("nothing is written while observing".to_owned())),
        Work::Rehearse(rehearsal) => match sessions.rehearse(rehearsal.blobs.as_mut(), &change) {
            Ok(reply) => {
                rehearsal.planned(side, change);
                Ok(Reply::Value(reply))
            }
            Err(fault) => Ok(Reply::Fault(fault)),
        },
        Work::Live(live) => live.perform(sessions, side, change).map(Reply::Value),
    }
}

/// The blobs of work that makes no changes, and so has no images.
struct NoBlobs;

impl Blobs for NoBlobs {
    fn put(&mut self, _: &[u8]) -> Result<Digest, Fault> {
        Err(Fault::new(FaultKind::Denied, "nothing is kept while observing"))
    }

    fn get(&mut self, digest: &Digest) -> Result<Vec<u8>, Fault> {
        Err(Fault::new(FaultKind::NotFound, format!("nothing is kept while observing, so not `{digest}`")))
    }

    fn put_from(&mut self, _: u64, _: &mut dyn Read) -> Result<Image, Fault> {
        self.put(&[]).map(|_| Image::of(&[]))
    }

    fn open(&mut self, digest: &Digest) -> Result<Box<dyn Stream>, Fault> {
        self.get(digest).map(|bytes| Box::new(Cursor::new(bytes)) as Box<dyn Stream>)
    }
}

/// A gate that several steps use one after the other: each gets a clone as its port.
#[derive(Clone)]
pub struct GatePort(Arc<Mutex<Gate>>);

impl GatePort {
    /// Shares a gate.
    #[must_use]
    pub fn new(gate: Gate) -> Self {
        Self(Arc::new(Mutex::new(gate)))
    }

    /// The gate, between steps. After a panic in a capability it is still the journal's owner, so it
    /// is handed out rather than lost: undoing is what is left to do with it.
    pub fn lock(&self) -> MutexGuard<'_, Gate> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The gate, when no step holds it any more.
    #[must_use]
    pub fn into_gate(self) -> Option<Gate> {
        Arc::into_inner(self.0).map(|gate| gate.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Port for GatePort {
    fn call(&mut self, call: Call) -> Result<Reply, Stop> {
        match self.0.lock() {
            Ok(mut gate) => gate.perform(&call),
            Err(_) => Err(Stop("the gate failed in an earlier call".to_owned())),
        }
    }

    fn log(&mut self, line: LogLine) {
        let mut gate = self.lock();
        if gate.taint.is_set() {
            // The witness was told so.
            return;
        }
        let role = gate.speaking;
        gate.witness.log(role, line);
    }
}
