//! Config: to be written.
