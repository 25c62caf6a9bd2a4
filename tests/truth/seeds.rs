//! Which seeds are tried, and what is said of those that fail.

/// Every seed of an ordinary run, or as many as `THROUGHLINE_SEEDS` says, and those that failed once.
pub(crate) fn seeds(ordinary: u64, regressions: &[u64]) -> impl Iterator<Item = u64> {
    let told = std::env::var("THROUGHLINE_SEEDS").ok().and_then(|n| n.parse().ok());
    (0..told.unwrap_or(ordinary)).chain(regressions.iter().copied())
}

/// Tries all of them and shows the first that fail.
pub(crate) fn check_all(
    check: impl Fn(u64) -> Result<(), String>,
    ordinary: u64,
    regressions: &[u64],
) {
    let wrong: Vec<String> =
        seeds(ordinary, regressions).filter_map(|seed| check(seed).err()).collect();
    let shown: Vec<&str> = wrong.iter().take(2).map(String::as_str).collect();
    assert!(wrong.is_empty(), "{} seeds failed:\n{}", wrong.len(), shown.join("\n"));
}
