//! The store itself: takes deltas and samples, ages them, keeps within its bounds.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::blocks::Blocks;
use super::bounds::Bounds;
use super::catalog::METRICS;
use super::counter::to_parts;
use super::lateness::{Lateness, Latenesses};
use super::looks::Looks;
use super::remarks::Remarks;
use super::seal::Sealing;
use super::slots::Zones;
use super::table::{Admission, Data, ENTRY_BYTES, Entry, Kind, SeriesId, Table};
use super::windows::Windows;
use super::{Matcher, Sample, SampleValue};
use crate::number::{i64_from_u64, u64_from_usize};
use crate::signal::{Exemplar, Labels, MetricMetadata, Remark, Text, Timestamp};

/// Checked settings. `Default` is the contract's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// How long a sample can be queried.
    pub retention: Duration,
    pub memory_max_bytes: u64,
    /// Bytes of all blocks on disk; at the bound the oldest block goes.
    pub size_max_bytes: u64,
    /// Series of one derived metric, or of one whose deltas are pushed; more go to one overflow series.
    pub series_per_metric_max: usize,
    /// Series of one metric whose samples are pushed or scraped; more are dropped, since the samples of
    /// several sources do not add up to anything.
    pub sampled_per_metric_max: usize,
    /// How long after its time something may still be corrected in the usual way: nothing younger is
    /// sealed, or loses its second.
    pub allowed_lateness: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            retention: Duration::from_hours(720),
            memory_max_bytes: 100 << 20,
            size_max_bytes: 10 << 30,
            series_per_metric_max: 2000,
            sampled_per_metric_max: 50_000,
            allowed_lateness: Duration::from_mins(15),
        }
    }
}

/// What a query asks for: all series that match, with their samples in `(start, end]`.
#[derive(Clone, Debug)]
pub struct Selection<'a> {
    pub matchers: &'a [Matcher],
    /// Milliseconds since the epoch, exclusive.
    pub start: i64,
    /// Milliseconds since the epoch, inclusive.
    pub end: i64,
    /// Samples that the query may still read, over all its series.
    pub samples_max: usize,
    /// Only the ends of these windows are looked at, and only of counters.
    pub windows: Option<&'a Windows>,
    /// Only what is the newest sample at one of these times is looked at, the last of which is `end`: of
    /// floats that are kept as they are, others need not be given.
    pub looks: Option<Looks>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    #[error("the series block {name} is damaged; it is set aside, ask again")]
    Damaged { name: String },
    #[error(
        "the query would read more than {max} samples (query.samples_max); narrow its selectors or its range"
    )]
    TooManySamples { max: usize },
    #[error("the selection was ended before it was whole")]
    Ended,
}

/// Rough cost of what arrives between two exact counts.
const COUNTER_ADD_BYTES: usize = 16;
const OBSERVE_BYTES: usize = 64;
const APPEND_BYTES: usize = 2;
/// At the memory bound a tenth more than needed is dropped, so that it is not reached again at once.
const SLACK: u64 = 10;

/// What the store lost to its bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// Gauge, pushed and recorded samples dropped before their retention ended, oldest first.
    pub samples: u64,
    /// Blocks that were dropped before their retention ended, at the bound of the folder.
    pub early_blocks: u64,
    /// Blocks that were found damaged and set aside.
    pub blocks: u64,
    /// Times that a block could not be written; what it would have held stays in memory.
    pub failed_writes: u64,
    /// Slots of derived series whose resolution was given up; their sums stay.
    pub slots: u64,
    /// Thresholds of objectives that got no classic bucket.
    pub thresholds: u64,
    /// Samples and deltas that named a series of another kind.
    pub mismatched: u64,
    /// Pushed exemplars and metadata beyond their bounds.
    pub remarks: u64,
}

impl Dropped {
    /// Each count with its name in the daemon's own metrics.
    pub fn by_cause(&self) -> [(&'static str, u64); 7] {
        [
            ("samples_at_memory_bound", self.samples),
            ("slots_at_memory_bound", self.slots),
            ("blocks_at_disk_bound", self.early_blocks),
            ("damaged_blocks", self.blocks),
            ("failed_writes", self.failed_writes),
            ("thresholds", self.thresholds),
            ("mismatched", self.mismatched),
        ]
    }
}

/// All series: the newest in memory, what is older in blocks, with bounds.
#[derive(Debug, Serialize, Deserialize)]
pub struct Series {
    pub(super) config: Config,
    pub(super) table: Table,
    pub(super) zones: Zones,
    pub(super) bounds: Bounds,
    /// The last tick.
    pub(super) now: Timestamp,
    pub(super) lateness: Latenesses,
    pub(super) bytes: u64,
    pub(super) dropped: Dropped,
    pub(super) blocks: Blocks,
    pub(super) sealing: Sealing,
    pub(super) remarks: Remarks,
}

impl Series {
    pub fn new(config: Config) -> Self {
        Self {
            config,
            table: Table::default(),
            zones: Zones::default(),
            bounds: Bounds::default(),
            now: Timestamp::EPOCH,
            lateness: Latenesses::default(),
            bytes: 0,
            dropped: Dropped::default(),
            blocks: Blocks::default(),
            sealing: Sealing::default(),
            remarks: Remarks::default(),
        }
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// A reload: what is held stays, new bounds hold from the next tick.
    pub fn set_config(&mut self, config: Config) {
        self.config = config;
    }

    /// Classic buckets at the thresholds of latency objectives, in seconds, beside the classic ones.
    /// A new one counts what happens from now on.
    pub fn set_thresholds(&mut self, thresholds: &[f64]) {
        let from = if self.now == Timestamp::EPOCH { i64::MIN } else { second(self.now) + 1 };
        let refused = self.bounds.set_thresholds(thresholds, from);
        self.dropped.thresholds += u64_from_usize(refused);
    }

    /// Adds `delta` (negative for a correction) to a derived counter, in the slot of `at`.
    pub fn add(&mut self, labels: &Labels, at: Timestamp, delta: f64) {
        self.add_to(&Address::new(labels.clone()), at, delta);
    }

    /// As [`Series::add`], where the same is added to again and again.
    pub fn add_to(&mut self, address: &Address, at: Timestamp, delta: f64) {
        if delta == 0.0 || delta.is_nan() {
            return;
        }
        let key = self.zones.key(second(at));
        if let Some(Entry { data: Data::Counter(counter), parts, .. }) =
            self.resolve_at(address, Kind::Counter, COUNTER_ADD_BYTES)
        {
            counter.add(key, to_parts(delta, *parts));
        }
    }

    /// Adds `count` observations of `value` (negative for a correction) to a derived histogram.
    pub fn observe(&mut self, labels: &Labels, at: Timestamp, value: f64, count: i64) {
        let seen = Observation { value, count, exemplar: None };
        self.observe_at(&Address::new(labels.clone()), at, seen);
    }

    /// As [`Series::observe`], where the same is observed again and again; and remembers where the
    /// observation came from.
    pub fn observe_at(&mut self, address: &Address, at: Timestamp, seen: Observation<'_>) {
        let Observation { value, count, exemplar } = seen;
        if value.is_nan() || count == 0 {
            return;
        }
        // Skewed clocks make waits below zero; they count as none.
        let value = value.max(0.0);
        let key = self.zones.key(second(at));
        let class = self.bounds.class(value, second(at));
        if let Some(Entry { data: Data::Distribution(held, exemplars), .. }) =
            self.resolve_at(address, Kind::Distribution, OBSERVE_BYTES)
        {
            held.observe(key, value, class, count);
            match exemplar {
                Some(trace_id) if count > 0 => exemplars.note(at, value, trace_id),
                Some(trace_id) => exemplars.withdraw(at, value, trace_id),
                None => {}
            }
        }
    }

    /// Stores a gauge, scraped, pushed or recorded sample as it is.
    pub fn append(&mut self, labels: &Labels, sample: Sample) {
        self.append_since(labels, None, sample);
    }

    /// As [`Series::append`], of a counter that counts since `start`: it was zero there, so that its first
    /// value counts, and a restart shows. Of a start that is older than `allowed_lateness` nothing follows.
    /// Where a sample is told for that very time, that is what it was.
    pub fn append_since(&mut self, labels: &Labels, start: Option<Timestamp>, sample: Sample) {
        let lateness = self.config.allowed_lateness;
        let oldest = || Timestamp::from_millis(sample.t).saturating_sub(lateness);
        let start = start.filter(|start| *start >= oldest()).map(Timestamp::as_millis);
        if let Some(Entry { data: Data::Plain(plain), .. }) =
            self.resolve(labels, Kind::Plain, APPEND_BYTES)
        {
            if let Some(start) = start
                && start < sample.t
                && !plain.has_in(start, start)
            {
                plain.insert(Sample { t: start, value: sample.value.zero() });
            }
            plain.insert(sample);
        }
    }

    fn resolve_at(&mut self, address: &Address, kind: Kind, bytes: usize) -> Option<&mut Entry> {
        if let Some(id) = address.known(&self.table, kind) {
            self.bytes += u64_from_usize(bytes);
            return self.table.get_mut(id);
        }
        let entry = self.resolve(&address.labels, kind, bytes)?;
        address.remember(entry);
        Some(entry)
    }

    fn resolve(&mut self, labels: &Labels, kind: Kind, bytes: usize) -> Option<&mut Entry> {
        let Config { memory_max_bytes, series_per_metric_max, sampled_per_metric_max, .. } =
            self.config;
        // The last quarter is for what is derived: senders cannot blind us to their neighbours.
        let (bytes_max, per_metric) = match kind {
            Kind::Plain => (memory_max_bytes / 4 * 3, sampled_per_metric_max),
            _ => (memory_max_bytes, series_per_metric_max),
        };
        let admission = if self.bytes >= bytes_max {
            Admission::Closed
        } else {
            Admission::UpTo { per_metric }
        };
        let (entry, n_new) = self.table.resolve(labels, kind, admission, second(self.now))?;
        self.bytes += u64_from_usize(bytes + n_new * ENTRY_BYTES);
        Some(entry)
    }

    /// Of the contract's metrics and of those that were pushed, in the order of their names.
    pub fn metadata(&self) -> Vec<MetricMetadata> {
        let own = METRICS.iter().map(|metric| MetricMetadata {
            name: metric.name.into(),
            kind: metric.kind,
            help: metric.help.into(),
            unit: metric.unit.into(),
        });
        let mut all: Vec<MetricMetadata> = self.remarks.metrics().cloned().chain(own).collect();
        // The contract's word comes last, so it stands where a pusher claims its name.
        all.reverse();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all.dedup_by(|later, first| later.name == first.name);
        all
    }

    /// Takes what was pushed about series.
    pub fn remark(&mut self, remark: &Remark) {
        match remark {
            Remark::Metric(metadata) => self.remarks.describe(metadata),
            Remark::Exemplar { series, exemplar } => self.remarks.exemplar(series, exemplar),
            Remark::Odd(_) => {}
            Remark::Target { labels, time } => {
                self.append(labels, Sample { t: time.as_millis(), value: SampleValue::Float(1.0) });
            }
        }
    }

    /// p99 over 15 min of (applied - event time) of what reached series of this metric.
    pub fn lateness(&self, metric: &str) -> Duration {
        let by_name = self.lateness.p99(metric, self.now);
        if !by_name.is_zero() {
            return by_name;
        }
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| metric.strip_suffix(end));
        base.map_or(Duration::ZERO, |base| self.lateness.p99(base, self.now))
    }

    /// Notes how late something of this metric was applied, `n` times.
    pub fn note_lateness(&mut self, metric: &str, late: Lateness, n: u64, now: Timestamp) {
        self.lateness.note(metric, late, n, now);
    }

    /// Contributions that found their metric full: they are in its overflow series, or for gauges
    /// nowhere.
    pub fn overflowed(&self) -> u64 {
        self.table.overflowed
    }

    /// What was lost to bounds.
    pub fn dropped(&self) -> Dropped {
        Dropped {
            mismatched: self.table.mismatched,
            remarks: self.remarks.dropped(),
            ..self.dropped
        }
    }

    /// Estimate of the memory that is held, in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes of all blocks on disk.
    pub fn disk_bytes(&self) -> u64 {
        self.blocks.n_bytes()
    }

    /// How many series there are, those without visible samples included.
    pub fn n_series(&self) -> usize {
        self.table.len()
    }

    /// Forgets what is older than retention; called on ticks. Time never goes back.
    pub fn tick(&mut self, now: Timestamp) {
        let before = self.now;
        self.now = now.max(before);
        if self.now.as_secs() / 60 != before.as_secs() / 60 {
            self.lateness.forget(self.now);
            let before = self.zones;
            let margin = Duration::from_mins(5);
            let fine = self.config.allowed_lateness.saturating_add(margin);
            self.zones.advance(second(self.now), i64_from_u64(fine.as_secs()));
            self.age(self.zones != before);
            self.forget_blocks();
        }
        self.keep_house();
        if self.bytes > self.config.memory_max_bytes {
            self.bytes = self.count_bytes();
            self.shed();
        }
    }

    fn age(&mut self, is_older: bool) {
        let horizon = self.now.saturating_sub(self.config.retention);
        let (from, zones) = (second(horizon), self.zones);
        let is_aged = |first: Option<i64>, may_coarsen: bool| {
            (is_older && may_coarsen) || first.is_some_and(|first| first < from)
        };
        let ages = |entry: &Entry| match &entry.data {
            Data::Counter(held) => is_aged(held.slots.first(), held.slots.may_coarsen(&zones)),
            Data::Distribution(held, _) => {
                is_aged(held.slots.first(), held.slots.may_coarsen(&zones))
            }
            Data::Plain(plain) => plain.first().is_some_and(|first| first < horizon.as_millis()),
        };
        self.table.change(ages, |entry| match &mut entry.data {
            Data::Counter(counter) => {
                if is_older {
                    counter.slots.coarsen(&zones);
                }
                counter.drop_before(from);
            }
            Data::Distribution(held, _) => {
                if is_older {
                    held.slots.coarsen(&zones);
                }
                held.drop_before(from);
            }
            Data::Plain(plain) => drop(plain.take_before(horizon.as_millis())),
        });
        self.table.sweep(second(self.now));
        self.bytes = self.count_bytes();
    }

    fn count_bytes(&self) -> u64 {
        let held: u64 = self.table.iter().map(|entry| u64_from_usize(entry.bytes())).sum();
        held + u64_from_usize(self.blocks.memory_bytes())
    }

    pub(super) fn recount(&mut self) {
        self.bytes = self.count_bytes();
    }

    /// Gives up what is oldest: first samples, then the resolution of slots that can no longer be
    /// corrected. What derived series sum up to stays.
    fn shed(&mut self) {
        let max = self.config.memory_max_bytes;
        let excess = |bytes: u64| bytes.saturating_sub(max - max / SLACK);
        if self.bytes <= max {
            return;
        }
        let samples = self.table.iter().flat_map(|entry| match &entry.data {
            Data::Plain(plain) => plain.sizes().collect(),
            _ => Vec::new(),
        });
        if let Some(t) = cutoff(samples, excess(self.bytes), 60_000) {
            let is_old = |entry: &Entry| match &entry.data {
                Data::Plain(plain) => plain.first().is_some_and(|first| first < t),
                _ => false,
            };
            let dropped = &mut self.dropped;
            self.table.change(is_old, |entry| {
                if let Data::Plain(plain) = &mut entry.data {
                    dropped.samples += u64_from_usize(plain.take_before(t).len());
                }
            });
        }
        self.bytes = self.count_bytes();
        if self.bytes <= max {
            return;
        }
        let slots = self.table.iter().flat_map(|entry| match &entry.data {
            Data::Counter(counter) => counter.slots.sizes().collect(),
            Data::Distribution(held, _) => held.slots.sizes().collect(),
            Data::Plain(_) => Vec::new(),
        });
        if let Some(to) = cutoff(slots, excess(self.bytes), 600) {
            self.fold_before(to.min(self.zones.fine_from()));
        }
        self.bytes = self.count_bytes();
    }

    fn fold_before(&mut self, to: i64) {
        let dropped = &mut self.dropped;
        let is_derived = |entry: &Entry| entry.data.kind() != Kind::Plain;
        self.table.change(is_derived, |entry| {
            dropped.slots += u64_from_usize(match &mut entry.data {
                Data::Counter(counter) => counter.drop_before(to),
                Data::Distribution(held, _) => held.drop_before(to),
                Data::Plain(_) => 0,
            });
        });
    }
}

/// One observation of a histogram.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observation<'a> {
    pub value: f64,
    /// Negative for a correction.
    pub count: i64,
    /// The trace id, or the request's.
    pub exemplar: Option<&'a Text>,
}

/// Labels that are added to again and again, and the series that they were found to name.
#[derive(Debug)]
pub struct Address {
    labels: Labels,
    found: Mutex<Option<(SeriesId, Labels)>>,
}

impl Address {
    pub fn new(labels: Labels) -> Self {
        Self { labels, found: Mutex::default() }
    }

    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    fn known(&self, table: &Table, kind: Kind) -> Option<SeriesId> {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let (id, labels) = found.as_ref()?;
        // Another store, or a series that went and came again, has other labels at this place.
        let is_it = |entry: &Entry| entry.labels.is_same(labels) && entry.data.kind() == kind;
        table.get(*id).filter(|entry| is_it(entry)).map(|_| *id)
    }

    /// An overflow series is not what the labels name: there may be room for them the next time.
    fn remember(&self, entry: &Entry) {
        if entry.labels == self.labels {
            let found = (entry.id, entry.labels.clone());
            *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
        }
    }
}

/// The whole second in which a time lies.
pub(super) fn second(at: Timestamp) -> i64 {
    i64_from_u64(at.as_secs())
}

/// Before which time to cut so that at least `excess` bytes go, to a multiple of `width`.
fn cutoff(sizes: impl Iterator<Item = (i64, usize)>, excess: u64, width: i64) -> Option<i64> {
    let mut bins: BTreeMap<i64, u64> = BTreeMap::new();
    for (t, bytes) in sizes {
        *bins.entry(t.div_euclid(width)).or_default() += u64_from_usize(bytes);
    }
    let mut freed = 0;
    let mut last = None;
    for (bin, bytes) in bins {
        last = Some((bin + 1).saturating_mul(width));
        freed += bytes;
        if freed >= excess {
            break;
        }
    }
    last
}

impl Series {
    /// Exemplars of series that match, with times in `[start, end]` (milliseconds). A histogram is
    /// found by its own name and by its `_bucket` name.
    pub fn exemplars(
        &self,
        matchers: &[Matcher],
        start: i64,
        end: i64,
    ) -> Vec<(Labels, Vec<Exemplar>)> {
        super::read::exemplars(self, matchers, start, end)
    }
}
