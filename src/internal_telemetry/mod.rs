//! Internal_telemetry: to be written.
