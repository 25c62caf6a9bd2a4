//! Certificates: PEM files to what a listener shows, and to whom it believes.
//!
//! What comes in: texts of PEM files. What goes out: a server's settings for rustls, swapped while it
//! listens, and the name of a client by its certificate. Never is a private key shown, or taken that does
//! not belong to its certificate.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use super::Client;
use crate::signal::{SecretHash, Timestamp};

/// A certificate that ends sooner is told of: time enough to find out why nobody renewed it.
const EXPIRY_SOON: Duration = Duration::from_hours(14 * 24);

/// Where the files lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The server's certificate, then those between it and its authority.
    pub cert: PathBuf,
    pub key: PathBuf,
    /// Authorities whose certificates let clients in.
    pub client_ca: Option<PathBuf>,
}

/// What is in them.
#[derive(Clone, Copy)]
pub struct Pems<'a> {
    pub cert: &'a str,
    pub key: &'a str,
    pub client_ca: Option<&'a str>,
}

impl std::fmt::Debug for Pems<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pems(…)")
    }
}

/// Which file is wrong, and how.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    #[error("the certificate: {0}")]
    Cert(String),
    #[error("the key: {0}")]
    Key(String),
    #[error("the client authorities: {0}")]
    ClientCa(String),
}

/// A certificate with its key, checked.
#[derive(Clone)]
pub struct Identity {
    server: Arc<ServerConfig>,
    not_before: Timestamp,
    not_after: Timestamp,
    /// Tells one set of files from another.
    digest: SecretHash,
    /// Tells one set of client authorities from another.
    authorities: SecretHash,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.digest.is(&other.digest)
    }
}

impl Pems<'_> {
    /// Equal texts have equal digests.
    pub fn digest(&self) -> SecretHash {
        SecretHash::of(&[self.cert, self.key, self.client_ca.unwrap_or_default()].join("\0"))
    }

    fn verifier(
        &self,
        provider: &Arc<rustls::crypto::CryptoProvider>,
    ) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, Wrong> {
        let Some(authorities) = self.client_ca else {
            return Ok(WebPkiClientVerifier::no_client_auth());
        };
        let wrong = |error: &dyn std::fmt::Display| Wrong::ClientCa(error.to_string());
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(authorities.as_bytes()) {
            roots.add(authority.map_err(|error| wrong(&error))?).map_err(|error| wrong(&error))?;
        }
        // Who shows none is asked for a token by the request's handler.
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
            .allow_unauthenticated()
            .build()
            .map_err(|error| wrong(&error))
    }
}

impl Identity {
    pub fn try_new(pems: Pems<'_>) -> Result<Self, Wrong> {
        let chain: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(pems.cert.as_bytes())
                .collect::<Result<_, _>>()
                .map_err(|error| Wrong::Cert(error.to_string()))?;
        let first = chain
            .first()
            .ok_or_else(|| Wrong::Cert("no certificate in it; PEM text is expected".to_owned()))?;
        let (not_before, not_after) = validity(first).map_err(Wrong::Cert)?;
        let key = PrivateKeyDer::from_pem_slice(pems.key.as_bytes())
            .map_err(|error| Wrong::Key(error.to_string()))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = pems.verifier(&provider)?;
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Wrong::Cert(error.to_string()))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .map_err(|error| Wrong::Key(error.to_string()))?;
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let authorities = SecretHash::of(pems.client_ca.unwrap_or_default());
        let (server, digest) = (Arc::new(server), pems.digest());
        Ok(Self { server, not_before, not_after, digest, authorities })
    }

    pub fn digest(&self) -> SecretHash {
        self.digest
    }

    /// What somebody should know of its time, in words.
    pub fn warning(&self, now: Timestamp) -> Option<String> {
        let (from, until) = (self.not_before, self.not_after);
        if now < from {
            return Some(format!("the TLS certificate is not valid before {from}"));
        }
        if now >= until {
            return Some(format!("the TLS certificate ended at {until}: clients refuse it"));
        }
        let left = until.since(now);
        (left < EXPIRY_SOON).then(|| {
            let days = left.as_secs() / 86_400;
            format!("the TLS certificate ends at {until}, in {days} days: renew it")
        })
    }
}

/// What listeners show at this moment. Cheap to clone; all clones are swapped together.
#[derive(Clone, Debug)]
pub struct Shown {
    identity: Arc<ArcSwap<Identity>>,
    /// Other authorities are believed: whom those of before let in must come again.
    others: Arc<watch::Sender<()>>,
}

impl Shown {
    pub fn new(identity: Identity) -> Self {
        let identity = Arc::new(ArcSwap::from_pointee(identity));
        Self { identity, others: Arc::default() }
    }

    /// From here on, new connections see this one. Connections of before end, with what they work on, where
    /// other authorities are believed.
    pub fn swap(&self, identity: Identity) {
        let authorities = identity.authorities;
        let before = self.identity.swap(Arc::new(identity));
        if !before.authorities.is(&authorities) {
            self.others.send_replace(());
        }
    }

    /// Hears of other authorities from now on.
    pub(super) fn others(&self) -> watch::Receiver<()> {
        self.others.subscribe()
    }

    pub fn identity(&self) -> Arc<Identity> {
        self.identity.load_full()
    }

    pub(super) fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.identity.load().server)
    }
}

fn validity(certificate: &CertificateDer<'_>) -> Result<(Timestamp, Timestamp), String> {
    let (_, parsed) =
        X509Certificate::from_der(certificate).map_err(|error| format!("not X.509: {error}"))?;
    let at = |seconds: i64| {
        Timestamp::from_nanos(u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000_000_000))
    };
    let validity = parsed.validity();
    Ok((at(validity.not_before.timestamp()), at(validity.not_after.timestamp())))
}

/// The name of a client: its first URI (SPIFFE), else its first DNS name, else its common name, else the
/// hash of the certificate.
pub(super) fn client(certificate: &CertificateDer<'_>) -> Client {
    let hash = || {
        let digest: [u8; 32] = Sha256::digest(certificate).into();
        digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let named = X509Certificate::from_der(certificate).ok().and_then(|(_, parsed)| name(&parsed));
    Client(named.unwrap_or_else(hash).into())
}

fn name(certificate: &X509Certificate<'_>) -> Option<String> {
    let alternative = certificate.subject_alternative_name().ok().flatten();
    let names = alternative.map(|found| found.value.general_names.as_slice()).unwrap_or_default();
    let uri = names.iter().find_map(|name| match name {
        GeneralName::URI(uri) => Some((*uri).to_owned()),
        _ => None,
    });
    let dns = || {
        names.iter().find_map(|name| match name {
            GeneralName::DNSName(dns) => Some((*dns).to_owned()),
            _ => None,
        })
    };
    let common = || {
        let first = certificate.subject().iter_common_name().next()?;
        first.as_str().ok().map(str::to_owned)
    };
    uri.or_else(dns).or_else(common)
}
