//! Query parameters, from the address and from a form body alike.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::signal::{Timestamp, parse_duration};

/// Longest form body; a query text has no reason to be longer.
const FORM_BYTES_MAX: usize = 1 << 20;

/// All parameters in the order given; names may repeat (`match[]`).
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

    /// A step or timeout in milliseconds, from float seconds or a duration.
    pub(super) fn step_millis(&self, name: &str) -> Result<Option<i64>, String> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let seconds = text
            .parse::<f64>()
            .ok()
            .filter(|x| x.is_finite())
            .map(|x| crate::number::i64_from_f64(x * 1000.0));
        let duration =
            || parse_duration(text).map(|d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX));
        let parsed = seconds.or_else(duration).filter(|millis| *millis > 0);
        parsed.map(Some).ok_or_else(|| {
            format!("invalid parameter \"{name}\": \"{text}\" is not a positive duration")
        })
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

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let mut all = pairs(request.uri().query().unwrap_or_default().as_bytes());
        let is_form = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| value.starts_with("application/x-www-form-urlencoded"));
        if is_form {
            let body =
                Bytes::from_request(request, state).await.map_err(IntoResponse::into_response)?;
            if body.len() > FORM_BYTES_MAX {
                return Err(StatusCode::PAYLOAD_TOO_LARGE.into_response());
            }
            all.extend(pairs(&body));
        }
        Ok(Self(all))
    }
}

/// As browsers read them: what people leave unescaped (`query=up{job="a"}`) is taken as it is.
fn pairs(text: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(text).into_owned().collect()
}

#[cfg(test)]
mod tests {
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
}
