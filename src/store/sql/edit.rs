//! [`Database::edit`]: a change of a few things, as an editor makes it beside others.
//!
//! It is written as any change; before, it is looked at whether what it publishes says what another entry says already.

use super::history::{ApplyError, Author, BankChange};
use super::{Database, StoreError};
use crate::bank::duplicates::brought_in;
use crate::bank::{Entry, State};
use std::sync::Arc;
use tokio::task::spawn_blocking;

/// How often it is tried because somebody else edited the bank meanwhile.
const ATTEMPTS: u32 = 20;

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
        let published = published_by(change);
        let mut revision = self.questions().revision().await?;
        if !published.is_empty() {
            let (loaded, bank) = self.questions().load().await?;
            revision = loaded;
            self.refuse_duplicates(bank, change, &published, normalise).await?;
        }
        let mut attempt = 1;
        loop {
            match self.change(change, by, now, revision).await {
                Err(error) if error.is_passing() && attempt < ATTEMPTS => attempt += 1,
                done => return done,
            }
            // Only at what came since: who looked at a large bank anew each time would never come to write.
            let Some(since) = self.questions().changes_since(revision).await? else {
                let found = self.questions().revision().await?;
                return Err(ApplyError::Conflict {
                    expected: revision,
                    found,
                });
            };
            revision = since.revision;
            self.refuse_duplicates(since.put, change, &published, normalise).await?;
        }
    }

    /// Whether [`Database::edit`] would refuse the change because of what it publishes, or because there would be too many
    /// of something; writes nothing.
    ///
    /// # Errors
    /// [`ApplyError::Duplicates`] and [`ApplyError::TooMany`].
    pub async fn try_edit(&self, change: BankChange<'_>, normalise: fn(&str) -> String) -> Result<(), ApplyError> {
        let (rules, categories) = (self.rules(), self.categories());
        rules.look_for_too_many(change.put_rules, change.remove_rules).await?;
        categories
            .look_for_too_many(change.put_categories, change.remove_categories)
            .await?;
        let published = published_by(change);
        if published.is_empty() {
            return Ok(());
        }
        let (_, bank) = self.questions().load().await?;
        self.refuse_duplicates(bank, change, &published, normalise).await
    }

    /// Whether the change brings in what one of `others` says already.
    async fn refuse_duplicates(
        &self,
        mut others: Vec<Entry>,
        change: BankChange<'_>,
        published: &Arc<[Entry]>,
        normalise: fn(&str) -> String,
    ) -> Result<(), ApplyError> {
        if published.is_empty() {
            return Ok(());
        }
        others.retain(|entry| !change.remove.contains(&entry.id) && change.put.iter().all(|put| put.id != entry.id));
        let published = published.clone();
        // A bank of 100,000 takes a second.
        let looked = spawn_blocking(move || brought_in(&others, &published, &normalise)).await;
        let found = looked.map_err(|_| StoreError::Unavailable {
            backend: self.dialect.name(),
            reason: "the look for duplicates has panicked".to_owned(),
        })?;
        match found.is_empty() {
            true => Ok(()),
            false => Err(ApplyError::Duplicates(found)),
        }
    }
}

fn published_by(change: BankChange<'_>) -> Arc<[Entry]> {
    let published = change.put.iter().filter(|entry| entry.state == State::Published);
    published.cloned().collect()
}
