//! `throughline extension`: the sidecar inside a Lambda environment.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;

use super::block_on;
use crate::clock::Clock;
use crate::extension::{self, HELP, Settings};

#[derive(Args, Debug, Default)]
#[command(after_help = HELP)]
pub(super) struct ExtensionArgs {}

/// True in the place where Lambda starts extensions without arguments: the binary of the layer.
pub(super) fn is_layer() -> bool {
    let place = executable();
    let folder = place.parent().and_then(Path::file_name);
    folder.is_some_and(|name| name == "extensions") && runtime_api().is_some()
}

fn executable() -> std::path::PathBuf {
    std::env::args_os().next().map(Into::into).unwrap_or_default()
}

fn runtime_api() -> Option<String> {
    std::env::var("AWS_LAMBDA_RUNTIME_API").ok().filter(|address| !address.is_empty())
}

pub(super) fn run(_: &ExtensionArgs) -> anyhow::Result<ExitCode> {
    if runtime_api().is_none() {
        bail!(
            "AWS_LAMBDA_RUNTIME_API is not set: this command runs inside a Lambda environment, as /opt/extensions/throughline of a layer"
        );
    }
    // A full filter would cost a part of the init.
    let _ = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_max_level(tracing::Level::INFO)
        .with_writer(std::io::stderr)
        .try_init();
    let name = executable();
    let name = name.file_name().map_or_else(|| "throughline".into(), |n| n.to_string_lossy());
    let variable = |name: &str| std::env::var(name).ok();
    let outcome = match Settings::from_environment(&name, variable) {
        Ok(settings) => block_on(extension::run(settings, Clock::wall()))?,
        Err(errors) => {
            for error in errors {
                tracing::error!(
                    event = "extension.setting.refused",
                    error,
                    "the extension stays idle"
                );
            }
            block_on(extension::idle(&name, variable))?
        }
    };
    outcome.context("the extension ended")?;
    Ok(ExitCode::SUCCESS)
}
