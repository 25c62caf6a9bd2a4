//! `http_config`, `tls_config` and `oauth2`, from as written to checked.

use std::collections::BTreeMap;

use serde_saphyr::Spanned;

use super::check::{Either, Reader};
use super::raw::{RawHttp, RawOAuth2, RawTls};
use crate::notify::http_config::{Auth, Http, OAuth2, Proxy, Tls, TlsVersion};
use crate::notify::secret::Secret;

impl RawHttp {
    /// Whether it says who we are.
    pub(super) fn is_authorized(&self) -> bool {
        self.authorization.is_some()
            || self.bearer_token.is_some()
            || self.bearer_token_file.is_some()
    }
}

/// Which way connections take, as `http_config` and its `oauth2` write it.
struct Way<'a> {
    proxy_url: Option<&'a str>,
    no_proxy: Option<&'a str>,
    from_environment: bool,
    headers: &'a BTreeMap<String, Vec<String>>,
}

impl Reader<'_> {
    /// The notifier's own, or `global`'s.
    pub(super) fn http<T>(&mut self, place: &Spanned<T>, own: Option<&RawHttp>) -> Http {
        let Some(raw) = own.or(self.global.http_config.as_ref()) else { return Http::default() };
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
        let way = Way {
            proxy_url: raw.proxy_url.as_deref(),
            no_proxy: raw.no_proxy.as_deref(),
            from_environment: raw.proxy_from_environment,
            headers: &raw.proxy_connect_header,
        };
        let proxy = self.proxy(place, &way);
        self.name_behind_proxy(place, &tls, &proxy);
        let auth = self.auth(place, raw);
        Http { auth, headers, tls, proxy, allows_link_local: raw.allow_link_local }
    }

    fn auth<T>(&mut self, place: &Spanned<T>, raw: &RawHttp) -> Option<Auth> {
        let n_ways = [raw.basic_auth.is_some(), raw.is_authorized(), raw.oauth2.is_some()]
            .iter()
            .filter(|is_written| **is_written)
            .count();
        if n_ways > 1 {
            let message = "one of `basic_auth`, `authorization` and `oauth2`, not several";
            self.error(place, message.to_owned());
        }
        if let Some(oauth2) = &raw.oauth2 {
            return self.oauth2(place, oauth2).map(|oauth2| Auth::OAuth2(Box::new(oauth2)));
        }
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
        if kind.eq_ignore_ascii_case("basic") {
            let message = "`authorization` of type Basic is written as `basic_auth`";
            self.error(place, message.to_owned());
        }
        Some(Auth::Header(Secret::new(&format!("{kind} {}", credentials.expose()))))
    }

    fn oauth2<T>(&mut self, place: &Spanned<T>, raw: &RawOAuth2) -> Option<OAuth2> {
        if raw.grant_type.as_deref().is_some_and(|kind| kind != "client_credentials") {
            let message = "a `grant_type` of oauth2 other than client_credentials is not supported";
            self.unsupported(place, message.to_owned());
        }
        if raw.client_id.is_empty() {
            self.error(place, "`oauth2` needs a `client_id`".to_owned());
        }
        let secret = Either::new(
            "client_secret",
            raw.client_secret.as_deref(),
            raw.client_secret_file.as_deref(),
        );
        let client_secret = self.optional_secret(place, &secret).unwrap_or_else(|| Secret::new(""));
        let token_url = if raw.token_url.is_empty() {
            self.error(place, "`oauth2` needs a `token_url`".to_owned());
            None
        } else {
            self.valid_url(place, &raw.token_url)
        };
        let tls = raw.tls_config.as_ref().map(|tls| self.tls(place, tls)).unwrap_or_default();
        let way = Way {
            proxy_url: raw.proxy_url.as_deref(),
            no_proxy: raw.no_proxy.as_deref(),
            from_environment: raw.proxy_from_environment,
            headers: &raw.proxy_connect_header,
        };
        let proxy = self.proxy(place, &way);
        self.name_behind_proxy(place, &tls, &proxy);
        let params = raw.endpoint_params.iter();
        Some(OAuth2 {
            client_id: raw.client_id.as_str().into(),
            client_secret,
            token_url: token_url?,
            scopes: raw.scopes.iter().map(|scope| scope.as_str().into()).collect(),
            params: params.map(|(k, v)| (k.as_str().into(), Secret::new(v))).collect(),
            tls,
            proxy,
        })
    }

    fn proxy<T>(&mut self, place: &Spanned<T>, way: &Way<'_>) -> Proxy {
        let url = way.proxy_url.filter(|url| !url.is_empty());
        let bypassed = way.no_proxy.filter(|names| !names.is_empty());
        if way.from_environment {
            if url.is_some() || bypassed.is_some() {
                let message = "`proxy_from_environment` stands without `proxy_url` and `no_proxy`";
                self.error(place, message.to_owned());
            }
            if !way.headers.is_empty() {
                let message =
                    "`proxy_connect_header` for a proxy from the environment is not supported";
                self.unsupported(place, message.to_owned());
            }
            return Proxy::Environment;
        }
        let Some(url) = url else {
            if bypassed.is_some() || !way.headers.is_empty() {
                let message = "`no_proxy` and `proxy_connect_header` need a `proxy_url`";
                self.error(place, message.to_owned());
            }
            return Proxy::None;
        };
        // Alertmanager takes any text and fails when it sends.
        let parsed = reqwest::Url::parse(url).ok();
        let is_good =
            parsed.is_some_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        if !is_good {
            let message = "`proxy_url` is no address of an HTTP proxy; write http://HOST:PORT";
            self.unsupported(place, message.to_owned());
        }
        let headers = way.headers.iter().flat_map(|(name, values)| {
            values.iter().map(|value| (name.as_str().into(), Secret::new(value)))
        });
        Proxy::Url {
            url: Secret::new(url),
            bypassed: bypassed.map(Into::into),
            headers: headers.collect(),
        }
    }

    pub(super) fn tls<T>(&mut self, place: &Spanned<T>, raw: &RawTls) -> Tls {
        let server_name = raw.server_name.as_deref().filter(|name| !name.is_empty());
        if server_name.is_some_and(|name| rustls::pki_types::DnsName::try_from(name).is_err()) {
            let message = "`server_name` of tls_config is no name of a host";
            self.unsupported(place, message.to_owned());
        }
        let min = self.tls_version(place, "min_version", raw.min_version.as_deref());
        let max = self.tls_version(place, "max_version", raw.max_version.as_deref());
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
        let ca = ca.map(|ca| ca.expose().into());
        let server_name = server_name.map(Into::into);
        Tls { ca, identity, server_name, is_insecure: raw.insecure_skip_verify, min, max }
    }

    /// A proxy would be asked to connect to the other name.
    fn name_behind_proxy<T>(&mut self, place: &Spanned<T>, tls: &Tls, proxy: &Proxy) {
        if tls.server_name.is_some() && *proxy != Proxy::None {
            let message = "`server_name` of tls_config is not supported together with a proxy";
            self.unsupported(place, message.to_owned());
        }
    }

    /// Nothing older than 1.2 is spoken: as the oldest it is no limit, as the newest it cannot be.
    fn tls_version<T>(
        &mut self,
        place: &Spanned<T>,
        key: &str,
        written: Option<&str>,
    ) -> Option<TlsVersion> {
        match written? {
            "TLS13" => Some(TlsVersion::V13),
            "TLS12" => Some(TlsVersion::V12),
            "TLS10" | "TLS11" if key == "min_version" => None,
            old @ ("TLS10" | "TLS11") => {
                self.unsupported(place, format!("`{key}: {old}`: TLS before 1.2 is not spoken"));
                None
            }
            other => {
                self.error(place, format!("`{key}: {other}` is no version; write TLS12 or TLS13"));
                None
            }
        }
    }
}
