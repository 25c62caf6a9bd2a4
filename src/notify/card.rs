//! The message as people read it: the same content on every platform, in the same order.
//!
//! A notice comes in ([`compose`]), a [`Card`] goes out: inert plain text that each notifier puts into
//! its own markup. The headline is complete alone, for a lock screen. Where a platform has no room, the
//! least valuable block goes first ([`Card::fit`]); the links never go.

pub(crate) mod compose;
#[cfg(test)]
mod tests;
pub(crate) mod words;

/// How the message feels: its colour and its sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Page,
    Ticket,
    Resolved,
    Test,
}

impl Mood {
    pub(crate) const fn sign(self) -> &'static str {
        match self {
            Self::Page => "🔴 PAGE",
            Self::Ticket => "🟠 TICKET",
            Self::Resolved => "✅ RESOLVED",
            Self::Test => "🧪 TEST",
        }
    }

    /// `#rrggbb`.
    pub(crate) const fn color(self) -> &'static str {
        match self {
            Self::Page => "#d32f2f",
            Self::Ticket => "#f59e0b",
            Self::Resolved => "#2e7d32",
            Self::Test => "#546e7a",
        }
    }
}

/// What is dropped first stands first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Worth {
    Labels,
    Others,
    Version,
    Timeline,
    Description,
    Where,
    Budget,
    Counts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Line,
    /// In letters of one width.
    Code,
    /// Small, at the end.
    Footer,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) worth: Worth,
    pub(crate) shape: Shape,
    /// Plain text; may have several lines.
    pub(crate) text: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Button {
    pub(crate) label: &'static str,
    /// Begins with http:// or https://.
    pub(crate) url: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Card {
    pub(crate) mood: Mood,
    pub(crate) headline: String,
    pub(crate) blocks: Vec<Block>,
    pub(crate) buttons: Vec<Button>,
}

/// A card that is as large as a platform takes, or smaller.
#[derive(Debug)]
pub(crate) struct Fitted<T> {
    pub(crate) body: T,
    pub(crate) n_dropped: usize,
}

/// Letters of a headline that are kept when nothing else is left to drop.
const HEADLINE_MIN: usize = 80;

impl Card {
    /// Renders the card without its least valuable blocks until `fits`; at last with a short headline.
    pub(crate) fn fit<T>(
        mut self,
        render: impl Fn(&Self) -> T,
        fits: impl Fn(&T) -> bool,
    ) -> Fitted<T> {
        let mut n_dropped = 0;
        loop {
            let body = render(&self);
            if fits(&body) {
                return Fitted { body, n_dropped };
            }
            if !self.drop_least() {
                self.headline = words::shortened(&self.headline, HEADLINE_MIN);
                return Fitted { body: render(&self), n_dropped };
            }
            n_dropped += 1;
        }
    }

    /// Of equal blocks the last goes first.
    fn drop_least(&mut self) -> bool {
        let least = self.blocks.iter().map(|block| block.worth).min();
        let at = self.blocks.iter().rposition(|block| Some(block.worth) == least);
        at.map(|at| self.blocks.remove(at)).is_some()
    }

    /// As plain text, for mails, terminals and golden files.
    pub(crate) fn plain(&self) -> String {
        let mut lines = vec![self.headline.clone(), String::new()];
        for block in &self.blocks {
            let indent = if block.shape == Shape::Code { "    " } else { "" };
            lines.extend(block.text.lines().map(|line| format!("{indent}{line}")));
        }
        lines.push(String::new());
        lines.extend(self.buttons.iter().map(|button| format!("{}: {}", button.label, button.url)));
        lines.join("\n")
    }
}
