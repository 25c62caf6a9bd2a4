//! The commands of a test file.

use regex::Regex;
use throughline::promql::{Options, Output, Query, Range};

#[derive(Debug)]
pub(crate) enum Command {
    Clear,
    Load(Load),
    Eval(Box<Case>),
}

#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) line: usize,
    pub(crate) interval: i64,
    pub(crate) with_custom_buckets: bool,
    pub(crate) series: Vec<String>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum When {
    Instant(i64),
    Range(Range),
}

/// What a message must be like.
#[derive(Clone, Debug)]
pub(crate) enum Pattern {
    Any,
    Exactly(String),
    Like(Regex),
}

impl Pattern {
    pub(crate) fn matches(&self, message: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exactly(text) => text == message,
            Self::Like(regex) => regex.is_match(message),
        }
    }
}

/// Messages of one kind: some that must be there, or none at all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Messages {
    pub(crate) none: bool,
    pub(crate) wanted: Vec<Pattern>,
}

#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) line: usize,
    pub(crate) when: When,
    pub(crate) expr: String,
    pub(crate) ordered: bool,
    pub(crate) fails: Option<Pattern>,
    pub(crate) warnings: Messages,
    pub(crate) infos: Messages,
    pub(crate) string: Option<String>,
    /// Where an instant query answers with a range vector: its times.
    pub(crate) matrix: Option<Range>,
    pub(crate) values: Vec<String>,
}

pub(crate) fn is_scalar(line: &str) -> bool {
    number(line).is_some()
}

pub(crate) fn number(text: &str) -> Option<f64> {
    let evaluated = Query::parse(text.trim()).ok()?;
    let none = |_: &throughline::series::Selection<'_>| Ok(Vec::new());
    let plain = !text.contains(|c: char| c.is_whitespace() || c == '(');
    let answer = evaluated.instant(0, &Options::default(), &none).ok()?;
    match answer.output {
        Output::Scalar(_, x) if plain => Some(x),
        _ => None,
    }
}

pub(crate) fn millis(text: &str) -> i64 {
    let seconds = number(text).unwrap_or(f64::NAN);
    format!("{:.0}", seconds * 1000.0).parse().unwrap_or(0)
}

pub(crate) fn commands(text: &str) -> Vec<Command> {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .map(|line| if line.starts_with('#') { "" } else { line })
        .collect();
    let mut commands = Vec::new();
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        let first = at + 1;
        at += 1;
        if line.is_empty() {
            continue;
        }
        let word = line.split_whitespace().next().unwrap_or_default().to_ascii_lowercase();
        if word == "clear" {
            commands.push(Command::Clear);
            continue;
        }
        let mut block: Vec<String> = Vec::new();
        while let Some(line) = lines.get(at).filter(|line| !line.is_empty()) {
            block.push((*line).to_owned());
            at += 1;
        }
        if let Some(interval) = line.strip_prefix("load_with_nhcb ") {
            commands.push(load(first, interval, true, block));
        } else if let Some(interval) = line.strip_prefix("load ") {
            commands.push(load(first, interval, false, block));
        } else if word.starts_with("eval") {
            commands
                .extend(case(first, line, &word, block).map(|case| Command::Eval(Box::new(case))));
        }
    }
    commands
}

fn load(line: usize, interval: &str, with_custom_buckets: bool, series: Vec<String>) -> Command {
    Command::Load(Load { line, interval: millis(interval), with_custom_buckets, series })
}

fn case(line: usize, head: &str, word: &str, block: Vec<String>) -> Option<Case> {
    let instant = Regex::new(r"^eval\S*\s+instant\s+(?:at\s+)?(\S+)\s+(.+)$").ok()?;
    let range =
        Regex::new(r"^eval\S*\s+range\s+from\s+(\S+)\s+to\s+(\S+)\s+step\s+(\S+)\s+(.+)$").ok()?;
    let (when, expr) = if let Some(found) = instant.captures(head) {
        (When::Instant(millis(&found[1])), found[2].to_owned())
    } else {
        let found = range.captures(head)?;
        (When::Range(times(&found[1], &found[2], &found[3])), found[4].to_owned())
    };
    let any =
        |on: bool| Messages { none: false, wanted: if on { vec![Pattern::Any] } else { vec![] } };
    let mut case = Case {
        line,
        when,
        expr,
        ordered: word == "eval_ordered",
        fails: (word == "eval_fail").then_some(Pattern::Any),
        warnings: any(word == "eval_warn"),
        infos: any(word == "eval_info"),
        string: None,
        matrix: None,
        values: Vec::new(),
    };
    for line in block {
        if let Some(rest) = line.strip_prefix("expect ") {
            expectation(&mut case, rest.trim());
        } else if let Some(message) = line.strip_prefix("expected_fail_message ") {
            case.fails = Some(Pattern::Exactly(message.trim().to_owned()));
        } else if let Some(regex) = line.strip_prefix("expected_fail_regexp ") {
            case.fails = Regex::new(regex.trim()).ok().map(Pattern::Like);
        } else {
            case.values.push(line);
        }
    }
    Some(case)
}

fn times(start: &str, end: &str, step: &str) -> Range {
    Range { start: millis(start), end: millis(end), step: millis(step) }
}

fn expectation(case: &mut Case, rest: &str) {
    let (kind, detail) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let detail = detail.trim();
    let pattern = if let Some(text) = detail.strip_prefix("msg:") {
        Pattern::Exactly(text.trim().to_owned())
    } else if let Some(text) = detail.strip_prefix("regex:") {
        Regex::new(text.trim()).map_or(Pattern::Any, Pattern::Like)
    } else {
        Pattern::Any
    };
    match kind {
        "fail" => case.fails = Some(pattern),
        "warn" => case.warnings.wanted.push(pattern),
        "info" => case.infos.wanted.push(pattern),
        "no_warn" => case.warnings.none = true,
        "no_info" => case.infos.none = true,
        "ordered" => case.ordered = true,
        "string" => case.string = Some(detail.to_owned()),
        "range" => {
            let words: Vec<&str> = detail.split_whitespace().collect();
            if let ["vector", "from", start, "to", end, "step", step] = words.as_slice() {
                case.matrix = Some(times(start, end, step));
            }
        }
        _ => {}
    }
}
