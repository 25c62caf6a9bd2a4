//! Email: the message as text and as HTML; mails of one group are one thread.

use std::time::{Duration, UNIX_EPOCH};

use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Mailboxes, MultiPart, SinglePart};
use sha2::{Digest as _, Sha256};

use super::{Rendered, Request, address, filled};
use crate::notify::card::words::{one_line, shortened};
use crate::notify::card::{Card, Shape};
use crate::notify::receivers::{Email, Login, MailTls};
use crate::notify::{Failure, Message};
use crate::signal::Text;

/// Letters of a subject.
const SUBJECT_MAX: usize = 200;
/// The right side of our message ids: not an address of anybody.
const ID_DOMAIN: &str = "throughline.invalid";

/// A mail and the server that takes it.
#[derive(Debug)]
pub struct Mail {
    pub letter: lettre::Message,
    pub host: Text,
    pub port: u16,
    pub tls: MailTls,
    pub hello: Text,
    pub login: Option<Login>,
}

pub(super) fn request(email: &Email, message: &Message) -> Result<Rendered, Failure> {
    let notice = &message.notice;
    let card = Card::compose(notice);
    let invalid = |key: &str| Failure::for_good(format!("`{key}` is no mail address"));
    let from: Mailbox =
        address(&email.from, notice, "from")?.parse().map_err(|_| invalid("from"))?;
    let to: Mailboxes = address(&email.to, notice, "to")?.parse().map_err(|_| invalid("to"))?;
    let subject = email.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("subject"));
    let subject =
        subject.map_or_else(|| card.headline.clone(), |(_, template)| filled(template, notice));
    let thread = format!("<{:x}@{ID_DOMAIN}>", Sha256::digest(&*notice.group_key));
    let mut builder = lettre::Message::builder()
        .from(from)
        .subject(shortened(&one_line(&subject), SUBJECT_MAX))
        .message_id(Some(format!("<{}@{ID_DOMAIN}>", message.id)))
        .date(UNIX_EPOCH + Duration::from_nanos(notice.at.as_nanos()))
        .references(thread.clone())
        .in_reply_to(thread);
    for mailbox in to {
        builder = builder.to(mailbox);
    }
    for (name, template) in email.headers.iter().filter(|(name, _)| !is_ours(name)) {
        let Ok(name) = HeaderName::new_from_ascii(name.to_string()) else { continue };
        let value = one_line(&filled(template, notice));
        // One line: no text begins a header of its own.
        builder = builder.raw_header(HeaderValue::new(name, value));
    }
    let text = email.text.as_ref().map_or_else(|| card.plain(), |text| filled(text, notice));
    let html = match &email.html {
        Some(html) => html.html(notice).unwrap_or_else(|error| {
            gotmpl::html_escape(&format!("<error expanding template: {error}>"))
        }),
        None => html(&card),
    };
    let part = |kind, body: String| SinglePart::builder().header(kind).body(body);
    let body = MultiPart::alternative()
        .boundary(&*message.id)
        .singlepart(part(ContentType::TEXT_PLAIN, text))
        .singlepart(part(ContentType::TEXT_HTML, html));
    let letter = builder.multipart(body).map_err(|error| Failure::for_good(error.to_string()))?;
    let Email { host, port, tls, hello, login, .. } = email;
    let mail = Mail {
        letter,
        host: Text::clone(host),
        port: *port,
        tls: *tls,
        hello: Text::clone(hello),
        login: login.clone(),
    };
    Ok(Rendered { request: Request::Mail(Box::new(mail)), n_dropped: 0 })
}

/// Headers that are made from the message itself.
fn is_ours(name: &str) -> bool {
    ["subject", "from", "to", "date", "message-id", "references", "in-reply-to"]
        .iter()
        .any(|ours| name.eq_ignore_ascii_case(ours))
}

fn html(card: &Card) -> String {
    use std::fmt::Write as _;
    let escape = gotmpl::html_escape;
    let mut out = format!(
        "<!doctype html><html><body style=\"font-family:sans-serif;color:#1b1b1b\"><h2 style=\"border-left:6px solid {};padding-left:10px;font-size:18px\">{}</h2>\n",
        card.mood.color(),
        escape(&card.headline)
    );
    for block in &card.blocks {
        let text = escape(&block.text);
        let written = match block.shape {
            Shape::Line => writeln!(out, "<p>{}</p>", text.replace('\n', "<br>\n")),
            Shape::Code => writeln!(out, "<pre>{text}</pre>"),
            Shape::Footer => writeln!(out, "<p style=\"color:#666;font-size:12px\">{text}</p>"),
        };
        debug_assert!(written.is_ok(), "writing to a String cannot fail");
    }
    let links: Vec<String> = card
        .buttons
        .iter()
        .map(|button| format!("<a href=\"{}\">{}</a>", escape(&button.url), button.label))
        .collect();
    out + "<p>" + &links.join(" · ") + "</p></body></html>\n"
}
