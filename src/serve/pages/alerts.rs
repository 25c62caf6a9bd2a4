//! Alerts: what fires, since when, and a request to look at; then what was told to whom.

use super::html::Html;
use super::number;
use crate::evaluate::{ActiveAlert, AlertState};
use crate::serve::Views;

pub(super) fn main(views: &Views) -> Html {
    let mut active =
        views.evaluator.read().unwrap_or_else(std::sync::PoisonError::into_inner).active();
    // Who is woken first stands first; what only proves that alerting works stands last.
    active.sort_by_key(|alert| {
        match (alert.labels.get("alertname"), alert.labels.get("severity")) {
            (Some("Watchdog"), _) => 2,
            (_, Some("page")) => 0,
            _ => 1,
        }
    });
    let mut html = Html::new();
    html.raw("<h1>Alerts</h1>");
    if active.is_empty() {
        html.raw("<p class=\"calm\">No alert is pending or firing.</p>");
    }
    for alert in &active {
        one(&mut html, alert);
    }
    html.add(&groups(views));
    html
}

fn one(html: &mut Html, alert: &ActiveAlert) {
    let state = if alert.state == AlertState::Firing { "firing" } else { "pending" };
    let annotation = |name: &str| alert.annotations.get(name).map_or("", |text| &**text);
    html.raw("<section class=\"alert ")
        .raw(state)
        .raw("\"><h2>")
        .text(alert.labels.get("alertname").unwrap_or("alert"));
    html.raw(" <span class=\"badge ")
        .raw(state)
        .raw("\">")
        .raw(state)
        .raw("</span></h2><p>")
        .text(annotation("summary"))
        .raw("</p><p>")
        .text(annotation("description"))
        .raw("</p><p class=\"labels\">");
    for (name, value) in alert.labels.iter().filter(|(name, _)| *name != "alertname") {
        html.raw("<code>").text(name).raw("=").text(value).raw("</code> ");
    }
    html.raw("</p>");
    let request = alert.evidence.as_ref().and_then(|evidence| evidence.request.as_ref());
    if let Some(example) = request.filter(|example| !example.timeline.is_empty()) {
        html.raw("<pre>");
        for line in &example.timeline {
            html.text(line).raw("\n");
        }
        html.raw("</pre>");
    }
    html.raw("<p class=\"note\">since ")
        .text(alert.active_at.to_string().get(..19).unwrap_or_default())
        .raw(", value ")
        .text(number(Some(alert.value)));
    if let Some(evidence) = request {
        html.raw("; look at ").text(evidence.place()).raw(": ").link(
            "/requests/",
            &evidence.request_id,
            "see the request",
        );
    }
    if let Some(name) = annotation("runbook_url").rsplit('/').next().filter(|name| !name.is_empty())
    {
        html.raw("; ").link("/runbooks/", name, "what to do");
    }
    html.raw("; ");
    super::silences::link(html, &alert.labels);
    html.raw("</p></section>");
}

fn groups(views: &Views) -> Html {
    let groups =
        views.dispatcher.read().unwrap_or_else(std::sync::PoisonError::into_inner).groups();
    let mut html = Html::new();
    if groups.is_empty() {
        return html;
    }
    html.raw("<h2>Notifications</h2><table><thead><tr><th>receiver<th>group<th class=\"n\">firing<th>last told<th>waiting</tr></thead><tbody>");
    for group in groups {
        let told = group.told_at.map_or_else(
            || "not yet".to_owned(),
            |at| at.to_string().get(..19).unwrap_or_default().to_owned(),
        );
        let waiting: Vec<String> =
            group.waiting.iter().map(|(_, attempts)| format!("{attempts} attempts")).collect();
        html.raw("<tr>")
            .cell("", &group.receiver)
            .cell("", &group.labels)
            .cell("n", group.n_firing)
            .cell("", told)
            .cell("", waiting.join(", "))
            .raw("</tr>");
    }
    html.raw("</tbody></table>");
    html
}
