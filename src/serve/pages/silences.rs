//! Silences: what is silent until when, and a form for a new one with its matchers filled in.

use std::sync::PoisonError;
use std::time::Duration;

use super::html::Html;
use crate::notify::{Silence, SilenceMatcher, SilenceState, parse_matchers};
use crate::serve::Views;
use crate::serve::alertmanager::silences::{Wish, sorted};
use crate::serve::params::Params;
use crate::signal::{Labels, format_duration, parse_duration};

/// Ended silences that the page shows.
const EXPIRED_MAX: usize = 20;
/// What the form offers first: long enough to work undisturbed, short enough to be forgotten safely.
const FOR: &str = "2h";

/// `/silences/new?filter=…` for an alert's labels.
pub(super) fn link(html: &mut Html, labels: &Labels) {
    let filter: Vec<String> =
        labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    html.link("/silences/new?filter=", &format!("{{{}}}", filter.join(",")), "silence it");
}

pub(super) fn main(views: &Views) -> Html {
    let now = views.clock.now();
    let mut html = Html::new();
    html.raw("<h1>Silences</h1><p><a href=\"/silences/new\">New silence</a></p>");
    let all = sorted(views);
    let (over, held): (Vec<_>, Vec<_>) =
        all.iter().partition(|silence| silence.state(now) == SilenceState::Expired);
    if held.is_empty() {
        html.raw("<p class=\"calm\">Nothing is silenced.</p>");
    } else {
        table(&mut html, &held, views);
    }
    if !over.is_empty() {
        html.raw("<h2>Ended</h2>");
        table(&mut html, over.get(..EXPIRED_MAX).unwrap_or(&over), views);
    }
    html
}

fn table(html: &mut Html, silences: &[&Silence], views: &Views) {
    let now = views.clock.now();
    html.raw("<table><thead><tr><th>state<th>alerts with<th>from<th>until<th>by<th>because<th></tr></thead><tbody>");
    for silence in silences {
        let state = silence.state(now);
        let shown: Vec<String> = silence.matchers.iter().map(SilenceMatcher::show).collect();
        let second = |at: crate::signal::Timestamp| {
            at.to_string().get(..19).unwrap_or_default().replace('T', " ")
        };
        html.raw("<tr>").cell("", state.as_str()).raw("<td><code>").text(shown.join(", "));
        html.raw("</code></td>")
            .cell("time", second(silence.starts_at))
            .cell("time", second(silence.ends_at))
            .cell("", &silence.created_by)
            .cell("", &silence.comment)
            .raw("<td>");
        if state != SilenceState::Expired {
            html.raw("<form method=\"post\" action=\"/silences/expire\"><input type=\"hidden\" name=\"id\" value=\"")
                .text(&silence.id)
                .raw("\"><button>End now</button></form>");
        }
        html.raw("</td></tr>");
    }
    html.raw("</tbody></table>");
}

/// The form; `error` says why the last try was refused.
pub(super) fn form(views: &Views, params: &Params, error: Option<&str>) -> Html {
    let mut html = Html::new();
    // Typed text must survive: the page is not read again.
    html.raw("<h1>New silence</h1><div data-still></div>");
    if let Some(error) = error {
        html.raw("<p class=\"bad\">").text(error).raw("</p>");
    }
    let filter = params.get("filter").unwrap_or_default();
    html.raw("<form class=\"silence\" method=\"post\" action=\"/silences\">");
    let mut field = |label: &'static str, name: &'static str, value: &str| {
        html.raw("<label>")
            .raw(label)
            .raw("<input name=\"")
            .raw(name)
            .raw("\" required value=\"")
            .text(value)
            .raw("\"></label>");
    };
    field("Alerts with", "filter", filter);
    field("For", "for", params.get("for").unwrap_or(FOR));
    field("You are", "created_by", params.get("created_by").unwrap_or_default());
    field("Because", "comment", params.get("comment").unwrap_or_default());
    html.raw("<button>Silence</button></form>");
    if let Ok(matchers) = parse_matchers(filter)
        && !matchers.is_empty()
    {
        let now = views.clock.now();
        let alerts = views.dispatcher.read().unwrap_or_else(PoisonError::into_inner).alerts(now);
        let takes = |labels: &Labels| matchers.iter().all(|matcher| matcher.matches_labels(labels));
        let n_taken = alerts.iter().filter(|alert| takes(&alert.labels)).count();
        html.raw("<p class=\"note\">").text(n_taken).raw(" of the alerts that fire now.</p>");
    }
    html
}

/// What the form asks for.
pub(super) fn wish(views: &Views, params: &Params) -> Result<Wish, String> {
    let matchers = parse_matchers(params.get("filter").unwrap_or_default())?;
    let text = params.get("for").unwrap_or(FOR);
    let lasts = parse_duration(text).filter(|lasts| *lasts > Duration::ZERO).ok_or_else(|| {
        format!("`{text}` is no duration; write {}", format_duration(Duration::from_mins(90)))
    })?;
    let text = |name: &str| Some(params.get(name).unwrap_or_default().to_owned());
    Ok(Wish {
        id: None,
        matchers: matchers.iter().map(SilenceMatcher::of).collect(),
        starts_at: None,
        ends_at: Some(views.clock.now().saturating_add(lasts).to_string()),
        created_by: text("created_by"),
        comment: text("comment"),
    })
}
