//! Prometheus's protobuf format: length-delimited metric families, with native histograms.
//!
//! In: a page. Out: its samples as the text formats give them, and a native histogram as one sample. A
//! histogram that has native buckets gives those and not its classic ones, as Prometheus scrapes them.
//! Messages are decoded one metric at a time: two bytes each would become hundreds in memory.
//! Source: prometheus/client_model `io/prometheus/client/metrics.proto`.

use prost::Message as _;

use super::{HELP_BYTES_MAX, METRICS_MAX, NAME_BYTES_MAX, Page, Scraped, ScrapedExemplar, checked};
use crate::normalize::Undecodable;
use crate::normalize::remote_write::histogram;
use crate::normalize::remote_write::message::{Count, Histogram as Wire, Span, ZeroCount};
use crate::normalize::shorten::shorten;
use crate::normalize::wire::{Fault, Message};
use crate::number::f64_from_u64;
use crate::signal::{Labels, METRIC_NAME, MetricMetadata, MetricType, MetricValue, Text};

/// Largest message of one metric.
const METRIC_BYTES_MAX: usize = 1 << 20;

#[derive(Clone, PartialEq, prost::Message)]
struct Metric {
    #[prost(message, repeated, tag = "1")]
    label: Vec<Pair>,
    #[prost(message, optional, tag = "2")]
    gauge: Option<Plain>,
    #[prost(message, optional, tag = "3")]
    counter: Option<Counter>,
    #[prost(message, optional, tag = "4")]
    summary: Option<Summary>,
    #[prost(message, optional, tag = "5")]
    untyped: Option<Plain>,
    #[prost(int64, optional, tag = "6")]
    timestamp_ms: Option<i64>,
    #[prost(message, optional, tag = "7")]
    histogram: Option<Histogram>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Pair {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct Plain {
    #[prost(double, tag = "1")]
    value: f64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Counter {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(message, optional, tag = "2")]
    exemplar: Option<Exemplar>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Summary {
    #[prost(uint64, tag = "1")]
    count: u64,
    #[prost(double, tag = "2")]
    sum: f64,
    #[prost(message, repeated, tag = "3")]
    quantile: Vec<Quantile>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct Quantile {
    #[prost(double, tag = "1")]
    quantile: f64,
    #[prost(double, tag = "2")]
    value: f64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Histogram {
    #[prost(uint64, tag = "1")]
    count: u64,
    #[prost(double, tag = "4")]
    count_float: f64,
    #[prost(double, tag = "2")]
    sum: f64,
    #[prost(message, repeated, tag = "3")]
    bucket: Vec<Bucket>,
    #[prost(sint32, optional, tag = "5")]
    schema: Option<i32>,
    #[prost(double, tag = "6")]
    zero_threshold: f64,
    #[prost(uint64, tag = "7")]
    zero_count: u64,
    #[prost(double, tag = "8")]
    zero_count_float: f64,
    #[prost(message, repeated, tag = "9")]
    negative_span: Vec<Span>,
    #[prost(sint64, repeated, tag = "10")]
    negative_delta: Vec<i64>,
    #[prost(double, repeated, tag = "11")]
    negative_count: Vec<f64>,
    #[prost(message, repeated, tag = "12")]
    positive_span: Vec<Span>,
    #[prost(sint64, repeated, tag = "13")]
    positive_delta: Vec<i64>,
    #[prost(double, repeated, tag = "14")]
    positive_count: Vec<f64>,
    #[prost(message, repeated, tag = "16")]
    exemplars: Vec<Exemplar>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Bucket {
    #[prost(uint64, tag = "1")]
    cumulative_count: u64,
    #[prost(double, tag = "4")]
    cumulative_count_float: f64,
    #[prost(double, tag = "2")]
    upper_bound: f64,
    #[prost(message, optional, tag = "3")]
    exemplar: Option<Exemplar>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Exemplar {
    #[prost(message, repeated, tag = "1")]
    label: Vec<Pair>,
    #[prost(double, tag = "2")]
    value: f64,
    #[prost(message, optional, tag = "3")]
    timestamp: Option<Time>,
}

/// `google.protobuf.Timestamp`.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
struct Time {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// Reads a page of at most `samples_max` samples.
pub(super) fn read(page: &[u8], samples_max: usize) -> Result<Page, Undecodable> {
    let broken = |fault: Fault| Undecodable { offset: fault.offset, message: fault.to_string() };
    let mut rest = Message::new(page);
    let mut read = Page::default();
    while let Some(family) = rest.delimited().map_err(broken)? {
        let offset = family.offset();
        let told = |message| Undecodable { offset, message };
        let family = Family::of(family, samples_max).map_err(broken)?;
        let before = read.samples.len();
        for metric in &family.metrics {
            family.metric(metric, &mut read.samples).map_err(told)?;
            if read.samples.len() > samples_max {
                return Err(told(format!("more than {samples_max} samples")));
            }
        }
        if read.metadata.len() < METRICS_MAX && read.samples.len() > before {
            read.metadata.push(family.metadata);
        }
    }
    Ok(read)
}

/// A family whose metrics are not decoded yet.
struct Family<'a> {
    metadata: MetricMetadata,
    metrics: Vec<Message<'a>>,
}

impl<'a> Family<'a> {
    fn of(mut message: Message<'a>, metrics_max: usize) -> Result<Self, Fault> {
        let text = |bytes: Message<'_>, max| Text::from(shorten(&bytes.text(), max));
        let mut family = Self {
            metadata: MetricMetadata {
                name: Text::default(),
                // A counter's number is 0, which is not sent.
                kind: MetricType::Counter,
                help: Text::default(),
                unit: Text::default(),
            },
            metrics: Vec::new(),
        };
        while let Some(field) = message.next()? {
            match field.number {
                1 => family.metadata.name = text(field.message()?, NAME_BYTES_MAX),
                2 => family.metadata.help = text(field.message()?, HELP_BYTES_MAX),
                3 => family.metadata.kind = kind(field.varint()?),
                4 if family.metrics.len() >= metrics_max => {
                    return Err(
                        field.fault("a family has more metrics than a page may have samples")
                    );
                }
                4 => family.metrics.push(field.message()?),
                5 => family.metadata.unit = text(field.message()?, NAME_BYTES_MAX),
                _ => {}
            }
        }
        Ok(family)
    }

    fn metric(&self, message: &Message<'_>, out: &mut Vec<Scraped>) -> Result<(), String> {
        let name = &*self.metadata.name;
        if name.is_empty() {
            return Err("a metric family has no name".to_owned());
        }
        if message.bytes().len() > METRIC_BYTES_MAX {
            return Err(format!("a metric of {name} has more than {METRIC_BYTES_MAX} bytes"));
        }
        let metric = Metric::decode(message.bytes()).map_err(|e| format!("{name}: {e}"))?;
        let mut series = Series { name, metric: &metric, out };
        let plain = metric.gauge.or(metric.untyped).map(|plain| plain.value);
        if let Some(value) = plain {
            series.add("", None, value, None)?;
        }
        if let Some(counter) = &metric.counter {
            series.add("", None, counter.value, counter.exemplar.as_ref())?;
        }
        if let Some(summary) = &metric.summary {
            for one in &summary.quantile {
                series.add("", Some(("quantile", number(one.quantile))), one.value, None)?;
            }
            series.add("_sum", None, summary.sum, None)?;
            series.add("_count", None, f64_from_u64(summary.count), None)?;
        }
        match &metric.histogram {
            Some(histogram) if is_native(histogram) => series.native(histogram),
            Some(histogram) => series.classic(histogram),
            None => Ok(()),
        }
    }
}

/// One metric's samples on their way out.
struct Series<'a> {
    name: &'a str,
    metric: &'a Metric,
    out: &'a mut Vec<Scraped>,
}

impl Series<'_> {
    fn labels(&self, suffix: &str, more: Option<(&str, String)>) -> Result<Labels, String> {
        let own = self.metric.label.iter();
        let own = own.map(|pair| (Text::from(pair.name.as_str()), Text::from(pair.value.as_str())));
        let more = more.map(|(name, value)| (Text::from(name), Text::from(value)));
        let name = (Text::from(METRIC_NAME), Text::from(format!("{}{suffix}", self.name)));
        checked(own.chain(more).chain([name]).collect())
    }

    fn add(
        &mut self,
        suffix: &str,
        more: Option<(&str, String)>,
        value: f64,
        exemplar: Option<&Exemplar>,
    ) -> Result<(), String> {
        let labels = self.labels(suffix, more)?;
        let exemplar = exemplar.map(told).transpose()?;
        let t = self.metric.timestamp_ms;
        self.out.push(Scraped { labels, value, native: None, t, exemplar });
        Ok(())
    }

    fn classic(&mut self, histogram: &Histogram) -> Result<(), String> {
        let count = count(histogram.count, histogram.count_float);
        let mut is_whole = false;
        for bucket in &histogram.bucket {
            let value = self::count(bucket.cumulative_count, bucket.cumulative_count_float);
            is_whole |= bucket.upper_bound == f64::INFINITY;
            let le = Some(("le", number(bucket.upper_bound)));
            self.add("_bucket", le, value, bucket.exemplar.as_ref())?;
        }
        if !is_whole {
            self.add("_bucket", Some(("le", "+Inf".to_owned())), count, None)?;
        }
        self.add("_sum", None, histogram.sum, None)?;
        self.add("_count", None, count, None)
    }

    fn native(&mut self, histogram: &Histogram) -> Result<(), String> {
        let labels = self.labels("", None)?;
        let value = histogram::read(&wire(histogram)).map_err(|e| format!("{}: {e}", self.name))?;
        let native = match value {
            MetricValue::Native(native) => Some(native),
            _ => None,
        };
        let exemplar = histogram.exemplars.last().map(told).transpose()?;
        let t = self.metric.timestamp_ms;
        self.out.push(Scraped { labels, value: histogram.sum, native, t, exemplar });
        Ok(())
    }
}

/// A native histogram without observations has a zero threshold or a span of no length.
fn is_native(histogram: &Histogram) -> bool {
    histogram.schema.is_some()
        && (histogram.zero_threshold > 0.0
            || histogram.zero_count > 0
            || !histogram.positive_span.is_empty()
            || !histogram.negative_span.is_empty())
}

/// As remote write has it, whose checks hold here too.
fn wire(histogram: &Histogram) -> Wire {
    let is_float = histogram.count_float > 0.0;
    let (count, zero_count) = if is_float {
        (Count::Float(histogram.count_float), ZeroCount::Float(histogram.zero_count_float))
    } else {
        (Count::Int(histogram.count), ZeroCount::Int(histogram.zero_count))
    };
    // A span of no length only says that the histogram is native.
    let spans = |spans: &[Span]| spans.iter().copied().filter(|span| span.length > 0).collect();
    Wire {
        count: Some(count),
        sum: histogram.sum,
        schema: histogram.schema.unwrap_or_default(),
        zero_threshold: histogram.zero_threshold,
        zero_count: Some(zero_count),
        negative_spans: spans(&histogram.negative_span),
        negative_deltas: histogram.negative_delta.clone(),
        negative_counts: histogram.negative_count.clone(),
        positive_spans: spans(&histogram.positive_span),
        positive_deltas: histogram.positive_delta.clone(),
        positive_counts: histogram.positive_count.clone(),
        ..Wire::default()
    }
}

fn told(exemplar: &Exemplar) -> Result<ScrapedExemplar, String> {
    let pairs = exemplar.label.iter();
    let pairs = pairs.map(|pair| (Text::from(pair.name.as_str()), Text::from(pair.value.as_str())));
    let t = exemplar.timestamp.map(|time| {
        time.seconds.saturating_mul(1000).saturating_add(i64::from(time.nanos / 1_000_000))
    });
    Ok(ScrapedExemplar { labels: checked(pairs.collect())?, value: exemplar.value, t })
}

fn count(whole: u64, float: f64) -> f64 {
    if float > 0.0 { float } else { f64_from_u64(whole) }
}

/// As the text format writes a bound: `0.5`, `1`, `+Inf`.
fn number(value: f64) -> String {
    if value == f64::INFINITY { "+Inf".to_owned() } else { value.to_string() }
}

fn kind(number: u64) -> MetricType {
    match number {
        0 => MetricType::Counter,
        1 => MetricType::Gauge,
        2 => MetricType::Summary,
        4 => MetricType::Histogram,
        5 => MetricType::GaugeHistogram,
        _ => MetricType::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn framed(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        prost::encode_length_delimiter(bytes.len(), &mut out).expect("memory");
        [out, bytes.to_vec()].concat()
    }

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        [vec![number << 3 | 2], framed(bytes)].concat()
    }

    fn family(name: &str, kind: u8, metrics: &[Metric]) -> Vec<u8> {
        let metrics = metrics.iter().flat_map(|metric| field(4, &metric.encode_to_vec()));
        let head = [field(1, name.as_bytes()), field(2, b"Things."), vec![3 << 3, kind]].concat();
        // What comes after is of a later version.
        framed(&head.into_iter().chain(metrics).chain(field(15, b"more")).collect::<Vec<u8>>())
    }

    fn labelled(value: &str) -> Metric {
        let label = vec![Pair { name: "x".to_owned(), value: value.to_owned() }];
        Metric { label, ..Metric::default() }
    }

    fn check(page: &[u8], expect: &Expect) {
        let shown = match read(page, 20) {
            Err(error) => format!("{error}"),
            Ok(page) => {
                let line = |one: &Scraped| {
                    let native = one
                        .native
                        .as_ref()
                        .map(|native| format!(" schema {} {:?}", native.schema, native.positive));
                    let exemplar =
                        one.exemplar.as_ref().map(|e| format!(" # {} {:?}", e.labels, e.t));
                    let (native, exemplar) =
                        (native.unwrap_or_default(), exemplar.unwrap_or_default());
                    format!("{} {} {:?}{native}{exemplar}\n", one.labels, one.value, one.t)
                };
                let kinds = page.metadata.iter().map(|m| format!("# {} {:?}\n", m.name, m.kind));
                page.samples.iter().map(line).chain(kinds).collect()
            }
        };
        expect.assert_eq(&shown);
    }

    #[test]
    fn each_kind_of_metric_becomes_what_the_text_formats_give() {
        let exemplar = Exemplar {
            label: vec![Pair { name: "trace_id".to_owned(), value: "t".to_owned() }],
            value: 1.0,
            timestamp: Some(Time { seconds: 7, nanos: 250_000_000 }),
        };
        let counter = Metric {
            counter: Some(Counter { value: 3.0, exemplar: Some(exemplar) }),
            timestamp_ms: Some(9),
            ..labelled("a")
        };
        let gauge = Metric { gauge: Some(Plain { value: -1.5 }), ..labelled("b") };
        let quantile = vec![Quantile { quantile: 0.5, value: 2.0 }];
        let summary =
            Metric { summary: Some(Summary { count: 4, sum: 9.0, quantile }), ..labelled("c") };
        let bucket = |upper_bound, cumulative_count| Bucket {
            cumulative_count,
            upper_bound,
            ..Bucket::default()
        };
        let histogram = Histogram {
            count: 5,
            sum: 7.5,
            bucket: vec![bucket(0.5, 2), bucket(1.0, 4)],
            ..Histogram::default()
        };
        let histogram = Metric { histogram: Some(histogram), ..labelled("d") };
        let page = [
            family("orders_total", 0, &[counter]),
            family("temperature", 1, &[gauge]),
            family("size", 2, &[summary]),
            family("wait", 4, &[histogram]),
        ];
        check(
            &page.concat(),
            &expect![[r#"
            orders_total{x="a"} 3 Some(9) # {trace_id="t"} Some(7250)
            temperature{x="b"} -1.5 None
            size{quantile="0.5", x="c"} 2 None
            size_sum{x="c"} 9 None
            size_count{x="c"} 4 None
            wait_bucket{le="0.5", x="d"} 2 None
            wait_bucket{le="1", x="d"} 4 None
            wait_bucket{le="+Inf", x="d"} 5 None
            wait_sum{x="d"} 7.5 None
            wait_count{x="d"} 5 None
            # orders_total Counter
            # temperature Gauge
            # size Summary
            # wait Histogram
        "#]],
        );
    }

    #[test]
    fn a_native_histogram_is_taken_in_place_of_the_classic_one() {
        let histogram = Histogram {
            count: 6,
            sum: 7.5,
            bucket: vec![Bucket { upper_bound: 1.0, cumulative_count: 4, ..Bucket::default() }],
            schema: Some(3),
            zero_threshold: 1e-128,
            zero_count: 1,
            positive_span: vec![Span { offset: -2, length: 1 }, Span { offset: 3, length: 2 }],
            positive_delta: vec![2, 0, -1],
            ..Histogram::default()
        };
        let wrong = Histogram { count: 9, ..histogram.clone() };
        let page = |histogram| {
            family("wait", 4, &[Metric { histogram: Some(histogram), ..labelled("d") }])
        };
        check(
            &page(histogram),
            &expect![[r#"
            wait{x="d"} 7.5 None schema 3 [(-2, 2.0), (2, 2.0), (3, 1.0)]
            # wait Histogram
        "#]],
        );
        check(&page(wrong), &expect!["wait: the count 9 is not the 6 of the buckets"]);
    }

    #[test]
    fn what_is_cut_off_or_too_much_is_no_page() {
        let gauge = Metric { gauge: Some(Plain { value: 1.0 }), ..Metric::default() };
        let page = family("a", 1, &vec![gauge.clone(); 21]);
        check(
            &page,
            &expect!["a family has more metrics than a page may have samples at byte 276"],
        );
        check(
            page.get(..30).expect("longer"),
            &expect!["a field is longer than what holds it at byte 2"],
        );
        check(&family("", 1, &[gauge]), &expect!["a metric family has no name"]);
        check(&[1, 0xff], &expect!["a number is cut short at byte 1"]);
    }
}
