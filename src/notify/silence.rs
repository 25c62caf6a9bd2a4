//! Silences: who shall not be woken by what, until when.
//!
//! What comes in: journaled silences and expirations, and log time. What goes out: which silences hold
//! an alert back. Never does one end before its time unless somebody ends it, and never is one that was
//! journaled forgotten before [`RETENTION`] after its end.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::series::{MatchOp, Matcher};
use crate::signal::{Labels, Text, Timestamp};

/// How long an ended silence can still be looked up (Alertmanager's `--data.retention`).
pub(super) const RETENTION: Duration = Duration::from_hours(120);
/// Silences that are kept; with so many nobody knows what is silent, and each is asked about each alert.
pub(super) const SILENCES_MAX: usize = 10_000;
/// Bytes of text of all of them; the API takes 2 MiB for one.
const SILENCE_BYTES_MAX: usize = 16 << 20;
/// Matchers of one silence.
const MATCHERS_MAX: usize = 100;

/// As it was made. The id is the maker's to choose and unique.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    pub id: Text,
    pub matchers: Vec<SilenceMatcher>,
    pub starts_at: Timestamp,
    pub ends_at: Timestamp,
    pub updated_at: Timestamp,
    pub created_by: Text,
    pub comment: Text,
}

/// One condition, as Alertmanager's API writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SilenceMatcher {
    pub name: Text,
    pub value: Text,
    pub is_regex: bool,
    /// Absent in requests of old clients: true.
    #[serde(default = "yes")]
    pub is_equal: bool,
}

const fn yes() -> bool {
    true
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SilenceState {
    Active,
    Pending,
    Expired,
}

impl SilenceState {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Pending => "pending",
            Self::Expired => "expired",
        }
    }
}

/// Why a silence cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SilenceError {
    #[error("at least one matcher required")]
    NoMatcher,
    #[error("a silence has {MATCHERS_MAX} matchers at most")]
    TooManyMatchers,
    #[error("at least one matcher must not match the empty string")]
    MatchesAll,
    #[error("invalid label name {0:?}")]
    LabelName(Text),
    #[error("invalid regular expression {value:?}: {reason}")]
    Regex { value: Text, reason: String },
    #[error("start time must be before end time")]
    EndsBeforeStart,
    #[error("there are {SILENCES_MAX} silences, or {} MiB of them; expire some and wait until they are forgotten", SILENCE_BYTES_MAX >> 20)]
    Full,
}

impl SilenceMatcher {
    fn compiled(&self) -> Result<Matcher, SilenceError> {
        if self.name.is_empty() {
            return Err(SilenceError::LabelName(Text::clone(&self.name)));
        }
        let op = match (self.is_regex, self.is_equal) {
            (false, true) => MatchOp::Equal,
            (false, false) => MatchOp::NotEqual,
            (true, true) => MatchOp::Regex,
            (true, false) => MatchOp::NotRegex,
        };
        Matcher::new(&self.name, op, &self.value).map_err(|error| SilenceError::Regex {
            value: Text::clone(&self.value),
            reason: error.to_string(),
        })
    }

    pub fn of(matcher: &Matcher) -> Self {
        Self {
            name: Text::clone(&matcher.name),
            value: Text::clone(&matcher.value),
            is_regex: matches!(matcher.op, MatchOp::Regex | MatchOp::NotRegex),
            is_equal: matches!(matcher.op, MatchOp::Equal | MatchOp::Regex),
        }
    }

    /// `name=~"value"`
    pub fn show(&self) -> String {
        let op = match (self.is_regex, self.is_equal) {
            (false, true) => "=",
            (false, false) => "!=",
            (true, true) => "=~",
            (true, false) => "!~",
        };
        format!("{}{op}{:?}", self.name, self.value)
    }
}

impl Silence {
    pub fn state(&self, now: Timestamp) -> SilenceState {
        if now >= self.ends_at {
            SilenceState::Expired
        } else if now < self.starts_at {
            SilenceState::Pending
        } else {
            SilenceState::Active
        }
    }

    fn text_bytes(&self) -> usize {
        let matchers = self.matchers.iter().map(|one| one.name.len() + one.value.len());
        matchers.sum::<usize>() + self.created_by.len() + self.comment.len()
    }

    /// Checks what Alertmanager checks.
    pub fn check(&self) -> Result<(), SilenceError> {
        self.compiled()?;
        if self.ends_at <= self.starts_at {
            return Err(SilenceError::EndsBeforeStart);
        }
        Ok(())
    }

    fn compiled(&self) -> Result<Vec<Matcher>, SilenceError> {
        if self.matchers.is_empty() {
            return Err(SilenceError::NoMatcher);
        }
        if self.matchers.len() > MATCHERS_MAX {
            return Err(SilenceError::TooManyMatchers);
        }
        let compiled =
            self.matchers.iter().map(SilenceMatcher::compiled).collect::<Result<Vec<_>, _>>()?;
        if compiled.iter().all(|matcher| matcher.matches("")) {
            return Err(SilenceError::MatchesAll);
        }
        Ok(compiled)
    }
}

/// All silences by id, with their matchers compiled.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Silence>", into = "Vec<Silence>")]
pub(crate) struct Silences(BTreeMap<Text, Compiled>);

#[derive(Clone, Debug, PartialEq)]
struct Compiled {
    silence: Silence,
    matchers: Vec<Matcher>,
}

impl Silences {
    /// Puts one in the place of any by the same id. One that cannot be is the error.
    pub(crate) fn set(&mut self, silence: &Silence) -> Result<(), SilenceError> {
        let matchers = silence.compiled()?;
        if !self.has_room_for(silence) {
            return Err(SilenceError::Full);
        }
        self.0.insert(Text::clone(&silence.id), Compiled { silence: silence.clone(), matchers });
        Ok(())
    }

    /// Ends one now; one that had not begun never does.
    pub(crate) fn expire(&mut self, id: &str, now: Timestamp) {
        if let Some(Compiled { silence, .. }) = self.0.get_mut(id)
            && silence.state(now) != SilenceState::Expired
        {
            silence.starts_at = silence.starts_at.min(now);
            silence.ends_at = now;
            silence.updated_at = now;
        }
    }

    /// Forgets what ended long ago.
    pub(crate) fn sweep(&mut self, now: Timestamp) {
        self.0.retain(|_, one| one.silence.ends_at.saturating_add(RETENTION) > now);
    }

    /// The ids of those that hold these labels back at `now`.
    pub(crate) fn holding<'a>(
        &'a self,
        labels: &'a Labels,
        now: Timestamp,
    ) -> impl Iterator<Item = &'a Text> {
        self.0
            .values()
            .filter(move |one| one.silence.state(now) == SilenceState::Active)
            .filter(|one| one.matchers.iter().all(|matcher| matcher.matches_labels(labels)))
            .map(|one| &one.silence.id)
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Silence> {
        self.0.get(id).map(|one| &one.silence)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Silence> {
        self.0.values().map(|one| &one.silence)
    }

    /// Whether there is room for a silence beside all others.
    pub(crate) fn has_room_for(&self, new: &Silence) -> bool {
        let others = || self.iter().filter(|one| one.id != new.id);
        let bytes = new.text_bytes() + others().map(Silence::text_bytes).sum::<usize>();
        others().count() < SILENCES_MAX && bytes <= SILENCE_BYTES_MAX
    }
}

impl From<Silences> for Vec<Silence> {
    fn from(silences: Silences) -> Self {
        silences.0.into_values().map(|one| one.silence).collect()
    }
}

impl TryFrom<Vec<Silence>> for Silences {
    type Error = SilenceError;

    fn try_from(all: Vec<Silence>) -> Result<Self, SilenceError> {
        let mut silences = Self::default();
        for silence in &all {
            silences.set(silence)?;
        }
        Ok(silences)
    }
}
