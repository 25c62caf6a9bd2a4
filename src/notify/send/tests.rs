//! What becomes of an attempt when the other side behaves badly: fake servers on loopback.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use expect_test::{Expect, expect};

use super::{Outcome, Sender};
use crate::notify::receivers::{Notifier, Receiver, To};
use crate::notify::samples;
use crate::notify::secret::Secret;
use crate::notify::{Config, Message};

#[path = "tests/bad_peers.rs"]
mod bad_peers;
#[path = "tests/ways.rs"]
mod ways;

/// What a server was asked: path, headers that matter, body.
type Seen = Arc<Mutex<Vec<Asked>>>;

#[derive(Clone, Debug)]
struct Asked {
    path: String,
    headers: HeaderMap,
    body: String,
}

/// Answers by the last part of the path.
async fn answer(State(seen): State<Seen>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let body = String::from_utf8(body.to_vec()).expect("text");
    let n_before = {
        let mut seen = seen.lock().expect("a lock");
        let n_before = seen.iter().filter(|asked| asked.path == uri.path()).count();
        seen.push(Asked { path: uri.path().to_owned(), headers, body });
        n_before
    };
    let json = |text: &'static str| ([("content-type", "application/json")], text).into_response();
    match uri.path().rsplit('/').next().unwrap_or_default() {
        "500" => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        "404" => StatusCode::NOT_FOUND.into_response(),
        "429" => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "7")]).into_response(),
        "503" => {
            let at = "Wed, 25 Nov 2026 14:13:30 GMT";
            (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", at)]).into_response()
        }
        "302" => (StatusCode::FOUND, [("location", "/ok")]).into_response(),
        "hang" => std::future::pending().await,
        "long" => vec![b' '; 1 << 20].into_response(),
        "chat.postMessage" => json(r#"{"ok":true,"channel":"C1","ts":"17.5"}"#),
        "chat.update" => json(r#"{"ok":false,"error":"message_not_found"}"#),
        "revoked" => json(r#"{"ok":false,"error":"invalid_auth"}"#),
        "busy" => json(r#"{"ok":false,"error":"ratelimited"}"#),
        "token" => json(r#"{"access_token":"t1","token_type":"bearer","expires_in":3600}"#),
        "token-in-body" | "401-once" if n_before == 0 => StatusCode::UNAUTHORIZED.into_response(),
        "token-in-body" => json(r#"{"access_token":"t2"}"#),
        "no-token" => json(r#"{"error":"invalid_scope"}"#),
        _ => "ok".into_response(),
    }
}

async fn server() -> (SocketAddr, Seen) {
    // Every client needs a provider; whoever comes first installs it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let seen = Seen::default();
    let router = Router::new().fallback(answer).with_state(Arc::clone(&seen));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, seen)
}

fn message(notifier: Notifier) -> Message {
    Message {
        id: "4f1d9a0000000000000000000000beef".into(),
        position: 0,
        notifier: Arc::new(notifier),
        notice: Arc::new(samples::burn()),
        handle: None,
    }
}

fn webhook(url: &str) -> Notifier {
    let receiver = Receiver::webhook("r", url);
    let notifier = receiver.notifiers.first().expect("a notifier");
    Notifier { timeout: Duration::from_millis(500), ..Notifier::clone(notifier) }
}

/// The first notifier of a kind in a file.
fn of_kind(kind: &str, text: &str) -> Notifier {
    let config = Config::try_new("am.yaml", text, samples::no_files()).expect("a config");
    let mut notifiers = config.receivers().iter().flat_map(|receiver| &receiver.notifiers);
    Notifier::clone(notifiers.find(|notifier| notifier.to.kind() == kind).expect("a notifier"))
}

fn shown(outcome: &Outcome) -> String {
    match &outcome.failure {
        None => format!("delivered {}", outcome.handle.as_deref().unwrap_or_default()),
        Some(failure) => {
            let kind = if failure.retryable { "try again" } else { "give up" };
            let wait = failure.retry_after.map(|wait| format!(" after {wait:?}"));
            format!("{kind}{}: {}", wait.unwrap_or_default(), failure.message)
        }
    }
}

async fn check(urls: &[String], expect: &Expect) {
    let sender = Sender::default();
    let mut lines = Vec::new();
    for url in urls {
        let outcome = sender.send(&message(webhook(url)), samples::now()).await;
        let path = url.rsplit('/').next().unwrap_or_default();
        let text = shown(&outcome);
        assert!(!text.contains("hunter2"), "an error shows the address: {text}");
        lines.push(format!("{path}: {text}"));
    }
    expect.assert_eq(&lines.join("\n"));
}

#[tokio::test]
async fn a_bad_answer_is_retried_where_that_helps_and_a_redirect_is_never_followed() {
    let (address, seen) = server().await;
    let url = |path: &str| format!("http://{address}/hunter2/{path}");
    let urls = ["ok", "404", "429", "500", "503", "302", "hang"].map(url);
    check(
        &urls,
        &expect![[r"
            ok: delivered 
            404: give up: answered 404 Not Found
            429: try again after 7s: answered 429 Too Many Requests
            500: try again: answered 500 Internal Server Error
            503: try again after 90s: answered 503 Service Unavailable
            302: give up: answered 302 Found; redirects are not followed
            hang: try again: no answer within 0.5 s"]],
    )
    .await;
    let paths: Vec<String> =
        seen.lock().expect("a lock").iter().map(|asked| asked.path.clone()).collect();
    assert_eq!(paths.len(), urls.len(), "one request an attempt: {paths:?}");
}

#[tokio::test]
async fn an_address_that_nobody_answers_or_that_is_forbidden_fails_without_being_named() {
    let (address, _) = server().await;
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let closed_at = closed.local_addr().expect("an address");
    drop(closed);
    let urls = [
        format!("http://{closed_at}/hunter2/closed"),
        format!("https://{address}/hunter2/tls"),
        "http://169.254.169.254/hunter2/metadata".to_owned(),
        "http://2852039166/hunter2/metadata-as-a-number".to_owned(),
        "http://[fe80::1]/hunter2/link-local".to_owned(),
        "http://[::ffff:169.254.169.254]/hunter2/mapped".to_owned(),
    ];
    check(
        &urls,
        &expect![[r"
            closed: try again: cannot connect: Connection refused (os error 111)
            tls: try again: cannot connect: the other side does not speak TLS here; is its address one of http://, or another port?
            metadata: give up: a link-local or cloud metadata address is refused
            metadata-as-a-number: give up: a link-local or cloud metadata address is refused
            link-local: give up: a link-local or cloud metadata address is refused
            mapped: give up: a link-local or cloud metadata address is refused"]],
    )
    .await;
}

#[tokio::test]
async fn a_webhook_is_signed_and_a_repeat_has_the_same_id() {
    let (address, seen) = server().await;
    let text = format!(
        "route: {{receiver: r}}\nreceivers: [{{name: r, webhook_configs: [{{url: 'http://{address}/ok', signing_key: 'whsec_c2VjcmV0', http_config: {{basic_auth: {{username: me, password: hunter2}}, http_headers: {{X-Team: {{values: [shop]}}, Webhook-Id: {{values: [mine]}}, webhook-signature: {{values: [mine]}}}}}}}}]}}]"
    );
    let message = message(of_kind("webhook", &text));
    let sender = Sender::default();
    for _ in 0..2 {
        let outcome = sender.send(&message, samples::now()).await;
        assert_eq!(outcome.failure, None);
    }
    let seen = seen.lock().expect("a lock");
    let header = |at: usize, name: &str| seen[at].headers[name].to_str().expect("text").to_owned();
    assert_eq!(header(0, "webhook-id"), header(1, "webhook-id"));
    let stamp = samples::now().as_secs().to_string();
    assert_eq!(header(0, "webhook-timestamp"), stamp);
    let expected = super::http::signature(
        &Secret::new("whsec_c2VjcmV0"),
        &message.id,
        &stamp,
        seen[0].body.as_bytes(),
    );
    assert_eq!(Ok(header(0, "webhook-signature")), expected);
    assert_eq!(header(0, "authorization"), "Basic bWU6aHVudGVyMg==");
    assert_eq!(header(0, "x-team"), "shop");
    for name in ["webhook-id", "webhook-signature", "content-type"] {
        assert_eq!(seen[0].headers.get_all(name).iter().count(), 1, "{name}");
    }
    assert!(seen[0].body.contains(r#""version":"4""#), "{}", seen[0].body);
}

/// The example of the Standard Webhooks specification.
#[test]
fn the_signature_is_that_of_standard_webhooks() {
    let key = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    let made = super::http::signature(
        &key,
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "1614265330",
        br#"{"test": 2432232314}"#,
    );
    assert_eq!(made.as_deref(), Ok("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="));
}

fn slack(address: SocketAddr, path: &str) -> Notifier {
    let text = format!(
        "route: {{receiver: r}}\nreceivers: [{{name: r, slack_configs: [{{channel: '#alerts', app_token: 'xoxb-hunter2', app_url: 'http://{address}/{path}', update_message: true}}]}}]"
    );
    of_kind("slack", &text)
}

#[tokio::test]
async fn slack_says_in_the_body_whether_it_took_a_message() {
    let (address, _) = server().await;
    let sender = Sender::default();
    let mut lines = Vec::new();
    for path in ["chat.postMessage", "revoked", "busy", "long", "ok"] {
        let outcome = sender.send(&message(slack(address, path)), samples::now()).await;
        lines.push(format!("{path}: {}", shown(&outcome)));
    }
    expect![[r"
        chat.postMessage: delivered C1 17.5
        revoked: give up: Slack answered invalid_auth
        busy: try again: Slack answered ratelimited
        long: give up: the answer is too long
        ok: delivered "]]
    .assert_eq(&lines.join("\n"));
}

#[tokio::test]
async fn a_slack_message_that_cannot_be_changed_any_more_is_posted_anew() {
    let (address, seen) = server().await;
    let message =
        Message { handle: Some("C1 17.4".into()), ..message(slack(address, "chat.postMessage")) };
    let outcome = Sender::default().send(&message, samples::now()).await;
    assert_eq!(shown(&outcome), "delivered C1 17.5");
    let seen = seen.lock().expect("a lock");
    let paths: Vec<&str> = seen.iter().map(|asked| asked.path.as_str()).collect();
    assert_eq!(paths, ["/chat.update", "/chat.postMessage"]);
    assert!(seen[0].body.contains(r#""ts":"17.4""#) && seen[0].body.contains(r#""channel":"C1""#));
    assert!(seen[1].body.contains(r##""channel":"#alerts""##), "{}", seen[1].body);
    assert_eq!(seen[0].headers["authorization"], "Bearer xoxb-hunter2");
}

#[tokio::test]
async fn secrets_of_a_body_are_filled_in_only_when_it_is_sent() {
    let (address, seen) = server().await;
    let text = format!(
        "route: {{receiver: r}}\nreceivers: [{{name: r, pagerduty_configs: [{{routing_key: hunter2, url: 'http://{address}/v2/enqueue'}}]}}]"
    );
    let message = message(of_kind("pagerduty", &text));
    let rendered = format!("{:?}{message:?}", super::render(&message).expect("a message"));
    assert!(!rendered.contains("hunter2"));
    let outcome = Sender::default().send(&message, samples::now()).await;
    assert_eq!(outcome.failure, None);
    let seen = seen.lock().expect("a lock");
    assert!(seen[0].body.contains(r#""routing_key":"hunter2""#), "{}", seen[0].body);
}

/// Speaks as much SMTP as a mail needs; gives what was said to it.
async fn mail_server(greeting: &'static str) -> (SocketAddr, Arc<Mutex<String>>) {
    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let said = Arc::new(Mutex::new(String::new()));
    let heard = Arc::clone(&said);
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a connection");
        let mut stream = BufReader::new(stream);
        stream.write_all(b"220 test\r\n").await.expect("open");
        let (mut line, mut is_data) = (String::new(), false);
        while stream.read_line(&mut line).await.is_ok_and(|n| n > 0) {
            heard.lock().expect("a lock").push_str(&line);
            let reply = match line.trim_end() {
                "." if is_data => {
                    is_data = false;
                    "250 taken\r\n"
                }
                _ if is_data => "",
                "DATA" => {
                    is_data = true;
                    "354 go on\r\n"
                }
                "QUIT" => "221 bye\r\n",
                ehlo if ehlo.starts_with("EHLO") => "250-test\r\n250 AUTH PLAIN\r\n",
                auth if auth.starts_with("AUTH") => "235 you are in\r\n",
                rcpt if rcpt.starts_with("RCPT") => greeting,
                _ => "250 fine\r\n",
            };
            stream.write_all(reply.as_bytes()).await.expect("open");
            line.clear();
        }
    });
    (address, said)
}

fn email(address: SocketAddr, tls: &str) -> Notifier {
    let text = format!(
        "route: {{receiver: r}}\nreceivers: [{{name: r, email_configs: [{{to: 'a@example.org, b@example.org', from: 'c@example.org', smarthost: '{address}', auth_username: me, auth_password: hunter2, require_tls: {tls}, headers: {{X-Team: '{{{{ .Status }}}}'}}}}]}}]"
    );
    of_kind("email", &text)
}

#[tokio::test]
async fn a_mail_reaches_its_server_with_its_thread_and_both_forms() {
    let (address, said) = mail_server("250 fine\r\n").await;
    let message = message(email(address, "false"));
    let To::Email(_) = &message.notifier.to else { panic!("a mail") };
    let outcome = Sender::default().send(&message, samples::now()).await;
    assert_eq!(shown(&outcome), "delivered ");
    let said = said.lock().expect("a lock");
    for part in [
        "MAIL FROM:<c@example.org>",
        "RCPT TO:<a@example.org>",
        "RCPT TO:<b@example.org>",
        "Message-ID: <4f1d9a0000000000000000000000beef@throughline.invalid>",
        "References: <",
        "X-Team: firing",
        "Content-Type: text/plain",
        "Content-Type: text/html",
    ] {
        assert!(said.contains(part), "no `{part}` in {said}");
    }
}

#[tokio::test]
async fn a_mail_that_needs_tls_or_whose_reader_is_unknown_does_not_go() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (address, said) = mail_server("550 no such reader\r\n").await;
    let refused = Sender::default().send(&message(email(address, "false")), samples::now()).await;
    assert_eq!(shown(&refused), "give up: the mail server answered 550");
    assert!(!said.lock().expect("a lock").contains("DATA"));
    let (address, said) = mail_server("250 fine\r\n").await;
    let plain = Sender::default().send(&message(email(address, "true")), samples::now()).await;
    assert_eq!(
        shown(&plain),
        "try again: cannot send mail: STARTTLS is not supported on this server"
    );
    assert!(!said.lock().expect("a lock").contains("AUTH PLAIN"), "no password without TLS");
}
