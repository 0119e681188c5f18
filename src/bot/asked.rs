//! What followers ask for: which entries they were answered with, or chose.
//!
//! It lives in this process and begins anew with it. [`Asked::note`] is on the way of every answer, so it never waits
//! for somebody who reads the counts: what cannot be counted at once waits in a short queue.

use crate::bank::EntryId;
use crate::matching::Popularity;
use std::sync::{Mutex, PoisonError, RwLock};

/// Answers that may wait to be counted; more are not counted.
const MOST_WAITING: usize = 4_096;
/// From so many on they are counted at the next answer.
const MANY_WAITING: usize = 64;

/// The counts.
#[derive(Default)]
pub struct Asked {
    waiting: Mutex<Vec<EntryId>>,
    counted: RwLock<Popularity>,
}

impl Asked {
    /// An answer was this entry.
    pub fn note(&self, id: &EntryId) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < MOST_WAITING {
            waiting.push(id.clone());
        }
        let is_due = waiting.len() >= MANY_WAITING;
        drop(waiting);
        if is_due {
            self.count();
        }
    }

    /// What `read` makes of the counts up to now.
    pub fn read<T>(&self, read: impl FnOnce(&Popularity) -> T) -> T {
        self.count();
        read(&self.counted.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Counts what is waiting, unless somebody is reading.
    fn count(&self) {
        let Ok(mut counted) = self.counted.try_write() else {
            return;
        };
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        for id in &waiting {
            counted.note(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_while_somebody_reads_is_counted_later_and_within_a_bound() {
        let asked = Asked::default();
        let id = EntryId::parse("a").unwrap();
        asked.note(&id);
        assert_eq!(asked.read(|counts| counts.count(&id)), 1);
        asked.read(|counts| {
            (0..2 * MOST_WAITING).for_each(|_| asked.note(&id));
            assert_eq!(counts.count(&id), 1);
        });
        let most = u32::try_from(MOST_WAITING).unwrap();
        assert_eq!(asked.read(|counts| counts.count(&id)), 1 + most);
    }
}
