use countersign_model::{Fault, State};

/// What a proof that a subject is as before finds instead, if anything: how it was probed, and who changed it.
#[must_use]
pub fn not_as_before(by: &str, probed: Result<State, Fault>) -> Option<String> {
    Some(match probed {
        Ok(State::Before) => return None,
        Ok(State::After) => format!("it still is as {by} left it"),
        Ok(State::Elsewhere(what)) => what,
        Ok(State::Unknowable) => "it cannot be told".to_owned(),
        Err(fault) => format!("it cannot be read: {}", fault.what),
    })
}
