//! Azure platform metrics: one envelope in, one point out.
//!
//! `{metricName, count, total, minimum, maximum, average, timeGrain, resourceId, time, dimension?}` in any
//! case. A queue's depth and its dead letters become the contract's series; any other metric keeps one
//! of its own, `azure_<namespace>_<metric>`, with its dimensions as labels. Nothing is summed over
//! dimensions. Source: learn.microsoft.com/azure/azure-monitor/reference/supported-metrics

use super::azure_fields::{self, field, text};
use super::event_time;
use super::gather::{Gather, Speaker, Told};
use super::json_fields::{Object, number};
use super::metric_stream::snake;
use crate::signal::{
    Fnv128, Labels, METRIC_NAME, MetricPoint, MetricValue, Resource, SignalKind, Text, Timestamp,
};

/// More than any metric of Azure has.
const DIMENSIONS_MAX: usize = 30;

/// Reads an envelope into a delivery.
pub(super) fn read_into(record: &Object, speaker: &Resource, gather: &mut Gather) {
    let Some(time) = azure_fields::time(record) else {
        return gather.reject("a metric needs a time");
    };
    if !event_time::is_plausible(time, gather.arrived()) {
        return gather
            .reject("the time lies more than 7 days before or 10 minutes after the arrival");
    }
    let resource = azure_fields::resource(text(record, "resourceId").unwrap_or_default());
    let Some(point) = point(record, &resource, time) else {
        return gather.reject("the metric has neither a total nor a maximum nor an average");
    };
    let identity = Fnv128::default()
        .field(b"azmetric")
        .field(resource.subscription.as_deref().unwrap_or_default().as_bytes())
        .field(&point.labels.fingerprint().to_be_bytes())
        .field(&time.as_nanos().to_be_bytes())
        .finish();
    let account = resource.subscription.map(Text::from);
    let told = Told {
        kind: SignalKind::Metric(Box::new(point)),
        speaker: Speaker { account, ..Speaker::default() },
        event: None,
        points: Vec::new(),
    };
    gather.accept(Some(identity), speaker, told);
}

fn point(
    record: &Object,
    resource: &azure_fields::AzureResource,
    time: Timestamp,
) -> Option<MetricPoint> {
    let statistic = |name: &str| field(record, name).and_then(number);
    let metric = text(record, "metricName")?;
    let level = || statistic("maximum").or_else(|| statistic("average"));
    if let Some(labels) = known_series(record, metric) {
        return Some(MetricPoint {
            labels,
            time,
            start: None,
            value: MetricValue::Gauge(level()?),
        });
    }
    // Of counts the sum, of sizes, times and levels the worst.
    let unit = text(record, "unit").unwrap_or("Count");
    let (stat, value) = match statistic("total").filter(|_| unit.eq_ignore_ascii_case("count")) {
        Some(total) => ("total", total),
        None => ("maximum", level()?),
    };
    let labels = own_labels(record, metric, resource).with("stat", stat);
    Some(MetricPoint { labels, time, start: None, value: MetricValue::Gauge(value) })
}

/// Service Bus tells of a queue by the dimension `EntityName`; its dead letters lie in a queue below it.
fn known_series(record: &Object, metric: &str) -> Option<Labels> {
    let dimensions = field(record, "dimension")?.as_object()?;
    let entity = text(dimensions, "EntityName")?;
    match metric {
        "ActiveMessages" => {
            Some(Labels::of(&[(METRIC_NAME, "throughline_queue_depth"), ("queue", entity)]))
        }
        "DeadletteredMessages" => {
            let queue = format!("{entity}/$deadletterqueue");
            let named = [("queue", queue.as_str()), ("source_queue", entity)];
            Some(Labels::of(&[(METRIC_NAME, "throughline_dlq_depth"), named[0], named[1]]))
        }
        _ => None,
    }
}

fn own_labels(record: &Object, metric: &str, resource: &azure_fields::AzureResource) -> Labels {
    let namespace = resource.namespace.as_deref().unwrap_or("unknown");
    let name = format!("azure_{}_{}", snake(namespace), snake(metric));
    let own = [
        (METRIC_NAME, name.as_str()),
        ("resource", resource.name.as_deref().unwrap_or_default()),
        ("subscription", resource.subscription.as_deref().unwrap_or_default()),
    ];
    let dimensions = field(record, "dimension").and_then(|value| value.as_object());
    let dimensions = dimensions.into_iter().flatten().take(DIMENSIONS_MAX);
    let dimensions = dimensions.filter_map(|(name, value)| {
        Some((Text::from(format!("dimension_{}", snake(name))), Text::from(value.as_str()?)))
    });
    let own = own.map(|(name, value)| (Text::from(name), Text::from(value)));
    Labels::new(dimensions.chain(own))
}
