//! Measures the time-series store; `cargo bench --bench series` prints a table.
//!
//! `SERIES_N` scraped series (default 10,000) with a sample every `SERIES_STEP` seconds (default 15) for
//! `SERIES_HOURS` hours (default 24), half gauges of two decimals, half counters: a hundred metrics of a
//! hundred series each, then metrics of nine, so that 100,000 series have 10,100 names. Beside them a
//! month of an objective's counters and a day of a queue's lag, every 15 s. Figures: appends a second,
//! bytes a sample in memory and on disk, and p50 and p99 of dashboard queries, alone and while samples
//! are appended; then how long queries go on once their time is over. With `SERIES_PEERS` set to
//! `name=URL` pairs (`prometheus=http://127.0.0.1:9090`), the same samples go to these peers by remote
//! write (at `/api/v1/write`), and the same queries are asked there, alone and while it goes on being written to; what is derived here reaches them as
//! the counters and native histograms that a client library would have shown at those times.
//! Nothing here fails for being slow.

#![expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::disallowed_methods,
    clippy::format_collect,
    clippy::print_stdout,
    reason = "a program that measures and prints, outside the daemon"
)]

mod ended;
mod peers;

use std::path::Path;
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use throughline::promql::{Options, Query, Range};
use throughline::series::{Config, Sample, SampleValue, Selection, Series};
use throughline::signal::{Labels, METRIC_NAME, Timestamp};

/// As in the daemon: what memory a store takes depends on it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Seconds between what the objective and the queue count.
const OBJECTIVE_STEP: i64 = 15;
const MONTH: i64 = 30 * 86_400;
/// A query is asked so often, or for `LONGEST`, and fifteen times at least.
const RUNS: std::ops::RangeInclusive<usize> = 15..=100;
const LONGEST: Duration = Duration::from_secs(10);
const MIB: f64 = 1_048_576.0;

/// A query of a dashboard: its text, how far back it looks (0: an instant), its step, in seconds.
struct Asked {
    what: &'static str,
    text: &'static str,
    back: i64,
    step: i64,
}

impl Asked {
    /// Its times, where the samples end at `end` seconds.
    fn range(&self, end: i64) -> Range {
        Range {
            start: (end - 1 - self.back) * 1000,
            end: (end - 1) * 1000,
            step: self.step.max(1) * 1000,
        }
    }
}

const fn asked(what: &'static str, text: &'static str, back: i64, step: i64) -> Asked {
    Asked { what, text, back, step }
}

const QUERIES: [Asked; 10] = [
    asked("30-day increase of an objective", "increase(throughline_slo_good_total[30d])", 0, 0),
    asked(
        "burn rate over 3 days",
        "1 - increase(throughline_slo_good_total[3d]) / increase(throughline_slo_events_total[3d])",
        0,
        0,
    ),
    asked(
        "rate of a derived counter, 6 h",
        "sum(rate(throughline_slo_events_total[5m]))",
        21_600,
        60,
    ),
    asked(
        "native quantile, 24 h",
        "histogram_quantile(0.99, sum(rate(throughline_queue_lag_seconds[5m])))",
        86_400,
        240,
    ),
    asked("rate by zone, 6 h", "sum by (zone) (rate(bench_1_total[5m]))", 21_600, 60),
    asked("average by zone, 24 h", "avg by (zone) (bench_2_celsius)", 86_400, 240),
    asked("newest of one metric", "sum(bench_4_celsius)", 0, 0),
    asked("top 10 of rates", "topk(10, rate(bench_3_total[5m]))", 0, 0),
    asked("largest of an hour", "max(max_over_time(bench_6_celsius[1h]))", 0, 0),
    asked("regex over all names", "count({__name__=~\"bench_.*[02468]_celsius\"})", 0, 0),
];

/// What a dashboard's variable asks for: the values of a label of all series of a day.
const LABEL: &str = "instance";

/// Which metric a series belongs to.
fn metric(i: usize) -> usize {
    let (large, per_small) = (10_000, 9);
    if i < large { i / 100 } else { 100 + (i - large) / per_small }
}

/// A generator of noise that is the same everywhere (xorshift64).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// The scraped series with their present values, in hundredths.
struct Scraped {
    /// Seconds between scrapes.
    step: i64,
    labels: Vec<Labels>,
    values: Vec<u64>,
    noise: Noise,
}

impl Scraped {
    fn new(n: usize, step: i64) -> Self {
        let labels = |i: usize| {
            let metric = metric(i);
            let unit = if metric.is_multiple_of(2) { "celsius" } else { "total" };
            Labels::of(&[
                (METRIC_NAME, &format!("bench_{metric}_{unit}")),
                ("instance", &format!("10.0.0.{}:9100", i % 100)),
                ("job", "bench"),
                ("zone", ["a", "b", "c"][i % 3]),
            ])
        };
        Self {
            step,
            labels: (0..n).map(labels).collect(),
            values: vec![200_000; n],
            noise: Noise(88),
        }
    }

    /// The values of the next scrape.
    fn step(&mut self) -> impl Iterator<Item = (&Labels, f64)> {
        for (i, value) in self.values.iter_mut().enumerate() {
            let noise = self.noise.next();
            // Gauges move in two of three scrapes, counters rise by up to twenty.
            *value = match metric(i) % 2 {
                0 if !noise.is_multiple_of(3) => (*value + noise % 41).saturating_sub(20),
                0 => *value,
                _ => *value + 100 * (noise % 21),
            };
        }
        self.labels.iter().zip(&self.values).map(|(labels, value)| (labels, *value as f64 / 100.0))
    }
}

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_millis(second * 1000)
}

/// Resident memory of this process in bytes: now (`VmRSS`), or the most so far (`VmHWM`).
fn resident(what: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(what)).unwrap_or_default();
    let kib = line.split_whitespace().nth(1).and_then(|text| text.parse::<f64>().ok());
    kib.unwrap_or(0.0) * 1024.0
}

/// An objective and a queue, counted every so often.
struct Counted {
    events: Labels,
    good: Labels,
    lag: Labels,
    noise: Noise,
}

/// What happened since it was counted last: requests, good ones, and messages' lags in seconds.
struct Increment {
    events: f64,
    good: f64,
    lags: [f64; 5],
}

impl Counted {
    fn new() -> Self {
        let one = |name| Labels::of(&[(METRIC_NAME, name), ("service", "shop"), ("slo", "orders")]);
        Self {
            events: one("throughline_slo_events_total"),
            good: one("throughline_slo_good_total"),
            lag: Labels::of(&[(METRIC_NAME, "throughline_queue_lag_seconds"), ("queue", "orders")]),
            noise: Noise(7),
        }
    }

    /// Counts once a minute in the month before the scrapes, then every `OBJECTIVE_STEP`.
    fn times(seconds: &std::ops::Range<i64>) -> impl Iterator<Item = i64> + use<> {
        let month = (seconds.start - MONTH..seconds.start).step_by(60);
        month.chain(seconds.clone().step_by(OBJECTIVE_STEP as usize))
    }

    fn step(&mut self) -> Increment {
        let events = (self.noise.next() % 50) as f64;
        let lags = std::array::from_fn(|_| (self.noise.next() % 9000) as f64 / 700.0);
        Increment { events, good: (events - 1.0).max(0.0), lags }
    }

    fn count(&mut self, series: &mut Series, second: i64) {
        let increment = self.step();
        series.add(&self.events, at(second), increment.events);
        series.add(&self.good, at(second), increment.good);
        for lag in increment.lags {
            series.observe(&self.lag, at(second), lag, 1);
        }
    }
}

/// Samples that are applied under one lock: those of one remote write request.
const REQUEST: usize = 2000;

/// Appends a scrape, request by request; gives the longest wait for the store.
fn scrape(series: &RwLock<Series>, scraped: &mut Scraped, second: i64) -> Duration {
    let samples: Vec<(Labels, f64)> =
        scraped.step().map(|(labels, value)| (labels.clone(), value)).collect();
    let mut waited = Duration::ZERO;
    for request in samples.chunks(REQUEST) {
        let begun = Instant::now();
        let mut series = series.write().expect("no thread panicked");
        waited = waited.max(begun.elapsed());
        for (labels, value) in request {
            let value = SampleValue::Float(*value);
            series.append(labels, Sample { t: second * 1000, value });
        }
    }
    waited
}

/// Counts what happened before the scrapes.
fn month(series: &RwLock<Series>, counted: &mut Counted, seconds: &std::ops::Range<i64>) {
    for second in Counted::times(seconds).take_while(|second| *second < seconds.start) {
        let mut series = series.write().expect("no thread panicked");
        counted.count(&mut series, second);
        series.tick(at(second));
    }
}

/// Scrapes and ticks; gives the time of all scrapes, and of each tick, ascending.
fn load(
    series: &RwLock<Series>,
    scraped: &mut Scraped,
    counted: &mut Counted,
    seconds: std::ops::Range<i64>,
) -> (Duration, Vec<Duration>) {
    let mut spent = Duration::ZERO;
    let mut ticks = Vec::new();
    for second in seconds {
        if second % OBJECTIVE_STEP == 0 {
            counted.count(&mut series.write().expect("no thread panicked"), second);
        }
        if second % scraped.step == 0 {
            let begun = Instant::now();
            scrape(series, scraped, second);
            spent += begun.elapsed();
        }
        let begun = Instant::now();
        series.write().expect("no thread panicked").tick(at(second));
        ticks.push(begun.elapsed());
    }
    ticks.sort();
    (spent, ticks)
}

/// What a snapshot costs who waits for it, and who writes it.
fn snapshot(series: &RwLock<Series>) {
    let begun = Instant::now();
    let frozen = series.read().expect("no thread panicked").frozen();
    let paused = begun.elapsed().as_secs_f64() * 1e3;
    let begun = Instant::now();
    let bytes = frozen.encode().expect("a whole disk").len() as f64;
    let took = begun.elapsed().as_secs_f64() * 1e3;
    println!("snapshot: a pause of {paused:.2} ms; {:.1} MiB in {took:.0} ms", bytes / MIB);
}

fn main() {
    if std::env::args().any(|arg| arg == "--list") {
        return;
    }
    let (n, hours) = (number("SERIES_N", 10_000), number("SERIES_HOURS", 24));
    let step = number("SERIES_STEP", 15) as i64;
    // Recent, since peers keep what is recent by their own clock.
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    let end = now.as_secs() as i64 / 7200 * 7200;
    let start = end - hours as i64 * 3600;
    let folder = tempfile::tempdir().expect("a writable folder");
    let config = Config { memory_max_bytes: 2 << 30, ..Config::default() };
    let series = RwLock::new(Series::create(config, folder.path()).expect("a writable folder"));
    let (mut scraped, mut counted) = (Scraped::new(n, step), Counted::new());
    // What the sender holds is not the store's.
    let before = resident("VmRSS");
    month(&series, &mut counted, &(start..end));
    let (spent, ticks) = load(&series, &mut scraped, &mut counted, start..end);
    let n_samples = n as f64 * (hours as f64 * 3600.0 / step as f64);
    println!("{n} series, {hours} h, a sample every {step} s, {:.1} M samples", n_samples / 1e6);
    println!("appends a second, one thread: {:.2} M", n_samples / spent.as_secs_f64() / 1e6);
    let tick = |q: f64| ticks[((ticks.len() - 1) as f64 * q) as usize].as_secs_f64() * 1e3;
    println!(
        "ticks, sealing and merging included: p99 {:.1} ms, longest {:.1} ms",
        tick(0.99),
        tick(1.0)
    );
    memory(&series, before, n_samples);
    sizes(&series, folder.path(), n_samples);
    snapshot(&series);
    println!("\n| query, nothing else at work | p50 ms | p99 ms |\n|---|---|---|");
    for asked in &QUERIES {
        println!("| {} | {} |", asked.what, times(&series, asked, end));
    }
    println!("| label values, 24 h | {} |", label_values(&series, end));
    println!("\nmemory after the queries: {:.1} MiB resident", (resident("VmRSS") - before) / MIB);
    let (is_over, appended, waited) =
        (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let begun = Instant::now();
    let busy: Vec<Times> = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut second = end;
            while !is_over.load(Ordering::Relaxed) {
                let wait = scrape(&series, &mut scraped, second);
                waited.fetch_max(wait.as_micros() as u64, Ordering::Relaxed);
                appended.fetch_add(n as u64, Ordering::Relaxed);
                second += scraped.step;
            }
        });
        let busy = QUERIES.iter().map(|asked| times(&series, asked, end)).collect();
        is_over.store(true, Ordering::Relaxed);
        busy
    });
    let rate = appended.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64() / 1e6;
    println!("\n| query, while samples are appended | p50 ms | p99 ms |\n|---|---|---|");
    for (asked, busy) in QUERIES.iter().zip(&busy) {
        println!("| {} | {busy} |", asked.what);
    }
    println!("\nappends a second while queries run: {rate:.2} M");
    let waited = waited.load(Ordering::Relaxed) as f64 / 1e3;
    println!("longest wait of the one that appends, for a query: {waited:.2} ms");
    ended::show(&series, end);
    for peer in std::env::var("SERIES_PEERS").unwrap_or_default().split_whitespace() {
        if let Some((name, url)) = peer.split_once('=') {
            peers::compare(name, url, (n, step), start..end);
        }
    }
}

/// The values of a label, as `/api/v1/label/NAME/values` finds them.
fn label_values(series: &RwLock<Series>, end: i64) -> Times {
    Times::of(|| {
        let range = ((end - 86_400) * 1000, end * 1000);
        let values = throughline::series::label_values_shared(series, LABEL, &[], range, &|| true);
        assert!(values.len() == 100, "a hundred instances");
    })
}

/// What the process takes beyond `before`, and what the store says of itself.
fn memory(series: &RwLock<Series>, before: f64, n_samples: f64) {
    let held = series.read().expect("no thread panicked").bytes() as f64;
    let (now, most) = (resident("VmRSS") - before, resident("VmHWM") - before);
    println!(
        "memory: {:.1} MiB resident ({:.1} at the most), {:.2} bytes a sample; {:.1} MiB by its own count",
        now / MIB,
        most / MIB,
        now / n_samples,
        held / MIB
    );
}

fn sizes(series: &RwLock<Series>, folder: &Path, n_samples: f64) {
    let files = std::fs::read_dir(folder).expect("a readable folder").flatten();
    let bytes: u64 = files.filter_map(|file| Some(file.metadata().ok()?.len())).sum();
    let n_files = series.read().expect("no thread panicked").block_files().len();
    println!(
        "disk: {n_files} files, {:.1} MiB, {:.2} bytes a scraped sample (of all; the newest two hours are in memory)",
        bytes as f64 / MIB,
        bytes as f64 / n_samples,
    );
}

struct Times {
    p50: f64,
    p99: f64,
}

impl Times {
    /// Asks again and again.
    fn of(mut ask: impl FnMut()) -> Self {
        let (mut took, begun) = (Vec::new(), Instant::now());
        while took.len() < *RUNS.start() || (took.len() < *RUNS.end() && begun.elapsed() < LONGEST)
        {
            let asked = Instant::now();
            ask();
            took.push(asked.elapsed().as_secs_f64() * 1e3);
        }
        took.sort_by(f64::total_cmp);
        // The nearest rank, so of fewer than a hundred the longest.
        Self { p50: took[took.len() / 2], p99: took[(took.len() * 99).div_ceil(100) - 1] }
    }
}

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.2} | {:.2}", self.p50, self.p99)
    }
}

fn times(series: &RwLock<Series>, asked: &Asked, end: i64) -> Times {
    let query = Query::parse(asked.text).expect("a query");
    let select =
        |selection: &Selection<'_>| throughline::series::select_shared(series, selection, &|| true);
    let range = asked.range(end);
    Times::of(|| {
        let answer = query.range(range, &Options::default(), &select);
        assert!(answer.is_ok(), "{}: {:?}", asked.text, answer.err());
    })
}
