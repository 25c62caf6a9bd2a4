use std::collections::BTreeMap;

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::{get, post, put};

use super::*;

fn keys_json(id: &str) -> String {
    format!(
        r#"{{"AccessKeyId":"{id}","SecretAccessKey":"s","Token":"t","Expiration":"2030-01-01T00:00:00Z"}}"#
    )
}

async fn serve() -> String {
    let has = |headers: &HeaderMap, name: &str, value: &str| {
        assert_eq!(headers.get(name).and_then(|v| v.to_str().ok()), Some(value));
    };
    let router = Router::new()
        .route("/container", get(move |headers: HeaderMap| async move {
            has(&headers, "authorization", "from-file");
            keys_json("container")
        }))
        .route("/latest/api/token", put(move |headers: HeaderMap| async move {
            has(&headers, "x-aws-ec2-metadata-token-ttl-seconds", "21600");
            "imds-token"
        }))
        .route("/latest/meta-data/iam/security-credentials/", get(move |headers: HeaderMap| async move {
            has(&headers, "x-aws-ec2-metadata-token", "imds-token");
            "the-role\n"
        }))
        .route("/latest/meta-data/iam/security-credentials/the-role", get(|| async { keys_json("machine") }))
        .route("/sts", post(|body: String| async move {
            assert!(body.contains("Action=AssumeRoleWithWebIdentity") && body.contains("WebIdentityToken=a.b.c"), "{body}");
            "<AssumeRoleWithWebIdentityResponse><Credentials><AccessKeyId>web</AccessKeyId><SecretAccessKey>a+/=</SecretAccessKey><SessionToken>t</SessionToken><Expiration>2030-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleWithWebIdentityResponse>"
        }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

fn chain(env: &[(&str, &str)]) -> Chain {
    drop(rustls::crypto::ring::default_provider().install_default());
    let env: BTreeMap<String, String> =
        env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Chain::new(reqwest::Client::new(), "eu-west-1", |name| env.get(name).cloned())
}

async fn id(env: &[(&str, &str)]) -> Result<String, String> {
    let found = chain(env).get(Timestamp::from_nanos(1)).await?;
    Ok(found.access_key_id().to_owned())
}

#[tokio::test]
async fn each_source_gives_its_keys_and_the_nearest_wins() {
    let url = serve().await;
    let dir = tempfile::tempdir().expect("a folder");
    let (token, web) = (dir.path().join("token"), dir.path().join("web"));
    std::fs::write(&token, "from-file\n").expect("a file");
    std::fs::write(&web, "a.b.c\n").expect("a file");
    let (token, web) = (token.display().to_string(), web.display().to_string());
    let (sts, container) = (format!("{url}/sts"), format!("{url}/container"));
    let machine = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", url.as_str())];
    let container = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", container.as_str()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token.as_str()),
    ];
    let web = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", web.as_str()),
        ("AWS_ROLE_ARN", "arn:aws:iam::1:role/r"),
        ("AWS_ENDPOINT_URL_STS", sts.as_str()),
    ];
    let keys = [("AWS_ACCESS_KEY_ID", "env"), ("AWS_SECRET_ACCESS_KEY", "s")];
    assert_eq!(id(&machine).await.as_deref(), Ok("machine"));
    assert_eq!(id(&[&machine[..], &container].concat()).await.as_deref(), Ok("container"));
    assert_eq!(id(&[&machine[..], &container, &web].concat()).await.as_deref(), Ok("web"));
    let shared = dir.path().join("credentials").display().to_string();
    std::fs::write(&shared, "[default]\naws_access_key_id=file\naws_secret_access_key=s\n")
        .expect("a file");
    let file = [
        ("AWS_SHARED_CREDENTIALS_FILE", shared.as_str()),
        ("AWS_CONFIG_FILE", "/nonexistent/config"),
    ];
    let near = [&machine[..], &container, &web, &file].concat();
    assert_eq!(id(&near).await.as_deref(), Ok("file"));
    assert_eq!(id(&[&near[..], &keys].concat()).await.as_deref(), Ok("env"));
    let error = id(&[&near[..], &[("AWS_PROFILE", "nobody")]].concat()).await.expect_err("none");
    assert!(error.contains("AWS_PROFILE=nobody"), "{error}");
}

#[tokio::test]
async fn keys_never_travel_in_the_open_and_none_is_said() {
    for url in [
        "http://example.com/x",
        "http://127.0.0.1@example.com/",
        "http://10.0.0.1/",
        "ftp://localhost/",
    ] {
        let error = id(&[("AWS_CONTAINER_CREDENTIALS_FULL_URI", url)]).await.expect_err(url);
        assert!(error.contains("in the open"), "{url}: {error}");
    }
    let error = id(&[("AWS_EC2_METADATA_DISABLED", "true")]).await.expect_err("no keys");
    assert!(error.contains("AWS_ACCESS_KEY_ID"), "{error}");
    assert!(is_near("http://[::1]:80/x") && is_near("https://example.com"));
}
