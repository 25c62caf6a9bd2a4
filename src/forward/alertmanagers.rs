//! Pushes alerts on to real Alertmanagers, as Prometheus does: all that fire, again every minute, with an
//! end four minutes ahead, and ends until fifteen minutes after.
//!
//! What comes in: the dispatcher's alerts. What goes out: `POST /api/v2/alerts`, one lane a peer. A push
//! may come twice and changes nothing the second time: an alert is its labels, so nothing needs to be
//! remembered over a restart. Labels that tell replicas of this daemon apart are dropped before, so that
//! two daemons over the same signals push one alert.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;

use crate::clock::Clock;
use crate::internal_telemetry::Metrics;
use crate::internal_telemetry::happening::AlertsPushed;
use crate::notify::{Dispatcher, PushView};
use crate::signal::{Labels, Text, Timestamp};

/// How often changes are looked for.
const ROUND: Duration = Duration::from_secs(1);
/// How often a firing alert is pushed again (Prometheus's `--rules.alert.resend-delay`).
const RESEND: Duration = Duration::from_mins(1);
/// An alert that is not pushed again ends by itself after so many missed resends.
const RESENDS_MISSED_MAX: u32 = 4;
/// Alerts in one request (Prometheus's `--alertmanager.notification-batch-size`).
const BATCH_MAX: usize = 256;
/// Longest pause after failures.
const PAUSE_MAX: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(10);

/// A real Alertmanager.
#[derive(Clone, PartialEq, Eq)]
pub struct Peer {
    /// Without a path: `http://alertmanager:9093`. May hold a password; never shown.
    pub url: String,
    pub bearer: Option<String>,
    /// Added to every alert that does not have them.
    pub external_labels: Vec<(Text, Text)>,
    /// Names of labels that differ between replicas.
    pub drop_labels: Vec<Text>,
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peer").finish_non_exhaustive()
    }
}

/// What one peer was sent, and what it should be sent next. Pure.
#[derive(Debug, Default)]
pub struct Lane {
    /// By the pushed labels' signature; never more than the alerts that are held.
    sent: BTreeMap<u64, Sent>,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    at: Timestamp,
    was_firing: bool,
}

/// An alert as it goes out, and what to remember when it went.
#[derive(Debug)]
pub struct Push {
    signature: u64,
    is_firing: bool,
    labels: Labels,
    annotations: BTreeMap<Text, Text>,
    starts_at: Timestamp,
    ends_at: Timestamp,
}

impl Push {
    fn shown(&self, generator_url: &str) -> Value {
        json!({
            "labels": self.labels,
            "annotations": self.annotations,
            "startsAt": self.starts_at,
            "endsAt": self.ends_at,
            "generatorURL": generator_url,
        })
    }
}

impl Lane {
    /// What is due: changes, and what fires and was last sent a minute ago. Forgets what is over.
    pub fn due<'a>(
        &mut self,
        peer: &Peer,
        alerts: impl Iterator<Item = PushView<'a>>,
        now: Timestamp,
    ) -> Vec<Push> {
        let mut held: BTreeMap<u64, Push> = BTreeMap::new();
        for alert in alerts {
            let labels = pushed_labels(peer, alert.labels);
            let push = Push {
                signature: labels.signature(),
                is_firing: alert.resolved_at.is_none(),
                labels,
                annotations: alert.annotations.clone(),
                starts_at: alert.starts_at,
                ends_at: alert
                    .resolved_at
                    .unwrap_or_else(|| now.saturating_add(RESEND * RESENDS_MISSED_MAX)),
            };
            // Of alerts that only a dropped label told apart, one that fires speaks for all.
            match held.get(&push.signature) {
                Some(other)
                    if (other.is_firing, other.ends_at) >= (push.is_firing, push.ends_at) => {}
                _ => drop(held.insert(push.signature, push)),
            }
        }
        self.sent.retain(|signature, _| held.contains_key(signature));
        held.retain(|signature, push| match self.sent.get(signature) {
            // An end that nobody saw begin is no news.
            None => push.is_firing,
            Some(sent) => sent.was_firing != push.is_firing || now.since(sent.at) >= RESEND,
        });
        held.into_values().collect()
    }

    /// They went.
    pub fn went(&mut self, pushes: &[Push], now: Timestamp) {
        for push in pushes {
            self.sent.insert(push.signature, Sent { at: now, was_firing: push.is_firing });
        }
    }
}

fn pushed_labels(peer: &Peer, labels: &Labels) -> Labels {
    let kept = labels.pairs().iter().filter(|(name, _)| !peer.drop_labels.contains(name));
    let added = peer
        .external_labels
        .iter()
        .filter(|(name, _)| labels.get(name).is_none() && !peer.drop_labels.contains(name));
    Labels::new(kept.chain(added).cloned())
}

/// What every lane works with.
#[derive(Clone, Debug)]
pub struct Shared {
    pub dispatcher: Arc<RwLock<Dispatcher>>,
    pub clock: Clock,
    pub metrics: Arc<Metrics>,
    /// Where an alert's own link leads.
    pub external_url: Text,
}

/// Pushes to one peer until told to stop.
pub async fn run(peer: Peer, shared: Shared, mut stopping: watch::Receiver<bool>) {
    let client = reqwest::Client::builder()
        .timeout(TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("throughline/", env!("CARGO_PKG_VERSION")))
        .build();
    let client = match client {
        Ok(client) => client,
        Err(error) => {
            tracing::error!(event = "forward.client.failed", %error);
            return;
        }
    };
    let (mut lane, mut pause) = (Lane::default(), ROUND);
    loop {
        tokio::select! {
            () = tokio::time::sleep(shared.clock.real(pause)) => {}
            _ = stopping.wait_for(|stop| *stop) => return,
        }
        pause = if round(&client, &peer, &shared, &mut lane).await {
            ROUND
        } else {
            (pause * 2).min(PAUSE_MAX)
        };
    }
}

/// Sends what is due; false when the peer did not take it all.
async fn round(client: &reqwest::Client, peer: &Peer, shared: &Shared, lane: &mut Lane) -> bool {
    let now = shared.clock.now();
    let due = {
        let dispatcher = shared.dispatcher.read().unwrap_or_else(PoisonError::into_inner);
        lane.due(peer, dispatcher.pushed(), now)
    };
    let generator_url = format!("{}/alerts", shared.external_url);
    for batch in due.chunks(BATCH_MAX) {
        let body: Vec<Value> = batch.iter().map(|push| push.shown(&generator_url)).collect();
        let failure = post(client, peer, &body).await.err();
        AlertsPushed { n_alerts: batch.len(), failure: failure.as_deref() }.emit(&shared.metrics);
        if failure.is_some() {
            return false;
        }
        lane.went(batch, now);
    }
    true
}

async fn post(client: &reqwest::Client, peer: &Peer, body: &[Value]) -> Result<(), String> {
    let url = format!("{}/api/v2/alerts", peer.url.trim_end_matches('/'));
    let mut request = client.post(url).json(body);
    if let Some(bearer) = &peer.bearer {
        request = request.bearer_auth(bearer);
    }
    // The URL may hold a secret: it is never part of an error.
    let answer = request.send().await.map_err(|error| error.without_url().to_string())?;
    if answer.status().is_success() {
        return Ok(());
    }
    Err(format!("answered {}", answer.status()))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use expect_test::{Expect, expect};

    use super::*;

    fn at(second: u64) -> Timestamp {
        Timestamp::from_nanos(second * 1_000_000_000)
    }

    /// An alert that fires from one second to another.
    struct Fires(&'static [(&'static str, &'static str)], std::ops::Range<u64>);

    /// What goes out in each second when every push succeeds, but for those seconds in which the peer
    /// is down.
    #[expect(clippy::needless_pass_by_value, reason = "expectations are written in place")]
    fn check(alerts: &[Fires], down: &[u64], expect: Expect) {
        let peer = Peer {
            url: "http://peer".to_owned(),
            bearer: None,
            external_labels: vec![("cluster".into(), "eu".into())],
            drop_labels: vec!["replica".into()],
        };
        let (mut lane, mut out, annotations) = (Lane::default(), String::new(), BTreeMap::new());
        let labels: Vec<Labels> =
            alerts.iter().map(|Fires(labels, _)| Labels::of(labels)).collect();
        for second in 0..200 {
            let begun = alerts.iter().zip(&labels).filter(|(one, _)| one.1.start <= second);
            let views = begun.map(|(Fires(_, when), labels)| PushView {
                labels,
                annotations: &annotations,
                starts_at: at(when.start),
                resolved_at: (when.end <= second).then(|| at(when.end)),
            });
            let due = lane.due(&peer, views, at(second));
            for push in &due {
                let fails = if down.contains(&second) { " fails" } else { "" };
                let (labels, ends) = (&push.labels, push.ends_at.as_secs());
                writeln!(out, "{second}s {labels} until {ends}s{fails}").expect("text");
            }
            if !down.contains(&second) {
                lane.went(&due, at(second));
            }
        }
        expect.assert_eq(&out);
    }

    #[test]
    fn a_firing_alert_is_pushed_every_minute_and_its_end_at_once() {
        check(
            &[Fires(&[("alertname", "A")], 0..70)],
            &[],
            expect![[r#"
                0s {alertname="A", cluster="eu"} until 240s
                60s {alertname="A", cluster="eu"} until 300s
                70s {alertname="A", cluster="eu"} until 70s
                130s {alertname="A", cluster="eu"} until 70s
                190s {alertname="A", cluster="eu"} until 70s
            "#]],
        );
    }

    #[test]
    fn what_fails_comes_again_and_is_not_lost() {
        check(
            &[Fires(&[("alertname", "A")], 0..3)],
            &[0, 1, 3, 4],
            expect![[r#"
                0s {alertname="A", cluster="eu"} until 240s fails
                1s {alertname="A", cluster="eu"} until 241s fails
                2s {alertname="A", cluster="eu"} until 242s
                3s {alertname="A", cluster="eu"} until 3s fails
                4s {alertname="A", cluster="eu"} until 3s fails
                5s {alertname="A", cluster="eu"} until 3s
                65s {alertname="A", cluster="eu"} until 3s
                125s {alertname="A", cluster="eu"} until 3s
                185s {alertname="A", cluster="eu"} until 3s
            "#]],
        );
    }

    #[test]
    fn replicas_push_one_alert_and_one_that_fires_speaks_for_both() {
        check(
            &[
                Fires(&[("alertname", "A"), ("replica", "1")], 0..5),
                Fires(&[("alertname", "A"), ("replica", "2")], 1..20),
            ],
            &[],
            expect![[r#"
                0s {alertname="A", cluster="eu"} until 240s
                20s {alertname="A", cluster="eu"} until 20s
                80s {alertname="A", cluster="eu"} until 20s
                140s {alertname="A", cluster="eu"} until 20s
            "#]],
        );
    }

    #[test]
    fn an_own_label_wins_over_an_external_one() {
        check(
            &[Fires(&[("alertname", "A"), ("cluster", "us")], 150..500)],
            &[],
            expect![[r#"
                150s {alertname="A", cluster="us"} until 390s
            "#]],
        );
    }
}
