//! API keys: what `wxfaq apikey` changes in the database reaches the running daemon.

use crate::store::StoreError;
use crate::store::sql::ApiKeys;
use crate::web::Web;
use std::sync::Arc;
use std::time::Duration;

/// Looks every `poll` for keys that were made or revoked. While they cannot be read, those known stay good.
pub async fn follow(stored: ApiKeys, web: Arc<Web>, poll: Duration) {
    let mut known = None;
    let mut was_read = true;
    loop {
        match stored.all().await {
            Ok(keys) => {
                if known.as_ref() != Some(&keys) {
                    web.replace_keys(keys.clone());
                    known = Some(keys);
                }
                was_read = true;
            }
            Err(error) if was_read => {
                report(&error);
                was_read = false;
            }
            Err(_) => {}
        }
        tokio::time::sleep(poll).await;
    }
}

fn report(error: &StoreError) {
    tracing::warn!(%error, "API keys cannot be read; those known stay good");
}
