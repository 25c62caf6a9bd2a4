//! Hand-made signals in, requests as text out.
#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes its texts this way")]

mod bounds;
mod cases;
mod continuing;
mod destinations;
mod ends;
mod erasing;
mod freezing;
mod large;
mod laws;
mod messages;
mod namesakes;
mod strangers;
mod telling;
mod tries;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use super::request::millis;
use super::{Change, Config, Delivery, Engine, FinalLine, Invocation, Request, State};
use crate::signal::{
    Attributes, Batch, ErrorFact, ErrorKind, Facts, Fnv128, Http, LogRecord, MessageRef, Platform,
    PlatformStage, PlatformStatus, Receiver, Resource, Signal, SignalKind, Span, SpanId, SpanKind,
    SpanLink, Text, Timestamp, TraceContext, TraceId, Via,
};

/// Where all stories begin.
const T0: u64 = 1_700_000_000_000;

fn at(ms: i64) -> Timestamp {
    Timestamp::from_nanos((T0 * 1_000_000).checked_add_signed(ms * 1_000_000).unwrap())
}

fn trace(n: u8) -> TraceId {
    TraceId([n; 16])
}

fn span_id(n: u8) -> SpanId {
    SpanId([n; 8])
}

/// A signal and the function that speaks.
#[derive(Clone, Debug)]
struct Told {
    resource: Resource,
    signal: Signal,
}

fn told(function: &str, kind: SignalKind) -> Told {
    let resource = Resource { function: Some(Text::from(function)), ..Resource::default() };
    Told { resource, signal: Signal { identity: None, resource: 0, kind } }
}

/// A server span from `start` to `end` (ms), whose parent is of the same trace (0: none).
fn span(function: &str, ids: [u8; 3], start: i64, end: i64) -> Told {
    let [t, id, parent] = ids;
    let span = Span {
        trace_id: trace(t),
        span_id: span_id(id),
        parent_id: (parent > 0).then(|| span_id(parent)),
        kind: SpanKind::Server,
        name: Text::from("span"),
        start: at(start),
        end: at(end),
        failed: false,
        links: Vec::new(),
        facts: Facts::default(),
        attributes: Attributes::default(),
    };
    told(function, SignalKind::Span(Box::new(span)))
}

fn log(function: &str, time: i64) -> Told {
    let record = LogRecord {
        time: at(time),
        severity: None,
        trace: None,
        body: Text::from("said"),
        facts: Facts::default(),
        attributes: Attributes::default(),
    };
    told(function, SignalKind::Log(Box::new(record)))
}

fn event(function: &str, run: &str, stage: PlatformStage, time: i64) -> Told {
    let mut event = Platform::new(at(time), stage);
    event.invocation_id = (!run.is_empty()).then(|| Text::from(run));
    let mut told = told(function, SignalKind::Platform(Box::new(event)));
    let hash = Fnv128::default().field(function.as_bytes()).field(run.as_bytes());
    let hash = hash.field(format!("{stage:?}").as_bytes()).field(&time.to_be_bytes());
    told.signal.identity = Some(hash.finish());
    told
}

fn start(function: &str, run: &str, time: i64) -> Told {
    event(function, run, PlatformStage::Start, time)
}

/// A report at `time` of a run that took `ms`, billed the same, with 1 GiB.
fn report(function: &str, run: &str, time: i64, ms: u64) -> Told {
    event(function, run, PlatformStage::Report, time).platform(|event| {
        event.duration = Some(Duration::from_millis(ms));
        event.billed = Some(Duration::from_millis(ms));
        event.memory_size_bytes = Some(1 << 30);
    })
}

impl Told {
    fn facts(mut self, change: impl FnOnce(&mut Facts)) -> Self {
        match &mut self.signal.kind {
            SignalKind::Span(span) => change(&mut span.facts),
            SignalKind::Log(record) => change(&mut record.facts),
            _ => panic!("only spans and records have facts"),
        }
        self
    }

    fn span(mut self, change: impl FnOnce(&mut Span)) -> Self {
        if let SignalKind::Span(span) = &mut self.signal.kind {
            change(span);
        }
        self
    }

    fn platform(mut self, change: impl FnOnce(&mut Platform)) -> Self {
        if let SignalKind::Platform(event) = &mut self.signal.kind {
            change(event);
        }
        self
    }

    fn kind(self, kind: SpanKind) -> Self {
        self.span(|span| span.kind = kind)
    }

    fn run(self, id: &str) -> Self {
        self.facts(|facts| facts.invocation_id = Some(Text::from(id)))
    }

    fn correlation(self, id: &str) -> Self {
        self.facts(|facts| facts.correlation_ids.push(Text::from(id)))
    }

    fn route(self, method: &str, route: &str) -> Self {
        let http = Http { method: Some(method.into()), route: Some(route.into()), status: None };
        self.facts(|facts| facts.http = Some(http))
    }

    fn failed(self, message: &str) -> Self {
        let error = ErrorFact { kind: ErrorKind::of(message), message: Text::from(message) };
        self.facts(|facts| facts.error = Some(error)).span(|span| span.failed = true)
    }

    fn status(self, status: PlatformStatus) -> Self {
        self.platform(|event| event.status = Some(status))
    }

    fn sent(self, id: &str, queue: &str) -> Self {
        let mut message = MessageRef::new(id, Via::Queue);
        message.queue = Some(Text::from(queue));
        self.facts(|facts| facts.sent.push(message))
    }

    fn received(self, id: &str, queue: &str) -> Self {
        let mut message = MessageRef::new(id, Via::Queue);
        message.queue = Some(Text::from(queue));
        self.facts(|facts| facts.received.push(message))
    }

    /// The receive count of its last received message.
    fn count(self, n: u32) -> Self {
        self.facts(|facts| facts.received.last_mut().unwrap().receive_count = Some(n))
    }

    fn link(self, t: u8, id: u8, message: &str) -> Self {
        let message_id = (!message.is_empty()).then(|| Text::from(message));
        let link = SpanLink { trace_id: trace(t), span_id: span_id(id), message_id };
        self.span(|span| span.links.push(link))
    }

    fn of_account(mut self, account: &str) -> Self {
        self.resource.account = Some(Text::from(account));
        self
    }

    fn traced(mut self, t: u8, id: u8) -> Self {
        let context = TraceContext { trace_id: trace(t), span_id: Some(span_id(id)) };
        match &mut self.signal.kind {
            SignalKind::Log(record) => record.trace = Some(context),
            SignalKind::Platform(event) => event.trace = Some(context),
            _ => panic!("spans have traces of their own"),
        }
        self
    }
}

fn batch(told: &[Told]) -> Batch {
    let mut batch = Batch::new(Receiver::OtlpHttp, at(0));
    for (idx, told) in told.iter().enumerate() {
        batch.resources.push(told.resource.clone());
        let resource = u32::try_from(idx).unwrap();
        batch.signals.push(Signal { resource, ..told.signal.clone() });
    }
    batch
}

/// An engine, and what it said so far: the latest version of everything.
struct World {
    engine: Engine,
    secs: u64,
    requests: BTreeMap<Text, Request>,
    invocations: BTreeMap<Text, Invocation>,
    deliveries: BTreeMap<Text, Delivery>,
    n_finals: usize,
    uncorrelated: BTreeMap<Text, u64>,
}

impl World {
    fn findings(&self) -> Vec<String> {
        self.engine.findings().into_iter().map(|finding| finding.message).collect()
    }

    fn new(config: Config) -> Self {
        Self {
            engine: Engine::new(config),
            secs: 0,
            requests: BTreeMap::new(),
            invocations: BTreeMap::new(),
            deliveries: BTreeMap::new(),
            n_finals: 0,
            uncorrelated: BTreeMap::new(),
        }
    }

    fn now(&self) -> Timestamp {
        at(0).saturating_add(Duration::from_secs(self.secs))
    }

    fn hear(&mut self, told: &[Told]) -> &mut Self {
        self.engine.apply(&batch(told), self.now());
        self
    }

    /// Lets `secs` seconds pass.
    fn wait(&mut self, secs: u64) -> &mut Self {
        for _ in 0..secs {
            self.secs += 1;
            let now = self.now();
            // Of those that are final some are kept; nothing else depends on it.
            let is_kept = |line: &FinalLine<'_>| line.id.ends_with(['0', '2', '4', '6', '8']);
            let mut progress = self.engine.begin_tick(now);
            while let Some(changes) = self.engine.next_part(&mut progress, &is_kept) {
                changes.into_iter().for_each(|change| self.note(change));
            }
        }
        self
    }

    /// Until everything is final.
    fn wait_for_the_end(&mut self) -> &mut Self {
        self.wait(300 + 900 + 60)
    }

    fn note(&mut self, change: Change) {
        match change {
            Change::Request(request) => {
                self.requests.insert(Text::clone(&request.id), *request);
            }
            Change::RequestForgotten(id) => {
                self.n_finals += 1;
                self.requests.get_mut(&id).unwrap().state = State::Final;
            }
            Change::RequestFinal(request) => {
                self.n_finals += 1;
                self.requests.insert(Text::clone(&request.id), *request);
            }
            Change::RequestGone(id) => assert!(self.requests.remove(&id).is_some()),
            Change::Invocation(i) => drop(self.invocations.insert(Text::clone(&i.id), *i)),
            Change::InvocationGone(id) => assert!(self.invocations.remove(&id).is_some()),
            Change::Delivery(d) => drop(self.deliveries.insert(Text::clone(&d.id), *d)),
            Change::DeliveryGone(id) => assert!(self.deliveries.remove(&id).is_some()),
            Change::InvocationFinal(id) => assert!(self.invocations.contains_key(&id)),
            Change::DeliveryFinal(id) => assert!(self.deliveries.contains_key(&id)),
            Change::Uncorrelated { function, count, .. } => {
                *self.uncorrelated.entry(function).or_default() += count;
            }
        }
    }

    /// What was said of requests, as text.
    fn shown(&self) -> String {
        let mut requests: Vec<&Request> = self.requests.values().collect();
        requests.sort_by_key(|request| (request.start, Text::clone(&request.id)));
        requests.into_iter().map(show).collect()
    }
}

fn offset(time: Timestamp) -> f64 {
    (time.as_secs_f64() - at(0).as_secs_f64()) * 1000.0
}

/// A request as text, in milliseconds since the story began.
fn show(request: &Request) -> String {
    let mut text = String::new();
    let name = |id: &Text| {
        let hop = request.hops.iter().find(|hop| hop.id == *id);
        hop.map_or_else(|| "?".to_owned(), |hop| format!("{}#{}", hop.function, hop.attempt))
    };
    let state = format!("{:?}", request.state).to_lowercase();
    let from = offset(request.start);
    let (flow, outcome) = (&request.flow, request.outcome.as_str());
    let took = millis(request.duration);
    writeln!(text, "{flow}: {outcome} {state} {from:.0}+{took:.0}").unwrap();
    for hop in &request.hops {
        let (start, ms) = (offset(hop.start), hop.duration.map_or(-1.0, millis));
        let outcome = hop.outcome.as_str();
        write!(text, "  {}#{} {outcome} {start:.0}+{ms:.0}", hop.function, hop.attempt).unwrap();
        if let Some(evidence) = hop.evidence {
            let causes: Vec<String> = hop.causes.iter().map(name).collect();
            let (via, causes) = (format!("{:?}", hop.via).to_lowercase(), causes.join(","));
            write!(text, " <- {causes} {via} by {evidence:?}").unwrap();
        }
        if let Some(wait) = hop.queue_wait {
            let queue = hop.queue.as_deref().unwrap_or("?");
            write!(text, " {queue} wait={:.0}", millis(wait)).unwrap();
        }
        if let Some(init) = hop.init {
            write!(text, " init={:.0}", millis(init)).unwrap();
        }
        if !hop.message_ids.is_empty() {
            write!(text, " [{}]", hop.message_ids.join(",")).unwrap();
        }
        if hop.shared {
            write!(text, " shared").unwrap();
        }
        if let Some(error) = &hop.error {
            write!(text, " ({error})").unwrap();
        }
        text.push('\n');
    }
    for missing in &request.missing {
        writeln!(text, "  missing after {}: {}", name(&missing.after), missing.expected).unwrap();
    }
    text
}

/// Signals that all come at once, 20 s later: the requests that they make.
#[track_caller]
fn check(told: &[Told], expect: &expect_test::Expect) {
    let mut world = World::new(Config::default());
    world.hear(told).wait(20);
    expect.assert_eq(&world.shown());
}
