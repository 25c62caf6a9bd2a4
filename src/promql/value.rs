//! Values on their way through an expression. What is never true: a sample whose labels carry an
//! empty value, and a shown series whose name was to be dropped.

use std::borrow::Cow;
use std::sync::Arc;

use super::ast::Edges;
use crate::series::{Sample, SampleValue};
use crate::signal::{Labels, METRIC_NAME};

/// Labels that say what a metric is, and that no longer hold for a computed value (PROM-39).
pub(super) const IDENTITY: [&str; 3] = [METRIC_NAME, "__type__", "__unit__"];

pub(super) enum Value<'a> {
    Scalar(f64),
    Text(String),
    Vector(Vec<Element>),
    Matrix(Frame<'a>),
}

/// One element of an instant vector.
#[derive(Clone, Debug)]
pub(super) struct Element {
    pub(super) labels: Arc<Labels>,
    /// The name still stands in `labels`, so that `label_replace` and `by (__name__)` can read it,
    /// and goes when the query ends (`promql-delayed-name-removal` of Prometheus).
    pub(super) drop_name: bool,
    /// Milliseconds; the sample's own time where it comes from a selector.
    pub(super) t: i64,
    pub(super) value: SampleValue,
}

impl Element {
    pub(super) fn float(labels: Arc<Labels>, x: f64) -> Self {
        Self { labels, drop_name: false, t: 0, value: SampleValue::Float(x) }
    }

    pub(super) fn shown_labels(&self) -> Labels {
        shown(&self.labels, self.drop_name)
    }

    /// The float value, where it is one.
    pub(super) fn as_float(&self) -> Option<f64> {
        match &self.value {
            SampleValue::Float(x) => Some(*x),
            SampleValue::Histogram(_) => None,
        }
    }

    /// The same series with another value, and without its name when shown.
    pub(super) fn computed(&self, value: SampleValue) -> Self {
        Self { labels: Arc::clone(&self.labels), drop_name: true, t: self.t, value }
    }
}

pub(super) fn shown(labels: &Labels, drop_name: bool) -> Labels {
    if drop_name { without_identity(labels) } else { labels.clone() }
}

pub(super) fn without_identity(labels: &Labels) -> Labels {
    labels.filtered(|name| !IDENTITY.contains(&name))
}

/// A selector's series with all samples that the query may look at.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) labels: Arc<Labels>,
    pub(super) samples: Vec<Sample>,
    /// As in [`crate::series::RawSeries::starts`].
    pub(super) starts: Vec<i64>,
    /// Where only the ends of windows were read: all seconds at which there are samples.
    pub(super) seconds: Option<Arc<[i64]>>,
}

/// A range vector at one time: the samples in `(start, end]`.
pub(super) struct Frame<'a> {
    pub(super) start: i64,
    pub(super) end: i64,
    /// Not [`Edges::Within`]: the windows hold samples beyond their ends.
    pub(super) edges: Edges,
    pub(super) windows: Vec<Window<'a>>,
}

pub(super) struct Window<'a> {
    pub(super) labels: Arc<Labels>,
    pub(super) drop_name: bool,
    pub(super) samples: Cow<'a, [Sample]>,
    /// Start timestamps of the samples, or nothing.
    pub(super) starts: &'a [i64],
    /// How many there are, those that were not read included.
    pub(super) n_samples: usize,
}
