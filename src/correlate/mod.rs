//! Correlate: signals in, requests out.
//!
//! Batches and ticks come in; changes of requests, invocations and messages go out. The engine holds
//! *facts* and works everything else out from the set of them, so neither order of arrival nor repeats
//! can show (laws 1 and 2). In the order of the work: `intake` judges every signal once and puts its
//! fact into a cell; `derive` works out the invocations of cells that changed; `graph` and `edges`
//! join invocations by evidence; `reach` says which request holds which; `settle` says when a request
//! is over; `view` shows it; `sealing` lets it go. Nothing here reads a clock, waits, or depends on a
//! hash map's order.

pub mod config;
mod engine;
pub mod ledger;
pub mod request;
// what it all lies in
mod freeze;
mod frozen;
mod node_set;
mod pack;
mod table;
// from signals to facts
mod dedup;
mod fact;
mod intake;
// from facts to invocations
mod assemble;
mod cells;
mod derive;
mod environment;
mod judge;
mod known;
mod runs;
mod traces;
// from invocations to requests
mod edges;
mod graph;
mod reach;
mod rules;
mod sealing;
mod settle;
mod stubs;
mod weak;
// what is shown
mod cost;
mod critical_path;
mod hop;
mod messages;
mod query;
mod tell;
#[cfg(test)]
mod tests;
mod view;

pub use config::Config;
pub use engine::{Applied, Engine, Finding, Lookup, RequestFilter};
pub use request::{Change, Delivery, Hop, Invocation, Outcome, Request, State};
