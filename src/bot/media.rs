//! Files of answers at WeChat: uploaded when they are first needed, once for all instances, and again before WeChat
//! forgets them.
//!
//! [`Uploads::fetch`] is the entry point for whoever may wait; replies are made with what is known
//! ([`MediaIds::media_id`]). WeChat keeps an upload for three days. Its id is shared through the store of access tokens,
//! under the account, the use and the hash of the bytes, so that a file changed in place is another one.

mod files;

pub use files::FileProblem;

use crate::bank::media::MediaType;
use crate::dialog::MediaIds;
use crate::store::StoreError;
use crate::store::access_tokens::{AccessTokens, Awaited, KeptToken, Pace, RefreshLock, hold, unlock, wait_for};
use crate::wechat_api::{ApiError, MediaFile, Remedy, WechatApi};
use files::Looked;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

/// An id is used for so long; WeChat forgets it two hours later.
const KEPT: Duration = Duration::from_secs(70 * 3_600);
/// With less than this left the file is uploaded anew, while the old id is still used.
const AHEAD: Duration = Duration::from_secs(6 * 3_600);
/// For so long a file is taken for what it was when it was last looked at.
const LOOKED: Duration = Duration::from_secs(10);
/// After a failure the file is not tried again for so long.
const PAUSE: Duration = Duration::from_secs(10);
/// Nor uploaded ahead of need again, after it was begun.
const RENEWAL_PAUSE: Duration = Duration::from_secs(300);
const PACE: Pace = Pace {
    // Whoever uploads holds it for longer; who has died, no longer than that.
    lease: Duration::from_secs(5),
    // Between two looks whether another instance has uploaded it.
    pause: Duration::from_millis(100),
    // Longer than two uploads with everything that belongs to them.
    patience: Duration::from_secs(240),
};

/// Why WeChat does not have a file.
#[derive(Debug, Clone, thiserror::Error)]
pub enum MediaError {
    /// `paths.media` is not set.
    #[error("there is no folder of media: set paths.media")]
    NoFolder,
    /// The account has no `app_secret`, or may not upload.
    #[error("the account uploads nothing: it needs app_secret, and WeChat's permission")]
    NotAllowed,
    #[error(transparent)]
    #[expect(missing_docs, reason = "the type says it")]
    File(#[from] FileProblem),
    #[error("not uploaded")]
    #[expect(missing_docs, reason = "the type says it")]
    Wechat(#[source] ApiError),
    /// The store, another instance, or this one is not able.
    #[error("{0}")]
    Broken(String),
}

/// Who uploads for an account.
#[derive(Clone)]
pub struct Uploader {
    #[expect(missing_docs, reason = "the name says it")]
    pub appid: String,
    #[expect(missing_docs, reason = "the type says it")]
    pub api: Arc<dyn WechatApi>,
}

/// What the configuration says about files; by default there are none.
#[derive(Clone, Default)]
pub struct Shelf {
    /// `paths.media`
    pub folder: Option<PathBuf>,
    /// By account.
    pub uploaders: BTreeMap<String, Uploader>,
}

/// The files of answers, of all accounts.
pub struct Uploads {
    kept: Arc<dyn AccessTokens>,
    state: Mutex<State>,
}

/// A file as an account uses it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Wanted {
    account: String,
    kind: MediaType,
    file: String,
}

#[derive(Default)]
struct State {
    shelf: Shelf,
    /// As many as the bank and its rules name.
    known: HashMap<Wanted, Known>,
    /// Everybody in this process waits for the same upload.
    under_way: HashMap<Wanted, Fetch>,
    /// What has failed, and until when that is the answer.
    failed: HashMap<Wanted, (MediaError, Instant)>,
    /// When an upload was begun ahead of need; of the last [`RENEWAL_PAUSE`].
    renewed: HashMap<Wanted, Instant>,
    /// Hashes of files that have not changed since.
    hashes: HashMap<PathBuf, (Looked, String)>,
    /// Accounts to which WeChat has said that they may not upload.
    refused: HashSet<String>,
}

struct Known {
    upload: Upload,
    until: Instant,
}

/// What WeChat has.
#[derive(Clone)]
struct Upload {
    media_id: String,
    /// Under what it is kept.
    name: String,
}

type Fetch = Shared<BoxFuture<'static, Result<Upload, MediaError>>>;

impl MediaIds for Uploads {
    fn media_id(&self, account: &str, kind: MediaType, file: &str) -> Option<String> {
        let wanted = Wanted::new(account, kind, file);
        let state = self.state();
        let known = state.known.get(&wanted).filter(|known| Instant::now() < known.until);
        known.map(|known| known.upload.media_id.clone())
    }

    fn takes_files(&self, account: &str) -> bool {
        let state = self.state();
        let shelf = &state.shelf;
        shelf.folder.is_some() && shelf.uploaders.contains_key(account) && !state.refused.contains(account)
    }
}

impl Wanted {
    fn new(account: &str, kind: MediaType, file: &str) -> Self {
        Self {
            account: account.to_owned(),
            kind,
            file: file.to_owned(),
        }
    }

    /// Under what the id of the file with this hash is kept.
    fn name(&self, appid: &str, hash: &str) -> String {
        format!("media:{appid}:{}:{hash}", self.kind.as_str())
    }
}

impl Uploads {
    /// Ids are shared through `kept`. There is nothing until [`Uploads::replace`].
    pub fn new(kept: Arc<dyn AccessTokens>) -> Arc<Self> {
        Arc::new(Self {
            kept,
            state: Mutex::default(),
        })
    }

    /// From now on files come from `shelf`. What has failed or was refused is tried again.
    pub fn replace(&self, shelf: Shelf) {
        let mut state = self.state();
        let under_way = std::mem::take(&mut state.under_way);
        *state = State {
            shelf,
            under_way,
            ..State::default()
        };
    }

    /// Whether WeChat could get a file of the account.
    pub fn can_upload(&self, account: &str) -> bool {
        let state = self.state();
        state.shelf.folder.is_some() && state.shelf.uploaders.contains_key(account) && !state.refused.contains(account)
    }

    /// Sees to it that WeChat has the file, and returns its id there. The work goes on in `tasks` when nobody waits any
    /// more; who asks meanwhile, in this process or another, waits for the same.
    ///
    /// # Errors
    /// Why it does not have it; for a while the same again, without asking WeChat.
    pub async fn fetch(
        self: &Arc<Self>,
        account: &str,
        kind: MediaType,
        file: &str,
        tasks: &TaskTracker,
    ) -> Result<String, MediaError> {
        let wanted = Wanted::new(account, kind, file);
        let fetch = {
            let mut state = self.state();
            if let Some((failure, _)) = state.failed.get(&wanted).filter(|(_, until)| Instant::now() < *until) {
                return Err(failure.clone());
            }
            state.failed.remove(&wanted);
            match state.under_way.get(&wanted) {
                Some(fetch) => fetch.clone(),
                None => {
                    let fetch = self.begin(&wanted, tasks);
                    state.under_way.insert(wanted, fetch.clone());
                    fetch
                }
            }
        };
        fetch.await.map(|upload| upload.media_id)
    }

    /// WeChat does not know `media_id` any more: it is not used again.
    pub async fn forget(&self, account: &str, kind: MediaType, file: &str, media_id: &str) {
        let wanted = Wanted::new(account, kind, file);
        let name = {
            let mut state = self.state();
            let known = state.known.get(&wanted).map(|known| &known.upload);
            let Some(known) = known.filter(|known| known.media_id == media_id) else {
                return;
            };
            let name = known.name.clone();
            state.known.remove(&wanted);
            name
        };
        if let Ok(Some(kept)) = self.kept.get(&name).await
            && kept.value == media_id.as_bytes()
        {
            // Failing that it ends with its lifetime.
            let _ = self.kept.expire(&name, &kept.version).await;
        }
    }

    /// A task of its own, so that it ends even if nobody waits any more.
    fn begin(self: &Arc<Self>, wanted: &Wanted, tasks: &TaskTracker) -> Fetch {
        let (uploads, of, tracker) = (self.clone(), wanted.clone(), tasks.clone());
        let task = tasks.spawn(async move {
            let result = uploads.look_up(&of, &tracker).await;
            uploads.settle(&of, &result);
            result
        });
        let (uploads, of) = (self.clone(), wanted.clone());
        let ended = async move {
            task.await.unwrap_or_else(|_| {
                uploads.state().under_way.remove(&of);
                Err(MediaError::Broken("its upload was cut short".to_owned()))
            })
        };
        ended.boxed().shared()
    }

    /// Notes what became of a file.
    fn settle(&self, wanted: &Wanted, result: &Result<Upload, MediaError>) {
        let mut state = self.state();
        state.under_way.remove(wanted);
        let now = Instant::now();
        match result {
            Ok(upload) => {
                let known = Known {
                    upload: upload.clone(),
                    until: now + LOOKED,
                };
                state.known.insert(wanted.clone(), known);
            }
            Err(error) => {
                if let MediaError::Wechat(refusal) = error
                    && refusal.remedy() == Some(Remedy::SwitchOff)
                {
                    state.refused.insert(wanted.account.clone());
                }
                state.failed.insert(wanted.clone(), (error.clone(), now + PAUSE));
                drop(state);
                metrics::counter!("wxfaq_media_failed_total").increment(1);
                tracing::warn!(
                    account = wanted.account,
                    file = wanted.file,
                    error = error as &dyn std::error::Error,
                    "a file of an answer is not at WeChat"
                );
            }
        }
    }

    /// The id of the file as it is now: kept, or from an upload.
    async fn look_up(self: &Arc<Self>, wanted: &Wanted, tasks: &TaskTracker) -> Result<Upload, MediaError> {
        let (folder, uploader) = self.means(&wanted.account)?;
        let hash = self.hash(&folder, wanted).await?;
        let name = wanted.name(&uploader.appid, &hash);
        let media_id = match wait_for(&*self.kept, &name, PACE, |_| true).await {
            Ok(Awaited::Kept(kept)) => {
                if kept.left < AHEAD && self.may_renew(wanted) {
                    tasks.spawn(self.clone().renew(wanted.clone(), name.clone(), kept.version.clone()));
                }
                read(kept)
            }
            Ok(Awaited::Ours(lock)) => self.upload_under(&lock, wanted, &folder, &uploader).await,
            Ok(Awaited::TooLong) => Err(MediaError::Broken(
                "other instances have been uploading it for too long".to_owned(),
            )),
            Err(error) => Err(broken(&error)),
        }?;
        Ok(Upload { media_id, name })
    }

    /// Uploads the file again while the id of version `old` is still good.
    async fn renew(self: Arc<Self>, wanted: Wanted, name: String, old: String) {
        let Ok((folder, uploader)) = self.means(&wanted.account) else {
            return;
        };
        let renewed = match wait_for(&*self.kept, &name, PACE, |kept| kept.version != old).await {
            Ok(Awaited::Ours(lock)) => self.upload_under(&lock, &wanted, &folder, &uploader).await,
            Ok(Awaited::Kept(kept)) => read(kept),
            Ok(Awaited::TooLong) => return,
            Err(error) => Err(broken(&error)),
        };
        match renewed {
            Ok(media_id) => self.settle(&wanted, &Ok(Upload { media_id, name })),
            // What WeChat has is good for a while yet.
            Err(error) => tracing::warn!(
                account = wanted.account,
                file = wanted.file,
                error = &error as &dyn std::error::Error,
                "a file of an answer is not renewed; it is tried again"
            ),
        }
    }

    /// Whether it is time to try it, and that it is being tried.
    fn may_renew(&self, wanted: &Wanted) -> bool {
        let now = Instant::now();
        let mut state = self.state();
        state.renewed.retain(|_, tried| now < *tried + RENEWAL_PAUSE);
        match state.renewed.contains_key(wanted) {
            true => false,
            false => state.renewed.insert(wanted.clone(), now).is_none(),
        }
    }

    async fn upload_under(
        &self,
        lock: &RefreshLock,
        wanted: &Wanted,
        folder: &Path,
        uploader: &Uploader,
    ) -> Result<String, MediaError> {
        let uploading = async {
            let bytes = self.bytes(folder, wanted).await?;
            upload(&*uploader.api, wanted, bytes).await
        };
        let media_id = match hold(&*self.kept, lock, PACE.lease, uploading).await {
            Ok(media_id) => media_id,
            Err(error) => {
                unlock(&*self.kept, lock).await;
                return Err(error);
            }
        };
        metrics::counter!("wxfaq_media_uploads_total").increment(1);
        tracing::info!(
            account = wanted.account,
            file = wanted.file,
            "a file of an answer is uploaded"
        );
        if let Err(error) = self.kept.put(lock, media_id.as_bytes(), KEPT).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "an upload's id is not shared");
        }
        Ok(media_id)
    }

    fn means(&self, account: &str) -> Result<(PathBuf, Uploader), MediaError> {
        let state = self.state();
        let folder = state.shelf.folder.clone().ok_or(MediaError::NoFolder)?;
        let uploader = state.shelf.uploaders.get(account);
        let uploader = uploader.filter(|_| !state.refused.contains(account));
        Ok((folder, uploader.cloned().ok_or(MediaError::NotAllowed)?))
    }

    /// The hash of the file as it is now; read only when it may have changed.
    async fn hash(&self, folder: &Path, wanted: &Wanted) -> Result<String, MediaError> {
        let of = wanted.clone();
        let looked = on_disk(folder, move |folder| files::look(folder, of.kind, &of.file)).await?;
        if let Some((before, hash)) = self.state().hashes.get(&looked.path)
            && *before == looked
        {
            return Ok(hash.clone());
        }
        let bytes = self.bytes(folder, wanted).await?;
        let hash = files::hash(&bytes);
        let path = looked.path.clone();
        self.state().hashes.insert(path, (looked, hash.clone()));
        Ok(hash)
    }

    async fn bytes(&self, folder: &Path, wanted: &Wanted) -> Result<Vec<u8>, MediaError> {
        let of = wanted.clone();
        on_disk(folder, move |folder| {
            let looked = files::look(folder, of.kind, &of.file)?;
            files::read(&looked, of.kind, &of.file)
        })
        .await
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change of it is one insertion or removal.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether WeChat would take `file` from `folder` as `kind`; looks, and uploads nothing.
///
/// # Errors
/// Why it would not.
pub fn check_file(folder: &Path, kind: MediaType, file: &str) -> Result<(), FileProblem> {
    files::look(folder, kind, file).map(drop)
}

async fn upload(api: &dyn WechatApi, wanted: &Wanted, bytes: Vec<u8>) -> Result<String, MediaError> {
    let file = MediaFile::new(wanted.kind, &wanted.file, bytes).map_err(MediaError::Wechat)?;
    let uploaded = api.upload(file).await.map_err(MediaError::Wechat)?;
    Ok(uploaded.media_id)
}

async fn on_disk<T: Send + 'static>(
    folder: &Path,
    work: impl FnOnce(&Path) -> Result<T, FileProblem> + Send + 'static,
) -> Result<T, MediaError> {
    let folder = folder.to_owned();
    let done = tokio::task::spawn_blocking(move || work(&folder)).await;
    let done = done.map_err(|error| MediaError::Broken(error.to_string()))?;
    Ok(done?)
}

fn read(kept: KeptToken) -> Result<String, MediaError> {
    String::from_utf8(kept.value).map_err(|_| MediaError::Broken("its id is kept as no text".to_owned()))
}

fn broken(error: &StoreError) -> MediaError {
    MediaError::Broken(error.to_string())
}
