//! Receive: to be written.
