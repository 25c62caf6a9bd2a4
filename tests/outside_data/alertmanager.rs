//! Alertmanager's own configuration files: accepted and refused alike, and routed alike.

use std::path::Path;

use throughline::notify::{Config, Files};
use throughline::signal::Labels;

use super::Report;

/// Files that Alertmanager's tests want refused (`config/config_test.go`); all others are good.
const REFUSED: [&str; 11] = [
    "conf.mattermost-both-webhook-url-and-file.yml",
    "conf.mattermost-no-webhook-url.yml",
    "conf.opsgenie-both-file-and-apikey.yml",
    "conf.rocketchat-both-tokenid-and-tokenidfile.yml",
    "conf.slack-no-api-url-or-token.yml",
    "conf.slack-update-message-and-webhook.yml",
    "conf.telegram-both-bot-token-and-file.yml",
    "conf.telegram-no-bot-token.yml",
    "conf.victorops-both-file-and-apikey.yml",
    "conf.wechat-both-file-and-secret.yml",
    "conf.wechat-no-api-secret.yml",
];

/// Which receivers take which labels (`cli/test_routing_test.go`).
const ROUTED: [(&str, &str, &[&str]); 6] = [
    ("cli.conf.routing.yml", "1", &["test1"]),
    ("cli.conf.routing.yml", "2", &["test1", "test2"]),
    ("cli.conf.routing.yml", "volovina", &["default"]),
    ("cli.conf.routing-reverted.yml", "1", &["test1"]),
    ("cli.conf.routing-reverted.yml", "2", &["test2", "test1"]),
    ("cli.conf.routing-reverted.yml", "volovina", &["default"]),
];

/// Known failures: none.
pub(crate) fn run(shared: &Path) -> Report {
    let mut report = Report::default();
    let dir = shared.join("conformance/alertmanager");
    let mut files: Vec<_> = std::fs::read_dir(&dir)
        .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())).collect())
        .unwrap_or_default();
    files.retain(|path: &std::path::PathBuf| path.extension().is_some_and(|e| e == "yml"));
    files.sort();
    if files.is_empty() {
        report.lines.push(format!("no outside data at {}", dir.display()));
        return report;
    }
    let mut n_alike = 0;
    for path in &files {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let text = std::fs::read_to_string(path).unwrap_or_default();
        match (REFUSED.contains(&name), read(name, &text)) {
            (true, Err(_)) => n_alike += 1,
            (false, Ok(config)) => {
                n_alike += 1;
                routes(&mut report, name, &config);
            }
            (true, Ok(_)) => report.problems.push(format!("{name}: is accepted and should not be")),
            (false, Err(errors)) => report.problems.push(format!("{name}: {errors}")),
        }
    }
    report.lines.push(format!("alertmanager configurations {n_alike}/{}", files.len()));
    report
}

fn routes(report: &mut Report, name: &str, config: &Config) {
    for (_, value, expected) in ROUTED.iter().filter(|(file, ..)| *file == name) {
        let taken = config.receivers_of(&Labels::of(&[("test", value)]));
        let taken: Vec<&str> = taken.iter().map(|name| &**name).collect();
        if taken != *expected {
            report.problems.push(format!("{name}: test={value} goes to {taken:?}"));
        }
    }
}

/// Reads one; secrets in files are there, templates are none.
fn read(name: &str, text: &str) -> Result<Config, String> {
    let files =
        Files { read: &|_| Ok("http://127.0.0.1/secret".to_owned()), glob: &|_| Ok(Vec::new()) };
    Config::try_new(name, text, files).map_err(|errors| {
        errors.iter().map(|error| error.message.as_str()).collect::<Vec<_>>().join("; ")
    })
}
