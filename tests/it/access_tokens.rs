//! The contract of [`AccessTokens`], held by memory, by a real Redis and by memory behind it, and what each adds.

use crate::support::redis_server::RedisServer;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use wxfaq::store::access_tokens::{AccessTokens, KeptToken, MAX_ACCESS_TOKEN_BYTES, RefreshLock};
use wxfaq::store::fallback::{Breaker, FallbackAccessTokens, Patience};
use wxfaq::store::memory::{MemoryAccessTokens, monotonic};
use wxfaq::store::redis::RedisAccessTokens;

/// Longer than any test.
const LONG: Duration = Duration::from_mins(10);
/// What a test lets expire.
const SHORT: Duration = Duration::from_millis(80);

/// How some milliseconds pass: only Redis's own expiry needs real ones.
pub type Wait<'w> = &'w dyn Fn();

fn redis(server: &RedisServer) -> RedisAccessTokens {
    let link = wxfaq::store::redis::open(server.url(), "test:", Duration::from_secs(20)).unwrap();
    RedisAccessTokens::new(link)
}

/// Memory behind Redis, with the patience given.
fn fallback(server: &RedisServer, patience: Duration) -> (FallbackAccessTokens, Arc<Breaker>) {
    let link = wxfaq::store::redis::open(server.url(), "test:", patience).unwrap();
    let bearing = Patience {
        deadline: patience,
        ..Patience::default()
    };
    let breaker = Breaker::new("redis", link.clone(), bearing);
    let memory = MemoryAccessTokens::new(monotonic());
    let tokens = FallbackAccessTokens::new(Arc::new(RedisAccessTokens::new(link)), memory, breaker.clone());
    (tokens, breaker)
}

async fn locked(store: &dyn AccessTokens, appid: &str) -> RefreshLock {
    store.lock(appid, LONG).await.unwrap().expect("the lock is free")
}

/// Keeps `value` under a lock of its own.
pub async fn keep(store: &dyn AccessTokens, appid: &str, value: &[u8]) -> KeptToken {
    let lock = locked(store, appid).await;
    assert!(store.put(&lock, value, LONG).await.unwrap());
    let kept = store.get(appid).await.unwrap().unwrap();
    assert_eq!((kept.value.as_slice(), &kept.version), (value, &lock.version));
    kept
}

pub async fn contract(store: &dyn AccessTokens, wait: Wait<'_>) {
    assert_eq!(store.get("wx1").await.unwrap(), None);
    assert!(!store.expire("wx1", "none").await.unwrap());

    let lock = locked(store, "wx1").await;
    assert_eq!(store.lock("wx1", LONG).await.unwrap(), None, "one refresher");
    let _other = locked(store, "wx2").await;
    assert!(store.put(&lock, b"first \xff\0", LONG).await.unwrap());
    assert!(store.put(&lock, b"again", LONG).await.unwrap(), "repeated");
    let first = store.get("wx1").await.unwrap().unwrap();
    assert_eq!(first.value, b"first \xff\0");
    assert!(first.left <= LONG && first.left > LONG / 2, "{:?}", first.left);
    assert_eq!(store.get("wx2").await.unwrap(), None, "of another account");

    let second = keep(store, "wx1", b"second").await;
    assert_ne!(first.version, second.version);
    assert!(
        !store.expire("wx1", &first.version).await.unwrap(),
        "it is not that one any more"
    );
    assert!(!store.expire("wx1", "").await.unwrap());
    assert_eq!(store.get("wx1").await.unwrap().unwrap().value, b"second");
    assert!(store.expire("wx1", &second.version).await.unwrap());
    assert!(!store.expire("wx1", &second.version).await.unwrap(), "once");
    assert_eq!(store.get("wx1").await.unwrap(), None);

    let given_back = locked(store, "wx1").await;
    store.unlock(&given_back).await.unwrap();
    assert!(!store.put(&given_back, b"late", LONG).await.unwrap());
    assert_eq!(store.get("wx1").await.unwrap(), None, "put without the lock");

    let renewed = store.lock("wx1", SHORT).await.unwrap().unwrap();
    assert!(store.renew(&renewed, LONG).await.unwrap());
    // Longer than the first lease.
    (0..20).for_each(|_| wait());
    assert_eq!(store.lock("wx1", LONG).await.unwrap(), None, "it is still held");
    store.unlock(&renewed).await.unwrap();
    let after = locked(store, "wx1").await;
    assert!(!store.renew(&renewed, LONG).await.unwrap(), "somebody else has it");
    store.unlock(&after).await.unwrap();

    let slow = store.lock("wx1", SHORT).await.unwrap().unwrap();
    let begin = Instant::now();
    let heir = loop {
        wait();
        match store.lock("wx1", LONG).await.unwrap() {
            Some(heir) => break heir,
            None => assert!(begin.elapsed() < LONG, "a lease ends"),
        }
    };
    assert!(store.put(&heir, b"newer", LONG).await.unwrap());
    assert!(!store.put(&slow, b"older", LONG).await.unwrap());
    store.unlock(&slow).await.unwrap();
    assert_eq!(store.get("wx1").await.unwrap().unwrap().value, b"newer");

    let lock = locked(store, "wx1").await;
    assert!(store.put(&lock, b"short-lived", SHORT).await.unwrap());
    while let Some(kept) = store.get("wx1").await.unwrap() {
        assert!(kept.value == b"short-lived" && kept.left <= SHORT && !kept.left.is_zero());
        wait();
    }

    let lock = locked(store, "wx1").await;
    let too_long = vec![b'x'; MAX_ACCESS_TOKEN_BYTES + 1];
    assert!(store.put(&lock, &too_long, LONG).await.is_err());
    assert!(
        store.put(&lock, &too_long[1..], LONG).await.unwrap(),
        "the lock is still held"
    );
    assert_eq!(store.get("wx1").await.unwrap().unwrap().value, &too_long[1..]);
}

#[tokio::test]
async fn memory_keeps_the_contract() {
    let now_ms = Arc::new(AtomicU64::new(0));
    let read = now_ms.clone();
    let clock = Arc::new(move || Duration::from_millis(read.load(Ordering::SeqCst)));
    let wait = || {
        now_ms.fetch_add(10, Ordering::SeqCst);
    };
    contract(&MemoryAccessTokens::new(clock), &wait).await;
}

#[tokio::test]
async fn redis_keeps_the_contract() {
    let server = RedisServer::start().await;
    contract(&redis(&server), &|| std::thread::sleep(Duration::from_millis(5))).await;
}

#[tokio::test]
async fn memory_behind_redis_keeps_the_contract() {
    let server = RedisServer::start().await;
    let (store, breaker) = fallback(&server, Duration::from_secs(20));
    contract(&store, &|| std::thread::sleep(Duration::from_millis(5))).await;
    assert_eq!(breaker.status(), wxfaq::store::fallback::Status::Up);
}

#[tokio::test]
async fn instances_share_one_token_and_one_lock() {
    let server = RedisServer::start().await;
    let (one, two) = (redis(&server), redis(&server));
    let lock = locked(&one, "wx1").await;
    assert_eq!(two.lock("wx1", LONG).await.unwrap(), None);
    assert!(one.put(&lock, b"shared", LONG).await.unwrap());
    let kept = two.get("wx1").await.unwrap().unwrap();
    assert_eq!(kept.value, b"shared");
    assert!(two.expire("wx1", &kept.version).await.unwrap());
    assert_eq!(one.get("wx1").await.unwrap(), None);
    assert!(server.keys().await.is_empty(), "nothing is left behind");
}

#[tokio::test]
async fn a_fetched_token_survives_redis_in_this_process() {
    let mut server = RedisServer::start().await;
    let (store, _breaker) = fallback(&server, Duration::from_secs(5));
    let kept = keep(&store, "wx1", b"mine").await;
    server.kill();
    let here = store.get("wx1").await.unwrap().unwrap();
    assert_eq!((&here.value, &here.version), (&kept.value, &kept.version));
    assert!(store.expire("wx1", &kept.version).await.unwrap());
    keep(&store, "wx1", b"fetched alone").await;
}

#[tokio::test]
async fn what_others_planted_in_redis_is_absent_and_replaced() {
    let server = RedisServer::start().await;
    let store = redis(&server);
    let (token, lock) = ("test:access_token:{wx1}", "test:access_token_lock:{wx1}");
    let huge = "x".repeat(MAX_ACCESS_TOKEN_BYTES + 100);
    let flood = "x".repeat(100_000);
    let cases: &[&[&str]] = &[
        &["SET", token, "without an end, and yet long enough to be one"],
        &["SET", token, "short", "EX", "100"],
        &["SET", token, &huge, "EX", "100"],
        &["SET", token, &flood, "EX", "100"],
        &["HSET", token, "a", "b"],
        &["SET", lock, "garbage"],
        &["SET", lock, "Lr00000000000000000000000000000000"],
        &["SET", lock, "Lr00000000000000000000000000000000", "EX", "100000"],
        &["RPUSH", lock, "a"],
    ];
    for case in cases {
        server.command(&["FLUSHALL"]).await;
        server.command(case).await;
        assert_eq!(store.get("wx1").await.unwrap(), None, "{:.80}", case.join(" "));
        keep(&store, "wx1", b"ours").await;
    }
}
