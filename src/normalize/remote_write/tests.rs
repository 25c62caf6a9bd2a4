//! What senders send, and what it becomes.

use expect_test::{Expect, expect};
use prost::Message as _;

use super::message::{
    Count, ExemplarV1, ExemplarV2, Histogram, Label, MetadataV1, MetadataV2, Sample, SeriesV1,
    SeriesV2, Span, ZeroCount,
};
use super::{Version, WriteRequest, normalize};
use crate::normalize::{Config, Origin, show};
use crate::signal::{MetricValue, STALE_NAN_BITS, SignalKind, Timestamp};

const NOW: i64 = 1_790_000_000_000;

fn read(body: &[u8], version: Version) -> Result<WriteRequest, String> {
    let origin = Origin { arrived: Timestamp::from_millis(NOW), ..Origin::default() };
    normalize(body, version, &origin, &Config::default()).map_err(|e| format!("{}: {e}", e.offset))
}

fn check(body: &[u8], version: Version, expect: &Expect) {
    let shown = match read(body, version) {
        Err(error) => error,
        Ok(WriteRequest { normalized, written }) => {
            let mut lines = vec![show::text(&normalized)];
            lines.push(format!("{written:?}"));
            lines.join("\n")
        }
    };
    expect.assert_eq(&shown);
}

/// Messages of one field, one after the other.
fn fields<'a>(parts: impl IntoIterator<Item = (u8, &'a [u8])>) -> Vec<u8> {
    let mut body = Vec::new();
    for (number, bytes) in parts {
        body.push(number << 3 | 2);
        prost::encoding::encode_varint(crate::number::u64_from_usize(bytes.len()), &mut body);
        body.extend_from_slice(bytes);
    }
    body
}

fn label(name: &str, value: &str) -> Label {
    Label { name: name.into(), value: value.into() }
}

fn sample(value: f64, timestamp: i64) -> Sample {
    Sample { value, timestamp, start_timestamp: 0 }
}

fn v1(labels: &[(&str, &str)], samples: Vec<Sample>) -> SeriesV1 {
    let labels = labels.iter().map(|(name, value)| label(name, value)).collect();
    SeriesV1 { labels, samples, ..SeriesV1::default() }
}

fn request_v1(series: &[SeriesV1]) -> Vec<u8> {
    let encoded: Vec<Vec<u8>> = series.iter().map(SeriesV1::encode_to_vec).collect();
    fields(encoded.iter().map(|bytes| (1, bytes.as_slice())))
}

fn request_v2(symbols: &[&str], series: &[SeriesV2]) -> Vec<u8> {
    let encoded: Vec<Vec<u8>> = series.iter().map(SeriesV2::encode_to_vec).collect();
    // Nothing says that symbols come first.
    let series = encoded.iter().map(|bytes| (5, bytes.as_slice()));
    fields(series.chain(symbols.iter().map(|text| (4, text.as_bytes()))))
}

fn native() -> Histogram {
    Histogram {
        count: Some(Count::Int(9)),
        sum: 12.5,
        schema: 3,
        zero_threshold: 0.001,
        zero_count: Some(ZeroCount::Int(2)),
        positive_spans: vec![Span { offset: -2, length: 2 }, Span { offset: 3, length: 1 }],
        positive_deltas: vec![1, 2, -1],
        negative_spans: vec![Span { offset: 0, length: 1 }],
        negative_deltas: vec![1],
        reset_hint: 2,
        timestamp: NOW,
        ..Histogram::default()
    }
}

#[test]
fn version_1_samples_exemplars_and_metadata_are_read() {
    let mut series = v1(
        &[("__name__", "up"), ("job", "api"), ("instance", "a:1")],
        vec![sample(1.5, NOW - 15_000), sample(f64::from_bits(STALE_NAN_BITS), NOW)],
    );
    series.exemplars.push(ExemplarV1 {
        labels: vec![label("trace_id", "abc"), label("span", "1")],
        value: 0.5,
        timestamp: NOW,
    });
    let metadata = MetadataV1 {
        kind: 2,
        metric_family_name: b"up".to_vec(),
        help: b"Is it up?".to_vec(),
        unit: Vec::new(),
    }
    .encode_to_vec();
    let mut body = request_v1(&[series]);
    body.extend(fields([(3, metadata.as_slice()), (3, metadata.as_slice())]));
    check(
        &body,
        Version::V1,
        &expect![[r#"
            2026-09-21T14:13:05.000000000Z metric up{instance="a:1", job="api"} gauge=1.5
            2026-09-21T14:13:20.000000000Z metric up{instance="a:1", job="api"} stale
            exemplar of up{instance="a:1", job="api"}: abc {span="1"} 0.5@1790000000000
            about up: Gauge "Is it up?" ""
            2 signals, 0 rejected, 0 filtered
            Written { samples: 2, histograms: 0, exemplars: 1 }"#]],
    );
}

#[test]
fn version_2_reads_texts_by_reference_wherever_they_stand() {
    let symbols =
        ["", "__name__", "a_seconds_count", "b", "c", "Help.", "seconds", "trace_id", "x"];
    let series = SeriesV2 {
        labels_refs: vec![1, 2, 3, 4],
        samples: vec![Sample { value: 3.0, timestamp: NOW, start_timestamp: NOW - 60_000 }],
        exemplars: vec![ExemplarV2 { labels_refs: vec![7, 8], value: 2.0, timestamp: NOW }],
        metadata: Some(MetadataV2 { kind: 3, help_ref: 5, unit_ref: 6 }),
        ..SeriesV2::default()
    };
    let body = request_v2(&symbols, &[series]);
    check(
        &body,
        Version::V2,
        &expect![[r#"
            2026-09-21T14:13:20.000000000Z metric a_seconds_count{b="c"} sum=3 temporality=Cumulative
            about a_seconds: Histogram "Help." "seconds"
            exemplar of a_seconds_count{b="c"}: x {} 2@1790000000000
            1 signals, 0 rejected, 0 filtered
            Written { samples: 1, histograms: 0, exemplars: 1 }"#]],
    );
    let read = read(&body, Version::V2).unwrap();
    let SignalKind::Metric(point) = &read.normalized.batch.signals[0].kind else { panic!() };
    assert_eq!(point.start, Some(Timestamp::from_millis(NOW - 60_000)));
}

#[test]
fn what_is_wrong_with_one_series_harms_no_other() {
    let symbols = ["", "__name__", "m", "l", "\u{fffd}"];
    let one = |refs: &[u32], timestamp| SeriesV2 {
        labels_refs: refs.to_vec(),
        samples: vec![sample(1.0, timestamp)],
        ..SeriesV2::default()
    };
    let series = [
        one(&[3, 2], NOW),
        one(&[1, 2, 3], NOW),
        one(&[1, 2, 3, 99], NOW),
        one(&[1, 2, 3, 2, 3, 2], NOW),
        one(&[1, 2, 0, 2], NOW),
        one(&[1, 2], -5),
        one(&[1, 2], NOW + 3_600_000),
        SeriesV2 { labels_refs: vec![1, 2], ..SeriesV2::default() },
        one(&[3, 4, 1, 2], NOW),
    ];
    check(
        &request_v2(&symbols, &series),
        Version::V2,
        &expect![[r#"
        2026-09-21T14:13:20.000000000Z metric m{l="�"} gauge=1
        rejected 0: the series has no metric name
        rejected 1: a label reference has no value
        rejected 2: symbol 99 is not among the 5 symbols
        rejected 3: the label "l" comes twice
        rejected 4: a label has no name
        rejected 5: m: the time -5 is before 1970
        rejected 6: m: the time 2026-09-21T15:13:20.000000000Z is more than 10 minutes ahead
        rejected 7: the series has neither samples nor histograms
        1 signals, 8 rejected, 0 filtered
        Written { samples: 1, histograms: 0, exemplars: 0 }"#]],
    );
    let mut bad_utf8 = v1(&[("__name__", "m")], vec![sample(1.0, NOW)]);
    bad_utf8.labels.push(Label { name: b"l".to_vec(), value: vec![0xff] });
    let good = v1(&[("__name__", "m")], vec![sample(1.0, NOW)]);
    check(
        &request_v1(&[bad_utf8, good]),
        Version::V1,
        &expect![[r"
        2026-09-21T14:13:20.000000000Z metric m gauge=1
        rejected 0: a label is no UTF-8
        1 signals, 1 rejected, 0 filtered
        Written { samples: 1, histograms: 0, exemplars: 0 }"]],
    );
}

#[test]
fn native_histograms_are_read_with_absolute_counts() {
    let series = SeriesV1 { histograms: vec![native()], ..v1(&[("__name__", "h")], Vec::new()) };
    let read = read(&request_v1(&[series]), Version::V1).unwrap();
    assert_eq!(read.written.histograms, 1);
    let SignalKind::Metric(point) = &read.normalized.batch.signals[0].kind else { panic!() };
    let MetricValue::Native(native) = &point.value else { panic!() };
    expect![[r"
        NativeHistogram {
            reset: No,
            schema: 3,
            zero_threshold: 0.001,
            zero_count: 2.0,
            count: 9.0,
            sum: 12.5,
            positive: [
                (
                    -2,
                    1.0,
                ),
                (
                    -1,
                    3.0,
                ),
                (
                    3,
                    2.0,
                ),
            ],
            negative: [
                (
                    0,
                    1.0,
                ),
            ],
            custom_bounds: [],
        }
    "]]
    .assert_debug_eq(native);
}

#[test]
fn histograms_that_contradict_themselves_are_rejected() {
    let custom = Histogram {
        schema: -53,
        custom_values: vec![1.0, 2.0],
        zero_count: None,
        negative_spans: Vec::new(),
        negative_deltas: Vec::new(),
        positive_spans: vec![Span { offset: 0, length: 3 }],
        positive_deltas: vec![3, 0, 0],
        ..native()
    };
    let broken: [Histogram; 9] = [
        Histogram { count: Some(Count::Int(8)), ..native() },
        Histogram { schema: 77, ..native() },
        Histogram { positive_deltas: vec![1, 2], ..native() },
        Histogram { positive_deltas: vec![1, -2, 9], ..native() },
        Histogram { positive_deltas: vec![1, i64::MAX, 9], ..native() },
        Histogram {
            positive_spans: vec![Span { offset: 0, length: 2 }, Span { offset: -1, length: 1 }],
            ..native()
        },
        Histogram { positive_spans: vec![Span { offset: i32::MAX, length: 3 }], ..native() },
        Histogram { custom_values: vec![2.0, 1.0], ..custom.clone() },
        Histogram { positive_spans: vec![Span { offset: 1, length: 3 }], ..custom.clone() },
    ];
    let stale = Histogram { sum: f64::from_bits(STALE_NAN_BITS), ..native() };
    let histograms = broken.into_iter().chain([custom, stale]).collect();
    let series = SeriesV1 { histograms, ..v1(&[("__name__", "h")], Vec::new()) };
    check(
        &request_v1(&[series]),
        Version::V1,
        &expect![[r"
        2026-09-21T14:13:20.000000000Z metric h native=9 sum=12.5 schema=-53
        2026-09-21T14:13:20.000000000Z metric h stale
        rejected 0: h: the count 8 is not the 9 of the buckets
        rejected 1: h: schema 77 is not known
        rejected 2: h: the spans hold 3 buckets, not 2
        rejected 3: h: bucket -1 has the negative count -1
        rejected 4: h: a bucket's count is out of range
        rejected 5: h: spans overlap
        rejected 6: h: a bucket's index is out of range
        rejected 7: h: custom bounds must rise and be finite
        rejected 8: h: a bucket lies beyond the custom bounds
        2 signals, 9 rejected, 0 filtered
        Written { samples: 0, histograms: 2, exemplars: 0 }"]],
    );
}

#[test]
fn a_body_of_the_other_version_or_of_none_says_so() {
    let one = request_v1(&[v1(&[("__name__", "m")], vec![sample(1.0, NOW)])]);
    let two = request_v2(&["", "m"], &[]);
    for (body, version, expect) in [
        (
            &one,
            Version::V2,
            expect!["0: this is a remote write request of version 1.0: its content type says 2.0"],
        ),
        (
            &two,
            Version::V1,
            expect![
                "0: this is a remote write request of version 2.0: its content type needs `;proto=io.prometheus.write.v2.Request`"
            ],
        ),
        (
            &b"nonsense".to_vec(),
            Version::V1,
            expect!["0: no write request: an unknown wire type at byte 0"],
        ),
        (
            &fields([(1, &[0x0a, 0x7f][..])]),
            Version::V1,
            expect![
                "2: no write request: failed to decode Protobuf message: SeriesV1.labels: buffer underflow"
            ],
        ),
        (
            &Vec::new(),
            Version::V1,
            expect![[r"
            0 signals, 0 rejected, 0 filtered
            Written { samples: 0, histograms: 0, exemplars: 0 }"]],
        ),
    ] {
        check(body, version, &expect);
    }
}

#[test]
fn two_byte_samples_cannot_fill_the_memory() {
    let empty = [0x12, 0x00].repeat(300_000);
    let mut body = vec![0x0a];
    prost::encoding::encode_varint(600_000, &mut body);
    body.extend(empty);
    check(
        &body,
        Version::V1,
        &expect!["0: more than 250000 samples in one request; send smaller ones"],
    );
}

#[test]
fn redacted_label_names_never_reach_the_batch() {
    let mut config = Config::default();
    config.redact.drop = vec!["user".to_owned()];
    let body = request_v1(&[v1(&[("__name__", "m"), ("user", "ann")], vec![sample(1.0, NOW)])]);
    let origin = Origin { arrived: Timestamp::from_millis(NOW), ..Origin::default() };
    let read = normalize(&body, Version::V1, &origin, &config).unwrap();
    let SignalKind::Metric(point) = &read.normalized.batch.signals[0].kind else { panic!() };
    assert_eq!(point.labels.to_string(), "m");
}
