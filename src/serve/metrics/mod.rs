//! `/metrics`: the derived series and the daemon's own, as the scraper asks: text, or protobuf with
//! native histograms and created timestamps.
//!
//! What leaves here is a high-water mark: after a correction a counter waits until it is passed again,
//! so that no scraper takes a correction for a restart.

mod message;
mod protobuf;
pub(crate) mod text;

use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};

use super::Views;
use crate::series::catalog::Metric;
use crate::series::export::{ExportValue, HighWater, export_shared};
use crate::signal::MetricType;

/// The highest values that ever left.
#[derive(Clone, Debug, Default)]
pub struct Exported(pub Arc<Mutex<HighWater>>);

/// Prometheus's text.
pub(super) const TEXT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) async fn metrics(State(views): State<Views>, headers: HeaderMap) -> Response {
    let mut derived = export_shared(&views.series);
    views.exported.0.lock().unwrap_or_else(PoisonError::into_inner).lift(&mut derived);
    derived.sort_by(|a, b| (a.labels.name(), &a.labels).cmp(&(b.labels.name(), &b.labels)));
    let own = views.metrics.gather();
    let (content_type, body) = if wants_protobuf(&headers) {
        (protobuf::CONTENT_TYPE, protobuf::encode(&derived, &own))
    } else {
        (TEXT_TYPE, text::encode(&derived, &own))
    };
    ([(header::CONTENT_TYPE, content_type), (header::VARY, "Accept")], body).into_response()
}

/// Protobuf is for those that name it, and like it no less than text.
fn wants_protobuf(headers: &HeaderMap) -> bool {
    let accepted: Vec<(&str, f64)> = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(weighed)
        .collect();
    let liking = |wanted: &dyn Fn(&str) -> bool| {
        let weights = accepted.iter().filter(|(range, _)| wanted(range)).map(|(_, q)| *q);
        weights.fold(0.0, f64::max)
    };
    let protobuf = liking(&protobuf::is_range);
    protobuf > 0.0 && protobuf >= liking(&|range: &str| range.trim().starts_with("text/plain"))
}

/// A media range with its weight (RFC 9110 section 12.4.2).
fn weighed(range: &str) -> (&str, f64) {
    let q = range.split(';').find_map(|parameter| parameter.trim().strip_prefix("q="));
    (range, q.and_then(|q| q.trim().parse().ok()).unwrap_or(1.0))
}

/// What the catalog says of a metric; else what its value looks like.
fn kind(metric: Option<&Metric>, value: &ExportValue) -> MetricType {
    match (metric.map(|metric| metric.kind), value) {
        (Some(MetricType::Counter), _) | (None, ExportValue::Counter(_)) => MetricType::Counter,
        (Some(MetricType::Histogram), _) | (None, ExportValue::Histogram(_)) => {
            MetricType::Histogram
        }
        _ => MetricType::Gauge,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protobuf_is_served_to_those_that_name_it() {
        let named = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
        for (accept, expected) in [
            ("*/*".to_owned(), false),
            (String::new(), false),
            (named.to_owned(), true),
            // As Prometheus asks with and without native histograms.
            (format!("{named};q=0.6,application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"), true),
            (format!("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.4,{named};q=0.3"), false),
            (format!("{named};q=0"), false),
            ("application/vnd.google.protobuf;proto=other.Thing;encoding=delimited".to_owned(), false),
            ("application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text".to_owned(), false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            assert_eq!(wants_protobuf(&headers), expected, "{accept}");
        }
    }
}
