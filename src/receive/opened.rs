//! A body that has come, to what is in it: unpacked, decoded, and all of it admitted.
//!
//! A body goes in; its batch comes out, with the right to hold it. Never is one refused for ever because it needs
//! more than there is beside others: it gets a turn, or is told that it is larger than all there is.

use std::sync::Arc;

use super::Weight;
use super::answer::Failure;
use super::body::{Held, Place};
use super::decode::{Decoded, Endpoint, Made, Work, decode};
use crate::normalize::Origin;

/// What came to an endpoint, and how.
#[derive(Clone, Debug)]
pub(super) struct What {
    pub(super) endpoint: Endpoint,
    pub(super) origin: Origin,
}

/// A batch, the right to hold it, and what it was read from.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) decoded: Decoded,
    pub(super) weight: Weight,
    pub(super) unpacked: Held,
}

/// A body needs a turn where it takes more than this part of its sender's share: less finds room sooner or later.
const LARGE: usize = 2;

pub(super) async fn open(place: Place<'_>, raw: &Held, what: &What) -> Result<Opened, Failure> {
    let needs = match attempt(place, raw, what).await {
        Err(Failure::NoRoom { bytes }) => bytes,
        other => return other,
    };
    let admission = &place.desk.admission;
    if needs <= admission.share(place.sender) / LARGE {
        return Err(place.overloaded());
    }
    let Some(_turn) = admission.turn(raw.admitted()).await else { return Err(place.overloaded()) };
    match attempt(Place { has_turn: true, ..place }, raw, what).await {
        Err(Failure::NoRoom { .. }) => Err(Failure::Oversized(
            "the body and what is in it take more than a quarter of `memory_max`",
        )),
        other => other,
    }
}

async fn attempt(place: Place<'_>, raw: &Held, what: &What) -> Result<Opened, Failure> {
    let What { endpoint, origin } = what;
    let (desk, receiver) = (place.desk, endpoint.receiver());
    let unpacked = desk.booked(receiver, &raw.bytes, raw.unpack(place).await).await?;
    let work = Work {
        desk: Arc::clone(desk),
        endpoint: *endpoint,
        bytes: unpacked.bytes.clone(),
        origin: origin.clone(),
    };
    let made = decode(place, work, raw.admitted_with(&unpacked)).await;
    let Made { decoded, admitted } = desk.booked(receiver, &unpacked.bytes, made).await?;
    Ok(Opened { decoded, weight: Weight { admitted: Some(admitted) }, unpacked })
}
