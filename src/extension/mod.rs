//! The extension: the sidecar inside a Lambda environment.
//!
//! What comes in: telemetry that the platform posts to a local listener, OTLP that the function's own
//! SDK exports to another. What goes out: batches to a Throughline, each under a key that stays the same
//! however often it is sent. Never does it fail a function: without settings that can be used, without a
//! subscription, without a destination it keeps the environment's life going and says what is wrong.
//!
//! It is no daemon: one thread, no journal, a bounded memory. What it took and could not deliver is lost
//! with its environment; what it had to drop is told to the destination as `platform.logsDropped`.
//!
//! Sources: docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html, …/telemetry-api.html.

mod forward;
mod life;
mod local;
mod otlp;
mod runtime_api;
mod settings;
mod shared;
mod spill;
mod telemetry;

pub use life::{Error, idle, run};
pub use settings::{HELP, Settings};
