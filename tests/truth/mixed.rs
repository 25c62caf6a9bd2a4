//! The engine against the naive oracle on requests of many kinds of evidence at once: a workflow whose steps put
//! events on a bus, functions that hear of these and fill a queue, and whoever takes from that; and correlation
//! ids that two requests share, both of which begin by themselves.
//!
//! Of invocations that share an id the first caused the others, whatever people meant: telemetry does not tell
//! two beginnings under one id from a beginning and what it led to.

use throughline::signal::{Facts, MessageRef, Text, Timestamp, Via, Workflow};

use crate::seeds::check_all;
use crate::stories::{Place, Run, Story, Style, Work, check, function, later};

/// Seeds of an ordinary run.
const SEEDS: u64 = 60;
/// Seeds that once failed.
const REGRESSIONS: [u64; 0] = [];

/// A message and whose span sent it, if a span told that.
type Sent = (MessageRef, Option<Place>);

/// How much of the story has been told, and what lies on the queue.
struct Shop {
    story: Story,
    at: Timestamp,
    n_asked: u64,
    queued: Vec<Sent>,
}

impl Shop {
    /// The next of the dice.
    fn dice(&mut self, n: u64) -> u64 {
        self.n_asked += 1;
        self.story.dice(self.n_asked, n)
    }

    fn pass(&mut self, millis: u64) {
        let more = self.dice(millis);
        self.at = later(self.at, 200 + more);
    }

    /// Runs a function that sends some messages; they carry its place now and then.
    fn run(&mut self, name: &str, mut run: Run, sent: &[MessageRef]) -> Vec<Sent> {
        run.is_failed |= self.dice(6) == 0;
        match run.works.first_mut() {
            Some(first) => first.sent.extend(sent.iter().cloned()),
            None => run.works.push(Work { sent: sent.to_vec(), ..Work::default() }),
        }
        let styles = [Style::Spans, Style::Records, Style::Both];
        let style = styles[usize::try_from(self.dice(3)).expect("small")];
        let place = self.story.run_in(style, &function(name), self.at, &run);
        let is_carried = style != Style::Records && self.dice(2) == 0;
        sent.iter().map(|own| (own.clone(), is_carried.then_some(place))).collect()
    }

    fn correlation_ids(&mut self, request: u64) -> Vec<Text> {
        let is_told = self.dice(2) == 0;
        // Two neighbours share one.
        is_told.then(|| Text::from(format!("order-{}", request / 2))).into_iter().collect()
    }

    /// The steps of one execution, some of them tried again; each may put an event on the bus.
    fn workflow(&mut self, request: u64) -> Vec<Sent> {
        let mut events = Vec::new();
        for step in 0..=self.dice(3) {
            for retry in 0..=self.dice(2) {
                self.pass(4_000);
                let workflow = Some(Workflow {
                    execution_id: Text::from(format!("execution-{request}")),
                    state: Text::from(format!("step-{step}")),
                    retry_count: Some(u32::try_from(retry).expect("small")),
                });
                let correlation_ids = self.correlation_ids(request);
                let facts = Facts { workflow, correlation_ids, ..Facts::default() };
                let id = format!("event-{request}-{step}-{retry}");
                let mut event = MessageRef::new(Text::from(id), Via::EventBus);
                event.queue = Some(Text::from("bus"));
                let sent = if self.dice(2) == 0 { vec![event] } else { Vec::new() };
                let run = Run { facts, ..Run::default() };
                events.extend(self.run(&format!("step-{step}"), run, &sent));
            }
        }
        events
    }

    /// Whoever hears of an event, once or again under the same request id, and fills the queue.
    fn hear(&mut self, event: &Sent, request: u64) {
        let id = Text::from(format!("heard-{}", event.0.id));
        for n in 0..=self.dice(2) {
            self.pass(6_000);
            self.at = later(self.at, 1_500);
            let work = Work { link: event.1, ..Work::on(event.0.clone()) };
            let correlation_ids = self.correlation_ids(request);
            let facts = Facts { correlation_ids, ..Facts::default() };
            let own =
                Run { id: Some(Text::clone(&id)), facts, works: vec![work], ..Run::default() };
            let mut job = MessageRef::new(format!("job-{}-{n}", event.0.id), Via::Queue);
            job.queue = Some(Text::from("jobs"));
            let sent = if self.dice(3) == 0 { Vec::new() } else { vec![job] };
            let queued = self.run("listen", own, &sent);
            self.queued.extend(queued);
        }
    }

    /// Takes from the queue in batches; what is left of one is never taken up.
    fn work(&mut self) {
        let queued = std::mem::take(&mut self.queued);
        for batch in queued.chunks(2) {
            if self.dice(6) == 0 {
                continue;
            }
            for _ in 0..=self.dice(2) {
                self.pass(9_000);
                let mut run = Run::default();
                for (message, link) in batch {
                    let is_failed = self.dice(4) == 0;
                    run.works.push(Work { is_failed, link: *link, ..Work::on(message.clone()) });
                }
                self.run("work", run, &[]);
            }
        }
    }
}

pub(crate) fn story(seed: u64) -> Story {
    let (story, at) = (Story::new(seed), crate::start());
    let mut shop = Shop { story, at, n_asked: 0, queued: Vec::new() };
    for request in 0..=shop.dice(4) {
        shop.pass(1_000);
        let events = if shop.dice(3) == 0 {
            // A plain beginning under an id that another has too.
            let facts =
                Facts { correlation_ids: shop.correlation_ids(request), ..Facts::default() };
            let event = MessageRef::new(format!("event-{request}"), Via::EventBus);
            shop.run("ask", Run { facts, ..Run::default() }, &[event])
        } else {
            shop.workflow(request)
        };
        for event in &events {
            shop.hear(event, request);
        }
        if shop.dice(2) == 0 {
            shop.work();
        }
    }
    shop.work();
    shop.story
}

#[test]
fn requests_of_all_kinds_of_evidence_come_out_right() {
    check_all(|seed| check(&story(seed)), SEEDS, &REGRESSIONS);
}
