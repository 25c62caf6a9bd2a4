//! A query as text in canonical form. What is never true: text that parses to another tree.

use std::fmt::{self, Display, Formatter, Write as _};

use super::ast::{
    Aggregate, At, Binary, Card, DurationExpr, Edges, Expr, Grouping, Kind, MatchBy, Selector,
    Shift,
};
use super::text::{duration_text, is_label_name, is_metric_name, plain_number, quote};
use crate::number::f64_from_i64;
use crate::series::{MatchOp, Matcher};
use crate::signal::{METRIC_NAME, Text};

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.kind {
            // With its sign it would read as an operator before a number.
            Kind::Number(x) if *x == f64::INFINITY => f.write_str("Inf"),
            Kind::Number(x) => f.write_str(&plain_number(*x)),
            Kind::Text(text) => f.write_str(&quote(text)),
            Kind::Paren(inner) => write!(f, "({inner})"),
            Kind::Unary { negative, inner } => {
                write!(f, "{}{inner}", if *negative { '-' } else { '+' })
            }
            Kind::Selector(selector) => {
                matchers(f, selector)?;
                moved(f, selector)
            }
            Kind::Window { selector, range } => {
                matchers(f, selector)?;
                write!(f, "[{range}]")?;
                moved(f, selector)
            }
            Kind::Subquery { inner, range, step, shift: moved } => {
                write!(f, "{inner}[{range}:")?;
                if let Some(step) = step {
                    write!(f, "{step}")?;
                }
                f.write_str("]")?;
                shift(f, moved)
            }
            Kind::Call { function, args } => {
                f.write_str(function.name)?;
                match args.as_slice() {
                    // `info` takes conditions alone, so a name stands in braces too.
                    [of, Expr { kind: Kind::Selector(selector), .. }]
                        if function.name == "info" =>
                    {
                        write!(f, "({of}, ")?;
                        braced(f, &selector.matchers)?;
                        f.write_char(')')
                    }
                    _ => list(f, args),
                }
            }
            Kind::Aggregate(aggregate) => aggregation(f, aggregate),
            Kind::Binary(_) => {
                let (first, chain) = self.chain();
                write!(f, "{first}")?;
                chain.into_iter().try_for_each(|(binary, _)| operation(f, binary))
            }
        }
    }
}

fn list<T: Display>(f: &mut Formatter<'_>, items: &[T]) -> fmt::Result {
    f.write_char('(')?;
    for (i, item) in items.iter().enumerate() {
        write!(f, "{}{item}", if i > 0 { ", " } else { "" })?;
    }
    f.write_char(')')
}

fn labels(f: &mut Formatter<'_>, names: &[Text]) -> fmt::Result {
    let names: Vec<String> = names.iter().map(|name| label(name)).collect();
    list(f, &names)
}

fn label(name: &str) -> String {
    if is_label_name(name) { name.to_owned() } else { quote(name) }
}

/// A name goes before the braces where it can stand there unquoted.
fn matchers(f: &mut Formatter<'_>, selector: &Selector) -> fmt::Result {
    let is_name = |m: &Matcher| &*m.name == METRIC_NAME && m.op == MatchOp::Equal;
    let mut rest = selector.matchers.as_slice();
    if let [first, others @ ..] = rest
        && is_name(first)
        && is_metric_name(&first.value)
        && super::text::number(&first.value).is_none()
        && !super::parser::is_reserved(&first.value)
        && !others.iter().any(is_name)
    {
        f.write_str(&first.value)?;
        rest = others;
        if rest.is_empty() {
            return Ok(());
        }
    }
    braced(f, rest)
}

fn braced(f: &mut Formatter<'_>, matchers: &[Matcher]) -> fmt::Result {
    f.write_char('{')?;
    for (i, matcher) in matchers.iter().enumerate() {
        let op = match matcher.op {
            MatchOp::Equal => "=",
            MatchOp::NotEqual => "!=",
            MatchOp::Regex => "=~",
            MatchOp::NotRegex => "!~",
        };
        let comma = if i > 0 { "," } else { "" };
        write!(f, "{comma}{}{op}{}", label(&matcher.name), quote(&matcher.value))?;
    }
    f.write_char('}')
}

fn moved(f: &mut Formatter<'_>, selector: &Selector) -> fmt::Result {
    shift(f, &selector.shift)?;
    match selector.edges {
        Edges::Within => Ok(()),
        edges => write!(f, " {}", edges.word()),
    }
}

fn shift(f: &mut Formatter<'_>, shift: &Shift) -> fmt::Result {
    match shift.at {
        Some(At::Time(millis)) => {
            write!(f, " @ {}", plain_number(f64_from_i64(millis) / 1000.0))?;
        }
        Some(At::Start) => f.write_str(" @ start()")?,
        Some(At::End) => f.write_str(" @ end()")?,
        None => {}
    }
    match &shift.offset {
        Some(offset) => write!(f, " offset {offset}"),
        None => Ok(()),
    }
}

fn aggregation(f: &mut Formatter<'_>, aggregate: &Aggregate) -> fmt::Result {
    f.write_str(aggregate.op.word())?;
    match &aggregate.grouping {
        Grouping::All => {}
        Grouping::By(names) => {
            f.write_str(" by ")?;
            labels(f, names)?;
            f.write_char(' ')?;
        }
        Grouping::Without(names) => {
            f.write_str(" without ")?;
            labels(f, names)?;
            f.write_char(' ')?;
        }
    }
    match &aggregate.param {
        Some(param) => write!(f, "({param}, {})", aggregate.inner),
        None => write!(f, "({})", aggregate.inner),
    }
}

/// Without the operand on its left.
fn operation(f: &mut Formatter<'_>, binary: &Binary) -> fmt::Result {
    write!(f, " {}", binary.op.symbol())?;
    if binary.returns_bool {
        f.write_str(" bool")?;
    }
    let matching = &binary.matching;
    let grouped = matching.card != Card::OneToOne;
    match &matching.by {
        MatchBy::On(names) => {
            f.write_str(" on ")?;
            labels(f, names)?;
        }
        MatchBy::Ignoring(names) if !names.is_empty() || grouped => {
            f.write_str(" ignoring ")?;
            labels(f, names)?;
        }
        MatchBy::Ignoring(_) => {}
    }
    if grouped {
        let side = if matching.card == Card::ManyToOne { "group_left" } else { "group_right" };
        write!(f, " {side} ")?;
        labels(f, &matching.include)?;
    }
    if let Some(value) = matching.fill_left {
        write!(f, " fill_left ({})", plain_number(value))?;
    }
    if let Some(value) = matching.fill_right {
        write!(f, " fill_right ({})", plain_number(value))?;
    }
    write!(f, " {}", binary.right)
}

impl Display for DurationExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seconds(seconds) => match duration_text(*seconds) {
                Some(text) => f.write_str(&text),
                None => f.write_str(&plain_number(*seconds)),
            },
            Self::Step => f.write_str("step()"),
            Self::Range => f.write_str("range()"),
            Self::Paren(inner) => write!(f, "({inner})"),
            Self::Sign { negative, inner } => {
                write!(f, "{}{inner}", if *negative { '-' } else { '+' })
            }
            Self::Binary { op, left, right } => write!(f, "{left} {} {right}", op.symbol()),
            Self::Smaller(left, right) => write!(f, "min_of({left}, {right})"),
            Self::Larger(left, right) => write!(f, "max_of({left}, {right})"),
        }
    }
}
