//! Alertmanager's configuration format: route tree, receivers, inhibition.
//!
//! What comes in is the text of a file; what goes out is a checked [`Config`] or every error with its
//! place. What we do not do yet (other notifiers, template files) is refused by name:
//! a route that silently never sends is worse than no start.

mod routes;
mod shown;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_saphyr::Spanned;

use routes::{RawInhibit, RawNamedIntervals, RawRoute};

use super::interval::TimeInterval;
use super::secret::Secret;
use crate::series::Matcher;
use crate::signal::{Diagnostic, Text};

/// `group_wait` of a route that does not say (Alertmanager's default).
const GROUP_WAIT: Duration = Duration::from_secs(30);
/// `group_interval` of a route that does not say (Alertmanager's default).
const GROUP_INTERVAL: Duration = Duration::from_mins(5);
/// `repeat_interval` of a route that does not say (Alertmanager's default).
const REPEAT_INTERVAL: Duration = Duration::from_hours(4);
/// `global.resolve_timeout` where it is not said (Alertmanager's default).
const RESOLVE_TIMEOUT: Duration = Duration::from_mins(5);
/// Routes may nest this deep; deeper trees are refused, not recursed into.
const ROUTE_DEPTH_MAX: usize = 32;

/// A checked configuration. The routes are a flat list; a parent stands before its children.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub(crate) routes: Vec<Route>,
    pub(crate) receivers: Vec<Receiver>,
    pub(crate) inhibit: Vec<Inhibit>,
    /// By name.
    pub(crate) intervals: BTreeMap<Text, Vec<TimeInterval>>,
    /// How long an alert holds that was posted without an end.
    pub(crate) resolve_timeout: Duration,
    /// As it was written, without its secrets.
    shown: Text,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            routes: Vec::new(),
            receivers: Vec::new(),
            inhibit: Vec::new(),
            intervals: BTreeMap::new(),
            resolve_timeout: RESOLVE_TIMEOUT,
            shown: Text::default(),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Route {
    /// The matchers from the root to here, `{}/{severity="page"}`: Alertmanager's key of a route.
    pub(crate) key: Text,
    /// The key, made unique among routes with the same matchers.
    pub(crate) id: Text,
    pub(crate) receiver: usize,
    pub(crate) matchers: Vec<Matcher>,
    pub(crate) group_by: GroupBy,
    /// None: 30 s, but nothing for an alert of `severity="page"`.
    pub(crate) group_wait: Option<Duration>,
    pub(crate) group_interval: Duration,
    pub(crate) repeat_interval: Duration,
    pub(crate) continues: bool,
    /// Names of time intervals during which it says nothing.
    pub(crate) mute: Vec<Text>,
    /// Names of the time intervals during which alone it speaks; none: always.
    pub(crate) active: Vec<Text>,
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

impl Receiver {
    pub(crate) fn n_notifiers(&self) -> usize {
        self.notifiers.len()
    }

    /// Whether the notifier at this position wants to hear of an end.
    pub(crate) fn sends_resolved(&self, position: usize) -> bool {
        self.notifiers.get(position).is_some_and(|notifier| notifier.send_resolved)
    }
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
    global: Option<RawGlobal>,
    route: Option<Spanned<RawRoute>>,
    #[serde(default)]
    receivers: Vec<Spanned<RawReceiver>>,
    #[serde(default)]
    inhibit_rules: Vec<Spanned<RawInhibit>>,
    templates: Option<Spanned<Vec<String>>>,
    #[serde(default)]
    time_intervals: Vec<Spanned<RawNamedIntervals>>,
    /// The former name of `time_intervals`.
    #[serde(default)]
    mute_time_intervals: Vec<Spanned<RawNamedIntervals>>,
}

/// What notifiers take from here is read where they are.
#[derive(Deserialize)]
struct RawGlobal {
    resolve_timeout: Option<Spanned<String>>,
}

#[derive(Deserialize)]
struct RawReceiver {
    name: String,
    #[serde(default)]
    webhook_configs: Vec<Spanned<RawWebhook>>,
    #[serde(flatten)]
    others: BTreeMap<String, serde_json::Value>,
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

const fn yes() -> bool {
    true
}

impl Config {
    /// One receiver for everything: what the demo uses.
    pub fn webhook(url: &str, group_interval: Duration) -> Self {
        let to = To::Webhook(Webhook { url: Secret::new(url), max_alerts: 0 });
        let notifier = Arc::new(Notifier { send_resolved: true, to });
        let route = Route {
            key: "{}".into(),
            id: "{}".into(),
            receiver: 0,
            matchers: Vec::new(),
            group_by: GroupBy::Names(["alertname".into()].into()),
            group_wait: Some(Duration::ZERO),
            group_interval,
            repeat_interval: REPEAT_INTERVAL,
            continues: false,
            mute: Vec::new(),
            active: Vec::new(),
            children: Vec::new(),
        };
        let receiver = Receiver { name: "page".into(), notifiers: vec![notifier] };
        Self { routes: vec![route], receivers: vec![receiver], ..Self::default() }
    }

    /// Reads Alertmanager's YAML; all errors at once. `read` gives the text of a `url_file`.
    pub fn try_new(
        file: &str,
        text: &str,
        read: &dyn Fn(&str) -> std::io::Result<String>,
    ) -> Result<Self, Vec<Diagnostic>> {
        let raw: RawConfig = serde_saphyr::from_str(text)
            .map_err(|error| vec![Diagnostic::yaml(file, text, &error)])?;
        let mut checker = Checker {
            file,
            text,
            read,
            errors: Vec::new(),
            config: Self { shown: shown::shown(text), ..Self::default() },
        };
        checker.check(raw);
        if checker.errors.is_empty() { Ok(checker.config) } else { Err(checker.errors) }
    }

    /// The YAML that it was read from, with every secret masked.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    pub fn receivers(&self) -> &[Receiver] {
        &self.receivers
    }
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
        let global = raw.global.as_ref();
        if let Some(timeout) =
            self.duration(global.and_then(|global| global.resolve_timeout.as_ref()))
        {
            self.config.resolve_timeout = timeout;
        }
        for named in raw.time_intervals.iter().chain(&raw.mute_time_intervals) {
            self.intervals(named);
        }
        self.unsupported(
            raw.templates.as_ref().filter(|templates| !templates.value.is_empty()),
            "templates",
        );
        for receiver in &raw.receivers {
            self.receiver(receiver);
        }
        for rule in &raw.inhibit_rules {
            self.inhibit(rule);
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
        self.root(&route);
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
