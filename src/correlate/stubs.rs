//! What stays of a final request: the tokens by which something later may still continue it.
//!
//! A message that nobody took up, that may come again or that is done, a run that may be tried again or told of, a
//! workflow's execution and a trace come in with the request's id; what is asked for by the same token
//! later gets that id. A stub never holds facts.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::class::Class;
use super::fact::Age;
use super::known::Known;
use super::table::{self, Table};
use crate::number::u64_from_usize;
use crate::signal::{MessageRef, Text, Timestamp, Via};

/// What a stub takes beside its texts, about; what an earlier request beside its name takes, and what one that did
/// what a message asked for.
const STUB_BYTES: u64 = 360;
const FORMER_BYTES: u64 = 100;
const DONE_BYTES: u64 = 60;

/// Times that a message was done that are remembered: what is done more often is a constant.
const DONE_MAX: usize = 64;

/// When, where to and how a message was sent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Sending {
    pub(super) at: Timestamp,
    pub(super) queue: Option<Text>,
    pub(super) via: Via,
}

/// Requests that left the same token and are remembered beside the newest: who came between two of them goes on
/// with the earlier.
const EARLIER_MAX: usize = 8;

/// A request that is final, and since when.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Former {
    pub(super) request: Text,
    pub(super) since: Age,
}

#[derive(Debug, Serialize, Deserialize)]
struct Stub {
    newest: Former,
    /// In order of time.
    earlier: Vec<Former>,
    until: Age,
    /// Of a message.
    sending: Option<Sending>,
    /// Of a run under a request id: whose it was.
    run: Option<Class>,
    /// Of a message that was taken up, and went well: the newest, in order of time.
    done: Vec<Done>,
}

impl Stub {
    /// Of a token that tells no more than its request.
    fn of(former: &Former, until: Age) -> Self {
        let (newest, earlier) = (former.clone(), Vec::new());
        Self { newest, earlier, until, sending: None, run: None, done: Vec::new() }
    }

    /// Adds what was left before.
    fn join(&mut self, old: Self) {
        // Who had a run, or sent a message, stays known whoever else named it.
        if old.run.is_some() && self.run.is_none() {
            (self.newest, self.earlier) = (old.newest, old.earlier);
        } else if old.newest.request != self.newest.request {
            self.earlier = old.earlier;
            self.earlier.push(old.newest);
            self.earlier.drain(..self.earlier.len().saturating_sub(EARLIER_MAX));
        }
        self.sending = self.sending.take().or(old.sending);
        self.run = self.run.or(old.run);
        self.done.extend(old.done);
        self.done.sort_unstable_by_key(|done| (done.at, done.by));
        self.done.dedup();
        self.done.drain(..self.done.len().saturating_sub(DONE_MAX));
        // What one waits for for long is not forgotten because another waits less.
        self.until = self.until.max(old.until);
    }

    /// What it takes under this token.
    fn weight(&self, token: &str) -> u64 {
        let queue = self.sending.as_ref().and_then(|sending| sending.queue.as_ref());
        let texts = token.len() + self.newest.request.len() + queue.map_or(0, |queue| queue.len());
        let earlier = self.earlier.iter().map(|former| former.request.len()).sum::<usize>();
        STUB_BYTES
            + u64_from_usize(texts + earlier)
            + u64_from_usize(self.earlier.len()) * FORMER_BYTES
            + u64_from_usize(self.done.len()) * DONE_BYTES
    }

    /// The last request that was final when something came.
    fn before(&self, came: Age) -> Option<&Text> {
        let mut formers = [&self.newest].into_iter().chain(self.earlier.iter().rev());
        formers.find(|former| former.since <= came).map(|former| &former.request)
    }
}

/// Whose function did what a message asked for, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Done {
    pub(super) by: Class,
    pub(super) at: Timestamp,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Stubs {
    requests: Table<Text, Stub>,
    expiry: BTreeSet<(Age, Text)>,
    /// What all of them take.
    pub(super) bytes: u64,
    /// Stubs forgotten early because memory was short.
    pub(super) forgotten: u64,
}

impl Stubs {
    pub(super) fn leave(&mut self, token: Text, former: &Former, until: Age) {
        self.put(token, Stub::of(former, until));
    }

    /// By a message that is done: whoever takes it up once more does so for nothing.
    pub(super) fn leave_done(&mut self, message: Text, done: Done, former: &Former, until: Age) {
        self.put(message, Stub { done: vec![done], ..Stub::of(former, until) });
    }

    /// By its request id.
    pub(super) fn leave_run(&mut self, id: Text, class: Class, former: &Former, until: Age) {
        self.put(id, Stub { run: Some(class), ..Stub::of(former, until) });
    }

    pub(super) fn leave_message(
        &mut self,
        message: Text,
        sending: Sending,
        former: &Former,
        until: Age,
    ) {
        self.put(message, Stub { sending: Some(sending), ..Stub::of(former, until) });
    }

    fn put(&mut self, token: Text, mut stub: Stub) {
        if let Some(old) = self.take(&token) {
            self.expiry.remove(&(old.until, Text::clone(&token)));
            stub.join(old);
        }
        self.bytes += stub.weight(&token);
        self.expiry.insert((stub.until, Text::clone(&token)));
        self.requests.insert(token, stub);
    }

    fn take(&mut self, token: &Text) -> Option<Stub> {
        let stub = self.requests.remove(token)?;
        self.bytes -= stub.weight(token);
        Some(stub)
    }

    /// Whose a run under this request id was that is final and may be tried again.
    pub(super) fn run(&self, id: &str) -> Option<Class> {
        self.requests.get(id)?.run
    }

    /// When and where to a final request sent a message that nobody took up while it lasted.
    pub(super) fn sending(&self, message: &str) -> Option<&Sending> {
        self.requests.get(message)?.sending.as_ref()
    }

    /// Who did what a message of final requests asked for.
    pub(super) fn done(&self, message: &str) -> &[Done] {
        self.requests.get(message).map_or(&[], |stub| &stub.done)
    }

    /// Forgets what is old enough.
    pub(super) fn expire(&mut self, age: Age) {
        while self.expiry.first().is_some_and(|(until, _)| *until <= age) {
            self.pop();
        }
        table::shrink(&mut self.requests);
    }

    /// Forgets the next to expire, though it is not old enough.
    pub(super) fn forget_next(&mut self) {
        self.forgotten += u64::from(!self.expiry.is_empty());
        self.pop();
    }

    fn pop(&mut self) {
        if let Some((_, token)) = self.expiry.pop_first() {
            self.take(&token);
        }
    }

    /// Forgets the stubs, by token and request, that are meant.
    pub(super) fn forget(&mut self, is_meant: impl Fn(&Text, &Text) -> bool) {
        self.requests.retain(|token, stub| {
            stub.earlier.retain(|former| !is_meant(token, &former.request));
            !is_meant(token, &stub.newest.request)
        });
        let requests = &self.requests;
        self.expiry.retain(|(_, token)| requests.contains_key(token));
        self.bytes = requests.iter().map(|(token, stub)| stub.weight(token)).sum();
    }

    /// The final request that an entry continues: one that was final before the entry was told of. What was
    /// there at the same time and is not joined by its facts goes on with nothing.
    pub(super) fn continued_by(&self, known: &Known) -> Option<Text> {
        let request = |token: &str| self.requests.get(token)?.before(known.came);
        let messages = known.received.iter().find_map(|message| self.sent(message, known.came));
        let run = || known.invocation_id.as_ref().and_then(|id| self.invoked(id, known.class));
        let workflow = || known.workflow.as_ref().and_then(|w| request(&w.execution_id));
        // What began a trace continues nothing in it.
        let traces = known.traces.iter().filter(|trace| !known.roots.contains(trace));
        let traces = traces.chain(known.origins.iter().map(|o| &o.trace));
        let continued = messages.or_else(run).or_else(workflow);
        let continued =
            continued.or_else(|| traces.map(ToString::to_string).find_map(|t| request(&t)));
        continued.filter(|id| **id != known.id).cloned()
    }

    /// Who sent a message, or had it last. A record of an invocation continues the run of the function that
    /// it names.
    fn sent(&self, message: &MessageRef, came: Age) -> Option<&Text> {
        let stub = self.requests.get(&message.id)?;
        let is_its = match stub.run {
            Some(run) => {
                let named = Class::of(message.dead_letter_source.as_ref(), None, None);
                message.via == Via::Invoke && run.agrees(named)
            }
            None => true,
        };
        stub.before(came).filter(|_| is_its)
    }

    /// Who had the run before this one of the same function, account and region, or was told its request id
    /// when it invoked it. Nobody leaves a run that another came after.
    fn invoked(&self, id: &str, class: Class) -> Option<&Text> {
        let stub = self.requests.get(id)?;
        let is_its = match (&stub.sending, stub.run) {
            (_, Some(run)) => run.agrees(class),
            (Some(sending), None) => sending.via == Via::Invoke,
            (None, None) => false,
        };
        is_its.then_some(&stub.newest.request)
    }
}
