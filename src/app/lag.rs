//! How far an instance is behind the bank: the newest revision it knows of, and since when.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What is known of the bank's revision beside the one that is used. Announcements and looks at the database tell it.
#[derive(Debug)]
pub(super) struct Lag(Mutex<Known>);

#[derive(Debug, Clone, Copy)]
struct Known {
    applied: u64,
    newest: u64,
    /// When the first revision after `applied` became known.
    behind_since: Option<Instant>,
}

impl Lag {
    pub fn new(applied: u64) -> Self {
        Self(Mutex::new(Known {
            applied,
            newest: applied,
            behind_since: None,
        }))
    }

    /// Notes that the bank has come to `revision`; returns whether that is news.
    pub fn hear(&self, revision: u64, now: Instant) -> bool {
        self.with(|known| {
            let is_news = revision > known.newest;
            if is_news {
                known.newest = revision;
                known.behind_since.get_or_insert(now);
            }
            is_news
        })
    }

    /// Notes that the database is at `found`, whatever was announced, and that `applied` is used. A bank that was put
    /// back is at an earlier one.
    pub fn settle(&self, applied: u64, found: u64) {
        self.with(|known| {
            (known.applied, known.newest) = (applied, found);
            if applied == found {
                known.behind_since = None;
            }
        });
    }

    /// The newest revision known, and for how long there has been one after the one that is used.
    pub fn behind(&self, now: Instant) -> (u64, Duration) {
        self.with(|known| {
            let since = known.behind_since.filter(|_| known.newest != known.applied);
            let lag = since.map(|since| now.saturating_duration_since(since));
            (known.newest, lag.unwrap_or_default())
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut Known) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lag_counts_from_the_first_revision_that_is_not_used_until_the_last_is() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let behind = |lag: &Lag, now| {
            let (newest, lag) = lag.behind(at(now));
            (newest, lag.as_secs())
        };
        let lag = Lag::new(5);
        assert_eq!(behind(&lag, 9), (5, 0));
        assert!(!lag.hear(5, at(0)) && !lag.hear(4, at(0)), "no news");
        assert!(lag.hear(6, at(1)) && lag.hear(8, at(3)));
        assert_eq!(behind(&lag, 4), (8, 3));
        lag.settle(7, 8);
        assert_eq!(behind(&lag, 5), (8, 4), "still behind");
        lag.settle(8, 8);
        assert_eq!(behind(&lag, 9), (8, 0));
        assert!(lag.hear(9, at(10)));
        lag.settle(3, 3);
        assert_eq!(behind(&lag, 20), (3, 0), "put back");
    }
}
