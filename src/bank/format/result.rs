//! What became of a file's rows, as a file again: every row as it was, with its outcome and the reason.
//!
//! [`write()`] is the entry point. Editors mend such a file and hand it in again: its two columns more are known to readers
//! and left out by them. The editor's own columns stand behind ours; in JSONL they are not, for a name that nobody knows is
//! a mistake there. A workbook's cells have an end, and CSV has no NUL: of the editor's own columns and of reasons as much
//! is written as they hold, while an entry that was altered would come back so: [`check`] refuses it before anything is
//! imported.

use super::header::OUTCOME;
use super::row::{COLUMNS, Cell, Column, Record, join_list, split_list};
use super::{Format, RowError, csv, write_table, xlsx};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::io;

/// One row of the file and what became of it.
pub struct Outcome<'a> {
    /// As the file has it, also of a refused row. `None`: not even cells could be told apart.
    pub record: Option<&'a Record>,
    /// New, same, error and so on.
    pub outcome: &'static str,
    /// Why it is not taken, with the place; may be empty.
    pub reason: String,
}

/// Whether the rows go into such a file.
///
/// # Errors
/// The first cell of an entry that is too long, or that nothing could read there.
pub fn check<'a>(format: Format, records: impl Iterator<Item = &'a Record>) -> Result<(), RowError> {
    let unfit = match format {
        Format::Jsonl => return Ok(()),
        Format::Csv => csv::unreadable,
        Format::Xlsx => xlsx::too_long,
    };
    for record in records {
        for (column, cell) in &record.cells {
            if let Some(reason) = unfit(&text(cell)) {
                return Err(RowError::new(record.place, Some(column.name()), reason));
            }
        }
    }
    Ok(())
}

/// Writes the rows in their order; `others`: the headings of the editor's own, and a blank one for what stands under none.
///
/// # Errors
/// Whatever `out` says, and what [`check`] does.
pub fn write<'a>(
    format: Format,
    others: &[String],
    rows: impl Iterator<Item = Outcome<'a>>,
    out: &mut dyn io::Write,
) -> io::Result<()> {
    let fit: Fit = match format {
        Format::Jsonl => {
            for row in rows {
                writeln!(out, "{}", Value::Object(object(&row, others)))?;
            }
            return Ok(());
        }
        Format::Xlsx => xlsx::cut,
        Format::Csv => csv::shown,
    };
    let ours = COLUMNS.iter().map(|(_, name, _)| *name);
    let added = OUTCOME.map(|(name, _)| name);
    let others: Vec<_> = others.iter().map(|heading| fit(heading.into())).collect();
    let headings: Vec<&str> = ours.chain(others.iter().map(AsRef::as_ref)).chain(added).collect();
    let width = headings.len();
    write_table(format, &headings, rows.map(|row| cells(&row, width, fit)), out)
}

/// Makes a text one that a cell holds.
type Fit = for<'a> fn(Cow<'a, str>) -> Cow<'a, str>;

fn cells<'a>(row: &Outcome<'a>, width: usize, fit: Fit) -> Vec<Cow<'a, str>> {
    let mut cells = vec![Cow::Borrowed(""); width];
    for (column, cell) in row.record.iter().flat_map(|record| &record.cells) {
        cells[*column as usize] = text(cell);
    }
    let others = width - COLUMNS.len() - OUTCOME.len();
    for (number, text) in row.record.iter().flat_map(|record| &record.others) {
        if *number < others {
            cells[COLUMNS.len() + number] = fit(text.into());
        }
    }
    cells[width - 2] = row.outcome.into();
    cells[width - 1] = fit(row.reason.clone().into());
    cells
}

fn text(cell: &Cell) -> Cow<'_, str> {
    match cell {
        Cell::Absent | Cell::Blank => "".into(),
        Cell::Text(text) | Cell::Json(Value::String(text)) => text.into(),
        Cell::Json(Value::Array(items)) if items.iter().all(Value::is_string) => {
            join_list(items.iter().filter_map(Value::as_str)).into()
        }
        Cell::Json(value) => value.to_string().into(),
    }
}

fn object(row: &Outcome<'_>, others: &[String]) -> Map<String, Value> {
    let mut object = Map::new();
    for (column, cell) in row.record.iter().flat_map(|record| &record.cells) {
        let value = match (column, cell) {
            (_, Cell::Absent | Cell::Blank) => continue,
            (_, Cell::Json(value)) => value.clone(),
            (Column::Similar | Column::Tags | Column::Accounts | Column::Channels, Cell::Text(text)) => {
                split_list(text).into()
            }
            (_, Cell::Text(text)) => text.as_str().into(),
        };
        object.insert(column.name().to_owned(), value);
    }
    for (number, text) in row.record.iter().flat_map(|record| &record.others) {
        // Under no name it is refused again, until somebody has put it where it belongs.
        if others.get(*number).is_some_and(String::is_empty) {
            object.insert(String::new(), text.as_str().into());
        }
    }
    let [outcome, reason] = OUTCOME.map(|(name, _)| name.to_owned());
    object.insert(outcome, row.outcome.into());
    if !row.reason.is_empty() {
        object.insert(reason, row.reason.as_str().into());
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bank::format::{Item, Limits, read_file};
    use crate::bank::{Entry, EntryId};
    use std::ops::ControlFlow;

    const LIMITS: Limits = Limits {
        unpacked_bytes: 1 << 20,
        archive_entries: 20,
        cells: 100,
    };

    fn records(file: &[u8]) -> Vec<Record> {
        let mut records = Vec::new();
        let read = read_file(file, &LIMITS, &mut |item| {
            match item {
                Item::Record(record) => records.push(record),
                Item::Format(_) | Item::Notice(_) | Item::Others(_) => {}
                Item::Error(error) => panic!("{error}"),
            }
            ControlFlow::Continue(())
        });
        read.unwrap();
        records
    }

    /// The file's entries, or why a row is none.
    fn entries(records: Vec<Record>) -> Vec<Result<Entry, String>> {
        let id = || EntryId::parse("new").unwrap();
        let entry = |record: Record| record.row()?.into_entry_or(None, id);
        let entries = records.into_iter().map(entry);
        entries.map(|entry| entry.map_err(|error| error.reason)).collect()
    }

    #[test]
    fn a_result_is_read_like_the_file_it_tells_of() {
        let sheet = "question,answer,similar,valid_from\n甲,=1,b|c\\|d,2026-01-31\n乙,,,\n";
        let lines = concat!(
            "{\"question\":\"甲\",\"answer\":\"=1\",\"similar\":[\"b\",\"c|d\"],\"valid_from\":\"2026-01-31\"}\n",
            "{\"question\":\"乙\"}\n",
        );
        let expected = entries(records(sheet.as_bytes()));
        assert_eq!(expected[1], Err("is missing".to_owned()));
        for input in [sheet, lines] {
            let input = records(input.as_bytes());
            for format in [Format::Jsonl, Format::Csv, Format::Xlsx] {
                let mut file = Vec::new();
                let outcome = |record| Outcome {
                    record: Some(record),
                    outcome: "new",
                    reason: "=why".to_owned(),
                };
                write(format, &[], input.iter().map(outcome), &mut file).unwrap();
                assert_eq!(entries(records(&file)), expected, "{format:?}");
            }
        }
    }

    #[test]
    fn the_editors_own_columns_come_back_and_those_of_an_earlier_result_do_not() {
        let sheet = "作者,question,answer,结果,备注\n张三,甲,=1,new,\n,乙,二,error,=看一下\n";
        for format in [Format::Csv, Format::Xlsx] {
            let mut file = Vec::new();
            let outcome = |record| Outcome {
                record: Some(record),
                outcome: "same",
                reason: String::new(),
            };
            let others = ["作者", "备注"].map(str::to_owned);
            write(
                format,
                &others,
                records(sheet.as_bytes()).iter().map(outcome),
                &mut file,
            )
            .unwrap();
            let again = records(&file);
            let own: Vec<_> = again.iter().map(|record| record.others.clone()).collect();
            assert_eq!(
                own,
                [[(0, "张三".to_owned())], [(1, "=看一下".to_owned())]],
                "{format:?}"
            );
        }
    }

    #[test]
    fn what_a_cell_does_not_hold_is_cut_where_it_is_the_editors_own_and_refused_where_it_is_an_entrys() {
        let long = "长".repeat(32_766) + "😀";
        let whole = "长".repeat(32_765) + "😀";
        let record = |own: &str, answer: &str| {
            let sheet = format!("question,answer,{long}\n甲,{answer},{own}\n");
            records(sheet.as_bytes()).remove(0)
        };
        for format in [Format::Csv, Format::Xlsx] {
            let rows = [record(&long, "一"), record(&whole, "一")];
            check(format, rows.iter()).unwrap();
            let outcome = |record| Outcome {
                record: Some(record),
                outcome: "new",
                reason: long.clone(),
            };
            let mut file = Vec::new();
            write(format, std::slice::from_ref(&long), rows.iter().map(outcome), &mut file).unwrap();
            let own = records(&file).into_iter().map(|record| record.others[0].1.clone());
            let cut = "长".repeat(32_766) + "…";
            let expected = match format {
                Format::Xlsx => &cut,
                Format::Csv | Format::Jsonl => &long,
            };
            assert!(own.eq([expected.clone(), whole.clone()]), "{format:?}");
        }
        let entry = [record("", &long)];
        let refusal = check(Format::Xlsx, entry.iter()).unwrap_err().to_string();
        let expected = "row 2, column answer: has 32768 characters, a cell of Excel holds 32767; write .csv or .jsonl";
        assert_eq!(refusal, expected);
        check(Format::Csv, entry.iter()).unwrap();
    }

    #[test]
    fn nul_stands_in_no_csv_where_it_would_make_the_whole_of_it_no_text() {
        let nul = records(b"{\"question\":\"\\u0000\",\"answer\":\"a\"}\n");
        let refusal = check(Format::Csv, nul.iter()).unwrap_err().to_string();
        let expected = "row 1, column question: has a NUL, and a .csv with one is no text; write .jsonl or .xlsx";
        assert_eq!(refusal, expected);
        for format in [Format::Jsonl, Format::Xlsx] {
            check(format, nul.iter()).unwrap();
        }
        let mut sheet = vec![0xff, 0xfe];
        sheet.extend(
            "question,answer,a\0b\nq,a,\0c\n"
                .encode_utf16()
                .flat_map(u16::to_le_bytes),
        );
        let own = records(&sheet);
        check(Format::Csv, own.iter()).unwrap();
        let outcome = |record| Outcome {
            record: Some(record),
            outcome: "new",
            reason: "\0".to_owned(),
        };
        let mut file = Vec::new();
        let others = ["a\0b".to_owned()];
        write(Format::Csv, &others, own.iter().map(outcome), &mut file).unwrap();
        assert_eq!(records(&file)[0].others, [(0, "␀c".to_owned())]);
    }

    #[test]
    fn a_row_that_was_never_told_apart_is_there_with_its_reason() {
        let mut file = Vec::new();
        let row = Outcome {
            record: None,
            outcome: "error",
            reason: "row 2: torn".to_owned(),
        };
        write(Format::Jsonl, &[], std::iter::once(row), &mut file).unwrap();
        assert_eq!(
            String::from_utf8(file).unwrap(),
            "{\"outcome\":\"error\",\"reason\":\"row 2: torn\"}\n"
        );
    }
}
