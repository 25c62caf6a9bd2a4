//! Sloth's specs against the rules that Sloth generates from them, and OpenSLO's documents.
//!
//! Sloth: a rule passes where name, labels and the meaning of its expression are Sloth's; what marks
//! the generator itself does not count. OpenSLO says what is accepted and what is refused, and why:
//! `tests/golden/openslo.txt`, reviewed by hand, written anew by `UPDATE_GOLDEN=1`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use throughline::evaluate::slo;
use throughline::promql::Query;

use crate::Report;

/// Spec, expected rules, period in days where it is not the default.
const PAIRS: [(&str, &str, Option<u64>); 7] = [
    ("integration/in-base.yaml", "integration/out-base.yaml.tpl", None),
    ("integration/in-base.yaml", "integration/out-base-28d.yaml.tpl", Some(28)),
    ("integration/in-multifile.yaml", "integration/out-multifile.yaml.tpl", None),
    ("examples/getting-started.yml", "examples_gen/getting-started.yml", None),
    ("examples/home-wifi.yml", "examples_gen/home-wifi.yml", None),
    ("examples/kubernetes-apiserver.yml", "examples_gen/kubernetes-apiserver.yml", None),
    ("examples/multifile.yml", "examples_gen/multifile.yml", None),
];

/// Specs that must be refused, with what the refusal says.
const REFUSED: [(&str, &str); 10] = [
    ("examples/plugin-getting-started.yml", "`sli.plugin` is a program of Sloth's"),
    ("integration/in-invalid-version.yaml", "`version: prometheus/v999` is not supported"),
    ("integration/in-sli-plugin.yaml", "`sli.plugin` is a program of Sloth's"),
    ("integration/in-slo-plugin.yaml", "`slo_plugins` are programs of Sloth's"),
    ("integration/in-base-k8s.yaml", "`apiVersion: sloth.slok.dev/v1` is not supported"),
    ("integration/in-openslo.yaml", "`apiVersion: openslo/v1alpha` is not supported"),
    ("validate/bad/bad-ab.yaml", ""),
    ("validate/bad/bad-k8s.yaml", ""),
    ("validate/bad/bad-multi-k8s.yaml", ""),
    ("examples/openslo-getting-started.yml", "`apiVersion: openslo/v1alpha` is not supported"),
];

/// `AlertWindows` files, each with a spec.
const WINDOWS: [&str; 4] = ["google-30d.yaml", "google-28d.yaml", "7d.yaml", "custom-30d.yaml"];

#[derive(Debug, Deserialize)]
struct RuleFile {
    groups: Vec<Group>,
}

#[derive(Debug, Deserialize)]
struct Group {
    name: String,
    rules: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
struct Rule {
    record: Option<String>,
    alert: Option<String>,
    expr: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

pub(crate) fn run(shared: &Path) -> Report {
    let conformance = shared.join("conformance");
    let mut report = Report::default();
    let sloth = conformance.join("sloth");
    if sloth.is_dir() {
        for (spec, expected, days) in PAIRS {
            pair(&sloth, (spec, expected), days, &mut report);
        }
        REFUSED.iter().for_each(|(file, why)| refused(&sloth, file, why, &mut report));
        WINDOWS.iter().for_each(|file| windows(&sloth, file, &mut report));
    }
    let openslo = conformance.join("openslo");
    if openslo.is_dir() {
        open_slo(&openslo, &mut report);
    }
    report
}

fn generate(paths: &[PathBuf], days: Option<u64>) -> Result<String, String> {
    let read = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        fs::read_to_string(path).map(|text| (name, text)).map_err(|error| error.to_string())
    };
    let files: Vec<(String, String)> = paths.iter().map(read).collect::<Result<_, _>>()?;
    let period = days.map(|days| Duration::from_secs(days * 86_400));
    slo::generate(&files, period).map_err(|errors| {
        errors.iter().map(|error| error.message.clone()).collect::<Vec<_>>().join("; ")
    })
}

fn pair(sloth: &Path, (spec, expected): (&str, &str), days: Option<u64>, report: &mut Report) {
    let wanted = fs::read_to_string(sloth.join(expected)).unwrap_or_default();
    let wanted = rules(&filled_in(&wanted));
    let got = match generate(&[sloth.join(spec)], days) {
        Ok(text) => rules(&text),
        Err(error) => {
            report.problems.push(format!("sloth/{spec}: {error}"));
            return;
        }
    };
    let passed = wanted.iter().filter(|(key, rule)| got.get(*key) == Some(rule)).count();
    report.lines.push(format!("sloth/{expected} {passed}/{}", wanted.len()));
    for (key, rule) in &wanted {
        if got.get(key) != Some(rule) {
            let got = got.get(key).map_or("nothing", String::as_str);
            report.problems.push(format!("sloth/{expected}: {key}\n  {rule}\n  {got}"));
        }
    }
    if got.len() != wanted.len() {
        report.problems.push(format!(
            "sloth/{expected}: {} rules, not {}",
            got.len(),
            wanted.len()
        ));
    }
}

/// Some of Sloth's expectations are Go templates, for its version alone.
fn filled_in(template: &str) -> String {
    template.replace("{{ .version }}", "v0").replace("{{\"", "").replace("\"}}", "")
}

/// Rules by group and name; what does not count is left out, expressions are in canonical form.
fn rules(text: &str) -> BTreeMap<String, String> {
    let files: Vec<RuleFile> = match serde_saphyr::from_multiple(text) {
        Ok(files) => files,
        Err(error) => return BTreeMap::from([("unreadable".to_owned(), error.to_string())]),
    };
    let mut all = BTreeMap::new();
    for Group { name: group, rules } in files.into_iter().flat_map(|file| file.groups) {
        for mut rule in rules {
            // `cmd` is an extra label of the script that made the examples.
            for own in ["sloth_version", "sloth_mode", "cmd"] {
                rule.labels.remove(own);
            }
            let name = rule.record.or(rule.alert).unwrap_or_default();
            let severity = rule.labels.get("sloth_severity").cloned().unwrap_or_default();
            let expr = Query::parse(&rule.expr).map_or(rule.expr, |query| query.to_string());
            let shown = format!("{expr} {:?} {:?}", rule.labels, rule.annotations);
            all.insert(format!("{group} {name} {severity}"), shown);
        }
    }
    all
}

fn refused(sloth: &Path, file: &str, why: &str, report: &mut Report) {
    match generate(&[sloth.join(file)], None) {
        Err(error) if error.contains(why) => report.lines.push(format!("sloth/{file} 1/1")),
        Err(error) => report.problems.push(format!("sloth/{file}: refused, but because {error}")),
        Ok(_) => report.problems.push(format!("sloth/{file}: accepted")),
    }
}

/// Other windows give other recordings, and the same spec still compiles.
fn windows(sloth: &Path, file: &str, report: &mut Report) {
    let spec = sloth.join("examples/getting-started.yml");
    let windows = fs::read_to_string(sloth.join("windows").join(file)).unwrap_or_default();
    let lengths: Vec<&str> = windows
        .lines()
        .filter(|line| line.contains("Window:"))
        .filter_map(|line| line.split(": ").nth(1))
        .collect();
    match generate(&[spec, sloth.join("windows").join(file)], None) {
        Err(error) => report.problems.push(format!("sloth/windows/{file}: {error}")),
        Ok(rules) => {
            // `36h` is written `1d12h`.
            let is_there = |length: &&&str| {
                let length = if **length == "36h" { "1d12h" } else { **length };
                rules.contains(&format!("slo:sli_error:ratio_rate{length}\n"))
            };
            let found = lengths.iter().filter(is_there).count();
            report.lines.push(format!("sloth/windows/{file} {found}/{}", lengths.len()));
            if found != lengths.len() {
                report.problems.push(format!("sloth/windows/{file}: not every window is recorded"));
            }
        }
    }
}

fn open_slo(folder: &Path, report: &mut Report) {
    let mut paths = Vec::new();
    collect(folder, &mut paths);
    paths.sort();
    let mut shown = String::new();
    for path in &paths {
        let name = path.strip_prefix(folder).unwrap_or(path).display();
        let outcome = match generate(std::slice::from_ref(path), None) {
            Ok(rules) => format!("{} rules", rules.matches("    expr:").count()),
            Err(errors) => format!("refused: {errors}"),
        };
        let _ = writeln!(shown, "{name} {outcome}");
    }
    crate::golden("openslo.txt", &shown, report);
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|e| ["yaml", "yml", "json"].iter().any(|x| e == *x))
        {
            paths.push(path);
        }
    }
}
