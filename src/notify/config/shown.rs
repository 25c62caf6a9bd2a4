//! The configuration as APIs show it: what was written, without its secrets.

use serde_json::Value;

use crate::signal::Text;
use crate::signal::masked::{MASK, is_secret, is_secret_below};

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
                if is_secret_below(key) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_and_warnings_show_no_secret() {
        use crate::notify::config::Config;
        use crate::notify::receivers::check::Files;
        let read = |_: &str| Err(std::io::Error::from(std::io::ErrorKind::NotFound));
        let files = Files { read: &read, glob: &|_| Ok(Vec::new()) };
        for receiver in [
            "webhook_configs: [{url: SECRET}]",
            "webhook_configs: [{url: 'http://h/SECRET', signing_key: SECRET-}]",
            "webhook_configs:\n  - url: http://h/SECRET\n    timeout: soon",
            "slack_configs: [{api_url: 'http://h/SECRET', title: '{{'}]",
            "pagerduty_configs: [{routing_key: SECRET, url: nowhere}]",
            "sns_configs: [{sigv4: {secret_key: SECRET}}]",
            "webhook_configs: [{url: 'http://h', http_config: {authorization: SECRET}}]",
        ] {
            let text = format!("route: {{receiver: x}}\nreceivers:\n- name: x\n  {receiver}\n");
            let errors = match Config::try_new("am.yaml", &text, files) {
                Ok(config) => config.undeliverable(),
                Err(errors) => errors,
            };
            let shown: String = errors.iter().map(|error| format!("{error} {error:?}\n")).collect();
            assert!(!shown.is_empty() && !shown.contains("SECRET"), "{receiver}: {shown}");
        }
    }

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
