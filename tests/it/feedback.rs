//! Feedback, with the real binary from a tap to the operator's table.

use crate::support::daemon::{Daemon, run, simulate};

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

#[tokio::test]
async fn a_word_about_an_unknown_message_joins_what_was_said_last() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(&sqlite_url(&folder.path().join("a.db"))).await.unwrap();
    let feedback = database.feedback();
    let at = |message: &str, given_at, row: FeedbackRow| FeedbackRow {
        message: message.into(),
        given_at,
        ..row
    };
    let rows = [
        at("message:1", 1, row("a", "p1", Word::Useless)),
        at("message:2", 2, row("a", "p1", Word::Useless)),
        at("message:3", 3, row("b", "p1", Word::Useless)),
        // Tapped after other answers: which message it was, nobody knows any more.
        at("", 4, row("a", "p1", Word::Useful)),
        at("", 5, row("a", "p1", Word::Comment("原来如此".into()))),
        at("", 6, row("a", "p2", Word::Useful)),
        at("", 7, row("a", "p2", Word::Useless)),
    ];
    feedback.write(&rows).await.unwrap();
    let words = feedback.of_entry("a", 10).await.unwrap();
    let said: Vec<_> = words
        .iter()
        .map(|word| (word.given_at, word.useful, &*word.comment))
        .collect();
    assert_eq!(said, [(7, false, ""), (5, true, "原来如此"), (1, false, "")]);
    database.close().await;
}
