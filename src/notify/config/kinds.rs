//! Kinds of receivers that Alertmanager delivers to and we do not: checked as it checks them, so that a
//! file is good or bad here as there.
//!
//! What comes in: such a receiver's configuration as it was written, and `global`. What goes out: what is
//! wrong with it. Never is one accepted that Alertmanager would refuse for a secret or an address that is
//! missing or written twice.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// One thing that a receiver needs.
struct Need {
    /// Keys of the receiver, of which it has one at most.
    own: &'static [&'static str],
    /// Keys of `global` that stand in, of which there is one at most.
    global: &'static [&'static str],
}

const fn need(own: &'static [&'static str], global: &'static [&'static str]) -> Need {
    Need { own, global }
}

/// Each kind and what it cannot do without (`config/notifiers.go`, `config/config.go`).
static KINDS: [(&str, &[Need]); 13] = [
    ("discord_configs", &[need(&["webhook_url", "webhook_url_file"], &[])]),
    (
        "incidentio_configs",
        &[
            need(&["url", "url_file"], &[]),
            need(&["alert_source_token", "alert_source_token_file"], &[]),
        ],
    ),
    (
        "jira_configs",
        &[
            need(&["project"], &[]),
            need(&["issue_type"], &[]),
            need(&["api_url"], &["jira_api_url"]),
        ],
    ),
    (
        "mattermost_configs",
        &[need(
            &["webhook_url", "webhook_url_file"],
            &["mattermost_webhook_url", "mattermost_webhook_url_file"],
        )],
    ),
    ("msteams_configs", &[need(&["webhook_url", "webhook_url_file"], &[])]),
    (
        "opsgenie_configs",
        &[need(&["api_key", "api_key_file"], &["opsgenie_api_key", "opsgenie_api_key_file"])],
    ),
    (
        "pushover_configs",
        &[need(&["user_key", "user_key_file"], &[]), need(&["token", "token_file"], &[])],
    ),
    (
        "rocketchat_configs",
        &[
            need(&["token", "token_file"], &["rocketchat_token", "rocketchat_token_file"]),
            need(
                &["token_id", "token_id_file"],
                &["rocketchat_token_id", "rocketchat_token_id_file"],
            ),
        ],
    ),
    ("sns_configs", &[need(&["topic_arn", "phone_number", "target_arn"], &[])]),
    (
        "telegram_configs",
        &[
            need(
                &["bot_token", "bot_token_file"],
                &["telegram_bot_token", "telegram_bot_token_file"],
            ),
            need(&["chat_id", "chat_id_file"], &[]),
        ],
    ),
    (
        "victorops_configs",
        &[
            need(&["api_key", "api_key_file"], &["victorops_api_key", "victorops_api_key_file"]),
            need(&["routing_key"], &[]),
        ],
    ),
    ("webex_configs", &[need(&["room_id"], &[]), need(&["http_config"], &[])]),
    (
        "wechat_configs",
        &[
            need(
                &["api_secret", "api_secret_file"],
                &["wechat_api_secret", "wechat_api_secret_file"],
            ),
            need(&["corp_id"], &["wechat_api_corp_id"]),
        ],
    ),
];

/// Kinds that we deliver to; `receivers` checks them.
const DELIVERED: [&str; 6] = [
    "email_configs",
    "googlechat_configs",
    "msteamsv2_configs",
    "pagerduty_configs",
    "slack_configs",
    "webhook_configs",
];

type Keys = BTreeMap<String, Value>;

/// The parts of a file that say what is here.
#[derive(Deserialize)]
struct Written {
    #[serde(default)]
    global: Option<Keys>,
    #[serde(default)]
    receivers: Vec<Keys>,
}

/// Something wrong, and the receiver it is in; None: in `global`.
pub(super) struct Wrong {
    pub(super) receiver: Option<usize>,
    pub(super) message: String,
}

/// What is wrong in a file with the receivers that we do not deliver to. A text that is no such file has
/// nothing wrong here: others say so.
pub(super) fn wrong(text: &str) -> Vec<Wrong> {
    let Ok(Written { global, receivers }) = serde_saphyr::from_str(text) else { return Vec::new() };
    let global = global.unwrap_or_default();
    let twice = said_twice(&global).map(|message| Wrong { receiver: None, message });
    let mut all: Vec<Wrong> = twice.collect();
    for (idx, receiver) in receivers.iter().enumerate() {
        for (kind, list) in receiver.iter().filter(|(kind, _)| kind.ends_with("_configs")) {
            let messages = wrong_in(kind, list, &global).into_iter();
            all.extend(messages.map(|message| Wrong { receiver: Some(idx), message }));
        }
    }
    all
}

fn is_written(value: Option<&Value>) -> bool {
    value.is_some_and(|value| !value.is_null() && value.as_str() != Some(""))
}

fn wrong_in(kind: &str, list: &Value, global: &Keys) -> Vec<String> {
    if DELIVERED.contains(&kind) {
        return Vec::new();
    }
    let Some((_, needs)) = KINDS.iter().find(|(name, _)| *name == kind) else {
        return vec![format!("`{kind}` is no kind of receiver")];
    };
    let none = Vec::new();
    let mut wrong = Vec::new();
    for one in list.as_array().unwrap_or(&none) {
        for Need { own, global: stand_ins } in *needs {
            match own.iter().filter(|key| is_written(one.get(**key))).count() {
                0 if stand_ins.iter().any(|key| is_written(global.get(*key))) => {}
                0 => wrong.push(format!("`{kind}` needs {}", one_of(own, stand_ins))),
                1 => {}
                _ => wrong.push(format!("`{kind}` takes only one of {}", own.join(", "))),
            }
        }
    }
    wrong
}

fn one_of(own: &[&str], stand_ins: &[&str]) -> String {
    let global = stand_ins.iter().map(|key| format!("global `{key}`"));
    let all: Vec<String> = own.iter().map(|key| format!("`{key}`")).chain(global).collect();
    all.join(" or ")
}

/// What `global` may say only once.
fn said_twice(global: &Keys) -> impl Iterator<Item = String> {
    let stand_ins = KINDS.iter().flat_map(|(_, needs)| needs.iter()).map(|need| need.global);
    stand_ins
        .filter(|keys| keys.iter().filter(|key| is_written(global.get(**key))).count() > 1)
        .map(|keys| format!("global: only one of {} may be written", keys.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &[&str]) {
        let wrong: Vec<String> = wrong(text).into_iter().map(|wrong| wrong.message).collect();
        assert_eq!(wrong, expect, "{text}");
    }

    #[test]
    fn a_receiver_needs_its_secret_once_or_that_of_global() {
        check(
            "receivers: [{name: x, telegram_configs: [{chat_id: 1}]}]",
            &[
                "`telegram_configs` needs `bot_token` or `bot_token_file` or global `telegram_bot_token` or global `telegram_bot_token_file`",
            ],
        );
        check(
            "global: {telegram_bot_token: t}\nreceivers: [{name: x, telegram_configs: [{chat_id: 1}]}]",
            &[],
        );
        check(
            "receivers: [{name: x, opsgenie_configs: [{api_key: k, api_key_file: f}]}]",
            &["`opsgenie_configs` takes only one of api_key, api_key_file"],
        );
        check(
            "global: {opsgenie_api_key: k, opsgenie_api_key_file: f}\nreceivers: []",
            &["global: only one of opsgenie_api_key, opsgenie_api_key_file may be written"],
        );
        check(
            "receivers: [{name: x, pigeon_configs: [{}]}]",
            &["`pigeon_configs` is no kind of receiver"],
        );
    }
}
