//! A body from the socket to plain bytes: admitted, bounded in size and time, decompressed.

use std::borrow::Cow;

use axum::body::{Body, HttpBody as _};
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;

use super::admission::{Admitted, Sender};
use super::answer::Failure;
use super::{Desk, Refusal, Weight};
use crate::normalize::inflate::{InflateError, inflate_within, unsnap, unsnapped_length};
use crate::number::usize_from_u64;

/// A body may become this many times as long; telemetry packs ten to fifty times, a bomb a thousand.
const GROWTH_MAX: usize = 100;
/// Up to here it may grow as it likes: small batches of equal records pack well.
const GROWTH_FREE: usize = 4 << 20;

/// Bytes that are admitted at once, at the most, beyond those that have come.
const AHEAD_MAX: usize = 4 << 20;

/// Bytes and the right to hold them.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) bytes: Bytes,
    packing: Packing,
    admitted: Vec<Admitted>,
}

impl Held {
    fn admitted(&self) -> usize {
        self.admitted.iter().map(Admitted::bytes).sum()
    }

    /// Of a body and what it was unpacked to, in bytes.
    pub(super) fn admitted_with(&self, unpacked: &Self) -> usize {
        self.admitted() + unpacked.admitted()
    }
}

/// Where a body is read, and in whose name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) desk: &'a Desk,
    pub(super) sender: &'a Sender,
}

impl Place<'_> {
    fn overloaded(self) -> Failure {
        Failure::Refused(self.desk.shared.room.refused(Refusal::Overloaded))
    }

    /// No body is longer than what its sender may hold of one: it would be refused for ever.
    fn body_bytes_max(self) -> usize {
        self.desk.limits.body_bytes_max.min(self.desk.admission.share(self.sender))
    }

    /// What a body may become beside the bytes that are held for it: with them it is never more than its sender
    /// may hold, whatever others hold. So what can never go on is told so at once.
    pub(super) fn made_bytes_max(self, held: usize) -> usize {
        self.desk.admission.share(self.sender).saturating_sub(held)
    }

    /// The bytes of what a body became, beside those that are admitted for it, until the engine has it: many small
    /// signals take more than they came as.
    pub(super) fn admit_made(self, bytes: usize) -> Result<Weight, Failure> {
        let admitted = self.desk.admission.admit_more(self.sender, bytes);
        let admitted = admitted.ok_or_else(|| self.overloaded())?;
        Ok(Weight { admitted: Some(admitted) })
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
    let max = place.body_bytes_max();
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|bytes| usize_from_u64(bytes) > max) {
        return Err(Failure::TooLarge { max });
    }
    let packing = packing(headers, unsaid)?;
    let held = gather(place, body, announced.map_or(0, usize_from_u64)).await?;
    Ok(Held { packing, ..held })
}

/// How a body is packed. One that was packed twice is not taken.
fn packing(headers: &HeaderMap, unsaid: Packing) -> Result<Packing, Failure> {
    let told: Vec<String> = headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .flat_map(|value| value.to_str().unwrap_or("?").split(','))
        .map(|one| one.trim().to_ascii_lowercase())
        .filter(|one| !one.is_empty())
        .collect();
    let encodings: Vec<&str> =
        told.iter().map(String::as_str).filter(|one| *one != "identity").collect();
    match encodings.as_slice() {
        [] if told.is_empty() => Ok(unsaid),
        [] => Ok(Packing::Plain),
        ["gzip" | "x-gzip" | "zstd" | "deflate"] => Ok(Packing::Stream),
        ["snappy"] => Ok(Packing::Snappy),
        others => Err(Failure::Encoding(others.join(", "))),
    }
}

/// All bytes of a body as they come, of which so many are announced.
pub(super) async fn gather(
    place: Place<'_>,
    body: Body,
    announced: usize,
) -> Result<Held, Failure> {
    let reading = stream(place, body, announced);
    let (bytes, admitted) = tokio::time::timeout(place.desk.limits.body_timeout, reading)
        .await
        .map_err(|_elapsed| Failure::TooSlow)??;
    Ok(Held { bytes, packing: Packing::Plain, admitted: vec![admitted] })
}

impl Held {
    /// What a body carries, under the same right.
    pub(super) fn with(self, bytes: Bytes, packing: Packing) -> Self {
        Self { bytes, packing, ..self }
    }

    /// The same, held in the name of who proved to have sent it.
    pub(super) fn proven(self, place: Place<'_>) -> Result<Self, Failure> {
        let passed: Option<Vec<Admitted>> =
            self.admitted.into_iter().map(|one| one.pass_to(place.sender)).collect();
        Ok(Self { admitted: passed.ok_or_else(|| place.overloaded())?, ..self })
    }

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
        // Room is asked for one byte more, which tells what is too long.
        let max = max.min(place.made_bytes_max(self.admitted()).saturating_sub(1));
        let (admission, sender) = (place.desk.admission.clone(), place.sender.clone());
        let unpacking = tokio::task::spawn_blocking(move || {
            let mut admitted = Vec::new();
            let mut room = |bytes: usize| {
                let more = admission.admit_more(&sender, bytes);
                more.map(|more| admitted.push(more)).is_some()
            };
            let bytes = unpack(&raw, packing, &mut Growth { max, room: &mut room })?;
            Ok((bytes, admitted))
        });
        let unpacked = unpacking.await.map_err(|_panicked| place.overloaded())?;
        let (bytes, admitted) = unpacked.map_err(|failure| match failure {
            Failure::Refused(_) => place.overloaded(),
            other => other,
        })?;
        Ok(Held { bytes, packing: Packing::Plain, admitted })
    }
}

/// How far a body may grow, and who gives the memory for it.
struct Growth<'a> {
    max: usize,
    room: &'a mut dyn FnMut(usize) -> bool,
}

/// Reads frame by frame, and admits what has come: a client that announces much and sends little holds
/// little, and one that sends half and no more gives way to others. For what is announced there must be room
/// at the start, so that a refusal comes before the body.
async fn stream(
    place: Place<'_>,
    mut body: Body,
    announced: usize,
) -> Result<(Bytes, Admitted), Failure> {
    let max = place.body_bytes_max();
    let mut coming = place.desk.admission.begin(place.sender);
    if !coming.may_hold(announced) {
        return Err(place.overloaded());
    }
    let (mut all, mut room) = (BytesMut::new(), 0);
    loop {
        let frame = tokio::select! {
            frame = body.frame() => frame,
            () = coming.sent_away() => return Err(Failure::TooSlow),
        };
        let Some(frame) = frame else { break };
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
            if !coming.admit(more) {
                return Err(place.overloaded());
            }
            room += more;
        }
        all.extend_from_slice(&data);
        if !body.is_end_stream() {
            coming.wait(all.len());
        }
    }
    let admitted = coming.arrived().ok_or(Failure::TooSlow)?;
    Ok((all.freeze(), admitted))
}

fn unpack(raw: &[u8], packing: Packing, growth: &mut Growth<'_>) -> Result<Bytes, Failure> {
    let undecodable = |message: String| Failure::Undecodable { offset: 0, message };
    let max = growth.max;
    let plain = match packing {
        Packing::Snappy => match unsnapped_length(raw, max) {
            Ok(bytes) if !(growth.room)(bytes) => Err(InflateError::NoRoom),
            Ok(_) => unsnap(raw, max).map(Cow::Owned),
            Err(error) => Err(error),
        },
        Packing::Plain | Packing::Stream => inflate_within(raw, max, growth.room),
    };
    match plain {
        Ok(Cow::Owned(plain)) => Ok(Bytes::from(plain)),
        // An empty body is sent with any encoding.
        Ok(Cow::Borrowed([])) => Ok(Bytes::new()),
        Ok(Cow::Borrowed(_)) => {
            Err(undecodable("the body is not packed as its content-encoding says".to_owned()))
        }
        Err(InflateError::TooLarge { max }) => Err(Failure::TooLarge { max }),
        Err(InflateError::NoRoom) => Err(Failure::Refused(Refusal::Overloaded)),
        Err(error @ InflateError::Corrupt { .. }) => Err(undecodable(format!("the body {error}"))),
    }
}
