//! Watches the folders of templates and dictionaries, and reloads when something in them changes.
//!
//! Folders are watched, not files, because editors write a new file and rename it, and the folders above them as well,
//! because a deployment may swap a whole folder; changes that come together are one. Every reload comes after watches
//! made anew: a watch stays with the folder it was made for, wherever that is moved to. So does the first, for what
//! changed between the start and the first watch.

use super::Publisher;
use notify::RecursiveMode;
use notify_debouncer_full::{DebounceEventResult, new_debouncer};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Changes within this time are one.
const DEBOUNCE: Duration = Duration::from_millis(200);

/// Runs until dropped.
pub async fn files(publisher: Arc<Publisher>) {
    loop {
        let folders = publisher.folders().await;
        let (changed, mut changes) = mpsc::channel(1);
        let watched = folders.clone();
        // A full channel means that a reload is due anyway.
        let tell = move |events: DebounceEventResult| match events {
            Ok(events)
                if !events
                    .iter()
                    .any(|event| !event.kind.is_access() && concerns(&watched, &event.paths)) => {}
            _ => drop(changed.try_send(())),
        };
        let mut watcher = match new_debouncer(DEBOUNCE, None, tell) {
            Ok(watcher) => watcher,
            Err(error) => {
                tracing::warn!(%error, "files are not watched; SIGHUP reloads them");
                return publisher.moved.notified().await;
            }
        };
        for folder in folders.iter().flat_map(|folder| folder.ancestors().take(3)) {
            let watching = watcher.watch(folder, RecursiveMode::NonRecursive);
            // One that is not there is noticed above it when it comes.
            if let Some(error) = watching.err().filter(|_| folder.exists()) {
                tracing::warn!(folder = %folder.display(), %error, "folder is not watched; SIGHUP reloads it");
            }
        }
        if !folders.is_empty() {
            publisher.reload_files().await;
        }
        tokio::select! {
            Some(()) = changes.recv() => {}
            () = publisher.moved.notified() => {}
        }
    }
}

/// Whether one of `paths` is one of `folders`, lies in it or above it. What else happens above is not ours.
fn concerns(folders: &[PathBuf], paths: &[PathBuf]) -> bool {
    let is_ours = |path: &Path| {
        folders
            .iter()
            .any(|folder| path.starts_with(folder) || folder.starts_with(path))
    };
    paths.iter().any(|path| is_ours(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_beside_the_templates_is_none_of_our_business() {
        let folders = ["/d/templates/reply".into(), "/d/dict".into()];
        for (path, expected) in [
            ("/d/templates/reply/greeting.txt", true),
            ("/d/templates/reply", true),
            ("/d/templates", true),
            ("/d/dict", true),
            ("/d/wxfaq.db-wal", false),
            ("/d/templates/reply.new", false),
        ] {
            assert_eq!(concerns(&folders, &[path.into()]), expected, "{path}");
        }
    }
}
