//! libFuzzer's bytes to `remote_write::run`: `fuzz/run remote_write`.
#![no_main]

#[path = "../../tests/fuzz/remote_write.rs"]
mod remote_write;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| remote_write::run(bytes));
