//! The engine against the naive oracle where one message has two consumers: a topic's, each with a queue and a
//! dead-letter queue of its own, or two readers of one stream. One fails and tries again, the other does not
//! care; what fell into a dead-letter queue is read there, and sent back to its queue with the same id or with a
//! new one.
//!
//! A message that is sent anew is known by what it carries alone: the place that its first sender gave it, or
//! a correlation id in its body. One that carries neither begins a request: no telemetry tells more.

use throughline::signal::{Facts, MessageRef, Text, Timestamp, Via};

use crate::seeds::check_all;
use crate::stories::{Place, Run, Story, Work, check, function, later};

/// Seeds of an ordinary run.
const SEEDS: u64 = 60;
/// Seeds that once failed.
const REGRESSIONS: [u64; 0] = [];
/// Receives before a message falls into the dead-letter queue.
const RECEIVES_MAX: u64 = 3;

/// A message on its way through one consumer.
#[derive(Clone)]
struct Piece {
    id: Text,
    sender: Option<Place>,
    correlation: Option<Text>,
}

struct Consumer {
    name: &'static str,
    /// Where it reads: a queue of its own, or the stream that the other reads too.
    source: Text,
    via: Via,
    /// Where its dice begin.
    purpose: u64,
}

/// What came of one batch.
struct Batch<'a> {
    reader: String,
    queue: &'a str,
    dead_letter_source: Option<&'a str>,
    via: Via,
    at: Timestamp,
    purpose: u64,
}

impl Story {
    fn publish(&mut self, n: u64, at: Timestamp) -> Piece {
        let purpose = 100 * (n + 1);
        let id = Text::from(format!("m{n}"));
        let correlation = (self.dice(purpose, 4) == 0).then(|| Text::from(format!("order-{n}")));
        if self.dice(purpose + 1, 3) == 0 {
            return Piece { id, sender: None, correlation };
        }
        let correlation_ids = correlation.clone().into_iter().collect();
        let run = Run {
            facts: Facts { correlation_ids, ..Facts::default() },
            works: vec![Work {
                sent: vec![MessageRef::new(Text::clone(&id), Via::Topic)],
                ..Work::default()
            }],
            ..Run::default()
        };
        let sender = Some(self.run(&function("publish"), at, &run));
        Piece { id, sender, correlation }
    }

    /// Takes the messages up together; gives those that failed.
    fn take(&mut self, pieces: &[Piece], batch: &Batch<'_>) -> Vec<Piece> {
        let is_failed = self.dice(batch.purpose, 3) == 0;
        let (mut run, mut failed) = (Run { is_failed, ..Run::default() }, Vec::new());
        for (n, piece) in (1..).zip(pieces) {
            let is_one_failed = self.dice(batch.purpose + n, 3) == 0;
            let message = MessageRef {
                queue: Some(Text::from(batch.queue)),
                dead_letter_source: batch.dead_letter_source.map(Text::from),
                group: Some(MessageRef::group_of(&piece.id)),
                ..MessageRef::new(Text::clone(&piece.id), batch.via)
            };
            run.works.push(Work {
                is_failed: is_one_failed,
                link: piece.sender,
                ..Work::on(message)
            });
            run.facts.correlation_ids.extend(piece.correlation.clone());
            failed.extend((is_failed || is_one_failed).then(|| piece.clone()));
        }
        if !run.works.is_empty() {
            self.run(&function(&batch.reader), batch.at, &run);
        }
        failed
    }

    /// All that one consumer does with these messages.
    fn consume(&mut self, consumer: &Consumer, pieces: &[Piece], begun: Timestamp) {
        let dlq = format!("{}-dlq", consumer.name);
        let mut left = pieces.to_vec();
        let mut at = begun;
        for round in 0..=1 {
            let purpose = consumer.purpose + 1_000 * round;
            for n in 0..RECEIVES_MAX {
                at = later(at, 1_000 + self.dice(purpose + 100 * n, 9_000));
                let batch = Batch {
                    reader: consumer.name.to_owned(),
                    queue: &consumer.source,
                    dead_letter_source: None,
                    via: consumer.via,
                    at,
                    purpose: purpose + 100 * n + 1,
                };
                left = self.take(&left, &batch);
            }
            at = later(at, 1_000 + self.dice(purpose + 500, 9_000));
            let batch = Batch {
                reader: format!("drain-{}", consumer.name),
                queue: &dlq,
                dead_letter_source: Some(&consumer.source),
                via: Via::Queue,
                at,
                purpose: purpose + 501,
            };
            // Now and then nobody reads there.
            if self.dice(purpose + 600, 4) != 0 {
                left = self.take(&left, &batch);
            }
            let is_anew = self.dice(purpose + 601, 2) == 0;
            for piece in left.iter_mut().filter(|_| is_anew) {
                piece.id = Text::from(format!("{}-{}-again", piece.id, consumer.name));
            }
        }
    }
}

pub(crate) fn story(seed: u64) -> Story {
    let mut story = Story::new(seed);
    let at = crate::start();
    let n_pieces = 1 + story.dice(1, 3);
    let pieces: Vec<Piece> = (0..n_pieces).map(|n| story.publish(n, later(at, 300 * n))).collect();
    let is_stream = story.dice(2, 3) == 0;
    for (n, name) in (1..).zip(["email", "audit"]) {
        let (source, via) = if is_stream { ("clicks", Via::Stream) } else { (name, Via::Queue) };
        let consumer = Consumer { name, source: Text::from(source), via, purpose: 10_000 * n };
        story.consume(&consumer, &pieces, later(at, 1_000 + 7 * n));
    }
    story
}

#[test]
fn consumers_of_one_message_fail_and_are_redriven_apart() {
    check_all(|seed| check(&story(seed)), SEEDS, &REGRESSIONS);
}
