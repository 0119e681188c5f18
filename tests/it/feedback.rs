//! Feedback in the database, and with the real binary from a tap to the operator's table.

use crate::support::daemon::{Daemon, run, simulate};
use wxfaq::store::conversations::Follower;
use wxfaq::store::feedback::{FeedbackLog, FeedbackRow, Word};
use wxfaq::store::sql::{Database, EntryFeedback, sqlite_url};

fn row(entry: &str, pseudonym: &str, word: Word) -> FeedbackRow {
    FeedbackRow {
        follower: Follower {
            account: "demo".into(),
            pseudonym: pseudonym.into(),
        },
        entry: entry.into(),
        message: "message:1".into(),
        score: Some(9_000),
        word,
        given_at: 1_800_000_000,
    }
}

#[tokio::test]
async fn the_last_verdict_counts_once_and_a_comment_goes_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(&sqlite_url(&folder.path().join("a.db"))).await.unwrap();
    let feedback = database.feedback();
    let comment = || Word::Comment("费用'写错了\n请改".into());
    feedback
        .write(&[
            row("a", "p1", Word::Useful),
            row("a", "p1", Word::Useless),
            row("a", "p1", comment()),
            row("a", "p2", Word::Useful),
            row("a", "p3", comment()),
            row("b", "p1", Word::Useful),
        ])
        .await
        .unwrap();
    // A message handled twice.
    feedback.write(&[row("a", "p1", comment())]).await.unwrap();
    let found = feedback.by_entry(None).await.unwrap();
    let counts = |entry: &EntryFeedback| (entry.entry.clone(), entry.useful, entry.useless, entry.comments);
    assert_eq!(
        found.iter().map(counts).collect::<Vec<_>>(),
        [("a".to_owned(), 1, 2, 2), ("b".to_owned(), 1, 0, 0)]
    );
    assert!((found[0].rate() - 1.0 / 3.0).abs() < 1e-9 && found[0].question.is_none());
    assert_eq!(feedback.by_entry(Some("b")).await.unwrap().len(), 1);
    let words = feedback.of_entry("a", 10).await.unwrap();
    assert_eq!(words.len(), 3);
    let said: Vec<_> = words.iter().filter(|word| !word.comment.is_empty()).collect();
    assert!(
        said.len() == 2
            && said
                .iter()
                .all(|word| !word.useful && word.comment == "费用'写错了\n请改")
    );
    assert_eq!(words[0].score, Some(0.9));
    database.close().await;
}

#[test]
fn what_followers_think_reaches_the_operator() {
    let daemon = Daemon::start("");
    let say = |openid: &str, arguments: &[&str]| {
        simulate(
            &daemon,
            &[&["--account", "safe", "--openid", openid], arguments].concat(),
        )
    };
    for (openid, words) in [("oHappy", vec!["有用"]), ("oSad", vec!["没用", "这和我的情况对不上"])] {
        assert!(say(openid, &["科创板开户要什么条件"]).contains("useful:sec-001"));
        for word in words {
            assert!(!say(openid, &["--retries", word]).contains("没有这个问题"));
        }
    }
    let list = |arguments: &[&str]| {
        let all = [&["--config", "wxfaq.toml", "feedback", "list"], arguments].concat();
        let output = run(daemon.folder.path(), &all);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    daemon.wait_until("it is written", || {
        list(&[]).contains(" 50.0%         1  sec-001  科创板怎么开户")
    });
    let all = list(&["--entry", "sec-001"]);
    assert!(all.contains("useless  这和我的情况对不上\n"), "{all}");
    let json: serde_json::Value = serde_json::from_str(&list(&["--entry", "sec-001", "--json"])).unwrap();
    assert_eq!(
        (&json["entries"][0]["useful"], &json["entries"][0]["useless"]),
        (&1.into(), &1.into())
    );
    assert!(json["words"][0]["score"].as_f64().unwrap() > 0.8);
    assert!(!daemon.log().contains("oHappy") && !daemon.log().contains("对不上"));
}
