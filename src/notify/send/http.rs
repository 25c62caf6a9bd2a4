//! HTTP to every notifier but mail.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{
    AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
};
use ring::hmac;
use serde_json::Value;

use crate::notify::address::{self, REFUSED};
use crate::notify::http_config::{Auth, Http, Tls};
use crate::notify::notifiers::{Answer, HttpRequest};
use crate::notify::secret::Secret;
use crate::notify::{Failure, Message};
use crate::signal::{Text, Timestamp};

/// Bytes of an answer that are read; Slack's are some hundred.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Clients that are kept; a reload with other certificates makes new ones.
const CLIENTS_MAX: usize = 64;
/// Errors of Slack that pass.
const SLACK_RETRYABLE: [&str; 6] = [
    "ratelimited",
    "rate_limited",
    "internal_error",
    "service_unavailable",
    "fatal_error",
    "request_timeout",
];

/// What a client is made for.
type Kind = (Tls, Reach);

/// Which addresses may be connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    Guarded,
    Any,
}

#[derive(Debug, Default)]
pub(super) struct Clients(Mutex<BTreeMap<Kind, reqwest::Client>>);

impl Clients {
    /// Gives the handle of what was posted, where the other side has such a thing.
    pub(super) async fn send(
        &self,
        request: &HttpRequest,
        message: &Message,
        now: Timestamp,
    ) -> Result<Option<Text>, Failure> {
        let http = &message.notifier.http;
        let client = self.client(http)?;
        let url = guarded_url(request, http)?;
        let body = body(request);
        let headers = headers(request, http, message, (now, &body))?;
        let answer = client.post(url).headers(headers).body(body).send().await;
        let answer = answer.map_err(|error| unsent(&error))?;
        let status = answer.status();
        if !status.is_success() {
            return Err(refused(status, retry_after(answer.headers(), now)));
        }
        match request.answer {
            Answer::Status => Ok(None),
            Answer::Slack | Answer::SlackUpdate => slack_answer(answer).await,
        }
    }

    fn client(&self, http: &Http) -> Result<reqwest::Client, Failure> {
        let reach = if http.allows_link_local { Reach::Any } else { Reach::Guarded };
        let kind = (http.tls.clone(), reach);
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&kind) {
            return Ok(client.clone());
        }
        if clients.len() >= CLIENTS_MAX {
            clients.clear();
        }
        let client = make(&kind)
            .map_err(|error| Failure::for_good(format!("tls_config: {}", cause(&error))))?;
        clients.insert(kind, client.clone());
        Ok(client)
    }
}

fn make((tls, reach): &Kind) -> Result<reqwest::Client, reqwest::Error> {
    let mut builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .user_agent(concat!("throughline/", env!("CARGO_PKG_VERSION")));
    if *reach == Reach::Guarded {
        builder = builder.dns_resolver(std::sync::Arc::new(address::Resolver));
    }
    if let Some(ca) = &tls.ca {
        builder = builder.tls_certs_merge(reqwest::Certificate::from_pem_bundle(ca.as_bytes())?);
    }
    if let Some(identity) = &tls.identity {
        builder = builder.identity(reqwest::Identity::from_pem(identity.expose().as_bytes())?);
    }
    if tls.is_insecure {
        builder = builder.tls_danger_accept_invalid_certs(true);
    }
    builder.build()
}

/// An address that is written as a number is not resolved, so it is asked here.
fn guarded_url(request: &HttpRequest, http: &Http) -> Result<reqwest::Url, Failure> {
    let url = reqwest::Url::parse(request.url.expose())
        .map_err(|_| Failure::for_good("the address is no URL".to_owned()))?;
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let is_refused = host.parse().is_ok_and(address::is_refused);
    if is_refused && !http.allows_link_local {
        return Err(Failure::for_good(REFUSED.to_owned()));
    }
    Ok(url)
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
        None => None,
    };
    if let Some(auth) = auth {
        headers.insert(AUTHORIZATION, value(&auth)?);
    }
    for (name, secret) in &http.headers {
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| Failure::for_good("http_headers: a name is no header's".to_owned()))?;
        headers.append(name, value(secret.expose())?);
    }
    Ok(headers)
}

fn value(text: &str) -> Result<HeaderValue, Failure> {
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
fn refused(status: reqwest::StatusCode, retry_after: Option<Duration>) -> Failure {
    let retryable = status.is_server_error() || matches!(status.as_u16(), 408 | 429);
    let hint = if status.is_redirection() { "; redirects are not followed" } else { "" };
    let message = format!("answered {status}{hint}").into();
    Failure { message, retryable, retry_after }
}

/// Seconds, or a time (RFC 9110 10.2.3).
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp().as_millisecond();
    Some(Timestamp::from_millis(at).since(now))
}

/// Not answered. The address is no part of the text: it may be a secret.
fn unsent(error: &reqwest::Error) -> Failure {
    let cause = cause(error);
    if cause.contains(REFUSED) {
        return Failure::for_good(REFUSED.to_owned());
    }
    let what = if error.is_connect() { "cannot connect" } else { "the connection broke" };
    Failure::for_now(format!("{what}: {cause}"))
}

/// The innermost error: what failed, without the address that the outer ones name.
fn cause(error: &reqwest::Error) -> String {
    let mut at: &dyn std::error::Error = error;
    while let Some(source) = at.source() {
        at = source;
    }
    if std::ptr::addr_eq(at, error) { "the request failed".to_owned() } else { at.to_string() }
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

async fn read(mut answer: reqwest::Response) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| unsent(&error))? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(Failure::for_good("the answer is too long".to_owned()));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
