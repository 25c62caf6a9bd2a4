//! OpenSLO v1: SLOs whose indicator is a ratio or a threshold of Prometheus queries, over a rolling or
//! a calendar window, by occurrences or by time slices. Everything else is refused by name.
//!
//! The rules are those that Sloth makes. A query may hold `{{.window}}`; one without is taken as a
//! counter or a gauge and gets its window around it. An alert policy's conditions, where there are
//! any, stand in place of the four pairs.

mod indicator;
mod policy;
#[cfg(test)]
#[expect(clippy::needless_raw_string_hashes, reason = "expect_test writes its texts so")]
pub(super) mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::{Location, Spanned};

use self::indicator::IndicatorSpec;
use self::policy::{Condition, PolicySpec, RawPolicy};
use super::burn::{self, Windows};
use super::calendar::{self, Calendar};
use super::document::{Document, Format};
use super::print::Pairs;
use super::sloth::{AlertText, Recipe, in_window, is_objective};
use super::{Compiled, Target};
use crate::signal::{Diagnostic, format_duration, parse_duration};

/// The window of an SLO that names none.
const WINDOW: Duration = Duration::from_hours(720);

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
    alert_policies: Option<Vec<Spanned<RawPolicy>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Indicator {
    #[expect(dead_code, reason = "an inline indicator's name is not used")]
    metadata: Option<Metadata>,
    spec: Spanned<IndicatorSpec>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct TimeWindow {
    duration: Spanned<String>,
    #[serde(default)]
    is_rolling: bool,
    calendar: Option<Spanned<RawCalendar>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RawCalendar {
    start_time: String,
    time_zone: String,
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
    time_slice_window: Option<Spanned<String>>,
    indicator: Option<Spanned<Value>>,
    indicator_ref: Option<Spanned<Value>>,
    composite_weight: Option<Spanned<Value>>,
}

/// Objects of a file that SLOs refer to by name.
#[derive(Debug, Default)]
pub(super) struct Shared {
    indicators: BTreeMap<String, Spanned<IndicatorSpec>>,
    policies: BTreeMap<String, Spanned<PolicySpec>>,
    conditions: BTreeMap<String, Spanned<Condition>>,
}

impl Shared {
    pub(super) fn read(documents: &[Document<'_>], errors: &mut Vec<Diagnostic>) -> Self {
        let mut all = Self::default();
        for document in documents.iter().filter(|d| d.format() == Format::OpenSlo) {
            let read = match document.kind() {
                "SLI" => named(document, &mut all.indicators),
                "AlertPolicy" => named(document, &mut all.policies),
                "AlertCondition" => named(document, &mut all.conditions),
                _ => Ok(()),
            };
            errors.extend(read.err());
        }
        all
    }
}

fn named<S: serde::de::DeserializeOwned>(
    document: &Document<'_>,
    all: &mut BTreeMap<String, Spanned<S>>,
) -> Result<(), Diagnostic> {
    let object: Object<S> = document.read()?;
    all.insert(object.metadata.name.map(|name| name.value).unwrap_or_default(), object.spec);
    Ok(())
}

pub(super) fn compile(document: &Document<'_>, shared: &Shared, out: &mut Compiled) {
    match document.kind() {
        "SLO" => {}
        // Nothing in them changes a rule by itself.
        "SLI" | "Service" | "DataSource" | "AlertPolicy" | "AlertCondition" => return,
        "AlertNotificationTarget" => {
            let message = "targets are left out: notifiers are configured in `notify`";
            return out.warnings.push(document.error_at_start(message));
        }
        other => {
            let message = format!("the kind `{other}` is not supported");
            return out.errors.push(document.error_at_start(message));
        }
    }
    let object: Object<SloSpec> = match document.read() {
        Ok(object) => object,
        Err(error) => return out.errors.push(error),
    };
    let mut check = Check { document, errors: Vec::new(), warnings: Vec::new() };
    let recipes = check.slo(&object, shared);
    let is_well = check.errors.is_empty();
    out.errors.extend(check.errors);
    out.warnings.extend(check.warnings);
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
    warnings: Vec<Diagnostic>,
}

/// How bad events become an error ratio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Budgeting {
    Occurrences,
    /// The share of slices that miss the objective's own target.
    Timeslices,
    /// The mean of the slices' ratios: a quiet slice weighs as much as a busy one.
    RatioTimeslices,
}

impl Check<'_> {
    fn error(&mut self, place: &Location, message: impl Into<String>) {
        self.errors.push(self.document.error(place, message));
    }

    fn warn(&mut self, place: &Location, message: impl Into<String>) {
        self.warnings.push(self.document.error(place, message));
    }

    fn slo(&mut self, object: &Object<SloSpec>, shared: &Shared) -> Vec<Recipe> {
        let (spec, place) = (&object.spec.value, &object.spec.referenced);
        let name = object.metadata.name.as_ref().map_or("", |name| &name.value);
        let service = spec.service.as_ref().map_or("", |service| &service.value);
        if name.is_empty() || service.is_empty() {
            self.error(place, "an SLO has `metadata.name` and `spec.service`");
        }
        let budgeting = self.budgeting(spec.budgeting_method.as_ref());
        let (period, calendar) = self.window(spec, place);
        if spec.objectives.is_empty() {
            self.error(place, "an SLO has at least one objective");
        }
        let policies = spec.alert_policies.as_deref().unwrap_or_default();
        let conditions = self.conditions(policies, shared);
        let Some(indicator) = self.indicator(spec, place, shared) else { return Vec::new() };
        let mut recipes = Vec::new();
        for (idx, objective) in spec.objectives.iter().enumerate() {
            let percent = self.objective(objective);
            let ratio = self.ratio(indicator, objective);
            let ratio = ratio.and_then(|ratio| self.budgeted(ratio, budgeting, objective));
            let (Some(percent), Some(ratio)) = (percent, ratio) else { continue };
            let windows = conditions.windows(period);
            let alerts = conditions.alerts();
            recipes.push(Recipe {
                id: format!("{service}-{name}-{idx}"),
                service: service.to_owned(),
                name: format!("{name}-{idx}"),
                objective: percent,
                windows,
                calendar: calendar.clone(),
                labels: Pairs::new(),
                ratio,
                alerts,
                spec: "openslo/v1",
            });
        }
        recipes
    }

    fn budgeting(&mut self, method: Option<&Spanned<String>>) -> Budgeting {
        let Some(method) = method else { return Budgeting::Occurrences };
        match method.value.as_str() {
            "Occurrences" => Budgeting::Occurrences,
            "Timeslices" => Budgeting::Timeslices,
            "RatioTimeslices" => Budgeting::RatioTimeslices,
            other => {
                let message = format!(
                    "`budgetingMethod: {other}` is none of Occurrences, Timeslices and RatioTimeslices"
                );
                self.error(&method.referenced, message);
                Budgeting::Occurrences
            }
        }
    }

    fn indicator<'s>(
        &mut self,
        spec: &'s SloSpec,
        place: &Location,
        shared: &'s Shared,
    ) -> Option<&'s Spanned<IndicatorSpec>> {
        match (&spec.indicator, &spec.indicator_ref) {
            (Some(indicator), None) => Some(&indicator.value.spec),
            (None, Some(name)) => {
                let found = shared.indicators.get(&name.value);
                if found.is_none() {
                    let message = format!("no SLI named `{}` is in this file", name.value);
                    self.error(&name.referenced, message);
                }
                found
            }
            _ => {
                self.error(place, "an SLO has one of `indicator` and `indicatorRef`");
                None
            }
        }
    }

    fn window(&mut self, spec: &SloSpec, place: &Location) -> (Duration, Option<Calendar>) {
        let window = match spec.time_window.as_slice() {
            [window] => window,
            [] => {
                self.warn(place, "the SLO has no `timeWindow`; 30 days, rolling, are taken");
                return (WINDOW, None);
            }
            _ => {
                self.error(place, "an SLO has one `timeWindow`");
                return (WINDOW, None);
            }
        };
        let TimeWindow { duration, is_rolling, calendar } = &window.value;
        match (is_rolling, calendar) {
            (true, None) => {
                let days = parse_duration(&duration.value)
                    .or_else(|| calendar::nominal(&duration.value))
                    .filter(|d| d.as_secs() >= 86_400);
                if days.is_none() {
                    let message = format!("`{}` is no window of days or weeks", duration.value);
                    self.error(&duration.referenced, message);
                }
                (days.unwrap_or(WINDOW), None)
            }
            (false, Some(raw)) => self.calendar(duration, raw),
            (true, Some(calendar)) => {
                self.error(&calendar.referenced, "a rolling window has no `calendar`");
                (WINDOW, None)
            }
            (false, None) => {
                let message = "a window has `isRolling: true` or a `calendar`";
                self.error(&window.referenced, message);
                (WINDOW, None)
            }
        }
    }

    fn calendar(
        &mut self,
        duration: &Spanned<String>,
        raw: &Spanned<RawCalendar>,
    ) -> (Duration, Option<Calendar>) {
        let RawCalendar { start_time, time_zone } = &raw.value;
        match Calendar::new(&duration.value, start_time, time_zone) {
            Ok(calendar) => {
                self.warn(&raw.referenced, "the recorded ratio and budget of the period are those of a rolling window of its length; `/api/slos` counts from the period's start");
                (calendar::nominal(&duration.value).unwrap_or(WINDOW), Some(calendar))
            }
            Err(message) => {
                self.error(&raw.referenced, message);
                (WINDOW, None)
            }
        }
    }

    /// Percent.
    fn objective(&mut self, raw: &Spanned<RawObjective>) -> Option<f64> {
        let RawObjective { target, target_percent, indicator, indicator_ref, .. } = &raw.value;
        let composite = [
            ("indicator", indicator),
            ("indicatorRef", indicator_ref),
            ("compositeWeight", &raw.value.composite_weight),
        ];
        for (name, value) in composite {
            if let Some(value) = value {
                let message =
                    format!("`{name}` in an objective (a composite SLO) is not supported");
                self.error(&value.referenced, message);
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

    /// The ratio as the budgeting method counts it. Slices without traffic are no slices.
    fn budgeted(
        &mut self,
        ratio: String,
        budgeting: Budgeting,
        objective: &Spanned<RawObjective>,
    ) -> Option<String> {
        let RawObjective { time_slice_target, time_slice_window, .. } = &objective.value;
        if budgeting == Budgeting::Occurrences {
            let slices = [
                ("timeSliceTarget", time_slice_target.as_ref().map(|v| v.referenced)),
                ("timeSliceWindow", time_slice_window.as_ref().map(|v| v.referenced)),
            ];
            for (name, place) in slices {
                if let Some(place) = place {
                    self.error(&place, format!("`{name}` is for `budgetingMethod: Timeslices`"));
                }
            }
            return Some(ratio);
        }
        let Some(window) = time_slice_window else {
            self.error(&objective.referenced, "time slices need `timeSliceWindow`");
            return None;
        };
        let Some(slice) = parse_duration(&window.value).filter(|slice| !slice.is_zero()) else {
            let message = format!("`{}` is no duration; write 1m", window.value);
            self.error(&window.referenced, message);
            return None;
        };
        let slice = format_duration(slice);
        let within = in_window(&ratio, &slice);
        let within = within.trim();
        if budgeting == Budgeting::RatioTimeslices {
            return Some(format!("avg_over_time((({within}) >= 0)[{{{{.window}}}}:{slice}])"));
        }
        let target = match time_slice_target {
            Some(target) if (0.0..=1.0).contains(&target.value) => target.value,
            Some(target) => {
                self.error(&target.referenced, "`timeSliceTarget` is a ratio from 0 to 1");
                return None;
            }
            None => {
                self.error(
                    &objective.referenced,
                    "`budgetingMethod: Timeslices` needs `timeSliceTarget`",
                );
                return None;
            }
        };
        Some(format!(
            "1 - avg_over_time((((1 - ({within})) >= 0) >= bool {target})[{{{{.window}}}}:{slice}])"
        ))
    }
}

fn runbook(how: &str) -> Pairs {
    Pairs::from([(
        "runbook_url".to_owned(),
        format!("{{{{ $externalURL }}}}/runbooks/SloBurns{how}"),
    )])
}

/// The alerts over the four pairs.
fn default_alerts() -> Vec<AlertText> {
    [(burn::PAGE, "Fast"), (burn::TICKET, "Slowly")]
        .map(|(severity, how)| AlertText {
            severity,
            name: format!("SloBurns{how}"),
            labels: Pairs::from([("severity".to_owned(), severity.to_owned())]),
            annotations: runbook(how),
            condition: None,
        })
        .to_vec()
}

fn default_windows(period: Duration) -> Windows {
    Windows::of(period)
}
