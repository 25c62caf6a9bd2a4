//! The configuration as APIs show it: what was written, without its secrets.

use serde_json::Value;

use crate::signal::Text;

/// Keys whose values nobody needs to see again.
const SECRET: [&str; 12] = [
    "api_secret",
    "api_url",
    "app_token",
    "bot_token",
    "credentials",
    "key",
    "password",
    "routing_key",
    "secret",
    "service_key",
    "token",
    "user_key",
];
/// Keys below which any text may be one.
const ALL_BELOW: [&str; 3] = ["endpoint_params", "http_headers", "proxy_connect_header"];
/// Lists of receivers whose `url` is a secret.
const SECRET_URL: [&str; 3] = ["discord_configs", "googlechat_configs", "webhook_configs"];
/// What Alertmanager shows, and reads back, in the place of a secret.
const MASK: &str = "<secret>";

/// The YAML of `text` with every secret masked; empty where it is no YAML.
pub(super) fn shown(text: &str) -> Text {
    let Ok(mut value) = serde_saphyr::from_str::<Value>(text) else { return Text::default() };
    mask(&mut value, "");
    serde_saphyr::to_string(&value).unwrap_or_default().into()
}

fn mask(value: &mut Value, within: &str) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| mask(item, within)),
        Value::Object(map) => {
            for (key, value) in map {
                if ALL_BELOW.contains(&key.as_str()) {
                    mask_all(value);
                } else if is_secret(key, within) || has_login(key, value) {
                    *value = MASK.into();
                } else {
                    mask(value, if within.ends_with("_configs") { within } else { key });
                }
            }
        }
        _ => {}
    }
}

/// Every text in it; its shape stays, so that it can be read back.
fn mask_all(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(mask_all),
        Value::Object(map) => map.values_mut().for_each(mask_all),
        text => *text = MASK.into(),
    }
}

/// A proxy's address with a user and a password in it.
fn has_login(key: &str, value: &Value) -> bool {
    key == "proxy_url" && value.as_str().is_some_and(|url| url.contains('@'))
}

fn is_secret(key: &str, within: &str) -> bool {
    SECRET.iter().any(|name| key == *name || key.ends_with(&format!("_{name}")))
        || key.ends_with("webhook_url")
        || (key == "url" && SECRET_URL.contains(&within))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_shown_without_its_secrets() {
        let text = "global: {slack_api_url: 'http://a/SECRET', smtp_auth_password: SECRET, resolve_timeout: 1m}\nreceivers:\n- name: x\n  webhook_configs: [{url: 'http://h/SECRET', signing_key: SECRET, http_config: {authorization: {credentials: SECRET}, proxy_url: 'http://me:SECRET@proxy', http_headers: {X-A: {values: [SECRET]}}, oauth2: {client_secret: SECRET, token_url: 'http://tokens', endpoint_params: {a: SECRET}}}, url_file: /run/url}]\n  pagerduty_configs: [{routing_key: SECRET, url: 'https://pd', links: [{href: 'http://x'}]}]\n";
        let shown = shown(text);
        assert!(!shown.contains("SECRET"), "{shown}");
        for kept in
            ["resolve_timeout: 1m", "url_file: /run/url", "https://pd", "http://x", "http://tokens"]
        {
            assert!(shown.contains(kept), "{kept} in {shown}");
        }
    }
}
