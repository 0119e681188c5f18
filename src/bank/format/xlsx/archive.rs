//! The archive a workbook is: looked through before the reader of workbooks sees it.
//!
//! [`check`] counts the files the directory names, before any list of them is made, and what they come to unpacked, by
//! unpacking them: what the directory says of sizes may be a lie. It refuses archives that are no workbook.

use crate::bank::format::{Limits, Refusal};
use std::io::{self, Cursor, Read};
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
        unpacked += io::copy(&mut file.take(room + 1), &mut io::sink()).map_err(|error| torn(&error))?;
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
