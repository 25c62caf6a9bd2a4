//! Identity tokens that Google signs for Pub/Sub's pushes (OpenID Connect, RS256).
//!
//! What comes in: a bearer token and the moment. What goes out: the service account that it names, if
//! Google signed it, for this audience, and it has not ended. The keys come from Google's key set and are
//! kept. Never is a key asked for more often than once a minute, whatever tokens are sent, and never is
//! more of an answer read than a key set has.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use serde::Deserialize;
use tokio::sync::Mutex;

use crate::signal::Timestamp;

pub const ISSUER: &str = "https://accounts.google.com";
pub const KEYS_URL: &str = "https://www.googleapis.com/oauth2/v3/certs";
/// Google's tokens have about 1,000 bytes.
const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// Google's key set has two or three keys, of 500 bytes each.
const KEY_SET_BYTES_MAX: usize = 64 * 1024;
const KEYS_MAX: usize = 16;
/// A key set that is older is asked for anew; if there is no answer, the old one goes on.
const FRESH_FOR: Duration = Duration::from_hours(1);
/// Keys that Google has withdrawn must not be believed for ever.
const BELIEVED_FOR: Duration = Duration::from_hours(24);
/// The pause between two questions.
const ASK_EVERY: Duration = Duration::from_mins(1);
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// How far clocks may differ.
const SKEW: Duration = Duration::from_mins(1);

/// Whose tokens, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub issuer: String,
    /// What the subscription says that its tokens are for.
    pub audience: String,
    /// Service accounts that may push.
    pub emails: Vec<String>,
    pub keys_url: String,
}

/// Checks tokens and keeps the keys for it.
#[derive(Debug)]
pub struct PubsubOidc {
    config: Config,
    client: reqwest::Client,
    keys: Mutex<Keys>,
}

#[derive(Debug, Default)]
struct Keys {
    known: Vec<(String, RsaPublicKeyComponents<Vec<u8>>)>,
    got_at: Option<Timestamp>,
    asked_at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Head {
    alg: String,
    kid: String,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    exp: u64,
    #[serde(default)]
    nbf: u64,
    email: String,
    email_verified: bool,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Key>,
}

#[derive(Deserialize)]
struct Key {
    kid: String,
    kty: String,
    n: String,
    e: String,
}

impl PubsubOidc {
    /// Fails where no HTTP client can be made.
    pub fn try_new(config: Config) -> Result<Self, String> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .timeout(ANSWER_MAX)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self { config, client, keys: Mutex::default() })
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The service account that a token names, if all of it is right.
    pub(super) async fn email(&self, token: &str, now: Timestamp) -> Option<String> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let (head, claims) = signed.split_once('.')?;
        let head: Head = part(head)?;
        let claims: Claims = part(claims)?;
        // What can be told without a key is told first: keys are asked for by no stranger.
        if head.alg != "RS256" || !self.is_meant(&claims, now) {
            return None;
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        let mut keys = self.keys.lock().await;
        self.refresh(&mut keys, &head.kid, now).await;
        let is_believed = keys.got_at.is_some_and(|at| now.since(at) < BELIEVED_FOR);
        let (_, key) = keys.known.iter().filter(|_| is_believed).find(|(id, _)| *id == head.kid)?;
        key.verify(&RSA_PKCS1_2048_8192_SHA256, signed.as_bytes(), &signature).ok()?;
        Some(claims.email)
    }

    fn is_meant(&self, claims: &Claims, now: Timestamp) -> bool {
        let Config { issuer, audience, emails, .. } = &self.config;
        let (now, skew) = (now.as_secs(), SKEW.as_secs());
        // Google writes its name with and without the scheme.
        let is_issuer = claims.iss == *issuer
            || issuer.strip_prefix("https://").is_some_and(|name| claims.iss == name);
        is_issuer
            && claims.aud == *audience
            && claims.email_verified
            && emails.contains(&claims.email)
            && now < claims.exp.saturating_add(skew)
            && now.saturating_add(skew) >= claims.nbf
    }

    /// Asks for the keys where they are old or this one is not among them.
    async fn refresh(&self, keys: &mut Keys, id: &str, now: Timestamp) {
        let is_fresh = keys.got_at.is_some_and(|at| now.since(at) < FRESH_FOR);
        let is_known = keys.known.iter().any(|(known, _)| known == id);
        let is_asked = keys.asked_at.is_some_and(|at| now.since(at) < ASK_EVERY);
        if (is_fresh && is_known) || is_asked {
            return;
        }
        keys.asked_at = Some(now);
        match self.ask().await {
            Ok(known) => (keys.known, keys.got_at) = (known, Some(now)),
            Err(error) => {
                tracing::warn!(event = "receive.key_set.failed", error, "tokens of Pub/Sub");
            }
        }
    }

    async fn ask(&self) -> Result<Vec<(String, RsaPublicKeyComponents<Vec<u8>>)>, String> {
        let failed = |error: reqwest::Error| error.without_url().to_string();
        let mut answer = self.client.get(&self.config.keys_url).send().await.map_err(failed)?;
        if !answer.status().is_success() {
            return Err(format!("status {}", answer.status()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > KEY_SET_BYTES_MAX {
                return Err(format!("the key set is larger than {KEY_SET_BYTES_MAX} bytes"));
            }
            body.extend_from_slice(&chunk);
        }
        let set: KeySet = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
        let key = |key: Key| {
            let number = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
            let components = RsaPublicKeyComponents { n: number(&key.n)?, e: number(&key.e)? };
            (key.kty == "RSA").then_some((key.kid, components))
        };
        Ok(set.keys.into_iter().filter_map(key).take(KEYS_MAX).collect())
    }
}

fn part<T: serde::de::DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

#[cfg(test)]
mod tests;
