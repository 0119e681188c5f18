//! Workbooks (.xlsx): the first visible sheet, a header row, then one row an entry.
//!
//! [`read`] goes through the sheet cell by cell in the file's order and never builds the rectangle around its cells: one
//! cell at XFD1048576 would make that 17 billion. Formulas count as the value Excel kept for them. Dates become text in
//! Beijing time, as in the other formats. Even so a small file can make the reader ask for more memory than there is,
//! which ends the process: files from outside are read by a process of their own (`intake`).

mod archive;
mod write;

pub use write::{cut, too_long, write, write_template};

use super::csv::MAX_CELL_BYTES;
use super::header::{Header, MAX_COLUMNS};
use super::row::{Column, Record};
use super::{Item, Limits, Place, Refusal, RowError, beijing};
use calamine::{Data, DataRef, ExcelDateTime, Reader, SheetType, SheetVisible, Xlsx, XlsxError};
use std::borrow::Cow;
use std::io::Cursor;
use std::ops::ControlFlow;

/// Days from Excel's day 0 to 1970-01-01.
const UNIX_EPOCH_DAY: f64 = 25_569.0;
/// The day after 9999-12-31: a number below is a date, one above Unix seconds.
const END_OF_DATES: f64 = 2_958_466.0;
const DAY_SECONDS: f64 = 86_400.0;
const BEIJING_SECONDS: i64 = 8 * 3600;

/// Hands over the rows of the first visible sheet, until `sink` breaks off.
///
/// # Errors
/// The file is no workbook we take, or damaged; rows before that have been handed over.
pub fn read(
    bytes: &[u8],
    limits: &Limits,
    sink: &mut dyn FnMut(Item) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, Refusal> {
    archive::check(bytes, limits)?;
    let mut workbook = Xlsx::new(Cursor::new(bytes)).map_err(|error| unreadable(&error))?;
    let mut sheets = workbook
        .sheets_metadata()
        .iter()
        .filter(|sheet| sheet.visible == SheetVisible::Visible && sheet.typ == SheetType::WorkSheet);
    let name = sheets.next().map(|sheet| sheet.name.clone());
    let name = name.ok_or_else(|| Refusal::new("has no sheet that is visible"))?;
    let others: Vec<String> = sheets.map(|sheet| format!("{:?}", sheet.name)).collect();
    if !others.is_empty() {
        let notice = format!("sheet {name:?} is read, {} not", others.join(", "));
        if sink(Item::Notice(notice)).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    let mut cells = workbook
        .worksheet_cells_reader(&name)
        .map_err(|error| unreadable(&error))?;
    let mut rows = Rows::default();
    loop {
        // Not the call that writes shared formulas out: it makes a list as long as a number in the file says.
        let cell = cells.next_cell_with_formula_metadata();
        let Some(cell) = cell.map_err(|error| unreadable(&error))? else {
            return Ok(rows.finish(sink));
        };
        if cell.formula.is_some() {
            rows.formulas.get_or_insert((cell.pos, 0)).1 += 1;
        }
        if rows.take(cell.pos, cell.value, sink)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
}

fn unreadable(error: &XlsxError) -> Refusal {
    Refusal::new(format!("is a workbook that cannot be read: {error}"))
}

/// Rows made of cells that come one by one.
#[derive(Default)]
struct Rows {
    header: Option<Header>,
    /// Counted from 0.
    row: u32,
    cells: Vec<Value>,
    /// Where the first formula is, and how many there are.
    formulas: Option<((u32, u32), u64)>,
}

/// A cell's value, as far as it does not matter under which heading it stands.
#[derive(Clone)]
enum Value {
    Text(String),
    Number(f64),
    /// `#N/A` and the like.
    Mistake(String),
}

impl Rows {
    fn take(
        &mut self,
        (row, column): (u32, u32),
        value: DataRef<'_>,
        sink: &mut dyn FnMut(Item) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Refusal> {
        let value = match value_of(value) {
            Value::Text(text) if text.is_empty() => return Ok(ControlFlow::Continue(())),
            value => value,
        };
        if row < self.row {
            return Err(Refusal::new(format!(
                "has its rows in disorder: cell {}",
                cell_name(row, column)
            )));
        }
        let column = column as usize;
        if column >= MAX_COLUMNS {
            let name = cell_name(row, column as u32);
            return Err(Refusal::new(format!(
                "has something in cell {name}; at most {MAX_COLUMNS} columns are read"
            )));
        }
        if row > self.row {
            if self.end_of_row(sink).is_break() {
                return Ok(ControlFlow::Break(()));
            }
            self.row = row;
        }
        if self.cells.len() <= column {
            self.cells.resize(column + 1, Value::Text(String::new()));
        }
        self.cells[column] = value;
        Ok(ControlFlow::Continue(()))
    }

    fn end_of_row(&mut self, sink: &mut dyn FnMut(Item) -> ControlFlow<()>) -> ControlFlow<()> {
        let cells = std::mem::take(&mut self.cells);
        if cells.is_empty() {
            return ControlFlow::Continue(());
        }
        let place = Place::line(u64::from(self.row) + 1);
        if self.header.is_none() {
            let texts: Vec<_> = cells.iter().map(|cell| Cow::Owned(cell.text(None))).collect();
            match Header::of(place, &texts) {
                // Without a header no later row means anything.
                Err(refused) => {
                    sink(Item::Record(*refused))?;
                    return ControlFlow::Break(());
                }
                Ok(header) => {
                    for item in header.before_records() {
                        sink(item)?;
                    }
                    let is_missing = header.is_missing;
                    self.header = Some(header);
                    if !is_missing {
                        return ControlFlow::Continue(());
                    }
                }
            }
        }
        let header = self.header.as_ref().expect("set above");
        let record = texts(header, place, &cells).map(|(texts, mistake)| {
            let record = header.record(place, &texts)?;
            Some(Record {
                refusal: mistake.or(record.refusal),
                ..record
            })
        });
        match record.transpose() {
            Some(record) => sink(Item::from(record)),
            None => ControlFlow::Continue(()),
        }
    }

    fn finish(&mut self, sink: &mut dyn FnMut(Item) -> ControlFlow<()>) -> ControlFlow<()> {
        self.end_of_row(sink)?;
        if self.header.is_none() {
            sink(Item::Error(RowError::new(Place::line(1), None, "the sheet is empty")))?;
        }
        if let Some(((row, column), count)) = self.formulas {
            let name = cell_name(row, column);
            let notice =
                format!("{count} formulas, the first in cell {name}: the values Excel kept for them are taken");
            sink(Item::Notice(notice))?;
        }
        ControlFlow::Continue(())
    }
}

/// The cells as texts, each as its column wants it, and the first that is a formula's mistake.
fn texts(
    header: &Header,
    place: Place,
    cells: &[Value],
) -> Result<(Vec<Cow<'static, str>>, Option<RowError>), RowError> {
    let mut first = None;
    let text = |(position, cell): (usize, &Value)| {
        let column = header.column(position);
        let error = |reason| RowError::new(place, column.map(Column::name), reason);
        if let (Value::Mistake(mistake), Some(_)) = (cell, column) {
            first.get_or_insert_with(|| error(format!("is the mistake {mistake} of a formula")));
        }
        let text = cell.text(column);
        if text.len() > MAX_CELL_BYTES {
            let bytes = text.len();
            return Err(error(format!(
                "has {bytes} bytes, at most {MAX_CELL_BYTES} are allowed"
            )));
        }
        Ok(text.into())
    };
    let texts = cells.iter().enumerate().map(text).collect::<Result<_, _>>()?;
    Ok((texts, first))
}

fn value_of(value: DataRef<'_>) -> Value {
    match Data::from(value) {
        Data::Empty => Value::Text(String::new()),
        Data::String(text) | Data::DateTimeIso(text) | Data::DurationIso(text) => Value::Text(text),
        Data::Bool(yes) => Value::Text(if yes { "TRUE" } else { "FALSE" }.to_owned()),
        Data::Int(number) => Value::Text(number.to_string()),
        Data::Float(number) => Value::Number(number),
        Data::DateTime(time) => date(time).map_or(Value::Number(time.as_f64()), Value::Text),
        Data::Error(mistake) => Value::Mistake(mistake.to_string()),
    }
}

/// A date that Excel shows as one; `None` for a length of time.
fn date(time: ExcelDateTime) -> Option<String> {
    let (year, month, day, hour, minute, second, _) = time.to_ymd_hms_milli();
    time.is_datetime()
        .then(|| format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}"))
}

impl Value {
    fn text(&self, column: Option<Column>) -> String {
        match self {
            Self::Text(text) | Self::Mistake(text) => text.clone(),
            Self::Number(days)
                if matches!(column, Some(Column::ValidFrom | Column::ValidUntil))
                    && (1.0..END_OF_DATES).contains(days) =>
            {
                let seconds = ((days - UNIX_EPOCH_DAY) * DAY_SECONDS).round() as i64;
                beijing::format(seconds - BEIJING_SECONDS)
            }
            // Up to 2^53 and the same as Excel shows: 12, 0.5.
            Self::Number(number) => number.to_string(),
        }
    }
}

/// `B3` for row 2, column 1.
fn cell_name(row: u32, column: u32) -> String {
    let mut letters = Vec::new();
    let mut rest = column + 1;
    while rest > 0 {
        rest -= 1;
        letters.push(char::from(b'A' + (rest % 26) as u8));
        rest /= 26;
    }
    let letters: String = letters.iter().rev().collect();
    format!("{letters}{}", u64::from(row) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bank::format::row::Cell;
    use calamine::CellErrorType;
    use rust_xlsxwriter::{ExcelDateTime, Format, Formula, Workbook, Worksheet};
    use std::io::Write;
    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    const LIMITS: Limits = Limits {
        unpacked_bytes: 1 << 20,
        archive_entries: 20,
        cells: 1_000,
    };

    fn workbook(fill: impl FnOnce(&mut Worksheet)) -> Vec<u8> {
        let mut workbook = Workbook::new();
        fill(workbook.add_worksheet());
        workbook.save_to_buffer().unwrap()
    }

    /// A workbook with a header of those columns, filled from row 2 on.
    fn sheet(headings: &[&str], fill: impl FnOnce(&mut Worksheet)) -> Vec<u8> {
        workbook(|sheet| {
            for (column, heading) in (0..).zip(headings) {
                sheet.write_string(0, column, *heading).unwrap();
            }
            fill(sheet);
        })
    }

    fn archive(parts: &[(&str, &[u8])]) -> Vec<u8> {
        let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content) in parts {
            archive.start_file(*name, SimpleFileOptions::default()).unwrap();
            archive.write_all(content).unwrap();
        }
        archive.finish().unwrap().into_inner()
    }

    fn items(file: &[u8]) -> Vec<Item> {
        let mut items = Vec::new();
        let _ = read(file, &LIMITS, &mut |item| {
            items.push(item);
            ControlFlow::Continue(())
        })
        .unwrap();
        items
    }

    fn refusal(file: &[u8]) -> String {
        read(file, &LIMITS, &mut |_| ControlFlow::Continue(()))
            .unwrap_err()
            .to_string()
    }

    fn cell(items: &[Item], wanted: Column) -> &str {
        let cells = items.iter().find_map(|item| match item {
            Item::Record(record) => record.cells.iter().find(|(column, _)| *column == wanted),
            _ => None,
        });
        match cells {
            Some((_, Cell::Text(text))) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn numbers_and_dates_become_what_excel_shows() {
        let file = sheet(
            &["编号", "问题", "答案", "生效时间", "失效时间", "优先级"],
            |sheet| {
                let date = Format::new().set_num_format("yyyy-mm-dd hh:mm");
                let time = ExcelDateTime::from_ymd(2026, 3, 1).unwrap().and_hms(9, 30, 5).unwrap();
                sheet.write_number(1, 0, 1001).unwrap();
                sheet.write_number(1, 1, 0.5).unwrap();
                sheet.write_boolean(1, 2, true).unwrap();
                sheet.write_datetime_with_format(1, 3, &time, &date).unwrap();
                sheet.write_number(1, 4, 46_083.75).unwrap();
                sheet.write_number(1, 5, -3).unwrap();
            },
        );
        let items = items(&file);
        for (column, text) in [
            (Column::Id, "1001"),
            (Column::Question, "0.5"),
            (Column::Answer, "TRUE"),
            (Column::ValidFrom, "2026-03-01 09:30:05"),
            (Column::ValidUntil, "2026-03-02 18:00:00"),
            (Column::Priority, "-3"),
        ] {
            assert_eq!(cell(&items, column), text, "{column:?}");
        }
    }

    #[test]
    fn of_formulas_the_value_is_taken_and_said_so() {
        let file = sheet(&["问题", "答案"], |sheet| {
            sheet.write_string(1, 0, "甲").unwrap();
            sheet
                .write_formula(1, 1, Formula::new("=CONCAT(\"a\",\"b\")").set_result("ab"))
                .unwrap();
        });
        let items = items(&file);
        assert_eq!(cell(&items, Column::Answer), "ab");
        let notice = "1 formulas, the first in cell B2: the values Excel kept for them are taken";
        assert!(items.contains(&Item::Notice(notice.to_owned())), "{items:?}");
    }

    #[test]
    fn the_mistake_of_a_formula_is_no_answer() {
        let file = sheet(&["问题", "答案"], |sheet| {
            sheet.write_string(1, 0, "甲").unwrap();
            sheet
                .write_formula(1, 1, Formula::new("=1/0").set_result("#DIV/0!"))
                .unwrap();
        });
        let text = format!("{:?}", items(&file));
        // The writer calls every result a text; Excel marks mistakes as such.
        assert!(text.contains("#DIV/0!"), "{text}");
        let mistake = Value::Mistake("#DIV/0!".to_owned());
        let header = Header::of(Place::line(1), &["问题", "答案"].map(Cow::from)).unwrap();
        let (texts, error) = texts(&header, Place::line(2), &[mistake]).unwrap();
        assert_eq!(
            (texts[0].as_ref(), error.unwrap().to_string().as_str()),
            ("#DIV/0!", "row 2, column question: is the mistake #DIV/0! of a formula")
        );
    }

    #[test]
    fn a_row_with_a_mistake_keeps_what_else_stands_in_it() {
        let mut rows = Rows {
            header: Some(Header::of(Place::line(1), &["问题", "答案", "作者"].map(Cow::from)).unwrap()),
            row: 1,
            ..Rows::default()
        };
        let mut items = Vec::new();
        let mut sink = |item| {
            items.push(item);
            ControlFlow::Continue(())
        };
        let cells = [
            DataRef::String("甲".to_owned()),
            DataRef::Error(CellErrorType::NA),
            DataRef::String("张三".to_owned()),
        ];
        for (column, cell) in (0..).zip(cells) {
            assert!(rows.take((1, column), cell, &mut sink).unwrap().is_continue());
        }
        assert!(rows.finish(&mut sink).is_continue());
        let [Item::Record(record)] = items.as_slice() else {
            panic!("{items:?}")
        };
        let text = |text: &str| Cell::Text(text.to_owned());
        let cells = [(Column::Question, text("甲")), (Column::Answer, text("#N/A"))];
        assert_eq!(
            (&record.cells[..], &record.others[..]),
            (&cells[..], &[(0, "张三".to_owned())][..])
        );
        let refused = record.clone().row().unwrap_err().to_string();
        assert_eq!(refused, "row 2, column answer: is the mistake #N/A of a formula");
    }

    #[test]
    fn empty_rows_and_a_far_row_cost_nothing_and_keep_their_numbers() {
        let file = workbook(|sheet| {
            for (row, texts) in [(4, ["问题", "答案"]), (9, ["甲", "乙"]), (1_048_575, ["丙", "丁"])] {
                sheet.write_string(row, 0, texts[0]).unwrap();
                sheet.write_string(row, 1, texts[1]).unwrap();
            }
        });
        let places: Vec<u64> = items(&file)
            .iter()
            .filter_map(|item| match item {
                Item::Record(record) => Some(record.place.row),
                _ => None,
            })
            .collect();
        assert_eq!(places, [10, 1_048_576]);
    }

    #[test]
    fn a_cell_far_to_the_right_is_refused_by_its_name() {
        let file = sheet(&["问题", "答案"], |sheet| {
            sheet.write_string(1_048_575, 16_383, "x").unwrap();
        });
        assert_eq!(
            refusal(&file),
            "has something in cell XFD1048576; at most 256 columns are read"
        );
        assert_eq!(cell_name(0, 25), "Z1");
        assert_eq!(cell_name(2, 26), "AA3");
    }

    #[test]
    fn an_empty_sheet_is_said_to_be_empty_and_hidden_ones_are_passed_over() {
        let is_empty = |items: &[Item]| matches!(items, [Item::Error(error)] if error.reason == "the sheet is empty");
        assert!(is_empty(&items(&workbook(|_| ()))));
        let mut workbook = Workbook::new();
        workbook.add_worksheet().set_hidden(true);
        let visible = workbook.add_worksheet();
        visible.set_active(true);
        visible.write_string(0, 0, "怎么开户").unwrap();
        visible.write_string(0, 1, "带身份证").unwrap();
        let items = items(&workbook.save_to_buffer().unwrap());
        assert_eq!(cell(&items, Column::Question), "怎么开户");
    }

    #[test]
    fn archives_that_are_no_workbook_of_ours_are_refused_with_what_they_are() {
        let sound = workbook(|_| ());
        let mut encrypted = archive(&[("xl/workbook.xml", b"x")]);
        // The flag of encryption in the directory and in front of the file.
        let directory = encrypted.windows(4).position(|four| four == b"PK\x01\x02").unwrap();
        encrypted[directory + 8] |= 1;
        encrypted[6] |= 1;
        let many: Vec<String> = (0..21).map(|number| format!("{number}.xml")).collect();
        let many: Vec<(&str, &[u8])> = many.iter().map(|name| (name.as_str(), b"x".as_slice())).collect();
        let zeros = vec![0; 2 << 20];
        for (file, reason) in [
            (archive(&[("a.txt", b"x")]), "is a zip archive without a workbook"),
            (archive(&[("xl/vbaProject.bin", b"x")]), "has macros"),
            (
                archive(&[("xl/externalLinks/externalLink1.xml", b"x")]),
                "refers to other workbooks",
            ),
            (archive(&[("xl/workbook.bin", b"x")]), "is an .xlsb workbook"),
            (
                archive(&[("xl/workbook.xml", b"x")]),
                "is a workbook that cannot be read",
            ),
            (archive(&many), "is an archive of 21 files, a workbook has at most 20"),
            (archive(&[("xl/workbook.xml", &zeros)]), "unpacks to more than 1 MiB"),
            (sound[..sound.len() - 30].to_vec(), "is a damaged or incomplete archive"),
            (sound[..sound.len() / 2].to_vec(), "is a damaged or incomplete archive"),
            (encrypted, "is an encrypted archive"),
        ] {
            let refusal = refusal(&file);
            assert!(refusal.starts_with(reason), "{refusal}, expected {reason}");
        }
    }
}
