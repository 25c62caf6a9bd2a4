//! Checked rules: what rule files become. Nothing here knows YAML or time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::RuleKey;
use super::template::Template;
use crate::promql::Query;
use crate::signal::{Fnv128, Text, Timestamp};

/// Rules that are evaluated together, in order, each seeing what those before it recorded.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) file: Text,
    pub(crate) name: Text,
    /// None: the configuration's.
    pub(crate) interval: Option<Duration>,
    /// None: the configuration's, or by the lateness of what a rule selects.
    pub(crate) query_offset: Option<Duration>,
    /// Alerts or series that one rule may give; 0 is no limit but [`Group::RESULTS_MAX`].
    pub(crate) limit: usize,
    /// Whether any of its rules is about alerts.
    pub(crate) reads_alerts: bool,
    pub(crate) rules: Vec<Rule>,
}

/// How many recordings may stand between a rule and what it is about.
const CHAIN_MAX: usize = 8;

/// A rule over recorded series is as late as what they are recorded from, so that is added to its
/// metrics.
pub(crate) fn follow_recordings(groups: &mut [Group]) {
    let mut sources: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for rule in groups.iter().flat_map(|group| &group.rules) {
        if matches!(rule.kind, Kind::Record) {
            sources.entry(rule.name.to_string()).or_default().extend(rule.metrics.iter().cloned());
        }
    }
    for rule in groups.iter_mut().flat_map(|group| &mut group.rules) {
        let mut all: BTreeSet<String> = rule.metrics.iter().cloned().collect();
        for _ in 0..CHAIN_MAX {
            let behind = all.iter().filter_map(|metric| sources.get(metric)).flatten();
            let more: BTreeSet<String> = behind.filter(|m| !all.contains(*m)).cloned().collect();
            if more.is_empty() {
                break;
            }
            all.extend(more);
        }
        rule.metrics = all.into_iter().collect();
    }
}

impl Group {
    /// Results of one rule, whatever its group says: a rule without aggregation over every request
    /// must not fill the memory.
    pub(crate) const RESULTS_MAX: usize = 10_000;

    /// Number of the interval in which `now` lies, counted from the epoch with a phase of the group's
    /// own, so that groups do not all run at once. A group of every tick has none: its evaluations lie
    /// where the ticks do, and a phase beside them would skip one whenever a tick is a moment early.
    pub(crate) fn tick(&self, now: Timestamp, interval: Duration) -> u64 {
        let length = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX).max(1);
        if interval <= super::TICK {
            return now.as_nanos() / length;
        }
        let hash = Fnv128::default().field(self.file.as_bytes()).field(self.name.as_bytes());
        let phase = u64::try_from(hash.finish() % u128::from(length)).unwrap_or(0);
        now.as_nanos().saturating_sub(phase) / length
    }

    pub(crate) fn key(&self) -> (Text, Text) {
        (Text::clone(&self.file), Text::clone(&self.name))
    }

    pub(crate) fn results_max(&self) -> usize {
        if self.limit == 0 { Self::RESULTS_MAX } else { self.limit.min(Self::RESULTS_MAX) }
    }
}

/// One rule. Its key is its own: a second rule of the same name in a group has another.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) key: RuleKey,
    /// `alert` or `record` as the file has it.
    pub(crate) name: Text,
    pub(crate) query: Query,
    /// Metrics that the query names, and those that they are recorded from: their lateness is the
    /// rule's.
    pub(crate) metrics: Vec<String>,
    /// The group's labels and the rule's own, sorted by name.
    pub(crate) labels: Vec<(Text, Template)>,
    pub(crate) kind: Kind,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Alert(Alerting),
    Record,
}

/// What only alerting rules have.
#[derive(Clone, Debug)]
pub(crate) struct Alerting {
    pub(crate) ages: Ages,
    pub(crate) annotations: Vec<(Text, Template)>,
}

/// How long an expression must hold before an alert fires, and how long an alert stays after.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ages {
    /// `for`.
    pub(crate) hold: Duration,
    pub(crate) keep_firing: Duration,
}
