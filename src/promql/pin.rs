//! A query held to one time: `@` on every selector, so that it answers alike whenever it is asked.

use super::ast::{At, Expr, Kind, Shift};

/// Functions whose answer depends on the evaluation time itself (`AtModifierUnsafeFunctions`).
const UNSAFE: [&str; 18] = [
    "days_in_month",
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "hour",
    "minute",
    "month",
    "year",
    "predict_linear",
    "time",
    "timestamp",
    "start_timestamp",
    "start",
    "end",
    "range",
    "step",
    "info",
    "limit_ratio",
];

/// Pins what is not pinned yet; what lies within a subquery follows the subquery. False where that
/// does not hold the expression to one time.
pub(super) fn pin(expr: &mut Expr, at: i64) -> bool {
    let set = |shift: &mut Shift| {
        shift.at.get_or_insert(At::Time(at));
        true
    };
    match &mut expr.kind {
        Kind::Number(_) | Kind::Text(_) => true,
        Kind::Selector(selector) | Kind::Window { selector, .. } => set(&mut selector.shift),
        Kind::Subquery { shift, inner, .. } => set(shift) && is_safe(inner),
        Kind::Paren(inner) | Kind::Unary { inner, .. } => pin(inner, at),
        Kind::Call { function, args } => {
            !UNSAFE.contains(&function.name) && args.iter_mut().all(|arg| pin(arg, at))
        }
        Kind::Aggregate(aggregate) => {
            pin(&mut aggregate.inner, at)
                && aggregate.param.as_mut().is_none_or(|param| pin(param, at))
        }
        Kind::Binary(binary) => pin(&mut binary.left, at) && pin(&mut binary.right, at),
    }
}

fn is_safe(expr: &Expr) -> bool {
    let own = !matches!(&expr.kind, Kind::Call { function, .. } if UNSAFE.contains(&function.name));
    own && expr.children().into_iter().all(is_safe)
}
