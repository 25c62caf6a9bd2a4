//! `throughline check`: every error of every file that the daemon would read, before it does.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{say, say_error};
use crate::clock::Clock;
use crate::config::Config;
use crate::pipeline::Settings;

#[derive(Args, Debug)]
pub(super) struct CheckArgs {
    /// The configuration file; without one, the defaults.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(super) fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let checked = Config::load(args.config.as_deref(), &[]).and_then(|config| {
        for warning in &config.warnings {
            say_error(&format!("warning: {warning}"));
        }
        for unsupported in config.notify.unsupported() {
            say_error(&format!("warning: {unsupported}"));
        }
        let tls = config.tls.as_ref();
        if let Some(warning) = tls.and_then(|tls| tls.identity.warning(Clock::wall().now())) {
            say_error(&format!("warning: {warning}"));
        }
        Settings::new(config, Clock::wall()).evaluator()
    });
    match checked {
        Ok(evaluator) => {
            evaluator
                .warnings()
                .iter()
                .for_each(|warning| say_error(&format!("warning: {warning}")));
            say("ok");
            Ok(ExitCode::SUCCESS)
        }
        Err(errors) => {
            errors.iter().for_each(|error| say_error(&error.to_string()));
            Ok(ExitCode::FAILURE)
        }
    }
}
