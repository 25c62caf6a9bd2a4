//! Receivers from as written to checked; every error with its place, none stops the others.

use std::sync::Arc;
use std::time::Duration;

use serde_saphyr::Spanned;

use super::raw::{RawGlobal, RawGoogleChat, RawHttp, RawReceiver, RawSlack, RawTeams, RawWebhook};
use super::{GoogleChat, Notifier, Receiver, Slack, SlackAddress, SlackField, Teams, To, Webhook};
use crate::evaluate::place::in_scalar;
use crate::notify::http_config::Http;
use crate::notify::secret::Secret;
use crate::notify::template::{Library, Template};
use crate::signal::{Diagnostic, parse_duration};

/// Of one attempt, where the file does not say.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);
/// Where bots post (Alertmanager's default).
const SLACK_API: &str = "https://slack.com/api/chat.postMessage";

/// What the configuration reads of the world.
#[derive(Clone, Copy)]
pub struct Files<'a> {
    /// The text of a file; relative names are relative to the configuration.
    pub read: &'a dyn Fn(&str) -> std::io::Result<String>,
    /// The names that a pattern matches, sorted.
    pub glob: &'a dyn Fn(&str) -> std::io::Result<Vec<String>>,
}

impl std::fmt::Debug for Files<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Files")
    }
}

/// Reads receivers; gathers what is wrong and what we do not do.
pub(in crate::notify) struct Reader<'a> {
    pub(in crate::notify) file: &'a str,
    pub(in crate::notify) text: &'a str,
    pub(in crate::notify) files: Files<'a>,
    pub(in crate::notify) global: &'a RawGlobal,
    pub(in crate::notify) library: Library,
    pub(in crate::notify) errors: Vec<Diagnostic>,
    unsupported: Vec<Diagnostic>,
}

/// A secret as it may be written: in place or in a file.
pub(super) struct Either<'a> {
    pub(super) key: &'static str,
    pub(super) text: Option<&'a str>,
    pub(super) file: Option<&'a str>,
}

impl<'a> Either<'a> {
    pub(super) fn new(key: &'static str, text: Option<&'a str>, file: Option<&'a str>) -> Self {
        Self { key, text, file }
    }

    pub(super) fn is_written(&self) -> bool {
        self.text.is_some_and(|text| !text.is_empty())
            || self.file.is_some_and(|file| !file.is_empty())
    }

    /// This, or what `global` says.
    fn or(self, global: Self) -> Self {
        if self.is_written() { self } else { global }
    }
}

/// What a notifier of any kind has besides its address.
pub(super) struct Manner<'a> {
    pub(super) send_resolved: bool,
    pub(super) timeout: Option<&'a Spanned<String>>,
    pub(super) http: Http,
}

impl<'a> Reader<'a> {
    pub(in crate::notify) fn new(
        file: &'a str,
        text: &'a str,
        files: Files<'a>,
        global: &'a RawGlobal,
    ) -> Self {
        let library = Library::with_defaults();
        Self { file, text, files, global, library, errors: Vec::new(), unsupported: Vec::new() }
    }

    /// The files of `templates:`; a pattern may match nothing.
    pub(in crate::notify) fn templates(&mut self, patterns: &[Spanned<String>]) {
        for pattern in patterns {
            match (self.files.glob)(&pattern.value) {
                Ok(names) => names.iter().for_each(|name| self.template_file(pattern, name)),
                Err(error) => self.error(pattern, format!("templates: {}: {error}", pattern.value)),
            }
        }
        if let Err(error) = self.library.check()
            && let Some(first) = patterns.first()
        {
            self.error(first, format!("templates: {}", error.message));
        }
    }

    fn template_file(&mut self, pattern: &Spanned<String>, name: &str) {
        let text = match (self.files.read)(name) {
            Ok(text) => text,
            Err(error) => return self.error(pattern, format!("templates: {name}: {error}")),
        };
        if let Err(error) = self.library.add(&text) {
            let before = text.get(..error.at).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            let col = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
            self.errors.push(Diagnostic::new(name, &text, line, col, error.message));
        }
    }

    pub(in crate::notify) fn receiver(&mut self, raw: &Spanned<RawReceiver>) -> Receiver {
        let RawReceiver { name, others, .. } = &raw.value;
        for other in others.keys() {
            let message = format!("receiver `{name}`: `{other}` is not supported; remove it");
            if other.ends_with("_configs") {
                self.unsupported(raw, format!("receiver `{name}`: we do not deliver to `{other}`"));
            } else {
                self.error(raw, message);
            }
        }
        let mut notifiers = Vec::new();
        let raw = &raw.value;
        notifiers.extend(raw.webhook_configs.iter().filter_map(|raw| self.webhook(raw)));
        notifiers.extend(raw.slack_configs.iter().filter_map(|raw| self.slack(raw)));
        notifiers.extend(raw.msteamsv2_configs.iter().filter_map(|raw| self.teams(raw)));
        notifiers.extend(raw.googlechat_configs.iter().filter_map(|raw| self.google_chat(raw)));
        notifiers.extend(raw.pagerduty_configs.iter().filter_map(|raw| self.pagerduty(raw)));
        notifiers.extend(raw.email_configs.iter().filter_map(|raw| self.email(raw)));
        Receiver {
            name: name.as_str().into(),
            notifiers,
            unsupported: std::mem::take(&mut self.unsupported),
        }
    }

    fn webhook(&mut self, place: &Spanned<RawWebhook>) -> Option<Arc<Notifier>> {
        let raw = &place.value;
        let payload = raw.payload.as_ref().map(|written| self.payload(place, written));
        let url = self.url(place, &Either::new("url", raw.url.as_deref(), raw.url_file.as_deref()));
        let key =
            Either::new("signing_key", raw.signing_key.as_deref(), raw.signing_key_file.as_deref());
        let signing_key =
            if key.is_written() { Some(self.signing_key(place, &key)?) } else { None };
        let manner = Manner {
            send_resolved: raw.send_resolved.unwrap_or(true),
            timeout: raw.timeout.as_ref(),
            http: self.http(place, raw.http_config.as_ref()),
        };
        let max_alerts = raw.max_alerts;
        let to = To::Webhook(Webhook { url: url?, max_alerts, payload, signing_key });
        Some(self.notifier(manner, to))
    }

    /// Standard Webhooks: base64, with `whsec_` before it or not.
    fn signing_key<T>(&mut self, place: &Spanned<T>, key: &Either<'_>) -> Option<Secret> {
        use base64::Engine as _;
        let secret = self.secret(place, key)?;
        let text = secret.expose().strip_prefix("whsec_").unwrap_or(secret.expose());
        match base64::engine::general_purpose::STANDARD.decode(text) {
            Ok(bytes) if !bytes.is_empty() => Some(secret),
            _ => {
                self.error(place, "`signing_key` is no base64 (after `whsec_`)".to_owned());
                None
            }
        }
    }

    fn slack(&mut self, place: &Spanned<RawSlack>) -> Option<Arc<Notifier>> {
        let raw = &place.value;
        let address = self.slack_address(place);
        let mut attachment = std::collections::BTreeMap::new();
        for (name, text) in [
            ("color", &raw.color),
            ("title", &raw.title),
            ("title_link", &raw.title_link),
            ("pretext", &raw.pretext),
            ("text", &raw.text),
            ("message_text", &raw.message_text),
            ("footer", &raw.footer),
            ("fallback", &raw.fallback),
            ("callback_id", &raw.callback_id),
            ("image_url", &raw.image_url),
            ("thumb_url", &raw.thumb_url),
        ] {
            attachment.extend(self.template(text.as_ref()).map(|template| (name, template)));
        }
        let mut fields = Vec::new();
        for field in &raw.fields {
            match self.template(field.title.as_ref()).zip(self.template(field.value.as_ref())) {
                Some((title, value)) => fields.push(SlackField {
                    title,
                    value,
                    short: field.short.unwrap_or(raw.short_fields),
                }),
                None => self.error(place, "a field needs a `title` and a `value`".to_owned()),
            }
        }
        let manner = Manner {
            send_resolved: raw.send_resolved.unwrap_or(false),
            timeout: raw.timeout.as_ref(),
            http: self.http(place, raw.http_config.as_ref()),
        };
        let slack = Slack {
            address: address?,
            channel: self.template(raw.channel.as_ref()),
            update_message: raw.update_message,
            username: self.template(raw.username.as_ref()),
            icon_emoji: self.template(raw.icon_emoji.as_ref()),
            icon_url: self.template(raw.icon_url.as_ref()),
            attachment,
            fields,
            actions: raw.actions.iter().filter_map(|raw| self.slack_action(place, raw)).collect(),
        };
        Some(self.notifier(manner, To::Slack(slack)))
    }

    /// Its own token or address, or `global`'s.
    fn slack_address(&mut self, place: &Spanned<RawSlack>) -> Option<SlackAddress> {
        let (raw, global) = (&place.value, self.global);
        let own_url = Either::new("api_url", raw.api_url.as_deref(), raw.api_url_file.as_deref());
        let own_token =
            Either::new("app_token", raw.app_token.as_deref(), raw.app_token_file.as_deref());
        let token = Either::new(
            "slack_app_token",
            global.slack_app_token.as_deref(),
            global.slack_app_token_file.as_deref(),
        );
        let url = Either::new(
            "slack_api_url",
            global.slack_api_url.as_deref(),
            global.slack_api_url_file.as_deref(),
        );
        if own_url.is_written() && own_token.is_written() {
            self.error(place, "one of `api_url` and `app_token`, not both".to_owned());
            return None;
        }
        // A header of its own makes a bot of the address (the way before `app_token`).
        let has_header = raw.http_config.as_ref().is_some_and(RawHttp::is_authorized);
        let is_bot =
            own_token.is_written() || (!own_url.is_written() && token.is_written() && !has_header);
        let has_address = own_url.is_written() || url.is_written();
        if !is_bot && !has_address {
            let message = "Slack needs an `api_url` (incoming webhook) or an `app_token` (bot), here or in `global`";
            self.error(place, message.to_owned());
            return None;
        }
        if !is_bot {
            if raw.update_message && !has_header {
                self.error(
                    place,
                    "`update_message` needs a bot: an incoming webhook cannot change what it sent"
                        .to_owned(),
                );
            }
            return self.url(place, &own_url.or(url)).map(SlackAddress::Webhook);
        }
        if raw.channel.is_none() {
            self.error(place, "a bot needs a `channel`".to_owned());
        }
        let api = raw.app_url.as_deref().or(global.slack_app_url.as_deref()).unwrap_or(SLACK_API);
        let api = self.valid_url(place, api)?;
        let token = self.secret(place, &own_token.or(token))?;
        Some(SlackAddress::Bot { api, token })
    }

    fn teams(&mut self, place: &Spanned<RawTeams>) -> Option<Arc<Notifier>> {
        let raw = &place.value;
        let url = self.url(
            place,
            &Either::new(
                "webhook_url",
                raw.webhook_url.as_deref(),
                raw.webhook_url_file.as_deref(),
            ),
        );
        let manner = Manner {
            send_resolved: raw.send_resolved.unwrap_or(true),
            timeout: raw.timeout.as_ref(),
            http: self.http(place, raw.http_config.as_ref()),
        };
        let (title, text) = (self.template(raw.title.as_ref()), self.template(raw.text.as_ref()));
        let to = To::Teams(Teams { url: url?, title, text });
        Some(self.notifier(manner, to))
    }

    fn google_chat(&mut self, place: &Spanned<RawGoogleChat>) -> Option<Arc<Notifier>> {
        let raw = &place.value;
        let url = self.url(place, &Either::new("url", raw.url.as_deref(), raw.url_file.as_deref()));
        let manner = Manner {
            send_resolved: raw.send_resolved.unwrap_or(true),
            timeout: raw.timeout.as_ref(),
            http: self.http(place, raw.http_config.as_ref()),
        };
        let text = self.template(raw.text.as_ref());
        let to = To::GoogleChat(GoogleChat { url: url?, text });
        Some(self.notifier(manner, to))
    }

    pub(super) fn notifier(&mut self, manner: Manner<'_>, to: To) -> Arc<Notifier> {
        let Manner { send_resolved, timeout, http } = manner;
        let written = timeout.and_then(|raw| {
            let parsed = parse_duration(&raw.value);
            if parsed.is_none() {
                self.error(raw, format!("`{}` is no duration; write 30s or 5m", raw.value));
            }
            parsed.filter(|timeout| !timeout.is_zero())
        });
        Arc::new(Notifier { send_resolved, timeout: written.unwrap_or(TIMEOUT), http, to })
    }

    pub(super) fn template(&mut self, written: Option<&Spanned<String>>) -> Option<Template> {
        let written = written.filter(|written| !written.value.is_empty())?;
        match Template::parse(&written.value, &self.library) {
            Ok(template) => Some(template),
            Err(error) => {
                let (line, col) =
                    in_scalar(self.text, &written.referenced, &written.value, error.at);
                self.errors.push(Diagnostic::new(self.file, self.text, line, col, error.message));
                None
            }
        }
    }

    pub(super) fn url<T>(&mut self, place: &Spanned<T>, written: &Either<'_>) -> Option<Secret> {
        let url = self.secret(place, written)?;
        self.valid_url(place, url.expose())
    }

    /// A text of which the place within the file is not known: that of what it stands in.
    pub(super) fn template_in<T>(&mut self, place: &Spanned<T>, text: &str) -> Option<Template> {
        let parsed = Template::parse(text, &self.library);
        parsed.map_err(|error| self.error(place, format!("`{text}`: {}", error.message))).ok()
    }

    /// The address is never part of the error: it may be a secret.
    pub(super) fn valid_url<T>(&mut self, place: &Spanned<T>, url: &str) -> Option<Secret> {
        let parsed = reqwest::Url::parse(url).ok();
        let is_good =
            parsed.is_some_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        if !is_good {
            self.error(
                place,
                "an address begins with http:// or https:// and names a host".to_owned(),
            );
        }
        is_good.then(|| Secret::new(url))
    }

    /// The text of a secret; the error where there is none, or two.
    pub(super) fn secret<T>(&mut self, place: &Spanned<T>, written: &Either<'_>) -> Option<Secret> {
        let Either { key, text, file } = written;
        let text = text.filter(|text| !text.is_empty());
        match (text, file.filter(|file| !file.is_empty())) {
            (Some(text), None) => Some(Secret::new(text)),
            (None, Some(file)) => match (self.files.read)(file) {
                Ok(text) => Some(Secret::new(text.trim())),
                Err(error) => {
                    self.error(place, format!("{key}_file {file}: {error}"));
                    None
                }
            },
            (None, None) => {
                self.error(place, format!("`{key}` or `{key}_file` is needed"));
                None
            }
            (Some(_), Some(_)) => {
                self.error(place, format!("one of `{key}` and `{key}_file`, not both"));
                None
            }
        }
    }

    /// A secret that need not be there.
    pub(super) fn optional_secret<T>(
        &mut self,
        place: &Spanned<T>,
        written: &Either<'_>,
    ) -> Option<Secret> {
        if written.is_written() { self.secret(place, written) } else { None }
    }

    pub(super) fn error<T>(&mut self, place: &Spanned<T>, message: String) {
        self.errors.push(Diagnostic::at(self.file, self.text, &place.referenced, message));
    }

    /// What Alertmanager can and we cannot.
    pub(super) fn unsupported<T>(&mut self, place: &Spanned<T>, message: String) {
        self.unsupported.push(Diagnostic::at(self.file, self.text, &place.referenced, message));
    }
}
