//! What stands before every router: a request's head in, its answer out.
//!
//! It bounds the head, names the client, and notes what became of the request and whether its body comes. Never
//! does it read a body.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse as _, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tower_service::Service;

use super::awaited::Awaited;
use super::guests::{Standing, Working};
use super::tally::Tally;
use super::{Client, HEAD, HEADER_BYTES_MAX, Peer};
use crate::number::usize_from_u32;

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
        let answering = self.router.call(request.map(|body| watched(body, standing)));
        Box::pin(async move {
            let answer = answering.await?;
            let standing = Arc::clone(&working.0);
            standing.judge(answer.status(), answer.headers());
            drop(working);
            let taken = move |_: &_| standing.touch();
            Ok(answer.map(|body| Body::new(body.inspect_frame(taken))))
        })
    }
}

/// A request without a body, as most of those that read, is let through as it is.
fn watched(body: Incoming, standing: Arc<Standing>) -> Body {
    if body.is_end_stream() { Body::empty() } else { Body::new(Awaited::new(body, standing)) }
}

/// hyper bounds the head of HTTP/1 only by its buffer, and overshoots it.
fn head_bytes<B>(request: &Request<B>) -> usize {
    let uri = request.uri().path_and_query().map_or(0, |uri| uri.as_str().len());
    let fields = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len());
    uri + fields.sum::<usize>()
}
