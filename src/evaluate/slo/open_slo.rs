//! OpenSLO v1: SLOs whose indicator is a ratio or a threshold of Prometheus queries, over a rolling
//! window, by occurrences. Everything else is refused by name.
//!
//! The rules are those that Sloth makes. A query may hold `{{.window}}`; one without is taken as a
//! counter or a gauge and gets its window around it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::{Location, Spanned};

use super::document::{Document, Format};
use super::print::Pairs;
use super::sloth::{AlertText, Recipe, in_window, is_objective};
use super::{Compiled, Target, burn};
use crate::promql::Query;
use crate::signal::{Diagnostic, parse_duration};

/// Of metric source types, the ones that speak PromQL.
const TYPES: [&str; 2] = ["prometheus", "throughline"];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Object<S> {
    #[serde(rename = "apiVersion")]
    #[expect(dead_code, reason = "the format was chosen by it; unknown keys are refused")]
    api_version: String,
    #[expect(dead_code, reason = "the reader was chosen by it; unknown keys are refused")]
    kind: String,
    metadata: Metadata,
    spec: Spanned<S>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "known keys that rules do not carry")]
struct Metadata {
    name: Option<Spanned<String>>,
    #[serde(rename = "displayName")]
    display_name: Option<String>,
    labels: Option<Value>,
    annotations: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct SloSpec {
    #[expect(dead_code, reason = "people read it; rules do not carry it")]
    description: Option<String>,
    service: Option<Spanned<String>>,
    indicator: Option<Spanned<Indicator>>,
    indicator_ref: Option<Spanned<String>>,
    #[serde(default)]
    time_window: Vec<Spanned<TimeWindow>>,
    budgeting_method: Option<Spanned<String>>,
    #[serde(default)]
    objectives: Vec<Spanned<RawObjective>>,
    alert_policies: Option<Spanned<Option<Vec<Value>>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Indicator {
    #[expect(dead_code, reason = "an inline indicator's name is not used")]
    metadata: Option<Metadata>,
    spec: Spanned<IndicatorSpec>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct IndicatorSpec {
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

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct TimeWindow {
    duration: Spanned<String>,
    #[serde(default)]
    is_rolling: bool,
    calendar: Option<Spanned<Value>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RawObjective {
    #[expect(dead_code, reason = "people read it; rules do not carry it")]
    display_name: Option<String>,
    op: Option<Spanned<String>>,
    value: Option<Spanned<f64>>,
    target: Option<Spanned<f64>>,
    target_percent: Option<Spanned<f64>>,
    time_slice_target: Option<Spanned<f64>>,
    time_slice_window: Option<Spanned<Value>>,
    indicator: Option<Spanned<Value>>,
    indicator_ref: Option<Spanned<Value>>,
    composite_weight: Option<Spanned<Value>>,
}

/// SLI objects of a file, for SLOs that refer to them.
pub(super) type Indicators = BTreeMap<String, Spanned<IndicatorSpec>>;

pub(super) fn indicators(documents: &[Document<'_>], errors: &mut Vec<Diagnostic>) -> Indicators {
    let mut all = Indicators::new();
    for document in documents.iter().filter(|d| d.format() == Format::OpenSlo && d.kind() == "SLI")
    {
        match document.read::<Object<IndicatorSpec>>() {
            Ok(object) => {
                let name = object.metadata.name.map(|name| name.value).unwrap_or_default();
                all.insert(name, object.spec);
            }
            Err(error) => errors.push(error),
        }
    }
    all
}

pub(super) fn compile(document: &Document<'_>, shared: &Indicators, out: &mut Compiled) {
    match document.kind() {
        "SLO" => {}
        // Nothing in them changes a rule.
        "SLI" | "Service" | "DataSource" => return,
        other => {
            let message = format!(
                "the kind `{other}` is not supported: alerts are generated, and notifiers are configured in `notify`"
            );
            return out.errors.push(document.error_at_start(message));
        }
    }
    let object: Object<SloSpec> = match document.read() {
        Ok(object) => object,
        Err(error) => return out.errors.push(error),
    };
    let mut check = Check { document, errors: Vec::new() };
    let recipes = check.slo(&object, shared);
    let is_well = check.errors.is_empty();
    out.errors.extend(check.errors);
    if !is_well {
        return;
    }
    for recipe in recipes {
        let slo = recipe.slo();
        document.warn_unreachable(&object.spec.referenced, &slo, out);
        out.groups.extend(recipe.groups(Target::Daemon));
        out.slos.push(slo);
    }
}

/// Checks one SLO, gathering errors.
struct Check<'a> {
    document: &'a Document<'a>,
    errors: Vec<Diagnostic>,
}

impl Check<'_> {
    fn error(&mut self, place: &Location, message: impl Into<String>) {
        self.errors.push(self.document.error(place, message));
    }

    fn slo(&mut self, object: &Object<SloSpec>, shared: &Indicators) -> Vec<Recipe> {
        let (spec, place) = (&object.spec.value, &object.spec.referenced);
        let name = object.metadata.name.as_ref().map_or("", |name| &name.value);
        let service = spec.service.as_ref().map_or("", |service| &service.value);
        if name.is_empty() || service.is_empty() {
            self.error(place, "an SLO has `metadata.name` and `spec.service`");
        }
        if let Some(policies) =
            spec.alert_policies.as_ref().filter(|p| p.value.as_ref().is_some_and(|p| !p.is_empty()))
        {
            self.error(&policies.referenced, "`alertPolicies` are not supported: an alert condition has one window only; the four-window alerts are generated");
        }
        match spec.budgeting_method.as_ref() {
            Some(method) if method.value != "Occurrences" => {
                let message = format!(
                    "`budgetingMethod: {}` is not supported; use Occurrences",
                    method.value
                );
                self.error(&method.referenced, message);
            }
            _ => {}
        }
        let window = self.window(spec, place);
        if spec.objectives.is_empty() {
            self.error(place, "an SLO has at least one objective");
        }
        let indicator = match (&spec.indicator, &spec.indicator_ref) {
            (Some(indicator), None) => Some(&indicator.value.spec),
            (None, Some(name)) => {
                let found = shared.get(&name.value);
                if found.is_none() {
                    self.error(
                        &name.referenced,
                        format!("no SLI named `{}` is in this file", name.value),
                    );
                }
                found
            }
            _ => {
                self.error(place, "an SLO has one of `indicator` and `indicatorRef`");
                None
            }
        };
        let Some(indicator) = indicator else { return Vec::new() };
        let mut recipes = Vec::new();
        for (idx, objective) in spec.objectives.iter().enumerate() {
            let percent = self.objective(objective);
            let ratio = self.ratio(indicator, objective);
            let (Some(objective), Some(ratio)) = (percent, ratio) else { continue };
            let name = format!("{name}-{idx}");
            recipes.push(recipe(service, name, (objective, window), ratio));
        }
        recipes
    }

    fn window(&mut self, spec: &SloSpec, place: &Location) -> Duration {
        let default = Duration::from_hours(720);
        let [window] = spec.time_window.as_slice() else {
            self.error(place, "an SLO has one `timeWindow`");
            return default;
        };
        let TimeWindow { duration, is_rolling, calendar } = &window.value;
        if let Some(calendar) = calendar {
            self.error(
                &calendar.referenced,
                "`calendar` windows are not supported; use `isRolling: true`",
            );
        } else if !is_rolling {
            self.error(
                &window.referenced,
                "a window that is not rolling is not supported; set `isRolling: true`",
            );
        }
        let days = parse_duration(&duration.value).filter(|d| d.as_secs() >= 86_400);
        if days.is_none() {
            let message = format!("`{}` is no window of days or weeks", duration.value);
            self.error(&duration.referenced, message);
        }
        days.unwrap_or(default)
    }

    /// Percent.
    fn objective(&mut self, raw: &Spanned<RawObjective>) -> Option<f64> {
        let RawObjective { target, target_percent, .. } = &raw.value;
        let slices = [
            ("timeSliceTarget", raw.value.time_slice_target.as_ref().map(|v| v.referenced)),
            ("timeSliceWindow", raw.value.time_slice_window.as_ref().map(|v| v.referenced)),
            ("indicator", raw.value.indicator.as_ref().map(|v| v.referenced)),
            ("indicatorRef", raw.value.indicator_ref.as_ref().map(|v| v.referenced)),
            ("compositeWeight", raw.value.composite_weight.as_ref().map(|v| v.referenced)),
        ];
        for (name, place) in slices {
            if let Some(place) = place {
                self.error(&place, format!("`{name}` in an objective is not supported"));
            }
        }
        let (percent, place) = match (target, target_percent) {
            (Some(target), None) => (target.value * 100.0, target.referenced),
            (None, Some(percent)) => (percent.value, percent.referenced),
            _ => {
                self.error(&raw.referenced, "an objective has one of `target` and `targetPercent`");
                return None;
            }
        };
        if !is_objective(percent) {
            self.error(
                &place,
                "the target is above 0 and below 1 (`target`) or 100 (`targetPercent`)",
            );
            return None;
        }
        Some(percent)
    }

    /// The error ratio with `{{.window}}` where its window belongs.
    fn ratio(
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

fn recipe(
    service: &str,
    name: String,
    (objective, window): (f64, Duration),
    ratio: String,
) -> Recipe {
    let alert = |severity: &'static str, how: &str| AlertText {
        severity,
        name: format!("SloBurns{how}"),
        labels: Pairs::from([("severity".to_owned(), severity.to_owned())]),
        annotations: Pairs::from([(
            "runbook_url".to_owned(),
            format!("{{{{ $externalURL }}}}/runbooks/SloBurns{how}"),
        )]),
    };
    Recipe {
        id: format!("{service}-{name}"),
        service: service.to_owned(),
        name,
        objective,
        window,
        labels: Pairs::new(),
        ratio,
        alerts: vec![alert(burn::PAGE, "Fast"), alert(burn::TICKET, "Slowly")],
        spec: "openslo/v1",
    }
}
