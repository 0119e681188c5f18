//! Killed at the worst moment: what was acknowledged is there, what was not is absent, and nothing needs repair.

use crate::support::daemon::{BINARY, Daemon, PATIENCE, run, simulate};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// Enough for SQLite to write most pages before it commits.
const ROWS: usize = 3_000;

/// What of a whole import's writing is done when the kill comes.
const DONE: [f64; 5] = [0.02, 0.3, 0.55, 0.8, 0.97];

#[test]
fn a_kill_during_an_import_leaves_the_bank_as_it_was() {
    let mut daemon = Daemon::start("");
    let mut whole = Import::start(daemon.folder.path(), "whole");
    let begin = Instant::now();
    let mut writes = 0;
    while whole.process.try_wait().unwrap().is_none() {
        assert!(begin.elapsed() < PATIENCE, "the import does not end");
        writes = whole.written().unwrap_or(writes);
    }
    let mut before = questions(daemon.folder.path());
    let mut interrupted = 0;
    for (round, done) in DONE.into_iter().enumerate() {
        let mut import = Import::start(daemon.folder.path(), &round.to_string());
        let begin = Instant::now();
        while import.process.try_wait().unwrap().is_none() {
            assert!(begin.elapsed() < PATIENCE, "the import neither writes nor ends");
            if import
                .written()
                .is_some_and(|bytes| bytes as f64 >= writes as f64 * done)
            {
                break;
            }
        }
        import.process.kill().unwrap();
        import.process.wait().unwrap();
        daemon = daemon.killed_and_started_again();
        let after = questions(daemon.folder.path());
        assert!(before.is_subset(&after), "round {round}: entries are gone");
        match after.len() - before.len() {
            0 => interrupted += 1,
            // It may have committed between our last look and the kill.
            ROWS => {}
            new => panic!("round {round}: {new} of {ROWS} questions are there"),
        }
        before = after;
        assert!(simulate(&daemon, &["--account", "safe", "科创板开户要什么条件"]).contains("50万"));
    }
    println!("{interrupted} of {} imports interrupted", DONE.len());
    assert!(interrupted >= 3, "too few imports were interrupted: {interrupted}");
}

/// A running `wxfaq import` of new questions.
struct Import {
    process: Child,
}

impl Import {
    fn start(folder: &Path, name: &str) -> Self {
        let mut csv = String::from("question,answer\n");
        let filler = "答案".repeat(60);
        for row in 0..ROWS {
            writeln!(csv, "第{name}批第{row}个新问题是什么,{filler}{row}").unwrap();
        }
        fs::write(folder.join("new.csv"), csv).unwrap();
        let process = Command::new(BINARY)
            .args(["--config", "wxfaq.toml", "import", "new.csv"])
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self {
            process: process.unwrap(),
        }
    }

    /// Bytes it has handed to the system to write; `None` once it has ended.
    fn written(&self) -> Option<u64> {
        let text = fs::read_to_string(format!("/proc/{}/io", self.process.id())).ok()?;
        text.lines().find_map(|line| line.strip_prefix("wchar: "))?.parse().ok()
    }
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
