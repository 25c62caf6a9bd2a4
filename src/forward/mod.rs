//! Forward: what the daemon found, pushed on to other people's systems.
//!
//! What comes in: copies of state, the store, a time, where an endpoint stands. What goes out: requests
//! to peers that the configuration names: alerts to real Alertmanagers, series by Prometheus remote
//! write, in the order of time. Never does a slow or dead peer hold up anything but itself, never does
//! a counter that left go down.

pub mod alertmanagers;
pub mod endpoint;
pub mod progress;
mod request;
pub mod send;
