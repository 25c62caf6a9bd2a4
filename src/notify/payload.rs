//! The webhook body, version 4, exactly as Alertmanager writes it (`notify/webhook/webhook.go`,
//! `template/template.go`), with one key of our own in each alert: `evidence`.

use serde_json::{Map, Value, json};

use super::config::{Receiver, Webhook};
use super::dispatcher::Alert;
use super::group::Reason;
use crate::signal::{Labels, Text};

/// Everything that a body says.
pub(crate) struct Told<'a> {
    pub(crate) receiver: &'a Receiver,
    pub(crate) webhook: &'a Webhook,
    /// Firing first, then resolved.
    pub(crate) alerts: Vec<&'a Alert>,
    pub(crate) reason: Reason,
    pub(crate) group_labels: &'a Labels,
    pub(crate) group_key: &'a str,
    pub(crate) external_url: &'a str,
}

pub(crate) fn body(told: &Told<'_>) -> Value {
    let firing = told.alerts.iter().any(|alert| alert.resolved_at.is_none());
    let max = if told.webhook.max_alerts == 0 { usize::MAX } else { told.webhook.max_alerts };
    let shown: Vec<Value> =
        told.alerts.iter().take(max).map(|alert| one(alert, told.external_url)).collect();
    json!({
        "receiver": told.receiver.name,
        "status": if firing { "firing" } else { "resolved" },
        "truncatedAlerts": told.alerts.len() - shown.len(),
        "alerts": shown,
        "notification_reason": told.reason.as_str(),
        "groupLabels": told.group_labels,
        "commonLabels": common(told.alerts.iter().map(|alert| alert.labels.iter().collect())),
        "commonAnnotations": common(told.alerts.iter().map(|alert| pairs(alert).collect())),
        "routeLabels": {},
        "externalURL": told.external_url,
        "version": "4",
        "groupKey": told.group_key,
    })
}

fn pairs(alert: &Alert) -> impl Iterator<Item = (&str, &str)> {
    alert.annotations.iter().map(|(name, value): (&Text, &Text)| (&**name, &**value))
}

fn one(alert: &Alert, external_url: &str) -> Value {
    let ends_at =
        alert.resolved_at.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), |at| at.to_string());
    let fingerprint = format!("{:016x}", alert.labels.fingerprint() & u128::from(u64::MAX));
    json!({
        "status": if alert.resolved_at.is_none() { "firing" } else { "resolved" },
        "labels": alert.labels,
        "annotations": alert.annotations,
        "startsAt": alert.started_at.to_string(),
        "endsAt": ends_at,
        "generatorURL": format!("{external_url}/alerts#{fingerprint}"),
        "fingerprint": fingerprint,
        "corrected": alert.corrected,
        "evidence": alert.evidence,
    })
}

/// The pairs that every set has.
fn common<'a>(sets: impl Iterator<Item = Vec<(&'a str, &'a str)>>) -> Map<String, Value> {
    let mut sets = sets;
    let mut shared = sets.next().unwrap_or_default();
    for set in sets {
        shared.retain(|pair| set.contains(pair));
    }
    shared.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect()
}
