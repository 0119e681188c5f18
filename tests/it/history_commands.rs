//! The bank's history with the real binary: who changed what, as it was, and back again.

use crate::support::daemon::{configuration, free_port, run};
use sqlx::any::AnyConnectOptions;
use sqlx::{AnyConnection, Connection};
use std::fs;
use tempfile::TempDir;
use wxfaq::bank::category::MAX_CATEGORIES;
use wxfaq::bank::{Answer, Entry, EntryId};
use wxfaq::store::sql::{Author, Database, sqlite_url};

/// A folder with a configuration and the bank of two entries and a rule, at revision 2.
struct Bench(TempDir);

impl Bench {
    fn new() -> Self {
        let bench = Self(tempfile::tempdir().unwrap());
        bench.write("wxfaq.toml", &configuration(free_port(), free_port(), ""));
        bench.write(
            "bank.jsonl",
            r#"{"id":"a","question":"怎么开户","answer":"一"}
               {"id":"b","question":"怎么销户","answer":"一"}"#,
        );
        bench.write("rules.jsonl", r#"{"id":"r","trigger":"default","replies":["一"]}"#);
        bench.did(&["import", "bank.jsonl"], "revision 1");
        bench.did(&["rule", "import", "rules.jsonl"], "revision 2");
        bench
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.path().join(name), text).unwrap();
    }

    /// Exit code, and everything that was said.
    fn wxfaq(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = run(self.0.path(), &[&["--config", "wxfaq.toml"], arguments].concat());
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code(), said)
    }

    /// What was said by a command that did what was asked.
    fn did(&self, arguments: &[&str], expected: &str) -> String {
        let (code, said) = self.wxfaq(arguments);
        assert!(code == Some(0) && said.contains(expected), "{arguments:?}: {said}");
        said
    }

    fn refused(&self, arguments: &[&str], exit: i32, expected: &str) {
        let (code, said) = self.wxfaq(arguments);
        assert!(
            code == Some(exit) && said.contains(expected),
            "{arguments:?}: {code:?} {said}"
        );
    }
}

#[test]
fn the_second_of_two_editors_is_told_and_overwrites_nothing() {
    let bench = Bench::new();
    let shown = bench.did(&["show", "a"], "\"一\"");
    bench.write("first.jsonl", &shown.replace("\"一\"", "\"二\""));
    bench.write("second.jsonl", &shown.replace("\"一\"", "\"三\""));
    let seen = "it is there already; say with --made-from N at which revision you saw it; a by ";
    bench.refused(&["entry", "put", "first.jsonl"], 65, seen);
    bench.did(&["entry", "put", "first.jsonl", "--made-from", "2"], "revision 3");
    let told = "in revision 3: answer";
    bench.refused(&["entry", "put", "second.jsonl", "--made-from", "2"], 65, told);
    bench.refused(&["entry", "disable", "a", "--made-from", "2"], 65, told);
    bench.did(&["show", "a"], "\"二\"");
    bench.did(&["entry", "put", "second.jsonl", "--made-from", "3"], "revision 4");
    bench.did(&["entry", "disable", "a"], "a is disabled; the bank is at revision 5");
    bench.did(&["entry", "show", "a", "--json"], "\"revision\":5");
    bench.refused(&["import", "first.jsonl", "--made-from", "2"], 65, "a by ");
    let dry = ["import", "first.jsonl", "--dry-run", "--made-from", "2"];
    bench.refused(&dry, 65, "changed since revision 2; a by ");
    bench.did(&["import", "first.jsonl", "--made-from", "5"], "revision 6");
    // What is gone may be made anew, and then is there again. What it was before is nobody's business.
    bench.did(&["entry", "remove", "a"], "revision 7");
    bench.refused(
        &["entry", "put", "first.jsonl", "--made-from", "6"],
        65,
        "since revision 6; a by ",
    );
    bench.did(&["entry", "put", "first.jsonl"], "revision 8");
    let (_, said) = bench.wxfaq(&["entry", "put", "second.jsonl"]);
    assert!(
        said.contains("in revision 8: made") && !said.contains("in revision 3"),
        "{said}"
    );
    bench.write("broken.jsonl", "\n{\"id\":\"c\",\"question\":\" \",\"answer\":\"一\"}");
    bench.refused(&["entry", "put", "broken.jsonl"], 65, "row 2: question");
}

#[test]
fn a_revision_that_is_still_to_come_is_refused_however_it_is_asked_for() {
    let bench = Bench::new();
    let said = "the bank has not come to revision 3: it is at 2";
    for what in [&["a"][..], &["rule/r"], &["nowhere"], &["--bank"]] {
        bench.refused(&[&["show"], what, &["--revision", "3"]].concat(), 65, said);
    }
    bench.did(&["show", "a", "--revision", "2"], "怎么开户");
}

/// One rule a line, each with ten regexes.
fn regex_rules(letter: char, count: usize) -> String {
    let regexes = |rule: usize| (0..10).map(move |n| format!(r#"{{"regex":"{letter}{rule}{n}"}}"#));
    let rule = |n: usize| {
        let keywords = regexes(n).collect::<Vec<_>>().join(",");
        format!("{{\"id\":\"{letter}{n}\",\"trigger\":{{\"keywords\":[{keywords}]}},\"replies\":[\"一\"]}}\n")
    };
    (0..count).map(rule).collect()
}

#[test]
fn going_back_keeps_to_the_limits_of_all_rules_and_categories() {
    let bench = Bench::new();
    bench.write("first.jsonl", &regex_rules('a', 6));
    bench.write("second.jsonl", &regex_rules('b', 6));
    bench.did(&["rule", "import", "first.jsonl", "--mode", "replace"], "revision 3");
    bench.did(&["rule", "import", "second.jsonl", "--mode", "replace"], "revision 4");
    for n in 0..4 {
        bench.did(&["revert", &format!("rule/a{n}"), "--to", "3"], "back again");
    }
    let said = "nothing was written: with it there are 110 regexes, at most 100 are allowed";
    bench.refused(&["revert", "rule/a4", "--to", "3", "--dry-run"], 65, said);
    bench.refused(&["revert", "rule/a4", "--to", "3"], 65, said);
    // What the whole change leaves is what counts.
    bench.did(
        &["revert", "--bank", "--to", "3"],
        "8 changed; the bank is at revision 9",
    );

    let categories = |letter: char| -> String {
        let line = |n: usize| format!("{{\"category\":\"{letter}{n}\",\"title\":\"一\"}}\n");
        (0..MAX_CATEGORIES).map(line).collect()
    };
    bench.write("first.jsonl", &categories('a'));
    bench.write("second.jsonl", &categories('b'));
    bench.did(&["category", "import", "first.jsonl"], "revision 10");
    bench.did(
        &["category", "import", "second.jsonl", "--mode", "replace"],
        "revision 11",
    );
    let said = "nothing was written: with it there are 1001 categories, at most 1000 are allowed";
    bench.refused(&["category", "put", "c", "--title", "一"], 65, said);
    bench.refused(&["revert", "category/a0", "--to", "10", "--dry-run"], 65, said);
    bench.refused(&["revert", "category/a0", "--to", "10"], 65, said);
}

#[tokio::test]
async fn check_tells_of_more_rules_and_categories_than_are_allowed() {
    let bench = Bench::new();
    bench.write("rules.jsonl", &regex_rules('a', 6));
    bench.did(&["rule", "import", "rules.jsonl"], "revision 3");
    bench.did(&["category", "put", "a", "--title", "一"], "revision 4");
    // As an older build, or a backup, may have left them.
    let more = [
        "INSERT INTO reply_rule SELECT replace(id, 'a', 'b'), replace(definition, '\"id\":\"a', '\"id\":\"b'), created_at, created_by, \
         updated_at, updated_by, revision FROM reply_rule WHERE id LIKE 'a%'",
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 1000) \
         INSERT INTO category SELECT id || n, replace(definition, '\"a\"', '\"a' || n || '\"'), created_at, created_by, \
         updated_at, updated_by, revision FROM category, n",
    ];
    sqlx::any::install_default_drivers();
    let options: AnyConnectOptions = sqlite_url(&bench.0.path().join("data/wxfaq.db")).parse().unwrap();
    let mut connection = AnyConnection::connect_with(&options).await.unwrap();
    for more in more {
        sqlx::query(more).execute(&mut connection).await.unwrap();
    }
    let (code, said) = bench.wxfaq(&["check", "--offline"]);
    assert_eq!(code, Some(65));
    for wrong in [
        "WRONG    rules: there are 120 regexes, at most 100 are allowed",
        "WRONG    categories: there are 1001 categories, at most 1000 are allowed",
    ] {
        assert!(said.lines().any(|line| line == wrong), "{wrong}");
    }
    // Whatever makes it no more is taken.
    bench.did(&["category", "put", "a", "--title", "二"], "a is set");
    bench.refused(
        &["category", "put", "b", "--title", "二"],
        65,
        "there are 1002 categories",
    );
    bench.did(&["category", "remove", "a"], "nothing is set for a any more");
    let few = r#"{"id":"b0","trigger":{"keywords":[{"regex":"b"}]},"replies":["二"]}"#;
    bench.write("fewer.jsonl", few);
    bench.did(&["rule", "import", "fewer.jsonl", "--dry-run"], "1 changed");
    bench.did(&["rule", "import", "fewer.jsonl"], "1 changed");
    bench.did(&["revert", "rule/a0", "--to", "2"], "rule/a0: removed again");
    let back = "nothing was written: with it there are 111 regexes, at most 100 are allowed";
    bench.refused(&["revert", "rule/a0", "--to", "3", "--dry-run"], 65, back);
    bench.refused(&["revert", "rule/a0", "--to", "3"], 65, back);
}

#[test]
fn an_entry_a_rule_and_the_whole_bank_go_back_without_losing_anything() {
    let bench = Bench::new();
    bench.did(&["entry", "remove", "a"], "a is gone; the bank is at revision 3");
    bench.refused(&["show", "a"], 66, "there is no a");
    bench.did(&["show", "a", "--revision", "2"], "怎么开户");
    bench.did(
        &["revert", "a", "--to", "2"],
        "a: back again\n1 changed; the bank is at revision 4",
    );
    bench.write("rules.jsonl", r#"{"id":"r","trigger":"default","replies":["二"]}"#);
    bench.did(&["rule", "import", "rules.jsonl"], "revision 5");
    bench.did(
        &["diff", "rule/r", "--from", "2"],
        "  replies\n    - [\"一\"]\n    + [\"二\"]",
    );
    bench.did(&["entry", "draft", "b"], "revision 6");

    let between = bench.did(&["diff", "--bank", "--from", "2"], "rule/r");
    assert!(
        between.contains("b\n  state\n    - published\n    + draft") && !between.contains("a\n"),
        "{between}"
    );
    bench.did(&["diff", "--bank", "--from", "3", "--to", "4"], "a: made");
    bench.did(&["diff", "--bank", "--from", "4", "--to", "3"], "a: removed");
    let before = bench.did(&["show", "--bank", "--revision", "1"], "怎么销户");
    assert!(!before.contains("\"trigger\""), "the rule came later: {before}");
    bench.did(
        &["revert", "--bank", "--to", "1", "--dry-run"],
        "nothing written: 2 changed; the bank is at revision 6",
    );
    let went = bench.did(
        &["revert", "--bank", "--to", "1"],
        "2 changed; the bank is at revision 7",
    );
    assert!(
        went.contains("b: as it was at revision 1") && went.contains("rule/r: removed again"),
        "{went}"
    );
    assert_eq!(bench.did(&["show", "--bank"], ""), before);
    bench.did(&["revert", "--bank", "--to", "6"], "revision 8");
    bench.did(&["show", "rule/r"], "二");
    bench.did(
        &["revert", "--bank", "--to", "8"],
        "0 changed; the bank is at revision 8",
    );
    bench.refused(&["revert", "a", "--to", "9"], 65, "it is at 8");
    bench.refused(&["revert", "--to", "1"], 64, "--bank");
    bench.refused(&["diff", "a", "--from", "9"], 65, "it is at 8");
    bench.refused(&["diff", "--bank", "--from", "1", "--to", "9"], 65, "it is at 8");

    let history = bench.did(&["history", "a"], "");
    let lines: Vec<&str> = history.lines().collect();
    assert!(
        lines.len() == 3 && lines[0].contains("(revert to 2)  a: made"),
        "{history}"
    );
    let all: serde_json::Value = serde_json::from_str(&bench.did(&["history", "--json"], "")).unwrap();
    assert_eq!(
        (all[0]["revision"].as_u64(), all.as_array().unwrap().len()),
        (Some(8), 11)
    );
}

#[test]
fn a_name_that_nothing_ever_had_is_no_success() {
    let bench = Bench::new();
    for thing in ["nobody", "rule/nobody", "category/没有"] {
        let told = format!("there is no {thing}, and never was");
        bench.refused(&["history", thing], 66, &told);
        bench.refused(&["show", thing], 66, &told);
        bench.refused(&["diff", thing, "--from", "1"], 66, &told);
        bench.refused(&["revert", thing, "--to", "1"], 66, &told);
    }
    for (thing, told) in [
        ("dict/words.txt", "there is no dict/words.txt; there are user.txt, "),
        ("template/nothing.txt", "there is no template/nothing.txt; there are "),
    ] {
        bench.refused(&["history", thing], 66, told);
        bench.refused(&["show", thing], 66, told);
        bench.refused(&["diff", thing, "--from", "1"], 66, told);
        bench.refused(&["revert", thing, "--to", "1"], 66, told);
    }
    // What is there and was never changed has no history; what is gone has one.
    bench.did(&["history", "dict/user.txt"], "no change is known");
    bench.did(&["diff", "template/greeting.txt", "--from", "1"], "no difference");
    bench.did(&["entry", "remove", "b"], "revision 3");
    bench.did(&["history", "b"], "b: removed");
    bench.write(
        "c.jsonl",
        r#"{"id":"c","question":"怎么换卡","answer":"三","category":"卡/换卡"}"#,
    );
    bench.did(&["import", "c.jsonl"], "revision 4");
    bench.did(&["history", "category/卡"], "no change is known");
}

#[test]
fn what_another_entry_says_is_found_refused_and_merged() {
    let bench = Bench::new();
    bench.did(&["entry", "duplicates"], "no phrasing");
    bench.write(
        "c.jsonl",
        r#"{"id":"c","question":"怎样销户？","similar":["怎么开户？","注销"],"answer":"三"}"#,
    );
    bench.refused(&["entry", "put", "c.jsonl"], 65, "also stands in");
    let draft = r#"{"id":"c","question":"注销","similar":["怎么开户？"],"answer":"三","state":"draft"}"#;
    bench.write("c.jsonl", draft);
    bench.did(&["entry", "put", "c.jsonl"], "revision 3");
    bench.refused(
        &["entry", "publish", "c"],
        65,
        "c, similar: \"怎么开户？\" also stands in a",
    );
    bench.refused(&["entry", "merge", "a", "a"], 64, "itself");
    bench.did(
        &["entry", "merge", "a", "c"],
        "a has what c had; the bank is at revision 4",
    );
    bench.did(&["show", "a"], r#""similar":["注销"]"#);
    bench.refused(&["show", "c"], 66, "there is no c");

    bench.write(
        "d.jsonl",
        r#"{"id":"d","question":"注销","answer":"四","accounts":["plain"]}"#,
    );
    bench.refused(&["entry", "put", "d.jsonl"], 65, "also stands in a");
}

#[tokio::test]
async fn check_warns_of_what_two_entries_say_since_before_that_was_refused() {
    let bench = Bench::new();
    let told = "warning  bank: c, question: \"怎么开户？\" also stands in a";
    let (_, said) = bench.wxfaq(&["check", "--offline"]);
    assert!(!said.contains("also stands in"), "{said}");
    let database = Database::open(&sqlite_url(&bench.0.path().join("data/wxfaq.db")))
        .await
        .unwrap();
    let again = Entry::new(
        EntryId::parse("c").unwrap(),
        "怎么开户？".to_owned(),
        Answer::Text("三".to_owned()),
    );
    let by = Author {
        who: "王".to_owned(),
        source: "test".to_owned(),
    };
    database.questions().apply(&[again], &[], &by, 1, 2).await.unwrap();
    bench.did(&["check", "--offline"], told);
}

#[test]
fn a_restore_is_a_line_of_the_history_and_not_undone_by_going_back() {
    let bench = Bench::new();
    bench.did(&["backup", "a.backup"], "revision 2");
    bench.did(&["entry", "disable", "a"], "revision 3");
    let restored = bench.did(&["restore", "a.backup", "--replace", "--json"], "\"bank_revision\":4");
    let report: serde_json::Value = serde_json::from_str(&restored).unwrap();
    let checksum = report["sha256"].as_str().unwrap();
    let told = bench.did(
        &["history", "--limit", "1"],
        " (restore)  bank/restored: from a.backup (revision 2, taken ",
    );
    let expected = format!("checksum {}…), in the place of revision 3\n", &checksum[..12]);
    assert!(told.starts_with("     4  ") && told.ends_with(&expected), "{told}");
    assert_eq!(bench.did(&["history", "bank/restored"], "").lines().count(), 1);
    bench.did(&["show", "bank/restored"], checksum);
    bench.did(&["diff", "--bank", "--from", "2"], "no difference");
    bench.did(&["show", "--bank"], "怎么开户");
    bench.refused(
        &["show", "--bank", "--revision", "3"],
        65,
        "went on from revision 2 at 4",
    );
    bench.did(
        &["revert", "--bank", "--to", "1"],
        "rule/r: removed again\n1 changed; the bank is at revision 5",
    );
    for dry in [&[][..], &["--dry-run"]] {
        bench.refused(
            &[&["revert", "bank/restored", "--to", "1"], dry].concat(),
            65,
            "bank/restored: what was restored is left by",
        );
    }
}

#[test]
fn the_name_of_a_backup_does_nothing_to_the_terminal() {
    let bench = Bench::new();
    let name = "a\u{1b}[2J\u{9b}1m\n.backup";
    bench.did(&["backup", name], "revision 2");
    bench.did(&["restore", name, "--replace"], "revision 3");
    for told in [
        bench.did(
            &["history", "bank/restored"],
            "bank/restored: from a [2J 1m .backup (revision 2",
        ),
        bench.did(&["diff", "bank/restored", "--from", "2"], "    + a [2J 1m"),
    ] {
        assert!(!told.contains(|c: char| c.is_control() && c != '\n'), "{told:?}");
    }
}

#[test]
fn a_dry_run_of_going_back_refuses_what_going_back_refuses() {
    let bench = Bench::new();
    bench.did(&["entry", "disable", "a"], "revision 3");
    bench.write("new.jsonl", r#"{"id":"c","question":"怎么开户","answer":"二"}"#);
    bench.did(&["import", "new.jsonl"], "revision 4");
    for dry in [&[][..], &["--dry-run"]] {
        let back = [&["revert", "a", "--to", "2"], dry].concat();
        bench.refused(&back, 65, "nothing was written, merge them or change one: ");
    }
    bench.did(&["entry", "disable", "c"], "revision 5");
    let back = ["revert", "a", "--to", "2", "--dry-run"];
    bench.did(&back, "dry run, nothing written: 1 changed; the bank is at revision 5");
    bench.did(&back[..4], "1 changed; the bank is at revision 6");
}
