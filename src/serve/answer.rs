//! Our own API's answers: JSON, and errors in one shape; those of the compatible APIs have their own.

use axum::Json;
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// When to come again, where the reason passes by itself.
const RETRY_AFTER_SECONDS: &str = "1";

/// `{"error":{"code","message"}}` with its status.
pub(super) fn error(status: StatusCode, code: &str, message: &str) -> Response {
    (status, Json(json!({"error": {"code": code, "message": message}}))).into_response()
}

/// An error in the form of the API that the path belongs to.
pub(super) fn error_at(path: &str, status: StatusCode, code: &str, message: &str) -> Response {
    if path.starts_with("/api/v1/") {
        let body =
            json!({"status": "error", "errorType": prometheus_kind(status), "error": message});
        return (status, Json(body)).into_response();
    }
    if path.starts_with("/api/v2/") {
        return (status, Json(message)).into_response();
    }
    error(status, code, message)
}

/// `web/api/v1`'s `errorType`.
fn prometheus_kind(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND => "not_found",
        StatusCode::SERVICE_UNAVAILABLE => "unavailable",
        status if status.is_server_error() => "internal",
        _ => "bad_data",
    }
}

/// The same answer, which the client need not take for the last word.
pub(super) fn come_again(mut response: Response) -> Response {
    let seconds = header::HeaderValue::from_static(RETRY_AFTER_SECONDS);
    response.headers_mut().insert(header::RETRY_AFTER, seconds);
    response
}

pub(super) async fn not_found(method: Method, uri: Uri) -> Response {
    let missing = || error_at(uri.path(), StatusCode::NOT_FOUND, "not_found", "no such path");
    asked_for_options(&method, &uri).unwrap_or_else(missing)
}

pub(super) async fn method_not_allowed(method: Method, uri: Uri) -> Response {
    let (status, message) = (StatusCode::METHOD_NOT_ALLOWED, "this path takes another method");
    let wrong = || error_at(uri.path(), status, "method_not_allowed", message);
    asked_for_options(&method, &uri).unwrap_or_else(wrong)
}

/// As Prometheus answers, but without its headers that let pages of every other site read.
fn asked_for_options(method: &Method, uri: &Uri) -> Option<Response> {
    let is_asked = method == Method::OPTIONS && uri.path().starts_with("/api/v1/");
    is_asked.then(|| StatusCode::NO_CONTENT.into_response())
}
