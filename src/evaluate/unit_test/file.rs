//! The test file's format: YAML text in, checked tests or errors with their places out.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::signal::{Diagnostic, Labels, Text, Timestamp, parse_duration};

/// promtool's default.
const EVALUATION_INTERVAL: Duration = Duration::from_mins(1);

#[derive(Debug)]
pub(super) struct TestFile {
    pub(super) rule_files: Vec<String>,
    pub(super) evaluation_interval: Duration,
    pub(super) group_eval_order: Vec<String>,
    pub(super) fuzzy_compare: bool,
    pub(super) tests: Vec<Test>,
}

#[derive(Debug)]
#[expect(clippy::struct_field_names, reason = "the names of promtool's format")]
pub(super) struct Test {
    pub(super) name: Option<String>,
    pub(super) start: Timestamp,
    /// Between the samples of input series; None: the evaluation interval.
    pub(super) interval: Option<Duration>,
    pub(super) input_series: Vec<InputSeries>,
    pub(super) alert_rule_test: Vec<AlertCheck>,
    pub(super) promql_expr_test: Vec<ExprCheck>,
    pub(super) external_labels: Labels,
    pub(super) external_url: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InputSeries {
    pub(super) series: String,
    pub(super) values: String,
}

#[derive(Debug)]
pub(super) struct AlertCheck {
    /// Of the file.
    pub(super) line: u64,
    pub(super) eval_time: Duration,
    pub(super) groupname: Option<String>,
    pub(super) alertname: String,
    pub(super) exp_alerts: Vec<ExpectedAlert>,
}

#[derive(Debug)]
pub(super) struct ExpectedAlert {
    pub(super) labels: Labels,
    pub(super) annotations: Vec<(Text, Text)>,
}

#[derive(Debug)]
pub(super) struct ExprCheck {
    /// Of the file.
    pub(super) line: u64,
    pub(super) expr: String,
    pub(super) eval_time: Duration,
    pub(super) exp_samples: Vec<ExpectedSample>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExpectedSample {
    #[serde(default)]
    pub(super) labels: String,
    #[serde(default)]
    pub(super) value: f64,
    pub(super) histogram: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(default)]
    rule_files: Vec<String>,
    evaluation_interval: Option<Spanned<String>>,
    #[serde(default)]
    group_eval_order: Vec<String>,
    #[serde(default)]
    fuzzy_compare: bool,
    #[serde(default)]
    tests: Vec<RawTest>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTest {
    name: Option<String>,
    interval: Option<Spanned<String>>,
    start_timestamp: Option<Spanned<String>>,
    #[serde(default)]
    input_series: Vec<InputSeries>,
    #[serde(default)]
    alert_rule_test: Vec<Spanned<RawAlertCheck>>,
    #[serde(default)]
    promql_expr_test: Vec<Spanned<RawExprCheck>>,
    #[serde(default)]
    external_labels: BTreeMap<String, String>,
    #[serde(default)]
    external_url: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAlertCheck {
    eval_time: Option<Spanned<String>>,
    groupname: Option<String>,
    alertname: Option<String>,
    exp_alerts: Option<Vec<RawAlert>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAlert {
    #[serde(default)]
    exp_labels: BTreeMap<String, String>,
    #[serde(default)]
    exp_annotations: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawExprCheck {
    expr: String,
    eval_time: Option<Spanned<String>>,
    exp_samples: Option<Vec<ExpectedSample>>,
}

pub(super) fn parse(name: &str, text: &str) -> Result<TestFile, Vec<Diagnostic>> {
    let raw: RawFile =
        serde_saphyr::from_str(text).map_err(|error| vec![Diagnostic::yaml(name, text, &error)])?;
    let mut check = Check { name, text, errors: Vec::new() };
    let evaluation_interval = check
        .duration(raw.evaluation_interval.as_ref())
        .filter(|interval| !interval.is_zero())
        .unwrap_or(EVALUATION_INTERVAL);
    for pattern in raw.rule_files.iter().filter(|file| file.contains(['*', '?', '['])) {
        let message =
            format!("`{pattern}`: patterns are not supported in `rule_files`; name the files");
        check.errors.push(Diagnostic::new(name, text, 0, 0, message));
    }
    let tests = raw.tests.into_iter().map(|test| check.test(test)).collect();
    if !check.errors.is_empty() {
        return Err(check.errors);
    }
    Ok(TestFile {
        rule_files: raw.rule_files,
        evaluation_interval,
        group_eval_order: raw.group_eval_order,
        fuzzy_compare: raw.fuzzy_compare,
        tests,
    })
}

struct Check<'a> {
    name: &'a str,
    text: &'a str,
    errors: Vec<Diagnostic>,
}

impl Check<'_> {
    fn test(&mut self, raw: RawTest) -> Test {
        let interval = self.duration(raw.interval.as_ref()).filter(|interval| !interval.is_zero());
        let alert_rule_test = raw.alert_rule_test.into_iter().map(|check| self.alerts(check));
        let alert_rule_test = alert_rule_test.collect();
        let exprs = raw.promql_expr_test.into_iter().map(|check| ExprCheck {
            line: check.referenced.line(),
            eval_time: self.duration(check.value.eval_time.as_ref()).unwrap_or_default(),
            expr: check.value.expr,
            exp_samples: check.value.exp_samples.unwrap_or_default(),
        });
        let promql_expr_test = exprs.collect();
        let start = raw.start_timestamp.as_ref().map_or(Timestamp::EPOCH, |start| self.time(start));
        let external_labels =
            raw.external_labels.iter().map(|(k, v)| (k.as_str().into(), v.as_str().into()));
        Test {
            name: raw.name,
            start,
            interval,
            input_series: raw.input_series,
            alert_rule_test,
            promql_expr_test,
            external_labels: Labels::new(external_labels),
            external_url: raw.external_url,
        }
    }

    fn alerts(&mut self, raw: Spanned<RawAlertCheck>) -> AlertCheck {
        let (line, raw) = (raw.referenced.line(), raw.value);
        let alert = |raw: RawAlert| ExpectedAlert {
            labels: Labels::new(
                raw.exp_labels.iter().map(|(k, v)| (k.as_str().into(), v.as_str().into())),
            ),
            annotations: raw
                .exp_annotations
                .iter()
                .map(|(k, v)| (k.as_str().into(), v.as_str().into()))
                .collect(),
        };
        AlertCheck {
            line,
            eval_time: self.duration(raw.eval_time.as_ref()).unwrap_or_default(),
            groupname: raw.groupname,
            alertname: raw.alertname.unwrap_or_default(),
            exp_alerts: raw.exp_alerts.unwrap_or_default().into_iter().map(alert).collect(),
        }
    }

    fn duration(&mut self, raw: Option<&Spanned<String>>) -> Option<Duration> {
        let raw = raw?;
        let parsed = parse_duration(&raw.value);
        if parsed.is_none() {
            self.error(raw, format!("`{}` is no duration; write 30s, 5m or 1h30m", raw.value));
        }
        parsed
    }

    /// Seconds since the epoch, or RFC 3339.
    fn time(&mut self, raw: &Spanned<String>) -> Timestamp {
        let seconds = raw.value.parse::<f64>().ok().map(Timestamp::from_secs_f64);
        seconds.or_else(|| Timestamp::parse_rfc3339(&raw.value)).unwrap_or_else(|| {
            self.error(raw, format!("`{}` is no time; write RFC 3339 or seconds", raw.value));
            Timestamp::EPOCH
        })
    }

    fn error(&mut self, place: &Spanned<String>, message: String) {
        self.errors.push(Diagnostic::at(self.name, self.text, &place.referenced, message));
    }
}
