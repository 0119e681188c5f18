//! Backups that somebody wrote: their checksum is right, and what they say cannot be.

use crate::support::daemon::{configuration, free_port, run};
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::fs;
use tempfile::TempDir;

struct Bench(TempDir);

impl Bench {
    /// With a bank at revision 1, and the lines of its backup but the last one.
    fn new() -> (Self, Vec<String>) {
        let bench = Self(tempfile::tempdir().unwrap());
        let write = |name: &str, text: &str| fs::write(bench.0.path().join(name), text).unwrap();
        write("wxfaq.toml", &configuration(free_port(), free_port(), ""));
        write("bank.jsonl", r#"{"id":"a","question":"怎么开户","answer":"一"}"#);
        bench.did(&["import", "bank.jsonl"], "revision 1");
        bench.did(&["backup", "true.backup"], "revision 1");
        let text = fs::read_to_string(bench.0.path().join("true.backup")).unwrap();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.pop();
        (bench, lines)
    }

    /// Ends the lines as a backup ends, whatever they say.
    fn forge(&self, lines: &[String]) {
        let mut text = lines.join("\n") + "\n";
        let sha256 = Sha256::digest(text.as_bytes())
            .iter()
            .fold(String::new(), |mut text, byte| {
                write!(text, "{byte:02x}").unwrap();
                text
            });
        let rows = lines.iter().filter(|line| line.starts_with('[')).count();
        writeln!(text, r#"{{"rows":{rows},"sha256":"{sha256}"}}"#).unwrap();
        fs::write(self.0.path().join("forged.backup"), text).unwrap();
    }

    fn wxfaq(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = run(self.0.path(), &[&["--config", "wxfaq.toml"], arguments].concat());
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code(), said)
    }

    #[track_caller]
    fn did(&self, arguments: &[&str], expected: &str) {
        let (code, said) = self.wxfaq(arguments);
        assert!(
            code == Some(0) && said.contains(expected),
            "{arguments:?}: {code:?} {said}"
        );
    }

    /// A backup of these lines is not restored.
    #[track_caller]
    fn refuses(&self, lines: &[String], expected: &str) {
        self.forge(lines);
        let (code, said) = self.wxfaq(&RESTORE);
        assert!(
            code == Some(65) && said.contains(expected),
            "{expected}: {code:?} {said}"
        );
    }
}

const RESTORE: [&str; 3] = ["restore", "forged.backup", "--replace"];

#[test]
fn a_revision_that_no_bank_has_is_refused_and_the_bank_goes_on() {
    let (bench, lines) = Bench::new();
    bench.forge(&lines);
    bench.did(&RESTORE, "the bank is at revision 2");
    for (revision, line) in [(u64::MAX, 1), (u64::MAX >> 1, 1), ((1 << 62) + 1, 1), (7, 3)] {
        let mut forged = lines.clone();
        forged[0] = forged[0].replace(r#""revision":1,"#, &format!(r#""revision":{revision},"#));
        assert_ne!(forged[0], lines[0]);
        let held = r#"{"table":"bank_revision","columns":["revision"]}"#;
        let at = forged.iter().position(|line| line == held).unwrap();
        if line == 1 {
            forged[at + 1] = format!("[{revision}]");
        }
        let expected = match line {
            1 => format!("line 1: names revision {revision}, at most 4611686018427387904 is one of a bank"),
            _ => format!("line {}: is of another revision than the first line says", at + 2),
        };
        bench.refuses(&forged, &expected);
    }
    bench.did(&["entry", "draft", "a"], "revision 3");
}

#[test]
fn nothing_is_of_a_revision_that_the_bank_has_not_had() {
    let (bench, lines) = Bench::new();
    bench.did(&["entry", "draft", "a"], "revision 2");
    for table in ["entry", "history"] {
        let begin = format!(r#"{{"table":"{table}","columns":"#);
        let at = lines.iter().position(|line| line.starts_with(&begin)).unwrap();
        let head: serde_json::Value = serde_json::from_str(&lines[at]).unwrap();
        let columns = head["columns"].as_array().unwrap();
        let column = columns.iter().position(|column| column == "revision").unwrap();
        for revision in [2, i64::MAX, -1] {
            let mut forged = lines.clone();
            let mut row: Vec<serde_json::Value> = serde_json::from_str(&lines[at + 1]).unwrap();
            assert_eq!(row[column], 1);
            row[column] = revision.into();
            forged[at + 1] = serde_json::to_string(&row).unwrap();
            let expected = format!(
                "line {}: is of a revision that the bank of the first line has not had",
                at + 2
            );
            bench.refuses(&forged, &expected);
        }
    }
    bench.did(&["entry", "publish", "a"], "revision 3");
}

#[test]
fn any_number_is_a_time() {
    let (bench, lines) = Bench::new();
    let (before, after) = lines[0].split_once(r#""taken_at":"#).unwrap();
    let (_, after) = after.split_once('}').unwrap();
    let mut forged = lines.clone();
    forged[0] = format!("{before}\"taken_at\":{}}}{after}", i64::MAX);
    bench.forge(&forged);
    bench.did(&RESTORE, "revision 2");
    bench.did(&["history"], "bank/restored");
}
