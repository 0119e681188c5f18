//! A change of the bank on one instance, seen by the other: announced over Redis, or found by looking.

use crate::support::daemon::{Daemon, INSTALL_KEY, Message, client, content};
use crate::support::redis_server::RedisServer;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use wxfaq::app::Spread;
use wxfaq::bank::{Answer, Entry, EntryId};
use wxfaq::bot::Seals;
use wxfaq::store::redis::open;
use wxfaq::store::sql::{Author, BankChange, Database, sqlite_url};
use wxfaq::wechat::Mode;

/// Longer than the tests' patience: whatever is seen was announced.
const NEVER: u64 = 60_000;
const EDITS: u32 = 200;

/// An instance on a database, and an editor who works on another one.
struct Bench {
    instance: Daemon,
    database: Database,
    spread: Option<Spread>,
    client: reqwest::Client,
    _folder: TempDir,
}

fn spread(redis: &RedisServer, install_key: &str) -> Spread {
    let link = open(redis.url(), "wxfaq:", Duration::from_secs(1)).unwrap();
    Spread::new(link, Seals::new(install_key))
}

impl Bench {
    async fn start(redis: Option<&RedisServer>, poll_ms: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = sqlite_url(&folder.path().join("wxfaq.db"));
        let shared = redis.map(|redis| format!("[redis]\nurls = [{:?}]\ndeadline_ms = 500\n", redis.url()));
        let sections = format!(
            "[database]\nurl = {url:?}\npoll_ms = {poll_ms}\n{}",
            shared.unwrap_or_default()
        );
        let bench = Self {
            instance: Daemon::start(&sections),
            database: Database::open(&url).await.unwrap(),
            spread: redis.map(|redis| spread(redis, INSTALL_KEY)),
            client: client(),
            _folder: folder,
        };
        if let Some(redis) = redis {
            bench.until_subscribed(redis).await;
        }
        bench
    }

    async fn until_subscribed(&self, redis: &RedisServer) {
        let begin = Instant::now();
        let one = redis::Value::Array(vec![
            redis::Value::BulkString(b"wxfaq:bank".into()),
            redis::Value::Int(1),
        ]);
        while redis.command(&["PUBSUB", "NUMSUB", "wxfaq:bank"]).await != one {
            assert!(begin.elapsed() < Duration::from_secs(30), "{}", self.instance.log());
            tokio::task::yield_now().await;
        }
    }

    /// Changes one answer, as another instance does, and returns the revision.
    async fn edit(&self, answer: &str) -> u64 {
        let answer = Answer::Text(answer.to_owned());
        let id = EntryId::parse("spread-1").unwrap();
        let change = BankChange {
            put: &[Entry::new(id, "传播测试的问题是什么".to_owned(), answer)],
            ..BankChange::default()
        };
        let by = Author {
            who: "王".to_owned(),
            source: "test".to_owned(),
        };
        let edited = self.database.edit(change, &by, 1, str::to_owned).await;
        let revision = edited.unwrap();
        if let Some(spread) = &self.spread {
            spread.announce(revision).await;
        }
        revision
    }

    async fn readiness(&self) -> serde_json::Value {
        let url = format!("http://127.0.0.1:{}/readyz", self.instance.ops_port);
        let text = self.client.get(url).send().await.unwrap().text().await.unwrap();
        serde_json::from_str(&text).unwrap()
    }

    async fn until_at(&self, revision: u64) {
        let begin = Instant::now();
        loop {
            let readiness = self.readiness().await;
            if readiness["revision"].as_u64() >= Some(revision) {
                return;
            }
            let log = || self.instance.log();
            assert!(
                begin.elapsed() < Duration::from_secs(30),
                "{revision}: {readiness}\n{}",
                log()
            );
            tokio::task::yield_now().await;
        }
    }

    async fn answer(&self, openid: &str) -> String {
        let message = Message::text(openid, "传播测试的问题是什么", Mode::Plain);
        content(&message.deliver(&self.client, self.instance.port).await)
    }

    /// Makes the edits, each when the one before is seen, and says how long that takes.
    async fn edits_are_seen(&self) {
        let mut taken = Vec::new();
        for n in 0..EDITS {
            let revision = self.edit(&format!("第{n}版")).await;
            let begin = Instant::now();
            self.until_at(revision).await;
            taken.push(begin.elapsed());
            if n % 20 == 0 || n + 1 == EDITS {
                let answer = self.answer(&format!("oSpread{n}")).await;
                assert!(answer.contains(&format!("第{n}版")), "{answer}");
            }
        }
        taken.sort();
        let at = |percent: usize| taken[taken.len() * percent / 100];
        eprintln!("{EDITS} edits seen after: p50 {:?}, p99 {:?}", at(50), at(99));
        let readiness = self.readiness().await;
        assert_eq!(readiness["newest_revision"], readiness["revision"]);
        assert_eq!(readiness["lag_seconds"].as_f64(), Some(0.0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_edits_are_seen_as_they_are_announced() {
    let redis = RedisServer::start().await;
    Bench::start(Some(&redis), NEVER).await.edits_are_seen().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_edits_are_seen_without_redis() {
    Bench::start(None, 100).await.edits_are_seen().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_announcement_does_nothing_and_what_was_missed_is_found_when_redis_is_back() {
    let mut redis = RedisServer::start().await;
    let bench = Bench::start(Some(&redis), NEVER).await;
    let (forger, long) = (spread(&redis, "another key"), "9".repeat(4_000));
    forger.announce(u64::MAX).await;
    for message in ["", "9", &long] {
        redis.command(&["PUBLISH", "wxfaq:bank", message]).await;
    }
    let revision = bench.edit("一").await;
    bench.until_at(revision).await;
    assert_eq!(bench.readiness().await["newest_revision"].as_u64(), Some(revision));
    let metrics = bench.instance.ops("/metrics").unwrap();
    assert!(metrics.contains("wxfaq_announcements_refused_total 3"), "{metrics}");
    assert!(metrics.contains("wxfaq_bank_lag_seconds 0"), "{metrics}");

    redis.kill();
    let revision = bench.edit("二").await;
    redis.restart().await;
    bench.until_at(revision).await;
    assert!(bench.answer("oMissed").await.contains("二"));
}
