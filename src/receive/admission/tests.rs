//! Tests of shares and of who gives way.

use super::*;

fn named(name: &str) -> Sender {
    Sender::Named(name.into())
}

const NOBODY: Sender = Sender::Anyone(None);

fn admit(admission: &Admission, sender: &Sender, bytes: usize) -> Option<Admitted> {
    admission.admit_more(sender, bytes)
}

fn at(n: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, n])
}

/// A body of which so much has come, and no more for now.
fn half_sent(admission: &Admission, sender: &Sender, bytes: usize) -> Coming {
    let mut coming = admission.begin(sender);
    assert!(coming.admit(bytes), "there is room");
    coming.wait(bytes);
    coming
}

/// Time goes by for all that is half sent.
fn age(admission: &Admission, by: Duration) {
    let mut in_flight = lock(&admission.in_flight);
    let all: Vec<u64> = in_flight.half_sent.keys().copied().collect();
    for id in all {
        let grew_at = in_flight.half_sent[&id].grew_at - by;
        in_flight.grew(id, grew_at);
    }
}

fn nothing_is_left(admission: &Admission) {
    let in_flight = lock(&admission.in_flight);
    assert_eq!((in_flight.all.bytes, in_flight.all.half_sent, in_flight.making), (0, 0, 0));
    assert!(in_flight.shares.is_empty(), "who holds nothing is not held");
    assert!(in_flight.half_sent.is_empty() && in_flight.all.line.is_empty());
}

#[test]
fn bytes_come_back_when_their_body_is_done() {
    let admission = Admission::new(4096);
    let first = admit(&admission, &NOBODY, 3000);
    assert!(first.is_some());
    assert!(admit(&admission, &NOBODY, 2000).is_none());
    drop(first);
    assert!(admit(&admission, &NOBODY, 4096).is_some());
    assert!(admit(&admission, &NOBODY, usize::MAX).is_none());
    nothing_is_left(&admission);
}

#[tokio::test]
async fn what_bodies_become_has_room_beside_what_is_in_flight_and_one_always_goes_on() {
    let admission = Admission::new(4000);
    let bodies = admit(&admission, &NOBODY, 3000);
    let first = admission.make(800).await;
    assert!(admit(&admission, &named("a"), 201).is_none(), "it is promised to what is made");
    assert!(!admission.begin(&named("a")).may_hold(201));
    assert!(admit(&admission, &named("a"), 200).is_some());
    let wait = Duration::from_millis(10);
    assert!(tokio::time::timeout(wait, admission.make(201)).await.is_err(), "another is made");
    let second = admission.make(200).await;
    drop(second);
    let (third, ()) = tokio::join!(admission.make(3000), async {
        tokio::time::sleep(wait).await;
        drop(first);
    });
    assert!(
        admit(&admission, &NOBODY, 1).is_none(),
        "it went on alone, and nobody comes beside it"
    );
    drop(bodies);
    assert!(admit(&admission, &NOBODY, 1000).is_some());
    drop(third);
    nothing_is_left(&admission);
}

#[test]
fn one_sender_leaves_room_for_another() {
    let admission = Admission::new(4000);
    for (a, b) in
        [(named("a"), named("b")), (Sender::Anyone(Some(at(1))), Sender::Anyone(Some(at(2))))]
    {
        let first = admit(&admission, &a, 1500);
        assert!(first.is_some());
        assert!(admit(&admission, &a, 501).is_none(), "half is the most");
        let second = admit(&admission, &b, 2000);
        assert!(second.is_some());
        let rest = admit(&admission, &a, 500);
        assert!(rest.is_some());
        assert!(admit(&admission, &b, 1).is_none());
        drop((first, second));
        assert!(admit(&admission, &a, 1500).is_some());
        drop(rest);
        nothing_is_left(&admission);
    }
}

#[test]
fn one_address_of_the_unproven_leaves_room_for_another() {
    let admission = Admission::new(4000);
    let unproven = |n| Sender::Unproven(Some(at(n)));
    let first = half_sent(&admission, &unproven(1), 1000);
    assert!(!admission.begin(&unproven(1)).admit(1), "half of their half is the most");
    assert!(!admission.begin(&unproven(1)).may_hold(1001));
    let second = half_sent(&admission, &unproven(2), 1000);
    assert!(!admission.begin(&unproven(3)).admit(1), "they have half in all");
    assert!(!admission.begin(&Sender::Unproven(None)).admit(1));
    let proven = admit(&admission, &named("a"), 2000);
    assert!(proven.is_some(), "who is proven has the other half");
    drop((first, second, proven));
    let here = half_sent(&admission, &Sender::Unproven(None), 2000);
    drop(here);
    nothing_is_left(&admission);
}

#[tokio::test]
async fn half_sent_bodies_give_way_once_they_stall() {
    for sender in [NOBODY, Sender::Unproven(None), Sender::Unproven(Some(at(1))), named("a")] {
        let admission = Admission::new(4000);
        let max = sender.shares().into_iter().flatten().map(|(_, part)| 4000 / part).min();
        let half = max.unwrap_or(4000) / 2;
        let first = half_sent(&admission, &sender, half);
        age(&admission, STALLED_AFTER / 2);
        let second = half_sent(&admission, &sender, half);
        assert!(admission.begin(&sender).may_hold(half), "what is half sent may go");
        assert!(!admission.begin(&sender).admit(half), "neither has stalled");
        age(&admission, STALLED_AFTER / 2);
        let mut next = admission.begin(&sender);
        assert!(next.admit(half), "{sender:?}: the oldest stalled");
        first.sent_away().await;
        assert!(first.arrived().is_none(), "it holds nothing any more");
        assert!(!next.admit(1), "the second goes on, and nobody goes for nothing");
        assert!(second.arrived().is_some());
        drop(next);
        nothing_is_left(&admission);
    }
}

#[tokio::test]
async fn a_body_goes_on_that_doubles_and_not_that_trickles() {
    let admission = Admission::new(4000);
    let (mut quick, mut slow) =
        (half_sent(&admission, &NOBODY, 100), half_sent(&admission, &NOBODY, 100));
    for n in 1..5 {
        age(&admission, STALLED_AFTER / 2);
        assert!(quick.admit(100 << (n - 1)) && slow.admit(1));
        quick.wait(100 << n);
        slow.wait(100 + n);
    }
    // 1,704 are held, and both are half sent.
    let other = admit(&admission, &named("a"), 1);
    let whole = admission.begin(&NOBODY).admit(2300);
    assert!(whole, "the slow one makes room");
    assert!(slow.arrived().is_none() && quick.arrived().is_some());
    drop(other);
    nothing_is_left(&admission);
}

#[tokio::test]
async fn who_was_sent_away_takes_nothing_more_and_gives_nothing_back_twice() {
    let admission = Admission::new(4000);
    let mut stalled = half_sent(&admission, &named("a"), 2000);
    age(&admission, STALLED_AFTER);
    let taken = admit(&admission, &named("a"), 2000);
    assert!(taken.is_some());
    assert!(!stalled.admit(1));
    stalled.wait(5000);
    drop(stalled);
    assert_eq!(lock(&admission.in_flight).all.bytes, 2000);
    drop(taken);
    nothing_is_left(&admission);
}

#[tokio::test]
async fn what_is_whole_gives_way_to_nobody() {
    let admission = Admission::new(4000);
    let whole = half_sent(&admission, &NOBODY, 4000).arrived();
    age(&admission, STALLED_AFTER * 9);
    assert!(whole.is_some() && !admission.begin(&NOBODY).admit(1));
    assert!(!admission.begin(&NOBODY).may_hold(1), "it is refused before its body");
    drop(whole);
    nothing_is_left(&admission);
}

#[test]
fn what_is_proven_is_held_in_its_own_name() {
    let admission = Admission::new(4000);
    let body =
        half_sent(&admission, &Sender::Unproven(Some(at(1))), 1000).arrived().expect("whole");
    let body = body.pass_to(&named("a")).expect("room");
    assert!(admission.begin(&Sender::Unproven(None)).admit(2000), "the unproven have theirs again");
    let rest = admit(&admission, &named("a"), 1000);
    assert!(rest.is_some() && admit(&admission, &named("a"), 1).is_none());
    let more = half_sent(&admission, &Sender::Unproven(None), 1).arrived().expect("whole");
    assert!(more.pass_to(&named("a")).is_none());
    drop((body, rest));
    nothing_is_left(&admission);
}

#[test]
fn a_body_that_comes_may_have_what_its_sender_may_hold_and_no_more() {
    let admission = Admission::new(4000);
    let senders = [NOBODY, named("a"), Sender::Anyone(Some(at(1))), Sender::Unproven(None)];
    assert_eq!(senders.map(|sender| admission.share(&sender)), [4000, 2000, 2000, 2000]);
    let unproven = Sender::Unproven(Some(at(1)));
    assert_eq!(admission.share(&unproven), 1000);
    let coming = admission.begin(&unproven);
    assert!(coming.may_hold(1000) && !coming.may_hold(1001), "nor where nobody else is");
}
