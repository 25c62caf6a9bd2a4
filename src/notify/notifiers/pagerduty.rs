//! PagerDuty's Events API v2: a group of alerts is one incident, from trigger to resolve.

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::{HttpRequest, Rendered, filled, fitted};
use crate::notify::card::words::shortened;
use crate::notify::card::{Card, Mood};
use crate::notify::notice::Notice;
use crate::notify::receivers::PagerDuty;
use crate::notify::template::{Template, default_text};

/// Letters of a summary.
const SUMMARY_MAX: usize = 1_024;
/// Bytes of an event: the limit is 512,000.
const EVENT_BYTES_MAX: usize = 500_000;

pub(super) fn request(pagerduty: &PagerDuty, notice: &Notice) -> Rendered {
    let fitted = fitted(Card::compose(notice), EVENT_BYTES_MAX, |card| {
        let mut event = json!({
            "routing_key": "<secret>",
            "event_action": if notice.is_firing() { "trigger" } else { "resolve" },
            "dedup_key": dedup_key(notice),
        });
        if let (true, Value::Object(event)) = (notice.is_firing(), &mut event) {
            event.extend(trigger(pagerduty, notice, card));
        }
        event
    });
    let secret_keys = vec![("routing_key", pagerduty.routing_key.clone())];
    let post = HttpRequest::post(pagerduty.url.clone(), fitted.body);
    Rendered::http(HttpRequest { secret_keys, ..post }, fitted.n_dropped)
}

/// The same for every message of a group, 64 hex digits (the limit is 255 letters).
fn dedup_key(notice: &Notice) -> String {
    format!("{:x}", Sha256::digest(&*notice.group_key))
}

fn trigger(pagerduty: &PagerDuty, notice: &Notice, card: &Card) -> Map<String, Value> {
    let or = |template: &Option<Template>, default: &dyn Fn() -> String| {
        template.as_ref().map_or_else(default, |template| filled(template, notice))
    };
    let summary = or(&pagerduty.description, &|| card.headline.clone());
    let severity = or(&pagerduty.severity, &|| severity(card.mood).to_owned());
    let source = or(&pagerduty.source, &|| notice.external_url.to_string());
    let mut payload = Map::new();
    payload.insert("summary".to_owned(), shortened(&summary, SUMMARY_MAX).into());
    payload.insert("severity".to_owned(), severity.into());
    payload.insert("source".to_owned(), source.into());
    let started_at = notice.alerts.iter().filter(|alert| alert.is_firing()).map(|a| a.started_at);
    payload.extend(started_at.min().map(|at| ("timestamp".to_owned(), at.to_string().into())));
    for (key, template) in [
        ("class", &pagerduty.class),
        ("component", &pagerduty.component),
        ("group", &pagerduty.group),
    ] {
        payload.extend(template.as_ref().map(|text| (key.to_owned(), filled(text, notice).into())));
    }
    payload.insert("custom_details".to_owned(), details(pagerduty, notice, card));
    let client_url =
        or(&pagerduty.client_url, &|| default_text("pagerduty.default.clientURL", notice));
    let mut event = Map::new();
    event.insert("payload".to_owned(), payload.into());
    event.insert("client".to_owned(), or(&pagerduty.client, &|| "Throughline".to_owned()).into());
    event.insert("client_url".to_owned(), client_url.into());
    event.insert("links".to_owned(), links(pagerduty, notice, card).into());
    event
}

const fn severity(mood: Mood) -> &'static str {
    match mood {
        Mood::Page => "critical",
        Mood::Ticket => "warning",
        Mood::Resolved | Mood::Test => "info",
    }
}

/// The blocks of the message, numbered so that they stay in order, and what the file adds.
fn details(pagerduty: &PagerDuty, notice: &Notice, card: &Card) -> Value {
    let mut details = Map::new();
    for (at, block) in card.blocks.iter().enumerate() {
        details.insert(format!("{:02}", at + 1), block.text.as_str().into());
    }
    let n_firing = notice.alerts.iter().filter(|alert| alert.is_firing()).count();
    details.insert("num_firing".to_owned(), n_firing.into());
    details.insert("num_resolved".to_owned(), (notice.alerts.len() - n_firing).into());
    for (name, template) in &pagerduty.details {
        details.insert(name.to_string(), filled(template, notice).into());
    }
    details.into()
}

fn links(pagerduty: &PagerDuty, notice: &Notice, card: &Card) -> Vec<Value> {
    let ours = card.buttons.iter().map(|button| json!({"href": button.url, "text": button.label}));
    let written = pagerduty.links.iter().map(|link| {
        let href = filled(&link.href, notice);
        let text = link.text.as_ref().map_or_else(|| href.clone(), |text| filled(text, notice));
        json!({"href": href, "text": text})
    });
    ours.chain(written).collect()
}
