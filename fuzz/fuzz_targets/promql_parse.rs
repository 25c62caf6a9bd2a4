//! Any text: lexer and parser give a query or an error with its place; a query prints as text that
//! parses to a query that prints alike.
#![no_main]

use libfuzzer_sys::fuzz_target;
use throughline::promql::Query;

fuzz_target!(|text: &str| match Query::parse(text) {
    Ok(query) => {
        let printed = query.to_string();
        let again = Query::parse(&printed).expect("what was printed is a query");
        assert_eq!(again.to_string(), printed);
    }
    Err(error) => assert!(error.at <= error.end && error.end <= text.len(), "{error:?}"),
});
