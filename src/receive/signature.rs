//! Bodies that are signed with a shared secret (HMAC).
//!
//! What comes in: headers, and after them the body as it was sent. What goes out: the name of the secret
//! that signed it. The headers are looked at before a byte of the body is read, so that what cannot be
//! proved costs nothing. Never is a secret compared byte by byte, or shown.

use axum::http::{HeaderMap, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use subtle::ConstantTimeEq as _;

use crate::signal::Timestamp;

/// How far a signed time may lie from ours, seconds; the specification of Standard Webhooks leaves it to
/// the receiver and its libraries take five minutes. A repeat within it bears the same id and changes
/// nothing.
const TOLERANCE_SECONDS: u64 = 300;
/// Signatures that one header may hold: a sender that changes its secret signs with both.
const SIGNATURES_MAX: usize = 8;

/// How a body is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Standard Webhooks: HMAC-SHA256 over id, time and body, in `webhook-id`, `webhook-timestamp` and
    /// `webhook-signature`.
    StandardWebhooks,
    /// Vercel's drains: HMAC-SHA1 over the body alone, in hex in `x-vercel-signature`. It bears no time:
    /// a repeat is found only as a batch that is the same byte for byte.
    Vercel,
}

impl Scheme {
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "standard_webhooks" => Some(Self::StandardWebhooks),
            "vercel" => Some(Self::Vercel),
            _ => None,
        }
    }
}

/// A secret that signs what its owner sends.
#[derive(Clone, Debug)]
pub struct Signer {
    name: String,
    scheme: Scheme,
    key: hmac::Key,
    /// What Vercel wants to read in `x-vercel-verify` before it sets up a drain.
    verify: Option<HeaderValue>,
}

impl Signer {
    /// The secret of Standard Webhooks is base64, with `whsec_` before it or not; Vercel's is its text.
    pub fn try_new(name: &str, scheme: Scheme, secret: &str) -> Result<Self, &'static str> {
        let key = match scheme {
            Scheme::StandardWebhooks => {
                let text = secret.strip_prefix("whsec_").unwrap_or(secret);
                let bytes =
                    STANDARD.decode(text).map_err(|_error| "it is no base64 (after `whsec_`)")?;
                if bytes.is_empty() {
                    return Err("it is empty");
                }
                hmac::Key::new(hmac::HMAC_SHA256, &bytes)
            }
            Scheme::Vercel if secret.is_empty() => return Err("it is empty"),
            Scheme::Vercel => {
                hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes())
            }
        };
        Ok(Self { name: name.to_owned(), scheme, key, verify: None })
    }

    /// With the code of `x-vercel-verify`, which only Vercel's scheme has.
    pub fn with_verify(mut self, code: &str) -> Result<Self, &'static str> {
        if self.scheme != Scheme::Vercel {
            return Err("`verify` belongs to the scheme vercel");
        }
        let code = HeaderValue::from_str(code);
        self.verify = Some(code.map_err(|_error| "`verify` cannot be sent in a header")?);
        Ok(self)
    }

    pub(super) fn verify_code(&self) -> Option<&HeaderValue> {
        self.verify.as_ref()
    }
}

/// What the headers of a signed delivery say.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Signed {
    scheme: Scheme,
    /// What is signed before the body.
    before: Vec<u8>,
    given: Vec<Vec<u8>>,
    /// The delivery's own id: the same for every attempt.
    pub(super) id: Option<String>,
}

/// Reads the headers of one scheme. None: it is not signed so, or at another time than now.
pub(super) fn read(headers: &HeaderMap, scheme: Scheme, now: Timestamp) -> Option<Signed> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    match scheme {
        Scheme::StandardWebhooks => {
            let (id, time) = (text("webhook-id")?, text("webhook-timestamp")?);
            let at: u64 = time.parse().ok()?;
            if at.abs_diff(now.as_secs()) > TOLERANCE_SECONDS {
                return None;
            }
            let given = text("webhook-signature")?.split(' ').filter_map(|one| {
                let one = one.strip_prefix("v1,")?;
                STANDARD.decode(one).ok()
            });
            let before = format!("{id}.{time}.").into_bytes();
            let given = given.take(SIGNATURES_MAX).collect();
            Some(Signed { scheme, before, given, id: Some(id.to_owned()) })
        }
        Scheme::Vercel => {
            let given = unhex(text("x-vercel-signature")?)?;
            Some(Signed { scheme, before: Vec::new(), given: vec![given], id: None })
        }
    }
}

impl Signed {
    /// The name of the secret that signed this body.
    pub(super) fn by<'a>(&self, signers: &'a [Signer], body: &[u8]) -> Option<&'a str> {
        let mut found = None;
        for signer in signers.iter().filter(|signer| signer.scheme == self.scheme) {
            let mut context = hmac::Context::with_key(&signer.key);
            context.update(&self.before);
            context.update(body);
            let tag = context.sign();
            if self.given.iter().any(|given| bool::from(given.as_slice().ct_eq(tag.as_ref()))) {
                found = Some(signer.name.as_str());
            }
        }
        found
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    // A digest of SHA-1 has 40 digits; nothing that is signed here is longer than 128.
    if !text.is_ascii() || text.len() > 128 || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn headers(lines: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines.lines().filter_map(|line| line.trim().split_once(": ")) {
            let name: axum::http::HeaderName = name.parse().expect("a name");
            headers.insert(name, value.parse().expect("a value"));
        }
        headers
    }

    /// The example of the specification of Standard Webhooks.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const GOOD: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn standard(time: u64, signatures: &str, now: u64, body: &[u8]) -> Option<String> {
        let signers = [
            Signer::try_new("old", Scheme::StandardWebhooks, "whsec_b2xk").expect("a secret"),
            Signer::try_new("shop", Scheme::StandardWebhooks, SECRET).expect("a secret"),
        ];
        let lines =
            format!("webhook-id: {ID}\nwebhook-timestamp: {time}\nwebhook-signature: {signatures}");
        let now = Timestamp::from_nanos(now * 1_000_000_000);
        let signed = read(&headers(&lines), Scheme::StandardWebhooks, now)?;
        signed.by(&signers, body).map(str::to_owned)
    }

    #[test]
    fn what_the_secret_signed_is_let_in_and_nothing_else() {
        let at = 1_614_265_330;
        let cases = [
            ("as the specification has it", standard(at, GOOD, at, BODY)),
            ("one of two signatures", standard(at, &format!("v1,b2xk {GOOD}"), at, BODY)),
            ("at the edge of its time", standard(at, GOOD, at + 300, BODY)),
            ("after its time", standard(at, GOOD, at + 301, BODY)),
            ("before its time", standard(at, GOOD, at - 301, BODY)),
            ("another time than was signed", standard(at + 1, GOOD, at, BODY)),
            ("another body", standard(at, GOOD, at, b"{}")),
            ("cut off", standard(at, "v1,g0hM9SsE", at, BODY)),
            ("of another version", standard(at, &GOOD.replace("v1,", "v2,"), at, BODY)),
            ("none", standard(at, "", at, BODY)),
        ];
        let shown: String = cases.iter().map(|(case, by)| format!("{case}: {by:?}\n")).collect();
        expect![[r#"
            as the specification has it: Some("shop")
            one of two signatures: Some("shop")
            at the edge of its time: Some("shop")
            after its time: None
            before its time: None
            another time than was signed: None
            another body: None
            cut off: None
            of another version: None
            none: None
        "#]]
        .assert_eq(&shown);
    }

    #[test]
    fn vercels_drains_are_signed_in_hex() {
        // RFC 2202, test case 2.
        let signers = [Signer::try_new("drain", Scheme::Vercel, "Jefe").expect("a secret")];
        let by = |hex: &str, body: &[u8]| {
            let headers = headers(&format!("x-vercel-signature: {hex}"));
            read(&headers, Scheme::Vercel, Timestamp::EPOCH)?.by(&signers, body).map(str::to_owned)
        };
        let good = "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79";
        assert_eq!(by(good, b"what do ya want for nothing?").as_deref(), Some("drain"));
        for bad in [by(good, b"what"), by("eff", b"x"), by("zz", b"x"), by("+f", b"x")] {
            assert_eq!(bad, None);
        }
    }

    #[test]
    fn a_secret_that_is_none_is_refused_and_none_is_shown() {
        for (scheme, secret) in [
            (Scheme::StandardWebhooks, "whsec_"),
            (Scheme::StandardWebhooks, "no base64!"),
            (Scheme::Vercel, ""),
        ] {
            assert!(Signer::try_new("a", scheme, secret).is_err(), "{scheme:?} {secret}");
        }
        let signer = Signer::try_new("a", Scheme::Vercel, "hunter2").expect("a secret");
        assert!(!format!("{signer:?}").contains("hunter2"), "{signer:?}");
    }
}
