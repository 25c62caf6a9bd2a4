//! As written to checked: every value read, every error kept, none stops the others.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde_saphyr::{Location, Spanned};

use super::interpolate::interpolate;
use super::memory_limit::{MemoryLimit, memory_limit};
use super::raw::{
    RawAlertmanager, RawConfig, RawFields, RawFunction, RawQuery, RawQueue, RawRemoteWrite, Scalar,
    Section as _, Value, Values,
};
use super::{Config, Outside, Rules};
use crate::correlate::config::{Architecture, FlowConfig, FunctionConfig, QueueConfig};
use crate::forward::alertmanagers::Peer;
use crate::forward::endpoint::{self, Endpoint, Protocol};
use crate::signal::{Diagnostic, Labels, Text, parse_bytes, parse_duration};
use crate::{archive, correlate, normalize, notify, promql, series};

/// Where the daemon keeps what it was told.
pub(super) const DATA_DIR: &str = "./throughline-data";
const MEMORY_MAX: u64 = 512 << 20;
/// Less cannot hold the buffers of one large delivery beside the engine.
const MEMORY_MIN: u64 = 64 << 20;
/// What a daemon takes that holds nothing, about; of little memory no more than a quarter.
const IDLE_BYTES: u64 = 40 << 20;
const JOURNAL_SIZE_MAX: u64 = 8 << 30;
/// Less holds no delivery beside the snapshots, which would be taken with every record.
const JOURNAL_SIZE_MIN: u64 = 1 << 20;

/// Where a document comes from; relative paths in it are relative to `dir`.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) file: &'a str,
    pub(super) text: &'a str,
    pub(super) dir: &'a Path,
    /// An override by itself: what it needs of others may stand in the file.
    pub(super) is_part: bool,
    /// Their values have the places behind the lines of the text.
    pub(super) overrides: &'a [Override],
}

/// An override that was laid over a file.
pub(super) struct Override {
    /// Lines of the file and of overrides before it.
    pub(super) after: usize,
    /// As what its errors name it.
    pub(super) file: String,
    pub(super) text: String,
}

pub(super) fn check(
    raw: &RawConfig,
    source: Source<'_>,
    outside: &Outside<'_>,
) -> Result<Config, Vec<Diagnostic>> {
    let mut reader = Reader { source, outside, errors: Vec::new(), warnings: Vec::new() };
    let config = reader.config(raw);
    let mut unknown = Vec::new();
    raw.unknown(&mut unknown);
    unknown.into_iter().for_each(|key| reader.error_at(&key.place, &*key.message));
    reader.errors.sort_by_key(|error| (error.line, error.col));
    // Two settings may come from one value.
    reader.errors.dedup();
    if reader.errors.is_empty() { Ok(config) } else { Err(reader.errors) }
}

pub(super) struct Reader<'a> {
    pub(super) source: Source<'a>,
    pub(super) outside: &'a Outside<'a>,
    errors: Vec<Diagnostic>,
    warnings: Vec<String>,
}

impl Reader<'_> {
    fn config(&mut self, raw: &RawConfig) -> Config {
        if let Some(first) = raw.forward.otlp.iter().flatten().next() {
            self.error(first, "`forward.otlp` is not supported yet; leave it empty");
        }
        let process_bytes = self.memory_max(&raw.memory_max);
        let memory_max_bytes = process_bytes - IDLE_BYTES.min(process_bytes / 4);
        let correlate = self.correlate(raw, memory_max_bytes);
        let retention = self.duration_above_zero(&raw.series.retention);
        let retention = retention.unwrap_or(series::Config::default().retention);
        let tls = raw.tls.as_ref().and_then(|tls| self.tls(tls));
        let auth = self.auth(&raw.auth, tls.as_ref());
        let listen = self.listen(raw, tls.is_some(), &auth);
        self.together(raw, &listen, &correlate);
        Config {
            listen,
            external_url: self.external_url(&raw.listen.external_url),
            tls,
            auth,
            data_dir: self.path(&raw.data_dir).unwrap_or_else(|| PathBuf::from(DATA_DIR)),
            memory_max_bytes,
            normalize: normalize::Config { sample_age_max: retention, ..self.normalize(raw) },
            series: series::Config {
                retention,
                memory_max_bytes: memory_max_bytes / 5,
                size_max_bytes: self
                    .bytes(&raw.series.size_max)
                    .unwrap_or(series::Config::default().size_max_bytes),
                sampled_per_metric_max: self
                    .count(&raw.series.sampled_per_metric_max)
                    .unwrap_or(series::Config::default().sampled_per_metric_max),
                allowed_lateness: correlate.allowed_lateness,
                ..series::Config::default()
            },
            correlate,
            remote_write: raw
                .forward
                .remote_write
                .iter()
                .flatten()
                .filter_map(|endpoint| self.remote_write(endpoint))
                .collect(),
            query: self.query(&raw.query, process_bytes),
            archive: self.archive(raw),
            notify: self.notify(&raw.notify.config),
            journal_size_max_bytes: self.journal_size_max(&raw.journal.size_max),
            rules: self.rules(raw),
            collect: self.collect(raw),
            alertmanagers: raw
                .forward
                .alertmanagers
                .iter()
                .flatten()
                .filter_map(|peer| self.alertmanager(peer))
                .collect(),
            shown: Text::default(),
            warnings: std::mem::take(&mut self.warnings),
        }
    }

    /// Where nothing is said, what fits beside others where the kernel allows less than the default.
    fn memory_max(&mut self, value: &Value) -> u64 {
        let told = self.bytes(value);
        if let Some(value) = value.as_ref().filter(|_| told.is_some_and(|told| told < MEMORY_MIN)) {
            self.error(value, "memory_max must be 64MiB at least");
        }
        let limit = if self.source.is_part { None } else { memory_limit(self.outside.read) };
        let fitting = |limit: &MemoryLimit| (limit.bytes / 4 * 3).clamp(MEMORY_MIN, MEMORY_MAX);
        let chosen = told.unwrap_or_else(|| limit.as_ref().map_or(MEMORY_MAX, fitting));
        if let Some(limit) = limit.filter(|limit| limit.bytes < chosen) {
            self.warn(format!(
                "memory_max is {} MiB, but the kernel ends this process when it takes more than {} MiB ({})",
                chosen >> 20,
                limit.bytes >> 20,
                limit.told_by.display()
            ));
        }
        chosen
    }

    fn journal_size_max(&mut self, value: &Value) -> u64 {
        let chosen = self.bytes(value).unwrap_or(JOURNAL_SIZE_MAX);
        if let Some(value) = value.as_ref().filter(|_| chosen < JOURNAL_SIZE_MIN) {
            self.error(value, "journal.size_max must be 1MiB at least");
        }
        chosen
    }

    fn correlate(&mut self, raw: &RawConfig, memory_max_bytes: u64) -> correlate::Config {
        let defaults = correlate::Config::default();
        let written = &raw.correlate;
        let mut cost = defaults.cost.clone();
        let mut price = |value: &Value, default: &mut f64| {
            if let Some(chosen) = self.parse_with(value, "a price in USD, 0 or more", |text| {
                text.parse().ok().filter(|x: &f64| x.is_finite() && *x >= 0.0)
            }) {
                *default = chosen;
            }
        };
        price(&raw.cost.gb_second_usd.x86_64, &mut cost.gb_second_x86_64);
        price(&raw.cost.gb_second_usd.arm64, &mut cost.gb_second_arm64);
        price(&raw.cost.request_usd, &mut cost.request);
        correlate::Config {
            settle_after: self.duration(&written.settle_after).unwrap_or(defaults.settle_after),
            incomplete_after: self
                .duration(&written.incomplete_after)
                .unwrap_or(defaults.incomplete_after),
            retry_after: self.duration(&written.retry_after).unwrap_or(defaults.retry_after),
            allowed_lateness: self
                .duration(&written.allowed_lateness)
                .unwrap_or(defaults.allowed_lateness),
            joins_max: self.count(&written.joins_max).unwrap_or(defaults.joins_max),
            entries_max: self.count(&written.entries_max).unwrap_or(defaults.entries_max),
            hops_max: self.count(&written.hops_max).unwrap_or(defaults.hops_max),
            pending_max: self.duration(&written.pending_max).unwrap_or(defaults.pending_max),
            memory_max_bytes: memory_max_bytes / 2,
            cost,
            functions: raw
                .functions
                .iter()
                .flatten()
                .filter_map(|function| self.function(function))
                .collect(),
            queues: raw.queues.iter().flatten().filter_map(|queue| self.queue(queue)).collect(),
            flows: raw
                .flows
                .iter()
                .flatten()
                .filter_map(|flow| {
                    let matches = self.required(flow, &flow.value.r#match, "match")?;
                    Some(FlowConfig {
                        matches: matches.into(),
                        incomplete_after: self.duration(&flow.value.incomplete_after),
                    })
                })
                .collect(),
        }
    }

    fn function(&mut self, raw: &Spanned<RawFunction>) -> Option<FunctionConfig> {
        let name = self.required(raw, &raw.value.name, "name")?;
        let architecture =
            self.parse_with(&raw.value.architecture, "x86_64 or arm64", |text| match text {
                "x86_64" => Some(Architecture::X86_64),
                "arm64" => Some(Architecture::Arm64),
                _ => None,
            });
        Some(FunctionConfig {
            name: name.into(),
            timeout: self.duration(&raw.value.timeout),
            memory_bytes: self.bytes(&raw.value.memory),
            architecture: architecture.unwrap_or_default(),
        })
    }

    fn queue(&mut self, raw: &Spanned<RawQueue>) -> Option<QueueConfig> {
        let name = self.required(raw, &raw.value.name, "name")?;
        Some(QueueConfig {
            name: name.into(),
            dlq: self.text(&raw.value.dlq).map(Into::into),
            max_receive_count: self.parse_with(
                &raw.value.max_receive_count,
                "a whole number above 0",
                |text| text.parse().ok().filter(|n| *n > 0),
            ),
            visibility_timeout: self.duration(&raw.value.visibility_timeout),
            starts_request: self.parse(&raw.value.starts_request, "true or false").unwrap_or(false),
        })
    }

    fn normalize(&mut self, raw: &RawConfig) -> normalize::Config {
        let mut config = normalize::Config::default();
        let RawFields {
            correlation_id,
            function,
            invocation_id,
            timestamp,
            level,
            duration_ms,
            error,
            cold_start,
            sent_ids,
            received_ids,
            ..
        } = &raw.fields;
        for (written, field) in [
            (correlation_id, &mut config.fields.correlation_id),
            (function, &mut config.fields.function),
            (invocation_id, &mut config.fields.invocation_id),
            (timestamp, &mut config.fields.timestamp),
            (level, &mut config.fields.level),
            (duration_ms, &mut config.fields.duration_ms),
            (error, &mut config.fields.error),
            (cold_start, &mut config.fields.cold_start),
            (sent_ids, &mut config.fields.sent_ids),
            (received_ids, &mut config.fields.received_ids),
        ] {
            if written.is_some() {
                *field = self.texts(written);
            }
        }
        config.redact.drop = self.texts(&raw.redact.drop);
        config.redact.hash = self.texts(&raw.redact.hash);
        let key = self.secret(&raw.redact.hash_key, &raw.redact.hash_key_file);
        if let Some(first) = raw.redact.hash.iter().flatten().next().filter(|_| key.is_none()) {
            self.error(
                first,
                "`redact.hash` needs `hash_key_file`: without a key, anybody can try all values",
            );
        }
        config.redact.hash_key = key.unwrap_or_default().into_bytes();
        config
    }

    fn remote_write(&mut self, raw: &Spanned<RawRemoteWrite>) -> Option<Endpoint> {
        let url = self.required(raw, &raw.value.url, "url")?;
        if !url.starts_with("http://") && !url.starts_with("https://") {
            self.error(raw, "`url` must begin with http:// or https://");
        }
        let interval = self.duration(&raw.value.interval).unwrap_or(endpoint::INTERVAL);
        if let Some(written) = raw.value.interval.as_ref().filter(|_| interval.as_secs() == 0) {
            self.error(written, "`interval` must be 1s at least");
        }
        let mut labels = Vec::new();
        for (name, value) in raw.value.labels.iter().flatten() {
            let value = self.text(&Some(value.clone())).unwrap_or_default();
            labels.push((name.as_str().into(), value.into()));
        }
        let message = self.text(&raw.value.protobuf_message);
        let protocol = message.as_deref().map(Protocol::named);
        if let (Some(None), Some(written)) = (protocol, &raw.value.protobuf_message) {
            self.error(
                written,
                "`protobuf_message` is prometheus.WriteRequest or io.prometheus.write.v2.Request",
            );
        }
        let protocol = protocol.flatten().unwrap_or_default();
        let sends_native_histograms =
            self.parse(&raw.value.send_native_histograms, "true or false");
        Some(Endpoint {
            url,
            protocol,
            // The first version's receivers may refuse a whole request for them.
            sends_native_histograms: sends_native_histograms.unwrap_or(protocol == Protocol::V2),
            token: self.secret(&raw.value.token, &raw.value.token_file),
            interval,
            timeout: self.duration(&raw.value.timeout).unwrap_or(endpoint::TIMEOUT),
            labels: Labels::new(labels),
        })
    }

    fn query(&mut self, raw: &RawQuery, memory_max_bytes: u64) -> promql::limits::Limits {
        let defaults = promql::limits::Limits::for_memory(memory_max_bytes);
        promql::limits::Limits {
            timeout: self.duration_above_zero(&raw.timeout).unwrap_or(defaults.timeout),
            lookback: self.duration_above_zero(&raw.lookback).unwrap_or(defaults.lookback),
            samples_max: self.count(&raw.samples_max).unwrap_or(defaults.samples_max),
            series_max: self.count(&raw.series_max).unwrap_or(defaults.series_max),
            concurrent_max: self.count(&raw.concurrent_max).unwrap_or(defaults.concurrent_max),
            pool: defaults.pool,
        }
    }

    fn archive(&mut self, raw: &RawConfig) -> archive::Config {
        let defaults = archive::Config::default();
        let keep = &raw.archive.keep;
        archive::Config {
            errors: self.parse(&keep.errors, "true or false").unwrap_or(defaults.errors),
            slowest_per_flow: self
                .count(&keep.slowest_per_flow)
                .unwrap_or(defaults.slowest_per_flow),
            sample: self
                .parse_with(&keep.sample, "a share from 0 to 1", |text| {
                    text.parse().ok().filter(|x| (0.0..=1.0).contains(x))
                })
                .unwrap_or(defaults.sample),
            size_max_bytes: self.bytes(&raw.archive.size_max).unwrap_or(defaults.size_max_bytes),
            retention: self.duration(&raw.archive.retention).unwrap_or(defaults.retention),
        }
    }

    fn notify(&mut self, value: &Value) -> notify::Config {
        let (Some(written), Some(path)) = (value, self.path(value)) else {
            return notify::Config::default();
        };
        let text = match (self.outside.read)(&path) {
            Ok(text) => text,
            Err(error) => {
                self.error(written, format!("cannot read {}: {error}", path.display()));
                return notify::Config::default();
            }
        };
        let dir = path.parent().unwrap_or_else(|| Path::new("")).to_owned();
        let read = |file: &str| (self.outside.read)(&dir.join(file));
        let glob = |pattern: &str| {
            let found = (self.outside.glob)(&dir.join(pattern))?;
            let within =
                |path: &PathBuf| path.strip_prefix(&dir).unwrap_or(path).display().to_string();
            Ok(found.iter().map(within).collect())
        };
        let files = notify::Files { read: &read, glob: &glob };
        notify::Config::try_new(&path.display().to_string(), &text, files).unwrap_or_else(
            |errors| {
                self.errors.extend(errors);
                notify::Config::default()
            },
        )
    }

    fn alertmanager(&mut self, raw: &Spanned<RawAlertmanager>) -> Option<Peer> {
        let url = self.required(raw, &raw.value.url, "url")?;
        if !(url.starts_with("http://") || url.starts_with("https://")) {
            self.error(raw, "an Alertmanager's url begins with http:// or https://");
            return None;
        }
        let RawAlertmanager { token, token_file, external_labels, drop_labels, .. } = &raw.value;
        let label = |(name, value): (&String, &Spanned<Scalar>)| {
            Some((name.as_str().into(), self.text(&Some(value.clone()))?.into()))
        };
        let external_labels = external_labels.iter().flatten().filter_map(label).collect();
        let dropped = self.texts(drop_labels);
        Some(Peer {
            url,
            bearer: self.secret(token, token_file),
            external_labels,
            drop_labels: dropped.iter().map(|name| name.as_str().into()).collect(),
        })
    }

    fn rules(&mut self, raw: &RawConfig) -> Rules {
        let query_offset = self.text(&raw.rules.query_offset).filter(|text| text != "auto");
        let parsed = query_offset.as_deref().and_then(parse_duration);
        if let (Some(value), Some(_), None) = (&raw.rules.query_offset, &query_offset, parsed) {
            self.error(value, "query_offset is `auto` or a duration, as 30s");
        }
        Rules {
            files: self.files(&raw.rules.files),
            slo_files: self.files(&raw.slos.files),
            evaluation_interval: self
                .duration_above_zero(&raw.rules.evaluation_interval)
                .unwrap_or(Duration::from_secs(1)),
            query_offset: parsed,
        }
    }

    /// The texts of all files that a list of patterns names.
    fn files(&mut self, patterns: &Values) -> Vec<(String, String)> {
        let mut files = Vec::new();
        for pattern in patterns.iter().flatten() {
            let Some(path) = self.path(&Some(pattern.clone())) else { continue };
            match (self.outside.glob)(&path) {
                Ok(found) if found.is_empty() => self.error(pattern, "no file matches"),
                Ok(found) => {
                    for path in found {
                        match (self.outside.read)(&path) {
                            Ok(text) => files.push((path.display().to_string(), text)),
                            Err(error) => self
                                .error(pattern, format!("cannot read {}: {error}", path.display())),
                        }
                    }
                }
                Err(error) => {
                    self.error(pattern, format!("cannot list {}: {error}", path.display()));
                }
            }
        }
        files
    }

    /// A secret written in place, or read from a file.
    pub(super) fn secret(&mut self, value: &Value, file: &Value) -> Option<String> {
        let Some(written) = file else { return self.text(value) };
        let path = self.path(file)?;
        match (self.outside.read)(&path) {
            Ok(text) => Some(text.trim_end_matches(['\r', '\n']).to_owned()),
            Err(error) => {
                self.error(written, format!("cannot read {}: {error}", path.display()));
                None
            }
        }
    }

    pub(super) fn text(&mut self, value: &Value) -> Option<String> {
        let written = value.as_ref()?;
        match interpolate(&written.value.0, self.source.dir, self.outside) {
            Ok(text) => Some(text),
            Err(message) => {
                self.error(written, message);
                None
            }
        }
    }

    pub(super) fn texts(&mut self, values: &Values) -> Vec<String> {
        values.iter().flatten().filter_map(|value| self.text(&Some(value.clone()))).collect()
    }

    pub(super) fn required<T>(
        &mut self,
        parent: &Spanned<T>,
        value: &Value,
        key: &str,
    ) -> Option<String> {
        if value.is_none() {
            self.error(parent, format!("`{key}` is missing"));
        }
        self.text(value)
    }

    pub(super) fn path(&mut self, value: &Value) -> Option<PathBuf> {
        self.text(value).map(|path| self.source.dir.join(path))
    }

    pub(super) fn parse_with<T>(
        &mut self,
        value: &Value,
        what: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.text(value)?;
        let parsed = parse(&text);
        if let Some(written) = value.as_ref().filter(|_| parsed.is_none()) {
            // As it is written: what is filled in may be a secret.
            self.error(written, format!("`{}` is not {what}", written.value.0));
        }
        parsed
    }

    pub(super) fn parse<T: FromStr>(&mut self, value: &Value, what: &str) -> Option<T> {
        self.parse_with(value, what, |text| text.parse().ok())
    }

    pub(super) fn duration(&mut self, value: &Value) -> Option<Duration> {
        self.parse_with(value, "a duration, as 30s, 5m or 1h30m", parse_duration)
    }

    /// Of what does nothing, or nothing else, where it is 0.
    fn duration_above_zero(&mut self, value: &Value) -> Option<Duration> {
        self.parse_with(value, "a duration above 0, as 30s, 5m or 1h30m", |text| {
            parse_duration(text).filter(|duration| !duration.is_zero())
        })
    }

    pub(super) fn bytes(&mut self, value: &Value) -> Option<u64> {
        self.parse_with(value, "a size, as 512MiB or 10GB", parse_bytes)
    }

    pub(super) fn count(&mut self, value: &Value) -> Option<usize> {
        self.parse_with(value, "a whole number above 0", |text| {
            text.parse().ok().filter(|n| *n > 0)
        })
    }

    pub(super) fn error<T>(&mut self, place: &Spanned<T>, message: impl Into<String>) {
        self.error_at(&place.referenced, message);
    }

    fn error_at(&mut self, place: &Location, message: impl Into<String>) {
        let Source { file, text, overrides, .. } = self.source;
        let at = |number: u64| usize::try_from(number).unwrap_or(0);
        let (line, col) = (at(place.line()), at(place.column()));
        let over = overrides.iter().rfind(|over| over.after < line);
        let (file, text, after) =
            over.map_or((file, text, 0), |over| (&*over.file, &*over.text, over.after));
        let error = Diagnostic::new(file, text, line - after, col, message);
        self.errors.push(error.without_secrets(text));
    }

    /// An error that has no one place.
    pub(super) fn error_of_file(&mut self, message: impl Into<String>) {
        self.errors.push(Diagnostic::new(self.source.file, "", 0, 0, message));
    }

    pub(super) fn warn(&mut self, message: String) {
        self.warnings.push(message);
    }
}
