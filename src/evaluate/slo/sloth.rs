//! Sloth's `prometheus/v1` (`pkg/prometheus/api/v1`), and the rules that Sloth makes: recorded error
//! ratios, metadata, two alerts. Names, labels and arithmetic are Sloth's, so that its dashboards work.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::burn::{self, Windows};
use super::calendar::Calendar;
use super::document::Document;
use super::print::{Pairs, RuleGroup, RuleText};
use super::{Compiled, Run, Slo, Source, Target};
use crate::signal::format_duration;

/// Sloth's specs have no window; its command line's default is this.
pub(super) const WINDOW: Duration = Duration::from_hours(720);
/// Recordings of longer windows are evaluated less often by the daemon.
const SLOW_FROM: Duration = Duration::from_hours(1);
/// How often: less than a hundredth of the windows' lengths.
const SLOW_INTERVAL: Duration = Duration::from_secs(30);
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
    pub(super) windows: Windows,
    pub(super) calendar: Option<Calendar>,
    pub(super) labels: Pairs,
    /// The error ratio, with `{{.window}}`.
    pub(super) ratio: String,
    pub(super) alerts: Vec<AlertText>,
    /// The value of `sloth_spec`.
    pub(super) spec: &'static str,
}

#[derive(Clone, Debug)]
pub(super) struct AlertText {
    pub(super) severity: &'static str,
    pub(super) name: String,
    pub(super) labels: Pairs,
    pub(super) annotations: Pairs,
    /// In place of the pairs of its severity.
    pub(super) condition: Option<BurnCondition>,
}

/// One burn rate over one window.
#[derive(Clone, Debug)]
pub(super) struct BurnCondition {
    pub(super) window: Duration,
    /// `>` or `>=`.
    pub(super) op: &'static str,
    pub(super) factor: f64,
    pub(super) hold: Option<Duration>,
}

pub(super) fn compile(document: &Document<'_>, run: &Run, out: &mut Compiled) {
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
        let Some(recipe) = recipe(document, &spec, (raw, &run.sloth), out) else { continue };
        let slo = recipe.slo();
        document.warn_unreachable(&raw.value.objective.referenced, &slo, out);
        out.groups.extend(recipe.groups(run.target));
        out.slos.push(slo);
    }
}

fn recipe(
    document: &Document<'_>,
    spec: &Spec,
    (raw, windows): (&Spanned<RawSlo>, &Windows),
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
        windows: windows.clone(),
        calendar: None,
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
            condition: None,
        });
    }
    alerts
}

/// A window as Sloth names it, and as Prometheus prints it: whole weeks are weeks, `4w`.
pub(super) fn window_name(window: Duration) -> String {
    const WEEK: Duration = Duration::from_hours(7 * 24);
    let n_weeks = window.as_secs() / WEEK.as_secs();
    let is_whole = n_weeks > 0 && window == WEEK * u32::try_from(n_weeks).unwrap_or_default();
    if is_whole { format!("{n_weeks}w") } else { format_duration(window) }
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
            windows: self.windows.clone(),
            calendar: self.calendar.clone(),
            source: Source::Query(self.ratio.clone()),
        }
    }

    pub(super) fn groups(&self, target: Target) -> Vec<RuleGroup> {
        let named = |kind: &str, rules: Vec<RuleText>| RuleGroup {
            name: format!("sloth-slo-{kind}-{}", self.id),
            interval: None,
            rules,
        };
        let (metadata, alerts) =
            (named("meta-recordings", self.metadata()), named("alerts", self.alert_rules()));
        match target {
            Target::File => {
                let ratios = self.windows.lengths().into_iter().map(|w| self.ratio(w, target));
                let ratios = ratios.chain([self.mean_ratio()]).collect();
                vec![named("sli-recordings", ratios), metadata, alerts]
            }
            // Long windows change slowly and cost much: they are not read every second.
            Target::Daemon => {
                let (mut long, short): (Vec<Duration>, Vec<Duration>) =
                    self.windows.lengths().into_iter().partition(|window| *window > SLOW_FROM);
                long.push(self.windows.period);
                let ratios = |windows: Vec<Duration>| {
                    windows.into_iter().map(|window| self.ratio(window, target)).collect()
                };
                let slow = RuleGroup {
                    interval: Some(SLOW_INTERVAL),
                    ..named("sli-recordings-slow", ratios(long))
                };
                vec![named("sli-recordings", ratios(short)), slow, metadata, alerts]
            }
        }
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

    fn ratio(&self, window: Duration, target: Target) -> RuleText {
        let window = window_name(window);
        let ratio = in_window(&self.ratio, &window);
        // A ratio is never below zero, but 0/0 without traffic is no number: it is left out.
        let ratio = match target {
            Target::File => ratio,
            Target::Daemon => format!("({}) >= 0\n", ratio.trim_end()),
        };
        self.ratio_rule(&window, ratio)
    }

    /// Sloth's ratio of the whole period: the mean of ratios over the shortest window. The daemon asks
    /// the indicator itself, which weighs by events.
    fn mean_ratio(&self) -> RuleText {
        let period = window_name(self.windows.period);
        let (shortest, selector) = (window_name(self.windows.shortest()), self.selector());
        let recorded = format!("slo:sli_error:ratio_rate{shortest}{{{selector}}}[{period}]");
        let whole = format!(
            "sum_over_time({recorded})\n/ ignoring (sloth_window)\ncount_over_time({recorded})\n"
        );
        self.ratio_rule(&period, whole)
    }

    fn ratio_rule(&self, window: &str, expr: String) -> RuleText {
        let labels = self.labels(&[("sloth_window", window)]);
        RuleText::record(format!("slo:sli_error:ratio_rate{window}"), expr, labels)
    }

    fn metadata(&self) -> Vec<RuleText> {
        let (selector, window) = (self.selector(), window_name(self.windows.period));
        let ratio = self.objective / 100.0;
        let days = self.windows.period.as_secs() / 86_400;
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
            rule("slo:current_burn_rate:ratio", burn_rate(&window_name(self.windows.shortest()))),
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
            let expr = match &alert.condition {
                None => {
                    let pairs = self.windows.of_severity(alert.severity);
                    burn::from_recordings(&self.selector(), &pairs, budget)
                }
                Some(BurnCondition { window, op, factor, .. }) => {
                    let (window, selector) = (window_name(*window), self.selector());
                    format!(
                        "max(slo:sli_error:ratio_rate{window}{{{selector}}}) without (sloth_window) {op} {factor} * {budget}\n"
                    )
                }
            };
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
                hold: alert.condition.as_ref().and_then(|condition| condition.hold),
                labels: alert.labels.clone().into_iter().chain([severity]).collect(),
                annotations: texts.chain(alert.annotations.clone()).collect(),
            }
        };
        self.alerts.iter().map(rule).collect()
    }
}
