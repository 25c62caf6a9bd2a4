use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::Value as Json;

use super::*;

/// Rebuilds the whole text as serde_json would read it.
fn rebuild(reader: &mut Reader<'_>) -> Result<Json, Fault> {
    Ok(match reader.kind()? {
        Kind::Null => {
            reader.skip()?;
            Json::Null
        }
        Kind::Bool => reader.bool()?.into(),
        Kind::Number => reader.f64()?.into(),
        Kind::Text => reader.text()?.into_owned().into(),
        Kind::List => {
            let mut items = Vec::new();
            reader.list(|reader| {
                items.push(rebuild(reader)?);
                Ok(())
            })?;
            items.into()
        }
        Kind::Object => {
            let mut entries = serde_json::Map::new();
            reader.object(|reader, key| {
                let value = rebuild(reader)?;
                entries.insert(key.to_owned(), value);
                Ok(())
            })?;
            entries.into()
        }
    })
}

fn whole(text: &str) -> Result<Json, Fault> {
    let mut reader = Reader::new(text);
    let json = rebuild(&mut reader)?;
    reader.end()?;
    Ok(json)
}

fn check(text: &str, expect: &Expect) {
    let shown = match whole(text) {
        Ok(json) => json.to_string(),
        Err(fault) => format!("{} at {}", fault.message, fault.offset),
    };
    expect.assert_eq(&shown);
}

#[test]
fn values_of_every_kind_are_read() {
    check(
        r#" { "a" : [ 1 , -2.5e3, true, false, null ], "b\n": "\u00e9\ud83d\ude00\ud83d!" } "#,
        &expect![[r#"{"a":[1.0,-2500.0,true,false,null],"b\n":"é😀�!"}"#]],
    );
}

#[test]
fn broken_text_names_its_place() {
    check("{\"a\":01}", &expect!["a comma or the end of the object is missing at 6"]);
    check("{\"a\" 1}", &expect!["a colon is missing at 5"]);
    check("{a:1}", &expect!["a key in quotes is missing at 1"]);
    check("[1,]", &expect!["this begins no JSON value at 3"]);
    check("[1 2]", &expect!["a comma or the end of the list is missing at 3"]);
    check("[1.]", &expect!["a digit is missing at 3"]);
    check("[nul]", &expect!["an unknown word at 1"]);
    check("\"\\x\"", &expect!["an unknown escape at 1"]);
    check("\"\\u00g0\"", &expect!["an unknown escape at 1"]);
    check("\"a\nb\"", &expect!["a control character inside text at 2"]);
    check("\"a", &expect!["text without its closing quote at 2"]);
    check("[", &expect!["the JSON ends too early at 1"]);
    check("1 2", &expect!["text after the end of the JSON at 2"]);
}

#[test]
fn nesting_ends_at_64() {
    check(&format!("{}1{}", "[".repeat(65), "]".repeat(65)), &expect!["nested too deeply at 64"]);
    assert!(whole(&format!("{}1{}", "[".repeat(64), "]".repeat(64))).is_ok());
    check(&"{\"a\":".repeat(10_000), &expect!["nested too deeply at 320"]);
}

/// What a question about a value is answered, and what is noted.
fn ask(text: &str, question: impl Fn(&mut Reader<'_>) -> String) -> String {
    let mut reader = Reader::new(text);
    let answer = question(&mut reader);
    reader.end().unwrap();
    match reader.take_mismatch() {
        None => answer,
        Some(mismatch) => format!("{answer}, {mismatch}"),
    }
}

fn show<T: std::fmt::Debug>(answer: Result<T, Fault>) -> String {
    format!("{:?}", answer.unwrap())
}

#[test]
fn a_value_of_another_type_is_noted_and_skipped() {
    let status = |r: &mut Reader<'_>| show(r.enumeration("STATUS_CODE_", &["UNSET", "OK"]));
    let lines = [
        ask(r#" {"x":[1]}"#, |r| show(r.text())),
        ask("5", |r| show(r.text())),
        ask("null", |r| show(r.string())),
        ask("\"1e3\"", |r| show(r.u64())),
        ask("2.5", |r| show(r.u64())),
        ask("-1", |r| show(r.u64())),
        ask("18446744073709551615", |r| show(r.u64())),
        ask("\"-9223372036854775808\"", |r| show(r.i64())),
        ask("\"\"", |r| show(r.i64())),
        ask("4294967296", |r| show(r.i32())),
        ask("\"-Infinity\"", |r| show(r.f64())),
        ask("\"0x10\"", |r| show(r.f64())),
        ask("\"inf\"", |r| show(r.f64())),
        ask("\"true\"", |r| show(r.bool())),
        ask("1", |r| show(r.bool())),
        ask("\"STATUS_CODE_OK\"", status),
        ask("\"ok\"", status),
        ask("\"1\"", status),
        ask("\"STATUS_CODE_FINE\"", status),
        ask("[1]", status),
        ask("true", |r| show(r.list(|_| Ok(())))),
        ask("null", |r| show(r.list(|_| Ok(())))),
    ];
    expect![[r#"
        "", text expected at byte 1
        "", text expected at byte 0
        None
        Some(1000)
        None, a whole number expected at byte 0
        None, a whole number expected at byte 0
        Some(18446744073709551615)
        Some(-9223372036854775808)
        None, a whole number expected at byte 0
        None, a 32-bit number expected at byte 0
        Some(-inf)
        None, a number expected at byte 0
        None, a number expected at byte 0
        Some(true)
        None, true or false expected at byte 0
        Some(1)
        Some(1)
        Some(1)
        None, an enum's number or name expected at byte 0
        None, a plain value expected at byte 0
        (), a list expected at byte 0
        ()"#]]
    .assert_eq(&lines.join("\n"));
}

fn json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i32>().prop_map(|n| Json::from(f64::from(n))),
        ".{0,12}".prop_map(Json::from),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Json::from),
            prop::collection::vec((".{0,6}", inner), 0..6)
                .prop_map(|entries| Json::Object(entries.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_serde_json_writes_is_read_alike(json in json()) {
        prop_assert_eq!(whole(&json.to_string()), Ok(json.clone()));
        prop_assert_eq!(whole(&serde_json::to_string_pretty(&json).unwrap()), Ok(json));
    }

    #[test]
    fn the_same_texts_are_refused(text in r#"[\[\]{},:"\\un0-9eE.+\- truefalsnl]{0,24}"#) {
        // Only half a surrogate pair is read more kindly than serde_json does, and huge numbers.
        let theirs = serde_json::from_str::<Json>(&text);
        if !text.contains("\\u") && !text.contains(['e', 'E']) {
            prop_assert_eq!(whole(&text).is_ok(), theirs.is_ok(), "{}", text);
        }
    }
}
