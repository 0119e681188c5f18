//! What an import did, for people, for programs, and as a file of the rows with what became of each.

use super::Sheet;
use super::import::ImportTerms;
use crate::bank::format::result::{self, Outcome};
use crate::bank::format::{Format, REFUSED, Record, RowError};
use crate::bank::import::{ImportPlan, Mode, RowReport, Verdict};
use crate::bank::{Answer, Entry, EntryId, EntryWarning};
use serde::Serialize;
use std::collections::HashMap;
use std::{fmt, io};

/// Refused rows listed in the report for people; the JSON has all.
const SHOWN_REFUSALS: usize = 100;

/// What an import did, or why it did nothing.
#[derive(Debug, Clone, Serialize)]
pub struct ImportReport {
    #[expect(missing_docs, reason = "the type says it")]
    pub mode: Mode,
    #[expect(missing_docs, reason = "the options' value")]
    pub dry_run: bool,
    /// Whether the bank is now as the file says. `false`: nothing was written.
    pub applied: bool,
    /// The bank's, afterwards.
    pub revision: u64,
    /// The file's, by its content.
    pub format: Format,
    /// About the file as a whole: columns left out, its encoding.
    pub notices: Vec<String>,
    #[expect(missing_docs, reason = "the type says it")]
    pub counts: Counts,
    /// Entries that were, or would be, removed.
    pub removed: Vec<EntryId>,
    /// One a row, in the file's order.
    pub rows: Vec<RowReport>,
}

/// Rows by verdict, and removed entries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the verdicts' names")]
pub struct Counts {
    pub new: usize,
    pub changed: usize,
    pub same: usize,
    pub duplicate: usize,
    pub error: usize,
    pub removed: usize,
}

impl ImportReport {
    /// Rows that keep the file from being imported.
    pub fn refused(&self) -> usize {
        self.counts.duplicate + self.counts.error
    }

    pub(super) fn new(sheet: &Sheet, plan: &ImportPlan, terms: ImportTerms<'_>, revision: u64) -> Self {
        let mut counts = Counts {
            removed: plan.remove.len(),
            ..Counts::default()
        };
        for row in &plan.rows {
            *match row.verdict {
                Verdict::New => &mut counts.new,
                Verdict::Changed => &mut counts.changed,
                Verdict::Same => &mut counts.same,
                Verdict::Duplicate { .. } => &mut counts.duplicate,
                Verdict::Error { .. } => &mut counts.error,
            } += 1;
        }
        Self {
            mode: terms.mode,
            dry_run: terms.dry_run,
            applied: false,
            revision,
            format: sheet.format,
            notices: sheet.notices.clone(),
            counts,
            removed: plan.remove.clone(),
            rows: plan.rows.clone(),
        }
    }
}

impl ImportReport {
    /// Warns of files that followers would not see.
    pub(super) fn look_at_files(&mut self, entries: &[Entry], problem: &dyn Fn(&Answer) -> Option<String>) {
        let taken = self.rows.iter_mut().filter(|row| !row.verdict.is_refusal());
        let mut rows: HashMap<EntryId, &mut RowReport> = taken.filter_map(|row| Some((row.id.clone()?, row))).collect();
        for entry in entries {
            if let (Some(reason), Some(row)) = (problem(&entry.answer), rows.get_mut(&entry.id)) {
                row.warnings.push(EntryWarning {
                    field: "answer",
                    reason,
                });
            }
        }
    }

    /// Of rows that change something; the others have been told before.
    fn show_warnings(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let changes = |row: &&RowReport| matches!(row.verdict, Verdict::New | Verdict::Changed);
        let warned = self.rows.iter().filter(changes);
        let warnings = warned.flat_map(|row| row.warnings.iter().map(move |warning| (row.place, warning)));
        let mut count = 0;
        for (place, warning) in warnings {
            count += 1;
            if count <= SHOWN_REFUSALS {
                writeln!(f, "warning  {place}, column {}: {}", warning.field, warning.reason)?;
            }
        }
        if count > SHOWN_REFUSALS {
            writeln!(f, "… and {} more warnings", count - SHOWN_REFUSALS)?;
        }
        Ok(())
    }
}

impl fmt::Display for ImportReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for notice in &self.notices {
            writeln!(f, "note: {notice}")?;
        }
        let refusals = self.rows.iter().filter(|row| row.verdict.is_refusal());
        if self.dry_run {
            for row in self
                .rows
                .iter()
                .filter(|row| matches!(row.verdict, Verdict::New | Verdict::Changed))
            {
                writeln!(f, "{row}")?;
            }
            for id in &self.removed {
                writeln!(f, "removed, {id}")?;
            }
        }
        for row in refusals.take(SHOWN_REFUSALS) {
            writeln!(f, "{row}")?;
        }
        if self.refused() > SHOWN_REFUSALS {
            writeln!(f, "… and {} more", self.refused() - SHOWN_REFUSALS)?;
        }
        self.show_warnings(f)?;
        let Counts {
            new,
            changed,
            same,
            removed,
            ..
        } = self.counts;
        match self.refused() {
            0 if self.dry_run => write!(f, "dry run, nothing written: ")?,
            0 => {}
            refused => {
                return write!(
                    f,
                    "nothing imported: {refused} of {} rows cannot be taken",
                    self.rows.len()
                );
            }
        }
        write!(
            f,
            "{new} new, {changed} changed, {same} same, {removed} removed; the bank is at revision {}",
            self.revision
        )
    }
}

/// Whether [`write_result`] can write the file's rows in that format.
///
/// # Errors
/// The first cell of an entry that is too long for one.
pub fn check_result(sheet: &Sheet, format: Format) -> Result<(), RowError> {
    result::check(format, sheet.rows.iter().flatten())
}

/// Writes the file's rows, each with its outcome and the reason why it is not taken.
///
/// # Errors
/// Whatever `out` says.
pub fn write_result(sheet: &Sheet, report: &ImportReport, format: Format, out: &mut dyn io::Write) -> io::Result<()> {
    let beyond = |record: &Record| record.others.iter().any(|(number, _)| *number >= sheet.others.len());
    let mut others = sheet.others.clone();
    others.extend(sheet.rows.iter().flatten().any(beyond).then(String::new));
    let rows = sheet.rows.iter().zip(&report.rows).map(|(row, report)| {
        let warnings = report.warnings.iter();
        let warnings = warnings.map(|warning| format!("column {}: {}", warning.field, warning.reason));
        Outcome {
            record: row.as_ref().ok(),
            outcome: match report.verdict {
                Verdict::New => "new",
                Verdict::Changed => "changed",
                Verdict::Same => "same",
                Verdict::Duplicate { .. } => "duplicate",
                Verdict::Error { .. } => REFUSED,
            },
            reason: match report.verdict.is_refusal() {
                true => report.to_string(),
                false => warnings.collect::<Vec<_>>().join("; "),
            },
        }
    });
    result::write(format, &others, rows, out)
}
