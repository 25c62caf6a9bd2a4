//! How each notifier tells a [`super::Notice`]: one file a notifier.
//!
//! A notice comes in, a request body goes out. Pure: nothing here opens a connection.

pub mod webhook;
