//! The running daemon that a client command asks.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};

/// A daemon that does not answer by then is not there; a query may take two minutes.
const ANSWER_MAX: Duration = Duration::from_mins(3);

/// What is said where a daemon does not let us in.
pub(super) const UNKNOWN: &str =
    "the daemon wants a token with the scope `read`; give --token-file";

/// Where it is, and how to get in.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Remote {
    /// The daemon's web address.
    #[arg(long, default_value = "http://127.0.0.1:9595")]
    pub url: String,
    /// A file with the token of a daemon that wants one.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// The authority of the daemon's certificate, in PEM; without it, those of this machine.
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// A certificate and its key, both in PEM, for a daemon that lets those in.
    #[arg(long, value_name = "FILE")]
    pub cert_file: Option<PathBuf>,
}

impl Remote {
    /// The address of a path below the daemon's.
    pub(super) fn at(&self, segments: &[&str]) -> anyhow::Result<reqwest::Url> {
        let mut url = reqwest::Url::parse(&self.url)
            .with_context(|| format!("`{}` is no URL like http://127.0.0.1:9595", self.url))?;
        match url.path_segments_mut() {
            Ok(mut path) => path.pop_if_empty().extend(segments),
            Err(()) => bail!("`{}` is no URL of a daemon", self.url),
        };
        Ok(url)
    }

    /// Asks with what the daemon wants to see.
    pub(super) async fn get(&self, url: reqwest::Url) -> anyhow::Result<reqwest::Response> {
        // A second installation is refused and changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .timeout(ANSWER_MAX)
            .redirect(reqwest::redirect::Policy::none());
        if let Some(file) = &self.ca_file {
            let roots = reqwest::Certificate::from_pem_bundle(&read(file)?)
                .with_context(|| format!("{} holds no certificates in PEM", file.display()))?;
            builder = builder.tls_certs_only(roots);
        }
        if let Some(file) = &self.cert_file {
            let identity = reqwest::Identity::from_pem(&read(file)?).with_context(|| {
                format!("{} holds no certificate with its key in PEM", file.display())
            })?;
            builder = builder.identity(identity);
        }
        let mut request = builder.build()?.get(url);
        if let Some(file) = &self.token_file {
            let token = String::from_utf8(read(file)?)
                .with_context(|| format!("the token in {} is no text", file.display()))?;
            request = request.bearer_auth(token.trim());
        }
        request.send().await.with_context(|| {
            format!(
                "no daemon answers at {}; start it with `throughline run`, or give --url (and --ca-file)",
                self.url
            )
        })
    }
}

fn read(file: &std::path::Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}
