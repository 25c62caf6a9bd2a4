//! Notices and receivers for tests.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Config;
use super::Files;
use super::group::Reason;
use super::notice::{Alert, Notice};
use super::trial;
use crate::evaluate::alert::{Budget, Counts, Evidence, FailedAt, Impact};
use crate::signal::{Labels, Text, Timestamp};

pub(crate) const URL: &str = "https://throughline.example.org";

/// One notifier of each kind, with nothing written but where it goes.
pub(crate) const RECEIVERS: &str = r"
route: {receiver: all}
receivers:
  - name: all
    webhook_configs: [{url: 'https://hooks.example.org/a', signing_key: 'whsec_c2VjcmV0'}]
    slack_configs: [{channel: '#alerts', app_token: 'xoxb-secret', update_message: true}]
    msteamsv2_configs: [{webhook_url: 'https://teams.example.org/secret'}]
    googlechat_configs: [{url: 'https://chat.example.org/v1/spaces/A/messages?key=secret'}]
    pagerduty_configs: [{routing_key: secretsecretsecret}]
    email_configs: [{to: 'on-call@example.org', from: 'alerts@example.org', smarthost: 'mail.example.org:587'}]
";

/// Every file is empty; no pattern matches.
pub(crate) fn no_files() -> Files<'static> {
    Files { read: &|_| Ok(String::new()), glob: &|_| Ok(Vec::new()) }
}

pub(crate) fn now() -> Timestamp {
    Timestamp::parse_rfc3339("2026-11-25T14:12:00Z").expect("a time")
}

/// A page with everything that a message can say.
pub(crate) fn burn() -> Notice {
    let config = Config::webhook("http://127.0.0.1/", Duration::ZERO);
    let messages = trial::messages(&config, "page", URL, now()).expect("a receiver");
    let mut notice = Notice::clone(&messages.first().expect("a notifier").notice);
    notice.receiver = "on-call".into();
    notice.reason = Reason::First;
    let alert = notice.alerts.first_mut().expect("an alert");
    alert.labels = alert
        .labels
        .with("alertname", "OrdersInTimeBurns")
        .with("region", "eu-west-1")
        .with("env", "prod");
    let texts = [
        ("summary", "shop: the error budget of orders-in-time burns 92x (5 min), 15x (1 h)"),
        ("description", "99.9 % of orders are to be done within 2 s."),
    ];
    alert.annotations.extend(texts.map(|(name, text)| (Text::from(name), Text::from(text))));
    notice.group_labels = Labels::of(&[("alertname", "OrdersInTimeBurns")]);
    notice.group_key = "{}/{severity=\"page\"}:{alertname=\"OrdersInTimeBurns\"}".into();
    notice
}

/// The end of the same.
pub(crate) fn resolved() -> Notice {
    let mut notice = burn();
    notice.reason = Reason::AllResolved;
    notice.at = now().saturating_add(Duration::from_mins(16));
    let alert = notice.alerts.first_mut().expect("an alert");
    alert.resolved_at = Some(now().saturating_add(Duration::from_mins(15)));
    let budget = Budget {
        slo: "orders-in-time".into(),
        window_s: 30 * 86_400,
        measured_s: Some(30 * 86_400),
        left_ratio: 0.58,
        whole_minutes: 43.2,
        burn_1h: Some(0.4),
        gone_at: None,
        spent_ratio: Some(0.031),
    };
    let impact = Impact { budget: Some(budget), peak_ratio: Some(0.923), ..Impact::default() };
    alert.evidence = Some(Evidence { impact: Some(impact), ..Evidence::default() });
    notice
}

/// The same, four hours on: its figures are of when it began.
pub(crate) fn repeat() -> Notice {
    let mut notice = burn();
    notice.reason = Reason::Repeat;
    notice.at = now().saturating_add(Duration::from_hours(4));
    notice
}

/// The first dead letter of a queue.
pub(crate) fn dead_letter() -> Notice {
    let mut notice = burn();
    let labels = Labels::of(&[
        ("alertname", "DlqGrew"),
        ("severity", "page"),
        ("queue", "orders-dlq"),
        ("source_queue", "orders"),
        ("faas_name", "fulfil"),
    ]);
    let alert = notice.alerts.first_mut().expect("an alert");
    alert.labels = labels;
    alert.annotations.insert("summary".into(), "Dead letters arrive in orders-dlq".into());
    alert.annotations.remove("description");
    let evidence = alert.evidence.as_mut().expect("evidence");
    (evidence.version, evidence.impact) = (None, None);
    let counts = Counts {
        what: "dead letters".into(),
        how: Text::default(),
        bad: 1,
        total: None,
        window_s: 300,
    };
    evidence.impact = Some(Impact { counts: Some(counts), ..Impact::default() });
    let request = evidence.request.as_mut().expect("a request");
    request.outcome = "dead_lettered".into();
    request.error = Some("KeyError: 'sku'".into());
    request.failed = Some(FailedAt {
        function: "fulfil".into(),
        queue: Some("orders".into()),
        attempt: 3,
        outcome: "error".into(),
        error: request.error.clone(),
    });
    notice.group_labels = Labels::of(&[("alertname", "DlqGrew")]);
    notice.group_key = "{}/{severity=\"page\"}:{alertname=\"DlqGrew\"}".into();
    notice
}

/// A page, twelve tickets and an end in one group.
pub(crate) fn group() -> Notice {
    let mut notice = burn();
    notice.reason = Reason::NewAlerts;
    let ticket = |n: usize| {
        let queue = format!("queue-{n:02}");
        let labels =
            Labels::of(&[("alertname", "DlqNotEmpty"), ("severity", "ticket"), ("queue", &queue)]);
        let started_at = now().saturating_sub(Duration::from_hours(26));
        let annotations: BTreeMap<Text, Text> =
            [("summary".into(), format!("Dead letters lie in {queue}").into())].into();
        Alert {
            labels,
            annotations,
            started_at,
            resolved_at: None,
            corrected: false,
            evidence: None,
            generator_url: Text::default(),
        }
    };
    let mut tickets: Vec<Alert> = (1..=12).map(ticket).collect();
    tickets[11].resolved_at = Some(now());
    notice.alerts.extend(tickets);
    notice
}

/// A second page joins the group of one that has fired for hours.
pub(crate) fn joined() -> Notice {
    let mut notice = burn();
    notice.reason = Reason::NewAlerts;
    let mut old = notice.alerts.first().expect("an alert").clone();
    old.labels = old.labels.with("slo", "orders-available");
    old.started_at = now().saturating_sub(Duration::from_hours(3));
    old.annotations.insert(
        "summary".into(),
        "shop: the error budget of orders-available burns too fast".into(),
    );
    notice.alerts.insert(0, old);
    notice
}

/// What somebody else posted: labels and nothing else.
pub(crate) fn bare() -> Notice {
    let labels = Labels::of(&[("alertname", "InstanceDown"), ("instance", "db-1:9090")]);
    let alert = Alert {
        labels,
        annotations: BTreeMap::new(),
        started_at: now().saturating_sub(Duration::from_secs(42)),
        resolved_at: None,
        corrected: false,
        evidence: None,
        generator_url: Text::default(),
    };
    Notice { alerts: vec![alert], group_key: "{}:{}".into(), ..burn() }
}

/// Labels that try to be markup, mentions, links and headers.
pub(crate) fn hostile() -> Notice {
    let mut notice = bare();
    let alert = notice.alerts.first_mut().expect("an alert");
    alert.labels = Labels::of(&[
        ("alertname", "<!channel> [free](http://evil.example) <script>alert(1)</script>"),
        ("instance", "a\r\nBcc: everybody@example.org\n```"),
    ]);
    alert.annotations.insert("runbook_url".into(), "javascript:alert(1)".into());
    alert
        .annotations
        .insert("description".into(), "<at>everyone</at> & \"quotes\" <b>bold</b>".into());
    notice
}

/// More than any platform takes.
pub(crate) fn huge() -> Notice {
    let mut notice = burn();
    let alert = notice.alerts.first_mut().expect("an alert");
    alert.annotations.insert("description".into(), "long ".repeat(120_000).into());
    notice
}
