//! The commands that call WeChat, with the real binary against the fake: menu, check, import --from-wechat, fake-wechat.

use crate::support::daemon::{BINARY, PATIENCE, run};
use crate::support::fake_wechat::{APP_SECRET, APPID, FakeWechat};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;
use tempfile::TempDir;

const TYPING: &str = "/cgi-bin/message/custom/typing";
const QUOTA: &str = "/cgi-bin/openapi/quota/get";

/// A folder with a configuration of the accounts `demo`, which may call `base`, and `mute`, which has no secret.
fn folder(base: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "[[account]]\nid = \"demo\"\nappid = \"{APPID}\"\ntoken = \"TokenOfTestsDemo\"\nmode = \"plain\"\n\
         app_secret = \"{APP_SECRET}\"\napi_base = \"{base}\"\n\
         [[account]]\nid = \"mute\"\nappid = \"{APPID}\"\ntoken = \"TokenOfTestsMute\"\nmode = \"plain\"\n\
         api_base = \"{base}\"\n"
    );
    fs::write(folder.path().join("wxfaq.toml"), text).unwrap();
    folder
}

/// Exit code, standard output and standard error; none of them holds a secret.
fn wxfaq(folder: &TempDir, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = run(folder.path(), &[&["--config", "wxfaq.toml"], arguments].concat());
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (out, err) = (text(output.stdout), text(output.stderr));
    for secret in [APP_SECRET, "FAKE_ACCESS_TOKEN"] {
        assert!(!out.contains(secret) && !err.contains(secret), "{out}{err}");
    }
    (output.status.code(), out, err)
}

const MENU: &str = r#"
[[button]]
name = "今日问答"
type = "click"
key = "TODAY"

[[button]]
name = "更多"

[[button.sub_button]]
name = "官网"
type = "view"
url = "https://example.com/?a=1&b=2"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_menu_is_set_from_a_file_and_read_back_as_one() {
    let wechat = FakeWechat::start().await;
    let folder = folder(&wechat.base);
    let demo = |arguments: &[&str]| wxfaq(&folder, &[&["menu", "--account", "demo"], arguments].concat());
    fs::write(folder.path().join("menu.toml"), MENU).unwrap();
    let (code, out, err) = demo(&["get"]);
    assert!(
        code == Some(0) && out.is_empty() && err.contains("no menu made through the API"),
        "{out}{err}"
    );
    let (code, out, err) = demo(&["set", "menu.toml"]);
    assert_eq!(code, Some(0), "{out}{err}");
    for (arguments, name) in [(&["get"][..], "back.json"), (&["get", "--toml"], "back.toml")] {
        let (code, out, err) = demo(arguments);
        assert!(
            code == Some(0) && out.contains("https://example.com/?a=1&b=2"),
            "{out}{err}"
        );
        fs::write(folder.path().join(name), &out).unwrap();
        assert_eq!(demo(&["set", name]).0, Some(0));
        assert_eq!(demo(arguments).1, out);
    }
    let current: Value = serde_json::from_str(&demo(&["get", "--current"]).1).unwrap();
    assert_eq!(current["is_menu_open"], 1);
    assert_eq!(demo(&["delete"]).0, Some(0));
    assert!(demo(&["get"]).1.is_empty());
    assert_eq!(wechat.fake.calls("/cgi-bin/stable_token"), 11, "once a command");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_menu_wechat_would_refuse_is_not_sent() {
    let wechat = FakeWechat::start().await;
    let folder = folder(&wechat.base);
    let set = |name: &str, text: &str| {
        fs::write(folder.path().join(name), text).unwrap();
        wxfaq(&folder, &["menu", "set", name, "--account", "demo"])
    };
    let check = |name: &str, text: &str, expected_code: i32, expected: &[&str]| {
        let (code, out, err) = set(name, text);
        assert_eq!((code, out.as_str()), (Some(expected_code), ""), "{err}");
        for expected in expected {
            assert!(err.contains(expected), "{expected}: {err}");
        }
    };
    let twice = MENU.replace("今日问答", "今日问答了").replace("https:", "htps:");
    let places = ["a.toml: button[0].name: ", "a.toml: button[1].sub_button[0].url: "];
    check("a.toml", &twice, 65, &places);
    check(
        "b.toml",
        &MENU.replace("type = \"click\"", "type = click"),
        65,
        &["b.toml:4: "],
    );
    check("c.json", "{\n\"button\": [\n}", 65, &["c.json:3: "]);
    check(
        "d.json",
        "{\"button\": []}",
        65,
        &["d.json: button: 1–3 buttons are needed"],
    );
    check("e.yaml", "button: []", 64, &["must end in .toml or .json"]);
    let (code, _, err) = wxfaq(&folder, &["menu", "set", "absent.toml", "--account", "demo"]);
    assert!(code == Some(66) && err.contains("absent.toml"), "{err}");
    fs::write(folder.path().join("fine.toml"), MENU).unwrap();
    let (code, out, err) = wxfaq(&folder, &["menu", "set", "fine.toml", "--dry-run", "--account", "demo"]);
    assert!(code == Some(0) && out.contains("2 buttons"), "{out}{err}");
    assert!(err.contains("nothing answers the menu's key"), "{err}");
    assert_eq!(wechat.fake.calls("/cgi-bin/stable_token"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_wechat_refuses_is_said_with_what_to_do() {
    let wechat = FakeWechat::start().await;
    let folder = folder(&wechat.base);
    let (code, _, err) = wxfaq(&folder, &["menu", "get", "--account", "mute"]);
    assert!(code == Some(78) && err.contains("mute has no app_secret"), "{err}");
    let (code, _, err) = wxfaq(&folder, &["menu", "get"]);
    assert!(
        code == Some(64) && err.contains("--account is needed, one of demo, mute"),
        "{err}"
    );
    wechat
        .fake
        .refuse("/cgi-bin/menu/get", 48_001, "api unauthorized rid: 1-2");
    let (code, _, err) = wxfaq(&folder, &["menu", "get", "--account", "demo"]);
    assert!(code == Some(69) && err.contains("未认证订阅号"), "{err}");
    wechat.fake.refuse(
        "/cgi-bin/stable_token",
        40_164,
        "invalid ip 203.0.113.7, not in whitelist",
    );
    let (code, _, err) = wxfaq(&folder, &["menu", "get", "--account", "demo"]);
    assert!(code == Some(78) && err.contains("203.0.113.7"), "{err}");
}

/// The findings of `check --json` whose subject holds `subject`.
fn findings(folder: &TempDir, subject: &str) -> (Option<i32>, Vec<(String, String)>) {
    let (code, out, err) = wxfaq(folder, &["check", "--json"]);
    let findings: Vec<Value> = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{err}"));
    let of_subject = findings
        .iter()
        .filter(|finding| finding["subject"].as_str().unwrap().contains(subject));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (
        code,
        of_subject
            .map(|finding| (text(&finding["verdict"]), text(&finding["detail"])))
            .collect(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn check_says_in_words_what_an_account_may_do() {
    let wechat = FakeWechat::start().await;
    let folder = folder(&wechat.base);
    assert_eq!(findings(&folder, "callback addresses").1, []);
    let (code, found) = findings(&folder, "permissions of demo");
    assert_eq!(code, Some(0));
    let (verdict, detail) = &found[0];
    assert!(verdict == "good" && !detail.contains("may not"), "{detail}");
    let (name, mute) = (folder.path().join("wxfaq.toml"), "[[account]]\nid = \"mute\"");
    let text = fs::read_to_string(&name).unwrap();
    fs::write(&name, text.replace(mute, &format!("check_source = true\n{mute}"))).unwrap();
    let found = findings(&folder, "callback addresses of demo").1;
    assert_eq!(found, [("good".to_owned(), "2 addresses and networks".to_owned())]);
    assert!(
        detail.starts_with("may: menu (1000 of 1000 calls left today), customer-service messages (500000 of"),
        "{detail}"
    );

    // As a subscription account without verification is answered.
    wechat.fake.refuse("/cgi-bin/menu/get", 48_001, "api unauthorized");
    wechat.fake.refuse(TYPING, 48_001, "api unauthorized");
    let detail = &findings(&folder, "permissions of demo").1[0].1;
    assert!(
        detail.contains("may not: menu, customer-service messages (an answer after five seconds must wait"),
        "{detail}"
    );

    wechat
        .fake
        .refuse(QUOTA, 76_022, "could not use this cgi_path, no permission");
    wechat.fake.limit("/cgi-bin/media/upload", 0);
    let (verdict, detail) = &findings(&folder, "permissions of demo").1[0];
    assert!(
        verdict == "warning" && detail.contains("used up for today: media upload; may not: menu"),
        "{detail}"
    );

    let mute = &findings(&folder, "WeChat API of mute").1[0];
    assert!(mute.0 == "good" && mute.1.contains("passive replies only"), "{mute:?}");
    assert!(
        wechat.fake.sent().is_empty() && wechat.fake.calls("/cgi-bin/menu/create") == 0,
        "looking changes nothing"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn check_says_what_is_wrong_with_an_account() {
    let wechat = FakeWechat::start().await;
    let folder = folder(&wechat.base);
    wechat
        .fake
        .refuse("/cgi-bin/stable_token", 40_125, "invalid appsecret rid: 1-2");
    let (code, found) = findings(&folder, "WeChat API of demo");
    assert!(
        code == Some(78) && found[0].0 == "wrong" && found[0].1.contains("40125"),
        "{found:?}"
    );
    let base = wechat.base.clone();
    drop(wechat);
    // Nobody listens there once the fake is gone.
    let begin = Instant::now();
    while std::net::TcpStream::connect(base.trim_start_matches("http://")).is_ok() {
        assert!(begin.elapsed() < PATIENCE);
        tokio::task::yield_now().await;
    }
    let (code, found) = findings(&folder, "WeChat API of");
    assert_eq!(code, Some(69), "{found:?}");
    let verdicts: Vec<&str> = found.iter().map(|(verdict, _)| verdict.as_str()).collect();
    assert_eq!(verdicts, ["wrong", "warning"], "who does not call needs nobody there");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_consoles_rules_are_shown_and_then_taken_over() {
    let wechat = FakeWechat::start().await;
    let folder = folder(&wechat.base);
    let import = |more: &[&str]| wxfaq(&folder, &[&["import", "--from-wechat", "demo"], more].concat());
    let (code, out, err) = import(&["--dry-run"]);
    assert!(
        code == Some(0) && out.contains("dry run, nothing written: 4 new, 0 changed, 0 same"),
        "{out}{err}"
    );
    assert!(out.contains("FAKE_CONSOLE_MEDIA"), "media keep their ids: {out}");
    assert!(!folder.path().join("data/wxfaq.db").exists(), "nor a database");
    let (code, out, err) = import(&[]);
    assert!(
        code == Some(0) && out.contains("4 new, 0 changed, 0 same"),
        "{out}{err}"
    );
    let (_, out, _) = import(&["--json"]);
    let outcome: Value = serde_json::from_str(&out).unwrap();
    let verdicts: Vec<_> = outcome["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| &row["verdict"])
        .collect();
    assert_eq!(verdicts, ["same"; 4], "a second time nothing changes");
    let (_, listed, _) = wxfaq(&folder, &["rule", "list"]);
    for part in [
        "subscribe",
        "default",
        r#"[{"equals":"营业时间"},{"contains":"几点开门"}]"#,
        "accounts demo",
    ] {
        assert!(listed.contains(part), "{part}: {listed}");
    }
    assert_eq!(import(&["--mode", "replace"]).0, Some(64));
    let (code, out, err) = import(&["--dry-run", "--entries", "old.jsonl"]);
    assert!(
        code == Some(0) && out.contains("then `wxfaq import old.jsonl`"),
        "{out}{err}"
    );
    let (code, out, err) = wxfaq(&folder, &["import", "old.jsonl"]);
    assert!(code == Some(0) && out.contains("new"), "{out}{err}");
    assert_eq!(import(&["--entries", "old.txt"]).0, Some(64));
}

#[test]
fn fake_wechat_serves_until_it_is_stopped() {
    let mut fake = Command::new(BINARY)
        .args(["fake-wechat", "--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(fake.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    let base = first.split_whitespace().find(|word| word.starts_with("http")).unwrap();
    let base = base.trim_end_matches(';');
    let folder = folder(base);
    fs::write(folder.path().join("menu.toml"), MENU).unwrap();
    let (code, out, err) = wxfaq(&folder, &["menu", "set", "menu.toml", "--account", "demo"]);
    assert_eq!(code, Some(0), "{out}{err}");
    let curl = |arguments: &[&str]| {
        let output = Command::new("curl").arg("-s").args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(curl(&[&format!("{base}/fake/calls")]).contains("\"/cgi-bin/menu/create\":1"));
    assert_eq!(curl(&[&format!("{base}/fake/sent")]), "[]");
    let fail = r#"{"path":"/cgi-bin/menu/get","errcode":48001}"#;
    assert!(curl(&[&format!("{base}/fake/fail"), "-d", fail]).contains("\"errcode\":0"));
    assert_eq!(wxfaq(&folder, &["menu", "get", "--account", "demo"]).0, Some(69));
    assert_eq!(wxfaq(&folder, &["menu", "get", "--account", "demo"]).0, Some(0));
    let contact = r#"{"openid":"oA","kind":"message"}"#;
    assert!(curl(&[&format!("{base}/fake/contact"), "-d", contact]).contains("\"errcode\":0"));
    assert!(
        curl(&[&format!("{base}/fake/contact"), "-d", "{}"]).contains("message|click"),
        "says how"
    );
    assert!(curl(&[&format!("{base}/fake/slow"), "-d", "{}"]).contains("seconds"));
    let pid = fake.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert_eq!(fake.wait().unwrap().code(), Some(0));
    let public = run(folder.path(), &["fake-wechat", "--listen", "0.0.0.0:0"]);
    assert_eq!(public.status.code(), Some(64));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_menu_key_that_nothing_answers_is_named() {
    let wechat = FakeWechat::start().await;
    let folder = folder(&wechat.base);
    fs::write(folder.path().join("menu.toml"), MENU).unwrap();
    let set = || wxfaq(&folder, &["menu", "--account", "demo", "set", "menu.toml"]);
    let line = r#"{"id":"menu-1","trigger":{"click":["TODAY"]},"replies":["…"]}"#;
    let (code, out, err) = set();
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(err.contains("\"TODAY\"") && err.contains(line), "{err}");
    let (code, found) = findings(&folder, "menu of demo");
    assert_eq!(code, Some(0), "{found:?}");
    let [(verdict, detail)] = found.as_slice() else {
        panic!("{found:?}")
    };
    assert!(verdict == "warning" && detail.contains(line), "{detail}");

    fs::write(folder.path().join("rules.jsonl"), line).unwrap();
    assert_eq!(wxfaq(&folder, &["rule", "import", "rules.jsonl"]).0, Some(0));
    assert_eq!(set().2, "", "nothing to say");
    assert_eq!(findings(&folder, "menu of demo").1[0].0, "good");
    let elsewhere = line
        .replace("]}", r#"],"accounts":["mute"]}"#)
        .replace(r#"["TODAY"],"accounts":["mute"]}"#, r#"["TODAY"]}"#);
    fs::write(folder.path().join("rules.jsonl"), elsewhere).unwrap();
    assert_eq!(wxfaq(&folder, &["rule", "import", "rules.jsonl"]).0, Some(0));
    assert!(set().2.contains("TODAY"), "another account's rule");
    // An entry's id or question answers a key as well.
    let entry = r#"{"id":"TODAY","question":"今天问什么","answer":"问吧"}"#;
    fs::write(folder.path().join("bank.jsonl"), entry).unwrap();
    assert_eq!(wxfaq(&folder, &["import", "bank.jsonl"]).0, Some(0));
    assert_eq!(set().2, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_was_edited_here_is_not_taken_back_unasked() {
    let wechat = FakeWechat::start().await;
    let folder = folder(&wechat.base);
    let import = |more: &[&str]| wxfaq(&folder, &[&["import", "--from-wechat", "demo"], more].concat());
    assert_eq!(import(&[]).0, Some(0));
    let rules = folder.path().join("rules.jsonl");
    assert_eq!(wxfaq(&folder, &["rule", "export", "rules.jsonl"]).0, Some(0));
    let exported = fs::read_to_string(&rules).unwrap();
    let edited = exported.replace("营业时间", "开门时间");
    assert_ne!(edited, exported);
    fs::write(&rules, &edited).unwrap();
    assert_eq!(wxfaq(&folder, &["rule", "import", "rules.jsonl"]).0, Some(0));
    for arguments in [&["--dry-run"][..], &[]] {
        let (code, out, err) = import(arguments);
        assert_eq!(code, Some(0), "{out}{err}");
        assert!(out.contains("0 new, 0 changed, 3 same"), "{out}");
        assert!(
            out.contains("kept      console-") && out.contains("--overwrite"),
            "{out}"
        );
    }
    let (_, out, _) = import(&["--json"]);
    let outcome: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(outcome["kept"].as_array().map(Vec::len), Some(1), "{out}");
    assert!(wxfaq(&folder, &["rule", "list"]).1.contains("开门时间"));
    let (_, out, _) = import(&["--overwrite"]);
    assert!(out.contains("0 new, 1 changed, 3 same"), "{out}");
    assert!(wxfaq(&folder, &["rule", "list"]).1.contains("营业时间"));
    // What came from WeChat last follows it.
    assert!(import(&["--dry-run"]).1.contains("4 same"));
}
