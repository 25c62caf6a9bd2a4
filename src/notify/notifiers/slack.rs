//! Slack: an incoming webhook, or a bot that can change what it posted.
//!
//! Our message is a coloured attachment of blocks under a text that is complete alone; a configuration
//! with its own `title`, `text`, `pretext` or `fields` gets the attachment that Alertmanager makes.

use serde_json::{Map, Value, json};

use super::{Answer, HttpRequest, Rendered, address, filled, fitted};
use crate::notify::Failure;
use crate::notify::card::words::shortened;
use crate::notify::card::{Block, Card, Shape};
use crate::notify::notice::Notice;
use crate::notify::receivers::{Slack, SlackAction, SlackAddress, SlackDoes};
use crate::notify::secret::Secret;
use crate::notify::template::{Template, default_text};

/// Letters of a section (Slack's limit is 3,000).
const SECTION_MAX: usize = 2_900;
/// Bytes of a whole message: from about 13,200 on Slack answers `msg_blocks_too_long`, which is not
/// documented.
const MESSAGE_BYTES_MAX: usize = 12_000;
/// Letters of a headline: a lock screen shows fewer.
const HEADLINE_MAX: usize = 300;
/// Letters of an attachment's title (Alertmanager's limit).
const TITLE_MAX: usize = 1_024;
/// Buttons of one block.
const BUTTONS_MAX: usize = 25;
/// Letters on a button.
const LABEL_MAX: usize = 75;
/// Bytes of a button's address.
const URL_MAX: usize = 3_000;
const POST: &str = "chat.postMessage";
const UPDATE: &str = "chat.update";

/// `handle` is `CHANNEL TS` of the message that this one takes the place of.
pub(super) fn request(
    slack: &Slack,
    notice: &Notice,
    handle: Option<&str>,
) -> Result<Rendered, Failure> {
    let mut head = Map::new();
    if let Some(channel) = &slack.channel {
        head.insert("channel".to_owned(), address(channel, notice, "channel")?.into());
    }
    for (key, template) in [
        ("username", &slack.username),
        ("icon_emoji", &slack.icon_emoji),
        ("icon_url", &slack.icon_url),
    ] {
        let text = template.as_ref().map(|template| filled(template, notice));
        head.extend(text.filter(|text| !text.is_empty()).map(|text| (key.to_owned(), text.into())));
    }
    let tells = |action: &SlackAction| matches!(action.does, SlackDoes::Tell { .. });
    let has_own_text = !slack.fields.is_empty()
        || slack.actions.iter().any(tells)
        || ["title", "text", "pretext"].iter().any(|key| slack.attachment.contains_key(key));
    let (message, n_dropped) = if has_own_text {
        (own_message(slack, notice), 0)
    } else {
        let links = links(slack, notice);
        let render = |card: &Card| our_message(card, &links);
        let fitted = fitted(Card::compose(notice), MESSAGE_BYTES_MAX, render);
        (fitted.body, fitted.n_dropped)
    };
    if let Value::Object(message) = message {
        head.extend(message);
    }
    let update = handle.filter(|_| slack.update_message).and_then(|handle| handle.split_once(' '));
    if let Some((channel, ts)) = update {
        head.insert("channel".to_owned(), channel.into());
        head.insert("ts".to_owned(), ts.into());
    }
    let answer = if update.is_some() { Answer::SlackUpdate } else { Answer::Slack };
    let (url, bearer) = match &slack.address {
        SlackAddress::Webhook(url) => (url.clone(), None),
        SlackAddress::Bot { api, token } => (api.clone(), Some(token.clone())),
    };
    let url = if update.is_some() { update_url(&url) } else { url };
    let post = HttpRequest::post(url, Value::Object(head));
    Ok(Rendered::http(HttpRequest { bearer, answer, ..post }, n_dropped))
}

/// The same request as a new message: what it was to change is gone.
pub(crate) fn as_new(slack: &Slack, notice: &Notice) -> Result<Rendered, Failure> {
    request(slack, notice, None)
}

fn update_url(post: &Secret) -> Secret {
    let post = post.expose();
    match post.strip_suffix(POST) {
        Some(base) => Secret::new(&format!("{base}{UPDATE}")),
        None => Secret::new(&format!("{}/{UPDATE}", post.trim_end_matches('/'))),
    }
}

/// The links among the actions of the file, as buttons beside ours. What is no address would make Slack
/// refuse the whole message.
fn links(slack: &Slack, notice: &Notice) -> Vec<Value> {
    let link = |action: &SlackAction| match &action.does {
        SlackDoes::Open { url } => Some((filled(&action.text, notice), filled(url, notice))),
        SlackDoes::Tell { .. } => None,
    };
    let links = slack.actions.iter().filter_map(link);
    let links = links.filter(|(_, url)| url.starts_with("https://") || url.starts_with("http://"));
    links.map(|(label, url)| button(&shortened(&label, LABEL_MAX), &url)).collect()
}

fn our_message(card: &Card, links: &[Value]) -> Value {
    let mut blocks: Vec<Value> = card.blocks.iter().map(block).collect();
    let ours = card.buttons.iter().map(|one| button(one.label, &one.url));
    let elements: Vec<Value> = ours.chain(links.iter().cloned()).take(BUTTONS_MAX).collect();
    if !elements.is_empty() {
        blocks.push(json!({"type": "actions", "elements": elements}));
    }
    json!({
        "text": escaped(&shortened(&card.headline, HEADLINE_MAX)),
        "attachments": [{"color": card.mood.color(), "blocks": blocks}],
    })
}

fn block(block: &Block) -> Value {
    let text = escaped(&shortened(&block.text, SECTION_MAX));
    match block.shape {
        Shape::Line => json!({"type": "section", "text": {"type": "mrkdwn", "text": text}}),
        Shape::Code => {
            let text = format!("```{}```", text.replace("```", "'''"));
            json!({"type": "section", "text": {"type": "mrkdwn", "text": text}})
        }
        Shape::Footer => {
            json!({"type": "context", "elements": [{"type": "mrkdwn", "text": text}]})
        }
    }
}

fn button(label: &str, url: &str) -> Value {
    // A button without its link would be worse than a link that leads to the page above it.
    let url = if url.len() <= URL_MAX { url } else { url.split('?').next().unwrap_or_default() };
    json!({"type": "button", "text": {"type": "plain_text", "text": label}, "url": url})
}

/// Slack's three control characters; without them no label can mention a channel or make a link.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The attachment that Alertmanager makes of the same keys.
fn own_message(slack: &Slack, notice: &Notice) -> Value {
    let mut attachment = Map::new();
    for (key, default) in [
        ("color", "slack.default.color"),
        ("title", "slack.default.title"),
        ("title_link", "slack.default.titlelink"),
        ("fallback", "slack.default.fallback"),
        ("pretext", ""),
        ("text", ""),
        ("footer", ""),
        ("callback_id", ""),
        ("image_url", ""),
        ("thumb_url", ""),
    ] {
        let text = match slack.attachment.get(key) {
            Some(template) => filled(template, notice),
            None if default.is_empty() => continue,
            None => default_text(default, notice),
        };
        let text = if key == "title" { shortened(&text, TITLE_MAX) } else { text };
        attachment.insert(key.to_owned(), text.into());
    }
    let fields: Vec<Value> = slack
        .fields
        .iter()
        .map(|field| {
            let (title, value) = (filled(&field.title, notice), filled(&field.value, notice));
            json!({"title": title, "value": value, "short": field.short})
        })
        .collect();
    if !fields.is_empty() {
        attachment.insert("fields".to_owned(), fields.into());
    }
    let actions: Vec<Value> = slack.actions.iter().map(|one| action(one, notice)).collect();
    if !actions.is_empty() {
        attachment.insert("actions".to_owned(), actions.into());
    }
    attachment.insert("mrkdwn_in".to_owned(), json!(["fallback", "pretext", "text"]));
    let text = slack.attachment.get("message_text").map(|template| filled(template, notice));
    json!({"text": text.unwrap_or_default(), "attachments": [attachment]})
}

/// A button of an attachment, with the keys of Slack's older messages.
fn action(action: &SlackAction, notice: &Notice) -> Value {
    let mut button = Map::new();
    let mut put = |key: &str, template: &Template| {
        button.insert(key.to_owned(), filled(template, notice).into());
    };
    put("type", &action.kind);
    put("text", &action.text);
    action.style.iter().for_each(|style| put("style", style));
    match &action.does {
        SlackDoes::Open { url } => put("url", url),
        SlackDoes::Tell { name, value, confirm } => {
            put("name", name);
            value.iter().for_each(|value| put("value", value));
            if !confirm.is_empty() {
                let asked = confirm.iter().map(|(key, text)| (*key, filled(text, notice)));
                let asked: Map<String, Value> =
                    asked.map(|(key, text)| (key.to_owned(), text.into())).collect();
                button.insert("confirm".to_owned(), asked.into());
            }
        }
    }
    button.into()
}
