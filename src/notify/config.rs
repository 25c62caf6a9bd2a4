//! Alertmanager's configuration format: route tree, receivers, inhibition.
//!
//! What comes in is the text of a file; what goes out is a checked [`Config`] or every error with its
//! place. Receivers are read by `receivers`; what we do not do is refused by name: a route that silently
//! never sends is worse than no start.

mod kinds;
mod routes;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Deserialize;
use serde_saphyr::Spanned;

use routes::{RawInhibit, RawNamedIntervals, RawRoute};

use super::interval::TimeInterval;
use super::receivers::check::Files;
use super::receivers::raw::{RawGlobal, RawReceiver};
use super::receivers::{self, Receiver};
use crate::series::Matcher;
use crate::signal::shown::shown;
use crate::signal::{Diagnostic, Labels, Text};

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
    global: RawGlobal,
    route: Option<Spanned<RawRoute>>,
    #[serde(default)]
    receivers: Vec<Spanned<RawReceiver>>,
    #[serde(default)]
    inhibit_rules: Vec<Spanned<RawInhibit>>,
    #[serde(default)]
    templates: Vec<Spanned<String>>,
    #[serde(default)]
    time_intervals: Vec<Spanned<RawNamedIntervals>>,
    /// The former name of `time_intervals`.
    #[serde(default)]
    mute_time_intervals: Vec<Spanned<RawNamedIntervals>>,
    /// Alertmanager's own traces; ours go where the environment says.
    #[serde(rename = "tracing")]
    _tracing: Option<serde_json::Value>,
}

impl Config {
    /// One receiver for everything: what the demo uses.
    pub fn webhook(url: &str, group_interval: Duration) -> Self {
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
        let receiver = Receiver::webhook("page", url);
        Self { routes: vec![route], receivers: vec![receiver], ..Self::default() }
    }

    /// Reads Alertmanager's YAML; all errors at once.
    pub fn try_new(file: &str, text: &str, files: Files<'_>) -> Result<Self, Vec<Diagnostic>> {
        let raw: RawConfig = serde_saphyr::from_str(text)
            .map_err(|error| vec![Diagnostic::yaml(file, text, &error).without_secrets(text)])?;
        let mut checker = Checker {
            file,
            text,
            files,
            errors: Vec::new(),
            config: Self { shown: shown(text), ..Self::default() },
        };
        checker.check(raw);
        // Templates are files of their own, which hold no secrets.
        let masked = |error: Diagnostic| {
            if error.file == file { error.without_secrets(text) } else { error }
        };
        for receiver in &mut checker.config.receivers {
            let unsupported = std::mem::take(&mut receiver.unsupported);
            receiver.unsupported = unsupported.into_iter().map(masked).collect();
        }
        let errors: Vec<Diagnostic> = checker.errors.into_iter().map(masked).collect();
        if errors.is_empty() { Ok(checker.config) } else { Err(errors) }
    }

    /// The YAML that it was read from, with every secret masked.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// The names of the receivers that these labels lead to, in the order of the routes.
    pub fn receivers_of(&self, labels: &Labels) -> Vec<Text> {
        let receivers =
            self.routes_of(labels).filter_map(|route| self.receivers.get(route.receiver));
        receivers.map(|receiver| Text::clone(&receiver.name)).collect()
    }

    pub fn receivers(&self) -> &[Receiver] {
        &self.receivers
    }

    /// What the file asks for and we do not do: warnings of a check.
    pub fn unsupported(&self) -> impl Iterator<Item = &Diagnostic> {
        self.receivers.iter().flat_map(|receiver| &receiver.unsupported)
    }

    /// The part of it that a route leads to: nobody may start with a route that never sends.
    pub fn undeliverable(&self) -> Vec<Diagnostic> {
        let is_reached = |idx: usize| self.routes.iter().any(|route| route.receiver == idx);
        let reached = self.receivers.iter().enumerate().filter(|(idx, _)| is_reached(*idx));
        reached.flat_map(|(_, receiver)| &receiver.unsupported).cloned().collect()
    }
}

struct Checker<'a> {
    file: &'a str,
    text: &'a str,
    files: Files<'a>,
    errors: Vec<Diagnostic>,
    config: Config,
}

impl Checker<'_> {
    fn check(&mut self, raw: RawConfig) {
        if let Some(timeout) = self.duration(raw.global.resolve_timeout.as_ref()) {
            self.config.resolve_timeout = timeout;
        }
        for named in raw.time_intervals.iter().chain(&raw.mute_time_intervals) {
            self.intervals(named);
        }
        self.receivers(&raw);
        self.other_kinds(&raw.receivers);
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

    /// Receivers of kinds that we do not deliver to are good or bad as they are for Alertmanager.
    fn other_kinds(&mut self, receivers: &[Spanned<RawReceiver>]) {
        for kinds::Wrong { receiver, message } in kinds::wrong(self.text) {
            match receiver.and_then(|idx| receivers.get(idx)) {
                Some(receiver) => {
                    self.error(receiver, format!("receiver `{}`: {message}", receiver.value.name));
                }
                None => self.errors.push(Diagnostic::new(self.file, self.text, 0, 0, message)),
            }
        }
    }

    fn receivers(&mut self, raw: &RawConfig) {
        let mut reader =
            receivers::check::Reader::new(self.file, self.text, self.files, &raw.global);
        reader.templates(&raw.templates);
        for receiver in &raw.receivers {
            let name = receiver.value.name.as_str();
            if self.config.receivers.iter().any(|receiver| &*receiver.name == name) {
                self.error(receiver, format!("receiver `{name}` is there twice"));
            }
            self.config.receivers.push(reader.receiver(receiver));
        }
        self.errors.extend(reader.errors);
    }

    fn duration(&mut self, raw: Option<&Spanned<String>>) -> Option<Duration> {
        let raw = raw?;
        let parsed = crate::signal::parse_duration(&raw.value);
        if parsed.is_none() {
            self.error(raw, format!("`{}` is no duration; write 30s, 5m or 4h", raw.value));
        }
        parsed
    }

    fn error<T>(&mut self, place: &Spanned<T>, message: String) {
        self.errors.push(Diagnostic::at(self.file, self.text, &place.referenced, message));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_and_warnings_show_no_secret() {
        let read = |_: &str| Err(std::io::Error::from(std::io::ErrorKind::NotFound));
        let files = Files { read: &read, glob: &|_| Ok(Vec::new()) };
        for receiver in [
            "webhook_configs: [{url: SECRET}]",
            "webhook_configs: [{url: 'http://h/SECRET', signing_key: SECRET-}]",
            "webhook_configs:\n  - url: http://h/SECRET\n    timeout: soon",
            "slack_configs: [{api_url: 'http://h/SECRET', title: '{{'}]",
            "pagerduty_configs: [{routing_key: SECRET, url: nowhere}]",
            "sns_configs: [{sigv4: {secret_key: SECRET}}]",
            "webhook_configs: [{url: 'http://h', http_config: {authorization: SECRET}}]",
        ] {
            let text = format!("route: {{receiver: x}}\nreceivers:\n- name: x\n  {receiver}\n");
            let errors = match Config::try_new("am.yaml", &text, files) {
                Ok(config) => config.undeliverable(),
                Err(errors) => errors,
            };
            let shown: String = errors.iter().map(|error| format!("{error} {error:?}\n")).collect();
            assert!(!shown.is_empty() && !shown.contains("SECRET"), "{receiver}: {shown}");
        }
    }
}
