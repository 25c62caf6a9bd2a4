//! `throughline notify --test`: tries the notifiers of a receiver out, or shows what they would be sent.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::{block_on, say, say_error};
use crate::clock::Clock;
use crate::config::Config;
use crate::notify::notifiers::{Rendered, Request, render};
use crate::notify::send::Sender;
use crate::notify::{Message, trial};

const EXAMPLES: &str = "Examples:
  throughline notify --test on-call                      a marked test message to every notifier of it
  throughline notify --test on-call --preview            what each would be sent, and how long it is";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct NotifyArgs {
    /// The receiver of the notify configuration that is tried out.
    #[arg(long, value_name = "RECEIVER")]
    test: String,
    /// Shows each payload and its size, and sends nothing.
    #[arg(long)]
    preview: bool,
    /// The configuration file, whose `notify.config` names the receivers.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// JSON, one object for each notifier.
    #[arg(long)]
    json: bool,
}

/// What became of one notifier.
struct Tried {
    kind: &'static str,
    failure: Option<String>,
    payload: Option<Payload>,
}

struct Payload {
    /// Without secrets.
    body: Value,
    bytes: usize,
    n_dropped: usize,
}

pub(super) fn run(args: &NotifyArgs) -> anyhow::Result<ExitCode> {
    let config = match Config::load(args.config.as_deref(), &[]) {
        Ok(config) => config,
        Err(errors) => {
            errors.iter().for_each(|error| say_error(&error.to_string()));
            return Ok(ExitCode::FAILURE);
        }
    };
    let (clock, url) = (Clock::wall(), format!("{}://{}", config.scheme(), config.listen.web));
    let Some(messages) = trial::messages(&config.notify, &args.test, &url, clock.now()) else {
        let known: Vec<&str> =
            config.notify.receivers().iter().map(|receiver| &*receiver.name).collect();
        if known.is_empty() {
            anyhow::bail!(
                "no receivers are configured; give --config FILE whose `notify.config` names them"
            );
        }
        anyhow::bail!("no receiver `{}`; there are: {}", args.test, known.join(", "));
    };
    for receiver in config.notify.receivers().iter().filter(|one| *one.name == *args.test) {
        for unsupported in &receiver.unsupported {
            say_error(&format!("warning: {unsupported}"));
        }
    }
    if messages.is_empty() {
        anyhow::bail!("the receiver `{}` has no notifiers: it tells nobody", args.test);
    }
    let tried: Vec<Tried> = if args.preview {
        messages.iter().map(preview).collect()
    } else {
        block_on(send(&messages, &clock))?
    };
    for one in &tried {
        show(one, args);
    }
    let has_failed = tried.iter().any(|one| one.failure.is_some());
    Ok(if has_failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn send(messages: &[Message], clock: &Clock) -> Vec<Tried> {
    let sender = Sender::default();
    let mut tried = Vec::new();
    for message in messages {
        let outcome = sender.send(message, clock.now()).await;
        let failure = outcome.failure.map(|failure| failure.message.to_string());
        tried.push(Tried { kind: message.notifier.to.kind(), failure, payload: None });
    }
    tried
}

fn preview(message: &Message) -> Tried {
    let kind = message.notifier.to.kind();
    match render(message) {
        Ok(Rendered { request, n_dropped }) => {
            let (body, bytes) = match request {
                Request::Http(http) => {
                    let bytes = http.body.to_string().len();
                    (http.body, bytes)
                }
                Request::Mail(mail) => {
                    let text = mail.letter.formatted();
                    (String::from_utf8_lossy(&text).into(), text.len())
                }
            };
            Tried { kind, failure: None, payload: Some(Payload { body, bytes, n_dropped }) }
        }
        Err(failure) => Tried { kind, failure: Some(failure.message.to_string()), payload: None },
    }
}

fn show(tried: &Tried, args: &NotifyArgs) {
    let Tried { kind, failure, payload } = tried;
    if args.json {
        let mut line = json!({"receiver": args.test, "notifier": kind, "error": failure});
        if let Some(payload) = payload {
            line["bytes"] = payload.bytes.into();
            line["dropped_blocks"] = payload.n_dropped.into();
            line["body"] = payload.body.clone();
        }
        say(&line.to_string());
        return;
    }
    match (failure, payload) {
        (Some(failure), _) => say_error(&format!("{kind}: failed: {failure}")),
        (None, None) => say(&format!("{kind}: delivered")),
        (None, Some(Payload { body, bytes, n_dropped })) => {
            let dropped = match n_dropped {
                0 => String::new(),
                n => format!(", {n} blocks left out for length"),
            };
            say(&format!("== {kind}: {bytes} bytes{dropped}"));
            say(&match body {
                Value::String(mail) => mail.replace("\r\n", "\n"),
                body => format!("{body:#}"),
            });
        }
    }
}
