//! The Prometheus HTTP API, as Grafana's Prometheus data source calls it (Prometheus 3,
//! `docs/querying/api.md`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::params::Params;
use super::query_stats::{Spent, Waiting};
use super::{Asking, QueryError, Views};
use crate::evaluate::RuleFilter;
use crate::go_regex::Room;
use crate::number::u64_from_i64;
use crate::promql::limits::Stop;
use crate::promql::{self, EvalError, Output, Query, Range};
use crate::series::{self, Matcher};
use crate::signal::{Exemplar, Fnv128, Labels};

/// Points of one series that a range query may give; Prometheus's limit.
const POINTS_MAX: i64 = 11_000;

/// Warnings, and infos, that are shown; Prometheus's limit.
const NOTES_MAX: usize = 10;
/// Prometheus's words.
const TRUNCATED: &str = "results truncated due to limit";

pub(super) fn routes() -> Router<Views> {
    Router::new()
        .route("/api/v1/query", get(query).post(query))
        .route("/api/v1/query_range", get(query_range).post(query_range))
        .route("/api/v1/format_query", get(format_query).post(format_query))
        .route("/api/v1/query_exemplars", get(query_exemplars).post(query_exemplars))
        .route("/api/v1/labels", get(labels).post(labels))
        .route("/api/v1/label/{name}/values", get(label_values))
        .route("/api/v1/series", get(all_series).post(all_series))
        .route("/api/v1/metadata", get(metadata))
        .route("/api/v1/rules", get(rules))
        .route("/api/v1/alerts", get(alerts))
}

/// An error in Prometheus's own form.
#[derive(Debug)]
pub(super) struct Failure {
    status: StatusCode,
    kind: &'static str,
    message: String,
}

impl Failure {
    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, kind: "bad_data", message: message.into() }
    }
}

impl From<QueryError> for Failure {
    fn from(error: QueryError) -> Self {
        let (status, kind) = match &error {
            QueryError::Execution(EvalError::Stopped(Stop::TimedOut))
            | QueryError::QueueTimeout { .. } => (StatusCode::SERVICE_UNAVAILABLE, "timeout"),
            QueryError::Execution(EvalError::Stopped(Stop::Canceled)) => {
                (StatusCode::SERVICE_UNAVAILABLE, "canceled")
            }
            QueryError::Execution(EvalError::Invalid(message)) => {
                return Self::bad(format!("invalid parameter \"query\": {message}"));
            }
            QueryError::Execution(_) => (StatusCode::UNPROCESSABLE_ENTITY, "execution"),
            QueryError::Stopped => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        };
        Self { status, kind, message: error.to_string() }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body = json!({"status": "error", "errorType": self.kind, "error": self.message});
        (self.status, Json(body)).into_response()
    }
}

#[expect(clippy::needless_pass_by_value, reason = "a macro takes it by reference")]
pub(super) fn success(data: Value) -> Json<Value> {
    Json(json!({"status": "success", "data": data}))
}

/// An answer, what it took, and its place among what all queries hold, until it is sent.
struct Answered {
    answer: promql::Answer,
    spent: Spent,
    held: promql::limits::Held,
}

/// An answer with its notes, cut at `limit` series as Prometheus does it.
fn answered(answered: Answered, params: &Params) -> Result<Response, Failure> {
    let limit = limit(params)?;
    let Answered { answer, spent, held } = answered;
    let promql::Answer { mut output, mut warnings, infos } = answer;
    if let Output::Vector(series) | Output::Matrix(series) = &mut output
        && series.len() > limit
    {
        series.truncate(limit);
        warnings.push(TRUNCATED.to_owned());
    }
    let mut rest = String::new();
    if wants_stats(params) {
        let _ = write!(rest, ",\"stats\":{}", spent.json());
    }
    rest.push('}');
    let told = |name: &str, kind: &str, texts: Vec<String>| {
        let notes = first(kind, texts);
        if notes.is_empty() { String::new() } else { format!(",\"{name}\":{}", json!(notes)) }
    };
    let (infos, warnings) = (told("infos", "info", infos), told("warnings", "warning", warnings));
    let _ = write!(rest, "{infos},\"status\":\"success\"{warnings}}}");
    let parts = std::iter::once("{\"data\":".to_owned());
    let parts = parts.chain(promql::json::answer_parts(output)).chain([rest]);
    let kind = [(header::CONTENT_TYPE, "application/json")];
    Ok((kind, super::parts::body(parts, held)).into_response())
}

/// The first notes of a kind, and how many there are beside them.
fn first(kind: &str, mut notes: Vec<String>) -> Vec<String> {
    let n_more = notes.len().saturating_sub(NOTES_MAX);
    notes.truncate(NOTES_MAX);
    if n_more > 0 {
        notes.push(format!("{n_more} more {kind} annotations omitted"));
    }
    notes
}

/// The client's own bound on how long a query may take; one that is over before it begins is none at all.
fn timeout(params: &Params) -> Result<Option<Duration>, Failure> {
    span(params, "timeout")
}

/// How old a sample may be that stands for its series, where the client says so.
fn lookback(params: &Params) -> Result<Option<Duration>, Failure> {
    Ok(span(params, "lookback_delta")?.filter(|span| !span.is_zero()))
}

/// Below zero: zero.
fn span(params: &Params, name: &str) -> Result<Option<Duration>, Failure> {
    let millis = params.span_millis(name).map_err(Failure::bad)?;
    Ok(millis.map(|millis| Duration::from_millis(u64_from_i64(millis))))
}

fn looking_back(options: &promql::Options, lookback: Option<Duration>) -> promql::Options {
    let options = options.clone();
    promql::Options { lookback: lookback.unwrap_or(options.lookback), ..options }
}

fn in_order(start: i64, end: i64) -> Result<(), Failure> {
    let message = "invalid parameter \"end\": end timestamp must not be before start time";
    if end < start { Err(Failure::bad(message)) } else { Ok(()) }
}

/// 0 or absent: none.
fn limit(params: &Params) -> Result<usize, Failure> {
    let limit = params.number("limit").map_err(Failure::bad)?;
    Ok(limit.filter(|limit| *limit > 0).unwrap_or(usize::MAX))
}

fn parse(params: &Params) -> Result<Query, Failure> {
    let text = params
        .get("query")
        .ok_or_else(|| Failure::bad("invalid parameter \"query\": it is missing"))?;
    Query::parse(text).map_err(|error| unreadable("query", text, &error))
}

/// A query that can be read. While it waits for its turn it is text: its regular expressions, compiled, may
/// take a thousand times as much, and many may wait.
struct Readable(String);

impl Readable {
    fn new(params: &Params) -> Result<Self, Failure> {
        parse(params)?;
        Ok(Self(params.get("query").unwrap_or_default().to_owned()))
    }

    fn read(&self) -> Result<Query, EvalError> {
        Query::parse(&self.0).map_err(|error| EvalError::Invalid(error.to_string()))
    }
}

fn unreadable(parameter: &str, text: &str, error: &promql::ParseError) -> Failure {
    let (line, column) = position(text, error.at);
    Failure::bad(format!(
        "invalid parameter \"{parameter}\": {line}:{column}: parse error: {error}"
    ))
}

/// Line and column, from 1, of a byte offset.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before.len() - line_start + 1)
}

fn wants_stats(params: &Params) -> bool {
    params.get("stats").is_some_and(|stats| !stats.is_empty())
}

/// Runs a query within the client's own time, and tells what it took.
async fn watched(
    views: &Views,
    params: &Params,
    run: impl FnOnce(&promql::Options, &promql::Select<'_>) -> Result<promql::Answer, EvalError>
    + Send
    + 'static,
) -> Result<Answered, Failure> {
    let waiting = Waiting::begin();
    let counts = wants_stats(params);
    let asked = move |asking: &Asking<'_>| {
        let watched = waiting.has_turn();
        let select = asking.select();
        let tally = counts.then(|| watched.tally());
        let options = promql::Options { tally, ..asking.options.clone() };
        let answer = run(&options, &|selection| watched.select(&select, selection))?;
        let held = options.pool.hold(answer.output.n_samples())?;
        Ok(Answered { answer, spent: watched.end(), held })
    };
    Ok(views.ask(timeout(params)?, asked).await?)
}

async fn query(State(views): State<Views>, params: Params) -> Result<Response, Failure> {
    let at = params.millis("time").map_err(Failure::bad)?;
    let query = Readable::new(&params)?;
    let at = at.unwrap_or_else(|| views.clock.now().as_millis());
    let lookback = lookback(&params)?;
    let asked = move |options: &promql::Options, select: &promql::Select<'_>| {
        query.read()?.instant(at, &looking_back(options, lookback), select)
    };
    answered(watched(&views, &params, asked).await?, &params)
}

async fn query_range(State(views): State<Views>, params: Params) -> Result<Response, Failure> {
    let needed = |name: &str, value: Option<i64>| {
        value.ok_or_else(|| Failure::bad(format!("invalid parameter \"{name}\": it is missing")))
    };
    let start = needed("start", params.millis("start").map_err(Failure::bad)?)?;
    let end = needed("end", params.millis("end").map_err(Failure::bad)?)?;
    let step = needed("step", params.step_millis("step").map_err(Failure::bad)?)?;
    in_order(start, end)?;
    if end.saturating_sub(start) / step > POINTS_MAX {
        return Err(Failure::bad(
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
        ));
    }
    let query = Readable::new(&params)?;
    let lookback = lookback(&params)?;
    let asked = move |options: &promql::Options, select: &promql::Select<'_>| {
        query.read()?.range(Range { start, end, step }, &looking_back(options, lookback), select)
    };
    answered(watched(&views, &params, asked).await?, &params)
}

/// The query in canonical form.
async fn format_query(params: Params) -> Result<Json<Value>, Failure> {
    Ok(success(Value::String(parse(&params)?.to_string())))
}

/// Exemplars of the series that the query selects. Grafana's probe sends times in milliseconds and
/// wants an array, whatever is in it.
async fn query_exemplars(
    State(views): State<Views>,
    params: Params,
) -> Result<Json<Value>, Failure> {
    let start = params.millis("start").map_err(Failure::bad)?.unwrap_or(0);
    let end = params.millis("end").map_err(Failure::bad)?.unwrap_or(i64::MAX);
    in_order(start, end)?;
    let query = Readable::new(&params)?;
    let look = move |asking: &Asking<'_>| {
        let mut found: BTreeMap<Labels, Vec<Exemplar>> = BTreeMap::new();
        for matchers in query.read()?.selectors() {
            asking.goes_on()?;
            // A look for each: what is added waits for one selector, however many there are.
            let store = &asking.views.series;
            let store = store.read().unwrap_or_else(std::sync::PoisonError::into_inner);
            found.extend(store.exemplars(matchers, start, end));
        }
        Ok(found)
    };
    let found = views.ask(None, look).await?;
    let one = |(labels, exemplars): (Labels, Vec<Exemplar>)| {
        let exemplars: Vec<Value> = exemplars.iter().map(exemplar_json).collect();
        json!({"seriesLabels": labels, "exemplars": exemplars})
    };
    Ok(success(Value::Array(found.into_iter().map(one).collect())))
}

fn exemplar_json(exemplar: &Exemplar) -> Value {
    let labels = exemplar.others.with("trace_id", &exemplar.trace_id);
    let seconds = crate::number::f64_from_i64(exemplar.t) / 1000.0;
    json!({"labels": labels, "value": exemplar.value.to_string(), "timestamp": seconds})
}

/// What `match[]`, `start` and `end` select; text while it waits, as [`Readable`].
pub(super) struct Selected {
    texts: Vec<String>,
    /// Milliseconds since the epoch.
    range: (i64, i64),
}

impl Selected {
    /// Without a `match[]`, everything.
    pub(super) fn selectors(&self) -> Result<Vec<Vec<Matcher>>, Failure> {
        let mut patterns = Room::default();
        let mut read = |text: &String| {
            promql::parse_matchers(text, &mut patterns)
                .map_err(|error| unreadable("match[]", text, &error))
        };
        let selectors: Vec<Vec<Matcher>> =
            self.texts.iter().map(&mut read).collect::<Result<_, _>>()?;
        Ok(if selectors.is_empty() { vec![Vec::new()] } else { selectors })
    }

    /// The same once it has its turn.
    pub(super) fn in_turn(&self) -> Result<Vec<Vec<Matcher>>, QueryError> {
        let read = self.selectors();
        read.map_err(|failure| EvalError::Invalid(failure.message).into())
    }
}

/// Reads `match[]`, `start` and `end`.
pub(super) fn selected(params: &Params, needs_match: NeedsMatch) -> Result<Selected, Failure> {
    let start = params.millis("start").map_err(Failure::bad)?.unwrap_or(i64::MIN);
    let end = params.millis("end").map_err(Failure::bad)?.unwrap_or(i64::MAX);
    let texts: Vec<String> = params.all("match[]").map(str::to_owned).collect();
    if texts.is_empty() && needs_match == NeedsMatch::Yes {
        return Err(Failure::bad("no match[] parameter provided"));
    }
    let selected = Selected { texts, range: (start, end) };
    selected.selectors()?;
    Ok(selected)
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum NeedsMatch {
    Yes,
    No,
}

/// Cuts a sorted list at `limit` (0 or absent: none) and warns that it did, as Prometheus does.
fn limited<T: serde::Serialize>(mut list: Vec<T>, params: &Params) -> Result<Json<Value>, Failure> {
    let limit = limit(params)?;
    let cut = list.len() > limit;
    list.truncate(limit);
    let mut body = json!({"status": "success", "data": list});
    if cut {
        body["warnings"] = json!([TRUNCATED]);
    }
    Ok(Json(body))
}

async fn labels(State(views): State<Views>, params: Params) -> Result<Json<Value>, Failure> {
    let selected = selected(&params, NeedsMatch::No)?;
    let found = views.ask(None, move |asking| {
        united(asking, &selected, |matchers, goes_on| {
            series::label_names_shared(&asking.views.series, matchers, selected.range, goes_on)
        })
    });
    limited(found.await?, &params)
}

async fn label_values(
    State(views): State<Views>,
    Path(name): Path<String>,
    params: Params,
) -> Result<Json<Value>, Failure> {
    let name = unescape(&name);
    let selected = selected(&params, NeedsMatch::No)?;
    let found = views.ask(None, move |asking| {
        united(asking, &selected, |matchers, goes_on| {
            let (store, range) = (&asking.views.series, selected.range);
            series::label_values_shared(store, &name, matchers, range, goes_on)
        })
    });
    limited(found.await?, &params)
}

/// What is found for any of the selectors, ascending, each once; an error where the time was over before
/// all was found.
fn united<T: Ord>(
    asking: &Asking<'_>,
    selected: &Selected,
    of_one: impl Fn(&[Matcher], series::GoesOn<'_>) -> Vec<T>,
) -> Result<Vec<T>, QueryError> {
    let mut found = BTreeSet::new();
    for matchers in selected.in_turn()? {
        found.extend(of_one(&matchers, &|| asking.goes_on().is_ok()));
        asking.goes_on()?;
    }
    Ok(found.into_iter().collect())
}

/// `U__a_2e_b` is the label `a.b` (Prometheus UTF-8 names, values escaping).
fn unescape(name: &str) -> String {
    let Some(mut rest) = name.strip_prefix("U__") else { return name.to_owned() };
    let mut out = String::new();
    while let Some((before, after)) = rest.split_once('_') {
        out.push_str(before);
        let Some((hex, tail)) = after.split_once('_') else { return name.to_owned() };
        if hex.is_empty() {
            out.push('_');
        } else {
            match u32::from_str_radix(hex, 16).ok().and_then(char::from_u32) {
                Some(c) => out.push(c),
                None => return name.to_owned(),
            }
        }
        rest = tail;
    }
    out.push_str(rest);
    out
}

async fn all_series(State(views): State<Views>, params: Params) -> Result<Json<Value>, Failure> {
    let selected = selected(&params, NeedsMatch::Yes)?;
    let found = views.ask(None, move |asking| {
        united(asking, &selected, |matchers, goes_on| {
            series::label_sets_shared(&asking.views.series, matchers, selected.range, goes_on)
        })
    });
    limited(found.await?, &params)
}

async fn metadata(State(views): State<Views>, params: Params) -> Result<Json<Value>, Failure> {
    let limit = match params.get("limit") {
        // Prometheus's own default, which clients send along.
        Some("-1") => usize::MAX,
        _ => params.number("limit").map_err(Failure::bad)?.unwrap_or(usize::MAX),
    };
    let all = views.series.read().unwrap_or_else(std::sync::PoisonError::into_inner).metadata();
    let wanted = all
        .iter()
        .filter(|meta| params.get("metric").is_none_or(|name| name == &*meta.name))
        .take(limit);
    let data = wanted.map(|meta| {
        (meta.name.to_string(), json!([{"type": meta.kind, "help": meta.help, "unit": meta.unit}]))
    });
    Ok(success(Value::Object(data.collect())))
}

async fn rules(State(views): State<Views>, params: Params) -> Result<Json<Value>, Failure> {
    let texts = |name: &str| params.all(name).map(str::to_owned).collect();
    let kind = params.get("type");
    if let Some(kind) = kind.filter(|kind| !matches!(*kind, "alert" | "record")) {
        return Err(Failure::bad(format!(
            "invalid parameter \"type\": not supported value {kind:?}"
        )));
    }
    let filter = RuleFilter {
        kind: kind.map(str::to_owned),
        rule_names: texts("rule_name[]"),
        groups: texts("rule_group[]"),
        files: texts("file[]"),
        exclude_alerts: params.flag("exclude_alerts", false).map_err(Failure::bad)?,
        selectors: selected(&params, NeedsMatch::No)?.selectors()?,
    };
    let mut shown = views
        .evaluator
        .read()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .rules_json(&filter);
    if let Some(Value::Array(groups)) = shown.get_mut("groups") {
        let next = cut_page(groups, &params)?;
        if let Some(token) = next {
            shown["groupNextToken"] = json!(token);
        }
    }
    Ok(success(shown))
}

/// Leaves `group_limit` groups from the one that `group_next_token` names on; gives the name of the one
/// after them.
fn cut_page(groups: &mut Vec<Value>, params: &Params) -> Result<Option<String>, Failure> {
    let text = |group: &Value, name: &str| group[name].as_str().unwrap_or_default().to_owned();
    let token = |group: &Value| {
        let hash = Fnv128::default().field(text(group, "file").as_bytes());
        format!("{:032x}", hash.field(text(group, "name").as_bytes()).finish())
    };
    let limit = params.number("group_limit").map_err(Failure::bad)?;
    let Some(limit) = limit.filter(|limit| *limit > 0) else {
        return match params.get("group_next_token") {
            Some(_) => Err(Failure::bad(
                "invalid parameter \"group_limit\": group_limit needs to be set in order to paginate over the groups",
            )),
            None => Ok(None),
        };
    };
    if let Some(from) = params.get("group_next_token") {
        let first = groups.iter().position(|group| token(group) == from).ok_or_else(|| {
            Failure::bad(format!(
                "invalid parameter \"group_next_token\": invalid group_next_token '{from}'. were rule groups changed?"
            ))
        })?;
        groups.drain(..first);
    }
    let next = groups.get(limit).map(token);
    groups.truncate(limit);
    Ok(next)
}

async fn alerts(State(views): State<Views>) -> Json<Value> {
    success(views.evaluator.read().unwrap_or_else(std::sync::PoisonError::into_inner).alerts_json())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_label_names_are_read() {
        assert_eq!(unescape("U__a_2e_b"), "a.b");
        assert_eq!(unescape("U__a__b"), "a_b");
        assert_eq!(unescape("job"), "job");
    }

    #[test]
    fn positions_count_from_one() {
        assert_eq!(position("a\nbc", 3), (2, 2));
        assert_eq!(position("abc", 0), (1, 1));
    }
}
