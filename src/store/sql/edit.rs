//! [`Database::edit`]: a change of a few things, as an editor makes it beside others.
//!
//! It is written as any change; before, it is looked at whether what it publishes says what another entry says already.

use super::history::{ApplyError, Author, BankChange};
use super::{Database, StoreError};
use crate::bank::State;
use crate::bank::duplicates::brought_in;
use tokio::task::spawn_blocking;

/// How often the look at the bank is made anew because somebody edited it meanwhile.
const ATTEMPTS: u32 = 5;

impl Database {
    /// Makes a change, whatever others change elsewhere meanwhile, and returns the bank's revision after it.
    ///
    /// `normalise` gives the form in which two phrasings that mean the same by their letters are equal. Reads the whole
    /// bank when the change publishes entries.
    ///
    /// # Errors
    /// As of [`Database::change`]; [`ApplyError::Duplicates`] when two entries would say the same to one follower.
    pub async fn edit(
        &self,
        change: BankChange<'_>,
        by: &Author,
        now: i64,
        normalise: fn(&str) -> String,
    ) -> Result<u64, ApplyError> {
        let mut attempt = 1;
        loop {
            let revision = self.looked_through(change, normalise).await?;
            match self.change(change, by, now, revision).await {
                Err(error) if error.is_passing() && attempt < ATTEMPTS => attempt += 1,
                done => return done,
            }
        }
    }

    /// The bank's revision at which the change brings no duplicates in.
    async fn looked_through(&self, change: BankChange<'_>, normalise: fn(&str) -> String) -> Result<u64, ApplyError> {
        let published = change.put.iter().filter(|entry| entry.state == State::Published);
        let published: Vec<_> = published.cloned().collect();
        if published.is_empty() {
            return Ok(self.questions().revision().await?);
        }
        let (revision, mut bank) = self.questions().load().await?;
        bank.retain(|entry| !change.remove.contains(&entry.id) && change.put.iter().all(|put| put.id != entry.id));
        // A bank of 100,000 takes a second.
        let looked = spawn_blocking(move || brought_in(&bank, &published, &normalise)).await;
        let found = looked.map_err(|_| StoreError::Unavailable {
            backend: self.dialect.name(),
            reason: "the look for duplicates has panicked".to_owned(),
        })?;
        match found.is_empty() {
            true => Ok(revision),
            false => Err(ApplyError::Duplicates(found)),
        }
    }
}
