//! A fake WeChat on a port of the test's own, and clients that call it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;
use wxfaq::fake_wechat::{Fake, Settings, router};
use wxfaq::store::access_tokens::AccessTokens;
use wxfaq::store::memory::MemoryAccessTokens;
use wxfaq::wechat_api::{Client, ClientParts, Limits, Secret};

/// The account of most tests.
pub const APPID: &str = "wx0fa4e00000000001";
/// The only other one the fake knows.
pub const OTHER_APPID: &str = "wx0fa4e00000000002";
/// Must never be seen anywhere.
pub const APP_SECRET: &str = "CanarySecret0123456789abcdef0123";
/// 2026-11-23 12:00:00 in Beijing.
pub const NOON: i64 = 1_795_406_400;

/// The fake, and its clock.
pub struct FakeWechat {
    pub fake: Arc<Fake>,
    pub base: String,
    now: Arc<AtomicI64>,
    serving: tokio::task::JoinHandle<()>,
}

impl FakeWechat {
    /// Knows [`APPID`] and [`OTHER_APPID`] with [`APP_SECRET`] only, and no follower.
    pub async fn start() -> Self {
        let now = Arc::new(AtomicI64::new(NOON));
        let read = now.clone();
        let settings = Settings {
            accounts: [APPID, OTHER_APPID]
                .map(|appid| (appid.to_owned(), APP_SECRET.to_owned()))
                .into(),
            welcomes_strangers: false,
        };
        let fake = Fake::new(settings, Arc::new(move || read.load(Ordering::SeqCst)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let app = router(fake.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self {
            fake,
            base,
            now,
            serving,
        }
    }

    /// Its clock, and that of its clients and their stores, goes on.
    pub fn pass(&self, seconds: i64) {
        self.now.fetch_add(seconds, Ordering::SeqCst);
    }

    /// What a client of its own is made of: its tokens are kept in memory.
    pub fn parts(&self) -> ClientParts {
        let (now, stored) = (self.now.clone(), self.now.clone());
        let since_noon = move || Duration::from_secs(u64::try_from(stored.load(Ordering::SeqCst) - NOON).unwrap());
        ClientParts {
            appid: APPID.to_owned(),
            app_secret: Secret::new(APP_SECRET),
            api_base: self.base.clone(),
            substitutes: Vec::new(),
            access_tokens: Arc::new(MemoryAccessTokens::new(Arc::new(since_noon))),
            clock: Arc::new(move || now.load(Ordering::SeqCst)),
            limits: hasty(),
            tasks: TaskTracker::new(),
        }
    }

    pub fn client(&self) -> Client {
        Client::new(self.parts()).unwrap()
    }

    /// A client that shares its tokens.
    pub fn client_on(&self, access_tokens: Arc<dyn AccessTokens>) -> Client {
        let parts = ClientParts {
            access_tokens,
            ..self.parts()
        };
        Client::new(parts).unwrap()
    }
}

impl Drop for FakeWechat {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Limits without pauses worth mentioning, and with patience for a busy machine.
pub fn hasty() -> Limits {
    let long = Duration::from_secs(30);
    Limits {
        connect: long,
        read: long,
        exchange: long,
        upload: long,
        call: 2 * long,
        first_pause: Duration::from_millis(1),
        refresh_poll: Duration::from_millis(1),
        refresh_lease: 2 * long,
        ..Limits::default()
    }
}
