//! Where to listen and who is let in: addresses, certificates, tokens and signatures, as written to
//! checked.

use std::net::SocketAddr;
use std::path::PathBuf;

use axum::http::uri::Authority;
use serde_saphyr::Spanned;

use super::check::Reader;
use super::raw::{RawAuth, RawConfig, RawPubsub, RawSignature, RawTls, RawToken, Value, Values};
use super::{Auth, Listen, Scope, Tls, Token};
use crate::listen::tls::{Files, Identity, Pems, Wrong};
use crate::receive::pubsub_oidc;
use crate::receive::reach::{self, Reach};
use crate::receive::signature::{Scheme, Signer};
use crate::signal::{Receiver, SecretHash};

/// Shorter tokens are guessed: 16 hex digits are 64 bits.
const TOKEN_BYTES_MIN: usize = 16;

impl Reader<'_> {
    /// Nobody from outside gets in without TLS and a credential, but where that is said out loud.
    pub(super) fn listen(&mut self, raw: &RawConfig, has_tls: bool, auth: &Auth) -> Listen {
        let insecure = self.parse::<bool>(&raw.listen.insecure, "true or false").unwrap_or(false);
        let is_part = self.source.is_part;
        let missing = match (has_tls, auth.is_required()) {
            _ if insecure || is_part => None,
            (true, true) => None,
            (true, false) => Some(
                "lets everybody in; set `auth.tokens` or `tls.client_ca_file`, or listen on loopback",
            ),
            (false, _) => Some(
                "is reachable from outside without TLS; set `tls`, listen on loopback, or say `listen: {insecure: true}`",
            ),
        };
        let mut address = |value: &Value, port: u16| {
            let chosen =
                self.parse::<SocketAddr>(value, "an address with a port, as 127.0.0.1:4318");
            if let (Some(value), Some(chosen), Some(missing)) = (value, chosen, missing)
                && !chosen.ip().is_loopback()
            {
                self.error(value, format!("{chosen} {missing}"));
            }
            chosen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], port)))
        };
        Listen {
            otlp_grpc: address(&raw.listen.otlp_grpc, 4317),
            ingest: address(&raw.listen.ingest, 4318),
            web: address(&raw.listen.web, 9595),
        }
    }

    pub(super) fn external_url(&mut self, value: &Value) -> Option<String> {
        let what = "an address of http or https, as https://throughline.example.org";
        self.parse_with(value, what, |text| {
            let (scheme, rest) = text.split_once("://")?;
            let host = rest.split('/').next().unwrap_or_default();
            let is_host = !host.contains('@') && host.parse::<Authority>().is_ok();
            let is_good =
                matches!(scheme, "http" | "https") && is_host && !rest.contains(['?', '#']);
            is_good.then(|| text.trim_end_matches('/').to_owned())
        })
    }

    pub(super) fn tls(&mut self, raw: &Spanned<RawTls>) -> Option<Tls> {
        let RawTls { cert_file, key_file, client_ca_file, client_scope, .. } = &raw.value;
        let is_empty = [cert_file, key_file, client_ca_file].iter().all(|value| value.is_none());
        if is_empty || (self.source.is_part && (cert_file.is_none() || key_file.is_none())) {
            return None;
        }
        self.required(raw, cert_file, "cert_file")?;
        self.required(raw, key_file, "key_file")?;
        let (cert, key) = (self.pem(cert_file), self.pem(key_file));
        let client_ca = match client_ca_file {
            Some(_) => Some(self.pem(client_ca_file)?),
            None => None,
        };
        let ((cert, cert_text), (key, key_text)) = cert.zip(key)?;
        let client_ca_text = client_ca.as_ref().map(|(_, text)| text.as_str());
        let pems = Pems { cert: &cert_text, key: &key_text, client_ca: client_ca_text };
        let identity = Identity::try_new(pems).map_err(|wrong| {
            let place = match &wrong {
                Wrong::Cert(_) => cert_file,
                Wrong::Key(_) => key_file,
                Wrong::ClientCa(_) => client_ca_file,
            };
            if let Some(place) = place {
                self.error(place, wrong.to_string());
            }
        });
        let client_scopes = match (&client_ca, client_scope) {
            (None, _) => Vec::new(),
            (Some(_), None) => vec![Scope::Ingest, Scope::Read],
            (Some(_), written) => self.scopes(written),
        };
        let client_ca = client_ca.map(|(path, _)| path);
        Some(Tls { files: Files { cert, key, client_ca }, identity: identity.ok()?, client_scopes })
    }

    /// A file's path and text.
    fn pem(&mut self, value: &Value) -> Option<(PathBuf, String)> {
        let path = self.path(value)?;
        match (self.outside.read)(&path) {
            Ok(text) => Some((path, text)),
            Err(error) => {
                if let Some(written) = value {
                    self.error(written, format!("cannot read {}: {error}", path.display()));
                }
                None
            }
        }
    }

    pub(super) fn auth(&mut self, raw: &RawAuth, tls: Option<&Tls>) -> Auth {
        Auth {
            tokens: self.tokens(raw.tokens.as_deref().unwrap_or_default()),
            signers: self.signers(raw.signatures.as_deref().unwrap_or_default()),
            pubsub: raw.pubsub.as_ref().and_then(|pubsub| self.pubsub(pubsub)),
            client_scopes: tls.map(|tls| tls.client_scopes.clone()).unwrap_or_default(),
        }
    }

    fn pubsub(&mut self, raw: &Spanned<RawPubsub>) -> Option<pubsub_oidc::Config> {
        let RawPubsub { audience, emails, issuer, keys_url, .. } = &raw.value;
        if audience.is_none() && emails.is_none() {
            return None;
        }
        let audience = self.required(raw, audience, "audience")?;
        let emails = self.texts(emails);
        if emails.is_empty() {
            self.error(raw, "`emails` must name the service accounts that push: Google signs tokens for anybody's");
        }
        let keys = self.text(keys_url).unwrap_or_else(|| pubsub_oidc::KEYS_URL.to_owned());
        let is_near = ["http://127.0.0.1:", "http://localhost:"];
        if let Some(written) = keys_url
            && !keys.starts_with("https://")
            && !is_near.iter().any(|near| keys.starts_with(near))
        {
            self.error(written, "`keys_url` must begin with https://, but on loopback");
        }
        Some(pubsub_oidc::Config {
            issuer: self.text(issuer).unwrap_or_else(|| pubsub_oidc::ISSUER.to_owned()),
            audience,
            emails,
            keys_url: keys,
        })
    }

    fn scopes(&mut self, written: &Values) -> Vec<Scope> {
        let scopes = written.iter().flatten().filter_map(|scope| {
            self.parse_with(&Some(scope.clone()), "ingest, read or write", |text| match text {
                "ingest" => Some(Scope::Ingest),
                "read" => Some(Scope::Read),
                "write" => Some(Scope::Write),
                _ => None,
            })
        });
        scopes.collect()
    }

    fn tokens(&mut self, raw: &[Spanned<RawToken>]) -> Vec<Token> {
        let mut tokens = Vec::new();
        for token in raw {
            let name = self.required(token, &token.value.name, "name");
            let secret = self.secret(&token.value.token, &token.value.token_file);
            let Some((name, secret)) = name.zip(secret.filter(|secret| !secret.is_empty())) else {
                self.error(
                    token,
                    "a token needs a `name` and a `token_file` (or `token`) that is not empty",
                );
                continue;
            };
            if secret.len() < TOKEN_BYTES_MIN {
                self.warn(format!(
                    "the token `{name}` has fewer than {TOKEN_BYTES_MIN} characters and can be guessed; make it of 32 random bytes"
                ));
            }
            let scopes = self.scopes(&token.value.scope);
            let reach = self.reach(token, &scopes);
            tokens.push(Token { name, hash: SecretHash::of(&secret), scopes, reach });
        }
        tokens
    }

    /// Where a token may deliver to: everywhere, where no receivers are named.
    fn reach(&mut self, token: &Spanned<RawToken>, scopes: &[Scope]) -> Reach {
        let ingests = scopes.contains(&Scope::Ingest);
        let Some(written) = &token.value.receivers else {
            return if ingests { Reach::All } else { Reach::Only(Vec::new()) };
        };
        if !ingests {
            self.error(
                token,
                "`receivers` says where a token delivers to: it needs `ingest` in its `scope`",
            );
        }
        if written.is_empty() {
            self.error(token, "`receivers` names none; name some, or leave it out for all of them");
        }
        let what = format!("a receiver; there are {}", reach::names());
        let named: Vec<Vec<Receiver>> = written
            .into_iter()
            .filter_map(|name| self.parse_with(&Some(name.clone()), &what, reach::named))
            .collect();
        Reach::Only(named.concat())
    }

    fn signers(&mut self, raw: &[Spanned<RawSignature>]) -> Vec<Signer> {
        raw.iter().filter_map(|signature| self.signer(signature)).collect()
    }

    fn signer(&mut self, raw: &Spanned<RawSignature>) -> Option<Signer> {
        let name = self.required(raw, &raw.value.name, "name")?;
        self.required(raw, &raw.value.scheme, "scheme")?;
        let what = "a scheme; there are standard_webhooks and vercel";
        let scheme = self.parse_with(&raw.value.scheme, what, Scheme::parse)?;
        let Some(secret) = self.secret(&raw.value.secret, &raw.value.secret_file) else {
            self.error(raw, "a signature needs a `secret_file` (or `secret`)");
            return None;
        };
        let signer = match Signer::try_new(&name, scheme, &secret) {
            Ok(signer) => signer,
            Err(wrong) => {
                self.error(raw, format!("the secret of `{name}` cannot sign: {wrong}"));
                return None;
            }
        };
        let Some(code) = &raw.value.verify else { return Some(signer) };
        match signer.with_verify(&code.value.0) {
            Ok(signer) => Some(signer),
            Err(wrong) => {
                self.error(code, wrong);
                None
            }
        }
    }
}
