//! Conversation: what to say next.
//!
//! [`plan`] decides what an inbound message asks for; when it asks a question the caller searches and [`conclude`] turns
//! the matches into a reply. Both are pure: session in, [`Outcome`] with reply and next session out. The words come from
//! [`templates`]. What a follower wrote never becomes part of a template, a link or a list.

pub mod choice;
pub mod cut;
pub mod late;
mod rules;
mod say;
pub mod session;
pub mod templates;

pub use rules::RuleBook;
pub use session::Session;
pub use templates::{TemplateError, Templates};

use crate::bank::rule::MessageKind;
use crate::bank::{Entry, EntryId, RuleId};
use crate::matching::{Decision, Index, Matches, Scope, Score, Thresholds};
use crate::wechat::{Event, Inbound, Reply};
use choice::{Choice, Pick};
use say::Say;
use std::sync::Arc;

/// Most candidates one list can page through.
pub const MAX_OFFER: usize = 20;
/// What a text is when WeChat cannot show us the message; it is no question.
const UNSUPPORTED_TEXT: &str = "【收到不支持的消息类型，暂无法显示】";
/// The category of greetings, thanks and the like: they interrupt nothing.
const SMALL_TALK: &str = "闲聊";
/// Begins the `bizmsgmenuid` of a link to an entry.
const ENTRY_LINK: &str = "entry:";
/// The `bizmsgmenuid` of a link to the next page.
const MORE_LINK: &str = "more";

/// What a conversation is held with; one per message.
#[derive(Clone, Copy)]
pub struct Desk<'a> {
    /// The bank.
    pub index: &'a Index,
    /// The words.
    pub templates: &'a Templates,
    /// What is answered before and after the bank is asked.
    pub rules: &'a RuleBook,
    /// What is chosen at random is chosen by this; the same for every delivery of the message.
    pub luck: u64,
    /// Who asks, where, when.
    pub scope: Scope<'a>,
    /// Where answering and listing begin.
    pub thresholds: Thresholds,
    /// Entries on one page of a list.
    pub max_suggestions: usize,
    /// Longest text reply, in bytes.
    pub max_bytes: usize,
}

/// What a message asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Plan {
    /// Decided without a search.
    Say(Outcome),
    /// A question: search this text, then [`conclude`].
    Search(String),
}

/// A reply with the session after it.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    #[expect(missing_docs, reason = "the type says it")]
    pub reply: Reply,
    /// `None`: the follower is to be forgotten.
    pub session: Option<Session>,
    /// What happened, for logs and counts.
    pub told: Told,
    /// A template that failed on this message's values; the embedded one's words stand in the reply.
    pub fault: Option<Box<TemplateError>>,
}

impl Outcome {
    fn new(reply: Reply, session: Option<Session>, told: Told) -> Self {
        Self {
            reply,
            session,
            told,
            fault: None,
        }
    }
}

impl Outcome {
    /// This outcome with a reply as WeChat shows it in answer to `inbound`.
    #[must_use]
    pub fn fitting(mut self, inbound: &Inbound) -> Self {
        self.reply = self.reply.fitting(inbound);
        self
    }
}

/// What an [`Outcome`] tells the follower.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// A direct answer.
    Answer(EntryId, Score),
    /// A list of so many entries.
    List(usize),
    /// An entry chosen from a list, by tap or by a menu button.
    Choice(EntryId),
    /// The next part of a long answer.
    Part,
    /// The bank does not know.
    NotFound,
    /// What a rule answers to key words, a menu button or a QR code.
    Rule(RuleId),
    /// That the subject is not talked about.
    Refused,
    /// A greeting.
    Greeting,
    /// How to go on: the message could not be taken as it was.
    Hint,
    /// What a slow answer source found, in time.
    Sourced,
    /// The answer to an earlier message, which took longer than WeChat waits.
    Late,
    /// That the answer is still being looked for; with customer-service messages nothing, it comes by itself.
    Searching,
    /// Nothing; WeChat is only told that we heard.
    Nothing,
}

impl Told {
    /// A short name for logs and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Answer(..) => "answer",
            Self::List(_) => "suggest",
            Self::Choice(_) => "choice",
            Self::Part => "more",
            Self::NotFound => "none",
            Self::Rule(_) => "rule",
            Self::Refused => "refused",
            Self::Greeting => "greeting",
            Self::Hint => "hint",
            Self::Sourced => "source",
            Self::Late => "late",
            Self::Searching => "searching",
            Self::Nothing => "nothing",
        }
    }
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
/// A new question leaves the list of `session`; one the bank does not know, or small talk, leaves it on the table.
pub fn conclude(matches: &Matches, session: Session, desk: Desk<'_>) -> Outcome {
    rules::off_hours(concluded(matches, session, desk), desk)
}

fn concluded(matches: &Matches, session: Session, desk: Desk<'_>) -> Outcome {
    let say = Say { desk };
    match (matches.decide(desk.thresholds), matches.hits.first()) {
        (Decision::Answer, Some(best)) => {
            let told = Told::Answer(best.entry.id.clone(), best.score);
            let session = if is_small_talk(&best.entry) {
                session
            } else {
                Session::default()
            };
            say.entry(&best.entry, session, told)
        }
        (Decision::Suggest, _) => {
            // Scores count the distance to the best, so what follows it scores lower and still belongs in the list.
            let near = |floor: f64| matches.hits.iter().take_while(move |hit| hit.score.get() >= floor);
            let shown = near(desk.thresholds.suggest / 2.0).take(desk.max_suggestions).count();
            let offer = near(desk.thresholds.suggest / 4.0)
                .take(MAX_OFFER)
                .map(|hit| hit.entry.id.clone())
                .collect();
            say.list(
                Session {
                    offer,
                    ..Session::default()
                },
                shown,
            )
        }
        _ => rules::not_found(session, desk),
    }
}

/// Whether the entry stands in the category 闲聊 or below it.
pub fn is_small_talk(entry: &Entry) -> bool {
    let below = entry.category.strip_prefix(SMALL_TALK);
    below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
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
    if let Some(outcome) = rules::keyword(text, desk) {
        return Plan::Say(outcome);
    }
    // Answers and lists say 回复“…”; who repeats that with the word means the word, unless the bank has the whole.
    let named = choice::after_reply(text).filter(|rest| exact(text, desk).is_none() && exact(rest, desk).is_some());
    match named {
        Some(rest) => Plan::Say(concluded(
            &desk.index.search(rest, desk.scope, MAX_OFFER),
            session,
            desk,
        )),
        None => Plan::Search(text.to_owned()),
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
        Choice::Nth(_) | Choice::Last => session.shown > 0,
    };
    let by_rule = || match is_open {
        true => rules::equals(text, desk).is_some(),
        false => rules::keyword(text, desk).is_some(),
    };
    if !(is_open && as_asked) && (exact(text, desk).is_some() || by_rule()) {
        return None;
    }
    let say = Say { desk };
    let session = session.clone();
    Some(match choice {
        Choice::More if is_open => more(session, desk),
        Choice::More => say.no_more(session),
        Choice::Nth(n) if is_open => nth(n, session, desk),
        Choice::Last if is_open => nth(session.shown, session, desk),
        Choice::Nth(_) | Choice::Last => say.no_list(session),
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
    if menu_id == MORE_LINK {
        let say = Say { desk };
        return Some(if session.has_more() {
            more(session.clone(), desk)
        } else {
            say.no_more(session.clone())
        });
    }
    Some(chosen(menu_id.strip_prefix(ENTRY_LINK)?, session.clone(), desk))
}

/// The shown entry whose question `text` repeats.
fn retyped(text: &str, session: &Session, desk: Desk<'_>) -> Option<EntryId> {
    if session.shown == 0 {
        return None;
    }
    let normalize = |text: &str| desk.index.analyzer().normalize(text);
    let wanted = normalize(text);
    let shown = session.offer.iter().take(session.shown);
    let mut same = shown.filter(|id| {
        desk.index
            .entry(id.as_str())
            .is_some_and(|entry| normalize(&entry.question) == wanted)
    });
    same.next().filter(|_| !wanted.is_empty()).cloned()
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
