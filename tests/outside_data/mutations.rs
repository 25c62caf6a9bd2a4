//! A thousand mutations of each captured payload: bytes changed, lost, repeated, cut off, and words of
//! JSON in other places.
//!
//! Whatever comes in, nothing panics, every rejection has a reason, and the count of rejections is their
//! number. The mutations of a file follow from its name, so a failure names what to repeat. They end when
//! their time does: `MUTATIONS_SECONDS` of all files together, 20 where it is not set.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use throughline::clock::Clock;
use throughline::normalize::{Origin, show};
use throughline::signal::Timestamp;

use crate::Report;
use crate::dice::Dice;
use crate::garble::garbled;
use crate::samples::{CASES, Case, Outcome, normalize};

const N_EACH: u64 = 1_000;
/// Where the last panic was.
static PLACE: Mutex<String> = Mutex::new(String::new());

pub(crate) fn run(shared: &Path) -> Report {
    let samples = shared.join("samples/serverless");
    let mut report = Report::default();
    if !samples.is_dir() {
        return report;
    }
    let seconds = std::env::var("MUTATIONS_SECONDS").ok().and_then(|text| text.parse().ok());
    let whole = Duration::from_secs(seconds.unwrap_or(20));
    let (mut n_all, mut n_whole) = (0, 0);
    let mut slow: Vec<(Duration, &str, u64)> = Vec::new();
    // What small files leave of their time is for the large ones.
    let mut cases: Vec<&Case> = CASES.iter().collect();
    cases.sort_by_key(|case| fs::metadata(samples.join(case.0)).map_or(0, |file| file.len()));
    let watch = Clock::stopwatch();
    // A panic is a problem of the report, not a page of text.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|panic| {
        if let Ok(mut place) = PLACE.lock() {
            *place = panic.to_string();
        }
    }));
    for (n_done, case) in cases.iter().enumerate() {
        let n_left = u32::try_from(cases.len() - n_done).unwrap_or(1);
        let each = whole.saturating_sub(watch.elapsed()) / n_left;
        let own = Clock::stopwatch();
        match mutated(case, &samples, each) {
            Ok(n) => {
                n_all += n;
                n_whole += u64::from(n == N_EACH);
                if n < N_EACH {
                    slow.push((own.elapsed(), case.0, n));
                }
            }
            Err(problem) => report.problems.push(format!("{}: {problem}", case.0)),
        }
    }
    std::panic::set_hook(hook);
    let n_files = CASES.len();
    report.lines.push(format!("mutations {n_all}, all {N_EACH} of {n_whole}/{n_files} files"));
    slow.sort_unstable();
    let named = slow.iter().rev().take(3);
    report
        .lines
        .extend(named.map(|(took, file, n)| format!("mutations of {file}: {n} in {took:.1?}")));
    report
}

/// Runs the mutations of one file; how many.
fn mutated(case: &Case, samples: &Path, time: Duration) -> Result<u64, String> {
    let Case(file, wire, arrived) = case;
    let body = fs::read(samples.join(file)).map_err(|e| format!("cannot read it: {e}"))?;
    let arrived = Timestamp::parse_rfc3339(arrived).ok_or("the case's time is none")?;
    let origin = Origin { arrived, ..Origin::default() };
    let watch = Clock::stopwatch();
    for n in 0..N_EACH {
        if watch.elapsed() > time {
            return Ok(n);
        }
        let mut dice = dice_of(file, n);
        let bytes = garbled(&body, &mut dice);
        let run = || normalize(&bytes, *wire, &origin);
        let read = catch_unwind(AssertUnwindSafe(run))
            .map_err(|_| format!("mutation {n}: {}", place()))?;
        // What the harness itself unwraps may be broken too.
        let Ok(outcome) = read else { continue };
        judge(&outcome).map_err(|wrong| format!("mutation {n}: {wrong}"))?;
        if n % 50 == 0 {
            let again = run().map_err(|e| format!("mutation {n}: {e}"))?;
            if show::outcome(&again) != show::outcome(&outcome) {
                return Err(format!("mutation {n} is read in two ways"));
            }
        }
    }
    Ok(N_EACH)
}

fn place() -> String {
    PLACE.lock().map(|place| place.clone()).unwrap_or_default()
}

fn judge(outcome: &Outcome) -> Result<(), String> {
    let normalized = match outcome {
        Ok(normalized) => normalized,
        Err(undecodable) if undecodable.message.is_empty() => {
            return Err("undecodable without a reason".to_owned());
        }
        Err(_) => return Ok(()),
    };
    let (n, told) = (normalized.rejections.len(), normalized.batch.rejected);
    if usize::try_from(told) != Ok(n) {
        return Err(format!("{told} are counted as rejected and {n} are named"));
    }
    if normalized.rejections.iter().any(|rejection| rejection.message.is_empty()) {
        return Err("a rejection without a reason".to_owned());
    }
    let n_resources = normalized.batch.resources.len();
    let is_lost = |index: u32| usize::try_from(index).map_or(true, |index| index >= n_resources);
    if normalized.batch.signals.iter().any(|signal| is_lost(signal.resource)) {
        return Err("a signal of no resource".to_owned());
    }
    Ok(())
}

/// Other numbers for each mutation of each file.
fn dice_of(file: &str, n: u64) -> Dice {
    let name = file.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    Dice(name ^ n.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}
