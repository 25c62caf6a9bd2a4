//! libFuzzer's bytes to the engine: `fuzz/run facts`.
#![no_main]

#[path = "../../tests/fuzz/facts.rs"]
mod facts;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| facts::run(bytes));
