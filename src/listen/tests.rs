//! Tests of the accept loop, over real sockets on loopback.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::routing::{get, post};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::tls::{Identity, Pems, Shown, Wrong};
use super::{Client, Door, Limits, Listening};
use crate::signal::Timestamp;

/// Longer than anything here takes; what waits for it has failed.
const FOREVER: Duration = Duration::from_secs(30);

/// More than the kernel holds for who reads nothing.
const LARGE: usize = 64 << 20;

async fn listening(limits: Limits, tls: Option<Shown>) -> Listening {
    let name = |request: Request| async move {
        let client = request.extensions().get::<Client>();
        format!("{:?} {}", request.version(), client.map_or("nobody", |client| &client.0))
    };
    let large = async || vec![b'x'; LARGE];
    let refused = async || StatusCode::UNAUTHORIZED;
    let read = async |body: Bytes| body.len().to_string();
    let router = Router::new().route("/", get(name)).route("/large", get(large));
    let router = router.route("/read", post(read)).fallback(refused);
    let any = "127.0.0.1:0".parse().expect("an address");
    Listening::start(any, router, Door { limits, tls, ..Door::default() })
        .await
        .expect("a free port")
}

fn short() -> Limits {
    let short = Duration::from_millis(200);
    let (header_timeout, idle_timeout, write_timeout) = (short, short, short);
    Limits { header_timeout, idle_timeout, write_timeout, ..Limits::default() }
}

fn patient() -> Limits {
    let (header_timeout, idle_timeout, write_timeout) = (FOREVER * 2, FOREVER * 2, FOREVER * 2);
    Limits { header_timeout, idle_timeout, write_timeout, ..Limits::default() }
}

async fn connect(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(bytes).await.expect("sent");
    stream
}

/// What comes until the other side closes; None: it does not.
async fn rest(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut rest = Vec::new();
    match tokio::time::timeout(FOREVER, stream.read_to_end(&mut rest)).await {
        Ok(_) => Some(rest),
        Err(_elapsed) => None,
    }
}

async fn is_answered(address: SocketAddr) -> bool {
    let request = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let answer = rest(&mut connect(address, request).await).await.expect("an end");
    answer.starts_with(b"HTTP/1.1 200 OK\r\n")
}

#[tokio::test]
async fn who_says_nothing_or_half_of_it_is_cut() {
    let listening = listening(short(), None).await;
    let half: [&[u8]; 4] = [b"", b"PRI * HT", b"GET", b"GET / HTTP/1.1\r\nhost: x\r\nx-long: "];
    for begun in half {
        let mut slow = connect(listening.address(), begun).await;
        assert!(rest(&mut slow).await.is_some(), "{:?}", String::from_utf8_lossy(begun));
    }
    // Idle after a request is no better.
    let mut idle = connect(listening.address(), b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(rest(&mut idle).await.is_some_and(|answer| answer.starts_with(b"HTTP/1.1 200 OK")));
}

#[tokio::test]
async fn newcomers_that_say_nothing_keep_nobody_out() {
    let limits = Limits { newcomers_max: 8, connections_max: 12, ..patient() };
    let listening = listening(limits, None).await;
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(connect(listening.address(), b"GET / HTTP/1.1\r\n").await);
    }
    assert!(is_answered(listening.address()).await);
    assert!(rest(&mut silent[0]).await.is_some(), "the oldest has been sent away");
}

#[tokio::test]
async fn a_known_connection_is_not_sent_away_for_newcomers() {
    let limits = Limits { newcomers_max: 4, connections_max: 12, ..patient() };
    let listening = listening(limits, None).await;
    let request = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut known = connect(listening.address(), request).await;
    let mut answer = [0; 512];
    assert!(known.read(&mut answer).await.expect("an answer") > 0);
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(connect(listening.address(), b"").await);
    }
    assert!(is_answered(listening.address()).await);
    known.write_all(request).await.expect("still open");
    assert!(known.read(&mut answer).await.expect("an answer") > 0);
}

/// A connection of HTTP/2 whose one request was answered: the root, or refused where `path` is longer.
async fn asked_by_http2(address: SocketAddr, path: &str) -> TcpStream {
    let mut bytes = preface();
    // Of the static table: GET, http; the path as a literal.
    let mut head = vec![0x82, 0x86, 0x04, u8::try_from(path.len()).expect("short")];
    head.extend(path.as_bytes());
    bytes.extend(frame(1, 0x5, 1, &head));
    let mut stream = connect(address, &bytes).await;
    // A frame of headers on stream 1: the answer.
    let mut seen: Vec<u8> = Vec::new();
    while !seen.windows(6).any(|at: &[u8]| at[0] == 1 && at[1] & 4 == 4 && at[2..] == [0, 0, 0, 1])
    {
        let mut more = [0; 1024];
        let n = tokio::time::timeout(FOREVER, stream.read(&mut more)).await.expect("in time");
        let n = n.expect("an answer");
        assert!(n > 0, "no answer: {seen:?}");
        seen.extend(&more[..n]);
    }
    stream
}

#[tokio::test]
async fn whom_every_answer_refused_keeps_nobody_out() {
    let limits = Limits { newcomers_max: 8, connections_max: 12, ..patient() };
    let listening = listening(limits, None).await;
    let mut refused = Vec::new();
    for _ in 0..30 {
        refused.push(asked_by_http2(listening.address(), "/nope").await);
    }
    let mut known = connect(listening.address(), b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let mut answer = [0; 512];
    assert!(known.read(&mut answer).await.expect("an answer") > 0);
    for _ in 0..30 {
        refused.push(asked_by_http2(listening.address(), "/nope").await);
    }
    assert!(is_answered(listening.address()).await);
    assert!(rest(&mut refused[0]).await.is_some(), "the oldest has been sent away");
    known.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("still open");
    assert!(known.read(&mut answer).await.expect("an answer") > 0, "who was served stays");
}

#[tokio::test]
async fn who_idles_the_longest_goes_where_all_places_are_taken() {
    let limits = Limits { newcomers_max: 2, connections_max: 4, ..patient() };
    let listening = listening(limits, None).await;
    let mut idle = Vec::new();
    for _ in 0..4 {
        idle.push(asked_by_http2(listening.address(), "/").await);
    }
    assert!(is_answered(listening.address()).await);
    assert!(rest(&mut idle[0]).await.is_some());
}

#[tokio::test]
async fn half_sent_bodies_keep_nobody_out() {
    let limits = Limits { newcomers_max: 2, connections_max: 4, ..patient() };
    let listening = listening(limits, None).await;
    let mut halves = Vec::new();
    for _ in 0..4 {
        let mut half = connect(listening.address(), b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let mut answer = [0; 512];
        assert!(half.read(&mut answer).await.expect("an answer") > 0);
        half.write_all(b"POST /read HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nhalf")
            .await
            .expect("sent");
        halves.push(half);
    }
    let answered = tokio::time::timeout(FOREVER, is_answered(listening.address())).await;
    assert!(answered.expect("a place"));
    assert_eq!(rest(&mut halves[0]).await.as_deref(), Some(&b""[..]), "the oldest has gone");
    // The others go on, and end.
    let last = halves.last_mut().expect("four");
    last.write_all(b" body").await.expect("still open");
    let mut answer = [0; 512];
    let n = last.read(&mut answer).await.expect("an answer");
    assert!(String::from_utf8_lossy(&answer[..n]).ends_with("\r\n9"), "{n} bytes");
}

#[tokio::test]
async fn bounds_that_are_met_are_counted() {
    // What is cut for its head idles as well, and counts once.
    let limits = Limits { idle_timeout: FOREVER, ..short() };
    let door = Door { limits, ..Door::default() };
    let met = Arc::clone(&door.met);
    let any = "127.0.0.1:0".parse().expect("an address");
    let listening = Listening::start(any, Router::new(), door).await.expect("a free port");
    let mut long = b"GET / HTTP/1.1\r\nconnection: close\r\nx-long: ".to_vec();
    long.resize(70_000, b'a');
    long.extend(b"\r\n\r\n");
    for begun in [&b"GET"[..], b"GET / HTTP/1.1\r\nhost: x\r\nx-long: ", &long] {
        assert!(rest(&mut connect(listening.address(), begun).await).await.is_some());
    }
    let told: Vec<_> = met.take().collect();
    assert_eq!(told, [("silent", 2), ("head", 1)]);
}

#[tokio::test]
async fn http2_without_open_streams_ends() {
    let listening = listening(short(), None).await;
    let mut idle = asked_by_http2(listening.address(), "/").await;
    assert!(rest(&mut idle).await.is_some());
    // An answer that the client gives no window for is not taken: SETTINGS_INITIAL_WINDOW_SIZE is 0.
    let mut stalled = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    stalled.extend(frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]));
    stalled.extend(frame(1, 0x5, 1, &[0x82, 0x84, 0x86]));
    let mut stalled = connect(listening.address(), &stalled).await;
    assert!(rest(&mut stalled).await.is_some());
}

#[tokio::test]
async fn who_asks_and_never_reads_is_cut() {
    let limits = Limits { header_timeout: FOREVER, idle_timeout: FOREVER * 2, ..short() };
    let listening = listening(limits, None).await;
    let request = b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut deaf = connect(listening.address(), request).await;
    // What is sent to a connection that has been closed fails.
    let told = async {
        while deaf.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(FOREVER, told).await.is_ok(), "it stays");
}

#[tokio::test]
async fn headers_have_a_bound_in_both_versions() {
    let listening = listening(patient(), None).await;
    // Below what the buffer takes, beyond what is promised.
    let mut beyond = b"GET / HTTP/1.1\r\nconnection: close\r\nx-long: ".to_vec();
    beyond.resize(70_000, b'a');
    beyond.extend(b"\r\n\r\n");
    let answer = rest(&mut connect(listening.address(), &beyond).await).await.expect("an end");
    assert!(answer.starts_with(b"HTTP/1.1 431"), "{}", String::from_utf8_lossy(&answer));
    let mut long = b"GET / HTTP/1.1\r\nhost: x\r\nx-long: ".to_vec();
    long.resize(300_000, b'a');
    long.extend(b"\r\n\r\n");
    let mut stream = TcpStream::connect(listening.address()).await.expect("a connection");
    // The other side may close before everything is written.
    let _ = stream.write_all(&long).await;
    let mut answer = vec![0; 64];
    let n = stream.read(&mut answer).await.unwrap_or(0);
    let answer = String::from_utf8_lossy(&answer[..n]).into_owned();
    assert!(n == 0 || answer.starts_with("HTTP/1.1 431"), "{answer}");

    // A header block of HTTP/2 that never ends (CONTINUATION frames).
    let mut flood = preface();
    flood.extend(frame(1, 0, 1, &[0x82, 0x84, 0x86]));
    // A literal field of 8 KiB without indexing, again and again.
    let mut field = vec![0x00, 0x01, b'x', 0x7f, 0x81, 0x3f];
    field.resize(6 + 8192, b'a');
    for _ in 0..2000 {
        flood.extend(frame(9, 0, 1, &field));
    }
    let mut stream = TcpStream::connect(listening.address()).await.expect("a connection");
    let _ = stream.write_all(&flood).await;
    assert!(rest(&mut stream).await.is_some(), "the connection is closed");
    assert!(is_answered(listening.address()).await);
}

/// HTTP/2's preface and empty settings.
fn preface() -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, &[]));
    bytes
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

#[tokio::test]
async fn streams_that_are_reset_at_once_end_the_connection() {
    let listening = listening(patient(), None).await;
    let mut flood = preface();
    for n in 0..20_000_u32 {
        let stream = 2 * n + 1;
        // Ends the stream and the headers, then resets it: CANCEL.
        flood.extend(frame(1, 0x5, stream, &[0x82, 0x84, 0x86]));
        flood.extend(frame(3, 0, stream, &8_u32.to_be_bytes()));
    }
    let mut stream = TcpStream::connect(listening.address()).await.expect("a connection");
    let _ = stream.write_all(&flood).await;
    assert!(rest(&mut stream).await.is_some(), "the connection is closed");
    assert!(is_answered(listening.address()).await);
}

/// An authority and what it signs.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, as PEM.
struct Pair {
    cert: String,
    key: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    fn sign(&self, change: impl FnOnce(&mut CertificateParams)) -> Pair {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let cert = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        Pair { cert, key: key.serialize_pem() }
    }

    fn server(&self) -> Pair {
        let loopback = "127.0.0.1".parse().expect("an address");
        self.sign(|params| params.subject_alt_names = vec![SanType::IpAddress(loopback)])
    }
}

fn identity(pair: &Pair, client_ca: Option<&str>) -> Result<Identity, Wrong> {
    Identity::try_new(Pems { cert: &pair.cert, key: &pair.key, client_ca })
}

fn shown(pair: &Pair, client_ca: Option<&str>) -> Shown {
    Shown::new(identity(pair, client_ca).expect("a good pair"))
}

async fn ask(address: SocketAddr, authority: &Authority, client: Option<&Pair>) -> String {
    // Other tests may have installed the provider already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let root = reqwest::Certificate::from_pem(authority.pem.as_bytes()).expect("a certificate");
    let mut builder = reqwest::Client::builder().tls_certs_only([root]);
    if let Some(pair) = client {
        let both = format!("{}{}", pair.cert, pair.key);
        builder = builder.identity(reqwest::Identity::from_pem(both.as_bytes()).expect("a pair"));
    }
    let asked = builder.build().expect("a client").get(format!("https://{address}/"));
    match asked.send().await {
        Ok(answer) => answer.text().await.expect("a body"),
        Err(_) => "refused".to_owned(),
    }
}

#[test]
fn a_scheme_may_be_written_as_one_likes() {
    for text in ["Bearer t", "bearer t", "BEARER  t"] {
        assert_eq!(token_of(text).as_deref(), Some("t"), "{text}");
    }
    assert_eq!(["Digest t", "Bearert", "Bearer"].map(token_of), [None, None, None]);
}

#[test]
fn a_token_may_come_as_the_password_of_any_user() {
    // Of `any:t`, `:t:u` and `t`.
    for text in ["Basic YW55OnQ=", "basic  YW55OnQ="] {
        assert_eq!(token_of(text).as_deref(), Some("t"), "{text}");
    }
    assert_eq!(token_of("Basic OnQ6dQ==").as_deref(), Some("t:u"));
    assert_eq!(
        ["Basic dA==", "Basic YW55OnQ", "Basic _w==", "Basic"].map(token_of),
        [const { None }; 4]
    );
}

/// The token in an `Authorization` header.
fn token_of(text: &str) -> Option<String> {
    let headers = [("authorization".parse().expect("a name"), text.parse().expect("a value"))];
    super::token(&headers.into_iter().collect()).map(std::borrow::Cow::into_owned)
}

#[tokio::test]
async fn tls_is_spoken_and_nothing_else() {
    let authority = Authority::new();
    let listening = listening(short(), Some(shown(&authority.server(), None))).await;
    let address = listening.address();
    assert_eq!(ask(address, &authority, None).await, "HTTP/2.0 nobody");
    assert_eq!(ask(address, &Authority::new(), None).await, "refused");
    assert!(!is_answered(address).await, "plain HTTP is no handshake");
    // Garbage, and a handshake that does not go on.
    let hello = [0x16, 0x03, 0x01, 0x02, 0x00, 0x01];
    for begun in [&b"\x00\xff\x00\xff\x00\xff"[..], &hello, b""] {
        assert!(rest(&mut connect(address, begun).await).await.is_some());
    }
    assert_eq!(ask(address, &authority, None).await, "HTTP/2.0 nobody");
}

#[tokio::test]
async fn handshakes_that_are_never_ended_keep_nobody_out() {
    let authority = Authority::new();
    let limits = Limits { newcomers_max: 8, connections_max: 12, ..patient() };
    let listening = listening(limits, Some(shown(&authority.server(), None))).await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(connect(listening.address(), &[0x16, 0x03, 0x01]).await);
    }
    let asked = ask(listening.address(), &authority, None);
    let answer = tokio::time::timeout(FOREVER, asked).await.expect("a turn");
    assert_eq!(answer, "HTTP/2.0 nobody");
}

#[tokio::test]
async fn a_client_is_named_by_its_certificate() {
    let (authority, other) = (Authority::new(), Authority::new());
    let shown = shown(&authority.server(), Some(&authority.pem));
    let listening = listening(patient(), Some(shown)).await;
    let dns = |name: &str| SanType::DnsName(name.try_into().expect("a name"));
    let uri = |name: &str| SanType::URI(name.try_into().expect("a URI"));
    let named = |names: Vec<SanType>| {
        authority.sign(|params| {
            params.distinguished_name.push(DnType::CommonName, "common");
            params.subject_alt_names = names;
        })
    };
    for (client, name) in [
        (named(vec![dns("agent.shop"), uri("spiffe://shop/agent")]), "spiffe://shop/agent"),
        (named(vec![dns("agent.shop")]), "agent.shop"),
        (named(Vec::new()), "common"),
    ] {
        let answer = ask(listening.address(), &authority, Some(&client)).await;
        assert_eq!(answer, format!("HTTP/2.0 {name}"));
    }
    assert_eq!(ask(listening.address(), &authority, None).await, "HTTP/2.0 nobody");
    let stranger = other.sign(|params| params.subject_alt_names = vec![dns("agent.shop")]);
    assert_eq!(ask(listening.address(), &authority, Some(&stranger)).await, "refused");
}

#[tokio::test]
async fn a_swapped_certificate_is_shown_to_the_next_connection() {
    let (old, new) = (Authority::new(), Authority::new());
    let shown = shown(&old.server(), None);
    let listening = listening(patient(), Some(shown.clone())).await;
    assert_eq!(ask(listening.address(), &new, None).await, "refused");
    shown.swap(identity(&new.server(), None).expect("a good pair"));
    assert_eq!(ask(listening.address(), &new, None).await, "HTTP/2.0 nobody");
    assert_eq!(ask(listening.address(), &old, None).await, "refused");
}

#[tokio::test]
async fn who_was_let_in_by_an_authority_that_is_gone_must_come_again() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = authority.server();
    let shown = shown(&server, Some(&authority.pem));
    let listening = listening(patient(), Some(shown.clone())).await;
    let pair = authority.sign(|params| params.distinguished_name.push(DnType::CommonName, "agent"));
    let root = reqwest::Certificate::from_pem(authority.pem.as_bytes()).expect("a certificate");
    let both = reqwest::Identity::from_pem(format!("{}{}", pair.cert, pair.key).as_bytes());
    // Other tests may have installed the provider already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().tls_certs_only([root]).identity(both.expect("a pair"));
    let client = client.build().expect("a client");
    let ask = async || {
        let asked = client.get(format!("https://{}/", listening.address())).send().await;
        match asked {
            Ok(answer) => answer.text().await.expect("a body"),
            Err(_) => "refused".to_owned(),
        }
    };
    assert_eq!(ask().await, "HTTP/2.0 agent");
    shown.swap(identity(&server, Some(&other.pem)).expect("a good pair"));
    let gone = async {
        while ask().await != "refused" {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(FOREVER, gone).await.is_ok(), "the open connection lets it in");
}

#[test]
fn what_does_not_belong_together_is_refused_by_the_file_at_fault() {
    let authority = Authority::new();
    let (one, two) = (authority.server(), authority.server());
    let kind = |cert: &str, key: &str, client_ca: Option<&str>| match Identity::try_new(Pems {
        cert,
        key,
        client_ca,
    }) {
        Ok(_) => "good",
        Err(Wrong::Cert(_)) => "cert",
        Err(Wrong::Key(_)) => "key",
        Err(Wrong::ClientCa(_)) => "client ca",
    };
    assert_eq!(kind(&one.cert, &one.key, Some(&authority.pem)), "good");
    assert_eq!(kind(&one.cert, &two.key, None), "key");
    assert_eq!(kind("", &one.key, None), "cert");
    assert_eq!(kind(&one.key, &one.key, None), "cert");
    assert_eq!(kind(&one.cert, &one.cert, None), "key");
    assert_eq!(kind(&one.cert, &one.key, Some("")), "client ca");
}

#[test]
fn the_end_of_a_certificate_is_told_before_it_comes() {
    let pair = Authority::new().sign(|params| {
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2026, 3, 1);
    });
    let identity = identity(&pair, None).expect("a good pair");
    let warning = |days: u64| {
        // 2026-01-01T00:00:00Z.
        let day = 1_767_225_600 + days * 86_400;
        identity.warning(Timestamp::from_nanos(day * 1_000_000_000)).unwrap_or_default()
    };
    assert_eq!(warning(10), "");
    assert!(warning(50).ends_with("in 9 days: renew it"), "{}", warning(50));
    assert!(warning(59).contains("clients refuse it"), "{}", warning(59));
    let early = identity.warning(Timestamp::from_nanos(1_767_000_000 * 1_000_000_000));
    assert!(early.is_some_and(|text| text.contains("not valid before")));
}
