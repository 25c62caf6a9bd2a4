//! From a notice to a card: which facts are said, in which words and order.
//!
//! Every fact that is not known is left out, never guessed.

use std::time::Duration;

use super::words::{self, duration, millis, minutes, percent, share, sparkline, time};
use super::{Block, Button, Card, Mood, Shape, Worth};
use crate::evaluate::alert::{Budget, Counts, Evidence, Example, Impact};
use crate::notify::Reason;
use crate::notify::notice::{Alert, Notice};
use crate::signal::{Labels, Timestamp};

/// Figures were gathered when the alert began; in a message that is made later they are not of now.
const FRESH: Duration = Duration::from_mins(2);
/// Other alerts of the group that are named.
const OTHERS_MAX: usize = 10;

impl Card {
    /// The message of a notice. What it leads with is the alert that matters most.
    pub(crate) fn compose(notice: &Notice) -> Self {
        let Some(lead) = lead(notice) else {
            return Self {
                mood: Mood::Resolved,
                headline: notice.group_key.to_string(),
                blocks: Vec::new(),
                buttons: Vec::new(),
            };
        };
        let mood = mood(notice, lead);
        let mut blocks = Vec::new();
        if lead.is_firing() {
            firing(lead, notice, &mut blocks);
        } else {
            resolved(lead, notice, &mut blocks);
        }
        others(lead, notice, &mut blocks);
        if let Some(failed) = &notice.undelivered_to {
            let text = format!("Sent here because `{failed}` could not be reached.");
            blocks.insert(0, line(Worth::Counts, text));
        }
        blocks.push(Block { worth: Worth::Labels, shape: Shape::Footer, text: footer(lead) });
        Self {
            mood,
            headline: headline(mood, lead, notice),
            blocks,
            buttons: buttons(lead, notice),
        }
    }
}

/// Firing before resolved, pages before others, then with evidence, then the oldest; where alerts joined,
/// the newest: it is what the message is for.
fn lead(notice: &Notice) -> Option<&Alert> {
    notice.alerts.iter().min_by_key(|alert| {
        let started = alert.started_at.as_nanos();
        let age = if notice.reason == Reason::NewAlerts { u64::MAX - started } else { started };
        (!alert.is_firing(), !is_page(alert), alert.evidence.is_none(), age)
    })
}

fn is_page(alert: &Alert) -> bool {
    matches!(alert.labels.get("severity"), Some("page" | "critical"))
}

fn mood(notice: &Notice, lead: &Alert) -> Mood {
    match (notice.reason, lead.is_firing()) {
        (Reason::Test, _) => Mood::Test,
        (_, false) => Mood::Resolved,
        (_, true) if is_page(lead) => Mood::Page,
        (_, true) => Mood::Ticket,
    }
}

/// What an alert is called: its summary, or its name and the labels that tell it apart.
pub(crate) fn name(alert: &Alert) -> String {
    if let Some(summary) = alert.annotation("summary") {
        return summary.to_owned();
    }
    let alertname = alert.labels.get("alertname").unwrap_or("alert");
    let others = alert.labels.iter().filter(|(name, _)| !matches!(*name, "alertname" | "severity"));
    let others: Vec<String> = others.map(|(name, value)| format!("{name}={value}")).collect();
    if others.is_empty() {
        alertname.to_owned()
    } else {
        format!("{alertname} ({})", others.join(", "))
    }
}

fn headline(mood: Mood, lead: &Alert, notice: &Notice) -> String {
    let mut parts = vec![format!("{} · {}", mood.sign(), name(lead))];
    if let Some(resolved_at) = lead.resolved_at {
        parts.push(format!("after {}", duration(resolved_at.since(lead.started_at))));
    } else {
        let counts = impact(lead).and_then(|impact| impact.counts.as_ref());
        let at_first = if Age::of(lead, notice) == Age::Fresh { "" } else { "at first " };
        parts.extend(counts.map(|counts| format!("{at_first}{}", counted(counts))));
        parts.push(format!("since {}", time(lead.started_at, notice.at)));
    }
    let n_firing = notice.alerts.iter().filter(|alert| alert.is_firing()).count();
    let n_others = if lead.is_firing() { n_firing } else { notice.alerts.len() }.saturating_sub(1);
    if n_others > 0 {
        parts.push(format!("and {n_others} more"));
    }
    words::one_line(&parts.join(" · "))
}

fn evidence(alert: &Alert) -> Option<&Evidence> {
    alert.evidence.as_ref()
}

fn impact(alert: &Alert) -> Option<&Impact> {
    evidence(alert)?.impact.as_ref()
}

fn line(worth: Worth, text: String) -> Block {
    Block { worth, shape: Shape::Line, text }
}

/// Of an alert's figures.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Age {
    Fresh,
    Old,
}

impl Age {
    fn of(alert: &Alert, notice: &Notice) -> Self {
        let is_fresh = notice.at.since(alert.started_at) <= FRESH;
        if is_fresh { Self::Fresh } else { Self::Old }
    }
}

fn firing(alert: &Alert, notice: &Notice, blocks: &mut Vec<Block>) {
    let (now, age) = (notice.at, Age::of(alert, notice));
    let lasts = duration(now.since(alert.started_at));
    let since = format!("since {} ({lasts})", time(alert.started_at, now));
    let impact = impact(alert);
    let counts = impact.and_then(|impact| impact.counts.as_ref());
    blocks.push(line(
        Worth::Counts,
        match (age, counts) {
            (Age::Fresh, Some(counts)) => {
                format!("{}, {since}", counted_within(counts, "the last "))
            }
            (Age::Fresh, None) => capital(&since),
            (Age::Old, Some(counts)) => {
                format!("Still firing, {since}. It began with {}", counted_within(counts, ""))
            }
            (Age::Old, None) => format!("Still firing, {since}"),
        },
    ));
    if let Some(trend) = impact.and_then(|impact| impact.trend.as_ref()) {
        let span = Duration::from_secs(trend.step_s)
            .saturating_mul(u32::try_from(trend.values.len()).unwrap_or(u32::MAX));
        let span = match age {
            Age::Fresh => format!("last {}", duration(span)),
            Age::Old => format!("{} before it began", duration(span)),
        };
        let text = format!("{}  {}, {span}", sparkline(&trend.values), trend.what);
        blocks.push(Block { worth: Worth::Counts, shape: Shape::Code, text });
    }
    if let Some(budget) = impact.and_then(|impact| impact.budget.as_ref()) {
        let then = if age == Age::Fresh { "" } else { "When it began: " };
        blocks.push(line(Worth::Budget, format!("{then}{}", budget_left(budget, age, now))));
    }
    if let Some(example) = evidence(alert).and_then(|evidence| evidence.request.as_ref()) {
        request(example, blocks);
    }
    if let Some(change) = evidence(alert).and_then(|evidence| evidence.version.as_ref()) {
        let before =
            change.before.as_ref().map(|before| format!(" (before: {before})")).unwrap_or_default();
        let since = time(change.since, now);
        let text =
            format!("Version: {} runs {} since {since}{before}", change.function, change.version);
        blocks.push(line(Worth::Version, text));
    }
    if let Some(description) = alert.annotation("description") {
        blocks.push(line(Worth::Description, description.trim().to_owned()));
    }
}

fn request(example: &Example, blocks: &mut Vec<Block>) {
    let Example { slowest, slowest_ms, usual_ms, .. } = example;
    let usual = usual_ms.map(|usual| format!(" (usual {})", millis(usual))).unwrap_or_default();
    let text = match &example.failed {
        Some(_) => format!("Where: {}", example.place()),
        None => format!("Where: {slowest} {}{usual}", millis(*slowest_ms)),
    };
    blocks.push(line(Worth::Where, text));
    // What the line above says already is not said again.
    let error = example.error.as_ref().filter(|_| example.failed.is_none());
    let error = error.map(|error| format!("; {error}")).unwrap_or_default();
    let (flow, outcome, took) = (&example.flow, &example.outcome, millis(example.duration_ms));
    let title = format!("Request {} of {flow}: {outcome} after {took}{error}", example.request_id);
    blocks.push(line(Worth::Timeline, title));
    if !example.timeline.is_empty() {
        let text = example.timeline.join("\n");
        blocks.push(Block { worth: Worth::Timeline, shape: Shape::Code, text });
    }
}

fn resolved(alert: &Alert, notice: &Notice, blocks: &mut Vec<Block>) {
    let Some(end) = alert.resolved_at else { return };
    let (start, now) = (alert.started_at, notice.at);
    let lasted = duration(end.since(start));
    let text = format!("Lasted {lasted}, {} to {}", time(start, now), time(end, now));
    blocks.push(line(Worth::Counts, text));
    if alert.corrected {
        let text = "Late data corrected it: the alert was not true.".to_owned();
        blocks.push(line(Worth::Counts, text));
    }
    let Some(impact) = impact(alert) else { return };
    if let Some(peak) = impact.peak_ratio {
        let text = format!("Peak: {} of a minute's events were bad", percent(peak));
        blocks.push(line(Worth::Counts, text));
    }
    if let Some(budget) = &impact.budget {
        let spent = budget.spent_ratio.map(|spent| format!("Budget spent: {}. ", percent(spent)));
        let text = format!("{}{}", spent.unwrap_or_default(), budget_left(budget, Age::Fresh, now));
        blocks.push(line(Worth::Budget, text));
    }
}

fn others(lead: &Alert, notice: &Notice, blocks: &mut Vec<Block>) {
    let others: Vec<&Alert> =
        notice.alerts.iter().filter(|alert| !std::ptr::eq(*alert, lead)).collect();
    if others.is_empty() {
        return;
    }
    let mut lines: Vec<String> =
        others.iter().take(OTHERS_MAX).map(|alert| one_line(alert)).collect();
    let n_left = others.len().saturating_sub(OTHERS_MAX);
    if n_left > 0 {
        lines.push(format!("… and {n_left} more"));
    }
    blocks.push(line(Worth::Others, format!("Also in this group:\n{}", lines.join("\n"))));
}

fn one_line(alert: &Alert) -> String {
    let status = if alert.is_firing() { "firing" } else { "resolved" };
    format!("• {status}: {}", name(alert))
}

/// `38 of 412 requests bad (9.2 %)`, `3 dead letters`.
fn counted(counts: &Counts) -> String {
    format!("{}{}", bad_of_all(counts), share_of(counts))
}

/// The same with its time: `38 of 412 requests bad in the last 5 min (9.2 %)`.
fn counted_within(counts: &Counts, the_last: &str) -> String {
    let window = duration(Duration::from_secs(counts.window_s));
    format!("{} in {the_last}{window}{}", bad_of_all(counts), share_of(counts))
}

fn bad_of_all(counts: &Counts) -> String {
    let Counts { what, how, bad, total, .. } = counts;
    match total {
        Some(total) => format!("{bad} of {total} {what} {how}"),
        None if *bad == 1 => format!("1 {}", singular(what)),
        None => format!("{bad} {what}"),
    }
}

/// `dead letter`, `duplicate delivery`.
fn singular(what: &str) -> String {
    match what.strip_suffix("ies") {
        Some(stem) => format!("{stem}y"),
        None => what.strip_suffix('s').unwrap_or(what).to_owned(),
    }
}

fn share_of(counts: &Counts) -> String {
    let share = counts.total.and_then(|total| share(counts.bad, total));
    share.map(|share| format!(" ({})", percent(share))).unwrap_or_default()
}

fn budget_left(budget: &Budget, age: Age, now: Timestamp) -> String {
    let Budget { slo, left_ratio, whole_minutes, .. } = budget;
    let window = duration(Duration::from_secs(budget.window_s));
    // Of a window that is hardly measured, a few events decide.
    let measured = budget.measured_s.filter(|span| (1..budget.window_s / 2).contains(span));
    let measured = measured.map(Duration::from_secs).map(duration);
    let measured = measured.map(|span| format!(" (of which {span} are measured)"));
    let window = format!("{window}{}", measured.unwrap_or_default());
    if *left_ratio <= 0.0 {
        let over = match -left_ratio {
            times if times >= 2.0 => format!("{times:.0} times"),
            share => percent(share),
        };
        return format!("Budget of {slo}: gone, {over} over, in {window}");
    }
    let left = minutes(left_ratio * whole_minutes, *whole_minutes);
    let rate = |burn: f64| match age {
        Age::Fresh => format!("; at the last hour's rate ({burn:.1}x)"),
        Age::Old => format!("; at the rate of the hour before ({burn:.1}x)"),
    };
    let end = match (budget.gone_at, budget.burn_1h) {
        (Some(at), Some(burn)) => {
            let within = match age {
                Age::Fresh => format!("in {}, ", duration(at.since(now))),
                Age::Old => String::new(),
            };
            format!("{} it is gone {within}{}", rate(burn), time(at, now))
        }
        (None, Some(burn)) => format!("{} it lasts", rate(burn)),
        _ => String::new(),
    };
    format!("Budget of {slo}: {} left, {left} in {window}{end}", percent(*left_ratio))
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|c| c.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

fn footer(alert: &Alert) -> String {
    let labels: Vec<String> =
        alert.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!("{} · #{}", labels.join(" · "), alert.fingerprint().get(..6).unwrap_or_default())
}

fn buttons(lead: &Alert, notice: &Notice) -> Vec<Button> {
    let base = &notice.external_url;
    let example = evidence(lead).and_then(|evidence| evidence.request.as_ref());
    let request = example.map(|example| example.url.to_string());
    let slo = lead.labels.get("slo").or_else(|| lead.labels.get("sloth_slo"));
    let slo = slo.map(|name| format!("{base}/slos#{}", gotmpl::url_encode(name)));
    let runbook = lead.annotation("runbook_url").map(str::to_owned);
    let silence = lead.is_firing().then(|| silence_url(base, &lead.labels));
    [("Request", request), ("SLO", slo), ("Runbook", runbook), ("Silence", silence)]
        .into_iter()
        .filter_map(|(label, url)| Some(Button { label, url: url? }))
        // A link of another kind (`javascript:`) is none.
        .filter(|button| button.url.starts_with("http://") || button.url.starts_with("https://"))
        .collect()
}

/// The form for a silence, with the alert's labels as its matchers.
fn silence_url(base: &str, labels: &Labels) -> String {
    let matchers: Vec<String> =
        labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    let filter = format!("{{{}}}", matchers.join(", "));
    format!("{base}/silences/new?filter={}", gotmpl::url_encode(&filter))
}
