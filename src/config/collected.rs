//! What is asked for, as written to checked.

use std::collections::HashSet;

use serde_saphyr::Spanned;

use super::check::DATA_DIR;
use super::check::Reader;
use super::raw::{List, RawAws, RawConfig, RawFiles, RawRelabel, RawScrape};
use crate::collect::Config;
use crate::collect::aws::Poller;
use crate::collect::aws::config as aws;
use crate::collect::files::{self, config::Format};
use crate::collect::scrape::config::{
    BODY_BYTES_MAX, INTERVAL, Job, SAMPLES_MAX, TARGETS_MAX, TIMEOUT,
};
use crate::collect::scrape::presets::Preset;
use crate::collect::scrape::relabel::{Action, Relabel, pattern};
use crate::number::usize_from_u64;
use crate::signal::{Labels, Text};

impl Reader<'_> {
    pub(super) fn collect(&mut self, raw: &RawConfig) -> Config {
        let data_dir = self.path(&raw.data_dir).unwrap_or_else(|| DATA_DIR.into());
        Config {
            scrapes: self.scrapes(raw),
            pollers: self.pollers(raw),
            files: raw.files.iter().flatten().filter_map(|files| self.followed(files)).collect(),
            data_dir,
        }
    }

    /// Those of `aws`, and one for each queue of `queues` that has a `url`.
    fn pollers(&mut self, raw: &RawConfig) -> Vec<Poller> {
        let mut pollers: Vec<Poller> =
            raw.aws.iter().flatten().filter_map(|aws| self.poller(aws)).collect();
        for queue in raw.queues.iter().flatten() {
            let Some(written) = queue.value.url.as_ref().filter(|url| url.value.0 != "null") else {
                continue;
            };
            let Some(url) = self.text(&queue.value.url) else { continue };
            let Some(region) = region_of(&url) else {
                self.error(
                    written,
                    "the url of an SQS queue is https://sqs.REGION.amazonaws.com/ACCOUNT/NAME; others are polled by `aws`, with `region` and `endpoint`",
                );
                continue;
            };
            let known =
                pollers.iter_mut().find(|one| one.region == region && one.endpoint.is_none());
            if let Some(poller) = known {
                poller.queue_urls.push(url);
                continue;
            }
            pollers.push(Poller {
                region: region.to_owned(),
                endpoint: None,
                queue_prefixes: Vec::new(),
                queue_urls: vec![url],
                functions: Vec::new(),
                interval: aws::INTERVAL,
            });
        }
        pollers
    }

    fn poller(&mut self, raw: &Spanned<RawAws>) -> Option<Poller> {
        let RawAws { region, endpoint, queue_prefixes, queue_urls, functions, interval, .. } =
            &raw.value;
        let told = self.required(raw, region, "region");
        let endpoint = self.parse_with(endpoint, "an address, as http://127.0.0.1:5000/", |text| {
            let is_good = text.starts_with("http://") || text.starts_with("https://");
            let slash = if text.ends_with('/') { "" } else { "/" };
            is_good.then(|| format!("{text}{slash}"))
        });
        let every = self.duration(interval).unwrap_or(aws::INTERVAL);
        if let Some(place) = interval.as_ref().filter(|_| every.as_secs() == 0) {
            self.error(place, "`interval` must be 1s at least");
        }
        let poller = Poller {
            region: told?,
            endpoint,
            queue_prefixes: self.texts(queue_prefixes),
            queue_urls: self.texts(queue_urls),
            functions: self.texts(functions),
            interval: every,
        };
        let lists = [&poller.queue_prefixes, &poller.queue_urls, &poller.functions];
        if lists.iter().all(|list| list.is_empty()) {
            self.error(raw, "name what to ask for: `queue_prefixes`, `queue_urls` or `functions`");
        }
        if poller.functions.len() > aws::SUBJECTS_MAX {
            self.error(raw, format!("more than {} functions", aws::SUBJECTS_MAX));
        }
        Some(poller)
    }

    fn followed(&mut self, raw: &Spanned<RawFiles>) -> Option<files::Job> {
        let RawFiles { paths, function, format, from, .. } = &raw.value;
        let mut found = Vec::new();
        for path in paths.iter().flatten() {
            found.extend(self.path(&Some(path.clone())));
        }
        if found.is_empty() {
            self.error(raw, "`paths` names no file; `*` may stand in the last part of a path");
            return None;
        }
        let format = self.parse_with(format, "json or text", |text| match text {
            "json" => Some(Format::Json),
            "text" => Some(Format::Text),
            _ => None,
        });
        let from_end = self.parse_with(from, "beginning or end", |text| match text {
            "beginning" => Some(false),
            "end" => Some(true),
            _ => None,
        });
        Some(files::Job {
            paths: found,
            function: self.text(function),
            format: format.unwrap_or_default(),
            from_end: from_end.unwrap_or(false),
        })
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
            native_histograms: self.parse(&written.native_histograms, flag).unwrap_or(false),
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
        if raw.value.targets.as_ref().is_none_or(List::is_empty) {
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
                    // As it is written: what is filled in may be a secret.
                    let shown = &place.value.0;
                    let why = if *shown == text { format!(": {error}") } else { String::new() };
                    self.error(place, format!("`{shown}` is no regular expression{why}"));
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

/// `eu-west-1` of `https://sqs.eu-west-1.amazonaws.com/123456789012/orders`.
fn region_of(url: &str) -> Option<&str> {
    let host = url.strip_prefix("https://sqs.")?.split('/').next()?;
    let region = host.strip_suffix(".amazonaws.com").or(host.strip_suffix(".amazonaws.com.cn"))?;
    (!region.is_empty() && !region.contains('.')).then_some(region)
}
