//! Tokens by OAuth 2.0, for a client that is its own user (RFC 6749 4.4).
//!
//! A token is kept until shortly before it ends; where its end is not told, until the other side refuses
//! it. Never is a token, an id or a secret part of an error.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::Value;

use super::client::{Clients, Reach, Way};
use super::http;
use super::trouble::unsent;
use crate::notify::Failure;
use crate::notify::http_config::OAuth2;
use crate::notify::secret::Secret;
use crate::signal::Timestamp;

/// Tokens that are kept; a reload with other credentials asks for new ones.
const TOKENS_MAX: usize = 64;
/// A token that ends so soon is not used any more: it must last until the message is read.
const ENDS_EARLY: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct Token {
    /// The whole value of the `Authorization` header.
    header: Secret,
    ends_at: Option<Timestamp>,
}

#[derive(Debug, Default)]
pub(super) struct Tokens(Mutex<BTreeMap<OAuth2, Token>>);

/// How a client says who it is: servers must know the first, some know only the second (RFC 6749 2.3.1).
#[derive(Clone, Copy)]
enum Says {
    InHeader,
    InBody,
}

impl Tokens {
    /// One that was asked for before and still holds.
    pub(super) fn kept(&self, oauth2: &OAuth2, now: Timestamp) -> Option<Secret> {
        let tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let token = tokens.get(oauth2)?;
        let holds = token.ends_at.is_none_or(|end| now.saturating_add(ENDS_EARLY) < end);
        holds.then(|| token.header.clone())
    }

    /// Asks for a new one and keeps it.
    pub(super) async fn ask(
        &self,
        clients: &Clients,
        oauth2: &OAuth2,
        (reach, now): (Reach, Timestamp),
    ) -> Result<Secret, Failure> {
        let way = clients.way((&oauth2.tls, &oauth2.proxy, reach), &oauth2.token_url);
        let way = way.map_err(|failure| of_token(&failure))?;
        let mut answer = question(&way, oauth2, Says::InHeader).await?;
        if matches!(answer.status().as_u16(), 400 | 401) {
            answer = question(&way, oauth2, Says::InBody).await?;
        }
        let status = answer.status();
        if !status.is_success() {
            let retry_after = http::retry_after(answer.headers(), now);
            return Err(of_token(&http::refused(status, retry_after)));
        }
        let body = http::read(answer).await.map_err(|failure| of_token(&failure))?;
        let token = read(&body, now).ok_or_else(|| {
            Failure::for_good("oauth2: the answer holds no `access_token`".to_owned())
        })?;
        let header = token.header.clone();
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if tokens.len() >= TOKENS_MAX {
            tokens.clear();
        }
        tokens.insert(oauth2.clone(), token);
        Ok(header)
    }
}

fn of_token(failure: &Failure) -> Failure {
    Failure { message: format!("oauth2: {}", failure.message).into(), ..failure.clone() }
}

async fn question(way: &Way, oauth2: &OAuth2, says: Says) -> Result<reqwest::Response, Failure> {
    let OAuth2 { client_id, client_secret, scopes, params, .. } = oauth2;
    let scope = scopes.iter().map(|scope| &**scope).collect::<Vec<_>>().join(" ");
    let mut fields = vec![("grant_type", "client_credentials")];
    fields.extend((!scope.is_empty()).then_some(("scope", &*scope)));
    fields.extend(params.iter().map(|(name, value)| (&**name, value.expose())));
    let mut request = way.post().header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    match says {
        Says::InHeader => {
            let encoded = gotmpl::url_encode;
            let pair = format!("{}:{}", encoded(client_id), encoded(client_secret.expose()));
            let header = http::value(&format!("Basic {}", STANDARD.encode(pair)))?;
            request = request.header(AUTHORIZATION, header);
        }
        Says::InBody => {
            fields.push(("client_id", &**client_id));
            fields.push(("client_secret", client_secret.expose()));
        }
    }
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(&fields).finish();
    let sent = request.body(body).send().await;
    sent.map_err(|error| of_token(&unsent(&error)))
}

/// `{"access_token": "…", "token_type": "bearer", "expires_in": 3600}` (RFC 6749 5.1); some write the
/// number as text.
fn read(body: &[u8], now: Timestamp) -> Option<Token> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let token = answer["access_token"].as_str().filter(|token| !token.is_empty())?;
    let kind = answer["token_type"].as_str().filter(|kind| !kind.is_empty());
    let kind = kind.filter(|kind| !kind.eq_ignore_ascii_case("bearer")).unwrap_or("Bearer");
    let lasts = &answer["expires_in"];
    let lasts = lasts.as_u64().or_else(|| lasts.as_str()?.parse().ok()).filter(|s| *s > 0);
    Some(Token {
        header: Secret::new(&format!("{kind} {token}")),
        ends_at: lasts.map(|seconds| now.saturating_add(Duration::from_secs(seconds))),
    })
}
