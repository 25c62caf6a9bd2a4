//! Simulate: to be written.
