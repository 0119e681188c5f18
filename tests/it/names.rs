//! What an editor is called, with the real binary: whatever stands in a name, the terminal of who reads it only shows it.

use crate::support::daemon::{configuration, free_port, program, run};
use sqlx::any::AnyConnectOptions;
use sqlx::{AnyConnection, Connection};
use std::fs;
use std::process::Command;
use wxfaq::store::sql::sqlite_url;

const NAME: &str = "ev\u{1b}[31mil\u{1b}]0;title\u{7}\n\u{202e}nib";
const SHOWN: &str = "ev [31mil ]0;title   nib";

fn acts(c: char) -> bool {
    (c.is_control() && c != '\n') || matches!(c, '\u{202e}' | '\u{2066}' | '\u{2028}')
}

#[test]
fn what_the_bank_says_only_shows_on_the_terminal() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
    write("wxfaq.toml", &configuration(free_port(), free_port(), ""));
    let turned = r#"{"id":"a","question":"怎么\u202e开户","answer":"请\u2066到\u2028网点","category":"开\u202e户"}"#;
    write("bank.jsonl", turned);
    write(
        "second.jsonl",
        r#"{"id":"b","question":"怎么\u202e开户","answer":"二"}"#,
    );
    write(
        "rules.jsonl",
        r#"{"id":"r","trigger":{"keywords":[{"equals":"你好"}]},"replies":["您\u202e好"]}"#,
    );
    let reply = ["--reply", "在\u{2066}这里", "--title", "开\u{202e}户"];
    let category = "开\u{202e}户";
    for (arguments, code, shown) in [
        (&["import", "bank.jsonl"][..], 0, "1 new"),
        (&["import", "second.jsonl"], 65, "row 1, column question"),
        (&["rule", "import", "rules.jsonl"], 0, "1 new"),
        (
            &[&["category", "put", category][..], &reply].concat(),
            0,
            "开 户 is set",
        ),
        (
            &["category", "put", "别\u{202e}的", "--title", "一"],
            0,
            "别 的: no entry",
        ),
        (&["category", "list"], 0, "开 户  开 户  1 entries"),
        (
            &["category", "show", &format!("{category}/下")],
            66,
            "no entry stands in 开 户/下",
        ),
        (&["ask", "怎么开户"], 0, "请 到 网点"),
        (&["ask", "怎么开户"], 0, "a  怎么 开户"),
        (&["ask", "怎么开户", "--trace"], 0, "怎么 开户"),
        (&["ask", "你好"], 0, "您 好"),
        (&["ask", category], 0, "在 这里"),
        (&["check", "--offline"], 0, "别 的: no entry"),
        (&["category", "remove", category], 0, "nothing is set for 开 户"),
    ] {
        let output = run(folder, &[&["--config", "wxfaq.toml"], arguments].concat());
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(
            output.status.code() == Some(code) && said.contains(shown),
            "{arguments:?}: {said:?}"
        );
        assert!(!said.contains(acts), "{arguments:?}: {said:?}");
    }
}

#[tokio::test]
async fn a_name_does_nothing_to_the_terminal_of_who_reads_it() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
    write("wxfaq.toml", &configuration(free_port(), free_port(), ""));
    write("bank.jsonl", r#"{"id":"a","question":"怎么开户","answer":"一"}"#);
    write("other.jsonl", r#"{"id":"a","question":"怎么开户","answer":"二"}"#);
    write("greeting.txt", "您好");
    let changes: [&[&str]; 4] = [
        &["import", "bank.jsonl"],
        &["template", "put", "greeting.txt", "greeting.txt"],
        &["apikey", "add", "n"],
        &["entry", "draft", "a"],
    ];
    for arguments in changes {
        let mut command = Command::new(program());
        command.args(["--config", "wxfaq.toml"]).args(arguments);
        command.env_remove("SUDO_USER").env("USER", NAME);
        let output = command.current_dir(folder).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }
    let looked = || {
        let looks: [&[&str]; 5] = [
            &["history"],
            &["entry", "put", "other.jsonl", "--made-from", "1"],
            &["apikey", "list"],
            &["entry", "show", "a"],
            &["template", "list"],
        ];
        for arguments in looks {
            let output = run(folder, &[&["--config", "wxfaq.toml"], arguments].concat());
            let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
            assert!(said.contains(SHOWN), "{arguments:?}: {said:?}");
            assert!(!said.contains(acts), "{arguments:?}: {said:?}");
        }
    };
    looked();

    // As a release before this one, or another program, may have written them.
    sqlx::any::install_default_drivers();
    let options: AnyConnectOptions = sqlite_url(&folder.join("data/wxfaq.db")).parse().unwrap();
    let mut connection = AnyConnection::connect_with(&options).await.unwrap();
    for update in [
        "UPDATE history SET changed_by = ?",
        "UPDATE entry SET created_by = ?",
        "UPDATE entry SET updated_by = ?",
        "UPDATE bank_text SET updated_by = ?",
        "UPDATE api_key SET created_by = ?",
    ] {
        sqlx::query(update).bind(NAME).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
    looked();
}
