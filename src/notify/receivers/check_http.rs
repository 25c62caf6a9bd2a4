//! `http_config` and `tls_config`, from as written to checked.

use serde_saphyr::Spanned;

use super::check::{Either, Reader};
use super::raw::{RawHttp, RawTls};
use crate::notify::http_config::{Auth, Http, Tls};
use crate::notify::secret::Secret;

impl RawHttp {
    /// Whether it says who we are.
    pub(super) fn is_authorized(&self) -> bool {
        self.authorization.is_some()
            || self.bearer_token.is_some()
            || self.bearer_token_file.is_some()
    }
}

impl Reader<'_> {
    /// The notifier's own, or `global`'s.
    pub(super) fn http<T>(&mut self, place: &Spanned<T>, own: Option<&RawHttp>) -> Http {
        let Some(raw) = own.or(self.global.http_config.as_ref()) else { return Http::default() };
        let is_proxied = raw.proxy_url.is_some() || raw.proxy_from_environment;
        for (key, is_written) in [
            ("oauth2", raw.oauth2.is_some()),
            ("proxy_url", is_proxied),
            ("no_proxy", raw.no_proxy.is_some()),
            ("proxy_connect_header", raw.proxy_connect_header.is_some()),
        ] {
            if is_written {
                self.unsupported(place, format!("`{key}` of http_config is not supported"));
            }
        }
        let mut headers = Vec::new();
        for (name, header) in &raw.http_headers {
            let files = header.files.iter().filter_map(|file| {
                self.secret(place, &Either { key: "http_headers", text: None, file: Some(file) })
            });
            let files: Vec<Secret> = files.collect();
            let written = header.values.iter().chain(&header.secrets).map(|text| Secret::new(text));
            headers.extend(written.chain(files).map(|value| (name.as_str().into(), value)));
        }
        let tls = raw.tls_config.as_ref().map(|tls| self.tls(place, tls)).unwrap_or_default();
        let auth = self.auth(place, raw);
        Http { auth, headers, tls, allows_link_local: raw.allow_link_local }
    }

    fn auth<T>(&mut self, place: &Spanned<T>, raw: &RawHttp) -> Option<Auth> {
        if let Some(basic) = &raw.basic_auth {
            let user =
                Either::new("username", basic.username.as_deref(), basic.username_file.as_deref());
            let user = self.secret(place, &user)?;
            let password =
                Either::new("password", basic.password.as_deref(), basic.password_file.as_deref());
            let password =
                self.optional_secret(place, &password).unwrap_or_else(|| Secret::new(""));
            return Some(Auth::Basic { user: user.expose().into(), password });
        }
        let (kind, written) = match &raw.authorization {
            Some(raw) => (
                raw.kind.as_deref(),
                Either::new(
                    "credentials",
                    raw.credentials.as_deref(),
                    raw.credentials_file.as_deref(),
                ),
            ),
            None => (
                None,
                Either::new(
                    "bearer_token",
                    raw.bearer_token.as_deref(),
                    raw.bearer_token_file.as_deref(),
                ),
            ),
        };
        let credentials = self.optional_secret(place, &written)?;
        let kind = kind.unwrap_or("Bearer");
        Some(Auth::Header(Secret::new(&format!("{kind} {}", credentials.expose()))))
    }

    pub(super) fn tls<T>(&mut self, place: &Spanned<T>, raw: &RawTls) -> Tls {
        for (key, value) in [
            ("server_name", &raw.server_name),
            ("min_version", &raw.min_version),
            ("max_version", &raw.max_version),
        ] {
            if value.is_some() {
                self.unsupported(place, format!("`{key}` of tls_config is not supported"));
            }
        }
        let ca = self
            .optional_secret(place, &Either::new("ca", raw.ca.as_deref(), raw.ca_file.as_deref()));
        let cert = self.optional_secret(
            place,
            &Either::new("cert", raw.cert.as_deref(), raw.cert_file.as_deref()),
        );
        let key = self.optional_secret(
            place,
            &Either::new("key", raw.key.as_deref(), raw.key_file.as_deref()),
        );
        let identity = match (cert, key) {
            (Some(cert), Some(key)) => {
                Some(Secret::new(&format!("{}\n{}", cert.expose(), key.expose())))
            }
            (None, None) => None,
            _ => {
                self.error(place, "a client certificate needs both `cert` and `key`".to_owned());
                None
            }
        };
        Tls { ca: ca.map(|ca| ca.expose().into()), identity, is_insecure: raw.insecure_skip_verify }
    }
}
