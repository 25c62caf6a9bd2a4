//! Measure: changes of requests, invocations and messages in; samples of series out.
//!
//! Every subject that can still be corrected has its last contributions here. A later version of it
//! takes the old ones back and gives new ones, at event time, so series are sums over what is known
//! now, never over what was known when. Nothing here reads a clock or depends on the order of changes.

mod contribution;
mod delivery;
pub mod depth;
mod invocation;
mod memory_use;
mod point;
mod remembered;
mod request;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use self::contribution::{Contributions, Id, LabelCache, Latenesses, Store, Tally};
use self::memory_use::MemoryUse;
use self::point::Accumulator;
use self::remembered::{Listed, Listing, Places, Shapes, Subjects};
use crate::correlate::{Change, Delivery, Invocation, Request, State};
use crate::number::f64_from_u64;
use crate::series::catalog::{SLO_EVENTS, SLO_GOOD, UNCORRELATED_SIGNALS};
use crate::series::{Lateness, Series};
use crate::signal::{MetricPoint, Text, Timestamp};

/// Subjects of one kind that can be corrected. The engine bounds what is correctable by memory long
/// before; beyond this a subject still counts but its corrections do not.
const SUBJECTS_MAX: usize = 4_000_000;

/// Remembers the last contribution of every correctable subject, so that a correction subtracts the
/// old and adds the new.
#[derive(Debug, Default)]
pub struct Measure {
    objectives: Vec<Objective>,
    requests: Subjects,
    invocations: Subjects,
    deliveries: Subjects,
    memory_use: MemoryUse,
    accumulator: Accumulator,
    labels: LabelCache,
    shapes: Shapes,
    /// How late what was counted since the last tick was, by metric.
    latenesses: Latenesses,
    /// Subjects that found no room to be remembered.
    uncorrectable: u64,
}

/// What a snapshot holds of it.
#[derive(Serialize, Deserialize)]
struct Saved<'a> {
    objectives: Vec<Objective>,
    listing: Listing,
    /// Requests, invocations, deliveries.
    #[serde(borrow)]
    subjects: [Listed<'a>; 3],
    memory_use: MemoryUse,
    accumulator: Accumulator,
    uncorrectable: u64,
}

/// Good/total counter at a latency objective's own threshold, or of outcomes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Objective {
    pub slo: Text,
    pub service: Text,
    pub sli: Sli,
}

impl Objective {
    /// Counts one event of it.
    fn tally(&self, is_good: bool, tally: &mut Tally<'_>) {
        let labels = [("slo", &*self.slo), ("service", &*self.service)];
        tally.count(SLO_EVENTS, &labels);
        if is_good {
            tally.count(SLO_GOOD, &labels);
        }
    }
}

/// What makes an event of an SLO good.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Sli {
    /// Finished requests of a flow (None: all) whose outcome is ok.
    Availability { flow: Option<Text> },
    /// Finished requests of a flow that took at most the threshold.
    Latency { flow: Option<Text>, threshold: std::time::Duration, whole_request: bool },
    /// Finished requests of a flow (None: all) of which nothing was lost on the way.
    Completeness { flow: Option<Text> },
    /// Messages of a queue that waited at most the threshold.
    Freshness { queue: Text, threshold: std::time::Duration },
}

impl Measure {
    pub fn new() -> Self {
        Self::default()
    }

    /// What a snapshot writes, as it is now: [`Measure::save`] gives the same bytes whenever it is called.
    #[must_use]
    pub fn shared(&self) -> Self {
        Self {
            objectives: self.objectives.clone(),
            requests: self.requests.clone(),
            invocations: self.invocations.clone(),
            deliveries: self.deliveries.clone(),
            memory_use: self.memory_use.clone(),
            accumulator: self.accumulator.clone(),
            uncorrectable: self.uncorrectable,
            ..Self::default()
        }
    }

    /// All of it, for a snapshot.
    ///
    /// # Errors
    /// Only where memory fails.
    pub fn save(&self) -> Result<Vec<u8>, postcard::Error> {
        let (mut listing, mut places) = (Listing::default(), Places::default());
        let subjects = [&self.requests, &self.invocations, &self.deliveries]
            .map(|subjects| listing.list(subjects, &mut places));
        postcard::to_stdvec(&Saved {
            objectives: self.objectives.clone(),
            listing,
            subjects,
            memory_use: self.memory_use.clone(),
            accumulator: self.accumulator.clone(),
            uncorrectable: self.uncorrectable,
        })
    }

    /// What was saved.
    ///
    /// # Errors
    /// Where the bytes are not what [`Measure::save`] of this version wrote.
    pub fn restore(saved: &[u8]) -> Result<Self, postcard::Error> {
        let saved: Saved<'_> = postcard::from_bytes(saved)?;
        let torn = postcard::Error::DeserializeBadEncoding;
        let shapes = saved.listing.shapes().ok_or(torn.clone())?;
        let [requests, invocations, deliveries] = saved.subjects.map(|own| shapes.subjects(own));
        Ok(Self {
            objectives: saved.objectives,
            requests: requests.ok_or(torn.clone())?,
            invocations: invocations.ok_or(torn.clone())?,
            deliveries: deliveries.ok_or(torn)?,
            memory_use: saved.memory_use,
            accumulator: saved.accumulator,
            uncorrectable: saved.uncorrectable,
            ..Self::default()
        })
    }

    /// The objectives whose `throughline_slo_*` counters are kept from now on, and whose thresholds
    /// get classic buckets. What is already counted stays until its subject is corrected.
    pub fn set_objectives(&mut self, objectives: Vec<Objective>) {
        self.objectives = objectives;
    }

    /// Thresholds of the latency objectives in seconds, for [`Series::set_thresholds`].
    pub fn thresholds(&self) -> Vec<f64> {
        let threshold = |objective: &Objective| match objective.sli {
            Sli::Latency { threshold, .. } | Sli::Freshness { threshold, .. } => {
                Some(threshold.as_secs_f64())
            }
            Sli::Availability { .. } | Sli::Completeness { .. } => None,
        };
        self.objectives.iter().filter_map(threshold).collect()
    }

    /// Applies a tick's changes to the store.
    pub fn apply(&mut self, changes: &[Change], series: &mut Series, now: Timestamp) {
        self.count(changes, series, now);
        self.show(series, now);
    }

    /// Applies some of a tick's changes to the store; [`Measure::show`] is to follow the last of them.
    pub fn count(&mut self, changes: &[Change], series: &mut Series, now: Timestamp) {
        let latenesses = std::mem::take(&mut self.latenesses);
        let mut store = Store { series, now, latenesses };
        for change in changes {
            self.apply_one(change, &mut store);
        }
        self.latenesses = store.latenesses;
    }

    /// Shows the gauges of a tick, and how late what it counted was.
    pub fn show(&mut self, series: &mut Series, now: Timestamp) {
        for ((metric, late), n) in self.latenesses.drain() {
            series.note_lateness(metric, late, n, now);
        }
        self.memory_use.show(series, now);
    }

    fn apply_one(&mut self, change: &Change, store: &mut Store<'_>) {
        match change {
            Change::Request(request) => {
                let counted = self.of_request(request);
                self.remember(Subject::Request, &request.id, &counted, store);
            }
            Change::RequestFinal(request) => {
                self.requests.remove(&Id::of(&request.id));
            }
            Change::Invocation(invocation) => {
                let counted = self.of_invocation(invocation);
                self.memory_use.note(invocation, store.now);
                self.remember(Subject::Invocation, &invocation.id, &counted, store);
            }
            Change::Delivery(delivery) => {
                let counted = self.of_delivery(delivery);
                self.remember(Subject::Delivery, &delivery.id, &counted, store);
            }
            Change::RequestGone(id) => {
                replace(self.requests.remove(&Id::of(id)), &Contributions::default(), store);
            }
            Change::InvocationGone(id) => {
                replace(self.invocations.remove(&Id::of(id)), &Contributions::default(), store);
            }
            Change::DeliveryGone(id) => {
                replace(self.deliveries.remove(&Id::of(id)), &Contributions::default(), store);
            }
            Change::RequestForgotten(id) => {
                self.requests.remove(&Id::of(id));
            }
            Change::InvocationFinal(id) => {
                self.invocations.remove(&Id::of(id));
            }
            Change::DeliveryFinal(id) => {
                self.deliveries.remove(&Id::of(id));
            }
            Change::Uncorrelated { function, count, at } => {
                let mut tally = Tally::new(&mut self.labels, *at, &Text::default());
                tally.add(UNCORRELATED_SIGNALS, &[("faas_name", function)], f64_from_u64(*count));
                tally.finish().give(0, store);
            }
        }
    }

    /// Stores one pushed or platform metric point.
    pub fn point(&mut self, point: &MetricPoint, series: &mut Series, now: Timestamp) {
        let late = Lateness::of(now.since(point.time));
        series.note_lateness(point.labels.name(), late, 1, now);
        self.accumulator.point(point, series);
    }

    /// Subjects whose later versions will not correct what they counted.
    pub fn uncorrectable(&self) -> u64 {
        self.uncorrectable
    }

    /// Metric points of shapes that no series can show.
    pub fn unsupported_points(&self) -> u64 {
        self.accumulator.unsupported()
    }

    /// Values of memory used, one an attempt, of functions that have no gauge of it, since the start.
    pub fn values_without_gauge(&self) -> u64 {
        self.memory_use.left_out()
    }

    /// Subjects that are remembered because they can still be corrected.
    pub fn n_correctable(&self) -> usize {
        self.requests.len() + self.invocations.len() + self.deliveries.len()
    }

    fn of_request(&mut self, request: &Request) -> Contributions {
        if request.state == State::Open {
            return Contributions::default();
        }
        let mut tally = Tally::new(&mut self.labels, request.end, &request::exemplar(request))
            .times(request.stands_for);
        request::tally(request, &mut tally);
        for objective in &self.objectives {
            request::tally_objective(request, objective, &mut tally);
        }
        tally.finish()
    }

    fn of_invocation(&mut self, invocation: &Invocation) -> Contributions {
        let mut tally = Tally::new(&mut self.labels, invocation.end, &invocation.exemplar)
            .times(invocation.stands_for);
        invocation::tally(invocation, &mut tally);
        tally.finish()
    }

    fn of_delivery(&mut self, delivery: &Delivery) -> Contributions {
        let mut tally = Tally::new(&mut self.labels, delivery.taken_up, &delivery.exemplar)
            .times(delivery.stands_for);
        delivery::tally(delivery, &mut tally);
        for objective in &self.objectives {
            delivery::tally_objective(delivery, objective, &mut tally);
        }
        tally.finish()
    }

    fn remember(
        &mut self,
        subject: Subject,
        id: &Text,
        counted: &Contributions,
        store: &mut Store<'_>,
    ) {
        let held = match subject {
            Subject::Request => &mut self.requests,
            Subject::Invocation => &mut self.invocations,
            Subject::Delivery => &mut self.deliveries,
        };
        let id = Id::of(id);
        replace(held.remove(&id), counted, store);
        if counted.is_empty() {
            return;
        }
        if held.len() < SUBJECTS_MAX {
            held.insert(id, counted, &mut self.shapes);
        } else {
            self.uncorrectable += 1;
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Subject {
    Request,
    Invocation,
    Delivery,
}

fn replace(old: Option<Contributions>, new: &Contributions, store: &mut Store<'_>) {
    let old = old.unwrap_or_default();
    let same = old.common_with(new);
    old.take_back(same, store.series);
    new.give(same, store);
}
