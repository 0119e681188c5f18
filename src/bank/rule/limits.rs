//! What a rule may hold: lengths, counts, expressions that compile, answers WeChat can show.

use super::{Keyword, Pick, Rule, RuleId, RuleReply, Trigger};
use crate::bank::beside::{Amount, Beside};
use crate::bank::entry::is_id;
use crate::bank::history::Subject;
use crate::bank::limits::{
    MAX_ACCOUNTS, MAX_PRIORITY, check_characters, check_count, check_length, check_text, tidy_list, tidy_text,
};
use crate::bank::{Answer, EntryError};
use regex::{Regex, RegexBuilder};
use regex_syntax::hir::{Hir, HirKind};
use std::cmp::Reverse;
use std::collections::HashSet;
use std::hash::Hash;

/// Most rules of one installation; every message is compared with all of them.
pub const MAX_RULES: usize = 2_000;
/// Most expressions among all rules: unlike words they are tried one by one.
pub const MAX_REGEXES: usize = 100;
/// Most places (`regex_places`) among the expressions of all rules. Each byte of a message, which has 2,048 at most, may
/// cost a step in each of them, and that once for every message: 20,000 places took a quarter of a second of processor time.
pub const MAX_REGEX_PLACES: u64 = 2_000;
/// WeChat's console allows ten.
const MAX_KEYWORDS: usize = 100;
const MAX_KEYWORD_CHARS: usize = 64;
const MAX_REGEX_CHARS: usize = 256;
/// Of a compiled expression. A message is searched in time proportional to this and its length.
const MAX_REGEX_BYTES: usize = 256 * 1024;
const MAX_REPLIES: usize = 10;
const MAX_NAME_CHARS: usize = 64;
/// WeChat's limit of a menu's key, in bytes; scenes of QR codes have 64 characters.
const MAX_KEY_BYTES: usize = 128;

/// The expression, ready for use.
///
/// # Errors
/// What is wrong with it, in one line; also when it grows beyond 256 KiB once compiled.
pub fn compile_regex(text: &str) -> Result<Regex, String> {
    let built = RegexBuilder::new(text)
        .size_limit(MAX_REGEX_BYTES)
        .dfa_size_limit(MAX_REGEX_BYTES)
        .build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => format!("grows beyond {MAX_REGEX_BYTES} bytes when it is compiled"),
        // The engine draws the place below the expression, over several lines.
        other => match other.to_string().lines().last() {
            Some(line) => line.trim_start_matches("error: ").to_owned(),
            None => "does not compile".to_owned(),
        },
    })
}

/// How many places of the expression a search may be in at once: its characters and classes of characters, repetitions
/// with a count written out. 0 for what is no expression.
fn regex_places(text: &str) -> u64 {
    regex_syntax::parse(text).map_or(0, |expression| places(&expression))
}

fn places(expression: &Hir) -> u64 {
    match expression.kind() {
        HirKind::Empty | HirKind::Look(_) => 0,
        HirKind::Literal(literal) => {
            let characters = str::from_utf8(&literal.0).map_or(literal.0.len(), |text| text.chars().count());
            characters as u64
        }
        HirKind::Class(_) => 1,
        HirKind::Repetition(repeated) => {
            let written_out = repeated.max.unwrap_or(repeated.min).max(1);
            places(&repeated.sub).saturating_mul(written_out.into())
        }
        HirKind::Capture(group) => places(&group.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().map(places).fold(0, u64::saturating_add),
    }
}

impl Beside for Rule {
    type Id = RuleId;
    const SUBJECT: Subject = Subject::Rule;
    const ID: &'static str = "id";

    fn id(&self) -> &RuleId {
        &self.id
    }

    fn tidy(&mut self) {
        Self::tidy(self);
    }

    fn validate(&self) -> Result<(), EntryError> {
        Self::validate(self)
    }

    fn amounts<'a>(rules: impl Iterator<Item = &'a Self> + Clone) -> Vec<Amount> {
        let regexes: usize = rules
            .clone()
            .map(|rule| match &rule.trigger {
                Trigger::Keywords(keywords) => {
                    let regexes = keywords.iter().filter(|keyword| matches!(keyword, Keyword::Regex(_)));
                    regexes.count()
                }
                _ => 0,
            })
            .sum();
        let places = |rule: &Rule| rule.regex_places();
        let dearest = rules.clone().min_by_key(|rule| Reverse(places(rule)));
        let amount = |what, count, most| Amount {
            count,
            most,
            what,
            hint: String::new(),
        };
        let all_places = rules.clone().map(places).fold(0, u64::saturating_add);
        vec![
            amount("rules", rules.count() as u64, MAX_RULES as u64),
            amount("regexes", regexes as u64, MAX_REGEXES as u64),
            Amount {
                hint: dearest.map_or_else(String::new, |rule| format!("{} has {} of them", rule.id, places(rule))),
                ..amount("places in the regexes of all rules", all_places, MAX_REGEX_PLACES)
            },
        ]
    }
}

impl Rule {
    /// [`regex_places`] of all its expressions.
    pub(super) fn regex_places(&self) -> u64 {
        let Trigger::Keywords(keywords) = &self.trigger else {
            return 0;
        };
        let places = keywords.iter().map(|keyword| match keyword {
            Keyword::Regex(text) => regex_places(text),
            Keyword::Equals(_) | Keyword::Contains(_) => 0,
        });
        places.fold(0, u64::saturating_add)
    }

    /// Takes away white space around every text and empty items of lists; lines end with `\n` afterwards.
    pub fn tidy(&mut self) {
        tidy_text(&mut self.name);
        tidy_list(&mut self.accounts);
        match &mut self.trigger {
            Trigger::Keywords(keywords) => {
                for keyword in keywords {
                    let (Keyword::Equals(text) | Keyword::Contains(text) | Keyword::Regex(text)) = keyword;
                    tidy_text(text);
                }
            }
            Trigger::Subscribe(scenes) | Trigger::Scan(scenes) => {
                tidy_list(scenes);
                for scene in scenes {
                    // As it stands in the event, in case somebody copies it from there.
                    if let Some(bare) = scene.strip_prefix("qrscene_") {
                        *scene = bare.to_owned();
                    }
                }
            }
            Trigger::Click(keys) => tidy_list(keys),
            Trigger::Sensitive(words) => tidy_list(words),
            Trigger::Default | Trigger::Unsupported(_) | Trigger::OffHours => {}
        }
        for reply in &mut self.replies {
            if let RuleReply::Own(answer) = reply {
                answer.texts_mut().into_iter().for_each(tidy_text);
            }
        }
    }

    /// # Errors
    /// The first field that breaks a limit, with the limit.
    pub fn validate(&self) -> Result<(), EntryError> {
        if !self.name.is_empty() {
            check_text("name", "", &self.name, MAX_NAME_CHARS)?;
        }
        self.validate_trigger()?;
        if self.replies.is_empty() {
            return Err(EntryError::new("replies", "has no item"));
        }
        check_count("replies", self.replies.len(), MAX_REPLIES)?;
        for (number, reply) in (1..).zip(&self.replies) {
            if let RuleReply::Own(answer) = reply {
                let within = |error: EntryError| EntryError::new("replies", format!("item {number} {}", error.reason));
                answer.validate().map_err(within)?;
                self.check_refusal(number, answer)?;
            }
        }
        check_count("accounts", self.accounts.len(), MAX_ACCOUNTS)?;
        if let Some(account) = self.accounts.iter().find(|account| !is_id(account)) {
            let reason = format!("{account:?} is not 1–64 characters of A-Z a-z 0-9 . _ -");
            return Err(EntryError::new("accounts", reason));
        }
        if self.priority.unsigned_abs() > MAX_PRIORITY.unsigned_abs() {
            let reason = format!("{} is not between -{MAX_PRIORITY} and {MAX_PRIORITY}", self.priority);
            return Err(EntryError::new("priority", reason));
        }
        match (&self.trigger, &self.window) {
            (Trigger::OffHours, None) => Err(EntryError::new("window", "is missing: when is nobody there?")),
            _ => Ok(()),
        }
    }

    fn validate_trigger(&self) -> Result<(), EntryError> {
        let name = self.trigger.name();
        let needs_one = || EntryError::new("trigger", format!("{name} has no item"));
        match &self.trigger {
            Trigger::Keywords(keywords) => {
                if keywords.is_empty() {
                    return Err(needs_one());
                }
                check_count("trigger", keywords.len(), MAX_KEYWORDS)?;
                (1..)
                    .zip(keywords)
                    .try_for_each(|(number, keyword)| keyword.validate(number))?;
                check_distinct(keywords.iter().map(|keyword| (keyword, keyword.text())))
            }
            Trigger::Sensitive(words) => {
                check_count("trigger", words.len(), MAX_KEYWORDS)?;
                (1..).zip(words).try_for_each(|(number, word)| check_word(number, word))
            }
            Trigger::Click(keys) if keys.is_empty() => Err(needs_one()),
            Trigger::Scan(scenes) if scenes.is_empty() => Err(needs_one()),
            Trigger::Click(keys) | Trigger::Scan(keys) | Trigger::Subscribe(keys) => {
                check_count("trigger", keys.len(), MAX_KEYWORDS)?;
                for (number, key) in (1..).zip(keys) {
                    let part = format!("{name} item {number} ");
                    check_text("trigger", &part, key, MAX_KEY_BYTES)?;
                    if key.len() > MAX_KEY_BYTES {
                        let reason = format!("{part}has {} bytes, at most {MAX_KEY_BYTES} are allowed", key.len());
                        return Err(EntryError::new("trigger", reason));
                    }
                }
                check_distinct(keys.iter().map(|key| (key, key.as_str())))
            }
            Trigger::Default | Trigger::Unsupported(_) | Trigger::OffHours => Ok(()),
        }
    }

    /// A refusal must not echo what it refuses, and off hours nobody is there to be handed to.
    fn check_refusal(&self, number: usize, answer: &Answer) -> Result<(), EntryError> {
        match (&self.trigger, answer) {
            (Trigger::Sensitive(words), answer) => {
                let content = answer.content();
                match words.iter().any(|word| holds_word(&content, word)) {
                    true => Err(EntryError::new(
                        "replies",
                        format!("item {number} holds a word the rule refuses"),
                    )),
                    false => Ok(()),
                }
            }
            (Trigger::OffHours, Answer::Handoff { .. }) => {
                let reason = format!("item {number} hands off to a human, off hours");
                Err(EntryError::new("replies", reason))
            }
            _ => Ok(()),
        }
    }

    /// What one passive reply cannot carry, a sentence; `None`: it carries all. Entries are looked up with `answer_of`,
    /// unknown ones are not counted.
    pub fn cut_replies(&self, answer_of: impl Fn(&crate::bank::EntryId) -> Option<Answer>) -> Option<String> {
        let answers: Vec<Answer> = self
            .replies
            .iter()
            .filter_map(|reply| match reply {
                RuleReply::Own(answer) => Some(answer.clone()),
                RuleReply::Entry(id) => answer_of(id),
            })
            .collect();
        let first = answers.first()?;
        let shown = match self.pick {
            Pick::OneAtRandom => answers.len(),
            Pick::All if first.is_text() => answers.iter().filter(|answer| answer.is_text()).count(),
            Pick::All if first.kind() == "news" => answers.iter().filter(|answer| answer.kind() == "news").count(),
            Pick::All => 1,
        };
        if shown < answers.len() {
            let cut = answers.len() - shown;
            return Some(format!(
                "{cut} of its {} replies cannot be sent: one passive reply holds texts, or articles, or one of anything else",
                answers.len()
            ));
        }
        let articles = |answer: &Answer| match answer {
            Answer::News { articles } => articles.len(),
            _ => 0,
        };
        let counts = answers.iter().map(articles);
        let most = match self.pick {
            Pick::All => counts.sum(),
            Pick::OneAtRandom => counts.max().unwrap_or(0),
        };
        let allowed = if self.trigger.is_event() {
            crate::bank::limits::MAX_ARTICLES
        } else {
            1
        };
        (most > allowed).then(|| {
            let to = if self.trigger.is_event() {
                "an event"
            } else {
                "a message"
            };
            format!(
                "{} of its {most} articles are not shown: WeChat shows {allowed} in answer to {to}",
                most - allowed
            )
        })
    }
}

impl Keyword {
    fn validate(&self, number: usize) -> Result<(), EntryError> {
        let Self::Regex(text) = self else {
            return check_word(number, self.text());
        };
        let part = format!("item {number} ");
        check_length("trigger", &part, text, MAX_REGEX_CHARS)?;
        check_characters("trigger", &part, text, &[])?;
        let refuse = |reason: &str| Err(EntryError::new("trigger", format!("{part}{text:?} {reason}")));
        match compile_regex(text) {
            Err(reason) => refuse(&format!("is no expression: {reason}")),
            Ok(regex) if regex.is_match("") => refuse("is met by every message"),
            Ok(_) => match regex_places(text) {
                places if places > MAX_REGEX_PLACES => refuse(&format!(
                    "has {places} places, at most {MAX_REGEX_PLACES} are allowed: a{{50}} has 50"
                )),
                _ => Ok(()),
            },
        }
    }
}

/// A word that is compared without its signs.
fn check_word(number: usize, word: &str) -> Result<(), EntryError> {
    let part = format!("item {number} ");
    check_text("trigger", &part, word, MAX_KEYWORD_CHARS)?;
    if word.chars().any(char::is_alphanumeric) {
        return Ok(());
    }
    let reason = format!("{part}{word:?} holds no letter or digit; use a regex for signs");
    Err(EntryError::new("trigger", reason))
}

/// Whether a message with this text would be refused for this word: signs and spaces between characters do not hide it.
pub(super) fn holds_word(text: &str, word: &str) -> bool {
    let (text, word) = (text.to_lowercase(), word.to_lowercase());
    if word.is_ascii() {
        // Between Latin words spaces count.
        return text.contains(&word);
    }
    let bare = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).collect::<String>();
    bare(&text).contains(&bare(&word))
}

/// `items` with the text that complaints name them by.
fn check_distinct<'a, T: Eq + Hash>(mut items: impl Iterator<Item = (T, &'a str)>) -> Result<(), EntryError> {
    let mut seen = HashSet::new();
    match items.find_map(|(item, text)| (!seen.insert(item)).then_some(text)) {
        None => Ok(()),
        Some(text) => Err(EntryError::new("trigger", format!("{text:?} stands there twice"))),
    }
}
