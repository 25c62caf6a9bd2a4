//! libFuzzer's text to `promql::parse`: `fuzz/run promql_parse`.
#![no_main]

#[path = "../../tests/fuzz/promql.rs"]
#[expect(dead_code, reason = "a module of several targets")]
mod promql;

libfuzzer_sys::fuzz_target!(|text: &str| promql::parse(text));
