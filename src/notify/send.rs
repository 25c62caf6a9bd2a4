//! Sends one message. An edge: the only I/O of notify.
//!
//! A message goes to the address that the file names and to no other: redirects are not followed,
//! proxies used only where the file asks for them. Errors name neither address nor secret.

mod client;
mod http;
mod oauth2;
mod smtp;
#[cfg(test)]
mod tests;
mod trouble;

use self::http::Door;
use super::notifiers::{Answer, Rendered, Request, render, slack};
use super::receivers::To;
use super::{Failure, Message};
use crate::signal::{Text, Timestamp};

/// What became of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// None: delivered.
    pub failure: Option<Failure>,
    /// By what the message can be changed later.
    pub handle: Option<Text>,
}

impl Outcome {
    fn delivered(handle: Option<Text>) -> Self {
        Self { failure: None, handle }
    }

    fn failed(failure: Failure) -> Self {
        Self { failure: Some(failure), handle: None }
    }
}

/// The connections of all notifiers.
#[derive(Debug, Default)]
pub struct Sender {
    door: Door,
}

impl Sender {
    /// One attempt, within the notifier's timeout. The id is the same on every attempt, so the other
    /// side can tell a repeat.
    pub async fn send(&self, message: &Message, now: Timestamp) -> Outcome {
        let timeout = message.notifier.timeout;
        match tokio::time::timeout(timeout, self.attempt(message, now)).await {
            Ok(Ok(handle)) => Outcome::delivered(handle),
            Ok(Err(failure)) => Outcome::failed(failure),
            Err(_elapsed) => {
                let text = format!("no answer within {} s", timeout.as_secs_f64());
                Outcome::failed(Failure::for_now(text))
            }
        }
    }

    async fn attempt(&self, message: &Message, now: Timestamp) -> Result<Option<Text>, Failure> {
        let Rendered { request, .. } = render(message)?;
        let request = match request {
            Request::Http(request) => request,
            Request::Mail(mail) => {
                return smtp::send(*mail, &message.notifier.http.tls).await.map(|()| None);
            }
        };
        let sent = self.door.send(&request, message, now).await;
        let (Answer::SlackUpdate, Err(failure)) = (request.answer, &sent) else { return sent };
        let (false, To::Slack(slack)) = (failure.retryable, &message.notifier.to) else {
            return sent;
        };
        // The message to be changed is gone, or too old: the news matter more than the place.
        let Rendered { request: Request::Http(request), .. } =
            slack::as_new(slack, &message.notice)?
        else {
            return sent;
        };
        self.door.send(&request, message, now).await
    }
}
