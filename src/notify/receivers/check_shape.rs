//! What a configuration says instead of our own messages: a webhook's `payload`, Slack's `actions`.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_saphyr::Spanned;

use super::check::Reader;
use super::raw::{RawSlackAction, RawSlackConfirm};
use super::{Payload, SlackAction, SlackDoes};
use crate::notify::template::Template;

impl Reader<'_> {
    /// Keys and texts are templates, as in Alertmanager; a broken one is an error and stands for nothing.
    pub(super) fn payload<T>(&mut self, place: &Spanned<T>, written: &Value) -> Payload {
        match written {
            Value::String(text) => {
                let template = self.template_in(place, text);
                template.map_or(Payload::Plain(Value::Null), Payload::Text)
            }
            Value::Array(items) => {
                Payload::List(items.iter().map(|item| self.payload(place, item)).collect())
            }
            Value::Object(map) => {
                let mut read = Vec::new();
                for (key, value) in map {
                    let value = self.payload(place, value);
                    read.extend(self.template_in(place, key).map(|key| (key, value)));
                }
                Payload::Map(read)
            }
            plain => Payload::Plain(plain.clone()),
        }
    }

    /// Alertmanager wants a `type`, a `text`, and a `url` or a `name`; with a `url` the rest is of no use.
    pub(super) fn slack_action<T>(
        &mut self,
        place: &Spanned<T>,
        raw: &RawSlackAction,
    ) -> Option<SlackAction> {
        let kind = self.template(raw.kind.as_ref());
        let text = self.template(raw.text.as_ref());
        let (url, name) = (self.template(raw.url.as_ref()), self.template(raw.name.as_ref()));
        if kind.is_none() || text.is_none() || (url.is_none() && name.is_none()) {
            let message = "an action needs a `type`, a `text`, and a `url` or a `name`";
            self.error(place, message.to_owned());
            return None;
        }
        let does = match url {
            Some(url) => SlackDoes::Open { url },
            None => SlackDoes::Tell {
                name: name?,
                value: self.template(raw.value.as_ref()),
                confirm: raw
                    .confirm
                    .as_ref()
                    .map_or_else(BTreeMap::new, |c| self.confirm(place, c)),
            },
        };
        let style = self.template(raw.style.as_ref());
        Some(SlackAction { kind: kind?, text: text?, style, does })
    }

    fn confirm<T>(
        &mut self,
        place: &Spanned<T>,
        raw: &RawSlackConfirm,
    ) -> BTreeMap<&'static str, Template> {
        let mut read = BTreeMap::new();
        for (key, written) in [
            ("text", &raw.text),
            ("title", &raw.title),
            ("ok_text", &raw.ok_text),
            ("dismiss_text", &raw.dismiss_text),
        ] {
            read.extend(self.template(written.as_ref()).map(|template| (key, template)));
        }
        if !read.contains_key("text") {
            self.error(place, "the `confirm` of an action needs a `text`".to_owned());
        }
        read
    }
}
