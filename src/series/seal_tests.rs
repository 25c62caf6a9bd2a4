//! What sealing promises: reads are what they were, nothing counts twice, damage is found.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::catalog::{QUEUE_LAG, REQUESTS};
use super::looks::{Looks, Part};
use super::*;
use crate::number::{f64_from_i64, i64_from_f64};
use crate::signal::{Labels, METRIC_NAME, Timestamp};

/// One thing that happens: which series, when (seconds), how much.
#[derive(Clone, Copy, Debug)]
struct Happening {
    kind: usize,
    t: i64,
    n: i64,
}

fn happenings(seconds: i64) -> impl Strategy<Value = Vec<Happening>> {
    let one = (0..4_usize, 0..seconds, 1..50_i64);
    prop::collection::vec(one.prop_map(|(kind, t, n)| Happening { kind, t, n }), 1..120)
}

fn labels(name: &str, flow: usize) -> Labels {
    Labels::of(&[(METRIC_NAME, name), ("flow", ["a", "b"][flow % 2]), ("outcome", "ok")])
}

fn apply(series: &mut Series, Happening { kind, t, n }: Happening) {
    let at = Timestamp::from_millis(t * 1000);
    let value = f64_from_i64(n);
    match kind {
        0 | 1 => series.add(&labels(REQUESTS, kind), at, value),
        2 => series.observe(&labels(QUEUE_LAG, 0), at, value / 7.0, n),
        _ => series.append(
            &labels("g", 0),
            Sample { t: t * 1000, value: SampleValue::Float(value / 10.0) },
        ),
    }
}

fn tick(series: &mut Series, second: i64) {
    series.tick(Timestamp::from_millis(second * 1000));
}

/// Ticks until there is nothing left to seal or merge.
fn settle(series: &mut Series, second: i64) {
    for step in 0..400 {
        tick(series, second + step / 100);
    }
}

fn read(series: &Series, start: i64, end: i64) -> Result<Vec<RawSeries>, SelectError> {
    let matchers = [Matcher::new(METRIC_NAME, MatchOp::Regex, ".+").unwrap()];
    series.select(&Selection {
        matchers: &matchers,
        start,
        end,
        samples_max: usize::MAX,
        windows: None,
        looks: None,
    })
}

/// The last sample of each series.
fn newest(series: &Series, start: i64, end: i64, looks: Option<Looks>) -> Vec<(Labels, Sample)> {
    let matchers = [Matcher::new(METRIC_NAME, MatchOp::Regex, ".+").unwrap()];
    let selection = Selection {
        matchers: &matchers,
        start,
        end,
        samples_max: usize::MAX,
        windows: None,
        looks,
    };
    let selected = series.select(&selection).unwrap().into_iter();
    selected.map(|mut held| (held.labels, held.samples.pop().unwrap())).collect()
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// A store with blocks of several levels, and one of the same without any.
fn pair(folder: &Path, happened: &[Happening], age: i64) -> (Series, Series) {
    let mut sealed = Series::create(Config::default(), folder).unwrap();
    let mut whole = Series::new(Config::default());
    for series in [&mut sealed, &mut whole] {
        happened.iter().for_each(|one| apply(series, *one));
        settle(series, 30_000);
        settle(series, 30_000 + age);
    }
    (sealed, whole)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_sealed_reads_as_what_is_not(
        happened in happenings(30_000),
        late in happenings(30_000),
        age in prop_oneof![Just(0_i64), 1..400_000_i64],
        range in (0..40_000_i64, 0..400_000_i64),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (mut sealed, mut whole) = pair(folder.path(), &happened, age);
        // What comes after its block was sealed counts as well, before and after the next merge.
        for series in [&mut sealed, &mut whole] {
            late.iter().for_each(|one| apply(series, *one));
        }
        for (start, end) in [(0, i64::MAX), (range.0 * 1000, (range.0 + range.1) * 1000)] {
            prop_assert_eq!(read(&sealed, start, end), read(&whole, start, end));
            prop_assert_eq!(newest(&sealed, start, end, Some(Looks::once(end))), newest(&whole, start, end, None));
        }
        for series in [&mut sealed, &mut whole] {
            settle(series, 300_000 + age);
        }
        prop_assert_eq!(read(&sealed, 0, i64::MAX), read(&whole, 0, i64::MAX));
        prop_assert!(!files(folder.path()).is_empty());
        prop_assert_eq!(sealed.dropped(), Dropped::default());
    }

    #[test]
    fn a_restored_store_replays_to_the_same_reads(
        happened in happenings(30_000),
        more in happenings(30_000),
        age in 0..400_000_i64,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (mut sealed, _) = pair(folder.path(), &happened, 0);
        let saved = sealed.save().unwrap();
        let go_on = |series: &mut Series| {
            more.iter().for_each(|one| apply(series, *one));
            settle(series, 30_000 + age);
        };
        // Merges after the snapshot leave the files that it names.
        go_on(&mut sealed);
        let expected = read(&sealed, 0, i64::MAX);
        let made = sealed.block_files();
        drop(sealed);
        let mut again = Series::restore(&saved, Config::default(), folder.path()).unwrap();
        go_on(&mut again);
        prop_assert_eq!(read(&again, 0, i64::MAX), expected);
        prop_assert_eq!(again.block_files(), made);
        prop_assert_eq!(again.dropped(), Dropped::default());
    }
}

/// A block keeps its tens of seconds until it is merged; by its age the slot is a minute wide already.
#[test]
fn a_range_that_begins_within_a_slot_reads_a_block_as_it_reads_memory() {
    let folder = tempfile::tempdir().unwrap();
    let happened = [Happening { kind: 0, t: 8_580, n: 1 }, Happening { kind: 2, t: 8_580, n: 1 }];
    let (mut sealed, mut whole) = pair(folder.path(), &happened, 32_222);
    for series in [&mut sealed, &mut whole] {
        apply(series, Happening { kind: 0, t: 0, n: 2 });
        apply(series, Happening { kind: 2, t: 0, n: 2 });
    }
    for (start, end) in [(8_611, 406_083), (0, 8_611), (8_579, 8_600)] {
        let (start, end) = (start * 1000, end * 1000);
        assert_eq!(read(&sealed, start, end), read(&whole, start, end), "{start} to {end}");
    }
}

fn busy() -> Vec<Happening> {
    (0..400).map(|i| Happening { kind: 3, t: i * 15, n: i % 9 }).collect()
}

#[test]
fn a_damaged_block_is_set_aside_and_never_gives_a_number() {
    let folder = tempfile::tempdir().unwrap();
    let (sealed, _) = pair(folder.path(), &busy(), 0);
    let saved = sealed.save().unwrap();
    let good = read(&sealed, 0, 7_000_000);
    drop(sealed);
    let path = files(folder.path()).remove(0);
    let bytes = std::fs::read(&path).unwrap();
    assert!(is_whole_block(&bytes));
    let name = path.file_name().unwrap().to_str().unwrap().to_owned();
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 4;
        std::fs::write(&path, &damaged).unwrap();
        let mut series = Series::restore(&saved, Config::default(), folder.path()).unwrap();
        let seen = read(&series, 0, 7_000_000);
        tick(&mut series, 40_000);
        assert!(seen.is_err() || seen == Ok(Vec::new()), "byte {at}");
        assert_eq!(series.damaged_blocks().concat(), name, "byte {at}");
        assert_eq!(series.dropped().blocks, 1, "byte {at}");
        assert_eq!(read(&series, 0, 7_000_000), Ok(Vec::new()), "byte {at}");
        std::fs::remove_file(format!("{}.damaged", path.display())).unwrap();
    }
    for length in (0..bytes.len()).step_by(7) {
        std::fs::write(&path, &bytes[..length]).unwrap();
        let mut series = Series::restore(&saved, Config::default(), folder.path()).unwrap();
        tick(&mut series, 40_000);
        assert_eq!(series.dropped().blocks, 1, "torn after {length} bytes");
        assert_eq!(read(&series, 0, 7_000_000), Ok(Vec::new()), "torn after {length} bytes");
        std::fs::remove_file(format!("{}.damaged", path.display())).unwrap();
    }
    std::fs::write(&path, [&bytes[..], b"a longer life"].concat()).unwrap();
    let series = Series::restore(&saved, Config::default(), folder.path()).unwrap();
    assert_eq!(read(&series, 0, 7_000_000), good);
    std::fs::remove_file(&path).unwrap();
    let series = Series::restore(&saved, Config::default(), folder.path()).unwrap();
    assert_eq!(series.damaged_blocks(), [name]);
}

#[test]
fn a_file_stays_as_long_as_a_kept_snapshot_may_name_it() {
    let folder = tempfile::tempdir().unwrap();
    let (mut sealed, _) = pair(folder.path(), &busy(), 0);
    let before = files(folder.path());
    drop(sealed.save().unwrap());
    settle(&mut sealed, 300_000);
    assert!(before.iter().all(|path| path.exists()));
    for _ in 0..3 {
        drop(sealed.save().unwrap());
        sealed.snapshot_kept();
    }
    let names: Vec<String> = sealed.block_files().into_iter().map(|(name, _)| name).collect();
    let left: Vec<String> = files(folder.path())
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(left, names);
}

#[test]
fn retention_forgets_whole_blocks_and_keeps_their_sums() {
    let folder = tempfile::tempdir().unwrap();
    let retention = std::time::Duration::from_hours(2);
    let mut series =
        Series::create(Config { retention, ..Config::default() }, folder.path()).unwrap();
    for second in (10..9000).step_by(10) {
        apply(&mut series, Happening { kind: 0, t: second, n: 1 });
        tick(&mut series, second);
    }
    settle(&mut series, 12_000);
    assert_eq!(files(folder.path()).len(), 1);
    settle(&mut series, 14_500);
    assert!(files(folder.path()).is_empty());
    let last = read(&series, 8_990_000, 9_000_000).unwrap();
    let last = last.into_iter().find(|one| one.labels == labels(REQUESTS, 0)).unwrap();
    let SampleValue::Float(value) = last.samples.last().unwrap().value else { panic!("a counter") };
    assert_eq!(i64_from_f64(value), 899);
    settle(&mut series, 30_000);
    assert_eq!(series.n_series(), 0);
}

#[test]
fn at_the_bound_of_the_folder_the_oldest_block_goes_and_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config { size_max_bytes: 250, ..Config::default() };
    let mut series = Series::create(config, folder.path()).unwrap();
    for hour in 0..5 {
        for i in 0..240 {
            let t = hour * 3600 + i * 15;
            apply(&mut series, Happening { kind: 3, t, n: i * i * i % 4999 });
        }
    }
    settle(&mut series, 30_000);
    settle(&mut series, 30_100);
    assert!(series.dropped().early_blocks > 0);
    assert!(series.block_files().iter().map(|(_, length)| length).sum::<u64>() <= 250);
}

#[test]
fn a_block_that_was_merged_away_while_it_was_read_is_no_damage() {
    let folder = tempfile::tempdir().unwrap();
    let (mut sealed, _) = pair(folder.path(), &busy(), 0);
    let good = read(&sealed, 0, 7_000_000);
    let before = files(folder.path());
    let matchers = [Matcher::equal(METRIC_NAME, "g")];
    let selection = Selection {
        matchers: &matchers,
        start: 0,
        end: 7_000_000,
        samples_max: usize::MAX,
        windows: None,
        looks: None,
    };
    let mut seen = taken::Seen::default();
    sealed.take(&[0, 1, 2, 3], &read::Conditions::new(&matchers), &selection, &mut seen);
    // No snapshot names the old files, so the merge deletes them.
    settle(&mut sealed, 300_000);
    assert!(before.iter().any(|path| !path.exists()), "{before:?}");
    let disk = std::sync::Arc::new(blocks::Disk::elsewhere(folder.path()));
    let damaged = seen.taken[0].sealed_samples(&disk, Part::EVERYTHING).unwrap_err();
    assert!(before.iter().any(|path| path.ends_with(&damaged.name)));
    let held = sealed.block_files().remove(0).0;
    let shared = std::sync::RwLock::new(sealed);
    let is_gone =
        |error: SelectError| read::was_merged_away(taken::Access::Shared(&shared), &error);
    assert!(is_gone(damaged.into()), "it is asked again");
    assert!(!is_gone(SelectError::Damaged { name: held }), "this one is damaged");
    assert_eq!(select_shared(&shared, &selection, &|| true), good);
    let mut sealed = shared.into_inner().unwrap();
    tick(&mut sealed, 300_010);
    assert_eq!((sealed.dropped().blocks, sealed.damaged_blocks().len()), (0, 0));
}

#[test]
fn a_store_that_is_looked_at_briefly_gives_what_one_that_is_held_gives() {
    let folder = tempfile::tempdir().unwrap();
    let (mut sealed, _) = pair(folder.path(), &busy(), 0);
    for i in 0..300 {
        let name = ["g", "h", "i_sum"][i % 3];
        let labels = Labels::of(&[(METRIC_NAME, name), ("i", &i.to_string())]);
        sealed.append(&labels, Sample { t: 29_000_000, value: SampleValue::Float(1.0) });
        sealed.observe(
            &labels.with(METRIC_NAME, QUEUE_LAG),
            Timestamp::from_millis(28_000_000),
            2.0,
            1,
        );
    }
    let shared = std::sync::RwLock::new(sealed);
    for (name, op, value) in [
        (METRIC_NAME, MatchOp::Regex, ".+"),
        (METRIC_NAME, MatchOp::Regex, ".*_sum"),
        (METRIC_NAME, MatchOp::Equal, "throughline_queue_lag_seconds_bucket"),
        (METRIC_NAME, MatchOp::NotEqual, "g"),
        ("i", MatchOp::Regex, "1|2|3"),
        ("le", MatchOp::Equal, "+Inf"),
    ] {
        let matchers = [Matcher::new(name, op, value).unwrap()];
        let selection = Selection {
            matchers: &matchers,
            start: 27_900_000,
            end: 29_100_000,
            samples_max: usize::MAX,
            windows: None,
            looks: None,
        };
        let held = shared.read().unwrap().select(&selection).unwrap();
        assert!(
            !held.is_empty() && held.is_sorted_by(|a, b| a.labels < b.labels),
            "{name} {value}"
        );
        assert_eq!(
            select_shared(&shared, &selection, &|| true),
            Ok(held.clone()),
            "{name} {value}"
        );
        let sets = label_sets_shared(&shared, &matchers, (27_900_001, 29_100_000), &|| true);
        let labels: Vec<Labels> = held.into_iter().map(|one| one.labels).collect();
        assert_eq!(sets, labels, "{name} {value}");
    }
    for range in [(0, 30_000_000), (40_000_000, 50_000_000)] {
        let sets = label_sets_shared(&shared, &[], range, &|| true);
        let names = label_names_shared(&shared, &[], range, &|| true);
        let all: std::collections::BTreeSet<&str> =
            sets.iter().flat_map(|set| set.iter().map(|(name, _)| name)).collect();
        assert!(names.iter().map(|name| &**name).eq(all.iter().copied()), "{names:?}");
        for label in ["i", "flow", "le", METRIC_NAME, "none"] {
            let values = label_values_shared(&shared, label, &[], range, &|| true);
            let all: std::collections::BTreeSet<&str> =
                sets.iter().filter_map(|set| set.get(label)).collect();
            assert!(values.iter().map(|value| &**value).eq(all), "{label}: {values:?}");
        }
    }
}

#[test]
fn a_selection_ends_when_it_is_told_to_and_looks_at_fewer_where_comparing_takes_long() {
    let mut series = Series::new(Config::default());
    for i in 0..200 {
        let labels = Labels::of(&[(METRIC_NAME, "a"), ("i", &i.to_string())]);
        series.append(&labels, Sample { t: 1000, value: SampleValue::Float(1.0) });
    }
    let shared = std::sync::RwLock::new(series);
    // Asked before each name and each look, and before each series that is read.
    let looks = |pattern: &str, n_max: usize| {
        let matchers = [Matcher::new("i", MatchOp::Regex, pattern).unwrap()];
        let selection = Selection {
            matchers: &matchers,
            start: 0,
            end: 2000,
            samples_max: usize::MAX,
            windows: None,
            looks: None,
        };
        let n = AtomicUsize::new(0);
        let goes_on = || n.fetch_add(1, Ordering::Relaxed) < n_max;
        let found = select_shared(&shared, &selection, &goes_on).map(|found| found.len());
        (found, n.into_inner())
    };
    let (found, small) = looks("[0-9]+", usize::MAX);
    assert_eq!(found, Ok(200));
    let (found, large) = looks(r"\pL{60}|[0-9]+", usize::MAX);
    assert_eq!(found, Ok(200));
    assert!(large > small + 150, "{large} looks, {small} with a small expression");
    assert_eq!(looks("[0-9]+", small - 1).0, Err(SelectError::Ended));
    assert_eq!(looks("[0-9]+", 0).0, Err(SelectError::Ended));
}

#[test]
fn names_are_matched_within_a_look_or_without_alike() {
    let mut series = Series::new(Config::default());
    for i in 0..40 {
        let labels = Labels::of(&[(METRIC_NAME, &format!("metric_{i}"))]);
        series.append(&labels, Sample { t: 1000, value: SampleValue::Float(1.0) });
    }
    let lag = Labels::of(&[(METRIC_NAME, QUEUE_LAG), ("queue", "a")]);
    series.observe(&lag, Timestamp::from_millis(1000), 1.5, 1);
    series.tick(Timestamp::from_millis(2000));
    let shared = std::sync::RwLock::new(series);
    let names = |pattern: &str| -> Vec<String> {
        let matchers = [Matcher::new(METRIC_NAME, MatchOp::Regex, pattern).unwrap()];
        let sets = label_sets_shared(&shared, &matchers, (0, 5000), &|| true);
        sets.iter().map(|labels| labels.name().to_owned()).collect()
    };
    for pattern in ["metric_[0-9]*7", "[a-z_]+_(sum|count)", "[a-z]+_[0-9a-z_]+"] {
        let found = names(pattern);
        assert!(!found.is_empty());
        // So large that few series are looked at at once.
        assert_eq!(names(&format!("{pattern}|\\pL{{60}}")), found, "{pattern}");
    }
}
