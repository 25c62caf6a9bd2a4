//! Mail: one connection a message, TLS as the file says.

use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{
    Certificate, Identity, Tls as Encryption, TlsParameters, TlsVersion as Version,
};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};

use super::trouble::innermost;
use crate::notify::Failure;
use crate::notify::address;
use crate::notify::http_config::{Tls, TlsVersion};
use crate::notify::notifiers::email::Mail;
use crate::notify::receivers::MailTls;

pub(super) async fn send(mail: Mail, tls: &Tls) -> Result<(), Failure> {
    // The name is resolved here, so that what is asked is what is connected to.
    let addresses = address::resolve(&mail.host, mail.port).await.map_err(|error| {
        let text = format!("cannot find the mail server: {error}");
        if error.kind() == std::io::ErrorKind::PermissionDenied {
            Failure::for_good(text)
        } else {
            Failure::for_now(text)
        }
    })?;
    let Some(server) = addresses.first() else {
        return Err(Failure::for_now("the mail server has no address".to_owned()));
    };
    let parameters = parameters(&mail, tls).map_err(|error| failure(&error))?;
    let encryption = match mail.tls {
        MailTls::Implicit => Encryption::Wrapper(parameters),
        MailTls::Required => Encryption::Required(parameters),
        MailTls::Offered => Encryption::Opportunistic(parameters),
    };
    let mut builder =
        AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(server.ip().to_string())
            .port(mail.port)
            .tls(encryption)
            .hello_name(ClientId::Domain(mail.hello.to_string()));
    if let Some(login) = &mail.login {
        let password = login.password.expose().to_owned();
        builder = builder.credentials(Credentials::new(login.user.to_string(), password));
    }
    builder.build().send(mail.letter).await.map(drop).map_err(|error| failure(&error))
}

fn parameters(mail: &Mail, tls: &Tls) -> Result<TlsParameters, lettre::transport::smtp::Error> {
    let name = tls.server_name.as_ref().unwrap_or(&mail.host);
    let mut builder =
        TlsParameters::builder(name.to_string()).dangerous_accept_invalid_certs(tls.is_insecure);
    if tls.min == Some(TlsVersion::V13) {
        builder = builder.set_min_tls_version(Version::Tlsv13);
    }
    if let Some(ca) = &tls.ca {
        builder = builder.add_root_certificate(Certificate::from_pem(ca.as_bytes())?);
    }
    if let Some(identity) = &tls.identity {
        let pem = identity.expose().as_bytes();
        builder = builder.identify_with(Identity::from_pem(pem, pem)?);
    }
    builder.build()
}

/// A 5xx of the server is for good (RFC 5321 4.2.1), everything else may pass. What the server says is
/// not repeated: it may hold addresses.
fn failure(error: &lettre::transport::smtp::Error) -> Failure {
    if let Some(status) = error.status() {
        let text = format!("the mail server answered {status}");
        return if error.is_permanent() { Failure::for_good(text) } else { Failure::for_now(text) };
    }
    let what = if error.is_tls() { "TLS failed" } else { "cannot send mail" };
    Failure::for_now(format!("{what}: {}", innermost(error)))
}
