//! The `histogram_*` functions, on native histograms and on classic ones. What comes in: elements
//! of both kinds. What goes out: one float an observed distribution. What is never true: an answer
//! for a series that is there in both kinds at once.

use std::collections::HashMap;
use std::sync::Arc;

use super::EvalError;
use super::ast::{Expr, Span};
use super::check::text_of;
use super::classic::{self, ClassicBucket, upper_bound};
use super::distribution::{Quantile, fraction, quantile, variance};
use super::evaluate::Evaluator;
use super::notes::about;
use super::text::{plain_number, short_number};
use super::value::Element;
use crate::series::{Histogram, SampleValue};
use crate::signal::Labels;

/// The label of a classic bucket's upper bound.
const LE: &str = "le";

/// What to work out from each distribution.
#[derive(Clone, Copy)]
enum Ask {
    Quantile(f64),
    Fraction(f64, f64),
}

impl Ask {
    fn function(self) -> &'static str {
        match self {
            Self::Quantile(_) => "histogram_quantile",
            Self::Fraction(..) => "histogram_fraction",
        }
    }
}

/// The series of one distribution.
#[derive(Default)]
struct Distribution {
    labels: Arc<Labels>,
    name: String,
    buckets: Vec<ClassicBucket>,
    native: Option<Arc<Histogram>>,
}

impl<'q> Evaluator<'q> {
    pub(super) fn histogram_call(
        &self,
        name: &str,
        args: &'q [Expr],
        t: i64,
    ) -> Result<Vec<Element>, EvalError> {
        let number = |at: usize| args.get(at).map_or(Ok(f64::NAN), |arg| self.scalar(arg, t));
        let span = |at: usize| args.get(at).map_or(Span::default(), |arg| arg.span);
        let elements = |at: usize| args.get(at).map_or(Ok(Vec::new()), |arg| self.vector(arg, t));
        Ok(match name {
            "histogram_quantile" => {
                let q = number(0)?;
                self.check_quantile(q, span(0));
                self.distributions(&elements(1)?, Ask::Quantile(q), span(1))
            }
            "histogram_fraction" => {
                let ask = Ask::Fraction(number(0)?, number(1)?);
                self.distributions(&elements(2)?, ask, span(2))
            }
            "histogram_quantiles" => {
                let label = args.get(1).map_or("", text_of);
                let input = elements(0)?;
                let mut out = Vec::new();
                for at in 2..args.len() {
                    let q = number(at)?;
                    self.check_quantile(q, span(at));
                    for mut element in self.distributions(&input, Ask::Quantile(q), span(0)) {
                        let labels = element.labels.with(label, &quantile_text(q));
                        element.labels = Arc::new(labels);
                        out.push(element);
                    }
                }
                out
            }
            _ => {
                let elements = elements(0)?;
                elements.iter().filter_map(|element| statistic(name, element)).collect()
            }
        })
    }

    fn distributions(&self, elements: &[Element], ask: Ask, span: Span) -> Vec<Element> {
        let mut out = Vec::new();
        for distribution in self.gathered(elements, span) {
            let name = &distribution.name;
            let value = match &distribution.native {
                Some(_) if !distribution.buckets.is_empty() => {
                    let message =
                        about("vector contains a mix of classic and native histograms", name);
                    self.notes.warn(span, &message);
                    continue;
                }
                Some(native) => self.native(native, ask, name, span),
                None => self.classic(&distribution, ask, span),
            };
            let mut element = Element::float(Arc::clone(&distribution.labels), value);
            element.drop_name = true;
            out.push(element);
        }
        out
    }

    /// Distributions in the order of their first series.
    fn gathered(&self, elements: &[Element], span: Span) -> Vec<Distribution> {
        let mut places: HashMap<Labels, usize> = HashMap::new();
        let mut gathered: Vec<Distribution> = Vec::new();
        for element in elements {
            let name = element.labels.name();
            let bound = match &element.value {
                SampleValue::Histogram(_) => None,
                SampleValue::Float(_) => {
                    let le = element.labels.get(LE).unwrap_or_default();
                    let Some(bound) = upper_bound(le) else {
                        let message = format!(
                            "bucket label {LE:?} is missing or has a malformed value of {le:?}"
                        );
                        self.notes.warn(span, &about(&message, name));
                        continue;
                    };
                    Some(bound)
                }
            };
            // A native histogram's own label "le" is a label like any other.
            let labels = if bound.is_some() {
                element.labels.without(LE)
            } else {
                (*element.labels).clone()
            };
            let key = labels.clone();
            let place = *places.entry(key).or_insert(gathered.len());
            if place == gathered.len() {
                let labels = Arc::new(labels);
                let name = name.to_owned();
                gathered.push(Distribution { labels, name, ..Distribution::default() });
            }
            let Some(distribution) = gathered.get_mut(place) else { continue };
            match (&element.value, bound) {
                (SampleValue::Float(count), Some(upper)) => {
                    distribution.buckets.push(ClassicBucket { upper, count: *count });
                }
                (SampleValue::Histogram(h), _) => distribution.native = Some(Arc::clone(h)),
                (SampleValue::Float(_), None) => {}
            }
        }
        gathered
    }

    fn classic(&self, distribution: &Distribution, ask: Ask, span: Span) -> f64 {
        let buckets = distribution.buckets.clone();
        let repaired = match ask {
            Ask::Quantile(q) => classic::quantile(q, buckets),
            Ask::Fraction(lower, upper) => classic::fraction(lower, upper, buckets),
        };
        if repaired.forced {
            let message = format!(
                "input to {} needed to be fixed for monotonicity (see \
                 https://prometheus.io/docs/prometheus/latest/querying/functions/\
                 #histogram_quantile)",
                ask.function()
            );
            self.notes.info(span, &about(&message, &distribution.name));
        }
        repaired.value
    }

    fn native(&self, h: &Histogram, ask: Ask, name: &str, span: Span) -> f64 {
        let (value, effect) = match ask {
            Ask::Fraction(lower, upper) => {
                let excluded = ", which are excluded from all fractions";
                (fraction(lower, upper, h), h.sum.is_nan().then_some(excluded))
            }
            Ask::Quantile(q) => match quantile(q, h) {
                Quantile::Value(x) => (x, None),
                Quantile::Skewed(x) => (x, Some(", result is skewed higher")),
                Quantile::AmongNan => (f64::NAN, Some(", result is NaN")),
            },
        };
        if let Some(effect) = effect {
            let message = format!("input to {} has NaN observations{effect}", ask.function());
            self.notes.info(span, &about(&message, name));
        }
        value
    }
}

/// As OpenMetrics writes a quantile: with a point.
fn quantile_text(q: f64) -> String {
    let text = plain_number(q);
    if q.is_finite() && !text.contains('.') {
        let short = short_number(q);
        return if short.contains('e') { short } else { format!("{text}.0") };
    }
    text
}

fn statistic(name: &str, element: &Element) -> Option<Element> {
    let SampleValue::Histogram(h) = &element.value else { return None };
    let value = match name {
        "histogram_count" => h.count,
        "histogram_sum" => h.sum,
        "histogram_avg" => h.sum / h.count,
        "histogram_stddev" => variance(h).sqrt(),
        "histogram_stdvar" => variance(h),
        _ => return None,
    };
    Some(element.computed(SampleValue::Float(value)))
}
