//! OpenSLO indicators: ratios and thresholds of queries, as an error ratio with `{{.window}}` where its
//! window belongs.

use serde::Deserialize;
use serde_saphyr::{Location, Spanned};

use super::{Check, RawObjective};
use crate::evaluate::slo::sloth::in_window;
use crate::promql::Query;

/// Of metric source types, the ones that speak PromQL.
const TYPES: [&str; 2] = ["prometheus", "throughline"];

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(in crate::evaluate::slo) struct IndicatorSpec {
    #[expect(dead_code, reason = "people read it; rules do not carry it")]
    description: Option<String>,
    ratio_metric: Option<RatioMetric>,
    threshold_metric: Option<Spanned<Metric>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RatioMetric {
    #[serde(default)]
    counter: bool,
    good: Option<Spanned<Metric>>,
    bad: Option<Spanned<Metric>>,
    total: Option<Spanned<Metric>>,
    raw_type: Option<Spanned<String>>,
    raw: Option<Spanned<Metric>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Metric {
    metric_source: MetricSource,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "OpenSLO names it so")]
struct MetricSource {
    #[expect(dead_code, reason = "there is one source here: our own series")]
    metric_source_ref: Option<String>,
    #[serde(rename = "type")]
    kind: Option<Spanned<String>>,
    spec: QuerySpec,
}

#[derive(Clone, Debug, Deserialize)]
struct QuerySpec {
    query: Option<Spanned<String>>,
}

impl Check<'_> {
    /// The error ratio with `{{.window}}` where its window belongs.
    pub(super) fn ratio(
        &mut self,
        indicator: &Spanned<IndicatorSpec>,
        objective: &Spanned<RawObjective>,
    ) -> Option<String> {
        match (&indicator.value.ratio_metric, &indicator.value.threshold_metric) {
            (Some(ratio), None) => self.ratio_metric(ratio, &indicator.referenced),
            (None, Some(metric)) => self.threshold(metric, objective),
            _ => {
                self.error(
                    &indicator.referenced,
                    "an indicator has one of `ratioMetric` and `thresholdMetric`",
                );
                None
            }
        }
    }

    fn ratio_metric(&mut self, metric: &RatioMetric, place: &Location) -> Option<String> {
        let over = if metric.counter { Over::Counter } else { Over::Gauge };
        if let Some(raw) = &metric.raw {
            let query = self.query(raw, Over::Average)?;
            return match metric.raw_type.as_ref().map_or("success", |kind| &kind.value) {
                "success" => Some(format!("1 - ({query})")),
                "failure" => Some(format!("({query})")),
                other => {
                    self.error(
                        place,
                        format!("`rawType: {other}` is neither `success` nor `failure`"),
                    );
                    None
                }
            };
        }
        let Some(total) = &metric.total else {
            self.error(place, "a `ratioMetric` has `total` and one of `good` and `bad`, or `raw`");
            return None;
        };
        let total = self.query(total, over);
        match (&metric.good, &metric.bad) {
            (Some(good), None) => {
                let (good, total) = (self.query(good, over)?, total?);
                Some(format!(
                    "(\n  1 - (\n    (\n      {good}\n    )\n    /\n    (\n      {total}\n    )\n  )\n)"
                ))
            }
            (None, Some(bad)) => Some(format!("({})\n/\n({})\n", self.query(bad, over)?, total?)),
            _ => {
                self.error(place, "a `ratioMetric` has one of `good` and `bad`");
                None
            }
        }
    }

    /// The share of time in which the metric does not meet the objective's comparison.
    fn threshold(
        &mut self,
        metric: &Spanned<Metric>,
        objective: &Spanned<RawObjective>,
    ) -> Option<String> {
        let RawObjective { op, value, .. } = &objective.value;
        let (Some(op), Some(value)) = (op, value) else {
            self.error(
                &objective.referenced,
                "the objective of a `thresholdMetric` has `op` and `value`",
            );
            return None;
        };
        let sign = match op.value.as_str() {
            "lte" => "<=",
            "lt" => "<",
            "gte" => ">=",
            "gt" => ">",
            other => {
                self.error(&op.referenced, format!("`op: {other}` is none of lte, lt, gte, gt"));
                return None;
            }
        };
        let query = self.query(metric, Over::Now)?;
        Some(format!(
            "1 - avg_over_time((({query}) {sign} bool {})[{{{{.window}}}}:])",
            value.value
        ))
    }

    fn query(&mut self, metric: &Spanned<Metric>, over: Over) -> Option<String> {
        let MetricSource { kind, spec, .. } = &metric.value.metric_source;
        if let Some(kind) =
            kind.as_ref().filter(|kind| !TYPES.contains(&kind.value.to_ascii_lowercase().as_str()))
        {
            self.error(
                &kind.referenced,
                format!("the metric source type `{}` is not supported; use Prometheus", kind.value),
            );
            return None;
        }
        let Some(query) = &spec.query else {
            self.error(&metric.referenced, "the metric source has no `query`");
            return None;
        };
        let text = query.value.trim();
        let windowed = over.windowed(text);
        match Query::parse(&in_window(&windowed, "5m")) {
            Ok(_) => Some(windowed),
            Err(error) => {
                self.error(&query.referenced, error.message);
                None
            }
        }
    }
}

/// What a query without a window is, and so how it gets one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    /// Grows for ever: what it grew in the window.
    Counter,
    /// Events since the last sample: their sum.
    Gauge,
    /// A ratio: its mean.
    Average,
    /// Compared at every step.
    Now,
}

impl Over {
    fn windowed(self, query: &str) -> String {
        if in_window(query, "5m") != query {
            return query.to_owned();
        }
        let function = match self {
            Self::Counter => "increase",
            Self::Gauge => "sum_over_time",
            Self::Average => "avg_over_time",
            Self::Now => return query.to_owned(),
        };
        // A plain selector is read as it is; anything else through a subquery.
        if Query::parse(&format!("{function}({query}[5m])")).is_ok() {
            format!("sum({function}({query}[{{{{.window}}}}]))")
        } else {
            format!("{function}(({query})[{{{{.window}}}}:])")
        }
    }
}
