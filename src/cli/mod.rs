//! Cli: to be written.
