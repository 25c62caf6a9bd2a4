//! Query parameters, from the address and from a form body alike.

use axum::body::Bytes;
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::{StatusCode, header};
use axum::response::Response;

use super::answer;
use crate::signal::{Timestamp, parse_duration};

/// Longest form body; a query text has no reason to be longer.
const FORM_BYTES_MAX: usize = 1 << 20;
/// The longest span that Go's durations hold, in nanoseconds.
const SPAN_NANOS_MAX: u128 = 0x7fff_ffff_ffff_ffff;

/// All parameters in the order in which Go's `FormValue` looks for them; names may repeat (`match[]`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Params(pub(super) Vec<(String, String)>);

impl Params {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, v)| n == name && !v.is_empty()).map(|(_, v)| v.as_str())
    }

    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// Milliseconds since the epoch, from float seconds or RFC 3339. Err names the parameter.
    pub(super) fn millis(&self, name: &str) -> Result<Option<i64>, String> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let seconds = text
            .parse::<f64>()
            .ok()
            .filter(|x| x.is_finite())
            .map(|x| crate::number::i64_from_f64((x * 1000.0).round()));
        let parsed = seconds.or_else(|| Timestamp::parse_rfc3339(text).map(Timestamp::as_millis));
        parsed.map(Some).ok_or_else(|| {
            format!("invalid parameter \"{name}\": cannot parse \"{text}\" to a valid timestamp")
        })
    }

    /// A span in milliseconds, from float seconds (which may be negative) or a duration. Errors are in
    /// Prometheus's words.
    pub(super) fn span_millis(&self, name: &str) -> Result<Option<i64>, String> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let wrong = |what: &str| {
            format!(
                "invalid parameter \"{name}\": cannot parse \"{text}\" to a valid duration{what}"
            )
        };
        let too_long = || wrong(". It overflows int64");
        if let Some(seconds) = text.parse::<f64>().ok().filter(|seconds| !seconds.is_nan()) {
            let nanos_max = crate::number::f64_from_i64(i64::MAX);
            if (seconds * 1e9).abs() > nanos_max {
                return Err(too_long());
            }
            return Ok(Some(crate::number::i64_from_f64(seconds * 1000.0)));
        }
        let span = parse_duration(text).ok_or_else(|| wrong(""))?;
        if span.as_nanos() > SPAN_NANOS_MAX {
            return Err(too_long());
        }
        Ok(Some(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }

    /// The step of a range query, in milliseconds.
    pub(super) fn step_millis(&self, name: &str) -> Result<Option<i64>, String> {
        let step = self.span_millis(name)?;
        if step.is_some_and(|millis| millis <= 0) {
            return Err(format!(
                "invalid parameter \"{name}\": zero or negative query resolution step widths are not accepted. Try a positive integer"
            ));
        }
        Ok(step)
    }

    /// As Go reads it (`strconv.ParseBool`).
    pub(super) fn flag(&self, name: &str, absent: bool) -> Result<bool, String> {
        match self.get(name) {
            None => Ok(absent),
            Some("0" | "f" | "F" | "false" | "False" | "FALSE") => Ok(false),
            Some("1" | "t" | "T" | "true" | "True" | "TRUE") => Ok(true),
            Some(text) => {
                Err(format!("invalid parameter \"{name}\": \"{text}\" is neither true nor false"))
            }
        }
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<usize>, String> {
        let Some(text) = self.get(name) else { return Ok(None) };
        text.parse()
            .map(Some)
            .map_err(|_| format!("invalid parameter \"{name}\": \"{text}\" is not a whole number"))
    }
}

impl<S: Send + Sync> FromRequest<S> for Params {
    type Rejection = Response;

    /// What a form says goes before the address, and the address before parts of a multipart body.
    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let path = request.uri().path().to_owned();
        let in_address = pairs(request.uri().query().unwrap_or_default().as_bytes());
        let kind = request.headers().get(header::CONTENT_TYPE);
        let kind = kind.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let read = if kind.starts_with("application/x-www-form-urlencoded") {
            form(request, state).await.map(|form| [form, in_address].concat())
        } else if kind.starts_with("multipart/form-data") {
            parts(request, state).await.map(|parts| [in_address, parts].concat())
        } else {
            Ok(in_address)
        };
        read.map(Self).map_err(|wrong| {
            let (status, code) = match wrong {
                Wrong::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
                Wrong::Unreadable(_) => (StatusCode::BAD_REQUEST, "bad_form"),
            };
            answer::error_at(&path, status, code, &wrong.to_string())
        })
    }
}

/// Why a form is not taken.
#[derive(Debug, thiserror::Error)]
enum Wrong {
    #[error("the form is larger than 1 MiB; no query needs to be")]
    TooLarge,
    #[error("the form cannot be read: {0}")]
    Unreadable(String),
}

fn unreadable(error: impl std::fmt::Display) -> Wrong {
    Wrong::Unreadable(error.to_string())
}

async fn form<S: Send + Sync>(request: Request, state: &S) -> Result<Vec<(String, String)>, Wrong> {
    let body = Bytes::from_request(request, state).await.map_err(unreadable)?;
    if body.len() > FORM_BYTES_MAX { Err(Wrong::TooLarge) } else { Ok(pairs(&body)) }
}

/// The named parts of a multipart body, all together no larger than a form.
async fn parts<S: Send + Sync>(
    request: Request,
    state: &S,
) -> Result<Vec<(String, String)>, Wrong> {
    let mut body = Multipart::from_request(request, state).await.map_err(unreadable)?;
    let (mut found, mut n_bytes) = (Vec::new(), 0);
    while let Some(part) = body.next_field().await.map_err(unreadable)? {
        let name = part.name().unwrap_or_default().to_owned();
        let value = part.text().await.map_err(unreadable)?;
        n_bytes += name.len() + value.len();
        if n_bytes > FORM_BYTES_MAX {
            return Err(Wrong::TooLarge);
        }
        found.push((name, value));
    }
    Ok(found)
}

/// As browsers read them: what people leave unescaped (`query=up{job="a"}`) is taken as it is.
fn pairs(text: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(text).into_owned().collect()
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};

    use super::*;

    #[test]
    fn times_are_read_as_grafana_and_people_send_them() {
        let params = Params(vec![
            ("a".into(), "1.5".into()),
            ("b".into(), "2026-11-25T00:00:00Z".into()),
            ("c".into(), "soon".into()),
        ]);
        assert_eq!(params.millis("a"), Ok(Some(1500)));
        assert_eq!(params.millis("b"), Ok(Some(1_795_564_800_000)));
        assert!(params.millis("c").is_err());
        assert_eq!(params.millis("d"), Ok(None));
    }

    #[test]
    fn spans_are_read_as_prometheus_reads_them() {
        let read = |text: &str| Params(vec![("s".into(), text.into())]).span_millis("s");
        assert_eq!(
            [read("1.5"), read("1m30s"), read("0"), read("-1")],
            [Ok(Some(1500)), Ok(Some(90_000)), Ok(Some(0)), Ok(Some(-1000))]
        );
        let wrong = |text: &str, what: &str| {
            let expected = format!(
                "invalid parameter \"s\": cannot parse \"{text}\" to a valid duration{what}"
            );
            assert_eq!(read(text), Err(expected));
        };
        wrong("soon", "");
        wrong("NaN", "");
        for long in ["1e300", "-1e300", "inf", "300y"] {
            wrong(long, ". It overflows int64");
        }
        let step = Params(vec![("step".into(), "0".into())]).step_millis("step");
        assert!(step.is_err_and(|said| said.contains("zero or negative")));
    }

    async fn read(path: &str, kind: &str, body: String) -> Result<Params, Response> {
        let request = Request::post(path).header(header::CONTENT_TYPE, kind);
        Params::from_request(request.body(Body::from(body)).expect("a request"), &()).await
    }

    #[tokio::test]
    async fn a_form_goes_before_the_address_and_parts_behind_it() {
        let form = "application/x-www-form-urlencoded";
        let params = read("/api/v1/query?query=1&time=5", form, "query=2".to_owned()).await;
        let params = params.expect("a form");
        assert_eq!((params.get("query"), params.get("time")), (Some("2"), Some("5")));
        assert_eq!(params.all("query").collect::<Vec<_>>(), ["2", "1"]);

        let kind = "multipart/form-data; boundary=x";
        let body = "--x\r\nContent-Disposition: form-data; name=\"query\"\r\n\r\nup\r\n--x--\r\n";
        let params = read("/api/v1/query", kind, body.to_owned()).await.expect("a form");
        assert_eq!(params.get("query"), Some("up"));
        let params = read("/api/v1/query?query=1", kind, body.to_owned()).await.expect("a form");
        assert_eq!(params.get("query"), Some("1"));
    }

    #[tokio::test]
    async fn a_form_that_is_not_taken_says_why_in_its_api_s_own_form() {
        let said = async |path: &str, kind: &str, body: String| {
            let refused = read(path, kind, body).await.expect_err("a refusal");
            let status = refused.status().as_u16();
            let body = to_bytes(refused.into_body(), 1 << 16).await.expect("a body");
            (status, serde_json::from_slice::<serde_json::Value>(&body).expect("JSON"))
        };
        let form = "application/x-www-form-urlencoded";
        let long = format!("query={}", "1".repeat(FORM_BYTES_MAX));
        let (status, body) = said("/api/v1/query", form, long.clone()).await;
        assert_eq!(
            (status, &body["status"], &body["errorType"]),
            (413, &"error".into(), &"bad_data".into())
        );
        let (status, body) = said("/silences", form, long.clone()).await;
        assert_eq!((status, &body["error"]["code"]), (413, &"too_large".into()));
        let parts = format!(
            "--x\r\nContent-Disposition: form-data; name=\"query\"\r\n\r\n{long}\r\n--x--\r\n"
        );
        let kind = "multipart/form-data; boundary=x";
        assert_eq!(said("/api/v1/query", kind, parts).await.0, 413);
        assert_eq!(said("/api/v1/query", kind, "--x\r\n".to_owned()).await.0, 400);
    }
}
