use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use expect_test::expect;
use ring::rsa::PublicKeyComponents;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use super::*;

const NOW: u64 = 1_790_000_000;
const EMAIL: &str = "push@shop.iam.gserviceaccount.com";

/// Made for these tests; it opens nothing.
fn key() -> RsaKeyPair {
    let pem = PrivatePkcs8KeyDer::from_pem_slice(include_bytes!("test_key.pem")).expect("a key");
    RsaKeyPair::from_pkcs8(pem.secret_pkcs8_der()).expect("a key")
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn sign(head: &Value, claims: &Value) -> String {
    let signed = format!("{}.{}", encode(head.to_string()), encode(claims.to_string()));
    let key = key();
    let mut signature = vec![0; key.public().modulus_len()];
    let random = ring::rand::SystemRandom::new();
    key.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature).expect("signed");
    format!("{signed}.{}", encode(signature))
}

fn head() -> Value {
    json!({"alg": "RS256", "kid": "one", "typ": "JWT"})
}

fn claims() -> Value {
    json!({"iss": ISSUER, "aud": "https://a/ingest", "exp": NOW + 600, "iat": NOW, "email": EMAIL, "email_verified": true})
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_nanos(seconds * 1_000_000_000)
}

/// A server of the key set that counts how often it is asked; `body` is its answer.
async fn served(body: Option<String>) -> (Arc<PubsubOidc>, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let public = PublicKeyComponents::<Vec<u8>>::from(key().public());
    let set = json!({"keys": [
        {"kid": "curve", "kty": "EC", "n": "", "e": ""},
        {"kid": "one", "kty": "RSA", "alg": "RS256", "n": encode(public.n), "e": encode(public.e)},
    ]});
    let body = body.unwrap_or_else(|| set.to_string());
    let counted = Arc::clone(&asked);
    let answer = move || {
        counted.fetch_add(1, Ordering::Relaxed);
        std::future::ready(body.clone())
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let keys_url = format!("http://{}/certs", listener.local_addr().expect("an address"));
    let router = axum::Router::new().route("/certs", axum::routing::get(answer));
    tokio::spawn(axum::serve(listener, router).into_future());
    let config = Config {
        issuer: ISSUER.to_owned(),
        audience: "https://a/ingest".to_owned(),
        emails: vec![EMAIL.to_owned()],
        keys_url,
    };
    (Arc::new(PubsubOidc::try_new(config).expect("a client")), asked)
}

#[tokio::test]
async fn only_a_token_that_is_right_in_everything_lets_in() {
    let (oidc, asked) = served(None).await;
    let with = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        sign(&head(), &claims)
    };
    let good = sign(&head(), &claims());
    let (signed, _) = good.rsplit_once('.').expect("three parts");
    let other = sign(&head(), &json!({"iss": "x"}));
    let (_, others) = other.rsplit_once('.').expect("three parts");
    let unsigned = format!(
        "{}.{}.",
        encode(json!({"alg": "none", "kid": "one"}).to_string()),
        encode(claims().to_string())
    );
    let cases = [
        ("good", good.clone()),
        ("issuer without its scheme", with("iss", "accounts.google.com".into())),
        ("another issuer", with("iss", "https://evil.example".into())),
        ("another audience", with("aud", "https://b/ingest".into())),
        ("another account", with("email", "me@gmail.com".into())),
        ("an account that nobody verified", with("email_verified", false.into())),
        ("ended a moment ago", with("exp", (NOW - 30).into())),
        ("ended", with("exp", (NOW - 61).into())),
        ("not yet", with("nbf", (NOW + 61).into())),
        ("the signature of another", format!("{signed}.{others}")),
        ("no signature", format!("{signed}.")),
        ("no algorithm", unsigned),
        ("another algorithm", sign(&json!({"alg": "HS256", "kid": "one"}), &claims())),
        ("an unknown key", sign(&json!({"alg": "RS256", "kid": "two"}), &claims())),
        ("no token", "s3cret".to_owned()),
        ("too long", "a".repeat(TOKEN_BYTES_MAX + 1)),
    ];
    let mut shown = String::new();
    for (case, token) in cases {
        let is_in = oidc.email(&token, at(NOW)).await.is_ok();
        shown.extend([case, ": ", if is_in { "in" } else { "out" }, "\n"]);
    }
    expect![[r"
        good: in
        issuer without its scheme: in
        another issuer: out
        another audience: out
        another account: out
        an account that nobody verified: out
        ended a moment ago: in
        ended: out
        not yet: out
        the signature of another: out
        no signature: out
        no algorithm: out
        another algorithm: out
        an unknown key: out
        no token: out
        too long: out
    "]]
    .assert_eq(&shown);
    assert_eq!(asked.load(Ordering::Relaxed), 1, "the keys are kept");
}

#[tokio::test]
async fn keys_are_asked_for_when_they_are_old_or_unknown_and_no_more_often() {
    let (oidc, asked) = served(None).await;
    let long = |kid: &str| {
        let mut claims = claims();
        claims["exp"] = (NOW + 1_000_000).into();
        sign(&json!({"alg": "RS256", "kid": kid}), &claims)
    };
    let (known, unknown) = (long("one"), long("two"));
    let mut seen = Vec::new();
    for (token, after) in [
        (&unknown, 0),
        (&unknown, 59),
        (&known, 59),
        (&unknown, 60),
        (&known, 3700),
        (&known, 3800),
    ] {
        let is_in = oidc.email(token, at(NOW + after)).await.is_ok();
        seen.push((is_in, asked.load(Ordering::Relaxed)));
    }
    let expected = [(false, 1), (false, 1), (true, 1), (false, 2), (true, 3), (true, 3)];
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_key_set_that_is_none_or_too_large_lets_nobody_in() {
    for body in ["nonsense".to_owned(), " ".repeat(KEY_SET_BYTES_MAX + 1)] {
        let (oidc, asked) = served(Some(body)).await;
        assert_eq!(oidc.email(&sign(&head(), &claims()), at(NOW)).await, Err(Denied::Unproven));
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }
}

/// A server of the key set that is asked and does not answer before it is told to.
async fn slow() -> (Arc<PubsubOidc>, Arc<tokio::sync::Notify>) {
    let (quick, _) = served(None).await;
    let go = Arc::new(tokio::sync::Notify::new());
    let (waits, url) = (Arc::clone(&go), quick.config.keys_url.clone());
    let answer = move || {
        let (waits, url) = (Arc::clone(&waits), url.clone());
        async move {
            waits.notified().await;
            reqwest::get(url).await.expect("the keys").text().await.expect("the keys")
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let keys_url = format!("http://{}/certs", listener.local_addr().expect("an address"));
    let router = axum::Router::new().route("/certs", axum::routing::get(answer));
    tokio::spawn(axum::serve(listener, router).into_future());
    let config = Config { keys_url, ..quick.config.clone() };
    (Arc::new(PubsubOidc::try_new(config).expect("a client")), go)
}

#[tokio::test]
async fn some_wait_for_the_keys_more_come_later_and_nobody_can_end_the_asking() {
    let (oidc, go) = slow().await;
    let good = sign(&head(), &claims());
    let mut waiting: Vec<_> = (0..WAITING_MAX)
        .map(|_| {
            let (oidc, good) = (Arc::clone(&oidc), good.clone());
            tokio::spawn(async move { oidc.email(&good, at(NOW)).await })
        })
        .collect();
    while oidc.waiting.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(oidc.email(&good, at(NOW)).await, Err(Denied::Later));
    // Whoever began to ask is gone, and with it a place is free.
    waiting.remove(0).abort();
    while oidc.waiting.available_permits() == 0 {
        tokio::task::yield_now().await;
    }
    go.notify_one();
    for one in waiting {
        assert_eq!(one.await.expect("it ends"), Ok(EMAIL.to_owned()));
    }
}

#[tokio::test]
async fn while_old_keys_are_asked_for_anew_they_are_believed() {
    let (oidc, go) = slow().await;
    let mut long = claims();
    long["exp"] = (NOW + 1_000_000).into();
    let good = sign(&head(), &long);
    go.notify_one();
    assert!(oidc.email(&good, at(NOW)).await.is_ok());
    let first = tokio::spawn({
        let (oidc, good) = (Arc::clone(&oidc), good.clone());
        async move { oidc.email(&good, at(NOW + 4000)).await }
    });
    while oidc.asked_at.try_lock().is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(oidc.email(&good, at(NOW + 4000)).await.is_ok(), "it does not wait");
    go.notify_one();
    assert!(first.await.expect("it ends").is_ok());
}
