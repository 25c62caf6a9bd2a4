//! HTTP to every notifier but mail.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{
    AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
};
use ring::hmac;
use serde_json::Value;

use super::client::{Clients, Reach, Way};
use super::oauth2::Tokens;
use super::trouble::unsent;
use crate::notify::http_config::{Auth, Http, OAuth2};
use crate::notify::notifiers::{Answer, HttpRequest};
use crate::notify::secret::Secret;
use crate::notify::{Failure, Message};
use crate::signal::{Text, Timestamp};

/// Bytes of an answer that are read; Slack's are some hundred.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Errors of Slack that pass.
const SLACK_RETRYABLE: [&str; 6] = [
    "ratelimited",
    "rate_limited",
    "internal_error",
    "service_unavailable",
    "fatal_error",
    "request_timeout",
];

/// Connections and tokens of all notifiers.
#[derive(Debug, Default)]
pub(super) struct Door {
    clients: Clients,
    tokens: Tokens,
}

/// A body and what is sent with it but for who we are.
struct Parcel {
    way: Way,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Door {
    /// Gives the handle of what was posted, where the other side has such a thing.
    pub(super) async fn send(
        &self,
        request: &HttpRequest,
        message: &Message,
        now: Timestamp,
    ) -> Result<Option<Text>, Failure> {
        let http = &message.notifier.http;
        let reach = Reach::of(http);
        let way = self.clients.way((&http.tls, &http.proxy, reach), &request.url)?;
        let body = body(request);
        let headers = headers(request, http, message, (now, &body))?;
        let parcel = Parcel { way, headers, body };
        let answer = match &http.auth {
            Some(Auth::OAuth2(oauth2)) if request.bearer.is_none() => {
                self.post_with_token(&parcel, (oauth2, reach), now).await?
            }
            _ => post(&parcel, None).await?,
        };
        let status = answer.status();
        if !status.is_success() {
            let failure = refused(status, retry_after(answer.headers(), now));
            let is_busy = request.answer == Answer::PagerDutyFirst && status.as_u16() == 403;
            return Err(Failure { retryable: failure.retryable || is_busy, ..failure });
        }
        match request.answer {
            Answer::Status | Answer::PagerDutyFirst => Ok(None),
            Answer::Slack | Answer::SlackUpdate => slack_answer(answer).await,
        }
    }

    /// A token that the other side no longer takes is asked for anew, once.
    async fn post_with_token(
        &self,
        parcel: &Parcel,
        (oauth2, reach): (&OAuth2, Reach),
        now: Timestamp,
    ) -> Result<reqwest::Response, Failure> {
        let kept = self.tokens.kept(oauth2, now);
        let was_kept = kept.is_some();
        let token = match kept {
            Some(token) => token,
            None => self.tokens.ask(&self.clients, oauth2, (reach, now)).await?,
        };
        let answer = post(parcel, Some(&token)).await?;
        if answer.status() != reqwest::StatusCode::UNAUTHORIZED || !was_kept {
            return Ok(answer);
        }
        let token = self.tokens.ask(&self.clients, oauth2, (reach, now)).await?;
        post(parcel, Some(&token)).await
    }
}

async fn post(parcel: &Parcel, token: Option<&Secret>) -> Result<reqwest::Response, Failure> {
    let mut headers = parcel.headers.clone();
    if let Some(token) = token {
        headers.insert(AUTHORIZATION, value(token.expose())?);
    }
    let request = parcel.way.post().headers(headers).body(parcel.body.clone());
    request.send().await.map_err(|error| unsent(&error))
}

fn body(request: &HttpRequest) -> Vec<u8> {
    let mut body = request.body.clone();
    for (key, secret) in &request.secret_keys {
        if let Some(place) = body.get_mut(key) {
            *place = secret.expose().into();
        }
    }
    body.to_string().into_bytes()
}

fn headers(
    request: &HttpRequest,
    http: &Http,
    message: &Message,
    (now, body): (Timestamp, &[u8]),
) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    for (name, secret) in &http.headers {
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| Failure::for_good("http_headers: a name is no header's".to_owned()))?;
        headers.append(name, value(secret.expose())?);
    }
    // Ours take the place of any that were written: a receiver knows a message by its one id.
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    let stamp = now.as_secs().to_string();
    headers.insert("webhook-id", value(&message.id)?);
    headers.insert("webhook-timestamp", value(&stamp)?);
    if let Some(key) = &request.signing_key {
        headers.insert("webhook-signature", value(&signature(key, &message.id, &stamp, body)?)?);
    }
    let own = request.bearer.as_ref().map(|token| format!("Bearer {}", token.expose()));
    let auth = match &http.auth {
        _ if own.is_some() => own,
        Some(Auth::Header(header)) => Some(header.expose().to_owned()),
        Some(Auth::Basic { user, password }) => {
            let pair = STANDARD.encode(format!("{user}:{}", password.expose()));
            Some(format!("Basic {pair}"))
        }
        // Its token is asked for when it is needed.
        Some(Auth::OAuth2(_)) | None => None,
    };
    if let Some(auth) = auth {
        headers.insert(AUTHORIZATION, value(&auth)?);
    }
    Ok(headers)
}

pub(super) fn value(text: &str) -> Result<HeaderValue, Failure> {
    let mut value = HeaderValue::from_str(text).map_err(|_| {
        Failure::for_good("a header's value has characters that it cannot have".to_owned())
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// Standard Webhooks: `v1,` and base64 of HMAC-SHA256 over id, time and body.
pub(super) fn signature(
    key: &Secret,
    id: &str,
    stamp: &str,
    body: &[u8],
) -> Result<String, Failure> {
    let bad = |_| Failure::for_good("signing_key is no base64".to_owned());
    let text = key.expose().strip_prefix("whsec_").unwrap_or(key.expose());
    let key = STANDARD.decode(text).map_err(bad)?;
    let mut mac = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &key));
    mac.update(format!("{id}.{stamp}.").as_bytes());
    mac.update(body);
    Ok(format!("v1,{}", STANDARD.encode(mac.sign())))
}

/// Alertmanager retries 5xx; 408 and 429 ask for it as well (RFC 9110 15.5.9, RFC 6585 4).
pub(super) fn refused(status: reqwest::StatusCode, retry_after: Option<Duration>) -> Failure {
    let retryable = status.is_server_error() || matches!(status.as_u16(), 408 | 429);
    let hint = if status.is_redirection() { "; redirects are not followed" } else { "" };
    let message = format!("answered {status}{hint}").into();
    Failure { message, retryable, retry_after }
}

/// Seconds, or a time (RFC 9110 10.2.3).
pub(super) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp().as_millisecond();
    Some(Timestamp::from_millis(at).since(now))
}

/// `{"ok": true, "channel": "C1", "ts": "1.2"}` of the API; an incoming webhook answers `ok`.
async fn slack_answer(answer: reqwest::Response) -> Result<Option<Text>, Failure> {
    let body = read(answer).await?;
    let Ok(answer) = serde_json::from_slice::<Value>(&body) else { return Ok(None) };
    if answer["ok"] == false {
        let code = answer["error"].as_str().unwrap_or_default();
        let is_code = code.len() <= 64 && code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        let code = if is_code && !code.is_empty() { code } else { "an error" };
        let text = format!("Slack answered {code}");
        let is_passing = SLACK_RETRYABLE.contains(&code);
        return Err(if is_passing { Failure::for_now(text) } else { Failure::for_good(text) });
    }
    let handle = answer["channel"].as_str().zip(answer["ts"].as_str());
    Ok(handle.map(|(channel, ts)| format!("{channel} {ts}").into()))
}

pub(super) async fn read(mut answer: reqwest::Response) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| unsent(&error))? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(Failure::for_good("the answer is too long".to_owned()));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
