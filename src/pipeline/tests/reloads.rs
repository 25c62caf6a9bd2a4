//! Reloads that the journal does not take, one alone and two at once.

use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;

use super::super::doors::Doors;
use super::super::reload::Reload;
use super::super::threads::{Item, Log};
use super::state;
use crate::clock::Clock;
use crate::config::Config;
use crate::journal::{self, Committed, Journal};
use crate::signal::Diagnostic;

/// A reload to a configuration whose one receiver has this name.
fn reload_to(name: &str, dir: &Path, of: &Reload) -> Reload {
    let file = dir.join(format!("{name}.yaml"));
    let text = format!(
        "route: {{receiver: {name}}}\nreceivers: [{{name: {name}, webhook_configs: [{{url: 'http://h'}}]}}]"
    );
    std::fs::write(&file, text).unwrap();
    let source = Some((None, vec![format!("notify.config={}", file.display())]));
    Reload { source, ..of.clone() }
}

fn reload(dir: &Path, log: OnceLock<Log>) -> Reload {
    let config = Config::load(None, &[]).unwrap();
    let normalize = Arc::new(ArcSwap::from_pointee(config.normalize.clone()));
    let made = Reload::new(None, &config, &state(dir), &normalize, &Doors::new(&config, 1024));
    Reload { log: Arc::new(log), ..made }
}

/// A log whose records are on disk and wait to be applied by the test.
fn log(dir: &Path) -> (Log, Receiver<Committed<Item>>) {
    let (committed, records) = sync_channel(16);
    let mut nothing = journal::Back { restore: &mut |_| Ok(()), replay: &mut |_| Ok(()) };
    let on_commit = move |one| drop(committed.send(one));
    let config = journal::Config::new(dir.join("journal"), 1 << 20);
    let (journal, _) = Journal::open(config, Clock::wall(), &mut nothing, on_commit).unwrap();
    (Log::new(journal), records)
}

#[test]
fn one_that_is_not_written_leaves_where_messages_go() {
    let dir = tempfile::tempdir().unwrap();
    // Recovery is not over.
    let reload = reload_to("other", dir.path(), &reload(dir.path(), OnceLock::new()));
    let before = reload.state.routing.load_full();
    assert!(reload.run().unwrap_err()[0].message.contains("try again"));
    assert_eq!(*reload.state.routing.load_full(), *before);
}

#[test]
fn two_at_once_take_back_only_what_is_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let (log, records) = log(dir.path());
    let reload = reload(dir.path(), OnceLock::from(log.clone()));
    let begin = |name: &str| {
        let reload = reload_to(name, dir.path(), &reload);
        std::thread::spawn(move || reload.run())
    };
    let told = |outcome: Result<Vec<String>, Vec<Diagnostic>>| {
        outcome.map(drop).map_err(|errors| errors.len())
    };
    let first = begin("first");
    let record = records.recv().unwrap();
    let second = begin("second");
    // One that did not wait for its turn would be here.
    let early = records.recv_timeout(Duration::from_millis(300));
    // The first is never applied.
    drop(record);
    assert_eq!(told(first.join().unwrap()), Err(1));
    let record = early.or_else(|_| records.recv()).unwrap();
    record.item.applied.unwrap().send(()).unwrap();
    assert_eq!(told(second.join().unwrap()), Ok(()));
    let routing = format!("{:?}", reload.state.routing.load_full());
    assert!(routing.contains("second") && !routing.contains("first"), "{routing}");
    log.close();
}
