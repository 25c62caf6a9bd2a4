//! What stands before every path of the web listener: who may come in, how long a body may take, and what
//! browsers are told.
//!
//! A request comes in; it goes on, or an answer says why not. Never is a body read before its sender may
//! send it, and never does a page of somebody else write.

use std::time::Duration;

use axum::body::{Body, HttpBody as _, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use super::{Views, answer};
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
    if !access.required || access.allows(&request, writes) {
        return next.run(request).await;
    }
    let path = path.to_owned();
    let mut response = answer::error_at(
        &path,
        StatusCode::UNAUTHORIZED,
        "unauthorized",
        "send `Authorization: Bearer TOKEN` with a token that may do this",
    );
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

/// The Prometheus API takes queries by POST as well.
fn is_read(method: &Method, path: &str) -> bool {
    method == Method::GET || method == Method::HEAD || path.starts_with("/api/v1/")
}

/// Reads the body, or says that it did not come.
pub(super) async fn in_time(timeout: Duration, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    if body.is_end_stream() {
        return next.run(Request::from_parts(parts, body)).await;
    }
    let path = parts.uri.path().to_owned();
    match tokio::time::timeout(timeout, to_bytes(body, BODY_BYTES_MAX)).await {
        Ok(Ok(bytes)) => next.run(Request::from_parts(parts, Body::from(bytes))).await,
        Ok(Err(_)) => answer::error_at(
            &path,
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_large",
            "the body is larger than 2 MiB, or was cut off",
        ),
        Err(_elapsed) => answer::error_at(
            &path,
            StatusCode::REQUEST_TIMEOUT,
            "too_slow",
            "the body did not arrive in time",
        ),
    }
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
        let router = Router::new()
            .route("/", post(async |body: Bytes| body.len().to_string()))
            .layer(middleware::from_fn(|request, next| {
                in_time(Duration::from_millis(100), request, next)
            }));
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
        let large = ask(4, "none").await;
        assert!(large.ends_with("\r\n4"), "{large}");
    }
}
