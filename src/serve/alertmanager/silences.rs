//! Silences: seen, made, changed and ended, by the API and by our own page.

use std::sync::PoisonError;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{failed, filters, passes, time, unreadable};
use crate::notify::{Command, Silence, SilenceError, SilenceMatcher, SilenceState};
use crate::serve::Views;
use crate::serve::params::Params;
use crate::signal::{Fnv128, Text, Timestamp};

/// Why a silence was not made or ended.
#[derive(Debug, thiserror::Error)]
pub(in crate::serve) enum Refused {
    #[error("{0}")]
    Wrong(String),
    #[error(transparent)]
    Invalid(#[from] SilenceError),
    #[error("silence {0} not found")]
    Unknown(String),
    #[error("silence {0} already expired")]
    Expired(Text),
    #[error("{0}")]
    NotNow(String),
}

impl Refused {
    pub(in crate::serve) const fn status(&self) -> StatusCode {
        match self {
            Self::Wrong(_) | Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::Unknown(_) => StatusCode::NOT_FOUND,
            // Alertmanager's own answer.
            Self::Expired(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NotNow(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// A silence as somebody asks for it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::serve) struct Wish {
    /// Of one to change; none or empty: a new one.
    pub(in crate::serve) id: Option<String>,
    pub(in crate::serve) matchers: Vec<SilenceMatcher>,
    pub(in crate::serve) starts_at: Option<String>,
    pub(in crate::serve) ends_at: Option<String>,
    pub(in crate::serve) created_by: Option<String>,
    pub(in crate::serve) comment: Option<String>,
}

fn shown(silence: &Silence, now: Timestamp) -> Value {
    json!({
        "id": silence.id,
        "status": {"state": silence.state(now).as_str()},
        "updatedAt": silence.updated_at,
        "startsAt": silence.starts_at,
        "endsAt": silence.ends_at,
        "createdBy": silence.created_by,
        "comment": silence.comment,
        "matchers": silence.matchers,
    })
}

/// Active ones first, those that end soonest first; then pending ones; then those that ended last.
pub(in crate::serve) fn sorted(views: &Views) -> Vec<Silence> {
    let now = views.clock.now();
    let mut all: Vec<Silence> = views
        .dispatcher
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .silences()
        .cloned()
        .collect();
    all.sort_by_key(|silence| {
        let order = match silence.state(now) {
            SilenceState::Active => silence.ends_at.as_nanos(),
            SilenceState::Pending => silence.starts_at.as_nanos(),
            SilenceState::Expired => u64::MAX - silence.ends_at.as_nanos(),
        };
        (silence.state(now), order)
    });
    all
}

pub(super) async fn list(State(views): State<Views>, params: Params) -> Response {
    let filters = match filters(&params) {
        Ok(filters) => filters,
        Err(message) => return failed(StatusCode::BAD_REQUEST, &message),
    };
    let now = views.clock.now();
    let wanted = |silence: &&Silence| {
        passes(&filters, |name| {
            silence.matchers.iter().find(|m| *m.name == *name).map(|m| &*m.value)
        })
    };
    let all = sorted(&views);
    Json(all.iter().filter(wanted).map(|silence| shown(silence, now)).collect::<Value>())
        .into_response()
}

pub(super) async fn one(State(views): State<Views>, Path(id): Path<String>) -> Response {
    let now = views.clock.now();
    let dispatcher = views.dispatcher.read().unwrap_or_else(PoisonError::into_inner);
    match dispatcher.silence(&id) {
        Some(silence) => Json(shown(silence, now)).into_response(),
        None => failed(StatusCode::NOT_FOUND, &Refused::Unknown(id).to_string()),
    }
}

pub(super) async fn post(State(views): State<Views>, body: Bytes) -> Response {
    let wish: Wish = match serde_json::from_slice(&body) {
        Ok(wish) => wish,
        Err(error) => return unreadable(&format!("parsing silence body failed: {error}")),
    };
    match make(&views, wish).await {
        Ok(id) => Json(json!({"silenceID": id})).into_response(),
        Err(refused) => failed(refused.status(), &refused.to_string()),
    }
}

pub(super) async fn expire(State(views): State<Views>, Path(id): Path<String>) -> Response {
    match end(&views, &id).await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(refused) => failed(refused.status(), &refused.to_string()),
    }
}

/// Ends one; it stays to be seen.
pub(in crate::serve) async fn end(views: &Views, id: &str) -> Result<(), Refused> {
    let turn = views.commands.turn().await;
    let now = views.clock.now();
    let found = {
        let dispatcher = views.dispatcher.read().unwrap_or_else(PoisonError::into_inner);
        dispatcher.silence(id).cloned()
    };
    let silence = found.ok_or_else(|| Refused::Unknown(id.to_owned()))?;
    if silence.state(now) == SilenceState::Expired {
        return Err(Refused::Expired(silence.id));
    }
    turn.command(Command::ExpireSilence(silence.id)).await.map_err(Refused::NotNow)
}

/// Makes a silence, or changes one. What cannot be changed in place is ended and made anew, as in
/// Alertmanager: history says what was silent when. Gives the id.
pub(in crate::serve) async fn make(views: &Views, wish: Wish) -> Result<Text, Refused> {
    let turn = views.commands.turn().await;
    let now = views.clock.now();
    let dispatcher = || views.dispatcher.read().unwrap_or_else(PoisonError::into_inner);
    let before =
        wish.id.as_deref().filter(|id| !id.is_empty()).map(|id| {
            dispatcher().silence(id).cloned().ok_or_else(|| Refused::Unknown(id.to_owned()))
        });
    let before = before.transpose()?;
    let mut silence = wished(wish, before.as_ref(), now)?;
    silence.check()?;
    let ended = match before {
        Some(before) if can_change(&before, &silence, now) => {
            silence.id = before.id;
            None
        }
        before => {
            silence.starts_at = silence.starts_at.max(now);
            silence.id = new_id(&silence);
            before.filter(|old| old.state(now) != SilenceState::Expired)
        }
    };
    if !dispatcher().has_room_for(&silence) {
        return Err(SilenceError::Full.into());
    }
    if let Some(before) = ended {
        turn.command(Command::ExpireSilence(before.id)).await.map_err(Refused::NotNow)?;
    }
    let id = Text::clone(&silence.id);
    turn.command(Command::SetSilence(silence)).await.map_err(Refused::NotNow)?;
    Ok(id)
}

fn wished(wish: Wish, before: Option<&Silence>, now: Timestamp) -> Result<Silence, Refused> {
    let starts_at = time(wish.starts_at.as_ref(), "startsAt").map_err(Refused::Wrong)?;
    let ends_at = time(wish.ends_at.as_ref(), "endsAt").map_err(Refused::Wrong)?;
    let ends_at = ends_at.ok_or_else(|| Refused::Wrong("endsAt is required".to_owned()))?;
    if ends_at <= now {
        return Err(Refused::Wrong("end time can't be in the past".to_owned()));
    }
    let mut matchers = wish.matchers;
    matchers.sort_by(|a, b| (&a.name, &a.value).cmp(&(&b.name, &b.value)));
    let starts_at = starts_at.unwrap_or(now);
    Ok(Silence {
        id: Text::default(),
        matchers,
        // A start in the past is the one that it had, or now. Clients round it.
        starts_at: match before {
            Some(before) if before.starts_at.as_secs() == starts_at.as_secs() => before.starts_at,
            _ => starts_at.max(now),
        },
        ends_at,
        updated_at: now,
        created_by: wish.created_by.unwrap_or_default().into(),
        comment: wish.comment.unwrap_or_default().into(),
    })
}

/// The same alerts, and no rewriting of what was.
fn can_change(before: &Silence, to: &Silence, now: Timestamp) -> bool {
    before.matchers == to.matchers
        && match before.state(now) {
            SilenceState::Active => to.starts_at == before.starts_at,
            SilenceState::Pending => true,
            SilenceState::Expired => false,
        }
}

/// A UUID of what it says and when; clients check the form.
fn new_id(silence: &Silence) -> Text {
    let hash = silence
        .matchers
        .iter()
        .fold(Fnv128::default(), |hash, matcher| hash.field(matcher.show().as_bytes()));
    let hash = hash
        .field(silence.created_by.as_bytes())
        .field(silence.comment.as_bytes())
        .field(&silence.ends_at.as_nanos().to_le_bytes())
        .field(&silence.updated_at.as_nanos().to_le_bytes());
    // Version 8, variant 1 (RFC 9562 5.8): made by a scheme of our own.
    let bits = (hash.finish() & !(0xf << 76)) | (8 << 76);
    let bits = (bits & !(0b11 << 62)) | (0b10 << 62);
    let hex = format!("{bits:032x}");
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
        .into()
}
