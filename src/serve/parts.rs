//! Bodies that are made while they are sent.
//!
//! In: text in parts. Out: a body of pieces that are worth a frame each. Never true: a large answer that is
//! whole in memory as text.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use hyper::body::Frame;

/// Bytes that are worth a frame.
const FRAME: usize = 64 << 10;

/// A body of these parts; `held` is kept until it is sent, or nobody waits for it any more.
pub(super) fn body<H: Send + Unpin + 'static>(
    mut parts: impl Iterator<Item = String> + Send + Unpin + 'static,
    held: H,
) -> Body {
    let first = piece(&mut parts);
    // What fits one frame tells its length.
    if first.len() < FRAME {
        return Body::from(first);
    }
    Body::new(Parted { first: Some(first), rest: parts, _held: held })
}

/// As many parts as make a frame, or all that are left.
fn piece(parts: &mut impl Iterator<Item = String>) -> String {
    let mut text = String::new();
    while text.len() < FRAME
        && let Some(part) = parts.next()
    {
        text.push_str(&part);
    }
    text
}

struct Parted<I, H> {
    first: Option<String>,
    rest: I,
    _held: H,
}

impl<I: Iterator<Item = String> + Unpin, H: Unpin> hyper::body::Body for Parted<I, H> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let first = self.first.take();
        let text = first.unwrap_or_else(|| piece(&mut self.rest));
        Poll::Ready((!text.is_empty()).then(|| Ok(Frame::data(text.into()))))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn a_large_body_is_made_while_it_is_sent() {
        let n_made = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&n_made);
        let parts = (0..100).map(move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
            "x".repeat(FRAME / 4)
        });
        let held = Arc::new(());
        let mut body = body(parts, Arc::clone(&held));
        assert_eq!(n_made.load(Ordering::Relaxed), 4, "one frame");
        let frame = body.frame().await.unwrap().unwrap();
        assert_eq!(frame.data_ref().map(Bytes::len), Some(FRAME));
        assert_eq!(n_made.load(Ordering::Relaxed), 4);
        assert_eq!(Arc::strong_count(&held), 2);
        let rest = body.collect().await.unwrap().to_bytes();
        assert_eq!(rest.len(), FRAME * 24);
        assert_eq!(Arc::strong_count(&held), 1, "given back");
    }

    #[tokio::test]
    async fn a_small_body_tells_its_length() {
        let body = body(["a".to_owned(), "b".to_owned()].into_iter(), ());
        assert_eq!(hyper::body::Body::size_hint(&body).exact(), Some(2));
        assert_eq!(body.collect().await.unwrap().to_bytes(), "ab");
    }
}
