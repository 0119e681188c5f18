//! Outcomes in words: templates rendered, long texts cut, lists and links made.

use super::link::{Tap, link};
use super::session::Answered;
use super::templates::{self, Page, Suggestion, TemplateError};
use super::{Desk, Feedback, Given, Handoff, Outcome, Session, Told, Verdict, cut, is_question, is_small_talk};
use crate::bank::media::{Media, MediaType};
use crate::bank::{Answer, Entry, EntryId};
use crate::wechat::Reply;
use crate::wechat::reply::NewsArticle;
use std::ops::Range;

/// Longest question shown in a list, in characters: ten such lines with their links fit one reply.
const MAX_LINE_CHARS: usize = 40;

/// Makes outcomes for one message.
#[derive(Clone, Copy)]
pub(super) struct Say<'a> {
    pub desk: Desk<'a>,
}

impl Say<'_> {
    pub fn greeting(self) -> Outcome {
        self.page(&templates::Greeting {}, Session::default(), Told::Greeting)
    }

    /// The bank does not know, the miss being counted. The second time in a row a human and the questions asked most are
    /// offered; what lies on the table goes only when there are such questions.
    pub fn not_found(self, session: Session) -> Outcome {
        if session.misses < 2 {
            return self.page(&templates::NotFound {}, session, Told::NotFound);
        }
        let (page, session, shown) = self.help(session, true);
        Outcome {
            shown,
            ..self.page(&page, session, Told::NotFound)
        }
    }

    /// As [`Say::not_found`], with a category's default reply in its place.
    pub fn not_found_about(self, reply: &str, session: Session) -> Outcome {
        self.not_found_by_rule(self.text(reply, session, Told::NotFound))
    }

    /// What a rule has `said` instead, with the same help after it: where that is a text with room for more.
    pub fn not_found_by_rule(self, said: Outcome) -> Outcome {
        let (Reply::Text { content }, Some(session)) = (&said.reply, &said.session) else {
            return said;
        };
        if session.misses < 2 {
            return said;
        }
        let (page, session, shown) = self.help(session.clone(), false);
        if page.hot.is_empty() && page.human.is_empty() {
            return said;
        }
        let (help, fault) = self.desk.templates.words(&page);
        let content = format!("{content}\n\n{}", help.trim());
        if content.len() > self.desk.max_bytes {
            return said;
        }
        Outcome {
            reply: Reply::Text { content },
            session: Some(session),
            shown,
            fault: said.fault.or(fault.map(Box::new)),
            ..said
        }
    }

    /// The help after two misses, the session with it on the table, and what of its list is shown.
    fn help(self, mut session: Session, opens: bool) -> (templates::NotFoundAgain, Session, Range<usize>) {
        let is_offered = |id: &&EntryId| {
            let entry = self.desk.index.entry(id.as_str());
            entry.is_some_and(|entry| self.desk.scope.admits(entry))
        };
        let hot: Vec<EntryId> = self.desk.hot.iter().filter(is_offered).cloned().collect();
        let count = hot.len().min(self.desk.max_suggestions);
        if count > 0 {
            (session.offer, session.shown) = (hot, count);
        }
        let page = templates::NotFoundAgain {
            opens,
            taps: self.desk.has_taps(),
            human: self.human_tap(),
            hot: self.items(&session.offer[..count]),
        };
        (page, session, 0..count)
    }

    /// Hands over to a human, or says that there is none.
    pub fn human(self, session: Session) -> Outcome {
        match self.desk.handoff {
            Handoff::Always => Outcome::new(Reply::Transfer { kf_account: None }, Some(session), Told::Human),
            Handoff::Bank | Handoff::Never => self.page(&templates::Human {}, session, Told::Human),
        }
    }

    /// A verdict on an answer; after 没用 the next text may say why.
    pub fn verdict(self, verdict: Verdict, about: Answered, mut session: Session) -> Outcome {
        session.awaits_comment = verdict == Verdict::Useless;
        let mut outcome = match verdict {
            Verdict::Useful => self.page(&templates::Useful {}, session, Told::Feedback),
            Verdict::Useless => self.page(&templates::Useless {}, session, Told::Feedback),
        };
        let given = Given::Verdict(verdict);
        outcome.feedback = Some(Feedback { given, about });
        outcome
    }

    /// A verdict, and no answer right before it. Something is amiss all the same when it is 没用, so a human is named.
    pub fn nothing_to_judge(self, verdict: Verdict, session: Session) -> Outcome {
        match verdict {
            Verdict::Useful => self.page(&templates::Useful {}, session, Told::Hint),
            Verdict::Useless => {
                let human = self.human_tap();
                self.page(&templates::NothingToJudge { human }, session, Told::Hint)
            }
        }
    }

    /// What a line that leads to a human says when it is tapped; empty: there is none.
    fn human_tap(self) -> String {
        match self.desk.has_human() {
            true => Tap::Human.menu_id(),
            false => String::new(),
        }
    }

    /// Thanks for saying why an answer was of no use.
    pub fn commented(self, session: Session) -> Outcome {
        self.page(&templates::Commented {}, session, Told::Feedback)
    }

    pub fn too_often(self) -> Outcome {
        self.page(&templates::TooOften {}, Session::default(), Told::TooOften)
    }

    pub fn unsupported(self, kind: &'static str, session: Session) -> Outcome {
        self.page(&templates::Unsupported { kind }, session, Told::Hint)
    }

    pub fn empty(self, session: Session) -> Outcome {
        self.page(&templates::Empty {}, session, Told::Hint)
    }

    pub fn no_more(self, session: Session) -> Outcome {
        self.page(&templates::NoMore {}, session, Told::Hint)
    }

    pub fn no_list(self, session: Session) -> Outcome {
        self.page(&templates::NoList {}, session, Told::Hint)
    }

    pub fn choose_again(self, session: Session) -> Outcome {
        self.page(&templates::ChooseAgain { count: session.shown }, session, Told::Hint)
    }

    pub fn gone(self, session: Session) -> Outcome {
        self.page(&templates::Gone {}, session, Told::Hint)
    }

    pub fn menu_unknown(self, session: Session) -> Outcome {
        self.page(&templates::MenuUnknown {}, session, Told::Hint)
    }

    pub fn refused(self, session: Session) -> Outcome {
        self.page(&templates::Refused {}, session, Told::Refused)
    }

    /// The entry's answer, which is now what the conversation is about. The list it was chosen from stays, so that
    /// another number can follow; what was left of an answer before it goes. Small talk leaves everything as it is, and
    /// who is handed over keeps what was answered last: a human is nothing to judge or to follow up.
    pub fn entry(self, entry: &Entry, mut session: Session, told: Told) -> Outcome {
        if !is_small_talk(entry) {
            let (answered, moved_on) = match is_question(entry) {
                true => (Some(self.answered(entry, &told)), false),
                false => (session.answered, session.moved_on),
            };
            session = Session {
                offer: session.offer,
                shown: session.shown,
                answered,
                moved_on,
                ..Session::default()
            };
        }
        if let Answer::Text(answer) = &entry.answer {
            return self.answer(entry, answer, session, told);
        }
        if session.shown == 0 {
            // What else may have been meant can only be named in an answer's own text.
            session.offer.clear();
        }
        if let Some((text, fault)) = self.words(Some(&entry.question), &entry.answer) {
            let outcome = self.text(&text, session, told);
            return Outcome {
                fault: fault.map(Box::new).or(outcome.fault),
                ..outcome
            };
        }
        let outcome = self.rich(&entry.answer, session.clone(), told.clone());
        outcome.unwrap_or_else(|| self.page(&templates::Human {}, session, told))
    }

    /// An answer that is no text; `None`: a hand-off where the account has no desk.
    pub fn rich(self, answer: &Answer, session: Session, told: Told) -> Option<Outcome> {
        match self.media(answer) {
            Some(reply) => Some(Outcome::new(reply, Some(session), told)),
            None if answer.file().is_none() => None,
            None => {
                let mut outcome = self.page(&self.media_away(), session, told);
                outcome.lacks = Some(Box::new(answer.clone()));
                Some(outcome)
            }
        }
    }

    fn media_away(self) -> templates::MediaAway {
        templates::MediaAway {
            later: self.desk.media.takes_files(self.desk.scope.account),
            in_wechat: self.desk.has_taps(),
        }
    }

    /// The words of an answer that goes out as a text; those of an entry with its `question` through its template.
    pub fn words(self, question: Option<&str>, answer: &Answer) -> Option<(String, Option<TemplateError>)> {
        let templates = self.desk.templates;
        match (answer, question) {
            (Answer::Text(answer), Some(question)) => Some(templates.words(&templates::Answer {
                question,
                answer,
                also: Vec::new(),
                useful: String::new(),
                useless: String::new(),
            })),
            (Answer::Text(answer), None) => Some((answer.clone(), None)),
            (Answer::Miniprogram(page), _) => Some(templates.words(&templates::MiniprogramLink {
                title: &page.title,
                appid: &page.appid,
                pagepath: &page.pagepath,
                url: &page.url,
            })),
            _ => None,
        }
    }

    /// The reply for an answer that is no text; `None` for one that is, for a file WeChat does not have at the moment, and for
    /// a hand-off where the account has no desk.
    pub fn media(self, answer: &Answer) -> Option<Reply> {
        let id = |media_id, kind| match Media::of(media_id) {
            Media::Id(id) => Some(id.to_owned()),
            Media::File(file) => self.desk.media.media_id(self.desk.scope.account, kind, file),
        };
        Some(match answer {
            Answer::Text(_) | Answer::Miniprogram(_) => return None,
            Answer::Handoff { .. } if self.desk.handoff == Handoff::Never => return None,
            Answer::Image { media_id } => Reply::Image {
                media_id: id(media_id, MediaType::Image)?,
            },
            Answer::Voice { media_id } => Reply::Voice {
                media_id: id(media_id, MediaType::Voice)?,
            },
            Answer::Video(film) => Reply::Video {
                media_id: id(&film.media_id, MediaType::Video)?,
                thumb_media_id: film.thumb_media_id.clone(),
                title: film.title.clone(),
                description: film.description.clone(),
            },
            Answer::Music(music) => Reply::Music {
                title: music.title.clone(),
                description: music.description.clone(),
                music_url: music.musicurl.clone(),
                hq_music_url: music.hqmusicurl.clone(),
                thumb_media_id: id(&music.thumb_media_id, MediaType::Thumb)?,
            },
            Answer::News { articles } => {
                // How many WeChat shows depends on what is answered: `Reply::fitting`.
                let articles = articles.iter().map(|article| NewsArticle {
                    title: article.title.clone(),
                    description: article.description.clone(),
                    pic_url: article.picurl.clone(),
                    url: article.url.clone(),
                });
                Reply::News {
                    articles: articles.collect(),
                }
            }
            Answer::Handoff { kf_account } => Reply::Transfer {
                kf_account: kf_account.clone(),
            },
        })
    }

    fn answered(self, entry: &Entry, told: &Told) -> Answered {
        Answered {
            entry: entry.id.clone(),
            score: match told {
                Told::Answer(_, score) => Some(score.steps()),
                _ => None,
            },
            message: self.desk.message.to_owned(),
        }
    }

    /// A text that answers. Where nothing of the session's list has been shown, the list is what else may have been
    /// meant: it comes along as links, or is dropped where the reply has no room for it.
    fn answer(self, entry: &Entry, answer: &str, mut session: Session, told: Told) -> Outcome {
        let asks = self.desk.habits.feedback && self.desk.has_taps() && !is_small_talk(entry);
        let id = |tap: fn(EntryId) -> Tap| {
            if asks {
                tap(entry.id.clone()).menu_id()
            } else {
                String::new()
            }
        };
        let mut page = templates::Answer {
            question: &entry.question,
            answer,
            also: Vec::new(),
            useful: id(Tap::Useful),
            useless: id(Tap::Useless),
        };
        let mut shown = 0..0;
        if session.shown == 0 && !session.offer.is_empty() {
            page.also = self.items(&session.offer);
            if self.desk.templates.words(&page).0.len() <= self.desk.max_bytes {
                session.shown = session.offer.len();
                shown.end = session.shown;
            } else {
                page.also.clear();
                session.offer.clear();
            }
        }
        Outcome {
            shown,
            ..self.page(&page, session, told)
        }
    }

    /// The next `count` entries of the session's list; fewer where the page would not fit one reply.
    pub fn list(self, session: Session, count: usize) -> Outcome {
        self.fitting_list(session, count, |page| page)
    }

    /// As [`Say::list`], under a category's default reply.
    pub fn list_under(self, reply: &str, session: Session, count: usize) -> Outcome {
        self.fitting_list(session, count, |page| templates::Category {
            reply,
            items: page.items,
            taps: page.taps,
            more: page.more,
            more_link: page.more_link,
        })
    }

    fn fitting_list<P: Page>(
        self,
        mut session: Session,
        count: usize,
        page: impl Fn(templates::Suggestions) -> P,
    ) -> Outcome {
        let start = session.shown;
        let mut end = (start + count).min(session.offer.len());
        loop {
            let page = page(self.suggestions(&session, start, end));
            let fits = self.desk.templates.words(&page).0.len() <= self.desk.max_bytes;
            if fits || end <= start + 1 {
                session.shown = end;
                return Outcome {
                    shown: start..end,
                    ..self.page(&page, session, Told::List(end - start))
                };
            }
            end -= 1;
        }
    }

    fn suggestions(self, session: &Session, start: usize, end: usize) -> templates::Suggestions {
        let mut items = self.items(&session.offer[..end]);
        templates::Suggestions {
            items: items.split_off(start),
            first: start == 0,
            taps: self.desk.has_taps(),
            more: end < session.offer.len(),
            more_link: link("更多", &Tap::More.menu_id()),
        }
    }

    /// The lines of a list, numbered from 1.
    fn items(self, offer: &[EntryId]) -> Vec<Suggestion> {
        let item = |(number, id): (usize, &EntryId)| {
            let question = self.desk.index.entry(id.as_str()).map_or("", |entry| &entry.question);
            let question = line(question);
            let link = link(&question, &Tap::Entry(id.clone()).menu_id());
            Suggestion { number, question, link }
        };
        (1..).zip(offer).map(item).collect()
    }

    pub fn page<P: Page>(self, page: &P, session: Session, told: Told) -> Outcome {
        let (text, fault) = self.desk.templates.words(page);
        let outcome = self.text(&text, session, told);
        Outcome {
            fault: fault.map(Box::new).or(outcome.fault),
            ..outcome
        }
    }

    /// A text that may be longer than one reply: what does not fit waits for 更多.
    pub fn text(self, text: &str, mut session: Session, told: Told) -> Outcome {
        let text = text.trim_end();
        if text.len() <= self.desk.max_bytes {
            let content = text.to_owned();
            return Outcome::new(Reply::Text { content }, Some(session), told);
        }
        let (tail, fault) = self.desk.templates.words(&templates::Continued {});
        let room = self.desk.max_bytes.saturating_sub(tail.len());
        let (part, rest) = cut::cut(text, room).unwrap_or((text, ""));
        session.rest = Some(rest.to_owned());
        let content = format!("{part}{tail}");
        Outcome {
            fault: fault.map(Box::new),
            ..Outcome::new(Reply::Text { content }, Some(session), told)
        }
    }
}

/// One line of a list: no line breaks or tags, at most [`MAX_LINE_CHARS`] characters.
fn line(question: &str) -> String {
    let flat = |c: char| match c {
        '<' => '＜',
        '>' => '＞',
        c if c.is_whitespace() || c.is_control() => ' ',
        c => c,
    };
    let mut chars = question.chars().map(flat);
    let mut line: String = chars.by_ref().take(MAX_LINE_CHARS).collect();
    if chars.next().is_some() {
        line.pop();
        line.push('…');
    }
    line
}
