//! The life of the extension, as the environment leads it: init, invocations, shutdown.

use std::sync::Arc;
use std::time::Duration;

use super::forward::forward;
use super::local::{self, Local};
use super::runtime_api::{ApiError, Event, RuntimeApi};
use super::settings::{Place, SHUTDOWN_MAX, Settings};
use super::shared::Shared;
use super::spill::Spill;
use crate::clock::Clock;
use crate::signal::Timestamp;

/// Left of every deadline: answering late is answering never.
const MARGIN: Duration = Duration::from_millis(150);
/// How often `next` is asked again where Lambda does not answer.
const N_TRIES: u32 = 5;
const TRY_PAUSE: Duration = Duration::from_millis(100);

/// Why the extension could not go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error("cannot listen on {address}: {source}")]
    Listen { address: std::net::SocketAddr, source: std::io::Error },
}

/// Leads the whole life; returns after SHUTDOWN.
pub async fn run(settings: Settings, clock: Clock) -> Result<(), Error> {
    let (api, function) = RuntimeApi::register(&settings.place).await?;
    let spill = Spill::new(settings.spill_bytes_max, api.identifier());
    let shared = Shared::new(spill, clock);
    let address = settings.listen.telemetry;
    let telemetry = local::telemetry(settings.listen, &shared)
        .await
        .map_err(|source| Error::Listen { address, source })?;
    let otlp = local::otlp(settings.listen, &shared).await;
    let is_subscribed = subscribe(&api, &settings, &telemetry).await;
    let pace = Pace {
        is_subscribed,
        flush_max: settings.flush_max,
        // What the platform still gathers at the end is posted within its own timeout.
        quiet: settings.subscription.timeout + Duration::from_millis(100),
    };
    let name = function.function_name.clone();
    let sending = tokio::spawn(forward(settings.destination, name, Arc::clone(&shared)));
    let over = live(&api, &shared, &pace).await;
    sending.abort();
    drop((telemetry, otlp));
    over.map_err(Error::from)
}

/// Keeps an environment's life going without doing anything, where the settings cannot be used:
/// an extension that is missing fails the function.
pub async fn idle(
    executable: &str,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<(), Error> {
    let (api, _) = RuntimeApi::register(&Place::of(executable, variable)).await?;
    while !matches!(next(&api).await?, Event::Shutdown { .. }) {}
    Ok(())
}

struct Pace {
    is_subscribed: bool,
    flush_max: Duration,
    quiet: Duration,
}

/// Subscribes by the first schema that the environment takes.
async fn subscribe(api: &RuntimeApi, settings: &Settings, telemetry: &Local) -> bool {
    let wanted = &settings.subscription;
    for schema in &wanted.schemas {
        match api.subscribe(wanted, schema, telemetry.address.port()).await {
            Ok(()) => return true,
            Err(error) => tracing::error!(
                event = "extension.subscription.refused", schema, %error,
                "without telemetry only OTLP is forwarded"
            ),
        }
    }
    false
}

async fn live(api: &RuntimeApi, shared: &Shared, pace: &Pace) -> Result<(), ApiError> {
    loop {
        match next(api).await? {
            Event::Invoke { request_id, deadline } => {
                if pace.is_subscribed {
                    shared.ended(&request_id, left(shared, deadline)).await;
                }
                // Between the answer and `next` the environment runs on our account.
                shared.flush(pace.flush_max.min(left(shared, deadline))).await;
            }
            Event::Shutdown { reason, deadline } => {
                shut_down(shared, pace, deadline).await;
                let lost = shared.spill().left();
                if lost.records > 0 {
                    tracing::error!(
                        event = "extension.signals.dropped",
                        reason,
                        records = lost.records,
                        bytes = lost.bytes,
                        "the environment ended before the destination took them"
                    );
                }
                return Ok(());
            }
            Event::Other => {}
        }
    }
}

/// Waits for the last telemetry and sends all that waits, within what SHUTDOWN leaves.
async fn shut_down(shared: &Shared, pace: &Pace, deadline: Timestamp) {
    let last = async {
        // Both at once: the sender works while the platform posts its last batches.
        tokio::join!(shared.quiet(pace.quiet), shared.drain());
        // What came while the last batch was on its way.
        shared.drain().await;
    };
    let max = left(shared, deadline).min(SHUTDOWN_MAX.saturating_sub(MARGIN));
    let _ = tokio::time::timeout(max, last).await;
}

fn left(shared: &Shared, deadline: Timestamp) -> Duration {
    deadline.since(shared.clock().now()).saturating_sub(MARGIN)
}

/// Asks for the next event; a connection that broke is no reason to end the environment.
async fn next(api: &RuntimeApi) -> Result<Event, ApiError> {
    let mut tries = 0;
    loop {
        match api.next().await {
            Err(error) if tries < N_TRIES && !matches!(error, ApiError::Refused { .. }) => {
                tracing::warn!(event = "extension.event.failed", %error);
                tries += 1;
                tokio::time::sleep(TRY_PAUSE).await;
            }
            answered => return answered,
        }
    }
}
