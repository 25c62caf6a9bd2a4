//! Templates of labels and annotations: Go's text/template with Prometheus's functions.
//!
//! The gotmpl crate parses and runs them; what it does otherwise than Go is corrected in its syntax
//! tree: unclosed blocks and unknown functions are refused at load, a missing label is the empty text,
//! numbers print as Go prints them. Nothing here does I/O: queries go through a closure.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use gotmpl::parse::{BranchNode, CommandNode, Expr, ListNode, Node, Parser, PipeNode};
use gotmpl::{TemplateError, Value};

use super::template_functions::{FUNCTIONS, label_map};
use crate::signal::{Labels, Timestamp};

/// Prometheus puts the same definitions before every template (`rules/alerting.go`).
const VARIABLES: &str = "{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}{{$externalURL := .ExternalURL}}{{$value := .Value}}";
/// Steps of all `range` together.
const RANGE_MAX: u64 = 10_000;
/// Bytes of a result; longer ones are cut.
const RESULT_BYTES_MAX: usize = 64 * 1024;
/// Rounds of running a template and answering the queries that it asked for: a query may depend on
/// the answer of another.
const QUERY_ROUNDS_MAX: usize = 8;
/// Name of the function that prints every action's value.
const SHOW: &str = "__show";
/// Name of the function that reads a label.
const LABEL: &str = "__label";
const MAIN: &str = "main";

/// A checked template. Text without actions is kept as it is.
#[derive(Clone)]
pub(crate) struct Template {
    text: String,
    /// The body and the templates that it defines.
    parsed: Option<Arc<Vec<(String, ListNode)>>>,
}

/// Where and why a template does not parse; `at` is a byte offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Error {
    pub(crate) at: usize,
    pub(crate) message: String,
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
        blocks_close(text)?;
        let whole = format!("{VARIABLES}{text}");
        let error = |error: TemplateError| from_parser(text, &error);
        let (body, defines) =
            Parser::new(&whole, "{{", "}}").and_then(Parser::parse).map_err(error)?;
        let mut trees = vec![(MAIN.to_owned(), body)];
        trees.extend(defines.into_iter().map(|define| (define.name.to_string(), define.body)));
        for (_, tree) in &mut trees {
            Walk::new().list(tree).map_err(|Error { at, message }| Error {
                at: at.saturating_sub(VARIABLES.len()),
                message,
            })?;
        }
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
                return result.map(cut).map_err(|error| error.to_string());
            }
            for text in asked {
                let answer = (scope.query)(&text)?;
                answers.insert(text, answer);
            }
        }
        Err(format!("more than {QUERY_ROUNDS_MAX} queries depend on each other"))
    }
}

fn cut(mut text: String) -> String {
    let end = text.floor_char_boundary(RESULT_BYTES_MAX);
    text.truncate(end);
    text
}

type Asked = Arc<Mutex<Vec<String>>>;

/// Runs once. A query without an answer yet is noted in `asked`, and answers nothing for now.
fn run(
    trees: &[(String, ListNode)],
    scope: &Scope<'_>,
    answers: &BTreeMap<String, Vec<Answer>>,
    asked: &Asked,
) -> Result<String, TemplateError> {
    let known: BTreeMap<String, Value> =
        answers.iter().map(|(text, answer)| (text.clone(), answer_value(answer))).collect();
    let (noted, url, now) =
        (Arc::clone(asked), scope.external_url.to_owned(), scope.at.as_secs_f64());
    let prefix = path_prefix(scope.external_url).to_owned();
    let mut template = gotmpl::Template::new("")
        .max_range_iters(RANGE_MAX)
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
    for (name, tree) in trees {
        template = template.add_parse_tree(name, tree.clone());
    }
    let dot = [
        ("Labels", label_map(scope.labels)),
        ("ExternalLabels", label_map(scope.external_labels)),
        ("ExternalURL", Value::String(scope.external_url.into())),
        ("Value", Value::Float(scope.value)),
    ];
    let dot = dot.into_iter().map(|(name, value)| (Arc::from(name), value)).collect();
    let result = template.execute_template_to_string(MAIN, &Value::Map(Arc::new(dot)));
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

fn from_parser(text: &str, error: &TemplateError) -> Error {
    let (TemplateError::Parse { line, col, message, .. }
    | TemplateError::Lex { line, col, message, .. }) = error
    else {
        return Error { at: 0, message: error.to_string() };
    };
    let col = if *line <= 1 { col.saturating_sub(VARIABLES.len()) } else { *col };
    let before: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let within = text.get(before..).unwrap_or_default();
    let within = within.char_indices().nth(col.saturating_sub(1)).map_or(0, |(at, _)| at);
    Error { at: before + within, message: message.clone() }
}

/// gotmpl accepts a block without its end, and an end without its block.
fn blocks_close(text: &str) -> Result<(), Error> {
    let mut open: Vec<(usize, &str)> = Vec::new();
    let mut rest = 0;
    while let Some(found) = text.get(rest..).and_then(|tail| tail.find("{{")) {
        let start = rest + found;
        let inner = text.get(start + 2..).unwrap_or_default();
        let Some(length) = action_length(inner) else {
            return Err(Error {
                at: start,
                message: "the action is not closed by `}}`".to_owned(),
            });
        };
        let action = inner.get(..length).unwrap_or_default();
        let action = action.strip_prefix('-').unwrap_or(action).trim_start();
        let word = action.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
        match word {
            "if" | "range" | "with" | "define" | "block" => open.push((start, word)),
            "end" if open.pop().is_none() => {
                return Err(Error { at: start, message: "`end` closes nothing".to_owned() });
            }
            "else" if open.is_empty() => {
                return Err(Error { at: start, message: "`else` without `if`".to_owned() });
            }
            _ => {}
        }
        rest = start + 2 + length + 2;
    }
    match open.last() {
        Some((at, word)) => {
            Err(Error { at: *at, message: format!("`{word}` is not closed by `{{{{ end }}}}`") })
        }
        None => Ok(()),
    }
}

/// Bytes until the action's `}}`, which does not count within quotes and comments.
fn action_length(inner: &str) -> Option<usize> {
    if inner.trim_start_matches(['-', ' ']).starts_with("/*") {
        let comment_end = inner.find("*/")? + 2;
        return inner.get(comment_end..)?.find("}}").map(|at| comment_end + at);
    }
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in inner.char_indices() {
        match quote {
            Some(q) if c == q && !escaped => quote = None,
            // Raw text has no escapes.
            Some(q) => escaped = c == '\\' && q != '`' && !escaped,
            None if matches!(c, '"' | '`' | '\'') => quote = Some(c),
            None if c == '}' && inner.get(at..).is_some_and(|tail| tail.starts_with("}}")) => {
                return Some(at);
            }
            None => {}
        }
    }
    None
}

/// Corrects a tree and checks what gotmpl leaves to the run. The parser bounds how deep a tree is
/// (100), so recursion is bounded.
struct Walk {
    /// Variables in scope, as Go's parser keeps them.
    variables: Vec<String>,
}

impl Walk {
    /// A body sees only `$`, the whole input.
    fn new() -> Self {
        Self { variables: vec!["$".to_owned()] }
    }

    /// What a list declares ends with it.
    fn list(&mut self, list: &mut ListNode) -> Result<(), Error> {
        let n_outer = self.variables.len();
        list.nodes.iter_mut().try_for_each(|node| self.node(node))?;
        self.variables.truncate(n_outer);
        Ok(())
    }

    fn node(&mut self, node: &mut Node) -> Result<(), Error> {
        match node {
            Node::List(list) => self.list(list),
            Node::Action(action) => {
                self.pipe(&mut action.pipe)?;
                if action.pipe.decl.is_empty() {
                    let args = vec![Expr::Identifier(action.pos, SHOW.into())];
                    action.pipe.commands.push(CommandNode { pos: action.pos, args });
                }
                Ok(())
            }
            Node::If(branch) | Node::Range(branch) | Node::With(branch) => self.branch(branch),
            Node::Template(call) => call.pipe.as_mut().map_or(Ok(()), |pipe| self.pipe(pipe)),
            Node::Define(define) => Self::new().list(&mut define.body),
            Node::Text(_) | Node::Break(_) | Node::Continue(_) => Ok(()),
        }
    }

    fn branch(&mut self, branch: &mut BranchNode) -> Result<(), Error> {
        let n_outer = self.variables.len();
        self.pipe(&mut branch.pipe)?;
        self.list(&mut branch.body)?;
        branch.else_body.as_mut().map_or(Ok(()), |list| self.list(list))?;
        self.variables.truncate(n_outer);
        Ok(())
    }

    fn pipe(&mut self, pipe: &mut PipeNode) -> Result<(), Error> {
        for expr in pipe.commands.iter_mut().flat_map(|command| command.args.iter_mut()) {
            self.expr(expr)?;
        }
        if !pipe.is_assign {
            self.variables.extend(pipe.decl.iter().map(ToString::to_string));
        }
        Ok(())
    }

    fn expr(&mut self, node: &mut Expr) -> Result<(), Error> {
        match node {
            Expr::Identifier(pos, name) if !is_function(name) => {
                Err(Error { at: pos.offset, message: format!("there is no function `{name}`") })
            }
            Expr::Variable(pos, name, _) if !self.variables.iter().any(|held| *held == **name) => {
                Err(Error { at: pos.offset, message: format!("there is no variable `{name}`") })
            }
            Expr::Pipe(_, inner) => self.pipe(inner),
            Expr::Chain(_, inner, _) => self.expr(inner),
            _ => {
                if let Some(read) = label_read(node) {
                    *node = read;
                }
                Ok(())
            }
        }
    }
}

/// `$labels.name` and `.Labels.name` become a call: a label that is not there is the empty text.
fn label_read(node: &Expr) -> Option<Expr> {
    let is_labels = |name: &str| matches!(name, "Labels" | "ExternalLabels");
    let (pos, map, name) = match node {
        Expr::Variable(pos, variable, fields) => match fields.as_slice() {
            [name] if matches!(variable.as_str(), "$labels" | "$externalLabels") => {
                (*pos, Expr::Variable(*pos, variable.clone(), Vec::new()), name)
            }
            [first, name] if is_labels(first) => {
                (*pos, Expr::Variable(*pos, variable.clone(), vec![first.clone()]), name)
            }
            _ => return None,
        },
        Expr::Field(pos, fields) => match fields.as_slice() {
            [first, name] if is_labels(first) => {
                (*pos, Expr::Field(*pos, vec![first.clone()]), name)
            }
            _ => return None,
        },
        _ => return None,
    };
    let name = Expr::String(pos, Arc::from(name.as_str()));
    let args = vec![Expr::Identifier(pos, LABEL.into()), map, name];
    let commands = vec![CommandNode { pos, args }];
    Some(Expr::Pipe(pos, PipeNode { pos, decl: Vec::new(), commands, is_assign: false }))
}

fn is_function(name: &str) -> bool {
    const BUILT_IN: [&str; 20] = [
        "and", "call", "html", "index", "slice", "js", "len", "not", "or", "print", "printf",
        "println", "urlquery", "eq", "ge", "gt", "le", "lt", "ne", "query",
    ];
    const OF_SCOPE: [&str; 3] = ["externalURL", "pathPrefix", "now"];
    BUILT_IN.contains(&name) || OF_SCOPE.contains(&name) || FUNCTIONS.contains_key(name)
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
