//! Measures a thousand rules that are evaluated every second; `cargo bench --bench rules` prints the figures.
//!
//! - CPU seconds of one evaluation of all, and how much of a second it takes.
//! - Evaluations that were missed.
//! - What a writer notices: its writes a second, and how long it waits for the store, with and without
//!   rules beside it.
//!
//! A hundred functions with an hour of history, six outcomes and a histogram each; ten rules a function, a
//! group a function, as teams write them. Nothing here fails for being slow.

#![expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program that measures and prints, outside the daemon"
)]

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use throughline::evaluate::{Config, Evaluator};
use throughline::series::{self, Series};
use throughline::signal::{Labels, METRIC_NAME, Timestamp};

const FUNCTIONS: usize = 100;
const HISTORY_S: u64 = 3_600;
/// Rounds whose CPU time is measured.
const ROUNDS: u64 = 60;
/// How long the writer runs, with rules and without.
const WRITES: Duration = Duration::from_secs(15);
const OUTCOMES: [&str; 6] = ["ok", "error", "timeout", "throttled", "dead_lettered", "incomplete"];

/// The conditions of one function; FN is its name.
const CONDITIONS: [&str; 10] = [
    r#"sum(increase(throughline_invocations_total{faas_name="FN", outcome!="ok"}[5m])) / sum(increase(throughline_invocations_total{faas_name="FN"}[5m])) > 0.5"#,
    r#"sum(increase(throughline_invocations_total{faas_name="FN", outcome="timeout"}[5m])) > 300"#,
    r#"sum(rate(throughline_invocations_total{faas_name="FN"}[1m])) < 0.01"#,
    r#"histogram_quantile(0.99, sum(rate(throughline_invocation_duration_seconds{faas_name="FN"}[5m]))) > 30"#,
    r#"histogram_quantile(0.95, sum by (le) (increase(throughline_invocation_duration_seconds_bucket{faas_name="FN"}[2m]))) > 30"#,
    r#"sum by (outcome) (increase(throughline_invocations_total{faas_name="FN"}[10m])) > 1e6"#,
    r#"sum(increase(throughline_invocations_total{faas_name="FN", outcome="error"}[1h])) / sum(increase(throughline_invocations_total{faas_name="FN"}[1h])) > 0.9 and sum(increase(throughline_invocations_total{faas_name="FN", outcome="error"}[5m])) / sum(increase(throughline_invocations_total{faas_name="FN"}[5m])) > 0.9"#,
    r#"sum(increase(throughline_retries_total{faas_name="FN"}[5m])) / sum(increase(throughline_invocations_total{faas_name="FN"}[5m])) > 0.9"#,
    r#"sum(increase(throughline_invocations_total{faas_name="FN"}[5m])) > 10 * sum(increase(throughline_invocations_total{faas_name="FN"}[5m] offset 30m))"#,
    r#"max_over_time(throughline_concurrency{faas_name="FN"}[5m]) > 1000"#,
];

fn main() {
    if std::env::args().any(|arg| arg == "--list") {
        return;
    }
    let store = RwLock::new(Series::new(series::Config::default()));
    for second in 0..HISTORY_S {
        write_second(&store, second);
    }
    let mut evaluator = evaluator();
    let n_rules = FUNCTIONS * CONDITIONS.len();
    // The first rounds warm what is cached.
    rounds(&mut evaluator, &store, HISTORY_S..HISTORY_S + 5);
    let (cpu, wall) = (cpu_seconds(), Instant::now());
    let missed = rounds(&mut evaluator, &store, HISTORY_S + 5..HISTORY_S + 5 + ROUNDS);
    let (cpu, wall) = (cpu_seconds() - cpu, wall.elapsed().as_secs_f64());
    let rounds = ROUNDS as f64;
    println!(
        "{n_rules} rules over {} series: {:.1} ms of CPU and {:.1} ms of time a round; {missed} missed of {}",
        store.read().unwrap_or_else(PoisonError::into_inner).n_series(),
        cpu / rounds * 1e3,
        wall / rounds * 1e3,
        ROUNDS * FUNCTIONS as u64
    );
    let alone = writes(&store, None);
    println!("a writer alone: {alone}");
    let beside = writes(&store, Some(&mut evaluator));
    println!("a writer beside them: {beside}");
    println!(
        "writes a CPU second, beside to alone: {:.2}",
        beside.a_cpu_second / alone.a_cpu_second
    );
}

fn at(second: u64) -> Timestamp {
    Timestamp::from_nanos((1_795_600_800 + second) * 1_000_000_000)
}

fn evaluator() -> Evaluator {
    let mut text = String::from("groups:\n");
    for function in 0..FUNCTIONS {
        let _ = writeln!(text, "- name: f{function}\n  rules:");
        for (idx, condition) in CONDITIONS.iter().enumerate() {
            let condition = condition.replace("FN", &format!("f{function}"));
            let _ = writeln!(text, "  - alert: A{idx}\n    expr: '{condition}'");
        }
    }
    let rule_files = vec![("rules.yaml".to_owned(), text)];
    Evaluator::try_new(Config { rule_files, ..Config::default() }).expect("valid rules")
}

/// What a second of traffic adds.
fn write_second(store: &RwLock<Series>, second: u64) {
    let mut store = store.write().unwrap_or_else(PoisonError::into_inner);
    for function in 0..FUNCTIONS {
        add(&mut store, function, second);
    }
    store.tick(at(second));
}

fn add(store: &mut Series, function: usize, second: u64) {
    let name = format!("f{function}");
    let nth = usize::try_from(second).expect("hours of seconds") * 7 + function;
    let outcome = OUTCOMES[nth % OUTCOMES.len()];
    let labels = |metric: &str, outcome: &str| {
        Labels::of(&[
            (METRIC_NAME, metric),
            ("faas_name", &name),
            ("faas_version", "1"),
            ("outcome", outcome),
        ])
    };
    store.add(&labels("throughline_invocations_total", outcome), at(second), 1.0);
    let took = 0.05 + ((second * 31 + function as u64 * 17) % 1000) as f64 / 500.0;
    store.observe(&labels("throughline_invocation_duration_seconds", outcome), at(second), took, 1);
    if second.is_multiple_of(10) {
        let retries = [(METRIC_NAME, "throughline_retries_total"), ("faas_name", name.as_str())];
        store.add(&Labels::of(&retries), at(second), 1.0);
    }
}

/// One evaluation a second; gives the missed ones.
fn rounds(evaluator: &mut Evaluator, store: &RwLock<Series>, seconds: std::ops::Range<u64>) -> u64 {
    let mut missed = 0;
    for second in seconds {
        write_second(store, second);
        missed += round(evaluator, store, second);
    }
    missed
}

fn round(evaluator: &mut Evaluator, store: &RwLock<Series>, second: u64) -> u64 {
    let read = || store.read().unwrap_or_else(PoisonError::into_inner);
    let began = Instant::now();
    let round = evaluator.begin(at(second), &|metric| read().lateness(metric));
    let finished = round.evaluate(&|selection| read().select(selection), &|| began.elapsed());
    let found = evaluator.finish(finished);
    found.transitions.iter().for_each(|transition| evaluator.apply(transition));
    found.missed
}

struct Written {
    a_second: f64,
    a_cpu_second: f64,
    waits: Vec<Duration>,
    rounds: u64,
    missed: u64,
}

impl std::fmt::Display for Written {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { a_second, a_cpu_second, waits, rounds, missed } = self;
        let quantile = |of: usize| waits.get(waits.len() * of / 1000).copied().unwrap_or_default();
        write!(
            f,
            "{a_second:.0} writes a second, {a_cpu_second:.0} a CPU second; waits for the store p50 {:?}, p99 {:?}, p99.9 {:?}, longest {:?}; {rounds} rounds, {missed} missed",
            quantile(500),
            quantile(990),
            quantile(999),
            waits.last().copied().unwrap_or_default(),
        )
    }
}

/// Writes for a while, taking the store for every function's second as the daemon does for every record.
fn writes(store: &RwLock<Series>, evaluator: Option<&mut Evaluator>) -> Written {
    let first = HISTORY_S + 5 + ROUNDS;
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let rules = evaluator.map(|evaluator| {
            scope.spawn(|| {
                let (mut rounds, mut missed) = (0, 0);
                let began = Instant::now();
                while !stop.load(Ordering::Relaxed) {
                    missed += round(evaluator, store, first + 60 + rounds);
                    rounds += 1;
                    let next = Duration::from_secs(rounds);
                    // What begins late is a tick that the daemon would have missed.
                    missed += began.elapsed().saturating_sub(next).as_secs();
                    std::thread::sleep(next.saturating_sub(began.elapsed()));
                }
                (rounds, missed)
            })
        });
        let (began, cpu) = (Instant::now(), thread_cpu_seconds());
        let (mut n, mut waits) = (0_usize, Vec::new());
        while began.elapsed() < WRITES {
            let asked = Instant::now();
            let mut held = store.write().unwrap_or_else(PoisonError::into_inner);
            waits.push(asked.elapsed());
            add(&mut held, n % FUNCTIONS, first + began.elapsed().as_secs());
            n += 1;
        }
        let (took, cpu) = (began.elapsed().as_secs_f64(), thread_cpu_seconds() - cpu);
        stop.store(true, Ordering::Relaxed);
        let joined = rules.map(|rules| rules.join().expect("no panic"));
        let (rounds, missed) = joined.unwrap_or_default();
        waits.sort_unstable();
        let n = n as f64;
        Written { a_second: n / took, a_cpu_second: n / cpu, waits, rounds, missed }
    })
}

/// User and system time of the process: /proc/self/stat counts hundredths of a second.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("procfs");
    let (_, after) = stat.rsplit_once(") ").expect("a name in parentheses");
    let fields: Vec<&str> = after.split(' ').collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

/// Of this thread, from the scheduler: nanoseconds.
fn thread_cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("procfs");
    stat.split(' ').next().and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0) / 1e9
}
