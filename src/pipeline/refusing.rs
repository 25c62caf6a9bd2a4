//! Refused deliveries as a finding: from the first until a minute passed without another, by what refused
//! them.
//!
//! What was counted so far comes in, once a tick. Refusals for the disk are told of by `disk_full`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::troubles::Told;
use crate::receive::CAUSES;
use crate::signal::Timestamp;

/// Without a refusal for so long it is over: senders pause for less between two attempts.
const QUIET: Duration = Duration::from_mins(1);
/// How long it is said that it was.
pub(super) const SAID_FOR: Duration = Duration::from_hours(1);

#[derive(Debug, Default)]
pub(super) struct Refusing {
    /// By cause, as counted when it was last looked.
    counted: BTreeMap<String, u64>,
    spell: Option<Spell>,
}

/// Refusals that followed one another.
#[derive(Debug)]
struct Spell {
    since: Timestamp,
    last: Timestamp,
    by_cause: BTreeMap<String, u64>,
}

impl Refusing {
    pub(super) fn look(&mut self, counted: BTreeMap<String, u64>, at: Timestamp) {
        let before = std::mem::replace(&mut self.counted, counted);
        let more: Vec<(&String, u64)> = self
            .counted
            .iter()
            .filter(|(cause, _)| CAUSES.contains(&cause.as_str()))
            .map(|(cause, n)| (cause, n.saturating_sub(before.get(cause).copied().unwrap_or(0))))
            .filter(|(_, n)| *n > 0)
            .collect();
        let quiet = self.spell.as_ref().map_or(Duration::ZERO, |spell| at.since(spell.last));
        if quiet >= QUIET + SAID_FOR || (quiet >= QUIET && !more.is_empty()) {
            self.spell = None;
        }
        if more.is_empty() {
            return;
        }
        let new = || Spell { since: at, last: at, by_cause: BTreeMap::new() };
        let spell = self.spell.get_or_insert_with(new);
        spell.last = at;
        for (cause, n) in more {
            *spell.by_cause.entry(cause.clone()).or_default() += n;
        }
    }

    pub(super) fn finding(&self, now: Timestamp) -> Option<Told> {
        let Spell { since, last, by_cause } = self.spell.as_ref()?;
        let is_over = now.since(*last) >= QUIET;
        let parts: Vec<String> =
            by_cause.iter().map(|(cause, n)| format!("{n} because {}", in_words(cause))).collect();
        let (are, come) = if is_over { ("were", "came") } else { ("are", "come") };
        Some(Told {
            kind: "deliveries_refused",
            message: format!(
                "deliveries {are} refused (503) and {come} again later: {}",
                parts.join(", ")
            ),
            since: *since,
            until: is_over.then_some(*last),
        })
    }
}

/// What each cause of `throughline_self_receive_refusals_total` means.
fn in_words(cause: &str) -> &'static str {
    match cause {
        "memory" => "open requests fill the engine's half of `memory_max`",
        "behind" => "too much waits for the disk",
        "keys" => "too many pushes of Pub/Sub wait for the keys that prove their tokens",
        _ => "what is in flight fills a quarter of `memory_max`, or one sender's half of it",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_of_by_what_refused_them_until_they_end() {
        let at = |seconds: u64| Timestamp::from_nanos((1_000 + seconds) * 1_000_000_000);
        let mut refusing = Refusing::default();
        let mut look = |seconds: u64, overloaded: u64, memory: u64| {
            let counted = [("overloaded", overloaded), ("memory", memory), ("disk_full", 9)];
            refusing.look(counted.map(|(cause, n)| (cause.to_owned(), n)).into(), at(seconds));
            refusing.finding(at(seconds)).map(|told| {
                assert_eq!(told.kind, "deliveries_refused");
                let until = told.until.map(|until| until.since(at(0)).as_secs());
                (told.message, told.since.since(at(0)).as_secs(), until)
            })
        };
        assert_eq!(look(0, 0, 0), None, "the disk has a finding of its own");
        let (message, since, until) = look(1, 20, 6).expect("a finding");
        assert!(
            message.contains("are refused") && message.contains("20 because what is in flight")
        );
        assert!(message.contains("6 because open requests"), "{message}");
        assert_eq!((since, until), (1, None));
        assert!(look(2, 21, 6).expect("a finding").0.contains("21 because"));
        let (message, _, until) = look(62, 21, 6).expect("a finding");
        assert!(message.contains("were refused") && until == Some(2), "{message}");
        let (message, since, until) = look(100, 22, 6).expect("another");
        assert!(message.contains("1 because"), "{message}");
        assert_eq!((since, until), (100, None));
        assert_eq!(look(100 + 60 + 3600, 22, 6), None);
    }
}
