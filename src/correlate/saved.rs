//! The engine in a snapshot, and back: its state at one moment as pieces that become bytes later.
//!
//! Nothing is changed, and what is written is what the state was when the pieces were taken.

use super::Config;
use super::digest::digest_in_any_order;
use super::engine::{Engine, Held};
use super::fact::encode;

/// Part of a snapshot: gives its bytes wherever it is called.
pub type Piece = Box<dyn FnOnce() -> Vec<u8> + Send>;

impl Engine {
    /// All state of this moment in pieces that follow one another, some of them in bytes only once they
    /// are called for. What is frozen is shared with them and copied where it changes; what is open is
    /// written at once, the large parts side by side. [`Engine::restore`] reads all of them as one.
    pub fn moment(&self) -> Vec<Piece> {
        let held = &self.held;
        let (first, cells, graph, requests) = std::thread::scope(|scope| {
            let cells = scope.spawn(|| encode(&(&held.cells, &held.environments)));
            let graph = scope.spawn(|| encode(&(&held.graph, &held.learned, &held.stubs)));
            let first = encode(&(held.age, held.last_tick, held.now, &held.ledger, &held.memory));
            let requests = encode(&(&held.back, &held.requests, &held.due));
            let joined = |panicked| std::panic::resume_unwind(panicked);
            let (cells, graph) =
                (cells.join().unwrap_or_else(joined), graph.join().unwrap_or_else(joined));
            (first, cells, graph, requests)
        });
        let frozen = held.frozen.shared();
        let last = encode(&(
            &held.unsure,
            &held.orphans,
            &held.uncorrelated,
            &held.retired,
            held.bytes,
            &held.notes,
        ));
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
        let first = (held.age, held.last_tick, held.now, &held.ledger, &held.memory);
        let requests = (&held.back, &held.requests, &held.due);
        let last = (
            &held.unsure,
            &held.orphans,
            &held.uncorrelated,
            &held.retired,
            held.bytes,
            &held.notes,
        );
        [
            ("books and repeats", digest_in_any_order(&first)),
            ("facts", digest_in_any_order(&(&held.cells, &held.environments))),
            ("invocations", digest_in_any_order(&(&held.graph, &held.learned, &held.stubs))),
            ("requests that are over", digest_in_any_order(&held.frozen)),
            ("requests", digest_in_any_order(&requests)),
            ("what waits", digest_in_any_order(&last)),
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
