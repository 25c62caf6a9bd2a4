//! Who gets in: a daemon that speaks TLS, knows tokens and believes client certificates, and changes all
//! of them while it runs.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use reqwest::header::HeaderValue;
use throughline::clock::Clock;
use throughline::config::Config;
use throughline::pipeline::{Pipeline, Settings, Stopped};

const CONFIG: &str = "
listen: {otlp_grpc: '127.0.0.1:0', ingest: '127.0.0.1:0', web: '127.0.0.1:0'}
data_dir: data
tls: {cert_file: tls.crt, key_file: tls.key, client_ca_file: ca.crt}
auth:
  tokens:
    - {name: agent, token_file: token, scope: [ingest]}
    - {name: agent, token_file: next-token, scope: [ingest]}
    - {name: admin, token: adm1n, scope: [write]}
    - {name: stream, token: str3am, scope: [ingest], receivers: [firehose]}
";

/// An authority whose certificates lie in `dir`; gives it and what a client shows, in PEM.
fn certificates(dir: &Path) -> (String, String) {
    let write = |name: &str, text: &str| {
        std::fs::write(dir.join(name), text).expect("a writable folder");
    };
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let authority = params.self_signed(&key).expect("a certificate").pem();
    write("ca.crt", &authority);
    let issuer = Issuer::new(params, key);
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.subject_alt_names = vec![SanType::IpAddress("127.0.0.1".parse().expect("an address"))];
    let key = KeyPair::generate().expect("a key");
    let cert = params.signed_by(&key, &issuer).expect("a certificate").pem();
    write("tls.crt", &cert);
    write("tls.key", &key.serialize_pem());
    (authority, format!("{cert}{}", key.serialize_pem()))
}

fn client(authority: &str, identity: Option<&str>) -> reqwest::Client {
    // Another test may have installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let root = reqwest::Certificate::from_pem(authority.as_bytes()).expect("a certificate");
    let builder = reqwest::Client::builder().tls_certs_only([root]);
    let builder = match identity {
        Some(pem) => builder.identity(reqwest::Identity::from_pem(pem.as_bytes()).expect("a pair")),
        None => builder,
    };
    builder.build().expect("a client")
}

/// What one client may do, as statuses: ingest, read, write.
async fn statuses(pipeline: &Pipeline, client: &reqwest::Client, token: Option<&str>) -> [u16; 3] {
    let addresses = pipeline.addresses();
    let record = "{\"message\":\"a\",\"level\":\"INFO\"}";
    let asked = [
        client.post(format!("https://{}/ingest/json", addresses.ingest)).body(record),
        client.get(format!("https://{}/api/ledger", addresses.web)),
        client.post(format!("https://{}/-/reload", addresses.web)),
    ];
    let mut statuses = [0; 3];
    for (status, request) in statuses.iter_mut().zip(asked) {
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        *status = request.send().await.expect("an answer").status().as_u16();
    }
    statuses
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_and_certificates_let_in_and_change_while_it_runs() {
    let dir = tempfile::tempdir().expect("a folder");
    let (authority, pair) = certificates(dir.path());
    let write = |name: &str, text: &str| {
        std::fs::write(dir.path().join(name), text).expect("a writable folder");
    };
    write("throughline.yaml", CONFIG);
    write("token", "first\n");
    write("next-token", "second\n");
    let file = dir.path().join("throughline.yaml");
    let sets = [format!("data_dir={}", dir.path().join("data").display())];
    let config = Config::load(Some(&file), &sets).expect("a good configuration");
    let source = Some((Some(file), sets.to_vec()));
    let settings = Settings { source, ..Settings::new(config, Clock::wall()) };
    let nobody = client(&authority, None);
    let pipeline = Pipeline::start(settings).await.expect("it starts");
    assert_eq!(statuses(&pipeline, &nobody, None).await, [401, 401, 401]);
    assert_eq!(statuses(&pipeline, &nobody, Some("first")).await, [200, 403, 403]);
    assert_eq!(statuses(&pipeline, &nobody, Some("second")).await, [200, 403, 403]);
    assert_eq!(statuses(&pipeline, &nobody, Some("str3am")).await, [403, 403, 403]);
    // A browser asks its user for a password where it is told to.
    let page = format!("https://{}/", pipeline.addresses().web);
    let asked = nobody.get(&page).send().await.expect("an answer");
    let challenges = asked.headers().get_all("www-authenticate");
    let challenges: Vec<&[u8]> = challenges.iter().map(HeaderValue::as_bytes).collect();
    assert_eq!(challenges, [&b"Bearer"[..], br#"Basic realm="Throughline", charset="UTF-8""#]);
    let asked = nobody.get(&page).basic_auth("anybody", Some("adm1n"));
    assert_eq!(asked.send().await.expect("an answer").status(), 200);
    let firehose = format!("https://{}/ingest/aws/firehose", pipeline.addresses().ingest);
    let delivery = r#"{"requestId":"1","timestamp":1,"records":[]}"#;
    let asked = nobody.post(&firehose).header("x-amz-firehose-access-key", "str3am").body(delivery);
    assert_eq!(asked.send().await.expect("an answer").status(), 200);
    let certified = client(&authority, Some(&pair));
    assert_eq!(statuses(&pipeline, &certified, None).await, [200, 200, 403]);
    let healthy = format!("https://{}/-/ready", pipeline.addresses().web);
    assert_eq!(nobody.get(healthy).send().await.expect("an answer").status(), 200);

    write("token", "third\n");
    assert_eq!(statuses(&pipeline, &nobody, Some("adm1n")).await, [403, 200, 200]);
    assert_eq!(statuses(&pipeline, &nobody, Some("first")).await, [401, 401, 401]);
    assert_eq!(statuses(&pipeline, &nobody, Some("third")).await, [200, 403, 403]);

    // A certificate of another authority, taken over by the same reload; a bad file keeps it.
    let (next, _) = certificates(dir.path());
    let reload = format!("https://{}/-/reload", pipeline.addresses().web);
    let asked = nobody.post(&reload).bearer_auth("adm1n").send().await.expect("an answer");
    assert_eq!(asked.status(), 200);
    let nobody = client(&next, None);
    write("tls.key", "no key");
    let asked = nobody.post(&reload).bearer_auth("adm1n").send().await.expect("an answer");
    assert_eq!(asked.status(), 400);
    let told = asked.text().await.expect("text");
    assert!(told.contains("throughline.yaml:4:") && told.contains("the key:"), "{told}");
    assert_eq!(statuses(&pipeline, &nobody, Some("third")).await, [200, 403, 403]);
    drop((nobody, certified));
    assert_eq!(pipeline.stop().await, Stopped::Drained);
}
