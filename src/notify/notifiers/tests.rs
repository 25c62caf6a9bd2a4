//! Golden messages: what each platform is sent, as files that a person can review.

use std::path::PathBuf;
use std::sync::Arc;

use expect_test::expect_file;
use serde_json::Value;

use super::{Request, render};
use crate::notify::notice::Notice;
use crate::notify::samples::{self, RECEIVERS};
use crate::notify::{Config, Message};

/// Renders a notice for every kind of notifier into `tests/golden/messages/CASE/`.
fn check(case: &str, notice: &Notice) {
    let config = Config::try_new("am.yaml", RECEIVERS, samples::no_files()).expect("a config");
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/messages").join(case);
    std::fs::create_dir_all(&folder).expect("a folder");
    for notifier in config.receivers().iter().flat_map(|receiver| &receiver.notifiers) {
        let message = Message {
            id: "4f1d9a0000000000000000000000beef".into(),
            position: 0,
            notifier: Arc::clone(notifier),
            notice: Arc::new(notice.clone()),
            handle: None,
        };
        let rendered = render(&message).expect("a message");
        let (text, extension) = match rendered.request {
            Request::Http(http) => {
                (serde_json::to_string_pretty(&http.body).expect("JSON") + "\n", "json")
            }
            Request::Mail(mail) => {
                let mail = String::from_utf8(mail.letter.formatted()).expect("text");
                (mail.replace("\r\n", "\n"), "eml")
            }
        };
        let name = format!("{}.{extension}", notifier.to.kind());
        expect_file![folder.join(name)].assert_eq(&text);
    }
    let plain = crate::notify::card::Card::compose(notice).plain() + "\n";
    expect_file![folder.join("message.txt")].assert_eq(&plain);
}

#[test]
fn a_page_says_what_burns_where_and_since_when() {
    check("burn", &samples::burn());
}

#[test]
fn an_end_says_how_long_how_much_and_how_bad() {
    check("resolved", &samples::resolved());
}

#[test]
fn a_repeat_does_not_tell_old_figures_as_those_of_now() {
    check("repeat", &samples::repeat());
}

#[test]
fn a_failure_is_told_by_who_failed_on_what_and_why() {
    check("dead_letter", &samples::dead_letter());
}

#[test]
fn a_group_leads_with_what_matters_most_and_names_the_others() {
    check("group", &samples::group());
}

#[test]
fn what_joins_a_group_is_what_its_message_leads_with() {
    let card = crate::notify::card::Card::compose(&samples::joined());
    assert!(card.headline.contains("orders-in-time burns 92x"), "{}", card.headline);
    assert!(card.headline.ends_with("since 14:11 UTC · and 1 more"), "{}", card.headline);
}

#[test]
fn an_alert_without_evidence_says_what_is_known_and_no_more() {
    check("bare", &samples::bare());
}

#[test]
fn hostile_labels_make_no_markup() {
    check("hostile", &samples::hostile());
}

/// Alertmanager's webhooks and templates have the name so, since its routes match it as a pattern.
#[test]
fn a_receiver_s_name_is_quoted_as_alertmanager_quotes_it() {
    let notice = Notice { receiver: r"team.a+b (on-call) [x]\y#&~".into(), ..samples::burn() };
    let quoted = r"team\.a\+b \(on-call\) \[x\]\\y#&~";
    let webhook = crate::notify::receivers::Receiver::webhook("r", "http://127.0.0.1/");
    let message = Message {
        id: "1".into(),
        position: 0,
        notifier: Arc::clone(webhook.notifiers.first().expect("a notifier")),
        notice: Arc::new(notice.clone()),
        handle: None,
    };
    let Request::Http(http) = render(&message).expect("a message").request else { panic!("HTTP") };
    assert_eq!(http.body["receiver"], quoted);
    let library = crate::notify::template::Library::default();
    let template = crate::notify::template::Template::parse("{{ .Receiver }}", &library);
    assert_eq!(template.expect("a template").text(&notice).as_deref(), Ok(quoted));
}

/// What each platform takes, in bytes of JSON; mail has no bound of its own.
const LIMITS: [(&str, usize); 4] =
    [("slack", 12_000), ("teams", 20_000), ("google_chat", 31_000), ("pagerduty", 500_000)];

#[test]
fn a_message_that_is_too_long_loses_its_least_valuable_blocks_and_never_a_link() {
    let notice = samples::huge();
    let config = Config::try_new("am.yaml", RECEIVERS, samples::no_files()).expect("a config");
    for (kind, bytes_max) in LIMITS {
        let mut notifiers = config.receivers().iter().flat_map(|receiver| &receiver.notifiers);
        let notifier = notifiers.find(|notifier| notifier.to.kind() == kind).expect("a notifier");
        let message = Message {
            id: "1".into(),
            position: 0,
            notifier: Arc::clone(notifier),
            notice: Arc::new(notice.clone()),
            handle: None,
        };
        let rendered = render(&message).expect("a message");
        let Request::Http(http) = rendered.request else { panic!("{kind} speaks HTTP") };
        let text = http.body.to_string();
        assert!(text.len() <= bytes_max, "{kind}: {} bytes", text.len());
        // Slack's sections are short in any case.
        assert!(rendered.n_dropped > 0 || kind == "slack", "{kind} had to drop something");
        for link in ["/requests/5f0c", "/runbooks/DlqGrew", "/slos#", "/silences/new"] {
            assert!(text.contains(link), "{kind} lost {link}");
        }
        for kept in ["in the last 5 min", "Budget of orders-in-time", "Where: fulfil"] {
            assert!(text.contains(kept), "{kind} lost `{kept}`, which is worth more");
        }
    }
}

/// What the first notifier of a kind is sent about a burn.
fn body(kind: &str, written: &str) -> Value {
    let text =
        format!("route: {{receiver: r}}\nreceivers:\n- name: r\n  {kind}_configs:\n{written}");
    let config = Config::try_new("am.yaml", &text, samples::no_files()).expect("a config");
    assert_eq!(config.undeliverable(), Vec::new());
    let notifier = config.receivers()[0].notifiers.first().expect("a notifier");
    let message = Message {
        id: "1".into(),
        position: 0,
        notifier: Arc::clone(notifier),
        notice: Arc::new(samples::burn()),
        handle: None,
    };
    let Request::Http(http) = render(&message).expect("a message").request else { panic!("HTTP") };
    http.body
}

#[test]
fn a_webhook_s_own_payload_keeps_its_shape_and_gives_values_where_templates_do() {
    let body = body(
        "webhook",
        r"
  - url: 'http://127.0.0.1/'
    payload:
      title: '{{ .CommonLabels.alertname }}: {{ .Status }}'
      '{{ .Status }}_count': '{{ len .Alerts }}'
      labels: '{{ .CommonLabels | toJson }}'
      list: [plain, 7, true, null, {deep: '{{ .Receiver }}'}]
",
    );
    let labels = body["labels"].as_object().expect("a map");
    assert_eq!(labels["severity"], "page");
    assert_eq!(body["title"], "OrdersInTimeBurns: firing");
    assert_eq!(body["firing_count"], 1);
    assert_eq!(body["list"], serde_json::json!(["plain", 7, true, null, {"deep": "on-call"}]));
}

#[test]
fn links_of_slack_stand_beside_ours_and_other_actions_make_alertmanager_s_attachment() {
    let written =
        |actions: &str| format!("  - channel: '#x'\n    app_token: t\n    actions: [{actions}]\n");
    let link = "{type: button, text: Graph, url: 'https://g.example/{{ .CommonLabels.service }}'}";
    let ours = body("slack", &written(&format!("{link}, {{type: button, text: Nowhere, url: x}}")));
    let blocks = ours["attachments"][0]["blocks"].as_array().expect("blocks");
    let buttons = blocks.last().expect("buttons")["elements"].as_array().expect("elements");
    assert_eq!(buttons.last().expect("one")["url"], "https://g.example/shop");
    assert!(buttons.len() > 2 && !ours.to_string().contains("Nowhere"), "{ours}");
    let tell = "{type: button, text: Ack, name: ack, value: '{{ .Status }}', style: primary, confirm: {text: sure?, ok_text: yes!}}";
    let theirs = body("slack", &written(&format!("{link}, {tell}")));
    assert_eq!(
        theirs["attachments"][0]["actions"],
        serde_json::json!([
            {"type": "button", "text": "Graph", "url": "https://g.example/shop"},
            {"type": "button", "text": "Ack", "style": "primary", "name": "ack", "value": "firing",
             "confirm": {"text": "sure?", "ok_text": "yes!"}},
        ])
    );
}

#[test]
fn a_service_key_speaks_the_first_version_of_pagerduty_s_events() {
    let body = body("pagerduty", "  - {service_key: hunter2, client: shop, details: {team: a}}");
    assert_eq!(body["event_type"], "trigger");
    assert_eq!(body["incident_key"].as_str().map(str::len), Some(64));
    assert_eq!((&body["client"], &body["details"]["team"]), (&"shop".into(), &"a".into()));
    assert!(body["description"].as_str().is_some_and(|text| text.contains("burns 92x")), "{body}");
    assert!(
        body["details"]["Runbook"].as_str().is_some_and(|url| url.starts_with("http")),
        "{body}"
    );
    assert_eq!(body["service_key"], "<secret>");
}

#[test]
fn images_of_pagerduty_are_sent() {
    let written =
        "  - {routing_key: k, images: [{src: 'https://i.example/{{ .Status }}', alt: a}]}";
    let images = &body("pagerduty", written)["images"];
    assert_eq!(*images, serde_json::json!([{"src": "https://i.example/firing", "alt": "a"}]));
}
