//! Series descriptions of promtool and promqltest: labels, then samples in a short notation. What
//! comes in: one line. What goes out: one value or gap an interval. What is never true: more values
//! than [`VALUES_MAX`], whatever the repetitions say.

use std::sync::Arc;

use super::ParseError;
use super::ast::Kind;
use super::histogram::{add, compact, subtract};
use super::parser::{TEXT_MAX, parse};
use super::text::{duration_millis, number};
use crate::go_regex::Room;
use crate::series::{CounterReset, Histogram, MatchOp, STALE_NAN_BITS, SampleValue};
use crate::signal::Labels;

/// Values of one series, so that `1x9999999999` is an error and not the end of memory.
const VALUES_MAX: usize = 1_000_000;

/// Buckets of one histogram.
const BUCKETS_MAX: usize = 10_000;

/// Of each interval, milliseconds from a sample to the start of its counter.
pub type Offsets = Vec<Option<i64>>;

/// One parsed series description: `name{a="b"} 1+2x3 _ stale {{sum:1 count:2}}x4`.
pub fn parse_series_description(
    text: &str,
) -> Result<(Labels, Vec<Option<SampleValue>>), ParseError> {
    let end = labels_end(text);
    let labels = parse_series_labels(text.get(..end).unwrap_or_default())?;
    let mut values = Vec::new();
    let mut at = end;
    while let Some((word, start)) = next_word(text, at) {
        at = start + word.len();
        let failed = |message: String| ParseError { at: start, end: at, message };
        item(word, &mut values).map_err(failed)?;
    }
    Ok((labels, values))
}

/// The start timestamps of the series whose description follows: `name{a="b"}@st -1m-1mx3 _ 0`. Of
/// each interval how many milliseconds after its sample the counter began, so mostly below zero; None
/// where that is not known. Nothing where the text describes no start timestamps.
pub fn parse_series_starts(text: &str) -> Result<Option<(Labels, Offsets)>, ParseError> {
    let (head, rest) = text.split_at_checked(labels_end(text)).unwrap_or((text, ""));
    let told = head.strip_suffix("@st").map(|labels| (labels, rest));
    let told = told.or_else(|| rest.strip_prefix("@st").map(|rest| (head, rest)));
    let Some((labels, rest)) = told else { return Ok(None) };
    let labels = parse_series_labels(labels)?;
    let mut starts = Vec::new();
    for word in rest.split_whitespace() {
        let failed = |message| ParseError { at: text.len() - rest.len(), end: text.len(), message };
        start_item(word, &mut starts).map_err(failed)?;
    }
    Ok(Some((labels, starts)))
}

/// `_`, `_xN`, an offset, or `axN` and `a±bxN` with offsets.
fn start_item(word: &str, starts: &mut Vec<Option<i64>>) -> Result<(), String> {
    let (body, n) = match word.rsplit_once('x') {
        Some((body, n)) => (body, times(n)?),
        None => (word, 0),
    };
    if body == "_" {
        return (0..n.max(1)).try_for_each(|_| push(starts, None));
    }
    let (mut start, step) = split_offset(body).ok_or_else(|| format!("bad offset {word:?}"))?;
    for i in 0..=n {
        if i > 0 {
            start = start.saturating_add(step);
        }
        push(starts, Some(start))?;
    }
    Ok(())
}

/// `a`, `a+b` or `a-b`.
fn split_offset(body: &str) -> Option<(i64, i64)> {
    let offset = |text: &str| {
        let (is_before, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let millis = if digits == "0" { 0 } else { duration_millis(digits)? };
        Some(if is_before { -millis } else { millis })
    };
    if let Some(whole) = offset(body) {
        return Some((whole, 0));
    }
    let at = body.char_indices().skip(1).find(|(_, c)| matches!(c, '+' | '-'))?.0;
    let (first, step) = body.split_at_checked(at)?;
    Some((offset(first)?, offset(step)?))
}

/// The labels alone: `name{a="b"}`, `{a="b"}` or `{}`.
pub fn parse_series_labels(text: &str) -> Result<Labels, ParseError> {
    let error = |message: &str| ParseError { at: 0, end: text.len(), message: message.to_owned() };
    let trimmed = text.trim();
    if trimmed.len() > TEXT_MAX {
        return Err(error("the series description is too long"));
    }
    if trimmed.replace(char::is_whitespace, "") == "{}" {
        return Ok(Labels::default());
    }
    // A number in words can name a metric here, since no expression may stand here.
    let braced = if trimmed.contains('{') { trimmed.to_owned() } else { format!("{trimmed}{{}}") };
    let expr = parse(&braced, &mut Room::default()).or_else(|problem| {
        // Empty label values make a selector that a query must not have, but a series may.
        parse_with_name(&braced).ok_or(problem)
    })?;
    let Kind::Selector(selector) = expr.kind else {
        return Err(error("expected a metric name or labels"));
    };
    if selector.matchers.iter().any(|matcher| matcher.op != MatchOp::Equal) {
        return Err(error("series labels are written name=\"value\""));
    }
    Ok(Labels::new(selector.matchers.iter().map(|m| (Arc::clone(&m.name), Arc::clone(&m.value)))))
}

fn parse_with_name(braced: &str) -> Option<super::ast::Expr> {
    let mut patterns = Room::default();
    let mut parser = super::parser::Parser::new(braced, &mut patterns).ok()?;
    parser.any_selector().ok()
}

/// Where the labels end: after the closing brace, or at the first space.
fn labels_end(text: &str) -> usize {
    let lead = text.len() - text.trim_start().len();
    let mut quote = None;
    let mut escaped = false;
    let mut depth = 0_usize;
    for (i, c) in text.char_indices().skip_while(|(i, _)| *i < lead) {
        match (quote, c) {
            _ if escaped => escaped = false,
            (Some('"' | '\''), '\\') => escaped = true,
            (Some(q), c) => quote = Some(q).filter(|q| *q != c),
            (None, '"' | '\'' | '`') => quote = Some(c),
            (None, '{') => depth += 1,
            (None, '}') => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return i + 1;
                }
            }
            (None, c) if c.is_whitespace() && depth == 0 => {
                // "name {a="b"}" has a space before its braces; histograms have two.
                let rest = text.get(i..).unwrap_or_default().trim_start();
                if !rest.starts_with('{') || rest.starts_with("{{") {
                    return i;
                }
            }
            _ => {}
        }
    }
    text.len()
}

/// The next item and its place; a histogram's braces hold spaces.
fn next_word(text: &str, at: usize) -> Option<(&str, usize)> {
    let rest = text.get(at..)?;
    let start = at + rest.find(|c: char| !c.is_whitespace())?;
    let rest = text.get(start..)?;
    let mut depth = 0_usize;
    for (i, c) in rest.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            c if c.is_whitespace() && depth == 0 => return Some((rest.get(..i)?, start)),
            _ => {}
        }
    }
    Some((rest, start))
}

fn push<T>(values: &mut Vec<Option<T>>, value: Option<T>) -> Result<(), String> {
    if values.len() >= VALUES_MAX {
        return Err(format!("a series description has more than {VALUES_MAX} values"));
    }
    values.push(value);
    Ok(())
}

fn times(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("invalid repetition {text:?}"))
}

fn item(word: &str, values: &mut Vec<Option<SampleValue>>) -> Result<(), String> {
    if word == "stale" {
        return push(values, Some(SampleValue::Float(f64::from_bits(STALE_NAN_BITS))));
    }
    if let Some(rest) = word.strip_prefix('_') {
        let n = if rest.is_empty() { 1 } else { times(rest.strip_prefix('x').unwrap_or(rest))? };
        for _ in 0..n {
            push(values, None)?;
        }
        return Ok(());
    }
    if word.starts_with("{{") {
        return histogram_item(word, values);
    }
    let (body, n) = match word.rsplit_once('x') {
        Some((body, n)) => (body, times(n)?),
        None => (word, 0),
    };
    let repeats = body.len() < word.len();
    let (first, delta) = split_delta(body).ok_or_else(|| format!("bad sample {word:?}"))?;
    if !repeats {
        return push(values, Some(SampleValue::Float(number(word).ok_or("bad number")?)));
    }
    let mut value = first;
    for i in 0..=n {
        if i > 0 {
            value += delta;
        }
        push(values, Some(SampleValue::Float(value)))?;
    }
    Ok(())
}

/// `a`, `a+b` or `a-b`; an exponent's sign belongs to its number.
fn split_delta(body: &str) -> Option<(f64, f64)> {
    if let Some(x) = number(body) {
        return Some((x, 0.0));
    }
    let signs = body.char_indices().skip(1).filter(|(_, c)| matches!(c, '+' | '-'));
    signs.into_iter().find_map(|(at, _)| {
        let (first, delta) = body.split_at_checked(at)?;
        Some((number(first)?, number(delta)?))
    })
}

/// `{{…}}`, `{{…}}xN` or `{{…}}±{{…}}xN`.
fn histogram_item(word: &str, values: &mut Vec<Option<SampleValue>>) -> Result<(), String> {
    let unclosed = || format!("unclosed histogram {word:?}");
    let (first, rest) = word.split_once("}}").ok_or_else(unclosed)?;
    let mut value = histogram(first.trim_start_matches("{{"))?;
    if let Some(n) = rest.strip_prefix('x') {
        for _ in 0..=times(n)? {
            push(values, Some(SampleValue::Histogram(Arc::new(value.clone()))))?;
        }
        return Ok(());
    }
    if rest.is_empty() {
        return push(values, Some(SampleValue::Histogram(Arc::new(value))));
    }
    let adds = rest.starts_with('+');
    let body = rest.strip_prefix(['+', '-']).ok_or_else(|| format!("unexpected {rest:?}"))?;
    let (delta, n) = body.split_once("}}x").ok_or_else(unclosed)?;
    let delta = histogram(delta.trim_start_matches("{{"))?;
    let hint = value.counter_reset;
    for i in 0..=times(n)? {
        if i > 0 {
            let next = if adds { add(&value, &delta) } else { subtract(&value, &delta) };
            value = next.map_err(|_| "histograms with different kinds of buckets")?.histogram;
            value.counter_reset = hint;
            compact(&mut value);
        }
        push(values, Some(SampleValue::Histogram(Arc::new(value.clone()))))?;
    }
    Ok(())
}

fn blank() -> Histogram {
    Histogram {
        counter_reset: CounterReset::Unknown,
        schema: 0,
        zero_threshold: 0.0,
        zero_count: 0.0,
        count: 0.0,
        sum: 0.0,
        positive: Vec::new(),
        negative: Vec::new(),
        custom_bounds: Arc::from([]),
    }
}

fn histogram(body: &str) -> Result<Histogram, String> {
    let mut h = blank();
    let (mut offset, mut n_offset) = (0, 0);
    let (mut positive, mut negative) = (Vec::new(), Vec::new());
    let mut rest = body.trim_start();
    while !rest.is_empty() {
        let (key, after) =
            rest.split_once(':').ok_or_else(|| format!("expected a field: {rest:?}"))?;
        let after = after.trim_start();
        let (value, next) = if let Some(list) = after.strip_prefix('[') {
            list.split_once(']').ok_or("unclosed list")?
        } else {
            after.split_once(char::is_whitespace).unwrap_or((after, ""))
        };
        let x = || number(value).ok_or_else(|| format!("bad number {value:?}"));
        let integer = || value.parse::<i32>().map_err(|_| format!("bad integer {value:?}"));
        match key.trim() {
            "schema" => h.schema = integer()?,
            "sum" => h.sum = x()?,
            "count" => h.count = x()?,
            "z_bucket" => h.zero_count = x()?,
            "z_bucket_w" => h.zero_threshold = x()?,
            "buckets" => positive = list(value)?,
            "n_buckets" => negative = list(value)?,
            "offset" => offset = integer()?,
            "n_offset" => n_offset = integer()?,
            "custom_values" => h.custom_bounds = list(value)?.into(),
            "counter_reset_hint" => h.counter_reset = hint(value)?,
            other => return Err(format!("unknown field {other:?} of a histogram")),
        }
        rest = next.trim_start();
    }
    if h.schema != -53 && !(-9..=52).contains(&h.schema) {
        return Err(format!("invalid schema {}", h.schema));
    }
    h.positive = indexed(&positive, offset);
    h.negative = indexed(&negative, n_offset);
    Ok(h)
}

fn hint(value: &str) -> Result<CounterReset, String> {
    Ok(match value {
        "unknown" => CounterReset::Unknown,
        "reset" => CounterReset::Yes,
        "not_reset" => CounterReset::No,
        "gauge" => CounterReset::Gauge,
        _ => return Err(format!("unknown counter reset hint {value:?}")),
    })
}

fn list(text: &str) -> Result<Vec<f64>, String> {
    let numbers: Option<Vec<f64>> =
        text.split_whitespace().take(BUCKETS_MAX + 1).map(number).collect();
    let numbers = numbers.ok_or_else(|| format!("bad number in {text:?}"))?;
    if numbers.len() > BUCKETS_MAX {
        return Err(format!("a histogram has more than {BUCKETS_MAX} buckets"));
    }
    Ok(numbers)
}

fn indexed(counts: &[f64], offset: i32) -> Vec<(i32, f64)> {
    (offset..).zip(counts.iter().copied()).filter(|(_, count)| *count != 0.0).collect()
}
