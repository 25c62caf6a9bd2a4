//! Bytes to facts, from anyone: what the fuzzer and the seeded test both feed to the engine.
//!
//! Any bytes in; batches, ticks and questions to an engine out. Ids come from small pools, so that
//! facts meet: empty, huge, constant, shared by strangers, naming themselves. Whatever comes, the
//! engine does not panic, the books balance, what it shows adds up, and in the end it holds nothing.

use std::num::NonZeroU32;
use std::time::Duration;

use throughline::correlate::{Change, Config, Engine, Lookup, Request, RequestFilter};
use throughline::measure::Measure;
use throughline::series::Series;
use throughline::signal::{
    Attributes, Batch, ErrorFact, ErrorKind, Facts, Http, LogRecord, MessageRef, Platform,
    PlatformStage, PlatformStatus, Receiver, Resource, Signal, SignalKind, Span, SpanId, SpanKind,
    SpanLink, Text, Timestamp, TraceContext, TraceId, Via, Workflow,
};

/// Operations of one run; more would only be more of the same.
const OPERATIONS_MAX: usize = 400;
/// Longer than anything is kept with the settings of [`config`].
const END_AFTER_SECS: u64 = 400;

/// Settings with bounds so small that they are met.
fn config() -> Config {
    Config {
        settle_after: Duration::from_secs(2),
        incomplete_after: Duration::from_secs(10),
        retry_after: Duration::from_secs(5),
        allowed_lateness: Duration::from_secs(30),
        pending_max: Duration::from_mins(1),
        joins_max: 6,
        entries_max: 3,
        hops_max: 8,
        memory_max_bytes: 1 << 20,
        ..Config::default()
    }
}

/// The fuzzer's bytes, read one choice at a time; zeros when they are used up.
struct Choices<'a> {
    bytes: std::slice::Iter<'a, u8>,
}

impl Choices<'_> {
    fn byte(&mut self) -> u8 {
        self.bytes.next().copied().unwrap_or_default()
    }

    fn below(&mut self, n: u8) -> u8 {
        self.byte() % n.max(1)
    }

    fn one_in(&mut self, n: u8) -> bool {
        self.below(n) == 0
    }

    fn maybe<T>(&mut self, value: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (!self.one_in(2)).then(|| value(self))
    }

    fn few<T>(&mut self, mut value: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(4)).map(|_| value(self)).collect()
    }

    fn pick<T: Copy>(&mut self, values: &[T]) -> T {
        let n = u8::try_from(values.len()).unwrap_or(u8::MAX);
        values[usize::from(self.below(n))]
    }

    /// An id of a small pool; a few are empty or huge.
    fn id(&mut self, pool: &str) -> Text {
        match self.below(24) {
            0 => Text::from(""),
            1 => Text::from("x".repeat(5_000)),
            n => Text::from(format!("{pool}{}", n % 7)),
        }
    }

    /// Within a minute; now and then at the ends of time.
    fn time(&mut self) -> Timestamp {
        match self.below(40) {
            0 => Timestamp::EPOCH,
            1 => Timestamp::MAX,
            n => now(u64::from(n)).saturating_add(Duration::from_millis(u64::from(self.byte()))),
        }
    }

    fn duration(&mut self) -> Duration {
        if self.one_in(30) {
            Duration::MAX
        } else {
            Duration::from_millis(u64::from(self.byte()) * 10)
        }
    }

    fn trace(&mut self) -> TraceId {
        TraceId([self.below(6); 16])
    }

    fn span_id(&mut self) -> SpanId {
        SpanId([self.below(12); 8])
    }

    fn position(&mut self) -> TraceContext {
        TraceContext { trace_id: self.trace(), span_id: self.maybe(Self::span_id) }
    }
}

fn now(secs: u64) -> Timestamp {
    Timestamp::from_nanos(1_700_000_000_000_000_000).saturating_add(Duration::from_secs(secs))
}

fn resource(of: &mut Choices<'_>) -> Resource {
    Resource {
        service: of.maybe(|of| of.id("service-")),
        function: of.maybe(|of| of.id("function-")),
        version: None,
        instance: of.maybe(|of| of.id("instance-")),
        account: of.maybe(|of| of.id("account-")),
        region: None,
        memory_bytes: of.maybe(|of| u64::from(of.byte()) << 24),
        attributes: Attributes::default(),
    }
}

fn message(of: &mut Choices<'_>) -> MessageRef {
    let via = of.pick(&[Via::Queue, Via::Topic, Via::Stream, Via::EventBus, Via::Unknown]);
    MessageRef {
        queue: of.maybe(|of| of.id("queue-")),
        sent: of.maybe(Choices::time),
        receive_count: of.maybe(|of| u32::from(of.byte())),
        dead_letter_source: of.one_in(5).then(|| of.id("queue-")),
        trace: of.maybe(Choices::position),
        failed: of.one_in(4),
        ..MessageRef::new(of.id("message-"), via)
    }
}

fn facts(of: &mut Choices<'_>) -> Facts {
    Facts {
        invocation_id: of.maybe(|of| of.id("run-")),
        function: of.one_in(4).then(|| of.id("function-")),
        correlation_ids: of.few(|of| of.id("correlation-")),
        sent: of.few(message),
        received: of.few(message),
        cold_start: of.maybe(|of| of.one_in(2)),
        trigger: of.maybe(|of| of.pick(&[Via::Http, Via::Queue, Via::Schedule, Via::Workflow])),
        error: of
            .one_in(3)
            .then(|| ErrorFact { kind: of.pick(&ErrorKind::ALL), message: of.id("error-") }),
        http: of.one_in(3).then(|| Http {
            method: Some(Text::from("GET")),
            route: of.maybe(|of| of.id("/route-")),
            status: None,
        }),
        peer: None,
        workflow: of.one_in(6).then(|| Workflow {
            execution_id: of.id("execution-"),
            state: of.id("state-"),
            retry_count: of.maybe(|of| u32::from(of.byte())),
        }),
        duration: of.maybe(Choices::duration),
        stands_for: of.one_in(8).then(|| NonZeroU32::MIN.saturating_add(u32::from(of.byte()))),
    }
}

fn span(of: &mut Choices<'_>) -> Span {
    const KINDS: [SpanKind; 5] = [
        SpanKind::Internal,
        SpanKind::Server,
        SpanKind::Client,
        SpanKind::Producer,
        SpanKind::Consumer,
    ];
    Span {
        trace_id: of.trace(),
        span_id: of.span_id(),
        parent_id: of.maybe(Choices::span_id),
        kind: of.pick(&KINDS),
        name: Text::from("span"),
        start: of.time(),
        // Also before the start, which decoders never let through.
        end: of.time(),
        failed: of.one_in(3),
        links: of.few(|of| SpanLink {
            trace_id: of.trace(),
            span_id: of.span_id(),
            message_id: of.maybe(|of| of.id("message-")),
        }),
        facts: facts(of),
        attributes: Attributes::default(),
    }
}

fn platform(of: &mut Choices<'_>) -> Platform {
    const STAGES: [PlatformStage; 7] = [
        PlatformStage::InitStart,
        PlatformStage::InitReport,
        PlatformStage::Start,
        PlatformStage::RuntimeDone,
        PlatformStage::Report,
        PlatformStage::LogsDropped,
        PlatformStage::Other,
    ];
    const STATUSES: [PlatformStatus; 4] = [
        PlatformStatus::Success,
        PlatformStatus::Failure,
        PlatformStatus::Error,
        PlatformStatus::Timeout,
    ];
    Platform {
        invocation_id: of.maybe(|of| of.id("run-")),
        status: of.maybe(|of| of.pick(&STATUSES)),
        error_type: of.one_in(5).then(|| of.id("error-")),
        duration: of.maybe(Choices::duration),
        billed: of.maybe(Choices::duration),
        memory_size_bytes: of.maybe(|of| u64::from(of.byte()) << 26),
        memory_used_bytes: of.maybe(|of| u64::from(of.byte()) << 20),
        init_duration: of.one_in(4).then(|| of.duration()),
        trace: of.maybe(Choices::position),
        span_id: of.maybe(Choices::span_id),
        ..Platform::new(of.time(), of.pick(&STAGES))
    }
}

fn signal(of: &mut Choices<'_>) -> Signal {
    let kind = match of.below(3) {
        0 => SignalKind::Span(Box::new(span(of))),
        1 => SignalKind::Platform(Box::new(platform(of))),
        _ => SignalKind::Log(Box::new(LogRecord {
            time: of.time(),
            severity: None,
            trace: of.maybe(Choices::position),
            body: Text::from("said"),
            facts: facts(of),
            attributes: Attributes::default(),
        })),
    };
    // Identities that meet are repeats, or conflicts.
    Signal {
        identity: of.maybe(|of| u128::from(of.byte())),
        resource: u32::from(of.below(3)),
        kind,
    }
}

fn batch(of: &mut Choices<'_>, arrived: Timestamp) -> Batch {
    let mut batch = Batch::new(Receiver::OtlpHttp, arrived);
    batch.declared_id = of.one_in(3).then(|| u128::from(of.below(4)));
    batch.body_hash = u128::from(of.below(3));
    // The third resource that signals name may be missing.
    batch.resources = (0..=of.below(3)).map(|_| resource(of)).collect();
    batch.signals = (0..=of.below(12)).map(|_| signal(of)).collect();
    batch
}

/// An engine under these bytes, with its series.
struct Trial {
    engine: Engine,
    measure: Measure,
    series: Series,
    secs: u64,
    n_received: u64,
}

impl Trial {
    fn tick(&mut self) {
        self.secs += 1;
        let changes = self.engine.tick(now(self.secs));
        for change in &changes {
            if let Change::Request(request) | Change::RequestFinal(request) = change {
                adds_up(request);
            }
        }
        self.measure.apply(&changes, &mut self.series, now(self.secs));
    }

    fn apply(&mut self, batch: &Batch) {
        self.n_received += u64::try_from(batch.signals.len()).expect("a small batch");
        self.engine.apply(batch, now(self.secs));
    }

    fn ask(&self, key: &str) {
        match self.engine.lookup(key) {
            Lookup::None => {}
            Lookup::One(request) => adds_up(&request),
            Lookup::Several(requests) => requests.iter().for_each(adds_up),
        }
    }

    fn is_over(&self) {
        for (receiver, counts) in &self.engine.ledger().receivers {
            assert!(counts.is_balanced(), "{receiver:?} {counts:?}");
        }
        let received: u64 = self.engine.ledger().receivers.values().map(|c| c.received).sum();
        assert_eq!(received, self.n_received);
        let held =
            self.engine.requests(&RequestFilter { limit: usize::MAX, ..RequestFilter::default() });
        assert!(held.is_empty(), "{} requests are still held", held.len());
        assert!(self.engine.open_by_flow().iter().all(|(_, n)| *n == 0));
    }
}

/// What must hold of any request that is ever shown.
fn adds_up(request: &Request) {
    assert!(request.hops.len() <= config().hops_max, "{} hops", request.hops.len());
    assert_eq!(request.end.since(request.start), request.duration, "{request:?}");
    let parts: Duration = request.critical_path.iter().map(|part| part.duration).sum();
    assert_eq!(parts, request.duration, "{request:?}");
    for hop in &request.hops {
        assert!(hop.end.is_none_or(|end| end >= hop.start), "{hop:?}");
        let is_known = |cause: &Text| request.hops.iter().any(|other| other.id == *cause);
        assert!(hop.causes.iter().all(is_known), "{hop:?}");
    }
}

/// Feeds the bytes to an engine and waits for the end.
pub(crate) fn run(bytes: &[u8]) {
    let mut choices = Choices { bytes: bytes.iter() };
    let mut trial = Trial {
        engine: Engine::new(config()),
        measure: Measure::new(),
        series: Series::new(throughline::series::Config::default()),
        secs: 0,
        n_received: 0,
    };
    let mut last = None;
    for _ in 0..OPERATIONS_MAX {
        if choices.bytes.len() == 0 {
            break;
        }
        match choices.below(8) {
            0..=3 => {
                let batch = batch(&mut choices, now(trial.secs));
                trial.apply(&batch);
                last = Some(batch);
            }
            4 => last.iter().for_each(|batch| trial.apply(batch)),
            5 => trial.ask(&choices.id("message-")),
            6 => trial.ask(&choices.id("run-")),
            _ => (0..=choices.below(20)).for_each(|_| trial.tick()),
        }
    }
    (0..END_AFTER_SECS).for_each(|_| trial.tick());
    trial.is_over();
}
