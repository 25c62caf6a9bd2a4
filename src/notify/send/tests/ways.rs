//! Through proxies, and with tokens that are asked for.

use super::*;

/// A webhook to this path with this `http_config`.
fn over(address: SocketAddr, host: &str, path: &str, http_config: &str) -> Notifier {
    let http_config = http_config.replace("SERVER", &address.to_string());
    let text = format!(
        "route: {{receiver: r}}\nreceivers: [{{name: r, webhook_configs: [{{url: 'http://{host}/hunter2/{path}', http_config: {http_config}}}]}}]"
    );
    of_kind("webhook", &text)
}

/// What is seen of one request: path and the headers that say who we are.
fn told(asked: &Asked) -> String {
    let header = |name: &str| asked.headers.get(name).and_then(|value| value.to_str().ok());
    let last = asked.path.rsplit('/').next().unwrap_or_default();
    let shown = ["authorization", "proxy-authorization"]
        .map(|name| header(name).map(|value| format!(" {name}={value}")).unwrap_or_default());
    format!("{last}{}", shown.concat())
}

async fn check(sends: &[(&str, &str, &str)], expect: &Expect) {
    let (address, seen) = server().await;
    let (sender, own) = (Sender::default(), address.to_string());
    let mut lines = Vec::new();
    for (host, path, http_config) in sends {
        let host = host.replace("SERVER", &own);
        let message = message(over(address, &host, path, http_config));
        let outcome = sender.send(&message, samples::now()).await;
        let text = shown(&outcome);
        assert!(!text.contains("hunter2"), "an error shows a secret: {text}");
        // How a name is not found is the resolver's to say.
        let text = text.split(": failed to lookup").next().unwrap_or_default();
        lines.push(format!("{path}: {text}"));
    }
    lines.push("seen:".to_owned());
    lines.extend(seen.lock().expect("a lock").iter().map(told));
    expect.assert_eq(&lines.join("\n"));
}

#[tokio::test]
async fn a_proxy_is_used_where_it_is_asked_for_and_nowhere_else() {
    check(
        &[
            // Nobody resolves this name but the proxy.
            ("hooks.invalid", "ok", "{proxy_url: 'http://me:hunter2@SERVER'}"),
            (
                "SERVER",
                "ok",
                "{proxy_url: 'http://127.0.0.1:1', no_proxy: 'a.invalid,127.0.0.0/8'}",
            ),
            ("hooks.invalid", "direct", "{}"),
            ("hooks.invalid", "guarded", "{proxy_url: 'http://169.254.169.254:80'}"),
            ("169.254.169.254", "metadata", "{proxy_url: 'http://SERVER'}"),
        ],
        &expect![[r"
            ok: delivered 
            ok: delivered 
            direct: try again: cannot connect
            guarded: give up: a link-local or cloud metadata address is refused
            metadata: give up: a link-local or cloud metadata address is refused
            seen:
            ok proxy-authorization=Basic bWU6aHVudGVyMg==
            ok"]],
    )
    .await;
}

#[tokio::test]
async fn a_token_is_asked_for_once_and_anew_when_it_is_refused() {
    let oauth2 = |path: &str| {
        format!(
            "{{oauth2: {{client_id: me, client_secret: hunter2, token_url: 'http://SERVER/{path}', scopes: [a, b], endpoint_params: {{audience: x}}}}}}"
        )
    };
    let (token, in_body, none) = (oauth2("token"), oauth2("token-in-body"), oauth2("no-token"));
    check(
        &[
            ("SERVER", "ok", &token),
            ("SERVER", "ok", &token),
            ("SERVER", "401-once", &token),
            ("SERVER", "ok", &in_body),
            ("SERVER", "ok", &none),
            ("SERVER", "ok", &oauth2("500")),
        ],
        &expect![[r"
            ok: delivered 
            ok: delivered 
            401-once: delivered 
            ok: delivered 
            ok: give up: oauth2: the answer holds no `access_token`
            ok: try again: oauth2: answered 500 Internal Server Error
            seen:
            token authorization=Basic bWU6aHVudGVyMg==
            ok authorization=Bearer t1
            ok authorization=Bearer t1
            401-once authorization=Bearer t1
            token authorization=Basic bWU6aHVudGVyMg==
            401-once authorization=Bearer t1
            token-in-body authorization=Basic bWU6aHVudGVyMg==
            token-in-body
            ok authorization=Bearer t2
            no-token authorization=Basic bWU6aHVudGVyMg==
            500 authorization=Basic bWU6aHVudGVyMg=="]],
    )
    .await;
}

#[tokio::test]
async fn the_question_for_a_token_says_what_the_standard_wants() {
    let (address, seen) = server().await;
    let http_config = "{oauth2: {client_id: 'm&e', client_secret: hunter2, token_url: 'http://SERVER/token-in-body', scopes: [a, b], endpoint_params: {audience: 'x y'}}}";
    let message = message(over(address, &address.to_string(), "ok", http_config));
    let outcome = Sender::default().send(&message, samples::now()).await;
    assert_eq!(outcome.failure, None);
    let seen = seen.lock().expect("a lock");
    let bodies: Vec<&str> = seen.iter().take(2).map(|asked| asked.body.as_str()).collect();
    let fields = "grant_type=client_credentials&scope=a+b&audience=x+y";
    assert_eq!(bodies, [fields, &format!("{fields}&client_id=m%26e&client_secret=hunter2")]);
}
