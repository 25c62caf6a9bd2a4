//! Who sends a delivery, and how that is proved.
//!
//! What comes in: headers, later the body as it was sent. What goes out: a [`Principal`], or nothing.
//! Never is a body read for somebody whose headers prove nothing; a signature, which needs the body, is
//! checked before anything is made of it.

use axum::http::{HeaderMap, header};

use super::Token;
use super::decode::Endpoint;
use super::signature::{self, Scheme, Signed, Signer};
use crate::signal::{SecretHash, Timestamp};

/// Who sends: the name of a token or of a signer, or nobody in particular.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Principal(pub(super) String);

/// Everything that lets somebody in.
#[derive(Debug)]
pub(super) struct Credentials {
    pub(super) tokens: Vec<Token>,
    pub(super) signers: Vec<Signer>,
    /// True where any credential is configured: then a delivery without one is refused.
    pub(super) required: bool,
}

/// What the headers say of the sender.
#[derive(Debug)]
pub(super) enum Claim {
    Known(Principal),
    /// True only if the body bears it out.
    Signed(Signed),
}

impl Claim {
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
        _ => &[],
    }
}

impl Credentials {
    /// Checks a token. Every known one is compared, so that timing tells nothing.
    pub(super) fn token(&self, secret: Option<&str>) -> Option<Principal> {
        if !self.required {
            return Some(Principal(String::new()));
        }
        let given = SecretHash::of(secret?);
        self.tokens.iter().fold(None, |found, token| {
            if token.hash.is(&given) { Some(Principal(token.name.clone())) } else { found }
        })
    }

    /// What the headers prove or promise. None: nobody that we know.
    pub(super) fn claim(
        &self,
        endpoint: Endpoint,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Option<Claim> {
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
        self.token(secret).map(Claim::Known)
    }

    /// Holds a claim against the body as it was sent.
    pub(super) fn prove(&self, claim: Claim, body: &[u8]) -> Option<Principal> {
        match claim {
            Claim::Known(principal) => Some(principal),
            Claim::Signed(signed) => {
                signed.by(&self.signers, body).map(|name| Principal(name.to_owned()))
            }
        }
    }
}

pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}
