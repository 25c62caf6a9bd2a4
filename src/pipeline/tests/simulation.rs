//! The whole pipeline under everything that can go wrong at once, from one seed: clients, their network, the
//! disk, the clock and the notifiers are simulated, in one thread, with at least three crashes a run.
//!
//! Nobody shares code with the oracle: it knows which batches were issued, which were acknowledged and what a
//! notifier heard, and holds the books against that, after each crash and at the end.

mod held;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use self::held::{Alerts, alerts, held};
use super::super::evaluation::entries;
use super::super::recover::Return;
use super::super::state::{Entry, State, read};
use super::super::terms::Terms;
use crate::archive::Archive;
use crate::clock::Clock;
use crate::config::Config;
use crate::correlate::RequestFilter;
use crate::journal::tests::rig::Rig;
use crate::journal::tests::simulated_disk::{Dice, Fault, SimulatedDisk};
use crate::journal::{Back, Point, Refused, Taken};
use crate::normalize::{self, Origin, json_log};
use crate::notify::{self, Failure, Message, Receipt};
use crate::signal::{Batch, Receiver, Text, Timestamp};

/// 2026-11-25T10:00:00Z.
const START: u64 = 1_795_600_800;
const SECOND: u64 = 1_000_000_000;
/// Things that happen between two crashes.
const STEPS: usize = 60;
const CRASHES: usize = 3;
/// Runs of every build; `SIMULATED_RUNS` asks for more, from the seed `SIMULATED_SEED` on.
const RUNS: u64 = 40;

const RULES: &str = "\
groups:
- name: g
  rules:
  - {alert: Always, expr: vector(1), for: 2s}
  - {alert: Failing, expr: 'sum by (faas_name) (increase(throughline_invocations_total{outcome=\"error\"}[30s])) > 0'}
";

/// Who waits for a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Client(usize),
    Clock,
    Rules,
    Notifier,
}

/// A record on its way to the disk.
struct Waiting {
    entry: Entry,
    whose: Whose,
}

/// What dies in a crash.
struct Daemon {
    state: State,
    rig: Rig,
    queue: VecDeque<Waiting>,
    due: Vec<Message>,
    last: Point,
    ticked_at: u64,
    /// The rules found something that is not applied yet.
    is_evaluating: bool,
}

/// What was sent and what came back, as those outside know it.
#[derive(Default)]
struct Oracle {
    /// Signals of each batch.
    issued: Vec<u64>,
    acked: BTreeSet<usize>,
    /// Message ids, by what they tell.
    heard: BTreeMap<String, BTreeSet<Text>>,
    n_crashes: usize,
    n_snapshots: usize,
    /// Alerts that were there before and after a crash.
    n_alerts: usize,
}

struct World {
    dice: Dice,
    hand: Arc<AtomicU64>,
    disk: SimulatedDisk,
    folder: tempfile::TempDir,
    config: Config,
    daemon: Option<Daemon>,
    /// Deliveries on their way, by the number of the batch; one may be there twice.
    packets: Vec<usize>,
    oracle: Oracle,
    /// Alerts whose change was on its way to the disk when it failed.
    in_doubt: BTreeSet<String>,
    trace: Vec<String>,
}

fn config() -> Config {
    let mut config = Config::load(None, &[]).expect("defaults");
    config.rules.files = vec![("rules.yaml".to_owned(), RULES.to_owned())];
    config.notify = notify::Config::webhook("http://127.0.0.1:1/", Duration::from_secs(10));
    config.correlate.settle_after = Duration::from_secs(3);
    config
}

impl World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            dice: Dice::new(seed),
            hand: Arc::new(AtomicU64::new(START * SECOND)),
            disk: SimulatedDisk::default(),
            folder: tempfile::tempdir().unwrap(),
            config: config(),
            daemon: None,
            packets: Vec::new(),
            oracle: Oracle::default(),
            in_doubt: BTreeSet::new(),
            trace: Vec::new(),
        };
        world.start();
        world
    }

    fn now(&self) -> u64 {
        self.hand.load(Ordering::Relaxed)
    }

    fn note(&mut self, what: String) {
        self.trace.push(what);
    }

    /// One start: recovery, then the configuration in force. The power may go meanwhile.
    fn start(&mut self) {
        let dir = self.folder.path();
        let archive = Archive::open(&dir.join("archive"), self.config.archive.clone()).unwrap();
        let terms = Terms::of(&self.config);
        let state = State::new(&terms, self.config.notify.clone(), archive);
        let blocks = dir.join("series");
        let back = Return::of(&state, &blocks);
        let mut told = Back {
            restore: &mut |snapshot| back.restore(&snapshot),
            replay: &mut |replayed| {
                back.begin()?;
                state.replay(replayed)
            },
        };
        let rig = Rig::open(&self.disk, Clock::by_hand(Arc::clone(&self.hand)), &mut told);
        back.begin().unwrap();
        let rig = match rig {
            Ok(rig) => rig,
            Err(error) => {
                assert!(self.disk.platter().fault != Fault::None, "a start is refused: {error}");
                self.note(format!("no start: {error}"));
                return;
            }
        };
        let mut queue = VecDeque::new();
        if !state.is_under(&terms) {
            queue.push_back(Waiting { entry: terms.entry().unwrap(), whose: Whose::Rules });
        }
        let (last, ticked_at, is_evaluating) = (Point::default(), self.now(), false);
        let due = Vec::new();
        self.daemon = Some(Daemon { state, rig, queue, due, last, ticked_at, is_evaluating });
        self.check_the_books();
    }

    /// What was acknowledged is there, once, and nothing that nobody sent.
    fn check_the_books(&mut self) {
        let Some(daemon) = &self.daemon else { return };
        let engine = read(&daemon.state.engine);
        let counts = engine.ledger().receivers.get(&Receiver::Json).cloned().unwrap_or_default();
        drop(engine);
        let signals = |n: &usize| self.oracle.issued[*n];
        let acked: u64 = self.oracle.acked.iter().map(signals).sum();
        let issued: u64 = self.oracle.issued.iter().sum();
        let there = counts.applied + counts.late;
        assert!(counts.is_balanced(), "{counts:?}");
        assert!(there >= acked, "{} of {acked} acknowledged signals are lost", acked - there);
        assert!(there <= issued, "{there} of {issued} signals");
        self.note(format!("books {there} {}", counts.duplicate));
    }

    fn crash(&mut self, why: &str) {
        let Some(daemon) = self.daemon.take() else { return };
        let before = alerts(&daemon.state);
        drop(daemon);
        self.oracle.n_crashes += 1;
        self.note(format!("crash: {why}"));
        if self.disk.platter().fault != Fault::None || self.dice.roll(2) == 0 {
            let seed = u64::try_from(self.dice.roll(1 << 30)).unwrap();
            self.disk.platter().cut_power(seed);
        }
        // A second crash may come at any moment of the recovery.
        if self.dice.roll(3) == 0 {
            self.power_goes_soon(40);
        }
        while self.daemon.is_none() {
            self.start();
            if self.daemon.is_none() {
                let seed = u64::try_from(self.dice.roll(1 << 30)).unwrap();
                self.disk.platter().cut_power(seed);
            }
        }
        self.check_alerts(&before);
    }

    /// What was pending is pending, for as long, and what fired fires.
    fn check_alerts(&mut self, before: &Alerts) {
        let in_doubt = std::mem::take(&mut self.in_doubt);
        let Some(daemon) = &self.daemon else { return };
        let after = alerts(&daemon.state);
        for (labels, alert) in before.iter().filter(|(labels, _)| !in_doubt.contains(*labels)) {
            assert_eq!(after.get(labels), Some(alert), "a restart changed {labels}");
        }
        self.oracle.n_alerts += before.len();
    }

    fn power_goes_soon(&mut self, within: usize) {
        let soon = u64::try_from(self.dice.roll(within)).unwrap();
        let mut platter = self.disk.platter();
        platter.fault = Fault::PowerGoesAt(platter.operations + soon);
    }

    fn step(&mut self) {
        match self.dice.roll(100) {
            0..15 => self.issue(),
            15..40 => self.deliver(),
            40..60 => self.commit(),
            60..82 => self.time_passes(),
            82..90 => self.send(),
            90..93 => self.snapshot(),
            93..95 => self.trouble(),
            95 => self.clock_steps(),
            _ => self.client_repeats(),
        }
    }

    /// A batch of a few records, each of an invocation of its own.
    fn issue(&mut self) {
        let n = self.oracle.issued.len();
        let size = 1 + self.dice.roll(3);
        self.oracle.issued.push(u64::try_from(size).unwrap());
        self.packets.push(n);
        self.note(format!("issue {n} of {size}"));
    }

    /// The same bytes whenever it is sent.
    fn batch(&self, n: usize) -> Batch {
        let time = Timestamp::from_nanos((START + u64::try_from(n).unwrap()) * SECOND);
        let record = |i: u64| {
            let fails = (n + usize::try_from(i).unwrap()).is_multiple_of(7);
            let level = if fails { "ERROR" } else { "INFO" };
            format!(
                r#"{{"timestamp":"{time}","requestId":"r-{n}-{i}","function_name":"f","level":"{level}","message":"m"}}"#
            )
        };
        let body: Vec<String> = (0..self.oracle.issued[n]).map(record).collect();
        let origin = Origin { arrived: time, ..Origin::default() };
        let config = normalize::Config::default();
        let body = body.join("\n");
        let mut batch = json_log::normalize(body.as_bytes(), &origin, &config).unwrap().batch;
        batch.receiver = Receiver::Json;
        batch.declared_id = Some(u128::try_from(n).unwrap() + 1);
        batch
    }

    /// A packet arrives: in any order, sometimes twice, sometimes never.
    fn deliver(&mut self) {
        if self.packets.is_empty() {
            return;
        }
        let at = self.dice.roll(self.packets.len());
        let n = self.packets[at];
        let fate = self.dice.roll(10);
        if fate != 0 {
            self.packets.swap_remove(at);
        }
        let entry = Entry::Batch(Box::new(self.batch(n)));
        self.note(format!("packet {n}, fate {fate}"));
        if fate != 1
            && let Some(daemon) = &mut self.daemon
        {
            daemon.queue.push_back(Waiting { entry, whose: Whose::Client(n) });
        }
    }

    /// Who has no answer sends again.
    fn client_repeats(&mut self) {
        let n_issued = self.oracle.issued.len();
        if n_issued == 0 {
            return;
        }
        let n = self.dice.roll(n_issued);
        // Now and then a client repeats though it was answered.
        if !self.oracle.acked.contains(&n) || self.dice.roll(8) == 0 {
            self.packets.push(n);
            self.note(format!("again {n}"));
        }
    }

    /// What queued is one group, or a part of it is.
    fn commit(&mut self) {
        let Some(daemon) = &mut self.daemon else { return };
        if daemon.queue.is_empty() {
            return;
        }
        let size = 1 + self.dice.roll(daemon.queue.len());
        let group: Vec<Waiting> = daemon.queue.drain(..size).collect();
        let payloads = group.iter().map(|waiting| waiting.entry.encode().unwrap()).collect();
        let mut points = Vec::new();
        let outcome = daemon.rig.commit(payloads, &mut |point, _| points.push(point));
        self.note(format!("commit {size}: {outcome:?}"));
        match outcome {
            Ok(()) => {
                for (waiting, point) in group.into_iter().zip(points) {
                    self.apply(&waiting, point);
                }
            }
            Err(Refused::Poisoned) => {
                let changed = group.iter().flat_map(|waiting| match &waiting.entry {
                    Entry::Alerts { transitions, .. } => transitions.as_slice(),
                    _ => &[],
                });
                self.in_doubt = changed.map(|transition| transition.labels.to_string()).collect();
                self.crash("the disk failed");
            }
            Err(Refused::DiskFull | Refused::Full) => self.refused(group),
        }
    }

    /// Clients come again; what the daemon itself wanted to write it finds again, or waits with.
    fn refused(&mut self, group: Vec<Waiting>) {
        let Some(daemon) = &mut self.daemon else { return };
        for waiting in group.into_iter().rev() {
            if !matches!(waiting.whose, Whose::Client(_) | Whose::Clock) {
                daemon.queue.push_front(waiting);
            }
        }
    }

    fn apply(&mut self, waiting: &Waiting, point: Point) {
        let Some(daemon) = &mut self.daemon else { return };
        let due = daemon.state.apply(&waiting.entry, point.log_time);
        daemon.last = point;
        daemon.due.extend(due);
        match waiting.whose {
            Whose::Client(n) => {
                // The answer is lost now and then.
                if self.dice.roll(6) != 0 {
                    self.oracle.acked.insert(n);
                    self.note(format!("ack {n}"));
                }
            }
            Whose::Clock if !daemon.is_evaluating => {
                let found = daemon.state.evaluate(point.log_time, &|| Duration::ZERO);
                let found = entries(found);
                daemon.is_evaluating = !found.is_empty();
                let found = found.into_iter().map(|entry| Waiting { entry, whose: Whose::Rules });
                daemon.queue.extend(found);
            }
            Whose::Rules => daemon.is_evaluating = false,
            Whose::Clock | Whose::Notifier => {}
        }
    }

    fn time_passes(&mut self) {
        let passed = u64::try_from(self.dice.roll(1_200)).unwrap() * 1_000_000;
        self.hand.fetch_add(passed, Ordering::Relaxed);
        let now = self.now();
        if let Some(daemon) = &mut self.daemon
            && now.abs_diff(daemon.ticked_at) >= SECOND
        {
            daemon.ticked_at = now;
            daemon.queue.push_back(Waiting { entry: Entry::Tick, whose: Whose::Clock });
            self.note(format!("tick {now}"));
        }
    }

    fn clock_steps(&mut self) {
        let by = u64::try_from(self.dice.roll(3_600)).unwrap() * SECOND;
        let now = self.now();
        let now = if self.dice.roll(2) == 0 { now + by } else { now - by };
        self.hand.store(now, Ordering::Relaxed);
        self.note(format!("the clock is set to {now}"));
    }

    /// A message goes out: it arrives or not, and the answer arrives or not.
    fn send(&mut self) {
        let Some(daemon) = &mut self.daemon else { return };
        if daemon.due.is_empty() {
            return;
        }
        let message = daemon.due.swap_remove(self.dice.roll(daemon.due.len()));
        daemon.due.retain(|other| other.id != message.id);
        let (arrives, is_answered) = (self.dice.roll(4) != 0, self.dice.roll(4) != 0);
        let failure = (!(arrives && is_answered)).then(|| Failure {
            message: "no answer".into(),
            retryable: true,
            retry_after: None,
        });
        let at = Timestamp::from_nanos(self.hand.load(Ordering::Relaxed));
        let receipt = Receipt { id: Text::clone(&message.id), at, failure, handle: None };
        let entry = Entry::Receipt(receipt);
        daemon.queue.push_back(Waiting { entry, whose: Whose::Notifier });
        let notice = &message.notice;
        let tells = format!("{} {} {}", notice.group_key, notice.reason.as_str(), notice.at);
        self.note(format!("message {} {arrives} {is_answered}: {tells}", message.id));
        if arrives {
            self.oracle.heard.entry(tells).or_default().insert(message.id);
        }
    }

    fn snapshot(&mut self) {
        let Some(daemon) = &mut self.daemon else { return };
        if daemon.last == Point::default() {
            return;
        }
        let moment = daemon.state.moment(daemon.last).unwrap();
        let (archive, series) =
            (Arc::clone(&daemon.state.archive), Arc::clone(&daemon.state.series));
        let is_kept = daemon.rig.keep(Taken {
            point: daemon.last,
            make: Box::new(|packed| moment.pack(packed).map_err(std::io::Error::other)),
            before: Box::new(move || archive.persist().map_err(std::io::Error::other)),
            after: Box::new(move || super::super::state::write(&series).snapshot_kept()),
        });
        self.oracle.n_snapshots += usize::from(is_kept);
        self.note(format!("snapshot {is_kept}"));
    }

    fn trouble(&mut self) {
        let kind = self.dice.roll(3);
        self.note(format!("trouble {kind}"));
        let mut platter = self.disk.platter();
        let from = platter.operations;
        if platter.fault == Fault::None {
            platter.fault = match kind {
                0 => Fault::SyncFailsFrom(from),
                1 => Fault::NoSpaceFrom(from),
                _ => Fault::WriteFailsFrom(from),
            };
        }
    }

    /// No more faults: every client gets its answer, what is due arrives.
    fn calm_down(&mut self) {
        self.disk.platter().fault = Fault::None;
        for _ in 0..4_000 {
            let waits = (0..self.oracle.issued.len()).find(|n| !self.oracle.acked.contains(n));
            if let Some(n) = waits
                && self.packets.is_empty()
            {
                self.packets.push(n);
            }
            self.deliver();
            self.time_passes();
            self.commit();
            self.send();
            let is_quiet = self.daemon.as_ref().is_some_and(|daemon| daemon.queue.is_empty());
            if waits.is_none() && is_quiet && self.packets.is_empty() {
                return self.tick_on(3);
            }
        }
        panic!("clients wait for ever");
    }

    /// What came last is worked out by the ticks behind it.
    fn tick_on(&mut self, n: usize) {
        for _ in 0..n {
            self.hand.fetch_add(SECOND, Ordering::Relaxed);
            let Some(daemon) = &mut self.daemon else { return };
            daemon.queue.push_back(Waiting { entry: Entry::Tick, whose: Whose::Clock });
            while self.daemon.as_ref().is_some_and(|daemon| !daemon.queue.is_empty()) {
                self.commit();
            }
        }
    }

    /// Everything that was promised.
    fn check_the_end(&mut self) {
        self.check_the_books();
        let issued: u64 = self.oracle.issued.iter().sum();
        let daemon = self.daemon.take().unwrap();
        {
            let engine = read(&daemon.state.engine);
            let counts = engine.ledger().receivers.get(&Receiver::Json).cloned();
            let counts = counts.unwrap_or_default();
            assert_eq!(counts.applied + counts.late, issued, "each signal once: {counts:?}");
            let all = RequestFilter { limit: 100_000, ..RequestFilter::default() };
            let n_requests = u64::try_from(engine.requests(&all).len()).unwrap();
            assert_eq!(n_requests + counts.late, issued, "each invocation is one request");
        }
        for (tells, ids) in &self.oracle.heard {
            assert_eq!(ids.len(), 1, "{tells} was told under {ids:?}");
        }
        let is_first = |tells: &&String| tells.contains("Always") && tells.contains("first");
        let always = self.oracle.heard.keys().filter(is_first).count();
        assert!(always <= 1, "{:?}", self.oracle.heard);
        // What a restart makes of the disk is what was there.
        let (last, before) = (daemon.last, held(&daemon.state, daemon.last));
        drop(daemon);
        self.start();
        let after = held(&self.daemon.as_ref().unwrap().state, last);
        for (name, held) in &before {
            assert_eq!(Some(held), after.get(name), "{name} is not what it was");
        }
    }
}

/// What happened, step by step.
fn run(seed: u64) -> Vec<String> {
    let mut world = World::new(seed);
    for crash in 0..CRASHES {
        for _ in 0..STEPS {
            world.step();
        }
        if world.dice.roll(2) == 0 {
            world.power_goes_soon(12);
            for _ in 0..STEPS {
                world.step();
            }
        }
        world.crash(&format!("planned {crash}"));
    }
    world.calm_down();
    world.check_the_end();
    assert!(world.oracle.n_crashes >= CRASHES);
    assert!(!world.oracle.acked.is_empty(), "a vacuous run");
    let (crashes, snapshots) = (world.oracle.n_crashes, world.oracle.n_snapshots);
    let (acked, alerts) = (world.oracle.acked.len(), world.oracle.n_alerts);
    world.note(format!(
        "{crashes} crashes, {snapshots} snapshots, {acked} acknowledged, {alerts} alerts kept"
    ));
    world.trace
}

#[test]
fn whatever_fails_nothing_acknowledged_is_lost_or_counted_twice() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    // A seed alone is run again; with a number of runs it is the first of them.
    let (first, n) = match (number("SIMULATED_SEED"), number("SIMULATED_RUNS")) {
        (Some(seed), n) => (seed, n.unwrap_or(1)),
        (None, n) => (0, n.unwrap_or(RUNS)),
    };
    let (mut n_crashes, mut n_acked, mut n_snapshots, mut n_alerts) = (0, 0, 0, 0);
    for seed in first..first + n {
        let ran = std::panic::catch_unwind(|| run(seed));
        let trace = ran.unwrap_or_else(|panicked| {
            eprintln!("SIMULATED_SEED={seed} runs it again");
            std::panic::resume_unwind(panicked)
        });
        let end = trace.last().unwrap();
        let numbers: Vec<u64> =
            end.split(|c: char| !c.is_ascii_digit()).filter_map(|text| text.parse().ok()).collect();
        n_crashes += numbers[0];
        n_snapshots += numbers[1];
        n_acked += numbers[2];
        n_alerts += numbers[3];
    }
    println!(
        "{n} simulated runs, {n_crashes} crashes, {n_snapshots} snapshots, {n_acked} batches acknowledged, {n_alerts} alerts kept"
    );
    assert!(n == 1 || (n_snapshots > 0 && n_alerts > 0));
}

#[test]
fn one_seed_gives_one_trace() {
    for seed in [1, 2] {
        let (first, second) = (run(seed), run(seed));
        let differs = first.iter().zip(&second).position(|(a, b)| a != b);
        assert_eq!(differs.map(|at| (&first[at], &second[at])), None);
        assert_eq!(first.len(), second.len());
    }
    assert_ne!(run(1), run(2));
}
