//! The engine in a snapshot, and back: its state at one moment as pieces that become bytes later.
//!
//! Nothing is changed, and what is written is what the state was when the pieces were taken.

use serde::Serialize;

use super::Config;
use super::digest::digest_in_any_order;
use super::engine::{Engine, Held};
use super::fact::encode;

/// Part of a snapshot: gives its bytes wherever it is called.
pub type Piece = Box<dyn FnOnce() -> Vec<u8> + Send>;

/// The state in parts, which follow one another as in [`Held`]; what is frozen stands between the
/// invocations and the requests.
impl Held {
    fn books(&self) -> impl Serialize {
        (self.age, self.last_tick, self.now, &self.ledger, &self.memory)
    }

    fn facts(&self) -> impl Serialize {
        (&self.cells, &self.environments)
    }

    fn invocations(&self) -> impl Serialize {
        (&self.graph, &self.learned, &self.stubs)
    }

    fn open(&self) -> impl Serialize {
        (&self.back, &self.requests, &self.due)
    }

    fn waiting(&self) -> impl Serialize {
        let Self { unsure, orphans, uncorrelated, retired, bytes, notes, .. } = self;
        (unsure, orphans, uncorrelated, retired, bytes, notes)
    }
}

impl Engine {
    /// All state of this moment in pieces that follow one another, some of them in bytes only once they
    /// are called for. What is frozen is shared with them and copied where it changes; what is open is
    /// written at once, the large parts side by side. [`Engine::restore`] reads all of them as one.
    pub fn moment(&self) -> Vec<Piece> {
        let held = &self.held;
        let (first, cells, graph, requests) = std::thread::scope(|scope| {
            let cells = scope.spawn(|| encode(&held.facts()));
            let graph = scope.spawn(|| encode(&held.invocations()));
            let first = encode(&held.books());
            let requests = encode(&held.open());
            let joined = |panicked| std::panic::resume_unwind(panicked);
            let (cells, graph) =
                (cells.join().unwrap_or_else(joined), graph.join().unwrap_or_else(joined));
            (first, cells, graph, requests)
        });
        let frozen = held.frozen.shared();
        let last = encode(&held.waiting());
        vec![
            Box::new(|| first),
            Box::new(|| cells),
            Box::new(|| graph),
            Box::new(move || encode(&frozen)),
            Box::new(|| requests),
            Box::new(|| last),
        ]
    }

    /// As [`Engine::moment`], in bytes.
    pub fn save(&self) -> Vec<Vec<u8>> {
        self.moment().into_iter().map(|piece| piece()).collect()
    }

    /// What each part of the state comes to, by name: two engines that hold the same have the same, whatever
    /// the order of their tables.
    pub fn digests(&self) -> [(&'static str, u64); 6] {
        let held = &self.held;
        [
            ("books and repeats", digest_in_any_order(&held.books())),
            ("facts", digest_in_any_order(&held.facts())),
            ("invocations", digest_in_any_order(&held.invocations())),
            ("requests that are over", digest_in_any_order(&held.frozen)),
            ("requests", digest_in_any_order(&held.open())),
            ("what waits", digest_in_any_order(&held.waiting())),
        ]
    }

    /// An engine as it was saved.
    ///
    /// # Errors
    /// Where the bytes are not what [`Engine::save`] of this version wrote.
    pub fn restore(config: Config, saved: &[u8]) -> Result<Self, postcard::Error> {
        let mut held: Held = postcard::from_bytes(saved)?;
        held.frozen.reindex();
        Ok(Self::with(config, held))
    }
}
