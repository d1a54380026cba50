//! Threads with enough stack for a step: what the guest may use, and what the host functions under it may.

use std::any::Any;
use std::cell::Cell;

use countersign_model::text::excerpt;

use crate::limits::Settings;

/// Stack for host functions, beyond what the guest itself may use.
const HOST_STACK: usize = 8 << 20;
/// Stack for what asks for the steps, when it runs them itself.
const OWN_STACK: usize = 8 << 20;

thread_local! {
    /// How much stack a guest may use on this thread.
    static ROOM: Cell<usize> = const { Cell::new(0) };
}

/// Does the work on a thread that has room for steps of [`Settings::default`], so that each step which it runs need
/// not be given a thread of its own, which costs more than the step itself. A panic is passed on.
///
/// # Errors
/// When no thread can be started; then nothing of the work was done.
pub fn with_room<T: Send>(work: impl FnOnce() -> T + Send) -> std::io::Result<T> {
    let guest = Settings::default().stack_bytes;
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("countersign-steps".to_owned());
        let thread = thread.stack_size(stack(guest).saturating_add(OWN_STACK)).spawn_scoped(scope, || {
            ROOM.set(guest);
            work()
        })?;
        Ok(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

/// Whether this thread has room for a guest that may use so much stack.
pub(crate) fn is_for(guest: usize) -> bool {
    ROOM.get() >= guest
}

/// The stack of a thread for such a guest.
pub(crate) const fn stack(guest: usize) -> usize {
    guest.saturating_add(HOST_STACK)
}

/// What a panic said.
pub(crate) fn said(panic: &(dyn Any + Send)) -> String {
    let what = panic.downcast_ref::<&str>().copied();
    let what = what.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
    format!("the host panicked: {}", excerpt(what, 400))
}
