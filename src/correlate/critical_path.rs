//! The critical path: where the time of a request went.
//!
//! Stops (hops with what joins them) come in; stretches go out, in order of time. They never overlap
//! and always add up to the request's duration: the walk goes back from the last end with one cursor,
//! and every piece of time that it passes is given to exactly one stretch.

use super::request::{Call, Part, PathPart};
use crate::signal::{Text, Timestamp};

/// Steps of one walk; a path longer than this ends in one gap.
const STEPS_MAX: usize = 100_000;

/// One hop as the walk sees it.
#[derive(Debug)]
pub(super) struct Stop<'a> {
    pub(super) id: &'a Text,
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
    /// Start and end of the init that came before.
    pub(super) init: Option<(Timestamp, Timestamp)>,
    /// When the message that it took up was sent.
    pub(super) sent: Option<Timestamp>,
    /// The hop that caused it.
    pub(super) cause: Option<usize>,
    /// The attempt before it, of the same piece of work.
    pub(super) earlier: Option<usize>,
    /// It read from a dead-letter queue what that attempt left.
    pub(super) is_fallen: bool,
    /// Its cause waited for it.
    pub(super) is_waited: bool,
    pub(super) calls: &'a [Call],
}

struct Walk<'a> {
    stops: &'a [Stop<'a>],
    /// Hops that each hop caused and waited for, by end.
    callees: Vec<Vec<usize>>,
    start: Timestamp,
    cursor: Timestamp,
    /// Backwards in time.
    path: Vec<PathPart>,
    n_steps: usize,
}

/// The path from `start` to `end`. `entry` is the position of the entry hop.
pub(super) fn critical_path(
    stops: &[Stop<'_>],
    entry: usize,
    start: Timestamp,
    end: Timestamp,
) -> Vec<PathPart> {
    let last = (0..stops.len()).filter_map(|idx| Some((stops.get(idx)?, idx)));
    let last = last.max_by(|(a, _), (b, _)| a.end.cmp(&b.end).then(b.id.cmp(a.id)));
    let Some((_, last)) = last else { return Vec::new() };
    let mut walk =
        Walk { stops, callees: callees(stops), start, cursor: end, path: Vec::new(), n_steps: 0 };
    walk.climb(last);
    if let Some(first) = stops.get(entry) {
        walk.give(first.id, Part::Gap, start);
    }
    walk.path.reverse();
    walk.path
}

fn callees(stops: &[Stop<'_>]) -> Vec<Vec<usize>> {
    let mut callees: Vec<Vec<usize>> = stops.iter().map(|_| Vec::new()).collect();
    for (idx, stop) in stops.iter().enumerate() {
        if stop.is_waited
            && let Some(list) = stop.cause.and_then(|cause| callees.get_mut(cause))
        {
            list.push(idx);
        }
    }
    for list in &mut callees {
        list.sort_by_key(|&idx| stops.get(idx).map(|stop| (stop.end, stop.id)));
    }
    callees
}

impl Walk<'_> {
    /// Gives the time from `from` to the cursor to a hop.
    fn give(&mut self, hop: &Text, part: Part, from: Timestamp) {
        let from = from.max(self.start);
        if from >= self.cursor {
            return;
        }
        let duration = self.cursor.since(from);
        self.cursor = from;
        match self.path.last_mut() {
            Some(last) if last.hop == *hop && last.part == part => last.duration += duration,
            _ => self.path.push(PathPart { hop: Text::clone(hop), part, duration }),
        }
    }

    /// From a hop up to the entry.
    fn climb(&mut self, last: usize) {
        let mut at = last;
        let mut visited = vec![false; self.stops.len()];
        loop {
            match visited.get_mut(at) {
                Some(seen) if !*seen => *seen = true,
                _ => return,
            }
            let stops = self.stops;
            let Some(stop) = stops.get(at) else { return };
            self.run(at);
            if let Some((from, to)) = stop.init {
                self.give(stop.id, waiting(stop), to);
                self.give(stop.id, Part::Init, from);
            }
            let above = stop.earlier.or(stop.cause);
            let Some(above) = above.and_then(|idx| Some((idx, stops.get(idx)?))) else { return };
            if stop.earlier.is_some() {
                self.give(stop.id, waiting(stop), above.1.end);
            } else if let Some(sent) = stop.sent {
                self.give(stop.id, Part::QueueWait, sent);
            }
            // What lies between the cause's end and here, nobody tells.
            self.give(stop.id, Part::Gap, above.1.end);
            at = above.0;
        }
    }

    /// The run of a hop back to its start, through the hops that it waited for.
    fn run(&mut self, at: usize) {
        let mut stack = vec![(at, usize::MAX)];
        while let Some((at, mut n_left)) = stack.pop() {
            self.n_steps += 1;
            let stops = self.stops;
            let Some(stop) = stops.get(at).filter(|_| self.n_steps < STEPS_MAX) else { return };
            self.give(stop.id, Part::Gap, stop.end);
            let list = self.callees.get(at).map_or(&[][..], Vec::as_slice);
            n_left = n_left.min(list.len());
            let length = stop.end.since(stop.start);
            let is_inside = |callee: &Stop<'_>| {
                callee.start >= stop.start
                    && callee.end <= self.cursor
                    && callee.end > callee.start
                    // Strictly shorter: hops that name each other as cause never nest for ever.
                    && callee.end.since(callee.start) < length
            };
            let mut entered = None;
            while n_left > 0 && entered.is_none() {
                n_left -= 1;
                let callee = list.get(n_left).and_then(|&idx| Some((idx, stops.get(idx)?)));
                entered = callee.filter(|(_, c)| is_inside(c)).map(|(idx, c)| (idx, c.end));
            }
            let Some((callee, end)) = entered else {
                self.work(stop, stop.start);
                // A callee's init is time that its caller waited; the first hop's is the climb's.
                if let Some((from, to)) = stop.init.filter(|_| !stack.is_empty()) {
                    self.give(stop.id, Part::Gap, to);
                    self.give(stop.id, Part::Init, from);
                }
                continue;
            };
            self.work(stop, end);
            stack.push((at, n_left));
            stack.push((callee, usize::MAX));
        }
    }

    /// A hop's own work back to `from`: its calls to dependencies are `downstream`, the rest is `run`.
    fn work(&mut self, stop: &Stop<'_>, from: Timestamp) {
        let from = from.max(self.start).max(stop.start);
        let mut calls: Vec<(Timestamp, Timestamp)> = stop
            .calls
            .iter()
            .map(|call| (call.start, call.start.saturating_add(call.duration)))
            .filter(|&(start, end)| end > from && start < self.cursor)
            .collect();
        calls.sort_by_key(|&(start, end)| (end, start));
        for (start, end) in calls.into_iter().rev() {
            self.give(stop.id, Part::Run, end.max(from));
            self.give(stop.id, Part::Downstream, start.max(from));
        }
        self.give(stop.id, Part::Run, from);
    }
}

fn waiting(stop: &Stop<'_>) -> Part {
    match (stop.earlier, stop.sent) {
        (Some(_), _) if stop.is_fallen => Part::QueueWait,
        (Some(_), _) => Part::RetryWait,
        (None, Some(_)) => Part::QueueWait,
        (None, None) => Part::Gap,
    }
}
