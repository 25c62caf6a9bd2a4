use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;

use clap::Parser;
use expect_test::{Expect, expect};
use serde_json::Value;

use super::*;
use crate::clock::Clock;
use crate::pipeline::{Pipeline, Settings};
use crate::signal::Timestamp;

#[derive(Debug, Parser)]
struct Command {
    #[command(flatten)]
    args: ReplayArgs,
}

#[derive(Debug, Parser)]
struct Workload {
    #[command(flatten)]
    args: crate::cli::simulate::SimulateArgs,
}

fn args(words: &[&str]) -> ReplayArgs {
    Command::try_parse_from([&["replay"], words].concat()).expect("good arguments").args
}

fn done(words: &[&str]) -> (Outcomes, Vec<String>) {
    replay(&args(words)).expect("it can be read").expect("good rules")
}

/// A function that fails from 10:02 to 10:04, once a second, told by JSON records.
fn tuesday() -> String {
    let begin = Timestamp::parse_rfc3339("2025-03-04T10:00:00Z").expect("a time");
    let mut lines = String::new();
    for second in 0..600_u64 {
        let time = begin.saturating_add(Duration::from_secs(second));
        let fails = (120..240).contains(&second);
        let told = if fails {
            r#""level":"ERROR","error":"no stock","duration_ms":5"#
        } else {
            r#""level":"INFO","duration_ms":5"#
        };
        let _ = writeln!(
            lines,
            "{{\"timestamp\":\"{time}\",\"function_name\":\"orders\",\"function_request_id\":\"r-{second}\",{told},\"message\":\"done\"}}"
        );
    }
    lines
}

const RULE: &str = "groups:
  - name: orders
    interval: 5s
    rules:
      - alert: OrdersFail
        expr: sum by (faas_name) (increase(throughline_invocations_total{outcome=\"error\"}[1m])) > 30
        for: 10s
        annotations: {summary: '{{ $labels.faas_name }} fails'}
";

#[expect(clippy::needless_pass_by_value, reason = "expectations are written in place")]
fn check(words: &[&str], expect: Expect) {
    let (outcomes, problems) = done(words);
    assert_eq!(problems, Vec::<String>::new());
    let shown = show::text(&outcomes);
    // Where in its interval a group runs follows from its file's name, which is another each time.
    let seconds = regex::Regex::new(r":\d\d\.\d{3}Z").expect("a pattern");
    let shown = seconds.replace_all(&shown, "");
    // Ids are hashes, and of twenty alike one is enough.
    let lines: Vec<&str> = shown.lines().filter(|line| !line.contains(" ms  ")).collect();
    expect.assert_eq(&format!("{}\n", lines.join("\n")));
}

#[test]
fn a_rule_over_last_tuesdays_logs_says_when_it_would_have_paged() {
    let dir = tempfile::tempdir().expect("a folder");
    let day = dir.path().join("2025/03/04");
    fs::create_dir_all(&day).expect("a folder");
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(tuesday().as_bytes()).expect("memory");
    fs::write(day.join("records.gz"), packed.finish().expect("memory")).expect("a file");
    let rules = dir.path().join("rules");
    fs::create_dir(&rules).expect("a folder");
    fs::write(rules.join("orders.yaml"), RULE).expect("a file");
    fs::write(rules.join("orders.test.yaml"), "no rules").expect("a file");
    let (year, rules) = (dir.path().join("2025"), rules.display().to_string());
    check(
        &[&year.display().to_string(), "--rules", &rules],
        expect![[r#"
        from 2025-03-04T10:00 to 2025-03-04T10:10
        600 requests: 480 ok, 120 error
          and 100 more; --json tells all
        1 alert would have fired
          2025-03-04T10:02  {alertname="OrdersFail", faas_name="orders"}  resolved 2025-03-04T10:04
              orders fails
    "#]],
    );
    let (outcomes, _) = done(&[&year.display().to_string(), "--rules", &rules]);
    let json = show::json(&outcomes);
    assert_eq!(json["alerts"][0]["name"], "OrdersFail");
    assert_eq!(json["requests"].as_array().map(Vec::len), Some(600));
    assert_eq!(json["ledger"]["receivers"]["json"]["received"], 600);
}

#[test]
fn an_exported_log_group_is_read_line_by_line() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("000000");
    let text = "2025-03-04T10:00:00.000Z START RequestId: 6f7f1b4e-0000-4000-8000-000000000001 Version: $LATEST\n2025-03-04T10:00:00.400Z [ERROR] it broke\n  at line 3\n2025-03-04T10:00:00.500Z END RequestId: 6f7f1b4e-0000-4000-8000-000000000001\n2025-03-04T10:00:00.500Z REPORT RequestId: 6f7f1b4e-0000-4000-8000-000000000001\tDuration: 500.00 ms\tBilled Duration: 500 ms\tMemory Size: 128 MB\tMax Memory Used: 40 MB\t\n";
    fs::write(&file, text).expect("a file");
    let path = file.display().to_string();
    let error = replay(&args(&[&path])).expect_err("whose is it?");
    assert!(error.to_string().contains("--function NAME"), "{error}");
    let (outcomes, _) = done(&[&path, "--function", "checkout"]);
    let request = outcomes.requests.first().expect("a request");
    assert_eq!((&*request.flow, request.duration.as_millis()), ("checkout", 500));
}

#[test]
fn a_simulated_workload_ends_as_its_truth_says() {
    let dir = tempfile::tempdir().expect("a folder");
    let out = dir.path().join("w").display().to_string();
    let words =
        ["simulate", "--requests", "80", "--fault", "timeouts", "--repeat", "1", "--out", &out];
    let simulate = Workload::try_parse_from(words).map(|command| command.args);
    crate::cli::simulate::run(&simulate.expect("good arguments")).expect("a workload");
    let truth = fs::read_to_string(dir.path().join("w/truth.ndjson")).expect("the truth");
    let expected = |outcome: &str| {
        let told = truth.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        told.filter(|request| request["outcome"] == outcome && request["continues"].is_null())
            .count()
    };
    let (outcomes, problems) = done(&[&out]);
    assert_eq!(problems, Vec::<String>::new());
    for (outcome, n) in outcomes.by_outcome() {
        assert_eq!(n, expected(outcome.as_str()), "{}", outcome.as_str());
    }
    let ledger = &outcomes.ledger["receivers"];
    let n = |of: &str| {
        ledger
            .as_object()
            .expect("receivers")
            .values()
            .filter_map(|one| one[of].as_u64())
            .sum::<u64>()
    };
    assert_eq!(n("duplicate") * 2, n("received"), "each payload came twice: {ledger}");
}

#[test]
fn what_nobody_can_tell_is_an_error() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("x");
    fs::write(&file, "hello").expect("a file");
    let error = replay(&args(&[&file.display().to_string()])).expect_err("what is it?");
    assert!(error.to_string().contains("--from"), "{error}");
    fs::write(&file, "{\"resourceSpans\": 7}").expect("a file");
    let (outcomes, problems) = done(&[&file.display().to_string()]);
    assert_eq!((problems.len(), show::text(&outcomes).as_str()), (1, "nothing was captured\n"));
    assert!(Command::try_parse_from(["replay", "x", "--from", "smoke"]).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_is_lived_again_under_other_rules() {
    let dir = tempfile::tempdir().expect("a folder");
    let data_dir = dir.path().join("data").display().to_string();
    let sets: Vec<String> = [("otlp_grpc", 0), ("ingest", 0), ("web", 0)]
        .map(|(name, port)| format!("listen.{name}=127.0.0.1:{port}"))
        .into_iter()
        .chain([format!("data_dir={data_dir}"), "correlate.settle_after=1s".to_owned()])
        .collect();
    let config = Config::load(None, &sets).expect("a good configuration");
    let clock = Clock::accelerated(Duration::from_mins(10), 20.0);
    drop(rustls::crypto::ring::default_provider().install_default());
    let pipeline = Pipeline::start(Settings::new(config, clock.clone())).await.expect("a start");
    let now = clock.now();
    let records: String = (0..40)
        .map(|n| format!("{{\"timestamp\":\"{now}\",\"function_name\":\"orders\",\"function_request_id\":\"r-{n}\",\"level\":\"ERROR\",\"error\":\"x\",\"duration_ms\":5}}\n"))
        .collect();
    let url = format!("http://{}/ingest/json", pipeline.addresses().ingest);
    let answer = reqwest::Client::new().post(url).body(records).send().await.expect("an answer");
    assert!(answer.status().is_success());
    // The journal's own ticks are what ages; some must pass.
    tokio::time::sleep(clock.real(Duration::from_secs(8))).await;
    pipeline.stop().await;
    let rules = dir.path().join("r.yaml");
    fs::write(&rules, RULE.replace("for: 10s", "for: 0s").replace("interval: 5s", "interval: 1s"))
        .expect("a file");
    let words = [data_dir, "--rules".to_owned(), rules.display().to_string()];
    let (outcomes, _) = tokio::task::spawn_blocking(move || {
        done(&words.iter().map(String::as_str).collect::<Vec<_>>())
    })
    .await
    .expect("it ends");
    assert_eq!(outcomes.requests.len(), 40);
    let names: Vec<&str> = outcomes.alerts.iter().map(|alert| &*alert.name).collect();
    assert_eq!(names, ["OrdersFail"]);
}
