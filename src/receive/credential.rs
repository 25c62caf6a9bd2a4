//! Who sends a delivery, and how that is proved.
//!
//! What comes in: headers, later the body as it was sent. What goes out: a [`Principal`], or nothing.
//! Never is a body read for somebody whose headers prove nothing; a signature, which needs the body, is
//! checked before anything is made of it.

use std::borrow::Cow;
use std::net::IpAddr;

use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderValue};

use super::admission::Sender;
use super::answer::Failure;
use super::decode::Endpoint;
use super::pubsub_oidc::Denied;
use super::reach::Reach;
use super::signature::{self, Scheme, Signed, Signer};
use super::{Access, Token};
use crate::listen::{Client, Peer, bearer, token};
use crate::signal::{Receiver, SecretHash, Text, Timestamp};

/// Who sends: the name of a token, a signer or a client's certificate, or nobody in particular.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Principal(pub(super) Text);

impl Principal {
    /// In whose name it holds the body of a request.
    pub(super) fn sender(&self, extensions: &Extensions) -> Sender {
        if self.0.is_empty() {
            return Sender::Anyone(peer(extensions));
        }
        Sender::Named(Text::clone(&self.0))
    }
}

/// The address that a request came from; None: this machine.
fn peer(extensions: &Extensions) -> Option<IpAddr> {
    extensions.get::<Peer>().and_then(|Peer(address)| *address)
}

/// What the headers say of the sender.
#[derive(Debug)]
pub(super) enum Claim {
    Known(Principal),
    /// True only if the body bears it out.
    Signed(Signed),
}

impl Claim {
    /// In whose name the body of a request is admitted. Who claims a signature is nobody yet.
    pub(super) fn sender(&self, extensions: &Extensions) -> Sender {
        match self {
            Self::Known(principal) => principal.sender(extensions),
            Self::Signed(_) => Sender::Unproven(peer(extensions)),
        }
    }

    /// The delivery's own id, where the claim brings one.
    pub(super) fn id(&self) -> Option<String> {
        match self {
            Self::Known(_) => None,
            Self::Signed(signed) => signed.id.clone(),
        }
    }
}

/// How deliveries to an endpoint may be signed.
const fn schemes(endpoint: Endpoint) -> &'static [Scheme] {
    match endpoint {
        Endpoint::Json => &[Scheme::StandardWebhooks, Scheme::Vercel],
        Endpoint::Vercel => &[Scheme::Vercel],
        _ => &[],
    }
}

impl Access {
    /// Checks a token. Every known one is compared, so that timing tells nothing. A secret that two of them
    /// have reaches what either does.
    fn token(&self, secret: Option<&str>, receiver: Receiver) -> Result<Principal, Failure> {
        if !self.required {
            return Ok(Principal(Text::default()));
        }
        let given = SecretHash::of(secret.ok_or(Failure::Unauthorized)?);
        let reaches = |token: &Token| token.reach.has(receiver);
        let found = self.tokens.iter().fold(None, |found: Option<&Token>, token| {
            let is_better = token.hash.is(&given) && !found.is_some_and(reaches);
            if is_better { Some(token) } else { found }
        });
        let token = found.ok_or(Failure::Unauthorized)?;
        if reaches(token) {
            return Ok(Principal(token.name.as_str().into()));
        }
        Err(Failure::Forbidden(match &token.reach {
            Reach::Only(receivers) if receivers.is_empty() => {
                format!("the token `{}` may not deliver: it has no scope `ingest`", token.name)
            }
            reach => format!(
                "the token `{}` may not deliver to `{}`; its `receivers` are {}",
                token.name,
                receiver.as_str(),
                reach.names()
            ),
        }))
    }

    /// Who holds the other end of the connection, where its certificate says so and may deliver.
    fn certified(&self, extensions: &Extensions) -> Option<Principal> {
        let Client(name) = extensions.get::<Client>().filter(|_| self.clients_ingest)?;
        // Apart from the names of tokens, which are the operator's own.
        Some(Principal(format!("certificate {name}").into()))
    }

    /// Who may deliver, by a token or else by a certificate.
    pub(super) fn known(
        &self,
        secret: Option<&str>,
        receiver: Receiver,
        extensions: &Extensions,
    ) -> Result<Principal, Failure> {
        self.token(secret, receiver).or_else(|failure| self.certified(extensions).ok_or(failure))
    }

    /// The code by which Vercel knows that an address is ours: the first that is configured.
    pub(super) fn vercel_code(&self) -> Option<HeaderValue> {
        self.signers.iter().find_map(Signer::verify_code).cloned()
    }

    /// What the headers prove or promise, or why they let nobody in.
    pub(super) fn claim(
        &self,
        endpoint: Endpoint,
        parts: &Parts,
        now: Timestamp,
    ) -> Result<Claim, Failure> {
        let headers = &parts.headers;
        if !self.signers.is_empty()
            && let Some(signed) =
                schemes(endpoint).iter().find_map(|scheme| signature::read(headers, *scheme, now))
        {
            return Ok(Claim::Signed(signed));
        }
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let secret = match endpoint {
            Endpoint::Firehose => text("x-amz-firehose-access-key").map(Cow::Borrowed),
            _ => None,
        };
        let secret = secret.or_else(|| token(headers));
        self.known(secret.as_deref(), endpoint.receiver(), &parts.extensions).map(Claim::Known)
    }

    /// The service account in whose name Pub/Sub pushes, where its token says so.
    pub(super) async fn pushed(
        &self,
        endpoint: Endpoint,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Result<Claim, Denied> {
        let oidc = self.pubsub.as_ref().filter(|_| endpoint == Endpoint::Pubsub);
        let (oidc, token) = oidc.zip(bearer(headers)).ok_or(Denied::Unproven)?;
        let email = oidc.email(token, now).await?;
        Ok(Claim::Known(Principal(email.into())))
    }

    /// Holds a claim against the body as it was sent.
    pub(super) fn prove(&self, claim: Claim, body: &[u8]) -> Option<Principal> {
        match claim {
            Claim::Known(principal) => Some(principal),
            Claim::Signed(signed) => {
                signed.by(&self.signers, body).map(|name| Principal(name.into()))
            }
        }
    }
}
