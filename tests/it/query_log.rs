//! What is asked: kept, counted, deleted when it is old, and read by the operator.

use crate::support::daemon::{Daemon, run, simulate};
use crate::support::database::{TestDatabase, on_every_database};
use wxfaq::bank::{Answer, Channel, Entry, EntryId};
use wxfaq::store::Log;
use wxfaq::store::conversations::Follower;
use wxfaq::store::query_log::{QueryRow, day_of};
use wxfaq::store::sql::{Asked, Author};

on_every_database!(
    questions_are_kept_and_counted_once,
    what_is_old_goes_and_its_counts_stay,
    two_instances_count_together,
);

/// 2026-11-26 12:00 in China.
const NOON: i64 = 1_795_665_600;
const DAY: i64 = 86_400;

fn row(number: u32, text: &str, decision: &'static str, entry: Option<&str>, asked_at: i64) -> QueryRow {
    QueryRow {
        id: format!("{number:032x}"),
        follower: Follower {
            account: if number.is_multiple_of(2) { "甲" } else { "乙" }.to_owned(),
            pseudonym: format!("p{number}"),
        },
        channel: Channel::Wechat,
        text: text.to_owned(),
        decision,
        entry: entry.map(str::to_owned),
        score: entry.map(|_| 9_000),
        took_us: 1_000,
        asked_at,
    }
}

fn asked() -> Asked {
    Asked {
        since: NOON - DAY,
        account: None,
        limit: 100,
    }
}

async fn questions_are_kept_and_counted_once(place: TestDatabase) {
    let database = place.open().await;
    let entry = |id: &str| {
        Entry::new(
            EntryId::parse(id).unwrap(),
            format!("问题{id}"),
            Answer::Text("答".into()),
        )
    };
    let author = Author {
        who: "e".to_owned(),
        source: "test".to_owned(),
    };
    let bank = [entry("used"), entry("never")];
    database.questions().apply(&bank, &[], &author, 1, 0).await.unwrap();
    let log = database.query_log(true);
    let rows = [
        row(0, "港股通\0怎么开😀", "none", None, NOON),
        row(1, "港股通怎么开😀", "none", None, NOON + 1),
        row(2, "怎么开户", "answer", Some("used"), NOON),
        row(3, "开户", "answer", Some("used"), NOON),
        row(4, "销户", "answer", Some("gone"), NOON),
    ];
    log.write(&rows).await.unwrap();
    // The commit was not heard of: the batch comes again.
    log.write(&rows).await.unwrap();

    let unanswered = log.unanswered(&asked()).await.unwrap();
    assert_eq!(unanswered.len(), 1);
    assert_eq!((&*unanswered[0].text, unanswered[0].count), ("港股通怎么开😀", 2));
    assert_eq!(unanswered[0].last_at, NOON + 1);
    let hot = log.hot(&asked()).await.unwrap();
    let shown: Vec<_> = hot
        .iter()
        .map(|e| (&*e.entry, e.question.as_deref(), e.answers))
        .collect();
    assert_eq!(shown, [("used", Some("问题used"), 2), ("gone", None, 1)]);
    let unused = log.unused(NOON, 10).await.unwrap();
    assert_eq!(unused.iter().map(|e| &*e.entry).collect::<Vec<_>>(), ["never"]);
    assert_eq!(log.unused(NOON + DAY, 10).await.unwrap().len(), 2);
    let daily = log.daily(&asked()).await.unwrap();
    let shown: Vec<_> = daily
        .iter()
        .map(|d| (d.day, &*d.decision, d.queries, d.mean_us))
        .collect();
    assert_eq!(
        shown,
        [(day_of(NOON), "answer", 3, 1_000), (day_of(NOON), "none", 2, 1_000)]
    );
    let one = Asked {
        account: Some("乙".to_owned()),
        ..asked()
    };
    assert_eq!(log.recent(&one).await.unwrap().len(), 2);
    assert_eq!(log.hot(&one).await.unwrap()[0].answers, 1);
    let recent = log.recent(&asked()).await.unwrap();
    assert_eq!(
        (recent.len(), recent[0].asked_at, recent[2].score),
        (5, NOON + 1, Some(0.9))
    );
}

async fn what_is_old_goes_and_its_counts_stay(place: TestDatabase) {
    let database = place.open().await;
    let log = database.query_log(true);
    // More than one statement deletes.
    let rows: Vec<QueryRow> = (0..4_500).map(|n| row(n, "旧", "none", None, NOON - DAY)).collect();
    for batch in rows.chunks(500) {
        log.write(batch).await.unwrap();
    }
    log.write(&[row(9_000, "新", "none", None, NOON)]).await.unwrap();
    assert_eq!(log.sweep(NOON).await.unwrap(), 4_500);
    assert_eq!(log.sweep(NOON).await.unwrap(), 0);
    let all = Asked { since: 0, ..asked() };
    assert_eq!(log.recent(&all).await.unwrap().len(), 1);
    let daily = log.daily(&all).await.unwrap();
    assert_eq!(daily.iter().map(|day| day.queries).sum::<u64>(), 4_501);

    // Where nothing is kept word by word, it is counted all the same.
    let counting = database.query_log(false);
    counting.write(&[row(9_001, "密", "none", None, NOON)]).await.unwrap();
    assert_eq!(log.recent(&all).await.unwrap().len(), 1);
    assert_eq!(log.daily(&all).await.unwrap()[0].queries, 2);

    // What is known of a follower goes when asked.
    let follower = row(9_000, "", "none", None, 0).follower;
    assert_eq!(
        database.erasures().rows_of(&follower).await.unwrap()["query_log"].len(),
        1
    );
    let erased = database.erasures().erase_now(&[follower], NOON).await.unwrap();
    assert_eq!(erased, 1);
    assert!(log.recent(&all).await.unwrap().is_empty());
}

/// Each tries again as the daemon does when both made the same row of counts.
async fn two_instances_count_together(place: TestDatabase) {
    let mut writing = tokio::task::JoinSet::new();
    for instance in 0..2 {
        let log = place.open().await.query_log(true);
        writing.spawn(async move {
            for batch in 0..10 {
                let number = |n: u32| instance * 1_000 + batch * 10 + n;
                let rows: Vec<_> = (0..10)
                    .map(|n| row(number(n), "问", "answer", Some("e"), NOON))
                    .collect();
                let mut tries = 0;
                while let Err(error) = log.write(&rows).await {
                    tries += 1;
                    assert!(tries < 100, "{error}");
                }
            }
        });
    }
    writing.join_all().await;
    let log = place.open().await.query_log(true);
    assert_eq!(log.daily(&asked()).await.unwrap()[0].queries, 200);
    assert_eq!(log.hot(&asked()).await.unwrap()[0].answers, 200);
}

#[test]
fn what_followers_ask_reaches_the_operator() {
    let daemon = Daemon::start("");
    let say = |text: &str| simulate(&daemon, &["--account", "safe", "--openid", "oAsker", text]);
    say("科创板开户要什么条件");
    say("外星人能不能炒股票");
    say("外星人能炒股票吗");
    say("有用");
    let queries = |arguments: &[&str]| {
        let all = [&["--config", "wxfaq.toml", "queries"], arguments].concat();
        let output = run(daemon.folder.path(), &all);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    daemon.wait_until("it is written", || queries(&["recent"]).lines().count() == 3);
    let unanswered = queries(&["unanswered"]);
    assert!(unanswered.contains("      2  外星人"), "{unanswered}");
    assert!(queries(&["hot"]).contains("      1  sec-001  科创板怎么开户"));
    assert!(!queries(&["unused", "--limit", "100000"]).contains("  sec-001  "));
    let days: serde_json::Value = serde_json::from_str(&queries(&["daily", "--json"])).unwrap();
    let asked = |decision: &str| {
        let days = days.as_array().unwrap().iter();
        days.filter(|day| day["decision"] == decision)
            .map(|day| day["queries"].as_u64().unwrap())
            .sum::<u64>()
    };
    assert_eq!((asked("answer"), asked("none")), (1, 2));
    assert!(!daemon.log().contains("oAsker") && !daemon.log().contains("外星人"));
}
