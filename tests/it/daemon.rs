//! The real binary, as an operator meets it.

use crate::support::daemon::{Daemon, configuration, free_port, run, simulate};
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[test]
fn followers_are_answered_in_every_mode() {
    let daemon = Daemon::start("");
    for mode in ["safe", "compatible", "plain"] {
        let say = |arguments: &[&str]| simulate(&daemon, &[&["--account", mode], arguments].concat());
        assert!(say(&["科创板开户要什么条件"]).contains("50万"));
        assert!(say(&["客创板 咋开护"]).contains("科创板"));
        assert!(say(&["今天天气怎么样"]).contains("还没有这个问题的答案"));
        assert!(say(&["--event", "subscribe"]).contains("感谢关注"));
        assert!(say(&["--event", "CLICK", "sec-001"]).contains("50万"));
        assert!(say(&["--kind", "image"]).contains("图片"));
        assert!(say(&["基金赎回"]).contains("\n2. "));
        assert!(!say(&["２"]).contains("列表"));
        assert_eq!(say(&["--retries", "怎么销户"]).matches("-- delivery").count(), 3);
    }
}

#[test]
fn a_stop_is_graceful_and_ends_well() {
    let mut daemon = Daemon::start("");
    daemon.signal("TERM");
    assert_eq!(daemon.exit_code(), Some(0));
}

#[test]
fn a_template_is_taken_up_when_its_file_changes_and_refused_when_it_is_broken() {
    let templates = tempfile::tempdir().unwrap();
    let reply = templates.path().join("reply");
    fs::create_dir(&reply).unwrap();
    let daemon = Daemon::start(&format!("[paths]\ntemplates = {:?}", templates.path()));
    let greeting = || simulate(&daemon, &["--account", "plain", "--event", "subscribe"]);
    fs::write(reply.join("greeting.txt"), "新的欢迎词").unwrap();
    daemon.wait_until("the new greeting is used", || greeting().contains("新的欢迎词"));
    fs::write(reply.join("greeting.txt"), "一\n{% if %}").unwrap();
    daemon.wait_until("the broken one is refused", || {
        daemon.log().contains("greeting.txt:2: ")
    });
    assert!(greeting().contains("新的欢迎词"));
}

#[test]
fn a_folder_of_templates_that_is_swapped_is_still_watched_and_one_that_is_gone_changes_nothing() {
    let templates = tempfile::tempdir().unwrap();
    let (reply, next) = (templates.path().join("reply"), templates.path().join("next"));
    for (folder, words) in [(&reply, "第一版"), (&next, "第二版")] {
        fs::create_dir(folder).unwrap();
        fs::write(folder.join("greeting.txt"), words).unwrap();
    }
    let daemon = Daemon::start(&format!("[paths]\ntemplates = {:?}", templates.path()));
    let greeting = || simulate(&daemon, &["--account", "plain", "--event", "subscribe"]);
    assert!(greeting().contains("第一版"));
    fs::rename(&reply, templates.path().join("old")).unwrap();
    fs::rename(&next, &reply).unwrap();
    daemon.wait_until("the new folder is used", || greeting().contains("第二版"));
    fs::write(reply.join("greeting.txt"), "第三版").unwrap();
    daemon.wait_until("a file in it is used", || greeting().contains("第三版"));
    fs::remove_dir_all(&reply).unwrap();
    daemon.signal("HUP");
    daemon.wait_until("the reload is refused", || {
        daemon.log().contains("configuration not reloaded")
    });
    assert!(greeting().contains("第三版"));
    let check = || {
        let output = run(daemon.folder.path(), &["--config", "wxfaq.toml", "check", "--offline"]);
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    };
    assert_eq!(check().0, Some(78), "{}", check().1);
    fs::create_dir(&reply).unwrap();
    assert!(check().1.contains("warning  templates"), "{}", check().1);
    fs::write(reply.join("greeting.txt"), "第四版").unwrap();
    assert!(check().1.contains("greeting.txt"), "{}", check().1);
    daemon.wait_until("the folder is found again", || greeting().contains("第四版"));
}

#[test]
fn a_reload_takes_up_what_is_right_and_refuses_what_is_wrong() {
    let daemon = Daemon::start("");
    let rewrite = |more: &str| {
        fs::write(
            daemon.path("wxfaq.toml"),
            configuration(daemon.port, daemon.ops_port, more),
        )
        .unwrap();
        daemon.signal("HUP");
    };
    rewrite("[matching]\nanswer_treshold = 0.5");
    daemon.wait_until("the wrong one is refused", || {
        daemon.log().contains("did you mean matching.answer_threshold?")
    });
    assert!(
        simulate(
            &daemon,
            &["--account", "plain", "科创板开户要什么条件", "--url", &url(&daemon)]
        )
        .contains("50万")
    );
    rewrite("[matching]\nanswer_threshold = 1.0\nsuggest_threshold = 1.0");
    daemon.wait_until("it is reloaded", || daemon.log().contains("configuration reloaded"));
    assert!(simulate(&daemon, &["--account", "plain", "科创板开户要什么条件"]).contains("还没有"));
}

#[test]
fn a_wider_window_waits_for_the_restart() {
    let daemon = Daemon::start("");
    let wider = configuration(daemon.port, daemon.ops_port, "timestamp_window_seconds = 600");
    fs::write(daemon.path("wxfaq.toml"), wider).unwrap();
    daemon.signal("HUP");
    daemon.wait_until("it is told", || {
        daemon
            .log()
            .contains("timestamp_window_seconds is wider; this takes effect at the next restart")
    });
}

fn url(daemon: &Daemon) -> String {
    // While the file is wrong, nobody can read it: neither can `simulate`.
    fs::write(
        daemon.path("wxfaq.toml"),
        configuration(daemon.port, daemon.ops_port, ""),
    )
    .unwrap();
    format!("http://127.0.0.1:{}", daemon.port)
}

#[test]
fn a_change_of_the_bank_reaches_the_running_daemon() {
    let daemon = Daemon::start("");
    fs::write(daemon.path("new.csv"), "问题,答案\n量子理财是什么,这是刚刚加上的答案\n").unwrap();
    let imported = run(daemon.folder.path(), &["--config", "wxfaq.toml", "import", "new.csv"]);
    assert!(imported.status.success(), "{imported:?}");
    daemon.wait_until("the new entry is answered", || {
        simulate(&daemon, &["--account", "plain", "量子理财是什么"]).contains("刚刚加上")
    });
}

#[test]
fn a_broken_row_is_named_and_nothing_is_imported() {
    let daemon = Daemon::start("");
    let rows: String = (2..17).map(|n| format!("q{n},a{n}\n")).collect::<Vec<_>>().concat();
    fs::write(daemon.path("broken.csv"), format!("question,answer\n{rows}lonely,\n")).unwrap();
    let refused = run(
        daemon.folder.path(),
        &["--config", "wxfaq.toml", "import", "broken.csv"],
    );
    assert_eq!(refused.status.code(), Some(65));
    let said = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert!(
        said.contains("row 17, column answer") && said.contains("nothing imported"),
        "{said}"
    );
    let exported = run(
        daemon.folder.path(),
        &["--config", "wxfaq.toml", "export", "bank.jsonl"],
    );
    assert!(exported.status.success());
    assert!(
        !fs::read_to_string(daemon.path("bank.jsonl"))
            .unwrap()
            .contains("\"q2\"")
    );
}

#[test]
fn a_wrong_configuration_does_not_start() {
    let cases = [
        (
            "[matching]\nanswer_treshold = 0.7",
            "did you mean matching.answer_threshold?",
        ),
        ("[reply]\ndeadline_ms = 9000", "accepted: a whole number, 500–4800"),
        (
            "[[account]]\nid = \"x\"\nappid = \"wx1\"\nmode = \"plain\"\ntoken = \"\"",
            "token: must not be empty",
        ),
        (
            "[[account]]\nid = \"x\"\nappid = \"wx1\"\nmode = \"plain\"\ntoken = \"weixin\"",
            "stands in tutorials",
        ),
    ];
    for (more, said) in cases {
        let folder = tempfile::tempdir().unwrap();
        fs::write(
            folder.path().join("wxfaq.toml"),
            configuration(free_port(), free_port(), more),
        )
        .unwrap();
        for command in ["serve", "check"] {
            let output = run(folder.path(), &["--config", "wxfaq.toml", command]);
            assert_eq!(output.status.code(), Some(78), "{output:?}");
            assert!(String::from_utf8_lossy(&output.stderr).contains(said), "{output:?}");
        }
    }
}

#[test]
fn the_first_day_makes_secrets_once_and_keeps_the_bank() {
    let folder = tempfile::tempdir().unwrap();
    let mut kept = None;
    for start in 0..2 {
        let mut daemon = Daemon::first_day(folder.path());
        let told = daemon.simulate_first_day(folder.path(), "科创板开户要什么条件");
        assert!(told.contains("50万"), "start {start}: {told}");
        daemon.signal("TERM");
        assert_eq!(daemon.exit_code(), Some(0));
        let secrets = fs::read(folder.path().join("data/secrets.toml")).unwrap();
        assert_eq!(*kept.get_or_insert(secrets.clone()), secrets);
    }
    let mode = |name: &str| fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode("data"), mode("data/secrets.toml"), mode("data/wxfaq.db")),
        (0o700, 0o600, 0o600)
    );
}

#[test]
fn a_file_that_cannot_be_read_or_written_is_named_with_the_cause() {
    let folder = tempfile::tempdir().unwrap();
    let config = configuration(free_port(), free_port(), "");
    fs::write(folder.path().join("wxfaq.toml"), config).unwrap();
    fs::write(folder.path().join("one.csv"), "question,answer\na,b\n").unwrap();
    fs::create_dir(folder.path().join("folder.csv")).unwrap();
    let cases: [(&[&str], i32, &str); 4] = [
        (&["import", "absent.csv"], 66, "wxfaq: absent.csv: No such file"),
        (&["import", "folder.csv"], 66, "wxfaq: folder.csv: is a directory"),
        (&["import", "one.csv"], 0, ""),
        (&["export", "absent/x.csv"], 73, "wxfaq: absent/x.csv: No such file"),
    ];
    for (arguments, code, said) in cases {
        let output = run(folder.path(), &[&["--config", "wxfaq.toml"], arguments].concat());
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.starts_with(said), "{text}");
    }
}

#[test]
fn the_first_day_keeps_everything_in_the_folder_the_environment_names() {
    let folder = tempfile::tempdir().unwrap();
    let data = "a%20b#c";
    let mut daemon = Daemon::first_day_with(
        folder.path(),
        &[
            ("WXFAQ__PATHS__DATA", data),
            ("WXFAQ__ACCOUNT__0__APP_SECRET", "secret"),
        ],
    );
    daemon.signal("TERM");
    assert_eq!(daemon.exit_code(), Some(0));
    assert!(!folder.path().join("data").exists());
    for file in ["secrets.toml", "wxfaq.db"] {
        assert!(folder.path().join(data).join(file).exists(), "{file}");
    }
}

#[test]
fn a_reader_that_has_gone_ends_a_command_quietly() {
    let folder = tempfile::tempdir().unwrap();
    for command in ["man", "completions bash"] {
        let output = std::process::Command::new("sh")
            .args(["-c", &format!("exec {} {command}", crate::support::daemon::BINARY)])
            .current_dir(folder.path())
            .stdout(closed_pipe())
            .output()
            .unwrap();
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// The writing end of a pipe whose reader has gone.
fn closed_pipe() -> std::process::Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

#[test]
fn an_import_that_cannot_begin_says_so_in_json_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &["import", "absent.csv", "--json"]);
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &said["applied"]), (Some(66), &false.into()));
    assert!(said["error"].as_str().unwrap().contains("absent.csv"), "{said}");
}

#[test]
fn commands_that_only_look_make_no_database_and_export_keeps_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let config = configuration(
        free_port(),
        free_port(),
        "[database]\nurl = \"sqlite://nested/bank.db\"",
    );
    fs::write(folder.path().join("wxfaq.toml"), config).unwrap();
    fs::write(folder.path().join("bank.jsonl"), "what was exported before\n").unwrap();
    let said = |arguments: &[&str]| {
        let output = run(folder.path(), &[&["--config", "wxfaq.toml"], arguments].concat());
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (output.status.code(), text)
    };
    let commands: [(&[&str], i32); 4] = [
        (&["export", "bank.jsonl"], 69),
        (&["ask", "怎么开户"], 69),
        (&["check", "--offline"], 0),
        (&["check", "--offline", "--json"], 0),
    ];
    for (arguments, code) in commands {
        let (status, text) = said(arguments);
        assert_eq!(status, Some(code), "{arguments:?}: {text}");
        assert!(
            text.contains("no database at") && text.contains("/nested/bank.db"),
            "{text}"
        );
        assert!(!folder.path().join("nested").exists(), "{arguments:?}");
    }
    // A bank that was emptied: the database is there, and the file still stays.
    fs::write(folder.path().join("one.csv"), "id,question,answer,state\na,b,c,draft\n").unwrap();
    fs::write(folder.path().join("none.csv"), "question,answer\n").unwrap();
    assert_eq!(said(&["import", "none.csv"]).0, Some(0));
    let (status, text) = said(&["export", "bank.jsonl"]);
    assert_eq!(status, Some(65), "{text}");
    assert!(text.contains("the bank is empty"), "{text}");
    assert_eq!(
        fs::read_to_string(folder.path().join("bank.jsonl")).unwrap(),
        "what was exported before\n"
    );
    assert_eq!(said(&["export", "new.jsonl"]).0, Some(0));
    assert_eq!(said(&["import", "one.csv"]).0, Some(0));
    assert_eq!(said(&["export", "bank.jsonl"]).0, Some(0));
}
