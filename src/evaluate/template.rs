//! Templates of labels and annotations: Go's text/template with Prometheus's data and functions.
//!
//! A text and what an alert knows come in, the filled-in text goes out. Nothing here does I/O: queries
//! go through a closure.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use gotmpl::{TemplateError, Value};

use crate::signal::{Labels, Timestamp};
use crate::template::functions::{FUNCTIONS, label_map};
use crate::template::{self, Dialect, Error, MAIN, Tree};

/// Prometheus puts the same definitions before every template (`rules/alerting.go`).
const DIALECT: Dialect = Dialect {
    prefix: "{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}{{$externalURL := .ExternalURL}}{{$value := .Value}}",
    maps: &["Labels", "ExternalLabels", "$labels", "$externalLabels"],
    methods: &[],
    knows: is_function,
};
/// Rounds of running a template and answering the queries that it asked for: a query may depend on
/// the answer of another.
const QUERY_ROUNDS_MAX: usize = 8;

/// A checked template. Text without actions is kept as it is.
#[derive(Clone)]
pub(crate) struct Template {
    text: String,
    parsed: Option<Arc<Vec<Tree>>>,
}

/// One sample of a query's answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) labels: Labels,
    pub(crate) value: f64,
}

/// What a template can ask for.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'a> {
    pub(crate) labels: &'a Labels,
    pub(crate) value: f64,
    pub(crate) external_labels: &'a Labels,
    pub(crate) external_url: &'a str,
    /// The evaluation's time: `now`.
    pub(crate) at: Timestamp,
    pub(crate) query: &'a dyn Fn(&str) -> Result<Vec<Answer>, String>,
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Template({:?})", self.text)
    }
}

impl Template {
    /// Text that is no template, whatever it looks like.
    pub(crate) fn plain(text: &str) -> Self {
        Self { text: text.to_owned(), parsed: None }
    }

    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        if !text.contains("{{") {
            return Ok(Self::plain(text));
        }
        let trees = template::parse(text, &DIALECT)?;
        Ok(Self { text: text.to_owned(), parsed: Some(Arc::new(trees)) })
    }

    /// The text as it was written.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The filled-in text.
    pub(crate) fn expand(&self, scope: &Scope<'_>) -> Result<String, String> {
        let Some(trees) = &self.parsed else { return Ok(self.text.clone()) };
        let mut answers: BTreeMap<String, Vec<Answer>> = BTreeMap::new();
        for _ in 0..QUERY_ROUNDS_MAX {
            let asked = Arc::new(Mutex::new(Vec::new()));
            let result = run(trees, scope, &answers, &asked);
            let asked = std::mem::take(&mut *asked.lock().unwrap_or_else(PoisonError::into_inner));
            if asked.is_empty() {
                return result.map_err(|error| error.to_string());
            }
            for text in asked {
                let answer = (scope.query)(&text)?;
                answers.insert(text, answer);
            }
        }
        Err(format!("more than {QUERY_ROUNDS_MAX} queries depend on each other"))
    }
}

type Asked = Arc<Mutex<Vec<String>>>;

/// Runs once. A query without an answer yet is noted in `asked`, and answers nothing for now.
fn run(
    trees: &[Tree],
    scope: &Scope<'_>,
    answers: &BTreeMap<String, Vec<Answer>>,
    asked: &Asked,
) -> Result<String, TemplateError> {
    let known: BTreeMap<String, Value> =
        answers.iter().map(|(text, answer)| (text.clone(), answer_value(answer))).collect();
    let (noted, url, now) =
        (Arc::clone(asked), scope.external_url.to_owned(), scope.at.as_secs_f64());
    let prefix = path_prefix(scope.external_url).to_owned();
    let template = gotmpl::Template::new("")
        .funcs(FUNCTIONS.clone())
        .func("query", move |args| {
            let text = args.first().map(ToString::to_string).unwrap_or_default();
            if let Some(answer) = known.get(&text) {
                return Ok(answer.clone());
            }
            noted.lock().unwrap_or_else(PoisonError::into_inner).push(text);
            Ok(Value::List(Arc::from([])))
        })
        .func("externalURL", move |_| Ok(Value::String(url.as_str().into())))
        .func("pathPrefix", move |_| Ok(Value::String(prefix.as_str().into())))
        .func("now", move |_| Ok(Value::Float(now)));
    let dot = [
        ("Labels", label_map(scope.labels)),
        ("ExternalLabels", label_map(scope.external_labels)),
        ("ExternalURL", Value::String(scope.external_url.into())),
        ("Value", Value::Float(scope.value)),
    ];
    let dot = dot.into_iter().map(|(name, value)| (Arc::from(name), value)).collect();
    let result = template::run(template, trees, MAIN, &Value::Map(Arc::new(dot)));
    // Without its answers a template may fail for their lack; the next round decides.
    let waits = !asked.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
    if waits { Ok(String::new()) } else { result }
}

fn answer_value(answer: &[Answer]) -> Value {
    let sample = |sample: &Answer| {
        let fields = [("Labels", label_map(&sample.labels)), ("Value", Value::Float(sample.value))];
        let fields = fields.into_iter().map(|(name, value)| (Arc::from(name), value));
        Value::Map(Arc::new(fields.collect()))
    };
    Value::List(answer.iter().map(sample).collect())
}

fn path_prefix(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.find('/').map_or("", |at| rest.get(at..).unwrap_or_default()).trim_end_matches('/')
}

fn is_function(name: &str) -> bool {
    matches!(name, "query" | "externalURL" | "pathPrefix" | "now") || FUNCTIONS.contains_key(name)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn render(text: &str, value: f64) -> String {
        let labels = Labels::of(&[("faas_name", "checkout"), ("instance", "host:9090")]);
        let answers = |text: &str| match text {
            "up" => Ok(vec![
                Answer { labels: Labels::of(&[("job", "b")]), value: 11.0 },
                Answer { labels: Labels::of(&[("job", "a"), ("__value__", "x")]), value: 21.5 },
            ]),
            "none" => Ok(Vec::new()),
            other => Err(format!("no answer to {other}")),
        };
        let scope = Scope {
            labels: &labels,
            value,
            external_labels: &Labels::of(&[("region", "eu")]),
            external_url: "http://alerts.test/prefix/",
            at: Timestamp::from_secs_f64(1_435_065_584.128),
            query: &answers,
        };
        match Template::parse(text) {
            Err(error) => format!("error at {}: {}", error.at, error.message),
            Ok(template) => {
                template.expand(&scope).unwrap_or_else(|error| format!("failed: {error}"))
            }
        }
    }

    fn check(cases: &[(&str, f64)], expect: &Expect) {
        let lines: Vec<String> = cases
            .iter()
            .map(|(text, value)| format!("{text} [{value}] => {}", render(text, *value)))
            .collect();
        expect.assert_eq(&lines.join("\n"));
    }

    #[test]
    fn variables_hold_the_alert_and_a_missing_label_is_empty() {
        check(
            &[
                ("plain", 1.0),
                ("{{ $labels.faas_name }} {{ $value }}", 0.25),
                (
                    "[{{ $labels.missing }}] [{{ .Labels.missing }}] [{{ index $labels \"missing\" }}]",
                    1.0,
                ),
                ("{{ if eq $labels.missing \"\" }}none{{ end }}", 1.0),
                ("{{ $value }} {{ .Value }}", 1_234_567.5),
                ("{{ $value }}", 1e-7),
                (
                    "{{ $externalLabels.region }} {{ $externalURL }} {{ externalURL }} {{ pathPrefix }}",
                    1.0,
                ),
                ("{{ with $x := $labels.faas_name }}{{ $x | toUpper }}{{ end }}", 1.0),
            ],
            &expect![[r#"
                plain [1] => plain
                {{ $labels.faas_name }} {{ $value }} [0.25] => checkout 0.25
                [{{ $labels.missing }}] [{{ .Labels.missing }}] [{{ index $labels "missing" }}] [1] => [] [] []
                {{ if eq $labels.missing "" }}none{{ end }} [1] => none
                {{ $value }} {{ .Value }} [1234567.5] => 1.2345675e+06 1.2345675e+06
                {{ $value }} [0.0000001] => 1e-07
                {{ $externalLabels.region }} {{ $externalURL }} {{ externalURL }} {{ pathPrefix }} [1] => eu http://alerts.test/prefix/ http://alerts.test/prefix/ /prefix
                {{ with $x := $labels.faas_name }}{{ $x | toUpper }}{{ end }} [1] => CHECKOUT"#]],
        );
    }

    #[test]
    fn numbers_are_made_readable() {
        let all = "{{ humanize $value }} {{ humanize1024 $value }} {{ humanizeDuration $value }} {{ humanizePercentage $value }} {{ humanizeTimestamp $value }}";
        let values = [
            0.0,
            1.0,
            1_234_567.0,
            0.0123,
            0.1,
            899.99,
            86_400.0 + 3_661.0,
            -123.456_789,
            f64::NAN,
            f64::INFINITY,
            1_435_065_584.128,
        ];
        check(
            &values.map(|value| (all, value)),
            &expect![[r"
            {{ humanize $value }} {{ humanize1024 $value }} {{ humanizeDuration $value }} {{ humanizePercentage $value }} {{ humanizeTimestamp $value }} [0] => 0 0 0s 0% 1970-01-01 00:00:00 +0000 UTC
            {{ humanize $value }} {{ humanize1024 $value }} {{ humanizeDuration $value }} {{ humanizePercentage $value }} {{ humanizeTimestamp $value }} [1] => 1 1 1s 100% 1970-01-01 00:00:01 +0000 UTC
            {{ humanize $value }} {{ humanize1024 $value }} {{ humanizeDuration $value }} {{ humanizePercentage $value }} {{ humanizeTimestamp $value }} [1234567] => 1.235M 1.177Mi 14d 6h 56m 7s 1.235e+08% 1970-01-15 06:56:07 +0000 UTC
            {{ humanize $value }} {{ humanize1024 $value }} {{ humanizeDuration $value }} {{ humanizePercentage $value }} {{ humanizeTimestamp $value }} [0.0123] => 12.3m 0.0123 12.3ms 1.23% 1970-01-01 00:00:00.012 +0000 UTC
            {{ humanize $value }} {{ humanize1024 $value }} {{ humanizeDuration $value }} {{ humanizePercentage $value }} {{ humanizeTimestamp $value }} [0.1] => 100m 0.1 100ms 10% 1970-01-01 00:00:00.1 +0000 UTC
            {{ humanize $value }} {{ humanize1024 $value }} {{ humanizeDuration $value }} {{ humanizePercentage $value }} {{ humanizeTimestamp $value }} [899.99] => 900 900 14m 59s 9e+04% 1970-01-01 00:14:59.99 +0000 UTC
            {{ humanize $value }} {{ humanize1024 $value }} {{ humanizeDuration $value }} {{ humanizePercentage $value }} {{ humanizeTimestamp $value }} [90061] => 90.06k 87.95ki 1d 1h 1m 1s 9.006e+06% 1970-01-02 01:01:01 +0000 UTC
            {{ humanize $value }} {{ humanize1024 $value }} {{ humanizeDuration $value }} {{ humanizePercentage $value }} {{ humanizeTimestamp $value }} [-123.456789] => -123.5 -123.5 -2m 3s -1.235e+04% 1970-01-01 00:00:00 +0000 UTC
            {{ humanize $value }} {{ humanize1024 $value }} {{ humanizeDuration $value }} {{ humanizePercentage $value }} {{ humanizeTimestamp $value }} [NaN] => NaN NaN NaN NaN% NaN
            {{ humanize $value }} {{ humanize1024 $value }} {{ humanizeDuration $value }} {{ humanizePercentage $value }} {{ humanizeTimestamp $value }} [inf] => +Inf +Inf +Inf +Inf% +Inf
            {{ humanize $value }} {{ humanize1024 $value }} {{ humanizeDuration $value }} {{ humanizePercentage $value }} {{ humanizeTimestamp $value }} [1435065584.128] => 1.435G 1.337Gi 16609d 13h 19m 44s 1.435e+11% 2015-06-23 13:19:44.128 +0000 UTC"]],
        );
    }

    #[test]
    fn functions_do_what_those_of_prometheus_do() {
        let cases = [
            "{{ title \"aa bb CC\" }} {{ toUpper \"aa\" }} {{ toLower \"AA\" }}",
            "{{ match \"a+\" \"aa\" }} {{ match \"^b$\" \"aa\" }} {{ reReplaceAll \"(a)b\" \"x$1\" \"ab ab\" }}",
            "{{ range query \"up\" }}{{ .Labels.job }}={{ .Value }} {{ end }}",
            "{{ range sortByLabel \"job\" (query \"up\") }}{{ .Labels.job }} {{ end }}",
            "{{ query \"up\" | first | value }} {{ query \"up\" | first | label \"job\" }}",
            "{{ query \"none\" | first | value }}",
            "{{ query \"unknown\" }}",
            "{{ with query \"up\" }}{{ . | first | value | humanize }}{{ end }}",
            "{{ printf \"%.2f %s\" $value $labels.faas_name }}",
            "{{ stripPort \"1.2.3.4:80\" }} {{ stripPort \"[::1]:80\" }} {{ stripDomain \"a.b.c:80\" }} {{ stripDomain \"1.2.3.4\" }}",
            "{{ parseDuration \"1h2m10ms\" }} {{ \"0.1\" | humanizePercentage }}",
            "{{ tableLink \"up == 0\" }} {{ graphLink \"up\" }}",
            "{{ toTime 1435065584.128 }}",
            "{{ define \"t\" }}{{ .arg0 }}-{{ .arg1 }}{{ end }}{{ template \"t\" (args 1 \"b\") }}",
            "{{ humanize \"x\" }}",
        ];
        check(
            &cases.map(|text| (text, 1.5)),
            &expect![[r#"
            {{ title "aa bb CC" }} {{ toUpper "aa" }} {{ toLower "AA" }} [1.5] => Aa Bb CC AA aa
            {{ match "a+" "aa" }} {{ match "^b$" "aa" }} {{ reReplaceAll "(a)b" "x$1" "ab ab" }} [1.5] => true false xa xa
            {{ range query "up" }}{{ .Labels.job }}={{ .Value }} {{ end }} [1.5] => b=11 a=21.5 
            {{ range sortByLabel "job" (query "up") }}{{ .Labels.job }} {{ end }} [1.5] => a b 
            {{ query "up" | first | value }} {{ query "up" | first | label "job" }} [1.5] => 11 b
            {{ query "none" | first | value }} [1.5] => failed: execution error: first() called on vector with no elements
            {{ query "unknown" }} [1.5] => failed: no answer to unknown
            {{ with query "up" }}{{ . | first | value | humanize }}{{ end }} [1.5] => 11
            {{ printf "%.2f %s" $value $labels.faas_name }} [1.5] => 1.50 checkout
            {{ stripPort "1.2.3.4:80" }} {{ stripPort "[::1]:80" }} {{ stripDomain "a.b.c:80" }} {{ stripDomain "1.2.3.4" }} [1.5] => 1.2.3.4 ::1 a:80 1.2.3.4
            {{ parseDuration "1h2m10ms" }} {{ "0.1" | humanizePercentage }} [1.5] => 3720.01 10%
            {{ tableLink "up == 0" }} {{ graphLink "up" }} [1.5] => /graph?g0.expr=up+%3D%3D+0&g0.tab=1 /graph?g0.expr=up&g0.tab=0
            {{ toTime 1435065584.128 }} [1.5] => 2015-06-23 13:19:44.128 +0000 UTC
            {{ define "t" }}{{ .arg0 }}-{{ .arg1 }}{{ end }}{{ template "t" (args 1 "b") }} [1.5] => 1-b
            {{ humanize "x" }} [1.5] => failed: execution error: `x` is no number"#]],
        );
    }

    #[test]
    fn what_cannot_work_is_refused_at_load() {
        let cases = [
            "{{ if $value }}open",
            "a{{ end }}",
            "a {{ else }}",
            "{{ $labels.x",
            "{{ nosuch $value }}",
            "{{ $label.x }}",
            "{{ range $i, $s := query \"up\" }}{{ $i }}{{ end }}{{ $i }}",
            "x\n  {{ $labels.a | }}",
            "{{/* a }} comment */}}fine {{ \"}}\" }}",
        ];
        check(
            &cases.map(|text| (text, 1.0)),
            &expect![[r#"
                {{ if $value }}open [1] => error at 0: `if` is not closed by `{{ end }}`
                a{{ end }} [1] => error at 1: `end` closes nothing
                a {{ else }} [1] => error at 2: `else` without `if`
                {{ $labels.x [1] => error at 0: the action is not closed by `}}`
                {{ nosuch $value }} [1] => error at 3: there is no function `nosuch`
                {{ $label.x }} [1] => error at 3: there is no variable `$label`
                {{ range $i, $s := query "up" }}{{ $i }}{{ end }}{{ $i }} [1] => error at 52: there is no variable `$i`
                x
                  {{ $labels.a | }} [1] => error at 2: empty command
                {{/* a }} comment */}}fine {{ "}}" }} [1] => fine }}"#]],
        );
    }
}
