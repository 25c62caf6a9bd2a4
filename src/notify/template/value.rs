//! A notice as Go's templates see it: Alertmanager's `template.Data`.
//!
//! What Go has types for is a map with a mark: times, durations, HTML that is safe.

use std::collections::BTreeMap;
use std::sync::Arc;

use gotmpl::Value;

use crate::notify::notice::{Alert, Notice};
use crate::signal::{Text, Timestamp};
use crate::template::functions::text_value;

pub(super) const TIME: &str = "__time";
pub(super) const ZONE: &str = "__zone";
pub(super) const DURATION: &str = "__duration";
pub(super) const HTML: &str = "__html";

/// Stands for year 1, which nanoseconds do not reach.
const ZERO_TIME: i64 = i64::MIN;
/// 0001-01-01T00:00:00Z.
const ZERO_TIME_SECONDS: i64 = -62_135_596_800;

pub(super) fn map<const N: usize>(fields: [(&str, Value); N]) -> Value {
    let fields = fields.into_iter().map(|(name, value)| (Arc::from(name), value));
    Value::Map(Arc::new(fields.collect()))
}

/// The whole notice: the dot.
pub(super) fn of(notice: &Notice) -> Value {
    let alerts = notice.alerts.iter().map(|alert| one(alert, &notice.external_url));
    map([
        ("Receiver", text(&notice.receiver_quoted())),
        ("Status", text(status(notice.is_firing()))),
        ("Alerts", Value::List(alerts.collect())),
        ("NotificationReason", text(notice.reason.as_str())),
        ("GroupLabels", pairs(notice.group_labels.iter())),
        ("CommonLabels", pairs(notice.common_labels().into_iter())),
        ("CommonAnnotations", pairs(notice.common_annotations().into_iter())),
        ("RouteLabels", pairs(std::iter::empty())),
        ("ExternalURL", text(&notice.external_url)),
    ])
}

pub(super) fn status(is_firing: bool) -> &'static str {
    if is_firing { "firing" } else { "resolved" }
}

fn one(alert: &Alert, external_url: &str) -> Value {
    let ends_at = alert.resolved_at.map_or_else(zero_time, time);
    map([
        ("Status", text(status(alert.is_firing()))),
        ("Labels", pairs(alert.labels.iter())),
        ("Annotations", pairs(alert.annotations())),
        ("StartsAt", time(alert.started_at)),
        ("EndsAt", ends_at),
        ("GeneratorURL", text(&alert.generator_url(external_url))),
        ("Fingerprint", text(&alert.fingerprint())),
    ])
}

fn text(text: &str) -> Value {
    Value::String(text.into())
}

fn pairs<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Value {
    let pairs: BTreeMap<Arc<str>, Value> =
        pairs.map(|(name, value)| (Text::from(name), text(value))).collect();
    Value::Map(Arc::new(pairs))
}

pub(super) fn time(at: Timestamp) -> Value {
    in_zone(i64::try_from(at.as_nanos()).unwrap_or(i64::MAX), "UTC")
}

/// Go's zero time is the end of an alert that fires.
fn zero_time() -> Value {
    in_zone(ZERO_TIME, "UTC")
}

/// The moment of a time value.
pub(super) fn moment(nanos: i64) -> Result<jiff::Timestamp, jiff::Error> {
    if nanos == ZERO_TIME {
        return jiff::Timestamp::from_second(ZERO_TIME_SECONDS);
    }
    jiff::Timestamp::from_nanosecond(i128::from(nanos))
}

pub(super) fn in_zone(nanos: i64, zone: &str) -> Value {
    map([(TIME, Value::Int(nanos)), (ZONE, text(zone))])
}

pub(super) fn duration(nanos: i64) -> Value {
    map([(DURATION, Value::Int(nanos))])
}

pub(super) fn safe_html(text: String) -> Value {
    map([(HTML, text_value(text))])
}
