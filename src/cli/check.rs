//! `throughline check`: every error of every file that the daemon would read, before it does.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::{say, say_error};
use crate::clock::Clock;
use crate::config::Config;
use crate::pipeline::Settings;
use crate::signal::Diagnostic;

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  throughline check --config throughline.yaml
  throughline check --config throughline.yaml --json | jq '.errors[].message'

Exit code 0: a daemon would start with it, whatever the warnings say; 1: it would not.")]
pub(super) struct CheckArgs {
    /// The configuration file; without one, the defaults.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON on stdout: every error with its place, every warning.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let mut warnings: Vec<String> = Vec::new();
    let checked = Config::load(args.config.as_deref(), &[]).and_then(|config| {
        warnings.extend(config.warnings.iter().cloned());
        warnings.extend(config.notify.unsupported().map(ToString::to_string));
        let tls = config.tls.as_ref();
        warnings.extend(tls.and_then(|tls| tls.identity.warning(Clock::wall().now())));
        Settings::new(config, Clock::wall()).evaluator()
    });
    let errors = match checked {
        Ok(evaluator) => {
            warnings.extend(evaluator.warnings().iter().map(ToString::to_string));
            Vec::new()
        }
        Err(errors) => errors,
    };
    if args.json {
        let errors: Vec<_> = errors.iter().map(told).collect();
        let found = json!({"errors": errors, "warnings": warnings});
        say(&serde_json::to_string_pretty(&found)?);
    } else {
        warnings.iter().for_each(|warning| say_error(&format!("warning: {warning}")));
        errors.iter().for_each(|error| say_error(&error.to_string()));
    }
    if !errors.is_empty() {
        return Ok(ExitCode::FAILURE);
    }
    if !args.json {
        say("ok");
    }
    Ok(ExitCode::SUCCESS)
}

/// A place that is not known is null.
fn told(error: &Diagnostic) -> serde_json::Value {
    let known = |number: usize| Some(number).filter(|number| *number > 0);
    let Diagnostic { file, line, col, message, .. } = error;
    json!({"file": file, "line": known(*line), "col": known(*col), "message": message})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_with_its_place_or_without() {
        let placed = told(&Diagnostic::new("a.yaml", "x: 1\n", 1, 4, "no"));
        assert_eq!(placed, json!({"file": "a.yaml", "line": 1, "col": 4, "message": "no"}));
        let whole = told(&Diagnostic::new("a.yaml", "", 0, 0, "no"));
        assert_eq!(whole, json!({"file": "a.yaml", "line": null, "col": null, "message": "no"}));
    }
}
