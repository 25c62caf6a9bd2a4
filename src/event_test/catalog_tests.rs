//! The catalog of payloads: every case holds, and no dialect lacks the four that each must have.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::file;
use super::run;

const FOLDER: &str = "tests/catalog";
/// What every dialect must stand: as it usually is, with more, with less, and as it may look one day.
const CASES: [&str; 4] = ["typical", "unknown_field", "missing_field", "new_version"];
/// Every path of the ingest port.
const PATHS: [&str; 12] = [
    "/api/v1/write",
    "/ingest/aws/firehose",
    "/ingest/aws/telemetry",
    "/ingest/aws/xray",
    "/ingest/azure/eventhub",
    "/ingest/cloudflare/logpush",
    "/ingest/gcp/pubsub",
    "/ingest/json",
    "/ingest/vercel",
    "/v1/logs",
    "/v1/metrics",
    "/v1/traces",
];

pub(super) fn catalog() -> BTreeMap<PathBuf, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(FOLDER);
    let entries =
        std::fs::read_dir(folder).expect("the folder").flatten().map(|entry| entry.path());
    let files = entries.filter(|path| path.extension().is_some_and(|end| end == "yaml"));
    files.map(|path| (path.clone(), std::fs::read_to_string(path).expect("text"))).collect()
}

#[test]
fn every_case_of_the_catalog_holds() {
    let mut failures = Vec::new();
    for (path, text) in catalog() {
        let report = run(&path, &text, &|path| std::fs::read(path));
        failures.extend(report.failures().map(str::to_owned));
        assert!(report.passed() > 0 || !failures.is_empty(), "{}", path.display());
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_dialect_has_the_four_cases_and_every_path_a_dialect() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/catalog.md");
    let docs = std::fs::read_to_string(docs).expect("docs/catalog.md");
    let mut posted = BTreeSet::new();
    for (path, text) in catalog() {
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
        assert!(docs.contains(&format!("`{FOLDER}/{name}`")), "docs/catalog.md lacks {name}");
        let file = file::parse(name, &text).expect("a test file");
        for case in CASES {
            let found = file.tests.iter().find(|test| test.name == case);
            let found = found.unwrap_or_else(|| panic!("{name} has no case {case}"));
            let says = |input: &file::Input| input.becomes.is_some() || input.refused.is_some();
            assert!(found.signals.iter().all(says), "{name}: {case} says not what it becomes");
        }
        let inputs = file.tests.iter().flat_map(|test| &test.signals);
        posted.extend(inputs.map(|input| input.path.clone()));
    }
    assert_eq!(posted.iter().map(String::as_str).collect::<Vec<_>>(), PATHS);
}
