//! What stands before every path of the web listener: who may come in, how long a body may take, and what
//! browsers are told.
//!
//! A request comes in; it goes on, or an answer says why not. Never is a body read before its sender may
//! send it, and never does a page of somebody else write.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody as _, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use http_body_util::LengthLimitError;

use super::{Judged, Views, answer};
use crate::internal_telemetry::Metrics;
use crate::internal_telemetry::happening::LimitMet;
use crate::listen::origin::is_foreign;

/// Of a body; forms and silences have smaller bounds of their own, posted alerts this one.
const BODY_BYTES_MAX: usize = 2 << 20;

/// With a credential configured every path but health needs one; writes need one that may write, and come
/// from our own pages or from no page at all.
pub(super) async fn authorize(
    State(views): State<Views>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    if path == "/-/healthy" || path == "/-/ready" {
        return next.run(request).await;
    }
    let access = views.access.load_full();
    let writes = path == "/-/reload" || !is_read(request.method(), path);
    if writes && is_foreign(&request, &access.hosts) {
        return answer::error_at(
            path,
            StatusCode::FORBIDDEN,
            "cross_origin",
            "a write from another site's page is refused; if the page is ours, set `listen.external_url` to its address",
        );
    }
    let judged = if access.required { access.judge(&request, writes) } else { Judged::Allowed };
    // RFC 6750, section 3.1; RFC 7617, section 2, at which a browser asks for a password.
    let (mut response, challenges) = match judged {
        Judged::Allowed => return next.run(request).await,
        Judged::Elsewhere => {
            let scope = if writes { "write" } else { "read" };
            let message = format!("the credential is known and has no scope `{scope}`");
            let refused = answer::error_at(path, StatusCode::FORBIDDEN, "forbidden", &message);
            (refused, &["Bearer error=\"insufficient_scope\""][..])
        }
        Judged::Unknown => {
            let message = "send `Authorization: Bearer TOKEN` with a token that may do this, or it as a password";
            let refused = answer::error_at(path, StatusCode::UNAUTHORIZED, "unauthorized", message);
            (refused, &["Bearer", "Basic realm=\"Throughline\", charset=\"UTF-8\""][..])
        }
    };
    for challenge in challenges {
        let challenge = HeaderValue::from_static(challenge);
        response.headers_mut().append(header::WWW_AUTHENTICATE, challenge);
    }
    response
}

/// The Prometheus API takes queries by POST as well.
fn is_read(method: &Method, path: &str) -> bool {
    method == Method::GET || method == Method::HEAD || path.starts_with("/api/v1/")
}

/// How long a body may take, and where it is counted that one was too long or came too slowly.
#[derive(Clone, Debug)]
pub(super) struct Patience {
    pub(super) timeout: Duration,
    pub(super) metrics: Arc<Metrics>,
}

/// Reads the body, or says that it did not come. Bodies that are too long for their path count as well.
pub(super) async fn in_time(patience: Patience, request: Request, next: Next) -> Response {
    let Patience { timeout, metrics } = patience;
    let (parts, body) = request.into_parts();
    if body.is_end_stream() {
        return next.run(Request::from_parts(parts, body)).await;
    }
    let response = with_body(timeout, Request::from_parts(parts, body), next).await;
    let limit = match response.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Some("large_body"),
        StatusCode::REQUEST_TIMEOUT => Some("slow_body"),
        _ => None,
    };
    if let Some(limit) = limit {
        LimitMet { limit, n: 1 }.emit(&metrics);
    }
    response
}

async fn with_body(timeout: Duration, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    match tokio::time::timeout(timeout, to_bytes(body, BODY_BYTES_MAX)).await {
        Ok(Ok(bytes)) => next.run(Request::from_parts(parts, Body::from(bytes))).await,
        Ok(Err(error)) if is_too_long(&error) => answer::error_at(
            &path,
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_large",
            "the body is larger than 2 MiB",
        ),
        Ok(Err(error)) => answer::error_at(
            &path,
            StatusCode::BAD_REQUEST,
            "broken",
            &format!("the body cannot be read: {error}"),
        ),
        Err(_elapsed) => answer::error_at(
            &path,
            StatusCode::REQUEST_TIMEOUT,
            "too_slow",
            "the body did not arrive in time",
        ),
    }
}

fn is_too_long(error: &axum::Error) -> bool {
    error.source().is_some_and(<dyn std::error::Error>::is::<LengthLimitError>)
}

/// Pages run no script but ours, load nothing from elsewhere and are framed by nobody.
pub(super) async fn security_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in [
        (
            "content-security-policy",
            "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
        ),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Bytes;
    use axum::middleware;
    use axum::routing::post;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;
    use crate::listen::{Door, Listening};

    #[tokio::test]
    async fn a_body_that_does_not_come_is_not_awaited_for_ever() {
        let metrics = Arc::new(Metrics::try_new().expect("names are unique"));
        let patience =
            Patience { timeout: Duration::from_millis(100), metrics: Arc::clone(&metrics) };
        let router =
            Router::new().route("/", post(async |body: Bytes| body.len().to_string())).layer(
                middleware::from_fn(move |request, next| in_time(patience.clone(), request, next)),
            );
        let any = "127.0.0.1:0".parse().expect("an address");
        let listening = Listening::start(any, router, Door::default()).await.expect("a port");
        let ask = async |length: usize, body: &str| {
            let mut stream = TcpStream::connect(listening.address()).await.expect("a connection");
            let head = format!("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n");
            let whole = format!("{head}connection: close\r\n\r\n{body}");
            stream.write_all(whole.as_bytes()).await.expect("sent");
            let mut told = String::new();
            let reading = stream.read_to_string(&mut told);
            let read = tokio::time::timeout(Duration::from_secs(30), reading).await;
            let _ = read.expect("an end");
            told
        };
        let half = ask(100, "query=").await;
        assert!(half.starts_with("HTTP/1.1 408 "), "{half}");
        let whole = ask(6, "query=").await;
        assert!(whole.starts_with("HTTP/1.1 200 ") && whole.ends_with("\r\n6"), "{whole}");
        let large = ask(BODY_BYTES_MAX + 1, &"a".repeat(BODY_BYTES_MAX + 1)).await;
        assert!(large.starts_with("HTTP/1.1 413 "), "{large}");
        let met = |limit: &str| metrics.limits_met().get(limit).copied();
        assert_eq!([met("slow_body"), met("large_body")], [Some(1), Some(1)]);
    }
}
