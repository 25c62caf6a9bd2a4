//! What stands before every router: a request's head in, its answer out.
//!
//! It bounds the head, names the client, and notes what became of the request and whether its body comes. Never
//! does it read a body, but for the rest of a short one that was answered before it had come.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::http::{Request, StatusCode, Version};
use axum::response::{IntoResponse as _, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::sync::oneshot;
use tower_service::Service;

use super::awaited::Awaited;
use super::guests::{Standing, Working};
use super::tally::Tally;
use super::{Client, HEAD, HEADER_BYTES_MAX, Peer};
use crate::number::{u64_from_usize, usize_from_u32};

/// Of a body that was answered already, so much is read, for so long.
const LEFT_BYTES_MAX: u64 = 64 << 10;
const LEFT_TIME: Duration = Duration::from_millis(200);

/// Serves the requests of one connection.
#[derive(Clone, Debug)]
pub(super) struct Greeter {
    router: Router,
    standing: Arc<Standing>,
    client: Option<Client>,
    met: Arc<Tally>,
}

impl Greeter {
    pub(super) const fn new(
        router: Router,
        standing: Arc<Standing>,
        client: Option<Client>,
        met: Arc<Tally>,
    ) -> Self {
        Self { router, standing, client, met }
    }
}

type Answering = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

impl Service<Request<Incoming>> for Greeter {
    type Response = Response;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Service::<Request<Body>>::poll_ready(&mut self.router, cx)
    }

    fn call(&mut self, mut request: Request<Incoming>) -> Self::Future {
        let working = Working::begin(&self.standing);
        if head_bytes(&request) > usize_from_u32(HEADER_BYTES_MAX) {
            self.met.count(HEAD);
            let answer = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE.into_response();
            return Box::pin(std::future::ready(Ok(answer)));
        }
        request.extensions_mut().insert(Peer(self.standing.peer()));
        if let Some(client) = &self.client {
            request.extensions_mut().insert(client.clone());
        }
        let standing = Arc::clone(&self.standing);
        let is_http2 = request.version() == Version::HTTP_2;
        let (head, body) = request.into_parts();
        let (body, left) = watched(body, standing);
        let answering = self.router.call(Request::from_parts(head, body));
        Box::pin(async move {
            let answer = answering.await?;
            if is_http2 && let Some(left) = left.and_then(|mut left| left.try_recv().ok()) {
                read_off(left).await;
            }
            let standing = Arc::clone(&working.0);
            standing.judge(answer.status(), answer.headers());
            drop(working);
            let taken = move |_: &_| standing.touch();
            Ok(answer.map(|body| Body::new(body.inspect_frame(taken))))
        })
    }
}

/// A request without a body, as most of those that read, is let through as it is. Another's body comes back
/// where nobody read all of it.
fn watched(body: Incoming, standing: Arc<Standing>) -> (Body, Option<oneshot::Receiver<Incoming>>) {
    if body.is_end_stream() {
        return (Body::empty(), None);
    }
    let (body, left) = Awaited::new(body, standing);
    (Body::new(body), Some(left))
}

/// Reads what is left of a short body that was answered before its end. Of HTTP/2 the stream would be reset
/// behind the answer, as the protocol has it (RFC 9113, section 8.1), and there are clients that then throw the
/// answer away: curl before 8.0 does. (HTTP/1 closes the connection instead.)
async fn read_off(mut body: Incoming) {
    let is_long = body.size_hint().lower() > LEFT_BYTES_MAX;
    let reading = async {
        let mut n_bytes = 0;
        while n_bytes <= LEFT_BYTES_MAX
            && let Some(Ok(frame)) = body.frame().await
        {
            n_bytes += frame.data_ref().map_or(0, |data| u64_from_usize(data.len()));
        }
    };
    if !is_long {
        // In time or not, the answer goes out.
        drop(tokio::time::timeout(LEFT_TIME, reading).await);
    }
}

/// hyper bounds the head of HTTP/1 only by its buffer, and overshoots it.
fn head_bytes<B>(request: &Request<B>) -> usize {
    let uri = request.uri().path_and_query().map_or(0, |uri| uri.as_str().len());
    let fields = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len());
    uri + fields.sum::<usize>()
}
