//! What to simulate: how much traffic, which faults when, in which words functions speak, and how
//! payloads travel.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::plan::Function;
use crate::signal::Timestamp;

/// Most requests of one workload; its truth is held in memory until it is taken.
pub const REQUESTS_MAX: u64 = 10_000_000;
/// Fastest traffic, in requests a second.
pub const RATE_MAX: f64 = 100_000.0;
/// Branches of an order that fans out, unless the workload says otherwise.
pub const BRANCHES: u32 = 100;
/// Most branches of one order: `fulfil` must be done with all of them before its timeout.
pub const BRANCHES_MAX: u32 = 20_000;
/// Most deliveries of one payload.
pub const REPEAT_MAX: u32 = 100;

/// A workload. The same value gives the same payloads and the same truth, byte by byte.
#[derive(Clone, Debug, PartialEq)]
pub struct SimulationConfig {
    pub seed: u64,
    /// When the first request may come.
    pub start: Timestamp,
    pub load: Load,
    pub faults: Vec<FaultWindow>,
    pub style: StyleChoice,
    pub delivery: Delivery,
    /// Branches of an order that fans out; at most [`BRANCHES_MAX`].
    pub branches: u32,
}

impl SimulationConfig {
    /// A clean workload of `requests` requests at ten a second, told in mixed styles, without delay.
    pub fn new(seed: u64, start: Timestamp, requests: u64) -> Self {
        Self {
            seed,
            start,
            load: Load { per_second: 10.0, requests: Some(requests), duration: None },
            faults: Vec::new(),
            style: StyleChoice::Mixed,
            delivery: Delivery::default(),
            branches: BRANCHES,
        }
    }
}

/// How many requests come: until either bound is met. With neither, [`REQUESTS_MAX`] come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// Mean rate; kept between 0.001 and [`RATE_MAX`].
    pub per_second: f64,
    pub requests: Option<u64>,
    pub duration: Option<Duration>,
}

impl Load {
    /// Mean time between two requests.
    pub(super) fn interval(&self) -> Duration {
        Duration::from_secs(1).div_f64(self.per_second.clamp(0.001, RATE_MAX))
    }
}

/// How payloads travel. It changes when and how often they arrive, never what they say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// Each payload arrives up to this much later than it was sent.
    pub delay_max: Duration,
    pub shuffle: Shuffle,
    /// Deliveries of each payload beyond the first; at most [`REPEAT_MAX`].
    pub repeats: u32,
}

/// Whether payloads overtake each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shuffle {
    #[default]
    InOrder,
    /// Each payload arrives at any time within five minutes of when it was sent.
    Shuffled,
}

/// What goes wrong. Without a fault, nothing does: no error, retry, throttle, loss or repeat. What befalls a
/// message is judged by when it was sent: short workloads are over before the first of them is taken up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// `payment` is refused most invocations: `checkout` sees TooManyRequestsException.
    ThrottleBurst,
    /// Some orders fail whenever they are taken up, and end in the dead-letter queue.
    PoisonMessage,
    /// Instances are recycled: most invocations begin with an init, a slow one.
    ColdStartStorm,
    /// Some messages to `orders` vanish after they were accepted.
    LostMessage,
    /// `payment` hangs until its timeout.
    Timeouts,
    /// Consumers fail most first attempts, and are retried.
    RetryStorm,
    /// The bank behind `payment` answers many times slower.
    SlowDependency,
    /// `fulfil` is slow and runs alone: messages wait in `orders`.
    QueueBacklog,
    /// Some messages are delivered again after they were processed.
    DuplicateDelivery,
    /// Some orders fan out: `fulfil` tells the bus of each of their items ([`SimulationConfig::branches`]).
    WideFanOut,
    /// `analytics` tells the bus of each batch: one event that belongs to all requests of it.
    FanIn,
    /// What fell into the dead-letter queue is put back into `orders`, under new message ids. Without
    /// [`Fault::PoisonMessage`] some messages are poisonous for it.
    Redrive,
    /// Some orders wait for a person: a step of a workflow now, the next one two hours later.
    HumanStep,
    /// `checkout` also writes to a queue that somebody else reads.
    ForeignConsumer,
    /// Some orders are put into `orders` by somebody else, of whose telemetry we see nothing: a request
    /// begins when `fulfil` takes one up. Some fail once, some always.
    ForeignProducer,
    /// An importer places all orders under one trace of its own, of which no span is ever seen. What
    /// joins twenty entries or fewer is believed, so give it a hundred requests.
    SharedTrace,
    /// Clocks of what runs behind the entries are up to three seconds off.
    ClockSkew,
    /// Reports of the platform come up to ten minutes late.
    LateReports,
    /// Some reports of the platform never come.
    LostReports,
    /// The platform tells of nothing but timeouts (a system log level of WARN).
    FilteredReports,
}

impl Fault {
    pub const ALL: [Self; 20] = [
        Self::ThrottleBurst,
        Self::PoisonMessage,
        Self::ColdStartStorm,
        Self::LostMessage,
        Self::Timeouts,
        Self::RetryStorm,
        Self::SlowDependency,
        Self::QueueBacklog,
        Self::DuplicateDelivery,
        Self::WideFanOut,
        Self::FanIn,
        Self::Redrive,
        Self::HumanStep,
        Self::ForeignConsumer,
        Self::ForeignProducer,
        Self::SharedTrace,
        Self::ClockSkew,
        Self::LateReports,
        Self::LostReports,
        Self::FilteredReports,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ThrottleBurst => "throttle-burst",
            Self::PoisonMessage => "poison-message",
            Self::ColdStartStorm => "cold-start-storm",
            Self::LostMessage => "lost-message",
            Self::Timeouts => "timeouts",
            Self::RetryStorm => "retry-storm",
            Self::SlowDependency => "slow-dependency",
            Self::QueueBacklog => "queue-backlog",
            Self::DuplicateDelivery => "duplicate-delivery",
            Self::WideFanOut => "wide-fan-out",
            Self::FanIn => "fan-in",
            Self::Redrive => "redrive",
            Self::HumanStep => "human-step",
            Self::ForeignConsumer => "foreign-consumer",
            Self::ForeignProducer => "foreign-producer",
            Self::SharedTrace => "shared-trace",
            Self::ClockSkew => "clock-skew",
            Self::LateReports => "late-reports",
            Self::LostReports => "lost-reports",
            Self::FilteredReports => "filtered-reports",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that is none of a closed list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no {what} is called `{name}`; there are: {known}")]
pub struct UnknownName {
    what: &'static str,
    name: String,
    known: String,
}

impl FromStr for Fault {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        let known = || Self::ALL.map(Self::as_str).join(", ");
        let found = Self::ALL.into_iter().find(|fault| fault.as_str() == name);
        found.ok_or_else(|| UnknownName { what: "fault", name: name.to_owned(), known: known() })
    }
}

/// A fault, from one time until before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultWindow {
    pub fault: Fault,
    pub from: Timestamp,
    pub to: Timestamp,
}

/// Fault windows, prepared for look-ups.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults(BTreeMap<Fault, Vec<FaultWindow>>);

impl Faults {
    /// Windows of one fault that overlap become one.
    pub(super) fn new(windows: &[FaultWindow]) -> Self {
        let mut sorted = windows.to_vec();
        sorted.sort_by_key(|window| (window.from, window.to));
        let mut by_fault: BTreeMap<Fault, Vec<FaultWindow>> = BTreeMap::new();
        for window in sorted {
            let windows = by_fault.entry(window.fault).or_default();
            match windows.last_mut() {
                Some(before) if window.from <= before.to => before.to = before.to.max(window.to),
                _ => windows.push(window),
            }
        }
        Self(by_fault)
    }

    pub(super) fn is_active(&self, fault: Fault, now: Timestamp) -> bool {
        self.0.get(&fault).is_some_and(|list| {
            let n_begun = list.partition_point(|window| window.from <= now);
            n_begun.checked_sub(1).and_then(|idx| list.get(idx)).is_some_and(|w| now < w.to)
        })
    }
}

/// In which words all functions speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StyleChoice {
    /// Each function in the style of its team, as real systems are.
    #[default]
    Mixed,
    All(Style),
}

impl StyleChoice {
    pub const ALL: [Self; 6] = [
        Self::Mixed,
        Self::All(Style::Otlp),
        Self::All(Style::OtlpLostContext),
        Self::All(Style::JsonLogs),
        Self::All(Style::TelemetryApi),
        Self::All(Style::CloudWatch),
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mixed => "mixed",
            Self::All(style) => style.as_str(),
        }
    }

    /// How one function speaks.
    pub(super) const fn of(self, function: Function) -> Voice {
        match self {
            Self::All(style) => style.voice(),
            Self::Mixed => match function {
                Function::Checkout | Function::Payment | Function::Catalog => Style::Otlp.voice(),
                Function::Fulfil => Voice { own: Own::Spans, platform: Platform::CloudWatch },
                Function::NotifyCustomer => {
                    Voice { own: Own::JsonLogs, platform: Platform::TelemetryApi }
                }
                Function::Loyalty | Function::DlqInspector => Style::CloudWatch.voice(),
                Function::Analytics => Style::OtlpLostContext.voice(),
                Function::Review => Style::TelemetryApi.voice(),
            },
        }
    }
}

impl FromStr for StyleChoice {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        let known = || Self::ALL.map(Self::as_str).join(", ");
        let found = Self::ALL.into_iter().find(|style| style.as_str() == name);
        found.ok_or_else(|| UnknownName { what: "style", name: name.to_owned(), known: known() })
    }
}

/// A way to instrument a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Style {
    /// Spans whose context passes through calls and messages (links), and Telemetry API batches.
    Otlp,
    /// Spans that each begin a trace of their own and name message and correlation ids.
    OtlpLostContext,
    /// Structured logs alone.
    JsonLogs,
    /// Telemetry API batches, with the function's JSON logs inside.
    TelemetryApi,
    /// CloudWatch Logs through Firehose: JSON logs between START and REPORT lines.
    CloudWatch,
}

impl Style {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Otlp => "otlp",
            Self::OtlpLostContext => "otlp-lost-context",
            Self::JsonLogs => "json-logs",
            Self::TelemetryApi => "telemetry-api",
            Self::CloudWatch => "cloudwatch",
        }
    }

    const fn voice(self) -> Voice {
        match self {
            Self::Otlp => Voice { own: Own::Spans, platform: Platform::TelemetryApi },
            Self::OtlpLostContext => {
                Voice { own: Own::SpansWithoutContext, platform: Platform::TelemetryApi }
            }
            Self::JsonLogs => Voice { own: Own::JsonLogs, platform: Platform::Silent },
            Self::TelemetryApi => {
                Voice { own: Own::TelemetryLogs, platform: Platform::TelemetryApi }
            }
            Self::CloudWatch => Voice { own: Own::CloudWatchLogs, platform: Platform::CloudWatch },
        }
    }
}

/// How one function is heard: by its own words, and by what the platform says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Voice {
    pub(super) own: Own,
    pub(super) platform: Platform,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Own {
    Spans,
    SpansWithoutContext,
    JsonLogs,
    TelemetryLogs,
    CloudWatchLogs,
}

impl Own {
    pub(super) const fn has_spans(self) -> bool {
        matches!(self, Self::Spans | Self::SpansWithoutContext)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Platform {
    TelemetryApi,
    CloudWatch,
    Silent,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_unknown_ones_name_the_known() {
        for fault in Fault::ALL {
            assert_eq!(fault.as_str().parse(), Ok(fault));
        }
        for style in StyleChoice::ALL {
            assert_eq!(style.as_str().parse(), Ok(style));
        }
        let error = "gremlins".parse::<Fault>().unwrap_err().to_string();
        assert!(error.contains("`gremlins`") && error.contains("poison-message"), "{error}");
    }

    #[test]
    fn a_fault_is_active_inside_its_windows_only() {
        let window = |from, to| FaultWindow {
            fault: Fault::Timeouts,
            from: Timestamp::from_nanos(from),
            to: Timestamp::from_nanos(to),
        };
        let faults = Faults::new(&[window(50, 60), window(10, 20), window(15, 30)]);
        let active: Vec<u64> = (0..70)
            .filter(|&t| faults.is_active(Fault::Timeouts, Timestamp::from_nanos(t)))
            .collect();
        assert_eq!(active, (10..30).chain(50..60).collect::<Vec<_>>());
        assert!(!faults.is_active(Fault::LostMessage, Timestamp::from_nanos(15)));
    }
}
