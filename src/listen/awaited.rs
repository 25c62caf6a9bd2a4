//! The body of a request, watched while it comes: a connection that only waits for its client is told from one
//! that works.
//!
//! Frames go through as they are. Never does a body that was read to its end, or that nobody reads, count as
//! awaited.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::HttpBody;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

use super::guests::Standing;

/// A body of which more may be to come.
pub(super) struct Awaited<B> {
    body: B,
    standing: Arc<Standing>,
    is_waiting: bool,
}

impl<B> Awaited<B> {
    pub(super) const fn new(body: B, standing: Arc<Standing>) -> Self {
        Self { body, standing, is_waiting: false }
    }

    fn begin(&mut self) {
        if !std::mem::replace(&mut self.is_waiting, true) {
            self.standing.begin_awaiting();
        }
    }

    fn end(&mut self) {
        if std::mem::replace(&mut self.is_waiting, false) {
            self.standing.end_awaiting();
        }
    }
}

impl<B> Drop for Awaited<B> {
    fn drop(&mut self) {
        self.end();
    }
}

impl<B: HttpBody<Data = Bytes> + Unpin> HttpBody for Awaited<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        // A piece now and then is no end.
        match &polled {
            Poll::Pending => self.begin(),
            Poll::Ready(Some(Ok(_))) if !self.body.is_end_stream() => {}
            Poll::Ready(_) => self.end(),
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
