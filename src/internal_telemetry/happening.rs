//! One struct a happening: its `emit` is the only place that logs it and counts it.
//!
//! Event names are `<stage>.<thing>.<verb>`, the verbs from a closed list: started, stopped, accepted,
//! refused, replayed, applied, evaluated, missed, delivered, failed, reloaded, found.

use std::time::Duration;

use tracing::{debug, error, info, warn};

use super::Metrics;
use crate::number::i64_from_u64;
use crate::signal::Receiver;

/// A batch is on disk.
#[derive(Debug)]
pub struct BatchAccepted {
    pub receiver: Receiver,
    pub payload_bytes: u64,
}

impl BatchAccepted {
    pub fn emit(&self, metrics: &Metrics) {
        metrics.doors.batches.with_label_values(&[self.receiver.as_str()]).inc();
        metrics.journal_records.inc();
        metrics.journal_bytes.inc_by(self.payload_bytes);
    }
}

/// A batch has to come again later.
#[derive(Debug)]
pub struct BatchRefused {
    pub cause: &'static str,
}

impl BatchRefused {
    pub fn emit(&self, metrics: &Metrics) {
        metrics.doors.refusals.with_label_values(&[self.cause]).inc();
        debug!(event = "receive.batch.refused", cause = self.cause);
    }
}

/// Batches that were refused before they were decoded.
#[derive(Debug)]
pub struct BatchesTurnedAway {
    /// One of `receive::CAUSES`.
    pub cause: &'static str,
    pub n: u64,
}

impl BatchesTurnedAway {
    pub fn emit(&self, metrics: &Metrics) {
        if self.n > 0 {
            metrics.doors.refusals.with_label_values(&[self.cause]).inc_by(self.n);
            debug!(event = "receive.batches.refused", cause = self.cause, n = self.n);
        }
    }
}

/// Deliveries were answered with an error, refusals among them.
#[derive(Debug)]
pub struct DeliveriesFailed {
    pub code: &'static str,
    pub n: u64,
}

impl DeliveriesFailed {
    pub fn emit(&self, metrics: &Metrics) {
        metrics.doors.errors.with_label_values(&[self.code]).inc_by(self.n);
        debug!(event = "receive.deliveries.failed", code = self.code, n = self.n);
    }
}

/// Connections or requests met a bound of a listener.
#[derive(Debug)]
pub struct LimitMet {
    pub limit: &'static str,
    pub n: u64,
}

impl LimitMet {
    pub fn emit(&self, metrics: &Metrics) {
        metrics.doors.limits.with_label_values(&[self.limit]).inc_by(self.n);
        debug!(event = "listen.limit.found", limit = self.limit, n = self.n);
    }
}

/// New connections see another certificate.
#[derive(Debug)]
pub struct CertificateChanged;

impl CertificateChanged {
    pub fn emit(&self) {
        info!(event = "listen.certificate.reloaded");
    }
}

/// What the series store holds, and what it has lost so far.
#[derive(Debug)]
pub struct SeriesHeld<'a> {
    pub n_series: u64,
    pub memory_bytes: u64,
    pub disk_bytes: u64,
    /// (cause, how often since the store was made).
    pub dropped: &'a [(&'static str, u64)],
    pub damaged_blocks: &'a [String],
}

impl SeriesHeld<'_> {
    pub fn emit(&self, metrics: &Metrics) {
        metrics.series.held.set(i64_from_u64(self.n_series));
        for (place, bytes) in [("memory", self.memory_bytes), ("disk", self.disk_bytes)] {
            metrics.series.bytes.with_label_values(&[place]).set(i64_from_u64(bytes));
        }
        for (cause, n) in self.dropped {
            let counter = metrics.series.dropped.with_label_values(&[cause]);
            let more = n.saturating_sub(counter.get());
            counter.inc_by(more);
            if more > 0 {
                warn!(
                    event = "series.bound.found",
                    cause,
                    more,
                    damaged_blocks = ?self.damaged_blocks
                );
            }
        }
    }
}

/// Recovery is over.
#[derive(Debug)]
pub struct JournalReplayed {
    pub records: u64,
    pub took: Duration,
}

impl JournalReplayed {
    pub fn emit(&self, metrics: &Metrics) {
        metrics.data_dir.replayed.inc_by(self.records);
        info!(
            event = "journal.records.replayed",
            records = self.records,
            took_ms = millis(self.took)
        );
    }
}

/// Samples go to a remote write endpoint from now on.
#[derive(Debug)]
pub struct ForwardStarted<'a> {
    pub endpoint: &'a str,
}

impl ForwardStarted<'_> {
    pub fn emit(&self) {
        info!(event = "forward.endpoint.started", endpoint = self.endpoint);
    }
}

/// An endpoint answered: `sent`, `rejected` for good, or `refused` to come again.
#[derive(Debug)]
pub struct SamplesForwarded<'a> {
    pub endpoint: &'a str,
    pub outcome: &'static str,
    pub why: &'a str,
    pub n: u64,
}

impl SamplesForwarded<'_> {
    pub fn emit(&self, metrics: &Metrics) {
        let Self { endpoint, outcome, why, n } = *self;
        metrics.outward.samples_forwarded.with_label_values(&[endpoint, outcome]).inc_by(n);
        match outcome {
            "rejected" => warn!(event = "forward.samples.failed", endpoint, n, why),
            "refused" => debug!(event = "forward.samples.refused", endpoint, n, why),
            _ => debug!(event = "forward.samples.delivered", endpoint, n),
        }
    }
}

/// Time whose samples an endpoint will never get.
#[derive(Debug)]
pub struct ForwardSkipped<'a> {
    pub endpoint: &'a str,
    pub skipped: Duration,
    pub why: &'a str,
}

impl ForwardSkipped<'_> {
    pub fn emit(&self, metrics: &Metrics) {
        let Self { endpoint, skipped, why } = *self;
        metrics.outward.forward_skipped.with_label_values(&[endpoint]).inc_by(skipped.as_secs());
        warn!(event = "forward.samples.missed", endpoint, skipped_s = skipped.as_secs(), why);
    }
}

/// A query met one of its bounds.
#[derive(Debug)]
pub struct QueryLimited {
    pub limit: &'static str,
}

impl QueryLimited {
    pub fn emit(&self, metrics: &Metrics) {
        metrics.outward.queries_limited.with_label_values(&[self.limit]).inc();
        debug!(event = "serve.query.refused", limit = self.limit);
    }
}

/// The state behind one record is in memory, on its way to the disk.
#[derive(Debug)]
pub struct SnapshotTaken {
    /// How long records waited for it.
    pub pause: Duration,
    /// The last record that it holds.
    pub seq: u64,
}

impl SnapshotTaken {
    pub fn emit(&self, metrics: &Metrics) {
        let Self { pause, seq } = *self;
        metrics.data_dir.snapshot_pause.observe(pause.as_secs_f64());
        info!(event = "journal.snapshot.started", seq, pause_ms = millis(pause));
    }
}

/// Something is wrong with what lies on the disk, or with the clock; the daemon goes on.
#[derive(Debug)]
pub struct TroubleFound<'a> {
    /// `damaged_snapshot`, `torn_tail`, `archive_lost`, `clock_step`, ...
    pub kind: &'static str,
    pub message: &'a str,
    /// It is there until [`TroubleEnded`] says otherwise.
    pub lasts: bool,
}

impl TroubleFound<'_> {
    pub fn emit(&self, metrics: &Metrics) {
        metrics.data_dir.troubles.with_label_values(&[self.kind]).inc();
        if self.lasts {
            metrics.data_dir.lasting.with_label_values(&[self.kind]).set(1);
        }
        warn!(event = "pipeline.trouble.found", kind = self.kind, "{}", self.message);
    }
}

/// One of them is over.
#[derive(Debug)]
pub struct TroubleEnded {
    pub kind: &'static str,
}

impl TroubleEnded {
    pub fn emit(&self, metrics: &Metrics) {
        metrics.data_dir.lasting.with_label_values(&[self.kind]).set(0);
        info!(event = "pipeline.trouble.stopped", kind = self.kind);
    }
}

/// The telemetry of a function lacks something.
#[derive(Debug)]
pub struct GapFound<'a> {
    /// `schema_drift` or `logs_dropped`.
    pub kind: &'static str,
    pub function: &'a str,
    pub field: Option<&'a str>,
    pub message: &'a str,
}

impl GapFound<'_> {
    pub fn emit(&self, metrics: &Metrics) {
        let Self { kind, function, field, message } = *self;
        metrics.gaps.with_label_values(&[kind]).inc();
        warn!(event = "gaps.gap.found", kind, function, field, "{message}");
    }
}

/// The disk failed: nothing more is acknowledged.
#[derive(Debug)]
pub struct JournalFailed;

impl JournalFailed {
    pub fn emit(&self) {
        error!(
            event = "journal.disk.failed",
            "a write or sync failed; what was not acknowledged must be sent again; stopping"
        );
    }
}

/// Alerts went to a real Alertmanager, or did not.
#[derive(Debug)]
pub struct AlertsPushed<'a> {
    pub n_alerts: usize,
    pub failure: Option<&'a str>,
}

impl AlertsPushed<'_> {
    pub fn emit(&self, metrics: &Metrics) {
        let outcome = if self.failure.is_none() { "delivered" } else { "failed" };
        let n_alerts = crate::number::u64_from_usize(self.n_alerts);
        metrics.pushed_alerts.with_label_values(&[outcome]).inc_by(n_alerts);
        if let Some(failure) = self.failure {
            warn!(event = "forward.alerts.failed", n_alerts, failure, "they are tried again");
        }
    }
}

/// A record reached the engine.
#[derive(Debug)]
pub struct RecordApplied {
    pub lag: Duration,
}

impl RecordApplied {
    pub fn emit(&self, metrics: &Metrics) {
        metrics.apply_lag.observe(self.lag.as_secs_f64());
    }
}

/// All due rule groups ran once.
#[derive(Debug)]
pub struct RulesEvaluated {
    pub took: Duration,
    /// Groups that were due and not evaluated to their end.
    pub missed: u64,
}

impl RulesEvaluated {
    pub fn emit(&self, metrics: &Metrics) {
        metrics.evaluations.inc();
        metrics.evaluation_duration.observe(self.took.as_secs_f64());
        if self.missed > 0 {
            metrics.evaluations_missed.inc_by(self.missed);
            warn!(event = "evaluate.groups.missed", groups = self.missed);
        }
    }
}

/// A tick came while rules of the one before still ran.
#[derive(Debug)]
pub struct EvaluationMissed;

impl EvaluationMissed {
    pub fn emit(&self, metrics: &Metrics) {
        metrics.evaluations_missed.inc();
        debug!(event = "evaluate.tick.missed");
    }
}

/// An alert changed state, on disk.
#[derive(Debug)]
pub struct AlertChanged<'a> {
    pub transition: &'a crate::evaluate::Transition,
}

impl AlertChanged<'_> {
    pub fn emit(&self) {
        let transition = self.transition;
        let (labels, to) =
            (transition.labels.to_string(), format!("{:?}", transition.to).to_lowercase());
        info!(event = "evaluate.alert.applied", %labels, to, value = transition.value);
    }
}

/// One attempt to deliver a message ended.
#[derive(Debug)]
pub struct MessageAttempted<'a> {
    pub receiver: &'a str,
    pub id: &'a str,
    pub failure: Option<&'a crate::notify::Failure>,
}

impl MessageAttempted<'_> {
    pub fn emit(&self, metrics: &Metrics) {
        let Self { receiver, id, failure } = self;
        match failure {
            None => {
                metrics.messages.with_label_values(&["delivered", receiver]).inc();
                info!(event = "notify.message.delivered", receiver, id);
            }
            Some(failure) => {
                let outcome = if failure.retryable { "failed" } else { "given_up" };
                metrics.messages.with_label_values(&[outcome, receiver]).inc();
                warn!(event = "notify.message.failed", receiver, id, error = %failure.message, retryable = failure.retryable);
            }
        }
    }
}

/// A notifier has so many messages waiting that more must be offered again.
#[derive(Debug)]
pub struct LaneFilled<'a> {
    pub receiver: &'a str,
}

impl LaneFilled<'_> {
    pub fn emit(&self, metrics: &Metrics) {
        metrics.messages.with_label_values(&["waiting", self.receiver]).inc();
        debug!(event = "notify.lane.refused", receiver = self.receiver);
    }
}

/// The configuration was read again.
#[derive(Debug)]
pub struct ConfigReloaded<'a> {
    /// Errors of a refused configuration; the old one stays.
    pub errors: &'a [crate::signal::Diagnostic],
}

impl ConfigReloaded<'_> {
    pub fn emit(&self) {
        if self.errors.is_empty() {
            info!(event = "config.file.reloaded");
        }
        for error in self.errors {
            error!(event = "config.file.refused", place = %format_args!("{}:{}:{}", error.file, error.line, error.col), error = error.message);
        }
    }
}

fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}
