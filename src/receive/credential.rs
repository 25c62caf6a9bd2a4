//! Who sends a delivery, and how that is proved.
//!
//! What comes in: headers, later the body as it was sent. What goes out: a [`Principal`], or nothing.
//! Never is a body read for somebody whose headers prove nothing; a signature, which needs the body, is
//! checked before anything is made of it.

use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderValue};

use super::Access;
use super::decode::Endpoint;
use super::signature::{self, Scheme, Signed, Signer};
use crate::listen::{Client, bearer};
use crate::signal::{SecretHash, Text, Timestamp};

/// Who sends: the name of a token, a signer or a client's certificate, or nobody in particular.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Principal(pub(super) Text);

/// What the headers say of the sender.
#[derive(Debug)]
pub(super) enum Claim {
    Known(Principal),
    /// True only if the body bears it out.
    Signed(Signed),
}

impl Claim {
    /// In whose name the body is admitted. Who claims a signature is nobody yet: all of them share.
    pub(super) fn sender(&self) -> Principal {
        match self {
            Self::Known(principal) => principal.clone(),
            Self::Signed(_) => Principal("signed, not proven yet".into()),
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
    /// Checks a token. Every known one is compared, so that timing tells nothing.
    pub(super) fn token(&self, secret: Option<&str>) -> Option<Principal> {
        if !self.required {
            return Some(Principal(Text::default()));
        }
        let given = SecretHash::of(secret?);
        self.tokens.iter().fold(None, |found, token| {
            if token.hash.is(&given) { Some(Principal(token.name.as_str().into())) } else { found }
        })
    }

    /// Who holds the other end of the connection, where its certificate says so and may deliver.
    pub(super) fn certified(&self, extensions: &Extensions) -> Option<Principal> {
        let Client(name) = extensions.get::<Client>().filter(|_| self.clients_ingest)?;
        // Apart from the names of tokens, which are the operator's own.
        Some(Principal(format!("certificate {name}").into()))
    }

    /// The code by which Vercel knows that an address is ours: the first that is configured.
    pub(super) fn vercel_code(&self) -> Option<HeaderValue> {
        self.signers.iter().find_map(Signer::verify_code).cloned()
    }

    /// What the headers prove or promise. None: nobody that we know.
    pub(super) fn claim(&self, endpoint: Endpoint, parts: &Parts, now: Timestamp) -> Option<Claim> {
        let headers = &parts.headers;
        if !self.signers.is_empty()
            && let Some(signed) =
                schemes(endpoint).iter().find_map(|scheme| signature::read(headers, *scheme, now))
        {
            return Some(Claim::Signed(signed));
        }
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let secret = match endpoint {
            Endpoint::Firehose => text("x-amz-firehose-access-key").or_else(|| bearer(headers)),
            _ => bearer(headers),
        };
        self.token(secret).or_else(|| self.certified(&parts.extensions)).map(Claim::Known)
    }

    /// The service account in whose name Pub/Sub pushes, where its token says so.
    pub(super) async fn pushed(
        &self,
        endpoint: Endpoint,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Option<Claim> {
        let oidc = self.pubsub.as_ref().filter(|_| endpoint == Endpoint::Pubsub)?;
        let email = oidc.email(bearer(headers)?, now).await?;
        Some(Claim::Known(Principal(email.into())))
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
