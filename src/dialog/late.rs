//! Answers that take longer than WeChat waits: what is said meanwhile, and how they are told once they are there.
//!
//! [`tell`] turns a [`Finding`] into a reply; [`with_own`] joins it with what the message gets itself that brings it. Who looks
//! for it, where it waits and how it travels is `bot`'s work.

use super::choice::Pick;
use super::say::Say;
use super::{Desk, MAX_OFFER, Outcome, Session, Told, conclude, cut, is_small_talk, rules, templates};
use crate::bank::Answer;
use crate::wechat::Reply;
use serde::{Deserialize, Serialize};

/// Longest answer that is kept, in bytes of UTF-8; what is beyond is cut off.
pub const MAX_ANSWER_BYTES: usize = 8 * 1024;

/// What a slow answer source brought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Finding {
    /// An answer; not blank, at most [`MAX_ANSWER_BYTES`].
    Text(String),
    /// It does not know, or could not be asked: what the bank has is told.
    Nothing,
    /// It took so long that it was given up.
    Cut,
    /// WeChat has been given the answer's file, as far as that could be done.
    File(FileAnswer),
}

/// An answer with a file of ours, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileAnswer {
    kind: String,
    content: String,
}

impl FileAnswer {
    /// Of the answer.
    pub fn of(answer: &Answer) -> Self {
        Self {
            kind: answer.kind().to_owned(),
            content: answer.content().into_owned(),
        }
    }

    /// The answer again; `None`: what was kept is none.
    pub fn answer(&self) -> Option<Answer> {
        Answer::parse(&self.kind, &self.content).ok()
    }
}

impl Finding {
    /// The finding for a source's words; blank ones are none.
    pub fn of_words(words: Option<String>) -> Self {
        match words {
            Some(words) if !words.trim().is_empty() => {
                let text = cut::cut(words.trim(), MAX_ANSWER_BYTES).map_or(words.trim(), |(part, _)| part);
                Self::Text(text.to_owned())
            }
            _ => Self::Nothing,
        }
    }
}

/// Says that the answer is being looked for.
pub fn searching(session: Session, desk: Desk<'_>) -> Outcome {
    Say { desk }.searching(session)
}

/// Says nothing: the answer comes by itself.
pub fn acknowledged(session: Session) -> Outcome {
    Outcome::new(Reply::Acknowledge, Some(session), Told::Searching)
}

/// Tells what was found for `question`.
pub fn tell(finding: &Finding, question: &str, session: Session, desk: Desk<'_>) -> Outcome {
    let say = Say { desk };
    match finding {
        // A source may say what the account does not talk about, whatever it was asked.
        Finding::Text(text) => {
            rules::refusal(text, &session, desk).unwrap_or_else(|| say.text(text, Session::default(), Told::Sourced))
        }
        Finding::Nothing => conclude(&desk.index.search(question, desk.scope, MAX_OFFER), session, desk),
        Finding::Cut => say.apology(after_else(session)),
        Finding::File(kept) => {
            let session = after_else(session);
            let answer = kept.answer();
            let told = answer.and_then(|answer| say.rich(&answer, session.clone(), Told::Late));
            told.unwrap_or_else(|| say.apology(session))
        }
    }
}

/// The session after something that is no answer of the bank's.
fn after_else(session: Session) -> Session {
    Session {
        moved_on: true,
        ..session
    }
}

/// The outcome as customer-service messages can say it. Handing over they cannot: of an entry a text says how
/// to get there, of a default rule that the bank does not know.
pub fn sendable(outcome: Outcome, desk: Desk<'_>) -> Outcome {
    match outcome.reply {
        Reply::Transfer { .. } => {
            let (say, session) = (Say { desk }, outcome.session.unwrap_or_default());
            match outcome.told {
                Told::Answer(..) | Told::Choice(_) => say.late_handoff(session),
                _ => say.not_found(session),
            }
        }
        _ => outcome,
    }
}

/// Whether `outcome` moves the conversation on, so that its message was not just anything, sent to see an answer that
/// is being looked for.
pub fn moves_on(outcome: &Outcome, desk: Desk<'_>) -> bool {
    match &outcome.told {
        Told::Answer(id, _) => !desk.index.entry(id.as_str()).is_some_and(|entry| is_small_talk(entry)),
        Told::NotFound | Told::Hint => false,
        _ => true,
    }
}

/// What becomes of a waiting answer with the message that may bring it.
#[derive(Debug, Clone, PartialEq)]
pub enum Brought {
    /// It is told, with what the message gets itself as far as that stands beside it.
    Told(Outcome),
    /// It waits on: this is what the message gets itself.
    Waits(Outcome),
}

/// A waiting answer together with what the message that brings it gets itself.
///
/// `late` is the answer as it was told, `again` tells it at another desk; `own` is what the message, `text`, gets by itself.
/// A text made up to see the answer gets that alone. The bank's answer to a question of its own follows where both are texts
/// and fit one. Else a choice from the list on the table, which would be gone, is answered and `late` waits, and so it does
/// where it has no words and the bank knows what is asked; beside words such a question is asked for once more.
pub fn with_own(
    late: Outcome,
    again: impl FnOnce(Desk<'_>) -> Outcome,
    own: Outcome,
    text: &str,
    desk: Desk<'_>,
) -> Brought {
    if !asks(&own, text, desk) {
        return Brought::Told(late);
    }
    if words(&late).is_none() {
        return match goes_first(&own, text, desk) {
            true => Brought::Waits(with_waiting(own, desk)),
            false => Brought::Told(late),
        };
    }
    let render = |late, answer| desk.templates.words(&templates::LateAndNew { late, answer });
    // Numbers belong to one list.
    let answer = whole_words(&own).filter(|_| is_direct(&own) && late.shown.is_empty());
    if let (Some(said), Some(answer)) = (whole_words(&late), answer)
        && let (content, fault) = render(said, answer)
        && content.trim_end().len() <= desk.max_bytes
    {
        let content = content.trim_end().to_owned();
        return Brought::Told(Outcome {
            reply: Reply::Text { content },
            rule: late.rule.or(own.rule),
            fault: late.fault.or(own.fault).or(fault.map(Box::new)),
            ..own
        });
    }
    if Pick::parse(text).is_some() {
        return Brought::Waits(with_waiting(own, desk));
    }
    let max_bytes = desk.max_bytes.saturating_sub(render("", "").0.len());
    let late = again(Desk { max_bytes, ..desk });
    let (Reply::Text { content }, Some(session)) = (&late.reply, late.session.clone()) else {
        return Brought::Told(late);
    };
    let (content, fault) = render(content, "");
    Brought::Told(Outcome {
        shown: late.shown.clone(),
        rule: late.rule,
        fault: late.fault.or(fault.map(Box::new)),
        ..Say { desk }.text(&content, session, late.told)
    })
}

/// Whether `text`, which gets `own`, asks what the bank knows, so that it is answered before what cannot stand beside it.
pub fn goes_first(own: &Outcome, text: &str, desk: Desk<'_>) -> bool {
    own.told != Told::NotFound && asks(own, text, desk)
}

/// `own` with a word on the answer that waits, where it is a text with room for it.
fn with_waiting(own: Outcome, desk: Desk<'_>) -> Outcome {
    let Some(answer) = whole_words(&own) else {
        return own;
    };
    let (content, fault) = desk.templates.words(&templates::LateWaits { answer });
    let content = content.trim_end().to_owned();
    if content.len() > desk.max_bytes {
        return own;
    }
    Outcome {
        reply: Reply::Text { content },
        fault: own.fault.or(fault.map(Box::new)),
        ..own
    }
}

/// The text of an outcome that has nothing left for 更多.
fn whole_words(outcome: &Outcome) -> Option<&str> {
    let is_whole = outcome.session.as_ref().is_some_and(|session| session.rest.is_none());
    words(outcome).filter(|_| is_whole)
}

/// Whether `text`, which gets `own`, is likely to ask something, and not just anything that was sent to see an answer.
fn asks(own: &Outcome, text: &str, desk: Desk<'_>) -> bool {
    /// A question the bank does not know is no shorter, in characters without fillers: 好了吗 and 查一下 are.
    const SHORTEST: usize = 4;
    let normalize = |text: &str| desk.index.analyzer().normalize(text);
    match &own.told {
        Told::Answer(..) => moves_on(own, desk),
        Told::Choice(_) | Told::Rule | Told::List(_) | Told::Part | Told::Human => true,
        Told::NotFound => {
            let text = normalize(text);
            // 查看答案, 任意内容: copied from what asks for it.
            let (asked_for, _) = desk.templates.words(&templates::Searching {});
            text.chars().count() >= SHORTEST && !normalize(&asked_for).contains(&text)
        }
        _ => false,
    }
}

/// Whether `outcome` answers: it neither asks back nor says that the answer's file is not to be had.
fn is_direct(outcome: &Outcome) -> bool {
    outcome.lacks.is_none() && matches!(outcome.told, Told::Answer(..) | Told::Choice(_) | Told::Rule)
}

/// `text` in parts of at most `max_bytes`, cut at safe places; at least one.
pub fn parts(text: &str, max_bytes: usize) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut left = text;
    while let Some((part, rest)) = cut::cut(left, max_bytes) {
        parts.push(part);
        left = rest;
    }
    if !left.is_empty() || parts.is_empty() {
        parts.push(left);
    }
    parts
}

/// The whole words of an outcome made at a desk without a limit; `None` when it has no text.
pub fn words(outcome: &Outcome) -> Option<&str> {
    match &outcome.reply {
        Reply::Text { content } => Some(content),
        _ => None,
    }
}

impl Say<'_> {
    fn searching(self, session: Session) -> Outcome {
        self.page(&templates::Searching {}, session, Told::Searching)
    }

    fn late_handoff(self, session: Session) -> Outcome {
        self.page(&templates::LateHandoff {}, session, Told::Human)
    }

    fn apology(self, session: Session) -> Outcome {
        self.page(&templates::Apology {}, session, Told::Late)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sources_words_are_bounded_and_blank_ones_are_none() {
        let finding = |words: &str| Finding::of_words(Some(words.to_owned()));
        assert_eq!(finding(" \n"), Finding::Nothing);
        assert_eq!(Finding::of_words(None), Finding::Nothing);
        assert_eq!(finding(" 好 "), Finding::Text("好".into()));
        let Finding::Text(text) = finding(&"好".repeat(10_000)) else {
            panic!("no text");
        };
        assert!(text.len() <= MAX_ANSWER_BYTES && text.len() > MAX_ANSWER_BYTES - 4);
    }

    #[test]
    fn parts_join_to_the_text_and_fit() {
        let text = "第一句话。第二句话！".repeat(300);
        let parts = parts(&text, 2_048);
        assert!(parts.len() > 3 && parts.iter().all(|part| part.len() <= 2_048 && !part.is_empty()));
        assert_eq!(parts.concat(), text);
        assert_eq!(super::parts("短", 2_048), ["短"]);
    }
}
