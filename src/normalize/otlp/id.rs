//! Trace and span ids on the wire, where they may be absent or wrong.
//!
//! In: bytes or hex digits from a sender. Out: absent, a valid id, or bad. All zeros and nothing are
//! both *absent*, as in W3C Trace Context; another length or other characters are *bad*.

use crate::signal::{SpanId, TraceId};

/// An id that a sender may have left out or written wrongly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Id<T> {
    #[default]
    Absent,
    Valid(T),
    Bad,
}

impl<T> Id<T> {
    pub(super) fn valid(self) -> Option<T> {
        if let Self::Valid(id) = self { Some(id) } else { None }
    }

    fn read(is_blank: bool, id: Option<T>) -> Self {
        match id {
            Some(id) => Self::Valid(id),
            None if is_blank => Self::Absent,
            None => Self::Bad,
        }
    }
}

impl Id<TraceId> {
    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        Self::read(bytes.is_empty() || bytes == [0; 16], TraceId::from_bytes(bytes))
    }

    pub(super) fn from_hex(digits: &str) -> Self {
        Self::read(is_zero(digits, 32), TraceId::from_hex(digits))
    }
}

impl Id<SpanId> {
    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        Self::read(bytes.is_empty() || bytes == [0; 8], SpanId::from_bytes(bytes))
    }

    pub(super) fn from_hex(digits: &str) -> Self {
        Self::read(is_zero(digits, 16), SpanId::from_hex(digits))
    }
}

fn is_zero(digits: &str, n_digits: usize) -> bool {
    digits.is_empty() || (digits.len() == n_digits && digits.bytes().all(|c| c == b'0'))
}
