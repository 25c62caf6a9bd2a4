//! The webhook body, version 4, exactly as Alertmanager writes it (`notify/webhook/webhook.go`,
//! `template/template.go`), with one key of our own in each alert: `evidence`.

use serde_json::{Map, Value, json};

use crate::notify::notice::{Alert, Notice};
use crate::signal::Text;

/// The body; at most `alerts_max` alerts are in it (0: all), and it says how many are not.
pub(crate) fn body(notice: &Notice, alerts_max: usize) -> Value {
    let max = if alerts_max == 0 { usize::MAX } else { alerts_max };
    let shown: Vec<Value> =
        notice.alerts.iter().take(max).map(|alert| one(alert, &notice.external_url)).collect();
    json!({
        "receiver": notice.receiver,
        "status": if notice.is_firing() { "firing" } else { "resolved" },
        "truncatedAlerts": notice.alerts.len() - shown.len(),
        "alerts": shown,
        "notification_reason": notice.reason.as_str(),
        "groupLabels": notice.group_labels,
        "commonLabels": common(notice.alerts.iter().map(|alert| alert.labels.iter().collect())),
        "commonAnnotations": common(notice.alerts.iter().map(|alert| pairs(alert).collect())),
        "routeLabels": {},
        "externalURL": notice.external_url,
        "version": "4",
        "groupKey": notice.group_key,
    })
}

fn pairs(alert: &Alert) -> impl Iterator<Item = (&str, &str)> {
    alert.annotations.iter().map(|(name, value): (&Text, &Text)| (&**name, &**value))
}

fn one(alert: &Alert, external_url: &str) -> Value {
    let ends_at =
        alert.resolved_at.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), |at| at.to_string());
    let fingerprint = format!("{:016x}", alert.labels.signature());
    let generator = match &*alert.generator_url {
        "" => format!("{external_url}/alerts#{fingerprint}"),
        given => given.to_owned(),
    };
    json!({
        "status": if alert.resolved_at.is_none() { "firing" } else { "resolved" },
        "labels": alert.labels,
        "annotations": alert.annotations,
        "startsAt": alert.started_at.to_string(),
        "endsAt": ends_at,
        "generatorURL": generator,
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
