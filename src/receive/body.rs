//! A body from the socket to plain bytes: admitted, bounded in size and time, decompressed.

use std::borrow::Cow;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;

use super::admission::Admitted;
use super::answer::Failure;
use super::credential::Principal;
use super::{Desk, Refusal};
use crate::normalize::inflate::{InflateError, inflate, unsnap};
use crate::number::usize_from_u64;

/// A body may become this many times as long; telemetry packs ten to fifty times, a bomb a thousand.
const GROWTH_MAX: usize = 100;
/// Up to here it may grow as it likes: small batches of equal records pack well.
const GROWTH_FREE: usize = 4 << 20;

/// What a decoded signal takes at the least, about.
const SIGNAL_BYTES: usize = 256;

/// Bytes that are admitted at once, at the most, beyond those that have come.
const AHEAD_MAX: usize = 4 << 20;

/// Bytes and the right to hold them.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) bytes: Bytes,
    packing: Packing,
    #[expect(dead_code, reason = "held for its drop")]
    admitted: Vec<Admitted>,
}

impl Held {
    /// Bytes that are admitted for a body and for what it was unpacked to.
    pub(super) fn admitted_with(&self, unpacked: &Self) -> usize {
        let more = if self.packing == Packing::Plain { 0 } else { unpacked.bytes.len() };
        self.bytes.len() + more
    }
}

/// Where a body is read, and in whose name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) desk: &'a Desk,
    pub(super) sender: &'a Principal,
}

impl Place<'_> {
    pub(super) fn admit(self, bytes: usize) -> Result<Admitted, Failure> {
        let admitted = self.desk.admission.admit(self.sender, bytes);
        admitted.ok_or(Failure::Refused(Refusal::Overloaded))
    }

    /// What a body became, beside the bytes that are admitted for it: many small signals take more than
    /// they came as. More than ever has room is refused for good.
    pub(super) fn admit_signals(
        self,
        n_signals: usize,
        held_bytes: usize,
    ) -> Result<Admitted, Failure> {
        let max = self.desk.admission.bytes_max_of(self.sender);
        let max = max.saturating_sub(held_bytes) / SIGNAL_BYTES;
        if n_signals > max {
            return Err(Failure::TooMany { max });
        }
        self.admit(n_signals * SIGNAL_BYTES)
    }
}

/// How a body is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    Plain,
    /// gzip, zlib or zstd, told by its magic number.
    Stream,
    /// One snappy block, which has no magic number.
    Snappy,
}

/// Reads a whole body as its headers announce it; `unsaid` where they name no encoding.
pub(super) async fn read(
    place: Place<'_>,
    headers: &HeaderMap,
    body: Body,
    unsaid: Packing,
) -> Result<Held, Failure> {
    let limits = place.desk.limits;
    let max = limits.body_bytes_max;
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|bytes| usize_from_u64(bytes) > max) {
        return Err(Failure::TooLarge { max });
    }
    let encoding = headers
        .get(header::CONTENT_ENCODING)
        .map(|value| value.to_str().unwrap_or("?").trim().to_ascii_lowercase());
    let packing = match encoding.as_deref() {
        None | Some("") => unsaid,
        Some("identity") => Packing::Plain,
        Some("gzip" | "x-gzip" | "zstd" | "deflate") => Packing::Stream,
        Some("snappy") => Packing::Snappy,
        Some(other) => return Err(Failure::Encoding(other.to_owned())),
    };
    let reading = stream(place, body, announced.map_or(0, usize_from_u64));
    let (bytes, admitted) = tokio::time::timeout(limits.body_timeout, reading)
        .await
        .map_err(|_elapsed| Failure::TooSlow)??;
    Ok(Held { bytes, packing, admitted })
}

impl Held {
    /// The plain bytes.
    pub(super) async fn unpack(&self, place: Place<'_>) -> Result<Held, Failure> {
        let (raw, max, packing) =
            (self.bytes.clone(), place.desk.limits.body_bytes_max, self.packing);
        if packing == Packing::Plain {
            return Ok(Held { bytes: raw, packing, admitted: Vec::new() });
        }
        let max = match packing {
            Packing::Stream => max.min(GROWTH_FREE.max(raw.len().saturating_mul(GROWTH_MAX))),
            // A block says before how long it becomes, and grows a twentyfold at the most.
            Packing::Plain | Packing::Snappy => max,
        };
        let unpacking = tokio::task::spawn_blocking(move || unpack(&raw, packing, max));
        let bytes =
            unpacking.await.map_err(|_panicked| Failure::Refused(Refusal::Overloaded))??;
        let admitted = place.admit(bytes.len())?;
        Ok(Held { bytes, packing: Packing::Plain, admitted: vec![admitted] })
    }
}

/// Reads frame by frame, and admits what has come: a client that announces much and sends little holds
/// little. What is announced must have room at the start, so that a refusal comes before the body.
async fn stream(
    place: Place<'_>,
    mut body: Body,
    announced: usize,
) -> Result<(Bytes, Vec<Admitted>), Failure> {
    let max = place.desk.limits.body_bytes_max;
    drop(place.admit(announced)?);
    let (mut admitted, mut room) = (Vec::new(), 0);
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|error| Failure::Broken(error.to_string()))?.into_data()
        else {
            continue;
        };
        if all.len() + data.len() > max {
            return Err(Failure::TooLarge { max });
        }
        if all.len() + data.len() > room {
            // As much again as there is already, so that many small frames are few permits.
            let ahead = room.min(AHEAD_MAX).min(announced.saturating_sub(room));
            let more = data.len().max(ahead);
            admitted.push(place.admit(more)?);
            room += more;
        }
        all.extend_from_slice(&data);
    }
    Ok((all.freeze(), admitted))
}

fn unpack(raw: &[u8], packing: Packing, max: usize) -> Result<Bytes, Failure> {
    let undecodable = |message: String| Failure::Undecodable { offset: 0, message };
    let plain = match packing {
        Packing::Snappy => unsnap(raw, max).map(Cow::Owned),
        Packing::Plain | Packing::Stream => inflate(raw, max),
    };
    match plain {
        Ok(Cow::Owned(plain)) => Ok(Bytes::from(plain)),
        // An empty body is sent with any encoding.
        Ok(Cow::Borrowed([])) => Ok(Bytes::new()),
        Ok(Cow::Borrowed(_)) => {
            Err(undecodable("the body is not packed as its content-encoding says".to_owned()))
        }
        Err(InflateError::TooLarge { max }) => Err(Failure::TooLarge { max }),
        Err(error @ InflateError::Corrupt { .. }) => Err(undecodable(format!("the body {error}"))),
    }
}
