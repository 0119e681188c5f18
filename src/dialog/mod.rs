//! Conversation: what to say next.
//!
//! [`plan`] decides what an inbound message asks for; when it asks a question the caller searches and [`conclude`] turns
//! the matches into a reply. Both are pure: session in, [`Outcome`] with reply and next session out. The words come from
//! [`templates`]. What a follower wrote never becomes part of a template, a link or a list.

mod desk;
mod outcome;
pub mod choice;
pub mod wish;
pub mod cut;
pub mod late;
mod rules;
mod categories;
pub mod link;
mod say;
pub mod session;
pub mod templates;

pub use categories::{CategoryBook, Topic, topic};
pub use desk::{Desk, Habits, Handoff, MediaIds, NoMedia};
pub use outcome::{Feedback, Given, Outcome, Told};
pub use rules::{RuleBook, rules_before, sensitive_in};
pub use session::{Answered, Session};
pub use templates::{TemplateError, Templates};
pub use wish::Verdict;

use crate::bank::category::is_within;
use crate::bank::rule::MessageKind;
use crate::bank::{Entry, EntryId};
use crate::matching::text::plain;
use crate::matching::{Decision, FollowUp, Matches, Score};
use crate::wechat::{Event, Inbound, Reply};
use choice::{Choice, Pick};
use link::Tap;
use say::Say;
use std::sync::Arc;

/// Most candidates one list can page through.
pub const MAX_OFFER: usize = 20;
/// What a text is when WeChat cannot show us the message; it is no question.
const UNSUPPORTED_TEXT: &str = "【收到不支持的消息类型，暂无法显示】";
/// The category of greetings, thanks and the like: they interrupt nothing.
const SMALL_TALK: &str = "闲聊";
/// The least part of a shown question that chooses it, in characters; shorter ones must be half of it.
const CLEAR_PART: usize = 4;
/// What a human is asked for with, when a line of ours is tapped.
const HUMAN_WORD: &str = "人工";

/// What a message asks for.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one for each message, and it is moved once"
)]
pub enum Plan {
    /// Decided without a search.
    Say(Outcome),
    /// A question: search this text, then [`conclude`].
    Search(String),
    /// Perhaps a follow-up: search the text, then [`conclude`] with that or with what [`Desk::followed`] says.
    FollowUp {
        /// As typed.
        text: String,
        #[expect(missing_docs, reason = "the type says it")]
        follow_up: FollowUp,
        /// What was answered last.
        before: Arc<Entry>,
    },
}

/// The text of `inbound` that may be a question: typed, or heard by WeChat. `None`: it has none.
pub fn question(inbound: &Inbound) -> Option<&str> {
    match inbound {
        Inbound::Text { content, .. } if content != UNSUPPORTED_TEXT => Some(content.trim()),
        Inbound::Voice {
            recognition: Some(text),
            ..
        } => Some(text.trim()),
        _ => None,
    }
}

/// Says that these are too many messages; the session is not touched.
pub fn too_often(desk: Desk<'_>) -> Outcome {
    Say { desk }.too_often()
}

/// Decides what `inbound` asks for, given the follower's `session` (a fresh one when there is none).
pub fn plan(inbound: &Inbound, session: Session, desk: Desk<'_>) -> Plan {
    let plan = match rules::answer(inbound, &session, desk) {
        Some(outcome) => Plan::Say(outcome),
        None => plan_talk(inbound, session, desk),
    };
    rules::off_hours_plan(plan, desk)
}

/// As [`plan`], for what no rule answers before anything else.
fn plan_talk(inbound: &Inbound, session: Session, desk: Desk<'_>) -> Plan {
    let say = Say { desk };
    let outcome = match inbound {
        Inbound::Event { event, .. } => return plan_event(event, session, desk),
        Inbound::Text {
            menu_id: Some(id),
            content,
            ..
        } => match tapped(id, &session, desk) {
            Some(outcome) => outcome,
            None => return plan_text(content.trim(), session, desk),
        },
        Inbound::Text { .. } | Inbound::Voice { .. } => match question(inbound) {
            Some(text) => return plan_text(text, session, desk),
            None if matches!(inbound, Inbound::Voice { .. }) => say.unsupported("voice", session),
            None => say.unsupported("other", session),
        },
        Inbound::Media { .. } => {
            let kind = rules::kind_of(inbound).unwrap_or(MessageKind::Other);
            say.unsupported(kind.as_str(), session)
        }
        Inbound::Other { .. } => Outcome::new(Reply::Acknowledge, Some(session), Told::Nothing),
    };
    Plan::Say(outcome)
}

/// Turns the matches of a [`Plan::Search`] into a reply.
///
/// A new question leaves the list of `session`; one the bank does not know, or small talk, leaves it on the table. After
/// 没用, what is no clear question says what was wrong.
pub fn conclude(matches: &Matches, session: Session, desk: Desk<'_>) -> Outcome {
    rules::off_hours(concluded(matches, session, desk), desk)
}

/// What is said to a verdict that came with its reasons: they are not asked for any more.
pub fn with_reasons(judged: Outcome, desk: Desk<'_>) -> Outcome {
    let session = Session {
        awaits_comment: false,
        ..judged.session.unwrap_or_default()
    };
    Outcome {
        feedback: judged.feedback,
        ..Say { desk }.commented(session)
    }
}

fn concluded(matches: &Matches, session: Session, desk: Desk<'_>) -> Outcome {
    let say = Say { desk };
    match (matches.decide(desk.thresholds), matches.hits.first()) {
        (Decision::Answer, Some(best)) => {
            let told = Told::Answer(best.entry.id.clone(), best.score);
            let session = if is_question(&best.entry) {
                Session {
                    offer: also_asked(matches, desk),
                    ..Session::default()
                }
            } else {
                session
            };
            say.entry(&best.entry, session, told)
        }
        (Decision::Suggest, _) => {
            let feedback = comment(&session);
            let shown = categories::near(matches, desk).take(desk.max_suggestions).count();
            let floor = desk.thresholds.suggest / 4.0;
            let offer = matches.hits.iter().take_while(|hit| hit.score.get() >= floor);
            let offer = offer.take(MAX_OFFER).map(|hit| hit.entry.id.clone()).collect();
            let session = Session {
                offer,
                answered: session.answered,
                moved_on: true,
                ..Session::default()
            };
            let mut outcome = match categories::of_matches(matches, desk) {
                Some(topic) => say.list_under(topic.reply, session, shown),
                None => say.list(session, shown),
            };
            outcome.feedback = feedback;
            outcome
        }
        _ => match comment(&session) {
            None => match categories::of_matches(matches, desk) {
                Some(topic) => say.not_found_about(topic.reply, session.missed()),
                None => rules::not_found(session, desk),
            },
            feedback => {
                let mut outcome = say.commented(Session {
                    awaits_comment: false,
                    ..session
                });
                outcome.feedback = feedback;
                outcome
            }
        },
    }
}

/// What the message says about the answer before, when it was asked for.
fn comment(session: &Session) -> Option<Feedback> {
    let about = session.answered.clone().filter(|_| session.awaits_comment)?;
    let given = Given::Comment;
    Some(Feedback { given, about })
}

/// What may have been meant instead of the direct answer: as sure but for a margin, in itself worth showing, with other
/// words to say, and no small talk.
fn also_asked(matches: &Matches, desk: Desk<'_>) -> Vec<EntryId> {
    let Habits {
        also_asked,
        also_asked_margin,
        ..
    } = desk.habits;
    let Some((best, others)) = matches.hits.split_first() else {
        return Vec::new();
    };
    let floor = (best.score.get() - also_asked_margin).max(desk.thresholds.suggest / 2.0);
    let near = others.iter().take_while(|hit| hit.score.get() >= floor);
    let other = near.filter(|hit| hit.entry.answer != best.entry.answer && !is_small_talk(&hit.entry));
    other.take(also_asked).map(|hit| hit.entry.id.clone()).collect()
}

/// Whether the entry is something to ask for: no small talk, no wish for a human.
pub fn is_question(entry: &Entry) -> bool {
    !is_small_talk(entry) && entry.answer.kind() != "handoff"
}

/// Whether the entry stands in the category 闲聊 or below it.
pub fn is_small_talk(entry: &Entry) -> bool {
    is_within(&entry.category, SMALL_TALK)
}

fn plan_text(text: &str, session: Session, desk: Desk<'_>) -> Plan {
    let say = Say { desk };
    if text.is_empty() {
        return Plan::Say(say.empty(session));
    }
    if let Some(outcome) = picked(text, &session, desk) {
        return Plan::Say(outcome);
    }
    if let Some(id) = retyped(text, &session, desk) {
        return Plan::Say(chosen(id.as_str(), session, desk));
    }
    if desk.habits.feedback
        && let Some(verdict) = Verdict::parse(text)
        && exact(text, desk).is_none()
        && rules::equals(text, desk).is_none()
    {
        return Plan::Say(match session.judgeable().cloned() {
            Some(about) => say.verdict(verdict, about, session),
            None => say.nothing_to_judge(verdict, session),
        });
    }
    if let Some(outcome) = rules::keyword(text, &session, desk) {
        return Plan::Say(outcome);
    }
    if plain(text).is_empty() && exact(text, desk).is_none() {
        // Faces and signs only: nothing to look for, and nothing that was missed.
        return Plan::Say(say.empty(session));
    }
    // Answers and lists say 回复“…”; who repeats that with the word means the word, unless the bank has the whole.
    let named = choice::after_reply(text).filter(|rest| exact(text, desk).is_none() && exact(rest, desk).is_some());
    match named {
        Some(rest) => {
            let matches = desk.index.search(rest, desk.scope, MAX_OFFER);
            Plan::Say(concluded(&matches, session, desk))
        }
        None if wish::wants_human(text) && exact(text, desk).is_none() => Plan::Say(human(session, desk)),
        None => match categories::named(text, &session, desk) {
            Some(outcome) => Plan::Say(outcome),
            None => search(text, &session, desk),
        },
    }
}

/// A search for the text, and in the light of what was answered last where it may be a follow-up.
fn search(text: &str, session: &Session, desk: Desk<'_>) -> Plan {
    let text = text.to_owned();
    // What was wrong with an answer is no question about it, and what the bank did not know has ended its topic.
    let goes_on = !session.awaits_comment && session.misses == 0;
    let topic = session.answered.as_ref().filter(|_| goes_on);
    let topic = topic.and_then(|answered| desk.index.entry(answered.entry.as_str()));
    let topic = topic.filter(|entry| desk.scope.admits(entry));
    let read = topic.and_then(|before| {
        let follow_up = FollowUp::read(&text, before, desk.index.analyzer())?;
        Some((follow_up, before.clone()))
    });
    match read {
        Some((follow_up, before)) => Plan::FollowUp {
            text,
            follow_up,
            before,
        },
        None => Plan::Search(text),
    }
}

/// What a short reply chooses; `None` when it is no choice.
///
/// A question of the bank is never taken for one, unless it is just what the list on the table asks for; nor is what a
/// rule answers, as long as there is nothing to choose from.
fn picked(text: &str, session: &Session, desk: Desk<'_>) -> Option<Outcome> {
    let Pick { choice, as_asked } = Pick::parse(text)?;
    let is_open = match choice {
        Choice::More => session.has_more(),
        Choice::Nth(_) | Choice::FromLast(_) | Choice::Middle => session.shown > 0,
    };
    let by_rule = || match is_open {
        true => rules::equals(text, desk).is_some(),
        false => rules::keyword(text, session, desk).is_some(),
    };
    if !(is_open && as_asked) && (exact(text, desk).is_some() || by_rule()) {
        return None;
    }
    let say = Say { desk };
    let session = session.clone();
    Some(match choice {
        Choice::More if is_open => more(session, desk),
        Choice::More => say.no_more(session),
        _ if !is_open => say.no_list(session),
        Choice::Nth(n) => nth(n, session, desk),
        Choice::FromLast(n) => nth((session.shown + 1).saturating_sub(n), session, desk),
        // Of four there is none in the middle.
        Choice::Middle if session.shown.is_multiple_of(2) => say.choose_again(session),
        Choice::Middle => nth(session.shown.div_ceil(2), session, desk),
    })
}

fn plan_event(event: &Event, session: Session, desk: Desk<'_>) -> Plan {
    let say = Say { desk };
    Plan::Say(match event {
        Event::Subscribe { .. } => say.greeting(),
        Event::Unsubscribe | Event::Revoked => Outcome::new(Reply::Acknowledge, None, Told::Nothing),
        Event::Click { key } => match keyed(key, desk) {
            Some(entry) => say.entry(&entry, session, Told::Choice(entry.id.clone())),
            None => say.menu_unknown(session),
        },
        Event::Scan { scene } => match keyed(scene, desk) {
            Some(entry) => say.entry(&entry, session, Told::Choice(entry.id.clone())),
            None => Outcome::new(Reply::Acknowledge, Some(session), Told::Nothing),
        },
        Event::Other { .. } => Outcome::new(Reply::Acknowledge, Some(session), Told::Nothing),
    })
}

/// The entry that a menu button or QR code stands for: its key is the entry's id or, exactly, one of its phrasings.
fn keyed(key: &str, desk: Desk<'_>) -> Option<Arc<Entry>> {
    let by_id = desk.index.entry(key).filter(|entry| desk.scope.admits(entry)).cloned();
    by_id.or_else(|| exact(key, desk))
}

/// The first entry that has exactly this phrasing.
fn exact(text: &str, desk: Desk<'_>) -> Option<Arc<Entry>> {
    let best = desk.index.search(text, desk.scope, 1).hits.into_iter().next();
    best.filter(|hit| hit.score == Score::EXACT).map(|hit| hit.entry)
}

/// What a tapped line asks for; `None` when the line is not one of ours.
fn tapped(menu_id: &str, session: &Session, desk: Desk<'_>) -> Option<Outcome> {
    let (say, session) = (Say { desk }, session.clone());
    Some(match Tap::parse(menu_id)? {
        Tap::More if session.has_more() => more(session, desk),
        Tap::More => say.no_more(session),
        Tap::Entry(id) => chosen(id.as_str(), session, desk),
        Tap::Human => human(session, desk),
        Tap::Useful(id) => judged(Verdict::Useful, id, session, desk),
        Tap::Useless(id) => judged(Verdict::Useless, id, session, desk),
    })
}

/// A human, as the bank says it, else as the account allows it.
fn human(session: Session, desk: Desk<'_>) -> Outcome {
    let say = Say { desk };
    match exact(HUMAN_WORD, desk) {
        Some(entry) => say.entry(&entry, session, Told::Choice(entry.id.clone())),
        None => say.human(session),
    }
}

/// A verdict by tap, which may be about an earlier answer than the last.
fn judged(verdict: Verdict, id: EntryId, mut session: Session, desk: Desk<'_>) -> Outcome {
    let say = Say { desk };
    let entry = desk.index.entry(id.as_str());
    if !entry.is_some_and(|entry| desk.scope.admits(entry)) {
        return say.gone(session);
    }
    let last = session.answered.take().filter(|answered| answered.entry == id);
    let about = last.unwrap_or(Answered {
        entry: id,
        score: None,
        message: String::new(),
    });
    // Words that follow are about this answer, too.
    session.answered = Some(about.clone());
    session.moved_on = false;
    say.verdict(verdict, about, session)
}

/// The shown entry whose question `text` repeats, or a clear part of which it is: of one question only.
fn retyped(text: &str, session: &Session, desk: Desk<'_>) -> Option<EntryId> {
    if session.shown == 0 {
        return None;
    }
    let normalize = |text: &str| desk.index.analyzer().normalize(text);
    let wanted = normalize(text);
    if wanted.is_empty() {
        return None;
    }
    let shown = session.offer.iter().take(session.shown);
    let shown: Vec<(&EntryId, String)> = shown
        .filter_map(|id| Some((id, normalize(&desk.index.entry(id.as_str())?.question))))
        .collect();
    if let Some((id, _)) = shown.iter().find(|(_, question)| *question == wanted) {
        return Some((*id).clone());
    }
    let chars = wanted.chars().count();
    let mut holding = shown.iter().filter(|(_, question)| question.contains(&wanted));
    let (id, question) = holding.next()?;
    let is_clear = chars >= CLEAR_PART || (chars >= 2 && 2 * chars >= question.chars().count());
    (is_clear && holding.next().is_none() && exact(text, desk).is_none()).then(|| (*id).clone())
}

fn nth(n: usize, session: Session, desk: Desk<'_>) -> Outcome {
    match session.offer.iter().take(session.shown).nth(n.wrapping_sub(1)).cloned() {
        Some(id) => chosen(id.as_str(), session, desk),
        None => Say { desk }.choose_again(session),
    }
}

fn chosen(id: &str, session: Session, desk: Desk<'_>) -> Outcome {
    let say = Say { desk };
    match desk.index.entry(id).filter(|entry| desk.scope.admits(entry)) {
        Some(entry) => say.entry(entry, session, Told::Choice(entry.id.clone())),
        None => say.gone(session),
    }
}

/// The next part of a long answer, else the next page of the list.
fn more(mut session: Session, desk: Desk<'_>) -> Outcome {
    let say = Say { desk };
    if let Some(rest) = session.rest.take() {
        return say.text(&rest, session, Told::Part);
    }
    // The bank may have changed since. Numbers already shown keep their entries, those to come are given out anew.
    let unshown = session.offer.split_off(session.shown);
    let is_there = |id: &EntryId| {
        desk.index
            .entry(id.as_str())
            .is_some_and(|entry| desk.scope.admits(entry))
    };
    session.offer.extend(unshown.into_iter().filter(is_there));
    if session.has_more() {
        say.list(session, desk.max_suggestions)
    } else {
        say.no_more(session)
    }
}
