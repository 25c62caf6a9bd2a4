//! Correlate: signals in, requests out.
//!
//! Batches and ticks come in; changes of requests, invocations and messages go out. The engine holds
//! *facts* and works everything else out from the set of them, so neither order of arrival nor repeats
//! can show (laws 1 and 2). In the order of the work: `intake` judges every signal once and puts its
//! fact into a cell; `derive` works out the invocations of cells that changed; `graph` and `edges`
//! join invocations by evidence; `reach` says which request holds which; `settle` says when a request
//! is over; `view` shows it; `freeze` puts it away until something may correct it; `sealing` lets it
//! go. Nothing here reads a clock, waits, or depends on a hash map's order.

pub mod config;
pub mod request;
pub mod ledger;
mod engine;
// what it all lies in
mod table;
mod node_set;
mod few;
mod pack;
mod blocks;
mod frozen;
mod freeze;
mod legacy;
// from signals to facts
mod fact;
mod digest;
mod dedup;
mod intake;
mod precedence;
// from facts to invocations
mod cells;
mod weight;
mod traces;
mod tries;
mod runs;
mod class;
mod known;
mod assemble;
mod judge;
mod environment;
mod derive;
// from invocations to requests
mod graph;
mod points;
mod edges;
mod weak;
mod sharing;
mod reach;
mod rings;
mod rules;
mod settle;
mod tick;
mod stubs;
mod sealing;
mod remembered;
mod burial;
mod erase;
mod saved;
// what is shown
mod hop;
mod messages;
mod cost;
mod critical_path;
mod view;
mod tell;
mod query;
#[cfg(test)]
mod tests;

pub use config::Config;
pub use engine::{Applied, Engine, Finding, Lookup, RequestFilter};
pub use erase::Erased;
pub use precedence::room_for;
pub use request::{Change, Delivery, FinalLine, Hop, Invocation, Outcome, Request, State};
pub use saved::Piece;
pub use tick::Progress;
