//! Law 3 for messages: a crash at any moment changes nothing that a receiver can tell.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::notify::{Message, Notice, Silence, SilenceMatcher};

/// One record of the journal.
#[derive(Clone, Debug)]
enum Record {
    Change(Box<Transition>),
    Command(Command),
    Receipt(Receipt),
    Tick,
}

/// The journal: records and their log times.
type Journal = Vec<(Record, Timestamp)>;

static ROUTING: std::sync::LazyLock<Config> = std::sync::LazyLock::new(|| config(ROUTES));

fn replay(journal: &Journal) -> Dispatcher {
    let mut dispatcher = Dispatcher::new(ROUTING.clone(), "http://x");
    for (record, at) in journal {
        apply(&mut dispatcher, record, *at);
    }
    dispatcher
}

fn apply(dispatcher: &mut Dispatcher, record: &Record, at: Timestamp) -> Vec<Message> {
    match record {
        Record::Change(transition) => dispatcher.apply(transition, at),
        Record::Command(command) => dispatcher.command(command, at),
        Record::Receipt(receipt) => dispatcher.receipt(receipt),
        Record::Tick => return dispatcher.tick(at),
    }
    Vec::new()
}

/// What the outside does in one second, by numbers that proptest can shrink.
#[derive(Clone, Copy, Debug)]
enum Act {
    Fire(u8),
    Resolve(u8),
    Post(u8),
    Silence(u8),
    /// The receiver takes messages, and its answer is journaled.
    Answer,
    /// It takes them and the daemon dies before the receipt is on disk.
    TakenThenCrash,
    /// It is slow: what is sent now arrives after what is sent in the next second.
    Slow,
    /// It fails.
    Fail,
    Crash,
    Nothing,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        (0u8..4).prop_map(Act::Fire),
        (0u8..4).prop_map(Act::Resolve),
        (0u8..4).prop_map(Act::Post),
        (0u8..4).prop_map(Act::Silence),
        Just(Act::Answer),
        Just(Act::TakenThenCrash),
        Just(Act::Slow),
        Just(Act::Fail),
        Just(Act::Crash),
        Just(Act::Nothing),
    ]
}

fn labels(n: u8) -> &'static str {
    ["alertname=A severity=page", "alertname=A fn=x", "alertname=A fn=y team=shop", "alertname=B"]
        [usize::from(n)]
}

fn record(act: Act, at: Timestamp, second: u64) -> Option<Record> {
    Some(match act {
        Act::Fire(n) => Record::Change(Box::new(change(labels(n), AlertState::Firing, second))),
        Act::Resolve(n) => {
            Record::Change(Box::new(change(labels(n), AlertState::Inactive, second)))
        }
        Act::Post(n) => Record::Command(Command::PostAlerts(vec![PostedAlert {
            labels: change(labels(n), AlertState::Firing, second).labels,
            annotations: BTreeMap::new(),
            starts_at: at,
            ends_at: None,
            generator_url: Text::default(),
        }])),
        Act::Silence(n) => Record::Command(Command::SetSilence(Silence {
            id: format!("s{n}").into(),
            matchers: vec![SilenceMatcher {
                name: "alertname".into(),
                value: if n % 2 == 0 { "A".into() } else { "B".into() },
                is_regex: false,
                is_equal: true,
            }],
            starts_at: at,
            ends_at: at.saturating_add(std::time::Duration::from_secs(90)),
            updated_at: at,
            created_by: Text::default(),
            comment: Text::default(),
        })),
        _ => return None,
    })
}

/// What a receiver took of one group, in order: the id, and which alerts it was told fire.
type Inbox = BTreeMap<(Text, Text), Vec<(Text, Arc<Notice>)>>;

fn take(inbox: &mut Inbox, message: &Message) {
    let place = (Text::clone(&message.notice.receiver), Text::clone(&message.notice.group_key));
    inbox.entry(place).or_default().push((Text::clone(&message.id), Arc::clone(&message.notice)));
}

/// Runs the acts, then waits until everything is over; gives what receivers took, without repeats.
fn run(acts: &[Act]) -> (Inbox, Dispatcher) {
    let (mut journal, mut inbox) = (Journal::new(), Inbox::new());
    let (mut live, mut late) = (replay(&journal), Vec::new());
    let quiet = std::iter::repeat_n(Act::Answer, 40);
    for (step, act) in (0u64..).zip(acts.iter().copied().chain(quiet)) {
        let second = step * 20;
        let at = Timestamp::from_nanos(second * 1_000_000_000);
        let mut write = |live: &mut Dispatcher, record: Record| {
            let messages = apply(live, &record, at);
            journal.push((record, at));
            messages
        };
        if let Some(record) = record(act, at, second) {
            write(&mut live, record);
        }
        let mut due = write(&mut live, Record::Tick);
        // The sender knows what is on its way.
        due.retain(|message| !late.iter().any(|sent: &Message| sent.id == message.id));
        if matches!(act, Act::Slow) {
            late.extend(due);
            continue;
        }
        let crashes = matches!(act, Act::Crash | Act::TakenThenCrash);
        let is_heard = matches!(act, Act::Answer | Act::TakenThenCrash | Act::Fail);
        for message in due.into_iter().filter(|_| is_heard).chain(late.drain(..)) {
            let fails = matches!(act, Act::Fail);
            if !fails {
                take(&mut inbox, &message);
            }
            if !crashes {
                let failure = fails.then(|| Failure {
                    message: "503".into(),
                    retryable: true,
                    retry_after: None,
                });
                let receipt = Receipt { id: message.id, at, failure, handle: None };
                write(&mut live, Record::Receipt(receipt));
            }
        }
        if crashes {
            live = replay(&journal);
        }
    }
    (inbox, live)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_repeat_has_its_id_and_its_words_and_nothing_comes_out_of_order(
        acts in proptest::collection::vec(act(), 0..60)
    ) {
        let (inbox, _) = run(&acts);
        for taken in inbox.into_values() {
            let mut seen: BTreeMap<Text, Arc<Notice>> = BTreeMap::new();
            let mut newest = Timestamp::EPOCH;
            for (id, notice) in taken {
                prop_assert!(newest <= notice.at, "an old message after a new one");
                newest = notice.at;
                let first = seen.entry(id).or_insert_with(|| Arc::clone(&notice));
                prop_assert_eq!(&*first, &notice, "other words under the same id");
            }
        }
    }

    #[test]
    fn at_the_end_a_receiver_knows_what_fires(
        acts in proptest::collection::vec(act(), 0..60)
    ) {
        let (inbox, live) = run(&acts);
        // Silences and posted alerts are over by now: only our rules' alerts are left.
        let firing: Vec<String> = live
            .alerts(Timestamp::from_nanos(1))
            .iter()
            .map(|alert| alert.labels.to_string())
            .collect();
        for ((receiver, group), taken) in inbox {
            let Some((_, last)) = taken.last() else { continue };
            if *receiver == *"shop" {
                // It does not want to hear of ends.
                continue;
            }
            for alert in &last.alerts {
                let fires = firing.contains(&alert.labels.to_string());
                prop_assert_eq!(fires, alert.is_firing(), "{} {}", group, alert.labels);
            }
        }
    }

    #[test]
    fn a_snapshot_is_the_state(
        acts in proptest::collection::vec(act(), 0..40),
        more in proptest::collection::vec(act(), 0..40)
    ) {
        let (_, live) = run(&acts);
        let mut restored =
            Dispatcher::restore(ROUTING.clone(), "http://x", &live.save()).expect("a snapshot");
        prop_assert_eq!(restored.save(), live.save());
        let silences = |of: &Dispatcher| of.silences().cloned().collect::<Vec<_>>();
        prop_assert_eq!(silences(&restored), silences(&live));
        let mut original = live;
        for (step, act) in (0u64..).zip(more) {
            let second = 2000 + step * 20;
            let at = Timestamp::from_nanos(second * 1_000_000_000);
            for record in record(act, at, second).into_iter().chain([Record::Tick]) {
                prop_assert_eq!(
                    apply(&mut original, &record, at),
                    apply(&mut restored, &record, at)
                );
            }
        }
    }
}
