//! Terms: the settings that the state depends on, as a record of the log.
//!
//! A configuration comes in; text goes out that a record holds, the texts of rules included, so that a
//! replay applies each configuration where it took effect. Where messages go is not part of it: that
//! holds secrets, and a replay sends nothing. Never does a secret reach the disk this way.

use serde::{Deserialize, Serialize};

use crate::config::{Config, Rules};
use crate::signal::Diagnostic;
use crate::{archive, correlate, evaluate, series};

/// Missing keys are those that a later version added: they have their defaults.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Terms {
    pub correlate: correlate::Config,
    pub series: Option<series::Config>,
    pub archive: archive::Config,
    pub rules: Rules,
    /// Where links in messages and annotations lead.
    pub external_url: String,
}

impl Terms {
    pub fn of(config: &Config) -> Self {
        Self {
            correlate: config.correlate.clone(),
            series: Some(config.series.clone()),
            archive: config.archive.clone(),
            rules: config.rules.clone(),
            external_url: config.link(config.listen.web),
        }
    }

    /// What the evaluator takes.
    pub fn evaluate(&self) -> evaluate::Config {
        let Rules { files, slo_files, evaluation_interval, query_offset } = self.rules.clone();
        evaluate::Config {
            rule_files: files,
            slo_files,
            evaluation_interval,
            query_offset,
            external_url: self.external_url.clone(),
            ..evaluate::Config::default()
        }
    }

    /// Everything that is wrong with the rules.
    ///
    /// # Errors
    /// Each with its place.
    pub fn check(&self) -> Result<(), Vec<Diagnostic>> {
        evaluate::Evaluator::try_new(self.evaluate()).map(drop)
    }
}
