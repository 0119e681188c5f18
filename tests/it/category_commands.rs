//! Categories with the real binary: set, shown, imported, taken over by a running daemon, named in the history, backed up.

use crate::support::daemon::{Daemon, configuration, free_port, run, simulate};
use std::fs;
use std::path::Path;
use wxfaq::bank::Category;
use wxfaq::store::sql::{Author, Database, sqlite_url};

/// Exit code, and everything that was said.
fn wxfaq(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = run(folder, &[&["--config", "wxfaq.toml"], arguments].concat());
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.code(), said)
}

#[track_caller]
fn did(folder: &Path, arguments: &[&str], expected: &str) -> String {
    let (code, said) = wxfaq(folder, arguments);
    assert!(
        code == Some(0) && said.contains(expected),
        "{arguments:?}: {code:?} {said}"
    );
    said
}

#[track_caller]
fn refused(folder: &Path, arguments: &[&str], exit: i32, expected: &str) {
    let (code, said) = wxfaq(folder, arguments);
    assert!(
        code == Some(exit) && said.contains(expected),
        "{arguments:?}: {code:?} {said}"
    );
}

#[test]
fn a_running_daemon_takes_a_default_reply_over_and_the_tree_shows_it() {
    let daemon = Daemon::start("[api]\npublic = true");
    let folder = daemon.folder.path();
    let bank = r#"{"id":"z1","question":"甲类积分怎么兑换","answer":"一","category":"积分/甲类"}
        {"id":"z2","question":"乙类积分何时清零","answer":"二","category":"积分/乙类","priority":3}"#;
    fs::write(daemon.path("bank.jsonl"), bank).unwrap();
    did(folder, &["import", "bank.jsonl"], "2 new");
    let put = [
        "category",
        "put",
        "积分",
        "--title",
        "会员积分",
        "--reply",
        "《积分说明》",
        "--order",
        "-1",
    ];
    did(folder, &put, "积分 is set; the bank is at revision");
    let plain = |text: &str| simulate(&daemon, &["--account", "plain", text]);
    daemon.wait_until("the category is used", || plain("会员积分").contains("《积分说明》"));
    let said = plain("请问积分");
    let (second, first) = (said.find("甲类积分怎么兑换"), said.find("乙类积分何时清零"));
    assert!(first < second && first.is_some(), "by priority: {said}");
    assert!(plain("1").contains('二'), "a number chooses");

    let traced = did(
        folder,
        &["ask", "--account", "plain", "--trace", "积分"],
        "headed by the default reply of 积分",
    );
    assert!(traced.ends_with("《积分说明》\n"), "{traced}");
    did(
        folder,
        &["ask", "--account", "plain", "积分", "--json"],
        "\"why\":\"name\"",
    );

    let body = crate::api::get(&daemon, "/api/v1/categories?account=plain", None).body;
    let node = body["tree"][0].clone();
    assert_eq!(
        (node["category"].as_str(), node["name"].as_str()),
        (Some("积分"), Some("会员积分"))
    );
    assert_eq!((node["count"].as_u64(), node["total"].as_u64()), (Some(0), Some(2)));
    assert_eq!(node["children"][1]["category"], "积分/甲类");
    let flat = body["categories"].as_array().unwrap();
    assert!(
        flat.iter()
            .any(|row| row["category"] == "积分/甲类" && row["count"] == 1),
        "as before: {body}"
    );
    assert!(!flat.iter().any(|row| row["category"] == "积分"), "as before: {body}");
    let found = crate::api::get(&daemon, "/api/v1/search?account=plain&q=积分&category=积分", None).body;
    let hits = found["hits"].as_array().unwrap();
    assert!(
        hits.iter().any(|hit| hit["category"] == "积分/甲类") && hits.len() == 2,
        "a search in a category is one below it, too: {found}"
    );

    did(
        folder,
        &["category", "remove", "积分"],
        "nothing is set for 积分 any more",
    );
    daemon.wait_until("it is gone", || !plain("积分").contains("《积分说明》"));
}

#[test]
fn categories_have_a_history_files_and_backups() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
    write("wxfaq.toml", &configuration(free_port(), free_port(), ""));
    write(
        "bank.jsonl",
        r#"{"id":"a","question":"怎么开户","answer":"一","category":"开户/网上"}"#,
    );
    did(folder, &["import", "bank.jsonl"], "revision 1");
    did(folder, &["category", "put", "开户", "--reply", "一"], "revision 2");
    did(
        folder,
        &["category", "put", "开户", "--title", "开户指南"],
        "revision 3",
    );
    did(
        folder,
        &["category", "put", "开户", "--title", "开户指南"],
        "revision 3",
    );
    did(folder, &["category", "show", "开户/网上"], "that of 开户: 一");
    let listed = did(
        folder,
        &["category", "list"],
        "开户  开户指南  0 entries, 1 with those below  default reply",
    );
    assert!(listed.contains("\n  网上  1 entries, 1 with those below"), "{listed}");

    refused(
        folder,
        &["category", "put", "开户", "--reply", "二", "--made-from", "1"],
        65,
        "category/开户 by ",
    );
    refused(
        folder,
        &["category", "put", "开户", "--reply", &"字".repeat(301)],
        65,
        "reply: has 301 characters",
    );
    refused(
        folder,
        &["category", "put", "开户//网上", "--reply", "二"],
        65,
        "category",
    );
    refused(folder, &["category", "show", "没有"], 66, "no entry stands in 没有");
    refused(folder, &["category", "remove", "开户/网上"], 66, "nothing is set");

    did(folder, &["show", "category/开户", "--revision", "2"], "\"title\":\"\"");
    did(folder, &["diff", "category/开户", "--from", "2"], "+ 开户指南");
    did(folder, &["history", "category/开户"], "category/开户: title");
    did(
        folder,
        &["revert", "category/开户", "--to", "2"],
        "as it was at revision 2",
    );
    did(folder, &["category", "remove", "开户"], "revision 5");
    did(folder, &["revert", "--bank", "--to", "4"], "category/开户: back again");

    did(folder, &["category", "export", "now.jsonl"], "1 categories, revision 6");
    let file = fs::read_to_string(folder.join("now.jsonl")).unwrap();
    assert_eq!(
        file,
        "{\"category\":\"开户\",\"title\":\"\",\"order\":0,\"reply\":\"一\"}\n"
    );
    write(
        "more.jsonl",
        &format!("{file}{{\"category\":\"基金\",\"reply\":\" 二 \"}}\n"),
    );
    let dry = did(
        folder,
        &["category", "import", "more.jsonl", "--dry-run"],
        "row 2: new, 基金",
    );
    assert!(dry.contains("warning: 基金: no entry stands in it"), "{dry}");
    did(
        folder,
        &["category", "import", "more.jsonl"],
        "1 new, 0 changed, 1 same",
    );
    did(
        folder,
        &["category", "import", "now.jsonl", "--mode", "replace"],
        "1 same, 1 removed",
    );
    write(
        "broken.jsonl",
        "{\"category\":\"a\"}\n{\"category\":\"a\"}\n{\"category\":\"b\",\"order\":1001}\n",
    );
    refused(
        folder,
        &["category", "import", "broken.jsonl"],
        65,
        "row 2, column category: a also stands in row 1",
    );
    refused(
        folder,
        &["category", "import", "broken.jsonl"],
        65,
        "row 3, column order: 1001 is not between",
    );

    // An export of revision 6, and somebody has changed what it would change.
    write("late.jsonl", &file.replace("\"一\"", "\"三\""));
    did(folder, &["category", "put", "开户", "--title", "指南"], "revision 9");
    for more in [&["--dry-run"][..], &[]] {
        let late = ["category", "import", "late.jsonl", "--made-from", "6"];
        refused(
            folder,
            &[&late[..], more].concat(),
            65,
            "changed since revision 6; category/开户 by ",
        );
    }
    did(folder, &["revert", "category/开户", "--to", "8"], "revision 10");
    did(
        folder,
        &["category", "import", "late.jsonl", "--made-from", "10", "--dry-run"],
        "1 changed",
    );

    did(folder, &["backup", "all.backup"], "");
    did(folder, &["category", "remove", "开户"], "");
    did(folder, &["restore", "all.backup", "--replace"], "");
    did(folder, &["category", "show", "开户"], "its own");
}

#[tokio::test]
async fn check_looks_at_categories_as_at_the_rest() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    fs::write(folder.join("wxfaq.toml"), configuration(free_port(), free_port(), "")).unwrap();
    let bank = r#"{"id":"a","question":"怎么开户","answer":"一","category":"开户/网上"}
        {"id":"b","question":"怎么销户","answer":"二","category":"开护"}"#;
    fs::write(folder.join("bank.jsonl"), bank).unwrap();
    did(folder, &["import", "bank.jsonl"], "revision 1");
    let checked = did(
        folder,
        &["check", "--offline"],
        "ok       categories: 0 set in the database",
    );
    assert!(!checked.contains("warning  categories"), "{checked}");
    did(folder, &["category", "put", "开户", "--reply", "一"], "revision 2");
    let put = did(folder, &["category", "put", "基金", "--title", "理财"], "revision 3");
    assert!(
        put.contains("warning: 基金: no entry stands in it or below it\n"),
        "{put}"
    );
    let checked = did(
        folder,
        &["check", "--offline"],
        "ok       categories: 2 set in the database, 1 with a default reply",
    );
    for warned in [
        "warning  categories: 基金: no entry stands in it or below it",
        "warning  categories: entries name what nothing is set for, nor above it: 开护 (1 entries)",
    ] {
        assert!(checked.contains(warned), "{checked}");
    }

    // As another release, or somebody else, may have left them.
    let url = sqlite_url(&folder.join("data/wxfaq.db"));
    let database = Database::open(&url).await.unwrap();
    let long = Category {
        reply: "字".repeat(301),
        ..Category::new("开户")
    };
    let by = Author {
        who: "王".to_owned(),
        source: "test".to_owned(),
    };
    database.categories().apply(&[long], &[], &by, 1, 3).await.unwrap();
    refused(folder, &["check", "--offline"], 65, "categories: 开户: reply: has 301");
    let options: sqlx::any::AnyConnectOptions = url.parse().unwrap();
    let mut connection = <sqlx::AnyConnection as sqlx::Connection>::connect_with(&options)
        .await
        .unwrap();
    let spoil = "UPDATE category SET definition = '{' WHERE id = '开户'";
    sqlx::query(spoil).execute(&mut connection).await.unwrap();
    refused(
        folder,
        &["check", "--offline"],
        65,
        "categories: sqlite holds something unreadable: category 开户",
    );
}

#[tokio::test]
async fn what_was_set_is_told_though_the_bank_cannot_be_read() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    fs::write(folder.join("wxfaq.toml"), configuration(free_port(), free_port(), "")).unwrap();
    let bank = r#"{"id":"a","question":"怎么开户","answer":"一","category":"开户"}"#;
    fs::write(folder.join("bank.jsonl"), bank).unwrap();
    did(folder, &["import", "bank.jsonl"], "1 new");
    let rule = r#"{"id":"r","trigger":"default","replies":["一"]}"#;
    fs::write(folder.join("rules.jsonl"), rule).unwrap();
    did(folder, &["rule", "import", "rules.jsonl"], "1 new");
    sqlx::any::install_default_drivers();
    let options: sqlx::any::AnyConnectOptions = sqlite_url(&folder.join("data/wxfaq.db")).parse().unwrap();
    let mut connection = <sqlx::AnyConnection as sqlx::Connection>::connect_with(&options)
        .await
        .unwrap();
    for spoil in ["UPDATE entry SET state = '?'", "UPDATE reply_rule SET definition = '{'"] {
        sqlx::query(spoil).execute(&mut connection).await.unwrap();
    }
    let said = did(
        folder,
        &["category", "put", "开户", "--title", "一"],
        "开户 is set; the bank is at revision 3",
    );
    assert!(
        said.contains("warning: whether entries stand in it is not known: sqlite holds something unreadable"),
        "{said}"
    );
    fs::write(folder.join("greeting.txt"), "您好").unwrap();
    let said = did(
        folder,
        &["template", "put", "greeting.txt", "greeting.txt"],
        "the bank is at revision 4",
    );
    assert!(
        said.contains("warning: which rules answer first is not known: sqlite holds something unreadable"),
        "{said}"
    );
}
