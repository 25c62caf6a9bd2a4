//! How much may be said by silences and alerts that others make.

use super::super::silence::{Silence, SilenceMatcher};
use super::*;

fn at(second: u64) -> Timestamp {
    Timestamp::from_nanos((1_000_000 + second) * 1_000_000_000)
}

fn posted(n: u32, text: &str) -> PostedAlert {
    let name: Text = format!("a{n}").into();
    PostedAlert {
        labels: Labels::new([("alertname".into(), name)]),
        annotations: BTreeMap::from([("text".into(), text.into())]),
        starts_at: at(0),
        ends_at: None,
        generator_url: Text::default(),
    }
}

#[test]
fn ends_and_repeats_of_alerts_that_are_held_are_taken_where_there_is_no_room_for_new_ones() {
    let mut dispatcher = Dispatcher::new(Config::default(), "http://us");
    let many = u32::try_from(super::super::ALERTS_MAX).unwrap();
    let first: Vec<PostedAlert> = (0..many - 1).map(|n| posted(n, "it broke")).collect();
    assert_eq!(dispatcher.with_room(first.clone(), at(0)).len(), first.len());
    dispatcher.command(&Command::PostAlerts(first), at(0));
    let two = vec![posted(many, ""), posted(many + 1, "")];
    let taken = dispatcher.with_room(two, at(1));
    assert_eq!(taken, [posted(many, "")], "what has no room is not acknowledged");
    dispatcher.command(&Command::PostAlerts(taken), at(1));
    assert!(dispatcher.with_room(vec![posted(many + 1, "")], at(2)).is_empty());
    let url: Text = "http://one.that.is.long".into();
    let longer =
        PostedAlert { generator_url: url, ..posted(7, "it broke, and much is said of it") };
    assert_eq!(dispatcher.with_room(vec![longer], at(2)), [posted(7, "it broke")]);
    let end = |n| PostedAlert { ends_at: Some(at(2)), ..posted(n, "it broke") };
    let ends = vec![end(7), end(many + 9)];
    assert_eq!(dispatcher.with_room(ends.clone(), at(2)), ends);
    dispatcher.command(&Command::PostAlerts(ends), at(2));
    let is_over = |n: u32| {
        let label = format!("a{n}");
        !dispatcher
            .alerts(at(2))
            .iter()
            .any(|one| one.labels.get("alertname") == Some(label.as_str()))
    };
    assert!(is_over(7) && !is_over(8));
}

#[test]
fn what_silences_and_posted_alerts_say_has_a_bound() {
    let mut dispatcher = Dispatcher::new(Config::default(), "http://us");
    let text: Text = "x".repeat(1 << 20).into();
    for n in 0..32 {
        let posted = posted(n, &text);
        assert_eq!(dispatcher.with_room(vec![posted.clone()], at(0)).len(), 1, "{n} MiB");
        dispatcher.command(&Command::PostAlerts(vec![posted]), at(0));
    }
    assert!(dispatcher.with_room(vec![posted(32, "")], at(0)).is_empty());
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
