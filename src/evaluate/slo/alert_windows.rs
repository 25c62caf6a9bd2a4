//! Sloth's `AlertWindows` (`pkg/prometheus/alertwindows/v1`): other windows and shares of the budget
//! than the workbook's, for the Sloth specs of a run.
//!
//! ```yaml
//! apiVersion: sloth.slok.dev/v1
//! kind: AlertWindows
//! spec:
//!   sloPeriod: 7d
//!   page:
//!     quick: {errorBudgetPercent: 8, shortWindow: 5m, longWindow: 1h}
//!     slow: {errorBudgetPercent: 12.5, shortWindow: 30m, longWindow: 6h}
//!   ticket:
//!     quick: {errorBudgetPercent: 20, shortWindow: 2h, longWindow: 1d}
//!     slow: {errorBudgetPercent: 42, shortWindow: 6h, longWindow: 3d}
//! ```

use std::time::Duration;

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::burn::{PAGE, Pair, TICKET, Windows};
use super::document::Document;
use crate::signal::{Diagnostic, parse_duration};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Object {
    #[expect(dead_code, reason = "the format was chosen by it; unknown keys are refused")]
    api_version: String,
    #[expect(dead_code, reason = "the reader was chosen by it; unknown keys are refused")]
    kind: String,
    #[expect(dead_code, reason = "a name for people")]
    metadata: Option<serde_json::Value>,
    spec: Spec,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Spec {
    slo_period: Spanned<String>,
    page: Severity,
    ticket: Severity,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Severity {
    quick: Window,
    slow: Window,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "Sloth names them so")]
struct Window {
    error_budget_percent: Spanned<f64>,
    short_window: Spanned<String>,
    long_window: Spanned<String>,
}

/// # Errors
/// What is no duration, no percentage, or a short window that is not the shorter one.
pub(super) fn read(document: &Document<'_>) -> Result<Windows, Diagnostic> {
    let Spec { slo_period, page, ticket } = document.read::<Object>()?.spec;
    let length = |raw: &Spanned<String>| {
        let parsed = parse_duration(&raw.value).filter(|length| !length.is_zero());
        parsed.ok_or_else(|| {
            document.error(&raw.referenced, format!("`{}` is no duration; write 30d", raw.value))
        })
    };
    let period = length(&slo_period)?;
    let pair = |severity, window: &Window| -> Result<Pair, Diagnostic> {
        let long: Duration = length(&window.long_window)?;
        let short: Duration = length(&window.short_window)?;
        let Spanned { value: percent, referenced: place, .. } = &window.error_budget_percent;
        if !(*percent > 0.0 && *percent <= 100.0) {
            return Err(document.error(place, "a percentage is above 0 and at most 100"));
        }
        if short >= long || long > period {
            let message =
                "the short window is shorter than the long one, and that no longer than the period";
            return Err(document.error(&window.short_window.referenced, message));
        }
        Ok(Pair::spending(percent / 100.0, severity, (long, short), period))
    };
    let pairs = vec![
        pair(PAGE, &page.quick)?,
        pair(PAGE, &page.slow)?,
        pair(TICKET, &ticket.quick)?,
        pair(TICKET, &ticket.slow)?,
    ];
    Ok(Windows { period, pairs })
}
