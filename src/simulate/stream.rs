//! The stream `clicks`: records of a shard in order, which `analytics` reads in batches.

use std::collections::BTreeSet;
use std::time::Duration;

use super::config::Fault;
use super::consumers::only_correlation_id;
use super::instances::whole_millis;
use super::plan::{Function, SHOP_EVENTS};
use super::run::{Ending, Failure, Message, Nature, Position, Run, Taken, What};
use super::world::{Event, World};
use crate::correlate::request::Evidence;
use crate::signal::{Timestamp, Via};

/// Records of one invocation.
const BATCH_MAX: usize = 25;
/// How long a batch is gathered.
const WINDOW: Duration = Duration::from_secs(1);
/// Share of first reads that a retry storm fails.
const READ_FAILS: f64 = 0.4;

/// One shard: a failed batch is read again until it succeeds, and everything behind it waits.
#[derive(Debug)]
pub(super) struct Shard {
    number: usize,
    /// Of which workload: a stream gives no sequence number twice.
    workload: u64,
    n_put: u64,
    records: std::collections::VecDeque<Message>,
    is_planned: bool,
}

impl Shard {
    pub(super) fn new(number: usize, workload: u64) -> Self {
        let records = std::collections::VecDeque::new();
        Self { number, workload, n_put: 0, records, is_planned: false }
    }

    /// The id of the next record: shard and sequence number.
    pub(super) fn next_id(&mut self) -> String {
        self.n_put += 1;
        let Self { number, workload, n_put, .. } = self;
        format!("shardId-{number:012}:49590338271{workload:020}{n_put:025}")
    }

    /// When the oldest record was put; None where all are read.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        self.records.front().map(|record| record.sent)
    }
}

impl World {
    pub(super) fn put_click(&mut self, shard: usize, message: Message, at: Timestamp) {
        let Some(stream) = self.shards.get_mut(shard) else { return };
        stream.records.push_back(message);
        if !std::mem::replace(&mut stream.is_planned, true) {
            self.plan(at.saturating_add(WINDOW), Event::ReadShard(shard));
        }
    }

    pub(super) fn read_shard(&mut self, now: Timestamp, number: usize) {
        let Some(shard) = self.shards.get_mut(number) else { return };
        shard.is_planned = false;
        // A click may be on its way from an invocation that has not ended yet; a batch that failed is
        // read again as it was.
        let n_reads = shard.records.front().map(|record| record.n_receives);
        let is_readable =
            |record: &&Message| record.sent <= now && Some(record.n_receives) == n_reads;
        let n_put = shard.records.iter().take_while(is_readable).count();
        let batch: Vec<Message> = shard.records.drain(..n_put.min(BATCH_MAX)).collect();
        let end = if batch.is_empty() { now } else { self.analyse(now, number, batch) };
        let Some(shard) = self.shards.get_mut(number) else { return };
        if !shard.records.is_empty() {
            shard.is_planned = true;
            self.plan(end.max(now.saturating_add(WINDOW)), Event::ReadShard(number));
        }
    }

    /// Answers when the shard can be read again.
    fn analyse(&mut self, now: Timestamp, number: usize, batch: Vec<Message>) -> Timestamp {
        let Some(started) = self.acquire(Function::Analytics, now) else {
            self.read_again(number, batch);
            return now.saturating_add(Duration::from_secs(1));
        };
        let mut run = self.begin(Function::Analytics, Via::Stream, started);
        let is_first = batch.iter().all(|message| message.n_receives == 0);
        let fans_in = batch.iter().any(|click| self.is_active(Fault::FanIn, click.sent));
        let stormy = is_first && self.is_active(Fault::RetryStorm, now);
        let mut cursor = run.start.saturating_add(self.work(Function::Analytics));
        let start = cursor;
        let write = What::Database { operation: "BatchWriteItem", table: "clicks-table" };
        let mut step = self.call(write, Duration::from_millis(22), &mut cursor);
        if stormy && self.random.chance(READ_FAILS) {
            step.failure =
                Some(Failure::new("ConnectionError", "connect ECONNREFUSED 10.0.9.4:8000"));
        }
        let failure = step.failure.clone();
        run.steps.push(step);
        run.end = cursor.saturating_add(self.work(Function::Analytics));
        for mut message in batch {
            message.n_receives += 1;
            let (span, failure) = (self.span_id(), failure.clone());
            run.taken.push(Taken { message, span, start, end: cursor, failure, steps: Vec::new() });
        }
        if let Some(failure) = failure {
            run.ending = Ending::Failed(failure);
        }
        run.correlation_id = only_correlation_id(&run);
        if run.ending == Ending::Ok && fans_in {
            self.summarize(&mut run);
        }
        let end = run.end;
        self.skew(&mut run);
        self.finish(&run);
        self.book.taken(&run, |_| Evidence::MessageId, self.style);
        let messages: Vec<Message> = run.taken.into_iter().map(|taken| taken.message).collect();
        if run.ending == Ending::Ok {
            for message in &messages {
                self.book.settle(message.request);
            }
        } else {
            self.read_again(number, messages);
        }
        end
    }

    /// Tells the bus of a whole batch: one event on behalf of all its requests.
    fn summarize(&mut self, run: &mut Run) {
        let requests: BTreeSet<u64> = run.taken.iter().map(|taken| taken.message.request).collect();
        let mut requests = requests.into_iter();
        let Some(request) = requests.next() else { return };
        let others: Vec<u64> = requests.collect();
        let id = self.random.uuid();
        let what = What::Send { message_id: id.clone(), queue: SHOP_EVENTS, via: Via::EventBus };
        let step = self.call(what, Duration::from_millis(9), &mut run.end);
        let position = Position { trace: run.position.trace, span: step.span };
        let summary = Message {
            id,
            queue: SHOP_EVENTS,
            via: Via::EventBus,
            sent: whole_millis(step.start),
            n_receives: 0,
            dead_letter_source: None,
            position: self.is_traced(Function::Analytics).then_some(position),
            correlation_id: run.correlation_id.clone().unwrap_or_else(|| self.random.uuid()),
            request,
            others,
            cause: Some(run.invocation_id.clone()),
            is_foreign: false,
            nature: Nature::Sound,
        };
        run.steps.push(step);
        for request in summary.requests() {
            self.book.expect(request, 1);
        }
        let sent = summary.sent;
        self.plan_delivery(Function::Loyalty, summary, sent);
    }

    fn read_again(&mut self, number: usize, batch: Vec<Message>) {
        if let Some(shard) = self.shards.get_mut(number) {
            for message in batch.into_iter().rev() {
                shard.records.push_front(message);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::signal::Timestamp;
    use crate::simulate::{Simulation, SimulationConfig};

    use super::*;

    fn message_ids(seed: u64, start: &str) -> BTreeSet<String> {
        let start = Timestamp::parse_rfc3339(start).unwrap();
        let mut simulation = Simulation::new(&SimulationConfig::new(seed, start, 40));
        simulation.by_ref().for_each(drop);
        let hops = simulation.take_truth().into_iter().flat_map(|request| request.hops);
        let clicks = hops.filter(|hop| hop.function == "analytics");
        clicks.flat_map(|hop| hop.message_ids).collect()
    }

    #[test]
    fn workloads_of_other_seeds_or_starts_share_no_sequence_number() {
        let first = message_ids(1, "2026-11-25T10:00:00Z");
        assert!(!first.is_empty());
        assert!(first.is_disjoint(&message_ids(2, "2026-11-25T10:00:00Z")));
        assert!(first.is_disjoint(&message_ids(1, "2026-11-25T11:00:00Z")));
    }
}
