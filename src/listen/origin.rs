//! By which names this daemon is asked for, and whether a page of somebody else asks.
//!
//! A browser says in `Origin` whose page sends a request; nothing else does. Without a credential every page
//! that a person opens could write here: directly, or under a name of its own that it lets lead to this
//! machine (DNS rebinding). So a page must be ours, and where nobody needs a credential its name must be one
//! that nobody else can give.

use std::net::IpAddr;

use axum::http::uri::Authority;
use axum::http::{Request, header};

/// Names that are ours, beside addresses and localhost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    machine: Option<String>,
    /// Host and port of the configured address.
    configured: Option<Authority>,
    /// Where a credential is needed, a name proves nothing and need not.
    any: bool,
}

impl Hosts {
    /// `configured`: where links lead, if that is said. `has_credentials`: nobody comes in without.
    pub fn new(configured: Option<&str>, has_credentials: bool) -> Self {
        let authority = configured.and_then(|url| {
            let (_, rest) = url.split_once("://")?;
            rest.split('/').next()?.parse().ok()
        });
        Self { machine: own_name(), configured: authority, any: has_credentials }
    }

    fn has(&self, name: &str) -> bool {
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        let is = |own: &str| own.eq_ignore_ascii_case(name);
        bare.parse::<IpAddr>().is_ok()
            || is("localhost")
            || self.machine.as_deref().is_some_and(is)
            || self.configured.as_ref().map(Authority::host).is_some_and(is)
    }
}

/// What the machine calls itself.
pub fn own_name() -> Option<String> {
    let system = rustix::system::uname();
    let name = system.nodename().to_str().ok()?;
    (!name.is_empty()).then(|| name.to_ascii_lowercase())
}

/// A browser sends it for a page that is not ours.
pub fn is_foreign<B>(request: &Request<B>, hosts: &Hosts) -> bool {
    let Some(origin) = request.headers().get(header::ORIGIN) else { return false };
    let parse = |text: &str| text.parse::<Authority>().ok();
    let origin = origin.to_str().ok().and_then(|origin| parse(origin.split_once("://")?.1));
    // `null`, or no address at all.
    let Some(origin) = origin else { return true };
    if hosts.configured.as_ref() == Some(&origin) {
        return false;
    }
    let host = request.headers().get(header::HOST);
    let host = host.and_then(|host| parse(host.to_str().ok()?));
    let host = host.or_else(|| request.uri().authority().cloned());
    host.as_ref() != Some(&origin) || !(hosts.any || hosts.has(origin.host()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn foreign(host: &str, origin: Option<&str>, hosts: &Hosts) -> bool {
        let mut request = Request::builder().uri("/").header("host", host);
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        is_foreign(&request.body(()).expect("a request"), hosts)
    }

    #[test]
    fn a_page_is_ours_by_a_name_that_nobody_else_can_give() {
        let open = Hosts {
            machine: Some("box".to_owned()),
            ..Hosts::new(Some("https://watch.example.org/t"), false)
        };
        let closed = Hosts::new(None, true);
        for (host, origin, [in_open, in_closed]) in [
            ("anything.example:9595", None, [false, false]),
            ("127.0.0.1:9595", Some("http://127.0.0.1:9595"), [false, false]),
            ("[::1]:9595", Some("http://[::1]:9595"), [false, false]),
            ("LocalHost:9595", Some("http://localhost:9595"), [false, false]),
            ("box:9595", Some("http://box:9595"), [false, false]),
            ("127.0.0.1:9595", Some("https://watch.example.org"), [false, true]),
            ("127.0.0.1:9595", Some("http://evil.example"), [true, true]),
            ("127.0.0.1:9595", Some("http://127.0.0.1:80"), [true, true]),
            ("127.0.0.1:9595", Some("null"), [true, true]),
            // Rebinding: the name is theirs, and leads here. A page has no token of ours.
            ("evil.example:9595", Some("http://evil.example:9595"), [true, false]),
        ] {
            let told = [foreign(host, origin, &open), foreign(host, origin, &closed)];
            assert_eq!(told, [in_open, in_closed], "{host} {origin:?}");
        }
    }

    #[test]
    fn http2_names_its_host_in_the_address() {
        let request = Request::builder().uri("http://localhost:9595/-/reload");
        let request = request.header("origin", "http://localhost:9595").body(());
        assert!(!is_foreign(&request.expect("a request"), &Hosts::default()));
    }
}
