//! Identity tokens that Google signs for Pub/Sub's pushes (OpenID Connect, RS256).
//!
//! What comes in: a bearer token and the moment. What goes out: the service account that it names, if
//! Google signed it, for this audience, and it has not ended. The keys come from Google's key set and are
//! kept. Never is a key asked for more often than once a minute, whatever tokens are sent, never is more of an
//! answer read than a key set has, and never do more than `WAITING_MAX` pushes wait for it: what has come of
//! their bodies counts nowhere yet.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use serde::Deserialize;
use tokio::sync::{Mutex, OwnedMutexGuard, Semaphore};

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
/// Pushes that wait to learn whether a key is Google's. HTTP/2 may have 1 MiB of each in its buffers, which
/// nobody has admitted.
const WAITING_MAX: usize = 16;
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
    keys: ArcSwap<Keys>,
    /// When they were asked for last; locked while they are.
    asked_at: Arc<Mutex<Option<Timestamp>>>,
    waiting: Semaphore,
}

/// Why a token lets nobody in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// It proves nothing.
    Unproven,
    /// Too many wait for its key: it may prove something later.
    Later,
}

#[derive(Debug, Default)]
struct Keys {
    known: Vec<(String, RsaPublicKeyComponents<Vec<u8>>)>,
    got_at: Option<Timestamp>,
}

impl Keys {
    /// The key of this name, if it is still believed.
    fn key(&self, id: &str, now: Timestamp) -> Option<&RsaPublicKeyComponents<Vec<u8>>> {
        let is_believed = self.got_at.is_some_and(|at| now.since(at) < BELIEVED_FOR);
        let found = self.known.iter().filter(|_| is_believed).find(|(known, _)| known == id);
        found.map(|(_, key)| key)
    }

    fn is_fresh(&self, now: Timestamp) -> bool {
        self.got_at.is_some_and(|at| now.since(at) < FRESH_FOR)
    }
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
        let (keys, asked_at) = (ArcSwap::default(), Arc::default());
        Ok(Self { config, client, keys, asked_at, waiting: Semaphore::new(WAITING_MAX) })
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The service account that a token names, if all of it is right.
    pub(super) async fn email(
        self: &Arc<Self>,
        token: &str,
        now: Timestamp,
    ) -> Result<String, Denied> {
        let Told { signed, head, claims, signature } = told(token).ok_or(Denied::Unproven)?;
        // What can be told without a key is told first: keys are asked for by no stranger.
        if head.alg != "RS256" || !self.is_meant(&claims, now) {
            return Err(Denied::Unproven);
        }
        let keys = self.keys_for(&head.kid, now).await?;
        let key = keys.key(&head.kid, now).ok_or(Denied::Unproven)?;
        key.verify(&RSA_PKCS1_2048_8192_SHA256, signed.as_bytes(), &signature)
            .map_err(|_wrong| Denied::Unproven)?;
        Ok(claims.email)
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

    /// The keys, asked for anew where they are old or this one is not among them.
    async fn keys_for(self: &Arc<Self>, id: &str, now: Timestamp) -> Result<Arc<Keys>, Denied> {
        let keys = self.keys.load_full();
        match keys.key(id, now) {
            Some(_) if keys.is_fresh(now) => return Ok(keys),
            // Whoever comes first asks; the others go on with what is believed.
            Some(_) => match Arc::clone(&self.asked_at).try_lock_owned() {
                Ok(asked_at) => self.refresh(asked_at, id, now).await,
                Err(_asked_for) => return Ok(keys),
            },
            None => {
                let _place = self.waiting.try_acquire().map_err(|_many| Denied::Later)?;
                let asked_at = Arc::clone(&self.asked_at).lock_owned().await;
                self.refresh(asked_at, id, now).await;
            }
        }
        Ok(self.keys.load_full())
    }

    /// Asks for the keys, unless somebody just did. It goes on where the push that began it is cut off: who
    /// could end it would keep the others without keys.
    async fn refresh(
        self: &Arc<Self>,
        mut asked_at: OwnedMutexGuard<Option<Timestamp>>,
        id: &str,
        now: Timestamp,
    ) {
        let keys = self.keys.load();
        let is_known = keys.is_fresh(now) && keys.key(id, now).is_some();
        if is_known || asked_at.is_some_and(|at| now.since(at) < ASK_EVERY) {
            return;
        }
        *asked_at = Some(now);
        let this = Arc::clone(self);
        let asking = tokio::spawn(async move {
            match this.ask().await {
                Ok(known) => this.keys.store(Arc::new(Keys { known, got_at: Some(now) })),
                Err(error) => {
                    tracing::warn!(event = "receive.key_set.failed", error, "tokens of Pub/Sub");
                }
            }
            drop(asked_at);
        });
        if let Err(error) = asking.await {
            tracing::error!(event = "receive.key_set.failed", %error);
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

/// A token's parts.
struct Told<'a> {
    /// What the signature is of.
    signed: &'a str,
    head: Head,
    claims: Claims,
    signature: Vec<u8>,
}

fn told(token: &str) -> Option<Told<'_>> {
    if token.len() > TOKEN_BYTES_MAX {
        return None;
    }
    let (signed, signature) = token.rsplit_once('.')?;
    let (head, claims) = signed.split_once('.')?;
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    Some(Told { signed, head: part(head)?, claims: part(claims)?, signature })
}

fn part<T: serde::de::DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

#[cfg(test)]
mod tests;
