//! How a notifier speaks HTTP: Alertmanager's `http_config`, the part that we do.
//!
//! Redirects are never followed, whatever the file says of them, and a proxy is used only where it is
//! asked for: an alert goes to the address that somebody wrote down, or nowhere.

use crate::signal::Text;

use super::secret::Secret;

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Http {
    pub auth: Option<Auth>,
    /// Sent with every request.
    pub headers: Vec<(Text, Secret)>,
    pub tls: Tls,
    pub proxy: Proxy,
    /// Link-local and cloud metadata addresses may be connected to. Behind a proxy it is the proxy that
    /// resolves names, so only addresses that are written as numbers, and the proxy's own, are refused.
    pub allows_link_local: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Auth {
    Basic {
        user: Text,
        password: Secret,
    },
    /// The whole value of the `Authorization` header.
    Header(Secret),
    OAuth2(Box<OAuth2>),
}

/// A token is asked for with the client's own credentials (RFC 6749 4.4) and kept until it ends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OAuth2 {
    pub client_id: Text,
    pub client_secret: Secret,
    pub token_url: Secret,
    pub scopes: Vec<Text>,
    /// Sent with the question for a token, beside what the standard names.
    pub params: Vec<(Text, Secret)>,
    pub tls: Tls,
    pub proxy: Proxy,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Proxy {
    #[default]
    None,
    /// `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, as they were when the first message was sent.
    Environment,
    Url {
        /// With the user and the password of the proxy, where it wants them.
        url: Secret,
        /// Names, addresses and networks that are reached without it, separated by commas.
        bypassed: Option<Text>,
        /// Sent to the proxy when it is asked to connect.
        headers: Vec<(Text, Secret)>,
    },
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tls {
    /// Certificates (PEM) that are trusted beside the system's.
    pub ca: Option<Text>,
    /// Our certificate and its key (PEM), one after the other.
    pub identity: Option<Secret>,
    /// The name that is asked for and that the certificate must have; None: the address's own host.
    pub server_name: Option<Text>,
    /// Any certificate is good. Said out loud by `insecure_skip_verify`.
    pub is_insecure: bool,
    /// None: 1.2, the oldest that we speak.
    pub min: Option<TlsVersion>,
    pub max: Option<TlsVersion>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    V12,
    V13,
}
