//! libFuzzer's text to `promql::evaluate`: `fuzz/run promql_evaluate`.
#![no_main]

#[path = "../../tests/fuzz/promql.rs"]
#[expect(dead_code, reason = "a module of several targets")]
mod promql;

libfuzzer_sys::fuzz_target!(|text: &str| promql::evaluate(text));
