//! Outcomes in words: templates rendered, long texts cut, lists and links made.

use super::templates::{self, Page, Suggestion, TemplateError};
use super::{Desk, ENTRY_LINK, MORE_LINK, Outcome, Session, Told, cut, is_small_talk};
use crate::bank::{Answer, Entry};
use crate::wechat::Reply;
use crate::wechat::reply::NewsArticle;

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

    pub fn not_found(self, session: Session) -> Outcome {
        self.page(&templates::NotFound {}, session, Told::NotFound)
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

    /// The entry's answer. The list it was chosen from stays, so that another number can follow; what was left of an
    /// answer before it goes, unless this one is small talk.
    pub fn entry(self, entry: &Entry, mut session: Session, told: Told) -> Outcome {
        session.rest = session.rest.filter(|_| is_small_talk(entry));
        if let Some((text, fault)) = self.words(Some(&entry.question), &entry.answer) {
            let outcome = self.text(&text, session, told);
            return Outcome {
                fault: fault.map(Box::new).or(outcome.fault),
                ..outcome
            };
        }
        let mut reply = media(&entry.answer).unwrap_or(Reply::Acknowledge);
        if let Reply::News { articles } = &mut reply {
            // Since October 2018 WeChat shows one article in answer to a message.
            articles.truncate(1);
        }
        Outcome::new(reply, Some(session), told)
    }

    /// The words of an answer that goes out as a text; those of an entry with its `question` through its template.
    pub fn words(self, question: Option<&str>, answer: &Answer) -> Option<(String, Option<TemplateError>)> {
        let templates = self.desk.templates;
        match (answer, question) {
            (Answer::Text(answer), Some(question)) => Some(templates.words(&templates::Answer { question, answer })),
            (Answer::Text(answer), None) => Some((answer.clone(), None)),
            (
                Answer::Miniprogram {
                    title,
                    appid,
                    pagepath,
                    url,
                    ..
                },
                _,
            ) => Some(templates.words(&templates::MiniprogramLink {
                title,
                appid,
                pagepath,
                url,
            })),
            _ => None,
        }
    }

    /// The next `count` entries of the session's list; fewer where the page would not fit one reply.
    pub fn list(self, mut session: Session, count: usize) -> Outcome {
        let start = session.shown;
        let mut end = (start + count).min(session.offer.len());
        loop {
            let page = self.suggestions(&session, start, end);
            let fits = self.desk.templates.words(&page).0.len() <= self.desk.max_bytes;
            if fits || end <= start + 1 {
                session.shown = end;
                return self.page(&page, session, Told::List(end - start));
            }
            end -= 1;
        }
    }

    fn suggestions(self, session: &Session, start: usize, end: usize) -> templates::Suggestions {
        let item = |n: usize| {
            let id = &session.offer[n];
            let question = self.desk.index.entry(id.as_str()).map_or("", |entry| &entry.question);
            let question = line(question);
            let link = link(&question, &format!("{ENTRY_LINK}{id}"));
            Suggestion {
                number: n + 1,
                question,
                link,
            }
        };
        templates::Suggestions {
            items: (start..end).map(item).collect(),
            first: start == 0,
            more: end < session.offer.len(),
            more_link: link("更多", MORE_LINK),
        }
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

/// The reply for an answer that is no text; `None` for one that is.
pub(super) fn media(answer: &Answer) -> Option<Reply> {
    Some(match answer {
        Answer::Text(_) | Answer::Miniprogram { .. } => return None,
        Answer::Image { media_id } => Reply::Image {
            media_id: media_id.clone(),
        },
        Answer::Voice { media_id } => Reply::Voice {
            media_id: media_id.clone(),
        },
        Answer::Video {
            media_id,
            title,
            description,
        } => Reply::Video {
            media_id: media_id.clone(),
            title: title.clone(),
            description: description.clone(),
        },
        Answer::Music {
            title,
            description,
            musicurl,
            hqmusicurl,
            thumb_media_id,
        } => Reply::Music {
            title: title.clone(),
            description: description.clone(),
            music_url: musicurl.clone(),
            hq_music_url: hqmusicurl.clone(),
            thumb_media_id: thumb_media_id.clone(),
        },
        Answer::News { articles } => {
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

/// A link whose tap sends `text` with `bizmsgmenuid` = `id`.
fn link(text: &str, id: &str) -> String {
    // WeChat documents no encoding here; what could end the attribute or the parameter is percent-encoded.
    let hex = |digit: u32| char::from_digit(digit, 16).unwrap_or('0').to_ascii_uppercase();
    let mut content = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' | '"' | '\'' | '<' | '>' | '%' | '#' | '+' | ' ' | '=' | '?' => {
                content.extend(['%', hex(c as u32 >> 4), hex(c as u32 & 15)]);
            }
            c => content.push(c),
        }
    }
    format!("<a href=\"weixin://bizmsgmenu?msgmenucontent={content}&msgmenuid={id}\">{text}</a>")
}
