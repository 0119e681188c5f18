//! Killed at the worst moment: what was acknowledged is there, what was not is absent, and nothing needs repair.

use crate::support::daemon::{BINARY, Daemon, PATIENCE, run, simulate};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// Enough for SQLite to write pages long before it commits.
const ROWS: usize = 6_000;

/// Killing begins when so many bytes of an unfinished import are in the write-ahead log, and later from round to round.
const WRITTEN: [u64; 4] = [1, 300_000, 900_000, 1_800_000];

#[test]
fn a_kill_during_an_import_leaves_the_bank_as_it_was() {
    let mut daemon = Daemon::start("");
    let before = questions(daemon.folder.path());
    let mut interrupted = 0;
    for (round, written) in WRITTEN.into_iter().enumerate() {
        let mut csv = String::from("question,answer\n");
        for row in 0..ROWS {
            let filler = "答案".repeat(60);
            writeln!(csv, "第{round}批第{row}个新问题是什么,{filler}{row}").unwrap();
        }
        fs::write(daemon.path("new.csv"), csv).unwrap();
        let log = daemon.path("data/wxfaq.db-wal");
        let size = || fs::metadata(&log).map_or(0, |file| file.len());
        let untouched = size();
        let mut import = Command::new(BINARY)
            .args(["--config", "wxfaq.toml", "import", "new.csv"])
            .current_dir(daemon.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let begin = Instant::now();
        let ended = loop {
            assert!(begin.elapsed() < PATIENCE, "the import neither writes nor ends");
            if let Some(status) = import.try_wait().unwrap() {
                break Some(status);
            }
            if size() >= untouched + written {
                break None;
            }
        };
        import.kill().unwrap();
        import.wait().unwrap();
        daemon = daemon.killed_and_started_again();
        let after = questions(daemon.folder.path());
        let new = after
            .difference(&before)
            .filter(|question| question.starts_with(&format!("第{round}批")));
        match (ended, new.count()) {
            (None, 0) => interrupted += 1,
            // It may have committed between our last look and the kill.
            (_, ROWS) => {}
            (ended, new) => panic!("round {round}: {new} of {ROWS} questions are there; the import's end: {ended:?}"),
        }
        assert!(before.is_subset(&after), "round {round}: entries are gone");
        assert!(simulate(&daemon, &["--account", "safe", "科创板开户要什么条件"]).contains("50万"));
    }
    assert!(interrupted > 0, "no import was interrupted: nothing was tested");
}

/// The questions of the bank, read by `wxfaq export`.
fn questions(folder: &Path) -> BTreeSet<String> {
    let exported = run(folder, &["--config", "wxfaq.toml", "export", "bank.jsonl"]);
    assert!(exported.status.success(), "{exported:?}");
    let text = fs::read_to_string(folder.join("bank.jsonl")).unwrap();
    fs::remove_file(folder.join("bank.jsonl")).unwrap();
    let question = |line: &str| {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap();
        entry["question"].as_str().unwrap().to_owned()
    };
    text.lines().map(question).collect()
}
