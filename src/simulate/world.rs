//! The shop in motion: events in order of time, each of which starts invocations and plans others.
//!
//! A seed and faults in; runs, metrics and truth out. Nothing here knows a wire format, and nothing
//! depends on how payloads travel.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::book::Book;
use super::config::{
    BRANCHES_MAX, Fault, Faults, Load, REQUESTS_MAX, SimulationConfig, StyleChoice,
};
use super::exporter::{Exporter, Payload};
use super::fan_out::Delivery;
use super::instances::{Instances, Started, Weather};
use super::metric_stream::Minute;
use super::plan::Function;
use super::queue::{Consumer, Queue};
use super::random::Random;
use super::review::Review;
use super::run::{Ending, Message, Position, Reporting, Run, Skew, Step, What};
use super::stream::Shard;
use crate::signal::{SpanId, Timestamp, TraceId, Via};

/// Buffers are looked at this often.
const FLUSH_EVERY: Duration = Duration::from_millis(250);
/// CloudWatch's period.
const MINUTE: Duration = Duration::from_mins(1);
/// Shards of the stream.
const N_SHARDS: usize = 2;
const REPORT_LOST: f64 = 0.3;
const REPORT_LATE: f64 = 0.4;
const REPORT_LATE_MAX_MS: u64 = 600_000;
/// Share of requests that are orders of somebody else.
const FOREIGN: f64 = 0.3;
const SKEW_MAX_MS: u64 = 3_000;
/// Events that are planned at once; every event plans only a few others, so that more is a fault of ours.
const PLANNED_MAX: usize = 10_000_000;

#[derive(Debug)]
pub(super) enum Event {
    /// A client comes.
    Arrive,
    /// The consumer of `orders` looks at its queue.
    PollOrders,
    PollDeadLetters,
    /// The consumer of a shard reads it.
    ReadShard(usize),
    /// The bus invokes a function.
    Deliver(Box<Delivery>),
    /// `fulfil` takes up an order of somebody else, or `dlq-inspector` what it could not do.
    Foreign(Box<Message>),
    /// Somebody puts a dead-lettered message back.
    Redrive(Box<Message>),
    /// A workflow comes to a step.
    Review(Box<Review>),
    Flush,
    Minute,
}

impl Event {
    /// Whether it comes of itself, again and again.
    fn is_periodic(&self) -> bool {
        matches!(self, Self::Flush | Self::Minute)
    }
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) style: StyleChoice,
    pub(super) faults: Faults,
    pub(super) random: Random,
    pub(super) instances: Instances,
    pub(super) book: Book,
    pub(super) exporter: Exporter,
    pub(super) orders: Queue,
    pub(super) dead_letters: Queue,
    pub(super) shards: Vec<Shard>,
    pub(super) minute: Minute,
    pub(super) branches: u32,
    /// The importer's trace.
    pub(super) importer: TraceId,
    /// Faults that befell something already.
    befallen: BTreeSet<Fault>,
    load: Load,
    start: Timestamp,
    n_arrived: u64,
    events: BTreeMap<(Timestamp, u64), Event>,
    n_planned: u64,
    /// Planned events that are not periodic.
    n_work: usize,
}

impl World {
    pub(super) fn new(config: &SimulationConfig) -> Self {
        let workload = Random::new(config.seed, 4).draw() ^ config.start.as_nanos();
        let mut world = Self {
            style: config.style,
            faults: Faults::new(&config.faults),
            random: Random::new(config.seed, 0),
            instances: Instances::default(),
            book: Book::default(),
            exporter: Exporter::new(config.seed, config.style),
            orders: Queue::new(Self::orders_consumer(config.style)),
            dead_letters: Queue::new(Consumer { batch_max: 10, window: Duration::from_mins(1) }),
            shards: (0..N_SHARDS).map(|number| Shard::new(number, workload)).collect(),
            minute: Minute::default(),
            branches: config.branches.clamp(1, BRANCHES_MAX),
            importer: TraceId(Random::new(config.seed, 3).bytes()),
            befallen: BTreeSet::new(),
            load: config.load,
            start: config.start,
            n_arrived: 0,
            events: BTreeMap::new(),
            n_planned: 0,
            n_work: 0,
        };
        world.plan_arrival(config.start);
        if world.n_work > 0 {
            world.plan(config.start.saturating_add(FLUSH_EVERY), Event::Flush);
            let minute_ns = 60_000_000_000;
            let first = (config.start.as_nanos() / minute_ns + 1).saturating_mul(minute_ns);
            world.plan(Timestamp::from_nanos(first), Event::Minute);
        }
        world
    }

    /// Only a span for each message can tell which message of a batch caused what; functions that have
    /// only logs take messages up one at a time.
    fn orders_consumer(style: StyleChoice) -> Consumer {
        if style.of(Function::Fulfil).own.has_spans() {
            Consumer { batch_max: 5, window: Duration::from_millis(900) }
        } else {
            Consumer { batch_max: 1, window: Duration::from_millis(40) }
        }
    }

    pub(super) fn plan(&mut self, at: Timestamp, event: Event) {
        debug_assert!(self.events.len() < PLANNED_MAX, "the world plans more than it does");
        self.n_work += usize::from(!event.is_periodic());
        self.events.insert((at, self.n_planned), event);
        self.n_planned += 1;
    }

    /// When the next thing happens; None where the world has come to rest.
    pub(super) fn next_at(&self) -> Option<Timestamp> {
        self.events.first_key_value().map(|(&(at, _), _)| at)
    }

    /// Lets the next thing happen; answers what was sent by it.
    pub(super) fn step(&mut self) -> Vec<Payload> {
        let Some(((now, _), event)) = self.events.pop_first() else { return Vec::new() };
        self.n_work -= usize::from(!event.is_periodic());
        match event {
            Event::Arrive => {
                self.arrive(now);
                let wait = self.random.interval(self.load.interval());
                self.plan_arrival(now.saturating_add(wait));
            }
            Event::PollOrders => self.poll_orders(now),
            Event::PollDeadLetters => self.poll_dead_letters(now),
            Event::ReadShard(shard) => self.read_shard(now, shard),
            Event::Deliver(delivery) => self.deliver(now, *delivery),
            Event::Foreign(message) => self.foreign(now, *message),
            Event::Redrive(message) => self.redrive(now, *message),
            Event::Review(review) => self.review(now, *review),
            Event::Minute => {
                self.tell_minute(now);
                if self.n_work > 0 {
                    self.plan(now.saturating_add(MINUTE), Event::Minute);
                }
            }
            Event::Flush => {
                let sent = self.exporter.flush(now);
                if !self.events.is_empty() || !self.exporter.is_empty() {
                    self.plan(now.saturating_add(FLUSH_EVERY), Event::Flush);
                }
                return sent;
            }
        }
        Vec::new()
    }

    fn plan_arrival(&mut self, at: Timestamp) {
        let requests = self.load.requests.unwrap_or(REQUESTS_MAX).min(REQUESTS_MAX);
        let in_time = self.load.duration.is_none_or(|max| at.since(self.start) < max);
        if self.n_arrived < requests && in_time {
            self.n_arrived += 1;
            self.plan(at, Event::Arrive);
        }
    }

    fn arrive(&mut self, now: Timestamp) {
        if self.befalls(Fault::ForeignProducer, FOREIGN, now) {
            self.foreign_order(now);
        } else if self.random.chance(0.4) {
            self.order(now);
        } else {
            self.browse(now);
        }
    }

    pub(super) fn is_active(&self, fault: Fault, now: Timestamp) -> bool {
        self.faults.is_active(fault, now)
    }

    /// Whether a fault befalls this one: the first that it may befall, and a share of the others.
    pub(super) fn befalls(&mut self, fault: Fault, share: f64, now: Timestamp) -> bool {
        if !self.is_active(fault, now) {
            return false;
        }
        let is_chosen = self.random.chance(share);
        self.befallen.insert(fault) || is_chosen
    }

    /// An instance for an invocation; None where the platform throttles.
    pub(super) fn acquire(&mut self, function: Function, at: Timestamp) -> Option<Started> {
        let storm = self.is_active(Fault::ColdStartStorm, at);
        let weather = if storm { Weather::STORM } else { Weather::CALM };
        let started = self.instances.acquire(function, at, weather, &mut self.random);
        if started.is_none() {
            self.minute.throttle(function);
        }
        started
    }

    /// A run that has just begun; its flow fills in what it does.
    pub(super) fn begin(&mut self, function: Function, via: Via, started: Started) -> Run {
        let reporting = self.reporting(started.start);
        let used = self.random.millis(40, 85).as_millis();
        let percent = u32::try_from(used).unwrap_or(50);
        Run {
            function,
            invocation_id: self.random.uuid(),
            instance: started.instance,
            init: started.init,
            start: started.start,
            end: started.start,
            ending: Ending::Ok,
            memory_used_mb: function.memory_mb() * percent / 100,
            via,
            http: None,
            correlation_id: None,
            position: Position { trace: self.trace_id(), span: self.span_id() },
            parent: None,
            taken: Vec::new(),
            steps: Vec::new(),
            state: None,
            reporting,
        }
    }

    fn reporting(&mut self, at: Timestamp) -> Reporting {
        if self.is_active(Fault::FilteredReports, at) {
            Reporting::Filtered
        } else if self.is_active(Fault::LostReports, at) && self.random.chance(REPORT_LOST) {
            Reporting::Lost
        } else if self.is_active(Fault::LateReports, at) && self.random.chance(REPORT_LATE) {
            Reporting::Late(self.random.millis(1_000, REPORT_LATE_MAX_MS))
        } else {
            Reporting::Usual
        }
    }

    /// Lets a run tell its times by its own clock; entries have the right one.
    pub(super) fn skew(&self, run: &mut Run) {
        if !self.is_active(Fault::ClockSkew, run.start) {
            return;
        }
        // An instance has one clock: the digits of its name say how far that is off.
        let digits = run.instance.get(run.instance.len().saturating_sub(4)..).unwrap_or_default();
        let off = u64::from_str_radix(digits, 16).unwrap_or_default() % (2 * SKEW_MAX_MS + 1);
        run.shift(match off.checked_sub(SKEW_MAX_MS) {
            Some(ahead) => Skew::Ahead(Duration::from_millis(ahead)),
            None => Skew::Behind(Duration::from_millis(SKEW_MAX_MS - off)),
        });
    }

    /// The run is over: it is counted, its instance is free again, and its telemetry is on its way.
    pub(super) fn finish(&mut self, run: &Run) {
        debug_assert!(run.end.since(run.start) <= run.function.timeout(), "{run:?}");
        self.instances.occupy(run.function, &run.instance, run.end);
        self.minute.invocation(run);
        self.exporter.tell(run);
    }

    /// Own work, without anybody else.
    pub(super) fn work(&mut self, function: Function) -> Duration {
        self.random.latency(function.work())
    }

    /// A call that takes about `median`, at the cursor, which it moves.
    pub(super) fn call(&mut self, what: What, median: Duration, cursor: &mut Timestamp) -> Step {
        let start = *cursor;
        *cursor = start.saturating_add(self.random.latency(median));
        Step { what, span: self.span_id(), start, end: *cursor, failure: None }
    }

    fn trace_id(&mut self) -> TraceId {
        let mut bytes = self.random.bytes::<16>();
        bytes[0] |= 1;
        TraceId(bytes)
    }

    pub(super) fn span_id(&mut self) -> SpanId {
        let mut bytes = self.random.bytes::<8>();
        bytes[0] |= 1;
        SpanId(bytes)
    }
}
