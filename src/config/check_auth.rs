//! Who is let in: tokens and signatures, as written to checked.

use serde_saphyr::Spanned;

use super::check::Reader;
use super::raw::{RawSignature, RawToken};
use super::{Scope, Token};
use crate::receive::signature::{Scheme, Signer};
use crate::signal::SecretHash;

impl Reader<'_> {
    pub(super) fn tokens(&mut self, raw: &[Spanned<RawToken>]) -> Vec<Token> {
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
            let scopes = token.value.scope.iter().flatten().filter_map(|scope| {
                self.parse_with(&Some(scope.clone()), "ingest, read or write", |text| match text {
                    "ingest" => Some(Scope::Ingest),
                    "read" => Some(Scope::Read),
                    "write" => Some(Scope::Write),
                    _ => None,
                })
            });
            tokens.push(Token { name, hash: SecretHash::of(&secret), scopes: scopes.collect() });
        }
        tokens
    }

    pub(super) fn signers(&mut self, raw: &[Spanned<RawSignature>]) -> Vec<Signer> {
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
        match Signer::try_new(&name, scheme, &secret) {
            Ok(signer) => Some(signer),
            Err(wrong) => {
                self.error(raw, format!("the secret of `{name}` cannot sign: {wrong}"));
                None
            }
        }
    }
}
