//! The samples that a test file loads, in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use throughline::promql::{ParseError, parse_series_description, parse_series_starts};
use throughline::series::{CounterReset, Histogram, RawSeries, Sample, SampleValue, Selection};
use throughline::signal::{Labels, METRIC_NAME};

use super::script::{Load, number};

/// The samples of a series by time, with the start timestamp of each; 0 where it has none.
type Samples = BTreeMap<i64, (SampleValue, i64)>;

#[derive(Debug, Default)]
pub(crate) struct Storage {
    series: BTreeMap<Labels, Samples>,
    /// Whether any sample was loaded with a start timestamp.
    keeps_starts: bool,
}

/// Cumulative buckets by bound, and the sum, at one time.
#[derive(Debug, Default)]
struct Classic {
    buckets: Vec<(f64, f64)>,
    sum: f64,
}

impl Storage {
    pub(crate) fn load(&mut self, load: &Load) -> Result<(), String> {
        let mut loaded: BTreeMap<Labels, Samples> = BTreeMap::new();
        // They come on the line before their series.
        let mut starts: Option<(Labels, Vec<Option<i64>>)> = None;
        for description in &load.series {
            let failed = |error: ParseError| format!("{description}: {error}");
            if let Some(told) = parse_series_starts(description).map_err(failed)? {
                (starts, self.keeps_starts) = (Some(told), true);
                continue;
            }
            let (labels, values) = parse_series_description(description).map_err(failed)?;
            let starts = match starts.take() {
                None => vec![None; values.len()],
                Some((of, starts)) if of == labels && starts.len() == values.len() => starts,
                Some(_) => {
                    return Err(format!("{description}: start timestamps of another series"));
                }
            };
            let samples = loaded.entry(labels).or_default();
            let mut t = 0;
            for (value, start) in values.into_iter().zip(starts) {
                let start = start.map_or(0, |start| t + start);
                samples.extend(value.map(|value| (t, (value, start))));
                t += load.interval;
            }
        }
        if load.with_custom_buckets {
            let converted = custom_histograms(&loaded);
            self.merge(converted);
        }
        self.merge(loaded);
        Ok(())
    }

    fn merge(&mut self, loaded: BTreeMap<Labels, Samples>) {
        for (labels, samples) in loaded {
            let series = self.series.entry(labels).or_default();
            series.extend(samples);
            hint(series);
        }
    }

    pub(crate) fn select(&self, selection: &Selection<'_>) -> Vec<RawSeries> {
        let matches = |labels: &Labels| selection.matchers.iter().all(|m| m.matches_labels(labels));
        let mut found = Vec::new();
        for (labels, samples) in self.series.iter().filter(|(labels, _)| matches(labels)) {
            let mut series = RawSeries::new(labels.clone(), Vec::new());
            let within = |t: &i64| *t > selection.start && *t <= selection.end;
            for (t, (value, start)) in samples.iter().filter(|(t, _)| within(t)) {
                series.samples.push(Sample { t: *t, value: value.clone() });
                series.starts.extend(self.keeps_starts.then_some(*start));
            }
            found.push(series);
        }
        found
    }
}

fn custom_histograms(loaded: &BTreeMap<Labels, Samples>) -> BTreeMap<Labels, Samples> {
    let mut classics: BTreeMap<Labels, BTreeMap<i64, Classic>> = BTreeMap::new();
    for (labels, samples) in loaded {
        let name = labels.name();
        let bound = labels.get("le").and_then(number);
        let (base, bound) = match (name.strip_suffix("_bucket"), name.strip_suffix("_sum")) {
            (Some(base), _) if bound.is_some() => (base, bound),
            (_, Some(base)) => (base, None),
            _ => continue,
        };
        let labels = labels.without("le").with(METRIC_NAME, base);
        for (t, (value, _)) in samples {
            let SampleValue::Float(x) = value else { continue };
            let classic = classics.entry(labels.clone()).or_default().entry(*t).or_default();
            match bound {
                Some(bound) => classic.buckets.push((bound, *x)),
                None => classic.sum = *x,
            }
        }
    }
    let convert = |(labels, times): (Labels, BTreeMap<i64, Classic>)| {
        let samples = times.into_iter().filter(|(_, classic)| !classic.buckets.is_empty());
        let samples: Samples =
            samples.map(|(t, classic)| (t, (custom_histogram(classic), 0))).collect();
        (labels, samples)
    };
    let converted = classics.into_iter().map(convert);
    converted.filter(|(_, samples)| !samples.is_empty()).collect()
}

fn custom_histogram(mut classic: Classic) -> SampleValue {
    classic.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut before = 0.0;
    let mut positive = Vec::new();
    let mut bounds = Vec::new();
    for (index, (bound, cumulative)) in (0..).zip(&classic.buckets) {
        if bound.is_finite() {
            bounds.push(*bound);
        }
        if *cumulative - before != 0.0 {
            positive.push((index, cumulative - before));
        }
        before = *cumulative;
    }
    SampleValue::Histogram(Arc::new(Histogram {
        counter_reset: CounterReset::Unknown,
        schema: -53,
        zero_threshold: 0.0,
        zero_count: 0.0,
        count: before,
        sum: classic.sum,
        positive,
        negative: Vec::new(),
        custom_bounds: bounds.into(),
    }))
}

/// Says of each histogram whether its counter was reset, as Prometheus's storage does on the way
/// in; what the file says of a reset or a gauge stays.
fn hint(samples: &mut Samples) {
    let mut before: Option<Arc<Histogram>> = None;
    for (value, _) in samples.values_mut() {
        let SampleValue::Histogram(h) = value else {
            before = None;
            continue;
        };
        let continues = before.as_deref().is_some_and(|before| continues(before, h));
        before = Some(Arc::clone(h));
        if h.counter_reset == CounterReset::Unknown && continues {
            Arc::make_mut(h).counter_reset = CounterReset::No;
        }
    }
}

#[expect(clippy::float_cmp, reason = "zero buckets match exactly or not at all")]
fn continues(before: &Histogram, h: &Histogram) -> bool {
    let grew = |before: &[(i32, f64)], now: &[(i32, f64)]| {
        before.iter().all(|(i, n)| now.iter().any(|(j, m)| i == j && n <= m))
    };
    before.counter_reset != CounterReset::Gauge
        && before.schema == h.schema
        && before.custom_bounds == h.custom_bounds
        && before.zero_threshold == h.zero_threshold
        && before.count <= h.count
        && before.zero_count <= h.zero_count
        && grew(&before.positive, &h.positive)
        && grew(&before.negative, &h.negative)
}
