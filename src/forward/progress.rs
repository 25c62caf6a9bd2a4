//! Where one endpoint stands, and what it gets next.
//!
//! In: the series of the interval that is next. Out: the requests that carry it. The store is the
//! queue: an endpoint that was away is caught up from it, up to [`BACKLOG_MAX`]. A derived counter or
//! histogram gives its value at the end of the interval, never less than what was taken before; all
//! else gives its own samples. Never true: an interval that counts as sent before it was taken.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::endpoint::Endpoint;
use super::request::Request;
use crate::series::export::lift_native;
use crate::series::{
    CounterReset, Histogram, MatchOp, Matcher, RawSeries, SampleValue, SelectError, Selection,
    catalog,
};
use crate::signal::{Labels, METRIC_NAME, MetricType, Timestamp};

/// How far back an endpoint that was away is caught up; what is older is given up and counted.
/// Prometheus's stores refuse samples that are older than an hour.
pub const BACKLOG_MAX: Duration = Duration::from_hours(1);
/// Samples leave this long after their time: agents push every 5 s and may need a second try, and most
/// corrections of derived series come within seconds.
const DELAY: Duration = Duration::from_secs(15);
/// Samples of one request: Prometheus's default.
pub(super) const REQUEST_SAMPLES_MAX: usize = 2_000;
/// Samples of one interval; more than any store of ours holds at its memory bound.
const INTERVAL_SAMPLES_MAX: usize = 5_000_000;
/// Counters whose highest value is remembered; further ones are sent as they are, and counted.
const MARKS_MAX: usize = 500_000;
/// The same of native histograms, which take some kilobytes each.
const NATIVE_MARKS_MAX: usize = 20_000;

/// Kept on disk beside the journal.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// What happened until then was taken, or given up. Milliseconds since the epoch; 0: nothing yet.
    sent_to: i64,
    /// The highest value that left, by the fingerprint of the series.
    marks: BTreeMap<u128, f64>,
    /// The same of native histograms, bucket by bucket.
    native_marks: BTreeMap<u128, Histogram>,
}

/// One interval on its way.
#[derive(Clone, Debug, PartialEq)]
pub struct Outgoing {
    /// To be sent in this order.
    pub requests: Vec<Packed>,
    /// Time that was given up before it.
    pub skipped: Duration,
    until: i64,
    marks: Vec<(u128, f64)>,
    native_marks: Vec<(u128, Histogram)>,
}

/// A request as a snappy block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    pub bytes: Vec<u8>,
    pub n_samples: u64,
}

/// Reads the series of one selection.
pub type Select<'a> = dyn Fn(&Selection<'_>) -> Result<Vec<RawSeries>, SelectError> + 'a;

impl Progress {
    /// The next interval that is over at `now`; None where none is.
    pub fn next(
        &self,
        now: Timestamp,
        endpoint: &Endpoint,
        select: &Select<'_>,
    ) -> Result<Option<Outgoing>, SelectError> {
        let millis = |d: Duration| i64::try_from(d.as_millis()).unwrap_or(i64::MAX);
        let interval = millis(endpoint.interval).max(1000);
        let closed = closed(now);
        let oldest = closed.saturating_sub(millis(BACKLOG_MAX));
        let from = match self.sent_to {
            0 => closed.saturating_sub(interval),
            sent_to => sent_to.max(oldest),
        };
        let until = from.saturating_add(interval).div_euclid(1000).saturating_mul(1000);
        if until > closed {
            return Ok(None);
        }
        let skipped = if self.sent_to == 0 { 0 } else { from.saturating_sub(self.sent_to) };
        let everything = Matcher::new(METRIC_NAME, MatchOp::NotEqual, "");
        let matchers: Vec<Matcher> = everything.into_iter().collect();
        let samples_max = INTERVAL_SAMPLES_MAX;
        let found = select(&Selection {
            matchers: &matchers,
            start: from,
            end: until,
            samples_max,
            windows: None,
            looks: None,
        })?;
        let mut outgoing = Outgoing {
            requests: Vec::new(),
            skipped: Duration::from_millis(u64::try_from(skipped).unwrap_or_default()),
            until,
            marks: Vec::new(),
            native_marks: Vec::new(),
        };
        self.fill(&mut outgoing, found, endpoint);
        Ok(Some(outgoing))
    }

    fn fill(&self, outgoing: &mut Outgoing, found: Vec<RawSeries>, endpoint: &Endpoint) {
        let mut request = Request::new(endpoint.protocol);
        for RawSeries { labels, mut samples, .. } in found {
            if !endpoint.sends_native_histograms {
                samples.retain(|sample| matches!(sample.value, SampleValue::Float(_)));
            }
            if is_monotonic(&labels)
                && let Some(mut last) = samples.pop()
            {
                self.lift(labels.fingerprint(), &mut last.value, outgoing);
                samples = vec![last];
            }
            let labels = with_added(&labels, endpoint);
            for piece in samples.chunks(REQUEST_SAMPLES_MAX) {
                if !request.has_room(piece.len()) {
                    outgoing.requests.extend(request.close());
                }
                request.push(&labels, piece);
            }
        }
        outgoing.requests.extend(request.close());
    }

    /// Lifts what grows to what left before.
    fn lift(&self, key: u128, value: &mut SampleValue, outgoing: &mut Outgoing) {
        match value {
            SampleValue::Float(value) => {
                let mark = self.marks.get(&key);
                *value = mark.map_or(*value, |mark| mark.max(*value));
                if mark.is_some() || self.marks.len() + outgoing.marks.len() < MARKS_MAX {
                    outgoing.marks.push((key, *value));
                }
            }
            SampleValue::Histogram(held) => {
                let (held, mark) = (Arc::make_mut(held), self.native_marks.get(&key));
                if let Some(mark) = mark {
                    lift_native(held, mark.clone());
                }
                // Of the receiver's samples, not of ours.
                held.counter_reset = CounterReset::Unknown;
                let n_marks = self.native_marks.len() + outgoing.native_marks.len();
                if mark.is_some() || n_marks < NATIVE_MARKS_MAX {
                    outgoing.native_marks.push((key, held.clone()));
                }
            }
        }
    }

    /// Everything of it was taken, or will never be.
    pub fn advance(&mut self, outgoing: Outgoing) {
        self.sent_to = outgoing.until;
        self.marks.extend(outgoing.marks);
        self.native_marks.extend(outgoing.native_marks);
    }

    /// What cannot be read at all is given up, all of it until now; gives how much time that is.
    pub fn give_up(&mut self, now: Timestamp) -> Duration {
        let from = std::mem::replace(&mut self.sent_to, closed(now));
        let lost = self.sent_to.saturating_sub(if from == 0 { self.sent_to } else { from });
        Duration::from_millis(u64::try_from(lost).unwrap_or_default())
    }

    pub fn encode(&self) -> Result<Vec<u8>, postcard::Error> {
        postcard::to_stdvec(self)
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, postcard::Error> {
        postcard::from_bytes(bytes)
    }
}

/// Until when an interval counts as whole.
fn closed(now: Timestamp) -> i64 {
    now.saturating_sub(DELAY).as_millis()
}

/// Whether the series is one of ours that only grows but for corrections.
fn is_monotonic(labels: &Labels) -> bool {
    let name = labels.name();
    let ends = ["_bucket", "_sum", "_count"];
    let histogram = ends.iter().find_map(|end| name.strip_suffix(end)).and_then(catalog::find);
    let is_part = histogram.is_some_and(|metric| metric.kind == MetricType::Histogram);
    let grows = |kind| matches!(kind, MetricType::Counter | MetricType::Histogram);
    is_part || catalog::find(name).is_some_and(|metric| grows(metric.kind))
}

/// The labels of a series, with those of the endpoint that it does not have itself.
fn with_added(own: &Labels, endpoint: &Endpoint) -> Labels {
    let added = endpoint.labels.pairs().iter().filter(|(name, _)| own.get(name).is_none());
    Labels::new(own.pairs().iter().chain(added).cloned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::endpoint::Protocol;
    use crate::normalize::remote_write::Version;
    use crate::series::Sample;

    fn endpoint() -> Endpoint {
        Endpoint {
            url: "http://store/api/v1/write".to_owned(),
            token: None,
            interval: Duration::from_secs(15),
            timeout: Duration::from_secs(1),
            labels: Labels::of(&[("cluster", "a"), ("flow", "never seen")]),
            protocol: Protocol::V1,
            sends_native_histograms: false,
        }
    }

    const COUNTER: &[(&str, &str)] =
        &[(METRIC_NAME, "throughline_requests_total"), ("flow", "f"), ("outcome", "ok")];

    /// A store whose counter has one value a second, as if it were `value` all the time; and a gauge.
    fn store(value: f64) -> impl Fn(&Selection<'_>) -> Result<Vec<RawSeries>, SelectError> {
        move |selection| {
            let sample = |t, value| Sample { t, value: SampleValue::Float(value) };
            let (from, to) = (selection.start / 1000 + 1, selection.end / 1000);
            let counter = (from..=to).map(|second| sample(second * 1000, value)).collect();
            let gauge = vec![sample(selection.end - 7, 5.0), sample(selection.end - 3, 6.0)];
            Ok(vec![
                RawSeries::new(Labels::of(COUNTER), counter),
                RawSeries::new(Labels::of(&[(METRIC_NAME, "pushed")]), gauge),
            ])
        }
    }

    /// What the receiver of a request reads.
    fn received(outgoing: &Outgoing) -> Vec<String> {
        received_as(outgoing, Version::V1)
    }

    fn received_as(outgoing: &Outgoing, version: Version) -> Vec<String> {
        let mut lines = Vec::new();
        for request in &outgoing.requests {
            let plain = snap::raw::Decoder::new().decompress_vec(&request.bytes).unwrap();
            let origin = crate::normalize::Origin {
                arrived: Timestamp::from_millis(20 * 86_400_000),
                ..Default::default()
            };
            let read = crate::normalize::remote_write::normalize(
                &plain,
                version,
                &origin,
                &crate::normalize::Config::default(),
            );
            let shown = crate::normalize::show::text(&read.unwrap().normalized);
            lines.extend(shown.lines().map(str::to_owned));
        }
        lines
    }

    #[test]
    fn a_counter_that_left_never_goes_down() {
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        let mut progress = Progress::default();
        let first = progress.next(at(1000), &endpoint(), &store(7.0)).unwrap().unwrap();
        expect_test::expect![[r#"
            1970-01-01T00:16:25.000000000Z metric throughline_requests_total{cluster="a", flow="f", outcome="ok"} gauge=7
            1970-01-01T00:16:24.993000000Z metric pushed{cluster="a", flow="never seen"} gauge=5
            1970-01-01T00:16:24.997000000Z metric pushed{cluster="a", flow="never seen"} gauge=6
            3 signals, 0 rejected, 0 filtered"#]]
        .assert_eq(&received(&first).join("\n"));
        progress.advance(first);
        assert_eq!(progress.next(at(1010), &endpoint(), &store(4.0)), Ok(None), "not over yet");
        let read_back = Progress::decode(&progress.encode().unwrap()).unwrap();
        assert_eq!(read_back, progress);
        let corrected = read_back.next(at(1015), &endpoint(), &store(4.0)).unwrap().unwrap();
        assert!(received(&corrected)[0].ends_with("gauge=7"), "{:?}", received(&corrected));
        progress.advance(corrected);
        let passed = progress.next(at(1030), &endpoint(), &store(9.0)).unwrap().unwrap();
        assert!(received(&passed)[0].ends_with("gauge=9"), "{:?}", received(&passed));
    }

    #[test]
    fn an_endpoint_that_was_away_is_caught_up_and_what_is_too_old_is_said() {
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        let mut progress = Progress::default();
        let first = progress.next(at(1000), &endpoint(), &store(1.0)).unwrap().unwrap();
        progress.advance(first);
        let mut n = 0;
        while let Some(outgoing) = progress.next(at(1600), &endpoint(), &store(1.0)).unwrap() {
            assert_eq!(outgoing.skipped, Duration::ZERO);
            progress.advance(outgoing);
            n += 1;
        }
        assert_eq!(n, 40, "ten minutes in intervals of 15 s");
        let late = progress.next(at(1600 + 2 * 3600), &endpoint(), &store(1.0)).unwrap().unwrap();
        assert_eq!(late.skipped, Duration::from_hours(1));
    }

    #[test]
    fn requests_hold_no_more_samples_than_receivers_take() {
        let many = |selection: &Selection<'_>| {
            let t = selection.end;
            let one = |i: usize| {
                RawSeries::new(
                    Labels::of(&[(METRIC_NAME, "pushed"), ("i", &i.to_string())]),
                    vec![Sample { t, value: SampleValue::Float(1.0) }],
                )
            };
            Ok((0..4500).map(one).collect())
        };
        let outgoing =
            Progress::default().next(Timestamp::from_millis(1_000_000), &endpoint(), &many);
        let sizes: Vec<u64> =
            outgoing.unwrap().unwrap().requests.iter().map(|request| request.n_samples).collect();
        assert_eq!(sizes, [2000, 2000, 500]);
    }

    /// A derived histogram whose buckets hold what is given, from bucket 3 on.
    fn native(counts: &[f64]) -> impl Fn(&Selection<'_>) -> Result<Vec<RawSeries>, SelectError> {
        let positive: Vec<(i32, f64)> = (3..).zip(counts.iter().copied()).collect();
        move |selection| {
            let held = Histogram {
                counter_reset: CounterReset::No,
                schema: 5,
                zero_threshold: 0.0,
                zero_count: 1.0,
                count: 1.0 + positive.iter().map(|(_, n)| n).sum::<f64>(),
                sum: 9.5,
                positive: positive.clone(),
                negative: Vec::new(),
                custom_bounds: Arc::from([]),
            };
            let value = SampleValue::Histogram(Arc::new(held));
            let labels = [(METRIC_NAME, "throughline_queue_lag_seconds"), ("queue", "orders")];
            let samples = vec![Sample { t: selection.end, value }];
            Ok(vec![RawSeries::new(Labels::of(&labels), samples)])
        }
    }

    #[test]
    fn native_histograms_leave_by_both_protocols_and_no_bucket_goes_down() {
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        let mut shown = String::new();
        for (protocol, version) in [(Protocol::V1, Version::V1), (Protocol::V2, Version::V2)] {
            let endpoint = Endpoint { protocol, sends_native_histograms: true, ..endpoint() };
            let mut progress = Progress::default();
            for (now, counts) in [(1000, [4.0, 2.0, 0.0]), (1015, [3.0, 2.0, 7.0])] {
                let next = progress.next(at(now), &endpoint, &native(&counts)).unwrap().unwrap();
                let read_back = Progress::decode(&progress.encode().unwrap()).unwrap();
                assert_eq!(read_back, progress);
                shown.push_str(&received_as(&next, version).join("\n"));
                shown.push('\n');
                progress.advance(next);
            }
        }
        expect_test::expect![[r#"
            1970-01-01T00:16:25.000000000Z metric throughline_queue_lag_seconds{cluster="a", flow="never seen", queue="orders"} native=7 sum=9.5 schema=5
            1 signals, 0 rejected, 0 filtered
            1970-01-01T00:16:40.000000000Z metric throughline_queue_lag_seconds{cluster="a", flow="never seen", queue="orders"} native=14 sum=9.5 schema=5
            1 signals, 0 rejected, 0 filtered
            1970-01-01T00:16:25.000000000Z metric throughline_queue_lag_seconds{cluster="a", flow="never seen", queue="orders"} native=7 sum=9.5 schema=5
            about throughline_queue_lag_seconds: Histogram "Of each message: sent until its processing starts." "seconds"
            1 signals, 0 rejected, 0 filtered
            1970-01-01T00:16:40.000000000Z metric throughline_queue_lag_seconds{cluster="a", flow="never seen", queue="orders"} native=14 sum=9.5 schema=5
            about throughline_queue_lag_seconds: Histogram "Of each message: sent until its processing starts." "seconds"
            1 signals, 0 rejected, 0 filtered
        "#]]
        .assert_eq(&shown);
        let floats = Progress::default().next(at(1000), &endpoint(), &native(&[1.0])).unwrap();
        assert_eq!(floats.unwrap().requests, [], "an endpoint that does not want them");
    }

    #[test]
    fn a_request_of_the_second_protocol_says_what_metrics_are_and_each_text_once() {
        let endpoint = Endpoint { protocol: Protocol::V2, ..endpoint() };
        let at = Timestamp::from_millis(1_000_000);
        let next = Progress::default().next(at, &endpoint, &store(7.0)).unwrap().unwrap();
        let plain = snap::raw::Decoder::new().decompress_vec(&next.requests[0].bytes).unwrap();
        let text = String::from_utf8_lossy(&plain);
        assert_eq!(text.matches("cluster").count(), 1, "two series have it");
        assert!(text.contains("Finished requests"), "{text}");
        assert_eq!(
            received_as(&next, Version::V2).last().unwrap(),
            "3 signals, 0 rejected, 0 filtered"
        );
    }
}
