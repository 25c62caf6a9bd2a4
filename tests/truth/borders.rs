//! Borders in time: one signal of a story comes alone, just before or after its request settles, is incomplete,
//! waits no longer for a retry, or is final. Until it is final the requests become what the naive oracle makes
//! of all that was told (law 1); from then on the signal is counted late, and changes neither requests nor series.

use std::time::Duration;

use throughline::correlate::ledger::Counts;
use throughline::signal::{Receiver, SignalKind};

use crate::against_oracle::{dice, text, told};
use crate::laws::{Told, batch, slots};
use crate::measured;
use crate::reading::{Daemon, config};
use crate::seeds::check_all;
use crate::{fanned, mixed};

/// Seeds of an ordinary run.
const SEEDS: u64 = 60;
/// Seeds that once failed.
const REGRESSIONS: [u64; 0] = [];

/// Of an invocation of which others tell too. Without its head a trace is not told apart from others.
fn is_part(told: &Told) -> bool {
    match &told.signal.kind {
        SignalKind::Span(span) => span.facts.invocation_id.is_none(),
        _ => true,
    }
}

/// How many seconds after all else the signal comes, and when all else is final.
fn comes_after(seed: u64) -> (u64, u64) {
    let config = config();
    let last = config.allowed_lateness.as_secs();
    let borders = [config.settle_after, config.retry_after, config.incomplete_after];
    let borders = borders.map(|border: Duration| border.as_secs());
    let pick = usize::try_from(dice(seed, 90_001, 6)).expect("small");
    let border = borders.get(pick).copied().unwrap_or(last);
    (border + dice(seed, 90_002, 5) - 2, last)
}

fn counts(daemon: &Daemon) -> Counts {
    daemon.engine.ledger().receivers[&Receiver::OtlpHttp].clone()
}

fn check(seed: u64) -> Result<(), String> {
    let story = if dice(seed, 90_003, 2) == 0 { fanned::story(seed) } else { mixed::story(seed) };
    let parts: Vec<usize> = (0..story.told.len()).filter(|&at| is_part(&story.told[at])).collect();
    if parts.is_empty() {
        return Ok(());
    }
    let n_parts = u64::try_from(parts.len()).expect("small");
    let pick = parts[usize::try_from(dice(seed, 90_004, n_parts)).expect("small")];
    let (after, last) = comes_after(seed);
    let mut rest: Vec<&Told> = story.told.iter().collect();
    let straggler = rest.remove(pick);
    let mut daemon = Daemon::new(crate::start());
    // Ages count from the first tick on.
    daemon.tick();
    daemon.apply(&batch(&rest, crate::start()));
    (0..after).for_each(|_| daemon.tick());
    let before = (daemon.known.requests.clone(), slots(&daemon.known));
    daemon.apply(&batch(&[straggler], crate::start()));
    daemon.give_up();
    let counts = counts(&daemon);
    let about = format!("seed {seed}, {after} s later {:?}", straggler.signal.kind);
    if !counts.is_balanced() || counts.late != u64::from(after >= last) {
        return Err(format!("{about}: {counts:?}\n"));
    }
    if after >= last {
        let is_same = before == (daemon.known.requests.clone(), slots(&daemon.known));
        return if is_same { Ok(()) } else { Err(format!("{about}: it changed what was final\n")) };
    }
    rest.push(straggler);
    let lines = |mut all: Vec<String>| {
        all.sort();
        all.concat()
    };
    let expected = measured::requests(&[batch(&rest, crate::start())]);
    let expected = lines(expected.iter().map(text).collect());
    let found = lines(told(&daemon.known).iter().map(text).collect());
    if expected == found {
        Ok(())
    } else {
        Err(format!("{about}: the oracle says\n{expected}the engine says\n{found}"))
    }
}

#[test]
fn what_comes_in_time_corrects_and_what_is_late_changes_nothing() {
    check_all(check, SEEDS, &REGRESSIONS);
}
