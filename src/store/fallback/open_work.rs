//! The list of open work while its store may be away: then nothing is listed, and nothing found.

use super::{Breaker, User};
use crate::store::StoreError;
use crate::store::open_work::{OpenWork, TAG};
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;

const USER: User = User::OpenWork;

/// [`OpenWork`] behind a breaker. There is none in this process beside it: only another instance could read it.
pub struct FallbackOpenWork {
    shared: Arc<dyn OpenWork>,
    breaker: Arc<Breaker>,
}

impl FallbackOpenWork {
    /// `breaker` is that of everything else on the connection of `shared`.
    pub fn new(shared: Arc<dyn OpenWork>, breaker: Arc<Breaker>) -> Self {
        Self { shared, breaker }
    }
}

#[async_trait]
impl OpenWork for FallbackOpenWork {
    async fn list(&self, item: &[u8]) -> Result<(), StoreError> {
        self.breaker.call(USER, TAG, self.shared.list(item)).await
    }

    async fn strike(&self, item: &[u8]) -> Result<(), StoreError> {
        self.breaker.call(USER, TAG, self.shared.strike(item)).await
    }

    async fn listed(&self, age: Duration, from: usize, most: usize) -> Result<Vec<Vec<u8>>, StoreError> {
        self.breaker.call(USER, TAG, self.shared.listed(age, from, most)).await
    }
}
