//! How each notifier tells a [`super::Notice`]: one file a notifier.
//!
//! A message comes in, a request that is ready to be sent goes out, as large as the other side takes.
//! Pure: nothing here opens a connection. Secrets are no part of a body before it is sent.

pub(crate) mod email;
pub(crate) mod google_chat;
pub(crate) mod pagerduty;
pub(crate) mod slack;
pub(crate) mod teams;
#[cfg(test)]
mod tests;
pub mod webhook;

use serde_json::Value;

use self::email::Mail;
use super::card::{Card, Fitted};
use super::notice::Notice;
use super::receivers::To;
use super::secret::Secret;
use super::template::Template;
use super::{Failure, Message};

/// What is sent.
#[derive(Debug)]
pub enum Request {
    Http(Box<HttpRequest>),
    Mail(Box<Mail>),
}

/// A request and what it could not hold.
#[derive(Debug)]
pub struct Rendered {
    pub request: Request,
    /// Blocks of the message that the platform has no room for.
    pub n_dropped: usize,
}

#[derive(Debug)]
pub struct HttpRequest {
    pub url: Secret,
    pub body: Value,
    /// Keys of the body that are filled in when it is sent.
    pub secret_keys: Vec<(&'static str, Secret)>,
    /// The `Authorization` header of the notifier's kind.
    pub bearer: Option<Secret>,
    /// Signs the body (Standard Webhooks).
    pub signing_key: Option<Secret>,
    pub answer: Answer,
}

/// How the other side says that it took a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// By a 2xx.
    Status,
    /// By a 2xx; a 403 says that there were too many (PagerDuty's first version).
    PagerDutyFirst,
    /// By `"ok": true` in a JSON body, too.
    Slack,
    /// The same, to a change of an earlier message: where that is gone, the message is posted anew.
    SlackUpdate,
}

impl HttpRequest {
    fn post(url: Secret, body: Value) -> Self {
        let (secret_keys, answer) = (Vec::new(), Answer::Status);
        Self { url, body, secret_keys, bearer: None, signing_key: None, answer }
    }
}

impl Rendered {
    fn http(request: HttpRequest, n_dropped: usize) -> Self {
        Self { request: Request::Http(Box::new(request)), n_dropped }
    }
}

/// A message in the notifier's own form.
pub fn render(message: &Message) -> Result<Rendered, Failure> {
    let notice = &message.notice;
    match &message.notifier.to {
        To::Webhook(webhook) => Ok(Rendered::http(webhook::request(webhook, notice), 0)),
        To::Slack(slack) => slack::request(slack, notice, message.handle.as_deref()),
        To::Teams(teams) => Ok(teams::request(teams, notice)),
        To::GoogleChat(chat) => Ok(google_chat::request(chat, notice)),
        To::PagerDuty(pagerduty) => Ok(pagerduty::request(pagerduty, notice)),
        To::Email(email) => email::request(email, message),
    }
}

/// A template filled in; what cannot be filled says so in its own place, as rules do: a message with a
/// broken text is worth more than none.
fn filled(template: &Template, notice: &Notice) -> String {
    template.text(notice).unwrap_or_else(|error| format!("<error expanding template: {error}>"))
}

/// An address that a template gives: without one there is nowhere to send to.
fn address(template: &Template, notice: &Notice, key: &str) -> Result<String, Failure> {
    let text = template
        .text(notice)
        .map_err(|error| Failure::for_good(format!("the template of `{key}`: {error}")))?;
    let text = text.trim();
    if text.is_empty() {
        return Err(Failure::for_good(format!("the template of `{key}` gave nothing")));
    }
    Ok(text.to_owned())
}

/// Renders a card as JSON of at most `bytes_max`.
fn fitted(card: Card, bytes_max: usize, render: impl Fn(&Card) -> Value) -> Fitted<Value> {
    card.fit(render, |body| body.to_string().len() <= bytes_max)
}
