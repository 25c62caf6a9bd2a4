//! Alertmanager's configuration format: route tree, receivers, inhibition.
//!
//! What comes in is the text of a file; what goes out is a checked [`Config`] or every error with its
//! place. What we do not do yet (other notifiers, time intervals, template files) is refused by name:
//! a route that silently never sends is worse than no start.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::matchers;
use super::secret::Secret;
use crate::series::Matcher;
use crate::signal::{Diagnostic, Text};

/// `group_wait` of a route that does not say (Alertmanager's default).
const GROUP_WAIT: Duration = Duration::from_secs(30);
/// `group_interval` of a route that does not say (Alertmanager's default).
const GROUP_INTERVAL: Duration = Duration::from_mins(5);
/// `repeat_interval` of a route that does not say (Alertmanager's default).
const REPEAT_INTERVAL: Duration = Duration::from_hours(4);
/// Routes may nest this deep; deeper trees are refused, not recursed into.
const ROUTE_DEPTH_MAX: usize = 32;

/// A checked configuration. The routes are a flat list; a parent stands before its children.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    pub(crate) routes: Vec<Route>,
    pub(crate) receivers: Vec<Receiver>,
    pub(crate) inhibit: Vec<Inhibit>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Route {
    pub(crate) receiver: usize,
    pub(crate) matchers: Vec<Matcher>,
    pub(crate) group_by: GroupBy,
    /// None: 30 s, but nothing for an alert of `severity="page"`.
    pub(crate) group_wait: Option<Duration>,
    pub(crate) group_interval: Duration,
    pub(crate) repeat_interval: Duration,
    pub(crate) continues: bool,
    pub(crate) children: Vec<usize>,
}

impl Route {
    /// How long the first alert of a group waits for others.
    pub(crate) fn wait(&self, severity: Option<&str>) -> Duration {
        self.group_wait.unwrap_or(if severity == Some("page") {
            Duration::ZERO
        } else {
            GROUP_WAIT
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum GroupBy {
    /// `group_by: ['...']`: every alert is its own group.
    All,
    Names(BTreeSet<Text>),
}

/// A named set of notifiers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receiver {
    pub name: Text,
    pub notifiers: Vec<Arc<Notifier>>,
}

/// One way to reach people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notifier {
    /// Whether it is told when alerts end.
    pub send_resolved: bool,
    pub to: To,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    Webhook(Webhook),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    pub url: Secret,
    /// Alerts in one message; 0 is no limit.
    pub max_alerts: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Inhibit {
    pub(crate) source: Vec<Matcher>,
    pub(crate) target: Vec<Matcher>,
    pub(crate) equal: Vec<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConfig {
    #[serde(default)]
    global: Option<serde_json::Value>,
    route: Option<Spanned<RawRoute>>,
    #[serde(default)]
    receivers: Vec<Spanned<RawReceiver>>,
    #[serde(default)]
    inhibit_rules: Vec<Spanned<RawInhibit>>,
    templates: Option<Spanned<Vec<String>>>,
    #[serde(default)]
    time_intervals: Option<Spanned<serde_json::Value>>,
    #[serde(default)]
    mute_time_intervals: Option<Spanned<serde_json::Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRoute {
    receiver: Option<Spanned<String>>,
    group_by: Option<Vec<String>>,
    #[serde(default, rename = "continue")]
    continues: bool,
    #[serde(default, rename = "match")]
    equal: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    match_re: std::collections::BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    matchers: Vec<Spanned<String>>,
    group_wait: Option<Spanned<String>>,
    group_interval: Option<Spanned<String>>,
    repeat_interval: Option<Spanned<String>>,
    mute_time_intervals: Option<Spanned<Vec<String>>>,
    active_time_intervals: Option<Spanned<Vec<String>>>,
    #[serde(default)]
    routes: Vec<Spanned<RawRoute>>,
}

#[derive(Deserialize)]
struct RawReceiver {
    name: String,
    #[serde(default)]
    webhook_configs: Vec<Spanned<RawWebhook>>,
    #[serde(flatten)]
    others: std::collections::BTreeMap<String, serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWebhook {
    url: Option<String>,
    url_file: Option<String>,
    #[serde(default = "yes")]
    send_resolved: bool,
    #[serde(default)]
    max_alerts: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawInhibit {
    #[serde(default)]
    source_matchers: Vec<Spanned<String>>,
    #[serde(default)]
    target_matchers: Vec<Spanned<String>>,
    #[serde(default)]
    source_match: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    target_match: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    source_match_re: std::collections::BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    target_match_re: std::collections::BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    equal: Vec<String>,
}

const fn yes() -> bool {
    true
}

impl Config {
    /// One receiver for everything: what the demo uses.
    pub fn webhook(url: &str, group_interval: Duration) -> Self {
        let to = To::Webhook(Webhook { url: Secret::new(url), max_alerts: 0 });
        let notifier = Arc::new(Notifier { send_resolved: true, to });
        let route = Route {
            receiver: 0,
            matchers: Vec::new(),
            group_by: GroupBy::Names(["alertname".into()].into()),
            group_wait: Some(Duration::ZERO),
            group_interval,
            repeat_interval: REPEAT_INTERVAL,
            continues: false,
            children: Vec::new(),
        };
        let receiver = Receiver { name: "page".into(), notifiers: vec![notifier] };
        Self { routes: vec![route], receivers: vec![receiver], inhibit: Vec::new() }
    }

    /// Reads Alertmanager's YAML; all errors at once. `read` gives the text of a `url_file`.
    pub fn try_new(
        file: &str,
        text: &str,
        read: &dyn Fn(&str) -> std::io::Result<String>,
    ) -> Result<Self, Vec<Diagnostic>> {
        let raw: RawConfig = serde_saphyr::from_str(text)
            .map_err(|error| vec![Diagnostic::yaml(file, text, &error)])?;
        let mut checker = Checker { file, text, read, errors: Vec::new(), config: Self::default() };
        checker.check(raw);
        if checker.errors.is_empty() { Ok(checker.config) } else { Err(checker.errors) }
    }

    pub fn receivers(&self) -> &[Receiver] {
        &self.receivers
    }
}

/// What a route inherits from its parent.
#[derive(Clone)]
struct Inherited {
    receiver: Option<usize>,
    group_by: GroupBy,
    group_wait: Option<Duration>,
    group_interval: Duration,
    repeat_interval: Duration,
}

struct Checker<'a> {
    file: &'a str,
    text: &'a str,
    read: &'a dyn Fn(&str) -> std::io::Result<String>,
    errors: Vec<Diagnostic>,
    config: Config,
}

impl Checker<'_> {
    fn check(&mut self, raw: RawConfig) {
        // Everything global is a default of notifiers that we refuse by name, or a timeout of scraping
        // senders that we do not have.
        drop(raw.global);
        self.unsupported(raw.time_intervals.as_ref(), "time_intervals");
        self.unsupported(raw.mute_time_intervals.as_ref(), "mute_time_intervals");
        self.unsupported(
            raw.templates.as_ref().filter(|templates| !templates.value.is_empty()),
            "templates",
        );
        for receiver in &raw.receivers {
            self.receiver(receiver);
        }
        for rule in &raw.inhibit_rules {
            let source = self.all_matchers(
                &rule.value.source_match,
                &rule.value.source_match_re,
                &rule.value.source_matchers,
            );
            let target = self.all_matchers(
                &rule.value.target_match,
                &rule.value.target_match_re,
                &rule.value.target_matchers,
            );
            let equal = rule.value.equal.iter().map(|name| name.as_str().into()).collect();
            self.config.inhibit.push(Inhibit { source, target, equal });
        }
        let Some(route) = raw.route else {
            self.errors.push(Diagnostic::new(
                self.file,
                self.text,
                1,
                1,
                "no `route`: say at least `route: {receiver: NAME}`",
            ));
            return;
        };
        if !(route.value.equal.is_empty()
            && route.value.match_re.is_empty()
            && route.value.matchers.is_empty())
        {
            self.error(
                &route,
                "the root route takes every alert: it cannot have matchers".to_owned(),
            );
        }
        let inherited = Inherited {
            receiver: None,
            group_by: GroupBy::Names(BTreeSet::new()),
            group_wait: None,
            group_interval: GROUP_INTERVAL,
            repeat_interval: REPEAT_INTERVAL,
        };
        self.route(&route, inherited, 0);
    }

    fn receiver(&mut self, raw: &Spanned<RawReceiver>) {
        let name = raw.value.name.as_str();
        if self.config.receivers.iter().any(|receiver| &*receiver.name == name) {
            self.error(raw, format!("receiver `{name}` is there twice"));
        }
        for other in raw.value.others.keys() {
            self.error(
                raw,
                format!("receiver `{name}`: `{other}` is not supported yet; use webhook_configs"),
            );
        }
        let notifiers = raw
            .value
            .webhook_configs
            .iter()
            .filter_map(|webhook| self.webhook(name, webhook))
            .collect();
        self.config.receivers.push(Receiver { name: name.into(), notifiers });
    }

    fn webhook(&mut self, receiver: &str, raw: &Spanned<RawWebhook>) -> Option<Arc<Notifier>> {
        let url = match (&raw.value.url, &raw.value.url_file) {
            (Some(url), None) => url.clone(),
            (None, Some(path)) => match (self.read)(path) {
                Ok(url) => url.trim().to_owned(),
                Err(error) => {
                    self.error(raw, format!("receiver `{receiver}`: url_file {path}: {error}"));
                    return None;
                }
            },
            _ => {
                self.error(
                    raw,
                    format!("receiver `{receiver}`: a webhook needs one of `url` and `url_file`"),
                );
                return None;
            }
        };
        if !(url.starts_with("http://") || url.starts_with("https://")) {
            self.error(
                raw,
                format!("receiver `{receiver}`: a webhook's url begins with http:// or https://"),
            );
            return None;
        }
        let to = To::Webhook(Webhook { url: Secret::new(&url), max_alerts: raw.value.max_alerts });
        Some(Arc::new(Notifier { send_resolved: raw.value.send_resolved, to }))
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
        self.unsupported(route.mute_time_intervals.as_ref(), "mute_time_intervals");
        self.unsupported(route.active_time_intervals.as_ref(), "active_time_intervals");
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
            let all = names.iter().any(|name| name == "...");
            inherited.group_by = if all {
                GroupBy::All
            } else {
                GroupBy::Names(names.iter().map(|name| name.as_str().into()).collect())
            };
        }
        inherited.group_wait = self.duration(route.group_wait.as_ref()).or(inherited.group_wait);
        inherited.group_interval =
            self.duration(route.group_interval.as_ref()).unwrap_or(inherited.group_interval);
        inherited.repeat_interval =
            self.duration(route.repeat_interval.as_ref()).unwrap_or(inherited.repeat_interval);
        let matchers = self.all_matchers(&route.equal, &route.match_re, &route.matchers);
        let index = self.config.routes.len();
        self.config.routes.push(Route {
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

    fn all_matchers(
        &mut self,
        equal: &std::collections::BTreeMap<String, String>,
        regex: &std::collections::BTreeMap<String, Spanned<String>>,
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

    fn duration(&mut self, raw: Option<&Spanned<String>>) -> Option<Duration> {
        let raw = raw?;
        let parsed = crate::signal::parse_duration(&raw.value);
        if parsed.is_none() {
            self.error(raw, format!("`{}` is no duration; write 30s, 5m or 4h", raw.value));
        }
        parsed
    }

    fn unsupported<T>(&mut self, raw: Option<&Spanned<T>>, key: &str) {
        if let Some(raw) = raw {
            self.error(raw, format!("`{key}` is not supported yet; remove it"));
        }
    }

    fn error<T>(&mut self, place: &Spanned<T>, message: String) {
        self.errors.push(Diagnostic::at(self.file, self.text, &place.referenced, message));
    }
}
