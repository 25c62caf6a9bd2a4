//! One request as a waterfall: who caused whom, where it waited, what it cost.

use std::collections::HashMap;
use std::time::Duration;

use super::html::Html;
use super::{chart, dollars, duration, duration_of, requests};
use crate::correlate::{Hop, Request};
use crate::number::f64_from_usize;

const WIDTH: f64 = 1000.0;
/// Room for the names.
const LEFT: f64 = 250.0;
const ROW: f64 = 24.0;
const HEAD: f64 = 22.0;
/// Rows drawn; the table below tells of all.
const ROWS_MAX: usize = 500;
/// Deeper indentation would leave no room for names.
const INDENT_MAX: usize = 10;

pub(super) fn main(request: &Request) -> Html {
    let mut html = Html::new();
    html.raw("<h1>")
        .text(&request.flow)
        .raw(" ")
        .add(&requests::outcome(request))
        .raw("</h1>")
        .add(&facts(request));
    html.add(&waterfall(request))
        .add(&critical_path(request))
        .add(&missing(request))
        .add(&hops(request));
    html
}

fn facts(request: &Request) -> Html {
    let mut html = Html::new();
    html.raw("<dl class=\"facts\">");
    let rows = [
        ("start", request.start.to_string()),
        ("duration", duration_of(request.duration)),
        ("response", duration(request.response.map(|d| d.as_secs_f64()))),
        ("cost", dollars(request.cost_usd)),
        ("id", request.id.to_string()),
    ];
    for (name, value) in rows {
        html.raw("<div><dt>").raw(name).raw("</dt><dd>").text(value).raw("</dd></div>");
    }
    if request.stands_for > 1 {
        let times = request.stands_for;
        html.raw("<div><dt>sampled</dt><dd>counts as ").text(times).raw("</dd></div>");
    }
    if let Some(earlier) = &request.continues {
        html.raw("<div><dt>continues</dt><dd>")
            .link("/requests/", earlier, earlier)
            .raw("</dd></div>");
    }
    for key in request.keys.iter().take(12) {
        let kind = serde_json::to_value(key.kind)
            .ok()
            .and_then(|kind| kind.as_str().map(|kind| kind.replace('_', " ")));
        html.raw("<div><dt>")
            .text(kind.unwrap_or_default())
            .raw("</dt><dd><code>")
            .text(&key.value)
            .raw("</code></dd></div>");
    }
    html.raw("</dl>");
    html
}

/// Hops in the order of a tree: each after the first of its causes, siblings by start.
fn tree(request: &Request) -> Vec<(usize, &Hop)> {
    let mut children: HashMap<&str, Vec<&Hop>> = HashMap::new();
    let known: HashMap<&str, &Hop> = request.hops.iter().map(|hop| (&*hop.id, hop)).collect();
    let mut roots = Vec::new();
    for hop in &request.hops {
        match hop.causes.iter().find(|cause| known.contains_key(&***cause)) {
            Some(cause) => children.entry(cause).or_default().push(hop),
            None => roots.push(hop),
        }
    }
    let mut rows: Vec<(usize, &Hop)> = Vec::new();
    let mut stack: Vec<(usize, &Hop)> = roots.into_iter().rev().map(|hop| (0, hop)).collect();
    while let Some((depth, hop)) = stack.pop() {
        // Each hop has one place, so this ends even where causes form a circle.
        if rows.len() > request.hops.len() {
            break;
        }
        rows.push((depth, hop));
        stack.extend(
            children
                .remove(&*hop.id)
                .unwrap_or_default()
                .into_iter()
                .rev()
                .map(|child| (depth + 1, child)),
        );
    }
    rows
}

fn waterfall(request: &Request) -> Html {
    let rows = tree(request);
    let shown = rows.len().min(ROWS_MAX);
    let height = HEAD + ROW * f64_from_usize(shown) + 6.0;
    let total = request.duration.max(Duration::from_nanos(1)).as_secs_f64();
    let x = |d: Duration| LEFT + d.as_secs_f64() / total * (WIDTH - LEFT - 90.0);
    let mut html = Html::new();
    html.raw("<svg class=\"waterfall\" viewBox=\"0 0 1000 ")
        .text(format_args!("{height:.0}"))
        .raw("\" role=\"img\" aria-label=\"waterfall\">");
    for mark in chart::marks(total, 4) {
        let at = LEFT + mark / total * (WIDTH - LEFT - 90.0);
        html.raw("<line class=\"grid\" y1=\"16\" y2=\"")
            .text(format_args!("{height:.0}"))
            .raw("\" x1=\"")
            .text(format_args!("{at:.1}"))
            .raw("\" x2=\"")
            .text(format_args!("{at:.1}"))
            .raw("\"/>");
        html.raw("<text class=\"axis\" y=\"11\" text-anchor=\"middle\" x=\"")
            .text(format_args!("{at:.1}"))
            .raw("\">")
            .text(duration(Some(mark)))
            .raw("</text>");
    }
    for (row, (depth, hop)) in rows.iter().take(shown).enumerate() {
        let top = HEAD + ROW * f64_from_usize(row);
        html.add(&drawn(hop, *depth, top, hop.start.since(request.start), &x));
    }
    html.raw("</svg>").add(&legend());
    if rows.len() > shown {
        html.raw("<p>").text(rows.len() - shown).raw(" more hops are in the table.</p>");
    }
    html
}

/// One hop: its name, its bars, its duration. `from` is its start within the request.
fn drawn(hop: &Hop, depth: usize, top: f64, from: Duration, x: &impl Fn(Duration) -> f64) -> Html {
    let indent = f64_from_usize(depth.min(INDENT_MAX)) * 14.0;
    let mut html = Html::new();
    html.raw("<text class=\"name\" y=\"")
        .text(format_args!("{:.1}", top + 15.0))
        .raw("\" x=\"")
        .text(format_args!("{indent:.0}"))
        .raw("\">")
        .text(label(hop))
        .raw("</text>");
    let run = hop.duration.unwrap_or_default();
    let end = x(from.saturating_add(run));
    let class = if hop.outcome == crate::correlate::Outcome::Ok { "run" } else { "run failed" };
    for (class, name, before) in
        [("wait", "queue wait", hop.queue_wait), ("init", "init", hop.init)]
    {
        let before = before.unwrap_or_default().min(from);
        let title = format!("{name} {}", duration_of(before));
        html.add(&stretch(class, top, x(from.saturating_sub(before)), x(from), &title));
    }
    html.add(&stretch(
        class,
        top,
        x(from),
        end.max(x(from) + 2.0),
        &format!("run {}", duration_of(run)),
    ));
    html.raw("<text class=\"axis\" y=\"")
        .text(format_args!("{:.1}", top + 15.0))
        .raw("\" x=\"")
        .text(format_args!("{:.1}", end + 6.0))
        .raw("\">")
        .text(duration(hop.duration.map(|d| d.as_secs_f64())))
        .raw("</text>");
    html
}

fn legend() -> Html {
    let mut html = Html::new();
    html.raw("<ul class=\"legend\"><li><svg viewBox=\"0 0 10 10\"><rect class=\"wait\" width=\"10\" height=\"10\"/></svg>queue wait</li><li><svg viewBox=\"0 0 10 10\"><rect class=\"init\" width=\"10\" height=\"10\"/></svg>init (cold start)</li><li><svg viewBox=\"0 0 10 10\"><rect class=\"run\" width=\"10\" height=\"10\"/></svg>run</li><li><svg viewBox=\"0 0 10 10\"><rect class=\"run failed\" width=\"10\" height=\"10\"/></svg>failed run</li></ul>");
    html
}

fn label(hop: &Hop) -> String {
    let attempt = if hop.attempt > 1 { format!(" #{}", hop.attempt) } else { String::new() };
    let queue = hop.queue.as_ref().map(|queue| format!(" ← {queue}")).unwrap_or_default();
    let text = format!("{}{attempt}{queue}", hop.function);
    if text.chars().count() > 34 { text.chars().take(33).chain(['…']).collect() } else { text }
}

/// One bar; nothing where it has no length.
fn stretch(class: &'static str, top: f64, from: f64, to: f64, title: &str) -> Html {
    let mut html = Html::new();
    if to - from < 0.05 {
        return html;
    }
    html.raw("<rect rx=\"2\" height=\"14\" class=\"")
        .raw(class)
        .raw("\" y=\"")
        .text(format_args!("{:.1}", top + 4.0))
        .raw("\" x=\"")
        .text(format_args!("{from:.1}"))
        .raw("\" width=\"")
        .text(format_args!("{:.1}", to - from))
        .raw("\"><title>")
        .text(title)
        .raw("</title></rect>");
    html
}

fn critical_path(request: &Request) -> Html {
    let mut html = Html::new();
    let total = request.duration.as_secs_f64();
    if request.critical_path.is_empty() || total <= 0.0 {
        return html;
    }
    html.raw("<h2>Critical path</h2><table><thead><tr><th>hop<th>part<th class=\"n\">time<th class=\"n\">share<th></tr></thead><tbody>");
    for part in &request.critical_path {
        let share = part.duration.as_secs_f64() / total;
        let function =
            request.hops.iter().find(|hop| hop.id == part.hop).map_or("", |hop| &*hop.function);
        html.raw("<tr>")
            .cell("", function)
            .cell("", part.part.as_str().replace('_', " "))
            .cell("n", duration_of(part.duration))
            .cell("n", super::percent(Some(share)));
        html.raw("<td class=\"wide\">").add(&chart::bar(share, "run")).raw("</td></tr>");
    }
    html.raw("</tbody></table>");
    html
}

fn missing(request: &Request) -> Html {
    let mut html = Html::new();
    if request.missing.is_empty() {
        return html;
    }
    html.raw("<h2>Missing</h2><ul class=\"missing\">");
    for missing in &request.missing {
        let after = request
            .hops
            .iter()
            .find(|hop| hop.id == missing.after)
            .map_or("", |hop| &*hop.function);
        html.raw("<li>after ").text(after).raw(": ").text(&missing.expected).raw("</li>");
    }
    html.raw("</ul>");
    html
}

fn hops(request: &Request) -> Html {
    let mut html = Html::new();
    html.raw("<h2>Hops</h2><table><thead><tr><th>function<th>outcome<th class=\"n\">attempt<th>via<th>evidence<th class=\"n\">wait<th class=\"n\">init<th class=\"n\">run<th class=\"n\">billed<th class=\"n\">cost<th class=\"n\">spans<th class=\"n\">logs<th>error</tr></thead><tbody>");
    let seconds = |d: Option<Duration>| duration(d.map(|d| d.as_secs_f64()));
    let word = |value: Option<serde_json::Value>| {
        value.and_then(|v| v.as_str().map(|s| s.replace('_', " "))).unwrap_or_default()
    };
    for hop in &request.hops {
        html.raw("<tr><td>").text(&hop.function).raw(if hop.shared {
            " <small>shared</small></td><td>"
        } else {
            "</td><td>"
        });
        html.add(&requests::badge(hop.outcome)).raw("</td>").cell("n", hop.attempt);
        html.cell("", word(serde_json::to_value(hop.via).ok()))
            .cell("", word(serde_json::to_value(hop.evidence).ok()));
        html.cell("n", seconds(hop.queue_wait))
            .cell("n", seconds(hop.init))
            .cell("n", seconds(hop.duration))
            .cell("n", seconds(hop.billed));
        html.cell("n", dollars(hop.cost_usd)).cell("n", hop.spans).cell("n", hop.logs);
        html.cell("error", hop.error.as_deref().unwrap_or_default()).raw("</tr>");
    }
    html.raw("</tbody></table>");
    html
}
