//! What an invocation cost, and each request's share of it.
//!
//! Money is counted in whole femto-dollars (1e-15 USD), so that the shares of one invocation add up to
//! its cost exactly. Prices: AWS Lambda's, by GB-second and request.

use std::collections::BTreeMap;

use super::config::Architecture;
use super::graph::{Node, NodeId};
use super::known::Known;
use super::reach::{Labels, Owner};
use super::rules::Rules;
use crate::number::{f64_from_u64, u64_from_f64, u64_from_usize};

const FEMTO: f64 = 1e15;
const BYTES_PER_GB: f64 = 1_073_741_824.0;

/// The whole cost in femto-dollars; None where billed time or memory is unknown.
pub(super) fn whole(known: &Known, rules: &Rules) -> Option<u64> {
    let billed = known.billed?;
    let memory = f64_from_u64(rules.memory_bytes(known)?);
    let prices = &rules.config.cost;
    let gb_second = match rules.architecture(&known.function) {
        Architecture::X86_64 => prices.gb_second_x86_64,
        Architecture::Arm64 => prices.gb_second_arm64,
    };
    let usd = billed.as_secs_f64() * (memory / BYTES_PER_GB) * gb_second + prices.request;
    Some(u64_from_f64((usd * FEMTO).round()))
}

pub(super) fn usd(femto: u64) -> f64 {
    f64_from_u64(femto) / FEMTO
}

/// The share of one request, by messages; what does not divide goes to the request with the least id.
pub(super) fn share(cost: u64, node: &Node, entry: NodeId) -> u64 {
    // What lies inside of another message is no delivery of its own.
    let known = &node.known;
    let weight = |owner: &Owner| match &owner.labels {
        Labels::All => (known.received.len() - known.envelopes.len()).max(1),
        Labels::Messages(ids) => ids.iter().filter(|id| !known.is_enveloped(id)).count().max(1),
    };
    let weights: BTreeMap<NodeId, u128> = node
        .owners
        .iter()
        .map(|(&id, owner)| (id, u128::from(u64_from_usize(weight(owner)))))
        .collect();
    let total: u128 = weights.values().sum::<u128>().max(1);
    let part = |weight: u128| u64::try_from(u128::from(cost) * weight / total).unwrap_or(cost);
    let own = weights.get(&entry).map_or(0, |&weight| part(weight));
    let least = node.owners.iter().min_by(|(_, a), (_, b)| a.id.cmp(&b.id)).map(|(&id, _)| id);
    if least == Some(entry) {
        let given: u64 = weights.values().map(|&weight| part(weight)).sum();
        own + cost.saturating_sub(given)
    } else {
        own
    }
}
