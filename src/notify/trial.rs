//! The message that tries a notifier out: marked as a test, and as long as a real one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::group::Reason;
use super::notice::{Alert, Notice};
use super::receivers::Notifier;
use super::{Config, Message};
use crate::evaluate::alert::{Budget, Counts, Evidence, Example, Impact, Trend, VersionChange};
use crate::signal::{Fnv128, Labels, Text, Timestamp};

/// Bad requests of the last half hour, in steps of two minutes.
const TREND: [f64; 15] =
    [0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 4.0, 9.0, 15.0, 21.0, 17.0];

/// A test message to every notifier of a receiver; None: there is no such receiver.
pub fn messages(
    config: &Config,
    receiver: &str,
    external_url: &str,
    now: Timestamp,
) -> Option<Vec<Message>> {
    let found = config.receivers().iter().find(|found| &*found.name == receiver)?;
    let notice = Arc::new(notice(receiver, external_url, now));
    let message = |(position, notifier): (usize, &Arc<Notifier>)| {
        let hash = Fnv128::default()
            .field(b"test")
            .field(receiver.as_bytes())
            .field(&position.to_le_bytes())
            .field(&now.as_nanos().to_le_bytes());
        Message {
            id: format!("{:032x}", hash.finish()).into(),
            position,
            notifier: Arc::clone(notifier),
            notice: Arc::clone(&notice),
            handle: None,
        }
    };
    Some(found.notifiers.iter().enumerate().map(message).collect())
}

fn notice(receiver: &str, external_url: &str, now: Timestamp) -> Notice {
    let labels = Labels::of(&[
        ("alertname", "ThroughlineTest"),
        ("severity", "page"),
        ("service", "shop"),
        ("slo", "orders-in-time"),
    ]);
    let annotations = [
        ("summary", "this is a test of the notifier, nothing is wrong"),
        ("description", "Somebody ran `throughline notify --test`. The figures below are made up."),
        ("runbook_url", &format!("{external_url}/runbooks/DlqGrew")),
    ];
    let annotations: BTreeMap<Text, Text> =
        annotations.into_iter().map(|(name, text)| (name.into(), text.into())).collect();
    let alert = Alert {
        labels,
        annotations,
        started_at: now.saturating_sub(Duration::from_mins(1)),
        resolved_at: None,
        corrected: false,
        evidence: Some(evidence(external_url, now)),
        generator_url: Text::default(),
    };
    Notice {
        receiver: receiver.into(),
        reason: Reason::Test,
        group_labels: Labels::of(&[("alertname", "ThroughlineTest")]),
        group_key: "{}:{alertname=\"ThroughlineTest\"}".into(),
        external_url: external_url.into(),
        undelivered_to: None,
        at: now,
        alerts: vec![alert],
    }
}

fn evidence(external_url: &str, now: Timestamp) -> Evidence {
    let id = "5f0c7a1e00000000000000000000abcd";
    let timeline = [
        "+  0.000 s  checkout  run            0.212 s",
        "+  0.212 s  fulfil    queue_wait     6.100 s",
        "+  6.312 s  fulfil    run            1.900 s  timeout",
    ];
    let request = Example {
        request_id: id.into(),
        flow: "POST /orders".into(),
        outcome: "timeout".into(),
        duration_ms: 8_212.0,
        failed: None,
        slowest: "fulfil (queue_wait)".into(),
        slowest_ms: 6_100.0,
        usual_ms: Some(200.0),
        error: Some("Task timed out after 1.90 seconds".into()),
        timeline: timeline.map(Text::from).to_vec(),
        url: format!("{external_url}/requests/{id}").into(),
    };
    let counts = Counts {
        what: "requests".into(),
        how: "bad".into(),
        bad: 38,
        total: Some(412),
        window_s: 300,
    };
    let trend = Trend { what: "bad requests".into(), step_s: 120, values: TREND.to_vec() };
    let budget = Budget {
        slo: "orders-in-time".into(),
        window_s: 30 * 86_400,
        measured_s: Some(30 * 86_400),
        left_ratio: 0.61,
        whole_minutes: 43.2,
        burn_1h: Some(15.2),
        gone_at: Some(now.saturating_add(Duration::from_hours(29))),
        spent_ratio: None,
    };
    let version = VersionChange {
        function: "fulfil".into(),
        version: "43".into(),
        before: Some("42".into()),
        since: now.saturating_sub(Duration::from_mins(14)),
    };
    let impact =
        Impact { counts: Some(counts), trend: Some(trend), budget: Some(budget), peak_ratio: None };
    Evidence { request: Some(request), impact: Some(impact), version: Some(version) }
}
