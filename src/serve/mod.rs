//! Serve: views to HTTP: our own API, Prometheus's, Alertmanager's, Tempo's, health, metrics, pages.
//!
//! What comes in: requests on the web listener. What goes out: JSON, text and HTML. Never does a
//! request here change what the daemon knows but by the journal (silences, posted alerts) and
//! `POST /-/reload`; never does a slow query hold a lock while it computes (selections are copied out
//! first).

mod alertmanager;
mod answer;
mod blame;
pub mod commands;
mod federate;
mod health;
pub mod metrics;
mod params;
mod parts;
mod prometheus_api;
mod query_stats;
mod requests_api;
pub mod setup;
pub mod starting;
mod state_api;
mod status_api;
mod tempo;
mod threshold;
pub mod pages;

use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::Request;
use axum::middleware;
use axum::routing::{get, post};
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;

use crate::archive::Archive;
use crate::clock::Clock;
use crate::correlate::Engine;
use crate::evaluate::Evaluator;
use crate::gaps::Gaps;
use crate::internal_telemetry::Metrics;
use crate::internal_telemetry::happening::QueryLimited;
use crate::listen::origin::Hosts;
use crate::listen::{Client, token};
use crate::notify::Dispatcher;
use crate::promql;
use crate::promql::limits::{Interrupt, Stop};
use crate::series::{RawSeries, Sample, SampleValue, Series};
use crate::signal::{Diagnostic, Labels, SecretHash, Timestamp};
use commands::Commands;

/// The bounds of queries, and the turns that they wait for. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Queries {
    limits: promql::limits::Limits,
    pool: promql::limits::Pool,
    turns: Arc<tokio::sync::Semaphore>,
}

impl Queries {
    pub fn new(limits: promql::limits::Limits) -> Self {
        Self {
            limits,
            pool: promql::limits::Pool::new(limits.pool),
            turns: Arc::new(tokio::sync::Semaphore::new(limits.concurrent_max)),
        }
    }

    fn options(&self, interrupt: &Interrupt) -> promql::Options {
        promql::Options {
            lookback: self.limits.lookback,
            samples_max: self.limits.samples_max,
            series_max: self.limits.series_max,
            interrupt: interrupt.clone(),
            pool: self.pool.clone(),
            ..promql::Options::default()
        }
    }
}

/// Ends a query when its client is gone: nobody waits for the answer any more.
struct CancelOnDrop(Interrupt);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.set(Stop::Canceled);
    }
}

/// Everything that can be seen. Cheap to clone.
#[derive(Clone)]
pub struct Views {
    pub engine: Arc<RwLock<Engine>>,
    pub series: Arc<RwLock<Series>>,
    pub evaluator: Arc<RwLock<Evaluator>>,
    pub dispatcher: Arc<RwLock<Dispatcher>>,
    pub archive: Arc<Archive>,
    pub gaps: Arc<Mutex<Gaps>>,
    pub metrics: Arc<Metrics>,
    pub clock: Clock,
    /// What the daemon thinks somebody should know of its disk and clock.
    pub findings: Arc<dyn Fn() -> Vec<serde_json::Value> + Send + Sync>,
    /// Why no work can be taken; none: ready.
    pub unready: Arc<dyn Fn() -> Vec<String> + Send + Sync>,
    /// How far a start is.
    pub starting: starting::Starting,
    pub access: Arc<ArcSwap<Access>>,
    pub setup: Arc<ArcSwap<setup::Setup>>,
    /// Reads the configuration again; a bad one is refused and the old one stays. Gives what takes a restart.
    pub reload: Arc<dyn Fn() -> Result<Vec<String>, Vec<Diagnostic>> + Send + Sync>,
    /// The way of what a client changes into the journal.
    pub commands: Commands,
    pub started_at: Timestamp,
    pub queries: Queries,
    pub exported: metrics::Exported,
}

impl std::fmt::Debug for Views {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Views")
    }
}

/// Whom to let in; swapped at a reload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    pub tokens: Vec<Token>,
    /// A client's certificate may read; may write.
    pub clients_read: bool,
    pub clients_write: bool,
    /// True where any credential is configured: then every path but health needs one.
    pub required: bool,
    /// Whose pages may write.
    pub hosts: Hosts,
}

/// From the end of the headers until the body is read, as for deliveries.
const BODY_TIMEOUT: Duration = Duration::from_mins(1);

impl Access {
    /// Every token is compared, so that timing tells nothing.
    fn judge(&self, request: &Request, writes: bool) -> Judged {
        let given = token(request.headers()).map(|secret| SecretHash::of(&secret));
        let by_token = given.map_or(Judged::Unknown, |given| {
            self.tokens.iter().fold(Judged::Unknown, |found, token| {
                let is_it = token.hash.is(&given);
                let may = if writes { token.writes } else { token.reads };
                match (is_it, may) {
                    (true, true) => Judged::Allowed,
                    (true, false) => found.max(Judged::Elsewhere),
                    (false, _) => found,
                }
            })
        });
        let clients = if writes { self.clients_write } else { self.clients_read };
        match request.extensions().get::<Client>() {
            Some(_) if clients => Judged::Allowed,
            Some(_) => by_token.max(Judged::Elsewhere),
            None => by_token,
        }
    }
}

/// What a request's credential proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Judged {
    /// Nothing.
    Unknown,
    /// Who it is, who may do other things.
    Elsewhere,
    Allowed,
}

/// A token that may read or write here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub hash: SecretHash,
    pub reads: bool,
    pub writes: bool,
}

/// All routes of the web listener.
pub fn router(views: Views) -> Router {
    let api = Router::new()
        .merge(prometheus_api::routes())
        .merge(requests_api::routes())
        .merge(state_api::routes())
        .merge(status_api::routes())
        .merge(alertmanager::routes())
        .merge(blame::routes())
        .merge(tempo::routes())
        .merge(pages::routes())
        .route("/metrics", get(metrics::metrics))
        .route("/federate", get(federate::federate))
        .route("/-/healthy", get(health::healthy))
        .route("/-/ready", get(health::ready))
        .route("/-/reload", post(health::reload))
        .fallback(answer::not_found)
        .method_not_allowed_fallback(answer::method_not_allowed);
    let starting = Arc::clone(&views.starting);
    let patience =
        threshold::Patience { timeout: BODY_TIMEOUT, metrics: Arc::clone(&views.metrics) };
    let in_time = move |request, next| threshold::in_time(patience.clone(), request, next);
    api.layer(middleware::from_fn(in_time))
        .layer(middleware::from_fn_with_state(starting, starting::gate))
        .layer(middleware::from_fn_with_state(views.clone(), threshold::authorize))
        .layer(middleware::from_fn(threshold::security_headers))
        .layer(packed())
        .with_state(views)
}

/// Gzip for those that take it, at its fastest: answers are large and say much again. Streams of events are
/// sent as they come.
fn packed() -> CompressionLayer {
    CompressionLayer::new().gzip(true).quality(CompressionLevel::Fastest)
}

/// A query that failed, by whose fault.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QueryError {
    #[error(transparent)]
    Execution(#[from] promql::EvalError),
    #[error(
        "query timed out in the queue; others compute, as many as may: {concurrent_max} (query.concurrent_max)"
    )]
    QueueTimeout { concurrent_max: usize },
    #[error("the server stopped")]
    Stopped,
}

impl QueryError {
    /// Which bound it met, if it met one.
    fn limit(&self) -> Option<&'static str> {
        use promql::EvalError;
        match self {
            Self::Execution(EvalError::Select(_)) => Some("samples"),
            Self::Execution(EvalError::TooManySeries { .. }) => Some("series"),
            Self::Execution(EvalError::TooManySteps { .. }) => Some("steps"),
            Self::Execution(EvalError::Crowded) => Some("memory"),
            Self::Execution(EvalError::Stopped(Stop::TimedOut)) => Some("time"),
            Self::QueueTimeout { .. } => Some("concurrency"),
            Self::Execution(_) | Self::Stopped => None,
        }
    }
}

impl Views {
    /// The newest whole second that a tick has closed: at it, an increase is a count and needs no
    /// extrapolation.
    pub(crate) fn settled(&self) -> Timestamp {
        Timestamp::from_nanos(
            self.clock.now().as_secs().saturating_sub(1).saturating_mul(1_000_000_000),
        )
    }

    /// Asks the store for one thing; a bound that it meets is counted. See [`Views::compute`].
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        timeout: Option<Duration>,
        run: impl FnOnce(&Asking<'_>) -> Result<T, QueryError> + Send + 'static,
    ) -> Result<T, QueryError> {
        let answer = self.compute(timeout, run).await.flatten();
        if let Some(limit) = answer.as_ref().err().and_then(QueryError::limit) {
            QueryLimited { limit }.emit(&self.metrics);
        }
        answer
    }

    /// Runs what reads the store off the async threads: a query, or all queries of a page. At most a few
    /// at once, none longer than `timeout` and what the configuration allows. It ends when its client goes
    /// away.
    pub(crate) async fn compute<T: Send + 'static>(
        &self,
        timeout: Option<Duration>,
        run: impl FnOnce(&Asking<'_>) -> T + Send + 'static,
    ) -> Result<T, QueryError> {
        let Queries { limits, turns, .. } = &self.queries;
        if timeout.is_some_and(|timeout| timeout.is_zero()) {
            return Err(promql::EvalError::Stopped(Stop::TimedOut).into());
        }
        let too_late = tokio::time::sleep(timeout.unwrap_or(limits.timeout).min(limits.timeout));
        tokio::pin!(too_late);
        let turn = tokio::select! {
            turn = Arc::clone(turns).acquire_owned() => turn.map_err(|_closed| QueryError::Stopped)?,
            () = &mut too_late => {
                return Err(QueryError::QueueTimeout { concurrent_max: limits.concurrent_max });
            }
        };
        let gone = CancelOnDrop(Interrupt::default());
        let options = self.queries.options(&gone.0);
        let views = self.clone();
        let mut computing = tokio::task::spawn_blocking(move || {
            let answer = run(&Asking { views: &views, options: &options });
            drop(turn);
            answer
        });
        let answer = tokio::select! {
            answer = &mut computing => answer,
            () = &mut too_late => {
                gone.0.set(Stop::TimedOut);
                computing.await
            }
        };
        answer.map_err(|_panicked| QueryError::Stopped)
    }
}

/// What may be read, within the bounds of queries.
pub(crate) struct Asking<'a> {
    pub(crate) views: &'a Views,
    pub(crate) options: &'a promql::Options,
}

impl Asking<'_> {
    /// An error once the client is gone or the time is over.
    pub(crate) fn goes_on(&self) -> Result<(), QueryError> {
        Ok(self.options.interrupt.check()?)
    }

    /// Reads the series of one selection from the store, until the query is interrupted; holds the lock only
    /// for short looks.
    pub(crate) fn select(
        &self,
    ) -> impl Fn(&crate::series::Selection<'_>) -> Result<Vec<RawSeries>, crate::series::SelectError>
    + Sync
    + '_ {
        |selection| {
            let goes_on = || self.goes_on().is_ok();
            crate::series::select_shared(&self.views.series, selection, &goes_on)
        }
    }

    /// The series of a query at one time; none where it fails or meets a bound, which is counted.
    pub(crate) fn instant(&self, query: &str, at: Timestamp) -> Vec<RawSeries> {
        let asked =
            |query: &promql::Query| query.instant(at.as_millis(), self.options, &self.select());
        self.answered(query, asked)
    }

    /// The same over a range.
    pub(crate) fn range(&self, query: &str, range: promql::Range) -> Vec<RawSeries> {
        let asked = |query: &promql::Query| query.range(range, self.options, &self.select());
        self.answered(query, asked)
    }

    fn answered(
        &self,
        query: &str,
        ask: impl FnOnce(&promql::Query) -> Result<promql::Answer, promql::EvalError>,
    ) -> Vec<RawSeries> {
        let Ok(query) = promql::Query::parse(query) else { return Vec::new() };
        match ask(&query) {
            Ok(promql::Answer {
                output: promql::Output::Vector(series) | promql::Output::Matrix(series),
                ..
            }) => series,
            Ok(promql::Answer { output: promql::Output::Scalar(t, x), .. }) => {
                let samples = vec![Sample { t, value: SampleValue::Float(x) }];
                vec![RawSeries::new(Labels::default(), samples)]
            }
            Ok(_) => Vec::new(),
            Err(error) => {
                if let Some(limit) = QueryError::from(error).limit() {
                    QueryLimited { limit }.emit(&self.views.metrics);
                }
                Vec::new()
            }
        }
    }
}
