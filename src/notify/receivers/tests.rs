use crate::notify::{Config, Files};

/// The receivers of a file, or its errors; files hold their own names. Every part must be in it, in any
/// order, and no secret.
fn check(text: &str, parts: &[&str]) {
    let files = Files {
        read: &|name| match name {
            "missing" => Err(std::io::ErrorKind::NotFound.into()),
            "a.tmpl" => Ok("{{ define \"mine\" }}{{ .Status }}{{ end }}".to_owned()),
            "bad.tmpl" => Ok("fine\n{{ define \"x\" }}{{ nosuch }}{{ end }}".to_owned()),
            name => Ok(format!("https://{name}.example/hunter2\n")),
        },
        glob: &|pattern| Ok(vec![pattern.replace('*', "a")]),
    };
    let shown = match Config::try_new("am.yaml", text, files) {
        Ok(config) => format!("{:?}", config.receivers()),
        Err(errors) => errors
            .iter()
            .map(|e| format!("{}:{}:{}: {}", e.file, e.line, e.col, e.message))
            .collect::<Vec<_>>()
            .join("\n"),
    };
    assert!(!shown.contains("hunter2"), "a secret shows: {shown}");
    for part in parts {
        assert!(shown.contains(part), "no `{part}` in {shown}");
    }
}

#[test]
fn a_notifier_takes_from_global_what_it_does_not_say_and_shows_no_secret() {
    check(
        r#"
global:
  slack_api_url_file: hook
  smtp_smarthost: 'mail.example.org:465'
  smtp_from: alerts@example.org
  smtp_auth_username: me
  smtp_auth_password: hunter2
  http_config: {authorization: {credentials: hunter2}}
templates: ['*.tmpl']
route: {receiver: r}
receivers:
  - name: r
    slack_configs: [{title: '{{ template "mine" . }}'}]
    email_configs: [{to: on-call@example.org}]
"#,
        &[
            "Webhook(<secret>)",
            "auth: Some(Header(<secret>))",
            "send_resolved: false",
            "host: \"mail.example.org\"",
            "port: 465",
            "tls: Implicit",
            "from: Template(\"alerts@example.org\")",
            "user: \"me\", password: <secret>",
        ],
    );
}

#[test]
fn every_error_has_its_place_and_names_no_secret() {
    check(
        r"
templates: [bad.tmpl]
route: {receiver: r}
receivers:
  - name: r
    webhook_configs:
      - url: ftp://user:hunter2@example.org
      - {url: 'http://a', url_file: b}
      - url_file: missing
      - {url: 'http://a', signing_key: '***'}
      - {url: 'http://a', timeout: soon, payload: {text: '{{ .Status | nosuch }}'}}
    slack_configs:
      - channel: '#x'
      - {api_url: 'https://hooks.slack.com/x', update_message: true}
      - {app_token: xoxb-1}
      - {app_token: xoxb-1, channel: '#x', actions: [{type: button, text: go}]}
    pagerduty_configs: [{}, {routing_key: hunter2, service_key: hunter2}]
    email_configs: [{to: a@example.org}]
    msteamsv2_configs:
      - webhook_url: https://teams.example.org/
        title: '{{ .Status | nosuch }}'
",
        &[
            "bad.tmpl:2:",
            "there is no function `nosuch`",
            "an address begins with http:// or https:// and names a host",
            "one of `url` and `url_file`, not both",
            "url_file missing: ",
            "`signing_key` is no base64",
            "`soon` is no duration",
            "Slack needs an `api_url`",
            "`update_message` needs a bot",
            "a bot needs a `channel`",
            "`routing_key` or `routing_key_file` is needed",
            "one of `routing_key` and `service_key`, not both",
            "an action needs a `type`, a `text`, and a `url` or a `name`",
            "email needs `from`",
            "email needs a `smarthost`",
            "am.yaml:21:",
        ],
    );
}

#[test]
fn ways_to_say_who_we_are_and_which_way_to_go_do_not_mix() {
    let webhook =
        |http_config: &str| format!("    - url: 'http://a'\n      http_config: {http_config}\n");
    let written = [
        "{basic_auth: {username: a}, oauth2: {client_id: a, token_url: 'http://a'}}",
        "{authorization: {type: basic, credentials: hunter2}}",
        "{oauth2: {token_url: 'http://a'}}",
        "{oauth2: {client_id: a}}",
        "{oauth2: {client_id: a, token_url: 'ftp://a', client_secret: hunter2}}",
        "{no_proxy: a}",
        "{proxy_from_environment: true, proxy_url: 'http://hunter2'}",
        "{tls_config: {min_version: TLS14}}",
    ];
    let text = format!(
        "route: {{receiver: r}}\nreceivers:\n- name: r\n  webhook_configs:\n{}",
        written.map(webhook).concat()
    );
    check(
        &text,
        &[
            "one of `basic_auth`, `authorization` and `oauth2`, not several",
            "`authorization` of type Basic is written as `basic_auth`",
            "`oauth2` needs a `client_id`",
            "`oauth2` needs a `token_url`",
            "an address begins with http:// or https://",
            "`no_proxy` and `proxy_connect_header` need a `proxy_url`",
            "`proxy_from_environment` stands without `proxy_url`",
            "`min_version: TLS14` is no version",
        ],
    );
}

#[test]
fn what_we_do_not_do_stops_a_start_only_where_a_route_leads_to_it() {
    let config = |receiver: &str| {
        let text = format!(
            r"
route: {{receiver: {receiver}}}
receivers:
  - name: good
    webhook_configs: [{{url: 'http://127.0.0.1/'}}]
  - name: other
    telegram_configs: [{{chat_id: 1, bot_token: t}}]
    pagerduty_configs: [{{routing_key: '{{{{ .CommonLabels.team }}}}'}}]
    webhook_configs: [{{url: 'http://127.0.0.1/', http_config: {{proxy_url: 'http://p', tls_config: {{server_name: p}}}}}}]
"
        );
        let files = Files { read: &|_| Ok(String::new()), glob: &|_| Ok(Vec::new()) };
        Config::try_new("am.yaml", &text, files).expect("a good file")
    };
    assert_eq!(config("good").undeliverable(), Vec::new());
    assert_eq!(config("good").unsupported().count(), 3);
    let shown: Vec<String> =
        config("other").undeliverable().iter().map(|error| error.message.clone()).collect();
    assert_eq!(shown.len(), 3, "{shown:?}");
    for part in ["telegram_configs", "a template as a key", "server_name"] {
        assert!(shown.iter().any(|message| message.contains(part)), "no {part} in {shown:?}");
    }
}
