//! How long queries go on once their time is over.

use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use throughline::promql::limits::{Interrupt, Stop};
use throughline::promql::{Options, Query};
use throughline::series::{Selection, Series};

use super::{Asked, asked};

/// When their time is over.
const AFTER_MS: [u64; 5] = [5, 20, 80, 250, 700];

/// Queries that take long, each in another part of what answers them.
const QUERIES: [Asked; 10] = [
    asked("samples of everything", "sum(rate({__name__=~\"bench_.*\"}[24h]))", 0, 0),
    asked("looks at everything", "count({__name__=~\"bench_.*\"})", 86_400, 60),
    asked("wide windows", "stddev_over_time(bench_2_celsius[1d])", 11_000, 1),
    asked("sorted windows", "quantile_over_time(0.9, bench_2_celsius[1d])", 11_000, 10),
    asked("lines through windows", "deriv(bench_2_celsius[1d])", 11_000, 10),
    asked("a subquery", "max_over_time(rate(bench_1_total[5m])[1d:15s])", 11_000, 60),
    asked("pairs", "bench_2_celsius * on (instance) bench_4_celsius", 86_400, 10),
    asked(
        "labels",
        "label_replace({__name__=~\"bench_.*\"}, 'x', '$1', 'instance', '(.*[0-9]{1,9}.*)+')",
        3_600,
        60,
    ),
    asked("values", "count_values('v', {__name__=~\"bench_.*\"})", 3_600, 60),
    asked("a large expression", "count({instance=~\"\\\\pL{60}|.*[0-9]{1,60}.*\"})", 3_600, 60),
];

/// Prints the longest that each goes on.
pub(super) fn show(series: &RwLock<Series>, end: i64) {
    println!("\n| query that is ended | whole ms | goes on ms at most |\n|---|---|---|");
    for asked in &QUERIES {
        let whole = goes_on(series, asked, end, Duration::from_secs(20)).0;
        let each = AFTER_MS.map(|ms| goes_on(series, asked, end, Duration::from_millis(ms)).1);
        let most = each.into_iter().max().unwrap_or_default();
        let ms = |took: Duration| took.as_secs_f64() * 1e3;
        println!("| {} | {:.0} | {:.1} |", asked.what, ms(whole), ms(most));
    }
}

/// How long the query took, and of that how long after its time was over.
fn goes_on(
    series: &RwLock<Series>,
    asked: &Asked,
    end: i64,
    after: Duration,
) -> (Duration, Duration) {
    let query = Query::parse(asked.text).expect("a query");
    let (is_over, interrupt) = (AtomicBool::new(false), Interrupt::default());
    let options = Options { interrupt: interrupt.clone(), ..Options::default() };
    let select = |selection: &Selection<'_>| {
        let goes_on = || !is_over.load(Ordering::Relaxed);
        throughline::series::select_shared(series, selection, &goes_on)
    };
    let range = asked.range(end);
    let (begun, has_answer) = (Instant::now(), AtomicBool::new(false));
    let ended = std::thread::scope(|scope| {
        scope.spawn(|| {
            while begun.elapsed() < after && !has_answer.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(1));
            }
            is_over.store(true, Ordering::Relaxed);
            interrupt.set(Stop::TimedOut);
        });
        let _ = query.range(range, &options, &select);
        has_answer.store(true, Ordering::Relaxed);
        begun.elapsed()
    });
    (ended, ended.saturating_sub(after))
}
