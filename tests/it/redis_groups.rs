//! Redis behind sentinels and Redis as a cluster, real processes: the ports' contracts, announcements, and a primary that
//! is killed under traffic.

use crate::support::daemon::{Daemon, INSTALL_KEY, Message, client, content};
use crate::support::redis_group::RedisGroup;
use crate::{access_tokens, conversations, open_work};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use wxfaq::bot::Seals;
use wxfaq::store::fallback::Upstream;
use wxfaq::store::redis::{Link, RedisAccessTokens, RedisMatchCache, Servers};
use wxfaq::wechat::Mode;

/// For one answer on a busy machine.
const DEADLINE: Duration = Duration::from_secs(20);
/// WeChat's limit; not a measure of speed.
const IN_TIME: Duration = Duration::from_millis(4_500);
/// Messages under way at a time.
const SENDERS: usize = 4;

fn link(servers: &Servers, prefix: &str) -> Arc<Link> {
    Arc::new(Link::open(servers, prefix, DEADLINE).unwrap())
}

async fn every_contract_holds(group: &RedisGroup) {
    let servers = &group.place();
    conversations::conversations_contract_on(servers).await;
    let cache = link(servers, "matches:");
    conversations::match_cache_contract(|lifetime| Box::new(RedisMatchCache::new(cache.clone(), lifetime))).await;
    let tokens = RedisAccessTokens::new(link(servers, "tokens:"));
    access_tokens::contract(&tokens, &|| std::thread::sleep(Duration::from_millis(5))).await;
    open_work::redis_contract(link(servers, "work:")).await;
    announcements_arrive(servers).await;
    scripts_come_back(group).await;
    a_planned_failover_is_followed(group).await;
}

/// Whichever server hears them, and whichever they are told.
async fn announcements_arrive(servers: &Servers) {
    let (ears, mouth) = (link(servers, "news:"), link(servers, "news:"));
    for n in 0..6_u8 {
        let mut subscription = ears.subscribe().await.unwrap();
        mouth.announce(&[b'a' + n]).await.unwrap();
        // An earlier one may be on its way between nodes yet.
        while subscription.next().await.unwrap() != [b'a' + n] {}
    }
}

/// A server that was told to forget them is given them again.
async fn scripts_come_back(group: &RedisGroup) {
    let tokens = RedisAccessTokens::new(link(&group.place(), "scripts:"));
    access_tokens::keep(&tokens, "wx1", b"before").await;
    for server in &group.servers {
        server.command(&["SCRIPT", "FLUSH"]).await;
    }
    access_tokens::keep(&tokens, "wx1", b"after").await;
}

/// The old primary lives on, and refuses writes.
async fn a_planned_failover_is_followed(group: &RedisGroup) {
    let link = link(&group.place(), "moved:");
    link.probe().await.unwrap();
    group.hand_over().await;
    let (begin, mut refused) = (Instant::now(), 0);
    while link.probe().await.is_err() {
        refused += 1;
        assert!(begin.elapsed() < DEADLINE, "the new primary is not found");
    }
    eprintln!("a planned failover: {refused} writes refused");
}

/// What the breaker counts failures by.
async fn shards_are_told_apart(group: &RedisGroup) {
    let link = link(&group.place(), "");
    link.probe().await.unwrap();
    let mut keepers = HashMap::new();
    for n in 0..30 {
        let tag = pseudonym(n);
        let keeper = group.keeper_of(&format!("{{{tag}}}")).await;
        assert_eq!(*keepers.entry(keeper).or_insert(link.part_of(&tag)), link.part_of(&tag));
    }
    let parts: HashSet<usize> = keepers.values().copied().collect();
    assert_eq!((keepers.len(), parts.len()), (3, 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_primary_under_sentinels_keeps_every_contract() {
    every_contract_holds(&RedisGroup::sentinels().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cluster_keeps_every_contract() {
    let group = RedisGroup::cluster().await;
    shards_are_told_apart(&group).await;
    every_contract_holds(&group).await;
}

/// How a primary goes.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Killed,
    Hung,
}

/// What a follower got, who wrote once.
struct Answered {
    message: Message,
    /// Counted from 0; even ones went to the first instance.
    n: usize,
    reply: String,
    took: Duration,
}

/// Two instances under traffic, each message from a follower of its own and to one of them.
struct Traffic {
    instances: [Daemon; 2],
    sent: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    senders: JoinSet<Vec<Answered>>,
}

impl Traffic {
    fn start(group: &RedisGroup) -> Self {
        let section = format!("{}deadline_ms = 500", group.section());
        let instances = [Daemon::start(&section), Daemon::start(&section)];
        let (sent, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let ports = [instances[0].port, instances[1].port];
        let mut senders = JoinSet::new();
        for _ in 0..SENDERS {
            let (sent, stop, client) = (sent.clone(), stop.clone(), client());
            senders.spawn(async move {
                let mut answered = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let n = sent.fetch_add(1, Ordering::Relaxed);
                    let message = Message::text(&openid(n), "科创板开户要什么条件", Mode::Safe);
                    let begin = Instant::now();
                    let reply = message.deliver(&client, ports[n % 2]).await;
                    assert!(content(&reply).contains("50万"), "{n}: {reply}");
                    let took = begin.elapsed();
                    assert!(took < IN_TIME, "{n}: {took:?}");
                    answered.push(Answered {
                        message,
                        n,
                        reply,
                        took,
                    });
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                answered
            });
        }
        Self {
            instances,
            sent,
            stop,
            senders,
        }
    }

    /// Waits until so many more messages have been sent, and that nothing has failed until then.
    async fn go_on(&mut self, more: usize) {
        let until = self.sent.load(Ordering::Relaxed) + more;
        while self.sent.load(Ordering::Relaxed) < until {
            if let Some(ended) = self.senders.try_join_next() {
                ended.expect("a reply failed");
                unreachable!("senders go on until they are told to stop");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until both instances say of Redis that it is away, or that it is up.
    async fn until(&mut self, is_away: bool) {
        let begin = Instant::now();
        for n in 0..2 {
            while self.says_away(n) != Some(is_away) {
                let log = self.instances[n].log();
                assert!(
                    begin.elapsed() < Duration::from_secs(30),
                    "away: {is_away}? instance {n}\n{log}"
                );
                self.go_on(1).await;
            }
        }
    }

    fn says_away(&self, n: usize) -> Option<bool> {
        self.instances[n].ops("/readyz").map(|page| page.contains("degraded"))
    }

    /// Delivers a message to an instance; also whether that has answered alone, Redis having been away or too slow.
    async fn repeat(&self, message: &Message, n: usize, client: &reqwest::Client) -> (String, bool) {
        let trouble = async || {
            let url = format!("http://127.0.0.1:{}/metrics", self.instances[n].ops_port);
            let page = client.get(url).send().await.unwrap().text().await.unwrap();
            let of_redis = |line: &&str| line.starts_with("wxfaq_store_") && line.contains("redis");
            let mut lines: Vec<String> = page.lines().filter(of_redis).map(str::to_owned).collect();
            lines.sort();
            lines
        };
        let away = "wxfaq_store_up{store=\"redis\"} 0".to_owned();
        let before = trouble().await;
        let reply = message.deliver(client, self.instances[n].port).await;
        let after = trouble().await;
        (reply, before != after || after.contains(&away))
    }

    async fn stop(&mut self) -> Vec<Answered> {
        self.stop.store(true, Ordering::Relaxed);
        let senders = std::mem::take(&mut self.senders);
        senders.join_all().await.into_iter().flatten().collect()
    }
}

/// What the repeats of messages got from the instance that had not answered them.
#[derive(Debug, Default)]
struct Repeats {
    survived: usize,
    survived_differing: usize,
    /// Not in the two above: the instance had reason to answer without Redis just then, as on a starved machine.
    alone: usize,
    /// No record in Redis, or one about to end.
    lost: usize,
    /// Of these, answered before the primary failed.
    lost_from_before: usize,
    lost_differing: usize,
    /// Not only in when it was made.
    lost_saying_another_thing: usize,
}

/// Whose message has a record in Redis now that stays for as long as repeating takes, by pseudonym: in all it is half a
/// minute, and traffic may have lasted as long.
async fn recorded(group: &RedisGroup) -> HashSet<String> {
    const RECORDS: &str = "local found = {} \
        for _, key in ipairs(redis.call('KEYS', 'wxfaq:claim:*')) do \
            local is_record = redis.call('GETRANGE', key, 0, 0) == 'R' \
            if is_record and redis.call('PTTL', key) > 12000 then table.insert(found, key) end \
        end \
        return found";
    let mut found = HashSet::new();
    for primary in group.primaries().await {
        let keys = group.servers[primary].command(&["EVAL", RECORDS, "0"]).await;
        let keys: Vec<String> = redis::from_redis_value(keys).unwrap();
        let follower = |key: &String| key.split(['{', ':', '}']).nth(4).map(str::to_owned);
        found.extend(keys.iter().filter_map(follower));
    }
    found
}

fn openid(n: usize) -> String {
    format!("oTraffic{n}")
}

fn pseudonym(n: usize) -> String {
    let seals = Seals::new(INSTALL_KEY);
    seals.pseudonym("safe", &openid(n)).as_str().to_owned()
}

async fn a_primary_fails_under_traffic(mut group: RedisGroup, fault: Fault) {
    let mut traffic = Traffic::start(&group);
    traffic.until(false).await;
    traffic.go_on(100).await;

    let doomed = group.keeper_of(&format!("wxfaq:{{safe:{}}}", pseudonym(0))).await;
    let (begin, before_fault) = (Instant::now(), traffic.sent.load(Ordering::Relaxed) - SENDERS);
    match fault {
        Fault::Killed => group.servers[doomed].kill(),
        Fault::Hung => group.servers[doomed].hang(),
    }
    traffic.until(true).await;
    let noticed = begin.elapsed();
    traffic.until(false).await;
    let back = begin.elapsed();
    // What was written before may be lost; what is written now is not.
    let before = traffic.sent.load(Ordering::Relaxed);
    traffic.go_on(100).await;
    let mut answered = traffic.stop().await;
    group.servers[doomed].kill();

    let (mut repeats, client, records) = (Repeats::default(), client(), recorded(&group).await);
    // Those first that must be in time.
    answered.sort_by_key(|one| !records.contains(&pseudonym(one.n)));
    for Answered { message, n, reply, .. } in &answered {
        let survived = records.contains(&pseudonym(*n));
        let (again, is_alone) = traffic.repeat(message, 1 - n % 2, &client).await;
        let differs = usize::from(again != *reply);
        if survived && is_alone {
            repeats.alone += 1;
        } else if survived {
            repeats.survived += 1;
            repeats.survived_differing += differs;
        } else {
            repeats.lost += 1;
            repeats.lost_from_before += usize::from(*n < before_fault);
            repeats.lost_differing += differs;
            repeats.lost_saying_another_thing += usize::from(content(&again) != content(reply));
        }
    }
    let mut took: Vec<Duration> = answered.iter().map(|one| one.took).collect();
    took.sort();
    eprintln!(
        "{fault:?}, one of {} servers: {} answered, 0 failed, p50 {:?}, p99 {:?}, slowest {:?}; away after {noticed:?}, up \
         after {back:?}; {repeats:?}",
        group.servers.len(),
        answered.len(),
        took[took.len() / 2],
        took[took.len() * 99 / 100],
        took[took.len() - 1],
    );
    assert_eq!(repeats.survived_differing, 0, "{repeats:?}");
    assert!(repeats.survived >= 100, "what came before and after: {repeats:?}");
    for n in before + SENDERS..before + 100 {
        assert!(records.contains(&pseudonym(n)), "{n} came when Redis was up");
    }
    assert_eq!(
        repeats.lost_saying_another_thing, 0,
        "the bank is the same: {repeats:?}"
    );
    for instance in &traffic.instances {
        let log = instance.log();
        let lines = |what: &str| log.lines().filter(|line| line.contains(what)).count();
        let (away, back) = (lines("shared store is away"), lines("shared store is back"));
        // A starved machine may make it more than one absence; each is said once each way, and nothing beside.
        assert!(away >= 1 && away == back, "{log}");
        let since = log.find("shared store is away").map_or("", |at| &log[at..]);
        let loud = since.matches(" WARN ").count() + since.matches(" ERROR ").count();
        assert_eq!(loud, away - 1, "{log}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sentinels_replace_a_killed_primary_and_no_reply_fails() {
    a_primary_fails_under_traffic(RedisGroup::sentinels().await, Fault::Killed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cluster_replaces_a_killed_primary_and_no_reply_fails() {
    a_primary_fails_under_traffic(RedisGroup::cluster().await, Fault::Killed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sentinels_replace_a_hung_primary_and_no_reply_fails() {
    a_primary_fails_under_traffic(RedisGroup::sentinels().await, Fault::Hung).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cluster_replaces_a_hung_primary_and_no_reply_fails() {
    a_primary_fails_under_traffic(RedisGroup::cluster().await, Fault::Hung).await;
}
