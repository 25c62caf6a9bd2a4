//! Alerts and groups as Alertmanager shows them, and alerts that others post.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use regex::Regex;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{failed, filters, passes, time, unreadable};
use crate::go_regex;
use crate::notify::{AlertView, Command, PostedAlert};
use crate::series::Matcher;
use crate::serve::Views;
use crate::serve::params::Params;
use crate::signal::{Labels, Text, Timestamp};

/// Alerts in one post; a sender with more sends several.
const POST_MAX: usize = 10_000;

/// Which alerts are asked for.
struct Wanted {
    filters: Vec<Matcher>,
    receiver: Option<Regex>,
    /// Of [`classes`], those that are not asked for.
    left_out: Vec<&'static str>,
}

impl Wanted {
    fn read(params: &Params) -> Result<Self, String> {
        let receiver = params.get("receiver").map(go_regex::whole);
        let mut left_out = Vec::new();
        for class in ["active", "unprocessed", "silenced", "inhibited", "muted"] {
            if !params.flag(class, true)? {
                left_out.push(class);
            }
        }
        Ok(Self {
            filters: filters(params)?,
            receiver: receiver
                .transpose()
                .map_err(|error| format!("failed to parse receiver param: {error}"))?,
            left_out,
        })
    }

    fn takes(&self, alert: &AlertView) -> bool {
        let reaches = |receiver: &Regex| alert.receivers.iter().any(|name| receiver.is_match(name));
        !classes(alert).any(|class| self.left_out.contains(&class))
            && self.receiver.as_ref().is_none_or(reaches)
            && passes(&self.filters, |name| alert.labels.get(name))
    }
}

/// What an alert is, by the names of the parameters that leave it out.
fn classes(alert: &AlertView) -> impl Iterator<Item = &'static str> {
    let suppression = &alert.suppression;
    [
        ("silenced", !suppression.silenced_by.is_empty()),
        ("inhibited", !suppression.inhibited_by.is_empty()),
        ("muted", !suppression.muted_by.is_empty()),
        (state(alert), true),
    ]
    .into_iter()
    .filter_map(|(class, is_so)| is_so.then_some(class))
}

fn state(alert: &AlertView) -> &'static str {
    let suppression = &alert.suppression;
    if !suppression.silenced_by.is_empty() || !suppression.inhibited_by.is_empty() {
        "suppressed"
    } else if alert.is_unprocessed {
        "unprocessed"
    } else {
        "active"
    }
}

fn hex(fingerprint: u64) -> String {
    format!("{fingerprint:016x}")
}

fn shown(alert: &AlertView) -> Value {
    let suppression = &alert.suppression;
    let inhibited_by: Vec<String> = suppression.inhibited_by.iter().copied().map(hex).collect();
    json!({
        "labels": alert.labels,
        "annotations": alert.annotations,
        "startsAt": alert.starts_at,
        "endsAt": alert.ends_at,
        "updatedAt": alert.updated_at,
        "generatorURL": alert.generator_url,
        "fingerprint": hex(alert.labels.signature()),
        "receivers": alert.receivers.iter().map(|name| json!({"name": name})).collect::<Value>(),
        "status": {
            "state": state(alert),
            "silencedBy": suppression.silenced_by,
            "inhibitedBy": inhibited_by,
            "mutedBy": suppression.muted_by,
        },
    })
}

pub(super) async fn list(State(views): State<Views>, params: Params) -> Response {
    let wanted = match Wanted::read(&params) {
        Ok(wanted) => wanted,
        Err(message) => return failed(StatusCode::BAD_REQUEST, &message),
    };
    let now = views.clock.now();
    let mut alerts = views.dispatcher.read().unwrap_or_else(PoisonError::into_inner).alerts(now);
    alerts.retain(|alert| wanted.takes(alert));
    alerts.sort_by_key(|alert| alert.labels.signature());
    Json(alerts.iter().map(shown).collect::<Value>()).into_response()
}

pub(super) async fn groups(State(views): State<Views>, params: Params) -> Response {
    let wanted = match Wanted::read(&params) {
        Ok(wanted) => wanted,
        Err(message) => return failed(StatusCode::BAD_REQUEST, &message),
    };
    let now = views.clock.now();
    let mut groups =
        views.dispatcher.read().unwrap_or_else(PoisonError::into_inner).alert_groups(now);
    groups.sort_by(|a, b| (&a.labels, &a.receiver).cmp(&(&b.labels, &b.receiver)));
    let group = |group: &crate::notify::AlertGroupView| {
        let reaches = |receiver: &Regex| receiver.is_match(&group.receiver);
        let takes = |alert: &&AlertView| wanted.takes(alert);
        let alerts: Vec<Value> = group.alerts.iter().filter(takes).map(shown).collect();
        let is_wanted = wanted.receiver.as_ref().is_none_or(reaches) && !alerts.is_empty();
        is_wanted.then(|| {
            json!({"labels": group.labels, "receiver": {"name": group.receiver}, "alerts": alerts})
        })
    };
    Json(groups.iter().filter_map(group).collect::<Value>()).into_response()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawAlert {
    labels: BTreeMap<String, String>,
    annotations: Option<BTreeMap<String, String>>,
    starts_at: Option<String>,
    ends_at: Option<String>,
    #[serde(rename = "generatorURL")]
    generator_url: Option<String>,
}

/// What Alertmanager takes: labels without empty values, at least one; an end after the start.
fn read(raw: &RawAlert, now: Timestamp) -> Result<PostedAlert, String> {
    let text = |(name, value): (&String, &String)| (name.as_str().into(), value.as_str().into());
    let labels = Labels::new(raw.labels.iter().map(text));
    if labels.is_empty() {
        return Err("at least one label pair required".to_owned());
    }
    if raw.labels.contains_key("") {
        return Err("invalid label name \"\"".to_owned());
    }
    let ends_at = time(raw.ends_at.as_ref(), "endsAt")?;
    let starts_at = time(raw.starts_at.as_ref(), "startsAt")?;
    let starts_at = starts_at.unwrap_or_else(|| ends_at.map_or(now, |end| end.min(now)));
    if ends_at.is_some_and(|end| end < starts_at) {
        return Err("start time must be before end time".to_owned());
    }
    Ok(PostedAlert {
        labels,
        annotations: raw.annotations.iter().flatten().map(text).collect::<BTreeMap<Text, Text>>(),
        starts_at,
        ends_at,
        generator_url: raw.generator_url.as_deref().unwrap_or_default().into(),
    })
}

/// 200 when all of them are on disk. Good ones among bad ones are taken, as Alertmanager does, and so are ends
/// and repeats of alerts that are held where there is no room for new ones.
pub(super) async fn post(State(views): State<Views>, body: Bytes) -> Response {
    let raw: Vec<RawAlert> = match serde_json::from_slice(&body) {
        Ok(raw) => raw,
        Err(error) => return unreadable(&format!("parsing alerts body failed: {error}")),
    };
    if raw.len() > POST_MAX {
        return failed(
            StatusCode::BAD_REQUEST,
            &format!("a post holds {POST_MAX} alerts at most; send several"),
        );
    }
    let now = views.clock.now();
    let (mut posted, mut errors) = (Vec::new(), Vec::new());
    for one in &raw {
        match read(one, now) {
            Ok(alert) => posted.push(alert),
            Err(error) => errors.push(error),
        }
    }
    let n_posted = posted.len();
    let turn = views.commands.turn().await;
    let posted = {
        let dispatcher = views.dispatcher.read().unwrap_or_else(PoisonError::into_inner);
        dispatcher.with_room(posted, now)
    };
    let n_refused = n_posted - posted.len();
    if !posted.is_empty()
        && let Err(message) = turn.command(Command::PostAlerts(posted)).await
    {
        return failed(StatusCode::SERVICE_UNAVAILABLE, &message);
    }
    if n_refused > 0 {
        let message = format!("too many alerts are held for {n_refused} new ones; try again later");
        return failed(StatusCode::SERVICE_UNAVAILABLE, &message);
    }
    if errors.is_empty() {
        return StatusCode::OK.into_response();
    }
    failed(StatusCode::BAD_REQUEST, &errors.join("; "))
}
