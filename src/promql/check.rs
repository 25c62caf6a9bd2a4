//! Type rules of expressions, in Prometheus's words. What comes in: one node whose parts are
//! checked already. What goes out: nothing, or the error with its place.

use super::ParseError;
use super::ast::{Aggregate, AggregateOp, Binary, Card, Edges, Expr, Kind, MatchBy, Span, Type};
use super::parser::error_at;
use super::signature::Function;

pub(super) fn check(function: &Function, args: &[Expr], span: Span) -> Result<(), ParseError> {
    let (min, max) = (function.args_min(), function.args_max());
    let wanted = if args.len() < min {
        let at_least = if max == Some(min) { "" } else { "at least " };
        Some(format!("{at_least}{min}"))
    } else if max.is_some_and(|max| args.len() > max) {
        let at_most = if max == Some(min) { "" } else { "at most " };
        Some(format!("{at_most}{}", max.unwrap_or_default()))
    } else {
        None
    };
    if let Some(wanted) = wanted {
        let message = format!(
            "expected {wanted} argument(s) in call to {:?}, got {}",
            function.name,
            args.len()
        );
        return Err(error_at(span, message));
    }
    for (at, arg) in args.iter().enumerate() {
        if let Some(wanted) = function.arg(at) {
            expect(arg, wanted, &format!("call to function {:?}", function.name))?;
        }
        edges(function.name, arg)?;
    }
    Ok(())
}

/// Which functions take a window with `anchored` or `smoothed`.
fn edges(function: &str, arg: &Expr) -> Result<(), ParseError> {
    let Kind::Window { selector, .. } = &arg.unwrapped().kind else { return Ok(()) };
    let takers: &[&str] = match selector.edges {
        Edges::Within => return Ok(()),
        Edges::Anchored => &["changes", "delta", "increase", "rate", "resets"],
        Edges::Smoothed => &["delta", "increase", "rate"],
    };
    if takers.contains(&function) {
        return Ok(());
    }
    let (word, takers) = (selector.edges.word(), takers.join(", "));
    let message = format!("{word} modifier can only be used with: {takers} - not with {function}");
    Err(error_at(arg.span, message))
}

/// What a whole query may be: a window with `anchored` or `smoothed` has no samples of its own to show.
pub(super) fn whole(expr: &Expr) -> Result<(), ParseError> {
    match &expr.unwrapped().kind {
        Kind::Window { selector, .. } if selector.edges != Edges::Within => {
            let word = selector.edges.word();
            Err(error_at(expr.span, format!("{word} modifier needs a function around the range")))
        }
        _ => Ok(()),
    }
}

fn expect(expr: &Expr, wanted: Type, place: &str) -> Result<(), ParseError> {
    let got = expr.value_type();
    if got == wanted {
        return Ok(());
    }
    let (wanted, got) = (wanted.documented(), got.documented());
    Err(error_at(expr.span, format!("expected type {wanted} in {place}, got {got}")))
}

pub(super) fn aggregate(aggregate: &Aggregate) -> Result<(), ParseError> {
    expect(&aggregate.inner, Type::Vector, "aggregation expression")?;
    if let Some(param) = &aggregate.param {
        let wanted =
            if aggregate.op == AggregateOp::CountValues { Type::Text } else { Type::Scalar };
        expect(param, wanted, "aggregation parameter")?;
    }
    Ok(())
}

pub(super) fn unary(inner: &Expr, at: Span) -> Result<(), ParseError> {
    let got = inner.value_type();
    if matches!(got, Type::Scalar | Type::Vector) {
        return Ok(());
    }
    let message = format!(
        "unary expression only allowed on expressions of type scalar or instant vector, got {:?}",
        got.documented()
    );
    Err(error_at(at.to(inner.span), message))
}

/// `written` is where `on`, `ignoring` or a fill modifier stands.
pub(super) fn binary(binary: &Binary, op: Span, written: Option<Span>) -> Result<(), ParseError> {
    for side in [&binary.left, &binary.right] {
        if !matches!(side.value_type(), Type::Scalar | Type::Vector) {
            let message = "binary expression must contain only scalar and instant vector types";
            return Err(error_at(side.span, message));
        }
    }
    let scalars = [&binary.left, &binary.right].map(|e| e.value_type() == Type::Scalar);
    if scalars == [true, true] && binary.op.is_comparison() && !binary.returns_bool {
        return Err(error_at(op, "comparisons between scalars must use BOOL modifier"));
    }
    if scalars.contains(&true) {
        if binary.op.is_set() {
            let symbol = binary.op.symbol();
            let message =
                format!("set operator {symbol:?} not allowed in binary scalar expression");
            return Err(error_at(op, message));
        }
        let labels = match &binary.matching.by {
            MatchBy::On(labels) | MatchBy::Ignoring(labels) => labels,
        };
        // Upstream takes an `on ()` that names nothing.
        let fills = binary.matching.fill_left.is_some() || binary.matching.fill_right.is_some();
        if let Some(span) = written.filter(|_| fills || !labels.is_empty()) {
            return Err(error_at(span, "vector matching only allowed between instant vectors"));
        }
    }
    if binary.op.is_set() {
        set_operator(binary, op)?;
    }
    if let MatchBy::On(on) = &binary.matching.by
        && let Some(label) = binary.matching.include.iter().find(|label| on.contains(label))
    {
        let message = format!("label {label:?} must not occur in ON and GROUP clause at once");
        return Err(error_at(op, message));
    }
    Ok(())
}

fn set_operator(binary: &Binary, op: Span) -> Result<(), ParseError> {
    let symbol = binary.op.symbol();
    if binary.matching.card != Card::OneToOne {
        return Err(error_at(op, format!("no grouping allowed for {symbol:?} operation")));
    }
    if binary.matching.fill_left.is_some() || binary.matching.fill_right.is_some() {
        return Err(error_at(op, format!("filling in missing series not allowed for {symbol:?}")));
    }
    Ok(())
}

/// A text argument's value, within any parentheses.
pub(super) fn text_of(expr: &Expr) -> &str {
    match &expr.unwrapped().kind {
        Kind::Text(text) => text,
        _ => "",
    }
}
