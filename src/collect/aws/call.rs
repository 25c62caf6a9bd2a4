//! One signed call: JSON in, JSON out, tried again where the service is busy.
//!
//! Source: AWS JSON protocol 1.0 (smithy.io, aws-json-1_0); signatures by AWS's own signer.

use std::time::{Duration, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use serde_json::Value;

use super::config::Poller;
use super::credentials::Chain;
use crate::clock::Clock;
use crate::signal::Timestamp;

/// Tries of one call; the next look is due soon.
const TRIES_MAX: u32 = 4;
/// First wait after a busy answer; it doubles.
const BACKOFF: Duration = Duration::from_millis(300);
/// Of one try.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest answer: 500 metrics of three hours.
const ANSWER_BYTES_MAX: usize = 8 << 20;

/// A service and what it is called in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    Sqs,
    Cloudwatch,
}

impl Service {
    /// The name in hosts and signatures.
    const fn name(self) -> &'static str {
        match self {
            Self::Sqs => "sqs",
            Self::Cloudwatch => "monitoring",
        }
    }

    const fn target(self) -> &'static str {
        match self {
            Self::Sqs => "AmazonSQS",
            Self::Cloudwatch => "GraniteServiceVersion20100801",
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    #[error("{0}")]
    Credentials(String),
    #[error("the request cannot be signed: {0}")]
    Signing(String),
    #[error("no answer: {0}")]
    Transport(String),
    #[error("{action}: {code}: {message}")]
    Answered { action: String, code: String, message: String, status: u16 },
}

impl CallError {
    pub(super) fn is_retryable(&self) -> bool {
        match self {
            Self::Transport(_) => true,
            Self::Answered { code, status, .. } => {
                let is_busy = ["Throttl", "TooManyRequests", "RequestLimitExceeded", "SlowDown"];
                *status >= 500 || *status == 429 || is_busy.iter().any(|word| code.contains(word))
            }
            Self::Credentials(_) | Self::Signing(_) => false,
        }
    }
}

#[derive(Debug)]
pub(super) struct Caller {
    http: reqwest::Client,
    chain: Chain,
    region: String,
    endpoint: Option<String>,
    clock: Clock,
}

impl Caller {
    pub(super) fn try_new(poller: &Poller, clock: Clock) -> reqwest::Result<Self> {
        Self::with(poller, clock, |name| std::env::var(name).ok())
    }

    /// With the environment given.
    pub(super) fn with(
        poller: &Poller,
        clock: Clock,
        env: impl Fn(&str) -> Option<String>,
    ) -> reqwest::Result<Self> {
        let http = reqwest::Client::builder()
            .user_agent(concat!("throughline/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIMEOUT)
            .build()?;
        let chain = Chain::new(http.clone(), &poller.region, env);
        Ok(Self {
            http,
            chain,
            region: poller.region.clone(),
            endpoint: poller.endpoint.clone(),
            clock,
        })
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The answer to an action.
    ///
    /// # Errors
    /// What the service said at last.
    pub(super) async fn call(
        &self,
        service: Service,
        action: &str,
        body: &Value,
    ) -> Result<Value, CallError> {
        let mut n_tries = 0;
        loop {
            n_tries += 1;
            match self.once(service, action, body).await {
                Err(error) if error.is_retryable() && n_tries < TRIES_MAX => {
                    tokio::time::sleep(BACKOFF * 2_u32.saturating_pow(n_tries - 1)).await;
                }
                outcome => return outcome,
            }
        }
    }

    fn url(&self, service: Service) -> String {
        let suffix = if self.region.starts_with("cn-") { ".cn" } else { "" };
        let own = || format!("https://{}.{}.amazonaws.com{suffix}/", service.name(), self.region);
        self.endpoint.clone().unwrap_or_else(own)
    }

    async fn once(&self, service: Service, action: &str, body: &Value) -> Result<Value, CallError> {
        let credentials = self.chain.get(self.now()).await.map_err(CallError::Credentials)?;
        let (url, body) = (self.url(service), body.to_string());
        let target = format!("{}.{action}", service.target());
        let headers =
            [("content-type", "application/x-amz-json-1.0"), ("x-amz-target", target.as_str())];
        let signed = self.signed(service, &url, Unsigned { headers, body: &body }, credentials)?;
        let mut asking = self.http.post(&url);
        for (name, value) in headers {
            asking = asking.header(name, value);
        }
        for (name, value) in signed {
            asking = asking.header(name, value);
        }
        let transport =
            |error: reqwest::Error| CallError::Transport(error.without_url().to_string());
        let mut answer = asking.body(body).send().await.map_err(transport)?;
        let status = answer.status();
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(transport)? {
            if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(CallError::Transport("the answer is too long".to_owned()));
            }
            bytes.extend_from_slice(&chunk);
        }
        let told: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        if status.is_success() {
            return Ok(told);
        }
        let text = |name: &str| told[name].as_str().unwrap_or_default().to_owned();
        let code = text("__type");
        Err(CallError::Answered {
            action: action.to_owned(),
            code: code.rsplit('#').next().unwrap_or_default().to_owned(),
            message: if text("message").is_empty() { text("Message") } else { text("message") },
            status: status.as_u16(),
        })
    }

    /// The headers that the signature adds.
    fn signed(
        &self,
        service: Service,
        url: &str,
        request: Unsigned<'_>,
        credentials: Credentials,
    ) -> Result<Vec<(String, String)>, CallError> {
        let told = |error: &dyn std::fmt::Display| CallError::Signing(error.to_string());
        let identity = credentials.into();
        let time = UNIX_EPOCH + Duration::from_nanos(self.now().as_nanos());
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(service.name())
            .time(time)
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| told(&error))?
            .into();
        let body = SignableBody::Bytes(request.body.as_bytes());
        let signable = SignableRequest::new("POST", url, request.headers.into_iter(), body);
        let signable = signable.map_err(|error| told(&error))?;
        let (instructions, _signature) =
            sign(signable, &params).map_err(|error| told(&error))?.into_parts();
        let (headers, _query) = instructions.into_parts();
        Ok(headers.iter().map(|h| (h.name().to_owned(), h.value().to_owned())).collect())
    }
}

/// What is signed beside the URL.
#[derive(Clone, Copy)]
struct Unsigned<'a> {
    headers: [(&'a str, &'a str); 2],
    body: &'a str,
}
