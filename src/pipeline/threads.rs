//! The engine's thread and the evaluator's, and the way from anywhere to the journal.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;

use super::evaluation::entries;
use super::skipped::Skipped;
use super::state::{Entry, State, read};
use crate::clock::Clock;
use crate::correlate::Finding;
use crate::gaps;
use crate::internal_telemetry::Metrics;
use crate::internal_telemetry::happening::{
    AlertChanged, BatchesTurnedAway, EvaluationMissed, GapFound, RecordApplied, RulesEvaluated,
    SeriesHeld, SnapshotTaken, TroubleFound,
};
use crate::journal::{self, Committed, Journal, Point, Priority, Refused, Taken};
use crate::notify::Message;
use crate::number::{f64_from_u64, u64_from_usize};
use crate::receive::Weight;
use crate::receive::room::Promise;
use crate::series::{Sample, SampleValue};
use crate::signal::{Batch, Labels, METRIC_NAME, Text, Timestamp};

/// How often the daemon's own metrics become series, so that dashboards and rules can use them.
const OWN_METRICS_EVERY: Duration = Duration::from_secs(15);

/// A record on its way through the journal, and whom to tell once it is applied.
#[derive(Debug)]
pub(super) struct Item {
    entry: Entry,
    pub(super) applied: Option<SyncSender<()>>,
    /// What it was admitted with.
    load: Load,
}

/// What a batch holds until it is applied.
#[derive(Debug, Default)]
pub(super) struct Load {
    #[expect(dead_code, reason = "held for its drop")]
    weight: Weight,
    /// Kept, and not given back, once it is applied.
    promise: Option<Promise>,
}

impl Load {
    pub(super) const fn new(weight: Weight, promise: Promise) -> Self {
        Self { weight, promise: Some(promise) }
    }
}

/// The way into the journal. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Log {
    journal: Journal<Item>,
}

impl Log {
    pub(super) fn new(journal: Journal<Item>) -> Self {
        Self { journal }
    }

    /// Resolves when the record is on disk, with its length in bytes before compression.
    pub(super) async fn write(&self, entry: Entry, priority: Priority) -> Result<u64, Refused> {
        self.write_loaded(entry, Load::default(), priority).await
    }

    /// The same of a delivery, which keeps what it was admitted with until it is applied.
    pub(super) async fn write_batch(&self, batch: Batch, load: Load) -> Result<u64, Refused> {
        self.write_loaded(Entry::Batch(Box::new(batch)), load, Priority::Batch).await
    }

    async fn write_loaded(
        &self,
        entry: Entry,
        load: Load,
        priority: Priority,
    ) -> Result<u64, Refused> {
        let payload = entry.encode().map_err(|_too_large| Refused::Full)?;
        let bytes = u64_from_usize(payload.len());
        let item = Item { entry, applied: None, load };
        let durable = self.journal.append(payload, item, priority)?;
        durable.await.map_err(|_gone| Refused::Poisoned)?.map(|_seq| bytes)
    }

    /// Waits until the record is on disk and applied. For threads.
    pub(super) fn write_and_wait(&self, entry: Entry) -> Result<(), Refused> {
        let payload = entry.encode().map_err(|_too_large| Refused::Full)?;
        let (applied, done) = std::sync::mpsc::sync_channel(1);
        let item = Item { entry, applied: Some(applied), load: Load::default() };
        let durable = self.journal.append(payload, item, Priority::Essential)?;
        durable.blocking_recv().map_err(|_gone| Refused::Poisoned)??;
        done.recv().map_err(|_gone| Refused::Poisoned)
    }

    pub(super) fn is_poisoned(&self) -> bool {
        self.journal.is_poisoned()
    }

    /// Hands the state to the journal's keeper if a snapshot is due. What was kept of requests is brought
    /// to disk before the snapshot counts.
    pub(super) fn snapshot(&self, state: &State, point: Point, metrics: &Metrics) {
        if !self.journal.is_snapshot_due(point.log_time) {
            return;
        }
        let stopwatch = Clock::stopwatch();
        let moment = state.moment(point);
        SnapshotTaken { pause: stopwatch.elapsed(), seq: point.seq }.emit(metrics);
        let archive = Arc::clone(&state.archive);
        let series = Arc::clone(&state.series);
        self.journal.keep(Taken {
            point,
            // A stage that could not be saved fails here, as a disk that takes nothing does.
            make: Box::new(|packed| {
                moment.and_then(|moment| moment.pack(packed)).map_err(std::io::Error::other)
            }),
            before: Box::new(move || archive.persist().map_err(std::io::Error::other)),
            after: Box::new(move || {
                series.write().unwrap_or_else(PoisonError::into_inner).snapshot_kept();
            }),
        });
    }

    pub(super) fn health(&self) -> journal::Health {
        self.journal.health()
    }

    pub(super) fn close(self) {
        self.journal.close();
    }
}

/// What the engine's thread works with.
#[derive(Debug)]
pub(super) struct EngineThread {
    pub(super) state: State,
    pub(super) log: Log,
    pub(super) records: Receiver<Committed<Item>>,
    pub(super) ticks: SyncSender<Timestamp>,
    pub(super) due: mpsc::Sender<Vec<Message>>,
    pub(super) clock: Clock,
    pub(super) metrics: Arc<Metrics>,
    pub(super) skipped: Skipped,
}

impl EngineThread {
    /// Applies records in order until the journal closes.
    pub(super) fn run(self) {
        let mut own_metrics_at = Timestamp::EPOCH;
        let mut told = BTreeMap::new();
        while let Ok(Committed { point, item }) = self.records.recv() {
            let log_time = point.log_time;
            let applied = self.skipped.guard(point.seq, || self.state.apply(&item.entry, log_time));
            let messages = applied.unwrap_or_else(|error| {
                // The state may hold half of the record, and a snapshot must not. What was acknowledged is on
                // disk, so a crash is the way to a whole state.
                tracing::error!(event = "pipeline.record.failed", seq = point.seq, error);
                std::process::abort()
            });
            if let Some(promise) = item.load.promise {
                promise.keep();
            }
            // Told here and not where it is applied: at a start what happened before would read as new.
            if let Entry::Alerts { transitions, .. } = &item.entry {
                transitions.iter().for_each(|transition| AlertChanged { transition }.emit());
            }
            RecordApplied { lag: self.clock.now().since(log_time) }.emit(&self.metrics);
            if !messages.is_empty() && self.due.blocking_send(messages).is_err() {
                tracing::debug!(
                    "the sender stopped; what is due is offered again after the next start"
                );
            }
            if item.entry == Entry::Tick {
                if log_time.since(own_metrics_at) >= OWN_METRICS_EVERY {
                    own_metrics_at = log_time;
                    self.count_findings(&mut told);
                    self.append_own_metrics(log_time);
                }
                if let Err(TrySendError::Full(_)) = self.ticks.try_send(log_time) {
                    EvaluationMissed.emit(&self.metrics);
                }
                self.tell_of_gaps();
                for (cause, n) in self.state.room.take_turned_away() {
                    BatchesTurnedAway { cause, n }.emit(&self.metrics);
                }
                self.log.snapshot(&self.state, point, &self.metrics);
            }
            if let Some(applied) = item.applied {
                // The waiter may have given up.
                let _ = applied.send(());
            }
        }
    }

    fn tell_of_gaps(&self) {
        for found in self.state.new_gaps() {
            let gaps::Finding { kind, ref function, ref field, ref message, .. } = found;
            GapFound { kind, function, field: field.as_deref(), message }.emit(&self.metrics);
        }
    }

    /// What the engine found out about itself counts when it begins and whenever it got worse: rules can
    /// tell of it.
    fn count_findings(&self, told: &mut BTreeMap<&'static str, String>) {
        let found = read(&self.state.engine).own_findings();
        for finding in worse(told, &found) {
            TroubleFound { kind: finding.kind, message: &finding.message, lasts: false }
                .emit(&self.metrics);
        }
    }

    fn append_own_metrics(&self, at: Timestamp) {
        let of_measure = {
            let measure = self.state.measure();
            [
                ("corrections", measure.uncorrectable()),
                ("unsupported", measure.unsupported_points()),
                ("gauges", measure.values_without_gauge()),
            ]
        };
        let mut series = self.state.series.write().unwrap_or_else(PoisonError::into_inner);
        let overflowed = [("overflowed", series.overflowed())];
        SeriesHeld {
            n_series: u64_from_usize(series.n_series()),
            memory_bytes: series.bytes(),
            disk_bytes: series.disk_bytes(),
            dropped: &[&series.dropped().by_cause()[..], &overflowed, &of_measure].concat(),
            damaged_blocks: series.damaged_blocks(),
        }
        .emit(&self.metrics);
        for (labels, value) in own_metrics(&self.metrics) {
            series.append(&labels, Sample { t: at.as_millis(), value: SampleValue::Float(value) });
        }
    }
}

/// The findings that say something else than before: more signals, less lateness, another key. Their
/// numbers only get worse while they stand.
fn worse<'a>(told: &mut BTreeMap<&'static str, String>, found: &'a [Finding]) -> Vec<&'a Finding> {
    told.retain(|kind, _| found.iter().any(|finding| finding.kind == *kind));
    let is_news = |finding: &&Finding| {
        told.insert(finding.kind, finding.message.clone()).as_ref() != Some(&finding.message)
    };
    found.iter().filter(is_news).collect()
}

/// The daemon's own metrics as samples; histograms as their classic series.
fn own_metrics(metrics: &Metrics) -> Vec<(Labels, f64)> {
    let mut samples = Vec::new();
    for family in metrics.gather() {
        for metric in family.get_metric() {
            let pairs: Vec<(Text, Text)> = metric
                .get_label()
                .iter()
                .map(|pair| (pair.name().into(), pair.value().into()))
                .collect();
            let mut add = |suffix: &str, extra: Option<(&str, String)>, value: f64| {
                let name =
                    (Text::from(METRIC_NAME), Text::from(format!("{}{suffix}", family.name())));
                let extra = extra.map(|(name, value)| (Text::from(name), Text::from(value)));
                samples
                    .push((Labels::new(pairs.iter().cloned().chain([name]).chain(extra)), value));
            };
            match family.get_field_type() {
                prometheus::proto::MetricType::HISTOGRAM => {
                    let histogram = metric.get_histogram();
                    for bucket in histogram.get_bucket() {
                        add(
                            "_bucket",
                            Some(("le", bucket.upper_bound().to_string())),
                            f64_from_u64(bucket.cumulative_count()),
                        );
                    }
                    let count = f64_from_u64(histogram.get_sample_count());
                    add("_bucket", Some(("le", "+Inf".to_owned())), count);
                    add("_count", None, count);
                    add("_sum", None, histogram.get_sample_sum());
                }
                prometheus::proto::MetricType::COUNTER => {
                    add("", None, metric.get_counter().get_value());
                }
                _ => add("", None, metric.get_gauge().get_value()),
            }
        }
    }
    samples
}

/// What the evaluator's thread works with.
#[derive(Debug)]
pub(super) struct EvaluatorThread {
    pub(super) state: State,
    pub(super) ticks: Receiver<Timestamp>,
    pub(super) log: Log,
    pub(super) metrics: Arc<Metrics>,
    pub(super) external_url: String,
}

impl EvaluatorThread {
    /// Evaluates after every tick until the engine stops. What it finds happens only once it is on
    /// disk and applied; until then no next evaluation begins.
    pub(super) fn run(self) {
        while let Ok(now) = self.ticks.recv() {
            let _span = tracing::info_span!("evaluate.tick", %now).entered();
            let stopwatch = Clock::stopwatch();
            let mut found = self.state.evaluate(now, &|| stopwatch.elapsed());
            RulesEvaluated { took: stopwatch.elapsed(), missed: found.missed }.emit(&self.metrics);
            self.state.gather_evidence(&mut found.transitions, &self.external_url);
            for entry in entries(found) {
                match self.log.write_and_wait(entry) {
                    // Nothing has changed; what still holds is found again by the next evaluation.
                    Ok(()) | Err(Refused::Full | Refused::DiskFull) => {}
                    // The ticker notices.
                    Err(Refused::Poisoned) => return,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_counts_again_when_it_gets_worse_or_comes_back() {
        let mut told = BTreeMap::new();
        let mut count = |messages: &[&str]| {
            let finding = |message: &&str| Finding {
                kind: "memory",
                message: (*message).to_owned(),
                since: Timestamp::EPOCH,
            };
            let found: Vec<Finding> = messages.iter().map(finding).collect();
            worse(&mut told, &found).len()
        };
        let worse: Vec<usize> =
            [&["1"][..], &["1"], &["2"], &["2"], &[], &["2"]].map(&mut count).into();
        assert_eq!(worse, [1, 0, 1, 0, 0, 1]);
    }
}
