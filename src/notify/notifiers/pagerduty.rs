//! PagerDuty's Events API: a group of alerts is one incident, from trigger to resolve. A `routing_key` is
//! of version 2, a `service_key` of version 1.

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::{Answer, HttpRequest, Rendered, filled, fitted};
use crate::notify::card::words::shortened;
use crate::notify::card::{Card, Mood};
use crate::notify::notice::Notice;
use crate::notify::receivers::{PagerDuty, PagerDutyImage, PagerDutyKey};
use crate::notify::template::{Template, default_text};

/// Letters of a summary.
const SUMMARY_MAX: usize = 1_024;
/// Bytes of an event: the limit is 512,000.
const EVENT_BYTES_MAX: usize = 500_000;

pub(super) fn request(pagerduty: &PagerDuty, notice: &Notice) -> Rendered {
    let (name, key, answer) = match &pagerduty.key {
        PagerDutyKey::Routing(key) => ("routing_key", key, Answer::Status),
        PagerDutyKey::Service(key) => ("service_key", key, Answer::PagerDutyFirst),
    };
    let render = if answer == Answer::PagerDutyFirst { first_event } else { event };
    let fitted =
        fitted(Card::compose(notice), EVENT_BYTES_MAX, |card| render(pagerduty, notice, card));
    let secret_keys = vec![(name, key.clone())];
    let post = HttpRequest::post(pagerduty.url.clone(), fitted.body);
    Rendered::http(HttpRequest { secret_keys, answer, ..post }, fitted.n_dropped)
}

fn event(pagerduty: &PagerDuty, notice: &Notice, card: &Card) -> Value {
    let mut event = json!({
        "routing_key": "<secret>",
        "event_action": if notice.is_firing() { "trigger" } else { "resolve" },
        "dedup_key": dedup_key(notice),
    });
    if let (true, Value::Object(event)) = (notice.is_firing(), &mut event) {
        event.extend(trigger(pagerduty, notice, card));
    }
    event
}

/// Version 1 knows a description and details, and shows no links but the client's.
fn first_event(pagerduty: &PagerDuty, notice: &Notice, card: &Card) -> Value {
    let summary = or(pagerduty.description.as_ref(), notice, || card.headline.clone());
    let mut event = json!({
        "service_key": "<secret>",
        "event_type": if notice.is_firing() { "trigger" } else { "resolve" },
        "incident_key": dedup_key(notice),
        "description": shortened(&summary, SUMMARY_MAX),
    });
    if let (true, Value::Object(event)) = (notice.is_firing(), &mut event) {
        event.extend(client(pagerduty, notice));
        let mut details = details(pagerduty, notice, card);
        for button in &card.buttons {
            details[button.label] = button.url.as_str().into();
        }
        event.insert("details".to_owned(), details);
    }
    event
}

fn or(template: Option<&Template>, notice: &Notice, default: impl FnOnce() -> String) -> String {
    template.map_or_else(default, |template| filled(template, notice))
}

fn client(pagerduty: &PagerDuty, notice: &Notice) -> [(String, Value); 2] {
    let name = or(pagerduty.client.as_ref(), notice, || "Throughline".to_owned());
    let url = or(pagerduty.client_url.as_ref(), notice, || {
        default_text("pagerduty.default.clientURL", notice)
    });
    [("client".to_owned(), name.into()), ("client_url".to_owned(), url.into())]
}

/// The same for every message of a group, 64 hex digits (the limit is 255 letters).
fn dedup_key(notice: &Notice) -> String {
    format!("{:x}", Sha256::digest(&*notice.group_key))
}

fn trigger(pagerduty: &PagerDuty, notice: &Notice, card: &Card) -> Map<String, Value> {
    let summary = or(pagerduty.description.as_ref(), notice, || card.headline.clone());
    let severity = or(pagerduty.severity.as_ref(), notice, || severity(card.mood).to_owned());
    let source = or(pagerduty.source.as_ref(), notice, || notice.external_url.to_string());
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
    let mut event = Map::from_iter(client(pagerduty, notice));
    event.insert("payload".to_owned(), payload.into());
    event.insert("links".to_owned(), links(pagerduty, notice, card).into());
    let images: Vec<Value> = pagerduty.images.iter().map(|one| image(one, notice)).collect();
    if !images.is_empty() {
        event.insert("images".to_owned(), images.into());
    }
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

fn image(image: &PagerDutyImage, notice: &Notice) -> Value {
    let mut shown = json!({"src": filled(&image.src, notice)});
    for (key, template) in [("alt", &image.alt), ("href", &image.href)] {
        if let Some(template) = template {
            shown[key] = filled(template, notice).into();
        }
    }
    shown
}
