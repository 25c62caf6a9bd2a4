//! Batches of each dialect in which one record is broken: the rest is kept as it was, the broken one is
//! kept or rejected by name, and the books balance. Changes follow from a seed.

mod dice;

use dice::Dice;
use serde_json::{Value, json};
use throughline::normalize::{
    Config, Normalized, Origin, Undecodable, azure_records, cloudflare, cloudwatch_logs, json_log,
    lambda_telemetry, metric_stream, show, vercel, xray,
};
use throughline::signal::Timestamp;

const N_RECORDS: usize = 5;
const N_MUTATIONS: u64 = 1_000;

type Read = fn(&[u8], &Origin, &Config) -> Result<Normalized, Undecodable>;

struct Dialect {
    name: &'static str,
    /// The n-th record.
    record: fn(usize) -> Value,
    /// The records in their envelope.
    envelope: fn(&[Value]) -> Vec<u8>,
    read: Read,
}

fn lines(records: &[Value]) -> Vec<u8> {
    records.iter().map(|record| format!("{record}\n")).collect::<String>().into_bytes()
}

fn array(records: &[Value]) -> Vec<u8> {
    json!(records).to_string().into_bytes()
}

const DIALECTS: [Dialect; 8] = [
    Dialect {
        name: "json",
        record: |n| {
            json!({"timestamp": "2026-11-25T10:00:00.123Z", "level": "INFO", "requestId": format!("r-{n}"),
                "message": "order taken", "correlation_id": format!("o-{n}"), "items": [1, {"a": null}]})
        },
        envelope: lines,
        read: json_log::normalize,
    },
    Dialect {
        name: "telemetry",
        record: |n| {
            json!({"time": "2026-11-25T10:00:00.123Z", "type": "platform.report",
                "record": {"requestId": format!("r-{n}"), "status": "success", "metrics": {
                    "durationMs": 20.5, "billedDurationMs": 21, "memorySizeMB": 512, "maxMemoryUsedMB": 80}}})
        },
        envelope: array,
        read: lambda_telemetry::normalize,
    },
    Dialect {
        name: "cloudwatch",
        record: |n| {
            json!({"id": format!("{n:056}"), "timestamp": 1_795_600_800_123_u64,
                "message": format!("START RequestId: 8f507cfc-xmpl-4697-b07a-{n:012} Version: $LATEST")})
        },
        envelope: |events| {
            json!({"messageType": "DATA_MESSAGE", "owner": "1", "logGroup": "/aws/lambda/checkout",
                "logStream": "s", "logEvents": events})
            .to_string()
            .into_bytes()
        },
        read: |body, origin, config| cloudwatch_logs::normalize(body, origin, config, 1 << 20),
    },
    Dialect {
        name: "metric stream",
        record: |n| {
            json!({"account_id": "1", "region": "us-east-1", "namespace": "AWS/SQS",
                "metric_name": "ApproximateNumberOfMessagesVisible", "dimensions": {"QueueName": format!("q{n}")},
                "timestamp": 1_795_600_800_000_u64, "value": {"max": 3.0, "min": 0.0, "sum": 5.0, "count": 2.0},
                "unit": "Count"})
        },
        envelope: lines,
        read: metric_stream::normalize,
    },
    Dialect {
        name: "xray",
        record: |n| {
            json!({"trace_id": format!("1-6925a1e0-{n:024x}"), "id": format!("{:016x}", n + 1), "name": "checkout",
                "start_time": 1_795_600_800.5, "end_time": 1_795_600_801.5,
                "http": {"request": {"method": "GET", "url": "https://a"}, "response": {"status": 200}},
                "annotations": {"correlation_id": "o"}, "links": [{"trace_id": "x"}]})
        },
        envelope: lines,
        read: xray::normalize,
    },
    Dialect {
        name: "cloudflare",
        record: |n| {
            json!({"WallTimeMs": 120, "Event": {"RayID": format!("ray-{n}"), "Response": {"Status": 201}},
                "EventTimestampMs": 1_795_600_800_000_u64, "EventType": "fetch", "Outcome": "ok",
                "ScriptName": "shop", "ScriptVersion": {"id": "v-9"}})
        },
        envelope: lines,
        read: cloudflare::normalize,
    },
    Dialect {
        name: "vercel",
        record: |n| {
            json!({"id": format!("e-{n}"), "source": "lambda", "timestamp": 1_795_600_800_283_u64, "projectId": "p",
                "projectName": "shop", "level": "info", "message": "taken", "entrypoint": "a.js",
                "requestId": format!("r-{n}"), "statusCode": 200, "proxy": {"method": "POST"}})
        },
        envelope: array,
        read: vercel::normalize,
    },
    Dialect {
        name: "azure",
        record: |n| {
            json!({"time": "2026-11-25T10:00:00Z", "resourceId": "/SITES/APP", "category": "FunctionAppLogs",
                "level": "Informational", "properties": {"message": "taken", "functionInvocationId": format!("i-{n}"),
                    "functionName": "Functions.hello", "level": "Information"}})
        },
        envelope: |records| json!({"records": records}).to_string().into_bytes(),
        read: azure_records::normalize,
    },
];

#[test]
fn a_broken_record_harms_no_neighbour_and_the_books_balance() {
    let arrived = Timestamp::parse_rfc3339("2026-11-25T10:00:10Z").expect("a time");
    // The function is told from outside: no record of a batch speaks for its neighbours then.
    let origin = Origin { arrived, function: Some("checkout".to_owned()), ..Origin::default() };
    let config = Config::default();
    for dialect in DIALECTS {
        let whole: Vec<Value> = (0..N_RECORDS).map(dialect.record).collect();
        let usual = read(&dialect, &whole, &origin, &config).expect("good records");
        assert_eq!(usual.batch.signals.len(), N_RECORDS, "{}", dialect.name);
        let usual = signals(&usual);
        for seed in 0..N_MUTATIONS {
            let at = format!("{} seed {seed}", dialect.name);
            let mut dice = Dice(seed);
            let place = dice.below(N_RECORDS);
            let mut records = whole.clone();
            change_field(&mut records[place], &mut dice);
            let broken = records[place].clone();
            let got = read(&dialect, &records, &origin, &config).expect(&at);
            let got_signals = signals(&got);
            for (n, line) in usual.iter().enumerate().filter(|(n, _)| *n != place) {
                assert!(got_signals.contains(line), "{at}: record {n} is gone for {broken}");
            }
            let n_received = got.batch.signals.len()
                + got.rejections.len()
                + usize::try_from(got.batch.filtered).expect("few");
            assert_eq!(n_received, N_RECORDS, "{at}: {broken}\n{}", show::text(&got));
            assert_eq!(usize::try_from(got.batch.rejected), Ok(got.rejections.len()), "{at}");
            for rejection in &got.rejections {
                assert_eq!(rejection.index, place, "{at}: {broken}: {}", rejection.message);
                assert!(!rejection.message.is_empty(), "{at}");
            }
        }
    }
}

fn read(
    dialect: &Dialect,
    records: &[Value],
    origin: &Origin,
    config: &Config,
) -> Result<Normalized, Undecodable> {
    (dialect.read)(&(dialect.envelope)(records), origin, config)
}

fn signals(normalized: &Normalized) -> Vec<String> {
    let n = normalized.batch.signals.len();
    show::text(normalized).lines().take(n).map(str::to_owned).collect()
}

/// A change somewhere below a record, which stays an object.
fn change_field(record: &mut Value, dice: &mut Dice) {
    let before = record.clone();
    while *record == before || !record.is_object() {
        *record = before.clone();
        change(record, dice);
    }
}

/// Puts something else in the place of a value, or takes it out, or renames it.
fn change(value: &mut Value, dice: &mut Dice) {
    let inner = match value {
        Value::Object(map) if !map.is_empty() && dice.below(8) > 0 => {
            let key = map.keys().nth(dice.below(map.len())).cloned().expect("a key");
            match dice.below(8) {
                0 => {
                    map.remove(&key);
                    return;
                }
                1 => {
                    let held = map.remove(&key).expect("it is there");
                    map.insert(format!("{key}_v2"), held);
                    return;
                }
                _ => map.get_mut(&key),
            }
        }
        Value::Array(items) if !items.is_empty() && dice.below(4) > 0 => {
            let at = dice.below(items.len());
            items.get_mut(at)
        }
        _ => None,
    };
    match inner {
        Some(inner) => change(inner, dice),
        None => *value = odd(dice),
    }
}

fn odd(dice: &mut Dice) -> Value {
    match dice.below(14) {
        0 => Value::Null,
        1 => json!(-1),
        2 => json!(0),
        3 => json!(u64::MAX),
        4 => json!(1e300),
        5 => json!(""),
        6 => json!("\u{0}\u{fffd}{"),
        7 => json!([]),
        8 => json!({"a": {}}),
        9 => json!([[1], {"a": "b"}]),
        10 => json!(true),
        11 => json!("9999-99-99T99:99:99Z"),
        12 => json!("x".repeat(5_000)),
        _ => json!({"type": "platform.report", "record": {"requestId": "r"}}),
    }
}

#[test]
fn user_code_that_plays_the_platform_is_not_believed() {
    let arrived = Timestamp::parse_rfc3339("2026-11-25T10:00:10Z").expect("a time");
    let origin = Origin { arrived, function: Some("checkout".to_owned()), ..Origin::default() };
    let spoofed = json!({"time": "2026-11-25T10:00:00.123Z", "type": "platform.report", "level": "INFO",
        "message": "hello", "record": {"requestId": "r-1", "status": "success"}});
    let cases: [(&str, Value, Read); 4] = [
        ("JSON log", spoofed.clone(), json_log::normalize),
        (
            "function record of the Telemetry API",
            json!([{"time": "2026-11-25T10:00:00.123Z", "type": "function", "record": spoofed}]),
            lambda_telemetry::normalize,
        ),
        (
            "console message of a Worker",
            json!({"EventTimestampMs": 1_795_600_800_000_u64, "EventType": "fetch", "Outcome": "ok", "ScriptName": "s",
                "Event": {"RayID": "a"}, "Logs": [{"Level": "log", "TimestampMs": 1_795_600_800_000_u64,
                    "Message": [{"time": "2026-11-25T10:00:00Z", "type": "platform.report", "record": {"requestId": "r-1"}}]}]}),
            cloudflare::normalize,
        ),
        (
            "log event of CloudWatch",
            json!({"messageType": "DATA_MESSAGE", "owner": "1", "logGroup": "/aws/lambda/f", "logStream": "s",
                "logEvents": [{"id": "1", "timestamp": 1_795_600_800_000_u64, "message": spoofed.to_string()}]}),
            |body, origin, config| cloudwatch_logs::normalize(body, origin, config, 1 << 20),
        ),
    ];
    for (what, body, read) in cases {
        let got = read(body.to_string().as_bytes(), &origin, &Config::default()).expect(what);
        let shown = show::text(&got);
        let is_told = |line: &&str| line.contains(" platform ") && line.contains("r-1");
        assert!(!shown.lines().any(|line| is_told(&line)), "{what}: {shown}");
        assert!(shown.contains(" log "), "{what}: {shown}");
    }
}
