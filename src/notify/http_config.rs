//! How a notifier speaks HTTP: Alertmanager's `http_config`, the part that we do.
//!
//! Redirects are never followed and proxies never used, whatever the file says of redirects: an alert
//! goes to the address that somebody wrote down, or nowhere.

use crate::signal::Text;

use super::secret::Secret;

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Http {
    pub auth: Option<Auth>,
    /// Sent with every request.
    pub headers: Vec<(Text, Secret)>,
    pub tls: Tls,
    /// Link-local and cloud metadata addresses may be connected to.
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
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tls {
    /// Certificates (PEM) that are trusted beside the system's.
    pub ca: Option<Text>,
    /// Our certificate and its key (PEM), one after the other.
    pub identity: Option<Secret>,
    /// Any certificate is good. Said out loud by `insecure_skip_verify`.
    pub is_insecure: bool,
}
