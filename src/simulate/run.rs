//! One invocation as it happened: what the renderers tell, each in its own dialect.
//!
//! Flows make runs; renderers read them. A run is whole: it has ended, and everything it did is in it.

use std::fmt;
use std::time::Duration;

use super::plan::Function;
use crate::correlate::Outcome;
use crate::signal::{ErrorKind, SpanId, Text, Timestamp, TraceId, Via};

/// A place in a trace that calls and messages carry on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) trace: TraceId,
    pub(super) span: SpanId,
}

/// What went wrong, as runtimes tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) kind: &'static str,
    pub(super) message: String,
}

impl Failure {
    pub(super) fn new(kind: &'static str, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.message)
    }
}

/// How an invocation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Ok,
    Failed(Failure),
    /// The platform stopped it at its timeout.
    TimedOut,
}

impl Ending {
    pub(super) fn outcome(&self) -> Outcome {
        match self {
            Self::Ok => Outcome::Ok,
            Self::Failed(failure) if ErrorKind::of(failure.kind) == ErrorKind::Throttled => {
                Outcome::Throttled
            }
            Self::Failed(_) => Outcome::Error,
            Self::TimedOut => Outcome::Timeout,
        }
    }

    pub(super) fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Failed(failure) => Some(failure),
            Self::Ok | Self::TimedOut => None,
        }
    }
}

/// The HTTP side of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HttpEntry {
    pub(super) method: &'static str,
    pub(super) route: &'static str,
    pub(super) status: u16,
}

/// A message on its way.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) id: String,
    pub(super) queue: &'static str,
    pub(super) via: Via,
    pub(super) sent: Timestamp,
    /// Receives so far.
    pub(super) n_receives: u32,
    pub(super) dead_letter_source: Option<&'static str>,
    /// The producer's span, where the message carries it.
    pub(super) position: Option<Position>,
    /// Empty where its sender gave it none.
    pub(super) correlation_id: String,
    /// The request that it is part of, by number.
    pub(super) request: u64,
    /// The others, where it was sent on behalf of several.
    pub(super) others: Vec<u64>,
    /// The invocation that sent it; of a foreign one the last that tried it, if any.
    pub(super) cause: Option<String>,
    pub(super) nature: Nature,
    /// Nobody who is seen sent it.
    pub(super) is_foreign: bool,
}

impl Message {
    pub(super) fn correlation_id(&self) -> Option<&str> {
        Some(&*self.correlation_id).filter(|id| !id.is_empty())
    }

    /// Every request that it is part of.
    pub(super) fn requests(&self) -> impl Iterator<Item = u64> {
        std::iter::once(self.request).chain(self.others.iter().copied())
    }
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nature {
    Sound,
    /// Fails whenever it is taken up.
    Poison,
    /// Fails when it is first taken up.
    Flaky,
    /// Put back from the dead-letter queue, under a new id.
    Redriven,
    /// Delivered once more after it was processed: its consumer sees that, and does nothing.
    Again,
}

/// A message in the hands of an invocation.
#[derive(Clone, Debug)]
pub(super) struct Taken {
    pub(super) message: Message,
    pub(super) span: SpanId,
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
    pub(super) failure: Option<Failure>,
    pub(super) steps: Vec<Step>,
}

/// Something that an invocation did to somebody else.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) what: What,
    pub(super) span: SpanId,
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
    pub(super) failure: Option<Failure>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    Database { operation: &'static str, table: &'static str },
    Http { host: &'static str, method: &'static str },
    Invoke(Function),
    Send { message_id: String, queue: &'static str, via: Via },
}

/// How far a clock is off.
#[derive(Clone, Copy, Debug)]
pub(super) enum Skew {
    Ahead(Duration),
    Behind(Duration),
}

impl Skew {
    fn of(self, time: Timestamp) -> Timestamp {
        match self {
            Self::Ahead(by) => time.saturating_add(by),
            Self::Behind(by) => time.saturating_sub(by),
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) function: Function,
    pub(super) invocation_id: String,
    pub(super) instance: Text,
    pub(super) init: Option<Duration>,
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
    pub(super) ending: Ending,
    /// MiB.
    pub(super) memory_used_mb: u32,
    pub(super) via: Via,
    pub(super) http: Option<HttpEntry>,
    /// None where it works for several requests at once.
    pub(super) correlation_id: Option<String>,
    pub(super) position: Position,
    /// The caller's span, where its context came along.
    pub(super) parent: Option<Position>,
    pub(super) taken: Vec<Taken>,
    pub(super) steps: Vec<Step>,
    /// The step of a workflow that it is.
    pub(super) state: Option<WorkflowState>,
    pub(super) reporting: Reporting,
}

/// A step of a workflow, as its context object tells it.
#[derive(Clone, Debug)]
pub(super) struct WorkflowState {
    pub(super) execution: String,
    pub(super) name: &'static str,
    /// Tries of it that failed before.
    pub(super) n_retries: u32,
}

/// What the platform tells of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reporting {
    Usual,
    /// The report comes so long after the end.
    Late(Duration),
    /// The report never comes.
    Lost,
    /// Nothing, unless it was stopped.
    Filtered,
}

impl Run {
    pub(super) fn duration(&self) -> Duration {
        self.end.since(self.start)
    }

    /// Whole milliseconds, init included (Lambda since August 2025).
    pub(super) fn billed(&self) -> Duration {
        let nanos = (self.duration() + self.init.unwrap_or_default()).as_nanos();
        Duration::from_millis(u64::try_from(nanos.div_ceil(1_000_000)).unwrap_or(u64::MAX))
    }

    /// When its instance began to exist for it.
    pub(super) fn begin(&self) -> Timestamp {
        self.start.saturating_sub(self.init.unwrap_or_default())
    }

    /// Its clock was off: everything that it told happened at another time.
    pub(super) fn shift(&mut self, by: Skew) {
        let steps = self.taken.iter_mut().flat_map(|taken| &mut taken.steps).chain(&mut self.steps);
        for step in steps {
            step.start = by.of(step.start);
            step.end = by.of(step.end);
        }
        for taken in &mut self.taken {
            taken.start = by.of(taken.start);
            taken.end = by.of(taken.end);
        }
        self.start = by.of(self.start);
        self.end = by.of(self.end);
    }

    /// Nobody but the platform sees the end of an invocation that was stopped.
    pub(super) fn is_timed_out(&self) -> bool {
        self.ending == Ending::TimedOut
    }
}
