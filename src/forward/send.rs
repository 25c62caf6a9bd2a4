//! One request to one endpoint: what the answer means, and how long to wait before the next.

use std::time::Duration;

use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};

use super::endpoint::Endpoint;

/// First wait after a failure; it doubles up to [`BACKOFF_MAX`]. Prometheus's are 30 ms and 5 s; a
/// store that restarts has nothing of being asked more often than once a second.
const BACKOFF_MIN: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// What an endpoint may ask us to wait.
const RETRY_AFTER_MAX: Duration = Duration::from_mins(5);
/// Bytes of an answer that are read, for the log.
const ANSWER_BYTES_MAX: usize = 300;

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Taken,
    /// It will never be taken (any 4xx but 429): the same request must not come again.
    Rejected {
        why: String,
    },
    /// Come again; when, if the endpoint said so.
    Refused {
        why: String,
        after: Option<Duration>,
    },
}

/// A client for all endpoints.
pub fn client() -> reqwest::Result<reqwest::Client> {
    let agent = concat!("throughline/", env!("CARGO_PKG_VERSION"));
    reqwest::Client::builder().user_agent(agent).redirect(reqwest::redirect::Policy::none()).build()
}

/// Sends one snappy block.
pub async fn send(client: &reqwest::Client, endpoint: &Endpoint, request: Vec<u8>) -> Outcome {
    let mut sending = client
        .post(&endpoint.url)
        .timeout(endpoint.timeout)
        .header(CONTENT_ENCODING, "snappy")
        .header(CONTENT_TYPE, endpoint.protocol.content_type())
        .header("x-prometheus-remote-write-version", endpoint.protocol.version())
        .body(request);
    if let Some(token) = &endpoint.token {
        sending = sending.bearer_auth(token);
    }
    match sending.send().await {
        // Without the URL: it may hold a secret.
        Err(error) => Outcome::Refused { why: error.without_url().to_string(), after: None },
        Ok(answer) => judge(answer).await,
    }
}

async fn judge(mut answer: reqwest::Response) -> Outcome {
    let status = answer.status();
    if status.is_success() {
        return Outcome::Taken;
    }
    let after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let after = after.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
    let said = match answer.chunk().await {
        Ok(Some(bytes)) => {
            let cut = bytes.get(..ANSWER_BYTES_MAX.min(bytes.len())).unwrap_or_default();
            String::from_utf8_lossy(cut).trim().to_owned()
        }
        _ => String::new(),
    };
    let why = format!("{status}: {said}");
    if status.is_server_error() || status == reqwest::StatusCode::TOO_MANY_REQUESTS {
        return Outcome::Refused { why, after };
    }
    Outcome::Rejected { why }
}

/// How long to wait before the try after `n_failures`.
pub fn wait(n_failures: u32, after: Option<Duration>) -> Duration {
    let doubled = BACKOFF_MIN.saturating_mul(2_u32.saturating_pow(n_failures.saturating_sub(1)));
    after.map_or(doubled.min(BACKOFF_MAX), |after| after.clamp(BACKOFF_MIN, RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_their_bound_and_the_endpoint_may_ask_for_more() {
        let secs = |n, after| wait(n, after).as_secs();
        assert_eq!([1, 2, 3, 6, 99].map(|n| secs(n, None)), [1, 2, 4, 30, 30]);
        assert_eq!(secs(1, Some(Duration::from_secs(45))), 45);
        assert_eq!(secs(1, Some(Duration::from_hours(9))), 300);
        assert_eq!(secs(1, Some(Duration::ZERO)), 1);
    }
}
