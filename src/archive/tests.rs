//! What the archive promises, in a directory that goes with the test.

use expect_test::{Expect, expect};

use super::*;
use crate::correlate::request::{Hop, Key, KeyKind};
use crate::correlate::{Outcome, State};
use crate::signal::Via;

/// 2026-11-25T00:00:00Z.
const MIDNIGHT: u64 = 1_795_564_800;
const DAY: u64 = 24 * 3600;

fn at(second: u64) -> Timestamp {
    Timestamp::from_nanos((MIDNIGHT + second) * 1_000_000_000)
}

/// A request that starts `second` seconds into the day and takes `duration_secs`.
fn request(id: &str, second: u64, duration_secs: u64) -> Request {
    let duration = Duration::from_secs(duration_secs);
    Request {
        id: id.into(),
        aliases: vec![format!("alias-{id}").into()],
        flow: "POST /orders".into(),
        outcome: Outcome::Ok,
        state: State::Final,
        start: at(second),
        end: at(second).saturating_add(duration),
        duration,
        response: None,
        continues: None,
        keys: vec![Key { kind: KeyKind::CorrelationId, value: "shared".into() }],
        hops: vec![hop(id)],
        critical_path: Vec::new(),
        missing: Vec::new(),
        cost_usd: None,
        stands_for: 1,
    }
}

fn hop(id: &str) -> Hop {
    Hop {
        id: "hop".into(),
        causes: Vec::new(),
        via: Via::Queue,
        evidence: None,
        function: format!("function-{id}").into(),
        service: None,
        version: None,
        invocation_id: Some(format!("invocation-{id}").into()),
        attempt: 1,
        start: at(0),
        end: None,
        duration: None,
        queue: Some("orders".into()),
        queue_wait: None,
        cold_start: None,
        init: None,
        outcome: Outcome::Ok,
        error: None,
        message_ids: vec![format!("message-{id}").into()],
        shared: false,
        spans: 0,
        logs: 0,
        billed: None,
        cost_usd: None,
    }
}

/// Keeps everything that is slow; nothing by sample.
fn config() -> Config {
    Config { sample: 0.0, ..Config::default() }
}

fn archive(config: Config, requests: &[Request]) -> (tempfile::TempDir, Archive) {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::open(dir.path(), config).unwrap();
    for request in requests {
        archive.offer(request).unwrap();
    }
    (dir, archive)
}

fn any() -> RequestFilter {
    RequestFilter { limit: 100, ..RequestFilter::default() }
}

fn ids(archive: &Archive, filter: &RequestFilter) -> String {
    let found = archive.requests(filter).unwrap();
    found.iter().map(|request| &*request.id).collect::<Vec<_>>().join(" ")
}

#[expect(clippy::needless_pass_by_value, reason = "expect! is written in place")]
fn check(config: Config, requests: &[Request], expect: Expect) {
    let (_dir, archive) = archive(config, requests);
    expect.assert_eq(&ids(&archive, &any()));
}

#[test]
fn a_kept_request_comes_back_whole_by_any_of_its_ids() {
    let kept = request("a", 10, 1);
    let (_dir, archive) = archive(config(), &[kept.clone(), request("b", 20, 1)]);
    for key in ["a", "alias-a", "invocation-a", "message-a"] {
        assert_eq!(archive.lookup(key).unwrap(), Lookup::One(Box::new(kept.clone())), "{key}");
    }
    for key in ["", "hop", "message-", "message-a\u{0}", &"x".repeat(100_000)] {
        assert_eq!(archive.lookup(key).unwrap(), Lookup::None, "{key}");
    }
}

#[test]
fn a_key_of_several_requests_leads_to_all_earliest_first() {
    let requests = [request("late", DAY + 5, 1), request("b", 20, 1), request("a", 20, 1)];
    let (_dir, archive) = archive(config(), &requests);
    let Lookup::Several(found) = archive.lookup("shared").unwrap() else { panic!("several") };
    assert_eq!(found.iter().map(|r| &*r.id).collect::<Vec<_>>(), ["a", "b", "late"]);
}

#[test]
fn requests_are_listed_newest_first_across_days() {
    check(
        config(),
        &[request("a", 10, 1), request("c", DAY + 10, 1), request("b", 20, 1)],
        expect!["c b a"],
    );
}

#[test]
fn a_listing_obeys_every_part_of_its_filter() {
    let bad = Request { outcome: Outcome::Timeout, ..request("bad", 30, 9) };
    let other = Request { flow: "GET /".into(), ..request("other", 40, 1) };
    let requests = [request("a", 10, 1), request("b", 20, 5), bad, other];
    let (_dir, archive) = archive(config(), &requests);
    let with = |change: fn(&mut RequestFilter)| {
        let mut filter = any();
        change(&mut filter);
        ids(&archive, &filter)
    };
    assert_eq!(with(|f| f.limit = 2), "other bad");
    assert_eq!(with(|f| f.flow = Some("GET /".into())), "other");
    assert_eq!(with(|f| f.outcome = Some(Outcome::Timeout)), "bad");
    assert_eq!(with(|f| f.min_duration = Some(Duration::from_secs(5))), "bad b");
    assert_eq!(with(|f| f.function = Some("function-b".into())), "b");
    assert_eq!(with(|f| f.queue = Some("none".into())), "");
    assert_eq!(with(|f| f.start = Some(at(20))), "other bad b");
    assert_eq!(with(|f| f.end = Some(at(20))), "b a");
    assert_eq!(with(|f| (f.start, f.end) = (Some(at(20)), Some(at(19)))), "");
}

#[test]
fn bad_requests_are_kept_and_fast_good_ones_are_not() {
    let bad = Request { outcome: Outcome::Incomplete, ..request("bad", 10, 1) };
    check(
        Config { slowest_per_flow: 0, ..config() },
        &[bad, request("good", 20, 1)],
        expect!["bad"],
    );
}

#[test]
fn the_slowest_of_each_flow_and_hour_stay_in_whatever_order_they_come() {
    let requests = [
        request("next-hour", 3700, 1),
        request("slow", 10, 9),
        request("fast", 20, 1),
        request("mid", 30, 5),
        Request { flow: "GET /".into(), ..request("other", 40, 1) },
    ];
    let two = Config { slowest_per_flow: 2, ..config() };
    check(two.clone(), &requests, expect!["next-hour other mid slow"]);
    let reversed: Vec<Request> = requests.iter().rev().cloned().collect();
    let (_dir, archive) = archive(two, &reversed);
    assert_eq!(ids(&archive, &any()), "next-hour other mid slow");
    assert_eq!(archive.lookup("message-fast").unwrap(), Lookup::None);
}

#[test]
fn a_request_of_an_hour_that_is_over_is_not_kept_for_being_slow() {
    let hours: Vec<Request> =
        (1..=26).map(|hour| request(&format!("h{hour}"), hour * 3600, 1)).collect();
    let (_dir, archive) = archive(config(), &hours);
    archive.offer(&request("late", 0, 500)).unwrap();
    assert_eq!(archive.lookup("late").unwrap(), Lookup::None);
}

#[test]
fn a_request_offered_again_replaces_itself() {
    let corrected = Request { hops: Vec::new(), ..request("a", 10, 1) };
    let (_dir, archive) = archive(config(), &[request("a", 10, 1), corrected.clone()]);
    assert_eq!(archive.requests(&any()).unwrap(), [corrected]);
    assert_eq!(archive.lookup("message-a").unwrap(), Lookup::None);
}

#[test]
fn days_older_than_retention_go() {
    let (_dir, archive) = archive(config(), &[request("old", 10, 1), request("new", DAY + 10, 1)]);
    archive.tick(at(8 * DAY)).unwrap();
    assert_eq!(ids(&archive, &any()), "new old");
    archive.tick(at(8 * DAY + 60)).unwrap();
    assert_eq!(ids(&archive, &any()), "new");
    assert_eq!(archive.lookup("old").unwrap(), Lookup::None);
}

#[test]
fn over_its_size_the_archive_gives_up_old_days_then_refuses_until_the_next_day() {
    let small = Config { size_max_bytes: 1, ..config() };
    let (_dir, archive) = archive(small, &[request("old", 10, 1), request("new", DAY + 10, 1)]);
    archive.tick(at(DAY + 60)).unwrap();
    assert_eq!(ids(&archive, &any()), "new");
    archive.tick(at(DAY + 120)).unwrap();
    archive.offer(&request("refused", DAY + 20, 1)).unwrap();
    assert_eq!((ids(&archive, &any()), archive.refused()), ("new".to_owned(), 1));
    archive.offer(&request("next", 2 * DAY, 1)).unwrap();
    assert_eq!(ids(&archive, &any()), "next");
}

#[test]
fn what_was_kept_is_there_again_and_is_not_kept_twice() {
    let one = request("a", 10, 1);
    let (dir, first) = archive(config(), std::slice::from_ref(&one));
    first.persist().unwrap();
    let saved = first.save().unwrap();
    drop(first);
    let again = Archive::open(dir.path(), config()).unwrap();
    again.restore(&saved).unwrap();
    again.offer(&one).unwrap();
    assert_eq!(ids(&again, &any()), "a");
    again.clear().unwrap();
    again.offer(&request("b", 10, 1)).unwrap();
    assert_eq!(ids(&again, &any()), "b");
}
