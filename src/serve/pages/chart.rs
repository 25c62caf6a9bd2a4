//! Line charts as inline SVG.

use super::html::Html;
use super::query::Line;
use crate::number::{f64_from_i64, f64_from_usize};

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 150.0;
const LEFT: f64 = 52.0;
const BOTTOM: f64 = 20.0;
const TOP: f64 = 8.0;
/// Colours of the style sheet, `.c0` to `.c5`; more lines share them.
const COLORS: [&str; 6] = ["c0", "c1", "c2", "c3", "c4", "c5"];

/// A chart of lines with a name each; `show` writes a value of the vertical axis.
pub(super) fn lines(
    title: &str,
    lines: &[(String, &Line)],
    show: fn(Option<f64>) -> String,
) -> Html {
    let mut html = Html::new();
    html.raw("<figure><figcaption>").text(title).raw("</figcaption>");
    let points = || lines.iter().flat_map(|(_, line)| line.points.iter());
    let (Some(first), Some(last)) = (points().map(|p| p.0).min(), points().map(|p| p.0).max())
    else {
        html.raw("<p class=\"none\">nothing yet</p></figure>");
        return html;
    };
    let top = points().map(|p| p.1).fold(0.0_f64, f64::max).max(1e-9) * 1.1;
    let span = f64_from_i64((last - first).max(1));
    let x = |t: i64| LEFT + f64_from_i64(t - first) / span * (WIDTH - LEFT - 4.0);
    let y = |v: f64| HEIGHT - BOTTOM - v / top * (HEIGHT - BOTTOM - TOP);
    html.raw("<svg viewBox=\"0 0 560 150\" role=\"img\" aria-label=\"").text(title).raw("\">");
    for share in [0.0, 0.5, 1.0] {
        let at = y(top / 1.1 * share);
        html.raw("<line class=\"grid\" x1=\"52\" x2=\"556\" y1=\"")
            .text(format_args!("{at:.1}"))
            .raw("\" y2=\"")
            .text(format_args!("{at:.1}"))
            .raw("\"/>");
        html.raw("<text class=\"axis\" x=\"48\" text-anchor=\"end\" y=\"")
            .text(format_args!("{:.1}", at + 3.5))
            .raw("\">")
            .text(show(Some(top / 1.1 * share)))
            .raw("</text>");
    }
    for (at, anchor) in [(first, "start"), (last, "end")] {
        html.raw("<text class=\"axis\" y=\"146\" text-anchor=\"")
            .raw(anchor)
            .raw("\" x=\"")
            .text(format_args!("{:.1}", x(at)))
            .raw("\">")
            .text(time_of_day(at))
            .raw("</text>");
    }
    for (i, (name, line)) in lines.iter().enumerate() {
        let color = COLORS.get(i % COLORS.len()).copied().unwrap_or("c0");
        html.raw("<polyline class=\"line ").raw(color).raw("\" points=\"");
        for (t, v) in &line.points {
            html.text(format_args!("{:.1},{:.1} ", x(*t), y(*v)));
        }
        html.raw("\"><title>").text(name).raw("</title></polyline>");
    }
    html.raw("</svg>").add(&legend(lines)).raw("</figure>");
    html
}

fn legend(lines: &[(String, &Line)]) -> Html {
    let mut html = Html::new();
    html.raw("<ul class=\"legend\">");
    for (i, (name, _)) in lines.iter().enumerate() {
        let color = COLORS.get(i % COLORS.len()).copied().unwrap_or("c0");
        html.raw("<li><svg viewBox=\"0 0 10 10\"><rect class=\"")
            .raw(color)
            .raw("\" width=\"10\" height=\"10\" rx=\"2\"/></svg>")
            .text(name)
            .raw("</li>");
    }
    html.raw("</ul>");
    html
}

/// `14:05:30`, UTC, of milliseconds since the epoch.
fn time_of_day(millis: i64) -> String {
    let seconds = millis.div_euclid(1000).rem_euclid(86_400);
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// A share from 0 to 1 as a bar; out of range is the nearer end.
pub(super) fn bar(share: f64, class: &'static str) -> Html {
    let width = (share.clamp(0.0, 1.0) * 100.0).max(if share > 0.0 { 0.5 } else { 0.0 });
    let mut html = Html::new();
    html.raw("<svg class=\"bar\" viewBox=\"0 0 100 8\" preserveAspectRatio=\"none\"><rect class=\"track\" width=\"100\" height=\"8\"/><rect height=\"8\" class=\"")
        .raw(class)
        .raw("\" width=\"")
        .text(format_args!("{width:.2}"))
        .raw("\"/></svg>");
    html
}

/// Evenly spread marks from 0 to `max`.
pub(super) fn marks(max: f64, n: usize) -> Vec<f64> {
    (0..=n).map(|i| max * f64_from_usize(i) / f64_from_usize(n.max(1))).collect()
}
