//! `throughline query`: PromQL against a running daemon.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::Value;

use super::remote::Remote;
use super::{block_on, say, say_error};
use crate::promql::{ParseError, Query};
use crate::signal::Timestamp;

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  throughline query 'sum by (flow, outcome) (throughline_requests_total)'
  throughline query 'histogram_quantile(0.99, sum by (flow) (rate(throughline_request_duration_seconds[5m])))'
  throughline query 'throughline_queue_depth' --start 2026-11-25T10:00:00Z --end 2026-11-25T11:00:00Z --step 1m
  throughline query 'ALERTS{alertstate=\"firing\"}' --json | jq .data.result")]
pub(super) struct QueryArgs {
    /// The expression, as `rate(throughline_requests_total[5m])`
    promql: String,
    #[command(flatten)]
    remote: Remote,
    /// Evaluate at this time (seconds or RFC 3339) instead of now.
    #[arg(long, conflicts_with_all = ["start", "end", "step"])]
    time: Option<String>,
    /// First time of a range.
    #[arg(long, requires_all = ["end", "step"])]
    start: Option<String>,
    /// Last time of a range.
    #[arg(long, requires = "start")]
    end: Option<String>,
    /// Pause between two times of a range, as 30s
    #[arg(long, requires = "start")]
    step: Option<String>,
    /// The API's JSON instead of a table.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &QueryArgs) -> anyhow::Result<ExitCode> {
    if let Err(error) = Query::parse(&args.promql) {
        bail!("{}", pointed_out(&args.promql, &error));
    }
    let answer = block_on(ask(args))??;
    if answer["status"] != "success" {
        let reason = answer["error"].as_str().or_else(|| answer["error"]["message"].as_str());
        bail!("{}", reason.unwrap_or("the daemon gave no reason"));
    }
    if args.json {
        say(&serde_json::to_string_pretty(&answer)?);
    } else {
        say(&table(&answer["data"]));
        let notes = ["warnings", "infos"].map(|kind| answer[kind].as_array());
        notes.iter().flatten().copied().flatten().filter_map(Value::as_str).for_each(say_error);
    }
    Ok(ExitCode::SUCCESS)
}

async fn ask(args: &QueryArgs) -> anyhow::Result<Value> {
    let path = if args.start.is_some() { "query_range" } else { "query" };
    let named =
        [("time", &args.time), ("start", &args.start), ("end", &args.end), ("step", &args.step)];
    let mut url = args.remote.at(&["api", "v1", path])?;
    url.query_pairs_mut().append_pair("query", &args.promql);
    for (name, value) in named.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?))) {
        url.query_pairs_mut().append_pair(name, value);
    }
    let response = args.remote.get(url).await?;
    let status = response.status();
    if matches!(status.as_u16(), 401 | 403) {
        bail!("{}", super::remote::UNKNOWN);
    }
    response.json().await.with_context(|| format!("the answer, status {status}, is no JSON"))
}

/// The line of an expression that is wrong, with a caret under the place.
fn pointed_out(text: &str, error: &ParseError) -> String {
    let before = text.get(..error.at).unwrap_or(text);
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = text.get(start..).unwrap_or_default().lines().next().unwrap_or_default();
    let (row, column) = (before.matches('\n').count() + 1, before.get(start..).unwrap_or_default());
    let column = column.chars().count();
    format!("{row}:{}: {error}\n{line}\n{:column$}^", column + 1, "")
}

/// A vector: a line a series, its labels and its value. A matrix: the labels of each series, and below
/// them a line a sample, its time and its value.
fn table(data: &Value) -> String {
    let result = &data["result"];
    let Some(series) = result
        .as_array()
        .filter(|_| matches!(data["resultType"].as_str(), Some("vector" | "matrix")))
    else {
        return result[1].as_str().unwrap_or_default().to_owned();
    };
    if series.is_empty() {
        return "no series".to_owned();
    }
    let names: Vec<String> = series.iter().map(|one| name(&one["metric"])).collect();
    if data["resultType"] == "matrix" {
        let block = |(name, one): (&String, &Value)| format!("{name}\n{}", points(one));
        return names.iter().zip(series).map(block).collect::<Vec<_>>().join("\n");
    }
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let row = |(name, one): (&String, &Value)| {
        let point = if one["value"].is_array() { &one["value"] } else { &one["histogram"] };
        format!("{name:width$}  {}", shown(point))
    };
    names.iter().zip(series).map(row).collect::<Vec<_>>().join("\n")
}

fn name(metric: &Value) -> String {
    let pairs = metric
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)));
    crate::signal::Labels::of(&pairs.collect::<Vec<_>>()).to_string()
}

/// The samples of a series in order of time, a line each.
fn points(series: &Value) -> String {
    let all = [&series["values"], &series["histograms"]].into_iter();
    let mut all: Vec<(i64, &Value)> = all
        .filter_map(Value::as_array)
        .flatten()
        .map(|point| {
            let seconds = point[0].as_f64().unwrap_or_default();
            (crate::number::i64_from_f64((seconds * 1000.0).round()), point)
        })
        .collect();
    all.sort_by_key(|(millis, _)| *millis);
    let line = |(millis, point): &(i64, &Value)| {
        format!("  {}  {}", Timestamp::from_millis(*millis), shown(point))
    };
    all.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A float as it is told; of a native histogram its count and sum.
fn shown(point: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    match &point[1] {
        histogram @ Value::Object(_) => {
            let (count, sum) = (text(&histogram["count"]), text(&histogram["sum"]));
            format!("histogram, count {count} sum {sum}")
        }
        float => text(float),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_is_a_table_and_a_scalar_a_number() {
        let data = serde_json::json!({"resultType": "vector", "result": [
            {"metric": {"__name__": "up", "job": "a"}, "value": [1.0, "1"]},
            {"metric": {"job": "bcd"}, "value": [1.0, "NaN"]},
        ]});
        assert_eq!(table(&data), "up{job=\"a\"}  1\n{job=\"bcd\"}  NaN");
        assert_eq!(table(&serde_json::json!({"resultType": "scalar", "result": [4, "2"]})), "2");
    }

    #[test]
    fn a_matrix_shows_when_each_sample_was() {
        let data = serde_json::json!({"resultType": "matrix", "result": [
            {"metric": {"job": "a"}, "values": [[1.5, "1"], [3.0, "NaN"]],
             "histograms": [[2, {"count": "4", "sum": "6.5", "buckets": []}]]},
        ]});
        let expected = "{job=\"a\"}
  1970-01-01T00:00:01.500000000Z  1
  1970-01-01T00:00:02.000000000Z  histogram, count 4 sum 6.5
  1970-01-01T00:00:03.000000000Z  NaN";
        assert_eq!(table(&data), expected);
    }

    #[test]
    fn a_bad_expression_is_shown_with_its_place() {
        let text = "sum(a)\n+ é{b";
        let error = Query::parse(text).unwrap_err();
        let shown = pointed_out(text, &error);
        assert!(shown.starts_with("2:3: ") && shown.ends_with("\n+ é{b\n  ^"), "{shown}");
    }
}
