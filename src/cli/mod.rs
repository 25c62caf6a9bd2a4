//! Cli: one file a subcommand.

pub mod demo_feed;
pub mod request;
pub mod simulate;
pub mod waterfall;
