//! Rules beside similarity: which one a message meets, and what it then says.
//!
//! A [`RuleBook`] is made once per snapshot. [`answer`] is asked before anything else, about events, kinds of message and
//! sensitive words; [`keyword`] before a search, [`not_found`] after one in vain; [`off_hours`] has the last word on what
//! only a human could answer. Words are looked for in one pass over the text, expressions one by one, each in linear time.

use super::choice::after_reply;
use super::say::Say;
use super::wish::wants_human;
use super::{Desk, Outcome, Plan, Session, Told, UNSUPPORTED_TEXT, exact, question};
use crate::bank::limits::MAX_ARTICLES;
use crate::bank::rule::{Keyword, MessageKind, Pick, Rule, RuleReply, Trigger, compile_regex};
use crate::bank::{Answer, Entry, RuleId, State};
use crate::matching::text::{normalize, plain};
use crate::wechat::message::MediaKind;
use crate::wechat::{Event, Inbound, Reply};
use aho_corasick::AhoCorasick;
use regex::Regex;
use rustc_hash::FxHashMap;

/// Expressions are tried on so many bytes of a message; WeChat's own client sends no more.
const MAX_REGEX_TEXT_BYTES: usize = 2048;
/// In the place of a rule's number: the word stands in the dictionary.
const DICTIONARY: u32 = u32::MAX;

/// Every published rule, ready for messages. Cheap to ask, costly to make: linear in all words and expressions.
#[derive(Debug, Default)]
pub struct RuleBook {
    /// In the order in which rules of one kind answer; numbers below are places in it.
    rules: Vec<Rule>,
    /// Normalised words, with the rules that have them, ascending.
    equals: FxHashMap<String, Vec<u32>>,
    /// By rule.
    regexes: Vec<(u32, Regex)>,
    contains: Words,
    sensitive: Words,
}

/// Words that are looked for all at once.
#[derive(Debug, Default)]
struct Words {
    /// `None`: there are none.
    automaton: Option<AhoCorasick>,
    /// By word: the rules that have it, ascending.
    owners: Vec<Vec<u32>>,
}

impl RuleBook {
    /// Of valid rules with distinct ids, and the words of the dictionary `sensitive`. Rules that are not published, and
    /// an expression that does not compile, are left out.
    pub fn new(rules: impl IntoIterator<Item = Rule>, sensitive: &[String]) -> Self {
        let mut rules: Vec<Rule> = rules
            .into_iter()
            .filter(|rule| rule.state == State::Published)
            .collect();
        rules.sort_by(Rule::answers_before);
        let mut equals: FxHashMap<String, Vec<u32>> = FxHashMap::default();
        let (mut regexes, mut contains, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        for (number, rule) in (0..).zip(&rules) {
            match &rule.trigger {
                Trigger::Keywords(keywords) => {
                    for keyword in keywords {
                        match keyword {
                            Keyword::Equals(word) => equals.entry(normalize(word)).or_default().push(number),
                            Keyword::Regex(text) => {
                                regexes.extend(compile_regex(text).map(|regex| (number, regex)));
                            }
                            Keyword::Contains(word) => contains.push((plain(word), number)),
                        }
                    }
                }
                Trigger::Sensitive(words) => refused.extend(words.iter().map(|word| (plain(word), number))),
                _ => {}
            }
        }
        refused.extend(sensitive.iter().map(|word| (plain(word), DICTIONARY)));
        Self {
            equals,
            regexes,
            contains: Words::new(contains),
            sensitive: Words::new(refused),
            rules,
        }
    }

    /// The same rules with other words in the dictionary.
    #[must_use]
    pub fn with_sensitive(&self, sensitive: &[String]) -> Self {
        Self::new(self.rules.clone(), sensitive)
    }

    /// Published rules.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether no rule answers anything.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    fn by(&self, wanted: impl Fn(&Trigger) -> bool) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter(move |rule| wanted(&rule.trigger))
    }

    fn numbered(&self, numbers: impl IntoIterator<Item = u32>) -> impl Iterator<Item = &Rule> {
        numbers.into_iter().filter_map(|number| self.rules.get(number as usize))
    }
}

impl Words {
    fn new(words: Vec<(String, u32)>) -> Self {
        let mut by_word: FxHashMap<String, Vec<u32>> = FxHashMap::default();
        for (word, owner) in words.into_iter().filter(|(word, _)| !word.is_empty()) {
            by_word.entry(word).or_default().push(owner);
        }
        let (words, owners): (Vec<String>, Vec<Vec<u32>>) = by_word.into_iter().unzip();
        let automaton = (!words.is_empty())
            .then(|| AhoCorasick::new(&words).expect("limits keep the words far below what an automaton can hold"));
        Self { automaton, owners }
    }

    /// The rules with a word in `text`, ascending, each once. With `apart`, a word that begins or ends with a Latin
    /// letter is not found inside a longer Latin word.
    fn owners_in(&self, text: &str, apart: bool) -> Vec<u32> {
        let Some(automaton) = &self.automaton else {
            return Vec::new();
        };
        let plain = plain(text);
        let bytes = plain.as_bytes();
        let splits = |at: usize| {
            let is_letter = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_alphabetic);
            is_letter(at.checked_sub(1)) && is_letter(Some(at))
        };
        let found = automaton.find_overlapping_iter(&plain);
        let found = found.filter(|found| !apart || !(splits(found.start()) || splits(found.end())));
        let mut owners: Vec<u32> = found
            .filter_map(|found| self.owners.get(found.pattern().as_usize()))
            .flatten()
            .copied()
            .collect();
        owners.sort_unstable();
        owners.dedup();
        owners
    }
}

/// Those of the dictionary's words for which a text is refused, in their order.
pub fn sensitive_in<'a>(words: &'a [String], text: &str) -> Vec<&'a str> {
    let numbered = words.iter().map(|word| plain(word)).zip(0..).collect();
    let numbers = Words::new(numbered).owners_in(text, true);
    let found = numbers.into_iter().filter_map(|number| words.get(number as usize));
    found.map(String::as_str).collect()
}

/// The published rules that followers hear in the place of a template's words, wherever they apply; in the order of `rules`.
pub fn rules_before<'r>(template: &str, rules: &'r [Rule]) -> Vec<&'r RuleId> {
    let is_before = |rule: &&Rule| {
        let stands_for = match rule.trigger {
            Trigger::Subscribe(_) => "greeting.txt",
            Trigger::Default => "not_found.txt",
            Trigger::Unsupported(_) => "unsupported.txt",
            Trigger::Sensitive(_) => "refused.txt",
            Trigger::Keywords(_) | Trigger::Click(_) | Trigger::Scan(_) | Trigger::OffHours => return false,
        };
        rule.state == State::Published && stands_for == template
    };
    rules.iter().filter(is_before).map(|rule| &rule.id).collect()
}

/// What a rule says to an event, to a message without words, or to one with a sensitive word; `None`: the conversation
/// goes on as without rules.
pub(super) fn answer(inbound: &Inbound, session: &Session, desk: Desk<'_>) -> Option<Outcome> {
    let book = desk.rules;
    match inbound {
        Inbound::Event { event, .. } => plan_event(event, session, desk),
        Inbound::Other { .. } => None,
        _ => match question(inbound) {
            Some(text) => refusal(text, session, desk),
            None => {
                let kind = kind_of(inbound)?;
                let named = book.by(|trigger| matches!(trigger, Trigger::Unsupported(kinds) if kinds.contains(&kind)));
                let rest = book.by(|trigger| matches!(trigger, Trigger::Unsupported(kinds) if kinds.is_empty()));
                first(named.chain(rest), session, &Told::Hint, desk)
            }
        },
    }
}

fn plan_event(event: &Event, session: &Session, desk: Desk<'_>) -> Option<Outcome> {
    let book = desk.rules;
    // What was left of an answer before is over.
    let resting = Session {
        rest: None,
        moved_on: true,
        ..session.clone()
    };
    match event {
        Event::Subscribe { scene } => {
            let named = book.by(|trigger| {
                matches!((trigger, scene), (Trigger::Subscribe(scenes), Some(scene)) if scenes.contains(scene))
            });
            let rest = book.by(|trigger| matches!(trigger, Trigger::Subscribe(scenes) if scenes.is_empty()));
            first(named.chain(rest), &Session::default(), &Told::Greeting, desk)
        }
        Event::Click { key } => {
            let rules = book.by(|trigger| matches!(trigger, Trigger::Click(keys) if keys.contains(key)));
            first(rules, &resting, &Told::Rule, desk)
        }
        Event::Scan { scene } => {
            let rules = book.by(|trigger| matches!(trigger, Trigger::Scan(scenes) if scenes.contains(scene)));
            first(rules, &resting, &Told::Rule, desk)
        }
        Event::Unsubscribe | Event::Revoked | Event::Other { .. } => None,
    }
}

/// What is said to a text with a sensitive word; never holds one itself.
pub(super) fn refusal(text: &str, session: &Session, desk: Desk<'_>) -> Option<Outcome> {
    let book = desk.rules;
    let mut owners = book.sensitive.owners_in(text, true);
    let in_dictionary = owners.pop_if(|owner| *owner == DICTIONARY).is_some();
    let own: Vec<&Rule> = book.numbered(owners).filter(|rule| applies(rule, desk)).collect();
    if own.is_empty() && !in_dictionary {
        return None;
    }
    let general = book.by(|trigger| matches!(trigger, Trigger::Sensitive(words) if words.is_empty()));
    let echoes = |outcome: &Outcome| match &outcome.reply {
        Reply::Text { content } => !book.sensitive.owners_in(content, true).is_empty(),
        _ => false,
    };
    let applying = own.into_iter().chain(general).filter(|rule| applies(rule, desk));
    let mut all = applying.filter_map(|rule| say(rule, session, &Told::Refused, desk));
    let said = all.find(|outcome| !echoes(outcome));
    Some(said.unwrap_or_else(|| Say { desk }.refused(session.clone())))
}

/// What a rule says to a typed text by its key words. It is a new question: the list on the table goes. Only who wishes for a
/// human may still judge the answer before.
///
/// Who repeats 回复“…” with a word that a rule answers whole means the word, unless the bank has all of the text.
pub(super) fn keyword(text: &str, session: &Session, desk: Desk<'_>) -> Option<Outcome> {
    let book = desk.rules;
    if book.is_empty() {
        return None;
    }
    let tried = text.trim();
    let tried = &tried[..tried.floor_char_boundary(MAX_REGEX_TEXT_BYTES)];
    let matching = book.regexes.iter().filter(|(_, regex)| regex.is_match(tried));
    let mut outcome = equals(text, desk)
        .or_else(|| by_word(matching.map(|(number, _)| *number), desk))
        .or_else(|| by_word(book.contains.owners_in(text, false), desk))
        .or_else(|| {
            let named = after_reply(text).filter(|_| exact(text, desk).is_none());
            named.and_then(|rest| equals(rest, desk))
        })?;
    if let Some(after) = outcome.session.as_mut().filter(|_| wants_human(text)) {
        after.answered.clone_from(&session.answered);
        after.moved_on = session.moved_on;
    }
    Some(outcome)
}

/// What a rule says to a text that is one of its key words.
pub(super) fn equals(text: &str, desk: Desk<'_>) -> Option<Outcome> {
    let numbers = desk.rules.equals.get(&normalize(text))?;
    by_word(numbers.iter().copied(), desk)
}

fn by_word(numbers: impl IntoIterator<Item = u32>, desk: Desk<'_>) -> Option<Outcome> {
    first(desk.rules.numbered(numbers), &Session::default(), &Told::Rule, desk)
}

/// What is said when the bank does not know: by a rule, or by the template.
pub(super) fn not_found(session: Session, desk: Desk<'_>) -> Outcome {
    let (say, session) = (Say { desk }, session.missed());
    let rules = desk.rules.by(|trigger| *trigger == Trigger::Default);
    match first(rules, &session, &Told::NotFound, desk) {
        Some(said) => say.not_found_by_rule(said),
        None => say.not_found(session),
    }
}

/// The plan with what off-hours rules make of it.
pub(super) fn off_hours_plan(plan: Plan, desk: Desk<'_>) -> Plan {
    match plan {
        Plan::Say(outcome) => Plan::Say(off_hours(outcome, desk)),
        search @ (Plan::Search(_) | Plan::FollowUp { .. }) => search,
    }
}

/// The outcome, unless it needs a human while nobody is there: a hand-off is replaced by the rule's reply, and what is
/// said when the bank does not know is followed by it. Where that is a rule's, too, it is the one that the outcome names.
pub(super) fn off_hours(outcome: Outcome, desk: Desk<'_>) -> Outcome {
    let is_handoff = matches!(outcome.reply, Reply::Transfer { .. });
    if !is_handoff && outcome.told != Told::NotFound {
        return outcome;
    }
    let rules = desk.rules.by(|trigger| *trigger == Trigger::OffHours);
    let session = outcome.session.clone().unwrap_or_default();
    let Some(said) = first(rules, &session, &outcome.told, desk) else {
        return outcome;
    };
    if !is_handoff
        && let (Reply::Text { content: fallback }, Reply::Text { content: hours }) = (&outcome.reply, &said.reply)
        && fallback.len() + hours.len() + 2 <= desk.max_bytes
    {
        let content = format!("{fallback}\n\n{hours}");
        return Outcome {
            reply: Reply::Text { content },
            rule: outcome.rule.or(said.rule),
            ..outcome
        };
    }
    said
}

/// The first of `rules` that applies and has something to say.
fn first<'a>(
    rules: impl IntoIterator<Item = &'a Rule>,
    session: &Session,
    told: &Told,
    desk: Desk<'_>,
) -> Option<Outcome> {
    let mut applying = rules.into_iter().filter(|rule| applies(rule, desk));
    applying.find_map(|rule| say(rule, session, told, desk))
}

fn applies(rule: &Rule, desk: Desk<'_>) -> bool {
    let account = desk.scope.account;
    (rule.accounts.is_empty() || rule.accounts.iter().any(|id| id == account))
        && rule.window.as_ref().is_none_or(|window| window.holds(desk.scope.now))
}

/// The rule's replies as one; `None` when all of them are entries that followers cannot see now.
fn say(rule: &Rule, session: &Session, told: &Told, desk: Desk<'_>) -> Option<Outcome> {
    let said = words(rule, session, told.clone(), desk)?;
    Some(Outcome {
        rule: Some(Box::new(rule.id.clone())),
        ..said
    })
}

fn words(rule: &Rule, session: &Session, told: Told, desk: Desk<'_>) -> Option<Outcome> {
    let seen = |reply: &'_ RuleReply| match reply {
        RuleReply::Own(answer) => Some((None, answer.clone())),
        RuleReply::Entry(id) => {
            let entry = desk.index.entry(id.as_str()).filter(|entry| desk.scope.admits(entry))?;
            Some((Some(entry.clone()), entry.answer.clone()))
        }
    };
    let mut replies: Vec<_> = rule.replies.iter().filter_map(seen).collect();
    if rule.pick == Pick::OneAtRandom && !replies.is_empty() {
        let chosen = usize::try_from(desk.luck % replies.len() as u64).unwrap_or_default();
        replies = vec![replies.swap_remove(chosen)];
    }
    let say = Say { desk };
    let session = session.clone();
    match &replies.first()?.1 {
        answer if answer.is_text() => {
            let question = |entry: &Option<std::sync::Arc<Entry>>| entry.as_ref().map(|entry| entry.question.clone());
            let words = |(entry, answer): &(_, Answer)| say.words(question(entry).as_deref(), answer);
            let (texts, faults): (Vec<String>, Vec<_>) = replies.iter().filter_map(words).unzip();
            let outcome = say.text(&texts.join("\n\n"), session, told);
            Some(Outcome {
                fault: faults.into_iter().flatten().next().map(Box::new).or(outcome.fault),
                ..outcome
            })
        }
        Answer::News { .. } => {
            let articles = |(_, answer): &(_, Answer)| match say.media(answer) {
                Some(Reply::News { articles }) => articles,
                _ => Vec::new(),
            };
            let articles = replies.iter().flat_map(articles).take(MAX_ARTICLES).collect();
            Some(Outcome::new(Reply::News { articles }, Some(session), told))
        }
        answer => say.rich(answer, session, told),
    }
}

/// What kind of message without words this is; `None`: it has words, or none we know.
pub(super) fn kind_of(inbound: &Inbound) -> Option<MessageKind> {
    Some(match inbound {
        Inbound::Voice { recognition: None, .. } => MessageKind::Voice,
        Inbound::Text { content, .. } if content == UNSUPPORTED_TEXT => MessageKind::Other,
        Inbound::Media { kind, .. } => match kind {
            MediaKind::Image { .. } => MessageKind::Image,
            MediaKind::Video { .. } | MediaKind::ShortVideo { .. } => MessageKind::Video,
            MediaKind::Location { .. } => MessageKind::Location,
            MediaKind::Link { .. } => MessageKind::Link,
            MediaKind::File { .. } => MessageKind::File,
        },
        _ => return None,
    })
}
