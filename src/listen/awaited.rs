//! The body of a request, watched while it comes: a connection that only waits for its client is told from one
//! that works.
//!
//! Frames go through as they are; what nobody read to its end is given back. Never does a body that was read to
//! its end, or that nobody reads, count as awaited.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::HttpBody;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::sync::oneshot;

use super::guests::Standing;

/// A body of which more may be to come.
pub(super) struct Awaited<B: HttpBody> {
    /// There until it is dropped.
    body: Option<B>,
    standing: Arc<Standing>,
    is_waiting: bool,
    left: Option<oneshot::Sender<B>>,
}

impl<B: HttpBody> Awaited<B> {
    /// With it, where the body comes back that was not read to its end.
    pub(super) fn new(body: B, standing: Arc<Standing>) -> (Self, oneshot::Receiver<B>) {
        let (left, back) = oneshot::channel();
        (Self { body: Some(body), standing, is_waiting: false, left: Some(left) }, back)
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

impl<B: HttpBody> Drop for Awaited<B> {
    fn drop(&mut self) {
        self.end();
        let unread = self.body.take().filter(|body| !body.is_end_stream());
        if let (Some(body), Some(left)) = (unread, self.left.take()) {
            // Where nobody asks for it, it is dropped now.
            drop(left.send(body));
        }
    }
}

impl<B: HttpBody<Data = Bytes> + Unpin> HttpBody for Awaited<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(cx);
        // A piece now and then is no end.
        match &polled {
            Poll::Pending => self.begin(),
            Poll::Ready(Some(Ok(_))) if !self.is_end_stream() => {}
            Poll::Ready(_) => self.end(),
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(HttpBody::size_hint).unwrap_or_default()
    }
}
