use countersign_capability::{Phase, Port, Registry};
use countersign_gate::{Allowance, Bounds, Denials, Gate, GatePort, Step, Work};
use countersign_model::documents::GuardState;
use countersign_model::text::excerpt;
use countersign_model::{Call, Reply, Selector};
use serde_json::Value;

use crate::command::Printed;
use crate::runner::Runner;
use crate::target::{Guard, Target};
use crate::witness::Unwitnessed;

/// Asks every guard, each on its own; one that cannot be asked does not hold.
pub(crate) fn ask(runner: &Runner, target: &Target) -> Vec<GuardState> {
    ask_telling(runner, target, Printed::Told)
}

/// The same, where what commands print and replies say may quote what is sensitive.
pub(crate) fn ask_telling(runner: &Runner, target: &Target, printed: Printed) -> Vec<GuardState> {
    target
        .guards
        .iter()
        .map(|guard| {
            let reason = ask_one(runner, target, guard, printed).err();
            GuardState { name: guard.name.clone(), holds: reason.is_none(), reason }
        })
        .collect()
}

/// The guards that held before and do not now.
pub(crate) fn worse(before: &[GuardState], now: &[GuardState]) -> Vec<GuardState> {
    let held = |name: &str| before.iter().any(|guard| guard.name == name && guard.holds);
    now.iter().filter(|guard| !guard.holds && held(&guard.name)).cloned().collect()
}

/// What a guard says, in words that follow its noun.
pub(crate) fn describe(guard: &GuardState) -> String {
    match &guard.reason {
        None => format!("`{}` holds", guard.name),
        Some(reason) => format!("`{}` does not hold: {reason}", guard.name),
    }
}

/// What a guard says, with its noun.
pub(crate) fn sentence(guard: &GuardState) -> String {
    format!("guard {}", describe(guard))
}

fn ask_one(runner: &Runner, target: &Target, guard: &Guard, printed: Printed) -> Result<(), String> {
    let Some(text) = &guard.call else { return crate::command::run(&guard.command, guard.time(), printed, b"") };
    let registry = runner.registry();
    let call = parse_call(registry, text)?;
    // A guard is the operator's own: its call is its grant, and no ceiling stands above it.
    let known = registry.get(&call.capability).map_err(|fault| fault.what)?;
    let least = [known.least_grant(&call).map_err(|fault| fault.what)?];
    let bounds = || Bounds::new(registry, &least).map_err(|fault| fault.what);
    let sessions = runner.sessions(target, Phase::Observe).map_err(|error| error.to_string())?.within(guard.time());
    let mut gate = Gate::new(sessions, Work::Observe { denied: Denials::default() }, Box::new(Unwitnessed));
    gate.begin(Step { role: None, allowance: Allowance::new(bounds()?, bounds()?) });
    let mut port = GatePort::new(gate);
    let reply = match port.call(call.clone()) {
        Ok(Reply::Value(bytes)) => known.describe_reply(&call, &bytes),
        Ok(Reply::Fault(fault)) => return Err(excerpt(&fault.what, 300)),
        Err(stop) => return Err(excerpt(&stop.0, 300)),
    };
    let hidden = printed == Printed::Withheld || port.lock().tainted();
    for (field, expected) in &guard.expect {
        let said = reply.get(field).unwrap_or(&Value::Null);
        // A number, such as a status, quotes nothing.
        if said != expected && hidden && !said.is_number() {
            return Err(format!(
                "`{field}` is not what is expected; what it is is withheld, since it may be sensitive"
            ));
        }
        if said != expected {
            return Err(format!("`{field}` is {}, expected {expected}", excerpt(&said.to_string(), 120)));
        }
    }
    Ok(())
}

/// A read call from its text.
///
/// # Errors
/// A sentence fragment that says what was expected.
pub(crate) fn parse_call(registry: &Registry, text: &str) -> Result<Call, String> {
    let (capability, function, selector) =
        Selector::parse_named(text).map_err(|why| format!("`{}` is not a call: {why}", excerpt(text, 120)))?;
    let known = registry.get(&capability).map_err(|fault| fault.what)?;
    known.parse_call(&function, &selector).map_err(|fault| fault.what)
}
