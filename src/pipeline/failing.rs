//! Notifiers that cannot be reached: each is a finding from its first failed attempt until one succeeds, and
//! a trouble (of which an alert tells the others) once it is more than a bad moment.

use std::collections::BTreeMap;

use super::troubles::Told;
use crate::notify::{Failure, Message};
use crate::signal::{Text, Timestamp};

/// Notifiers that are remembered; a configuration has some dozen.
const NOTIFIERS_MAX: usize = 100;

/// Attempts in a row after which it is a trouble: with the pauses between them, about two minutes.
const ATTEMPTS_BAD: u64 = 8;

/// By receiver and position in it.
#[derive(Debug, Default)]
pub(super) struct Failing(BTreeMap<(Text, usize), Fails>);

#[derive(Debug)]
struct Fails {
    kind: &'static str,
    since: Timestamp,
    attempts: u64,
    /// Names neither address nor secret.
    last: Text,
    is_trouble: bool,
}

impl Fails {
    fn in_words(&self, receiver: &str) -> String {
        let Self { kind, attempts, last, .. } = self;
        let times = if *attempts == 1 { "attempt" } else { "attempts" };
        format!(
            "{kind} of receiver `{receiver}`: {attempts} {times} in a row failed, the last: {last}; \
             try it with `throughline notify --test {receiver}`"
        )
    }
}

impl Failing {
    /// Gives what is to be said where it has just become a trouble.
    pub(super) fn attempted(
        &mut self,
        message: &Message,
        failure: Option<&Failure>,
        at: Timestamp,
    ) -> Option<String> {
        let key = (Text::clone(&message.notice.receiver), message.position);
        let Some(failure) = failure else {
            self.0.remove(&key);
            return None;
        };
        if self.0.len() >= NOTIFIERS_MAX && !self.0.contains_key(&key) {
            return None;
        }
        let (kind, last) = (message.notifier.to.kind(), Text::clone(&failure.message));
        let new =
            Fails { kind, since: at, attempts: 0, last: Text::clone(&last), is_trouble: false };
        let fails = self.0.entry(key).or_insert(new);
        fails.attempts += 1;
        fails.last = last;
        let is_bad = !failure.retryable || fails.attempts >= ATTEMPTS_BAD;
        let is_new = is_bad && !std::mem::replace(&mut fails.is_trouble, is_bad);
        is_new.then(|| fails.in_words(&message.notice.receiver))
    }

    /// One fails for more than a bad moment.
    pub(super) fn has_trouble(&self) -> bool {
        self.0.values().any(|fails| fails.is_trouble)
    }

    pub(super) fn findings(&self) -> impl Iterator<Item = Told> {
        self.0.iter().map(|((receiver, _), fails)| Told {
            kind: "notifier_fails",
            message: fails.in_words(receiver),
            since: fails.since,
            until: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::notify::receivers::Receiver;
    use crate::notify::samples;

    #[test]
    fn a_notifier_is_a_finding_from_its_first_failure_until_it_hears_something() {
        let receiver = Receiver::webhook("on-call", "http://127.0.0.1/hunter2");
        let message = Message {
            id: "1".into(),
            position: 0,
            notifier: Arc::clone(&receiver.notifiers[0]),
            notice: Arc::new(samples::burn()),
            handle: None,
        };
        let failure = Failure::for_now("cannot connect: it is gone".to_owned());
        let mut failing = Failing::default();
        let (first, later) =
            (samples::now(), samples::now().saturating_add(std::time::Duration::from_secs(1)));
        assert_eq!(failing.attempted(&message, Some(&failure), first), None);
        assert_eq!(failing.attempted(&message, Some(&failure), later), None);
        let findings: Vec<Told> = failing.findings().collect();
        assert_eq!(findings.len(), 1);
        assert_eq!((findings[0].kind, findings[0].since), ("notifier_fails", first));
        assert_eq!(
            findings[0].message,
            "webhook of receiver `on-call`: 2 attempts in a row failed, the last: cannot connect: it is gone; try it with `throughline notify --test on-call`"
        );
        let said: Vec<String> =
            (2..12).filter_map(|_| failing.attempted(&message, Some(&failure), later)).collect();
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].contains("8 attempts in a row"), "{said:?}");
        assert!(failing.has_trouble());
        assert_eq!(failing.attempted(&message, None, later), None);
        assert!(!failing.has_trouble());
        assert_eq!(failing.findings().count(), 0);
        let refused = Failure::for_good("answered 404 Not Found".to_owned());
        assert!(
            failing.attempted(&message, Some(&refused), later).is_some(),
            "waiting does not help"
        );
    }
}
