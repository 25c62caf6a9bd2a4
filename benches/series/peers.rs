//! The same samples to other stores, by remote write, and the same queries.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use prost::Message as _;
use throughline::signal::Labels;

use super::{Asked, Counted, LABEL, QUERIES, Scraped, Times, asked};

/// Samples of one request: half an hour of them, since Prometheus refuses what is an hour older than
/// its newest.
const PART_SECONDS: i64 = 1800;
/// Series of one request.
const SERIES_AT_ONCE: usize = 500;
/// Of the native histograms; ours has come to the same, having begun with 5, for their many buckets.
const SCHEMA: i32 = 4;

#[derive(Clone, PartialEq, prost::Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    series: Vec<Written>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Written {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Value>,
    #[prost(message, repeated, tag = "4")]
    histograms: Vec<Histogram>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Value {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    t: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Histogram {
    #[prost(uint64, tag = "1")]
    count: u64,
    #[prost(double, tag = "3")]
    sum: f64,
    #[prost(sint32, tag = "4")]
    schema: i32,
    #[prost(uint64, tag = "6")]
    zero_count: u64,
    #[prost(message, repeated, tag = "11")]
    spans: Vec<BucketSpan>,
    #[prost(sint64, repeated, tag = "12")]
    deltas: Vec<i64>,
    #[prost(int64, tag = "15")]
    t: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct BucketSpan {
    #[prost(sint32, tag = "1")]
    offset: i32,
    #[prost(uint32, tag = "2")]
    length: u32,
}

impl WriteRequest {
    fn packed(&self) -> Vec<u8> {
        snap::raw::Encoder::new().compress_vec(&self.encode_to_vec()).expect("fits")
    }
}

fn written(labels: &Labels) -> Written {
    let label =
        |(name, value): (&str, &str)| Label { name: name.to_owned(), value: value.to_owned() };
    Written { labels: labels.iter().map(label).collect(), ..Written::default() }
}

/// A peer that is written to and asked.
struct Peer<'a> {
    name: &'a str,
    url: &'a str,
    client: reqwest::Client,
}

impl Peer<'_> {
    async fn write(&self, request: Vec<u8>) {
        let request = self
            .client
            .post(format!("{}/api/v1/write", self.url))
            .header("Content-Type", "application/x-protobuf")
            .header("Content-Encoding", "snappy")
            .header("X-Prometheus-Remote-Write-Version", "0.1.0")
            .body(request);
        let answer = request.send().await.expect("the peer answers");
        assert!(answer.status().is_success(), "{}: {:?}", self.name, answer.text().await);
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> String {
        let answer = request.send().await.expect("the peer answers");
        let (status, text) = (answer.status(), answer.text().await.unwrap_or_default());
        assert!(status.is_success(), "{}: {text}", self.name);
        text
    }

    /// How long answers take; none if the peer has nothing to say, even after some seconds: what was
    /// written may be found a little later.
    fn times(
        &self,
        runtime: &tokio::runtime::Runtime,
        request: &dyn Fn() -> reqwest::RequestBuilder,
        part: &str,
    ) -> Option<Times> {
        let begun = Instant::now();
        while !runtime.block_on(self.answer(request())).contains(part) {
            if begun.elapsed() > Duration::from_secs(20) {
                return None;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Some(Times::of(|| {
            runtime.block_on(self.answer(request()));
        }))
    }

    /// Asks all of these and prints a table.
    fn asked<'q>(
        &self,
        runtime: &tokio::runtime::Runtime,
        who: &str,
        queries: impl Iterator<Item = &'q Asked>,
        end: i64,
    ) {
        println!("\n| query | {who} p50 ms | p99 ms |\n|---|---|---|");
        for asked in queries {
            let query = [
                ("query", asked.text.to_owned()),
                ("start", (end - 1 - asked.back).to_string()),
                ("end", (end - 1).to_string()),
                ("step", asked.step.max(1).to_string()),
                // VictoriaMetrics would answer from its cache.
                ("nocache", "1".to_owned()),
            ];
            let form: Vec<String> =
                query.iter().map(|(k, v)| format!("{k}={}", escaped(v))).collect();
            let request = || {
                let post = self.client.post(format!("{}/api/v1/query_range", self.url));
                post.header("Content-Type", "application/x-www-form-urlencoded")
                    .body(form.join("&"))
            };
            match self.times(runtime, &request, "\"values\"") {
                Some(times) => println!("| {} | {times} |", asked.what),
                None => println!("| {} | no answer | |", asked.what),
            }
        }
    }
}

/// Writes the same samples to a peer, then asks it the same queries, alone and while it is written to.
pub(super) fn compare(
    name: &str,
    url: &str,
    (n, step): (usize, i64),
    seconds: std::ops::Range<i64>,
) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = runtime_of_one();
    let peer = Peer { name, url, client: reqwest::Client::new() };
    let mut clients = Clients::new();
    let mut counted = Counted::times(&seconds).peekable();
    let mut send_counted = |until: i64| {
        while let Some(first) = counted.next_if(|second| *second < until) {
            let part = first + PART_SECONDS;
            let mut times = vec![first];
            while let Some(second) = counted.next_if(|s| *s < part.min(until)) {
                times.push(second);
            }
            runtime.block_on(peer.write(clients.request(&times)));
        }
    };
    let mut scraped = Scraped::new(n, step);
    let (mut sending, end) = (Duration::ZERO, seconds.end);
    let times: Vec<i64> = seconds.step_by(step as usize).collect();
    for part in times.chunks(usize::max(1, (PART_SECONDS / step) as usize)) {
        send_counted(part[part.len() - 1] + step);
        for request in requests(&mut scraped, part) {
            let begun = Instant::now();
            runtime.block_on(peer.write(request));
            sending += begun.elapsed();
        }
    }
    let n_samples = (n * times.len()) as f64;
    println!(
        "\n{name}: samples a second by remote write: {:.2} M",
        n_samples / sending.as_secs_f64() / 1e6
    );
    let floor = asked("(the way there and back: `1`)", "1", 0, 0);
    peer.asked(&runtime, name, QUERIES.iter().chain([&floor]), end);
    let range = format!("start={}&end={end}&nocache=1", end - 86_400);
    let request = || peer.client.get(format!("{url}/api/v1/label/{LABEL}/values?{range}"));
    let times = peer.times(&runtime, &request, "10.0.0.1:9100").expect("a hundred instances");
    println!("| label values, 24 h | {times} |");
    let (is_over, n_written, begun) = (AtomicBool::new(false), AtomicU64::new(0), Instant::now());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let runtime = runtime_of_one();
            for second in (end..).step_by(step as usize) {
                for request in requests(&mut scraped, &[second]) {
                    if is_over.load(Ordering::Relaxed) {
                        return;
                    }
                    runtime.block_on(peer.write(request));
                    n_written.fetch_add(n.min(SERIES_AT_ONCE) as u64, Ordering::Relaxed);
                }
            }
        });
        peer.asked(&runtime, &format!("{name} while samples are written,"), QUERIES.iter(), end);
        is_over.store(true, Ordering::Relaxed);
    });
    let rate = n_written.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64() / 1e6;
    println!("\n{name}: samples a second by remote write while queries run: {rate:.2} M");
}

fn runtime_of_one() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// What a client library would show of what is counted.
struct Clients {
    counted: Counted,
    events: f64,
    good: f64,
    sum: f64,
    zero: u64,
    buckets: BTreeMap<i32, u64>,
}

impl Clients {
    fn new() -> Self {
        let buckets = BTreeMap::new();
        Self { counted: Counted::new(), events: 0.0, good: 0.0, sum: 0.0, zero: 0, buckets }
    }

    fn request(&mut self, seconds: &[i64]) -> Vec<u8> {
        let mut series = [&self.counted.events, &self.counted.good, &self.counted.lag].map(written);
        for second in seconds {
            let (increment, t) = (self.counted.step(), second * 1000);
            self.events += increment.events;
            self.good += increment.good;
            for lag in increment.lags {
                self.sum += lag;
                if lag > 0.0 {
                    let bucket = (lag.log2() * f64::from(1 << SCHEMA)).ceil() as i32;
                    *self.buckets.entry(bucket).or_default() += 1;
                } else {
                    self.zero += 1;
                }
            }
            series[0].samples.push(Value { value: self.events, t });
            series[1].samples.push(Value { value: self.good, t });
            series[2].histograms.push(self.histogram(t));
        }
        WriteRequest { series: series.to_vec() }.packed()
    }

    fn histogram(&self, t: i64) -> Histogram {
        let mut spans: Vec<BucketSpan> = Vec::new();
        let (mut next, mut before, mut deltas) = (0, 0, Vec::new());
        for (&bucket, &count) in &self.buckets {
            match spans.last_mut() {
                Some(span) if bucket == next => span.length += 1,
                _ => spans.push(BucketSpan { offset: bucket - next, length: 1 }),
            }
            next = bucket + 1;
            let count = count as i64;
            deltas.push(count - before);
            before = count;
        }
        let count = self.zero + self.buckets.values().sum::<u64>();
        let (schema, zero_count) = (SCHEMA, self.zero);
        Histogram { count, sum: self.sum, schema, zero_count, spans, deltas, t }
    }
}

fn requests(scraped: &mut Scraped, seconds: &[i64]) -> Vec<Vec<u8>> {
    let mut series: Vec<Written> = scraped.labels.iter().map(written).collect();
    for second in seconds {
        for ((_, value), written) in scraped.step().zip(&mut series) {
            written.samples.push(Value { value, t: second * 1000 });
        }
    }
    let parts = series.chunks(SERIES_AT_ONCE);
    parts.map(|series| WriteRequest { series: series.to_vec() }.packed()).collect()
}

/// Percent-encoded for a form.
fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
