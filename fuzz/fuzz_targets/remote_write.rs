//! Any bytes as a write request of either version: every sample is a signal or a rejection, and what
//! is told as written is what became signals.
#![no_main]

use libfuzzer_sys::fuzz_target;
use throughline::normalize::remote_write::{Version, normalize};
use throughline::normalize::{Config, Origin};
use throughline::signal::Timestamp;

fuzz_target!(|bytes: &[u8]| {
    let origin =
        Origin { arrived: Timestamp::from_millis(1_790_000_000_000), ..Origin::default() };
    for version in [Version::V1, Version::V2] {
        let Ok(request) = normalize(bytes, version, &origin, &Config::default()) else { continue };
        let (batch, written) = (&request.normalized.batch, request.written);
        assert_eq!(batch.signals.len(), written.samples + written.histograms);
        assert_eq!(usize::try_from(batch.rejected), Ok(request.normalized.rejections.len()));
    }
});
