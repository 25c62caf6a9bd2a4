//! What Go reads is read, what it refuses is refused, and what an expression takes is bounded.

use super::*;

/// Each brace and bracket is looked behind; not to the end of the text.
#[test]
fn what_never_closes_is_read_once() {
    let braces = "{".repeat(1 << 20);
    assert!(translated(&braces).is_ok_and(|text| text.len() > 1 << 20));
    assert!(translated(&format!("[{}", "[:".repeat(1 << 19))).is_err());
}

#[track_caller]
fn fits(pattern: &str, good: &[&str], bad: &[&str]) {
    let regex = whole(pattern).unwrap();
    for text in good {
        assert!(regex.is_match(text), "{pattern} on {text:?}");
    }
    for text in bad {
        assert!(!regex.is_match(text), "{pattern} on {text:?}");
    }
}

#[test]
fn short_classes_are_ascii() {
    fits(r"\w+", &["az_9"], &["ü", "aé"]);
    fits(r"\d", &["7"], &["\u{663}"]);
    fits(r"\s", &[" ", "\t"], &["\u{a0}", "\u{b}"]);
    fits(r"\W\D\S", &["üüü"], &["aüü"]);
    fits(r"[\d\W]+", &["1ü-"], &["a"]);
    fits(r"a\b.*", &["a", "a b", "aü"], &["ab"]);
}

#[test]
fn a_class_holds_characters_and_no_classes() {
    fits("[[a]]", &["a]", "[]"], &["a"]);
    fits("[a&&b]+", &["a&b"], &["c"]);
    fits("[a~~b]+", &["~ab"], &[]);
    fits("[+--]", &["+", ",", "-"], &["."]);
    fits("[]a]+", &["]a"], &[]);
    fits("[^]a]", &["b"], &["]", "a"]);
    fits("[a-]", &["a", "-"], &["b"]);
    fits("[[:digit:]x]+", &["1x"], &["y"]);
    fits(r"[\x41-\x{43}\n]+", &["ABC\n"], &["D"]);
    fits(r"[\pL]", &["ü"], &["1"]);
}

#[test]
fn what_only_looks_like_an_operator_is_literal() {
    fits("a{", &["a{"], &[]);
    fits("{", &["{"], &[]);
    fits("a{,2}", &["a{,2}"], &["aa"]);
    fits(r"\<a\>", &["<a>"], &["a"]);
    fits(r"\Qa.b\E+", &["a.b", "a.bb"], &["axb"]);
    fits(r"\Qa.b", &["a.b"], &["axb"]);
    fits(r"\101\0", &["A\0"], &[]);
    fits("a{2,3}?", &["aa", "aaa"], &["a"]);
    fits(r"\b{", &[], &["{"]);
}

#[test]
fn what_go_refuses_is_refused() {
    let refused = [
        "a**",
        "a*+",
        "a{2}{3}",
        "(?x)a",
        "(?=a)",
        r"\u0061",
        "a{1001}",
        "a{3,2}",
        "[a",
        "a)|(b",
        r"\1",
        r"\h",
        r"a\",
        r"[z-a]",
        r"[a-\d]",
        "*a",
        r"\x{110000}",
        r"\pX",
        r"\b{start}*{2}",
    ];
    for pattern in refused {
        assert!(whole(pattern).is_err(), "{pattern}");
    }
    let error = anywhere("a**").unwrap_err().to_string();
    assert_eq!(error, "error parsing regexp: invalid nested repetition operator: `**`");
    assert!(whole("((a{100}){100}){100}").is_err());
}

#[test]
fn the_rest_is_read_as_it_is() {
    fits("(?i:warn|ERROR)", &["WARN", "error"], &["info"]);
    fits("(?P<name>a+)-(?:b|c)*?", &["aa-bcb"], &["-b"]);
    fits("a.c", &["a\nc"], &[]);
    fits("(?-s:a.c)", &["abc"], &["a\nc"]);
    fits("^a$|^b$", &["a", "b"], &["ab"]);
    fits("", &[""], &["a"]);
    assert_eq!(anywhere("(b+)").unwrap().find("abba").unwrap().as_str(), "bb");
}

#[test]
fn groups_that_nobody_asks_for_take_no_room() {
    let mut room = Room::default();
    for pattern in ["(a|b)(?P<x>c)((?i)d)", "(?:a)(b)|(?s)c", r"\(a\)([(])(\Q(\E)"] {
        let (whole, within) = (whole(pattern).unwrap(), whole_within(pattern, &mut room).unwrap());
        for text in ["acd", "bcD", "ab", "c", "(a)((", "(a)("] {
            assert_eq!(within.regex.is_match(text), whole.is_match(text), "{pattern} on {text}");
        }
        assert!(within.regex.captures_len() <= 2, "{pattern}");
    }
    // Each part would keep the ends of each group: gigabytes, where that is how it is matched.
    let many = "(a?)".repeat(3000);
    assert!(captures_within(&many, &mut Room::default()).is_err());
    assert!(whole_within(&many, &mut Room::default()).unwrap().regex.is_match("aaa"));
    let few = captures_within("(a+)-(b+)", &mut Room::default()).unwrap();
    assert_eq!(few.captures("aa-b").unwrap().get(2).unwrap().as_str(), "b");
}

#[test]
fn references_are_as_long_as_letters_go() {
    let regex = anywhere("(?P<word>[a-z]+)-([0-9]+)").unwrap();
    let found = regex.captures("order-42").unwrap();
    for (template, expected) in [
        ("$1:$2", "order:42"),
        ("${1}x $1x", "orderx "),
        ("$word/${word}s/$words", "order/orders/"),
        ("$0$$$", "order-42$$"),
        ("$1é|$01|$9|${", "|||${"),
        ("$-", "$-"),
    ] {
        assert_eq!(expanded(&found, template), expected, "{template}");
    }
}

proptest::proptest! {
    #[test]
    fn any_text_is_an_expression_or_an_error(text in r"[\\\[\]{}()*+?^$|.:\-&~<>QEadswpx0-9,=PiU#]{0,24}") {
        let _ = whole(&text);
    }

    #[test]
    fn quoted_text_fits_itself(text in r"[^\\]{0,24}") {
        let quoted = format!(r"\Q{text}\E");
        proptest::prop_assert!(whole(&quoted).unwrap().is_match(&text));
    }
}

/// The most memory that this process took so far, in KiB.
fn peak_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// In a process of its own, where no other test takes memory. The crate would keep 2 MiB of states of each.
#[test]
fn states_that_matching_makes_stay_within_the_room() {
    const ALONE: &str = "THROUGHLINE_TEST_ALONE";
    if std::env::var_os(ALONE).is_none() {
        let name = "go_regex::tests::states_that_matching_makes_stay_within_the_room";
        let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
        let output = alone.args(["--exact", name]).env(ALONE, "1").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        return;
    }
    let mut noise = 88_u64;
    let mut bit = || {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        if noise.is_multiple_of(2) { 'x' } else { 'a' }
    };
    let text: String = (0..20_000).map(|_| bit()).collect();
    let mut room = Room::default();
    // A state for each way in which the last fifteen were an x, wide for the many letters that differ.
    let exploding = |i: usize| format!("[a-z]*x[a-z]{{15}}|0123456789bcdefghijklmnopqrstuvw{i}");
    let all: Vec<_> = (0..20).map(|i| whole_within(&exploding(i), &mut room).unwrap()).collect();
    let before = peak_kib();
    for compiled in &all {
        assert_eq!(compiled.n_bytes, SMALL);
        compiled.regex.is_match(&text);
    }
    let taken = peak_kib() - before;
    assert!(taken < 10 << 10, "{taken} KiB");
}
