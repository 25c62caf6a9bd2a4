//! The webhook body, version 4, exactly as Alertmanager writes it (`notify/webhook/webhook.go`,
//! `template/template.go`), with keys of our own: `evidence` and `corrected` in each alert; `title` and
//! `message`, what a person would read, for whoever passes it on (Grafana's webhooks call them so).

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::{HttpRequest, filled};
use crate::notify::card::Card;
use crate::notify::notice::{Alert, Notice};
use crate::notify::receivers::{Payload, Webhook};

pub(super) fn request(webhook: &Webhook, notice: &Notice) -> HttpRequest {
    let signing_key = webhook.signing_key.clone();
    let body = match &webhook.payload {
        Some(payload) => own_body(payload, &shortened(notice, webhook.max_alerts)),
        None => body(notice, webhook.max_alerts),
    };
    HttpRequest { signing_key, ..HttpRequest::post(webhook.url.clone(), body) }
}

/// The body; at most `alerts_max` alerts are in it (0: all), and it says how many are not.
pub(super) fn body(notice: &Notice, alerts_max: usize) -> Value {
    let max = if alerts_max == 0 { usize::MAX } else { alerts_max };
    let shown: Vec<Value> =
        notice.alerts.iter().take(max).map(|alert| one(alert, &notice.external_url)).collect();
    let card = Card::compose(notice);
    json!({
        "receiver": notice.receiver_quoted(),
        "status": if notice.is_firing() { "firing" } else { "resolved" },
        "truncatedAlerts": notice.alerts.len() - shown.len(),
        "alerts": shown,
        "notification_reason": notice.reason.as_str(),
        "groupLabels": notice.group_labels,
        "commonLabels": object(notice.common_labels()),
        "commonAnnotations": object(notice.common_annotations()),
        "routeLabels": {},
        "externalURL": notice.external_url,
        "version": "4",
        "groupKey": notice.group_key,
        "title": card.headline,
        "message": card.plain(),
    })
}

/// The first alerts, where there are more than are wanted.
fn shortened(notice: &Notice, alerts_max: usize) -> Cow<'_, Notice> {
    if alerts_max == 0 || notice.alerts.len() <= alerts_max {
        return Cow::Borrowed(notice);
    }
    let mut notice = notice.clone();
    notice.alerts.truncate(alerts_max);
    Cow::Owned(notice)
}

/// The file's own shape, filled in. A text that is a JSON value other than a text is that value, so that
/// `{{ .Alerts | toJson }}` gives a list and `{{ len .Alerts }}` a number. Alertmanager reads it as YAML,
/// where `a: b` would become a map.
fn own_body(payload: &Payload, notice: &Notice) -> Value {
    match payload {
        Payload::Plain(value) => value.clone(),
        Payload::Text(template) => {
            let text = filled(template, notice);
            match serde_json::from_str::<Value>(&text) {
                Ok(value) if !value.is_string() => value,
                _ => text.into(),
            }
        }
        Payload::List(items) => items.iter().map(|item| own_body(item, notice)).collect(),
        Payload::Map(map) => {
            let pairs = map.iter().map(|(k, v)| (filled(k, notice), own_body(v, notice)));
            Value::Object(pairs.collect())
        }
    }
}

fn object(pairs: Vec<(&str, &str)>) -> Map<String, Value> {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect()
}

fn one(alert: &Alert, external_url: &str) -> Value {
    let ends_at =
        alert.resolved_at.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), |at| at.to_string());
    json!({
        "status": if alert.is_firing() { "firing" } else { "resolved" },
        "labels": alert.labels,
        "annotations": alert.annotations,
        "startsAt": alert.started_at.to_string(),
        "endsAt": ends_at,
        "generatorURL": alert.generator_url(external_url),
        "fingerprint": alert.fingerprint(),
        "corrected": alert.corrected,
        "evidence": alert.evidence,
    })
}
