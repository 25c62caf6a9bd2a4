//! Overview: is it well, and if not, where.

use std::collections::BTreeMap;

use super::html::Html;
use super::query::{self, Line};
use super::{chart, dollars, duration, number, percent};
use crate::evaluate::AlertState;
use crate::serve::{Asking, Views, blame};

const QUANTILES: [(&str, &str); 4] =
    [("p50", "0.5"), ("p95", "0.95"), ("p99", "0.99"), ("p99.9", "0.999")];

pub(super) fn main(asking: &Asking<'_>) -> Html {
    let mut html = Html::new();
    html.add(&alerts(asking.views))
        .add(&tiles(asking))
        .add(&charts(asking))
        .add(&flows(asking))
        .add(&blame(asking.views))
        .add(&functions(asking));
    html
}

fn alerts(views: &Views) -> Html {
    let active = views.evaluator.read().unwrap_or_else(std::sync::PoisonError::into_inner).active();
    let firing: Vec<_> = active
        .iter()
        .filter(|alert| {
            alert.state == AlertState::Firing && alert.labels.get("alertname") != Some("Watchdog")
        })
        .collect();
    let mut html = Html::new();
    if firing.is_empty() {
        html.raw("<p class=\"calm\">No alert fires.</p>");
        return html;
    }
    html.raw("<section class=\"firing\"><h2>Firing</h2><ul>");
    for alert in firing {
        let name = alert.labels.get("alertname").unwrap_or("alert");
        let summary = alert.annotations.get("summary").map_or("", |text| &**text);
        html.raw("<li><a href=\"/alerts\">").text(name).raw("</a> ").text(summary);
        if let Some(evidence) =
            alert.evidence.as_ref().and_then(|evidence| evidence.request.as_ref())
        {
            html.raw(" ").link("/requests/", &evidence.request_id, "see a request");
        }
        html.raw("</li>");
    }
    html.raw("</ul></section>");
    html
}

fn tiles(asking: &Asking<'_>) -> Html {
    let ask = |query: &str| query::number(asking, query);
    let tiles = [
        ("requests / s", number(ask("sum(rate(throughline_requests_total[5m]))"))),
        (
            "not ok",
            percent(ask(
                "sum(increase(throughline_requests_total{outcome!=\"ok\"}[15m])) / sum(increase(throughline_requests_total[15m]))",
            )),
        ),
        ("open", number(ask("sum(throughline_requests_open)"))),
        ("cold starts, 15 min", number(ask("sum(increase(throughline_cold_starts_total[15m]))"))),
        ("throttles, 15 min", number(ask("sum(increase(throughline_throttles_total[15m]))"))),
        ("retries, 15 min", number(ask("sum(increase(throughline_retries_total[15m]))"))),
        (
            "queue lag p95",
            duration(ask(
                "histogram_quantile(0.95, sum(rate(throughline_queue_lag_seconds[15m])))",
            )),
        ),
        ("in dead-letter queues", number(ask("sum(throughline_dlq_depth)"))),
        ("cost, 15 min", dollars(ask("sum(increase(throughline_request_cost_usd_total[15m]))"))),
    ];
    let mut html = Html::new();
    html.raw("<dl class=\"tiles\">");
    for (name, value) in tiles {
        html.raw("<div><dt>").text(name).raw("</dt><dd>").text(value).raw("</dd></div>");
    }
    html.raw("</dl>");
    html
}

fn charts(asking: &Asking<'_>) -> Html {
    let mut html = Html::new();
    html.raw("<div class=\"charts\">");
    let quantile = |q: &str| {
        query::lines(
            asking,
            &format!(
                "histogram_quantile({q}, sum(rate(throughline_request_duration_seconds[1m])))"
            ),
        )
    };
    let found: Vec<(String, Vec<Line>)> =
        QUANTILES.iter().map(|(name, q)| ((*name).to_owned(), quantile(q))).collect();
    let latency: Vec<(String, &Line)> =
        found.iter().filter_map(|(name, lines)| Some((name.clone(), lines.first()?))).collect();
    html.add(&chart::lines("Duration of whole requests", &latency, duration));
    for (title, query, label) in [
        (
            "Requests a second, by outcome",
            "sum by (outcome) (rate(throughline_requests_total[1m]))",
            "outcome",
        ),
        (
            "Cold starts a second, by function",
            "sum by (faas_name) (rate(throughline_cold_starts_total[1m]))",
            "faas_name",
        ),
        (
            "Queue lag, p95",
            "histogram_quantile(0.95, sum by (queue) (rate(throughline_queue_lag_seconds[1m])))",
            "queue",
        ),
    ] {
        let found = query::lines(asking, query);
        let busy = found.iter().filter(|line| line.points.iter().any(|(_, v)| *v > 0.0));
        let named: Vec<(String, &Line)> =
            busy.map(|line| (line.labels.get(label).unwrap_or("all").to_owned(), line)).collect();
        let show: fn(Option<f64>) -> String = if label == "queue" { duration } else { number };
        html.add(&chart::lines(title, &named, show));
    }
    html.raw("</div>");
    html
}

/// One value of each name, by the label that names the row.
struct Columns(Vec<BTreeMap<String, f64>>);

impl Columns {
    fn ask(asking: &Asking<'_>, label: &str, queries: &[String]) -> Self {
        let column = |query: &String| {
            let found = query::instant(asking, query).into_iter();
            found
                .filter_map(|(labels, value)| Some((labels.get(label)?.to_owned(), value)))
                .collect()
        };
        Self(queries.iter().map(column).collect())
    }

    fn rows(&self) -> Vec<&String> {
        let mut names: Vec<&String> = self.0.iter().flat_map(BTreeMap::keys).collect();
        names.sort();
        names.dedup();
        names
    }

    fn get(&self, column: usize, row: &str) -> Option<f64> {
        self.0.get(column)?.get(row).copied()
    }
}

fn quantile_queries(metric: &str, label: &str) -> impl Iterator<Item = String> {
    QUANTILES.iter().map(move |(_, q)| {
        format!("histogram_quantile({q}, sum by ({label}) (rate({metric}[15m])))")
    })
}

fn flows(asking: &Asking<'_>) -> Html {
    let mut queries = vec![
        "sum by (flow) (increase(throughline_requests_total[15m]))".to_owned(),
        "sum by (flow) (increase(throughline_requests_total{outcome!=\"ok\"}[15m]))".to_owned(),
    ];
    queries.extend(quantile_queries("throughline_request_duration_seconds", "flow"));
    queries.push("histogram_quantile(0.95, sum by (flow) (rate(throughline_response_duration_seconds[15m])))".to_owned());
    queries.push("sum by (flow) (increase(throughline_request_cost_usd_total[15m])) / sum by (flow) (increase(throughline_requests_total[15m]))".to_owned());
    let columns = Columns::ask(asking, "flow", &queries);
    let mut html = Html::new();
    html.raw("<h2>Flows <small>last 15 min</small></h2><table><thead><tr><th>flow<th class=\"n\">requests<th class=\"n\">not ok<th class=\"n\">p50<th class=\"n\">p95<th class=\"n\">p99<th class=\"n\">p99.9<th class=\"n\">response p95<th class=\"n\">cost each</tr></thead><tbody>");
    for flow in columns.rows() {
        html.raw("<tr><td>").link("/requests?flow=", flow, flow).raw("</td>");
        html.cell("n", number(columns.get(0, flow)));
        let bad = columns.get(1, flow);
        html.cell(if bad.is_some_and(|n| n > 0.0) { "n bad" } else { "n" }, number(bad));
        for column in 2..=6 {
            html.cell("n", duration(columns.get(column, flow)));
        }
        html.cell("n", dollars(columns.get(7, flow))).raw("</tr>");
    }
    html.raw("</tbody></table>");
    html
}

/// Parts of a flow that are shown, the most to blame first.
const BLAMED_MAX: usize = 4;

fn blame(views: &Views) -> Html {
    let mut html = Html::new();
    html.raw("<h2>What makes the slowest slow <small>slowest hundredth against the usual half, of each flow's newest requests</small></h2><table><thead><tr><th>flow<th class=\"n\">p50<th class=\"n\">p99<th>function<th>part<th class=\"n\">in the slowest<th class=\"n\">usually<th class=\"n\">to blame for</tr></thead><tbody>");
    for flow in blame::now(views, None) {
        let to_blame = flow.parts.iter().filter(|part| part.share > 0.0).take(BLAMED_MAX);
        for part in to_blame {
            let seconds = |ms: f64| duration(Some(ms / 1000.0));
            html.raw("<tr><td>").link("/requests?flow=", &flow.flow, &flow.flow).raw("</td>");
            html.cell("n", seconds(flow.p50_ms)).cell("n", seconds(flow.p99_ms));
            html.cell("", &part.function).cell("", part.part.as_str());
            html.cell("n", seconds(part.slow_ms)).cell("n", seconds(part.usual_ms));
            html.cell("n", percent(Some(part.share))).raw("</tr>");
        }
    }
    html.raw("</tbody></table>");
    html
}

fn functions(asking: &Asking<'_>) -> Html {
    let increase = |metric: &str| format!("sum by (faas_name) (increase({metric}[15m]))");
    let mut queries = vec![
        increase("throughline_invocations_total"),
        increase("throughline_invocations_total{outcome!=\"ok\"}"),
        increase("throughline_cold_starts_total"),
        increase("throughline_throttles_total"),
        increase("throughline_retries_total"),
    ];
    queries.extend(quantile_queries("throughline_invocation_duration_seconds", "faas_name"));
    let columns = Columns::ask(asking, "faas_name", &queries);
    let mut html = Html::new();
    html.raw("<h2>Functions <small>last 15 min</small></h2><table><thead><tr><th>function<th class=\"n\">attempts<th class=\"n\">not ok<th class=\"n\">cold starts<th class=\"n\">throttles<th class=\"n\">retries<th class=\"n\">p50<th class=\"n\">p95<th class=\"n\">p99<th class=\"n\">p99.9</tr></thead><tbody>");
    for function in columns.rows() {
        html.raw("<tr><td>").link("/requests?function=", function, function).raw("</td>");
        for column in 0..=4 {
            let value = columns.get(column, function);
            let bad = matches!(column, 1 | 3) && value.is_some_and(|n| n > 0.0);
            html.cell(if bad { "n bad" } else { "n" }, number(value));
        }
        for column in 5..=8 {
            html.cell("n", duration(columns.get(column, function)));
        }
        html.raw("</tr>");
    }
    html.raw("</tbody></table>");
    html
}
