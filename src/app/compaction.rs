//! Compacting the index while edits go on.
//!
//! Making a large index one again takes a moment, and no edit shall wait for it. [`Compaction`] notes what is edited
//! meanwhile, so that it can be applied to the compacted index before that takes the place of the other.

use crate::matching::Change;
use std::sync::{Mutex, PoisonError};

/// Most edits that are noted; after more the compacted index is given up, and the next edit begins another.
const MAX_NOTED: usize = 100_000;

/// At most one compaction at a time.
#[derive(Default)]
pub struct Compaction {
    state: Mutex<State>,
}

#[derive(Default)]
enum State {
    #[default]
    Idle,
    /// With the edits since it began.
    Running(Vec<Change>),
    /// It began from an index that has been replaced as a whole.
    Outdated,
}

impl Compaction {
    /// Begins one from the index as it is now; `false` when one is under way.
    pub fn begin(&self) -> bool {
        self.with(|state| match state {
            State::Idle => {
                *state = State::Running(Vec::new());
                true
            }
            State::Running(_) | State::Outdated => false,
        })
    }

    /// Notes edits of the index.
    pub fn note(&self, edits: &[Change]) {
        self.with(|state| {
            if let State::Running(noted) = state {
                noted.extend_from_slice(edits);
                if noted.len() > MAX_NOTED {
                    *state = State::Outdated;
                }
            }
        });
    }

    /// The index has been replaced as a whole.
    pub fn outdate(&self) {
        self.with(|state| {
            if let State::Running(_) = state {
                *state = State::Outdated;
            }
        });
    }

    /// Ends it: what was edited since it began; `None` when its result is of no use.
    pub fn end(&self) -> Option<Vec<Change>> {
        self.with(|state| match std::mem::take(state) {
            State::Running(noted) => Some(noted),
            State::Idle | State::Outdated => None,
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bank::EntryId;

    fn removals(count: usize) -> Vec<Change> {
        let id = EntryId::parse("a").unwrap();
        vec![Change::Remove(id); count]
    }

    #[test]
    fn what_is_edited_meanwhile_comes_back_at_the_end() {
        let compaction = Compaction::default();
        compaction.note(&removals(1));
        assert!(compaction.begin() && !compaction.begin());
        compaction.note(&removals(2));
        compaction.note(&removals(1));
        assert_eq!(compaction.end().map(|edits| edits.len()), Some(3));
        assert!(compaction.begin());
        assert_eq!(compaction.end().map(|edits| edits.len()), Some(0));
    }

    #[test]
    fn a_replaced_index_or_too_many_edits_make_the_result_useless() {
        let compaction = Compaction::default();
        assert!(compaction.begin());
        compaction.outdate();
        compaction.note(&removals(1));
        assert!(!compaction.begin(), "it is still under way");
        assert!(compaction.end().is_none());
        assert!(compaction.begin());
        compaction.note(&removals(MAX_NOTED + 1));
        assert!(compaction.end().is_none());
        compaction.outdate();
        assert!(compaction.begin(), "nothing was under way");
    }
}
