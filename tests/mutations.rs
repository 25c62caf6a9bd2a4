//! Batches of each dialect in which one record is broken: the rest is kept as it was, the broken one is
//! kept or rejected by name, and the books balance. Changes follow from a seed.

#[path = "dice/change.rs"]
mod change;
mod dice;
#[path = "mutations/dialects.rs"]
mod dialects;

use change::change;
use dialects::{DIALECTS, Dialect, Read};
use dice::Dice;
use serde_json::{Value, json};
use throughline::normalize::{
    Config, Normalized, Origin, Undecodable, cloudflare, cloudwatch_logs, json_log,
    lambda_telemetry, show,
};
use throughline::signal::Timestamp;

const N_RECORDS: usize = 5;
const N_MUTATIONS: u64 = 1_000;

#[test]
fn a_broken_record_harms_no_neighbour_and_the_books_balance() {
    // Every dialect is heard, whatever the one before it does.
    let is_bad = |dialect: &&Dialect| std::panic::catch_unwind(|| check(dialect)).is_err();
    let bad: Vec<&str> = DIALECTS.iter().filter(is_bad).map(|dialect| dialect.name).collect();
    assert!(bad.is_empty(), "{bad:?}");
}

fn check(dialect: &Dialect) {
    let arrived = Timestamp::parse_rfc3339("2026-11-25T10:00:10Z").expect("a time");
    // The function is told from outside: no record of a batch speaks for its neighbours then.
    let origin = Origin { arrived, function: Some("checkout".to_owned()), ..Origin::default() };
    let config = Config::default();
    let whole: Vec<Value> = (0..N_RECORDS).map(dialect.record).collect();
    let usual = read(dialect, &whole, &origin, &config).expect("good records");
    let n_usual = N_RECORDS * dialect.signals;
    assert_eq!(usual.batch.signals.len(), n_usual, "{}: {}", dialect.name, show::text(&usual));
    let usual = signals(&usual);
    for seed in 0..N_MUTATIONS {
        let at = format!("{} seed {seed}", dialect.name);
        let mut dice = Dice(seed);
        let place = dice.below(N_RECORDS);
        let mut records = whole.clone();
        change_field(&mut records[place], &mut dice);
        let broken = records[place].clone();
        let got = read(dialect, &records, &origin, &config).expect(&at);
        let got_signals = signals(&got);
        let of_others = |(n, _): &(usize, &String)| n / dialect.signals != place;
        for (n, line) in usual.iter().enumerate().filter(of_others) {
            assert!(got_signals.contains(line), "{at}: signal {n} is gone for {broken}");
        }
        let n_received = got.batch.signals.len()
            + got.rejections.len()
            + usize::try_from(got.batch.filtered).expect("few");
        // A record of several signals may say less of them.
        let is_balanced = n_received == N_RECORDS || dialect.signals > 1;
        assert!(is_balanced, "{at}: {n_received}: {broken}\n{}", show::text(&got));
        assert_eq!(usize::try_from(got.batch.rejected), Ok(got.rejections.len()), "{at}");
        for rejection in &got.rejections {
            assert_eq!(rejection.index, place, "{at}: {broken}: {}", rejection.message);
            assert!(!rejection.message.is_empty(), "{at}");
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
