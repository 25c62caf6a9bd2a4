//! The route tree, inhibition rules and time intervals, as written to checked.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::{Checker, GROUP_INTERVAL, GroupBy, Inhibit, REPEAT_INTERVAL, ROUTE_DEPTH_MAX, Route};
use crate::notify::interval::{RawInterval, TimeInterval};
use crate::notify::{matchers, routing};
use crate::series::Matcher;
use crate::signal::Text;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRoute {
    pub(super) receiver: Option<Spanned<String>>,
    pub(super) group_by: Option<Vec<String>>,
    #[serde(default, rename = "continue")]
    pub(super) continues: bool,
    #[serde(default, rename = "match")]
    pub(super) equal: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) match_re: BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    pub(super) matchers: Vec<Spanned<String>>,
    pub(super) group_wait: Option<Spanned<String>>,
    pub(super) group_interval: Option<Spanned<String>>,
    pub(super) repeat_interval: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) mute_time_intervals: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) active_time_intervals: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) routes: Vec<Spanned<RawRoute>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawInhibit {
    #[serde(default)]
    pub(super) source_matchers: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) target_matchers: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) source_match: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) target_match: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) source_match_re: BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    pub(super) target_match_re: BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    pub(super) equal: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawNamedIntervals {
    pub(super) name: String,
    #[serde(default)]
    pub(super) time_intervals: Vec<Spanned<RawInterval>>,
}

/// What a route inherits from its parent.
#[derive(Clone)]
struct Inherited {
    /// The parent's key.
    path: String,
    receiver: Option<usize>,
    group_by: GroupBy,
    group_wait: Option<Duration>,
    group_interval: Duration,
    repeat_interval: Duration,
}

impl Checker<'_> {
    pub(super) fn intervals(&mut self, raw: &Spanned<RawNamedIntervals>) {
        let name = raw.value.name.as_str();
        if name.is_empty() {
            self.error(raw, "a time interval needs a `name`".to_owned());
        }
        if self.config.intervals.contains_key(name) {
            self.error(raw, format!("time interval `{name}` is there twice"));
        }
        let mut intervals = Vec::new();
        for one in &raw.value.time_intervals {
            match TimeInterval::try_new(&one.value) {
                Ok(interval) => intervals.push(interval),
                Err(message) => self.error(one, format!("time interval `{name}`: {message}")),
            }
        }
        self.config.intervals.insert(name.into(), intervals);
    }

    pub(super) fn inhibit(&mut self, rule: &Spanned<RawInhibit>) {
        let rule = &rule.value;
        let source =
            self.all_matchers(&rule.source_match, &rule.source_match_re, &rule.source_matchers);
        let target =
            self.all_matchers(&rule.target_match, &rule.target_match_re, &rule.target_matchers);
        let equal = rule.equal.iter().map(|name| name.as_str().into()).collect();
        self.config.inhibit.push(Inhibit { source, target, equal });
    }

    /// The route that takes every alert, and all below it.
    pub(super) fn root(&mut self, route: &Spanned<RawRoute>) {
        let RawRoute { equal, match_re, matchers, .. } = &route.value;
        if !(equal.is_empty() && match_re.is_empty() && matchers.is_empty()) {
            self.error(
                route,
                "the root route takes every alert: it cannot have matchers".to_owned(),
            );
        }
        if route.value.continues {
            self.error(route, "the root route has no siblings: it cannot `continue`".to_owned());
        }
        let RawRoute { mute_time_intervals, active_time_intervals, .. } = &route.value;
        if let Some(first) = mute_time_intervals.iter().chain(active_time_intervals).next() {
            self.error(
                first,
                "the root route cannot be muted; give the times to a route below".to_owned(),
            );
        }
        let inherited = Inherited {
            path: String::new(),
            receiver: None,
            group_by: GroupBy::Names(BTreeSet::new()),
            group_wait: None,
            group_interval: GROUP_INTERVAL,
            repeat_interval: REPEAT_INTERVAL,
        };
        self.route(route, inherited, 0);
    }

    fn route(
        &mut self,
        raw: &Spanned<RawRoute>,
        mut inherited: Inherited,
        depth: usize,
    ) -> Option<usize> {
        let route = &raw.value;
        if depth > ROUTE_DEPTH_MAX {
            self.error(raw, format!("routes nest deeper than {ROUTE_DEPTH_MAX}"));
            return None;
        }
        if let Some(name) = &route.receiver {
            inherited.receiver =
                self.config.receivers.iter().position(|receiver| *receiver.name == *name.value);
            if inherited.receiver.is_none() {
                self.error(name, format!("no receiver `{}` in `receivers`", name.value));
            }
        } else if depth == 0 {
            self.error(raw, "the root route needs a `receiver`".to_owned());
        }
        if let Some(names) = &route.group_by {
            inherited.group_by = self.group_by(raw, names);
        }
        inherited.group_wait = self.duration(route.group_wait.as_ref()).or(inherited.group_wait);
        inherited.group_interval =
            self.interval(route.group_interval.as_ref(), inherited.group_interval);
        inherited.repeat_interval =
            self.interval(route.repeat_interval.as_ref(), inherited.repeat_interval);
        let matchers = self.all_matchers(&route.equal, &route.match_re, &route.matchers);
        let index = self.config.routes.len();
        let key = route_key(&inherited.path, &matchers);
        let twins = self.config.routes.iter().filter(|other| *other.key == *key).count();
        let id = if twins == 0 { key.clone() } else { format!("{key}#{twins}") };
        inherited.path.clone_from(&key);
        let mute = self.interval_names(&route.mute_time_intervals);
        let active = self.interval_names(&route.active_time_intervals);
        self.config.routes.push(Route {
            key: key.into(),
            id: id.into(),
            mute,
            active,
            receiver: inherited.receiver.unwrap_or(0),
            matchers,
            group_by: inherited.group_by.clone(),
            group_wait: inherited.group_wait,
            group_interval: inherited.group_interval,
            repeat_interval: inherited.repeat_interval,
            continues: route.continues,
            children: Vec::new(),
        });
        let children = route
            .routes
            .iter()
            .filter_map(|child| self.route(child, inherited.clone(), depth + 1))
            .collect();
        if let Some(route) = self.config.routes.get_mut(index) {
            route.children = children;
        }
        Some(index)
    }

    fn group_by(&mut self, raw: &Spanned<RawRoute>, names: &[String]) -> GroupBy {
        let mut seen = BTreeSet::new();
        for name in names {
            if name.is_empty() {
                self.error(raw, "group_by: a label name cannot be empty".to_owned());
            }
            if !seen.insert(Text::from(name.as_str())) {
                self.error(raw, format!("group_by: `{name}` is there twice"));
            }
        }
        if !seen.contains("...") {
            return GroupBy::Names(seen);
        }
        if seen.len() > 1 {
            self.error(raw, "group_by: `...` means all labels and stands alone".to_owned());
        }
        GroupBy::All
    }

    fn interval_names(&mut self, names: &[Spanned<String>]) -> Vec<Text> {
        for name in names {
            if !self.config.intervals.contains_key(name.value.as_str()) {
                self.error(name, format!("no time interval `{}` in `time_intervals`", name.value));
            }
        }
        names.iter().map(|name| name.value.as_str().into()).collect()
    }

    /// A pause between messages, which cannot be nothing.
    fn interval(&mut self, raw: Option<&Spanned<String>>, inherited: Duration) -> Duration {
        let Some(interval) = self.duration(raw) else { return inherited };
        if let Some(raw) = raw.filter(|_| interval.is_zero()) {
            self.error(raw, "this interval cannot be zero".to_owned());
        }
        interval
    }

    fn all_matchers(
        &mut self,
        equal: &BTreeMap<String, String>,
        regex: &BTreeMap<String, Spanned<String>>,
        matchers: &[Spanned<String>],
    ) -> Vec<Matcher> {
        let mut all: Vec<Matcher> =
            equal.iter().map(|(name, value)| Matcher::equal(name, value)).collect();
        for (name, value) in regex {
            match Matcher::new(name, crate::series::MatchOp::Regex, &value.value) {
                Ok(matcher) => all.push(matcher),
                Err(error) => self.error(value, format!("bad regular expression: {error}")),
            }
        }
        for text in matchers {
            match matchers::parse(&text.value) {
                Ok(parsed) => all.extend(parsed),
                Err(message) => self.error(text, message),
            }
        }
        all
    }
}

/// `{}/{severity="page"}`: the matchers from the root to a route.
fn route_key(parent: &str, matchers: &[Matcher]) -> String {
    let own: Vec<String> = matchers.iter().map(routing::show).collect();
    let own = format!("{{{}}}", own.join(","));
    if parent.is_empty() { own } else { format!("{parent}/{own}") }
}
