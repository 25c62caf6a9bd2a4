//! The state of the daemon as a function of the journal: one record in, one change of everything.
//!
//! The same [`State::apply`] runs live, right after a record is on disk, and at recovery. It does no
//! I/O but for the archive, which replay makes anew.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockWriteGuard};

use serde::{Deserialize, Serialize};

use crate::archive::Archive;
use crate::correlate::{Change, Engine};
use crate::evaluate::{Evaluator, Recorded, Transition};
use crate::internal_telemetry::happening::AlertChanged;
use crate::measure::Measure;
use crate::normalize::metric_stream;
use crate::notify::{Command, Dispatcher, Message, Receipt};
use crate::number::f64_from_u64;
use crate::series::{STALE_NAN_BITS, Sample, SampleValue, Series};
use crate::signal::{Batch, Labels, METRIC_NAME, SignalKind, Timestamp};

/// What the journal holds. New kinds go at the end: the position is part of the format.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Entry {
    Batch(Box<Batch>),
    /// Time passed; ages count these.
    Tick,
    Alerts {
        transitions: Vec<Transition>,
        recorded: Vec<Recorded>,
    },
    Receipt(Receipt),
    /// A silence, or alerts that others found.
    Command(Command),
}

impl Entry {
    /// The bytes that go onto the disk. Fails only where memory does.
    pub fn encode(&self) -> Result<Vec<u8>, postcard::Error> {
        postcard::to_stdvec(self)
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, postcard::Error> {
        postcard::from_bytes(bytes)
    }
}

/// Everything that records change. Cheap to clone.
#[derive(Clone, Debug)]
pub struct State {
    pub engine: Arc<RwLock<Engine>>,
    pub series: Arc<RwLock<Series>>,
    pub evaluator: Arc<RwLock<Evaluator>>,
    pub dispatcher: Arc<RwLock<Dispatcher>>,
    pub measure: Arc<Mutex<Measure>>,
    pub archive: Arc<Archive>,
    /// Open requests alone fill the engine's memory: new deliveries are refused until the next tick
    /// says otherwise.
    pub crowded: Arc<AtomicBool>,
}

/// A panic elsewhere does not make the state wrong: every change is one record's, whole or not at all
/// as far as readers see it through these locks.
fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// Applies one record at its log time. Gives the messages that are due, after ticks and alerts.
    pub fn apply(&self, entry: &Entry, log_time: Timestamp) -> Vec<Message> {
        match entry {
            Entry::Batch(batch) => {
                self.batch(batch, log_time);
                Vec::new()
            }
            Entry::Tick => {
                self.tick(log_time);
                write(&self.dispatcher).tick(log_time)
            }
            Entry::Alerts { transitions, recorded } => {
                self.alerts(transitions, recorded, log_time);
                write(&self.dispatcher).tick(log_time)
            }
            Entry::Receipt(receipt) => {
                write(&self.dispatcher).receipt(receipt);
                Vec::new()
            }
            Entry::Command(command) => {
                let mut dispatcher = write(&self.dispatcher);
                dispatcher.command(command, log_time);
                dispatcher.tick(log_time)
            }
        }
    }

    fn measure(&self) -> MutexGuard<'_, Measure> {
        self.measure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn batch(&self, batch: &Batch, log_time: Timestamp) {
        let applied = write(&self.engine).apply(batch, log_time);
        if applied.metrics.is_empty() && batch.remarks.is_empty() {
            return;
        }
        let (mut measure, mut series) = (self.measure(), write(&self.series));
        batch.remarks.iter().for_each(|remark| series.remark(remark));
        for index in applied.metrics {
            if let Some(SignalKind::Metric(point)) =
                batch.signals.get(index).map(|signal| &signal.kind)
            {
                measure.point(point, &mut series, log_time);
                if let Some(implied) = metric_stream::implied(point) {
                    measure.point(&implied, &mut series, log_time);
                }
            }
        }
    }

    fn tick(&self, log_time: Timestamp) {
        let (changes, open) = {
            let mut engine = write(&self.engine);
            let changes = engine.tick(log_time);
            self.crowded.store(engine.is_crowded(), Ordering::Relaxed);
            (changes, engine.open_by_flow())
        };
        let alert_series = write(&self.evaluator).tick(log_time);
        {
            let (mut measure, mut series) = (self.measure(), write(&self.series));
            measure.apply(&changes, &mut series, log_time);
            let t = log_time.as_millis();
            for (flow, n) in open {
                let labels =
                    Labels::of(&[(METRIC_NAME, "throughline_requests_open"), ("flow", &flow)]);
                series.append(&labels, Sample { t, value: SampleValue::Float(f64_from_u64(n)) });
            }
            for (labels, value) in alert_series {
                series.append(&labels, Sample { t, value: SampleValue::Float(value) });
            }
            series.tick(log_time);
        }
        for change in &changes {
            if let Change::RequestFinal(request) = change
                && let Err(error) = self.archive.offer(request)
            {
                tracing::error!(event = "archive.request.failed", %error);
            }
        }
        if let Err(error) = self.archive.tick(log_time) {
            tracing::error!(event = "archive.tick.failed", %error);
        }
    }

    fn alerts(&self, transitions: &[Transition], recorded: &[Recorded], log_time: Timestamp) {
        {
            let (mut evaluator, mut dispatcher) = (write(&self.evaluator), write(&self.dispatcher));
            for transition in transitions {
                evaluator.apply(transition);
                dispatcher.apply(transition, log_time);
                AlertChanged { transition }.emit();
            }
        }
        let mut series = write(&self.series);
        for sample in recorded {
            let value = sample.value.unwrap_or(f64::from_bits(STALE_NAN_BITS));
            series.append(
                &sample.labels,
                Sample { t: sample.at.as_millis(), value: SampleValue::Float(value) },
            );
        }
    }
}
