//! The archive a workbook is: looked through before the reader of workbooks sees it.
//!
//! [`check`] counts the files the directory names, before any list of them is made, and what they come to unpacked, by
//! unpacking them: what the directory says of sizes may be a lie. It refuses archives that are no workbook, and parts that go
//! on for more than 10 MiB without a `<`, a plain text or a tag, which the reader would gather before it can say so; in a
//! compressed picture one byte of 256 is that. It
//! understands no XML: a text that has a `<` now and then, in CDATA, in an attribute or as `</t><t>`, passes however long
//! it is. What the reader gathers of that, the limits of memory and time hold under which it runs (`intake`).

use crate::bank::format::csv::MAX_CELL_BYTES;
use crate::bank::format::{Limits, Refusal};
use std::io::{self, Cursor, Read, Write};
use zip::ZipArchive;

/// Parts that a workbook of questions has no use for, and why the file is refused.
const UNWANTED: [(&str, &str); 4] = [
    ("xl/vbaproject.bin", "has macros: save it as .xlsx, which holds none"),
    (
        "xl/externallinks/",
        "refers to other workbooks: break the links (数据 › 编辑链接) and save again",
    ),
    ("xl/workbook.bin", "is an .xlsb workbook: save it as .xlsx"),
    ("content.xml", "is an OpenDocument sheet: save it as .xlsx"),
];

/// Longest stretch of XML without a `<`, in bytes. A cell's text may take ten bytes for one, as in `&#000038;`.
const MAX_STRETCH: usize = 10 * MAX_CELL_BYTES;

/// # Errors
/// The archive is torn or encrypted, breaks a limit, or is no workbook we take.
pub fn check(bytes: &[u8], limits: &Limits) -> Result<(), Refusal> {
    let count = entries(bytes)?;
    if count > limits.archive_entries {
        let most = limits.archive_entries;
        return Err(Refusal::new(format!(
            "is an archive of {count} files, a workbook has at most {most}"
        )));
    }
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|error| torn(&error))?;
    let mut has_workbook = false;
    let mut unpacked = 0;
    for index in 0..archive.len() {
        let mut file = archive.by_index_raw(index).map_err(|error| torn(&error))?;
        if file.encrypted() {
            return Err(Refusal::new(
                "is an encrypted archive: save the workbook without a password",
            ));
        }
        let name = file.name().map_err(|error| torn(&error))?.to_ascii_lowercase();
        if let Some((_, reason)) = UNWANTED.iter().find(|(part, _)| name.starts_with(part)) {
            return Err(Refusal::new(*reason));
        }
        has_workbook |= name == "xl/workbook.xml";
        drop(file);
        file = archive.by_index(index).map_err(|error| torn(&error))?;
        let room = limits.unpacked_bytes - unpacked;
        let mut unpacking = file.take(room + 1);
        // Whatever it is called: a workbook's relations may make a sheet of any part.
        unpacked += stretches_of(&mut unpacking)?;
        if unpacked > limits.unpacked_bytes {
            let most = limits.unpacked_bytes >> 20;
            return Err(Refusal::new(format!("unpacks to more than {most} MiB")));
        }
    }
    match has_workbook {
        true => Ok(()),
        false => Err(Refusal::new("is a zip archive without a workbook in it")),
    }
}

/// Unpacks a part and returns its length.
///
/// # Errors
/// It is torn, or has a stretch that is too long.
fn stretches_of(part: &mut dyn Read) -> Result<u64, Refusal> {
    let mut stretch = Stretch(0);
    io::copy(part, &mut stretch).map_err(|error| match stretch.0 > MAX_STRETCH {
        true => Refusal::new(format!(
            "has more than {} MiB of text in one piece, or a picture that is not compressed; a cell holds at most {} MiB",
            MAX_STRETCH >> 20,
            MAX_CELL_BYTES >> 20
        )),
        false => torn(&error),
    })
}

/// Swallows XML until so many bytes, counted here, come without a `<`.
struct Stretch(usize);

impl Write for Stretch {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // As much as is unpacked at a time is no more than a stretch: what ends in the middle of it is short enough.
        self.0 = match bytes.iter().rposition(|byte| *byte == b'<') {
            Some(last) => bytes.len() - last,
            None => self.0 + bytes.len(),
        };
        match self.0 > MAX_STRETCH {
            true => Err(io::ErrorKind::FileTooLarge.into()),
            false => Ok(bytes.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn torn(error: &dyn std::error::Error) -> Refusal {
    Refusal::new(format!("is a damaged or incomplete archive: {error}"))
}

/// How many files the archive says it has, by the record at its end (APPNOTE.TXT, 4.3.16).
fn entries(bytes: &[u8]) -> Result<u64, Refusal> {
    const RECORD: usize = 22;
    const LONGEST_COMMENT: usize = u16::MAX as usize;
    let tail = &bytes[bytes.len().saturating_sub(RECORD + LONGEST_COMMENT)..];
    let record = tail
        .windows(RECORD)
        .rev()
        .find(|window| window.starts_with(b"PK\x05\x06"));
    let record = record.ok_or_else(|| Refusal::new("is a damaged or incomplete archive: its end is missing"))?;
    let count = u16::from_le_bytes([record[10], record[11]]);
    // All ones: the number stands in a record for large archives. A workbook of 20 MiB needs none.
    match count {
        u16::MAX => Err(Refusal::new("is an archive of 65535 files or more, no workbook")),
        count => Ok(count.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of that many bytes between two tags.
    fn unpacked(bytes: usize) -> Result<u64, Refusal> {
        let part = ["<t>", &"x".repeat(bytes), "</t>"].concat();
        stretches_of(&mut part.repeat(2).as_bytes())
    }

    #[test]
    fn a_text_that_goes_on_and_on_is_refused_and_two_long_ones_are_not() {
        assert_eq!(unpacked(MAX_STRETCH - 3), Ok(2 * MAX_STRETCH as u64 + 8));
        let refusal = unpacked(MAX_STRETCH + (1 << 20)).unwrap_err().to_string();
        assert!(
            refusal.starts_with("has more than 10 MiB of text in one piece"),
            "{refusal}"
        );
    }
}
