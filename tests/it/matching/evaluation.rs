//! `wxfaq eval` on the sample bank, and a development task.

use super::{DEFAULT, entry, index};
use wxfaq::matching::metrics::{LabelledQuery, agreement, evaluate};

#[test]
fn two_processes_find_the_same_in_whatever_order_the_bank_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let bank = std::fs::read_to_string("config/sample-bank.jsonl").unwrap();
    let backwards: Vec<&str> = bank.lines().rev().collect();
    let run = |name: &str, bank: &str| {
        let [bank_file, out] = ["bank.jsonl", "run.jsonl"].map(|end| folder.path().join(format!("{name}-{end}")));
        std::fs::write(&bank_file, bank).unwrap();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_wxfaq"));
        command
            .current_dir(folder.path())
            .arg("eval")
            .arg("--bank")
            .arg(&bank_file);
        let queries = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/sample-queries.jsonl");
        command.args(["--queries", queries, "--run-out"]).arg(&out);
        let ended = command.output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        std::fs::read_to_string(out).unwrap()
    };
    let found = run("first", &bank);
    assert!(found.lines().count() > 400, "{}", found.lines().count());
    assert!(found == run("second", &backwards.join("\n")), "the runs differ");
}

#[test]
fn a_query_that_follows_on_an_entry_the_bank_does_not_have_is_refused_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let queries = folder.path().join("queries.jsonl");
    let eval = |after: &str| {
        let first = r#"{"id":"1","query":"科创板开户","relevant":["sec-001"]}"#;
        let second = format!(r#"{{"id":"2","query":"那费用呢","relevant":[],"after":"{after}"}}"#);
        std::fs::write(&queries, format!("{first}\n\n{second}\n")).unwrap();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_wxfaq"));
        command.current_dir(folder.path()).args(["eval", "--bank"]);
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/config/sample-bank.jsonl"));
        let ended = command.arg("--queries").arg(&queries).output().unwrap();
        (ended.status.code(), String::from_utf8(ended.stderr).unwrap())
    };
    assert_eq!(eval("sec-001").0, Some(0));
    let (code, said) = eval("sec-nowhere");
    let expected = format!("{}:3: after: the bank has no entry \"sec-nowhere\"", queries.display());
    assert!(code == Some(65) && said.contains(&expected), "{code:?} {said}");
}

/// The levels of "words BM25" on a development task (eval/README.md of the shared folder), which matching must beat.
#[test]
fn colloquial_questions_are_ranked_better_than_by_words() {
    let folder = std::env::var("WXFAQ_SHARED_DIR").unwrap_or_else(|_| "../shared".into());
    let read = |file: &str| std::fs::read_to_string(format!("{folder}/eval/ant/{file}")).ok();
    let (Some(bank), Some(queries)) = (read("bank.jsonl"), read("queries.jsonl")) else {
        println!("{folder}/eval/ant is absent: 0 cases");
        return;
    };
    let entries = bank.lines().map(|line| {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let similar: Vec<&str> = row["similar"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|text| text.as_str())
            .collect();
        entry(
            row["id"].as_str().unwrap(),
            row["question"].as_str().unwrap(),
            &similar,
            "",
        )
    });
    let index = index(entries.collect());
    // Every second query keeps an unoptimised build within seconds.
    let queries: Vec<LabelledQuery> = queries
        .lines()
        .step_by(2)
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let found = agreement(&index, &queries[..queries.len() / 4], DEFAULT);
    println!("candidates against everything: {found:?}");
    assert!(found.same_first_hit * 100 >= found.queries * 99, "{found:?}");
    let summary = evaluate(&index, &queries, DEFAULT).summary;
    let (hit_at_1, auc) = (summary.ranks.unwrap().hit_at_1, summary.auc_in_out.unwrap());
    println!(
        "{} cases of {folder}/eval/ant: hit@1 {hit_at_1:.3}, AUC {auc:.3}",
        queries.len()
    );
    assert!(
        hit_at_1 > 0.40 && auc > 0.80,
        "hit@1 {hit_at_1}, AUC {auc}; by words 0.355 and 0.764"
    );
}
