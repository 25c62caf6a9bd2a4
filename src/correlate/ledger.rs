//! The books of law 5: what became of every signal of every accepted batch.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::signal::Receiver;

/// Counts by receiver. `received = applied + duplicate + conflict + rejected + filtered + late + dropped + pending`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    pub receivers: BTreeMap<Receiver, Counts>,
    pub undecodable: Undecodable,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub received: u64,
    pub applied: u64,
    pub duplicate: u64,
    pub conflict: u64,
    pub rejected: u64,
    pub filtered: u64,
    pub late: u64,
    pub dropped: BTreeMap<String, u64>,
    pub pending: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undecodable {
    pub batches: u64,
    pub bytes: u64,
}
