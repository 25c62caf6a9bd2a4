//! The state as a function of the log: whatever the log holds and wherever it is cut by a snapshot, what
//! comes back is what a replay from its start gives, byte for byte.

mod corruption;
mod reloads;
mod room;
mod simulation;
mod troubles;

use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;

use super::state::{Entry, State, show_open};
use super::terms::Terms;
use crate::archive::Archive;
use crate::config::Config;
use crate::evaluate::{AlertState, RuleKey, Transition};
use crate::journal::{Point, Section, Snapshot};
use crate::normalize::{self, Origin, json_log};
use crate::series::{self, Matcher, RawSeries, STALE_NAN_BITS, SampleValue, Selection, Series};
use crate::signal::{Labels, METRIC_NAME, Receiver, Timestamp};

/// 2026-11-25T10:00:00Z.
const START: u64 = 1_795_600_800;

fn at(second: usize) -> Timestamp {
    let second = START + u64::try_from(second).unwrap();
    Timestamp::from_nanos(second * 1_000_000_000)
}

/// Something that may happen in one second of a log.
#[derive(Clone, Debug)]
enum Step {
    Tick,
    /// Records of one of some functions, requests and messages.
    Logs {
        function: u8,
        request: u8,
        says: u8,
    },
    Alert {
        which: u8,
        to: AlertState,
    },
    SettleAfter(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let to = prop_oneof![
        Just(AlertState::Pending),
        Just(AlertState::Firing),
        Just(AlertState::Inactive)
    ];
    prop_oneof![
        6 => Just(Step::Tick),
        6 => (0..4_u8, 0..12_u8, 0..6_u8)
            .prop_map(|(function, request, says)| Step::Logs { function, request, says }),
        1 => (0..3_u8, to).prop_map(|(which, to)| Step::Alert { which, to }),
        1 => (1..20_u8).prop_map(Step::SettleAfter),
    ]
}

fn entry(step: &Step, second: usize) -> Entry {
    match step {
        Step::Tick => Entry::Tick,
        Step::Logs { function, request, says } => {
            let what = match says {
                0 => r#""correlation_id":"order-1""#.to_owned(),
                1 => format!(r#""sentMessageId":"m-{request}""#),
                2 => format!(r#""messageId":"m-{}""#, request / 2),
                3 => r#""level":"ERROR","error":"it broke""#.to_owned(),
                4 => r#""duration_ms":120"#.to_owned(),
                _ => r#""level":"INFO""#.to_owned(),
            };
            let time = at(second);
            let body = format!(
                r#"{{"timestamp":"{time}","requestId":"r-{request}","function_name":"f{function}",{what},"message":"m"}}"#
            );
            let origin = Origin { arrived: time, ..Origin::default() };
            let config = normalize::Config::default();
            let mut batch = json_log::normalize(body.as_bytes(), &origin, &config).unwrap().batch;
            batch.receiver = Receiver::Json;
            batch.declared_id = Some(u128::from(*request) << 8 | u128::from(*says));
            Entry::Batch(Box::new(batch))
        }
        Step::Alert { which, to } => {
            let labels = Labels::of(&[("alertname", "A"), ("n", &which.to_string())]);
            let transition = Transition {
                rule: RuleKey { file: "f".into(), group: "g".into(), name: "A".into() },
                labels,
                annotations: std::collections::BTreeMap::new(),
                to: *to,
                at: at(second),
                active_at: at(second),
                value: 1.0,
                corrected: false,
                evidence: None,
            };
            Entry::Alerts { transitions: vec![transition], recorded: Vec::new() }
        }
        Step::SettleAfter(seconds) => {
            let mut terms = terms();
            terms.correlate.settle_after = Duration::from_secs(u64::from(*seconds));
            terms.entry().unwrap()
        }
    }
}

fn terms() -> Terms {
    Terms::of(&Config::load(None, &[]).unwrap())
}

fn state(dir: &Path) -> State {
    let config = Config::load(None, &[]).unwrap();
    let archive = Archive::open(&dir.join("archive"), config.archive.clone()).unwrap();
    let state = State::new(&terms(), config.notify, archive);
    state.begin_anew(&dir.join("series")).unwrap();
    state
}

fn point(n: usize) -> Point {
    Point { seq: u64::try_from(n).unwrap(), log_time: at(n), chain: 0 }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_snapshot_and_the_log_behind_it_are_the_whole_log(
        steps in proptest::collection::vec(step(), 1..120),
        cuts in proptest::collection::vec(0.0..1.0_f64, 1..3),
    ) {
        let (whole_dir, cut_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (whole, mut cut) = (state(whole_dir.path()), state(cut_dir.path()));
        let n_steps = crate::number::f64_from_u64(u64::try_from(steps.len()).unwrap());
        let cuts: Vec<u64> =
            cuts.into_iter().map(|share| crate::number::u64_from_f64(share * n_steps)).collect();
        for (n, step) in steps.iter().enumerate() {
            let entry = entry(step, n);
            whole.apply(&entry, at(n));
            cut.apply(&entry, at(n));
            if cuts.contains(&u64::try_from(n).unwrap()) {
                // What came after the snapshot is on the disk still, as after a crash.
                let snapshot = cut.save(point(n)).unwrap();
                for (later, step) in steps.iter().enumerate().skip(n + 1) {
                    cut.apply(&self::entry(step, later), at(later));
                }
                drop(cut);
                let config = Config::load(None, &[]).unwrap();
                let archive =
                    Archive::open(&cut_dir.path().join("archive"), config.archive.clone()).unwrap();
                cut = State::new(&terms(), config.notify, archive);
                cut.restore(&snapshot, &cut_dir.path().join("series")).unwrap();
            }
        }
        prop_assert_eq!(whole.differences(&cut).parts, Vec::<String>::new());
        // What is saved is canonical: what came back is saved as the same bytes, but for the engine's tables
        // and the rough weight of the series.
        let last = point(steps.len());
        let (saved, again) = (cut.save(last).unwrap(), whole.save(last).unwrap());
        let canonical = |snapshot: &Snapshot| -> Vec<Section> {
            let is_other =
                |one: &&Section| ["engine.", "series."].iter().any(|name| one.name.starts_with(name));
            snapshot.sections.iter().filter(|one| !is_other(one)).cloned().collect()
        };
        prop_assert_eq!(canonical(&saved), canonical(&again));
        let series = |state: &State| format!("{:?}", super::state::read(&state.series).export());
        prop_assert_eq!(series(&whole), series(&cut));
        let all = crate::correlate::RequestFilter { limit: 1000, ..Default::default() };
        prop_assert_eq!(whole.archive.requests(&all).unwrap(), cut.archive.requests(&all).unwrap());
    }
}

#[test]
fn open_requests_that_another_daemon_pushed_here_do_not_end() {
    let mut series = Series::new(series::Config::default());
    let name = (METRIC_NAME, "throughline_requests_open");
    let pushed = Labels::of(&[name, ("flow", "elsewhere"), ("job", "another")]);
    series.append(&pushed, series::Sample { t: 900, value: SampleValue::Float(7.0) });
    show_open(&mut series, &[], 1_000);
    let matchers = [Matcher::equal("job", "another")];
    let (start, end, samples_max) = (0, 2_000, usize::MAX);
    let all =
        Selection { matchers: &matchers, start, end, samples_max, windows: None, looks: None };
    assert_eq!(series.select(&all).unwrap()[0].samples.len(), 1);
}

#[test]
fn a_flow_that_is_no_longer_told_of_has_no_open_requests() {
    let mut series = Series::new(series::Config::default());
    let seen = |series: &Series, t: i64| {
        let name = [Matcher::equal(METRIC_NAME, "throughline_requests_open")];
        let at = Selection {
            matchers: &name,
            start: t - 60_000,
            end: t,
            samples_max: usize::MAX,
            windows: None,
            looks: None,
        };
        let all = series.select(&at).unwrap();
        let line = |one: &RawSeries| {
            let values = one.samples.iter().map(|sample| match sample.value {
                SampleValue::Float(n) if n.to_bits() == STALE_NAN_BITS => "ended".to_owned(),
                SampleValue::Float(n) => n.to_string(),
                SampleValue::Histogram(_) => "a histogram".to_owned(),
            });
            format!(
                "{}: {}",
                one.labels.get("flow").unwrap_or_default(),
                values.collect::<Vec<_>>().join(" ")
            )
        };
        all.iter().map(line).collect::<Vec<_>>()
    };
    show_open(&mut series, &[("checkout".into(), 1)], 1_000);
    show_open(&mut series, &[("POST /orders".into(), 1)], 2_000);
    show_open(&mut series, &[("POST /orders".into(), 0)], 3_000);
    assert_eq!(seen(&series, 3_000), ["POST /orders: 1 0", "checkout: 1 ended"]);
    show_open(&mut series, &[("checkout".into(), 2)], 4_000);
    assert_eq!(seen(&series, 4_000), ["POST /orders: 1 0 ended", "checkout: 1 ended 2"]);
}
