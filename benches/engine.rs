//! Measures the engine alone, facts in and samples out; `cargo bench --bench engine` prints the table.
//!
//! - Facts a CPU second in a steady flow: intake, deriving, settling, measuring.
//! - Bytes by which memory grows for each request that is over, of 4 hops, 28 spans, 12 records and 4
//!   reports, and of one hop; and what the engine weighs it at.
//! - CPU time of a second in which a hundred spans come to a trace that everything else carries too.
//! - CPU time of a late span in a request of 5,000 hops, and of saving and restoring the engine.
//!
//! `ENGINE_RATES` is the list of requests a second: fourteen times as many are open. Nothing here fails for being slow.

#![expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::print_stdout,
    reason = "a program that measures and prints, outside the daemon"
)]

use std::time::Duration;

use throughline::correlate::{Config, Engine, Lookup, State};
use throughline::measure::Measure;
use throughline::series::{Config as SeriesConfig, Series};
use throughline::signal::{
    Attributes, Batch, ErrorFact, ErrorKind, Facts, Fnv128, Http, LogRecord, MessageRef, Peer,
    Platform, PlatformStage, PlatformStatus, Receiver, Resource, Severity, Signal, SignalKind,
    Span, SpanId, SpanKind, Text, Timestamp, TraceContext, TraceId, Via,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Signals of one delivery.
const BATCH: usize = 512;
/// Seconds that are timed.
const TIMED: u64 = 20;
/// So short that requests are final within the run.
const LATENESS: Duration = Duration::from_secs(16);
const FUNCTIONS: [&str; 4] = ["checkout", "payment", "fulfil", "notify"];

fn main() {
    if std::env::args().any(|arg| arg == "--list") {
        return;
    }
    let rates = std::env::var("ENGINE_RATES").unwrap_or_else(|_| "70,7000".to_owned());
    let rates: Vec<u64> = rates.split(',').filter_map(|rate| rate.trim().parse().ok()).collect();
    println!(
        "| shape | open | held | facts/CPU s | intake µs | ticks µs | bytes a request | weighed |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|");
    for shape in [Shape::FourHops, Shape::OneHop] {
        for &rate in &rates {
            steady(shape, rate, Config::default().allowed_lateness);
            steady(shape, rate, LATENESS);
        }
    }
    late();
    [10_000, 30_000, 100_000].into_iter().for_each(constant);
    snapshot();
}

#[derive(Clone, Copy, Debug)]
enum Shape {
    /// A call, a queue, a correlation id: 4 hops, 28 spans, 12 records, 4 reports.
    FourHops,
    /// One invocation: 7 spans, 3 records, a report; it sends nothing, or it would wait for a consumer.
    OneHop,
}

impl Shape {
    const fn n_hops(self) -> u64 {
        match self {
            Self::FourHops => 4,
            Self::OneHop => 1,
        }
    }
}

/// CPU time of this thread (`/proc/thread-self/schedstat`, first field, nanoseconds).
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split_whitespace().next().and_then(|text| text.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

fn resident_bytes() -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default();
    let kib = line.split_whitespace().nth(1).and_then(|text| text.parse::<f64>().ok());
    kib.unwrap_or(0.0) * 1024.0
}

/// Numbers that look random and are the same in every run (SplitMix64).
fn random(n: u64) -> u64 {
    let mut z = n.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn uuid(n: u64) -> Text {
    let (a, b) = (random(n), random(n ^ u64::MAX));
    let text = format!("{a:016x}{b:016x}");
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    Text::from([part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-"))
}

fn begin() -> Timestamp {
    Timestamp::from_nanos(1_700_000_000_000_000_000)
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// The world of one run: an engine, its measuring, its series, and where time goes.
struct World {
    engine: Engine,
    measure: Measure,
    series: Series,
    now: Timestamp,
    n_facts: u64,
    intake: Duration,
    ticks: Duration,
}

impl World {
    fn new(allowed_lateness: Duration) -> Self {
        let config = Config { memory_max_bytes: 64 << 30, allowed_lateness, ..Config::default() };
        Self {
            engine: Engine::new(config),
            measure: Measure::new(),
            series: Series::new(SeriesConfig::default()),
            now: begin(),
            n_facts: 0,
            intake: Duration::ZERO,
            ticks: Duration::ZERO,
        }
    }

    fn hear(&mut self, batches: &[Batch]) {
        self.n_facts += batches.iter().map(|batch| batch.signals.len() as u64).sum::<u64>();
        let before = cpu();
        for batch in batches {
            self.engine.apply(batch, self.now);
        }
        self.intake += cpu().saturating_sub(before);
    }

    fn tick(&mut self, passed: Duration) {
        self.now = self.now.saturating_add(passed);
        let before = cpu();
        let mut progress = self.engine.begin_tick(self.now);
        while let Some(changes) = self.engine.next_part(&mut progress, &|_| false) {
            self.measure.count(&changes, &mut self.series, self.now);
        }
        self.measure.show(&mut self.series, self.now);
        self.ticks += cpu().saturating_sub(before);
    }

    /// One second in which `rate` requests begin; each hop comes a second after the hop before it.
    fn second(&mut self, shape: Shape, n: u64, rate: u64) {
        let mut stage = Stage::new(shape, self.now);
        for hop in 0..shape.n_hops().min(n + 1) {
            let first = (n - hop) * rate;
            for request in first..first + rate {
                stage.hop(
                    request,
                    hop,
                    begin().saturating_add(ms((n - hop) * 1_000 + request % 1_000)),
                );
            }
        }
        let batches = stage.finish();
        self.hear(&batches);
        self.tick(Duration::from_secs(1));
    }
}

/// Collects signals into batches.
struct Stage {
    shape: Shape,
    batches: Vec<Batch>,
    arrived: Timestamp,
}

impl Stage {
    const fn new(shape: Shape, arrived: Timestamp) -> Self {
        Self { shape, batches: Vec::new(), arrived }
    }

    fn finish(self) -> Vec<Batch> {
        self.batches
    }

    fn push(&mut self, function: usize, identity: Option<u128>, kind: SignalKind) {
        if self.batches.last().is_none_or(|batch| batch.signals.len() >= BATCH) {
            let mut batch = Batch::new(Receiver::OtlpHttp, self.arrived);
            batch.resources.extend(FUNCTIONS.iter().map(|name| Resource {
                service: Some(Text::from("shop")),
                function: Some(Text::from(*name)),
                version: Some(Text::from("42")),
                account: Some(Text::from("123456789012")),
                region: Some(Text::from("eu-central-1")),
                ..Resource::default()
            }));
            self.batches.push(batch);
        }
        if let Some(batch) = self.batches.last_mut() {
            batch.signals.push(Signal { identity, resource: function as u32, kind });
        }
    }

    /// One hop of a request: seven spans, three records, the platform's report.
    fn hop(&mut self, request: u64, hop: u64, begun: Timestamp) {
        let start = begun.saturating_add(ms(hop * 300));
        let sends = hop == 0 && matches!(self.shape, Shape::FourHops);
        let hop = Hop { request, place: hop, sends, start, run: uuid(request * 16 + hop) };
        (0..7).for_each(|n| self.push(hop.function(), None, hop.span(n)));
        for n in 0..3 {
            let identity = u128::from(random(request * 64 + hop.place * 8 + n + 1)) << 32;
            self.push(hop.function(), Some(identity), hop.record(n));
        }
        let identity = Fnv128::default().field(hop.run.as_bytes()).field(b"report").finish();
        self.push(hop.function(), Some(identity), hop.report());
    }
}

/// One hop of a request, and what it says.
struct Hop {
    request: u64,
    place: u64,
    sends: bool,
    start: Timestamp,
    run: Text,
}

impl Hop {
    const fn function(&self) -> usize {
        self.place as usize
    }

    /// The first two hops share a trace; the third lost it and took up a message; the last has only
    /// the correlation id.
    fn trace(&self) -> TraceId {
        let trace = self.request * 16 + if self.place < 2 { 0 } else { self.place };
        let mut id = [0; 16];
        id[..8].copy_from_slice(&random(trace).to_be_bytes());
        id[8..].copy_from_slice(&random(trace ^ 0xff).to_be_bytes());
        TraceId(id)
    }

    fn span_id(&self, hop: u64, n: u64) -> SpanId {
        SpanId(random(self.request * 1_024 + hop * 64 + n).to_be_bytes())
    }

    fn span(&self, n: u64) -> SignalKind {
        let (kind, facts) = match n {
            0 => (if self.place == 2 { SpanKind::Consumer } else { SpanKind::Server }, self.head()),
            2 if self.sends => {
                let sent = vec![message(self.request, self.start)];
                (SpanKind::Producer, Facts { sent, ..Facts::default() })
            }
            4 => (SpanKind::Internal, Facts::default()),
            _ => {
                let peer = Peer { name: Text::from("table"), operation: Text::from("GetItem") };
                (SpanKind::Client, Facts { peer: Some(peer), ..Facts::default() })
            }
        };
        let start = self.start.saturating_add(ms(n * 10));
        let parent_id = match n {
            0 => (self.place == 1).then(|| self.span_id(0, 1)),
            _ => Some(self.span_id(self.place, 0)),
        };
        SignalKind::Span(Box::new(Span {
            trace_id: self.trace(),
            span_id: self.span_id(self.place, n),
            parent_id,
            kind,
            name: Text::from("operation"),
            start,
            end: start.saturating_add(ms(if n == 0 { 100 } else { 8 })),
            failed: false,
            links: Vec::new(),
            facts,
            attributes: Attributes::default(),
        }))
    }

    fn head(&self) -> Facts {
        let mut facts = Facts { invocation_id: Some(Text::clone(&self.run)), ..Facts::default() };
        if self.place == 0 {
            let (method, route) = (Some(Text::from("POST")), Some(Text::from("/orders")));
            facts.http = Some(Http { method, route, status: Some(200) });
        }
        if self.place == 2 {
            facts.received.push(message(self.request, self.start));
        }
        facts
    }

    fn record(&self, n: u64) -> SignalKind {
        let mut facts = Facts { invocation_id: Some(Text::clone(&self.run)), ..Facts::default() };
        if n == 0 && (self.place == 0 || self.place == 3) {
            facts.correlation_ids.push(uuid(self.request ^ (1 << 60)));
        }
        if n == 2 && self.request.is_multiple_of(50) {
            let message = Text::from("KeyError: 'price'");
            facts.error = Some(ErrorFact { kind: ErrorKind::Other, message });
        }
        SignalKind::Log(Box::new(LogRecord {
            time: self.start.saturating_add(ms(5 + n * 20)),
            severity: Some(Severity::Info),
            trace: Some(TraceContext {
                trace_id: self.trace(),
                span_id: Some(self.span_id(self.place, 0)),
            }),
            body: Text::from("said"),
            facts,
            attributes: Attributes::default(),
        }))
    }

    fn report(&self) -> SignalKind {
        let mut report = Platform::new(self.start.saturating_add(ms(101)), PlatformStage::Report);
        report.status = Some(PlatformStatus::Success);
        report.duration = Some(ms(100));
        report.billed = Some(ms(100));
        report.memory_size_bytes = Some(512 << 20);
        report.memory_used_bytes = Some(100 << 20);
        report.invocation_id = Some(Text::clone(&self.run));
        SignalKind::Platform(Box::new(report))
    }
}

fn message(request: u64, sent: Timestamp) -> MessageRef {
    let mut message = MessageRef::new(uuid(request ^ (1 << 61)), Via::Queue);
    message.queue = Some(Text::from("orders"));
    message.sent = Some(sent);
    message
}

/// A steady flow: after the first ones are over, as many end each second as begin. Where lateness is short,
/// as many are final each second as well.
fn steady(shape: Shape, rate: u64, allowed_lateness: Duration) {
    let mut world = World::new(allowed_lateness);
    let quiet =
        12 + shape.n_hops() + if allowed_lateness == LATENESS { LATENESS.as_secs() } else { 0 };
    (0..quiet).for_each(|n| world.second(shape, n, rate));
    (world.n_facts, world.intake, world.ticks) = (0, Duration::ZERO, Duration::ZERO);
    let (resident, weighed) = (resident_bytes(), world.engine.bytes());
    (quiet..quiet + TIMED).for_each(|n| world.second(shape, n, rate));
    let n_facts = world.n_facts as f64;
    let bytes = (resident_bytes() - resident) / (TIMED * rate) as f64;
    let weighed = world.engine.bytes().saturating_sub(weighed) / (TIMED * rate);
    let micros = |time: Duration| time.as_secs_f64() * 1e6 / n_facts;
    let (intake, ticks) = (micros(world.intake), micros(world.ticks));
    let held = allowed_lateness.as_secs().min(quiet + TIMED);
    println!(
        "| {shape:?} | {} | {} | {:.0} | {intake:.2} | {ticks:.2} | {bytes:.0} | {weighed} |",
        rate * (10 + shape.n_hops()),
        rate * held,
        1e6 / (intake + ticks),
    );
}

/// The n-th span of a trace, which nothing called and which says nothing more.
fn bare(trace_id: TraceId, n: u64, start: Timestamp) -> Span {
    Span {
        trace_id,
        span_id: SpanId((n + 1).to_be_bytes()),
        parent_id: None,
        kind: SpanKind::Server,
        name: Text::from("operation"),
        start,
        end: start.saturating_add(ms(20)),
        failed: false,
        links: Vec::new(),
        facts: Facts::default(),
        attributes: Attributes::default(),
    }
}

/// A request that sends 5,000 messages, each taken up by an invocation; then one more span of one.
fn late() {
    const HOPS: u64 = 5_000;
    const LATE: u64 = 2_000;
    let mut world = World::new(Config::default().allowed_lateness);
    let trace = |n: u64| {
        let mut id = [9; 16];
        id[..8].copy_from_slice(&random(n).to_be_bytes());
        TraceId(id)
    };
    let span = |of: u64, n: u64, change: &dyn Fn(&mut Span)| {
        let start = begin().saturating_add(ms(of / 10 + n));
        let mut span = bare(trace(of), n, start);
        if n > 0 {
            span.parent_id = Some(SpanId(1_u64.to_be_bytes()));
            span.kind = SpanKind::Internal;
        }
        change(&mut span);
        SignalKind::Span(Box::new(span))
    };
    let mut stage = Stage::new(Shape::FourHops, begin());
    let sent: Vec<MessageRef> = (1..=HOPS).map(|n| message(n, begin())).collect();
    stage.push(0, None, span(0, 0, &|span| span.facts.sent.clone_from(&sent)));
    for of in 1..=HOPS {
        stage.push(2, None, span(of, 0, &|span| span.facts.received.push(message(of, begin()))));
    }
    world.hear(&stage.finish());
    for _ in 0..15 {
        world.tick(Duration::from_secs(1));
    }
    let found = world.engine.lookup(&message(77, begin()).id);
    assert!(
        matches!(found, Lookup::One(request) if request.hops.len() > 5_000 && request.state == State::Finished)
    );
    (world.intake, world.ticks) = (Duration::ZERO, Duration::ZERO);
    for n in 0..LATE {
        let mut stage = Stage::new(Shape::FourHops, begin());
        stage.push(2, None, span(100 + n * 2, 1, &|_| ()));
        world.hear(&stage.finish());
        world.tick(Duration::from_micros(100));
    }
    let took = (world.intake + world.ticks).as_secs_f64() * 1e3 / LATE as f64;
    println!("a late span in a request of {HOPS} hops: {took:.3} ms, intake and tick");
}

/// Every invocation in one trace: so many are held, and a hundred more come each second.
fn constant(n_held: u64) {
    const A_SECOND: u64 = 100;
    const SECS: u64 = 60;
    let span = |n: u64| {
        let start = begin().saturating_add(ms(n));
        SignalKind::Span(Box::new(bare(TraceId([7; 16]), n, start)))
    };
    let mut world = World::new(Config::default().allowed_lateness);
    let come = |world: &mut World, from: u64, to: u64| {
        let mut stage = Stage::new(Shape::OneHop, world.now);
        (from..to).for_each(|n| stage.push(0, None, span(n)));
        world.hear(&stage.finish());
        let before = world.ticks;
        world.tick(Duration::from_secs(1));
        world.ticks.saturating_sub(before).as_secs_f64() * 1e3
    };
    come(&mut world, 0, n_held);
    let each: Vec<f64> = (0..SECS)
        .map(|n| come(&mut world, n_held + n * A_SECOND, n_held + (n + 1) * A_SECOND))
        .collect();
    let mean = each.iter().sum::<f64>() / SECS as f64;
    let worst = each.iter().copied().fold(0.0, f64::max);
    println!("a constant trace of {n_held} spans: {mean:.1} ms a tick, the longest {worst:.0} ms");
}

fn snapshot() {
    let mut world = World::new(Config::default().allowed_lateness);
    // The last ones that begin do not go all the way; the others are over after these ticks.
    (0..30).for_each(|n| world.second(Shape::FourHops, n, 1_000));
    (0..15).for_each(|_| world.tick(Duration::from_secs(1)));
    let before = cpu();
    let moment = world.engine.moment();
    let pause = cpu().saturating_sub(before).as_secs_f64() * 1e3;
    let saved: Vec<Vec<u8>> = moment.into_iter().map(|piece| piece()).collect();
    let save = cpu().saturating_sub(before).as_secs_f64() * 1e3;
    let saved = saved.concat();
    let before = cpu();
    let restored = Engine::restore(Config::default(), &saved);
    let restore = cpu().saturating_sub(before).as_secs_f64() * 1e3;
    assert!(restored.is_ok());
    let mib = saved.len() as f64 / 1_048_576.0;
    println!(
        "save of 30,000 requests: {mib:.1} MiB, {:.0} ms a 64 MiB, of these {:.1} before work goes on; restore {:.0} ms a 64 MiB",
        save * 64.0 / mib,
        pause * 64.0 / mib,
        restore * 64.0 / mib
    );
}
