//! `throughline query`: PromQL against a running daemon.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::Value;

use super::remote::Remote;
use super::{block_on, say};

#[derive(Args, Debug)]
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
    #[arg(long)]
    end: Option<String>,
    /// Pause between two times of a range, as 30s
    #[arg(long)]
    step: Option<String>,
    /// The API's JSON instead of a table.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &QueryArgs) -> anyhow::Result<ExitCode> {
    let answer = block_on(ask(args))??;
    if answer["status"] != "success" {
        let reason = answer["error"].as_str().or_else(|| answer["error"]["message"].as_str());
        bail!("{}", reason.unwrap_or("the daemon gave no reason"));
    }
    if args.json {
        say(&serde_json::to_string_pretty(&answer)?);
    } else {
        say(&table(&answer["data"]));
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
    response.json().await.with_context(|| format!("the answer, status {status}, is no JSON"))
}

/// One line a series: its labels, then its value or values.
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
    let rows: Vec<(String, String)> =
        series.iter().map(|one| (name(&one["metric"]), values(one))).collect();
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    rows.iter()
        .map(|(name, value)| format!("{name:width$}  {value}"))
        .collect::<Vec<_>>()
        .join("\n")
}

fn name(metric: &Value) -> String {
    let pairs = metric
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)));
    crate::signal::Labels::of(&pairs.collect::<Vec<_>>()).to_string()
}

fn values(series: &Value) -> String {
    let show = |pair: &Value| {
        pair[1]
            .as_str()
            .map_or_else(|| pair[1]["count"].as_str().unwrap_or("?").to_owned(), str::to_owned)
    };
    match series["values"].as_array().or_else(|| series["histograms"].as_array()) {
        Some(points) => points.iter().map(show).collect::<Vec<_>>().join(" "),
        None if series["value"].is_array() => show(&series["value"]),
        None => format!(
            "histogram, count {} sum {}",
            show(&series["histogram"]),
            series["histogram"][1]["sum"].as_str().unwrap_or("?")
        ),
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
}
