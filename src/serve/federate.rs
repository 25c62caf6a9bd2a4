//! `/federate`: the newest sample of every series that `match[]` selects, as text, for another Prometheus.
//!
//! Native histograms have no text form; their `_bucket`, `_sum` and `_count` are series of their own.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::Views;
use super::metrics::{TEXT_TYPE, text};
use super::params::Params;
use super::prometheus_api::{Failure, NeedsMatch, selected};
use crate::series::looks::Looks;
use crate::series::{SampleValue, Selection};
use crate::signal::Labels;

/// Of a series, when and how much.
type Newest = BTreeMap<Labels, (i64, f64)>;

pub(super) async fn federate(
    State(views): State<Views>,
    params: Params,
) -> Result<Response, Failure> {
    let selected = selected(&params, NeedsMatch::Yes)?;
    let now = views.clock.now().as_millis();
    let found = views.ask(None, move |asking| {
        let mut newest = Newest::new();
        let lookback = i64::try_from(asking.options.lookback.as_millis()).unwrap_or(i64::MAX);
        for matchers in &selected.in_turn()? {
            asking.goes_on()?;
            let selection = Selection {
                matchers,
                start: now.saturating_sub(lookback),
                end: now,
                samples_max: asking.options.samples_max,
                windows: None,
                looks: Some(Looks::once(now)),
            };
            let selected = asking.select()(&selection);
            for one in selected.map_err(crate::promql::EvalError::from)? {
                let Some(sample) = one.samples.last() else { continue };
                if let SampleValue::Float(value) = &sample.value
                    && !is_stale(*value)
                {
                    newest.insert(one.labels, (sample.t, *value));
                }
            }
        }
        Ok(page(&newest))
    });
    Ok(([(header::CONTENT_TYPE, TEXT_TYPE)], found.await?).into_response())
}

fn is_stale(value: f64) -> bool {
    value.to_bits() == crate::series::STALE_NAN_BITS
}

/// By name, each name under its TYPE.
fn page(newest: &Newest) -> String {
    let named =
        newest.iter().map(|(labels, sample)| ((legacy_metric(labels.name()), labels), sample));
    let by_name: BTreeMap<(String, &Labels), &(i64, f64)> = named.collect();
    let (mut out, mut previous) = (String::new(), None);
    for ((name, labels), (t, value)) in by_name {
        if previous.as_ref() != Some(&name) {
            let _ = writeln!(out, "# TYPE {name} untyped");
        }
        let pairs = labels.iter().filter(|(label, _)| *label != crate::signal::METRIC_NAME);
        let pairs: Vec<String> = pairs
            .map(|(label, value)| format!("{}=\"{}\"", legacy(label, ""), text::escaped(value)))
            .collect();
        let value = text::shown(*value);
        let _ = writeln!(out, "{name}{{{}}} {value} {t}", pairs.join(","));
        previous = Some(name);
    }
    out
}

/// A metric's name, in which colons may stand.
fn legacy_metric(name: &str) -> String {
    legacy(name, ":")
}

/// What a name is for a reader who knows no dots in it: Prometheus's `underscores` escaping.
fn legacy(name: &str, allowed: &str) -> String {
    let keep = |(at, c): (usize, char)| {
        let is_good = c.is_ascii_alphabetic()
            || c == '_'
            || allowed.contains(c)
            || (at > 0 && c.is_ascii_digit());
        if is_good { c } else { '_' }
    };
    name.char_indices().map(keep).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::METRIC_NAME;

    #[test]
    fn each_name_stands_under_its_type_with_its_time() {
        let set = |name: &str, pairs: &[(&str, &str)]| {
            let all: Vec<(&str, &str)> =
                pairs.iter().copied().chain([(METRIC_NAME, name)]).collect();
            Labels::of(&all)
        };
        let newest = Newest::from([
            (set("up", &[("job", "b\"c")]), (2000, 0.0)),
            (set("room.temperature", &[]), (1000, 21.5)),
            (set("room.x", &[]), (1000, 1.0)),
            (set("room_temperature", &[("a:b", "c")]), (1000, 3.0)),
            (set("up", &[("job", "a"), ("cloud.region", "x")]), (2000, 1.0)),
        ]);
        assert_eq!(
            page(&newest),
            "# TYPE room_temperature untyped\nroom_temperature{} 21.5 1000\nroom_temperature{a_b=\"c\"} 3 1000\n# TYPE room_x untyped\nroom_x{} 1 1000\n# TYPE up untyped\nup{cloud_region=\"x\",job=\"a\"} 1 2000\nup{job=\"b\\\"c\"} 0 2000\n"
        );
        assert!(is_stale(f64::from_bits(crate::series::STALE_NAN_BITS)) && !is_stale(f64::NAN));
    }
}
