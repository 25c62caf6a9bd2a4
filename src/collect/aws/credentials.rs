//! Whose name calls are made in: the environment, a shared file, a web identity, a container's or a
//! machine's role.
//!
//! The order is that of AWS's own SDKs. Keys live in memory only and are fetched again before they end.
//! Never are keys sent to a container endpoint that is neither on this machine nor encrypted.
//! Source: docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html

use std::time::Duration;

use aws_credential_types::Credentials;
use serde_json::Value;
use tokio::sync::Mutex;

use super::profile::{Files, Held as Profile};
use crate::signal::Timestamp;

/// Keys that end within this time are fetched anew.
const EARLY: Duration = Duration::from_mins(5);
/// How long keys of the environment are believed before it is looked at again.
const STATIC: Duration = Duration::from_hours(1);
/// A machine that is no EC2 instance must not hold a look up.
const METADATA_TIMEOUT: Duration = Duration::from_secs(2);
const METADATA: &str = "http://169.254.169.254";
const CONTAINER: &str = "http://169.254.170.2";
/// What a session is called where nobody names it.
const SESSION: &str = "throughline";

/// Where keys come from. The environment is read once.
pub(super) struct Chain {
    http: reqwest::Client,
    source: Source,
    held: Mutex<Option<Held>>,
}

impl std::fmt::Debug for Chain {
    /// Without keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Chain")
    }
}

struct Held {
    credentials: Credentials,
    until: Timestamp,
}

enum Source {
    Environment(Keys),
    /// Read again whenever keys are fetched: other tools write them anew.
    Profile {
        files: Files,
        endpoint: String,
    },
    WebIdentity(WebIdentity),
    Container {
        url: String,
        token: Option<String>,
        token_file: Option<String>,
    },
    Machine {
        endpoint: String,
    },
    Nothing(&'static str),
}

struct WebIdentity {
    token_file: String,
    role: String,
    session: String,
    /// STS.
    endpoint: String,
}

#[derive(Clone)]
struct Keys {
    id: String,
    secret: String,
    session: Option<String>,
    expires: Option<Timestamp>,
}

impl Chain {
    pub(super) fn new(
        http: reqwest::Client,
        region: &str,
        env: impl Fn(&str) -> Option<String>,
    ) -> Self {
        let env = |name: &str| env(name).filter(|value| !value.is_empty());
        Self { http, source: source(region, &env), held: Mutex::new(None) }
    }

    /// Keys that last for a while yet.
    pub(super) async fn get(&self, now: Timestamp) -> Result<Credentials, String> {
        let mut held = self.held.lock().await;
        if let Some(held) = held.as_ref().filter(|held| held.until > now) {
            return Ok(held.credentials.clone());
        }
        let keys = self.fetch().await?;
        let until =
            keys.expires.map_or(now.saturating_add(STATIC), |end| end.saturating_sub(EARLY));
        let credentials = Credentials::new(keys.id, keys.secret, keys.session, None, "throughline");
        *held = Some(Held { credentials: credentials.clone(), until });
        Ok(credentials)
    }

    async fn fetch(&self) -> Result<Keys, String> {
        match &self.source {
            Source::Environment(keys) => Ok(keys.clone()),
            Source::Nothing(why) => Err((*why).to_owned()),
            Source::Container { url, token, token_file } => {
                let token = match token_file {
                    Some(file) => Some(read(file)?),
                    None => token.clone(),
                };
                let mut asking = self.http.get(url);
                if let Some(token) = token {
                    asking = asking.header("authorization", token);
                }
                keys_of(&answer(asking, "the container's credentials").await?)
            }
            Source::Machine { endpoint } => self.machine(endpoint).await,
            Source::WebIdentity(identity) => self.web_identity(identity).await,
            Source::Profile { files, endpoint } => match files.read()? {
                Some(Profile::Keys { id, secret, session }) => {
                    Ok(Keys { id, secret, session, expires: None })
                }
                Some(Profile::WebIdentity { token_file, role, session }) => {
                    let session = session.unwrap_or_else(|| SESSION.to_owned());
                    let endpoint = endpoint.clone();
                    let identity = WebIdentity { token_file, role, session, endpoint };
                    self.web_identity(&identity).await
                }
                None => Err("the AWS profile that was there at the start is gone".to_owned()),
            },
        }
    }

    async fn web_identity(&self, identity: &WebIdentity) -> Result<Keys, String> {
        let token = read(&identity.token_file)?;
        let form = [
            ("Action", "AssumeRoleWithWebIdentity"),
            ("Version", "2011-06-15"),
            ("RoleArn", identity.role.as_str()),
            ("RoleSessionName", identity.session.as_str()),
            ("WebIdentityToken", token.as_str()),
        ];
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let asking = self
            .http
            .post(&identity.endpoint)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body);
        keys_of_xml(&answer(asking, "STS").await?)
    }

    /// IMDSv2: a token first, then the role's name, then its keys.
    async fn machine(&self, endpoint: &str) -> Result<Keys, String> {
        let what = "the machine's credentials (no keys in the environment, no web identity, no container role)";
        let token = self
            .http
            .put(format!("{endpoint}/latest/api/token"))
            .header("x-aws-ec2-metadata-token-ttl-seconds", "21600");
        let token = answer(token.timeout(METADATA_TIMEOUT), what).await?;
        let url = format!("{endpoint}/latest/meta-data/iam/security-credentials/");
        let get = |url: &str| {
            let asking = self.http.get(url).header("x-aws-ec2-metadata-token", &token);
            answer(asking.timeout(METADATA_TIMEOUT), what)
        };
        let role = get(&url).await?;
        let role = role.lines().next().unwrap_or_default().trim();
        keys_of(&get(&format!("{url}{role}")).await?)
    }
}

fn source(region: &str, env: &dyn Fn(&str) -> Option<String>) -> Source {
    if let (Some(id), Some(secret)) = (env("AWS_ACCESS_KEY_ID"), env("AWS_SECRET_ACCESS_KEY")) {
        let session = env("AWS_SESSION_TOKEN");
        return Source::Environment(Keys { id, secret, session, expires: None });
    }
    let suffix = if region.starts_with("cn-") { ".cn" } else { "" };
    let endpoint = env("AWS_ENDPOINT_URL_STS")
        .unwrap_or_else(|| format!("https://sts.{region}.amazonaws.com{suffix}/"));
    // A profile that was named and cannot be used says so at each attempt.
    if let Some(files) = Files::of(env).filter(|files| !matches!(files.read(), Ok(None))) {
        return Source::Profile { files, endpoint };
    }
    if let (Some(token_file), Some(role)) =
        (env("AWS_WEB_IDENTITY_TOKEN_FILE"), env("AWS_ROLE_ARN"))
    {
        let session = env("AWS_ROLE_SESSION_NAME").unwrap_or_else(|| SESSION.to_owned());
        return Source::WebIdentity(WebIdentity { token_file, role, session, endpoint });
    }
    let (token, token_file) =
        (env("AWS_CONTAINER_AUTHORIZATION_TOKEN"), env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"));
    if let Some(path) = env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") {
        return Source::Container { url: format!("{CONTAINER}{path}"), token, token_file };
    }
    if let Some(url) = env("AWS_CONTAINER_CREDENTIALS_FULL_URI") {
        if !is_near(&url) {
            return Source::Nothing(
                "AWS_CONTAINER_CREDENTIALS_FULL_URI is neither https nor on this machine; keys would travel in the open",
            );
        }
        return Source::Container { url, token, token_file };
    }
    if env("AWS_EC2_METADATA_DISABLED").is_some_and(|told| told.eq_ignore_ascii_case("true")) {
        return Source::Nothing(
            "no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the workload a role",
        );
    }
    let endpoint = env("AWS_EC2_METADATA_SERVICE_ENDPOINT").unwrap_or_else(|| METADATA.to_owned());
    Source::Machine { endpoint: endpoint.trim_end_matches('/').to_owned() }
}

/// Loopback, the two addresses of container agents, or any host over TLS.
fn is_near(url: &str) -> bool {
    if url.starts_with("https://") {
        return true;
    }
    let Some(rest) = url.strip_prefix("http://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return false;
    }
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    let is_loopback = host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    is_loopback || ["localhost", "169.254.170.2", "169.254.170.23", "fd00:ec2::23"].contains(&host)
}

fn read(file: &str) -> Result<String, String> {
    let read = std::fs::read_to_string(file);
    read.map(|text| text.trim().to_owned()).map_err(|error| format!("{file}: {error}"))
}

async fn answer(asking: reqwest::RequestBuilder, what: &str) -> Result<String, String> {
    let told = |error: reqwest::Error| format!("{what}: {}", error.without_url());
    let answer = asking.send().await.map_err(told)?;
    let status = answer.status();
    if !status.is_success() {
        return Err(format!("{what}: the answer was {status}"));
    }
    answer.text().await.map_err(told)
}

fn keys_of(json: &str) -> Result<Keys, String> {
    let told: Value = serde_json::from_str(json).unwrap_or_default();
    let text = |name: &str| told[name].as_str().map(str::to_owned);
    keys(text("AccessKeyId"), text("SecretAccessKey"), text("Token"), text("Expiration").as_deref())
}

/// What stands in an element of STS's answer; keys hold nothing that XML escapes.
fn keys_of_xml(xml: &str) -> Result<Keys, String> {
    let text = |name: &str| {
        let (_, rest) = xml.split_once(&format!("<{name}>"))?;
        Some(rest.split_once(&format!("</{name}>"))?.0.trim().to_owned())
    };
    keys(
        text("AccessKeyId"),
        text("SecretAccessKey"),
        text("SessionToken"),
        text("Expiration").as_deref(),
    )
}

fn keys(
    id: Option<String>,
    secret: Option<String>,
    session: Option<String>,
    expires: Option<&str>,
) -> Result<Keys, String> {
    let (Some(id), Some(secret)) = (id, secret) else {
        return Err("the answer holds no keys".to_owned());
    };
    let expires = expires.and_then(Timestamp::parse_rfc3339);
    Ok(Keys { id, secret, session, expires })
}

#[cfg(test)]
#[path = "credentials_tests.rs"]
mod tests;
