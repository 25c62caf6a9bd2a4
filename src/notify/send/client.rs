//! HTTP clients: one for each way of connecting, made when it is first needed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use reqwest::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use reqwest::tls::Version;

use super::http::value;
use super::trouble::cause;
use crate::notify::Failure;
use crate::notify::address::{self, REFUSED};
use crate::notify::http_config::{Http, Proxy, Tls, TlsVersion};
use crate::notify::secret::Secret;
use crate::signal::Text;

/// Clients that are kept; a reload with other certificates makes new ones.
const CLIENTS_MAX: usize = 64;

/// Which addresses may be connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    Guarded,
    Any,
}

impl Reach {
    pub(super) fn of(http: &Http) -> Self {
        if http.allows_link_local { Self::Any } else { Self::Guarded }
    }

    /// An address that is written as a number is not resolved, so it is asked here.
    pub(super) fn guarded(self, url: &Secret) -> Result<reqwest::Url, Failure> {
        let url = reqwest::Url::parse(url.expose())
            .map_err(|_| Failure::for_good("the address is no URL".to_owned()))?;
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        if self == Self::Guarded && host.parse().is_ok_and(address::is_refused) {
            return Err(Failure::for_good(REFUSED.to_owned()));
        }
        Ok(url)
    }
}

/// How connections are made. The last: the host that is connected to under another name.
type Kind = (Tls, Proxy, Reach, Option<Text>);

#[derive(Debug, Default)]
pub(super) struct Clients(Mutex<BTreeMap<Kind, reqwest::Client>>);

/// A client and the address as it takes it.
pub(super) struct Way {
    client: reqwest::Client,
    url: reqwest::Url,
    /// The host of the address, where the connection goes under another name.
    host: Option<HeaderValue>,
}

impl Way {
    pub(super) fn post(&self) -> reqwest::RequestBuilder {
        let request = self.client.post(self.url.clone());
        match &self.host {
            Some(host) => request.header(HOST, host),
            None => request,
        }
    }
}

impl Clients {
    /// The way to an address. Where `tls_config` has a `server_name`, that is the name that is asked for
    /// and that the certificate must have, while the address's own host is who is connected to and what
    /// the request says (`Host`): the name takes the host's place, and resolves to the host.
    pub(super) fn way(
        &self,
        (tls, proxy, reach): (&Tls, &Proxy, Reach),
        url: &Secret,
    ) -> Result<Way, Failure> {
        let mut url = reach.guarded(url)?;
        let name = tls.server_name.as_ref().filter(|_| url.scheme() == "https");
        let Some(name) = name else {
            let client = self.get((tls.clone(), proxy.clone(), reach, None))?;
            return Ok(Way { client, url, host: None });
        };
        let host = url.host_str().unwrap_or_default().to_owned();
        let shown = url.port().map_or_else(|| host.clone(), |port| format!("{host}:{port}"));
        let wrong = |_| Failure::for_good("server_name is no name".to_owned());
        url.set_host(Some(name)).map_err(wrong)?;
        let behind = Text::from(host.trim_matches(['[', ']']));
        let client = self.get((tls.clone(), proxy.clone(), reach, Some(behind)))?;
        Ok(Way { client, url, host: Some(value(&shown)?) })
    }

    fn get(&self, kind: Kind) -> Result<reqwest::Client, Failure> {
        let clients = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients().get(&kind) {
            return Ok(client.clone());
        }
        // It may read certificates from the disk: nobody waits for that.
        let client = make(&kind)?;
        let mut clients = clients();
        if clients.len() >= CLIENTS_MAX {
            clients.clear();
        }
        clients.insert(kind, client.clone());
        Ok(client)
    }
}

fn make((tls, proxy, reach, behind): &Kind) -> Result<reqwest::Client, Failure> {
    let wrong = |error: reqwest::Error| Failure::for_good(format!("tls_config: {}", cause(&error)));
    let mut builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("throughline/", env!("CARGO_PKG_VERSION")));
    if let Some(host) = behind {
        // HTTP/2 would tell the other name as the host.
        let host = Text::clone(host);
        let resolver = address::Behind { host, is_guarded: *reach == Reach::Guarded };
        builder = builder.http1_only().dns_resolver(Arc::new(resolver));
    } else if *reach == Reach::Guarded {
        builder = builder.dns_resolver(Arc::new(address::Resolver));
    }
    if let Some(ca) = &tls.ca {
        let bundle = reqwest::Certificate::from_pem_bundle(ca.as_bytes()).map_err(wrong)?;
        builder = builder.tls_certs_merge(bundle);
    }
    if let Some(identity) = &tls.identity {
        let identity = reqwest::Identity::from_pem(identity.expose().as_bytes());
        builder = builder.identity(identity.map_err(wrong)?);
    }
    if tls.is_insecure {
        builder = builder.tls_danger_accept_invalid_certs(true);
    }
    let version = |version| match version {
        TlsVersion::V12 => Version::TLS_1_2,
        TlsVersion::V13 => Version::TLS_1_3,
    };
    if let Some(min) = tls.min {
        builder = builder.tls_version_min(version(min));
    }
    if let Some(max) = tls.max {
        builder = builder.tls_version_max(version(max));
    }
    builder = match proxy {
        Proxy::None => builder.no_proxy(),
        // What the client does by itself.
        Proxy::Environment => builder,
        Proxy::Url { url, bypassed, headers } => {
            let mut proxy = reqwest::Proxy::all(reach.guarded(url)?)
                .map_err(|_| Failure::for_good("proxy_url is no address of a proxy".to_owned()))?;
            let bypassed = bypassed.as_deref().and_then(reqwest::NoProxy::from_string);
            proxy = proxy.no_proxy(bypassed).headers(connect_headers(headers)?);
            builder.proxy(proxy)
        }
    };
    builder.build().map_err(wrong)
}

fn connect_headers(written: &[(Text, Secret)]) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    for (name, secret) in written {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
            Failure::for_good("proxy_connect_header: a name is no header's".to_owned())
        })?;
        headers.append(name, value(secret.expose())?);
    }
    Ok(headers)
}
