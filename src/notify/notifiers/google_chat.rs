//! Google Chat: a space's webhook takes a card; messages of one group are one thread.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{HttpRequest, Rendered, filled, fitted};
use crate::notify::card::words::{shortened, shortened_bytes};
use crate::notify::card::{Button, Card, Shape};
use crate::notify::notice::Notice;
use crate::notify::receivers::GoogleChat;
use crate::notify::secret::Secret;

/// Bytes of a message: the limit is 32,000.
const MESSAGE_BYTES_MAX: usize = 31_000;
/// Letters of a headline.
const HEADLINE_MAX: usize = 300;

pub(super) fn request(chat: &GoogleChat, notice: &Notice) -> Rendered {
    let thread = json!({"threadKey": format!("{:x}", Sha256::digest(&*notice.group_key))});
    let url = with_reply_option(&chat.url);
    if let Some(text) = &chat.text {
        let text = shortened_bytes(&filled(text, notice), MESSAGE_BYTES_MAX);
        return Rendered::http(HttpRequest::post(url, json!({"text": text, "thread": thread})), 0);
    }
    let card_id = notice.group_key.to_string();
    let render = |card: &Card| {
        json!({
            // `<users/all>` would call everybody; the text knows no escape.
            "text": shortened(&card.headline, HEADLINE_MAX).replace('<', "‹").replace('>', "›"),
            "cardsV2": [{"cardId": shortened(&card_id, 64), "card": {"sections": [{"widgets": widgets(card)}]}}],
            "thread": thread,
        })
    };
    let fitted = fitted(Card::compose(notice), MESSAGE_BYTES_MAX, render);
    Rendered::http(HttpRequest::post(url, fitted.body), fitted.n_dropped)
}

/// Without it the thread's key is not heeded.
fn with_reply_option(url: &Secret) -> Secret {
    let separator = if url.expose().contains('?') { '&' } else { '?' };
    let option = "messageReplyOption=REPLY_MESSAGE_FALLBACK_TO_NEW_THREAD";
    Secret::new(&format!("{}{separator}{option}", url.expose()))
}

fn widgets(card: &Card) -> Vec<Value> {
    let paragraph = |text: String| json!({"textParagraph": {"text": text}});
    let mut widgets: Vec<Value> = card
        .blocks
        .iter()
        .map(|block| {
            let text = gotmpl::html_escape(&block.text).replace('\n', "<br>");
            paragraph(match block.shape {
                Shape::Line => text,
                Shape::Code => format!("<code>{text}</code>"),
                Shape::Footer => format!("<i>{text}</i>"),
            })
        })
        .collect();
    if !card.buttons.is_empty() {
        let buttons: Vec<Value> = card.buttons.iter().map(button).collect();
        widgets.push(json!({"buttonList": {"buttons": buttons}}));
    }
    widgets
}

fn button(button: &Button) -> Value {
    json!({"text": button.label, "onClick": {"openLink": {"url": button.url}}})
}
