//! How much may be said by silences and alerts that others make.

use super::super::silence::{Silence, SilenceMatcher};
use super::*;

fn at(second: u64) -> Timestamp {
    Timestamp::from_nanos((1_000_000 + second) * 1_000_000_000)
}

#[test]
fn what_silences_and_posted_alerts_say_has_a_bound() {
    let mut dispatcher = Dispatcher::new(Config::default(), "http://us");
    let text: Text = "x".repeat(1 << 20).into();
    for n in 0..32 {
        assert!(!dispatcher.is_full(), "{n} MiB");
        let name: Text = format!("a{n}").into();
        let posted = PostedAlert {
            labels: Labels::new([("alertname".into(), name)]),
            annotations: BTreeMap::from([("text".into(), Text::clone(&text))]),
            starts_at: at(0),
            ends_at: None,
            generator_url: Text::default(),
        };
        dispatcher.command(&Command::PostAlerts(vec![posted]), at(0));
    }
    assert!(dispatcher.is_full());
    let silence = |n: u32| Silence {
        id: format!("s{n}").into(),
        matchers: vec![SilenceMatcher {
            name: "fn".into(),
            value: "f".into(),
            is_regex: false,
            is_equal: true,
        }],
        starts_at: at(0),
        ends_at: at(9),
        updated_at: at(0),
        created_by: "me".into(),
        comment: Text::clone(&text),
    };
    for n in 0..17 {
        assert_eq!(dispatcher.has_room_for(&silence(n)), n < 15, "{n} MiB and their names");
        dispatcher.command(&Command::SetSilence(silence(n)), at(1));
    }
    assert_eq!(dispatcher.silences().count(), 15, "one more is no silence");
    // One that is held may say less, but not more than there is room for.
    let shorter = Silence { comment: "x".into(), ..silence(3) };
    assert!(dispatcher.has_room_for(&silence(3)) && dispatcher.has_room_for(&shorter));
    let longer = Silence { comment: "x".repeat(2 << 20).into(), ..silence(3) };
    assert!(!dispatcher.has_room_for(&longer));
    dispatcher.command(&Command::SetSilence(longer), at(2));
    assert_eq!(dispatcher.silence("s3").unwrap().comment, text);
}
