//! What one scrape becomes: the pure part, from a page to a batch.
//!
//! In: a page or its failure, and what the scrape before showed. Out: a batch in which every series that
//! is no longer shown ends. Never does a sample with a time of its own end: who tells times tells ends.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use super::config::Target;
use super::fetch::Fetched;
use super::relabel;
use crate::collect::points::Points;
use crate::normalize::exposition::{self, Scraped};
use crate::normalize::redact::Redactor;
use crate::number::{f64_from_usize, u32_from_usize};
use crate::signal::{
    Batch, Exemplar, Labels, METRIC_NAME, MetricMetadata, MetricValue, Receiver, Remark, Text,
    Timestamp,
};

/// Samples of a page before relabelling drops some.
const RAW_SAMPLES_MAX: usize = 1_000_000;
/// As Prometheus: what claims to be further in the future is a broken clock.
const AHEAD_MAX: Duration = Duration::from_mins(10);

/// When a scrape began and how long it took.
#[derive(Clone, Copy, Debug)]
pub(super) struct When {
    pub(super) at: Timestamp,
    pub(super) took: Duration,
}

/// A page after labels were attached and rules applied.
#[derive(Debug)]
pub(super) struct Outcome {
    samples: Vec<Scraped>,
    metadata: Vec<MetricMetadata>,
    /// Samples that the page had.
    n_scraped: usize,
    /// Samples that said again what the page had said.
    n_repeated: usize,
}

/// Reads a page for a target.
pub(super) fn read(page: &Fetched, target: &Target, at: Timestamp) -> Result<Outcome, String> {
    let settings = &target.settings;
    let page = exposition::read(&page.bytes, page.format, RAW_SAMPLES_MAX)
        .map_err(|error| error.to_string())?;
    let n_scraped = page.samples.len();
    let (mut samples, mut seen, mut n_repeated) = (Vec::new(), HashSet::new(), 0);
    for scraped in page.samples {
        let labels = attached(&scraped.labels, target);
        let mapped =
            settings.preset.and_then(|preset| preset.map(&labels, scraped.value, at.as_secs_f64()));
        let mapped = mapped.map(|(own, value)| Scraped {
            labels: Labels::new(settings.labels.pairs().iter().chain(own.pairs()).cloned()),
            value,
            native: None,
            t: scraped.t,
            exemplar: None,
        });
        for mut sample in [Some(Scraped { labels, ..scraped }), mapped].into_iter().flatten() {
            let Some(labels) = relabel::apply(&settings.relabel, sample.labels) else { continue };
            if labels.name().is_empty() {
                return Err("relabelling left a series without a name".to_owned());
            }
            sample.labels = labels;
            sample.t = sample.t.filter(|_| settings.honor_timestamps);
            if !seen.insert((sample.labels.fingerprint(), sample.t)) {
                n_repeated += 1;
                continue;
            }
            samples.push(sample);
        }
        if samples.len() > settings.samples_max {
            return Err(format!("more than samples_max ({}) samples", settings.samples_max));
        }
    }
    Ok(Outcome { samples, metadata: page.metadata, n_scraped, n_repeated })
}

/// A sample's labels with the target's.
fn attached(labels: &Labels, target: &Target) -> Labels {
    let mut pairs: Vec<(Text, Text)> = labels.pairs().to_vec();
    for (name, value) in target.labels.iter() {
        match labels.get(name) {
            Some(_) if target.settings.honor_labels => {}
            Some(theirs) => {
                let mut other = format!("exported_{name}");
                while labels.get(&other).is_some() {
                    other.insert_str(0, "exported_");
                }
                pairs.push((other.into(), theirs.into()));
                pairs.push((name.into(), value.into()));
            }
            None => pairs.push((name.into(), value.into())),
        }
    }
    Labels::new(pairs)
}

/// What the last scrape of a target showed.
#[derive(Debug, Default)]
pub(super) struct Memory {
    shown: BTreeMap<u128, Labels>,
}

impl Memory {
    /// The batch of one scrape; `outcome` is None where it failed.
    pub(super) fn batch(
        &mut self,
        target: &Target,
        outcome: Option<Outcome>,
        when: When,
        redactor: &Redactor,
    ) -> Batch {
        let mut gather = Gather::new(when.at);
        let is_up = outcome.is_some();
        let (n_scraped, n_kept, repeated) = outcome
            .as_ref()
            .map_or((0, 0, 0), |one| (one.n_scraped, one.samples.len(), one.n_repeated));
        gather.points.batch.rejected = u32_from_usize(repeated);
        let mut shown = BTreeMap::new();
        for sample in outcome.iter().flat_map(|one| &one.samples) {
            let labels = redactor.labels(&sample.labels);
            if sample.t.is_none() {
                shown.insert(labels.fingerprint(), labels.clone());
            }
            gather.sample(labels, sample, redactor);
        }
        let n_added = shown.keys().filter(|key| !self.shown.contains_key(key)).count();
        for (key, labels) in &self.shown {
            if !shown.contains_key(key) {
                gather.now(labels.clone(), MetricValue::Stale);
            }
        }
        self.shown = shown;
        let metadata = outcome.into_iter().flat_map(|one| one.metadata);
        gather.points.batch.remarks.extend(metadata.map(Remark::Metric));
        for (name, value) in [
            ("up", if is_up { 1.0 } else { 0.0 }),
            ("scrape_duration_seconds", when.took.as_secs_f64()),
            ("scrape_samples_scraped", f64_from_usize(n_scraped)),
            ("scrape_samples_post_metric_relabeling", f64_from_usize(n_kept)),
            ("scrape_series_added", f64_from_usize(n_added)),
        ] {
            let labels = target.labels.with(METRIC_NAME, name);
            gather.now(labels, MetricValue::Gauge(value));
        }
        gather.points.batch
    }

    /// The batch that ends everything that a target showed.
    pub(super) fn end(&mut self, target: &Target, at: Timestamp) -> Batch {
        let mut gather = Gather::new(at);
        for labels in std::mem::take(&mut self.shown).into_values() {
            gather.now(labels, MetricValue::Stale);
        }
        for name in [
            "up",
            "scrape_duration_seconds",
            "scrape_samples_scraped",
            "scrape_samples_post_metric_relabeling",
            "scrape_series_added",
        ] {
            gather.now(target.labels.with(METRIC_NAME, name), MetricValue::Stale);
        }
        gather.points.batch
    }
}

/// The batch of a scrape so far.
struct Gather {
    points: Points,
}

impl Gather {
    fn new(at: Timestamp) -> Self {
        Self { points: Points::new(Receiver::Scrape, at) }
    }

    fn sample(&mut self, labels: Labels, sample: &Scraped, redactor: &Redactor) {
        let Points { batch, at } = &mut self.points;
        let time = sample.t.map_or(*at, Timestamp::from_millis);
        if sample.t.is_some_and(|t| t < 0) || time > at.saturating_add(AHEAD_MAX) {
            batch.rejected += 1;
            return;
        }
        if let Some(told) = &sample.exemplar {
            let of_exemplar = redactor.labels(&told.labels);
            let exemplar =
                Exemplar::of(&of_exemplar, told.value, told.t.unwrap_or(time.as_millis()));
            batch.remarks.push(Remark::Exemplar { series: labels.clone(), exemplar });
        }
        let native = sample.native.clone().map(MetricValue::Native);
        self.points.add(labels, time, native.unwrap_or(MetricValue::Gauge(sample.value)));
    }

    fn now(&mut self, labels: Labels, value: MetricValue) {
        let at = self.points.at;
        self.points.add(labels, at, value);
    }
}
