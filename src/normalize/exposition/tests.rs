use std::fmt::Write as _;

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;

#[expect(clippy::needless_pass_by_value, reason = "expectations are written in place")]
fn check(page: &str, format: Format, expect: Expect) {
    let shown = match read(page.as_bytes(), format, 100) {
        Err(error) => format!("{error} (byte {})\n", error.offset),
        Ok(page) => {
            let mut out = String::new();
            for Scraped { labels, value, t, exemplar, .. } in &page.samples {
                let _ = write!(out, "{labels} {value}");
                if let Some(t) = t {
                    let _ = write!(out, " @{t}");
                }
                if let Some(exemplar) = exemplar {
                    let ScrapedExemplar { labels, value, t } = exemplar;
                    let _ = write!(out, " exemplar {labels} {value} {t:?}");
                }
                out.push('\n');
            }
            for MetricMetadata { name, kind, help, unit } in &page.metadata {
                let _ = writeln!(out, "# {name} {kind:?} {help:?} {unit:?}");
            }
            out
        }
    };
    expect.assert_eq(&shown);
}

#[test]
fn the_text_format_is_read_as_its_page_describes_it() {
    check(
        "# HELP http_requests_total The total number of HTTP requests.\n# TYPE http_requests_total counter\nhttp_requests_total{method=\"post\",code=\"200\"} 1027 1395066363000\n\n# Escaping in label values:\nmsdos_file_access_time_seconds{path=\"C:\\\\DIR\\\\FILE.TXT\",error=\"Cannot find file:\\n\\\"FILE.TXT\\\"\"} 1.458255915e9\nmetric_without_timestamp_and_labels 12.47\n\tsomething_weird { problem = \"division by zero\" , } +Inf -3982045\n{\"a.dotted.name\",x=\"1\"} NaN\nhex 0x10\r\n",
        Format::Text,
        expect![[r#"
            http_requests_total{code="200", method="post"} 1027 @1395066363000
            msdos_file_access_time_seconds{error="Cannot find file:\n\"FILE.TXT\"", path="C:\\DIR\\FILE.TXT"} 1458255915
            metric_without_timestamp_and_labels 12.47
            something_weird{problem="division by zero"} inf @-3982045
            a.dotted.name{x="1"} NaN
            hex 16
            # http_requests_total Counter "The total number of HTTP requests." ""
        "#]],
    );
}

#[test]
fn open_metrics_tells_seconds_exemplars_and_its_end() {
    check(
        "# TYPE foo histogram\n# UNIT foo seconds\nfoo_bucket{le=\"0.1\"} 8 # {} 0.054\nfoo_bucket{le=\"1\"} 11 1520879607.789 # {trace_id=\"KOO5S4vxi0o\"} 0.67 1520879607.7\nfoo_count 17\n# EOF\n",
        Format::OpenMetrics,
        expect![[r#"
            foo_bucket{le="0.1"} 8 exemplar {} 0.054 None
            foo_bucket{le="1"} 11 @1520879607789 exemplar {trace_id="KOO5S4vxi0o"} 0.67 Some(1520879607700)
            foo_count 17
            # foo Histogram "" "seconds"
        "#]],
    );
    check(
        "a 1\n",
        Format::OpenMetrics,
        expect![[r"
        the page has no `# EOF`: it was cut short (byte 4)
    "]],
    );
    check(
        "a 1\n# EOF\nb 2\n",
        Format::OpenMetrics,
        expect![[r"
        line 3: text after `# EOF` (byte 10)
    "]],
    );
}

#[test]
fn a_bad_line_is_named() {
    for (page, told) in [
        ("a 1\nb one\n", "line 2: \"one\" is no number"),
        ("a{b=\"1\",b=\"2\"} 1\n", "line 1: the label \"b\" comes twice"),
        ("a{b=\"1} 1\n", "line 1: a double quote is missing"),
        ("a{b 1\n", "line 1: labels are written as name=\"value\""),
        ("{b=\"1\"} 1\n", "line 1: a sample has no metric name"),
        ("a 1 soon\n", "line 1: \"soon\" is no time"),
        ("a 1 2 3\n", "line 1: unexpected \"3\" behind the sample"),
        ("# TYPE a colour\n", "line 1: there is no metric type \"colour\""),
        ("<html>\n", "line 1: a sample has no metric name"),
        ("a\n", "line 1: \"\" is no number"),
    ] {
        let error = read(page.as_bytes(), Format::Text, 100).expect_err(page);
        assert_eq!(error.message, told);
    }
}

#[test]
fn a_page_of_more_samples_than_allowed_is_refused() {
    let page = "a 1\n".repeat(3);
    assert!(read(page.as_bytes(), Format::Text, 3).is_ok());
    let error = read(page.as_bytes(), Format::Text, 2).expect_err("too many");
    assert_eq!(error.message, "line 4: more than 2 samples");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn labels_come_back_whatever_is_in_them(value in any::<String>(), number in any::<f64>()) {
        let quoted = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let page = format!("a{{b=\"{quoted}\"}} {number}\n");
        let read = read(page.as_bytes(), Format::Text, 1).map_err(|e| TestCaseError::fail(e.message))?;
        prop_assert_eq!(read.samples[0].labels.get("b").unwrap_or_default(), value.as_str());
        let same = read.samples[0].value.to_bits() == number.to_bits() || number.is_nan();
        prop_assert!(same);
    }

    #[test]
    fn no_page_makes_it_panic(page in any::<Vec<u8>>(), text in "[a{}=\",\\\\ #\n0-9]{0,60}") {
        for format in [Format::Text, Format::OpenMetrics] {
            let _ = read(&page, format, 10);
            let _ = read(text.as_bytes(), format, 10);
        }
    }
}
