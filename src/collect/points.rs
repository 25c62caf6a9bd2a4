//! Points of one look, as a batch: each known by its series and its time, so a repeat counts once.

use crate::signal::{
    Batch, Fnv128, Labels, MetricPoint, MetricValue, Receiver, Resource, Signal, SignalKind,
    Timestamp,
};

#[derive(Debug)]
pub(super) struct Points {
    pub(super) batch: Batch,
    /// When it was looked, in whole milliseconds as series have it.
    pub(super) at: Timestamp,
}

impl Points {
    pub(super) fn new(receiver: Receiver, at: Timestamp) -> Self {
        let mut batch = Batch::new(receiver, at);
        batch.resources.push(Resource::default());
        Self { batch, at: Timestamp::from_millis(at.as_millis()) }
    }

    pub(super) fn add(&mut self, labels: Labels, time: Timestamp, value: MetricValue) {
        let identity = Fnv128::default()
            .field(b"metric")
            .field(&labels.fingerprint().to_be_bytes())
            .field(&time.as_nanos().to_be_bytes())
            .finish();
        let point = MetricPoint { labels, time, start: None, value };
        let kind = SignalKind::Metric(Box::new(point));
        self.batch.signals.push(Signal { identity: Some(identity), resource: 0, kind });
    }
}
