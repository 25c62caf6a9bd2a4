//! Sends one message. An edge: the only I/O of notify.

use std::time::Duration;

use super::config::To;
use super::notifiers::webhook;
use super::{Failure, Message};

/// A receiver that takes longer than this is tried again; Alertmanager waits for ever by default.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A client for webhooks: no redirects, since a redirect could lead an alert to where nobody meant it.
pub fn client() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .timeout(TIMEOUT)
        .connect_timeout(TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("throughline/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// One attempt. None: delivered. The `webhook-id` header is the same on every attempt (Standard
/// Webhooks), so a receiver can tell a repeat.
pub async fn send(
    client: &reqwest::Client,
    message: &Message,
    now: crate::signal::Timestamp,
) -> Option<Failure> {
    let To::Webhook(webhook) = &message.notifier.to;
    let body = webhook::body(&message.notice, webhook.max_alerts);
    let request = client
        .post(webhook.url.expose())
        .header("webhook-id", &*message.id)
        .header("webhook-timestamp", now.as_secs().to_string())
        .json(&body);
    match request.send().await {
        Ok(response) if response.status().is_success() => None,
        Ok(response) => {
            let status = response.status();
            // Alertmanager retries 5xx; 408 and 429 ask for it as well (RFC 9110 15.5.9, RFC 6585 4).
            let retryable = status.is_server_error() || matches!(status.as_u16(), 408 | 429);
            Some(Failure {
                message: format!("answered {status}").into(),
                retryable,
                retry_after: None,
            })
        }
        // The URL may hold a secret: it is never part of an error.
        Err(error) => Some(Failure {
            message: error.without_url().to_string().into(),
            retryable: true,
            retry_after: None,
        }),
    }
}
