//! The reading side of the daemon, without its sockets: payloads by their dialect, the engine, series.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::time::Duration;

use throughline::correlate::{Change, Config, Engine, Request};
use throughline::measure::Measure;
use throughline::normalize::otlp::{Body, Encoding, OtlpSignal};
use throughline::normalize::{
    self, Normalized, Origin, firehose, json_log, lambda_telemetry, otlp,
};
use throughline::series::{MatchOp, Matcher, RawSeries, SampleValue, Selection, Series};
use throughline::signal::{Batch, Fnv128, METRIC_NAME, Receiver, Text, Timestamp};
use throughline::simulate::{Emission, scenario};

/// Longer than anything is waited for.
const GIVEN_UP_AFTER_SECS: u64 = 420;

fn header<'a>(emission: &'a Emission, name: &str) -> Option<&'a str> {
    emission.headers.iter().find(|header| header.name == name).map(|header| &*header.value)
}

/// Reads a payload as the ingest port does; nothing in it may be rejected.
pub(crate) fn read(emission: &Emission) -> Batch {
    let mut body = emission.body.clone();
    if header(emission, "content-encoding").is_some() {
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(&*body).read_to_end(&mut plain).expect("gzip");
        body = plain;
    }
    let config = normalize::Config::default();
    let origin = Origin {
        arrived: emission.at,
        function: header(emission, "lambda-function-name").map(str::to_owned),
        ..Origin::default()
    };
    let (receiver, normalized) = match emission.path {
        "/v1/traces" => {
            let (signal, encoding) = (OtlpSignal::Traces, Encoding::Protobuf);
            let body = Body { bytes: &body, signal, encoding, receiver: Receiver::OtlpHttp };
            (Receiver::OtlpHttp, otlp::normalize(&body, &origin, &config).expect("readable"))
        }
        "/ingest/json" => {
            (Receiver::Json, json_log::normalize(&body, &origin, &config).expect("readable"))
        }
        "/ingest/aws/telemetry" => (
            Receiver::Telemetry,
            lambda_telemetry::normalize(&body, &origin, &config).expect("readable"),
        ),
        "/ingest/aws/firehose" => {
            let delivery =
                firehose::normalize(&body, &origin, &config, 64 << 20).expect("readable");
            (Receiver::Firehose, delivery.normalized)
        }
        other => panic!("no receiver at {other}"),
    };
    let Normalized { mut batch, rejections } = normalized;
    assert!(rejections.is_empty(), "{} {rejections:?}", emission.path);
    assert_eq!(batch.receiver, receiver);
    let declared = header(emission, "idempotency-key")
        .or_else(|| header(emission, "x-amz-firehose-request-id"));
    batch.declared_id = declared.map(|id| Fnv128::default().field(id.as_bytes()).finish());
    batch.body_hash = Fnv128::default().field(&body).finish();
    batch
}

/// What the daemon knows at the end.
pub(crate) struct Known {
    /// The last that was said of each request, by id.
    pub(crate) requests: BTreeMap<Text, Request>,
    pub(crate) series: Series,
}

/// An engine with its series, and the log time that it has come to.
pub(crate) struct Daemon {
    pub(crate) engine: Engine,
    config: Config,
    measure: Measure,
    pub(crate) now: Timestamp,
    pub(crate) known: Known,
}

pub(crate) fn config() -> Config {
    let (queues, functions) = (scenario::queues(), scenario::functions());
    Config { queues, functions, ..Config::default() }
}

impl Daemon {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self::of(config(), now)
    }

    pub(crate) fn of(config: Config, now: Timestamp) -> Self {
        let engine = Engine::new(config.clone());
        let series = Series::new(throughline::series::Config::default());
        let known = Known { requests: BTreeMap::new(), series };
        Self { engine, config, measure: Measure::new(), now, known }
    }

    pub(crate) fn tick(&mut self) {
        self.now = self.now.saturating_add(Duration::from_secs(1));
        let changes = self.engine.tick(self.now);
        self.measure.apply(&changes, &mut self.known.series, self.now);
        for change in changes {
            match change {
                Change::Request(request) | Change::RequestFinal(request) => {
                    self.known.requests.insert(Text::clone(&request.id), *request);
                }
                Change::RequestGone(id) => {
                    self.known.requests.remove(&id);
                }
                _ => {}
            }
        }
    }

    pub(crate) fn apply(&mut self, batch: &Batch) {
        self.engine.apply(batch, batch.arrived.max(self.now));
    }

    /// Saves what it holds, and goes on with what was saved. Series are as they were.
    pub(crate) fn restart(&mut self) {
        let saved = self.engine.save().concat();
        self.engine = Engine::restore(self.config.clone(), &saved).expect("its own bytes");
        let saved = self.measure.save().expect("memory");
        self.measure = Measure::restore(&saved).expect("its own bytes");
    }

    /// Waits until everything that is missing has been given up.
    pub(crate) fn give_up(&mut self) {
        (0..GIVEN_UP_AFTER_SECS).for_each(|_| self.tick());
    }

    /// What is known then.
    pub(crate) fn finish(mut self) -> Known {
        self.give_up();
        self.known
    }
}

/// Applies what arrives when it arrives, as the daemon does.
pub(crate) fn reconstruct(emissions: &[Emission]) -> Known {
    let start = emissions.first().map_or(Timestamp::EPOCH, |first| first.at);
    let mut daemon = Daemon::new(start);
    for emission in emissions {
        while daemon.now.saturating_add(Duration::from_secs(1)) <= emission.at {
            daemon.tick();
        }
        daemon.apply(&read(emission));
    }
    daemon.finish()
}

/// Every sample of the series with such names, as a query reads them: one a slot of event time.
pub(crate) fn read_back(series: &Series, names: &str) -> Vec<RawSeries> {
    let matchers = [Matcher::new(METRIC_NAME, MatchOp::Regex, names).expect("a pattern")];
    let selection = Selection {
        matchers: &matchers,
        start: 0,
        end: i64::MAX,
        samples_max: usize::MAX,
        windows: None,
        looks: None,
    };
    series.select(&selection).expect("nothing is on disk")
}

/// Times in milliseconds, and values.
pub(crate) fn floats(series: &RawSeries) -> impl Iterator<Item = (i64, f64)> {
    series.samples.iter().filter_map(|sample| match sample.value {
        SampleValue::Float(value) => Some((sample.t, value)),
        SampleValue::Histogram(_) => None,
    })
}
