//! Writing workbooks: one sheet, a header that stays in sight, nothing but text cells, row by row.
//!
//! Text cells are never run as formulas, so they are written as they are. Rows go to a temporary file of the library's
//! on their way into the archive: memory does not grow with them, the packed file excepted.

use crate::bank::format::row::{COLUMNS, Column};
use rust_xlsxwriter::{Color, Format, FormatBorder, Workbook, Worksheet, XlsxError};
use std::borrow::Cow;
use std::io;

/// Longest text of a cell, in UTF-16 units: Excel's own limit.
const MAX_CELL_UNITS: usize = 32_767;
/// Most rows of a sheet: Excel's own limit.
const MAX_ROWS: u32 = 1_048_576;

/// Notes beside the template, a line each: the column's name and what stands in it.
const NOTES: &str = include_str!("template-notes.txt");

/// Writes a header and rows of as many cells.
///
/// # Errors
/// A text too long for a cell, or a row too many; the reason names the cell and the row's first text.
pub fn write<'a>(
    headings: &[&str],
    rows: impl Iterator<Item = impl AsRef<[Cow<'a, str>]>>,
    out: &mut dyn io::Write,
) -> io::Result<()> {
    let mut workbook = Workbook::new();
    sheet(&mut workbook, headings, rows)?;
    out.write_all(&workbook.save_to_buffer().map_err(other)?)
}

/// Writes the template to fill in: Chinese headings, one row as an example, and on a second sheet what stands where.
pub fn write_template(example: [Cow<'_, str>; COLUMNS.len()], out: &mut dyn io::Write) -> io::Result<()> {
    let mut workbook = Workbook::new();
    let headings = COLUMNS.map(|(column, ..)| column.chinese());
    sheet(&mut workbook, &headings, std::iter::once(example))?;
    let notes = workbook.add_worksheet();
    write_notes(notes).map_err(other)?;
    out.write_all(&workbook.save_to_buffer().map_err(other)?)
}

fn write_notes(notes: &mut Worksheet) -> Result<(), XlsxError> {
    let (header, text) = (header_format(), Format::new().set_text_wrap());
    notes
        .set_name("说明")?
        .set_column_width(0, 14)?
        .set_column_width(1, 100)?;
    for (row, line) in (0..).zip(NOTES.lines()) {
        let (column, note) = line.split_once('\t').unwrap_or(("", line));
        notes.write_string_with_format(row, 0, column, &header)?;
        notes.write_string_with_format(row, 1, note, &text)?;
    }
    Ok(())
}

fn sheet<'a>(
    workbook: &mut Workbook,
    headings: &[&str],
    rows: impl Iterator<Item = impl AsRef<[Cow<'a, str>]>>,
) -> io::Result<()> {
    let sheet = workbook.add_worksheet_with_constant_memory().map_err(other)?;
    let text = Format::new().set_num_format("@");
    begin(sheet, headings, &text).map_err(other)?;
    for (row, cells) in (1..).zip(rows) {
        if row >= MAX_ROWS {
            return Err(refused(format!(
                "more than {MAX_ROWS} rows do not fit into a sheet of Excel"
            )));
        }
        let cells = cells.as_ref();
        for ((column, cell), heading) in (0..).zip(cells).zip(headings) {
            if let Some(reason) = too_long(cell) {
                let row = row + 1;
                return Err(refused(format!("row {row}, column {heading} ({}): {reason}", cells[0])));
            }
            if !cell.is_empty() {
                sheet
                    .write_string_with_format(row, column, cell.as_ref(), &text)
                    .map_err(other)?;
            }
        }
    }
    Ok(())
}

/// Why a text goes into no cell; `None`: it does.
pub fn too_long(text: &str) -> Option<String> {
    let units = text.encode_utf16().count();
    (units > MAX_CELL_UNITS)
        .then(|| format!("has {units} characters, a cell of Excel holds {MAX_CELL_UNITS}; write .csv or .jsonl"))
}

/// A text as far as a cell holds it, with `…` at the end when it was longer.
pub fn cut(text: Cow<'_, str>) -> Cow<'_, str> {
    if too_long(&text).is_none() {
        return text;
    }
    let mut units = '…'.len_utf16();
    let kept = text.chars().take_while(|character| {
        units += character.len_utf16();
        units <= MAX_CELL_UNITS
    });
    kept.chain(['…']).collect::<String>().into()
}

fn begin(sheet: &mut Worksheet, headings: &[&str], text: &Format) -> Result<(), XlsxError> {
    sheet.set_name("题库")?.set_freeze_panes(1, 0)?;
    for (column, heading) in (0..).zip(headings) {
        let width = match Column::parse(heading) {
            Ok(Column::Answer) => 60,
            Ok(Column::Question | Column::Similar) => 36,
            Ok(Column::ValidFrom | Column::ValidUntil) => 20,
            Err(_) => 30,
            Ok(_) => 14,
        };
        // The format also holds for cells that editors fill later: 1-2 stays a text and no date.
        sheet.set_column_width(column, width)?.set_column_format(column, text)?;
    }
    let header = header_format();
    for (column, heading) in (0..).zip(headings) {
        sheet.write_string_with_format(0, column, *heading, &header)?;
    }
    Ok(())
}

fn header_format() -> Format {
    Format::new()
        .set_bold()
        .set_background_color(Color::RGB(0xD9_EA_D3))
        .set_border_bottom(FormatBorder::Thin)
}

fn refused(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

fn other(error: XlsxError) -> io::Error {
    io::Error::other(error)
}
