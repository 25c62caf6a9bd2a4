//! The largest memory use of a function's attempts in the last five minutes, as a gauge.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::correlate::Invocation;
use crate::number::f64_from_u64;
use crate::series::catalog::MEMORY_USED;
use crate::series::{STALE_NAN_BITS, Sample, SampleValue, Series};
use crate::signal::{Labels, METRIC_NAME, Text, Timestamp};

/// Minutes that the gauge looks back, the present one included.
const MINUTES: u64 = 5;
/// An unchanged value is repeated this often: well within the five minutes that a query looks back.
const REPEAT_SECS: u64 = 60;
/// Functions with a gauge; further ones have none.
const FUNCTIONS_MAX: usize = 10_000;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct MemoryUse {
    functions: BTreeMap<Text, Recent>,
    /// Values of functions that have no gauge, since the start.
    #[serde(skip)]
    left_out: u64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Recent {
    /// The largest use by minute of the attempt's end.
    by_minute: BTreeMap<u64, u64>,
    /// What the gauge showed last, and in which second.
    shown: Option<(u64, u64)>,
}

impl MemoryUse {
    /// Values of functions beyond those that have a gauge, since the start.
    pub(super) const fn left_out(&self) -> u64 {
        self.left_out
    }

    pub(super) fn note(&mut self, invocation: &Invocation, now: Timestamp) {
        let Some(used) = invocation.memory_used_bytes else { return };
        let minute = invocation.end.as_secs() / 60;
        if minute < oldest(now) {
            return;
        }
        let is_known = self.functions.contains_key(&invocation.function);
        if !is_known && self.functions.len() >= FUNCTIONS_MAX {
            self.left_out += 1;
            return;
        }
        let recent = self.functions.entry(Text::clone(&invocation.function)).or_default();
        // A clock that runs ahead must not pin a value: what ends in the future ends now.
        let held = recent.by_minute.entry(minute.min(now.as_secs() / 60)).or_default();
        *held = used.max(*held);
    }

    pub(super) fn show(&mut self, series: &mut Series, now: Timestamp) {
        self.functions.retain(|function, recent| {
            recent.by_minute = recent.by_minute.split_off(&oldest(now));
            let labels = || Labels::of(&[(METRIC_NAME, MEMORY_USED), ("faas_name", function)]);
            let Some(used) = recent.by_minute.values().max().copied() else {
                append(series, &labels(), now, f64::from_bits(STALE_NAN_BITS));
                return false;
            };
            let is_due = |(shown, at): (u64, u64)| {
                shown != used || now.as_secs() >= at.saturating_add(REPEAT_SECS)
            };
            if recent.shown.is_none_or(is_due) {
                append(series, &labels(), now, f64_from_u64(used));
                recent.shown = Some((used, now.as_secs()));
            }
            true
        });
    }
}

fn oldest(now: Timestamp) -> u64 {
    (now.as_secs() / 60).saturating_sub(MINUTES - 1)
}

fn append(series: &mut Series, labels: &Labels, now: Timestamp, value: f64) {
    series.append(labels, Sample { t: now.as_millis(), value: SampleValue::Float(value) });
}
