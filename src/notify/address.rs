//! Addresses that no message goes to: link-local ones and the metadata services of clouds.
//!
//! Asked where a connection is made, after names are resolved: a name that resolves to one address when
//! it is checked and to another when it is used (DNS rebinding) gains nothing. A file's author may allow
//! it for a notifier by `http_config.allow_link_local`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::signal::Text;

/// Services that give credentials to whoever asks, beside the link-local 169.254.169.254: Alibaba,
/// Azure's wire server, Oracle.
const METADATA_V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(192, 0, 0, 192),
];
/// Those of AWS and Google over IPv6.
const METADATA_V6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254),
    Ipv6Addr::new(0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254),
];

/// What an error says of them.
pub(crate) const REFUSED: &str = "a link-local or cloud metadata address is refused";

pub(crate) fn is_refused(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local() || METADATA_V4.contains(&v4),
        IpAddr::V6(v6) => {
            v6.is_unicast_link_local()
                || METADATA_V6.contains(&v6)
                || embedded(v6).is_some_and(|v4| is_refused(IpAddr::V4(v4)))
        }
    }
}

/// The IPv4 address within a mapped, compatible, NAT64 or 6to4 one.
fn embedded(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let ([0, 0, 0, 0, 0, 0 | 0xffff, high, low]
    | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
    | [0x2002, high, low, ..]) = v6.segments()
    else {
        return None;
    };
    Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)))
}

/// Resolves names and leaves out what is refused.
#[derive(Debug)]
pub(crate) struct Resolver;

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = resolve(name.as_str(), 0).await?;
            let found: Addrs = Box::new(found.into_iter());
            Ok(found)
        })
    }
}

/// Resolves any name to one host's addresses: whoever connects calls it by another name.
#[derive(Debug)]
pub(crate) struct Behind {
    pub(crate) host: Text,
    pub(crate) is_guarded: bool,
}

impl Resolve for Behind {
    fn resolve(&self, _name: Name) -> Resolving {
        let (host, is_guarded) = (Text::clone(&self.host), self.is_guarded);
        Box::pin(async move {
            let found = if is_guarded {
                resolve(&host, 0).await?
            } else {
                tokio::net::lookup_host((&*host, 0)).await?.collect()
            };
            let found: Addrs = Box::new(found.into_iter());
            Ok(found)
        })
    }
}

/// The addresses of a host that may be connected to; an error where there are none.
pub(crate) async fn resolve(host: &str, port: u16) -> std::io::Result<Vec<SocketAddr>> {
    let all: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await?.collect();
    let good: Vec<SocketAddr> =
        all.into_iter().filter(|address| !is_refused(address.ip())).collect();
    if good.is_empty() {
        return Err(std::io::Error::new(std::io::ErrorKind::PermissionDenied, REFUSED));
    }
    Ok(good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_local_and_metadata_addresses_are_refused_in_every_disguise() {
        let refused = [
            "169.254.169.254",
            "169.254.0.1",
            "100.100.100.200",
            "168.63.129.16",
            "fe80::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
        ];
        for text in refused {
            assert!(is_refused(text.parse().expect("an address")), "{text}");
        }
        for text in ["127.0.0.1", "10.0.0.1", "93.184.216.34", "::1", "2606:2800:220:1::1"] {
            assert!(!is_refused(text.parse().expect("an address")), "{text}");
        }
    }
}
