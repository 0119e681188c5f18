//! A follower who leaves is erased, and an operator can ask for it, with the real binary.

use crate::support::daemon::{BINARY, Daemon, INSTALL_KEY, KEY, configuration, free_port, run, simulate};
use crate::support::fake_wechat::{APP_SECRET, APPID, FakeWechat};
use crate::support::redis_server::RedisServer;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;
use wxfaq::bot::Seals;
use wxfaq::fake_wechat::Contact;
use wxfaq::store::sql::{Database, Erasure, sqlite_url};

const OPENID: &str = "oCanaryOpenid000000000000001";

/// What the daemon's queue holds.
async fn queued(daemon: &Daemon) -> Vec<Erasure> {
    let url = sqlite_url(&daemon.folder.path().join("data/wxfaq.db"));
    let database = Database::open_existing(&url).await.unwrap();
    let queued = database.erasures().queued().await.unwrap();
    database.close().await;
    queued
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_is_queued_for_erasure_under_a_pseudonym() {
    let daemon = Daemon::start("");
    simulate(&daemon, &["--account", "safe", "--openid", OPENID, "基金赎回"]);
    simulate(
        &daemon,
        &["--account", "safe", "--openid", OPENID, "--event", "unsubscribe"],
    );
    let pseudonym = Seals::new(INSTALL_KEY).pseudonym("safe", OPENID);
    let begun = std::time::Instant::now();
    loop {
        let queued = queued(&daemon).await;
        if let [erased] = queued.as_slice() {
            assert_eq!(erased.follower.account, "safe");
            assert_eq!(erased.follower.pseudonym, pseudonym.as_str());
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{queued:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(!daemon.log().contains(OPENID));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_shows_and_erases_what_is_kept_of_a_follower() {
    let daemon = Daemon::start("");
    let privacy = |arguments: &[&str]| {
        let all = [&["--config", "wxfaq.toml", "privacy"], arguments].concat();
        let output = run(daemon.folder.path(), &all);
        (
            output.status.code(),
            String::from_utf8([output.stdout, output.stderr].concat()).unwrap(),
        )
    };
    let (code, shown) = privacy(&["export", OPENID, "--account", "safe"]);
    assert_eq!(code, Some(0), "{shown}");
    let pseudonym = Seals::new(INSTALL_KEY).pseudonym("safe", OPENID);
    assert!(
        shown.contains(pseudonym.as_str()) && !shown.contains(OPENID) && !shown.contains("plain"),
        "{shown}"
    );
    assert_eq!(privacy(&["erase", ""]).0, Some(64));
    assert_eq!(privacy(&["erase", OPENID, "--account", "nobody"]).0, Some(64));

    // Through standard input, for every account.
    let mut child = Command::new(BINARY)
        .args(["--config", "wxfaq.toml", "privacy", "erase", "-"])
        .current_dir(daemon.folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    writeln!(child.stdin.take().unwrap(), "{OPENID}").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8(output.stdout).unwrap().starts_with("0 rows erased"));
    assert_eq!(queued(&daemon).await.len(), 3);
}

/// Whether `bytes` hold `text` anywhere.
fn hold(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Everything Redis holds, names and values.
async fn dump(redis: &RedisServer) -> Vec<u8> {
    let mut dumped = Vec::new();
    for key in redis.keys().await {
        dumped.extend_from_slice(key.as_bytes());
        if let redis::Value::BulkString(value) = redis.command(&["DUMP", &key]).await {
            dumped.extend(value);
        }
    }
    dumped
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_file_that_is_uploaded_and_sent_gives_nothing_away() {
    let (redis, wechat) = (RedisServer::start().await, FakeWechat::start().await);
    redis.command(&["CONFIG", "SET", "rdbcompression", "no"]).await;
    wechat.fake.contact(OPENID, Contact::Message);
    // Longer than a reply waits.
    wechat.fake.slow_down("/cgi-bin/media/upload", Duration::from_secs(5));
    let (folder, port, ops_port) = (tempfile::tempdir().unwrap(), free_port(), free_port());
    let settings = format!(
        "[redis]\nurls = [{:?}]\ndeadline_ms = 500\n[paths]\nmedia = \"media\"\n[log]\nlevel = \"trace\"\n[[account]]\nid = \
         \"calls\"\nappid = \"{APPID}\"\ntoken = \"TokenOfTestsCalls\"\nmode = \"plain\"\napp_secret = \
         \"{APP_SECRET}\"\napi_base = \"{}\"\ncustomer_service = true\n",
        redis.url(),
        wechat.base
    );
    let root = folder.path();
    std::fs::write(root.join("wxfaq.toml"), configuration(port, ops_port, &settings)).unwrap();
    std::fs::create_dir(root.join("media")).unwrap();
    std::fs::write(root.join("media/a.png"), b"\x89PNG").unwrap();
    let bank = r#"{"id":"map","question":"网点地图","kind":"image","answer":{"file":"a.png"}}"#;
    std::fs::write(root.join("bank.jsonl"), bank).unwrap();
    let imported = run(root, &["--config", "wxfaq.toml", "import", "bank.jsonl"]);
    assert!(imported.status.success(), "{imported:?}");
    let daemon = Daemon::start_in(folder, port, ops_port);
    simulate(&daemon, &["--account", "calls", "--openid", OPENID, "网点地图"]);
    let while_late = dump(&redis).await;
    assert!(hold(&while_late, "open-work"), "it is listed");
    daemon.wait_until("it is sent", || !wechat.fake.sent().is_empty());
    assert_eq!(wechat.fake.sent()[0].kind, "image");
    let (afterwards, log) = (dump(&redis).await, daemon.log());
    for secret in [OPENID, APP_SECRET, "FAKE_ACCESS_TOKEN", INSTALL_KEY, "TokenOfTests"] {
        assert!(
            !hold(&while_late, secret) && !hold(&afterwards, secret),
            "{secret} in Redis"
        );
        assert!(!hold(log.as_bytes(), secret), "{secret} in the log");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_log_and_no_redis_holds_an_openid_or_a_secret_whatever_is_sent() {
    let redis = RedisServer::start().await;
    // So that what is dumped can be read.
    redis.command(&["CONFIG", "SET", "rdbcompression", "no"]).await;
    for level in ["debug", "trace"] {
        let settings = format!(
            "[redis]\nurls = [{:?}]\ndeadline_ms = 500\n[reply]\nper_minute = 30\n[log]\nlevel = {level:?}",
            redis.url()
        );
        let daemon = Daemon::start(&settings);
        for account in ["safe", "compatible", "plain"] {
            let say = |words: &[&str]| {
                simulate(&daemon, &[&["--account", account, "--openid", OPENID], words].concat());
            };
            for event in ["subscribe", "SCAN", "CLICK", "VIEW", "LOCATION", "user_info_modified"] {
                say(&["--event", event, "poster"]);
            }
            for kind in ["image", "voice", "video", "location", "link", "file"] {
                say(&["--kind", kind, "基金赎回"]);
            }
            for text in [
                "基金赎回",
                "2",
                "更多",
                "科创板开户要什么条件",
                "没用",
                "不对",
                "人工",
                "今天天气怎么样",
            ] {
                say(&["--retries", text]);
            }
            say(&["--tap", "more", "更多"]);
            // Too much, at last.
            for n in 0..if account == "plain" { 30 } else { 0 } {
                say(&[&format!("问题{n}")]);
            }
        }
        let dumped = dump(&redis).await;
        assert!(hold(&dumped, "session:") && dumped.len() > 10_000, "{}", dumped.len());
        let log = daemon.log();
        assert!(log.contains("limited"), "{log}");
        for secret in [OPENID, KEY, INSTALL_KEY, "TokenOfTests"] {
            assert!(!hold(&dumped, secret), "{level}: {secret} in Redis");
            assert!(!hold(log.as_bytes(), secret), "{level}: {secret} in the log");
        }
        for account in ["safe", "compatible", "plain"] {
            simulate(
                &daemon,
                &["--account", account, "--openid", OPENID, "--event", "unsubscribe"],
            );
        }
        assert!(!hold(daemon.log().as_bytes(), OPENID));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_is_forgotten_by_every_instance_at_once() {
    let mut redis = RedisServer::start().await;
    let settings = format!("[redis]\nurls = [{:?}]\ndeadline_ms = 500", redis.url());
    let (one, other) = (Daemon::start(&settings), Daemon::start(&settings));
    let begun = std::time::Instant::now();
    let until = async |command: &[&str], holds: &dyn Fn(&str) -> bool| {
        while !holds(&format!("{:?}", redis.command(command).await)) {
            assert!(begun.elapsed() < Duration::from_secs(30), "{command:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    until(&["PUBSUB", "NUMSUB", "wxfaq:bank"], &|said| said.contains("int(2)")).await;
    let say = |daemon: &Daemon, words: &[&str]| {
        simulate(daemon, &[&["--account", "safe", "--openid", OPENID], words].concat())
    };
    assert!(say(&other, &["基金赎回"]).contains("1. "));
    say(&one, &["--event", "unsubscribe"]);
    until(&["INFO", "commandstats"], &|said| said.contains("cmdstat_publish")).await;
    redis.kill();
    // It has no copy of what both knew.
    let chosen = say(&other, &["2"]);
    assert!(chosen.contains("没有可以选择的列表"), "{chosen}");
}

#[test]
fn what_a_follower_said_leaves_the_files_with_them() {
    const CANARY: &str = "CanaryComment4711";
    let daemon = Daemon::start("");
    let say = |words: &[&str]| simulate(&daemon, &[&["--account", "safe", "--openid", OPENID], words].concat());
    say(&["科创板开户要什么条件"]);
    say(&["没用"]);
    say(&[CANARY]);
    let is_kept = || {
        let files = std::fs::read_dir(daemon.path("data")).unwrap();
        let files = files.map(|file| file.unwrap().path());
        files
            .filter_map(|path| std::fs::read(path).ok())
            .any(|bytes| hold(&bytes, CANARY))
    };
    daemon.wait_until("the comment is kept", is_kept);
    say(&["--event", "unsubscribe"]);
    daemon.wait_until("it is in no file any more", || !is_kept());
}

#[test]
fn who_leaves_and_comes_back_keeps_the_new_conversation() {
    let daemon = Daemon::start("");
    let (back, erased) = (OPENID, "oCanaryOpenid000000000000002");
    let say =
        |openid: &str, words: &[&str]| simulate(&daemon, &[&["--account", "safe", "--openid", openid], words].concat());
    say(back, &["基金赎回"]);
    say(back, &["--event", "unsubscribe"]);
    say(back, &["--event", "subscribe"]);
    for openid in [back, erased] {
        assert!(say(openid, &["基金赎回"]).contains("1. "));
    }
    let output = run(
        daemon.folder.path(),
        &[
            "--config",
            "wxfaq.toml",
            "privacy",
            "erase",
            erased,
            "--account",
            "safe",
        ],
    );
    assert!(output.status.success(), "{output:?}");
    daemon.wait_until("the operator's word counts for every conversation", || {
        say(erased, &["2"]).contains("没有可以选择的列表")
    });
    let chosen = say(back, &["2"]);
    assert!(!chosen.contains("没有可以选择的列表"), "{chosen}");
}
