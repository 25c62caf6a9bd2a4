//! The second page of the naive oracle: what a request adds up to, once it is known who caused whom.
//!
//! Runs and what an entry reaches come in; outcomes, waits and costs go out. As the first page it shares
//! no code with the engine.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use throughline::signal::{Batch, Timestamp};
use throughline::simulate::scenario;

use crate::against_oracle::{Found, Hop};
use crate::oracle::{Edge, PROOFS, Piece, Run, Taken, joined};

type Held<'a> = BTreeSet<Piece<'a>>;

/// What nothing caused follows the try before it of a message that nobody sent; the reader of a dead-letter
/// queue follows the last that failed with it. A batch that is a part of others has no such tries. Where a
/// batch follows tries of some of its messages, the others begin a request: as long as one of these came from
/// where those did.
fn add_tries<'a>(runs: &mut [Run<'a>]) -> BTreeMap<usize, Held<'a>> {
    let sent: BTreeSet<&str> =
        runs.iter().flat_map(|run| run.sent().map(|(message, _)| &*message.id)).collect();
    let mut found = Vec::new();
    for (at, run) in runs.iter().enumerate().filter(|(_, run)| run.causes.is_empty()) {
        for (&id, taken) in run.received.iter().filter(|(id, _)| !sent.contains(*id)) {
            let has = |e: &Edge<'_>| e.1.is_none_or(|own| own == id);
            let holds = |run: &Run<'_>| run.causes.is_empty() || run.causes.iter().any(has);
            let tried = |of: &dyn Fn(&Run<'_>, &Taken<'_>) -> bool| {
                let is_try = |run: &Run<'_>| Some(of(run, run.received.get(id)?) && holds(run));
                runs[..at].iter().rposition(|run| is_try(run) == Some(true))
            };
            let own =
                tried(&|other, own| other.name.0 == run.name.0 && own.is_dead == taken.is_dead);
            let failed = || tried(&|_, own| own.falls_to(taken) && !own.is_good);
            let any = || tried(&|_, own| own.falls_to(taken));
            found.extend(own.or_else(failed).or_else(any).map(|cause| (at, cause, id)));
        }
    }
    let mut tried: BTreeMap<usize, BTreeSet<&str>> = BTreeMap::new();
    for (at, cause, id) in found {
        runs[at].causes.insert((cause, Some(id), Some(id), 2));
        tried.entry(at).or_default().insert(id);
    }
    let mut first_tries = BTreeMap::new();
    for (at, tried) in tried {
        let run = &runs[at];
        let source = |id: &str| {
            let own = || run.facts().flat_map(|f| &f.received).filter(|own| *own.id == *id);
            let via = own().map(|own| format!("{:?}", own.via)).find(|via| via != "Unknown");
            (via, own().find_map(|own| own.queue.as_deref()), run.received[id].is_dead)
        };
        let first = || run.received.keys().copied().filter(|id| !tried.contains(id));
        if first().any(|id| tried.iter().any(|other| source(other) == source(id))) {
            first_tries.insert(at, first().map(|id| (at, Some(id))).collect());
        }
    }
    first_tries
}

pub(crate) fn requests(batches: &[Batch]) -> Vec<Found> {
    let mut runs = joined(batches);
    let first_tries = add_tries(&mut runs);
    let whole = |at: usize| runs[at].causes.is_empty().then(|| Held::from([(at, None)]));
    let begun = |at: usize| whole(at).or_else(|| first_tries.get(&at).cloned());
    let entries = (0..runs.len()).filter_map(|at| Some((at, begun(at)?)));
    let reached = |(at, begun)| (at, reach(&runs, at, begun, &first_tries));
    let all: Vec<(usize, Held<'_>)> = entries.map(reached).collect();
    all.iter().map(|(entry, held)| request(&runs, &all, *entry, held)).collect()
}

/// All that an entry caused, from what it begins with. What was done for a message is only of who has that,
/// unless nobody is known to have sent it or to have begun with it.
fn reach<'a>(
    runs: &[Run<'a>],
    entry: usize,
    begun: Held<'a>,
    first_tries: &BTreeMap<usize, Held<'a>>,
) -> Held<'a> {
    let (mut rest, mut held): (Vec<_>, _) = (begun.iter().copied().collect(), begun);
    while let Some((from, piece)) = rest.pop() {
        let is_known = |id| runs[from].causes.iter().any(|edge| edge.1 == Some(id));
        for (at, run) in runs.iter().enumerate().filter(|(at, _)| *at != entry) {
            for (_, message, under, _) in run.causes.iter().filter(|edge| edge.0 == from) {
                let is_its = first_tries.contains_key(&from) || message == under;
                let passes = |id| piece == Some(id) || !(is_its || is_known(id));
                if (piece.is_none() || under.is_none_or(passes)) && held.insert((at, *message)) {
                    rest.push((at, *message));
                }
            }
        }
    }
    held
}

/// How much of a run a request holds, for its share of the cost.
fn weight(held: &Held<'_>, at: usize, run: &Run<'_>) -> u32 {
    let n_own = held.iter().filter(|piece| piece.0 == at).count();
    let n = if held.contains(&(at, None)) { run.received.len().max(1) } else { n_own };
    u32::try_from(n).expect("small")
}

/// Who took a message up, the last first.
fn takers<'r>(runs: &'r [Run<'_>], id: &'r str) -> impl Iterator<Item = &'r Taken<'r>> {
    runs.iter().rev().filter_map(move |run| run.received.get(id))
}

/// Whether a message fell into the dead-letter queue after this run, whatever that said: after the last before
/// the queue's reader that failed with it, else after the last.
fn fell(runs: &[Run<'_>], at: usize, id: &str) -> bool {
    let is_after = |letter: usize| {
        let Some(read) = runs[letter].received.get(id) else { return false };
        let last = |of: &dyn Fn(&Taken<'_>) -> bool| {
            let is_try = |run: &Run<'_>| {
                run.received.get(id).is_some_and(|own| own.falls_to(read) && of(own))
            };
            runs[..letter].iter().rposition(is_try)
        };
        last(&|own| !own.is_good).or_else(|| last(&|_| true)) == Some(at)
    };
    (at + 1..runs.len()).any(is_after)
}

/// A run's place in one request: what it took up of it, the first of that, and when that was sent; its
/// causes there, and the run that it came after: the try before it, or of a dead letter the last before it
/// fell, else its cause.
struct Place<'a> {
    ours: Vec<&'a str>,
    sent: Option<Timestamp>,
    causes: Vec<Edge<'a>>,
    earlier: Option<usize>,
    is_fallen: bool,
    cause: Option<usize>,
}

fn place<'a>(runs: &[Run<'a>], held: &Held<'a>, at: usize) -> Place<'a> {
    let run = &runs[at];
    let has = |id: &str| held.contains(&(at, None)) || held.contains(&(at, Some(id)));
    let ours: Vec<&str> = run.received.keys().copied().filter(|id| has(id)).collect();
    let by_sender = |id: &str| {
        let sent = runs.iter().flat_map(Run::sent).filter(|(message, _)| *message.id == *id);
        sent.map(|(message, part)| message.sent.unwrap_or(part.said.times.0)).min()
    };
    // Of whole seconds, as buses tell them, the sender's clock knows which part.
    let within = |told: Timestamp, sent: Timestamp| {
        let is_whole = told.as_nanos().is_multiple_of(1_000_000_000);
        is_whole && sent >= told && sent.since(told) < Duration::from_secs(1)
    };
    let sent_at = |id: &str| {
        let (told, sent) = (run.received[id].sent, by_sender(id));
        sent.filter(|sent| told.is_none_or(|told| within(told, *sent))).or(told)
    };
    let first = ours.iter().min_by_key(|id| (sent_at(id).unwrap_or(Timestamp::MAX), **id)).copied();
    let is_held = |at: usize| held.iter().any(|piece| piece.0 == at);
    let is_in = |e: &&Edge<'_>| is_held(e.0) && e.1.is_none_or(has);
    let causes: Vec<Edge<'a>> = run.causes.iter().filter(is_in).copied().collect();
    let cause = causes.iter().max_by_key(|edge| (first.is_some() && edge.1 == first, edge.0));
    let last = |of: &dyn Fn(&Run<'_>, Option<&Taken<'_>>) -> bool| {
        let taken = |other: &Run<'_>| of(other, first.and_then(|id| other.received.get(id)));
        runs[..at].iter().rposition(taken)
    };
    let is_dead = first.is_some_and(|id| run.received[id].is_dead);
    let own = last(&|other, taken| match first {
        Some(_) => other.name.0 == run.name.0 && taken.is_some_and(|one| one.is_dead == is_dead),
        None => other.name == run.name,
    });
    let is_fallen = is_dead && own.is_none();
    let falls = |one: &Taken<'_>| first.is_some_and(|id| one.falls_to(&run.received[id]));
    let failed = || last(&|_, taken| taken.is_some_and(|one| falls(one) && !one.is_good));
    let any = || last(&|_, taken| taken.is_some_and(falls));
    let fell = || failed().or_else(any).filter(|_| is_fallen);
    let earlier = own.or_else(fell).filter(|at| is_held(*at));
    let cause = cause.map(|edge| edge.0);
    Place { sent: first.and_then(sent_at), ours, causes, earlier, is_fallen, cause }
}

/// Which try of its piece of work a run is: of each message, of its step, of its request id.
fn attempt(runs: &[Run<'_>], at: usize, ours: &[&str]) -> u32 {
    let run = &runs[at];
    let of_message = |id: &&str| {
        let own = &run.received[*id];
        let like = |other: &&Run<'_>| {
            let taken = other.received.get(*id);
            other.name.0 == run.name.0 && taken.is_some_and(|taken| taken.is_dead == own.is_dead)
        };
        let n = u32::try_from(runs[..=at].iter().filter(like).count()).expect("small");
        own.n_receives.filter(|_| !own.is_dead).unwrap_or(n)
    };
    let retries = run.step().and_then(|step| step.retry_count).unwrap_or(0);
    let own = u32::try_from(run.n).expect("small").max(retries + 1);
    ours.iter().map(of_message).max().unwrap_or(own)
}

/// How long the work lay in queues and waited to be tried again, back from one run to the entry; where
/// clocks differ, no time is given twice, and none before the request.
fn waits(runs: &[Run<'_>], held: &Held<'_>, last: usize, from: Timestamp) -> (Duration, Duration) {
    let (mut waits, mut at, mut seen) = ([Duration::ZERO; 3], last, BTreeSet::new());
    let mut now = Timestamp::MAX;
    while seen.insert(at) {
        let (place, start) = (place(runs, held, at), runs[at].times.0);
        let is_tried = place.earlier.is_some();
        let kind = match place.sent {
            _ if is_tried => usize::from(!place.is_fallen),
            sent => usize::from(sent.is_none()) * 2,
        };
        let (init, ready) = runs[at].init.unwrap_or((start, start));
        now = now.min(start);
        waits[kind] += now.since(ready.max(from));
        now = now.min(init);
        let Some(above) = place.earlier.or(place.cause) else { break };
        let since = if is_tried { runs[above].times.1 } else { place.sent.unwrap_or(init) };
        waits[kind] += now.since(since.max(from));
        now = now.min(since).min(runs[above].times.1);
        at = above;
    }
    (waits[0], waits[1])
}

fn request<'a>(
    runs: &[Run<'a>],
    all: &[(usize, Held<'a>)],
    entry: usize,
    held: &Held<'a>,
) -> Found {
    let is_read = |queue: Option<&str>| {
        let mut read = runs.iter().flat_map(Run::facts).flat_map(|facts| &facts.received);
        let is_known = scenario::queues().iter().any(|known| Some(&*known.name) == queue);
        queue.is_some() && (is_known || read.any(|message| message.queue.as_deref() == queue))
    };
    let (mut hops, mut last, mut is_good) = (Vec::new(), BTreeMap::new(), true);
    for (at, run) in runs.iter().enumerate().filter(|(at, _)| held.iter().any(|p| p.0 == *at)) {
        let place = place(runs, held, at);
        let went_well = |id: &str| run.received[id].is_good && !fell(runs, at, id);
        let mut tries: Vec<_> =
            place.ours.iter().map(|id| (id.to_string(), went_well(id))).collect();
        if tries.is_empty() {
            let step = run.step().map(|step| format!("{} {}", step.execution_id, step.state));
            tries.push((step.unwrap_or(run.name.1.to_owned()), run.is_good));
        }
        let well = tries.iter().all(|one| one.1);
        let causes: BTreeSet<String> = place.causes.iter().map(|e| runs[e.0].label()).collect();
        let proof = place.causes.iter().map(|edge| edge.3).min().map(|proof| PROOFS[proof]);
        let wait = place.sent.map(|sent| run.times.0.since(sent));
        let told = (attempt(runs, at, &place.ours), well, &place.ours, wait);
        let line =
            format!("{}..{} {told:?} after {causes:?} by {proof:?}", run.label(), run.times.1);
        let total: u32 = all.iter().map(|(_, other)| weight(other, at, run)).sum();
        let part = f64::from(weight(held, at, run)) / f64::from(total);
        let share = run.cost.map(|cost| cost * part);
        hops.push(Hop { line, name: run.label(), share, whole: run.cost });
        last.extend(tries.into_iter().map(|(piece, well)| ((run.name.0, piece), well)));
        // Sent to where somebody reads and taken up by nobody; or a dead-letter queue had it, and nobody
        // succeeded with it afterwards.
        let has = |id: &str| held.contains(&(at, None)) || held.contains(&(at, Some(id)));
        is_good &= run.sent().all(|(message, part)| {
            !(part.under.is_none_or(has) && is_read(message.queue.as_deref()))
                || takers(runs, &message.id).next().is_some()
        });
        let ends_dead = |id: &&str| {
            takers(runs, id).find(|own| own.is_dead || own.is_good).is_some_and(|own| own.is_dead)
        };
        is_good &= !place.ours.iter().any(ends_dead);
    }
    hops.sort_by(|a, b| a.line.cmp(&b.line));
    let end = held.iter().map(|piece| runs[piece.0].times.1).max().expect("its own");
    let own = &runs[entry];
    // The first part of what a person held up.
    let execution = |run: &Run<'_>| run.step().map(|step| step.execution_id.to_string());
    let is_first = |other: usize| {
        runs[other].era < own.era
            && execution(own).is_some_and(|id| execution(&runs[other]) == Some(id))
    };
    let before = all.iter().find(|(_, other)| other.iter().any(|piece| is_first(piece.0)));
    let last_ones = held.iter().filter(|piece| runs[piece.0].times.1 == end);
    let start = own.init.map_or(own.times.0, |init| init.0);
    Found {
        entry: own.name.1.to_owned(),
        continues: before.map(|(entry, _)| runs[*entry].name.1.to_owned()),
        is_good: is_good && last.values().all(|well| *well),
        start,
        end,
        hops,
        waits: last_ones.map(|piece| waits(runs, held, piece.0, start)).collect(),
    }
}
