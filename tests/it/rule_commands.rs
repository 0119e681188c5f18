//! Rules with the real binary: imported, tried by `simulate` on a running daemon, listed, exported, checked.

use crate::support::daemon::{Daemon, configuration, free_port, run, simulate};
use std::fs;
use std::path::Path;

const RULES: &str = r#"
{"id":"greeting","trigger":{"subscribe":[]},"replies":["《欢迎》"]}
{"id":"poster","trigger":{"subscribe":["poster"]},"replies":["《扫码欢迎》"]}
{"id":"scan","trigger":{"scan":["poster"]},"replies":["《又扫码》"]}
{"id":"button","trigger":{"click":["TODAY"]},"replies":["《今日》"]}
{"id":"whole","trigger":{"keywords":[{"equals":"营业时间"}]},"replies":["《全》"]}
{"id":"expression","trigger":{"keywords":[{"regex":"订单号\\s*\\d{4,}"}]},"replies":["《正则》"]}
{"id":"part","trigger":{"keywords":[{"contains":"周年庆"}]},"replies":["《包含》"]}
{"id":"human","trigger":{"keywords":[{"equals":"找客服"}]},"replies":[{"kind":"handoff"}]}
{"id":"random","trigger":{"keywords":[{"equals":"抽签"}]},"replies":["《一》","《二》","《三》"],"pick":"one_at_random"}
{"id":"entry","trigger":{"keywords":[{"equals":"科创板门槛"}]},"replies":[{"entry":"sec-001"}]}
{"id":"refusal","trigger":{"sensitive":["大坏词"]},"replies":["《拒绝》"]}
{"id":"media","trigger":{"unsupported":["image","location"]},"replies":["《看不懂》"]}
{"id":"night","trigger":"off_hours","window":{"from":"2020-01-01"},"replies":["《下班》"],"accounts":["plain"]}
"#;

/// Exit code, and everything that was said.
fn wxfaq(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = run(folder, &[&["--config", "wxfaq.toml"], arguments].concat());
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.code(), said)
}

/// A folder with a configuration and no database.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = configuration(free_port(), free_port(), "");
    fs::write(folder.path().join("wxfaq.toml"), text).unwrap();
    folder
}

#[test]
fn a_running_daemon_takes_rules_over_and_answers_by_them() {
    let daemon = Daemon::start("");
    let plain = |arguments: &[&str]| simulate(&daemon, &[&["--account", "plain"], arguments].concat());
    assert!(plain(&["--event", "subscribe"]).contains("感谢关注"));
    fs::write(daemon.path("rules.jsonl"), RULES).unwrap();
    let (code, said) = wxfaq(daemon.folder.path(), &["rule", "import", "rules.jsonl"]);
    assert!(
        code == Some(0) && said.contains("13 new, 0 changed, 0 same, 0 removed"),
        "{said}"
    );
    daemon.wait_until("the rules are used", || plain(&["营业时间"]).contains("《全》"));
    let cases: [(&[&str], &str); 14] = [
        (&["--event", "subscribe"], "《欢迎》"),
        (&["--event", "subscribe", "qrscene_poster"], "《扫码欢迎》"),
        (&["--event", "SCAN", "poster"], "《又扫码》"),
        (&["--event", "CLICK", "TODAY"], "《今日》"),
        (&["请问营业時間？"], "《全》"),
        (&["我的订单号 20261127 到哪了"], "《正则》"),
        (&["你们周年庆有什么活动"], "《包含》"),
        (&["科创板门槛"], "50万"),
        (&["大 坏词！"], "《拒绝》"),
        (&["这个内幕消息可靠吗"], "这个话题我不便回答"),
        (&["--kind", "image"], "《看不懂》"),
        (&["--kind", "location", "人民广场"], "《看不懂》"),
        (&["找客服"], "《下班》"),
        (&["今天天气怎么样"], "《下班》"),
    ];
    for (arguments, expected) in cases {
        let said = plain(arguments);
        assert!(said.contains(expected), "{arguments:?}: {said}");
        assert!(!said.contains("大坏词") && !said.contains("内幕"), "{said}");
    }
    let asked = |more: &[&str]| {
        wxfaq(
            daemon.folder.path(),
            &[&["ask", "--account", "plain", "营业时间"], more].concat(),
        )
        .1
    };
    assert!(asked(&[]).starts_with("《全》\n\n(rule "), "{}", asked(&[]));
    assert!(asked(&["--json"]).contains(r#""decision":"rule""#) && asked(&["--json"]).contains("《全》"));
    assert!(
        asked(&["--trace"]).starts_with("answered by rule "),
        "{}",
        asked(&["--trace"])
    );
    assert!(asked(&["--trace", "--json"]).contains(r#""rule": "rule "#));
    let fallback = plain(&["今天天气怎么样"]);
    assert!(
        fallback.contains("还是没有找到答案") && fallback.contains("《下班》"),
        "{fallback}"
    );
    assert!(
        plain(&["科创板开户要什么条件"]).contains("50万"),
        "other answers stay as they are"
    );
    let by_day = simulate(&daemon, &["--account", "safe", "找客服"]);
    assert!(
        by_day.contains("transfer_customer_service"),
        "a rule of another account: {by_day}"
    );
    // `simulate` fails when the three deliveries differ.
    for follower in ["oA", "oB", "oC", "oD"] {
        plain(&["抽签", "--retries", "--openid", follower]);
    }
    let log = daemon.log();
    assert!(
        log.contains("decision=\"refused\"") || log.contains("\"refused\""),
        "{log}"
    );
    for rule in [
        "greeting", "poster", "scan", "button", "whole", "human", "refusal", "media", "night",
    ] {
        let names = [format!("rule=\"{rule}\""), format!("\"rule\":\"{rule}\"")];
        assert!(names.iter().any(|name| log.contains(name)), "{rule}: {log}");
    }
    fs::write(daemon.path("greeting.txt"), "您好").unwrap();
    let put = ["template", "put", "greeting.txt", "greeting.txt"];
    let (code, said) = wxfaq(daemon.folder.path(), &put);
    let told = "warning: followers get template/greeting.txt only where no rule answers first: greeting, poster (";
    assert!(code == Some(0) && said.contains(told), "{said}");
    for word in ["坏词", "内幕", "拒绝"] {
        assert!(!log.contains(word), "{word} stands in the log");
    }
    // A rule goes as it came.
    fs::write(daemon.path("one.jsonl"), RULES.lines().nth(1).unwrap()).unwrap();
    let (code, said) = wxfaq(
        daemon.folder.path(),
        &["rule", "import", "one.jsonl", "--mode", "replace"],
    );
    assert!(code == Some(0) && said.contains("1 same, 12 removed"), "{said}");
    daemon.wait_until("the others are gone", || !plain(&["营业时间"]).contains("《全》"));
}

#[test]
fn a_broken_row_keeps_the_whole_file_out_and_says_where() {
    let folder = folder();
    let at = folder.path();
    let good = "{\"id\":\"a\",\"trigger\":\"default\",\"replies\":[\"A\"]}\n";
    let broken = r#"{"id":"b","trigger":{"keywords":[{"regex":"(a"}]},"replies":["B"]}"#;
    fs::write(at.join("broken.jsonl"), format!("{good}{broken}\n")).unwrap();
    let (code, said) = wxfaq(at, &["rule", "import", "broken.jsonl"]);
    assert_eq!(code, Some(65), "{said}");
    assert!(
        said.contains("row 2, column trigger: item 1 \"(a\" is no expression"),
        "{said}"
    );
    assert!(said.contains("nothing imported: 1 of 2 rows cannot be taken"), "{said}");
    assert!(wxfaq(at, &["rule", "list"]).1.contains("there are no rules"));
    fs::write(at.join("good.jsonl"), good).unwrap();
    let (code, said) = wxfaq(at, &["rule", "import", "good.jsonl", "--dry-run"]);
    assert!(
        code == Some(0) && said.contains("row 1: new, a") && said.contains("nothing written"),
        "{said}"
    );
    assert!(wxfaq(at, &["rule", "list"]).1.contains("there are no rules"));
    fs::write(at.join("none.jsonl"), "\n").unwrap();
    for (arguments, expected) in [
        (&["rule", "import", "absent.jsonl"][..], 66),
        (&["rule", "import", "good.csv"], 64),
        (&["rule", "import", "good.jsonl", "--mode", "both"], 64),
        (&["rule", "import", "none.jsonl", "--mode", "replace"], 65),
        (&["rule", "export", "rules.toml"], 64),
    ] {
        let (code, said) = wxfaq(at, arguments);
        assert_eq!(code, Some(expected), "{arguments:?}: {said}");
    }
    let report = wxfaq(at, &["rule", "import", "good.jsonl", "--json"]).1;
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!(
        (&report["applied"], &report["rows"][0]["verdict"]),
        (&true.into(), &"new".into())
    );
}

#[test]
fn what_is_exported_is_imported_as_the_same_and_check_names_what_never_answers() {
    let folder = folder();
    let at = folder.path();
    let bank = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/sample-bank.jsonl");
    assert_eq!(wxfaq(at, &["import", bank.to_str().unwrap()]).0, Some(0));
    fs::write(at.join("rules.jsonl"), RULES).unwrap();
    assert_eq!(wxfaq(at, &["rule", "import", "rules.jsonl"]).0, Some(0));
    let (code, said) = wxfaq(at, &["rule", "export", "out.jsonl"]);
    assert!(code == Some(0) && said.contains("13 rules, revision 2"), "{said}");
    let (_, said) = wxfaq(at, &["rule", "import", "out.jsonl", "--mode", "replace"]);
    assert!(said.contains("0 new, 0 changed, 13 same, 0 removed"), "{said}");
    let (_, listed) = wxfaq(at, &["rule", "list"]);
    assert!(
        listed.contains("sensitive (1 words)") && !listed.contains("坏词"),
        "{listed}"
    );

    let (code, said) = wxfaq(at, &["check", "--offline"]);
    assert!(
        code == Some(0) && said.contains("ok       rules: 13 in the database"),
        "{said}"
    );
    assert!(!said.contains("warning  rules"), "{said}");
    let more = [
        r#"{"id":"z-hidden","trigger":{"keywords":[{"equals":"营业时间？"}]},"replies":["A"]}"#,
        r#"{"id":"z-lost","trigger":{"keywords":[{"equals":"无"}]},"replies":[{"entry":"no-such-entry"}]}"#,
        r#"{"id":"z-account","trigger":{"click":["K"]},"replies":["A"],"accounts":["nobody"]}"#,
    ];
    fs::write(at.join("more.jsonl"), more.join("\n")).unwrap();
    let (code, imported) = wxfaq(at, &["rule", "import", "more.jsonl"]);
    assert_eq!(code, Some(0), "{imported}");
    let (code, said) = wxfaq(at, &["check", "--offline"]);
    assert_eq!(code, Some(0), "{said}");
    for expected in [
        "z-hidden: never answers: whole answers before it",
        "z-lost: its entry no-such-entry is not in the bank",
        "z-lost: never answers: none of its replies can be sent",
    ] {
        assert!(
            said.contains(&format!("warning  rules: {expected}")),
            "{expected}: {said}"
        );
        assert!(
            imported.contains(&format!("warning: {expected}")),
            "{expected}: {imported}"
        );
    }
    assert!(said.contains("z-account: there is no account nobody"), "{said}");
}

#[test]
fn the_first_day_has_rules_to_try() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::first_day(folder.path());
    let url = format!("http://127.0.0.1:{}", daemon.port);
    let say = |arguments: &[&str]| {
        let output = run(folder.path(), &[&["simulate", "--url", &url], arguments].concat());
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(say(&["--event", "subscribe"]).contains("感谢关注"));
    assert!(say(&["--event", "subscribe", "qrscene_poster"]).contains("欢迎扫码关注"));
    assert!(say(&["营业时间"]).contains("9:00–17:30"));
    assert!(say(&["订单号 20261127 到哪了"]).contains("我的—订单"));
    assert!(say(&["--event", "CLICK", "TODAY"]).contains("今日一问"));
    assert!(say(&["--kind", "image"]).contains("图片、视频和位置"));
    let human = say(&["人工"]);
    assert!(
        human.contains("transfer_customer_service") || human.contains("现在是下班时间"),
        "{human}"
    );
    let output = run(folder.path(), &["check", "--offline"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(!said.contains("warning  rules"), "{said}");
}

#[test]
fn an_empty_variable_names_no_configuration() {
    let folder = folder();
    for (arguments, code) in [
        (&["--config", "wxfaq.toml", "check", "--offline"][..], 0),
        (&["--config", "", "check"], 64),
    ] {
        let output = std::process::Command::new(crate::support::daemon::BINARY)
            .args(arguments)
            .current_dir(folder.path())
            .env("WXFAQ_CONFIG", "")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
    }
    let named = std::process::Command::new(crate::support::daemon::BINARY)
        .args(["check", "--offline"])
        .current_dir(folder.path())
        .env("WXFAQ_CONFIG", "wxfaq.toml")
        .output()
        .unwrap();
    let said = String::from_utf8(named.stdout).unwrap();
    assert!(said.contains("wxfaq.toml: 3 account(s)"), "{said}");
}

#[test]
fn an_import_of_rules_does_not_overwrite_what_was_changed_since_the_export() {
    let folder = folder();
    let wxfaq = |arguments: &[&str]| wxfaq(folder.path(), arguments);
    let write = |reply: &str| {
        let rule = format!(r#"{{"id":"r","trigger":"default","replies":["{reply}"]}}"#);
        fs::write(folder.path().join("rules.jsonl"), rule).unwrap();
    };
    for (reply, revision) in [("一", "revision 1"), ("二", "revision 2")] {
        write(reply);
        let (code, said) = wxfaq(&["rule", "import", "rules.jsonl"]);
        assert!(code == Some(0) && said.contains(revision), "{said}");
    }
    write("三");
    let import = ["rule", "import", "rules.jsonl", "--made-from"];
    for more in [&["1", "--dry-run"][..], &["1"]] {
        let (code, said) = wxfaq(&[&import[..], more].concat());
        assert!(
            code == Some(65) && said.contains("changed since revision 1; rule/r by "),
            "{code:?} {said}"
        );
    }
    let (code, said) = wxfaq(&[&import[..], &["7"]].concat());
    assert!(code == Some(65) && said.contains("it is at 2"), "{code:?} {said}");
    let (code, said) = wxfaq(&[&import[..], &["2", "--dry-run"]].concat());
    assert!(code == Some(0) && said.contains("0 new, 1 changed"), "{said}");
    let (code, said) = wxfaq(&[&import[..], &["2"]].concat());
    assert!(code == Some(0) && said.contains("revision 3"), "{said}");
}
