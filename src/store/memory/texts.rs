//! Texts of which each is kept once, however many places hold it: [`Texts`].
//!
//! Thousands of followers get the same few hundred answers; their records share them.

use std::collections::HashSet;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// About what a text costs besides its bytes.
const OVERHEAD: usize = 64;

/// All texts that are held somewhere.
#[derive(Clone, Default)]
pub(super) struct Texts(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    texts: HashSet<Arc<[u8]>>,
    bytes: usize,
}

/// A text of [`Texts`]; forgotten with its last holder.
pub(super) struct Text {
    bytes: Arc<[u8]>,
    home: Texts,
}

impl Texts {
    /// A text with these bytes.
    pub fn keep(&self, bytes: &[u8]) -> Text {
        let mut kept = self.lock();
        let bytes = match kept.texts.get(bytes) {
            Some(known) => Arc::clone(known),
            None => {
                let new: Arc<[u8]> = bytes.into();
                kept.bytes += new.len() + OVERHEAD;
                kept.texts.insert(Arc::clone(&new));
                new
            }
        };
        drop(kept);
        Text {
            bytes,
            home: self.clone(),
        }
    }

    /// What all of them cost.
    pub fn bytes(&self) -> usize {
        self.lock().bytes
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deref for Text {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Text {
    fn drop(&mut self) {
        let mut kept = self.home.lock();
        // References are only made and dropped under the lock: one is ours, one the set's.
        if Arc::strong_count(&self.bytes) == 2 && kept.texts.remove(&self.bytes) {
            kept.bytes -= self.bytes.len() + OVERHEAD;
        }
        // Taken out while the lock is held, so that the count above is right for whoever comes next.
        self.bytes = Arc::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_kept_once_and_forgotten_with_the_last() {
        let texts = Texts::default();
        let (one, same, other) = (texts.keep(b"text"), texts.keep(b"text"), texts.keep(b"other"));
        assert_eq!(texts.bytes(), 4 + 5 + 2 * OVERHEAD);
        assert_eq!((&*one, &*other), (&b"text"[..], &b"other"[..]));
        drop(one);
        assert_eq!(texts.bytes(), 4 + 5 + 2 * OVERHEAD);
        drop(same);
        assert_eq!(texts.bytes(), 5 + OVERHEAD);
        drop(other);
        assert_eq!(texts.bytes(), 0);
        assert_eq!(&*texts.keep(b"text"), b"text");
    }
}
