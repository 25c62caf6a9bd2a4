//! Changes of JSON that a seed chooses: what may come where a platform or a user does something else.

use serde_json::{Value, json};

use super::dice::Dice;

/// Puts something else in the place of a value, or takes it out, or renames it.
pub(crate) fn change(value: &mut Value, dice: &mut Dice) {
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
