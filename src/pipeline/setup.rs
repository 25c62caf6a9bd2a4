//! The configuration as APIs show it.
//!
//! A checked configuration comes in; what is said of it goes out. Never is a secret in it.

use std::collections::BTreeMap;

use crate::collect::scrape::Job;
use crate::config::Config;
use crate::serve::setup::{ScrapeTarget, Setup};
use crate::signal::{Text, Timestamp, format_duration};

pub(super) fn of(config: &Config, read_at: Timestamp) -> Setup {
    let retention = config.series.retention;
    let query = &config.query;
    let flags = BTreeMap::from([
        ("query.lookback-delta", format_duration(query.lookback)),
        ("query.max-concurrency", query.concurrent_max.to_string()),
        ("query.max-samples", query.samples_max.to_string()),
        ("query.timeout", format_duration(query.timeout)),
        ("storage.tsdb.path", config.data_dir.display().to_string()),
        ("storage.tsdb.retention.size", format!("{}B", config.series.size_max_bytes)),
        ("storage.tsdb.retention.time", format_duration(retention)),
        ("web.enable-lifecycle", true.to_string()),
        ("web.external-url", config.external_url.clone().unwrap_or_default()),
        ("web.listen-address", config.listen.web.to_string()),
    ]);
    Setup {
        config: Text::clone(&config.shown),
        flags,
        targets: config.collect.scrapes.iter().flat_map(targets).collect(),
        alertmanagers: config.alertmanagers.iter().map(|peer| without_login(&peer.url)).collect(),
        retention,
        read_at,
    }
}

fn targets(job: &Job) -> impl Iterator<Item = ScrapeTarget> + '_ {
    job.targets().map(|target| ScrapeTarget {
        job: job.name.as_str().into(),
        address: target.address().into(),
        scheme: job.scheme.as_str().into(),
        path: job.path.as_str().into(),
        labels: target.labels().clone(),
        interval: job.interval,
        timeout: job.timeout,
    })
}

/// Where an Alertmanager takes alerts, without a login and parameters, which may be secret.
fn without_login(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let host = rest.rsplit_once('@').map_or(rest, |(_login, host)| host);
    let (host, _parameters) = host.split_once('?').unwrap_or((host, ""));
    format!("{scheme}://{}/api/v2/alerts", host.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_of_a_configuration_holds_no_secret() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("c.yaml");
        let text = "auth: {tokens: [{name: a, token: SECRET-and-more-of-it, scope: [read]}]}\nscrape: [{job: broker, targets: ['h:1'], token: SECRET, params: {token: [SECRET]}}]\nforward: {alertmanagers: [{url: 'http://me:SECRET@am:9093/?token=SECRET'}]}\nseries: {retention: 7d}\n";
        std::fs::write(&file, text).expect("a writable folder");
        let sets = [
            "redact.hash_key=SECRET",
            "query.timeout=30s",
            "forward.alertmanagers=[{url: 'http://me:SECRET@am:9093/?token=SECRET'}]",
        ];
        let sets = sets.map(str::to_owned);
        let config = Config::load(Some(&file), &sets).expect("a good configuration");
        let shown = of(&config, Timestamp::EPOCH);
        assert!(!format!("{shown:?}").contains("SECRET"), "{shown:?}");
        for written in ["retention: 7d", "job: broker", "timeout: 30s", "<secret>"] {
            assert!(shown.config.contains(written), "{written} in {}", shown.config);
        }
        assert_eq!(shown.flags["storage.tsdb.retention.time"], "7d");
        assert_eq!(shown.flags["query.timeout"], "30s");
        assert_eq!(shown.alertmanagers, ["http://am:9093/api/v2/alerts"]);
        assert_eq!(shown.targets[0].labels.get("instance"), Some("h:1"));
    }
}
