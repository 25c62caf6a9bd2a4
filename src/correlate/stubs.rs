//! What stays of a final request: the tokens by which something later may still continue it.
//!
//! A message that nobody took up, a workflow's execution and a trace come in with the request's id;
//! what is asked for by the same token later gets that id. A stub never holds facts.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::fact::Age;
use super::known::Known;
use super::table::Table;
use crate::signal::{Text, Timestamp};

/// Stubs held; beyond it the next to expire goes first.
const STUBS_MAX: usize = 200_000;

/// When and where to a message was sent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Sending {
    pub(super) at: Timestamp,
    pub(super) queue: Option<Text>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Stub {
    request: Text,
    until: Age,
    /// Of a message.
    sending: Option<Sending>,
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
        self.put(token, Stub { request: Text::clone(request), until, sending: None });
    }

    pub(super) fn leave_message(
        &mut self,
        message: Text,
        sending: Sending,
        request: &Text,
        until: Age,
    ) {
        let request = Text::clone(request);
        self.put(message, Stub { request, until, sending: Some(sending) });
    }

    fn put(&mut self, token: Text, stub: Stub) {
        let until = stub.until;
        if let Some(old) = self.requests.insert(Text::clone(&token), stub) {
            self.expiry.remove(&(old.until, Text::clone(&token)));
        }
        self.expiry.insert((until, token));
    }

    /// When and where to a final request sent a message that nobody took up while it lasted.
    pub(super) fn sending(&self, message: &str) -> Option<&Sending> {
        self.requests.get(message)?.sending.as_ref()
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
        let messages = known.received.iter().find_map(|message| request(&message.id));
        let workflow = || known.workflow.as_ref().and_then(|w| request(&w.execution_id));
        // What began a trace continues nothing in it.
        let traces = known.traces.iter().filter(|trace| !known.roots.contains(trace));
        let traces = traces.chain(known.origins.iter().map(|o| &o.trace));
        let continued = messages.or_else(workflow);
        let continued =
            continued.or_else(|| traces.map(ToString::to_string).find_map(|t| request(&t)));
        continued.filter(|id| *id != known.id)
    }
}
