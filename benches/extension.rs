//! Starts the extension as Lambda starts it, many times, against a Runtime API that is played to it;
//! `cargo bench --bench extension` prints the figures.
//!
//! - Init: from the start of the process to its first call of `next`, which ends an extension's init.
//! - Resident memory after a hundred invocations with telemetry.
//! - How long an invocation's end keeps the environment, with a destination that answers at once.
//!
//! `EXTENSION_STARTS` changes how many starts. Nothing here fails for being slow.

#![expect(clippy::print_stdout, reason = "a program that measures and prints, outside the daemon")]

#[expect(dead_code, reason = "the tests use more of it")]
#[path = "../tests/extension/runtime.rs"]
mod runtime;

use std::time::Duration;

use runtime::{Destination, Environment, Extension, done, log, report, start};
use serde_json::json;
use tokio::time::Instant;

fn main() {
    if std::env::args().any(|arg| arg == "--list") {
        return;
    }
    let _ = rustls::crypto::ring::default_provider().install_default();
    let n_starts =
        std::env::var("EXTENSION_STARTS").ok().and_then(|n| n.parse().ok()).unwrap_or(50);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let mut inits = Vec::new();
        for _ in 0..n_starts {
            inits.push(init().await);
        }
        println!("init                      {}", quantiles(inits));
        life().await;
    });
}

async fn init() -> Duration {
    let environment = Environment::start(&["2022-12-13"]).await;
    let extension = Extension::start(&environment, "https://throughline.example", &[]);
    environment.next(1).await.duration_since(extension.started)
}

async fn life() {
    const N: usize = 100;
    let environment = Environment::start(&["2022-12-13"]).await;
    let destination = Destination::start().await;
    let url = format!("http://{}", destination.address);
    let extension = Extension::start(&environment, &url, &[]);
    environment.next(1).await;
    println!("resident after init       {}", resident(&extension));
    let mut kept = Vec::new();
    for n in 0..N {
        let id = format!("invocation-{n}");
        environment.invoke(&id, Duration::from_secs(30)).await;
        let logs: Vec<_> = (0..20).map(|_| log(&id, "an order was taken")).collect();
        environment.post(json!(logs)).await;
        let ended = Instant::now();
        environment.post(json!([start(&id), done(&id)])).await;
        kept.push(environment.next(n + 2).await.duration_since(ended));
        environment.post(json!([report(&id)])).await;
    }
    println!("resident after {N} invocations {}", resident(&extension));
    println!("kept after runtimeDone    {}", quantiles(kept));
    let n_posts = destination.accepted().len();
    println!("posts to the destination  {n_posts}");
}

/// All that is resident, and how much of it is the process's own: the rest are pages of the binary.
fn resident(extension: &Extension) -> String {
    let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", extension.pid()));
    let rollup = rollup.unwrap_or_default();
    let own = rollup.lines().find_map(|line| line.strip_prefix("Anonymous:"));
    let own = own.map_or("unknown", str::trim);
    format!("{} kB, of which its own {own}", extension.resident_kib())
}

fn quantiles(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |q: usize| times.get((times.len() * q / 100).min(times.len() - 1)).copied();
    let ms = |d: Option<Duration>| d.unwrap_or_default().as_secs_f64() * 1e3;
    format!("p50 {:.1} ms, p99 {:.1} ms of {}", ms(at(50)), ms(at(99)), times.len())
}
