//! `throughline request KEY`: one reconstructed request of a running daemon, as a text waterfall.
//!
//! Exits with an error where no request, or more than one, belongs to the key; the candidates are
//! printed. A request that went on after it was final is shown with what continues it.

use std::io::{IsTerminal as _, Write as _};

use anyhow::{Context as _, bail};
use serde::Deserialize;

use super::remote::Remote;
use super::waterfall::{self, Ink};
use crate::correlate::request::are_one;
use crate::correlate::{Outcome, Request};
use crate::event_test;
use crate::signal::Timestamp;

/// Columns where the terminal does not tell how many it has.
const WIDTH: usize = 100;
/// Longest text of an answer that is shown, in characters.
const SHOWN_MAX: usize = 300;

/// Which request, and where from.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  throughline request 4f1d0c9e8b7a6d5c4f1d0c9e8b7a6d5c
  throughline request order-4711 --json | jq .hops
  throughline request order-4711 --as-test > order.events.yaml")]
pub(super) struct RequestArgs {
    /// Any id that belongs to it: its own, or a correlation, trace, invocation or message id.
    pub key: String,
    #[command(flatten)]
    pub(super) remote: Remote,
    /// The daemon's answer as it is.
    #[arg(long)]
    pub json: bool,
    /// An event test, for `throughline test`, that comes to the same request.
    #[arg(long, conflicts_with = "json")]
    pub as_test: bool,
}

/// What the daemon said.
#[derive(Debug)]
struct Answer {
    status: u16,
    body: String,
}

/// Asks the daemon and prints the request.
///
/// # Errors
/// Where the daemon cannot be reached or refuses, and where the key leads to no single request.
pub(super) async fn run(args: &RequestArgs) -> anyhow::Result<()> {
    let answer = ask(args, &args.key).await?;
    let parts = if args.json { Vec::new() } else { parts(&answer) };
    let mut out = std::io::stdout().lock();
    if args.json && matches!(answer.status, 200 | 300) {
        writeln!(out, "{}", answer.body)?;
    }
    if args.as_test && answer.status == 200 {
        out.write_all(as_test(&answer)?.as_bytes())?;
        return Ok(());
    }
    for (n, part) in parts.iter().enumerate() {
        let shown = show(part, &ask(args, part).await?, page())?;
        write!(out, "{}{}", if n > 0 { "\n" } else { "" }, shown.text)?;
    }
    if !parts.is_empty() {
        return Ok(());
    }
    let text = show(&args.key, &answer, page())?;
    if !args.json {
        out.write_all(text.text.as_bytes())?;
    }
    match text.n_candidates {
        0 => Ok(()),
        n => bail!("{n} requests belong to `{}`; ask for one of their ids", args.key),
    }
}

async fn ask(args: &RequestArgs, key: &str) -> anyhow::Result<Answer> {
    let url = args.remote.at(&["api", "requests", key])?;
    let answer = args.remote.get(url).await?;
    Ok(Answer { status: answer.status().as_u16(), body: answer.text().await? })
}

/// Where it is printed.
#[derive(Clone, Copy, Debug)]
struct Page {
    width: usize,
    ink: Ink,
}

fn page() -> Page {
    let columns = std::env::var("COLUMNS").ok().and_then(|text| text.trim().parse().ok());
    // https://no-color.org: present and not empty.
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let ink = if std::io::stdout().is_terminal() && !no_color { Ink::Color } else { Ink::Plain };
    Page { width: columns.unwrap_or(WIDTH), ink }
}

/// What is printed.
#[derive(Debug)]
struct Shown {
    text: String,
    /// Requests of which one must be chosen; 0 where the request itself is shown.
    n_candidates: usize,
}

#[derive(Deserialize)]
struct Candidates {
    requests: Vec<Candidate>,
}

#[derive(Deserialize)]
struct Candidate {
    id: String,
    flow: String,
    start: Timestamp,
    outcome: Outcome,
    continues: Option<String>,
}

/// The requests of a key that are one which went on after it was final, earliest first; empty where the key
/// leads to one, or to strangers.
fn parts(answer: &Answer) -> Vec<String> {
    let requests = serde_json::from_str(&answer.body).map(|found: Candidates| found.requests);
    let requests = requests.unwrap_or_default();
    let continues = requests.iter().map(|one| (&*one.id, one.continues.as_deref()));
    if answer.status != 300 || !are_one(&continues.collect::<Vec<_>>()) {
        return Vec::new();
    }
    requests.into_iter().map(|one| one.id).collect()
}

fn as_test(answer: &Answer) -> anyhow::Result<String> {
    let request: Request = serde_json::from_str(&answer.body)
        .with_context(|| format!("cannot read the daemon's answer: {}", shorten(&answer.body)))?;
    event_test::of_request(&request).map_err(|errors| anyhow::anyhow!(errors.join("\n")))
}

fn show(key: &str, answer: &Answer, page: Page) -> anyhow::Result<Shown> {
    let unread = || format!("cannot read the daemon's answer: {}", shorten(&answer.body));
    match answer.status {
        200 => {
            let request: Request = serde_json::from_str(&answer.body).with_context(unread)?;
            let text = waterfall::render(&request, page.width, page.ink);
            Ok(Shown { text, n_candidates: 0 })
        }
        300 => {
            let Candidates { requests } =
                serde_json::from_str(&answer.body).with_context(unread)?;
            let lines = requests.iter().map(|one| {
                let (id, flow) = (waterfall::printable(&one.id), waterfall::printable(&one.flow));
                format!("{id}  {}  {:<13} {flow}\n", one.start, one.outcome.as_str())
            });
            Ok(Shown { text: lines.collect(), n_candidates: requests.len().max(1) })
        }
        404 => bail!("no request is known by `{key}`"),
        401 | 403 => bail!("{}", super::remote::UNKNOWN),
        status => bail!("the daemon answered {status}: {}", shorten(&answer.body)),
    }
}

fn shorten(body: &str) -> String {
    waterfall::printable(body).chars().take(SHOWN_MAX).collect()
}

#[cfg(test)]
#[expect(clippy::needless_raw_string_hashes, reason = "expect_test writes its texts so")]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "expect_test's own style")]
    fn check(status: u16, body: &str, expect: Expect) {
        let answer = Answer { status, body: body.to_owned() };
        let page = Page { width: 80, ink: Ink::Plain };
        let shown = match show("order-1", &answer, page) {
            Ok(shown) => format!("{} candidates\n{}", shown.n_candidates, shown.text),
            Err(error) => format!("error: {error}\n"),
        };
        expect.assert_eq(&shown);
    }

    #[test]
    fn a_key_of_several_requests_lists_them() {
        check(
            300,
            r#"{"requests":[{"id":"aa","flow":"POST /orders","start":"2026-11-25T10:00:00Z","outcome":"ok"},
               {"id":"bb","flow":"x\u001b[2Jy","start":"2026-11-25T10:00:01Z","outcome":"timeout"}]}"#,
            expect![[r#"
                2 candidates
                aa  2026-11-25T10:00:00.000000000Z  ok            POST /orders
                bb  2026-11-25T10:00:01.000000000Z  timeout       x�[2Jy
            "#]],
        );
    }

    #[test]
    fn what_continues_another_is_shown_with_it() {
        let parts_of = |second: &str| {
            let body = format!(
                r#"{{"requests":[{{"id":"aa","flow":"a","start":"2026-11-25T10:00:00Z","outcome":"ok","continues":null}},
                   {{"id":"bb","flow":"b","start":"2026-11-25T12:00:00Z","outcome":"ok","continues":{second}}}]}}"#
            );
            parts(&Answer { status: 300, body })
        };
        assert_eq!(parts_of("\"aa\""), ["aa", "bb"]);
        assert_eq!((parts_of("null"), parts_of("\"cc\"")), (Vec::new(), Vec::new()));
    }

    #[test]
    fn other_answers_say_what_to_do() {
        check(
            404,
            r#"{"error":{"code":"not_found","message":"…"}}"#,
            expect![[r#"
            error: no request is known by `order-1`
        "#]],
        );
        check(
            401,
            "",
            expect![[r#"
            error: the daemon wants a token with the scope `read`; give --token-file
        "#]],
        );
        check(
            500,
            "the disk is full",
            expect![[r#"
            error: the daemon answered 500: the disk is full
        "#]],
        );
        check(
            200,
            "<html>",
            expect![[r#"
            error: cannot read the daemon's answer: <html>
        "#]],
        );
    }
}
