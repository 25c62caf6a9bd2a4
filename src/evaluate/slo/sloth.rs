//! Sloth's `prometheus/v1` (`pkg/prometheus/api/v1`), and the rules that Sloth makes: recorded error
//! ratios, metadata, two alerts. Names, labels and arithmetic are Sloth's, so that its dashboards work.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::document::Document;
use super::print::{Pairs, RuleGroup, RuleText};
use super::{Compiled, Slo, Source, Target, burn};
use crate::signal::format_duration;

/// Sloth's specs have no window; its command line's default is this.
const WINDOW: Duration = Duration::from_hours(720);
/// Stands for a window in queries; spaces within the braces do not count.
const WINDOW_PLACE: &str = "{{.window}}";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Spec {
    #[expect(dead_code, reason = "the format was chosen by it; unknown keys are refused")]
    version: String,
    service: Spanned<String>,
    #[serde(default)]
    labels: Pairs,
    slo_plugins: Option<Spanned<serde_json::Value>>,
    slos: Vec<Spanned<RawSlo>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSlo {
    name: Spanned<String>,
    objective: Spanned<f64>,
    #[expect(dead_code, reason = "people read it; rules do not carry it")]
    description: Option<String>,
    #[serde(default)]
    labels: Pairs,
    sli: RawSli,
    alerting: RawAlerting,
    plugins: Option<Spanned<serde_json::Value>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSli {
    events: Option<RawEvents>,
    raw: Option<RawRatio>,
    plugin: Option<Spanned<serde_json::Value>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEvents {
    error_query: Spanned<String>,
    total_query: Spanned<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRatio {
    error_ratio_query: Spanned<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAlerting {
    name: Option<String>,
    #[serde(default)]
    labels: Pairs,
    #[serde(default)]
    annotations: Pairs,
    #[serde(default)]
    page_alert: RawAlert,
    #[serde(default)]
    ticket_alert: RawAlert,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAlert {
    #[serde(default)]
    disable: bool,
    #[serde(default)]
    labels: Pairs,
    #[serde(default)]
    annotations: Pairs,
}

/// One objective in the terms of Sloth's rules; OpenSLO's become the same.
#[derive(Debug)]
pub(super) struct Recipe {
    pub(super) id: String,
    pub(super) service: String,
    pub(super) name: String,
    /// Percent.
    pub(super) objective: f64,
    pub(super) window: Duration,
    pub(super) labels: Pairs,
    /// The error ratio, with `{{.window}}`.
    pub(super) ratio: String,
    pub(super) alerts: Vec<AlertText>,
    /// The value of `sloth_spec`.
    pub(super) spec: &'static str,
}

#[derive(Debug)]
pub(super) struct AlertText {
    pub(super) severity: &'static str,
    pub(super) name: String,
    pub(super) labels: Pairs,
    pub(super) annotations: Pairs,
}

pub(super) fn compile(document: &Document<'_>, target: Target, out: &mut Compiled) {
    let spec: Spec = match document.read() {
        Ok(spec) => spec,
        Err(error) => return out.errors.push(error),
    };
    if let Some(plugins) = &spec.slo_plugins {
        out.errors.push(document.error(
            &plugins.referenced,
            "`slo_plugins` are programs of Sloth's; they are not supported",
        ));
    }
    for raw in &spec.slos {
        let Some(recipe) = recipe(document, &spec, raw, out) else { continue };
        let slo = recipe.slo();
        document.warn_unreachable(&raw.value.objective.referenced, &slo, out);
        out.groups.extend(recipe.groups(target));
        out.slos.push(slo);
    }
}

fn recipe(
    document: &Document<'_>,
    spec: &Spec,
    raw: &Spanned<RawSlo>,
    out: &mut Compiled,
) -> Option<Recipe> {
    let n_before = out.errors.len();
    let RawSlo { name, objective, labels, sli, alerting, plugins, .. } = &raw.value;
    for (what, plugin) in [("plugins", plugins), ("sli.plugin", &sli.plugin)] {
        if let Some(plugin) = plugin {
            out.errors.push(document.error(
                &plugin.referenced,
                format!("`{what}` is a program of Sloth's; it is not supported"),
            ));
        }
    }
    if !is_objective(objective.value) {
        out.errors.push(
            document
                .error(&objective.referenced, "`objective` is a percentage above 0 and below 100"),
        );
    }
    let ratio = match (&sli.events, &sli.raw) {
        (Some(events), None) => {
            let RawEvents { error_query, total_query } = events;
            check_query(document, error_query, out);
            check_query(document, total_query, out);
            format!("({})\n/\n({})\n", error_query.value, total_query.value)
        }
        (None, Some(raw)) => {
            check_query(document, &raw.error_ratio_query, out);
            format!("({})", raw.error_ratio_query.value)
        }
        (Some(_), Some(_)) => {
            out.errors.push(
                document.error(&raw.referenced, "`sli` has one of `events` and `raw`, not both"),
            );
            return None;
        }
        (None, None) => {
            if sli.plugin.is_none() {
                out.errors.push(document.error(&raw.referenced, "`sli` has `events` or `raw`"));
            }
            return None;
        }
    };
    let alerts = alerts(alerting, document, raw, out);
    let labels = spec.labels.iter().chain(labels).map(|(k, v)| (k.clone(), v.clone())).collect();
    (out.errors.len() == n_before).then(|| Recipe {
        id: format!("{}-{}", spec.service.value, name.value),
        service: spec.service.value.clone(),
        name: name.value.clone(),
        objective: objective.value,
        window: WINDOW,
        labels,
        ratio,
        alerts,
        spec: "prometheus/v1",
    })
}

pub(super) fn is_objective(percent: f64) -> bool {
    percent > 0.0 && percent < 100.0
}

fn check_query(document: &Document<'_>, query: &Spanned<String>, out: &mut Compiled) {
    let filled = in_window(&query.value, "5m");
    if filled == query.value {
        out.errors.push(document.error(
            &query.referenced,
            format!("the query has no `{WINDOW_PLACE}` where its window belongs"),
        ));
    } else if let Err(error) = crate::promql::Query::parse(&filled) {
        out.errors.push(document.error(&query.referenced, error.message));
    }
}

fn alerts(
    alerting: &RawAlerting,
    document: &Document<'_>,
    raw: &Spanned<RawSlo>,
    out: &mut Compiled,
) -> Vec<AlertText> {
    let mut alerts = Vec::new();
    for (severity, alert) in
        [(burn::PAGE, &alerting.page_alert), (burn::TICKET, &alerting.ticket_alert)]
    {
        if alert.disable {
            continue;
        }
        let Some(name) = &alerting.name else {
            out.errors.push(
                document.error(&raw.referenced, "`alerting.name` is missing; it names the alerts"),
            );
            return alerts;
        };
        let merged = |shared: &Pairs, own: &Pairs| -> Pairs {
            shared.iter().chain(own).map(|(k, v)| (k.clone(), v.clone())).collect()
        };
        alerts.push(AlertText {
            severity,
            name: name.clone(),
            labels: merged(&alerting.labels, &alert.labels),
            annotations: merged(&alerting.annotations, &alert.annotations),
        });
    }
    alerts
}

/// The query with its window filled in.
pub(super) fn in_window(query: &str, window: &str) -> String {
    let mut out = String::new();
    let mut rest = query;
    while let Some((before, tail)) = rest.split_once("{{") {
        let Some((inner, after)) = tail.split_once("}}") else { break };
        out.push_str(before);
        if inner.trim().trim_matches('-').trim() == ".window" {
            out.push_str(window);
        } else {
            out.extend(["{{", inner, "}}"]);
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

impl Recipe {
    pub(super) fn slo(&self) -> Slo {
        Slo {
            name: self.name.as_str().into(),
            service: self.service.as_str().into(),
            objective: self.objective,
            window: self.window,
            source: Source::Query(self.ratio.clone()),
        }
    }

    pub(super) fn groups(&self, target: Target) -> [RuleGroup; 3] {
        let named = |kind: &str, rules: Vec<RuleText>| RuleGroup {
            name: format!("sloth-slo-{kind}-{}", self.id),
            rules,
        };
        [
            named("sli-recordings", self.ratios(target)),
            named("meta-recordings", self.metadata()),
            named("alerts", self.alert_rules()),
        ]
    }

    fn selector(&self) -> String {
        let Self { id, service, name, .. } = self;
        format!("sloth_id={id:?}, sloth_service={service:?}, sloth_slo={name:?}")
    }

    fn labels(&self, more: &[(&str, &str)]) -> Pairs {
        let own = [
            ("sloth_id", &*self.id),
            ("sloth_service", &*self.service),
            ("sloth_slo", &*self.name),
        ];
        let own =
            own.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        self.labels.clone().into_iter().chain(own).collect::<BTreeMap<_, _>>()
    }

    fn ratios(&self, target: Target) -> Vec<RuleText> {
        let mut rules = Vec::new();
        for window in burn::WINDOWS {
            let ratio = in_window(&self.ratio, window);
            // A ratio is never below zero, but 0/0 without traffic is no number: it is left out.
            let ratio = match target {
                Target::File => ratio,
                Target::Daemon => format!("({}) >= 0\n", ratio.trim_end()),
            };
            rules.push(self.ratio_rule(window, ratio));
        }
        let (window, selector) = (format_duration(self.window), self.selector());
        let recorded = format!("slo:sli_error:ratio_rate5m{{{selector}}}[{window}]");
        let whole = format!(
            "sum_over_time({recorded})\n/ ignoring (sloth_window)\ncount_over_time({recorded})\n"
        );
        rules.push(self.ratio_rule(&window, whole));
        rules
    }

    fn ratio_rule(&self, window: &str, expr: String) -> RuleText {
        let labels = self.labels(&[("sloth_window", window)]);
        RuleText::record(format!("slo:sli_error:ratio_rate{window}"), expr, labels)
    }

    fn metadata(&self) -> Vec<RuleText> {
        let (selector, window) = (self.selector(), format_duration(self.window));
        let ratio = self.objective / 100.0;
        let days = self.window.as_secs() / 86_400;
        let burn_rate = |window: &str| {
            format!(
                "slo:sli_error:ratio_rate{window}{{{selector}}}\n/ on(sloth_id, sloth_slo, sloth_service) group_left\nslo:error_budget:ratio{{{selector}}}\n"
            )
        };
        let rule = |name: &str, expr: String| RuleText::record(name, expr, self.labels(&[]));
        let objective = self.objective.to_string();
        let described = [
            ("sloth_mode", "cli-gen-prom"),
            ("sloth_objective", &*objective),
            ("sloth_spec", self.spec),
            ("sloth_version", concat!("throughline-", env!("CARGO_PKG_VERSION"))),
        ];
        vec![
            rule("slo:objective:ratio", format!("vector({ratio})")),
            rule("slo:error_budget:ratio", format!("vector(1-{ratio})")),
            rule("slo:time_period:days", format!("vector({days})")),
            rule("slo:current_burn_rate:ratio", burn_rate("5m")),
            rule("slo:period_burn_rate:ratio", burn_rate(&window)),
            rule(
                "slo:period_error_budget_remaining:ratio",
                format!("1 - slo:period_burn_rate:ratio{{{selector}}}"),
            ),
            RuleText::record("sloth_slo_info", "vector(1)", self.labels(&described)),
        ]
    }

    fn alert_rules(&self) -> Vec<RuleText> {
        let budget = self.slo().error_budget();
        let rule = |alert: &AlertText| {
            let pairs = burn::pairs_of(alert.severity, self.window);
            let expr = burn::from_recordings(&self.selector(), &pairs, budget);
            let severity = ("sloth_severity".to_owned(), alert.severity.to_owned());
            let texts = [
                ("summary", "{{$labels.sloth_service}} {{$labels.sloth_slo}} SLO error budget burn rate is over expected.".to_owned()),
                ("title", format!("({}) {{{{$labels.sloth_service}}}} {{{{$labels.sloth_slo}}}} SLO error budget burn rate is too fast.", alert.severity)),
            ];
            let texts = texts.into_iter().map(|(name, text)| (name.to_owned(), text));
            RuleText {
                key: "alert",
                name: alert.name.clone(),
                expr,
                labels: alert.labels.clone().into_iter().chain([severity]).collect(),
                annotations: texts.chain(alert.annotations.clone()).collect(),
            }
        };
        self.alerts.iter().map(rule).collect()
    }
}
