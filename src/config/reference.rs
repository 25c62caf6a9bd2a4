//! The configuration reference: the one text that the README shows and that is checked against the
//! defaults, so that it cannot drift.

/// Every key with its default and meaning. Loading it gives exactly the defaults.
pub const REFERENCE: &str = include_str!("reference.yaml");
