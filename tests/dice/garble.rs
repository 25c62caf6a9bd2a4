//! Changes of bytes that a seed chooses: lost, repeated, cut off, and words of JSON in other places.

use super::dice::Dice;

/// What mutations put in.
const WORDS: [&[u8]; 16] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b"null",
    b"-1",
    b"1e999",
    b"\\u0000",
    b"\xff",
    b"0",
    b"true",
    b"\n",
    b"99999999999999999999",
    b"{\"type\":\"platform.report\"}",
    b",",
];

/// One to four changes.
pub(crate) fn garbled(body: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = body.to_vec();
    for _ in 0..=dice.below(3) {
        let at = dice.below(bytes.len());
        let until = (at + 1 + dice.below(20)).min(bytes.len());
        match dice.below(6) {
            0 => bytes.truncate(at),
            1 => drop(bytes.splice(at..until, [])),
            2 => {
                let part = bytes.get(at..until).unwrap_or_default().to_vec();
                let to = dice.below(bytes.len());
                drop(bytes.splice(to..to, part));
            }
            3 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << dice.below(8);
                }
            }
            _ => {
                let word = WORDS.get(dice.below(WORDS.len())).copied().unwrap_or_default();
                let until = if dice.below(2) == 0 { at } else { until };
                drop(bytes.splice(at..until, word.iter().copied()));
            }
        }
    }
    bytes
}
