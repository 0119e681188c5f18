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
    (c.is_control() && c != '\n') || c == '\u{202e}'
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
