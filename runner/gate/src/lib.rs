//! Permit, perform, record: the one gate that every host call goes through.
//!
//! A guest's import becomes a [`Call`](countersign_model::Call), and [`Gate`] is the only
//! [`Port`](countersign_capability::Port) that performs calls. What it does with a write depends on
//! its work: observing refuses it, rehearsing applies it to an overlay and adds it to the plan, and
//! live it is compared with the plan, journaled, applied and marked done.

#![forbid(unsafe_code)]

mod allowance;
mod back;
mod calls;
mod denials;
mod gate;
mod keeping;
mod live;
mod proof;
mod rehearsal;
mod restoring;
mod sensitive;
mod sessions;
mod taint;
mod usage;

pub use allowance::{Allowance, Bounds};
pub use calls::{CALL_GRACE, Calls, Overdue};
pub use denials::Denials;
pub use gate::{Gate, GatePort, ReadRecord, Step, Witness, Work};
pub use live::{INTERRUPTED, Live, NotAsBefore, Tally, Unanswered, Undo, Undone, Validators, let_go};
pub use proof::First;
pub use rehearsal::Rehearsal;
pub use restoring::{NotRestored, restore, restored};
pub use sensitive::Sensitive;
pub use sessions::{CALL_TIME, Sessions};
pub use taint::WITHHELD;
pub use usage::{Usage, Used};
