//! PagerDuty and email, from as written to checked.

use std::sync::Arc;

use serde_saphyr::Spanned;

use super::check::{Either, Manner, Reader};
use super::raw::{RawEmail, RawGlobal, RawPagerDuty};
use super::{
    Email, Login, MailTls, Notifier, PagerDuty, PagerDutyImage, PagerDutyKey, PagerDutyLink, To,
};
use crate::notify::http_config::Http;
use crate::notify::template::Template;
use crate::signal::Text;

/// Where events go (Alertmanager's default).
const PAGERDUTY_URL: &str = "https://events.pagerduty.com/v2/enqueue";
/// The same of the first version.
const PAGERDUTY_FIRST_URL: &str =
    "https://events.pagerduty.com/generic/2010-04-15/create_event.json";
/// The port that speaks TLS from the first byte on.
const SMTPS_PORT: u16 = 465;

impl Reader<'_> {
    pub(super) fn pagerduty(&mut self, place: &Spanned<RawPagerDuty>) -> Option<Arc<Notifier>> {
        let raw = &place.value;
        let key = self.pagerduty_key(place);
        let is_first = matches!(key, Some(PagerDutyKey::Service(_)));
        let url = match raw.url.as_deref() {
            // What Alertmanager does: the first version has one address, whatever `url` says of the second.
            None if is_first => Some(PAGERDUTY_FIRST_URL),
            Some(url) if is_first && url.ends_with("/v2/enqueue") => Some(PAGERDUTY_FIRST_URL),
            written => written.or(self.global.pagerduty_url.as_deref()),
        };
        let url = self.valid_url(place, url.unwrap_or(PAGERDUTY_URL));
        let mut details = std::collections::BTreeMap::new();
        for (name, value) in &raw.details {
            let text = match &value.value {
                serde_json::Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let Spanned { referenced, defined, .. } = *value;
            let written = Spanned { value: text, referenced, defined };
            details.extend(
                self.template(Some(&written)).map(|text| (Text::from(name.as_str()), text)),
            );
        }
        let mut links = Vec::new();
        for link in &raw.links {
            match self.template(link.href.as_ref()) {
                Some(href) => {
                    let text = self.template(link.text.as_ref());
                    links.push(PagerDutyLink { href, text });
                }
                None => self.error(place, "a link needs an `href`".to_owned()),
            }
        }
        let mut images = Vec::new();
        for image in &raw.images {
            match self.template(image.src.as_ref()) {
                Some(src) => {
                    let alt = self.template(image.alt.as_ref());
                    let href = self.template(image.href.as_ref());
                    images.push(PagerDutyImage { src, alt, href });
                }
                None => self.error(place, "an image needs a `src`".to_owned()),
            }
        }
        let to = PagerDuty {
            url: url?,
            key: key?,
            description: self.template(raw.description.as_ref()),
            severity: self.template(raw.severity.as_ref()),
            source: self.template(raw.source.as_ref()),
            client: self.template(raw.client.as_ref()),
            client_url: self.template(raw.client_url.as_ref()),
            class: self.template(raw.class.as_ref()),
            component: self.template(raw.component.as_ref()),
            group: self.template(raw.group.as_ref()),
            details,
            links,
            images,
        };
        let manner = Manner {
            send_resolved: raw.send_resolved.unwrap_or(true),
            timeout: raw.timeout.as_ref(),
            http: self.http(place, raw.http_config.as_ref()),
        };
        Some(self.notifier(manner, To::PagerDuty(to)))
    }

    /// The one that is written; an alert never says where it goes, so keys are no templates.
    fn pagerduty_key(&mut self, place: &Spanned<RawPagerDuty>) -> Option<PagerDutyKey> {
        let raw = &place.value;
        let service =
            Either::new("service_key", raw.service_key.as_deref(), raw.service_key_file.as_deref());
        let routing =
            Either::new("routing_key", raw.routing_key.as_deref(), raw.routing_key_file.as_deref());
        if service.is_written() && routing.is_written() {
            self.error(place, "one of `routing_key` and `service_key`, not both".to_owned());
            return None;
        }
        let is_first = service.is_written();
        let key = self.secret(place, if is_first { &service } else { &routing })?;
        if key.expose().contains("{{") {
            let message = "a template as a key of PagerDuty is not supported";
            self.unsupported(place, message.to_owned());
        }
        Some(if is_first { PagerDutyKey::Service(key) } else { PagerDutyKey::Routing(key) })
    }

    pub(super) fn email(&mut self, place: &Spanned<RawEmail>) -> Option<Arc<Notifier>> {
        let (raw, global) = (&place.value, self.global);
        if raw.auth_secret.is_some() || raw.auth_secret_file.is_some() {
            self.unsupported(
                place,
                "`auth_secret` (CRAM-MD5) is not supported; use `auth_password`".to_owned(),
            );
        }
        let to = self.needed_template(place, "to", raw.to.as_ref());
        let from = raw.from.as_ref().or(global.smtp_from.as_ref());
        let from = self.needed_template(place, "from", from);
        let server = self.smarthost(place);
        let mut headers = std::collections::BTreeMap::new();
        for (name, text) in &raw.headers {
            let text = self.template(Some(text));
            headers.extend(text.map(|text| (Text::from(name.as_str()), text)));
        }
        let raw_tls = raw.tls_config.as_ref().or(global.smtp_tls_config.as_ref());
        let tls = raw_tls.map(|tls| self.tls(place, tls)).unwrap_or_default();
        if tls.max.is_some() {
            let message = "`max_version` of a mail's tls_config is not supported";
            self.unsupported(place, message.to_owned());
        }
        let login = self.login(place);
        let (host, port) = server?;
        let hello = raw.hello.as_deref().or(global.smtp_hello.as_deref());
        let email = Email {
            to: to?,
            from: from?,
            host: host.into(),
            port,
            tls: mail_tls(place, port, global),
            hello: hello.filter(|hello| !hello.is_empty()).unwrap_or("localhost").into(),
            login,
            headers,
            html: self.template(raw.html.as_ref()),
            text: self.template(raw.text.as_ref()),
        };
        let manner = Manner {
            send_resolved: raw.send_resolved.unwrap_or(false),
            timeout: raw.timeout.as_ref(),
            http: Http { tls, ..Http::default() },
        };
        Some(self.notifier(manner, To::Email(email)))
    }

    fn needed_template<T>(
        &mut self,
        place: &Spanned<T>,
        key: &str,
        written: Option<&Spanned<String>>,
    ) -> Option<Template> {
        if written.is_none_or(|written| written.value.is_empty()) {
            self.error(place, format!("email needs `{key}`"));
        }
        self.template(written)
    }

    fn smarthost(&mut self, place: &Spanned<RawEmail>) -> Option<(String, u16)> {
        let written = place.value.smarthost.as_ref().or(self.global.smtp_smarthost.as_ref());
        let Some(written) = written.filter(|written| !written.value.is_empty()) else {
            self.error(
                place,
                "email needs a `smarthost` (HOST:PORT), here or as `global.smtp_smarthost`"
                    .to_owned(),
            );
            return None;
        };
        let parsed = written.value.rsplit_once(':').and_then(|(host, port)| {
            let host = host.trim_start_matches('[').trim_end_matches(']');
            Some((host.to_owned(), port.parse().ok()?)).filter(|_| !host.is_empty())
        });
        if parsed.is_none() {
            self.error(written, format!("`{}` is no HOST:PORT", written.value));
        }
        parsed
    }

    fn login(&mut self, place: &Spanned<RawEmail>) -> Option<Login> {
        let (raw, global) = (&place.value, self.global);
        let user = raw.auth_username.as_deref().or(global.smtp_auth_username.as_deref());
        let user = user.filter(|user| !user.is_empty())?;
        let own = Either::new(
            "auth_password",
            raw.auth_password.as_deref(),
            raw.auth_password_file.as_deref(),
        );
        let of_global = Either::new(
            "smtp_auth_password",
            global.smtp_auth_password.as_deref(),
            global.smtp_auth_password_file.as_deref(),
        );
        let password = self.optional_secret(place, &own);
        let password = password.or_else(|| self.optional_secret(place, &of_global))?;
        Some(Login { user: user.into(), password })
    }
}

fn mail_tls(place: &Spanned<RawEmail>, port: u16, global: &RawGlobal) -> MailTls {
    let raw = &place.value;
    let implicit = raw.force_implicit_tls.or(global.smtp_force_implicit_tls);
    if implicit.unwrap_or(port == SMTPS_PORT) {
        MailTls::Implicit
    } else if raw.require_tls.or(global.smtp_require_tls).unwrap_or(true) {
        MailTls::Required
    } else {
        MailTls::Offered
    }
}
