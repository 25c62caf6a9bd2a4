//! Microsoft Teams: a workflow that posts an adaptive card.

use serde_json::{Value, json};

use super::{HttpRequest, Rendered, filled, fitted};
use crate::notify::card::{Block, Button, Card, Mood, Shape, Worth};
use crate::notify::notice::Notice;
use crate::notify::receivers::Teams;

/// Bytes of a message. Documented are 28 KB; failures were measured from 21 KB on.
const MESSAGE_BYTES_MAX: usize = 20_000;

pub(super) fn request(teams: &Teams, notice: &Notice) -> Rendered {
    let mut card = Card::compose(notice);
    if let Some(title) = &teams.title {
        card.headline = filled(title, notice);
    }
    if let Some(text) = &teams.text {
        let text = filled(text, notice);
        card.blocks = vec![Block { worth: Worth::Counts, shape: Shape::Line, text }];
    }
    let fitted = fitted(card, MESSAGE_BYTES_MAX, message);
    Rendered::http(HttpRequest::post(teams.url.clone(), fitted.body), fitted.n_dropped)
}

fn message(card: &Card) -> Value {
    let color = match card.mood {
        Mood::Page => "Attention",
        Mood::Ticket => "Warning",
        Mood::Resolved => "Good",
        Mood::Test => "Accent",
    };
    let mut body = vec![json!({
        "type": "TextBlock", "text": escaped(&card.headline), "wrap": true, "weight": "Bolder",
        "size": "Medium", "style": "heading", "color": color,
    })];
    body.extend(card.blocks.iter().map(block));
    let actions: Vec<Value> = card.buttons.iter().map(action).collect();
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "body": body,
                "actions": actions,
                "msteams": {"width": "Full"},
            },
        }],
    })
}

fn block(block: &Block) -> Value {
    // A single line break is none in Markdown.
    let text = escaped(&block.text).replace('\n', "\n\n");
    match block.shape {
        Shape::Line => json!({"type": "TextBlock", "text": text, "wrap": true}),
        Shape::Code => {
            json!({"type": "TextBlock", "text": text, "wrap": true, "fontType": "Monospace"})
        }
        Shape::Footer => {
            json!({"type": "TextBlock", "text": text, "wrap": true, "size": "Small", "isSubtle": true})
        }
    }
}

fn action(button: &Button) -> Value {
    json!({"type": "Action.OpenUrl", "title": button.label, "url": button.url})
}

/// No label makes a link or a mention.
fn escaped(text: &str) -> String {
    text.replace('[', "\\[").replace("<at>", "<\u{200b}at>")
}
