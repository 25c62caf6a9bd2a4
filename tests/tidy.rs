//! The rules of the house that no compiler checks: the module map, sizes, names, and that documents,
//! dashboards and alert rules speak of what exists.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use throughline::config::reference::REFERENCE;
use throughline::internal_telemetry::Metrics;
use throughline::series::catalog;

/// Which modules a module may use. Everything may use `number` and `signal`.
const MAP: [(&str, &[&str]); 29] = [
    ("number", &[]),
    ("signal", &[]),
    ("clock", &[]),
    ("go_regex", &[]),
    ("shelf", &[]),
    ("template", &["go_regex"]),
    ("normalize", &[]),
    ("listen", &[]),
    ("receive", &["clock", "listen", "normalize"]),
    ("extension", &["clock"]),
    ("collect", &["clock", "go_regex", "normalize", "receive"]),
    ("journal", &["clock"]),
    ("correlate", &["shelf"]),
    ("series", &["go_regex"]),
    ("promql", &["go_regex", "series"]),
    ("measure", &["correlate", "series", "shelf"]),
    ("gaps", &[]),
    ("archive", &["correlate"]),
    ("evaluate", &["measure", "promql", "series", "template"]),
    ("notify", &["evaluate", "series", "template"]),
    ("simulate", &["correlate"]),
    ("internal_telemetry", &["evaluate", "notify"]),
    ("forward", &["clock", "internal_telemetry", "normalize", "notify", "series"]),
    (
        "config",
        &[
            "archive",
            "collect",
            "correlate",
            "forward",
            "listen",
            "normalize",
            "notify",
            "promql",
            "receive",
            "series",
        ],
    ),
    (
        "serve",
        &[
            "archive",
            "clock",
            "correlate",
            "evaluate",
            "gaps",
            "go_regex",
            "internal_telemetry",
            "listen",
            "notify",
            "promql",
            "series",
        ],
    ),
    (
        "pipeline",
        &[
            "archive",
            "clock",
            "collect",
            "config",
            "correlate",
            "evaluate",
            "forward",
            "gaps",
            "internal_telemetry",
            "journal",
            "listen",
            "measure",
            "normalize",
            "notify",
            "promql",
            "receive",
            "serve",
            "series",
        ],
    ),
    (
        "event_test",
        &[
            "config",
            "correlate",
            "evaluate",
            "normalize",
            "notify",
            "pipeline",
            "promql",
            "receive",
            "series",
        ],
    ),
    (
        "cli",
        &[
            "clock",
            "config",
            "correlate",
            "evaluate",
            "event_test",
            "extension",
            "internal_telemetry",
            "normalize",
            "notify",
            "pipeline",
            "promql",
            "receive",
            "serve",
            "series",
            "simulate",
        ],
    ),
    ("main", &["cli"]),
];
const LINES_MAX: usize = 600;
const BANNED: [&str; 12] = [
    "utils", "common", "helpers", "misc", "types", "base", "core", "manager", "service", "handler",
    "context", "info",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn files(dir: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a folder of the repository") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, extension, found);
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
    found.sort();
}

fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    files(&root().join("src"), "rs", &mut found);
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("text");
        (path.strip_prefix(root().join("src")).expect("below src").to_owned(), text)
    };
    found.into_iter().map(read).collect()
}

fn module(path: &Path) -> String {
    let first = path.iter().next().and_then(|part| part.to_str()).unwrap_or_default();
    first.trim_end_matches(".rs").to_owned()
}

/// Names after `crate::` in code (comments do not count).
fn uses(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
        for part in line.split("crate::").skip(1) {
            if let Some(group) = part.strip_prefix('{') {
                for name in group.split(['}', ';']).next().unwrap_or_default().split(',') {
                    found.insert(name.trim().split("::").next().unwrap_or_default().to_owned());
                }
            } else {
                found.insert(
                    part.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect(),
                );
            }
        }
    }
    found.remove("");
    found
}

#[test]
fn modules_use_only_what_the_map_allows() {
    let map: BTreeMap<&str, &[&str]> = MAP.into_iter().collect();
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let module = module(&path);
        if module == "lib" {
            continue;
        }
        let allowed =
            map.get(module.as_str()).unwrap_or_else(|| panic!("{module} is not on the map"));
        for used in uses(&text) {
            let free = used == module || used == "number" || used == "signal";
            if !free && map.contains_key(used.as_str()) && !allowed.contains(&used.as_str()) {
                wrong.push(format!("{}: {module} may not use {used}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_map_has_no_cycle() {
    let mut left: BTreeMap<&str, &[&str]> = MAP.into_iter().collect();
    while !left.is_empty() {
        let free: Vec<&str> = left
            .iter()
            .filter(|(_, uses)| uses.iter().all(|u| !left.contains_key(u)))
            .map(|(m, _)| *m)
            .collect();
        assert!(!free.is_empty(), "a cycle among {:?}", left.keys());
        left.retain(|module, _| !free.contains(module));
    }
}

#[test]
fn files_are_short_documented_and_well_named() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
        let is_test = name.starts_with("tests")
            || name.ends_with("_tests")
            || path.iter().any(|part| part == "tests");
        let lines = text.lines().count();
        if lines > LINES_MAX && !is_test {
            wrong.push(format!("{}: {lines} lines", path.display()));
        }
        if !is_test && !text.starts_with("//!") {
            wrong.push(format!("{}: no //! at its top", path.display()));
        }
        if BANNED.contains(&name.as_str()) {
            wrong.push(format!("{}: a banned name", path.display()));
        }
        if text.contains("#[allow(") || text.contains("TODO") {
            wrong.push(format!("{}: an #[allow] or a TODO", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Every metric that exists, with the series names of its histograms.
fn metric_names() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut add = |name: &str| {
        for suffix in ["", "_bucket", "_sum", "_count"] {
            names.insert(format!("{name}{suffix}"));
        }
    };
    catalog::METRICS.iter().for_each(|metric| add(metric.name));
    for family in Metrics::try_new().expect("names are unique").gather() {
        add(family.name());
    }
    // Families with labels show only once they count something.
    for name in [
        "receive_batches_total",
        "receive_refusals_total",
        "notify_attempts_total",
        "pipeline_troubles_total",
        "pipeline_troubles_lasting",
        "gaps_found_total",
        "series_bytes",
        "series_dropped_total",
        "listen_limits_met_total",
        "receive_errors_total",
        "serve_queries_limited_total",
        "forward_skipped_seconds_total",
    ] {
        add(&format!("throughline_self_{name}"));
    }
    names
}

#[test]
fn dashboards_and_rules_name_only_metrics_that_exist() {
    let mut found = Vec::new();
    files(&root().join("dashboards"), "json", &mut found);
    files(&root().join("alert-rules"), "yaml", &mut found);
    assert!(found.len() >= 6, "dashboards and rules are there");
    let known = metric_names();
    let mut wrong = Vec::new();
    for path in found {
        let text = fs::read_to_string(&path).expect("text");
        for word in text.split(|c: char| !(c.is_alphanumeric() || c == '_')) {
            let ours = word.starts_with("throughline_") || word.starts_with("traces_service_graph");
            if ours && !known.contains(word) {
                wrong.push(format!("{}: {word}", path.display()));
            }
        }
    }
    wrong.dedup();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Kinds that no test raises: a damaged block, whose tests ask for its count.
const UNRAISED: [&str; 1] = ["damaged_series_block"];

/// Text between `before` and a quotation mark, wherever it is.
fn quoted<'a>(text: &'a str, before: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(before).skip(1).filter_map(|rest| rest.split('"').next())
}

/// The kinds of findings that the code knows.
fn finding_kinds() -> BTreeSet<String> {
    let sources = sources();
    let file = |name: &str| {
        let found = sources.iter().find(|(path, _)| path.ends_with(name));
        found.unwrap_or_else(|| panic!("{name} is gone")).1.as_str()
    };
    let mut kinds = BTreeSet::new();
    let mut add = |text: &str, before: &str| {
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        let is_kind = |text: &&str| text.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        kinds.extend(quoted(text, before).filter(is_kind).map(str::to_owned));
    };
    for (path, text) in &sources {
        let is_stage = ["pipeline", "correlate", "gaps"].contains(&module(path).as_str());
        if is_stage && !path.to_string_lossy().contains("tests") {
            add(text, "kind: \"");
        }
    }
    let troubles = file("pipeline/troubles.rs").split("fn as_str").nth(1).unwrap_or_default();
    add(troubles.split("\n    }").next().unwrap_or_default(), "=> \"");
    add(file("series/findings.rs"), "(\"");
    add(file("internal_telemetry/happening.rs"), "troubles.with_label_values(&[\"");
    kinds
}

/// `disk_full` is `Kind::DiskFull` where it is a variant.
fn variant(kind: &str) -> String {
    let words = kind.split('_').map(|word| format!("{}{}", word[..1].to_uppercase(), &word[1..]));
    format!("Kind::{}", words.collect::<String>())
}

#[test]
fn every_finding_is_listed_with_a_test_that_raises_it() {
    let text = fs::read_to_string(root().join("docs/findings.md")).expect("docs/findings.md");
    let table = text.split("## Bounds").next().expect("a first part");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    let rows: Vec<(&str, &str)> =
        rows.map(|row| (row.split('`').next().expect("a kind"), row)).collect();
    let listed: BTreeSet<String> = rows.iter().map(|(kind, _)| (*kind).to_owned()).collect();
    assert_eq!(listed, finding_kinds(), "docs/findings.md and the code");
    let sources = sources();
    let mut wrong = Vec::new();
    for (kind, row) in rows {
        let name = row.trim_end_matches([' ', '|', '`']).rsplit(['`', ' ']).next().expect("a name");
        let body = sources.iter().find_map(|(_, text)| {
            let (_, rest) = text.split_once(&format!("fn {name}("))?;
            rest.split("\n#[test]").next()
        });
        let variant = variant(kind);
        let raises = body.is_some_and(|body| body.contains(kind) || body.contains(&variant));
        if raises == UNRAISED.contains(&kind) {
            wrong.push(format!("{kind}: {name}"));
        }
    }
    assert!(wrong.is_empty(), "no such test, or it asks for something else: {wrong:?}");
}

#[test]
fn the_list_of_bounds_names_only_metrics_that_exist() {
    let text = fs::read_to_string(root().join("docs/findings.md")).expect("docs/findings.md");
    let known = metric_names();
    let words = text.split(|c: char| !(c.is_alphanumeric() || c == '_'));
    let wrong: Vec<&str> =
        words.filter(|word| word.starts_with("throughline_") && !known.contains(*word)).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn every_dashboard_panel_parses_and_says_what_it_shows() {
    let mut found = Vec::new();
    files(&root().join("dashboards"), "json", &mut found);
    for path in found {
        let board: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(&path).expect("text")).expect("JSON");
        assert_eq!(board["editable"], false, "{}", path.display());
        assert!(
            board.get("__inputs").is_none(),
            "{}: __inputs breaks provisioning",
            path.display()
        );
        for panel in board["panels"].as_array().expect("panels") {
            let title = panel["title"].as_str().expect("a title");
            assert!(
                panel["description"].as_str().is_some_and(|text| !text.is_empty()),
                "{title}: no description"
            );
            assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title}: no unit");
            for target in panel["targets"].as_array().expect("targets") {
                let text = target["expr"]
                    .as_str()
                    .expect("an expression")
                    .replace("$__rate_interval", "5m");
                if let Err(error) = throughline::promql::Query::parse(&text) {
                    panic!("{}: {title}: {error} in {text}", path.display());
                }
            }
        }
    }
}

#[test]
fn the_readme_shows_the_generated_config_reference() {
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md");
    assert!(
        readme.contains(REFERENCE.trim()),
        "README.md: paste src/config/reference.yaml into its configuration section"
    );
}

#[test]
fn paths_in_the_documents_exist() {
    let mut wrong = Vec::new();
    for document in ["README.md", "ARCHITECTURE.md"] {
        let text = fs::read_to_string(root().join(document)).expect(document);
        for code in text.split('`').skip(1).step_by(2) {
            let looks_like_path = code.contains('/')
                && !code.contains([' ', '*', ':', '{', '<', '$'])
                && !code.starts_with(['/', '.', '-']);
            if looks_like_path
                && ["src/", "tests/", "alert-rules/", "dashboards/", "deploy/", "benches/"]
                    .iter()
                    .any(|dir| code.starts_with(dir))
                && !root().join(code).exists()
            {
                wrong.push(format!("{document}: {code}"));
            }
        }
    }
    let lines = fs::read_to_string(root().join("ARCHITECTURE.md"))
        .expect("ARCHITECTURE.md")
        .lines()
        .count();
    assert!(lines <= 250, "ARCHITECTURE.md has {lines} lines");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
