//! Why a connection failed, in words that say what to do.
//!
//! The error of a library comes in; one line goes out, with the key of the configuration that changes it.
//! Never is an address or a secret part of it: the libraries' own texts name hosts, so those of
//! certificates are not repeated.

use std::borrow::Cow;
use std::error::Error;

use rustls::{AlertDescription as Alert, CertificateError as Certificate};

use crate::notify::Failure;
use crate::notify::address::REFUSED;

/// Not answered.
pub(super) fn unsent(error: &reqwest::Error) -> Failure {
    let cause = cause(error);
    if cause.contains(REFUSED) {
        return Failure::for_good(REFUSED.to_owned());
    }
    let what = if error.is_connect() { "cannot connect" } else { "the connection broke" };
    Failure::for_now(format!("{what}: {cause}"))
}

/// What failed, without the address that the outer errors name.
pub(super) fn cause(error: &reqwest::Error) -> String {
    let Some(first) = error.source() else { return "the request failed".to_owned() };
    innermost(first)
}

/// What TLS says, where it is the cause; else the error that all others are wrapped around.
pub(super) fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut at = error;
    loop {
        if let Some(found) = of_tls(at) {
            return in_words(found).into_owned();
        }
        match at.source() {
            Some(source) => at = source,
            None => return at.to_string(),
        }
    }
}

/// The error of TLS that errors of reading and writing are wrapped around.
fn of_tls<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
    let mut at = error;
    loop {
        if let Some(found) = at.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        at = at.downcast_ref::<std::io::Error>()?.get_ref()?;
    }
}

fn in_words(error: &rustls::Error) -> Cow<'static, str> {
    use rustls::Error as E;
    let text = match error {
        E::InvalidCertificate(error) => return bad_certificate(error),
        E::AlertReceived(alert) => match alert {
            Alert::CertificateRequired => {
                "the other side wants a certificate of ours: name one in tls_config.cert_file and key_file"
            }
            Alert::UnknownCA
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateUnknown
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::AccessDenied => {
                "the other side does not take our certificate (tls_config.cert_file)"
            }
            Alert::ProtocolVersion => OTHER_VERSION,
            Alert::HandshakeFailure => {
                "TLS found nothing that both sides speak, or the other side wants a certificate of ours (tls_config: min_version, max_version, cert_file)"
            }
            Alert::UnrecognisedName => {
                "the other side does not know the name that it was asked for; name another in tls_config.server_name"
            }
            _ => return error.to_string().into(),
        },
        E::PeerIncompatible(_) => OTHER_VERSION,
        E::InvalidMessage(rustls::InvalidMessage::InvalidContentType) => {
            "the other side does not speak TLS here; is its address one of http://, or another port?"
        }
        E::General(text) if text.starts_with("No CA certificates") => {
            "this machine knows no authority that signs certificates: install ca-certificates, or name one in tls_config.ca_file"
        }
        _ => return error.to_string().into(),
    };
    text.into()
}

const OTHER_VERSION: &str = "the other side speaks no version of TLS that is allowed (tls_config: min_version, max_version)";

/// The library's own text names the host.
fn bad_certificate(error: &Certificate) -> Cow<'static, str> {
    let text = match error {
        Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
            "the certificate is for another name; write one that it has into the address, or into tls_config.server_name"
        }
        Certificate::Expired | Certificate::ExpiredContext { .. } => {
            "the certificate has ended; the other side needs a new one"
        }
        Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => {
            "the certificate is not valid yet; is one of the two clocks wrong?"
        }
        Certificate::UnknownIssuer => {
            "the certificate was signed by nobody that is trusted here; name its authority's file in tls_config.ca_file"
        }
        Certificate::BadSignature
        | Certificate::UnsupportedSignatureAlgorithmContext { .. }
        | Certificate::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "the certificate was not signed by the authority that it names, or in a way that is not known; tls_config.ca_file may hold an older one"
        }
        Certificate::Revoked => "the certificate was revoked; the other side needs a new one",
        Certificate::InvalidPurpose | Certificate::InvalidPurposeContext { .. } => NOT_FOR_SERVERS,
        Certificate::Other(other) => return refused(&other.to_string()).into(),
        other => {
            // The name of the variant; what it holds may be the host's.
            let name = format!("{other:?}");
            let name = name.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
            return format!("the certificate is refused ({name})").into();
        }
    };
    text.into()
}

const NOT_FOR_SERVERS: &str = "the certificate is not made for servers (extended key usage); the other side needs another one";

/// What the library has no variant for, by its name.
fn refused(name: &str) -> String {
    let text = match name {
        "CaUsedAsEndEntity" => {
            "the certificate is an authority's own (CA:TRUE), which no server may use; let it sign one for the server, and name it in tls_config.ca_file"
        }
        "UnsupportedCertVersion" => {
            "the certificate is of an old version of X.509; the other side needs one of version 3"
        }
        name if name.contains("invalid extensions") => NOT_FOR_SERVERS,
        name => return format!("the certificate is refused: {name}"),
    };
    text.to_owned()
}
