//! What the taking-up of a message adds, at that moment.

use super::contribution::Tally;
use super::{Objective, Sli};
use crate::correlate::Delivery;
use crate::series::catalog::{DLQ_ARRIVALS, DUPLICATE_DELIVERIES, PARTITION_MESSAGES, QUEUE_LAG};

pub(super) fn tally(delivery: &Delivery, tally: &mut Tally<'_>) {
    let queue: (&str, &str) = ("queue", &delivery.queue);
    if let Some(lag) = delivery.lag {
        tally.observe(QUEUE_LAG, &[queue], lag.as_secs_f64());
    }
    if delivery.duplicate {
        tally.count(DUPLICATE_DELIVERIES, &[queue, ("faas_name", &delivery.function)]);
    }
    if let Some(partition) = &delivery.partition {
        tally.count(PARTITION_MESSAGES, &[queue, ("partition", partition)]);
    }
    if let Some(dead) = &delivery.dead_letter {
        let labels = [
            ("queue", &*dead.queue),
            ("source_queue", &*dead.source_queue),
            ("faas_name", &*dead.function),
        ];
        tally.count(DLQ_ARRIVALS, &labels);
    }
}

/// Counts the message for an objective of its queue.
pub(super) fn tally_objective(delivery: &Delivery, objective: &Objective, tally: &mut Tally<'_>) {
    if let (Sli::Freshness { queue, threshold }, Some(lag)) = (&objective.sli, delivery.lag)
        && *queue == delivery.queue
    {
        objective.tally(lag <= *threshold, tally);
    }
}
