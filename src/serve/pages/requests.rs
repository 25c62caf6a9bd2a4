//! The list of requests.

use super::html::{Html, encode};
use super::{dollars, duration_of};
use crate::correlate::request::are_one;
use crate::correlate::{Outcome, Request, State};
use crate::serve::params::Params;
use crate::serve::requests_api::Page;

pub(super) fn main(page: &Page, params: &Params) -> Html {
    let mut html = Html::new();
    html.raw("<h1>Requests</h1>").add(&filters(params)).add(&table(&page.requests));
    if page.requests.is_empty() {
        html.raw("<p class=\"none\">No request fits. Requests appear here as soon as their first signal arrives.</p>");
    }
    if let Some(next) = &page.next {
        html.raw("<p><a href=\"/requests?");
        for (name, value) in params.0.iter().filter(|(name, _)| name != "cursor") {
            html.text(encode(name)).raw("=").text(encode(value)).raw("&amp;");
        }
        html.raw("cursor=").text(encode(next)).raw("\">older</a></p>");
    }
    html
}

/// A key that belongs to several requests. One that went on after it was final is shown with what came then.
pub(super) fn several(key: &str, requests: &[Request]) -> Html {
    let mut html = Html::new();
    let continues = requests.iter().map(|request| (&*request.id, request.continues.as_deref()));
    if are_one(&continues.collect::<Vec<_>>()) {
        for request in requests {
            html.add(&super::request::main(request));
        }
        return html;
    }
    html.raw("<h1>Several requests</h1><p><code>")
        .text(key)
        .raw("</code> belongs to these:</p>")
        .add(&table(requests));
    html
}

fn filters(params: &Params) -> Html {
    let mut html = Html::new();
    html.raw("<form class=\"filters\">");
    for (name, hint) in [
        ("flow", "flow"),
        ("function", "function"),
        ("queue", "queue"),
        ("min_duration", "longer than, as 500ms"),
    ] {
        html.raw("<input name=\"")
            .raw(name)
            .raw("\" placeholder=\"")
            .raw(hint)
            .raw("\" aria-label=\"")
            .raw(hint)
            .raw("\" value=\"");
        html.text(params.get(name).unwrap_or_default()).raw("\">");
    }
    html.raw(
        "<select name=\"outcome\" aria-label=\"outcome\"><option value=\"\">any outcome</option>",
    );
    for outcome in Outcome::ALL {
        let mark = if params.get("outcome") == Some(outcome.as_str()) {
            "<option selected>"
        } else {
            "<option>"
        };
        html.raw(mark).raw(outcome.as_str()).raw("</option>");
    }
    html.raw("</select><button>Show</button></form>");
    html
}

fn table(requests: &[Request]) -> Html {
    let mut html = Html::new();
    html.raw("<table><thead><tr><th>start<th>flow<th>outcome<th class=\"n\">duration<th class=\"n\">response<th class=\"n\">hops<th>slowest<th class=\"n\">cost</tr></thead><tbody>");
    for request in requests {
        let start = request.start.to_string().get(11..23).unwrap_or_default().to_owned();
        html.raw("<tr><td class=\"time\">").link("/requests/", &request.id, start).raw("</td>");
        html.cell("", &request.flow).raw("<td>").add(&outcome(request)).raw("</td>");
        html.cell("n", duration_of(request.duration))
            .cell("n", super::duration(request.response.map(|d| d.as_secs_f64())));
        html.cell("n", request.hops.len())
            .cell("", slowest(request))
            .cell("n", dollars(request.cost_usd))
            .raw("</tr>");
    }
    html.raw("</tbody></table>");
    html
}

/// The outcome as a badge; an open request says so.
pub(super) fn outcome(request: &Request) -> Html {
    let mut html = Html::new();
    if request.state == State::Open {
        html.raw("<span class=\"badge open\">open</span>");
    }
    if request.state != State::Open || request.outcome != Outcome::Ok {
        html.add(&badge(request.outcome));
    }
    html
}

pub(super) fn badge(outcome: Outcome) -> Html {
    let mut html = Html::new();
    html.raw("<span class=\"badge ")
        .raw(outcome.as_str())
        .raw("\">")
        .raw(outcome.as_str())
        .raw("</span>");
    html
}

fn slowest(request: &Request) -> String {
    let Some(part) = request.critical_path.iter().max_by_key(|part| part.duration) else {
        return String::new();
    };
    let function =
        request.hops.iter().find(|hop| hop.id == part.hop).map_or("", |hop| &*hop.function);
    format!("{function} {} {}", part.part.as_str().replace('_', " "), duration_of(part.duration))
}
