use expect_test::{Expect, expect};

use super::{DEFAULT_LIBRARY, DEFAULTS, Library, Template};
use crate::notify::samples;

/// Each text filled in with the group of the samples, as text.
#[expect(clippy::needless_pass_by_value, reason = "expectations are written in place")]
fn check(texts: &[&str], expect: Expect) {
    let notice = samples::group();
    let lines: Vec<String> = texts
        .iter()
        .map(|text| match Template::parse(text, &DEFAULT_LIBRARY) {
            Ok(template) => {
                template.text(&notice).unwrap_or_else(|error| format!("failed: {error}"))
            }
            Err(error) => format!("error at {}: {}", error.at, error.message),
        })
        .collect();
    expect.assert_eq(&lines.join("\n"));
}

#[test]
fn the_default_definitions_parse_and_use_only_each_other() {
    let mut library = Library::default();
    assert_eq!(library.add(DEFAULTS), Ok(()));
    assert_eq!(library.check(), Ok(()));
}

#[test]
fn methods_of_label_sets_and_alerts_are_those_of_alertmanager() {
    check(
        &[
            "{{ .Status }} {{ len .Alerts }} {{ .Alerts.Firing | len }} {{ len .Alerts.Resolved }}",
            "{{ .GroupLabels.SortedPairs.Values | join \" \" }} {{ .GroupLabels.Names }}",
            "{{ with index .Alerts 0 }}{{ .Labels.Names | join \",\" }}{{ end }}",
            "{{ (index .Alerts 0).Labels.slo }} {{ (index .Alerts 0).Labels.nope }}|{{ .CommonLabels.nope }}|",
            "{{ range (index .Alerts 1).Labels.SortedPairs }}{{ .Name }}={{ .Value }} {{ end }}",
            "{{ with (index .Alerts 1).Labels.Remove (stringSlice \"alertname\") }}{{ .Values | join \" \" }}{{ end }}",
            "{{ with $a := index .Alerts 1 }}{{ $a.Annotations.summary | toUpper }} {{ $a.Labels }}{{ end }}",
            "{{ range $name, $value := .GroupLabels }}{{ $name }}:{{ $value }}{{ end }}",
            "{{ .GroupLabels }} {{ (index .Alerts 1).Labels.SortedPairs }} {{ index (index .Alerts 1).Labels.SortedPairs 1 }}",
            "{{ .Receiver }} {{ .ExternalURL }} {{ .NotificationReason }}",
            "{{ template \"__subject\" . }}",
            "{{ template \"slack.default.titlelink\" . }}",
        ],
        expect![[r"
            firing 13 12 1
            OrdersInTimeBurns [alertname]
            alertname,env,region,service,severity,slo
            orders-in-time ||
            alertname=DlqNotEmpty queue=queue-01 severity=ticket 
            queue-01 ticket
            DEAD LETTERS LIE IN QUEUE-01 alertname=DlqNotEmpty, queue=queue-01, severity=ticket
            alertname:OrdersInTimeBurns
            alertname=OrdersInTimeBurns alertname=DlqNotEmpty, queue=queue-01, severity=ticket {queue queue-01}
            on-call https://throughline.example.org new alerts added
            [FIRING:12] OrdersInTimeBurns
            https://throughline.example.org/alerts?receiver=on-call"]],
    );
}

#[test]
fn times_are_formatted_moved_and_measured() {
    check(
        &[
            "{{ (index .Alerts 0).StartsAt }} {{ (index .Alerts 0).EndsAt }}",
            "{{ date \"15:04 MST\" (tz \"Europe/Berlin\" (index .Alerts 0).StartsAt) }}",
            "{{ (index .Alerts 0).StartsAt.Format \"Jan 2, 2006\" }} {{ (index .Alerts 0).StartsAt.Unix }}",
            "{{ since (index .Alerts 0).StartsAt }} {{ since (index .Alerts 0).StartsAt | humanizeDuration }}",
            "{{ with index .Alerts 12 }}{{ .EndsAt.Sub .StartsAt }}{{ end }}",
            "{{ tz \"Moon/Base\" (index .Alerts 0).StartsAt }}",
        ],
        expect![[r"
            2026-11-25 14:11:00 +0000 UTC 0001-01-01 00:00:00 +0000 UTC
            15:11 CET
            Nov 25, 2026 1795615860
            1m0s 1m 0s
            26h0m0s
            failed: execution error: unknown time zone Moon/Base"]],
    );
}

#[test]
fn functions_do_what_those_of_alertmanager_do() {
    check(
        &[
            "{{ title \"aa BB c's\" }} {{ trimSpace \" x \" }} {{ toLower \"AB\" }}",
            "{{ join \"-\" (stringSlice \"a\" \"b\") }} {{ match \"^a\" \"ab\" }} {{ reReplaceAll \"(a)b\" \"x$1\" \"ab\" }}",
            "{{ urlUnescape \"a%20b+c\" }} {{ urlUnescape \"%zz\" }}",
            "{{ toJson .GroupLabels }} {{ toJson (index .Alerts 1).Labels }} {{ toJson \"<&>\" }}",
            "{{ toJson (index .Alerts 12) }}",
            "{{ humanizeDuration 3661 }} {{ safeHtml \"<b>\" }}",
            "{{ (dict \"a\" \"1\").a }} {{ append (list \"a\") \"b\" | join \",\" }}",
            "{{ .Status | printf \"%s!\" }}",
        ],
        expect![[r#"
            Aa Bb C's x ab
            a-b true xa
            failed: execution error: invalid URL escape in "%zz"
            {"alertname":"OrdersInTimeBurns"} {"alertname":"DlqNotEmpty","queue":"queue-01","severity":"ticket"} "\u003c\u0026\u003e"
            {"annotations":{"summary":"Dead letters lie in queue-12"},"endsAt":"2026-11-25T14:12:00Z","fingerprint":"5052e0756029e2cc","generatorURL":"https://throughline.example.org/alerts#5052e0756029e2cc","labels":{"alertname":"DlqNotEmpty","queue":"queue-12","severity":"ticket"},"startsAt":"2026-11-24T12:12:00Z","status":"resolved"}
            1h 1m 1s <b>
            1 a,b
            firing!"#]],
    );
}

#[test]
fn what_cannot_work_is_refused_with_its_place() {
    check(
        &[
            "{{ template \"nope\" . }}",
            "ab {{ nosuch .Status }}",
            "{{ range .Alerts }}",
            "{{ query \"up\" }}",
            "{{ .Status.x.y }}",
        ],
        expect![[r"
            error at 3: no template `nope` is defined
            error at 6: there is no function `nosuch`
            error at 0: `range` is not closed by `{{ end }}`
            error at 3: there is no function `query`
            failed: execution error: can't evaluate field x in type string"]],
    );
}

#[test]
fn html_is_escaped_but_for_what_is_safe() {
    let text = "{{ .Alerts.Firing | len }} {{ (index .Alerts 0).Labels.alertname }} {{ safeHtml \"<b>\" }} <i>";
    let template = Template::parse(text, &DEFAULT_LIBRARY).expect("a template");
    let html = template.html(&samples::hostile()).expect("HTML");
    expect!["1 &lt;!channel&gt; [free](http://evil.example) &lt;script&gt;alert(1)&lt;/script&gt; <b> <i>"].assert_eq(&html);
}
