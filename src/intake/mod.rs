//! How files come into the bank: read by a process of their own, compared with what is there, written all or not at all.
//!
//! A file of 1.4 KB can make a reader of workbooks ask for more memory than there is, which ends the process that reads
//! it and cannot be caught. So [`read`] hands the file to a child process of the same program ([`child`]) under limits it
//! sets itself before it looks, and takes rows from it through a pipe, frame by frame, each of bounded length. Whatever
//! becomes of the child is a refusal of the file. [`import`] then does the rest, and tells what it is at by [`Event`]s.
//! Follows THREATS.md › 3.4: whoever may upload a file is not trusted with the daemon's memory.

mod frame;
pub mod child;
mod parent;
mod import;
mod report;

pub use import::{ImportError, ImportTerms, import};
pub use parent::{IntakeError, read};
pub use report::{Counts, ImportReport, check_result, write_result};

use crate::bank::format::{self, Format, Item, Record, Refusal, RowError, read_file};
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;
use std::time::Duration;

/// What a file, and the process that reads it, may come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of the file.
    pub file_bytes: u64,
    #[expect(missing_docs, reason = "the type says it")]
    pub content: format::Limits,
    /// Bytes of all frames together: what the parent keeps is about as much.
    pub frames_bytes: u64,
    /// Address space of the child.
    pub memory_bytes: u64,
    /// Processor time of the child.
    pub cpu_seconds: u64,
    /// Time by the clock until the last row.
    pub patience: Duration,
}

impl Limits {
    /// For what comes over the network (THREATS.md › 3.4).
    pub const UPLOAD: Self = Self {
        file_bytes: 20 << 20,
        content: format::Limits {
            unpacked_bytes: 100 << 20,
            archive_entries: 200,
            cells: 2_000_000,
        },
        frames_bytes: 48 << 20,
        memory_bytes: 512 << 20,
        cpu_seconds: 30,
        patience: Duration::from_secs(60),
    };

    /// For an operator's own file at his own command line: 100,000 entries with everything filled in, in every format.
    pub const OWN_FILE: Self = Self {
        file_bytes: 256 << 20,
        content: format::Limits {
            unpacked_bytes: 512 << 20,
            archive_entries: 200,
            cells: 4_000_000,
        },
        frames_bytes: 512 << 20,
        memory_bytes: 1 << 30,
        cpu_seconds: 120,
        patience: Duration::from_secs(300),
    };
}

/// A file as rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Sheet {
    /// By its content.
    pub format: Format,
    /// What its editor should know.
    pub notices: Vec<String>,
    /// The headings nobody knows, which the result has again.
    pub others: Vec<String>,
    /// In the file's order.
    pub rows: Vec<Result<Record, RowError>>,
}

impl Sheet {
    /// A file of our own, read by this very process: never one from outside.
    ///
    /// # Errors
    /// As [`read_file`].
    pub fn of_trusted(file: &[u8]) -> Result<Self, Refusal> {
        let mut sheet = Self {
            format: Format::Jsonl,
            notices: Vec::new(),
            others: Vec::new(),
            rows: Vec::new(),
        };
        read_file(file, &Limits::OWN_FILE.content, &mut |item| {
            sheet.add(item);
            ControlFlow::Continue(())
        })?;
        Ok(sheet)
    }

    fn add(&mut self, item: Item) {
        match item {
            Item::Format(format) => self.format = format,
            Item::Notice(notice) => self.notices.push(notice),
            Item::Others(others) => self.others = others,
            Item::Record(record) => self.rows.push(Ok(record)),
            Item::Error(error) => self.rows.push(Err(error)),
        }
    }
}

/// What is being done, for whoever waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "doing", rename_all = "lowercase")]
pub enum Event {
    /// That many rows have been read.
    Reading {
        #[expect(missing_docs, reason = "said above")]
        rows: u64,
    },
    /// That many of all rows have been compared with the bank. Begins anew when the bank was edited meanwhile.
    Comparing {
        #[expect(missing_docs, reason = "said above")]
        rows: u64,
        #[expect(missing_docs, reason = "said above")]
        of: u64,
    },
    /// The transaction is being written.
    Writing,
}

/// Who is told of [`Event`]s.
pub type Listener<'a> = &'a (dyn Fn(Event) + Send + Sync);
