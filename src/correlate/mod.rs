//! Correlate: signals in, requests out.

pub mod config;
pub mod request;
pub mod ledger;
mod engine;

pub use config::Config;
pub use engine::{Applied, Engine, Finding, Lookup, RequestFilter};
pub use request::{Change, Delivery, Hop, Invocation, Outcome, Request, State};
