//! SLOs: how much of each budget is left, and how fast it burns.

use serde_json::Value;

use super::html::Html;
use super::{chart, duration_of, number, percent};
use crate::signal::parse_duration;

pub(super) fn main(slos: &Value) -> Html {
    let mut html = Html::new();
    html.raw("<h1>SLOs</h1>");
    let mut all: Vec<&Value> = slos["slos"].as_array().into_iter().flatten().collect();
    // What is nearest to its end stands first.
    let left = |slo: &Value| slo["budget_left_ratio"].as_f64().unwrap_or(1.0);
    all.sort_by(|a, b| left(a).total_cmp(&left(b)));
    if all.is_empty() {
        html.raw("<p class=\"none\">No objective is configured. Name SLO files in <code>slos.files</code>.</p>");
    }
    for slo in all {
        one(&mut html, slo);
    }
    html
}

fn one(html: &mut Html, slo: &Value) {
    let text = |name: &str| slo[name].as_str().unwrap_or_default().to_owned();
    let value = |name: &str| slo[name].as_f64();
    let left = value("budget_left_ratio");
    html.raw("<section class=\"slo\"><h2>")
        .text(text("name"))
        .raw(" <small>")
        .text(text("service"))
        .raw("</small></h2><dl class=\"tiles\">");
    let tiles = [
        ("target", percent(value("target"))),
        ("window", text("window")),
        ("good of all", format!("{} of {}", number(value("good")), number(value("total")))),
        ("error ratio", percent(value("error_ratio"))),
        ("budget left", percent(left)),
        ("bad events left", number(value("budget_left_events").map(f64::round))),
        ("minutes left", number(value("budget_left_minutes").map(f64::round))),
        ("budget gone", gone(slo)),
        ("measured", measured(slo)),
    ];
    for (name, value) in tiles {
        html.raw("<div><dt>").raw(name).raw("</dt><dd>").text(value).raw("</dd></div>");
    }
    html.raw("</dl>").add(&chart::bar(
        left.unwrap_or(0.0),
        if left.is_some_and(|left| left < 0.25) { "run failed" } else { "run" },
    ));
    html.raw("<table><thead><tr><th>window");
    let burns = slo["burn_rates"].as_object();
    let mut windows: Vec<(&String, &Value)> = burns.into_iter().flatten().collect();
    windows.sort_by_key(|(window, _)| parse_duration(window));
    for (window, _) in &windows {
        html.raw("<th class=\"n\">").text(window);
    }
    html.raw("</tr></thead><tbody><tr><td>burn rate</td>");
    for (_, burn) in &windows {
        let burn = burn.as_f64();
        html.cell(if burn.is_some_and(|burn| burn > 1.0) { "n bad" } else { "n" }, number(burn));
    }
    html.raw("</tr></tbody></table></section>");
}

/// When the budget ends at the last hour's rate, to the minute.
fn gone(slo: &Value) -> String {
    if slo["budget_left_ratio"].as_f64().is_some_and(|left| left <= 0.0) {
        return "already".to_owned();
    }
    let at = slo["exhausted_at"].as_str().and_then(|at| at.get(..16));
    at.map_or_else(|| "–".to_owned(), |at| at.replace('T', " "))
}

/// How much of the window its data covers, as a length of time: of a young objective a few events decide.
fn measured(slo: &Value) -> String {
    let window = slo["window"].as_str().and_then(parse_duration);
    match slo["data_coverage"].as_f64().zip(window) {
        None => "–".to_owned(),
        Some((share, _)) if share > 0.995 => "all of it".to_owned(),
        Some((share, window)) => duration_of(window.mul_f64(share.max(0.0))),
    }
}
