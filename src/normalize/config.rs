//! What logs call things, and what must never reach the disk.

use std::time::Duration;

/// Checked settings. `Default` is the contract's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub fields: Fields,
    pub redact: Redact,
    /// How old a sample of a metric may be: for as long samples are kept.
    pub sample_age_max: Duration,
}

/// Field names (paths with dots reach into objects), beside the names known for each platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    pub correlation_id: Vec<String>,
    pub function: Vec<String>,
    pub invocation_id: Vec<String>,
    pub timestamp: Vec<String>,
    pub level: Vec<String>,
    pub duration_ms: Vec<String>,
    pub error: Vec<String>,
    pub cold_start: Vec<String>,
    pub sent_ids: Vec<String>,
    pub received_ids: Vec<String>,
}

/// Field and attribute names, at any depth, in any case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redact {
    pub drop: Vec<String>,
    /// Replaced by a keyed hash, so that equal values still join.
    pub hash: Vec<String>,
    pub hash_key: Vec<u8>,
}

impl Default for Config {
    fn default() -> Self {
        let correlation_id = ["correlation_id", "correlationId", "x-correlation-id", "workflowId"];
        Self {
            fields: Fields {
                correlation_id: correlation_id.map(String::from).to_vec(),
                function: Vec::new(),
                invocation_id: Vec::new(),
                timestamp: Vec::new(),
                level: Vec::new(),
                duration_ms: Vec::new(),
                error: Vec::new(),
                cold_start: Vec::new(),
                sent_ids: Vec::new(),
                received_ids: Vec::new(),
            },
            redact: Redact::default(),
            sample_age_max: Duration::from_hours(30 * 24),
        }
    }
}
