//! Settings of the extension, from environment variables: a layer has no other place for them.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

/// What `throughline extension --help` says of them.
pub const HELP: &str = "Environment variables (Lambda itself sets AWS_LAMBDA_RUNTIME_API):
  THROUGHLINE_URL               where to send, as https://throughline.example:4318; needed
  THROUGHLINE_TOKEN             a token of scope `ingest`; or its file: THROUGHLINE_TOKEN_FILE
  THROUGHLINE_CA_FILE           certificates (PEM) to trust beside the system's
  THROUGHLINE_TELEMETRY_TYPES   platform,function (default), extension
  THROUGHLINE_TELEMETRY_SCHEMA  2022-12-13 or 2025-01-29 (default: the one that the environment takes)
  THROUGHLINE_BUFFER_TIMEOUT_MS how long the platform gathers before it posts: 25 (default) to 30000
  THROUGHLINE_BUFFER_ITEMS      and how many events: 1000 (default) to 10000
  THROUGHLINE_BUFFER_BYTES      and how much: 262144 (default) to 1048576
  THROUGHLINE_TELEMETRY_PORT    where the platform posts to: 4323 (default), not 9001
  THROUGHLINE_OTLP              local OTLP on 127.0.0.1: on (default: 4318 HTTP, 4317 gRPC) or off
  THROUGHLINE_SPILL_BYTES       most bytes that wait for a slow destination: 6291456 (default), at least 65536
  THROUGHLINE_FLUSH_TIMEOUT_MS  longest wait for the destination after an invocation: 500 (default), at most 2000
  THROUGHLINE_ANSWER_TIMEOUT_MS longest wait for an answer to one batch: 3000 (default)

As a layer, the binary lies at /opt/extensions/throughline and needs no argument. A setting that cannot be
used is told on stderr, and the extension stays idle: it never fails the function.";

/// The most that SHUTDOWN leaves to an external extension.
pub(super) const SHUTDOWN_MAX: Duration = Duration::from_secs(2);
/// Taken by Lambda itself.
const RESERVED_PORT: u16 = 9001;
const OTLP_HTTP_PORT: u16 = 4318;
const OTLP_GRPC_PORT: u16 = 4317;

/// Checked settings.
#[derive(Debug)]
pub struct Settings {
    pub(super) place: Place,
    pub(super) destination: Destination,
    pub(super) subscription: Subscription,
    pub(super) listen: Listen,
    /// Most bytes that wait for the destination.
    pub(super) spill_bytes_max: usize,
    /// Longest wait for the destination between an invocation's end and the next.
    pub(super) flush_max: Duration,
}

/// Where we are; Lambda tells, nobody sets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Where Lambda's APIs are, as `127.0.0.1:9001`.
    pub(super) runtime_api: String,
    /// The file name of the executable: registration fails under any other.
    pub(super) name: String,
    /// Lambda Managed Instances: no INVOKE events, the newest schema only.
    pub(super) is_managed: bool,
}

impl Place {
    pub(super) fn of(executable: &str, variable: impl Fn(&str) -> Option<String>) -> Self {
        let kind = variable("AWS_LAMBDA_INITIALIZATION_TYPE");
        Self {
            runtime_api: variable("AWS_LAMBDA_RUNTIME_API").unwrap_or_default(),
            name: executable.to_owned(),
            is_managed: kind.as_deref() == Some("lambda-managed-instances"),
        }
    }
}

/// The Throughline to send to.
pub(super) struct Destination {
    pub(super) url: reqwest::Url,
    pub(super) token: Option<String>,
    /// PEM.
    pub(super) ca: Option<Vec<u8>>,
    /// Longest wait for one answer.
    pub(super) answer_max: Duration,
}

impl fmt::Debug for Destination {
    /// The token stays out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Destination").field("url", &self.url.as_str()).finish_non_exhaustive()
    }
}

/// What is asked of the Telemetry API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subscription {
    /// In the order in which they are tried.
    pub(super) schemas: Vec<&'static str>,
    pub(super) types: Vec<&'static str>,
    pub(super) n_items_max: u32,
    pub(super) bytes_max: u32,
    pub(super) timeout: Duration,
}

/// Local sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listen {
    /// All addresses of the environment: the platform posts from outside its loopback.
    pub(super) telemetry: SocketAddr,
    pub(super) otlp: Option<(SocketAddr, SocketAddr)>,
}

const SCHEMAS: [&str; 2] = ["2022-12-13", "2025-01-29"];
const TYPES: [&str; 3] = ["platform", "function", "extension"];

impl Settings {
    /// Checks what `variable` gives; every mistake is named, not the first alone.
    pub fn from_environment(
        executable: &str,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Vec<String>> {
        let place = Place::of(executable, &variable);
        let mut read = Reader { variable, errors: Vec::new() };
        let url = read.url();
        let destination = Destination {
            // Never used: without a URL there are errors.
            url: url.unwrap_or_else(|| {
                read.errors.push("THROUGHLINE_URL is not set".to_owned());
                loopback_url()
            }),
            token: read.token(),
            ca: read.file("THROUGHLINE_CA_FILE"),
            answer_max: read.millis("THROUGHLINE_ANSWER_TIMEOUT_MS", 3000, 100, 60_000),
        };
        let subscription = read.subscription(place.is_managed);
        let listen = read.listen();
        let spill_bytes_max: usize =
            read.number("THROUGHLINE_SPILL_BYTES", 6 << 20, 64 << 10, 1 << 30);
        let flush_max = read.millis("THROUGHLINE_FLUSH_TIMEOUT_MS", 500, 0, 2000);
        if !read.errors.is_empty() {
            return Err(read.errors);
        }
        Ok(Self { place, destination, subscription, listen, spill_bytes_max, flush_max })
    }
}

fn loopback_url() -> reqwest::Url {
    reqwest::Url::parse("http://127.0.0.1:4318/").expect("a URL")
}

struct Reader<F> {
    variable: F,
    errors: Vec<String>,
}

impl<F: Fn(&str) -> Option<String>> Reader<F> {
    fn text(&self, name: &str) -> Option<String> {
        let value = (self.variable)(name)?;
        let value = value.trim();
        (!value.is_empty()).then(|| value.to_owned())
    }

    /// With a path that ends in `/`, so that the destinations' own are joined to it.
    fn url(&mut self) -> Option<reqwest::Url> {
        let text = self.text("THROUGHLINE_URL")?;
        let parsed = reqwest::Url::parse(&format!("{}/", text.trim_end_matches('/')));
        let usable = parsed.ok().filter(|url| {
            matches!(url.scheme(), "http" | "https") && url.has_host() && url.query().is_none()
        });
        if usable.is_none() {
            let message = "THROUGHLINE_URL is no http or https address, as https://host:4318";
            self.errors.push(message.to_owned());
            return Some(loopback_url());
        }
        usable
    }

    fn token(&mut self) -> Option<String> {
        let token = self.text("THROUGHLINE_TOKEN").or_else(|| {
            let bytes = self.file("THROUGHLINE_TOKEN_FILE")?;
            Some(String::from_utf8_lossy(&bytes).trim().to_owned())
        })?;
        if reqwest::header::HeaderValue::from_str(&token).is_err() {
            self.errors.push("the token cannot be sent in a header".to_owned());
        }
        Some(token)
    }

    fn file(&mut self, name: &str) -> Option<Vec<u8>> {
        let path = self.text(name)?;
        match std::fs::read(&path) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                self.errors.push(format!("{name}: cannot read {path}: {error}"));
                None
            }
        }
    }

    fn number<N>(&mut self, name: &str, default: N, least: N, most: N) -> N
    where
        N: FromStr + PartialOrd + Copy + fmt::Display,
    {
        let Some(text) = self.text(name) else { return default };
        let number = text.parse::<N>().ok().filter(|n| (least..=most).contains(n));
        if number.is_none() {
            self.errors.push(format!("{name} is a number from {least} to {most}"));
        }
        number.unwrap_or(default)
    }

    fn millis(&mut self, name: &str, default: u64, least: u64, most: u64) -> Duration {
        Duration::from_millis(self.number(name, default, least, most))
    }

    /// One of `known`, as a constant.
    fn word(&mut self, name: &str, word: &str, known: &[&'static str]) -> Option<&'static str> {
        let found = known.iter().find(|k| **k == word).copied();
        if found.is_none() {
            self.errors.push(format!("{name} knows {}, not `{word}`", known.join(", ")));
        }
        found
    }

    fn subscription(&mut self, is_managed: bool) -> Subscription {
        let [older, newer] = SCHEMAS;
        let schemas = match self.text("THROUGHLINE_TELEMETRY_SCHEMA") {
            Some(word) => {
                self.word("THROUGHLINE_TELEMETRY_SCHEMA", &word, &SCHEMAS).into_iter().collect()
            }
            // Managed Instances take the newer one alone; elsewhere the older is what is proven.
            None if is_managed => vec![newer],
            None => vec![older, newer],
        };
        let types = self.text("THROUGHLINE_TELEMETRY_TYPES");
        let types = types.as_deref().unwrap_or("platform,function").split(',').map(str::trim);
        let types = types
            .filter_map(|word| self.word("THROUGHLINE_TELEMETRY_TYPES", word, &TYPES))
            .collect();
        Subscription {
            schemas,
            types,
            n_items_max: self.number("THROUGHLINE_BUFFER_ITEMS", 1000, 1000, 10_000),
            bytes_max: self.number("THROUGHLINE_BUFFER_BYTES", 262_144, 262_144, 1_048_576),
            // The least: until the platform posts, an invocation's end is unknown and time is billed.
            timeout: self.millis("THROUGHLINE_BUFFER_TIMEOUT_MS", 25, 25, 30_000),
        }
    }

    fn listen(&mut self) -> Listen {
        let port = self.number("THROUGHLINE_TELEMETRY_PORT", 4323, 0, u16::MAX);
        if port == RESERVED_PORT {
            self.errors.push("THROUGHLINE_TELEMETRY_PORT: 9001 is Lambda's own".to_owned());
        }
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let otlp = match self.text("THROUGHLINE_OTLP").as_deref() {
            None | Some("on") => Some((local(OTLP_HTTP_PORT), local(OTLP_GRPC_PORT))),
            Some("off") => None,
            Some(ports) => {
                // Two ports, as 4318,4317: where another collector has them.
                let pair = ports.split_once(',').and_then(|(http, grpc)| {
                    Some((local(http.trim().parse().ok()?), local(grpc.trim().parse().ok()?)))
                });
                if pair.is_none() {
                    let message = "THROUGHLINE_OTLP is on, off, or two ports, as 4318,4317";
                    self.errors.push(message.to_owned());
                }
                pair
            }
        };
        Listen { telemetry: SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)), otlp }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Settings, Vec<String>> {
        let pairs: BTreeMap<&str, &str> = pairs.iter().copied().collect();
        Settings::from_environment("throughline", |name| pairs.get(name).map(ToString::to_string))
    }

    #[test]
    fn a_url_is_enough_and_every_mistake_is_named() {
        let good = read(&[("THROUGHLINE_URL", "https://t.example:4318")]).expect("good");
        assert_eq!(good.destination.url.as_str(), "https://t.example:4318/");
        assert_eq!(good.subscription.schemas, ["2022-12-13", "2025-01-29"]);
        assert_eq!(good.subscription.types, ["platform", "function"]);
        let errors = read(&[
            ("THROUGHLINE_URL", "t.example"),
            ("THROUGHLINE_TELEMETRY_TYPES", "platform,logs"),
            ("THROUGHLINE_TELEMETRY_PORT", "9001"),
            ("THROUGHLINE_BUFFER_TIMEOUT_MS", "5"),
            ("THROUGHLINE_OTLP", "yes"),
            ("THROUGHLINE_TOKEN_FILE", "/nonexistent/token"),
        ])
        .expect_err("six mistakes");
        assert_eq!(
            errors,
            [
                "THROUGHLINE_URL is no http or https address, as https://host:4318",
                "THROUGHLINE_TOKEN_FILE: cannot read /nonexistent/token: No such file or directory (os error 2)",
                "THROUGHLINE_TELEMETRY_TYPES knows platform, function, extension, not `logs`",
                "THROUGHLINE_BUFFER_TIMEOUT_MS is a number from 25 to 30000",
                "THROUGHLINE_TELEMETRY_PORT: 9001 is Lambda's own",
                "THROUGHLINE_OTLP is on, off, or two ports, as 4318,4317",
            ]
        );
        assert_eq!(read(&[]).expect_err("no URL"), ["THROUGHLINE_URL is not set"]);
    }

    #[test]
    fn managed_instances_take_the_newer_schema_alone() {
        let settings = read(&[
            ("THROUGHLINE_URL", "http://t"),
            ("AWS_LAMBDA_INITIALIZATION_TYPE", "lambda-managed-instances"),
        ]);
        assert_eq!(settings.expect("good").subscription.schemas, ["2025-01-29"]);
    }

    #[test]
    fn a_token_is_not_shown() {
        let settings = read(&[("THROUGHLINE_URL", "http://t"), ("THROUGHLINE_TOKEN", "s3cret")])
            .expect("good");
        assert!(!format!("{settings:?}").contains("s3cret"));
    }
}
