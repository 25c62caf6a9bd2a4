//! Measures what durability and overload cost, on the real binary over loopback; `cargo bench --bench durable`.
//!
//! - Acknowledged batches a second, p50 and p99, with 1, 16 and 256 senders, beside a raw group commit of
//!   as many bytes on the same file system in the same run.
//! - Overload: ten times the senders at once. Goodput as a share of capacity, how long a refusal takes, memory,
//!   and how soon a single sender is served as before.
//! - Recovery: kill -9, then the time until ready, for what the log then holds; for 100,000 open requests, with
//!   the pause and the size of the snapshot that holds them; and for a minute of 20,000 signals a second.
//! - Memory: 200,000 new requests as fast as they go into little memory; what is refused, what is dropped.
//! - Sizing: some rates of signals for a while; memory, disk, effective lateness.
//!
//! `DURABLE_SECONDS` is the length of each part, `DURABLE_PARTS` names some of `senders`, `open`, `minute`,
//! `short`, `flood`, `sizing`. Nothing here fails for being slow.

#![expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program that measures and prints, outside the daemon"
)]

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

/// Records of a batch.
const RECORDS: usize = 10;
const SENDERS: [usize; 3] = [1, 16, 256];
const OVERLOAD: usize = 900;

fn main() {
    if std::env::args().any(|arg| arg == "--list") {
        return;
    }
    let seconds = std::env::var("DURABLE_SECONDS").ok().and_then(|text| text.parse().ok());
    let span = Duration::from_secs(seconds.unwrap_or(5));
    let dir = std::env::current_dir().expect("a folder").join("target/durable-bench");
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).expect("a writable folder");
    let parts = std::env::var("DURABLE_PARTS").unwrap_or_default();
    let is_asked = |part: &str| parts.is_empty() || parts.split(',').any(|one| one == part);
    if is_asked("senders") {
        senders(&dir, span);
    }
    if is_asked("open") {
        open_requests(&dir);
    }
    if is_asked("minute") {
        a_minute_of_signals(&dir);
    }
    if is_asked("short") {
        short_of_memory(&dir, span);
    }
    if is_asked("flood") {
        for memory in ["256MiB", "512MiB"] {
            flood(&dir, memory);
        }
    }
    if is_asked("sizing") {
        println!(
            "\n| signals/s sent | taken | memory | log | effective lateness |\n|---|---|---|---|---|"
        );
        for rate in [1_000, 5_000, 20_000] {
            sizing(&dir, rate);
        }
    }
    let _ = std::fs::remove_dir_all(&dir);
}

fn senders(dir: &Path, span: Duration) {
    // The processor is to be the bound here, not memory: each record begins a request.
    let mut daemon = Daemon::start(dir, &["memory_max=4GiB"]);
    println!("| senders | batches/s | p50 ms | p99 ms | raw group commit/s | p50 ms | p99 ms |");
    println!("|---|---|---|---|---|---|---|");
    let mut capacity = 0.0_f64;
    for n in SENDERS {
        let raw = raw(dir, n, span);
        let ours = daemon.load(n, span).acked;
        capacity = capacity.max(ours.a_second(span));
        println!("| {n} | {} | {} |", ours.row(span), raw.row(span));
    }
    overload(&daemon, capacity, span);
    recovery_with(&mut daemon, &["memory_max=4GiB"]);
}

/// How long each of many things took.
#[derive(Default)]
struct Times(Vec<Duration>);

impl Times {
    fn a_second(&self, span: Duration) -> f64 {
        self.0.len() as f64 / span.as_secs_f64()
    }

    fn millis(&self, quantile: usize) -> f64 {
        let at = (self.0.len() * quantile / 100).min(self.0.len().saturating_sub(1));
        self.0.get(at).map_or(0.0, |took| took.as_secs_f64() * 1000.0)
    }

    fn row(&self, span: Duration) -> String {
        format!("{:.0} | {:.1} | {:.1}", self.a_second(span), self.millis(50), self.millis(99))
    }

    fn of(all: &[Vec<Duration>]) -> Self {
        let mut all = all.concat();
        all.sort_unstable();
        Self(all)
    }
}

/// One thread writes what queued and syncs it; nothing else.
fn raw(dir: &Path, senders: usize, span: Duration) -> Times {
    let path = dir.join("raw");
    let file = File::create(&path).expect("a writable folder");
    let bytes = body(0).len();
    let (queue, queued) = mpsc::sync_channel::<mpsc::SyncSender<()>>(4096);
    let writer = std::thread::spawn(move || {
        let (block, mut at) = (vec![b'x'; bytes], 0_u64);
        while let Ok(first) = queued.recv() {
            let group: Vec<_> = std::iter::once(first).chain(queued.try_iter()).collect();
            for _ in &group {
                file.write_all_at(&block, at).expect("a write");
                at += bytes as u64;
            }
            file.sync_data().expect("a sync");
            for done in &group {
                let _ = done.send(());
            }
        }
    });
    let until = Instant::now() + span;
    let threads: Vec<_> = (0..senders)
        .map(|_| {
            let queue = queue.clone();
            std::thread::spawn(move || {
                let (done, is_done) = mpsc::sync_channel(1);
                let mut took = Vec::new();
                while Instant::now() < until {
                    let begun = Instant::now();
                    queue.send(done.clone()).expect("a writer");
                    is_done.recv().expect("a writer");
                    took.push(begun.elapsed());
                }
                took
            })
        })
        .collect();
    drop(queue);
    let took: Vec<_> = threads.into_iter().map(|thread| thread.join().expect("a sender")).collect();
    writer.join().expect("a writer");
    std::fs::remove_file(path).expect("the file");
    Times::of(&took)
}

struct Daemon {
    child: Child,
    dir: std::path::PathBuf,
    ingest: u16,
    web: u16,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    listener.expect("a free port").port()
}

fn spawn(dir: &Path, [ingest, web]: [u16; 2], more: &[&str]) -> Child {
    let sets = [("ingest", ingest), ("web", web), ("otlp_grpc", free_port())];
    let sets = sets.map(|(name, port)| format!("--set=listen.{name}=127.0.0.1:{port}"));
    let more = more.iter().map(|set| format!("--set={set}"));
    let log = File::options().create(true).append(true).open(dir.join("log")).expect("a file");
    Command::new(env!("CARGO_BIN_EXE_throughline"))
        .args(["run", "--data-dir", &dir.join("data").display().to_string()])
        .args(sets)
        .args(more)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("the binary")
}

/// What senders were told.
struct Loaded {
    acked: Times,
    refused: Times,
}

impl Daemon {
    fn start(dir: &Path, sets: &[&str]) -> Self {
        let (ingest, web) = (free_port(), free_port());
        let child = spawn(dir, [ingest, web], sets);
        let daemon = Self { child, dir: dir.to_owned(), ingest, web };
        daemon.until_ready();
        daemon
    }

    fn until_ready(&self) {
        let until = Instant::now() + Duration::from_mins(5);
        while Instant::now() < until {
            let head = "GET /-/ready HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
            if Client::connect(self.web).and_then(|mut one| one.ask(head.as_bytes(), &[])).ok()
                == Some(200)
            {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the daemon is not ready");
    }

    /// Mebibytes by a line of `status`.
    fn mebibytes(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        let kib = line.split_whitespace().nth(1).and_then(|text| text.parse::<u64>().ok());
        kib.unwrap_or_default() / 1024
    }

    fn get(&self, path: &str) -> String {
        let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let mut text = String::new();
        let mut asked = Client::connect(self.web).expect("the daemon").0;
        asked.get_mut().write_all(head.as_bytes()).expect("the daemon");
        asked.read_to_string(&mut text).expect("text");
        text
    }

    /// As many records, in batches of 500, each with what `says` of the batch and the record.
    fn fill(&self, records: u64, says: impl Fn(u64, u64) -> String + Copy + Send + Sync) {
        const EACH: u64 = 500;
        let next = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut client = Client::connect(self.ingest).expect("the daemon");
                    loop {
                        let n = next.fetch_add(1, Ordering::Relaxed);
                        if n >= records / EACH {
                            return;
                        }
                        let record = |i| {
                            format!(r#"{{"level":"INFO","function_name":"bench",{},"message":"what a function says"}}"#, says(n, i))
                        };
                        let body = (0..EACH).map(record).collect::<Vec<_>>().join("\n");
                        // Keys that no load of [`Daemon::load`] has.
                        while !matches!(client.send(n | 1 << 32, &body), Ok(200)) {
                            std::thread::sleep(Duration::from_millis(50));
                            client = Client::connect(self.ingest).expect("the daemon");
                        }
                    }
                });
            }
        });
    }

    /// As many senders as are asked for, each with one batch at a time; a refused one comes again at once.
    fn load(&self, senders: usize, span: Duration) -> Loaded {
        self.load_with_pause(senders, span, Duration::ZERO)
    }

    /// The same, of senders that wait for so long when they are refused.
    fn load_with_pause(&self, senders: usize, span: Duration, pause: Duration) -> Loaded {
        static BATCHES: AtomicU64 = AtomicU64::new(0);
        let stop = Arc::new(AtomicBool::new(false));
        let threads: Vec<_> = (0..senders)
            .map(|_| {
                let (port, stop) = (self.ingest, Arc::clone(&stop));
                std::thread::spawn(move || {
                    let (mut acked, mut refused) = (Vec::new(), Vec::new());
                    let mut client = Client::connect(port);
                    while !stop.load(Ordering::Relaxed) {
                        let Ok(connected) = &mut client else {
                            std::thread::sleep(Duration::from_millis(20));
                            client = Client::connect(port);
                            continue;
                        };
                        let n = BATCHES.fetch_add(1, Ordering::Relaxed);
                        let begun = Instant::now();
                        match connected.post(n) {
                            Ok(200) => acked.push(begun.elapsed()),
                            Ok(_) => {
                                refused.push(begun.elapsed());
                                std::thread::sleep(pause);
                            }
                            Err(_) => client = Client::connect(port),
                        }
                    }
                    (acked, refused)
                })
            })
            .collect();
        std::thread::sleep(span);
        stop.store(true, Ordering::Relaxed);
        let told: Vec<_> = threads.into_iter().map(|one| one.join().expect("a sender")).collect();
        let (acked, refused): (Vec<_>, Vec<_>) = told.into_iter().unzip();
        Loaded { acked: Times::of(&acked), refused: Times::of(&refused) }
    }
}

fn body(n: u64) -> String {
    let record = |i: usize| {
        format!(
            r#"{{"level":"INFO","function_name":"bench","requestId":"r-{n}","message":"what a function says of its work, at some length, for the {i}th time","order":"{:016x}"}}"#,
            n.wrapping_mul(0x9e37_79b9_7f4a_7c15)
        )
    };
    (0..RECORDS).map(record).collect::<Vec<_>>().join("\n")
}

/// One connection that is kept.
struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(port: u16) -> std::io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Self(BufReader::new(stream)))
    }

    fn post(&mut self, n: u64) -> std::io::Result<u16> {
        self.send(n, &body(n))
    }

    fn send(&mut self, n: u64, body: &str) -> std::io::Result<u16> {
        let head = format!(
            "POST /ingest/json HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nidempotency-key: k{n}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        self.ask(head.as_bytes(), body.as_bytes())
    }

    fn ask(&mut self, head: &[u8], body: &[u8]) -> std::io::Result<u16> {
        self.0.get_mut().write_all(&[head, body].concat())?;
        let (mut status, mut length) = (0, 0_u64);
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            if status == 0 {
                status = line.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(599);
            }
            let lower = line.to_ascii_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or_default();
            }
            if line == "\r\n" {
                break;
            }
        }
        std::io::copy(&mut (&mut self.0).take(length), &mut std::io::sink())?;
        Ok(status)
    }
}

fn overload(daemon: &Daemon, capacity: f64, span: Duration) {
    let before = daemon.mebibytes("VmRSS");
    let Loaded { acked, refused } = daemon.load(OVERLOAD, span);
    let begun = Instant::now();
    let after = daemon.load(1, Duration::from_millis(500)).acked;
    println!(
        "\noverload, {OVERLOAD} senders: {:.0} batches/s, {:.0} % of capacity; an answer p50 {:.0} ms, p99 {:.0} ms; {:.0} refusals/s, p50 {:.1} ms, p99 {:.1} ms",
        acked.a_second(span),
        100.0 * acked.a_second(span) / capacity,
        acked.millis(50),
        acked.millis(99),
        refused.a_second(span),
        refused.millis(50),
        refused.millis(99),
    );
    println!(
        "memory {before} MiB before, peak {} MiB; {:.1} s after it one sender has p50 {:.1} ms",
        daemon.mebibytes("VmHWM"),
        begun.elapsed().as_secs_f64(),
        after.millis(50)
    );
}

/// Of the files of the journal that end so.
fn bytes_of(dir: &Path, suffix: &str) -> u64 {
    let entries = std::fs::read_dir(dir.join("data/journal")).into_iter().flatten().flatten();
    let sizes = entries
        .filter(|entry| entry.file_name().to_string_lossy().ends_with(suffix))
        .filter_map(|entry| Some(entry.metadata().ok()?.len()));
    sizes.sum::<u64>()
}

fn recovery_with(daemon: &mut Daemon, sets: &[&str]) {
    let _ = daemon.child.kill();
    let _ = daemon.child.wait();
    let bytes = |suffix: &str| bytes_of(&daemon.dir, suffix) >> 20;
    let (log, snapshots) = (bytes(".journal"), bytes(".snapshot"));
    let begun = Instant::now();
    daemon.child = spawn(&daemon.dir, [daemon.ingest, daemon.web], sets);
    daemon.until_ready();
    println!(
        "recovery: ready after {:.2} s, with {log} MiB of log and {snapshots} MiB of snapshots",
        begun.elapsed().as_secs_f64()
    );
}

/// 100,000 requests that are open, each of one record and with a correlation id of its own.
fn open_requests(dir: &Path) {
    const N: u64 = 100_000;
    let dir = dir.join("open");
    std::fs::create_dir_all(&dir).expect("a writable folder");
    let sets = ["memory_max=4GiB", "correlate.settle_after=10m", "journal.size_max=128MiB"];
    let mut daemon = Daemon::start(&dir, &sets);
    daemon.fill(N, |n, i| {
        format!(
            r#""requestId":"r-{n}-{i}","correlation_id":"{:032x}""#,
            u128::from(n) << 64 | u128::from(i)
        )
    });
    let held = daemon.mebibytes("VmRSS");
    let until = Instant::now() + Duration::from_mins(2);
    while bytes_of(&daemon.dir, ".snapshot") == 0 && Instant::now() < until {
        // A snapshot is due once enough was written.
        daemon.load(1, Duration::from_millis(500));
    }
    let metrics = daemon.get("/metrics");
    let value = |name: &str| {
        let line = metrics.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.rsplit(' ').next().and_then(|text| text.parse::<f64>().ok()).unwrap_or_default()
    };
    let pause = "throughline_self_journal_snapshot_pause_seconds";
    println!(
        "{N} open requests: memory {held} MiB; {} snapshots, mean pause {:.0} ms, {:.1} MiB on disk",
        value(&format!("{pause}_count")),
        value(&format!("{pause}_sum")) / value(&format!("{pause}_count")).max(1.0) * 1000.0,
        bytes_of(&daemon.dir, ".snapshot") as f64 / f64::from(1 << 20)
    );
    recovery_with(&mut daemon, &sets);
}

/// What 20,000 signals a second leave in the log in a minute, without a snapshot.
fn a_minute_of_signals(dir: &Path) {
    const N: u64 = 60 * 20_000;
    let dir = dir.join("minute");
    std::fs::create_dir_all(&dir).expect("a writable folder");
    let mut daemon = Daemon::start(&dir, &[]);
    let begun = Instant::now();
    daemon.fill(N, |n, i| format!(r#""requestId":"r-{n}-{}""#, i / 20));
    println!("{N} signals of {} requests in {:.0} s", N / 20, begun.elapsed().as_secs_f64());
    recovery_with(&mut daemon, &[]);
}

/// More open requests than memory holds: what is refused, and how soon it is taken again.
fn short_of_memory(dir: &Path, span: Duration) {
    let dir = dir.join("short");
    std::fs::create_dir_all(&dir).expect("a writable folder");
    let daemon = Daemon::start(&dir, &["memory_max=64MiB", "correlate.settle_after=2s"]);
    // At once: both cores are taken by who asks. After a pause, as clients do: what a refusal itself takes.
    for (how, pause) in [("at once", 0), ("after 50 ms", 50)] {
        let pause = Duration::from_millis(pause);
        let Loaded { acked, refused } = daemon.load_with_pause(64, span * 2, pause);
        println!(
            "memory_max 64 MiB, 64 senders that come again {how}: {:.0} batches/s; {:.0} refusals/s, p50 {:.1} ms, p99 {:.1} ms; peak {} MiB",
            acked.a_second(span * 2),
            refused.a_second(span * 2),
            refused.millis(50),
            refused.millis(99),
            daemon.mebibytes("VmHWM"),
        );
    }
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_mins(6) {
        let Loaded { acked, refused } = daemon.load(1, Duration::from_millis(500));
        if refused.0.is_empty() && !acked.0.is_empty() {
            println!("everything is taken again after {:.1} s", begun.elapsed().as_secs_f64());
            return;
        }
    }
    println!("six minutes later there are refusals still");
}

/// 200,000 requests, each of one record, as fast as sixteen senders get them out; who is refused waits for 50 ms.
fn flood(dir: &Path, memory: &str) {
    const N: u64 = 200_000;
    const EACH: u64 = 500;
    let dir = dir.join(format!("flood-{memory}"));
    std::fs::create_dir_all(&dir).expect("a writable folder");
    let daemon = Daemon::start(&dir, &[&format!("memory_max={memory}")]);
    let (next, begun) = (AtomicU64::new(0), Instant::now());
    let told = std::thread::scope(|scope| {
        let send = || {
            let (mut acked, mut refused) = (Vec::new(), Vec::new());
            let mut client = Client::connect(daemon.ingest).expect("the daemon");
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= N / EACH {
                    return (acked, refused);
                }
                let record = |i| {
                    format!(
                        r#"{{"level":"INFO","function_name":"bench","requestId":"r-{n}-{i}","correlation_id":"c-{n}-{i:032x}","message":"what a function says"}}"#
                    )
                };
                let body = (0..EACH).map(record).collect::<Vec<_>>().join("\n");
                while begun.elapsed() < Duration::from_mins(1) {
                    let since = Instant::now();
                    let status = client.send(n | 1 << 33, &body);
                    if matches!(status, Ok(200)) {
                        acked.push(since.elapsed());
                        break;
                    }
                    match status {
                        Ok(_) => refused.push(since.elapsed()),
                        Err(_) => client = Client::connect(daemon.ingest).expect("the daemon"),
                    }
                    std::thread::sleep(Duration::from_millis(50));
                }
            }
        };
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(send)).collect();
        threads.into_iter().map(|one| one.join().expect("a sender")).collect::<Vec<_>>()
    });
    let took = begun.elapsed();
    let (acked, refused): (Vec<_>, Vec<_>) = told.into_iter().unzip();
    let (acked, refused) = (Times::of(&acked), Times::of(&refused));
    std::thread::sleep(Duration::from_secs(12));
    let ledger = daemon.get("/api/ledger");
    let dropped = ledger.split("\"dropped\":").skip(1).filter_map(|rest| rest.split('}').next());
    println!(
        "memory_max {memory}, {N} requests: {} taken in {:.0} s; {} refusals, p50 {:.1} ms, p99 {:.1} ms; peak {} MiB; dropped {}",
        acked.0.len() as u64 * EACH,
        took.as_secs_f64(),
        refused.0.len(),
        refused.millis(50),
        refused.millis(99),
        daemon.mebibytes("VmHWM"),
        dropped.map(|one| format!("{one}}}")).collect::<Vec<_>>().join(" "),
    );
    println!("{}", daemon.lateness());
}

/// A rate of signals, ten a request, for twenty seconds more than a request is open.
fn sizing(dir: &Path, rate: u64) {
    const EACH: u64 = 100;
    const SECONDS: u64 = 40;
    let dir = dir.join(format!("sizing-{rate}"));
    std::fs::create_dir_all(&dir).expect("a writable folder");
    let daemon = Daemon::start(&dir, &[]);
    let (begun, idle) = (Instant::now(), daemon.mebibytes("VmRSS"));
    let next = AtomicU64::new(0);
    let taken = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = Client::connect(daemon.ingest).expect("the daemon");
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    let due = Duration::from_secs_f64((n * EACH) as f64 / rate as f64);
                    if due > Duration::from_secs(SECONDS) {
                        return;
                    }
                    std::thread::sleep(due.saturating_sub(begun.elapsed()));
                    let record = |i| {
                        format!(
                            r#"{{"level":"INFO","function_name":"bench","requestId":"r-{n}-{}","correlation_id":"c-{n}-{:032x}","message":"what a function says"}}"#,
                            i / 10,
                            i / 10
                        )
                    };
                    let body = (0..EACH).map(record).collect::<Vec<_>>().join("\n");
                    match client.send(n | 1 << 34, &body) {
                        Ok(200) => drop(taken.fetch_add(EACH, Ordering::Relaxed)),
                        Ok(_) => {}
                        Err(_) => client = Client::connect(daemon.ingest).expect("the daemon"),
                    }
                }
            });
        }
    });
    let log = bytes_of(&daemon.dir, ".journal") + bytes_of(&daemon.dir, ".snapshot");
    println!(
        "| {rate} | {} | {} MiB, idle {idle} | {:.1} MiB | {} |",
        taken.load(Ordering::Relaxed) / SECONDS,
        daemon.mebibytes("VmRSS"),
        log as f64 / f64::from(1 << 20),
        daemon.lateness(),
    );
}

impl Daemon {
    /// What the daemon says of its memory.
    fn lateness(&self) -> String {
        let findings = self.get("/api/findings");
        let texts = findings.split("\"message\":\"").skip(1);
        let texts = texts.filter_map(|rest| rest.split('"').next());
        let texts: Vec<_> = texts.filter(|text| text.contains("memory")).collect();
        if texts.is_empty() { "as configured".to_owned() } else { texts.join("; ") }
    }
}
