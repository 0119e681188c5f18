//! A replay of the bank, in words for the operator.
//!
//! [`text`] is the entry point. Lines stay within 100 columns but for the bank's own texts.

use crate::matching::reliability::{ANSWERS_RIGHT, SHOWN_RIGHT, Share, Tally};
use crate::matching::replay::{ENOUGH, Replay};
use std::fmt::{self, Write};

/// The whole report.
pub(super) fn text(replay: &Replay) -> String {
    let mut text = String::new();
    write(&mut text, replay).expect("a text takes all that is written");
    text
}

fn write(out: &mut String, replay: &Replay) -> fmt::Result {
    basis(out, replay)?;
    present(out, replay)?;
    choices(out, replay)?;
    suggestion(out, replay)?;
    confusions(out, replay)
}

fn basis(out: &mut String, replay: &Replay) -> fmt::Result {
    let Replay {
        entries,
        entries_with_similar,
        similar,
        repeated,
        known,
        unknown,
        ..
    } = replay;
    writeln!(
        out,
        "bank       {entries} published entries, {entries_with_similar} with similar questions, {similar} of these"
    )?;
    match *known {
        0 => writeln!(
            out,
            "replayed   no similar question, so nothing shows how well the bank's own entries are found;"
        )?,
        known => writeln!(
            out,
            "replayed   {known} similar questions, each left out of the bank in turn;"
        )?,
    }
    writeln!(
        out,
        "           {unknown} questions and similar questions, each with its whole entry left out: then the bank\n           \
         has no answer, and its other entries are as near as they can be, the hardest case to keep silent on"
    )?;
    if *repeated > 0 {
        writeln!(
            out,
            "not asked  {repeated} similar questions that read the same as another wording of their entry"
        )?;
    }
    let asked_of = similar - repeated;
    if *known < asked_of {
        writeln!(out, "           of a bank so large only every n-th question is asked")?;
    }
    Ok(())
}

fn present(out: &mut String, replay: &Replay) -> fmt::Result {
    let Tally { known, unknown, .. } = replay.present;
    writeln!(
        out,
        "\nwith the thresholds in use, answer {:.2} and suggest {:.2}",
        replay.present.answer_threshold, replay.present.suggest_threshold
    )?;
    let row = |out: &mut String, what: &str, count: usize, of: usize, more: String| {
        writeln!(out, "    {what:<10} {count:>6}  {:>6}{more}", percent(count, of))
    };
    let right = |what: &str, right: usize, of: usize| match of {
        0 => String::new(),
        _ => format!("   {what} {right} ({})", percent(right, of).trim_start()),
    };
    if known.questions > 0 {
        writeln!(out, "  of {} questions that the bank can answer", known.questions)?;
        let answers = right("right", known.answered_right, known.answered);
        row(out, "answered", known.answered, known.questions, answers)?;
        let listed_right = known.shown_right - known.answered_right;
        let lists = right("the right entry among them", listed_right, known.listed());
        row(out, "listed", known.listed(), known.questions, lists)?;
        let shown = right("the right entry among the shown", known.shown_right, known.shown);
        row(out, "shown", known.shown, known.questions, shown)?;
        row(out, "silent", known.silent(), known.questions, String::new())?;
    }
    writeln!(out, "  of {} questions that it cannot answer", unknown.questions)?;
    let false_answers = if unknown.answered > 0 {
        "   all of them wrong"
    } else {
        ""
    };
    row(
        out,
        "answered",
        unknown.answered,
        unknown.questions,
        false_answers.to_owned(),
    )?;
    row(out, "listed", unknown.listed(), unknown.questions, String::new())?;
    row(out, "silent", unknown.silent(), unknown.questions, String::new())
}

fn choices(out: &mut String, replay: &Replay) -> fmt::Result {
    let has_known = replay.known > 0;
    writeln!(
        out,
        "\nwhat other answer thresholds would give{}",
        if has_known { ", of each kind of question" } else { "" }
    )?;
    writeln!(
        out,
        "    threshold   can be answered: answered     right    cannot: answered   answers right*"
    )?;
    for tally in &replay.choices {
        let Tally { known, unknown, .. } = tally;
        let of_known = percent(known.answered, known.questions);
        let right = percent(known.answered_right, known.answered);
        let false_answers = percent(unknown.answered, unknown.questions);
        let all = if has_known { tally.answers_right } else { None };
        writeln!(
            out,
            "         {:.2}   {of_known:>26} {right:>9} {false_answers:>19} {:>16}",
            tally.answer_threshold,
            all.map_or("–".to_owned(), |share| format!("{:.1} %", share.share * 100.0)),
        )?;
    }
    if has_known {
        let percent = replay.unanswerable * 100.0;
        writeln!(
            out,
            "    * if {percent:.0} % of the messages cannot be answered (--unanswerable): each of those replayed counts {:.3}",
            replay.weight
        )?;
    }
    Ok(())
}

fn suggestion(out: &mut String, replay: &Replay) -> fmt::Result {
    writeln!(out)?;
    let present = |share: Option<Share>, what: &str| match share {
        Some(share) => format!("at present {} of {what}", with_interval(share)),
        None => format!("at present there is nothing of {what}"),
    };
    let answers = present(replay.present.answers_right, "the answers are right");
    let shown = present(replay.present.shown_right, "what is shown has the right entry");
    let Some(advice) = &replay.advice else {
        writeln!(
            out,
            "no suggestion: {} questions to judge by, fewer than {ENOUGH}. Give more entries similar questions, in the\n  \
             words of those who ask, or label what was really asked and use --queries.",
            replay.known
        )?;
        if replay.known > 0 {
            writeln!(out, "  {answers}\n  {shown}")?;
        }
        return Ok(());
    };
    writeln!(out, "suggestion for [matching] in the configuration")?;
    let promise = format!("at which {:.0} % of the answers are right", ANSWERS_RIGHT * 100.0);
    match &advice.answer {
        Some(tally) => {
            writeln!(
                out,
                "  answer_threshold  = {:.2}   the lowest {promise}",
                tally.answer_threshold
            )?;
            let after = tally.answers_right.map(with_interval).unwrap_or_default();
            writeln!(out, "      then {after} are right; {answers}")?;
            writeln!(
                out,
                "      answered: {} of {} questions that can be answered ({} at present), {} of {} others ({} at present)",
                tally.known.answered,
                tally.known.questions,
                replay.present.known.answered,
                tally.unknown.answered,
                tally.unknown.questions,
                replay.present.unknown.answered
            )?;
        }
        None => writeln!(
            out,
            "  answer_threshold    none {promise} with ten of them or more\n      {answers}"
        )?,
    }
    let promise = format!(
        "at which {:.0} % of what is shown has the right entry",
        SHOWN_RIGHT * 100.0
    );
    match &advice.suggest {
        Some(tally) => {
            writeln!(
                out,
                "  suggest_threshold = {:.2}   the lowest {promise}",
                tally.suggest_threshold
            )?;
            let after = tally.shown_right.map(with_interval).unwrap_or_default();
            writeln!(out, "      then {after} has it; {shown}")?;
            writeln!(
                out,
                "      shown: {} of {} questions that can be answered ({} at present), {} of {} others ({} at present)",
                tally.known.shown,
                tally.known.questions,
                replay.present.known.shown,
                tally.unknown.shown,
                tally.unknown.questions,
                replay.present.unknown.shown
            )
        }
        None => writeln!(out, "  suggest_threshold   none {promise}\n      {shown}"),
    }
}

fn confusions(out: &mut String, replay: &Replay) -> fmt::Result {
    if replay.confusions.is_empty() {
        return Ok(());
    }
    let what = match replay.known {
        0 => "entries that look alike: asked for the first without it, the bank shows the second",
        _ => "entries that take each other's questions",
    };
    writeln!(
        out,
        "\n{what}\n  (merge them, tell them apart in config/dict/contrast.txt, or give them similar questions)"
    )?;
    for confusion in &replay.confusions {
        let (of, found) = (&confusion.of, &confusion.found);
        writeln!(
            out,
            "{:>4}×  {} {}  →  {} {}",
            confusion.times, of.id, of.question, found.id, found.question
        )?;
        writeln!(
            out,
            "       “{}” gets the latter at {:.2}",
            confusion.question, confusion.confidence
        )?;
    }
    Ok(())
}

fn percent(count: usize, of: usize) -> String {
    match of {
        0 => "–".to_owned(),
        _ => format!("{:.1} %", count as f64 * 100.0 / of as f64),
    }
}

fn with_interval(share: Share) -> String {
    let Share { share, low, high } = share;
    format!("{:.1} % ({:.1}–{:.1})", share * 100.0, low * 100.0, high * 100.0)
}
