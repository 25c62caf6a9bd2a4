//! Orders that somebody else puts into `orders`: of who sent them nothing is seen, and they name nothing
//! but themselves. Each is taken up alone.

use std::time::Duration;

use super::instances::whole_millis;
use super::plan::{Function, ORDERS, RECEIVES_MAX};
use super::run::{Message, Nature};
use super::world::{Event, World};
use crate::signal::{Timestamp, Via};

const POISONED: f64 = 0.25;
const FLAKY: f64 = 0.4;

impl World {
    pub(super) fn foreign_order(&mut self, now: Timestamp) {
        let request = self.book.open(Function::Fulfil.as_str(), "");
        let is_poison = self.random.chance(POISONED);
        let is_flaky = self.random.chance(FLAKY);
        let nature = match (is_poison, is_flaky) {
            (true, _) => Nature::Poison,
            (false, true) => Nature::Flaky,
            (false, false) => Nature::Sound,
        };
        let message = Message {
            id: self.random.uuid(),
            queue: ORDERS,
            via: Via::Queue,
            sent: whole_millis(now),
            n_receives: 0,
            dead_letter_source: None,
            position: None,
            correlation_id: String::new(),
            request,
            others: Vec::new(),
            cause: None,
            nature,
            is_foreign: true,
        };
        let at = whole_millis(now.saturating_add(self.random.millis(40, 400)));
        self.plan(at, Event::Foreign(Box::new(message)));
    }

    pub(super) fn foreign(&mut self, now: Timestamp, message: Message) {
        if message.n_receives < RECEIVES_MAX {
            return self.fulfil(now, vec![message]);
        }
        if let Some(started) = self.acquire(Function::DlqInspector, now) {
            let fallen = self.fall(message);
            self.inspect(started, vec![fallen]);
        } else {
            let again = now.saturating_add(Duration::from_secs(1));
            self.plan(again, Event::Foreign(Box::new(message)));
        }
    }
}
