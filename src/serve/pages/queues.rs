//! Queues: what waits, how long, and what fell out.

use serde_json::Value;

use super::html::Html;
use super::{duration, number};

pub(super) fn main(queues: &Value) -> Html {
    let mut html = Html::new();
    html.raw("<h1>Queues</h1><table><thead><tr><th>queue<th class=\"n\">depth<th class=\"n\">oldest<th class=\"n\">lag p50<th class=\"n\">lag p95<th class=\"n\">lag p99<th>dead-letter queue<th class=\"n\">its depth<th class=\"n\">arrivals, 1 h</tr></thead><tbody>");
    for queue in queues["queues"].as_array().into_iter().flatten() {
        let value = |name: &str| queue[name].as_f64();
        let lag = |name: &str| duration(queue["lag_seconds"][name].as_f64());
        let name = queue["queue"].as_str().unwrap_or_default();
        html.raw("<tr><td>")
            .link("/requests?queue=", name, name)
            .raw("</td>")
            .cell("n", number(value("depth")))
            .cell("n", duration(value("oldest_age_seconds")));
        html.cell("n", lag("p50")).cell("n", lag("p95")).cell("n", lag("p99"));
        html.cell("", queue["dead_letter_queue"].as_str().unwrap_or("–"));
        for column in ["dlq_depth", "dlq_arrivals_1h"] {
            let value = value(column);
            html.cell(if value.is_some_and(|n| n > 0.0) { "n bad" } else { "n" }, number(value));
        }
        html.raw("</tr>");
    }
    html.raw("</tbody></table><p class=\"note\">Depth and age are the broker's word (metric streams); lag is measured on each message. A dash is unknown, never zero.</p>");
    html
}
