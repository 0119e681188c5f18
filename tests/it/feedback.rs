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
