//! A request as text: what came of it, one line a hop with a bar to scale, and where the time went.
//!
//! A [`Request`] in, lines of at most `width` characters out. What telemetry says is shown without its
//! control characters, so that no log record can write to a terminal.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use crate::correlate::request::Evidence;
use crate::correlate::{Hop, Outcome, Request, State};
use crate::number::{f64_from_u64, f64_from_usize, u64_from_usize, usize_from_f64};
use crate::signal::{Text, Timestamp, Via};

/// Narrower terminals get lines of this width.
const WIDTH_MIN: usize = 60;
/// Most of a line that names and trees may take.
const LABEL_SHARE: f64 = 0.45;
/// Columns behind the bar: a duration, an outcome.
const VERDICT_WIDTH: usize = 26;
/// Keys that are shown; the rest is counted.
const KEYS_MAX: usize = 6;
/// Hops that are shown; the rest is counted.
const HOPS_MAX: usize = 500;
/// Stretches of the critical path that are shown: the longest.
const STRETCHES_MAX: usize = 8;

/// Whether lines carry ANSI colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    Plain,
    Color,
}

impl Ink {
    fn paint(self, tone: Tone, text: &str) -> String {
        let code = match (self, tone) {
            (Self::Plain, _) => return text.to_owned(),
            (Self::Color, _) if text.is_empty() => return String::new(),
            (Self::Color, Tone::Good) => "32",
            (Self::Color, Tone::Bad) => "31",
            (Self::Color, Tone::Unsure) => "33",
            (Self::Color, Tone::Quiet) => "2",
            (Self::Color, Tone::Title) => "1",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

#[derive(Clone, Copy, Debug)]
enum Tone {
    Good,
    Bad,
    Unsure,
    Quiet,
    Title,
}

const fn tone(outcome: Outcome) -> Tone {
    match outcome {
        Outcome::Ok => Tone::Good,
        Outcome::Incomplete => Tone::Unsure,
        _ => Tone::Bad,
    }
}

/// The whole page, each line ended.
pub fn render(request: &Request, width: usize, ink: Ink) -> String {
    let width = width.max(WIDTH_MIN);
    let mut page = String::new();
    header(request, width, ink, &mut page);
    page.push('\n');
    hops(request, width, ink, &mut page);
    critical_path(request, width, ink, &mut page);
    missing(request, width, ink, &mut page);
    page
}

/// Text without control characters and without those that turn the direction of writing, which stand
/// as `\u{fffd}`.
pub fn printable(text: &str) -> String {
    let is_odd =
        |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if is_odd(c) { '\u{fffd}' } else { c }).collect()
}

fn header(request: &Request, width: usize, ink: Ink, page: &mut String) {
    let mut facts = vec![short(request.duration)];
    facts.extend(request.response.map(|response| format!("answered after {}", short(response))));
    facts.push(state(request.state).to_owned());
    facts.extend(request.cost_usd.map(|usd| format!("${usd:.7}")));
    if request.stands_for > 1 {
        facts.push(format!("sampled: counts as {}", request.stands_for));
    }
    let (flow, outcome) = (cut(&printable(&request.flow), width / 2), request.outcome.as_str());
    let room = width.saturating_sub(flow.chars().count() + outcome.len() + 4);
    let facts = cut(&facts.join("  "), room);
    let (flow, outcome) =
        (ink.paint(Tone::Title, &flow), ink.paint(tone(request.outcome), outcome));
    let _ = writeln!(page, "{flow}  {outcome}  {facts}");
    let id = printable(&request.id);
    line(page, width, ink, &format!("request {id}  started {}", request.start));
    if let Some(earlier) = &request.continues {
        line(page, width, ink, &format!("continues {}", printable(earlier)));
    }
    let keys = request.keys.iter().filter(|key| *key.value != *request.id);
    let shown: Vec<String> = keys
        .clone()
        .take(KEYS_MAX)
        .map(|key| format!("{} {}", kind(key.kind), printable(&key.value)))
        .collect();
    for key in &shown {
        line(page, width, ink, key);
    }
    match keys.count().saturating_sub(shown.len()) {
        0 => {}
        n => line(page, width, ink, &format!("and {n} more keys")),
    }
}

const fn state(state: State) -> &'static str {
    match state {
        State::Open => "open",
        State::Finished => "finished",
        State::Final => "final",
    }
}

const fn kind(kind: crate::correlate::request::KeyKind) -> &'static str {
    use crate::correlate::request::KeyKind;
    match kind {
        KeyKind::CorrelationId => "correlation id",
        KeyKind::TraceId => "trace id",
        KeyKind::InvocationId => "invocation id",
        KeyKind::MessageId => "message id",
    }
}

fn line(page: &mut String, width: usize, ink: Ink, text: &str) {
    page.push_str(&ink.paint(Tone::Quiet, &cut(text, width)));
    page.push('\n');
}

/// A hop in its place in the tree.
struct Row<'a> {
    hop: &'a Hop,
    label: String,
    /// What an error line below it begins with.
    indent: String,
}

fn hops(request: &Request, width: usize, ink: Ink, page: &mut String) {
    let rows = rows(request);
    let longest = rows.iter().map(|row| row.label.chars().count()).max().unwrap_or_default();
    let label_max = usize_from_f64(f64_from_usize(width) * LABEL_SHARE);
    let label_width = longest.min(label_max);
    let bar_width = width.saturating_sub(label_width + VERDICT_WIDTH + 2).max(10);
    let scale = Scale::of(request, bar_width);
    for row in rows.iter().take(HOPS_MAX) {
        let label = pad(&cut(&row.label, label_width), label_width);
        let bar = ink.paint(tone(row.hop.outcome), &scale.bar(row.hop));
        let verdict = verdict(row.hop, ink);
        let _ = writeln!(page, "{label} {bar} {verdict}");
        if let Some(error) = &row.hop.error {
            let text = format!("{}! {}", row.indent, printable(error));
            page.push_str(&ink.paint(Tone::Bad, &cut(&text, width)));
            page.push('\n');
        }
    }
    match rows.len().saturating_sub(HOPS_MAX) {
        0 => {}
        n => line(page, width, ink, &format!("and {n} more hops")),
    }
    let legend = "· waits in a queue  ▒ init  █ runs  ░ end unknown";
    line(page, width, ink, legend);
}

/// Depth first, each hop below its first cause that is there, in order of start.
fn rows(request: &Request) -> Vec<Row<'_>> {
    let known: BTreeSet<&Text> = request.hops.iter().map(|hop| &hop.id).collect();
    let mut below: BTreeMap<Option<&Text>, Vec<&Hop>> = BTreeMap::new();
    for hop in &request.hops {
        let cause = hop.causes.iter().find(|cause| known.contains(cause) && **cause != hop.id);
        below.entry(cause).or_default().push(hop);
    }
    for list in below.values_mut() {
        list.sort_by_key(|hop| (hop.start, &hop.id));
    }
    let mut rows = Vec::new();
    let mut seen = BTreeSet::new();
    let roots = below.get(&None).cloned().unwrap_or_default();
    // What only a circle of causes reaches is shown at the end, each as a root.
    for root in roots.into_iter().chain(&request.hops) {
        descend(root, &below, &mut seen, &mut rows);
    }
    rows
}

/// A hop still to be shown, with the lines that lead down to it.
struct Step<'a> {
    hop: &'a Hop,
    branch: String,
    trunk: String,
}

fn descend<'a>(
    root: &'a Hop,
    below: &BTreeMap<Option<&Text>, Vec<&'a Hop>>,
    seen: &mut BTreeSet<&'a Text>,
    rows: &mut Vec<Row<'a>>,
) {
    let mut stack = vec![Step { hop: root, branch: String::new(), trunk: String::new() }];
    while let Some(Step { hop, branch, trunk }) = stack.pop() {
        if !seen.insert(&hop.id) {
            continue;
        }
        rows.push(Row {
            hop,
            label: format!("{branch}{}", label(hop)),
            indent: format!("{trunk}  "),
        });
        let children = below.get(&Some(&hop.id)).map_or(&[][..], Vec::as_slice);
        for (idx, &child) in children.iter().enumerate().rev() {
            let is_last = idx + 1 == children.len();
            let (branch, deeper) = if is_last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            stack.push(Step {
                hop: child,
                branch: format!("{trunk}{branch}"),
                trunk: format!("{trunk}{deeper}"),
            });
        }
    }
}

/// `fulfil #2 by queue orders (link)`.
fn label(hop: &Hop) -> String {
    let mut label = printable(&hop.function);
    if hop.attempt > 1 {
        let _ = write!(label, " #{}", hop.attempt);
    }
    if hop.via != Via::Unknown {
        let _ = write!(label, " by {}", via(hop.via));
    }
    if let Some(queue) = &hop.queue {
        let _ = write!(label, " {}", printable(queue));
    }
    match hop.evidence {
        Some(Evidence::MessageId) => label.push_str(" (message id)"),
        Some(Evidence::CorrelationId) => label.push_str(" (correlation id)"),
        Some(Evidence::Link) => label.push_str(" (link)"),
        Some(Evidence::Trace) | None => {}
    }
    if hop.shared {
        label.push_str(" shared");
    }
    label
}

const fn via(via: Via) -> &'static str {
    match via {
        Via::Http => "http",
        Via::Invoke => "invoke",
        Via::Queue => "queue",
        Via::Topic => "topic",
        Via::Stream => "stream",
        Via::EventBus => "event bus",
        Via::Schedule => "schedule",
        Via::Workflow => "workflow",
        Via::Unknown => "unknown",
    }
}

fn verdict(hop: &Hop, ink: Ink) -> String {
    let duration = hop.duration.map_or_else(|| "?".to_owned(), short);
    let outcome = ink.paint(tone(hop.outcome), hop.outcome.as_str());
    let cold = if hop.cold_start == Some(true) { " cold" } else { "" };
    format!("{duration:>9} {outcome}{}", ink.paint(Tone::Quiet, cold))
}

/// Time to columns.
struct Scale {
    start: Timestamp,
    end: Timestamp,
    width: usize,
}

impl Scale {
    fn of(request: &Request, width: usize) -> Self {
        let ends = request.hops.iter().map(|hop| hop.end.unwrap_or(hop.start));
        let starts = request.hops.iter().map(|hop| hop.start);
        Self {
            start: starts.chain([request.start]).min().unwrap_or(request.start),
            end: ends.chain([request.end]).max().unwrap_or(request.end),
            width,
        }
    }

    /// Columns from the left, with a fraction.
    fn column(&self, t: Timestamp) -> f64 {
        let whole = nanos(self.end.since(self.start)).max(1.0);
        nanos(t.since(self.start)) / whole * f64_from_usize(self.width)
    }

    fn bar(&self, hop: &Hop) -> String {
        let mut cells = vec![' '; self.width];
        let sent = hop.queue_wait.map(|wait| hop.start.saturating_sub(wait));
        if let Some(sent) = sent {
            self.fill(&mut cells, &Stretch { from: sent, to: hop.start, ink: '·' });
        }
        if let Some(init) = hop.init {
            let from = hop.start.saturating_sub(init);
            self.fill(&mut cells, &Stretch { from, to: hop.start, ink: '▒' });
        }
        let run = match hop.end {
            Some(end) => Stretch { from: hop.start, to: end, ink: '█' },
            None => Stretch { from: hop.start, to: self.end, ink: '░' },
        };
        self.fill(&mut cells, &run);
        cells.into_iter().collect()
    }

    /// Paints what a stretch covers, and at least one column.
    fn fill(&self, cells: &mut [char], stretch: &Stretch) {
        let last = self.width.saturating_sub(1);
        let from = usize_from_f64(self.column(stretch.from).floor()).min(last);
        let to = usize_from_f64(self.column(stretch.to).ceil()).clamp(from + 1, self.width.max(1));
        if let Some(covered) = cells.get_mut(from..to) {
            covered.fill(stretch.ink);
        }
    }
}

struct Stretch {
    from: Timestamp,
    to: Timestamp,
    ink: char,
}

fn nanos(d: Duration) -> f64 {
    f64_from_u64(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX))
}

fn critical_path(request: &Request, width: usize, ink: Ink, page: &mut String) {
    let functions: BTreeMap<&Text, &Text> =
        request.hops.iter().map(|hop| (&hop.id, &hop.function)).collect();
    let mut stretches: Vec<(usize, &crate::correlate::request::PathPart)> =
        request.critical_path.iter().filter(|part| !part.duration.is_zero()).enumerate().collect();
    if stretches.is_empty() {
        return;
    }
    let n_hidden = stretches.len().saturating_sub(STRETCHES_MAX);
    stretches.sort_by_key(|(idx, part)| (std::cmp::Reverse(part.duration), *idx));
    stretches.truncate(STRETCHES_MAX);
    stretches.sort_by_key(|(idx, _)| *idx);
    page.push('\n');
    let _ = writeln!(page, "{}", ink.paint(Tone::Title, "where the time went"));
    for (_, part) in stretches {
        let function = functions.get(&part.hop).map_or("?", |name| &***name);
        let share = nanos(part.duration) / nanos(request.duration).max(1.0) * 100.0;
        let what = part.part.as_str().replace('_', " ");
        let text =
            format!("{:>9} {share:>4.0} %  {what} {}", short(part.duration), printable(function));
        let _ = writeln!(page, "{}", cut(&text, width));
    }
    if n_hidden > 0 {
        line(page, width, ink, &format!("and {n_hidden} shorter stretches"));
    }
}

fn missing(request: &Request, width: usize, ink: Ink, page: &mut String) {
    if request.missing.is_empty() {
        return;
    }
    let functions: BTreeMap<&Text, &Text> =
        request.hops.iter().map(|hop| (&hop.id, &hop.function)).collect();
    page.push('\n');
    let _ = writeln!(page, "{}", ink.paint(Tone::Title, "missing"));
    for missing in request.missing.iter().take(HOPS_MAX) {
        let after = functions.get(&missing.after).map_or("?", |name| &***name);
        let text = format!("{} after {}", printable(&missing.expected), printable(after));
        let _ = writeln!(page, "{}", ink.paint(Tone::Unsure, &cut(&text, width)));
    }
}

/// `7.31 ms`, `212 ms`, `1.83 s`, `2 m 05 s`.
fn short(d: Duration) -> String {
    let seconds = d.as_secs_f64();
    let ms = seconds * 1e3;
    if ms < 10.0 {
        format!("{ms:.2} ms")
    } else if ms < 100.0 {
        format!("{ms:.1} ms")
    } else if ms < 999.5 {
        format!("{ms:.0} ms")
    } else if seconds < 59.995 {
        format!("{seconds:.2} s")
    } else {
        let whole = d.as_secs() + u64::from(d.subsec_millis() >= 500);
        match (whole / 3600, whole / 60 % 60) {
            (0, minutes) => format!("{minutes} m {:02} s", whole % 60),
            (hours, minutes) => format!("{hours} h {minutes:02} m"),
        }
    }
}

/// At most `width` characters; what is cut off leaves `…`.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

fn pad(text: &str, width: usize) -> String {
    let n_missing = u64_from_usize(width).saturating_sub(u64_from_usize(text.chars().count()));
    let spaces = std::iter::repeat_n(' ', crate::number::usize_from_u64(n_missing));
    text.chars().chain(spaces).collect()
}

#[cfg(test)]
#[expect(clippy::needless_raw_string_hashes, reason = "expect_test writes its texts so")]
mod tests;
