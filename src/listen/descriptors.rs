//! Descriptors: as many as the connections may need, or fewer connections.
//!
//! A process is often begun with a soft limit of 1,024, far below what it may ask for; three full
//! listeners would leave no descriptor for the journal's next segment.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::Limits;
use crate::number::{u64_from_usize, usize_from_u64};

/// Listeners of a daemon.
const LISTENERS: u64 = 3;
/// For journal, series, archive and what is sent: never given to connections.
const FILES: u64 = 512;

/// Asks for all that the process may have; gives the limit that then holds.
pub fn raise() -> u64 {
    let held = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: held.maximum, ..held };
    if setrlimit(Resource::Nofile, wanted).is_err() {
        tracing::debug!("the limit of descriptors stays as it is");
    }
    // None: there is no limit.
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// What is wrong with a limit, and what to do; None: it is enough.
pub fn warning(limit: u64) -> Option<String> {
    let wanted = LISTENERS * u64_from_usize(Limits::default().connections_max) + FILES;
    (limit < wanted).then(|| {
        format!(
            "the process may open {limit} files, {wanted} are wanted for three full listeners: each takes {} connections at once; raise the hard limit (ulimit -Hn, LimitNOFILE=)",
            Limits::within(limit).connections_max
        )
    })
}

impl Limits {
    /// As many connections as there are descriptors for, the default at the most.
    pub fn within(limit: u64) -> Self {
        let whole = Self::default();
        let each = limit.saturating_sub(FILES).max(limit / 2) / LISTENERS;
        let connections_max = usize_from_u64(each).clamp(1, whole.connections_max);
        let newcomers_max = (connections_max / 2).clamp(1, whole.newcomers_max);
        Self { connections_max, newcomers_max, ..whole }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_descriptors_are_few_connections_and_never_none() {
        let connections = |limit| Limits::within(limit).connections_max;
        assert_eq!([0, 64, 1024, 4096, u64::MAX].map(connections), [1, 10, 170, 1000, 1000]);
        assert_eq!(warning(4096), None);
        let said = warning(1024).unwrap_or_default();
        assert!(
            said.contains("1024 files, 3512 are wanted") && said.contains("170 conn"),
            "{said}"
        );
    }

    #[test]
    fn the_limit_is_raised_to_the_hard_one() {
        let hard = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
        assert_eq!(raise(), hard);
    }
}
