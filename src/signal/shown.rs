//! A configuration as APIs show it: what was written, without its secrets.
//!
//! The text of a YAML file comes in; YAML goes out. Never is a value of a secret key in it, nor an address with a
//! login.

use serde_json::Value;

use super::Text;
use super::masked::{MASK, is_secret, is_secret_below};

/// The YAML of `text` with every secret masked; empty where it is no YAML, or says nothing.
pub fn shown(text: &str) -> Text {
    let Ok(mut value) = serde_saphyr::from_str::<Value>(text) else { return Text::default() };
    if value.is_null() {
        return Text::default();
    }
    mask(&mut value, "");
    serde_saphyr::to_string(&value).unwrap_or_default().into()
}

fn mask(value: &mut Value, within: &str) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| mask(item, within)),
        text if has_login(text) => *text = MASK.into(),
        Value::String(text) => {
            if let Some(address) = without_parameters(text) {
                *text = address;
            }
        }
        Value::Object(map) => {
            for (key, value) in map {
                if is_secret_below(key) {
                    mask_all(value);
                } else if is_secret(key, within) {
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

/// An address or a path that has parameters, which may be secret, without them.
fn without_parameters(text: &str) -> Option<String> {
    let (address, _parameters) = text.split_once('?')?;
    let is_address = address.contains("://") || address.starts_with('/');
    is_address.then(|| format!("{address}?{MASK}"))
}

/// An address with a user and a password in it.
fn has_login(value: &Value) -> bool {
    let host = |text: &'_ str| {
        let (_, rest) = text.split_once("://")?;
        Some(rest.split('/').next().unwrap_or_default().contains('@'))
    };
    value.as_str().and_then(host).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_shown_without_its_secrets() {
        let text = "global: {slack_api_url: 'http://a/SECRET', smtp_auth_password: SECRET, resolve_timeout: 1m}\nreceivers:\n- name: x\n  webhook_configs: [{url: 'http://h/SECRET', signing_key: SECRET, http_config: {authorization: {credentials: SECRET}, proxy_url: 'http://me:SECRET@proxy', http_headers: {X-A: {values: [SECRET]}}, oauth2: {client_secret: SECRET, token_url: 'http://tokens', endpoint_params: {a: SECRET}}}, urls: ['http://me:SECRET@h/', 'http://p/?token=SECRET'], path: '/m?token=SECRET', url_file: /run/url}]\n  pagerduty_configs: [{routing_key: SECRET, url: 'https://pd', links: [{href: 'http://x'}]}]\n";
        let shown = shown(text);
        assert!(!shown.contains("SECRET"), "{shown}");
        for kept in [
            "resolve_timeout: 1m",
            "url_file: /run/url",
            "https://pd",
            "http://x",
            "http://tokens",
            "/m?<secret>",
        ] {
            assert!(shown.contains(kept), "{kept} in {shown}");
        }
    }
}
