//! The whole journey in simulated time: the same state, rules and messages as the daemon's, without
//! journal, sockets and clocks.
//!
//! Entries and the time at which each is taken come in; what they led to goes out. A message counts as
//! delivered when it is due, and nothing is sent. What the state keeps on disk lies in a throw-away
//! folder. Two rehearsals of the same entries at the same times give the same.

use std::time::Duration;

use super::evaluation::entries;
use super::recover::blocks;
use super::scratch::Scratch;
use super::state::{Entry, State};
use super::terms::Terms;
use crate::archive::Archive;
use crate::config::Config;
use crate::evaluate::Transition;
use crate::notify::{self, Message, Receipt};
use crate::signal::{Batch, Text, Timestamp};

/// Time between two ticks.
const TICK: Duration = Duration::from_secs(1);
/// Rounds of messages and their receipts after one entry: a receipt can make the next message of its
/// group due, no more than a few times.
const DELIVERIES_MAX: usize = 16;

/// A daemon's state, moved by hand.
#[derive(Debug)]
pub struct Rehearsal {
    state: State,
    now: Timestamp,
    ticked_at: Timestamp,
    external_url: String,
    /// Goes after the state.
    _folder: Scratch,
}

/// What one entry led to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Happened {
    pub at: Timestamp,
    /// Changes of alerts, with their evidence; they have taken effect.
    pub transitions: Vec<Transition>,
    /// What would have been sent, in the order of sending.
    pub messages: Vec<Message>,
}

impl Happened {
    pub fn is_nothing(&self) -> bool {
        self.transitions.is_empty() && self.messages.is_empty()
    }
}

impl Rehearsal {
    /// A daemon under this configuration to which nothing has happened. Its data directory and its
    /// addresses are not used.
    ///
    /// # Errors
    /// Everything that is wrong with the rules, and where no throw-away folder can be made.
    pub fn new(config: &Config, start: Timestamp) -> Result<Self, Vec<String>> {
        let terms = Terms::of(config);
        terms
            .check()
            .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        let folder = Scratch::new("rehearsal").map_err(|error| vec![error])?;
        let archive = Archive::open(&folder.path().join("archive"), config.archive.clone())
            .map_err(|error| vec![error.to_string()])?;
        let state = State::new(&terms, notify::Config::clone(&config.notify), archive);
        state.begin_anew(&blocks(folder.path())).map_err(|error| vec![error])?;
        let external_url = terms.external_url;
        Ok(Self { state, now: start, ticked_at: start, external_url, _folder: folder })
    }

    /// Log time.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    pub fn state(&self) -> &State {
        &self.state
    }

    /// Takes a batch now.
    pub fn take(&mut self, batch: Batch) -> Happened {
        self.apply(&Entry::Batch(Box::new(batch)), self.now)
    }

    /// Takes an entry at a log time; the rules are evaluated after a tick. A time before that of the
    /// entry before it is read as that one: log time never goes back.
    pub fn apply(&mut self, entry: &Entry, at: Timestamp) -> Happened {
        self.now = self.now.max(at);
        let now = self.now;
        let mut happened = Happened { at: now, ..Happened::default() };
        let due = self.state.apply(entry, now);
        self.deliver(due, &mut happened);
        if *entry != Entry::Tick {
            return happened;
        }
        self.ticked_at = now;
        let mut found = self.state.evaluate(now, &|| Duration::ZERO);
        self.state.gather_evidence(&mut found.transitions, &self.external_url);
        happened.transitions.clone_from(&found.transitions);
        for entry in entries(found) {
            let due = self.state.apply(&entry, now);
            self.deliver(due, &mut happened);
        }
        happened
    }

    /// Ticks once a second until `to`, that moment included; tells of every tick at which something
    /// happened.
    pub fn advance(&mut self, to: Timestamp, tell: &mut dyn FnMut(Happened)) {
        while self.ticked_at.saturating_add(TICK) <= to {
            let happened = self.apply(&Entry::Tick, self.ticked_at.saturating_add(TICK));
            if !happened.is_nothing() {
                tell(happened);
            }
        }
        self.now = self.now.max(to);
    }

    /// Every message arrives at once; what that makes due does, too.
    fn deliver(&self, due: Vec<Message>, happened: &mut Happened) {
        let mut due = due;
        for _ in 0..DELIVERIES_MAX {
            if due.is_empty() {
                return;
            }
            for message in due.drain(..) {
                let id = Text::clone(&message.id);
                let receipt = Receipt { id, at: self.now, failure: None, handle: None };
                self.state.apply(&Entry::Receipt(receipt), self.now);
                happened.messages.push(message);
            }
            due = self.state.due(self.now);
        }
    }
}

#[cfg(test)]
mod tests;
