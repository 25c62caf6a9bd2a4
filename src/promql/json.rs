//! Answers as JSON: the `data` object of the Prometheus HTTP API (`docs/querying/api.md`). What is
//! never true: a number where the API has a string.

use serde_json::{Value, json};

use super::Output;
use super::histogram::{Bucket, buckets, is_custom};
use super::text::json_number;
use crate::number::f64_from_i64;
use crate::series::{Histogram, RawSeries, Sample, SampleValue};

/// Text that is made as it is asked for.
pub type Parts = Box<dyn Iterator<Item = String> + Send>;

/// `{"result":…,"resultType":…`, without the brace that ends it, so that more can stand in it. Times are
/// seconds with up to three decimals. Each part is of one series and made when its turn comes: as a tree, or
/// whole as text, an answer takes several times the memory of its samples.
pub fn answer_parts(output: Output) -> Parts {
    let (kind, result): (_, Parts) = match output {
        Output::Scalar(t, x) => ("scalar", one(&json!([seconds(t), json_number(x)]))),
        Output::String(t, text) => ("string", one(&json!([seconds(t), text]))),
        Output::Vector(series) => {
            let parts = series.into_iter().filter_map(|series| instant_json(&series));
            ("vector", listed(parts.map(|part| part.to_string())))
        }
        Output::Matrix(series) => {
            ("matrix", listed(series.into_iter().map(|series| range_json(&series).to_string())))
        }
    };
    let begun = std::iter::once("{\"result\":".to_owned());
    Box::new(begun.chain(result).chain([format!(",\"resultType\":\"{kind}\"")]))
}

fn one(value: &Value) -> Parts {
    Box::new(std::iter::once(value.to_string()))
}

fn listed(parts: impl Iterator<Item = String> + Send + 'static) -> Parts {
    let before = std::iter::once("").chain(std::iter::repeat(","));
    let listed = before.zip(parts).map(|(before, part)| format!("{before}{part}"));
    Box::new(std::iter::once("[".to_owned()).chain(listed).chain(["]".to_owned()]))
}

/// Whole seconds stay whole, as Prometheus writes them.
fn seconds(millis: i64) -> Value {
    if millis % 1000 == 0 { json!(millis / 1000) } else { json!(f64_from_i64(millis) / 1000.0) }
}

fn point(sample: &Sample) -> Value {
    match &sample.value {
        SampleValue::Float(x) => json!([seconds(sample.t), json_number(*x)]),
        SampleValue::Histogram(h) => json!([seconds(sample.t), histogram_json(h)]),
    }
}

fn instant_json(series: &RawSeries) -> Option<Value> {
    let sample = series.samples.first()?;
    let key = match sample.value {
        SampleValue::Float(_) => "value",
        SampleValue::Histogram(_) => "histogram",
    };
    Some(json!({"metric": series.labels, key: point(sample)}))
}

fn range_json(series: &RawSeries) -> Value {
    let is_float = |sample: &&Sample| matches!(sample.value, SampleValue::Float(_));
    let (floats, histograms): (Vec<&Sample>, Vec<&Sample>) =
        series.samples.iter().partition(is_float);
    let mut object = json!({"metric": series.labels});
    for (key, samples) in [("values", floats), ("histograms", histograms)] {
        if !samples.is_empty() {
            object[key] = samples.into_iter().map(point).collect();
        }
    }
    object
}

fn histogram_json(h: &Histogram) -> Value {
    let populated = buckets(h);
    let populated = populated.iter().filter(|bucket| bucket.count != 0.0);
    let mut object = json!({"count": json_number(h.count), "sum": json_number(h.sum)});
    let shown: Vec<Value> = populated.map(|bucket| bucket_json(h, bucket)).collect();
    if !shown.is_empty() {
        object["buckets"] = shown.into();
    }
    object
}

/// The first number says which bounds belong to the bucket: 0 the upper, 1 the lower, 2 neither,
/// 3 both.
fn bucket_json(h: &Histogram, bucket: &Bucket) -> Value {
    let Bucket { lower, upper, count } = *bucket;
    let rule = if is_custom(h) {
        0
    } else if lower <= 0.0 && upper >= 0.0 {
        3
    } else {
        i32::from(lower < 0.0)
    };
    json!([rule, json_number(lower), json_number(upper), json_number(count)])
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use expect_test::{Expect, expect};

    use super::*;
    use crate::promql::parse_series_description;

    fn check(output: Output, expect: &Expect) {
        expect.assert_eq(&format!("{}}}", answer_parts(output).collect::<String>()));
    }

    fn series(description: &str) -> RawSeries {
        let (labels, values) = parse_series_description(description).unwrap();
        let sample = |(i, value): (usize, Option<SampleValue>)| {
            let t = i64::try_from(i).unwrap() * 1500;
            value.map(|value| Sample { t, value })
        };
        RawSeries::new(labels, values.into_iter().enumerate().filter_map(sample).collect())
    }

    #[test]
    fn numbers_are_strings_and_times_are_numbers() {
        check(
            Output::Scalar(1500, f64::NEG_INFINITY),
            &expect![[r#"{"result":[1.5,"-Inf"],"resultType":"scalar"}"#]],
        );
        check(
            Output::Matrix(vec![series("up{a=\"b\"} 1 NaN")]),
            &expect![[
                r#"{"result":[{"metric":{"__name__":"up","a":"b"},"values":[[0,"1"],[1.5,"NaN"]]}],"resultType":"matrix"}"#
            ]],
        );
    }

    #[test]
    fn a_part_is_of_one_series() {
        check(Output::Vector(Vec::new()), &expect![[r#"{"result":[],"resultType":"vector"}"#]]);
        check(
            Output::String(0, "a\"b".to_owned()),
            &expect![[r#"{"result":[0,"a\"b"],"resultType":"string"}"#]],
        );
        let three = ["a 1", "b 2", "c 3"].map(series);
        let parts: Vec<String> = answer_parts(Output::Matrix(three.to_vec())).collect();
        expect![[r#"
            {"result":
            [
            {"metric":{"__name__":"a"},"values":[[0,"1"]]}
            ,{"metric":{"__name__":"b"},"values":[[0,"2"]]}
            ,{"metric":{"__name__":"c"},"values":[[0,"3"]]}
            ]
            ,"resultType":"matrix"
        "#]]
        .assert_eq(&format!("{}\n", parts.join("\n")));
    }

    #[test]
    fn histograms_stand_under_their_own_key() {
        let h = series(
            "h {{schema:0 count:4 sum:3 z_bucket:1 z_bucket_w:0.5 buckets:[2] n_buckets:[1]}}",
        );
        check(
            Output::Vector(vec![h]),
            &expect![[
                r#"{"result":[{"histogram":[0,{"buckets":[[1,"-1","-0.5","1"],[3,"-0.5","0.5","1"],[0,"0.5","1","2"]],"count":"4","sum":"3"}],"metric":{"__name__":"h"}}],"resultType":"vector"}"#
            ]],
        );
        let custom = Histogram {
            counter_reset: crate::series::CounterReset::Unknown,
            schema: -53,
            zero_threshold: 0.0,
            zero_count: 0.0,
            count: 1.0,
            sum: 1.0,
            positive: vec![(1, 1.0)],
            negative: Vec::new(),
            custom_bounds: Arc::from([5.0]),
        };
        let sample = Sample { t: 0, value: SampleValue::Histogram(Arc::new(custom)) };
        let labels = crate::signal::Labels::default();
        check(
            Output::Vector(vec![RawSeries::new(labels, vec![sample])]),
            &expect![[
                r#"{"result":[{"histogram":[0,{"buckets":[[0,"5","+Inf","1"]],"count":"1","sum":"1"}],"metric":{}}],"resultType":"vector"}"#
            ]],
        );
    }
}
