//! The header row of a sheet, in CSV or a workbook: which column of the file is which of ours.
//!
//! [`Header::of`] is the entry point. Columns we do not know are warned about and left out; a sheet of two columns
//! without any header is taken for questions and answers, as tutorials make them.

use super::Item;
use super::row::{COLUMNS, Cell, Column, Place, Record, RowError, heading_key};
use crate::bank::entry::did_you_mean;
use serde_json::Value;
use std::borrow::Cow;

/// Most columns of a sheet. Ours are 13; some more may be the editor's own.
pub const MAX_COLUMNS: usize = 256;

/// The headings of the columns that result files add: what became of a row, and why.
pub const OUTCOME: [(&str, &str); 2] = [("outcome", "结果"), ("reason", "原因")];

/// The outcome of a row that was refused by itself.
pub const REFUSED: &str = "error";

/// What a sheet has where a formula came to nothing.
const MISTAKES: [&str; 7] = ["#N/A", "#REF!", "#NAME?", "#VALUE!", "#DIV/0!", "#NUM!", "#NULL!"];

/// Why a row that an earlier import refused is refused again, whatever reads its cells: it stands there as it came.
pub fn unmended(place: Place, cells: &[(Column, Cell)]) -> Option<RowError> {
    let text = |cell: &Cell| match cell {
        Cell::Absent | Cell::Blank => None,
        Cell::Text(text) | Cell::Json(Value::String(text)) => Some(text.trim().to_owned()),
        Cell::Json(value) => Some(value.to_string()),
    };
    let mut filled = cells.iter().filter_map(|(column, cell)| Some((*column, text(cell)?)));
    let Some(first) = filled.next() else {
        let reason =
            "has the outcome of an import that could not read it, and nothing else: fill it in, or take it out";
        return Some(RowError::new(place, None, reason));
    };
    let mut all = std::iter::once(first).chain(filled);
    let (column, mistake) = all.find(|(_, text)| MISTAKES.contains(&text.as_str()))?;
    Some(RowError::new(
        place,
        Some(column.name()),
        format!("is the mistake {mistake} of a formula"),
    ))
}

/// Whether the heading is one of [`OUTCOME`]: such a file comes back once its rows are mended.
pub fn is_outcome(heading: &str) -> bool {
    let key = heading_key(heading);
    OUTCOME.iter().any(|(name, chinese)| key == *name || key == *chinese)
}

/// What stands over one column of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heading {
    Of(Column),
    /// Something of the editor's own, the one of that number: whatever stands below goes into no entry.
    Other(usize),
    /// One of [`OUTCOME`]: what an earlier import said.
    Outcome,
    /// Nothing: nothing may stand below either.
    Nothing,
}

/// The columns of a sheet.
#[derive(Debug, PartialEq, Eq)]
pub struct Header {
    headings: Vec<Heading>,
    /// What the editor should know.
    pub notices: Vec<String>,
    /// The headings of the editor's own.
    pub others: Vec<String>,
    /// Whether the row it was read off is an entry already.
    pub is_missing: bool,
}

impl Header {
    /// The header that the first row with anything in it is.
    ///
    /// # Errors
    /// The row as it is to be refused, after which no other means anything: a column that is needed is not there, or one
    /// stands there twice; the reason names the headings nobody knows.
    pub fn of(place: Place, cells: &[Cow<'_, str>]) -> Result<Self, Box<Record>> {
        Self::parse(place, cells).map_err(|refusal| {
            let texts: Vec<&str> = cells.iter().map(AsRef::as_ref).collect();
            Box::new(Record::unread(&texts.join(","), 0, refusal))
        })
    }

    fn parse(place: Place, cells: &[Cow<'_, str>]) -> Result<Self, RowError> {
        let error = |column: Option<Column>, reason: String| RowError::new(place, column.map(Column::name), reason);
        if cells.len() > MAX_COLUMNS {
            let reason = format!("has {} columns, at most {MAX_COLUMNS} are read", cells.len());
            return Err(error(None, reason));
        }
        if is_simple(cells) {
            return Ok(Self::simple());
        }
        let mut headings = Vec::with_capacity(cells.len());
        let (mut notices, mut others) = (Vec::new(), Vec::new());
        for cell in cells {
            headings.push(match Column::parse(cell) {
                _ if cell.trim().is_empty() => Heading::Nothing,
                Ok(column) if headings.contains(&Heading::Of(column)) => {
                    return Err(error(Some(column), "stands there twice".to_owned()));
                }
                Ok(column) => Heading::Of(column),
                Err(_) if is_outcome(cell) => Heading::Outcome,
                Err(complaint) => {
                    notices.push(told_once(complaint, &notices));
                    others.push(cell.trim().to_owned());
                    Heading::Other(others.len() - 1)
                }
            });
        }
        for required in [Column::Question, Column::Answer] {
            if !headings.contains(&Heading::Of(required)) {
                let reason = std::iter::once("is missing in the header".to_owned()).chain(notices);
                return Err(error(Some(required), reason.collect::<Vec<_>>().join("; ")));
            }
        }
        let notices = notices.into_iter().map(|complaint| match complaint.ends_with('?') {
            true => format!("{complaint} It is left out."),
            false => format!("{complaint}. It is left out."),
        });
        Ok(Self {
            headings,
            notices: notices.collect(),
            others,
            is_missing: false,
        })
    }

    fn simple() -> Self {
        Self {
            headings: [Column::Question, Column::Answer].map(Heading::Of).to_vec(),
            notices: vec!["no header row: the first column is taken for questions, the second for answers".to_owned()],
            others: Vec::new(),
            is_missing: true,
        }
    }

    /// What a reader says before the rows.
    pub fn before_records(&self) -> Vec<Item> {
        let notices = self.notices.iter().cloned().map(Item::Notice);
        let others = (!self.others.is_empty()).then(|| Item::Others(self.others.clone()));
        notices.chain(others).collect()
    }

    /// Which of our columns the file's column is, counted from 0.
    pub fn column(&self, position: usize) -> Option<Column> {
        match self.headings.get(position) {
            Some(Heading::Of(column)) => Some(*column),
            _ => None,
        }
    }

    /// The row with those texts in its cells; `None` when there is nothing in it. It is a refused one when something stands
    /// below no heading, or when an earlier import refused it and nobody has mended it.
    pub fn record(&self, place: Place, cells: &[Cow<'_, str>]) -> Option<Record> {
        let mut record = Record {
            place,
            cells: Vec::with_capacity(COLUMNS.len()),
            others: Vec::new(),
            refusal: None,
        };
        let (mut is_blank, mut was_refused) = (true, false);
        let mut beyond: Vec<(usize, &str)> = Vec::new();
        for position in 0..self.headings.len().max(cells.len()) {
            let text = cells.get(position).map_or("", AsRef::as_ref);
            let has_nothing = text.trim().is_empty();
            match self.headings.get(position).unwrap_or(&Heading::Nothing) {
                Heading::Of(column) if has_nothing => record.cells.push((*column, Cell::Blank)),
                Heading::Of(column) => {
                    is_blank = false;
                    record.cells.push((*column, Cell::Text(text.to_owned())));
                }
                Heading::Nothing if !has_nothing => beyond.push((position, text)),
                Heading::Outcome if text.trim() == REFUSED => was_refused = true,
                Heading::Other(number) if !has_nothing => record.others.push((*number, text.to_owned())),
                Heading::Nothing | Heading::Other(_) | Heading::Outcome => {}
            }
        }
        if let [(first, _), ..] = beyond.as_slice() {
            let reason = format!(
                "cell {} has no heading: is there a comma too many, or a quotation mark missing?",
                first + 1
            );
            record.refusal = Some(RowError::new(place, None, reason));
            let texts: Vec<&str> = beyond.iter().map(|(_, text)| *text).collect();
            record.others.push((self.others.len(), texts.join(",")));
        } else if was_refused {
            record.refusal = unmended(place, &record.cells);
        }
        Some(record).filter(|record| !is_blank || record.refusal.is_some())
    }
}

/// The complaint without the list of all headings if one before it has that.
fn told_once(complaint: String, before: &[String]) -> String {
    const LIST: &str = "; known are ";
    match complaint.rsplit_once(LIST) {
        Some((unknown, _)) if before.iter().any(|notice| notice.contains(LIST)) => unknown.to_owned(),
        _ => complaint,
    }
}

/// Whether the row is a question and its answer, not the header of two columns: neither is, or is nearly, a heading.
fn is_simple(cells: &[Cow<'_, str>]) -> bool {
    let filled: Vec<&str> = cells.iter().map(|cell| cell.trim()).collect();
    let is_nearly_known = |cell: &&str| {
        Column::parse(cell).is_ok()
            || did_you_mean(&heading_key(cell), Column::headings()).starts_with("; did you mean")
    };
    match filled.as_slice() {
        [question, answer, rest @ ..] => {
            !question.is_empty()
                && !answer.is_empty()
                && rest.iter().all(|cell| cell.is_empty())
                && ![question, answer].into_iter().any(is_nearly_known)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(cells: &[&str]) -> Result<Header, String> {
        let cells: Vec<Cow<'_, str>> = cells.iter().map(|cell| Cow::from(*cell)).collect();
        Header::parse(Place::line(1), &cells).map_err(|error| error.to_string())
    }

    #[test]
    fn an_unknown_column_is_warned_about_and_left_out() {
        let header = header(&["答案", "作者", "Question", "anwsers"]).unwrap();
        assert_eq!(header.notices.len(), 2);
        assert!(header.notices[0].starts_with("unknown column \"作者\""), "{header:?}");
        assert!(header.notices[1].contains("did you mean \"answer\"?"), "{header:?}");
        let cells = ["甲", "张三", "乙", "x"].map(Cow::from);
        let record = header.record(Place::line(2), &cells).unwrap();
        let text = |text: &str| Cell::Text(text.to_owned());
        assert_eq!(
            record.cells,
            [(Column::Answer, text("甲")), (Column::Question, text("乙"))]
        );
        assert_eq!(header.others, ["作者", "anwsers"]);
        assert_eq!(record.others, [(0, "张三".to_owned()), (1, "x".to_owned())]);
    }

    #[test]
    fn the_headings_there_are_stand_in_one_sentence_of_one_notice() {
        let header = header(&["问题", "答案", "作者", "审核人"]).unwrap();
        let [first, second] = header.notices.as_slice() else {
            panic!("{header:?}")
        };
        assert!(first.ends_with("priority, 优先级. It is left out."), "{first}");
        assert_eq!(second, "unknown column \"审核人\". It is left out.");
    }

    #[test]
    fn the_columns_of_a_result_are_known_and_nothing_to_warn_about() {
        let header = header(&["问题", "答案", "结果", "Reason"]).unwrap();
        assert_eq!((header.notices.len(), header.others.len()), (0, 0));
    }

    #[test]
    fn two_columns_without_a_header_are_questions_and_answers() {
        let simple = header(&["怎么开户", "带身份证到营业部"]).unwrap();
        assert!(simple.is_missing);
        assert_eq!(
            (simple.column(0), simple.column(1)),
            (Some(Column::Question), Some(Column::Answer))
        );
        assert_eq!(header(&["怎么开户", "带身份证", ""]).unwrap(), simple);
        assert!(!header(&["问题", "答案"]).unwrap().is_missing);
        for (misspelt, missing) in [
            (["qestion", "anwser"], "question"),
            (["question", "回复内容"], "answer"),
        ] {
            let error = header(&misspelt).unwrap_err();
            assert!(
                error.contains(&format!("column {missing}: is missing in the header")),
                "{error}"
            );
        }
    }
}
