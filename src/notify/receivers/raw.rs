//! Receivers exactly as Alertmanager's file writes them; all keys optional, unknown ones refused.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_saphyr::Spanned;

/// One written value with its place.
pub(in crate::notify) type Written = Option<Spanned<String>>;
/// A list of one kind of notifier.
type Many<T> = Vec<Spanned<T>>;

#[derive(Deserialize)]
pub(in crate::notify) struct RawReceiver {
    pub(in crate::notify) name: String,
    #[serde(default)]
    pub(super) webhook_configs: Many<RawWebhook>,
    #[serde(default)]
    pub(super) slack_configs: Many<RawSlack>,
    #[serde(default)]
    pub(super) msteamsv2_configs: Many<RawTeams>,
    /// Ours: Alertmanager has no such notifier.
    #[serde(default)]
    pub(super) googlechat_configs: Many<RawGoogleChat>,
    #[serde(default)]
    pub(super) pagerduty_configs: Many<RawPagerDuty>,
    #[serde(default)]
    pub(super) email_configs: Many<RawEmail>,
    #[serde(flatten)]
    pub(super) others: BTreeMap<String, serde_json::Value>,
}

/// What every kind of notifier has.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(in crate::notify) struct RawHttp {
    pub(super) basic_auth: Option<RawBasicAuth>,
    pub(super) authorization: Option<RawAuthorization>,
    pub(super) bearer_token: Option<String>,
    pub(super) bearer_token_file: Option<String>,
    pub(super) oauth2: Option<RawOAuth2>,
    pub(super) tls_config: Option<RawTls>,
    /// Taken and not heeded: redirects are never followed.
    #[serde(rename = "follow_redirects")]
    pub(super) _follow_redirects: Option<bool>,
    #[serde(rename = "enable_http2")]
    pub(super) _enable_http2: Option<bool>,
    pub(super) proxy_url: Option<String>,
    pub(super) no_proxy: Option<String>,
    #[serde(default)]
    pub(super) proxy_from_environment: bool,
    #[serde(default)]
    pub(super) proxy_connect_header: BTreeMap<String, Vec<String>>,
    /// Ours.
    #[serde(default)]
    pub(super) allow_link_local: bool,
    #[serde(default)]
    pub(super) http_headers: BTreeMap<String, RawHeader>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawOAuth2 {
    #[serde(default)]
    pub(super) client_id: String,
    pub(super) client_secret: Option<String>,
    pub(super) client_secret_file: Option<String>,
    #[serde(default)]
    pub(super) token_url: String,
    #[serde(default)]
    pub(super) scopes: Vec<String>,
    #[serde(default)]
    pub(super) endpoint_params: BTreeMap<String, String>,
    /// Of Prometheus's newer libraries: `client_credentials`, the only one that we do, or a JWT.
    pub(super) grant_type: Option<String>,
    pub(super) tls_config: Option<RawTls>,
    pub(super) proxy_url: Option<String>,
    pub(super) no_proxy: Option<String>,
    #[serde(default)]
    pub(super) proxy_from_environment: bool,
    #[serde(default)]
    pub(super) proxy_connect_header: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawBasicAuth {
    pub(super) username: Option<String>,
    pub(super) username_file: Option<String>,
    pub(super) password: Option<String>,
    pub(super) password_file: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAuthorization {
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) credentials: Option<String>,
    pub(super) credentials_file: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawHeader {
    #[serde(default)]
    pub(super) values: Vec<String>,
    #[serde(default)]
    pub(super) secrets: Vec<String>,
    #[serde(default)]
    pub(super) files: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTls {
    pub(super) ca: Option<String>,
    pub(super) ca_file: Option<String>,
    pub(super) cert: Option<String>,
    pub(super) cert_file: Option<String>,
    pub(super) key: Option<String>,
    pub(super) key_file: Option<String>,
    pub(super) server_name: Option<String>,
    #[serde(default)]
    pub(super) insecure_skip_verify: bool,
    pub(super) min_version: Option<String>,
    pub(super) max_version: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawWebhook {
    pub(super) send_resolved: Option<bool>,
    pub(super) http_config: Option<RawHttp>,
    pub(super) timeout: Written,
    pub(super) url: Option<String>,
    pub(super) url_file: Option<String>,
    #[serde(default)]
    pub(super) max_alerts: usize,
    /// A body of the user's own shape.
    pub(super) payload: Option<serde_json::Value>,
    /// Ours: signs every message.
    pub(super) signing_key: Option<String>,
    pub(super) signing_key_file: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSlack {
    pub(super) send_resolved: Option<bool>,
    pub(super) http_config: Option<RawHttp>,
    pub(super) timeout: Written,
    pub(super) api_url: Option<String>,
    pub(super) api_url_file: Option<String>,
    pub(super) app_token: Option<String>,
    pub(super) app_token_file: Option<String>,
    pub(super) app_url: Option<String>,
    pub(super) channel: Written,
    pub(super) username: Written,
    pub(super) icon_emoji: Written,
    pub(super) icon_url: Written,
    #[serde(default)]
    pub(super) update_message: bool,
    pub(super) color: Written,
    pub(super) title: Written,
    pub(super) title_link: Written,
    pub(super) pretext: Written,
    pub(super) text: Written,
    pub(super) message_text: Written,
    pub(super) footer: Written,
    pub(super) fallback: Written,
    pub(super) callback_id: Written,
    pub(super) image_url: Written,
    pub(super) thumb_url: Written,
    #[serde(default)]
    pub(super) fields: Vec<RawSlackField>,
    #[serde(default)]
    pub(super) short_fields: bool,
    #[serde(default)]
    pub(super) actions: Vec<RawSlackAction>,
    #[serde(default, rename = "link_names")]
    pub(super) _link_names: bool,
    #[serde(rename = "mrkdwn_in")]
    pub(super) _mrkdwn_in: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSlackField {
    pub(super) title: Written,
    pub(super) value: Written,
    pub(super) short: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSlackAction {
    #[serde(rename = "type")]
    pub(super) kind: Written,
    pub(super) text: Written,
    pub(super) url: Written,
    pub(super) style: Written,
    pub(super) name: Written,
    pub(super) value: Written,
    pub(super) confirm: Option<RawSlackConfirm>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSlackConfirm {
    pub(super) text: Written,
    pub(super) title: Written,
    pub(super) ok_text: Written,
    pub(super) dismiss_text: Written,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTeams {
    pub(super) send_resolved: Option<bool>,
    pub(super) http_config: Option<RawHttp>,
    pub(super) timeout: Written,
    pub(super) webhook_url: Option<String>,
    pub(super) webhook_url_file: Option<String>,
    pub(super) title: Written,
    pub(super) text: Written,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawGoogleChat {
    pub(super) send_resolved: Option<bool>,
    pub(super) http_config: Option<RawHttp>,
    pub(super) timeout: Written,
    pub(super) url: Option<String>,
    pub(super) url_file: Option<String>,
    pub(super) text: Written,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPagerDuty {
    pub(super) send_resolved: Option<bool>,
    pub(super) http_config: Option<RawHttp>,
    pub(super) timeout: Written,
    pub(super) url: Option<String>,
    pub(super) routing_key: Option<String>,
    pub(super) routing_key_file: Option<String>,
    pub(super) service_key: Option<String>,
    pub(super) service_key_file: Option<String>,
    pub(super) client: Written,
    pub(super) client_url: Written,
    pub(super) description: Written,
    pub(super) severity: Written,
    pub(super) source: Written,
    pub(super) class: Written,
    pub(super) component: Written,
    pub(super) group: Written,
    #[serde(default)]
    pub(super) details: BTreeMap<String, Spanned<serde_json::Value>>,
    #[serde(default)]
    pub(super) links: Vec<RawLink>,
    #[serde(default)]
    pub(super) images: Vec<RawImage>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLink {
    pub(super) href: Written,
    pub(super) text: Written,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawImage {
    pub(super) src: Written,
    pub(super) alt: Written,
    pub(super) href: Written,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawEmail {
    pub(super) send_resolved: Option<bool>,
    pub(super) timeout: Written,
    pub(super) to: Written,
    pub(super) from: Written,
    pub(super) smarthost: Written,
    pub(super) hello: Option<String>,
    pub(super) auth_username: Option<String>,
    pub(super) auth_password: Option<String>,
    pub(super) auth_password_file: Option<String>,
    pub(super) auth_secret: Option<String>,
    pub(super) auth_secret_file: Option<String>,
    #[serde(rename = "auth_identity")]
    pub(super) _auth_identity: Option<String>,
    pub(super) require_tls: Option<bool>,
    pub(super) force_implicit_tls: Option<bool>,
    pub(super) tls_config: Option<RawTls>,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, Spanned<String>>,
    pub(super) html: Written,
    pub(super) text: Written,
    /// Mails of one group are one thread anyway.
    #[serde(rename = "threading")]
    pub(super) _threading: Option<serde_json::Value>,
}

/// `global`: what notifiers take where they say nothing themselves.
#[derive(Deserialize, Default)]
pub(in crate::notify) struct RawGlobal {
    pub(in crate::notify) resolve_timeout: Written,
    /// Of notifiers that we do not deliver to.
    #[serde(flatten)]
    pub(super) _others: BTreeMap<String, serde_json::Value>,
    pub(super) http_config: Option<RawHttp>,
    pub(super) slack_api_url: Option<String>,
    pub(super) slack_api_url_file: Option<String>,
    pub(super) slack_app_token: Option<String>,
    pub(super) slack_app_token_file: Option<String>,
    pub(super) slack_app_url: Option<String>,
    pub(super) pagerduty_url: Option<String>,
    pub(super) smtp_smarthost: Written,
    pub(super) smtp_from: Written,
    pub(super) smtp_hello: Option<String>,
    pub(super) smtp_auth_username: Option<String>,
    pub(super) smtp_auth_password: Option<String>,
    pub(super) smtp_auth_password_file: Option<String>,
    pub(super) smtp_require_tls: Option<bool>,
    pub(super) smtp_force_implicit_tls: Option<bool>,
    pub(super) smtp_tls_config: Option<RawTls>,
}
