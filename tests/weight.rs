//! The engine's weight beside what a counting allocator says: `memory_max` holds for what the engine takes only as
//! far as the two agree.

use std::alloc::System;
use std::time::Duration;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use throughline::correlate::{Config, Engine};
use throughline::signal::{
    Attributes, Batch, Facts, LogRecord, MessageRef, Platform, PlatformStage, Receiver, Resource,
    Signal, SignalKind, Span, SpanId, SpanKind, Text, Timestamp, TraceId, Via,
};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const N: u64 = 5_000;
const AT_ONCE: u64 = 500;
/// Nothing is open or correctable any more then.
const OVER_SECS: u64 = 120;

fn config() -> Config {
    let settle_after = Duration::from_secs(1);
    let (incomplete_after, retry_after) = (Duration::from_secs(20), Duration::from_secs(20));
    let allowed_lateness = Duration::from_secs(30);
    Config { settle_after, incomplete_after, retry_after, allowed_lateness, ..Config::default() }
}

fn at(secs: u64) -> Timestamp {
    Timestamp::from_nanos((1_700_000_000 + secs) * 1_000_000_000)
}

fn span(n: u64, secs: u64) -> Signal {
    let span = Span {
        trace_id: TraceId(u128::from(n).to_be_bytes()),
        span_id: SpanId(n.to_be_bytes()),
        parent_id: None,
        kind: SpanKind::Server,
        name: Text::from("span"),
        start: at(secs),
        end: at(secs),
        failed: false,
        links: Vec::new(),
        facts: Facts::default(),
        attributes: Attributes::default(),
    };
    Signal { identity: None, resource: 0, kind: SignalKind::Span(Box::new(span)) }
}

fn log(secs: u64, facts: Facts) -> Signal {
    let record = LogRecord {
        time: at(secs),
        severity: None,
        trace: None,
        body: Text::from("said"),
        facts,
        attributes: Attributes::default(),
    };
    Signal { identity: None, resource: 0, kind: SignalKind::Log(Box::new(record)) }
}

/// As long as a UUID.
fn name(n: u64) -> Text {
    Text::from(format!("{n:036x}"))
}

fn of_run(n: u64) -> Facts {
    Facts { invocation_id: Some(name(n)), ..Facts::default() }
}

/// A platform event that belongs to no run and changes nothing: it is known again.
fn event(n: u64, secs: u64) -> Signal {
    let event = Platform::new(at(secs), PlatformStage::Report);
    let kind = SignalKind::Platform(Box::new(event));
    Signal { identity: Some(u128::from(n)), resource: 0, kind }
}

fn batch(signals: Vec<Signal>) -> Batch {
    let resource = Resource { function: Some(Text::from("checkout")), ..Resource::default() };
    Batch { resources: vec![resource], signals, ..Batch::new(Receiver::OtlpHttp, at(0)) }
}

/// What is told of the n-th thing, and in which delivery.
type Story = fn(u64, u64) -> Batch;

const STORIES: [(&str, Story); 8] = [
    ("events", |n, secs| batch(vec![event(n, secs)])),
    ("deliveries", |n, secs| {
        let declared_id = Some(u128::from(n));
        Batch { declared_id, ..batch(vec![log(secs, Facts::default())]) }
    }),
    ("bodies", |n, secs| {
        let body_hash = u128::from(n + 1);
        Batch { body_hash, ..batch(vec![log(secs, Facts::default())]) }
    }),
    ("runs", |n, secs| batch(vec![log(secs, of_run(n))])),
    ("correlation ids", |n, secs| {
        let correlation_ids = vec![name(n)];
        batch(vec![log(secs, Facts { correlation_ids, ..of_run(n) })])
    }),
    ("one correlation id", |n, secs| {
        let correlation_ids = vec![name(n / 400)];
        batch(vec![log(secs, Facts { correlation_ids, ..of_run(n) })])
    }),
    ("messages", |n, secs| {
        let message = MessageRef {
            queue: Some(Text::from("orders")),
            ..MessageRef::new(name(n), Via::Queue)
        };
        batch(vec![log(secs, Facts { sent: vec![message], ..of_run(n) })])
    }),
    ("spans", |n, secs| batch(vec![span(n, secs)])),
];

/// What the engine says that it takes once all is over, and what it takes: as it comes back, without the room that
/// its tables had for what was open.
fn told_and_taken(story: Story) -> (u64, u64) {
    let mut engine = Engine::new(config());
    let mut secs = 0;
    for n in 0..N {
        engine.apply(&story(n, secs), at(secs));
        if n % AT_ONCE == AT_ONCE - 1 {
            secs += 1;
            engine.tick(at(secs));
        }
    }
    for _ in 0..OVER_SECS {
        secs += 1;
        engine.tick(at(secs));
    }
    let saved = engine.save().concat();
    let region = Region::new(ALLOCATOR);
    let engine = Engine::restore(config(), &saved).expect("just saved");
    let change = region.change();
    let taken = change.bytes_allocated.saturating_sub(change.bytes_deallocated);
    (engine.bytes(), u64::try_from(taken).expect("64 bits at the most"))
}

/// One test: what another one allocates at the same time would count too.
#[test]
fn what_is_remembered_weighs_what_it_takes_within_a_half() {
    for (name, story) in STORIES {
        let (told, taken) = told_and_taken(story);
        let (told, taken) = (told / N, taken / N);
        println!("{name}: {told} bytes told each, {taken} taken");
        assert!(told * 2 <= taken * 3 && taken * 2 <= told * 3, "{name}: {told}, {taken}");
    }
}
