//! Forward: what the daemon found, pushed on to other people's systems.
//!
//! What comes in: copies of state. What goes out: requests to peers that the configuration names. Never
//! does a slow or dead peer hold up anything but itself.

pub mod alertmanagers;
