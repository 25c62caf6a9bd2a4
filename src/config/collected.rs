//! What is asked for, as written to checked.

use std::collections::HashSet;

use serde_saphyr::Spanned;

use super::check::Reader;
use super::raw::{RawConfig, RawRelabel, RawScrape};
use crate::collect::Config;
use crate::collect::scrape::config::{
    BODY_BYTES_MAX, INTERVAL, Job, SAMPLES_MAX, TARGETS_MAX, TIMEOUT,
};
use crate::collect::scrape::presets::Preset;
use crate::collect::scrape::relabel::{Action, Relabel, pattern};
use crate::number::usize_from_u64;
use crate::signal::{Labels, Text};

impl Reader<'_> {
    pub(super) fn collect(&mut self, raw: &RawConfig) -> Config {
        Config { scrapes: self.scrapes(raw) }
    }

    fn scrapes(&mut self, raw: &RawConfig) -> Vec<Job> {
        let (mut jobs, mut names, mut n_targets) = (Vec::new(), HashSet::new(), 0);
        for written in raw.scrape.iter().flatten() {
            let Some(job) = self.job(written) else { continue };
            if !names.insert(job.name.clone()) {
                self.error(written, format!("the job `{}` stands here twice", job.name));
            }
            n_targets += job.targets.len();
            if n_targets > TARGETS_MAX {
                self.error(written, format!("more than {TARGETS_MAX} targets"));
            }
            jobs.push(job);
        }
        jobs
    }

    fn job(&mut self, raw: &Spanned<RawScrape>) -> Option<Job> {
        let written = &raw.value;
        let name = self.required(raw, &written.job, "job")?;
        let targets = self.addresses(raw);
        let interval = self.duration(&written.interval).unwrap_or(INTERVAL);
        if let Some(place) = written.interval.as_ref().filter(|_| interval.as_millis() < 100) {
            self.error(place, "`interval` must be 100ms at least");
        }
        let timeout = self.duration(&written.timeout).unwrap_or(TIMEOUT.min(interval));
        if let Some(place) =
            written.timeout.as_ref().filter(|_| timeout > interval || timeout.is_zero())
        {
            self.error(place, "`timeout` must be above 0 and no longer than `interval`");
        }
        let scheme = self.parse_with(&written.scheme, "http or https", |text| {
            ["http", "https"].contains(&text).then(|| text.to_owned())
        });
        let path = self.parse_with(&written.path, "a path, as /metrics", |text| {
            text.starts_with('/').then(|| text.to_owned())
        });
        let flag = "true or false";
        let body_bytes_max = self.bytes(&written.body_max).map(usize_from_u64);
        Some(Job {
            name,
            targets,
            interval,
            timeout,
            scheme: scheme.unwrap_or_else(|| "http".to_owned()),
            path: path.unwrap_or_else(|| "/metrics".to_owned()),
            params: self.params(written),
            token: self.secret(&written.token, &written.token_file),
            labels: self.labels(written),
            honor_labels: self.parse(&written.honor_labels, flag).unwrap_or(false),
            honor_timestamps: self.parse(&written.honor_timestamps, flag).unwrap_or(true),
            preset: self.parse_with(&written.preset, Preset::NAMES, Preset::of),
            relabel: written
                .relabel
                .iter()
                .flatten()
                .filter_map(|rule| self.relabel(rule))
                .collect(),
            body_bytes_max: body_bytes_max.unwrap_or(BODY_BYTES_MAX),
            samples_max: self.count(&written.samples_max).unwrap_or(SAMPLES_MAX),
        })
    }

    fn addresses(&mut self, raw: &Spanned<RawScrape>) -> Vec<String> {
        let mut addresses = Vec::new();
        for target in raw.value.targets.iter().flatten() {
            let told = self.parse_with(
                &Some(target.clone()),
                "a host with a port, as 127.0.0.1:15692",
                |text| {
                    let (host, port) = text.rsplit_once(':')?;
                    let is_good = !host.is_empty()
                        && !text.contains(['/', '@', '?', '#', ' '])
                        && port.parse::<u16>().is_ok();
                    is_good.then(|| text.to_owned())
                },
            );
            addresses.extend(told);
        }
        if raw.value.targets.as_ref().is_none_or(Vec::is_empty) {
            self.error(raw, "`targets` names nobody; write host:port");
        }
        addresses.sort();
        addresses.dedup();
        addresses
    }

    fn params(&mut self, raw: &RawScrape) -> std::collections::BTreeMap<String, Vec<String>> {
        let named = raw.params.iter().flatten();
        named.map(|(name, values)| (name.clone(), self.texts(&Some(values.clone())))).collect()
    }

    fn labels(&mut self, raw: &RawScrape) -> Labels {
        let mut labels: Vec<(Text, Text)> = Vec::new();
        for (name, value) in raw.labels.iter().flatten() {
            if name.starts_with("__") || name.is_empty() {
                self.error(value, format!("`{name}` is no name for a label"));
            }
            let value = self.text(&Some(value.clone())).unwrap_or_default();
            labels.push((name.as_str().into(), value.into()));
        }
        Labels::new(labels)
    }

    fn relabel(&mut self, raw: &Spanned<RawRelabel>) -> Option<Relabel> {
        const ACTIONS: &str = "replace, keep, drop, keepequal, dropequal, labelmap, labeldrop, labelkeep, lowercase or uppercase";
        let written = &raw.value;
        let action = self.parse_with(&written.action, ACTIONS, Action::of);
        if action.is_none() && written.action.is_some() {
            return None;
        }
        let action = action.unwrap_or(Action::Replace);
        let regex = match self.text(&written.regex) {
            None => pattern("(.*)").ok()?,
            Some(text) => match pattern(&text) {
                Ok(regex) => regex,
                Err(error) => {
                    let place = written.regex.as_ref()?;
                    self.error(place, format!("`{text}` is no regular expression: {error}"));
                    return None;
                }
            },
        };
        let target_label = self.text(&written.target_label);
        if action.has_target() && target_label.is_none() {
            self.error(raw, "`target_label` is missing");
        }
        Some(Relabel {
            source_labels: self.texts(&written.source_labels),
            separator: self.text(&written.separator).unwrap_or_else(|| ";".to_owned()),
            regex,
            target_label: target_label.unwrap_or_default(),
            replacement: self.text(&written.replacement).unwrap_or_else(|| "$1".to_owned()),
            action,
        })
    }
}
