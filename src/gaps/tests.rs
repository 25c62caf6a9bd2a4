//! Records in, findings as text out.

use super::*;
use crate::signal::{
    Attributes, LogRecord, OddKind, Oddity, Platform, PlatformStage, Receiver, Resource,
    SignalKind, Value,
};

fn at(second: u64) -> Timestamp {
    Timestamp::from_nanos((1_795_600_800 + second) * 1_000_000_000)
}

fn batch(kind: SignalKind, identity: Option<u128>, now: Timestamp) -> Batch {
    let mut batch = Batch::new(Receiver::Json, now);
    let function = Some("checkout".into());
    batch.resources.push(Resource { function, ..Resource::default() });
    batch.signals.push(Signal { identity, resource: 0, kind });
    batch
}

fn record(fields: &[(&str, Value)], correlation: bool, now: Timestamp) -> Batch {
    let attributes =
        fields.iter().map(|(name, value)| (Text::from(*name), value.clone())).collect();
    let mut facts = Facts::default();
    facts.correlation_ids.extend(correlation.then(|| Text::from("o-1")));
    let log = LogRecord {
        time: now,
        severity: None,
        trace: None,
        body: Text::default(),
        facts,
        attributes: Attributes(attributes),
    };
    batch(SignalKind::Log(Box::new(log)), None, now)
}

/// A world that is told one record a second.
#[derive(Default)]
struct World {
    gaps: Gaps,
    second: u64,
    told: Vec<Finding>,
}

impl World {
    fn hear(&mut self, n: u64, record_of: impl Fn(u64, Timestamp) -> Batch) -> &mut Self {
        for _ in 0..n {
            self.second += 1;
            let now = at(self.second);
            self.gaps.apply(&record_of(self.second, now), now);
            self.gaps.tick(now);
            self.told.extend(self.gaps.take_new());
        }
        self
    }

    fn messages(&self) -> Vec<String> {
        self.gaps.findings().into_iter().map(|finding| finding.message).collect()
    }
}

fn amount() -> [(&'static str, Value); 1] {
    [("amount", Value::Float(1.5))]
}

#[test]
fn a_field_that_vanishes_is_found_and_named_once_and_its_return_ends_it() {
    let mut world = World::default();
    world.hear(100, |_, now| record(&amount(), true, now));
    world.hear(290, |_, now| record(&amount(), false, now));
    assert_eq!(world.messages(), Vec::<String>::new(), "not for five minutes yet");
    world.hear(30, |_, now| record(&amount(), false, now));
    let [found] = world.told.as_slice() else { panic!("{:?}", world.told) };
    assert_eq!(found.kind, "schema_drift");
    assert_eq!(
        (&*found.function, found.field.as_deref()),
        ("checkout", Some("the correlation id"))
    );
    assert_eq!(found.since, at(100));
    assert_eq!(
        world.messages(),
        [
            "log records of checkout no longer have `the correlation id`: 320 since 2026-11-25T10:01:40.000000000Z lack it"
        ]
    );
    let saved = world.gaps.save().unwrap();
    let restored = Gaps::restore(&saved).unwrap();
    assert_eq!(restored.findings(), world.gaps.findings());
    world.hear(20, |_, now| record(&amount(), true, now));
    assert_eq!((world.messages(), world.told.len()), (Vec::new(), 1));
}

#[test]
fn a_field_that_comes_now_and_then_has_not_vanished() {
    let mut world = World::default();
    // One record in forty, but for ten minutes once and, later, for twenty.
    let is_away = |second: u64| matches!(second, 6_000..6_600 | 12_000..13_200);
    let rare = |second: u64| second.is_multiple_of(40) && !is_away(second);
    world.hear(20_000, |second, now| {
        let fields = amount();
        record(if rare(second) { &fields } else { &[] }, true, now)
    });
    assert!(world.told.is_empty(), "{:?}", world.told);
    // A function that says nothing lacks nothing.
    world.second += 7_200;
    world.hear(20, |_, now| record(&[], true, now));
    assert!(world.told.is_empty(), "{:?}", world.told);
}

#[test]
fn that_failures_end_is_no_gap() {
    let mut world = World::default();
    let failed = [
        ("error.type", Value::Str("Throttled".into())),
        ("exception.message", Value::Str("no".into())),
    ];
    world.hear(200, |_, now| record(&failed, true, now));
    world.hear(3_000, |_, now| record(&[], true, now));
    assert!(world.told.is_empty(), "{:?}", world.told);
}

#[test]
fn a_field_that_changes_type_is_found_and_one_that_always_does_is_not() {
    let mut world = World::default();
    let of = |second: u64, amount: Value, now| {
        let either = if second.is_multiple_of(2) { Value::Bool(true) } else { Value::Int(1) };
        record(&[("amount", amount), ("either", either)], true, now)
    };
    world.hear(30, |second, now| of(second, Value::Int(3), now));
    world.hear(4, |second, now| of(second, Value::Str("3".into()), now));
    assert_eq!(world.messages(), Vec::<String>::new());
    world.hear(1, |second, now| of(second, Value::Float(3.5), now));
    world.hear(2, |second, now| of(second, Value::Str("3".into()), now));
    assert_eq!(world.told.len(), 1);
    assert_eq!(
        world.messages(),
        [
            "`amount` in log records of checkout was a number and is text since 2026-11-25T10:00:31.000000000Z"
        ]
    );
    // A day later that is how it is.
    world.second += 86_400;
    world.hear(20, |second, now| of(second, Value::Str("3".into()), now));
    assert_eq!(world.messages(), Vec::<String>::new());
}

#[test]
fn dropped_logs_are_found_and_a_repeat_counts_once() {
    let mut world = World::default();
    let dropped = |second: u64, now: Timestamp| {
        let mut event = Platform::new(now, PlatformStage::LogsDropped);
        event.text = Some("BufferFull: 120 records, 34000 bytes".into());
        batch(SignalKind::Platform(Box::new(event)), Some(u128::from(second / 2)), now)
    };
    world.hear(3, dropped);
    let [found] = world.told.as_slice() else { panic!("{:?}", world.told) };
    assert_eq!((found.kind, &*found.function, found.since), ("logs_dropped", "checkout", at(1)));
    assert_eq!(
        world.messages(),
        [
            "log records of checkout were dropped before they were sent, told 2 times, last at 2026-11-25T10:00:02.000000000Z: BufferFull: 120 records, 34000 bytes; its requests may lack records"
        ]
    );
    world.second += 86_400;
    world.hear(11, |_, now| record(&[], true, now));
    assert_eq!(world.messages(), Vec::<String>::new());
}

#[test]
fn floods_and_endless_names_are_bounded() {
    let mut gaps = Gaps::default();
    for n in 0..200_000_u64 {
        let name = format!("field-{n}");
        let mut one = record(&[(&name, Value::Int(1))], true, at(1));
        one.resources[0].function = Some(format!("f-{}", n % 1_000).into());
        gaps.apply(&one, at(1));
        if n % 2_000 == 0 {
            gaps.tick(at(1 + n / 2_000));
        }
    }
    assert!(gaps.functions.len() <= FUNCTIONS_MAX && gaps.n_fields <= FIELDS_MAX);
    let n_fields: usize = gaps.functions.values().map(|f| f.records.len()).sum();
    assert_eq!(gaps.n_fields, n_fields);
    let [full]: [Finding; 1] = gaps.findings().try_into().expect("one finding");
    assert!(full.message.starts_with("more than 500 functions"), "{}", full.message);
}

#[test]
fn of_a_large_batch_its_end_is_seen_as_well_as_its_start() {
    let mut gaps = Gaps::default();
    let large = |second: u64| {
        let now = at(second);
        let mut batch = Batch::new(Receiver::Json, now);
        batch.body_hash = u128::from(second) * 0x9e37_79b9_7f4a_7c15;
        let function = Some("checkout".into());
        batch.resources.push(Resource { function, ..Resource::default() });
        for n in 0..1_000 {
            // Only the last tenth says what an order is worth.
            let fields = if n >= 900 { amount().to_vec() } else { Vec::new() };
            batch.signals.extend(record(&fields, true, now).signals);
        }
        batch
    };
    for second in 1..=400 {
        gaps.apply(&large(second), at(second));
        gaps.tick(at(second));
    }
    let seen = gaps.functions.get("checkout").map(|function| function.records.len());
    assert_eq!((seen, gaps.findings()), (Some(2), Vec::new()));
}

#[test]
fn what_was_taken_without_what_cannot_be_is_told_for_a_day() {
    let odd = |kind, n, example: &str| {
        Remark::Odd(Oddity { kind, function: "checkout".into(), n, example: example.into() })
    };
    let mut gaps = Gaps::default();
    for second in [0, 60] {
        let mut batch = Batch::new(Receiver::OtlpHttp, at(second));
        batch.remarks.push(odd(OddKind::EndsBeforeStart, 2, "00f067aa0ba902b7"));
        batch.remarks.push(odd(OddKind::HugeId, 1, "aaaa"));
        gaps.apply(&batch, at(second));
    }
    gaps.tick(at(70));
    let told = |gaps: &Gaps| {
        let all = gaps.findings().into_iter();
        all.map(|one| format!("{} {} {}", one.kind, one.function, one.message)).collect::<Vec<_>>()
    };
    let [times, ids] = &*told(&gaps) else { panic!("{:?}", told(&gaps)) };
    assert!(times.starts_with("ends_before_start checkout 4 spans of checkout"), "{times}");
    assert!(times.contains("00f067aa0ba902b7"), "{times}");
    assert!(ids.starts_with("huge_id checkout 2 signals of checkout"), "{ids}");
    gaps.tick(at(60 + 24 * 3600));
    assert_eq!(told(&gaps), Vec::<String>::new());
}
