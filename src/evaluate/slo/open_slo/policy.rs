//! OpenSLO alert policies: conditions on one burn rate each, as alerts in place of the four pairs.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::Spanned;

use super::{Check, Metadata, Shared, default_alerts, default_windows, runbook};
use crate::evaluate::slo::burn::{PAGE, Pair, TICKET, Windows};
use crate::evaluate::slo::print::Pairs;
use crate::evaluate::slo::sloth::{AlertText, BurnCondition};
use crate::signal::parse_duration;

/// An entry of `alertPolicies`: a reference or a policy.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawPolicy {
    alert_policy_ref: Option<Spanned<String>>,
    #[expect(dead_code, reason = "there is one kind here")]
    kind: Option<String>,
    #[expect(dead_code, reason = "a policy's name is not in its alerts")]
    metadata: Option<Metadata>,
    spec: Option<Spanned<PolicySpec>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct PolicySpec {
    #[expect(dead_code, reason = "people read it; rules do not carry it")]
    description: Option<String>,
    alert_when_no_data: Option<Spanned<bool>>,
    #[expect(dead_code, reason = "which messages are sent is configured in `notify`")]
    alert_when_resolved: Option<bool>,
    alert_when_breaching: Option<bool>,
    #[serde(default)]
    conditions: Vec<Spanned<RawCondition>>,
    #[expect(dead_code, reason = "notifiers are configured in `notify`")]
    notification_targets: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RawCondition {
    condition_ref: Option<Spanned<String>>,
    #[expect(dead_code, reason = "there is one kind here")]
    kind: Option<String>,
    metadata: Option<Metadata>,
    spec: Option<Spanned<Condition>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "OpenSLO names it so")]
pub(super) struct Condition {
    #[expect(dead_code, reason = "people read it; rules do not carry it")]
    description: Option<String>,
    severity: Option<String>,
    condition: Burn,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Burn {
    kind: Spanned<String>,
    op: Spanned<String>,
    threshold: f64,
    lookback_window: Spanned<String>,
    alert_after: Option<Spanned<String>>,
}

/// The alerts of an SLO's policies; none at all: the four pairs are used.
#[derive(Debug, Default)]
pub(super) struct Conditions(Vec<AlertText>);

impl Conditions {
    pub(super) fn windows(&self, period: Duration) -> Windows {
        let mut windows = default_windows(period);
        if self.0.is_empty() {
            return windows;
        }
        windows.pairs = self
            .0
            .iter()
            .filter_map(|alert| {
                let BurnCondition { window, factor, .. } = alert.condition.as_ref()?;
                Some(Pair {
                    severity: alert.severity,
                    long: *window,
                    short: *window,
                    factor: *factor,
                })
            })
            .collect();
        windows
    }

    pub(super) fn alerts(&self) -> Vec<AlertText> {
        if self.0.is_empty() { default_alerts() } else { self.0.clone() }
    }
}

impl Check<'_> {
    pub(super) fn conditions(
        &mut self,
        policies: &[Spanned<RawPolicy>],
        shared: &Shared,
    ) -> Conditions {
        let mut alerts = Vec::new();
        for raw in policies {
            let policy = match (&raw.value.alert_policy_ref, &raw.value.spec) {
                (Some(name), None) => {
                    let found = shared.policies.get(&name.value);
                    if found.is_none() {
                        let message =
                            format!("no AlertPolicy named `{}` is in this file", name.value);
                        self.error(&name.referenced, message);
                    }
                    found
                }
                (None, Some(spec)) => Some(spec),
                _ => {
                    self.error(&raw.referenced, "a policy is a reference or has a `spec`");
                    None
                }
            };
            let Some(policy) = policy else { continue };
            if let Some(no_data) = policy.value.alert_when_no_data.as_ref().filter(|n| n.value) {
                self.error(&no_data.referenced, "`alertWhenNoData` is not supported; the rule pack's NoData watches over flows that fall silent");
            }
            if policy.value.alert_when_breaching == Some(false) {
                continue;
            }
            for condition in &policy.value.conditions {
                alerts.extend(self.condition(condition, shared));
            }
        }
        Conditions(alerts)
    }

    fn condition(&mut self, raw: &Spanned<RawCondition>, shared: &Shared) -> Option<AlertText> {
        let RawCondition { condition_ref, metadata, spec, .. } = &raw.value;
        let (name, spec) = match (condition_ref, spec) {
            (Some(name), None) => {
                let Some(spec) = shared.conditions.get(&name.value) else {
                    let message =
                        format!("no AlertCondition named `{}` is in this file", name.value);
                    self.error(&name.referenced, message);
                    return None;
                };
                (name.value.clone(), spec)
            }
            (None, Some(spec)) => {
                let name = metadata.as_ref().and_then(|metadata| metadata.name.as_ref());
                (name.map_or_else(|| "burn".to_owned(), |name| name.value.clone()), spec)
            }
            _ => {
                self.error(&raw.referenced, "a condition is a reference or has a `spec`");
                return None;
            }
        };
        let Condition { severity, condition, .. } = &spec.value;
        if condition.kind.value != "burnrate" {
            let message =
                format!("`kind: {}` is not supported; use burnrate", condition.kind.value);
            self.error(&condition.kind.referenced, message);
        }
        let op = match condition.op.value.as_str() {
            "gt" => ">",
            "gte" => ">=",
            // The specification's own examples write `lte` for a rate that is exceeded, so its meaning
            // cannot be guessed.
            other => {
                let message = format!(
                    "`op: {other}` is neither gt nor gte: a burn rate is too high, never too low"
                );
                self.error(&condition.op.referenced, message);
                ">"
            }
        };
        let window = self.duration(&condition.lookback_window)?;
        let hold = match &condition.alert_after {
            Some(after) => Some(self.duration(after)?),
            None => None,
        };
        let severity_text = severity.clone().unwrap_or_else(|| PAGE.to_owned());
        let severity = if severity_text == TICKET { TICKET } else { PAGE };
        Some(AlertText {
            severity,
            name,
            labels: Pairs::from([("severity".to_owned(), severity_text)]),
            annotations: runbook(if severity == PAGE { "Fast" } else { "Slowly" }),
            condition: Some(BurnCondition { window, op, factor: condition.threshold, hold }),
        })
    }

    fn duration(&mut self, raw: &Spanned<String>) -> Option<Duration> {
        let parsed = parse_duration(&raw.value);
        if parsed.is_none() {
            self.error(&raw.referenced, format!("`{}` is no duration; write 1h", raw.value));
        }
        parsed
    }
}
