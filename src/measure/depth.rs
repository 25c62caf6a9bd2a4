//! What a broker says of a queue's depth, under every name that it answers to.
//!
//! In: a depth as a dialect named it, and which queues serve others as dead-letter queues. Out: the same
//! depth as that of a queue, and of a dead-letter queue with the queue that it serves. Never is a queue
//! given to another because of its name.

use std::borrow::Cow;

use crate::series::catalog::{DLQ_DEPTH, QUEUE_DEPTH};
use crate::signal::{Labels, METRIC_NAME, MetricPoint, Text};

/// The points that one point stands for; nearly always itself alone. A dead-letter queue is a queue, so
/// its depth is both.
pub fn told(
    point: &MetricPoint,
    source_of: impl Fn(&str) -> Option<Text>,
) -> impl Iterator<Item = Cow<'_, MetricPoint>> {
    let name = point.labels.name();
    let queue = point.labels.get("queue").filter(|_| [QUEUE_DEPTH, DLQ_DEPTH].contains(&name));
    let (own, other) = match queue.map(|queue| (queue, source_of(queue))) {
        None => (Cow::Borrowed(point), None),
        Some((queue, None)) => {
            let other = (name == DLQ_DEPTH).then(|| depth(point, queue));
            (Cow::Borrowed(point), other)
        }
        Some((queue, Some(source))) => {
            let told = point.labels.get("source_queue").unwrap_or(&source);
            let named = [(METRIC_NAME, DLQ_DEPTH), ("queue", queue), ("source_queue", told)];
            let dead = MetricPoint { labels: Labels::of(&named), ..point.clone() };
            (Cow::Owned(dead), Some(depth(point, queue)))
        }
    };
    std::iter::once(own).chain(other.map(Cow::Owned))
}

fn depth(point: &MetricPoint, queue: &str) -> MetricPoint {
    let labels = Labels::of(&[(METRIC_NAME, QUEUE_DEPTH), ("queue", queue)]);
    MetricPoint { labels, ..point.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::{MetricValue, Timestamp};

    fn check(labels: &[(&str, &str)], expected: &[&str]) {
        let value = MetricValue::Gauge(3.0);
        let (labels, time) = (Labels::of(labels), Timestamp::EPOCH);
        let point = MetricPoint { labels, time, start: None, value };
        let source_of = |dlq: &str| (dlq == "orders-failed").then(|| "orders".into());
        let shown = |point: Cow<'_, MetricPoint>| point.labels.to_string();
        assert_eq!(told(&point, source_of).map(shown).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_dead_letter_queue_is_told_as_both_with_the_queue_that_it_serves() {
        let depth = (METRIC_NAME, "throughline_queue_depth");
        let dead = (METRIC_NAME, "throughline_dlq_depth");
        check(&[depth, ("queue", "orders")], &[r#"throughline_queue_depth{queue="orders"}"#]);
        let both = &[
            r#"throughline_dlq_depth{queue="orders-failed", source_queue="orders"}"#,
            r#"throughline_queue_depth{queue="orders-failed"}"#,
        ];
        check(&[depth, ("queue", "orders-failed")], both);
        check(&[dead, ("queue", "orders-failed")], both);
        check(
            &[dead, ("queue", "refunds-dlq")],
            &[
                r#"throughline_dlq_depth{queue="refunds-dlq"}"#,
                r#"throughline_queue_depth{queue="refunds-dlq"}"#,
            ],
        );
        check(
            &[dead, ("queue", "q/$dead"), ("source_queue", "q")],
            &[
                r#"throughline_dlq_depth{queue="q/$dead", source_queue="q"}"#,
                r#"throughline_queue_depth{queue="q/$dead"}"#,
            ],
        );
        check(
            &[(METRIC_NAME, "room_temperature"), ("queue", "orders-failed")],
            &[r#"room_temperature{queue="orders-failed"}"#],
        );
    }
}
