//! Rules and alerts in the shapes of the Prometheus HTTP API (`docs/querying/api.md`, rules, alerts).

use serde_json::{Value, json};

use super::alerting::Alert;
use super::evaluation::RuleState;
use super::rule::{Group, Kind, Rule};
use super::template::Template;
use super::{AlertState, Evaluator, RuleFilter};
use crate::series::Matcher;
use crate::signal::{Labels, Text, Timestamp, format_duration};
use crate::template::go_number::scientific;

/// What Prometheus shows for a time that was never.
const NEVER: &str = "0001-01-01T00:00:00Z";

pub(super) const fn state(state: AlertState) -> &'static str {
    match state {
        AlertState::Inactive => "inactive",
        AlertState::Pending => "pending",
        AlertState::Firing => "firing",
    }
}

pub(super) fn rules(evaluator: &Evaluator, filter: &RuleFilter) -> Value {
    let named = |names: &[String], name: &str| names.is_empty() || names.iter().any(|n| n == name);
    let wanted = evaluator
        .groups
        .iter()
        .filter(|group| named(&filter.groups, &group.name) && named(&filter.files, &group.file));
    let groups: Vec<Value> =
        wanted.filter_map(|group| group_json(evaluator, group, filter)).collect();
    json!({ "groups": groups })
}

fn group_json(evaluator: &Evaluator, group: &Group, filter: &RuleFilter) -> Option<Value> {
    let is_filtered =
        filter.kind.is_some() || !filter.rule_names.is_empty() || !filter.selectors.is_empty();
    let rules: Vec<Value> = group
        .rules
        .iter()
        .filter(|rule| is_wanted(rule, filter))
        .map(|rule| {
            rule_json(rule, evaluator.rule_states.get(&rule.key).map(AsRef::as_ref), filter)
        })
        .collect();
    if is_filtered && rules.is_empty() {
        return None;
    }
    let group_state = evaluator.group_states.get(&group.key()).copied().unwrap_or_default();
    let interval = group.interval.unwrap_or(evaluator.config.evaluation_interval);
    Some(json!({
        "name": *group.name,
        "file": *group.file,
        "interval": interval.as_secs_f64(),
        "limit": group.limit,
        "rules": rules,
        "evaluationTime": group_state.took.as_secs_f64(),
        "lastEvaluation": time(group_state.run_at),
        "missedEvaluations": group_state.missed,
    }))
}

fn is_wanted(rule: &Rule, filter: &RuleFilter) -> bool {
    let kind = match rule.kind {
        Kind::Alert(_) => "alert",
        Kind::Record => "record",
    };
    let is_kind = filter.kind.as_deref().is_none_or(|wanted| wanted == kind);
    let is_named = || filter.rule_names.iter().any(|name| **name == *rule.name);
    let label = |name: &str| {
        let own = rule.labels.iter().find(|(own, _)| **own == *name);
        own.map_or("", |(_, template)| template.text())
    };
    let meets = |matchers: &Vec<Matcher>| matchers.iter().all(|m| m.matches(label(&m.name)));
    is_kind
        && (filter.rule_names.is_empty() || is_named())
        && (filter.selectors.is_empty() || filter.selectors.iter().any(meets))
}

fn rule_json(rule: &Rule, held: Option<&RuleState>, filter: &RuleFilter) -> Value {
    let fresh = RuleState::default();
    let held = held.unwrap_or(&fresh);
    let health = match (&held.error, held.run_at) {
        (Some(_), _) => "err",
        (None, Some(_)) => "ok",
        (None, None) => "unknown",
    };
    let texts = |pairs: &[(Text, Template)]| -> Value {
        Value::Object(pairs.iter().map(|(name, t)| (name.to_string(), json!(t.text()))).collect())
    };
    let mut shown = json!({
        "name": *rule.name,
        "query": rule.query.to_string(),
        "labels": texts(&rule.labels),
        "health": health,
        "evaluationTime": held.took.as_secs_f64(),
        "lastEvaluation": time(held.run_at),
        "queryOffset": format_duration(held.query_offset),
        "type": "recording",
    });
    if let Some(error) = &held.error {
        shown["lastError"] = json!(error);
    }
    if let Kind::Alert(alerting) = &rule.kind {
        let worst =
            held.alerts.values().map(|alert| alert.state).max().unwrap_or(AlertState::Inactive);
        shown["type"] = json!("alerting");
        shown["state"] = json!(state(worst));
        shown["duration"] = json!(alerting.ages.hold.as_secs_f64());
        shown["keepFiringFor"] = json!(alerting.ages.keep_firing.as_secs_f64());
        shown["annotations"] = texts(&alerting.annotations);
        let alerts: Vec<Value> = if filter.exclude_alerts {
            Vec::new()
        } else {
            held.alerts.iter().map(|(labels, alert)| alert_json(labels, alert)).collect()
        };
        shown["alerts"] = json!(alerts);
    }
    shown
}

pub(super) fn alerts(evaluator: &Evaluator) -> Value {
    let all: Vec<Value> = evaluator
        .rule_states
        .values()
        .flat_map(|state| &state.alerts)
        .map(|(labels, alert)| alert_json(labels, alert))
        .collect();
    json!({ "alerts": all })
}

fn alert_json(labels: &Labels, alert: &Alert) -> Value {
    let mut shown = json!({
        "labels": labels,
        "annotations": alert.annotations,
        "state": state(alert.state),
        "activeAt": alert.active_at.to_string(),
        "value": scientific(alert.value),
    });
    if let Some(since) = alert.kept_since {
        shown["keepFiringSince"] = json!(since.to_string());
    }
    if let Some(evidence) = &alert.evidence {
        shown["evidence"] = json!(evidence);
    }
    shown
}

fn time(at: Option<Timestamp>) -> String {
    at.map_or_else(|| NEVER.to_owned(), |at| at.to_string())
}
