//! Joins the stages: threads, channels, start, drain, stop.
//!
//! ```text
//! receivers -> deliveries -> journal (fdatasync) -> engine thread -> due messages -> sender
//!                               ^                        | tick
//!                               +------ alerts ---- evaluator thread
//! ```
//! Every arrow is a bounded channel. State changes only in the engine thread, in the journal's order;
//! the evaluator reads it and writes what it found back through the journal.

mod deliver;
mod doors;
mod erase;
mod evaluation;
mod evidence;
mod failing;
mod folder;
mod forwarding;
mod recover;
mod refusing;
mod rehearsal;
mod reload;
pub mod replay;
mod saved;
mod scratch;
mod setup;
mod skipped;
mod start;
mod state;
mod terms;
#[cfg(test)]
mod tests;
mod threads;
mod ticker;
mod troubles;
mod verify;

pub use erase::{Erasure, ErasureKey, erase};
pub use rehearsal::{Happened, Rehearsal};
pub use start::{Pipeline, Settings, Stopped};
pub use state::{Entry, State};
pub use verify::{Check, Loss, Repair, repair, verify};
