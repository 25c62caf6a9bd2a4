//! Where alerts go: receivers and their notifiers, checked.
//!
//! What comes in is Alertmanager's `receivers` and `global` (`raw`), read by `check`; what goes out are
//! notifiers that need no other setting. Never does a secret stand in a printable field, and never does
//! an address come from an alert.

pub(super) mod check;
mod check_http;
mod check_person;
mod check_shape;
pub(super) mod raw;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::http_config::Http;
use super::secret::Secret;
use super::template::Template;
use crate::signal::{Diagnostic, Text};

/// A named set of notifiers.
#[derive(Clone, Debug, PartialEq)]
pub struct Receiver {
    pub name: Text,
    pub notifiers: Vec<Arc<Notifier>>,
    /// What the file asks for and we do not do.
    pub unsupported: Vec<Diagnostic>,
}

impl Receiver {
    pub(crate) fn n_notifiers(&self) -> usize {
        self.notifiers.len()
    }

    /// Whether the notifier at this position wants to hear of an end.
    pub(crate) fn sends_resolved(&self, position: usize) -> bool {
        self.notifiers.get(position).is_some_and(|notifier| notifier.send_resolved)
    }

    /// One webhook that hears of everything.
    pub(crate) fn webhook(name: &str, url: &str) -> Self {
        let webhook =
            Webhook { url: Secret::new(url), max_alerts: 0, payload: None, signing_key: None };
        let to = To::Webhook(webhook);
        let (http, timeout) = (Http::default(), check::TIMEOUT);
        let notifier = Arc::new(Notifier { send_resolved: true, timeout, http, to });
        Self { name: name.into(), notifiers: vec![notifier], unsupported: Vec::new() }
    }
}

/// One way to reach people.
#[derive(Clone, Debug, PartialEq)]
pub struct Notifier {
    /// Whether it is told when alerts end.
    pub send_resolved: bool,
    /// Of one attempt, connection and answer together.
    pub timeout: Duration,
    pub http: Http,
    pub to: To,
}

#[derive(Clone, Debug, PartialEq)]
pub enum To {
    Webhook(Webhook),
    Slack(Slack),
    Teams(Teams),
    GoogleChat(GoogleChat),
    PagerDuty(PagerDuty),
    Email(Email),
}

impl To {
    /// As the pages, `notify --test` and errors call it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Webhook(_) => "webhook",
            Self::Slack(_) => "slack",
            Self::Teams(_) => "teams",
            Self::GoogleChat(_) => "google_chat",
            Self::PagerDuty(_) => "pagerduty",
            Self::Email(_) => "email",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Webhook {
    pub url: Secret,
    /// Alerts in one message; 0 is no limit.
    pub max_alerts: usize,
    /// Instead of Alertmanager's body.
    pub payload: Option<Payload>,
    /// Signs every message (Standard Webhooks): the key's bytes in base64, `whsec_` before them or not.
    pub signing_key: Option<Secret>,
}

/// JSON of the user's own shape, whose texts are templates.
#[derive(Clone, Debug, PartialEq)]
pub enum Payload {
    /// A number, a truth value or nothing.
    Plain(serde_json::Value),
    Text(Template),
    List(Vec<Self>),
    Map(Vec<(Template, Self)>),
}

/// Where a Slack message goes.
#[derive(Clone, Debug, PartialEq)]
pub enum SlackAddress {
    /// An incoming webhook: it cannot change what it sent.
    Webhook(Secret),
    /// A bot: `chat.postMessage` and `chat.update` below this address.
    Bot { api: Secret, token: Secret },
}

#[derive(Clone, Debug, PartialEq)]
pub struct Slack {
    pub address: SlackAddress,
    pub channel: Option<Template>,
    /// A later message of the group takes the place of the one before it.
    pub update_message: bool,
    pub username: Option<Template>,
    pub icon_emoji: Option<Template>,
    pub icon_url: Option<Template>,
    /// What the file says instead of our own message: the parts of a Slack attachment.
    pub attachment: BTreeMap<&'static str, Template>,
    pub fields: Vec<SlackField>,
    pub actions: Vec<SlackAction>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct SlackField {
    pub title: Template,
    pub value: Template,
    pub short: bool,
}

/// A button of an attachment: a link, or one that an app is told of.
#[derive(Clone, Debug, PartialEq)]
pub struct SlackAction {
    pub kind: Template,
    pub text: Template,
    pub style: Option<Template>,
    pub does: SlackDoes,
}

#[derive(Clone, Debug, PartialEq)]
pub enum SlackDoes {
    Open {
        url: Template,
    },
    Tell {
        name: Template,
        value: Option<Template>,
        /// By the keys of Slack: `text`, `title`, `ok_text`, `dismiss_text`.
        confirm: BTreeMap<&'static str, Template>,
    },
}

/// A Teams workflow that posts adaptive cards.
#[derive(Clone, Debug, PartialEq)]
pub struct Teams {
    pub url: Secret,
    pub title: Option<Template>,
    pub text: Option<Template>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct GoogleChat {
    pub url: Secret,
    /// Instead of our own card.
    pub text: Option<Template>,
}

/// PagerDuty's Events API, in the version that its key is of.
#[derive(Clone, Debug, PartialEq)]
pub struct PagerDuty {
    pub url: Secret,
    pub key: PagerDutyKey,
    pub description: Option<Template>,
    pub severity: Option<Template>,
    pub source: Option<Template>,
    pub client: Option<Template>,
    pub client_url: Option<Template>,
    pub class: Option<Template>,
    pub component: Option<Template>,
    pub group: Option<Template>,
    pub details: BTreeMap<Text, Template>,
    pub links: Vec<PagerDutyLink>,
    pub images: Vec<PagerDutyImage>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum PagerDutyKey {
    /// Version 2: `routing_key`.
    Routing(Secret),
    /// Version 1, of services with the integration "Prometheus": `service_key`.
    Service(Secret),
}

#[derive(Clone, Debug, PartialEq)]
pub struct PagerDutyImage {
    pub src: Template,
    pub alt: Option<Template>,
    pub href: Option<Template>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct PagerDutyLink {
    pub href: Template,
    pub text: Option<Template>,
}

/// How a mail server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailTls {
    /// From the first byte on (port 465).
    Implicit,
    /// STARTTLS, or no mail.
    Required,
    /// STARTTLS where the server offers it.
    Offered,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Email {
    /// One address or several, separated by commas.
    pub to: Template,
    pub from: Template,
    pub host: Text,
    pub port: u16,
    pub tls: MailTls,
    pub hello: Text,
    pub login: Option<Login>,
    /// Header names as written, `Subject` among them.
    pub headers: BTreeMap<Text, Template>,
    pub html: Option<Template>,
    pub text: Option<Template>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    pub user: Text,
    pub password: Secret,
}
