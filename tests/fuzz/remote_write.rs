//! Bytes to write requests, from anyone: what the fuzzer and the seeded test both feed to the decoder.
//!
//! Any bytes in, as a request of either version. Whatever comes, every sample is a signal or a rejection,
//! and what is told as written is what became signals.

use std::sync::LazyLock;

use throughline::normalize::remote_write::{Version, normalize};
use throughline::normalize::{Config, Origin};
use throughline::signal::Timestamp;

/// Made once.
static CONFIG: LazyLock<Config> = LazyLock::new(Config::default);

pub(crate) fn run(bytes: &[u8]) {
    let origin = Origin { arrived: Timestamp::from_millis(1_790_000_000_000), ..Origin::default() };
    for version in [Version::V1, Version::V2] {
        let Ok(request) = normalize(bytes, version, &origin, &CONFIG) else { continue };
        let (batch, written) = (&request.normalized.batch, request.written);
        assert_eq!(batch.signals.len(), written.samples + written.histograms);
        assert_eq!(usize::try_from(batch.rejected), Ok(request.normalized.rejections.len()));
    }
}
