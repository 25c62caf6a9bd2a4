//! Config: a file to as-written to checked.
//!
//! What comes in: the text of one YAML file (all of it optional) and `--set key=value` overrides. What
//! goes out: a [`Config`] that composes every stage's own, or every error at once with its place.
//! Never does a value change the structure: `${env:…}` and `${file:…}` are filled in after parsing.

mod check;
mod check_auth;
mod collected;
mod interpolate;
mod memory_limit;
mod raw;
pub mod reference;
#[cfg(test)]
mod tests;
mod together;

use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::forward::alertmanagers::Peer;
use crate::forward::endpoint::Endpoint;
use crate::number::u64_from_usize;
use crate::receive::pubsub_oidc;
use crate::receive::reach::Reach;
use crate::receive::signature::Signer;
use crate::signal::shown::shown;
use crate::signal::{Diagnostic, SecretHash, Text};
use crate::{archive, collect, correlate, listen, normalize, notify, promql, series};

/// Everything that the daemon needs to know. Private to build, public to read.
#[derive(Clone, Debug)]
pub struct Config {
    pub listen: Listen,
    /// Where links lead that others follow; None: to the web listener.
    pub external_url: Option<String>,
    pub data_dir: PathBuf,
    /// What the stages share, `memory_max` less what an idle daemon takes: half for correlating, a fifth for
    /// series, the rest for deliveries.
    pub memory_max_bytes: u64,
    pub correlate: correlate::Config,
    pub normalize: normalize::Config,
    pub series: series::Config,
    /// Where the series go as well.
    pub remote_write: Vec<Endpoint>,
    pub query: promql::limits::Limits,
    pub archive: archive::Config,
    pub notify: notify::Config,
    pub journal_size_max_bytes: u64,
    pub tls: Option<Tls>,
    pub auth: Auth,
    pub rules: Rules,
    /// Whom to ask for what does not come by itself.
    pub collect: collect::Config,
    /// Real Alertmanagers that alerts are pushed on to.
    pub alertmanagers: Vec<Peer>,
    /// What was written, file and overrides, without its secrets.
    pub shown: Text,
    /// What is taken and somebody should know; names no secret.
    pub warnings: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    pub otlp_grpc: SocketAddr,
    pub ingest: SocketAddr,
    pub web: SocketAddr,
}

/// What listeners show, read when the configuration was.
#[derive(Clone, Debug, PartialEq)]
pub struct Tls {
    pub files: listen::tls::Files,
    pub identity: listen::tls::Identity,
    /// What a client's certificate lets it do; nothing where none is asked for.
    pub client_scopes: Vec<Scope>,
}

/// Who is let in.
#[derive(Clone, Debug, Default)]
pub struct Auth {
    pub tokens: Vec<Token>,
    /// Secrets that sign deliveries.
    pub signers: Vec<Signer>,
    /// Whose tokens Pub/Sub pushes with.
    pub pubsub: Option<pubsub_oidc::Config>,
    pub client_scopes: Vec<Scope>,
}

impl Auth {
    /// True where anything is configured that lets somebody in: then nobody comes in without.
    pub fn is_required(&self) -> bool {
        !self.tokens.is_empty()
            || !self.signers.is_empty()
            || self.pubsub.is_some()
            || !self.client_scopes.is_empty()
    }
}

/// A bearer token, kept as the SHA-256 of its text only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub name: String,
    pub hash: SecretHash,
    pub scopes: Vec<Scope>,
    /// Where it may deliver to; nowhere without the scope `ingest`.
    pub reach: Reach,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Ingest,
    Read,
    Write,
}

/// Rule and SLO files with their texts, read when the configuration was.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Rules {
    /// (path, text); empty: the pack that is built in.
    pub files: Vec<(String, String)>,
    pub slo_files: Vec<(String, String)>,
    pub evaluation_interval: Duration,
    /// None: `auto`, by what is seen of lateness.
    pub query_offset: Option<Duration>,
}

/// What configuration reads of the world, so that tests bring their own.
#[derive(Clone, Copy)]
pub struct Outside<'a> {
    pub env: &'a dyn Fn(&str) -> Option<String>,
    pub read: &'a dyn Fn(&Path) -> std::io::Result<String>,
    /// Paths that match a pattern whose last part may hold `*`, sorted.
    pub glob: &'a dyn Fn(&Path) -> std::io::Result<Vec<PathBuf>>,
}

impl std::fmt::Debug for Outside<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Outside")
    }
}

impl Config {
    /// How URLs of this daemon begin.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Where links lead, with the web listener at this address.
    pub fn link(&self, web: SocketAddr) -> String {
        if let Some(url) = &self.external_url {
            return url.clone();
        }
        let name = listen::origin::own_name().filter(|_| web.ip().is_unspecified());
        match name {
            // Nobody can follow a link to 0.0.0.0.
            Some(name) => format!("{}://{name}:{}", self.scheme(), web.port()),
            None => format!("{}://{web}", self.scheme()),
        }
    }

    /// Reads the file (None: defaults) and the overrides (`key.path=value`).
    pub fn load(file: Option<&Path>, sets: &[String]) -> Result<Self, Vec<Diagnostic>> {
        let outside = Outside { env: &|name| std::env::var(name).ok(), read: &read, glob: &glob };
        Self::try_new(file, sets, &outside)
    }

    /// As [`Config::load`], with the world given.
    pub fn try_new(
        file: Option<&Path>,
        sets: &[String],
        outside: &Outside<'_>,
    ) -> Result<Self, Vec<Diagnostic>> {
        let (name, text) = match file {
            None => ("defaults".to_owned(), String::new()),
            Some(path) => {
                let name = path.display().to_string();
                let text = (outside.read)(path).map_err(|error| {
                    vec![Diagnostic::new(&name, "", 0, 0, format!("cannot read it: {error}"))]
                })?;
                (name, text)
            }
        };
        let dir = file.and_then(Path::parent).unwrap_or_else(|| Path::new("")).to_owned();
        let mut raw = raw::parse(&name, &text)?;
        let mut shown = shown(&text).to_string();
        let (mut overrides, mut errors) = (Vec::new(), Vec::new());
        let mut n_lines = text.lines().count();
        for set in sets {
            let (over, raw_over) = match overlay(set, n_lines, outside) {
                Ok(over) => over,
                Err(wrong) => {
                    errors.extend(wrong);
                    continue;
                }
            };
            raw::Merge::merge(&mut raw, raw_over);
            n_lines += over.text.lines().count();
            let set = crate::signal::shown::shown(&over.text);
            shown.push_str("# --set\n");
            set.lines().for_each(|line| shown.extend(["# ", line, "\n"]));
            overrides.push(over);
        }
        let source = check::Source {
            file: &name,
            text: &text,
            dir: &dir,
            is_part: false,
            overrides: &overrides,
        };
        match check::check(&raw, source, outside) {
            Ok(config) if errors.is_empty() => Ok(Self { shown: shown.into(), ..config }),
            Ok(_) => Err(errors),
            Err(more) => Err([errors, more].concat()),
        }
    }
}

/// An override that is good by itself, as it is laid over what has `n_lines`.
fn overlay(
    set: &str,
    n_lines: usize,
    outside: &Outside<'_>,
) -> Result<(check::Override, raw::RawConfig), Vec<Diagnostic>> {
    let (file, text) = raw::override_document(set)?;
    let over = raw::parse(&file, &text)?;
    // Checked alone first, so that its errors name it and not a line of the file.
    let alone = check::Source {
        file: &file,
        text: &text,
        dir: Path::new(""),
        is_part: true,
        overrides: &[],
    };
    check::check(&over, alone, outside)?;
    let placed = raw::parse(&file, &format!("{}{text}", "\n".repeat(n_lines)))?;
    Ok((check::Override { after: n_lines, file, text }, placed))
}

/// Of a file that is read whole.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// A file's text, of a pipe too. One without an end is no configuration and no secret.
fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if u64_from_usize(text.len()) > FILE_BYTES_MAX {
        let message = format!("it is larger than {} MiB", FILE_BYTES_MAX >> 20);
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, message));
    }
    Ok(text)
}

fn glob(pattern: &Path) -> std::io::Result<Vec<PathBuf>> {
    let name = pattern.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Some((before, after)) = name.split_once('*') else { return Ok(vec![pattern.to_owned()]) };
    let dir = match pattern.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let fits = path.file_name().and_then(|name| name.to_str()).is_some_and(|name| {
            name.len() >= before.len() + after.len()
                && name.starts_with(before)
                && name.ends_with(after)
        });
        if fits {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
