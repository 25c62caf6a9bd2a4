//! The daemon's own logs, metrics and traces.
//!
//! Every happening is one struct in [`happening`]: emitting it writes the log event and moves the
//! metric together, so the two cannot disagree. Own series are named `throughline_self_*` and are
//! served by `/metrics` beside the derived ones; own traces leave only when
//! `OTEL_EXPORTER_OTLP_ENDPOINT` is set, never to ourselves.

pub mod happening;
mod logs;

use std::collections::BTreeMap;

use prometheus::core::Collector as _;
use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

pub use logs::{Guard, LogFormat, start};

/// Seconds, from the shortest step of the journey to what nobody should wait for.
const BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The daemon's own series. Cheap to share; every field counts itself.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    doors: DoorMetrics,
    journal_records: IntCounter,
    journal_bytes: IntCounter,
    data_dir: DataDirMetrics,
    apply_lag: Histogram,
    evaluations: IntCounter,
    evaluations_missed: IntCounter,
    evaluation_duration: Histogram,
    messages: IntCounterVec,
    pushed_alerts: IntCounterVec,
    gaps: IntCounterVec,
    series: SeriesMetrics,
    outward: Outward,
    /// 1 once recovery is over.
    pub ready: IntGauge,
}

impl Metrics {
    /// Fails only where a name is registered twice, which the tests would show.
    pub fn try_new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counters =
            |name: &str, help: &str, labels: &[&str]| counters(&registry, (name, help), labels);
        let counter = |name: &str, help: &str| -> Result<IntCounter, prometheus::Error> {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let histogram = |name: &str, help: &str| -> Result<Histogram, prometheus::Error> {
            let histogram =
                Histogram::with_opts(HistogramOpts::new(name, help).buckets(BUCKETS.to_vec()))?;
            registry.register(Box::new(histogram.clone()))?;
            Ok(histogram)
        };
        let ready = IntGauge::new("throughline_self_pipeline_ready", "1 once recovery is over")?;
        registry.register(Box::new(ready.clone()))?;
        Ok(Self {
            doors: DoorMetrics::try_new(&registry)?,
            journal_records: counter("throughline_self_journal_records_total", "Records on disk")?,
            journal_bytes: counter(
                "throughline_self_journal_written_bytes_total",
                "Bytes of records on disk, before compression",
            )?,
            data_dir: DataDirMetrics::try_new(&registry)?,
            apply_lag: histogram(
                "throughline_self_correlate_apply_lag_seconds",
                "From a record's log time until it is applied",
            )?,
            evaluations: counter(
                "throughline_self_evaluate_ticks_total",
                "Ticks at which rules were evaluated",
            )?,
            evaluations_missed: counter(
                "throughline_self_evaluate_missed_ticks_total",
                "Ticks skipped because the one before still ran",
            )?,
            evaluation_duration: histogram(
                "throughline_self_evaluate_duration_seconds",
                "One tick of all due rule groups",
            )?,
            pushed_alerts: counters(
                "throughline_self_forward_alerts_total",
                "Alerts pushed on to real Alertmanagers, each attempt",
                &["outcome"],
            )?,
            messages: counters(
                "throughline_self_notify_attempts_total",
                "Attempts to deliver a message",
                &["outcome", "receiver"],
            )?,
            gaps: counters(
                "throughline_self_gaps_found_total",
                "What was found lacking in the telemetry of functions",
                &["kind"],
            )?,
            series: SeriesMetrics::try_new(&registry)?,
            outward: Outward::try_new(&registry)?,
            ready,
            registry,
        })
    }

    /// How the journal is, seen once a tick.
    pub fn note_journal(&self, health: JournalSeen) {
        self.data_dir.size.set(i64::try_from(health.disk_bytes).unwrap_or(i64::MAX));
        self.data_dir.full.set(i64::from(health.is_disk_full));
    }

    /// Batches refused so far, by cause.
    pub fn refusals(&self) -> BTreeMap<String, u64> {
        counted(&self.doors.refusals)
    }

    /// Bounds of listeners that were met so far, by which.
    #[cfg(test)]
    pub fn limits_met(&self) -> BTreeMap<String, u64> {
        counted(&self.doors.limits)
    }

    /// The present values, for `/metrics`.
    pub fn gather(&self) -> Vec<prometheus::proto::MetricFamily> {
        self.registry.gather()
    }
}

/// Counters by their only label.
fn counted(counters: &IntCounterVec) -> BTreeMap<String, u64> {
    let families = counters.collect();
    let metrics = families.iter().flat_map(prometheus::proto::MetricFamily::get_metric);
    let counted = metrics.map(|metric| {
        let label = metric.get_label().first().map(|label| label.value().to_owned());
        let n = crate::number::u64_from_f64(metric.get_counter().get_value());
        (label.unwrap_or_default(), n)
    });
    counted.collect()
}

/// What a tick sees of the journal.
#[derive(Clone, Copy, Debug)]
pub struct JournalSeen {
    pub disk_bytes: u64,
    pub is_disk_full: bool,
}

/// Of the data directory.
#[derive(Debug)]
struct DataDirMetrics {
    replayed: IntCounter,
    snapshot_pause: Histogram,
    troubles: IntCounterVec,
    lasting: IntGaugeVec,
    size: IntGauge,
    full: IntGauge,
}

impl DataDirMetrics {
    fn try_new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let replayed = IntCounter::new(
            "throughline_self_journal_records_replayed_total",
            "Records read back at start",
        )?;
        let pause = HistogramOpts::new(
            "throughline_self_journal_snapshot_pause_seconds",
            "How long records waited while a snapshot was taken",
        );
        let snapshot_pause = Histogram::with_opts(pause.buckets(BUCKETS.to_vec()))?;
        let troubles = IntCounterVec::new(
            Opts::new(
                "throughline_self_pipeline_troubles_total",
                "What was found wrong with the data directory or the clock",
            ),
            &["kind"],
        )?;
        let lasting = IntGaugeVec::new(
            Opts::new(
                "throughline_self_pipeline_troubles_lasting",
                "1 while a trouble that has an end lasts, 0 once it is over",
            ),
            &["kind"],
        )?;
        registry.register(Box::new(lasting.clone()))?;
        let size = IntGauge::new(
            "throughline_self_journal_size_bytes",
            "Bytes of the journal's segments, spare ones included",
        )?;
        let full = IntGauge::new(
            "throughline_self_journal_disk_full",
            "1 while the disk has no space but the reserve",
        )?;
        registry.register(Box::new(replayed.clone()))?;
        registry.register(Box::new(snapshot_pause.clone()))?;
        registry.register(Box::new(troubles.clone()))?;
        registry.register(Box::new(size.clone()))?;
        registry.register(Box::new(full.clone()))?;
        Ok(Self { replayed, snapshot_pause, troubles, lasting, size, full })
    }
}

/// Of listeners and receivers.
#[derive(Debug)]
struct DoorMetrics {
    batches: IntCounterVec,
    refusals: IntCounterVec,
    errors: IntCounterVec,
    limits: IntCounterVec,
}

impl DoorMetrics {
    fn try_new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counters =
            |name: &str, help: &str, labels: &[&str]| counters(registry, (name, help), labels);
        Ok(Self {
            batches: counters(
                "throughline_self_receive_batches_total",
                "Batches on disk and acknowledged",
                &["receiver"],
            )?,
            refusals: counters(
                "throughline_self_receive_refusals_total",
                "Batches refused, to come again later",
                &["cause"],
            )?,
            errors: counters(
                "throughline_self_receive_errors_total",
                "Deliveries answered with an error, by its code",
                &["code"],
            )?,
            limits: counters(
                "throughline_self_listen_limits_met_total",
                "Connections and requests that met a bound of their listener, by which",
                &["limit"],
            )?,
        })
    }
}

/// Of the series store.
#[derive(Debug)]
struct SeriesMetrics {
    held: IntGauge,
    bytes: IntGaugeVec,
    dropped: IntCounterVec,
}

impl SeriesMetrics {
    fn try_new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let held = IntGauge::new("throughline_self_series_held", "Series that are held")?;
        let bytes = IntGaugeVec::new(
            Opts::new(
                "throughline_self_series_bytes",
                "Bytes of series in memory and in blocks on disk",
            ),
            &["place"],
        )?;
        let dropped = IntCounterVec::new(
            Opts::new(
                "throughline_self_series_dropped_total",
                "What the series store lost to its bounds or to the disk, by cause",
            ),
            &["cause"],
        )?;
        registry.register(Box::new(held.clone()))?;
        registry.register(Box::new(bytes.clone()))?;
        registry.register(Box::new(dropped.clone()))?;
        Ok(Self { held, bytes, dropped })
    }
}

/// Counts of what others ask of the series, and of what they are sent.
#[derive(Debug)]
struct Outward {
    queries_limited: IntCounterVec,
    samples_forwarded: IntCounterVec,
    forward_skipped: IntCounterVec,
}

impl Outward {
    fn try_new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counters =
            |name: &str, help: &str, labels: &[&str]| counters(registry, (name, help), labels);
        Ok(Self {
            queries_limited: counters(
                "throughline_self_serve_queries_limited_total",
                "Queries that met a bound, by which",
                &["limit"],
            )?,
            samples_forwarded: counters(
                "throughline_self_forward_samples_total",
                "Samples answered by a remote write endpoint, by how",
                &["endpoint", "outcome"],
            )?,
            forward_skipped: counters(
                "throughline_self_forward_skipped_seconds_total",
                "Time whose samples a remote write endpoint never gets",
                &["endpoint"],
            )?,
        })
    }
}

fn counters(
    registry: &Registry,
    (name, help): (&str, &str),
    labels: &[&str],
) -> Result<IntCounterVec, prometheus::Error> {
    let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
    registry.register(Box::new(counter.clone()))?;
    Ok(counter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_own_series_has_the_prefix_and_no_name_is_there_twice() {
        let metrics = Metrics::try_new().expect("names are unique");
        for family in metrics.gather() {
            assert!(family.name().starts_with("throughline_self_"), "{}", family.name());
        }
    }
}
