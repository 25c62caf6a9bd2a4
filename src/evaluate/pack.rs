//! The rule pack that is built in: rules, runbooks and the demo's objectives, as text.

/// Name of the pack in rule keys and in `/api/v1/rules`.
pub const PACK_NAME: &str = "throughline.rules.yaml";
/// The rules that apply where no rule file is configured.
pub const PACK: &str = include_str!("../../alert-rules/throughline.rules.yaml");
/// Objectives of the demo's shop.
pub const DEMO_SLOS: &str = include_str!("../../alert-rules/slo/demo.yaml");

/// (alert, page).
const RUNBOOKS: [(&str, &str); 24] = [
    ("QueueLagRising", include_str!("../../alert-rules/runbooks/QueueLagRising.md")),
    ("DlqGrew", include_str!("../../alert-rules/runbooks/DlqGrew.md")),
    ("DlqNotEmpty", include_str!("../../alert-rules/runbooks/DlqNotEmpty.md")),
    ("ThrottleSpike", include_str!("../../alert-rules/runbooks/ThrottleSpike.md")),
    ("RetryStorm", include_str!("../../alert-rules/runbooks/RetryStorm.md")),
    (
        "TimeoutsAndNearTimeouts",
        include_str!("../../alert-rules/runbooks/TimeoutsAndNearTimeouts.md"),
    ),
    ("ColdStartTail", include_str!("../../alert-rules/runbooks/ColdStartTail.md")),
    ("IncompleteRequests", include_str!("../../alert-rules/runbooks/IncompleteRequests.md")),
    ("DuplicateDeliveries", include_str!("../../alert-rules/runbooks/DuplicateDeliveries.md")),
    ("HotPartition", include_str!("../../alert-rules/runbooks/HotPartition.md")),
    (
        "DependencyCallsPerInvocation",
        include_str!("../../alert-rules/runbooks/DependencyCallsPerInvocation.md"),
    ),
    ("ConnectionErrors", include_str!("../../alert-rules/runbooks/ConnectionErrors.md")),
    ("AccessDenied", include_str!("../../alert-rules/runbooks/AccessDenied.md")),
    ("VersionRegression", include_str!("../../alert-rules/runbooks/VersionRegression.md")),
    ("CostPerSuccess", include_str!("../../alert-rules/runbooks/CostPerSuccess.md")),
    ("CostSpike", include_str!("../../alert-rules/runbooks/CostSpike.md")),
    ("NoData", include_str!("../../alert-rules/runbooks/NoData.md")),
    ("DaemonTrouble", include_str!("../../alert-rules/runbooks/DaemonTrouble.md")),
    ("SeriesDropped", include_str!("../../alert-rules/runbooks/SeriesDropped.md")),
    ("TelemetryGap", include_str!("../../alert-rules/runbooks/TelemetryGap.md")),
    ("DiskFull", include_str!("../../alert-rules/runbooks/DiskFull.md")),
    ("Watchdog", include_str!("../../alert-rules/runbooks/Watchdog.md")),
    ("SloBurnsFast", include_str!("../../alert-rules/runbooks/SloBurnsFast.md")),
    ("SloBurnsSlowly", include_str!("../../alert-rules/runbooks/SloBurnsSlowly.md")),
];

/// The page that an alert's `runbook_url` leads to.
pub fn runbook(name: &str) -> Option<&'static str> {
    RUNBOOKS.iter().find(|(alert, _)| *alert == name).map(|(_, page)| *page)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;
    use crate::evaluate::rule::Kind;
    use crate::evaluate::{Config, Evaluator, rule_file, unit_test};

    #[test]
    fn every_alert_has_what_the_contract_asks_and_a_runbook() {
        let groups = rule_file::parse(PACK_NAME, PACK).expect("the pack is valid");
        let mut alerts = BTreeSet::new();
        for rule in groups.iter().flat_map(|group| &group.rules) {
            let Kind::Alert(alerting) = &rule.kind else { continue };
            let label = rule.labels.iter().find(|(name, _)| &**name == "severity");
            let severity = label.map(|(_, value)| value.text()).unwrap_or_default();
            assert!(["page", "ticket"].contains(&severity), "{}", rule.name);
            let notes: Vec<&str> = alerting.annotations.iter().map(|(name, _)| &**name).collect();
            assert_eq!(notes, ["description", "runbook_url", "summary"], "{}", rule.name);
            assert!(runbook(&rule.name).is_some(), "{}", rule.name);
            alerts.insert(rule.name.to_string());
        }
        let pages: BTreeSet<String> = RUNBOOKS
            .iter()
            .map(|(name, _)| (*name).to_owned())
            .filter(|name| !name.starts_with("Slo"))
            .collect();
        assert_eq!(alerts, pages);
    }

    #[test]
    fn without_files_the_pack_is_loaded_and_the_demo_s_objectives_are_valid() {
        let slo_files = vec![("demo.yaml".to_owned(), DEMO_SLOS.to_owned())];
        let evaluator =
            Evaluator::try_new(Config { slo_files, ..Config::default() }).expect("valid");
        assert_eq!(evaluator.objectives().len(), 2);
        assert!(evaluator.warnings().is_empty(), "{:?}", evaluator.warnings());
    }

    #[test]
    fn the_pack_fires_when_it_should_and_only_then() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("alert-rules");
        let report = unit_test::run(&dir.join("throughline.test.yaml"), &|path| {
            std::fs::read_to_string(path)
        });
        let failures: Vec<&str> = report.failures().collect();
        assert!(failures.is_empty(), "{}", failures.join("\n"));
        assert!(report.passed() >= 30, "{} passed", report.passed());
    }
}
