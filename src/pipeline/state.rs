//! The state of the daemon as a function of the journal: one record in, one change of everything.
//!
//! The same [`State::apply`] runs live, right after a record is on disk, and at recovery. It does no
//! I/O but for the archive, which replay makes anew.

use std::collections::BTreeSet;
use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError,
};

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};

use super::terms::Terms;
use crate::archive::Archive;
use crate::correlate::{Change, Engine, FinalLine};
use crate::evaluate::{Evaluator, Kept, Recorded, Transition};
use crate::gaps::{self, Gaps};
use crate::measure::{Measure, depth};
use crate::notify::{self, Command, Dispatcher, Message, Receipt};
use crate::number::f64_from_u64;
use crate::receive::room::{Room, Told};
use crate::series::catalog::REQUESTS_OPEN;
use crate::series::export::HighWater;
use crate::series::looks::Looks;
use crate::series::{Matcher, RawSeries, STALE_NAN_BITS, Sample, SampleValue, Selection, Series};
use crate::signal::{Batch, Labels, METRIC_NAME, SignalKind, Text, Timestamp, source_queues};

/// As long as queries look back: what was shown longer ago is no longer seen.
const OPEN_LOOKBACK_MILLIS: i64 = 5 * 60 * 1000;

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
    /// The `Terms` as JSON: in force from here on.
    Terms(String),
    /// When `keep_firing_for` began to hold alerts.
    Kept(Vec<Kept>),
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

/// Terms, and whether the log says so.
#[derive(Clone, Debug)]
struct InForce {
    terms: Terms,
    is_recorded: bool,
}

/// Everything that records change. Cheap to clone.
#[derive(Clone, Debug)]
pub struct State {
    pub engine: Arc<RwLock<Engine>>,
    pub series: Arc<RwLock<Series>>,
    pub evaluator: Arc<RwLock<Evaluator>>,
    pub dispatcher: Arc<RwLock<Dispatcher>>,
    pub measure: Arc<Mutex<Measure>>,
    pub gaps: Arc<Mutex<Gaps>>,
    pub archive: Arc<Archive>,
    /// The highest values that ever left by `/metrics`.
    pub exported: Arc<Mutex<HighWater>>,
    terms: Arc<Mutex<InForce>>,
    /// Where messages go, as configured today: no record holds it.
    pub routing: Arc<ArcSwap<notify::Config>>,
    /// What the engine's memory still takes: short of it, deliveries are refused but for those that go on
    /// with what is held.
    pub room: Arc<Room>,
}

/// A panic while a record is applied ends the process; one of a reader changes nothing.
pub(super) fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Rules that an older version took and this one does not are left out, and said.
pub(super) fn evaluator(terms: &Terms) -> Evaluator {
    Evaluator::try_new(terms.evaluate()).unwrap_or_else(|errors| {
        for error in errors {
            tracing::error!(event = "evaluate.rules.refused", %error);
        }
        Evaluator::default()
    })
}

impl State {
    /// Nothing has happened yet. The terms hold until a record brings others.
    pub fn new(terms: &Terms, routing: notify::Config, archive: Archive) -> Self {
        let (mut measure, evaluator) = (Measure::new(), evaluator(terms));
        let mut series = Series::new(terms.series.clone().unwrap_or_default());
        measure.set_objectives(evaluator.objectives());
        series.set_thresholds(&measure.thresholds());
        let dispatcher = Dispatcher::new(routing.clone(), &terms.external_url);
        Self {
            engine: Arc::new(RwLock::new(Engine::new(terms.correlate.clone()))),
            series: Arc::new(RwLock::new(series)),
            evaluator: Arc::new(RwLock::new(evaluator)),
            dispatcher: Arc::new(RwLock::new(dispatcher)),
            measure: Arc::new(Mutex::new(measure)),
            gaps: Arc::default(),
            archive: Arc::new(archive),
            exported: Arc::default(),
            terms: Arc::new(Mutex::new(InForce { terms: terms.clone(), is_recorded: false })),
            routing: Arc::new(ArcSwap::from_pointee(routing)),
            room: Arc::new(Room::new(terms.correlate.memory_max_bytes)),
        }
    }

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
            Entry::Kept(kept) => {
                let mut evaluator = write(&self.evaluator);
                kept.iter().for_each(|one| evaluator.keep(one));
                Vec::new()
            }
            Entry::Terms(json) => {
                match serde_json::from_str(json) {
                    Ok(terms) => self.come_to(terms, log_time),
                    Err(error) => tracing::error!(event = "config.terms.refused", %error),
                }
                Vec::new()
            }
        }
    }

    /// Whether a batch is taken though open requests alone fill the engine's memory: it goes on with what
    /// is held, and there is some memory left for it. None: the engine is busy, ask again.
    pub(super) fn goes_first(&self, batch: &Batch) -> Option<bool> {
        let engine = match self.engine.try_read() {
            Ok(engine) => engine,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(!engine.is_full() && engine.is_of_held(batch))
    }

    /// Messages that wait for a receipt or are due since the last look.
    pub(super) fn due(&self, log_time: Timestamp) -> Vec<Message> {
        write(&self.dispatcher).tick(log_time)
    }

    pub(super) fn measure(&self) -> MutexGuard<'_, Measure> {
        lock(&self.measure)
    }

    pub(super) fn gaps(&self) -> MutexGuard<'_, Gaps> {
        lock(&self.gaps)
    }

    /// Gaps that were found since this was asked last.
    pub(super) fn new_gaps(&self) -> Vec<gaps::Finding> {
        self.gaps().take_new()
    }

    pub(super) fn exported(&self) -> MutexGuard<'_, HighWater> {
        lock(&self.exported)
    }

    pub(super) fn terms(&self) -> Terms {
        lock(&self.terms).terms.clone()
    }

    pub(super) fn set_terms(&self, terms: Terms) {
        *lock(&self.terms) = InForce { terms, is_recorded: true };
    }

    /// Whether these terms are in force, by a record.
    pub(super) fn is_under(&self, terms: &Terms) -> bool {
        let in_force = lock(&self.terms);
        in_force.is_recorded && in_force.terms == *terms
    }

    /// What is held stays; other settings hold from now on.
    fn come_to(&self, terms: Terms, log_time: Timestamp) {
        {
            let mut evaluator = write(&self.evaluator);
            for error in evaluator.set_config(terms.evaluate()).err().iter().flatten() {
                // They were checked before they came here, by the version that wrote the record.
                tracing::error!(event = "evaluate.rules.refused", %error, "the rules of before stay");
            }
            let (mut measure, mut series) = (self.measure(), write(&self.series));
            measure.set_objectives(evaluator.objectives());
            series.set_thresholds(&measure.thresholds());
            series.set_config(terms.series.clone().unwrap_or_default());
        }
        write(&self.engine).set_config(terms.correlate.clone());
        self.archive.set_config(terms.archive.clone());
        write(&self.dispatcher).set_config((**self.routing.load()).clone(), log_time);
        self.set_terms(terms);
    }

    fn batch(&self, batch: &Batch, log_time: Timestamp) {
        let applied = {
            let mut engine = write(&self.engine);
            let applied = engine.apply(batch, log_time);
            if engine.is_nearly_full() {
                // What comes until the next tick would be dropped, and it was acknowledged.
                self.room.is_nearly_full();
            }
            applied
        };
        self.gaps().apply(batch, log_time);
        if applied.metrics.is_empty() && batch.remarks.is_empty() {
            return;
        }
        let (mut measure, mut series) = (self.measure(), write(&self.series));
        batch.remarks.iter().for_each(|remark| series.remark(remark));
        for index in applied.metrics {
            if let Some(SignalKind::Metric(point)) =
                batch.signals.get(index).map(|signal| &signal.kind)
            {
                for told in depth::told(point, |dlq| self.source_of(dlq)) {
                    measure.point(&told, &mut series, log_time);
                }
            }
        }
    }

    /// The queues that are configured to have this dead-letter queue.
    fn source_of(&self, dlq: &str) -> Option<Text> {
        let in_force = lock(&self.terms);
        let queues = in_force.terms.correlate.queues.iter();
        let sources = queues.filter(|queue| queue.dlq.as_deref() == Some(dlq));
        source_queues(sources.map(|queue| &*queue.name))
    }

    fn tick(&self, log_time: Timestamp) {
        let worked = self.room.begin_tick();
        let mut progress = write(&self.engine).begin_tick(log_time);
        loop {
            // Readers get in between two parts.
            let is_kept = |line: &FinalLine<'_>| self.archive.wants(line);
            let changes = write(&self.engine).next_part(&mut progress, &is_kept);
            let Some(changes) = changes else { break };
            self.count(&changes, log_time);
        }
        let open = {
            let engine = read(&self.engine);
            let told = Told {
                held: engine.bytes(),
                bytes_max: engine.bytes_max(),
                is_crowded: engine.is_crowded(),
            };
            self.room.end_tick(worked, told);
            engine.open_by_flow()
        };
        let alert_series = write(&self.evaluator).tick(log_time);
        self.gaps().tick(log_time);
        {
            let (mut measure, mut series) = (self.measure(), write(&self.series));
            measure.show(&mut series, log_time);
            let t = log_time.as_millis();
            show_open(&mut series, &open, t);
            for (labels, value) in alert_series {
                series.append(&labels, Sample { t, value: SampleValue::Float(value) });
            }
            series.tick(log_time);
        }
        if let Err(error) = self.archive.tick(log_time) {
            tracing::error!(event = "archive.tick.failed", %error);
        }
    }

    fn count(&self, changes: &[Change], log_time: Timestamp) {
        if !changes.is_empty() {
            let (mut measure, mut series) = (self.measure(), write(&self.series));
            measure.count(changes, &mut series, log_time);
        }
        for change in changes {
            if let Change::RequestFinal(request) = change
                && let Err(error) = self.archive.offer(request)
            {
                tracing::error!(event = "archive.request.failed", %error);
            }
        }
    }

    fn alerts(&self, transitions: &[Transition], recorded: &[Recorded], log_time: Timestamp) {
        {
            let (mut evaluator, mut dispatcher) = (write(&self.evaluator), write(&self.dispatcher));
            for transition in transitions {
                evaluator.apply(transition);
                dispatcher.apply(transition, log_time);
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

/// How many requests of each flow are open. A flow that is no longer told of ends: a request whose route
/// became known is one of another flow, and the figure of the first would stand for as long as queries look
/// back.
pub(super) fn show_open(series: &mut Series, open: &[(Text, u64)], t: i64) {
    let name = [Matcher::equal(METRIC_NAME, REQUESTS_OPEN)];
    let before = Selection {
        matchers: &name,
        start: t - OPEN_LOOKBACK_MILLIS,
        end: t,
        samples_max: usize::MAX,
        windows: None,
        looks: Some(Looks::once(t)),
    };
    // A block that cannot be read is told where it is queried.
    let shown = series.select(&before).unwrap_or_default();
    let told: BTreeSet<&str> = open.iter().map(|(flow, _)| &**flow).collect();
    // One with other labels was pushed here, by a daemon of this name elsewhere.
    let is_over = |one: &&RawSeries| {
        let flow = one.labels.get("flow").filter(|_| one.labels.iter().count() == 2);
        flow.is_some_and(|flow| !told.contains(flow))
    };
    for one in shown.iter().filter(is_over) {
        let newest = one.samples.last().map(|sample| &sample.value);
        if matches!(newest, Some(SampleValue::Float(n)) if n.to_bits() != STALE_NAN_BITS) {
            let value = SampleValue::Float(f64::from_bits(STALE_NAN_BITS));
            series.append(&one.labels, Sample { t, value });
        }
    }
    for (flow, n) in open {
        let labels = Labels::of(&[(METRIC_NAME, REQUESTS_OPEN), ("flow", flow)]);
        series.append(&labels, Sample { t, value: SampleValue::Float(f64_from_u64(*n)) });
    }
}
