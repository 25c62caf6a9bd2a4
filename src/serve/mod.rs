//! Serve: to be written.
