//! Environments: inits that the platform tells without saying whose run they precede.
//!
//! Init events and starts of invocations of one (function, instance) come in; each init goes to the
//! first invocation that starts when it is over, at most ten seconds later.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::blocks::Start;
use super::fact::Age;
use super::graph::{Graph, NodeId, Touched};
use super::known::{Init, Known};
use super::table::Table;
use crate::signal::{Platform, PlatformStage, Text, Timestamp};

/// An init that ended longer before a run belongs to none.
const BEFORE_MAX: Duration = Duration::from_secs(10);
/// Platforms round times to milliseconds: an init may seem to end just after the run began.
const ROUNDING: Duration = Duration::from_millis(100);
/// Init events held; beyond it the oldest goes first.
const EVENTS_MAX: usize = 100_000;

/// A function and, where it is named, the instance.
type Place = (Text, Option<Text>);

/// An invocation as its environment knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) function: Text,
    pub(super) instance: Option<Text>,
    pub(super) start: Timestamp,
    pub(super) id: Text,
}

impl Run {
    pub(super) fn of(known: &Known) -> Self {
        Self {
            function: Text::clone(&known.function),
            instance: known.instance.clone(),
            start: known.start,
            id: Text::clone(&known.id),
        }
    }

    fn place(&self) -> Place {
        (Text::clone(&self.function), self.instance.clone())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Event {
    time: Timestamp,
    stage: PlatformStage,
    duration: Option<Duration>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Environment {
    events: BTreeSet<Event>,
    starts: BTreeSet<(Timestamp, Text, NodeId)>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Environments {
    places: Table<Place, Environment>,
    order: VecDeque<(Age, Place, Event)>,
    dirty: BTreeSet<Place>,
}

impl Environments {
    pub(super) fn add(
        &mut self,
        function: Text,
        instance: Option<Text>,
        event: &Platform,
        age: Age,
    ) {
        let place = (function, instance);
        let duration = event.duration.or(event.init_duration);
        let event = Event { time: event.time, stage: event.stage, duration };
        if self.places.entry(place.clone()).or_default().events.insert(event) {
            self.dirty.insert(place.clone());
            self.order.push_back((age, place, event));
        }
    }

    /// True where an init may be the invocation's.
    pub(super) fn arrive(&mut self, id: NodeId, known: &Known) -> bool {
        if !can_follow_init(known) {
            return false;
        }
        let place = (Text::clone(&known.function), known.instance.clone());
        let starts = &mut self.places.entry(place.clone()).or_default().starts;
        starts.insert((known.start, Text::clone(&known.id), id));
        self.dirty.insert(place);
        true
    }

    /// An invocation is frozen: it still has its place where inits are told of. Gives where a late
    /// init would look for it.
    pub(super) fn freeze(&mut self, id: NodeId, known: &Known) -> Option<Start> {
        let place = (Text::clone(&known.function), known.instance.clone());
        if let Some(environment) = self.places.get_mut(&place)
            && environment.events.is_empty()
        {
            environment.starts.remove(&(known.start, Text::clone(&known.id), id));
            if environment.starts.is_empty() {
                self.places.remove(&place);
            }
        }
        let place = place_of(&known.function, known.instance.as_ref());
        can_follow_init(known).then_some(Start { place, time: known.start })
    }

    /// A frozen invocation comes back: it takes its place anew, which may be another now.
    pub(super) fn wake(&mut self, run: &Run) {
        let own = self.frozen(run);
        if let (Some(id), Some(environment)) = (own, self.places.get_mut(&run.place())) {
            environment.starts.remove(&(run.start, Text::clone(&run.id), id));
        }
    }

    /// Under which number a frozen invocation still has its place.
    fn frozen(&self, run: &Run) -> Option<NodeId> {
        let environment = self.places.get(&run.place())?;
        let from = (run.start, Text::clone(&run.id), NodeId::default());
        let (start, id, node) = environment.starts.range(from..).next()?;
        (*start == run.start && *id == run.id).then_some(*node)
    }

    pub(super) fn leave(&mut self, id: NodeId, run: &Run) {
        let place = run.place();
        if let Some(environment) = self.places.get_mut(&place) {
            environment.starts.remove(&(run.start, Text::clone(&run.id), id));
            self.dirty.insert(place);
        }
    }

    /// A final invocation takes its init along: what began after it in its environment had none.
    pub(super) fn seal(&mut self, id: NodeId, run: &Run) {
        if let Some(environment) = self.places.get_mut(&run.place()) {
            let own = environment.owned().into_iter().filter(|(owner, _)| *owner == id);
            for event in own.flat_map(|(_, told)| told.events) {
                environment.events.remove(&event);
            }
        }
        self.leave(id, run);
    }

    /// A frozen invocation is final; it may still have its place.
    pub(super) fn seal_frozen(&mut self, run: &Run, has_init: bool) {
        let Some(id) = self.frozen(run) else { return };
        if has_init {
            self.seal(id, run);
        } else {
            self.leave(id, run);
        }
    }

    /// Gives every init of the environments that changed to its invocation. Gives where those lie that
    /// may have had one which now is another's.
    pub(super) fn assign(&mut self, graph: &mut Graph, touched: &mut Touched) -> Vec<Rivals> {
        let mut rivals = Vec::new();
        for place in std::mem::take(&mut self.dirty) {
            let Some(environment) = self.places.get(&place) else { continue };
            if environment.events.is_empty() {
                if environment.starts.is_empty() {
                    self.places.remove(&place);
                }
                continue;
            }
            let owners: BTreeMap<NodeId, Init> =
                environment.owned().into_iter().map(|(id, told)| (id, told.init)).collect();
            for &(start, _, id) in &environment.starts {
                let Some(node) = graph.nodes.get_mut(&id) else { continue };
                let init = owners.get(&id).copied();
                if node.environment_init != init {
                    if node.environment_init.is_none() {
                        let place = place_of(&place.0, place.1.as_ref());
                        let until = start.saturating_add(BEFORE_MAX);
                        rivals.push(Rivals { from: Start { place, time: start }, until });
                    }
                    node.environment_init = init;
                    touched.views.extend(node.owners.keys());
                    touched.told.insert(id);
                }
            }
        }
        rivals
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Forgets events that no invocation can still follow. One that an invocation follows is looked at
    /// again: the invocation takes it along when it goes.
    pub(super) fn expire(&mut self, age: Age, kept: Duration) {
        for _ in 0..self.order.len() {
            let is_full = self.order.len() > EVENTS_MAX;
            if !is_full
                && self.order.front().is_none_or(|(at, _, _)| age.saturating_sub(*at) < kept)
            {
                break;
            }
            let Some((_, place, event)) = self.order.pop_front() else { break };
            if let Some(environment) = self.places.get_mut(&place) {
                if !is_full && environment.has_given(&event) {
                    self.order.push_back((age, place, event));
                    continue;
                }
                environment.events.remove(&event);
                if environment.starts.is_empty() && environment.events.is_empty() {
                    self.places.remove(&place);
                }
            }
        }
    }
}

/// Invocations of one place that began within these times.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rivals {
    pub(super) from: Start,
    pub(super) until: Timestamp,
}

/// Where nothing names the environment, an init of another one would be taken for the run's own; there
/// only a run that does not say it was warm can follow one.
fn can_follow_init(known: &Known) -> bool {
    known.instance.is_some() || known.cold_start != Some(false)
}

/// A place as a number.
pub(super) fn place_of(function: &str, instance: Option<&Text>) -> u64 {
    let instance = instance.map_or("", |instance| instance);
    xxh3_64(instance.as_bytes()) ^ xxh3_64(function.as_bytes()).rotate_left(32)
}

/// An init, and the events that tell of it.
struct Told {
    init: Init,
    events: Vec<Event>,
}

impl Environment {
    /// Every init that an invocation follows, with that.
    fn owned(&self) -> Vec<(NodeId, Told)> {
        let mut owned = Vec::new();
        for told in self.inits() {
            let Some(end) = told.init.end else { continue };
            let from = (end.saturating_sub(ROUNDING), Text::default(), NodeId::default());
            if let Some((start, _, id)) = self.starts.range(from..).next()
                && start.since(end) <= BEFORE_MAX
            {
                let init = Init { end: Some(end.min(*start)), ..told.init };
                owned.push((*id, Told { init, ..told }));
            }
        }
        owned
    }

    /// Whether an invocation follows the init that this event tells of.
    fn has_given(&self, event: &Event) -> bool {
        self.events.contains(event)
            && self.owned().iter().any(|(_, told)| told.events.contains(event))
    }

    /// A report tells an init with its start, if that is known; a start without a report one that is
    /// only known to have begun.
    fn inits(&self) -> Vec<Told> {
        let unreported = |event: Event| Told {
            init: Init { duration: None, end: Some(event.time) },
            events: vec![event],
        };
        let mut inits = Vec::new();
        let mut begun: Option<Event> = None;
        for event in &self.events {
            if event.stage == PlatformStage::InitStart {
                inits.extend(begun.replace(*event).map(unreported));
                continue;
            }
            let first = begun.take();
            let start = first.map(|first| first.time);
            let duration = event.duration.or_else(|| start.map(|start| event.time.since(start)));
            let end = start.zip(event.duration).map(|(start, d)| start.saturating_add(d));
            inits.push(Told {
                init: Init { duration, end: Some(end.unwrap_or(event.time)) },
                events: first.into_iter().chain([*event]).collect(),
            });
        }
        inits.extend(begun.map(unreported));
        inits
    }
}
