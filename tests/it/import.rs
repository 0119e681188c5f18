//! Import and export as commands run them, with a real database file.
#![allow(clippy::unwrap_used, reason = "a helper that panics fails its test")]

use crate::support::daemon::{BINARY, run};
use crate::support::database::{TestDatabase, on_every_database};
use crate::support::database_server::{CANARY, mariadb, postgres};
use std::fs;
use std::path::{Path, PathBuf};
use wxfaq::bank::format::Layout;
use wxfaq::bank::import::Mode;
use wxfaq::commands::import::{ImportError, ImportOptions};
use wxfaq::commands::{Exit, export, import, media};
use wxfaq::intake::{Counts, ImportReport, ImportTerms};
use wxfaq::store::sql::{Database, OpenError};

fn normalise(text: &str) -> String {
    text.to_lowercase().chars().filter(|c| c.is_alphanumeric()).collect()
}

struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        fs::write(self.path(name), content).unwrap();
        self.path(name)
    }

    fn url(&self, name: &str) -> String {
        format!("sqlite://{}", self.path(name).display())
    }

    async fn import(&self, file: &Path, mode: Mode, dry_run: bool) -> Result<ImportReport, ImportError> {
        self.import_to("bank.db", file, mode, dry_run).await
    }

    async fn import_to(&self, db: &str, file: &Path, mode: Mode, dry_run: bool) -> Result<ImportReport, ImportError> {
        self.import_at(&self.url(db), file, mode, dry_run).await
    }

    async fn import_at(
        &self,
        database_url: &str,
        file: &Path,
        mode: Mode,
        dry_run: bool,
    ) -> Result<ImportReport, ImportError> {
        let terms = ImportTerms {
            mode,
            dry_run,
            made_from: None,
            who: "tester",
            normalise: &normalise,
            file_problem: &|answer| media::Shelf::none().problem(answer),
        };
        let options = ImportOptions {
            file,
            result: Some(&self.path("result.jsonl")),
            database: database_url.into(),
            terms,
        };
        import::run_by(Path::new(BINARY), options).await
    }

    async fn import_with_result(&self, file: &Path, result: &Path) -> Result<ImportReport, ImportError> {
        let terms = ImportTerms {
            mode: Mode::Append,
            dry_run: false,
            made_from: None,
            who: "tester",
            normalise: &normalise,
            file_problem: &|_| None,
        };
        let url = self.url("bank.db");
        let options = ImportOptions {
            file,
            result: Some(result),
            database: (&url).into(),
            terms,
        };
        import::run_by(Path::new(BINARY), options).await
    }

    async fn revision_and_size(&self) -> (u64, usize) {
        let database = Database::open(&self.url("bank.db")).await.unwrap();
        let (revision, entries) = database.questions().load().await.unwrap();
        (revision, entries.len())
    }
}

/// A sheet of rows 2 to 30, `broken` in place of row 17.
fn sheet(broken: &str) -> String {
    let row = |row| match row {
        17 => format!("{broken}\r\n"),
        row => format!("问题{row},答案{row},0\r\n"),
    };
    std::iter::once("问题,答案,优先级\r\n".to_owned())
        .chain((2..=30).map(row))
        .collect()
}

#[tokio::test]
async fn a_broken_row_17_is_named_with_its_column_and_nothing_is_imported() {
    let bench = Bench::new();
    for (broken, expected) in [
        ("问题17,,0", "row 17, column answer: is missing"),
        (
            "问题17,\"\u{7}\",0",
            "row 17, column answer: has the control character U+0007",
        ),
        (
            "问题17,答案,high",
            "row 17, column priority: \"high\" is not a whole number",
        ),
        (
            "问题17,答案,101",
            "row 17, column priority: 101 is not between -100 and 100",
        ),
        (
            "问题 4,答案,0",
            "row 17, column question: \"问题 4\" also stands in row 4",
        ),
        (
            "问题17,\"答案,0",
            "row 17: cell 2: a quotation mark is opened and never closed",
        ),
    ] {
        let file = bench.write("rows.csv", sheet(broken));
        let report = bench.import(&file, Mode::Append, false).await.unwrap();
        let (text, expected) = (report.to_string(), format!("{expected}\nnothing imported: 1 of "));
        assert!(text.starts_with(&expected), "{text}");
        assert_eq!((Exit::from(&report), report.applied), (Exit::BadData, false));
        assert_eq!(bench.revision_and_size().await, (0, 0));
    }
    let file = bench.write("rows.csv", sheet("问题17,答案17,0"));
    let report = bench.import(&file, Mode::Append, false).await.unwrap();
    assert_eq!(
        report.to_string(),
        "29 new, 0 changed, 0 same, 0 removed; the bank is at revision 1"
    );
    assert_eq!(bench.revision_and_size().await, (1, 29));
}

#[tokio::test]
async fn importing_again_changes_nothing_and_replacing_removes_what_the_file_lacks() {
    let bench = Bench::new();
    let file = bench.write("bank.csv", sheet("问题17,答案17,5"));
    bench.import(&file, Mode::Append, false).await.unwrap();
    let again = bench.import(&file, Mode::Append, false).await.unwrap();
    assert_eq!((again.counts.same, again.revision), (29, 1));

    let small = bench.write("small.jsonl", r#"{"question":"问题2","answer":"new"}"#);
    let rehearsal = bench.import(&small, Mode::Replace, true).await.unwrap();
    let expected = Counts {
        changed: 1,
        removed: 28,
        ..Counts::default()
    };
    assert_eq!((rehearsal.counts, rehearsal.applied), (expected, false));
    assert!(
        rehearsal
            .to_string()
            .contains("dry run, nothing written: 0 new, 1 changed")
    );
    assert_eq!(bench.revision_and_size().await, (1, 29));
    let json = serde_json::to_value(&rehearsal).unwrap();
    assert_eq!(
        (&json["rows"][0]["verdict"], &json["rows"][0]["row"]),
        (&"changed".into(), &1.into())
    );

    let real = bench.import(&small, Mode::Replace, false).await.unwrap();
    assert_eq!((real.counts, real.applied), (expected, true));
    assert_eq!(bench.revision_and_size().await, (2, 1));
}

#[tokio::test]
async fn what_was_exported_is_the_same_bank_in_another_database() {
    let bench = Bench::new();
    let file = bench.write(
        "bank.jsonl",
        concat!(
            r#"{"id":"a","question":"=1+1 是多少","similar":["a|b","c\\"],"answer":"2\n\"two\", 二","category":"数学/加法","tags":["+"]}"#, "\n",
            r#"{"question":"图","answer":{"media_id":"m"},"kind":"image","state":"draft","valid_from":1772328600}"#, "\n",
            r#"{"question":"人工","answer":{},"kind":"handoff","channels":["wechat","h5"],"accounts":["demo"],"priority":-5}"#, "\n",
        ),
    );
    assert!(bench.import(&file, Mode::Append, false).await.unwrap().applied);
    for name in ["out.jsonl", "out.csv", "out.xlsx"] {
        let out = bench.path(name);
        let report = export::run(&out, Layout::Full, &bench.url("bank.db")).await.unwrap();
        assert_eq!((report.entries, report.revision), (3, 1));
        let back = bench.import_to("bank.db", &out, Mode::Replace, true).await.unwrap();
        assert_eq!(
            (back.counts.same, back.rows.len(), back.counts.removed),
            (3, 3, 0),
            "{back}"
        );
        let copy = format!("{name}.db");
        bench.import_to(&copy, &out, Mode::Replace, false).await.unwrap();
        let load = async |db: &str| {
            Database::open(&bench.url(db))
                .await
                .unwrap()
                .questions()
                .load()
                .await
                .unwrap()
                .1
        };
        assert_eq!(load(&copy).await, load("bank.db").await);
    }
    let left: Vec<_> = fs::read_dir(bench.folder.path())
        .unwrap()
        .map(|file| file.unwrap().file_name())
        .collect();
    assert!(
        !left.iter().any(|name| name.to_string_lossy().ends_with(".tmp")),
        "{left:?}"
    );
}

#[tokio::test]
async fn a_simple_sheet_says_what_it_has_and_what_it_leaves_out() {
    let bench = Bench::new();
    let bank = concat!(
        r#"{"question":"甲","answer":"一"}"#,
        "\n",
        r#"{"question":"乙","answer":"二","state":"draft"}"#,
        "\n",
        r#"{"question":"图","answer":{"media_id":"m"},"kind":"image"}"#,
    );
    let file = bench.write("bank.jsonl", bank);
    bench.import(&file, Mode::Append, false).await.unwrap();
    for (name, layout, expected) in [
        ("simple.csv", Layout::Simple, (2, 1)),
        ("simple.xlsx", Layout::Simple, (2, 1)),
        ("simple.jsonl", Layout::Simple, (3, 0)),
        ("full.csv", Layout::Full, (3, 0)),
    ] {
        let out = bench.path(name);
        let report = export::run(&out, layout, &bench.url("bank.db")).await.unwrap();
        assert_eq!((report.entries, report.left_out), expected, "{name}");
        assert_eq!(report.to_string().contains("; 1 left out"), expected.1 == 1, "{report}");
        let back = bench.import_to("other.db", &out, Mode::Append, true).await.unwrap();
        assert_eq!(back.rows.len(), expected.0, "{name}");
    }
}

#[tokio::test]
async fn the_result_has_the_columns_that_only_the_editor_knows() {
    let bench = Bench::new();
    let file = bench.write(
        "bank.csv",
        "作者,问题,答案,结果,审核人\n张三,甲,一,old,李四\n,乙,,,王五\n",
    );
    let result = bench.path("result.csv");
    let report = bench.import_with_result(&file, &result).await.unwrap();
    assert!(!report.applied, "{report}");
    let result = fs::read_to_string(result).unwrap();
    let rows: Vec<&str> = result.lines().collect();
    assert!(rows[0].ends_with(",priority,作者,审核人,outcome,reason"), "{result}");
    assert!(rows[1].ends_with(",张三,李四,new,"), "{result}");
    assert!(rows[2].contains(",,王五,error,"), "{result}");
}

#[tokio::test]
async fn a_result_that_is_no_workbook_keeps_an_import_from_nothing_or_from_the_beginning() {
    let bench = Bench::new();
    let result = bench.path("result.xlsx");
    let long = "长".repeat(40_000);
    let similar: Vec<String> = (0..200).map(|n| format!("{n}{}", "问".repeat(200))).collect();
    let entry = bench.write("entry.csv", format!("问题,答案,相似问\n甲,一,{}\n", similar.join("|")));
    let refused = bench.import_with_result(&entry, &result).await.unwrap_err();
    let said = refused.to_string();
    assert_eq!(refused.exit(), Exit::CannotCreate);
    assert!(
        said.contains("row 2, column similar: has 40689 characters") && said.ends_with("; nothing imported"),
        "{said}"
    );
    assert_eq!(bench.revision_and_size().await, (0, 0));
    assert!(!result.exists());

    let nul = bench.write("nul.jsonl", r#"{"question":"甲","answer":"一\u0000"}"#);
    let said = bench.import_with_result(&nul, &bench.path("nul.csv")).await;
    let said = said.unwrap_err().to_string();
    assert!(
        said.contains("column answer: has a NUL") && !bench.path("nul.csv").exists(),
        "{said}"
    );

    let own = bench.write("own.csv", format!("问题,答案,{long}\n甲,一,{long}\n"));
    let report = bench.import_with_result(&own, &result).await.unwrap();
    assert!(report.applied && result.exists(), "{report}");
    assert_eq!(bench.revision_and_size().await, (1, 1));
}

#[test]
fn a_dry_run_where_there_is_nothing_compares_with_an_empty_bank_and_makes_none() {
    let bench = Bench::new();
    bench.write("bank.jsonl", r#"{"question":"怎么开户","answer":"一"}"#);
    bench.write(
        "rules.jsonl",
        r#"{"id":"r","trigger":{"keywords":[{"equals":"营业时间"}]},"replies":["九点"]}"#,
    );
    bench.write("tree.jsonl", r#"{"category":"开户","reply":"关于开户"}"#);
    for command in [
        "import bank.jsonl",
        "rule import rules.jsonl",
        "category import tree.jsonl",
    ] {
        let arguments: Vec<&str> = command.split(' ').chain(["--dry-run"]).collect();
        let (code, said) = wxfaq(&bench, &arguments);
        let expected = "dry run, nothing written: 1 new, 0 changed, 0 same, 0 removed; the bank is at revision 0";
        assert!(code == Some(0) && said.contains(expected), "{command}: {code:?} {said}");
        assert!(said.contains("wxfaq.db yet, and a dry run makes none"), "{said}");
        let ahead = wxfaq(&bench, &[&arguments[..], &["--made-from", "3"]].concat());
        assert!(ahead.0 == Some(65) && ahead.1.contains("it is at 0"), "{ahead:?}");
        assert!(!bench.path("data").exists(), "{command}");
    }
    // It is as a real one would be.
    assert_eq!(wxfaq(&bench, &["import", "bank.jsonl"]).0, Some(0));
    let (_, said) = wxfaq(&bench, &["import", "bank.jsonl", "--dry-run"]);
    assert!(said.contains("1 same") && !said.contains("makes none"), "{said}");
}

#[test]
fn a_dry_run_takes_nothing_that_stands_in_the_place_of_the_database_for_none() {
    let bench = Bench::new();
    bench.write("bank.jsonl", r#"{"question":"怎么开户","answer":"一"}"#);
    fs::create_dir_all(bench.path("data/wxfaq.db")).unwrap();
    for arguments in [
        &["import", "bank.jsonl", "--dry-run"][..],
        &["import", "bank.jsonl"],
        &["rule", "list"],
    ] {
        let (code, said) = wxfaq(&bench, arguments);
        assert!(
            code == Some(69) && said.contains("wxfaq.db: is a directory"),
            "{arguments:?}: {code:?} {said}"
        );
    }
    assert_eq!(fs::read_dir(bench.path("data")).unwrap().count(), 1);
}

/// A dry run as the server's user `looks_on`.
async fn refused_to_who_looks_on(place: &TestDatabase, expected: &str) {
    let url = place.url().replace("wxfaq_test", "looks_on");
    let bench = Bench::new();
    let file = bench.write("bank.jsonl", r#"{"question":"怎么开户","answer":"一"}"#);
    let error = bench.import_at(&url, &file, Mode::Append, true).await.unwrap_err();
    assert_eq!(error.exit(), Exit::Unavailable);
    assert!(error.to_string().contains(expected), "{error}");
}

#[tokio::test]
async fn a_dry_run_takes_no_bank_that_it_may_not_read_for_none() {
    let place = TestDatabase::postgres().await;
    place.open().await.close().await;
    let server = postgres().await;
    server
        .administer(&format!("CREATE ROLE looks_on LOGIN PASSWORD '{CANARY}'"))
        .await;
    refused_to_who_looks_on(&place, "permission denied for table _sqlx_migrations").await;
    place.tamper("REVOKE ALL ON SCHEMA public FROM PUBLIC").await;
    refused_to_who_looks_on(&place, "the user may use no schema").await;
}

#[tokio::test]
async fn a_dry_run_takes_no_bank_of_which_it_sees_other_tables_for_none() {
    let place = TestDatabase::mariadb().await;
    place.open().await.close().await;
    let name = place.url().rsplit('/').next().unwrap();
    let server = mariadb().await;
    server
        .administer(&format!("CREATE USER 'looks_on'@'%' IDENTIFIED BY '{CANARY}'"))
        .await;
    server
        .administer(&format!("GRANT SELECT ON {name}.entry TO 'looks_on'@'%'"))
        .await;
    refused_to_who_looks_on(&place, "SELECT command denied").await;
}

/// Exit code, and everything that was said, of a command in the bench's folder.
fn wxfaq(bench: &Bench, arguments: &[&str]) -> (Option<i32>, String) {
    let output = run(bench.folder.path(), arguments);
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.code(), said)
}

#[test]
fn a_refused_row_is_in_the_result_whole_and_refused_until_it_is_mended() {
    let bench = Bench::new();
    bench.write(
        "sheet.csv",
        "作者,问题,答案\n张三,怎么开户,带上身份证,和本人\n,怎么销户,二\n",
    );
    let refused = |file: &str, more: &[&str], reason: &str| {
        let (code, said) = wxfaq(&bench, &[&["import", file], more].concat());
        assert!(code == Some(65) && said.contains(reason), "{file}: {code:?} {said}");
    };
    for (name, reason) in [
        ("r.csv", "has no heading"),
        ("r.xlsx", "has no heading"),
        ("r.jsonl", "what stands under the name \"\""),
    ] {
        refused("sheet.csv", &["--result", name], "row 2: cell 4 has no heading");
        refused(name, &[], reason);
        refused(name, &["--mode", "replace"], reason);
    }
    let result = fs::read_to_string(bench.path("r.csv")).unwrap();
    let row = result.lines().nth(1).unwrap();
    assert!(
        row.starts_with(",怎么开户,,带上身份证,") && row.contains(",张三,和本人,error,"),
        "{result}"
    );
    bench.write(
        "mended.csv",
        result
            .replacen("带上身份证", "带上身份证和本人", 1)
            .replacen(",和本人,", ",,", 1),
    );
    let (code, said) = wxfaq(&bench, &["import", "mended.csv"]);
    assert!(code == Some(0) && said.contains("2 new"), "{said}");

    let result = fs::read_to_string(bench.path("r.jsonl")).unwrap();
    let mended = result.replacen("\"\":\"和本人\"", "\"\":\"\"", 1);
    bench.write("mended.jsonl", mended.replacen("带上身份证", "带上身份证和本人", 1));
    let (code, said) = wxfaq(&bench, &["import", "mended.jsonl"]);
    assert!(code == Some(0) && said.contains("2 same"), "{said}");

    // What cannot even be told apart is there as it was, and what comes after it.
    bench.write("torn.csv", "问题,答案\n甲,一\n乙,\"二\n丙,三\n");
    for (name, reason) in [
        ("t.csv", "row 3: cell 14 has no heading"),
        ("t.xlsx", "row 3: cell 14 has no heading"),
        ("t.jsonl", "row 2: what stands under the name \"\""),
    ] {
        refused(
            "torn.csv",
            &["--result", name],
            "nothing imported: 1 of 3 rows cannot be taken",
        );
        refused(name, &["--mode", "replace"], reason);
    }
    let result = fs::read_to_string(bench.path("t.csv")).unwrap();
    let rows: Vec<&str> = result.lines().skip(1).collect();
    let torn = ",,,,,,,,,,,,,\"乙,\"\"二\",error,row 3: cell 2: a quotation mark is opened and never closed";
    assert!(
        rows.len() == 3 && rows[1] == torn && rows[2].starts_with(",丙,,三,"),
        "{result}"
    );

    // Nor is a header lost, or a line of JSONL.
    bench.write("head.csv", "问题,\"答案\n甲,一\n");
    bench.write("torn.jsonl", "{\"question\":\"乙\",\n");
    let twice = r#"{"question":"甲","question":"乙","answer":"一"}"#;
    bench.write("twice.jsonl", twice);
    let twice = twice.replace('"', "\"\"");
    for (file, shown) in [
        ("twice.jsonl", twice.as_str()),
        ("head.csv", "问题,\"\"答案"),
        ("torn.jsonl", "{\"\"question\"\":\"\"乙\"\","),
    ] {
        refused(file, &["--result", "h.csv"], "row 1");
        let result = fs::read_to_string(bench.path("h.csv")).unwrap();
        let row = result.lines().nth(1).unwrap();
        assert!(row.contains(&format!(",\"{shown}\",error,")), "{result}");
        refused("h.csv", &["--mode", "replace"], "row 2: cell 14 has no heading");
        refused(file, &["--result", "h.jsonl"], "row 1");
        refused("h.jsonl", &[], "what stands under the name \"\"");
    }

    // Results of before had nothing in such a row.
    bench.write(
        "torn.csv",
        "question,answer,outcome,reason\n,,error,row 2: torn\n怎么销户,二,same,\n",
    );
    refused(
        "torn.csv",
        &[],
        "row 2: has the outcome of an import that could not read it, and nothing else",
    );
    bench.write("mistake.csv", "question,answer,outcome\n怎么挂失,#N/A,error\n");
    refused(
        "mistake.csv",
        &[],
        "row 2, column answer: is the mistake #N/A of a formula",
    );
    bench.write("asked.csv", "question,answer\n#N/A,公式没有结果\n");
    assert_eq!(wxfaq(&bench, &["import", "asked.csv"]).0, Some(0));
}

on_every_database!(
    the_sample_bank_goes_out_and_in_in_every_format,
    a_dry_run_makes_no_tables
);

async fn a_dry_run_makes_no_tables(place: TestDatabase) {
    let bench = Bench::new();
    let file = bench.write("bank.jsonl", r#"{"question":"怎么开户","answer":"一"}"#);
    for mode in [Mode::Append, Mode::Replace] {
        let report = bench.import_at(place.url(), &file, mode, true).await.unwrap();
        assert_eq!((report.counts.new, report.revision, report.applied), (1, 0, false));
    }
    let opened = Database::open_to_read(place.url()).await;
    assert!(matches!(opened, Err(OpenError::Absent(_))));
}

async fn the_sample_bank_goes_out_and_in_in_every_format(place: TestDatabase) {
    let bench = Bench::new();
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/sample-bank.jsonl");
    let here = bench
        .import_at(place.url(), &sample, Mode::Append, false)
        .await
        .unwrap();
    assert!(here.applied && here.counts.new == 271, "{here}");
    let bank = async || place.open().await.questions().load().await.unwrap().1;
    let before = bank().await;
    for name in ["out.jsonl", "out.csv", "out.xlsx"] {
        let out = bench.path(name);
        let report = export::run(&out, Layout::Full, place.url()).await.unwrap();
        assert_eq!(report.entries, before.len());
        // Another bank stands there, and what is exported takes its place.
        let other = bench.write("other.jsonl", r#"{"id":"x","question":"别的问题","answer":"别的答案"}"#);
        bench
            .import_at(place.url(), &other, Mode::Replace, false)
            .await
            .unwrap();
        let back = bench.import_at(place.url(), &out, Mode::Replace, false).await.unwrap();
        assert_eq!((back.counts.new, back.counts.removed), (271, 1), "{name}: {back}");
        assert!(bank().await == before, "{name}");
    }
}

#[tokio::test]
async fn a_result_does_not_take_the_place_of_what_is_imported() {
    let bench = Bench::new();
    let rows = r#"{"question":"怎么开户","answer":"带上身份证。"}"#;
    // What every import here writes its result to.
    let file = bench.write("result.jsonl", rows);
    std::os::unix::fs::symlink(&file, bench.path("link.jsonl")).unwrap();
    for name in ["result.jsonl", "link.jsonl"] {
        let error = bench.import(&bench.path(name), Mode::Append, false).await.unwrap_err();
        assert!(matches!(error, ImportError::ResultIsInput(_)), "{name}: {error}");
        assert_eq!(error.exit(), Exit::Usage);
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), rows);
    assert_eq!(bench.revision_and_size().await, (0, 0));
}

#[test]
fn what_was_imported_is_told_of_though_its_result_cannot_be_written() {
    let bench = Bench::new();
    bench.write("first.jsonl", r#"{"question":"怎么挂失","answer":"零"}"#);
    assert_eq!(wxfaq(&bench, &["import", "first.jsonl"]).0, Some(0));
    let told = |output: &[u8]| serde_json::from_slice::<serde_json::Value>(output).unwrap();
    bench.write("bank.csv", "问题,答案\n怎么开户,一\n");
    fs::create_dir(bench.path("folder.csv")).unwrap();
    for result in ["nowhere/r.csv", "folder.csv"] {
        let done = run(
            bench.folder.path(),
            &["import", "bank.csv", "--result", result, "--json"],
        );
        let report = told(&done.stdout);
        assert_eq!(
            (done.status.code(), &report["applied"]),
            (Some(73), &false.into()),
            "{report}"
        );
    }

    // The editor's own column goes into the result alone, and makes it longer than a file may be.
    let own = "x".repeat(100_000);
    let row = |row| format!("问题{row}的答案,答案{row},{own}\n");
    let rows = (0..60).map(row).collect::<Vec<_>>().concat();
    bench.write("bank.csv", format!("问题,答案,备注\n{rows}"));
    let script = r#"trap '' XFSZ; ulimit -f 4096; exec "$0" import bank.csv --result r.csv --json"#;
    let done = std::process::Command::new("bash")
        .args(["-c", script, BINARY])
        .current_dir(bench.folder.path())
        .output()
        .unwrap();
    let report = told(&done.stdout);
    assert_eq!(done.status.code(), Some(73), "{done:?}");
    assert_eq!(
        (&report["applied"], &report["counts"]["new"]),
        (&true.into(), &60.into())
    );
    assert_eq!(report["revision"], 2);
    assert!(
        report["error"].as_str().unwrap().starts_with("r.csv: "),
        "{}",
        report["error"]
    );
    let left = fs::read_dir(bench.folder.path()).unwrap();
    let left = left.map(|file| file.unwrap().file_name().into_string().unwrap());
    assert_eq!(
        left.filter(|name| name.trim_start_matches('.').starts_with("r.csv"))
            .count(),
        0
    );
}

#[test]
fn a_template_replaces_no_file() {
    let bench = Bench::new();
    let template = |name: &str| {
        let output = run(bench.folder.path(), &["import", "--template", name]);
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(template("new.xlsx"), (Some(0), String::new()));
    let written = fs::read(bench.path("new.xlsx")).unwrap();
    fs::write(bench.path("filled.xlsx"), b"somebody's work").unwrap();
    for (name, code, said) in [
        ("new.xlsx", 73, "is there already"),
        ("filled.xlsx", 73, "is there already"),
        ("new.csv", 64, "must end in .xlsx"),
    ] {
        let (exit, error) = template(name);
        assert!(exit == Some(code) && error.contains(said), "{name}: {exit:?} {error}");
    }
    assert_eq!(fs::read(bench.path("new.xlsx")).unwrap(), written);
    assert_eq!(fs::read(bench.path("filled.xlsx")).unwrap(), b"somebody's work");
    assert!(!bench.path("new.csv").exists());
}

#[tokio::test]
async fn what_keeps_a_command_from_running_has_its_exit_code() {
    let bench = Bench::new();
    let exit = async |file: &Path, mode| bench.import(file, mode, false).await.unwrap_err().exit();
    assert_eq!(exit(Path::new("bank.xls"), Mode::Append).await, Exit::Usage);
    assert_eq!(exit(&bench.path("absent.csv"), Mode::Append).await, Exit::NoInput);
    assert_eq!(
        exit(&bench.write("empty.jsonl", "\n"), Mode::Replace).await,
        Exit::BadData
    );
    let error = export::run(Path::new("/out.csv"), Layout::Full, "mysql://h")
        .await
        .unwrap_err();
    assert_eq!(error.exit(), Exit::Configuration);
    let error = export::run(&bench.path("absent/out.csv"), Layout::Full, &bench.url("bank.db"))
        .await
        .unwrap_err();
    assert_eq!(error.exit(), Exit::CannotCreate);
    let odd = bench.write("odd.csv", b"question,answer\na,\xff\xff\n");
    let error = bench.import(&odd, Mode::Append, false).await.unwrap_err();
    assert_eq!(error.exit(), Exit::BadData);
    assert_eq!(error.to_string(), "the file is not UTF-8 from line 2 on, nor GB18030");
}

#[tokio::test]
async fn a_bank_of_the_shared_folder_goes_in_and_out() {
    let shared = std::env::var("WXFAQ_SHARED_DIR").unwrap_or_else(|_| "../shared".to_owned());
    let file = Path::new(&shared).join("eval/bankfaq/bank.jsonl");
    if !file.exists() {
        println!("{} is absent: 0 entries imported", file.display());
        return;
    }
    let bench = Bench::new();
    let report = bench.import(&file, Mode::Replace, false).await.unwrap();
    println!("{}: {} rows, {:?}", file.display(), report.rows.len(), report.counts);
    assert_eq!(report.counts.error, 0, "{report}");
}
