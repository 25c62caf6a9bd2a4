//! Pages: what a person sees. HTML and inline SVG from here, one style sheet, a few lines of script
//! that read the page again; nothing from anywhere else.

mod alerts;
mod chart;
pub(crate) mod html;
mod overview;
mod query;
mod queues;
mod request;
mod requests;
mod silences;
mod slos;

use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use super::alertmanager::silences::{end, make};
use super::params::Params;
use super::state_api::{queues_json, slos_json};
use super::{Asking, Views, answer, requests_api};
use crate::correlate::Lookup;
use html::Html;

pub(super) fn routes() -> Router<Views> {
    Router::new()
        .route("/", get(overview_page))
        .route("/requests", get(requests_page))
        .route("/requests/{key}", get(request_page))
        .route("/slos", get(slos_page))
        .route("/queues", get(queues_page))
        .route("/alerts", get(alerts_page))
        .route("/silences", get(silences_page).post(make_silence))
        .route("/silences/new", get(silence_form))
        .route("/silences/expire", post(end_silence))
        .route("/runbooks/{name}", get(runbook))
        .route("/assets/style.css", get(style))
        .route("/assets/script.js", get(script))
}

const NAVIGATION: [(&str, &str); 6] = [
    ("/", "Overview"),
    ("/requests", "Requests"),
    ("/slos", "SLOs"),
    ("/queues", "Queues"),
    ("/alerts", "Alerts"),
    ("/silences", "Silences"),
];

/// A whole page that leads nowhere and is not read again.
pub(super) fn plain(title: &str, main: &Html) -> Html {
    let mut page = begun(title);
    page.raw("</head><body><header><a class=\"brand\" href=\"/\">Throughline</a></header><main>")
        .add(main)
        .raw("</main></body></html>");
    page
}

/// The head of a page but for its end.
fn begun(title: &str) -> Html {
    let mut page = Html::new();
    page.raw("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>")
        .text(title)
        .raw(" · Throughline</title><link rel=\"stylesheet\" href=\"/assets/style.css\"><link rel=\"icon\" href=\"data:,\">");
    page
}

/// A whole page around `main`; `path` marks its place in the navigation.
fn page(title: &str, path: &str, main: &Html) -> Html {
    let mut page = begun(title);
    page.raw("<script src=\"/assets/script.js\" defer></script></head><body><header><a class=\"brand\" href=\"/\">Throughline</a><nav>");
    for (target, name) in NAVIGATION {
        let mark = if target == path { "\" aria-current=\"page\">" } else { "\">" };
        page.raw("<a href=\"").raw(target).raw(mark).raw(name).raw("</a>");
    }
    page.raw("</nav><form class=\"find\" action=\"/requests\"><input name=\"key\" placeholder=\"any id of a request\" aria-label=\"any id of a request\"></form></header><main>")
        .add(main)
        .raw("</main></body></html>");
    page
}

/// Builds a page off the async threads, within the bounds of queries: it runs some.
async fn built(
    title: &'static str,
    path: &'static str,
    views: Views,
    main: impl FnOnce(&Asking<'_>) -> Html + Send + 'static,
) -> Response {
    match views.compute(None, main).await {
        Ok(main) => page(title, path, &main).into_response(),
        Err(error) => answer::error(StatusCode::SERVICE_UNAVAILABLE, "page", &error.to_string()),
    }
}

async fn overview_page(State(views): State<Views>) -> Response {
    built("Overview", "/", views, overview::main).await
}

async fn slos_page(State(views): State<Views>) -> Response {
    built("SLOs", "/slos", views, |asking| slos::main(&slos_json(asking))).await
}

async fn queues_page(State(views): State<Views>) -> Response {
    built("Queues", "/queues", views, |asking| queues::main(&queues_json(asking))).await
}

async fn alerts_page(State(views): State<Views>) -> Response {
    built("Alerts", "/alerts", views, |asking| alerts::main(asking.views)).await
}

async fn silences_page(State(views): State<Views>) -> Response {
    built("Silences", "/silences", views, |asking| silences::main(asking.views)).await
}

async fn silence_form(State(views): State<Views>, params: Params) -> Response {
    page("New silence", "/silences", &silences::form(&views, &params, None)).into_response()
}

/// Makes what the form asks for, or shows the form again and why not.
async fn make_silence(State(views): State<Views>, params: Params) -> Response {
    let made = match silences::wish(&views, &params) {
        Ok(wish) => {
            make(&views, wish).await.map_err(|refused| (refused.status(), refused.to_string()))
        }
        Err(message) => Err((StatusCode::BAD_REQUEST, message)),
    };
    match made {
        Ok(_) => see("/silences"),
        Err((status, message)) => {
            let form = silences::form(&views, &params, Some(&message));
            (status, page("New silence", "/silences", &form)).into_response()
        }
    }
}

async fn end_silence(State(views): State<Views>, params: Params) -> Response {
    match end(&views, params.get("id").unwrap_or_default()).await {
        Ok(()) => see("/silences"),
        Err(refused) => answer::error(refused.status(), "silence", &refused.to_string()),
    }
}

/// Leads a browser on after a form.
fn see(path: &'static str) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, path)]).into_response()
}

async fn requests_page(State(views): State<Views>, params: Params) -> Response {
    if let Some(key) = params.get("key") {
        let target = format!("/requests/{}", html::encode(key));
        return (StatusCode::SEE_OTHER, [(header::LOCATION, target)]).into_response();
    }
    match requests_api::page(&views, &params) {
        Ok(found) => {
            page("Requests", "/requests", &requests::main(&found, &params)).into_response()
        }
        Err(message) => answer::error(StatusCode::BAD_REQUEST, "bad_parameter", &message),
    }
}

async fn request_page(State(views): State<Views>, Path(key): Path<String>) -> Response {
    match requests_api::find(&views, &key) {
        Ok(Lookup::One(found)) => {
            page(&found.flow, "/requests", &request::main(&found)).into_response()
        }
        Ok(Lookup::Several(found)) => {
            page("Requests", "/requests", &requests::several(&key, &found)).into_response()
        }
        Ok(Lookup::None) => {
            let mut main = Html::new();
            main.raw("<h1>No such request</h1><p>Nothing here is known by <code>").text(&key).raw("</code>. It may not have arrived yet, or <code>archive.keep</code> left it out.</p>");
            (StatusCode::NOT_FOUND, page("No such request", "/requests", &main)).into_response()
        }
        Err(response) => *response,
    }
}

/// The page that an alert's `runbook_url` leads to, as it is written.
async fn runbook(Path(name): Path<String>) -> Response {
    match crate::evaluate::pack::runbook(&name) {
        Some(text) => ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response(),
        None => answer::error(StatusCode::NOT_FOUND, "not_found", "no runbook by this name"),
    }
}

async fn style() -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("style.css")).into_response()
}

async fn script() -> Response {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("script.js"))
        .into_response()
}

/// `1.84 s`, `212 ms`, `3m 20s`: three digits that matter, a dash where nothing is known.
fn duration(seconds: Option<f64>) -> String {
    match seconds.filter(|s| s.is_finite()) {
        None => "–".to_owned(),
        Some(s) if s < 0.000_5 => "0 ms".to_owned(),
        Some(s) if s < 0.999_5 => format!("{:.*} ms", usize::from(s < 0.009_95), s * 1000.0),
        Some(s) if s < 60.0 => format!("{s:.2} s"),
        Some(s) if s < 3600.0 => format!("{:.0}m {:.0}s", (s / 60.0).floor(), s % 60.0),
        Some(s) => format!("{:.0}h {:.0}m", (s / 3600.0).floor(), (s % 3600.0) / 60.0),
    }
}

fn duration_of(d: Duration) -> String {
    duration(Some(d.as_secs_f64()))
}

/// A plain number: whole where it is, at most three digits after the point.
fn number(value: Option<f64>) -> String {
    match value.filter(|x| x.is_finite()) {
        None => "–".to_owned(),
        Some(x) if x != 0.0 && x.abs() < 0.000_5 => format!("{x:.1e}"),
        Some(x) if (x - x.round()).abs() < 0.000_5 => format!("{x:.0}"),
        Some(x) if x < 10.0 => format!("{x:.2}"),
        Some(x) => format!("{x:.1}"),
    }
}

fn percent(ratio: Option<f64>) -> String {
    match ratio.filter(|x| x.is_finite()) {
        None => "–".to_owned(),
        Some(x) if x > 0.0 && x < 0.001 => format!("{:.3} %", x * 100.0),
        Some(x) => format!("{:.1} %", x * 100.0),
    }
}

/// Dollars with as many digits as the amount needs.
fn dollars(amount: Option<f64>) -> String {
    match amount.filter(|x| x.is_finite()) {
        None => "–".to_owned(),
        Some(x) if x >= 0.01 => format!("${x:.2}"),
        Some(x) => format!("${x:.7}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_short_and_unknown_is_never_zero() {
        let shown: Vec<String> =
            [Some(0.0042), Some(0.212), Some(1.8342), Some(200.0), Some(7320.0), None]
                .into_iter()
                .map(duration)
                .collect();
        assert_eq!(shown, ["4.2 ms", "212 ms", "1.83 s", "3m 20s", "2h 2m", "–"]);
        assert_eq!(
            [
                number(Some(3.0)),
                number(Some(0.256)),
                number(Some(0.000_004)),
                number(Some(f64::NAN))
            ],
            ["3", "0.26", "4.0e-6", "–"]
        );
        assert_eq!(
            [percent(Some(0.995)), percent(Some(0.0004)), percent(None)],
            ["99.5 %", "0.040 %", "–"]
        );
        assert_eq!(dollars(Some(0.000_004_2)), "$0.0000042");
    }
}
