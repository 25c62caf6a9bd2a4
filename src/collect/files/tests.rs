use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::config::Format;
use super::*;
use crate::clock::Clock;
use crate::receive::Delivery;
use crate::signal::SignalKind;

/// A folder with files, and a daemon that takes what they hold.
struct Bench {
    dir: TempDir,
    taken: Arc<Mutex<Vec<Batch>>>,
    /// The daemon dies behind the disk: what it took is there, its answer never comes.
    dies: Arc<AtomicBool>,
    shared: Shared,
    job: Job,
    _stop: watch::Sender<bool>,
}

impl Bench {
    fn new(format: Format) -> Self {
        let (accepted, mut deliveries) = mpsc::channel::<Delivery>(8);
        let (stop, stopping) = watch::channel(false);
        let (taken, dies) = (Arc::<Mutex<Vec<Batch>>>::default(), Arc::new(AtomicBool::new(false)));
        let (keep, silent) = (Arc::clone(&taken), Arc::clone(&dies));
        tokio::spawn(async move {
            while let Some(Delivery { batch, answer, .. }) = deliveries.recv().await {
                keep.lock().expect("whole").push(batch);
                if !silent.load(Ordering::Relaxed) {
                    answer.send(Ok(())).expect("somebody waits");
                }
            }
        });
        let dir = tempfile::tempdir().expect("a folder");
        let job = Job {
            paths: vec![dir.path().join("app*.log*")],
            function: Some("orders".to_owned()),
            format,
            from_end: false,
        };
        let normalize = Arc::new(ArcSwap::default());
        let shared = Shared { normalize, clock: Clock::wall(), accepted, stopping };
        Self { dir, taken, dies, shared, job, _stop: stop }
    }

    fn following(&self) -> Following {
        Following::new(
            vec![self.job.clone()],
            self.dir.path().join("places/files.json"),
            self.shared.clone(),
        )
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let file = OpenOptions::new().create(true).append(true).open(self.path(name));
        file.expect("a file").write_all(text.as_bytes()).expect("written");
    }

    /// What came since: messages, and how many lines were rejected.
    fn came(&self) -> String {
        let batches = std::mem::take(&mut *self.taken.lock().expect("whole"));
        let mut words = Vec::new();
        for batch in &batches {
            assert_eq!(batch.receiver, Receiver::File);
            for signal in &batch.signals {
                let SignalKind::Log(record) = &signal.kind else {
                    panic!("only records are written")
                };
                words.push(record.body.to_string());
            }
            if batch.rejected > 0 {
                words.push(format!("({} rejected)", batch.rejected));
            }
        }
        words.join(" ")
    }
}

fn line(message: &str) -> String {
    format!("{{\"level\":\"INFO\",\"message\":\"{message}\"}}\n")
}

/// A look and everything that it finds.
async fn look(following: &mut Following) {
    following.look();
    while following.round().await {}
    following.forget();
    following.places.save_if_changed();
}

#[tokio::test]
async fn whole_lines_come_and_half_ones_wait() {
    let bench = Bench::new(Format::Json);
    let mut following = bench.following();
    bench.write("app.log", &(line("a") + "{\"message\":"));
    look(&mut following).await;
    assert_eq!(bench.came(), "a");
    bench.write("app.log", "\"b\"}\n");
    bench.write("other.txt", &line("no"));
    look(&mut following).await;
    assert_eq!(bench.came(), "b");
    // A restart goes on where it was.
    let mut following = bench.following();
    bench.write("app.log", &line("c"));
    look(&mut following).await;
    assert_eq!(bench.came(), "c");
}

#[tokio::test]
async fn renamed_files_go_on_and_truncated_ones_begin_anew() {
    let bench = Bench::new(Format::Json);
    let mut following = bench.following();
    bench.write("app.log", &line("a"));
    look(&mut following).await;
    // Rename and create: the rest of the old one and the new one, nothing twice.
    bench.write("app.log", &line("b"));
    fs::rename(bench.path("app.log"), bench.path("app.log.1")).expect("renamed");
    bench.write("app.log", &line("c"));
    look(&mut following).await;
    assert_eq!(bench.came(), "a b c");
    // Copy and truncate: the same inode, shorter.
    fs::write(bench.path("app.log"), "").expect("truncated");
    look(&mut following).await;
    bench.write("app.log", &line("d-after-the-cut"));
    look(&mut following).await;
    assert_eq!(bench.came(), "d-after-the-cut");
    // Truncated and grown beyond where it was: the first bytes differ.
    fs::write(bench.path("app.log"), line("e-and-more-than-before").repeat(2))
        .expect("written anew");
    look(&mut following).await;
    assert_eq!(bench.came(), "e-and-more-than-before e-and-more-than-before");
}

#[tokio::test]
async fn a_file_that_is_gone_is_read_to_its_end() {
    let bench = Bench::new(Format::Json);
    let mut following = bench.following();
    bench.write("app.log", &line("a"));
    look(&mut following).await;
    bench.write("app.log", &(line("b") + line("c").trim_end()));
    fs::remove_file(bench.path("app.log")).expect("removed");
    for _ in 0..=LOOKS_AFTER_GONE {
        look(&mut following).await;
    }
    assert_eq!(bench.came(), "a b c");
    assert!(following.followed.is_empty());
}

#[tokio::test]
async fn what_was_sent_before_a_crash_comes_again_under_the_same_name() {
    let bench = Bench::new(Format::Json);
    let mut following = bench.following();
    bench.write("app.log", &line("a"));
    look(&mut following).await;
    bench.taken.lock().expect("whole").clear();
    bench.dies.store(true, Ordering::Relaxed);
    bench.write("app.log", &(line("b") + &line("c")));
    following.look();
    assert!(!following.round().await, "no answer came");
    drop(following);
    let first = bench.taken.lock().expect("whole").pop().expect("it was on disk");
    // More came meanwhile: it must not be part of what is known.
    bench.dies.store(false, Ordering::Relaxed);
    bench.write("app.log", &line("d"));
    let mut following = bench.following();
    look(&mut following).await;
    let again = bench.taken.lock().expect("whole").first().cloned().expect("it comes again");
    assert_eq!((again.declared_id, again.signals.len()), (first.declared_id, 2));
    assert_eq!(bench.came(), "b c d");
    assert_ne!(first.declared_id, None);
}

#[tokio::test]
async fn a_line_that_is_too_long_is_rejected_alone() {
    let bench = Bench::new(Format::Text);
    let mut following = bench.following();
    let long = "x".repeat(3 * Chunk::BYTES_MAX);
    bench.write("app.log", &format!("2025-03-04T10:00:00Z before\n{long}"));
    look(&mut following).await;
    bench.write("app.log", &format!("{long}\nafter\n"));
    look(&mut following).await;
    assert_eq!(bench.came(), "before (1 rejected) after");
}

#[tokio::test]
async fn the_end_is_where_a_first_start_may_begin() {
    let mut bench = Bench::new(Format::Json);
    bench.job.from_end = true;
    bench.write("app.log", &line("old"));
    let mut following = bench.following();
    look(&mut following).await;
    bench.write("app.log", &line("new"));
    bench.write("app2.log", &line("found-later"));
    look(&mut following).await;
    assert_eq!(bench.came(), "new found-later");
}

#[test]
fn stars_stand_for_anything() {
    let fit = |pattern, name| fits(pattern, name);
    assert!(fit("app*.log*", "app.log") && fit("app*.log*", "app-1.log.2") && fit("*", "x"));
    assert!(!fit("app*.log", "app.log.1") && !fit("a*b*c", "acb") && fit("a*b*c", "aXbYc"));
}
