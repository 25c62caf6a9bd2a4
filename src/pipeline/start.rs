//! Start, drain and stop, in one place.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::deliver;
use super::doors::Doors;
use super::folder::{lock_data_dir, ours_alone};
use super::forwarding::Forwarding;
use super::recover::{self, Recovered, Told};
use super::reload::Reload;
use super::skipped::Skipped;
use super::state::{Entry, State};
use super::terms::Terms;
use super::threads::{EngineThread, EvaluatorThread, Item, Load, Log};
use super::ticker::{self, Counted};
use super::troubles::{Kind, Trouble, Troubles};
use crate::clock::Clock;
use crate::config::{Config, Listen};
use crate::correlate::room_for;
use crate::evaluate::Evaluator;
use crate::forward::alertmanagers;
use crate::internal_telemetry::Metrics;
use crate::internal_telemetry::happening::{BatchAccepted, BatchRefused, JournalFailed};
use crate::journal::{Committed, Refused};
use crate::listen::{BindError, Listening, descriptors};
use crate::receive::room::{Claim, Promise};
use crate::receive::{self, Delivery, Receivers, Refusal, Way};
use crate::serve::commands::{Commands, Written};
use crate::serve::{self, Views};
use crate::signal::{Batch, Diagnostic};

/// Deliveries that wait for the journal; more wait in their connections.
const DELIVERIES_MAX: usize = 256;
/// Records on disk that wait for the engine; more make the journal wait, and senders with it.
const RECORDS_MAX: usize = 1024;
/// How long open connections may take to end at a stop.
const DRAIN: Duration = Duration::from_secs(5);
/// Lists of due messages that wait for the sender; it takes them at once.
const DUE_MAX: usize = 64;
/// How often, and after what pause, a busy engine is asked before a delivery is refused.
const ASKS_MAX: usize = 4;
const ASK_PAUSE: Duration = Duration::from_millis(1);
/// How soon a failed disk is noticed when nothing else happens.
const POISON_POLL: Duration = Duration::from_millis(200);

/// What a pipeline is made of.
#[derive(Debug)]
pub struct Settings {
    pub config: Config,
    pub clock: Clock,
    /// Where the configuration came from, for reloads; None: it cannot be read again.
    pub source: Option<(Option<PathBuf>, Vec<String>)>,
}

/// Why a pipeline stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    Drained,
    DiskFailed,
}

impl Settings {
    pub fn new(config: Config, clock: Clock) -> Self {
        Self { config, clock, source: None }
    }

    /// The rules and objectives, or everything that is wrong with their files.
    pub fn evaluator(&self) -> Result<Evaluator, Vec<Diagnostic>> {
        Evaluator::try_new(Terms::of(&self.config).evaluate())
    }
}

/// A running daemon.
#[derive(Debug)]
pub struct Pipeline {
    addresses: Listen,
    scheme: &'static str,
    log: Log,
    receivers: Receivers,
    tasks: Tasks,
    threads: Vec<JoinHandle<()>>,
    reload: Reload,
    troubles: Troubles,
    /// Heard from the start on: one that comes while the log is replayed ends nothing.
    hangups: Option<Signal>,
    /// The data directory is ours as long as this file is open.
    lock: File,
}

/// What runs on the runtime, and how it is told to stop.
#[derive(Debug)]
struct Tasks {
    stop: watch::Sender<bool>,
    web: Listening,
    ticker: tokio::task::JoinHandle<()>,
    /// The certificate's watch, and what asks others.
    at_doors: [tokio::task::JoinHandle<()>; 2],
    forwarder: tokio::task::JoinHandle<()>,
    forwarding: tokio::task::JoinHandle<()>,
    sender: tokio::task::JoinHandle<()>,
    /// One for each real Alertmanager.
    lanes: JoinSet<()>,
}

/// A route that leads to what we do not deliver to would never send.
pub(super) fn deliverable(config: &Config) -> Result<(), Vec<Diagnostic>> {
    let errors = config.notify.undeliverable();
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// Says what is wrong before anything is touched, and what is suspicious.
fn check(settings: &Settings) -> Result<(), Vec<Diagnostic>> {
    deliverable(&settings.config)?;
    for warning in &settings.config.warnings {
        tracing::warn!(event = "config.file.found", "{warning}");
    }
    for warning in settings.evaluator()?.warnings() {
        tracing::warn!(event = "evaluate.objective.found", "{warning}");
    }
    Ok(())
}

fn shown(errors: &[Diagnostic]) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

impl Pipeline {
    /// Binds, recovers, starts. Errors are for people: what failed and what to do.
    pub async fn start(settings: Settings) -> Result<Self, Vec<String>> {
        let hangups = signal(SignalKind::hangup()).ok();
        check(&settings).map_err(|errors| shown(&errors))?;
        let Settings { config, clock, source } = settings;
        let one = |error: &dyn std::fmt::Display| vec![format!("throughline: {error}")];
        let metrics = Arc::new(Metrics::try_new().map_err(|error| one(&error))?);
        let lock = claim(&config)?;
        let troubles = Troubles::new(Arc::clone(&metrics));
        let (archive, lost) =
            recover::archive(&config.data_dir, &config.archive).map_err(|error| one(&error))?;
        let state = recover::state(&config, archive);
        let normalize = Arc::new(ArcSwap::from_pointee(config.normalize.clone()));
        let descriptors = descriptors::raise();
        let doors = Doors::new(&config, descriptors);
        let reload = Reload::new(source, &config, &state, &normalize, &doors);
        let written = Arc::clone(&reload.log);
        let (stop, stopping) = watch::channel(false);
        let seen = Seen {
            metrics: Arc::clone(&metrics),
            clock: clock.clone(),
            troubles: troubles.clone(),
            reload: reload.clone(),
        };
        let pushing = pushing(&config, &state, &seen);
        let router = serve::router(views(&config, &state, seen));
        let web = Listening::start(config.listen.web, router, doors.door()).await;
        let web = web.map_err(|error| one(&error))?;
        let admitting = state.clone();
        let odd = oddities(descriptors, &config.data_dir);
        lost.iter().chain(&odd).for_each(|one| troubles.add(one, clock.now()));
        let forwarding = Forwarding::of(&state, &clock, &metrics, &stopping);
        let core = Core { config: &config, clock: &clock, state, metrics: &metrics };
        let Running { log, threads, sender } =
            core.start(&troubles, config.link(web.address())).await.map_err(|error| one(&error))?;
        drop(written.set(log.clone()));
        let lanes = lanes(&config, &pushing, &stopping);
        let forwarding = forwarding.start(&config);

        let (accepted, deliveries) = mpsc::channel(DELIVERIES_MAX);
        let (access, room) = (Arc::clone(&doors.receive), Arc::clone(&admitting.room));
        let counted = Counted::new(doors.door().met, &metrics);
        let errors = Arc::clone(&counted.errors);
        let shared =
            receive::Shared { normalize, access, clock: clock.clone(), accepted, room, errors };
        let receivers = Receivers::bind(doors.receivers(config.listen), shared.clone());
        let receivers = receivers.await.map_err(|error| one(&error))?;
        let forwarder =
            tokio::spawn(forward(deliveries, log.clone(), admitting, Arc::clone(&metrics)));
        let at_doors = doors.attend(shared, troubles.clone(), stopping.clone());
        let ticker =
            tokio::spawn(ticker::run(log.clone(), clock, troubles.clone(), counted, stopping));
        troubles.watch(log.clone());
        metrics.ready.set(1);
        Ok(Self {
            addresses: Listen {
                otlp_grpc: receivers.otlp_grpc(),
                ingest: receivers.ingest(),
                web: web.address(),
            },
            log,
            receivers,
            tasks: Tasks { stop, web, ticker, at_doors, forwarder, forwarding, sender, lanes },
            scheme: config.scheme(),
            threads,
            reload,
            troubles,
            hangups,
            lock,
        })
    }

    /// `http` or `https`: of every listener.
    pub fn scheme(&self) -> &'static str {
        self.scheme
    }

    pub fn addresses(&self) -> Listen {
        self.addresses
    }

    /// Runs until SIGTERM, SIGINT or a failed disk; SIGHUP reads the configuration again. Then drains:
    /// no new work, what is accepted is applied, connections end.
    pub async fn run_until_signal(mut self) -> Stopped {
        let mut terminations = signal(SignalKind::terminate()).ok();
        let mut poll = tokio::time::interval(POISON_POLL);
        loop {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => break,
                Some(()) = next(&mut terminations) => break,
                Some(()) = next(&mut self.hangups) => {
                    let reload = self.reload.clone();
                    // What is wrong with it has been said.
                    drop(tokio::task::spawn_blocking(move || reload.run()).await);
                }
                _ = poll.tick() => if self.log.is_poisoned() { break },
            }
        }
        tracing::info!(
            event = "pipeline.drain.started",
            "no new work is taken; what was accepted is finished"
        );
        self.stop().await
    }

    /// Drains and stops.
    pub async fn stop(self) -> Stopped {
        let Self { log, receivers, mut tasks, threads, troubles, lock, .. } = self;
        let poisoned = log.is_poisoned();
        troubles.stopping();
        receivers.drain(DRAIN).await;
        // The forwarder ends with the last receiver and collector, the others when told.
        let _ = tasks.stop.send(true);
        // A push on its way may be cut: it comes again after the next start and changes nothing twice.
        tasks.lanes.shutdown().await;
        tasks.web.drain(DRAIN).await;
        let [watching, collecting] = tasks.at_doors;
        for task in [collecting, tasks.forwarder, tasks.forwarding, tasks.ticker, watching] {
            if let Err(error) = task.await {
                tracing::error!(event = "pipeline.task.failed", %error);
            }
        }
        let closed = tokio::task::spawn_blocking(move || {
            log.close();
            threads.into_iter().filter_map(|thread| thread.join().err()).count()
        });
        if closed.await.is_ok_and(|panicked| panicked > 0) {
            tracing::error!(event = "pipeline.thread.failed");
        }
        if tokio::time::timeout(DRAIN, tasks.sender).await.is_err() {
            tracing::warn!(
                event = "notify.sender.stopped",
                "messages without a receipt go out after the next start"
            );
        }
        // Only now may another daemon have the folder.
        drop(lock);
        if poisoned {
            JournalFailed.emit();
            return Stopped::DiskFailed;
        }
        tracing::info!(event = "pipeline.drain.stopped", "all that was accepted is on disk");
        Stopped::Drained
    }
}

/// The data directory as ours alone. Where it is another's, the addresses mostly are too: all of it is said
/// at once.
fn claim(config: &Config) -> Result<File, Vec<String>> {
    let Listen { otlp_grpc, ingest, web } = config.listen;
    let named = [("otlp_grpc", otlp_grpc), ("ingest", ingest), ("web", web)];
    let taken = named.into_iter().filter_map(|(key, address)| {
        let error = BindError::of(address)?;
        Some(format!("throughline: {error}; `listen.{key}` sets another address"))
    });
    let mut errors: Vec<String> = taken.collect();
    match lock_data_dir(&config.data_dir) {
        Ok(lock) if errors.is_empty() => return Ok(lock),
        Ok(_) => {}
        Err(error) => errors.insert(0, format!("throughline: {error}")),
    }
    Err(errors)
}

/// What a start goes on from and somebody should know.
fn oddities(descriptors: u64, dir: &Path) -> Vec<Trouble> {
    few(descriptors).into_iter().chain(ours_alone(dir)).collect()
}

/// Of descriptors, where connections are bounded by them.
pub(super) fn few(descriptors: u64) -> Option<Trouble> {
    let message = descriptors::warning(descriptors)?;
    Some(Trouble { kind: Kind::FewDescriptors, message })
}

async fn next(signals: &mut Option<Signal>) -> Option<()> {
    match signals {
        Some(signals) => signals.recv().await,
        None => std::future::pending().await,
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run)
}

/// What comes up before anything is taken in.
struct Core<'a> {
    config: &'a Config,
    clock: &'a Clock,
    state: State,
    metrics: &'a Arc<Metrics>,
}

/// A core that is up.
struct Running {
    log: Log,
    threads: Vec<JoinHandle<()>>,
    sender: tokio::task::JoinHandle<()>,
}

impl Core<'_> {
    /// Recovers, starts the threads behind the journal, brings the configuration into force.
    async fn start(self, troubles: &Troubles, external_url: String) -> Result<Running, String> {
        let Self { config, clock, state, metrics } = self;
        let (records, received_records) = std::sync::mpsc::sync_channel(RECORDS_MAX);
        let told = Told { records, progress: troubles.progress.clone() };
        let Recovered { log, replayed, troubles: found, skipped } =
            recover::recover(config, clock, &state, told).await?;
        replayed.emit(metrics);
        found.iter().for_each(|trouble| troubles.add(trouble, clock.now()));
        let workers = Workers {
            state: state.clone(),
            log: log.clone(),
            clock: clock.clone(),
            metrics: Arc::clone(metrics),
            troubles: troubles.clone(),
            skipped,
        };
        let (threads, sender) =
            workers.start(received_records, external_url).map_err(|error| error.to_string())?;
        let (terms, log_of_terms) = (Terms::of(config), log.clone());
        tokio::task::spawn_blocking(move || bring_into_force(&state, &terms, &log_of_terms))
            .await
            .unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()))?;
        Ok(Running { log, threads, sender })
    }
}

/// Records the configuration where it differs from what was in force when the log ended.
fn bring_into_force(state: &State, terms: &Terms, log: &Log) -> Result<(), String> {
    if state.is_under(terms) {
        return Ok(());
    }
    let entry = terms.entry().map_err(|error| error.to_string())?;
    log.write_and_wait(entry).map_err(|refused| refused.to_string())
}

/// What the threads behind the journal work with.
struct Workers {
    state: State,
    log: Log,
    clock: Clock,
    metrics: Arc<Metrics>,
    troubles: Troubles,
    skipped: Skipped,
}

impl Workers {
    /// Starts the engine, the evaluator and the sender.
    fn start(
        self,
        records: std::sync::mpsc::Receiver<Committed<Item>>,
        external_url: String,
    ) -> std::io::Result<(Vec<JoinHandle<()>>, tokio::task::JoinHandle<()>)> {
        let Self { state, log, clock, metrics, troubles, skipped } = self;
        let (due, due_messages) = mpsc::channel(DUE_MAX);
        let (ticks, received_ticks) = std::sync::mpsc::sync_channel(1);
        let engine = EngineThread {
            state: state.clone(),
            log: log.clone(),
            records,
            ticks,
            due,
            clock: clock.clone(),
            metrics: Arc::clone(&metrics),
            skipped,
        };
        let evaluator = EvaluatorThread {
            state,
            ticks: received_ticks,
            log: log.clone(),
            metrics: Arc::clone(&metrics),
            external_url,
        };
        let threads = vec![
            spawn("engine", move || engine.run())?,
            spawn("evaluator", move || evaluator.run())?,
        ];
        Ok((threads, tokio::spawn(deliver::run(due_messages, log, clock, metrics, troubles))))
    }
}

/// What pages and APIs see beside the state.
struct Seen {
    metrics: Arc<Metrics>,
    clock: Clock,
    troubles: Troubles,
    reload: Reload,
}

/// The way of commands into the journal.
fn commands(log: Arc<OnceLock<Log>>) -> Commands {
    Commands::new(Arc::new(move |command, turn| {
        let log = log.get().cloned();
        let written: Written = Box::pin(async move {
            let log = log.ok_or("the journal is still replayed; try again later")?;
            let write = move || {
                // Until it is applied, whether anybody still waits for it or not.
                let _turn = turn;
                log.write_and_wait(Entry::Command(command))
            };
            let written = tokio::task::spawn_blocking(write).await;
            written
                .ok()
                .and_then(Result::ok)
                .ok_or_else(|| "the journal takes nothing now".to_owned())
        });
        written
    }))
}

fn views(config: &Config, state: &State, seen: Seen) -> Views {
    let (access, setup) = {
        let doors = &seen.reload.doors;
        (Arc::clone(&doors.serve), Arc::clone(&doors.setup))
    };
    let commands = commands(Arc::clone(&seen.reload.log));
    Views {
        engine: Arc::clone(&state.engine),
        series: Arc::clone(&state.series),
        evaluator: Arc::clone(&state.evaluator),
        dispatcher: Arc::clone(&state.dispatcher),
        archive: Arc::clone(&state.archive),
        gaps: Arc::clone(&state.gaps),
        metrics: seen.metrics,
        clock: seen.clock.clone(),
        findings: {
            let troubles = seen.troubles.clone();
            Arc::new(move || troubles.findings().iter().map(|told| json!(told)).collect())
        },
        starting: {
            let troubles = seen.troubles.clone();
            Arc::new(move || troubles.start())
        },
        unready: Arc::new(move || seen.troubles.reasons()),
        access,
        setup,
        reload: Arc::new(move || seen.reload.run()),
        commands,
        started_at: seen.clock.now(),
        queries: serve::Queries::new(config.query),
        exported: serve::metrics::Exported(Arc::clone(&state.exported)),
    }
}

/// What pushing alerts on takes.
fn pushing(config: &Config, state: &State, seen: &Seen) -> alertmanagers::Shared {
    alertmanagers::Shared {
        dispatcher: Arc::clone(&state.dispatcher),
        clock: seen.clock.clone(),
        metrics: Arc::clone(&seen.metrics),
        external_url: Terms::of(config).external_url.into(),
    }
}

/// Pushes alerts on to each real Alertmanager that the configuration names; none before the state is whole.
fn lanes(
    config: &Config,
    shared: &alertmanagers::Shared,
    stopping: &watch::Receiver<bool>,
) -> JoinSet<()> {
    let mut lanes = JoinSet::new();
    for peer in &config.alertmanagers {
        lanes.spawn(alertmanagers::run(peer.clone(), shared.clone(), stopping.clone()));
    }
    lanes
}

/// Puts accepted batches into the journal and answers when they are on disk. While open requests alone
/// fill the engine's memory only those are taken that go on with what is open.
async fn forward(
    mut deliveries: mpsc::Receiver<Delivery>,
    log: Log,
    state: State,
    metrics: Arc<Metrics>,
) {
    let mut answers = JoinSet::new();
    while let Some(Delivery { batch, weight, way, answer }) = deliveries.recv().await {
        let (receiver, log, metrics) = (batch.receiver, log.clone(), Arc::clone(&metrics));
        let state = state.clone();
        answers.spawn(async move {
            let bytes = room_for(&batch);
            let is_oversized = way == Way::Pushed && !state.room.could_hold(bytes);
            // What could never begin anew may still go on with what is held.
            let begun = if is_oversized { None } else { state.room.promise(bytes, Claim::New) };
            let promise = match begun {
                Some(promise) => Some(promise),
                None => first(&state, &batch, bytes).await,
            };
            if promise.is_none() && is_oversized {
                let _ = answer.send(Err(Refusal::Oversized));
                return;
            }
            let Some(promise) = promise else {
                BatchRefused { cause: "memory" }.emit(&metrics);
                let _ = answer.send(Err(Refusal::Memory));
                return;
            };
            let outcome = log.write_batch(batch, Load::new(weight, promise)).await;
            match &outcome {
                Ok(payload_bytes) => {
                    BatchAccepted { receiver, payload_bytes: *payload_bytes }.emit(&metrics);
                }
                Err(refused) => BatchRefused { cause: cause(*refused) }.emit(&metrics),
            }
            // The client may have gone; the batch is on disk all the same.
            let _ = answer.send(outcome.map(drop).map_err(refusal));
        });
        while answers.try_join_next().is_some() {}
    }
    while answers.join_next().await.is_some() {}
}

/// Room for a batch that goes on with what is held. A refusal does not wait for a long tick.
async fn first(state: &State, batch: &Batch, bytes: u64) -> Option<Promise> {
    for _ in 0..ASKS_MAX {
        match state.goes_first(batch) {
            Some(true) => return state.room.promise(bytes, Claim::OfHeld),
            Some(false) => break,
            None => tokio::time::sleep(ASK_PAUSE).await,
        }
    }
    None
}

/// The label of `throughline_self_receive_refusals_total`.
const fn cause(refused: Refused) -> &'static str {
    match refused {
        Refused::Full => "behind",
        Refused::DiskFull => "disk_full",
        Refused::Poisoned => "disk_failed",
    }
}

const fn refusal(refused: Refused) -> Refusal {
    match refused {
        Refused::Full => Refusal::Behind,
        Refused::DiskFull => Refusal::DiskFull,
        Refused::Poisoned => Refusal::Poisoned,
    }
}
