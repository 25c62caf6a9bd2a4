//! Servers whose certificates are wrong, that read slowly, answer slowly, or go away.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// A certificate (PEM) that signed itself, and its key.
fn certificate(name: &str, years: (i32, i32)) -> (String, KeyPair) {
    certificate_of(name, years, IsCa::NoCa)
}

fn certificate_of(name: &str, (from, to): (i32, i32), is_ca: IsCa) -> (String, KeyPair) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    // Two authorities of one name could not be told apart; those of the machine have other names.
    params.distinguished_name.push(DnType::CommonName, format!("{name} of a test"));
    params.is_ca = is_ca;
    params.not_before = rcgen::date_time_ymd(from, 1, 1);
    params.not_after = rcgen::date_time_ymd(to, 1, 1);
    (params.self_signed(&key).expect("a certificate").pem(), key)
}

/// Serves HTTPS with this certificate; the answer is 200 where the request names its real host.
async fn https(
    pem: &str,
    key: &KeyPair,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> SocketAddr {
    use rustls::pki_types::pem::PemObject as _;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let certificate = rustls::pki_types::CertificateDer::from_pem_slice(pem.as_bytes());
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der());
    let config = rustls::ServerConfig::builder_with_protocol_versions(versions)
        .with_no_client_auth()
        .with_single_cert(vec![certificate.expect("a certificate")], key.into())
        .expect("a pair");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut read = vec![0; 64 * 1024];
                let n = stream.read(&mut read).await.unwrap_or_default();
                let asked = String::from_utf8_lossy(&read[..n]).to_lowercase();
                let hosts =
                    ["localhost", "127.0.0.1"].map(|h| format!("host: {h}:{}\r", address.port()));
                let is_right = hosts.iter().any(|host| asked.contains(host));
                let status = if is_right { "200 OK" } else { "421 Misdirected Request" };
                let rest = "content-length: 0\r\nconnection: close\r\n\r\n";
                let answer = format!("HTTP/1.1 {status}\r\n{rest}");
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    address
}

fn with_tls(address: SocketAddr, host: &str, ca: &str, more: &str) -> Notifier {
    let ca = ca.replace('\n', "\\n");
    let port = address.port();
    let text = format!(
        "route: {{receiver: r}}\nreceivers: [{{name: r, webhook_configs: [{{url: 'https://{host}:{port}/hunter2', http_config: {{tls_config: {{ca: \"{ca}\"{more}}}}}}}]}}]"
    );
    of_kind("webhook", &text)
}

const NAMED: &str = ", server_name: elsewhere.example";

#[tokio::test]
async fn a_certificate_that_is_not_right_is_said_and_tried_again() {
    let (good, good_key) = certificate("localhost", (2020, 2100));
    let (other, other_key) = certificate("elsewhere.example", (2020, 2100));
    let (ended, ended_key) = certificate("localhost", (2020, 2021));
    let is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let (own, own_key) = certificate_of("localhost", (2020, 2100), is_ca);
    let all = rustls::ALL_VERSIONS;
    let own_at = https(&own, &own_key, all).await;
    let good_at = https(&good, &good_key, all).await;
    let other_at = https(&other, &other_key, all).await;
    let ended_at = https(&ended, &ended_key, all).await;
    let old_at = https(&good, &good_key, &[&rustls::version::TLS12]).await;
    let cases = [
        ("trusted", with_tls(good_at, "localhost", &good, "")),
        ("of somebody unknown", with_tls(good_at, "localhost", &other, "")),
        ("of another name", with_tls(other_at, "localhost", &other, "")),
        ("of the name that is named", with_tls(other_at, "localhost", &other, NAMED)),
        ("of the name behind a number", with_tls(other_at, "127.0.0.1", &other, NAMED)),
        ("of a name that is not named", with_tls(good_at, "localhost", &good, NAMED)),
        ("an authority's own", with_tls(own_at, "localhost", &own, "")),
        ("ended", with_tls(ended_at, "localhost", &ended, "")),
        (
            "ended, any is good",
            with_tls(ended_at, "localhost", &ended, ", insecure_skip_verify: true"),
        ),
        ("1.2 where 1.3 is wanted", with_tls(old_at, "localhost", &good, ", min_version: TLS13")),
        ("1.2", with_tls(old_at, "localhost", &good, ", min_version: TLS12")),
    ];
    let sender = Sender::default();
    let mut lines = Vec::new();
    for (name, notifier) in cases {
        let notifier = Notifier { timeout: Duration::from_secs(5), ..notifier };
        let outcome = sender.send(&message(notifier), samples::now()).await;
        let text = shown(&outcome);
        assert!(!text.contains("hunter2") && !text.contains("localhost"), "{text}");
        lines.push(format!("{name}: {text}"));
    }
    expect![[r"
        trusted: delivered 
        of somebody unknown: try again: cannot connect: the certificate was signed by nobody that is trusted here; name its authority's file in tls_config.ca_file
        of another name: try again: cannot connect: the certificate is for another name; write one that it has into the address, or into tls_config.server_name
        of the name that is named: delivered 
        of the name behind a number: delivered 
        of a name that is not named: try again: cannot connect: the certificate is for another name; write one that it has into the address, or into tls_config.server_name
        an authority's own: try again: cannot connect: the certificate is an authority's own (CA:TRUE), which no server may use; let it sign one for the server, and name it in tls_config.ca_file
        ended: try again: cannot connect: the certificate has ended; the other side needs a new one
        ended, any is good: delivered 
        1.2 where 1.3 is wanted: try again: cannot connect: the other side speaks no version of TLS that is allowed (tls_config: min_version, max_version)
        1.2: delivered "]]
    .assert_eq(&lines.join("\n"));
}

/// Accepts one connection after the other and does this with each.
async fn raw<F>(serve: fn(TcpStream) -> F) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let _ = rustls::crypto::ring::default_provider().install_default();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

async fn reads_nothing(_stream: TcpStream) {
    std::future::pending::<()>().await;
}

async fn hangs_up(mut stream: TcpStream) {
    let _ = stream.read(&mut [0; 16]).await;
}

/// A byte of a long answer every now and then.
async fn drips(mut stream: TcpStream) {
    let _ = stream.read(&mut vec![0; 64 * 1024]).await;
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n").await;
    while stream.write_all(b"x").await.is_ok() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn speaks_something_else(mut stream: TcpStream) {
    let _ = stream.read(&mut vec![0; 64 * 1024]).await;
    let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await;
}

#[tokio::test]
async fn a_peer_that_is_slow_or_goes_away_costs_one_attempt_and_no_more_than_its_timeout() {
    let (deaf, gone, slow, other) = (
        raw(reads_nothing).await,
        raw(hangs_up).await,
        raw(drips).await,
        raw(speaks_something_else).await,
    );
    let mut huge = message(webhook(&format!("http://{deaf}/hunter2")));
    // More than the buffers of a connection hold.
    huge.notice = Arc::new({
        let mut notice = samples::huge();
        let alert = notice.alerts.first().expect("an alert").clone();
        notice.alerts.extend(std::iter::repeat_n(alert, 40));
        notice
    });
    let bot = Notifier { timeout: Duration::from_millis(500), ..slack(slow, "chat.postMessage") };
    let cases = [
        ("reads nothing", huge),
        ("hangs up", message(webhook(&format!("http://{gone}/hunter2")))),
        ("drips, the status is enough", message(webhook(&format!("http://{slow}/hunter2")))),
        ("drips, the body matters", message(bot)),
        ("is no HTTP server", message(webhook(&format!("http://{other}/hunter2")))),
    ];
    let sender = Sender::default();
    let mut lines = Vec::new();
    for (name, message) in cases {
        let sent = sender.send(&message, samples::now());
        let outcome = tokio::time::timeout(Duration::from_secs(5), sent).await;
        let outcome = outcome.unwrap_or_else(|_| panic!("{name}: it goes on and on"));
        // How it is seen to break is a matter of moments.
        let text = shown(&outcome);
        let text = text.split(": the connection broke: ").next().unwrap_or_default();
        lines.push(format!("{name}: {text}"));
    }
    expect![[r"
        reads nothing: try again: no answer within 0.5 s
        hangs up: try again
        drips, the status is enough: delivered 
        drips, the body matters: try again: no answer within 0.5 s
        is no HTTP server: try again"]]
    .assert_eq(&lines.join("\n"));
}
