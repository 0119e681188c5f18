//! CSV (RFC 4180): a header row of column names in English or Chinese, in any order, then one row an entry.
//!
//! Reading is done here and not by the csv crate, because that one takes a quotation mark that is never closed for the
//! beginning of a cell reaching to the end of the file: a typing error in row 17 would swallow every row after it
//! without a word. Here the quotes are held to the standard, and every row knows its number; a torn one is refused as it stands
//! there, and reading goes on in the next line.
//!
//! Written for Excel: a byte order mark, CRLF, and a `'` before cells that it would run as formulas.

use super::header::Header;
use super::row::Record;
use super::{Item, Place, RowError};
use std::borrow::Cow;
use std::{io, iter};

/// Longest cell. The longest that can be valid, 200 similar questions of 300 characters, has about 240 KB.
pub const MAX_CELL_BYTES: usize = 1 << 20;

/// The rows of `text`, which has no byte order mark.
pub fn read(text: &str) -> Box<dyn Iterator<Item = Item> + '_> {
    let mut records = Records::new(text);
    let first = records.find(|record| match record {
        Ok((_, cells)) => cells.iter().any(|cell| !cell.trim().is_empty()),
        Err(_) => true,
    });
    let empty = || Torn {
        error: RowError::new(Place::line(1), None, "the file is empty"),
        raw: None,
    };
    let first = first.unwrap_or_else(|| Err(empty()));
    let (place, cells) = match first {
        Ok(first) => first,
        Err(torn) => return Box::new(iter::once(torn.item(0))),
    };
    if let Some(refusal) = separated_otherwise(place, &cells) {
        return Box::new(iter::once(Item::Record(Record::unread(&cells[0], 0, refusal))));
    }
    let header = match Header::of(place, &cells) {
        Ok(header) => header,
        Err(refused) => return Box::new(iter::once(Item::Record(*refused))),
    };
    let before = header.before_records();
    let first = header.is_missing.then_some(Ok((place, cells)));
    let items = first.into_iter().chain(records).filter_map(move |record| {
        let (place, cells) = match record {
            Ok(record) => record,
            Err(torn) => return Some(torn.item(header.others.len())),
        };
        let texts: Vec<Cow<'_, str>> = cells.iter().map(|cell| unguarded(cell).into()).collect();
        header.record(place, &texts).map(Item::Record)
    });
    Box::new(before.into_iter().chain(items))
}

/// Writes a header and rows of as many cells.
pub fn write<'a>(
    headings: &[&str],
    rows: impl Iterator<Item = impl AsRef<[Cow<'a, str>]>>,
    out: &mut dyn io::Write,
) -> io::Result<()> {
    out.write_all("\u{feff}".as_bytes())?;
    let mut sheet = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(out);
    sheet.write_record(headings)?;
    for cells in rows {
        let cells = cells
            .as_ref()
            .iter()
            .map(|cell| guarded(Cow::Borrowed(cell)).into_owned());
        sheet.write_record(cells)?;
    }
    sheet.flush()
}

/// Why a text goes into no file that is read again; `None`: it does.
pub fn unreadable(text: &str) -> Option<String> {
    text.contains('\0')
        .then(|| "has a NUL, and a .csv with one is no text; write .jsonl or .xlsx".to_owned())
}

/// A text with a sign that shows in the place of every NUL.
pub fn shown(text: Cow<'_, str>) -> Cow<'_, str> {
    match text.contains('\0') {
        true => text.replace('\0', "␀").into(),
        false => text,
    }
}

/// Why a header is refused that is one cell with what others separate cells by.
fn separated_otherwise(place: Place, headings: &[Cow<'_, str>]) -> Option<RowError> {
    let [only] = headings else {
        return None;
    };
    let separator = only.chars().find(|c| matches!(c, ';' | '；' | '\t' | '，'))?;
    let reason = format!("the cells are separated by {separator:?}: save the file with commas, as “CSV UTF-8”");
    Some(RowError::new(place, None, reason))
}

/// Whether a spreadsheet would run the cell as a formula once the apostrophes before it are gone.
fn is_formula(cell: &str) -> bool {
    cell.trim_start_matches('\'')
        .starts_with(['=', '+', '-', '@', '\t', '\0'])
}

/// Puts `'` before a formula; before one that has some already too, so that [`unguarded`] takes away exactly that.
fn guarded(cell: Cow<'_, str>) -> Cow<'_, str> {
    if is_formula(&cell) {
        Cow::Owned(format!("'{cell}"))
    } else {
        cell
    }
}

/// The inverse of [`guarded`].
fn unguarded(cell: &str) -> &str {
    cell.strip_prefix('\'').filter(|rest| is_formula(rest)).unwrap_or(cell)
}

/// A row whose cells cannot be told apart.
struct Torn<'a> {
    error: RowError,
    /// As it stands there, to the end of the line in which it is torn. `None`: it is too long to show, and nothing is read
    /// after it.
    raw: Option<&'a str>,
}

impl Torn<'_> {
    /// `others` as in [`Record::unread`].
    fn item(self, others: usize) -> Item {
        match self.raw {
            None => Item::Error(self.error),
            Some(raw) => Item::Record(Record::unread(raw, others, self.error)),
        }
    }
}

/// Splits text into rows of cells.
struct Records<'a> {
    rest: &'a str,
    next: Place,
}

impl<'a> Records<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            rest: text,
            next: Place::line(1),
        }
    }

    /// The next cell, unquoted, leaving what follows it: nothing, a comma or the end of a line.
    fn cell(&mut self) -> Result<Cow<'a, str>, String> {
        let Some(quoted) = self.rest.strip_prefix('"') else {
            let end = self.rest.find([',', '\r', '\n', '"']).unwrap_or(self.rest.len());
            let (cell, rest) = self.rest.split_at(end);
            if rest.starts_with('"') {
                return Err("a quotation mark inside a cell: double it and put the cell in quotation marks".to_owned());
            }
            self.rest = rest;
            return Ok(cell.into());
        };
        let mut end = 0;
        loop {
            let Some(at) = quoted[end..].find('"') else {
                return Err("a quotation mark is opened and never closed".to_owned());
            };
            end += at;
            if !quoted[end + 1..].starts_with('"') {
                break;
            }
            end += 2;
        }
        let (cell, rest) = (&quoted[..end], &quoted[end + 1..]);
        if !(rest.is_empty() || rest.starts_with([',', '\r', '\n'])) {
            return Err("there is text after a closing quotation mark: is one missing, or not doubled?".to_owned());
        }
        self.next.line += cell.matches('\n').count() as u64;
        self.rest = rest;
        Ok(if cell.contains('"') {
            cell.replace("\"\"", "\"").into()
        } else {
            cell.into()
        })
    }

    /// Leaves a torn row, which begins with `whole`, for the line after the cell that cannot be read.
    fn leave(&mut self, whole: &'a str) -> Option<&'a str> {
        let read = whole.len() - self.rest.len();
        let end = self.rest.find('\n').map_or(whole.len(), |end| read + end);
        let (raw, rest) = whole.split_at(end);
        if raw.len() > MAX_CELL_BYTES {
            self.rest = "";
            return None;
        }
        self.rest = rest.strip_prefix('\n').unwrap_or(rest);
        self.next.row += 1;
        self.next.line += 1;
        Some(raw.strip_suffix('\r').unwrap_or(raw))
    }

    fn record(&mut self, place: Place) -> Result<Vec<Cow<'a, str>>, RowError> {
        let mut cells = Vec::new();
        loop {
            let number = cells.len() + 1;
            let error = |reason: String| RowError::new(place, None, format!("cell {number}: {reason}"));
            let cell = self.cell().map_err(error)?;
            if cell.len() > MAX_CELL_BYTES {
                return Err(error(format!(
                    "has {} bytes, at most {MAX_CELL_BYTES} are allowed",
                    cell.len()
                )));
            }
            cells.push(cell);
            match self.rest.strip_prefix(',') {
                Some(rest) => self.rest = rest,
                None => break,
            }
        }
        let after = self.rest.strip_prefix('\r').unwrap_or(self.rest);
        self.rest = after.strip_prefix('\n').unwrap_or(after);
        self.next.row += 1;
        self.next.line += 1;
        Ok(cells)
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<(Place, Vec<Cow<'a, str>>), Torn<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let (place, whole) = (self.next, self.rest);
        let record = self.record(place);
        Some(match record {
            Ok(cells) => Ok((place, cells)),
            Err(error) => Err(Torn {
                error,
                raw: self.leave(whole),
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bank::format::Format;
    use crate::bank::{Answer, Entry, EntryId, State};

    fn entries(text: &str) -> Vec<Entry> {
        let new_id = || EntryId::parse("new").unwrap();
        Format::Csv
            .read(text)
            .map(|row| row.unwrap().into_entry_or(None, new_id).unwrap())
            .collect()
    }

    fn error_of(text: &str) -> String {
        Format::Csv
            .read(text)
            .find_map(Result::err)
            .expect("an error")
            .to_string()
    }

    #[test]
    fn headings_may_be_chinese_and_in_any_order() {
        let bank = entries("答案,标准问,相似问,失效时间\r\n带身份证,怎么开户,开户流程|如何开户,2026-03-01\r\n");
        assert_eq!(bank[0].question, "怎么开户");
        assert_eq!(bank[0].similar, ["开户流程", "如何开户"]);
        assert_eq!(bank[0].valid_until, Some(1_772_294_400));
    }

    #[test]
    fn quoted_cells_hold_commas_line_breaks_and_quotes() {
        let bank = entries("question,answer\n\"a,\"\"b\"\"\",\"1\n2\"\n,\n \nc,d");
        assert_eq!(bank.len(), 2);
        assert_eq!(bank[0].question, "a,\"b\"");
        assert_eq!(bank[0].answer, Answer::Text("1\n2".to_owned()));
    }

    #[test]
    fn rows_are_counted_as_excel_does_and_lines_as_an_editor() {
        let text = "question,answer\na,\"1\n2\"\n\nb,\n";
        assert_eq!(error_of(text), "row 4 (line 5), column answer: is missing");
    }

    #[test]
    fn a_quote_that_is_never_closed_is_found_where_it_is_opened() {
        let row = |row| format!("q{row},{}\n", if row == 17 { "\"open" } else { "fine" });
        let mut text = "question,answer\n".to_owned();
        text.extend((2..=30).map(row));
        assert_eq!(
            error_of(&text),
            "row 17: cell 2: a quotation mark is opened and never closed"
        );
        text += "q31,\"quoted\"\n";
        assert!(error_of(&text).starts_with("row 17: cell 2: there is text after a closing quotation mark"));
    }

    #[test]
    fn a_torn_row_is_refused_as_it_stands_there_and_the_rows_after_it_are_read() {
        let text = "问题,答案,作者\r\n甲,\"一\n二\",\"张\r\n乙,二,李\r\n丙,\"三\"三,王\n丁,四\n戊,\"五";
        let items: Vec<Item> = read(text).collect();
        let shown = |item: &Item| match item {
            Item::Record(record) => {
                let refusal = record.refusal.as_ref().map(ToString::to_string);
                Some((record.place.row, record.others.clone(), refusal.unwrap_or_default()))
            }
            _ => None,
        };
        let torn = |row, raw: &str, reason: &str| (row, vec![(1, raw.to_owned())], reason.to_owned());
        let whole = |row, author: &str| {
            let author = (!author.is_empty()).then(|| (0, author.to_owned()));
            (row, author.into_iter().collect(), String::new())
        };
        let after = "there is text after a closing quotation mark: is one missing, or not doubled?";
        let open = "a quotation mark is opened and never closed";
        assert_eq!(
            items.iter().filter_map(shown).collect::<Vec<_>>(),
            [
                torn(2, "甲,\"一\n二\",\"张", &format!("row 2: cell 3: {after}")),
                whole(3, "李"),
                torn(4, "丙,\"三\"三,王", &format!("row 4 (line 5): cell 2: {after}")),
                whole(5, ""),
                torn(6, "戊,\"五", &format!("row 6 (line 7): cell 2: {open}")),
            ]
        );
    }

    #[test]
    fn a_header_that_is_refused_is_shown_as_it_stands_there() {
        for (text, shown) in [
            ("\n问题,\"答案,作者\n甲,一\n", "问题,\"答案,作者"),
            ("问题;答案\n甲;一\n", "问题;答案"),
            ("问题,\"回复,内容\"\n甲,一\n", "问题,回复,内容"),
        ] {
            let items: Vec<Item> = read(text).collect();
            let [Item::Record(record)] = items.as_slice() else {
                panic!("{items:?}")
            };
            assert!(record.refusal.is_some() && record.cells.is_empty(), "{record:?}");
            assert_eq!(record.others, [(0, shown.to_owned())]);
        }
        assert!(matches!(read("").next(), Some(Item::Error(_))));
    }

    #[test]
    fn a_torn_row_that_is_too_long_ends_the_file() {
        let text = format!("question,answer\na,\"{}\nb,2\n", "x".repeat(MAX_CELL_BYTES));
        assert_eq!(read(&text).count(), 1);
        assert!(error_of(&text).starts_with("row 2: cell 2: a quotation mark is opened"));
    }

    #[test]
    fn a_mistake_in_the_header_is_said() {
        for (text, expected) in [
            ("", "row 1: the file is empty"),
            (
                "question,anwser\n",
                "row 1, column answer: is missing in the header; unknown column \"anwser\"; did you mean \"answer\"?",
            ),
            ("问题,标准问,答案\n", "row 1, column question: stands there twice"),
            (
                "问题;答案\n",
                "row 1: the cells are separated by ';': save the file with commas, as “CSV UTF-8”",
            ),
            (
                "问题\t答案\n",
                "row 1: the cells are separated by '\\t': save the file with commas, as “CSV UTF-8”",
            ),
            ("问题\n", "row 1, column answer: is missing in the header"),
        ] {
            assert_eq!(error_of(text), expected);
        }
    }

    #[test]
    fn states_may_be_chinese() {
        for state in [State::Draft, State::Published, State::Disabled] {
            assert_eq!(
                entries(&format!("问题,答案,状态\na,b,{}\n", state.as_str()))[0].state,
                state
            );
        }
        for (name, state) in [
            ("草稿", State::Draft),
            ("已发布", State::Published),
            ("停用", State::Disabled),
        ] {
            assert_eq!(entries(&format!("问题,答案,状态\na,b,{name}\n"))[0].state, state);
        }
    }

    #[test]
    fn a_misspelt_kind_is_named_and_not_the_answer() {
        assert_eq!(
            error_of("question,answer,kind\na,b,txet\n"),
            r#"row 2, column kind: "txet" is not a kind; did you mean "text"?"#
        );
    }

    #[test]
    fn a_cell_without_a_heading_is_an_error() {
        assert!(error_of("question,answer\na,b,c\n").starts_with("row 2: cell 3 has no heading"));
    }

    #[test]
    fn formulas_are_written_with_an_apostrophe_that_reading_takes_away() {
        for (cell, written) in [
            ("=1+1", "'=1+1"),
            ("@x", "'@x"),
            ("-5", "'-5"),
            ("+86", "'+86"),
            ("\tx", "'\tx"),
            ("\0", "'\0"),
            ("'=1", "''=1"),
            ("'quoted'", "'quoted'"),
            ("a=b", "a=b"),
        ] {
            assert_eq!(guarded(cell.into()), written);
            assert_eq!(unguarded(written), cell);
        }
    }
}
