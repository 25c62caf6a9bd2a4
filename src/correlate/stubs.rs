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
use super::table::Table;
use crate::signal::{MessageRef, Text, Timestamp, Via};

/// Stubs held; beyond it the next to expire goes first.
const STUBS_MAX: usize = 200_000;

/// Times that a message was done that are remembered: what is done more often is a constant.
const DONE_MAX: usize = 64;

/// When, where to and how a message was sent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Sending {
    pub(super) at: Timestamp,
    pub(super) queue: Option<Text>,
    pub(super) via: Via,
}

#[derive(Debug, Serialize, Deserialize)]
struct Stub {
    request: Text,
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
    fn of(request: &Text, until: Age) -> Self {
        let request = Text::clone(request);
        Self { request, until, sending: None, run: None, done: Vec::new() }
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
    /// Stubs forgotten early because the bound was met.
    pub(super) forgotten: u64,
}

impl Stubs {
    pub(super) fn leave(&mut self, token: Text, request: &Text, until: Age) {
        self.put(token, Stub::of(request, until));
    }

    /// By a message that is done: whoever takes it up once more does so for nothing.
    pub(super) fn leave_done(&mut self, message: Text, done: Done, request: &Text, until: Age) {
        self.put(message, Stub { done: vec![done], ..Stub::of(request, until) });
    }

    /// By its request id.
    pub(super) fn leave_run(&mut self, id: Text, class: Class, request: &Text, until: Age) {
        self.put(id, Stub { run: Some(class), ..Stub::of(request, until) });
    }

    pub(super) fn leave_message(
        &mut self,
        message: Text,
        sending: Sending,
        request: &Text,
        until: Age,
    ) {
        self.put(message, Stub { sending: Some(sending), ..Stub::of(request, until) });
    }

    fn put(&mut self, token: Text, stub: Stub) {
        let mut until = stub.until;
        match self.requests.get_mut(&token) {
            None => drop(self.requests.insert(Text::clone(&token), stub)),
            Some(old) => {
                self.expiry.remove(&(old.until, Text::clone(&token)));
                // Who had a run, or sent a message, stays known whoever else named it.
                let is_of_run = old.run.is_some() && stub.run.is_none();
                let request = if is_of_run { Text::clone(&old.request) } else { stub.request };
                let sending = stub.sending.or(old.sending.take());
                let (run, mut done) = (stub.run.or(old.run), std::mem::take(&mut old.done));
                done.extend(stub.done);
                done.sort_unstable_by_key(|done| (done.at, done.by));
                done.dedup();
                done.drain(..done.len().saturating_sub(DONE_MAX));
                // What one waits for for long is not forgotten because another waits less.
                until = until.max(old.until);
                *old = Stub { request, until, sending, run, done };
            }
        }
        self.expiry.insert((until, token));
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

    pub(super) fn expire(&mut self, age: Age) {
        while let Some((until, _)) = self.expiry.first() {
            let is_old = *until <= age;
            if !is_old && self.expiry.len() <= STUBS_MAX {
                break;
            }
            self.forgotten += u64::from(!is_old);
            if let Some((_, token)) = self.expiry.pop_first() {
                self.requests.remove(&token);
            }
        }
    }

    /// Forgets the stubs, by token and request, that are meant.
    pub(super) fn forget(&mut self, is_meant: impl Fn(&Text, &Text) -> bool) {
        self.requests.retain(|token, stub| !is_meant(token, &stub.request));
        let requests = &self.requests;
        self.expiry.retain(|(_, token)| requests.contains_key(token));
    }

    /// The final request that an entry continues.
    pub(super) fn continued_by(&self, known: &Known) -> Option<Text> {
        let request = |token: &str| Some(Text::clone(&self.requests.get(token)?.request));
        let messages = known.received.iter().find_map(|message| self.sent(message));
        let run = || known.invocation_id.as_ref().and_then(|id| self.invoked(id, known.class));
        let workflow = || known.workflow.as_ref().and_then(|w| request(&w.execution_id));
        // What began a trace continues nothing in it.
        let traces = known.traces.iter().filter(|trace| !known.roots.contains(trace));
        let traces = traces.chain(known.origins.iter().map(|o| &o.trace));
        let continued = messages.or_else(run).or_else(workflow);
        let continued =
            continued.or_else(|| traces.map(ToString::to_string).find_map(|t| request(&t)));
        continued.filter(|id| *id != known.id)
    }

    /// Who sent a message, or had it last. A record of an invocation continues the run of the function that
    /// it names.
    fn sent(&self, message: &MessageRef) -> Option<Text> {
        let stub = self.requests.get(&message.id)?;
        let is_its = match stub.run {
            Some(run) => {
                let named = Class::of(message.dead_letter_source.as_ref(), None, None);
                message.via == Via::Invoke && run.agrees(named)
            }
            None => true,
        };
        is_its.then(|| Text::clone(&stub.request))
    }

    /// Who had the run before this one of the same function, account and region, or was told its request id
    /// when it invoked it.
    fn invoked(&self, id: &str, class: Class) -> Option<Text> {
        let stub = self.requests.get(id)?;
        let is_its = match (&stub.sending, stub.run) {
            (_, Some(run)) => run.agrees(class),
            (Some(sending), None) => sending.via == Via::Invoke,
            (None, None) => false,
        };
        is_its.then(|| Text::clone(&stub.request))
    }
}
