//! Why a delivery did not succeed, and how each protocol says so.
//!
//! The matrix: transient trouble is 503 with Retry-After (gRPC UNAVAILABLE with RetryInfo); too large
//! is 413 (RESOURCE_EXHAUSTED without RetryInfo); undecodable is 400 (INVALID_ARGUMENT); no token is
//! 401 (UNAUTHENTICATED), one that reaches elsewhere 403 (PERMISSION_DENIED). 500 and INTERNAL forbid a
//! retry and are never ours.

use axum::Json;
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use prost::Message as _;
use serde_json::json;

use super::Refusal;
use super::decode::Endpoint;
use super::remote_write;
use crate::normalize::otlp::Encoding;
use crate::normalize::remote_write::Written;
use crate::signal::Timestamp;

/// When a refused client may come again.
const RETRY_AFTER_SECONDS: u16 = 1;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    #[error("no known credential: send `Authorization: Bearer TOKEN`")]
    Unauthorized,
    #[error("{0}")]
    Forbidden(String),
    #[error("content type `{0}` is not taken here")]
    ContentType(String),
    #[error("content encoding `{0}` is not known; send gzip, zstd, deflate, snappy or none")]
    Encoding(String),
    #[error("the body is larger than {max} bytes; send smaller batches")]
    TooLarge { max: usize },
    #[error("{0}; send smaller batches, or raise `memory_max`")]
    Oversized(&'static str),
    #[error("{0}")]
    TooMany(String),
    #[error("the body did not arrive in time")]
    TooSlow,
    #[error("the connection broke: {0}")]
    Broken(String),
    #[error("byte {offset}: {message}")]
    Undecodable { offset: usize, message: String },
    #[error("{0}; send it again later")]
    Refused(Refusal),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Oversized => {
                Self::Oversized("what is in the body would fill the engine's half of `memory_max`")
            }
            other => Self::Refused(other),
        }
    }
}

impl Failure {
    pub(super) const fn is_retryable(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::TooSlow | Self::Broken(_))
    }

    const fn status(&self) -> StatusCode {
        match self {
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::ContentType(_) | Self::Encoding(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge { .. } | Self::Oversized(_) | Self::TooMany(_) => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            Self::Broken(_) | Self::Undecodable { .. } => StatusCode::BAD_REQUEST,
            // Not 408: OTLP clients drop what that answers (OTLP specification, "Retryable Response Codes").
            Self::Refused(_) | Self::TooSlow => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// One of [`super::CODES`].
    pub(super) const fn code(&self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::Forbidden(_) => "forbidden",
            Self::ContentType(_) => "content_type",
            Self::Encoding(_) => "content_encoding",
            Self::TooLarge { .. } | Self::Oversized(_) | Self::TooMany(_) => "too_large",
            Self::TooSlow => "too_slow",
            Self::Broken(_) => "broken",
            Self::Undecodable { .. } => "undecodable",
            Self::Refused(_) => "refused",
        }
    }

    /// The same for gRPC.
    pub(super) fn grpc(&self) -> tonic::Status {
        let code = match self {
            Self::Unauthorized => tonic::Code::Unauthenticated,
            Self::Forbidden(_) => tonic::Code::PermissionDenied,
            Self::TooLarge { .. } | Self::Oversized(_) | Self::TooMany(_) => {
                tonic::Code::ResourceExhausted
            }
            Self::ContentType(_) | Self::Encoding(_) | Self::Undecodable { .. } => {
                tonic::Code::InvalidArgument
            }
            Self::TooSlow | Self::Broken(_) | Self::Refused(_) => tonic::Code::Unavailable,
        };
        if !self.is_retryable() {
            return tonic::Status::new(code, self.to_string());
        }
        let status = RpcStatus { code: 14, message: self.to_string(), details: vec![retry_info()] };
        tonic::Status::with_details(code, self.to_string(), Bytes::from(status.encode_to_vec()))
    }

    /// In the words of who sets up a stream.
    fn to_firehose(&self) -> String {
        match self {
            Self::Unauthorized => "no known access key: set the stream's access key to a token with the scope `ingest`".to_owned(),
            other => other.to_string(),
        }
    }

    /// The answer to a delivery at `endpoint`. `request_id` is Firehose's.
    pub(super) fn http(&self, endpoint: Endpoint, request_id: &str, now: Timestamp) -> Response {
        let mut response = match endpoint {
            Endpoint::Firehose => {
                Json(json!({"requestId": request_id, "timestamp": now.as_millis(), "errorMessage": self.to_firehose()})).into_response()
            }
            Endpoint::Otlp { encoding: Encoding::Protobuf, .. } => {
                let details = if self.is_retryable() { vec![retry_info()] } else { Vec::new() };
                let code = i32::from(self.grpc().code());
                protobuf(RpcStatus { code, message: self.to_string(), details }.encode_to_vec())
            }
            Endpoint::Otlp { encoding: Encoding::Json, .. } => {
                Json(json!({"code": i32::from(self.grpc().code()), "message": self.to_string()})).into_response()
            }
            // Anything but success is sent again, for days; it is in the books as undecodable.
            Endpoint::Pubsub if matches!(self, Self::Undecodable { .. }) => {
                return Json(json!({})).into_response();
            }
            Endpoint::Json
            | Endpoint::Eventhub
            | Endpoint::Xray
            | Endpoint::Cloudflare
            | Endpoint::Vercel
                if matches!(self, Self::Undecodable { .. }) => {
                let error = json!({"index": 0, "message": self.to_string()});
                Json(json!({"accepted": 0, "rejected": 0, "errors": [error]})).into_response()
            }
            Endpoint::RemoteWrite(_) => {
                let mut response = self.to_string().into_response();
                remote_write::tell(Written::default(), &mut response);
                response
            }
            _ => {
                Json(json!({"error": {"code": self.code(), "message": self.to_string()}})).into_response()
            }
        };
        *response.status_mut() = self.status();
        if self.is_retryable() {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
        }
        // RFC 6750, section 3.
        let challenge = match self {
            Self::Unauthorized => Some("Bearer"),
            Self::Forbidden(_) => Some("Bearer error=\"insufficient_scope\""),
            _ => None,
        };
        if let Some(challenge) = challenge {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}

pub(super) fn protobuf(bytes: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, "application/x-protobuf")], Body::from(bytes)).into_response()
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, prost::Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, prost::Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo` of one `google.protobuf.Duration`.
#[derive(Clone, PartialEq, prost::Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Seconds>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Seconds {
    #[prost(int64, tag = "1")]
    seconds: i64,
}

/// Without it, OTLP clients drop what they were refused (OTLP specification, "OTLP/gRPC Throttling").
fn retry_info() -> Any {
    let info = RetryInfo { retry_delay: Some(Seconds { seconds: i64::from(RETRY_AFTER_SECONDS) }) };
    Any {
        type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
        value: info.encode_to_vec(),
    }
}
