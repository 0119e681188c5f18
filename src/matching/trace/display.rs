//! A trace for people: within a hundred columns, but for what stands in the bank.
//!
//! Long texts and long rows of terms are cut, and say so; the form for programs has them whole.

use super::{CandidateTrace, FieldTrace, PartTrace, Trace};
use crate::matching::Decision;
use crate::matching::confidence::Sureness;
use std::fmt;

/// Columns of a terminal that is not wide.
const COLUMNS: usize = 100;
/// Where texts and terms begin.
const MARGIN: usize = 12;
/// Terms of a field that are shown.
const TERMS: usize = 40;
/// Columns of a text that are shown.
const TEXT: usize = 2 * (COLUMNS - MARGIN);

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text(f, "query", &self.query)?;
        text(f, "normalized", &self.normalized)?;
        if let Some(respelled) = &self.respelled {
            text(f, "respelled", respelled)?;
        }
        text(f, "compared", &self.compared)?;
        let fields = self.fields.iter().filter(|field| !field.terms.is_empty());
        for (at, field) in fields.enumerate() {
            if at == 0 {
                writeln!(f, "terms       with the number of phrasings in the bank that hold each")?;
            }
            terms(f, field)?;
        }
        match self.candidates.len() {
            0 => writeln!(f, "candidates  none")?,
            shown => writeln!(
                f,
                "candidates  {} compared in full, the best {shown}:",
                self.compared_entries
            )?,
        }
        for (rank, candidate) in (1..).zip(&self.candidates) {
            self.candidate(f, rank, candidate)?;
        }
        if !self.candidates.is_empty() {
            let Sureness {
                score,
                sounds,
                crowd,
                confidence,
            } = self.sureness;
            writeln!(
                f,
                "sureness    {confidence:.4}, for the first's score {score:+.4}, its sound {sounds:+.4}, the crowd of others like \
                 the query {crowd:+.4}"
            )?;
        }
        writeln!(
            f,
            "thresholds  answer {} (of the sureness), suggest {} (of the confidence)",
            self.answer_threshold, self.suggest_threshold
        )?;
        let decision = match self.decision {
            Decision::Answer => "answer",
            Decision::Suggest => "suggest",
            Decision::None => "none",
        };
        write!(f, "decision    {decision}: {}", self.why)
    }
}

impl Trace {
    fn candidate(&self, f: &mut fmt::Formatter<'_>, rank: usize, candidate: &CandidateTrace) -> fmt::Result {
        let CandidateTrace {
            confidence, likeness, ..
        } = candidate;
        writeln!(f, "{rank:>3}. {}  {}", candidate.id, candidate.matched)?;
        match candidate.exact {
            true => writeln!(
                f,
                "     confidence {confidence:.4}: the query reads the same; what follows does not count"
            )?,
            false => writeln!(f, "     confidence {confidence:.4}, for the score below")?,
        }
        if let Some(rival) = &candidate.rival {
            writeln!(
                f,
                "     measured against the most alike other: {}  {}",
                rival.id, rival.matched
            )?;
        }
        if let Some((own, other)) = &candidate.contrast {
            writeln!(f, "     in contrast: the query names {own}, this one {other}")?;
        }
        let head = ["feature", "value", "weight", "adds", "alike", "other's"];
        writeln!(
            f,
            "       {:<15} {:>8} {:>7} {:>8}  {:>8} {:>8}",
            head[0], head[1], head[2], head[3], head[4], head[5]
        )?;
        writeln!(
            f,
            "       {:<15} {:>8} {:>7} {:>+8.4}",
            "intercept", "", "", self.intercept
        )?;
        for part in candidate.parts.iter().filter(|part| part.says_something()) {
            let PartTrace {
                feature, value, weight, ..
            } = part;
            let adds = unless_zero(part.contribution);
            let (alike, other) = match *feature {
                "lead" => (
                    format!("={likeness:.4}"),
                    candidate
                        .rival
                        .as_ref()
                        .map_or(String::new(), |rival| format!("-{:.4}", rival.likeness)),
                ),
                _ => (unless_zero(part.likeness), unless_zero(part.rival_likeness)),
            };
            let weight = if *weight == 0.0 {
                String::new()
            } else {
                format!("{weight:.3}")
            };
            writeln!(
                f,
                "       {feature:<15} {value:>8.4} {weight:>7} {adds:>8}  {alike:>8} {other:>8}  {}",
                meaning(feature)
            )?;
        }
        writeln!(
            f,
            "       {:<15} {:>8} {:>7} {:>+8.4}",
            "score", "", "", candidate.score
        )
    }
}

impl PartTrace {
    fn says_something(&self) -> bool {
        [self.contribution, self.likeness, self.rival_likeness]
            .iter()
            .any(|number| *number != 0.0)
    }
}

/// A feature in a few words.
fn meaning(feature: &str) -> &'static str {
    match feature {
        "query_units" => "of the query, in the entry",
        "phrasing_units" => "of the phrasing, in the query",
        "units" => "both as one",
        "pairs" => "pairs of neighbours in common",
        "words" => "words in common",
        "parts" => "words, also in part",
        "sounds" => "sounds in common",
        "sound_sequence" => "sounds in the same order",
        "length" => "like lengths",
        "same" => "the same characters in order",
        "answer" => "words in the answer",
        "answer_adds" => "words in the answer alone",
        "numbers_differ" => "other numbers",
        "latin_differs" => "other Latin words",
        "latin_one_sided" => "Latin words on one side",
        "negation_differs" => "one side denies something",
        "contrast" => "the other side of a contrast",
        "unknown" => "words new to the bank",
        "brief" => "shortness of the query",
        "read" => "read from pinyin or initials",
        "found_query" => "best query_units of all",
        "found_phrasing" => "best phrasing_units of all",
        "lead" => "alike, less the other",
        _ => "",
    }
}

fn unless_zero(number: f64) -> String {
    if number == 0.0 {
        String::new()
    } else {
        format!("{number:+.4}")
    }
}

/// A text behind its name, cut when it is long.
fn text(f: &mut fmt::Formatter<'_>, name: &str, text: &str) -> fmt::Result {
    let mut line = Line::begin(f, name)?;
    let mut shown = 0;
    for c in text.chars() {
        shown += columns(c);
        if shown > TEXT {
            line.put(&format!("… ({} characters)", text.chars().count()), " ")?;
            return line.end("");
        }
        // What moves the cursor has no place here.
        let c = if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
        line.put(c.encode_utf8(&mut [0; 4]), "")?;
    }
    line.end("")
}

/// The terms of a field behind its name.
fn terms(f: &mut fmt::Formatter<'_>, field: &FieldTrace) -> fmt::Result {
    let mut line = Line::begin(f, &format!("  {}", field.field))?;
    for term in field.terms.iter().take(TERMS) {
        line.put(&format!("{}:{}", term.term, term.doc_freq), "  ")?;
    }
    if let Some(more) = field.terms.len().checked_sub(TERMS).filter(|more| *more > 0) {
        line.put(&format!("… {more} more"), "  ")?;
    }
    line.put(&format!("({})", field.source), "   ")?;
    line.end("")
}

/// A line that goes on in the next where it would be too long.
struct Line<'a, 'b> {
    f: &'a mut fmt::Formatter<'b>,
    column: usize,
}

impl<'a, 'b> Line<'a, 'b> {
    fn begin(f: &'a mut fmt::Formatter<'b>, name: &str) -> Result<Self, fmt::Error> {
        write!(f, "{name:<MARGIN$}")?;
        Ok(Self { f, column: MARGIN })
    }

    /// Adds a piece behind the one before it; pieces are not taken apart.
    fn put(&mut self, piece: &str, gap: &str) -> fmt::Result {
        let width: usize = piece.chars().map(columns).sum();
        let gap = if self.column == MARGIN { "" } else { gap };
        if self.column > MARGIN && self.column + gap.len() + width > COLUMNS {
            write!(self.f, "\n{:MARGIN$}{piece}", "")?;
            self.column = MARGIN + width;
        } else {
            write!(self.f, "{gap}{piece}")?;
            self.column += gap.len() + width;
        }
        Ok(())
    }

    fn end(self, more: &str) -> fmt::Result {
        writeln!(self.f, "{more}")
    }
}

/// Columns a character takes: two from the first Chinese radical on, as terminals have it, emoji included.
fn columns(c: char) -> usize {
    if c < '\u{2e80}' { 1 } else { 2 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matching::ranking::TABLE;

    #[test]
    fn every_feature_has_a_meaning() {
        for line in &TABLE {
            assert!(!meaning(line.name).is_empty(), "{}", line.name);
        }
    }
}
