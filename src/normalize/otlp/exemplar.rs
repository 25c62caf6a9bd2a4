//! Exemplars of metric points: an observation with the trace that it came from.
//!
//! In: an exemplar of a point and the labels of the series that it belongs to. Out: a remark. One without a
//! value or with an impossible time is left out: an exemplar is a convenience, and its point is good without.

use opentelemetry_proto::tonic::metrics::v1 as proto;

use crate::number::f64_from_i64;
use crate::signal::{Attributes, Exemplar, Labels, Remark, SpanId, Text, Timestamp, TraceId};

use super::gather::Gather;
use super::id::Id;
use super::json::read_attributes;
use super::json_reader::{Fault, Reader};
use super::metric_name::label_name;
use super::metrics::attributes;

/// Exemplars of one point; SDKs keep one a bucket, at the most 20.
const EXEMPLARS_MAX: usize = 200;

/// As it was read.
#[derive(Clone, Debug, Default)]
pub(super) struct RawExemplar {
    trace_id: Option<TraceId>,
    span_id: Option<SpanId>,
    attributes: Attributes,
    /// Nanoseconds since the epoch.
    time: u64,
    pub(super) value: Option<f64>,
}

pub(super) fn from_protobuf(
    told: Vec<proto::Exemplar>,
    gather: &mut Gather<'_>,
) -> Vec<RawExemplar> {
    let one = |told: proto::Exemplar| RawExemplar {
        trace_id: Id::<TraceId>::from_bytes(&told.trace_id).valid(),
        span_id: Id::<SpanId>::from_bytes(&told.span_id).valid(),
        attributes: attributes(told.filtered_attributes, gather),
        time: told.time_unix_nano,
        value: told.value.map(|value| match value {
            proto::exemplar::Value::AsDouble(value) => value,
            proto::exemplar::Value::AsInt(value) => f64_from_i64(value),
        }),
    };
    told.into_iter().take(EXEMPLARS_MAX).map(one).collect()
}

/// Reads a list of them.
pub(super) fn from_json(
    reader: &mut Reader<'_>,
    gather: &mut Gather<'_>,
    exemplars: &mut Vec<RawExemplar>,
) -> Result<(), Fault> {
    reader.list(|reader| {
        let mut one = RawExemplar::default();
        reader.object(|reader, key| {
            match key {
                "traceId" | "trace_id" => {
                    one.trace_id = Id::<TraceId>::from_hex(&reader.text()?).valid();
                }
                "spanId" | "span_id" => {
                    one.span_id = Id::<SpanId>::from_hex(&reader.text()?).valid();
                }
                "timeUnixNano" | "time_unix_nano" => one.time = reader.u64()?.unwrap_or_default(),
                "asDouble" | "as_double" => one.value = reader.f64()?.or(one.value),
                "asInt" | "as_int" => one.value = reader.i64()?.map(f64_from_i64).or(one.value),
                "filteredAttributes" | "filtered_attributes" => {
                    read_attributes(reader, gather, &mut one.attributes)?;
                }
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        if exemplars.len() < EXEMPLARS_MAX {
            exemplars.push(one);
        }
        Ok(())
    })
}

/// Remarks on a series. Its attributes go where the labels would be longer than `OpenMetrics` allows.
pub(super) fn accept(series: &Labels, told: RawExemplar, gather: &mut Gather<'_>) {
    let Some(value) = told.value else { return };
    let time = Timestamp::from_nanos(told.time);
    if told.time == 0 || time > gather.latest() {
        return;
    }
    let mut attributes = told.attributes;
    gather.redact(&mut attributes);
    let span = told.span_id.map(|id| (Text::from("span_id"), Text::from(id.to_string())));
    let filtered =
        attributes.0.iter().map(|(key, value)| (label_name(key).into(), value.to_text().into()));
    let all = Labels::new(filtered.chain(span.clone()));
    let trace_id: Text = told.trace_id.map(|id| id.to_string()).unwrap_or_default().into();
    let has_room = all.n_chars() + trace_id.len() + "trace_id".len() <= Exemplar::CHARS_MAX;
    let others = if has_room { all } else { Labels::new(span) };
    let exemplar = Exemplar { trace_id, others, value, t: time.as_millis() };
    gather.remark(Remark::Exemplar { series: series.clone(), exemplar });
}
