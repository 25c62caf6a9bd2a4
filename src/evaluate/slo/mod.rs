//! SLO files to rules: OpenSLO v1, Sloth's `prometheus/v1`, and a short form of our own.
//!
//! Text comes in; Prometheus rules (as YAML text, so that every consumer reads the same), objectives
//! and warnings go out. What a format can say and we cannot do is refused by name, never left out.

mod alert_windows;
mod burn;
mod calendar;
mod document;
mod open_slo;
mod print;
mod short_form;
mod short_rules;
mod sloth;
pub(crate) mod state;
#[cfg(test)]
#[expect(clippy::needless_raw_string_hashes, reason = "expect_test writes its texts so")]
mod tests;

use std::fmt::Write as _;
use std::time::Duration;

use self::burn::Windows;
use self::calendar::Calendar;
use self::document::{Document, Format};
use self::print::RuleGroup;
use crate::evaluate::Select;
use crate::measure::{Objective, Sli};
use crate::signal::{Diagnostic, Text, Timestamp, format_duration};

/// One objective, as pages show it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Slo {
    pub(crate) name: Text,
    pub(crate) service: Text,
    /// Percent of good events, above 0 and below 100.
    pub(crate) objective: f64,
    pub(crate) windows: Windows,
    /// Where periods begin, for one that is not rolling.
    pub(crate) calendar: Option<Calendar>,
    pub(crate) source: Source,
}

/// What tells good events from bad ones.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Source {
    /// Our own counters, exact at the objective's threshold.
    Counters(Sli),
    /// Two sums of the daemon's other counters: bad events and all.
    Series { bad: Vec<Counter>, all: Vec<Counter> },
    /// A query of the error ratio; `{{.window}}` stands for the window.
    Query(String),
}

impl Source {
    /// What is counted, as the short form calls it; `query` where only a query tells.
    fn kind(&self) -> &'static str {
        match self {
            Self::Counters(Sli::Availability { .. }) => "availability",
            Self::Counters(Sli::Latency { .. }) => "latency",
            Self::Counters(Sli::Completeness { .. }) => "completeness",
            Self::Counters(Sli::Freshness { .. }) => "freshness",
            Self::Series { bad, all } if bad == all => "zero_tolerance",
            Self::Series { .. } => "throttles",
            Self::Query(_) => "query",
        }
    }

    /// Up to where time is good.
    fn threshold(&self) -> Option<Duration> {
        let Self::Counters(Sli::Latency { threshold, .. } | Sli::Freshness { threshold, .. }) =
            self
        else {
            return None;
        };
        Some(*threshold)
    }
}

/// Counters with these labels, added up.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Counter {
    pub(crate) metric: &'static str,
    pub(crate) labels: Vec<(&'static str, String)>,
}

impl Slo {
    /// The share of events that may be bad.
    pub(crate) fn error_budget(&self) -> f64 {
        (100.0 - self.objective) / 100.0
    }

    /// Its entry of `/api/slos`.
    pub(crate) fn state_json(&self, now: Timestamp, select: &Select<'_>) -> serde_json::Value {
        state::json(self, now, select)
    }

    /// What the daemon must count for it.
    pub(crate) fn objective(&self) -> Option<Objective> {
        let Source::Counters(sli) = &self.source else { return None };
        Some(Objective {
            slo: Text::clone(&self.name),
            service: Text::clone(&self.service),
            sli: sli.clone(),
        })
    }
}

/// What one file became.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Loaded {
    /// A Prometheus rule file.
    pub(crate) rules: String,
    pub(crate) slos: Vec<Slo>,
    pub(crate) warnings: Vec<Diagnostic>,
}

/// For whom rules are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    /// This daemon: ratios without traffic are not recorded, so that no NaN enters a sum.
    Daemon,
    /// Another Prometheus: for Sloth specs, what Sloth itself would generate.
    File,
}

/// What compiling gathers.
#[derive(Debug, Default)]
struct Compiled {
    groups: Vec<RuleGroup>,
    slos: Vec<Slo>,
    warnings: Vec<Diagnostic>,
    errors: Vec<Diagnostic>,
}

/// Compiles files, given as (name, text), for this daemon: for each what it became, or its errors.
/// Windows of any file are those of all Sloth specs.
pub(crate) fn load(files: &[(String, String)]) -> Vec<Result<Loaded, Vec<Diagnostic>>> {
    let run = Run { target: Target::Daemon, sloth: sloth_windows(files, None) };
    let compiled = files.iter().map(|(name, text)| compile(name, text, &run));
    let loaded = |compiled: Compiled| {
        let Compiled { groups, slos, warnings, errors } = compiled;
        let rules = print::rule_file(&groups);
        if errors.is_empty() { Ok(Loaded { rules, slos, warnings }) } else { Err(errors) }
    };
    compiled.map(loaded).collect()
}

/// Prometheus rules, as one YAML file, from SLO files given as (name, text). Warnings stand at its
/// head as comments. `period` is the window of Sloth specs, which name none; None: that of an
/// `AlertWindows` document, or 30 days.
///
/// # Errors
/// Everything that is wrong with any of the files.
pub fn generate(
    files: &[(String, String)],
    period: Option<Duration>,
) -> Result<String, Vec<Diagnostic>> {
    let run = Run { target: Target::File, sloth: sloth_windows(files, period) };
    let mut all = Compiled::default();
    for (name, text) in files {
        let compiled = compile(name, text, &run);
        all.groups.extend(compiled.groups);
        all.warnings.extend(compiled.warnings);
        all.errors.extend(compiled.errors);
    }
    if !all.errors.is_empty() {
        return Err(all.errors);
    }
    let mut text =
        "# Generated by `throughline slo generate`; edit the SLO file instead.\n".to_owned();
    for Diagnostic { file, line, message, .. } in &all.warnings {
        let _ = writeln!(text, "# warning: {file}:{line}: {message}");
    }
    text.push_str(&print::rule_file(&all.groups));
    Ok(text)
}

/// What all files of one run share.
#[derive(Debug)]
struct Run {
    target: Target,
    /// Windows of Sloth specs.
    sloth: Windows,
}

/// The windows of an `AlertWindows` document for the period, the workbook's where there is none.
/// Errors are told where the document is compiled.
fn sloth_windows(files: &[(String, String)], period: Option<Duration>) -> Windows {
    let mut documents = files.iter().flat_map(|(name, text)| document::split(name, text).0);
    let found = documents.find_map(|document| {
        let windows = (document.format() == Format::AlertWindows)
            .then(|| alert_windows::read(&document).ok())??;
        period.is_none_or(|period| period == windows.period).then_some(windows)
    });
    found.unwrap_or_else(|| Windows::of(period.unwrap_or(sloth::WINDOW)))
}

fn compile(file: &str, text: &str, run: &Run) -> Compiled {
    let mut out = Compiled::default();
    let (documents, errors) = document::split(file, text);
    out.errors.extend(errors);
    let shared = open_slo::Shared::read(&documents, &mut out.errors);
    for document in &documents {
        match document.format() {
            Format::Sloth => sloth::compile(document, run, &mut out),
            Format::OpenSlo => open_slo::compile(document, &shared, &mut out),
            Format::Short => short_form::compile(document, &mut out),
            Format::AlertWindows => out.errors.extend(alert_windows::read(document).err()),
            Format::Unknown(what) => {
                let known = "`version: prometheus/v1` (Sloth), `apiVersion: openslo/v1` and `kind: throughline/v1`";
                let message = format!("{what}; the formats are {known}");
                out.errors.push(document.error_at_start(message));
            }
        }
    }
    // Two objectives of one name would share counters and alerts.
    let mut seen = std::collections::BTreeSet::new();
    for slo in &out.slos {
        if !seen.insert((Text::clone(&slo.service), Text::clone(&slo.name))) {
            let message = format!("the SLO `{}` of `{}` is defined twice", slo.name, slo.service);
            out.errors.push(Diagnostic::new(file, text, 0, 0, message));
        }
    }
    out
}

impl Document<'_> {
    /// Warns about burn rates that no error ratio can reach: 14.4 times a budget of 10 % is more than
    /// everything.
    fn warn_unreachable(&self, place: &serde_saphyr::Location, slo: &Slo, out: &mut Compiled) {
        for pair in &slo.windows.pairs {
            if pair.factor * slo.error_budget() >= 1.0 {
                let message = format!(
                    "the {} of `{}` for {} can never fire: {} times the error budget of {} is more than all events",
                    pair.severity,
                    slo.name,
                    format_duration(pair.long),
                    pair.factor,
                    slo.error_budget()
                );
                out.warnings.push(self.error(place, message));
            }
        }
    }
}
