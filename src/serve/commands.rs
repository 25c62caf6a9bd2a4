//! Commands on their way into the journal, each in its turn: whoever changes something by the journal looks first
//! whether there is room for it, and nobody else changes anything between.
//!
//! A turn comes out, and a command goes in by it. Never does a turn end before what was written in it is applied,
//! whether its client still waits or not; so what is acknowledged is held, and no bound is passed.

use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::notify::Command;

/// Resolves when a command is on disk and applied, or says why not now.
pub type Written = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// Puts a command into the journal. Whoever does it holds the turn until the command is applied.
pub type Write = Arc<dyn Fn(Command, Held) -> Written + Send + Sync>;

/// The way of commands into the journal. Cheap to clone.
#[derive(Clone)]
pub struct Commands {
    write: Write,
    turns: Arc<Mutex<()>>,
}

impl std::fmt::Debug for Commands {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Commands").field("turns", &self.turns).finish_non_exhaustive()
    }
}

/// Keeps others from changing anything; the last clone that is dropped ends the turn.
#[derive(Clone, Debug)]
pub struct Held {
    #[expect(dead_code, reason = "held for its drop")]
    turn: Arc<OwnedMutexGuard<()>>,
}

/// One client's turn to look and to change something.
pub(crate) struct Turn {
    write: Write,
    held: Held,
}

impl Commands {
    pub fn new(write: Write) -> Self {
        Self { write, turns: Arc::default() }
    }

    /// Waits for those before; they are as quick as the disk.
    pub(crate) async fn turn(&self) -> Turn {
        let turn = Arc::new(Arc::clone(&self.turns).lock_owned().await);
        Turn { write: Arc::clone(&self.write), held: Held { turn } }
    }
}

impl Turn {
    /// Changes something by way of the journal; the error is for people.
    pub(crate) async fn command(&self, command: Command) -> Result<(), String> {
        (self.write)(command, self.held.clone()).await
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    /// A command that is not applied yet.
    struct Waiting {
        applied: oneshot::Sender<()>,
        held: Held,
    }

    /// What was written, and waits.
    #[derive(Clone, Default)]
    struct Journal(Arc<std::sync::Mutex<Vec<Waiting>>>);

    impl Journal {
        fn commands(&self) -> Commands {
            let journal = self.clone();
            Commands::new(Arc::new(move |_command, held| {
                let (applied, done) = oneshot::channel();
                journal.0.lock().expect("no panic").push(Waiting { applied, held });
                Box::pin(async move { done.await.map_err(|_gone| "the journal ended".to_owned()) })
            }))
        }
    }

    #[tokio::test]
    async fn nobody_looks_while_a_command_is_on_its_way_even_where_its_client_is_gone() {
        let journal = Journal::default();
        let commands = journal.commands();
        let wait = std::time::Duration::from_millis(10);
        let first = commands.turn().await;
        let sent = first.command(Command::ExpireSilence("s".into()));
        assert!(tokio::time::timeout(wait, sent).await.is_err(), "it waits for the disk");
        drop(first);
        assert!(
            tokio::time::timeout(wait, commands.turn()).await.is_err(),
            "what the first found room for is not held yet"
        );
        for Waiting { applied, held } in journal.0.lock().expect("no panic").drain(..) {
            applied.send(()).expect_err("nobody waits for it any more");
            drop(held);
        }
        assert!(tokio::time::timeout(wait, commands.turn()).await.is_ok());
    }
}
