//! Throughline turns what a serverless system says about itself into whole requests, measures the
//! requests, and wakes people when an objective is in danger.
//!
//! The modules stand in the order of the data's journey: [`receive`] sockets to payloads, [`collect`]
//! what must be asked for, [`normalize`] payloads to one vocabulary, [`journal`] onto the disk, [`correlate`] signals to
//! requests, [`measure`] requests to samples, [`series`] samples to time series, [`evaluate`] rules
//! to alert changes, [`notify`] alert changes to messages, [`serve`] everything to people.

// the journey
pub mod receive;
pub mod collect;
pub mod normalize;
pub mod correlate;
pub mod measure;
pub mod gaps;
pub mod evaluate;
pub mod notify;
pub mod serve;
// what it stands on
pub mod listen;
pub mod journal;
pub mod series;
pub mod promql;
mod template;
pub mod archive;
pub mod forward;
pub mod extension;
pub mod simulate;
pub mod config;
pub mod internal_telemetry;
pub mod signal;
pub mod clock;
pub mod number;
mod shelf;
pub mod go_regex;
// what joins it
pub mod pipeline;
pub mod event_test;
pub mod cli;
