use std::path::{Path, PathBuf};

use expect_test::{Expect, expect};

use super::reference::REFERENCE;
use super::{Config, Outside};
use crate::receive::reach::Reach;
use crate::signal::Receiver;

fn load(text: &str, sets: &[&str]) -> Result<Config, Vec<crate::signal::Diagnostic>> {
    let outside = Outside {
        env: &|name| (name == "PORT").then(|| "4400".to_owned()),
        read: &|path| match path.to_str() {
            Some("dir/c.yaml") => Ok(text.to_owned()),
            Some("dir/secret") => Ok("s3cret\n".to_owned()),
            _ => Err(std::io::Error::new(std::io::ErrorKind::NotFound, "no such file")),
        },
        glob: &|path| Ok(vec![PathBuf::from(path)]),
    };
    let sets: Vec<String> = sets.iter().map(ToString::to_string).collect();
    Config::try_new(Some(Path::new("dir/c.yaml")), &sets, &outside)
}

#[expect(clippy::needless_pass_by_value, reason = "expectations are written in place")]
fn check_errors(text: &str, sets: &[&str], expect: Expect) {
    let errors = load(text, sets).expect_err("a bad configuration");
    expect.assert_eq(&errors.iter().map(|error| format!("{error}\n")).collect::<String>());
}

/// What a configuration comes to, however it was written.
fn plain(config: &Config) -> String {
    let config = Config { shown: crate::signal::Text::default(), ..config.clone() };
    format!("{config:?}").replace("dir/./", "./")
}

#[test]
fn the_reference_is_the_defaults() {
    let written = load(REFERENCE, &[]).expect("the reference loads");
    let defaults = load("", &[]).expect("nothing loads");
    assert_eq!(plain(&written), plain(&defaults));
}

#[test]
fn all_bad_values_are_told_at_once_with_their_places() {
    check_errors(
        "listen: {web: 0.0.0.0:9595, ingest: here}\nmemory_max: 1MiB\ncorrelate:\n  settle_after: soon\n  hops_max: 0\nredact: {hash: [user]}\n",
        &[],
        expect![[r"
            dir/c.yaml:1:15: 0.0.0.0:9595 is reachable from outside without TLS; set `tls`, listen on loopback, or say `listen: {insecure: true}`
                listen: {web: 0.0.0.0:9595, ingest: here}
                              ^
            dir/c.yaml:1:37: `here` is not an address with a port, as 127.0.0.1:4318
                listen: {web: 0.0.0.0:9595, ingest: here}
                                                    ^
            dir/c.yaml:2:13: memory_max must be 64MiB at least
                memory_max: 1MiB
                            ^
            dir/c.yaml:4:17: `soon` is not a duration, as 30s, 5m or 1h30m
                  settle_after: soon
                                ^
            dir/c.yaml:5:13: `0` is not a whole number above 0
                  hops_max: 0
                            ^
            dir/c.yaml:6:17: `redact.hash` needs `hash_key_file`: without a key, anybody can try all values
                redact: {hash: [user]}
                                ^
        "]],
    );
}

#[test]
fn what_makes_no_sense_together_is_told() {
    check_errors(
        "listen: {ingest: 127.0.0.1:9595}\ncorrelate: {incomplete_after: 1s}\nqueues: [{name: a, dlq: a}, {name: a}]\nfunctions: [{name: f, memory: 512}, {name: f}]\nflows: [{match: x, incomplete_after: 2s}]\n",
        &[],
        expect![[r"
            dir/c.yaml:1:18: `listen.web` (127.0.0.1:9595) and `listen.ingest` (127.0.0.1:9595) share a port; each listener needs its own
                listen: {ingest: 127.0.0.1:9595}
                                 ^
            dir/c.yaml:2:31: `incomplete_after` is shorter than `settle_after`: every request would be incomplete before it can be finished
                correlate: {incomplete_after: 1s}
                                              ^
            dir/c.yaml:3:25: `a` cannot be its own dead-letter queue
                queues: [{name: a, dlq: a}, {name: a}]
                                        ^
            dir/c.yaml:3:36: the queue `a` is there before; one entry says all of it
                queues: [{name: a, dlq: a}, {name: a}]
                                                   ^
            dir/c.yaml:4:31: no function has so little memory; write its unit, as 512MiB
                functions: [{name: f, memory: 512}, {name: f}]
                                              ^
            dir/c.yaml:4:44: the function `f` is there before; one entry says all of it
                functions: [{name: f, memory: 512}, {name: f}]
                                                           ^
            dir/c.yaml:5:38: `incomplete_after` of the flow is shorter than `correlate.settle_after`
                flows: [{match: x, incomplete_after: 2s}]
                                                     ^
        "]],
    );
    check_errors(
        "",
        &["listen.web=0.0.0.0:4318", "listen.insecure=true"],
        expect![[r#"
            --set listen.web=0.0.0.0:4318:1:16: `listen.web` (0.0.0.0:4318) and `listen.ingest` (127.0.0.1:4318) share a port; each listener needs its own
                {listen: {web: "0.0.0.0:4318"}}
                               ^
        "#]],
    );
    assert!(load("listen: {web: 127.0.0.1:0, ingest: 127.0.0.1:0}", &[]).is_ok());
}

#[test]
fn one_mistake_is_one_error() {
    check_errors(
        "data_dir: ${env:NOPE}\n",
        &[],
        expect![[r"
            dir/c.yaml:1:11: the environment has no NOPE; set it, or write ${env:NOPE:-default}
                data_dir: ${env:NOPE}
                          ^
        "]],
    );
}

#[test]
fn a_token_that_can_be_guessed_is_warned_of() {
    let warnings = |token: &str| {
        let text = format!("auth: {{tokens: [{{name: a, token: {token}, scope: [read]}}]}}");
        load(&text, &[]).expect("a good configuration").warnings
    };
    let short = warnings("s3cret");
    assert!(
        short.len() == 1 && short[0].contains("`a`") && !short[0].contains("s3cret"),
        "{short:?}"
    );
    assert_eq!(warnings("0123456789abcdef"), Vec::<String>::new());
}

/// In a control group of so many MiB, what is taken and what is warned of.
fn memory_in(group_mib: u64, text: &str) -> (u64, Vec<String>) {
    let outside = Outside {
        env: &|_| None,
        read: &|path| match path.to_str() {
            Some("c.yaml") => Ok(text.to_owned()),
            Some("/proc/self/cgroup") => Ok("0::/\n".to_owned()),
            Some("/sys/fs/cgroup/memory.max") => Ok(format!("{}\n", group_mib << 20)),
            _ => Err(std::io::ErrorKind::NotFound.into()),
        },
        glob: &|_| Ok(Vec::new()),
    };
    let config = Config::try_new(Some(Path::new("c.yaml")), &[], &outside).expect("a good one");
    (config.memory_max_bytes >> 20, config.warnings)
}

#[test]
fn memory_fits_into_the_control_group_and_more_is_warned_of() {
    let quiet = |mib| (mib, Vec::new());
    // Less by what a daemon takes that holds nothing.
    assert_eq!(memory_in(2048, ""), quiet(512 - 40));
    assert_eq!(memory_in(256, ""), quiet(192 - 40));
    assert_eq!(memory_in(256, "memory_max: 200MiB"), quiet(200 - 40));
    let (taken, warnings) = memory_in(256, "memory_max: 512MiB");
    assert_eq!(taken, 512 - 40);
    let [warning] = &warnings[..] else { panic!("{warnings:?}") };
    assert_eq!(
        warning,
        "memory_max is 512 MiB, but the kernel ends this process when it takes more than 256 MiB (/sys/fs/cgroup/memory.max)"
    );
    // Where not even the least fits, that is said too.
    assert_eq!(memory_in(32, "").1.len(), 1);
}

#[test]
fn unknown_keys_are_all_named_and_hide_no_other_mistake() {
    check_errors(
        "correlate:\n  setle_after: 10s\n  hops_max: 0\nqueues: [{name: a, size: 3}]\nmetrics: on\nlisten:\n",
        &["memory_maximum=1GiB", "data_dir=x", "series.retention=0s"],
        expect![[r#"
            --set memory_maximum=1GiB:1:2: the key `memory_maximum` is not known; did you mean `memory_max`?
                {memory_maximum: "1GiB"}
                 ^
            --set series.retention=0s:1:22: `0s` is not a duration above 0, as 30s, 5m or 1h30m
                {series: {retention: "0s"}}
                                     ^
            dir/c.yaml:2:3: the key `setle_after` is not known; did you mean `settle_after`?
                  setle_after: 10s
                  ^
            dir/c.yaml:3:13: `0` is not a whole number above 0
                  hops_max: 0
                            ^
            dir/c.yaml:4:20: the key `size` is not known; here are name, dlq, max_receive_count, visibility_timeout, url, starts_request
                queues: [{name: a, size: 3}]
                                   ^
            dir/c.yaml:5:1: the key `metrics` is not known; here are listen, data_dir, memory_max, correlate, cost, journal, series, query, archive, rules, tls, auth, redact, fields, functions, queues, flows, slos, notify, forward, scrape, aws, files
                metrics: on
                ^
        "#]],
    );
}

#[test]
fn a_bad_override_is_named_and_not_blamed_on_the_file() {
    check_errors(
        "memory_max: 128MiB\n",
        &["correlate.settle_after=never"],
        expect![[r#"
        --set correlate.settle_after=never:1:28: `never` is not a duration, as 30s, 5m or 1h30m
            {correlate: {settle_after: "never"}}
                                       ^
    "#]],
    );
    check_errors(
        "",
        &["nonsense"],
        expect![[r"
        --set nonsense: write --set key.path=value
    "]],
    );
}

#[test]
fn values_are_filled_in_after_parsing_and_overrides_win() {
    let config = load(
        "listen: {ingest: '127.0.0.1:${env:PORT}', web: '127.0.0.1:${env:NONE:-9000}'}\nauth: {tokens: [{name: a, token_file: secret, scope: [ingest]}]}\n",
        &["correlate.settle_after=2s"],
    )
    .expect("a good configuration");
    assert_eq!(config.listen.ingest.port(), 4400);
    assert_eq!(config.listen.web.port(), 9000);
    assert_eq!(config.correlate.settle_after.as_secs(), 2);
    assert_eq!(config.auth.tokens.len(), 1);
}

#[test]
fn a_token_says_which_receivers_it_delivers_to() {
    let reach = |token: &str| {
        let text = format!("auth: {{tokens: [{{name: a, token: b, {token}}}]}}");
        load(&text, &[]).expect("a good configuration").auth.tokens[0].reach.clone()
    };
    let only = Reach::Only;
    assert_eq!(reach("scope: [ingest, read]"), Reach::All);
    assert_eq!(reach("scope: [read]"), only(Vec::new()));
    let two = only(vec![Receiver::Firehose, Receiver::OtlpGrpc, Receiver::OtlpHttp]);
    assert_eq!(reach("scope: [ingest], receivers: [firehose, otlp]"), two);
    check_errors(
        "auth:\n  tokens:\n  - {name: a, token: b, scope: [ingest], receivers: [scrape]}\n  - {name: a, token: b, scope: [ingest], receivers: []}\n  - {name: a, token: b, scope: [read], receivers: [json]}\n",
        &[],
        expect![[r"
            dir/c.yaml:3:54: `scrape` is not a receiver; there are otlp, otlp_grpc, otlp_http, json, firehose, telemetry, pubsub, eventhub, remote_write, xray, cloudflare, vercel
                  - {name: a, token: <secret>, scope: [ingest], receivers: [scrape]}
                                                                            ^
            dir/c.yaml:4:5: `receivers` names none; name some, or leave it out for all of them
                  - {name: a, token: <secret>, scope: [ingest], receivers: []}
                    ^
            dir/c.yaml:5:5: `receivers` says where a token delivers to: it needs `ingest` in its `scope`
                  - {name: a, token: <secret>, scope: [read], receivers: [json]}
                    ^
        "]],
    );
}

#[test]
fn links_lead_to_where_others_find_us() {
    let link = |text: &str| {
        let config = load(text, &[]).expect("a good configuration");
        config.link(config.listen.web)
    };
    assert_eq!(link(""), "http://127.0.0.1:9595");
    assert_eq!(
        link("listen: {external_url: 'https://watch.example.org/t/'}"),
        "https://watch.example.org/t"
    );
    let everywhere = link("listen: {web: '0.0.0.0:80', insecure: true}");
    assert!(everywhere.ends_with(":80") && !everywhere.contains("0.0.0.0"), "{everywhere}");
    check_errors(
        "listen: {external_url: 'watch.example.org'}",
        &[],
        expect![[r"
        dir/c.yaml:1:24: `watch.example.org` is not an address of http or https, as https://throughline.example.org
            listen: {external_url: 'watch.example.org'}
                                   ^
    "]],
    );
}

#[test]
fn one_name_is_a_list_of_one() {
    let of = |text: &str, sets: &[&str]| plain(&load(text, sets).expect("it loads"));
    for (one, list) in [
        ("fields: {correlation_id: order_id}", "fields: {correlation_id: [order_id]}"),
        ("redact: {drop: 7}", "redact: {drop: ['7']}"),
        ("redact: {drop: true}", "redact: {drop: ['true']}"),
        ("rules: {files: secret}", "rules: {files: [secret]}"),
        (
            "scrape: [{job: a, targets: 'h:1', params: {family: x}}]",
            "scrape: [{job: a, targets: ['h:1'], params: {family: [x]}}]",
        ),
    ] {
        assert_eq!(of(one, &[]), of(list, &[]), "{one}");
    }
    let set = of("", &["fields.correlation_id=order_id"]);
    assert_eq!(set, of("fields: {correlation_id: [order_id]}", &[]));
    check_errors(
        "fields: {correlation_id: {a: b}}\n",
        &[],
        expect![[r"
        dir/c.yaml:1:26: invalid type: map, expected a name or a list of names: `[a, b]`
            fields: {correlation_id: {a: b}}
                                     ^
    "]],
    );
    check_errors(
        "rules: {query_offset: soon}\nredact: {hash: user}\n",
        &[],
        expect![[r"
        dir/c.yaml:1:23: query_offset is `auto` or a duration, as 30s
            rules: {query_offset: soon}
                                  ^
        dir/c.yaml:2:16: `redact.hash` needs `hash_key_file`: without a key, anybody can try all values
            redact: {hash: user}
                           ^
    "]],
    );
}

#[test]
fn errors_show_no_secret() {
    check_errors(
        "auth: {tokens: [{name: a, token: hunter2, scope: [all]}]}\nmemory_max: '${file:secret}'\nscrape: [{job: a, targets: ['${file:secret}'], relabel: [{regex: '(${file:secret}'}]}]\nredact:\n  hash_key: hunter2\n  hash: 5: 6\n",
        &[],
        expect![[r"
            dir/c.yaml:6:10: mapping values are not allowed in this context
                  hash: 5: 6
                         ^
        "]],
    );
    check_errors(
        "auth: {tokens: [{name: a, token: hunter2, scope: [all]}]}\nmemory_max: '${file:secret}'\nscrape: [{job: a, targets: ['${file:secret}'], relabel: [{regex: '(${file:secret}'}]}]\n",
        &[],
        expect![[r"
            dir/c.yaml:1:51: `all` is not ingest, read or write
                auth: {tokens: [{name: a, token: <secret>, scope: [all]}]}
                                                                   ^
            dir/c.yaml:2:13: `${file:secret}` is not a size, as 512MiB or 10GB
                memory_max: '${file:secret}'
                            ^
            dir/c.yaml:3:29: `${file:secret}` is not a host with a port, as 127.0.0.1:15692
                scrape: [{job: a, targets: ['${file:secret}'], relabel: [{regex: '(${file:secret}'}]}]
                                            ^
            dir/c.yaml:3:66: `(${file:secret}` is no regular expression
                scrape: [{job: a, targets: ['${file:secret}'], relabel: [{regex: '(${file:secret}'}]}]
                                                                                 ^
        "]],
    );
    check_errors(
        "",
        &["auth.tokens=[{name: a, token: hunter2, scope: [all]}]"],
        expect![[r"
        --set auth.tokens=[{name: a, token: <secret>, scope: [all]}]:1:52: `all` is not ingest, read or write
            {auth: {tokens: [{name: a, token: <secret>, scope: [all]}]}}
                                                                ^
    "]],
    );
    check_errors(
        "",
        &["redact.hash_key=[hunter2]"],
        expect![[r"
        --set redact.hash_key=<secret>:1:21: expected string scalar
            {redact: {hash_key: <secret>}}
                                ^
    "]],
    );
    check_errors(
        "redact: {hash_key: [hunter2]}",
        &[],
        expect![[r"
        dir/c.yaml:1:20: expected string scalar
            redact: {hash_key: <secret>}
                               ^
    "]],
    );
}

#[test]
fn a_missing_variable_or_file_is_told() {
    check_errors(
        "data_dir: '${env:NOPE}/x'\nnotify: {config: am.yaml}\n",
        &[],
        expect![[r"
            dir/c.yaml:1:11: the environment has no NOPE; set it, or write ${env:NOPE:-default}
                data_dir: '${env:NOPE}/x'
                          ^
            dir/c.yaml:2:18: cannot read dir/am.yaml: no such file
                notify: {config: am.yaml}
                                 ^
        "]],
    );
}

#[test]
fn a_signature_needs_a_name_a_scheme_and_a_secret_of_its_kind() {
    check_errors(
        "auth:\n  signatures:\n    - {name: shop, scheme: standard_webhooks, secret: 'no base64'}\n    - {name: shop, scheme: md5, secret: a}\n    - {scheme: vercel, secret: a}\n    - {name: drain, scheme: vercel}\n    - {name: drain, scheme: vercel, secret: s3cret, verify: c0de}\n    - {name: shop, scheme: standard_webhooks, secret: c2VjcmV0, verify: c0de}\n",
        &[],
        expect![[r"
            dir/c.yaml:3:7: the secret of `shop` cannot sign: it is no base64 (after `whsec_`)
                    - {name: shop, scheme: standard_webhooks, secret: <secret>}
                      ^
            dir/c.yaml:4:28: `md5` is not a scheme; there are standard_webhooks and vercel
                    - {name: shop, scheme: md5, secret: <secret>}
                                           ^
            dir/c.yaml:5:7: `name` is missing
                    - {scheme: vercel, secret: <secret>}
                      ^
            dir/c.yaml:6:7: a signature needs a `secret_file` (or `secret`)
                    - {name: drain, scheme: vercel}
                      ^
            dir/c.yaml:8:73: `verify` belongs to the scheme vercel
                    - {name: shop, scheme: standard_webhooks, secret: <secret>, verify: c0de}
                                                                                        ^
        "]],
    );
}

#[test]
fn nobody_gets_in_from_outside_without_tls_and_a_credential() {
    let outside = |rest: &str| load(&format!("listen: {{web: '0.0.0.0:9595'}}\n{rest}"), &[]);
    let message = |rest: &str| match outside(rest) {
        Ok(_) => String::new(),
        Err(errors) => errors.iter().map(|error| error.message.clone()).collect(),
    };
    let token = "auth: {tokens: [{name: a, token: b, scope: [read]}]}\n";
    assert!(message("").contains("without TLS"), "{}", message(""));
    assert!(message(token).contains("without TLS"), "{}", message(token));
    let pair = rcgen::generate_simple_self_signed(vec!["a".to_owned()]).expect("a pair");
    let (cert, key) = (pair.cert.pem(), pair.signing_key.serialize_pem());
    let load = |text: &str, sets: &[String]| {
        let read = |path: &Path| match path.to_str() {
            Some("dir/c.yaml") => Ok(text.to_owned()),
            Some("dir/crt") => Ok(cert.clone()),
            Some("dir/key") => Ok(key.clone()),
            _ => Err(std::io::Error::new(std::io::ErrorKind::NotFound, "no such file")),
        };
        let glob = |path: &Path| Ok(vec![PathBuf::from(path)]);
        let outside = Outside { env: &|_| None, read: &read, glob: &glob };
        Config::try_new(Some(Path::new("dir/c.yaml")), sets, &outside)
    };
    let tls = "listen: {web: '0.0.0.0:9595'}\ntls: {cert_file: crt, key_file: key}\n";
    let open = load(tls, &[]).expect_err("everybody could come in");
    assert!(open.iter().any(|error| error.message.contains("lets everybody in")), "{open:?}");
    let both = load(&format!("{tls}{token}"), &[]).expect("a good configuration");
    assert!(both.tls.is_some() && both.auth.is_required());
    assert!(both.link(both.listen.web).starts_with("https://"));
    // What an override needs of others may stand in the file.
    let file = format!("tls: {{cert_file: crt, key_file: key}}\n{token}");
    assert!(load(&file, &["listen.ingest=0.0.0.0:4318".to_owned()]).is_ok());
    assert!(load(token, &["listen.ingest=0.0.0.0:4318".to_owned()]).is_err());
    let swapped = load("tls: {cert_file: key, key_file: crt}\n", &[]).expect_err("no certificate");
    assert!(swapped.iter().all(|error| (error.line, error.col) == (1, 18)), "{swapped:?}");
    let certified = "client_ca_file: crt, client_scope: [ingest]";
    let tls = format!("tls: {{cert_file: crt, key_file: key, {certified}}}\n");
    let config = load(&tls, &[]).expect("a good configuration");
    assert_eq!(config.auth.client_scopes, [super::Scope::Ingest]);
    assert!(config.auth.is_required(), "who shows no certificate needs a token");
}

#[test]
fn scrape_jobs_are_checked_with_their_places() {
    let text = "scrape:\n  - {job: a, targets: ['h:1'], preset: rabbitmq, token_file: secret, params: {family: [x]}, relabel: [{regex: 'a.*', action: labeldrop}]}\n";
    let job = load(text, &[]).expect("a good job").collect.scrapes.remove(0);
    assert_eq!((job.token.as_deref(), job.interval.as_secs()), (Some("s3cret"), 15));
    assert!(!format!("{job:?}").contains("s3cret"));
    check_errors(
        "scrape:\n  - {job: a, targets: ['http://h:1'], timeout: 20s, scheme: ftp, path: metrics, preset: nats}\n  - {job: b, targets: ['h:1'], interval: 5s, relabel: [{regex: '('}, {action: hashmod}, {action: replace}]}\n  - {job: b, targets: ['h:1'], labels: {__x: y}}\n",
        &[],
        expect![[r"
            dir/c.yaml:2:24: `http://h:1` is not a host with a port, as 127.0.0.1:15692
                  - {job: a, targets: ['http://h:1'], timeout: 20s, scheme: ftp, path: metrics, preset: nats}
                                       ^
            dir/c.yaml:2:48: `timeout` must be above 0 and no longer than `interval`
                  - {job: a, targets: ['http://h:1'], timeout: 20s, scheme: ftp, path: metrics, preset: nats}
                                                               ^
            dir/c.yaml:2:61: `ftp` is not http or https
                  - {job: a, targets: ['http://h:1'], timeout: 20s, scheme: ftp, path: metrics, preset: nats}
                                                                            ^
            dir/c.yaml:2:72: `metrics` is not a path, as /metrics
                  - {job: a, targets: ['http://h:1'], timeout: 20s, scheme: ftp, path: metrics, preset: nats}
                                                                                       ^
            dir/c.yaml:2:89: `nats` is not rabbitmq, kafka, redis, knative, openfaas or pubsub
                  - {job: a, targets: ['http://h:1'], timeout: 20s, scheme: ftp, path: metrics, preset: nats}
                                                                                                        ^
            dir/c.yaml:3:64: `(` is no regular expression: error parsing regexp: missing closing )
                  - {job: b, targets: ['h:1'], interval: 5s, relabel: [{regex: '('}, {action: hashmod}, {action: replace}]}
                                                                               ^
            dir/c.yaml:3:79: `hashmod` is not replace, keep, drop, keepequal, dropequal, labelmap, labeldrop, labelkeep, lowercase or uppercase
                  - {job: b, targets: ['h:1'], interval: 5s, relabel: [{regex: '('}, {action: hashmod}, {action: replace}]}
                                                                                              ^
            dir/c.yaml:3:89: `target_label` is missing
                  - {job: b, targets: ['h:1'], interval: 5s, relabel: [{regex: '('}, {action: hashmod}, {action: replace}]}
                                                                                                        ^
            dir/c.yaml:4:5: the job `b` stands here twice
                  - {job: b, targets: ['h:1'], labels: {__x: y}}
                    ^
            dir/c.yaml:4:46: `__x` is no name for a label
                  - {job: b, targets: ['h:1'], labels: {__x: y}}
                                                             ^
        "]],
    );
}

#[test]
fn what_is_polled_and_followed_is_checked_with_its_places() {
    let text = "queues: [{name: orders, url: 'https://sqs.eu-west-1.amazonaws.com/1/orders'}]\naws: [{region: eu-west-1, functions: [checkout]}]\nfiles: [{paths: ['logs/*.log'], format: text, from: end}]\n";
    let collect = load(text, &[]).expect("a good configuration").collect;
    let poller = collect.pollers.first().expect("a poller");
    assert_eq!((collect.pollers.len(), poller.queue_urls.len(), poller.functions.len()), (1, 1, 1));
    let files = collect.files.first().expect("files");
    assert_eq!(
        (files.paths.as_slice(), files.from_end),
        (&[PathBuf::from("dir/logs/*.log")][..], true)
    );
    check_errors(
        "queues: [{name: orders, url: 'http://elsewhere/orders'}]\naws: [{region: eu-west-1}, {functions: [f], endpoint: here}]\nfiles: [{format: xml, paths: [a], from: middle}, {function: f}]\n",
        &[],
        expect![[r"
            dir/c.yaml:1:30: the url of an SQS queue is https://sqs.REGION.amazonaws.com/ACCOUNT/NAME; others are polled by `aws`, with `region` and `endpoint`
                queues: [{name: orders, url: 'http://elsewhere/orders'}]
                                             ^
            dir/c.yaml:2:7: name what to ask for: `queue_prefixes`, `queue_urls` or `functions`
                aws: [{region: eu-west-1}, {functions: [f], endpoint: here}]
                      ^
            dir/c.yaml:2:28: `region` is missing
                aws: [{region: eu-west-1}, {functions: [f], endpoint: here}]
                                           ^
            dir/c.yaml:2:55: `here` is not an address, as http://127.0.0.1:5000/
                aws: [{region: eu-west-1}, {functions: [f], endpoint: here}]
                                                                      ^
            dir/c.yaml:3:18: `xml` is not json or text
                files: [{format: xml, paths: [a], from: middle}, {function: f}]
                                 ^
            dir/c.yaml:3:41: `middle` is not beginning or end
                files: [{format: xml, paths: [a], from: middle}, {function: f}]
                                                        ^
            dir/c.yaml:3:50: `paths` names no file; `*` may stand in the last part of a path
                files: [{format: xml, paths: [a], from: middle}, {function: f}]
                                                                 ^
        "]],
    );
}

#[test]
fn what_would_do_nothing_at_zero_is_refused_there() {
    check_errors(
        "query: {timeout: 0s, lookback: 0s}\nrules: {evaluation_interval: 0s}\n",
        &[],
        expect![[r"
            dir/c.yaml:1:18: `0s` is not a duration above 0, as 30s, 5m or 1h30m
                query: {timeout: 0s, lookback: 0s}
                                 ^
            dir/c.yaml:1:32: `0s` is not a duration above 0, as 30s, 5m or 1h30m
                query: {timeout: 0s, lookback: 0s}
                                               ^
            dir/c.yaml:2:30: `0s` is not a duration above 0, as 30s, 5m or 1h30m
                rules: {evaluation_interval: 0s}
                                             ^
        "]],
    );
}
