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

/// Says that this thread's stack may grow to [`ROOM_BYTES`], so that each step which it runs need not be given a thread of its
/// own: that costs more than the step itself, and is more than a worker may do.
pub fn take_room() {
    ROOM.set(Settings::default().stack_bytes);
}

/// The stack that a thread needs for steps of [`Settings::default`] and for what runs them, in bytes.
pub const ROOM_BYTES: usize = (1 << 20) + HOST_STACK + OWN_STACK;

/// Whether this thread has room for a guest that may use so much stack.
pub(crate) fn is_for(guest: usize) -> bool {
    ROOM.get() >= guest
}

/// The stack of a thread for such a guest.
pub(crate) const fn stack(guest: usize) -> usize {
    guest.saturating_add(HOST_STACK)
}

/// What a panic of the host said, in a line that is fit to be shown.
#[must_use]
pub fn said(panic: &(dyn Any + Send)) -> String {
    let what = panic.downcast_ref::<&str>().copied();
    let what = what.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
    format!("the host panicked: {}", excerpt(what, 400))
}
