//! Watches the folders of templates and dictionaries, and reloads when a file in them changes.
//!
//! Folders are watched, not files, because editors write a new file and rename it; changes that come together are one.

use super::Publisher;
use notify::RecursiveMode;
use notify_debouncer_full::{DebounceEventResult, new_debouncer};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Changes within this time are one.
const DEBOUNCE: Duration = Duration::from_millis(200);

/// Runs until dropped.
pub async fn files(publisher: Arc<Publisher>) {
    loop {
        let (changed, mut changes) = mpsc::channel(1);
        // A full channel means that a reload is due anyway.
        let tell = move |events: DebounceEventResult| match events {
            Ok(events) if events.iter().all(|event| event.kind.is_access()) => {}
            _ => drop(changed.try_send(())),
        };
        let mut watcher = match new_debouncer(DEBOUNCE, None, tell) {
            Ok(watcher) => watcher,
            Err(error) => {
                tracing::warn!(%error, "files are not watched; SIGHUP reloads them");
                return publisher.moved.notified().await;
            }
        };
        for folder in publisher.folders().await {
            if let Err(error) = watcher.watch(&folder, RecursiveMode::NonRecursive) {
                tracing::warn!(folder = %folder.display(), %error, "folder is not watched; SIGHUP reloads it");
            }
        }
        let folders = publisher.folders().await;
        loop {
            tokio::select! {
                Some(()) = changes.recv() => publisher.reload_files().await,
                () = publisher.moved.notified() => {}
            }
            if publisher.folders().await != folders {
                break;
            }
        }
    }
}
