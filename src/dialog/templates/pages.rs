//! What templates are given: one struct for each file, with sample values that reach every branch of a sensible one.
//!
//! [`Page`] names the file and its limit. A field that is added here is a promise to whoever edits templates: it stays.

use super::MAX_OUTPUT_BYTES;
use serde::Serialize;

/// Longest end of a part of an answer: the rest of the reply is the answer's.
const MAX_TAIL_BYTES: usize = 200;

/// A template's input.
pub trait Page: Serialize {
    /// The template's file name.
    const NAME: &'static str;
    /// Longest text it may give.
    const MAX_BYTES: usize = MAX_OUTPUT_BYTES;
    /// Values that reach every branch of a sensible template.
    fn samples() -> Vec<Self>
    where
        Self: Sized;
}

macro_rules! pages_without_values {
    ($($(#[$doc:meta])* $name:ident = $file:literal $(, at most $bytes:ident)?;)*) => {$(
        $(#[$doc])*
        #[derive(Serialize)]
        pub struct $name {}

        impl Page for $name {
            const NAME: &'static str = $file;
            $(const MAX_BYTES: usize = $bytes;)?
            fn samples() -> Vec<Self> {
                vec![Self {}]
            }
        }
    )*};
}

pages_without_values! {
    /// The bank does not know.
    NotFound = "not_found.txt";
    /// To a new follower.
    Greeting = "greeting.txt";
    /// Ends a part of a long answer; begins with its own line break, if it wants one.
    Continued = "continued.txt", at most MAX_TAIL_BYTES;
    /// 更多 after the last part.
    NoMore = "no_more.txt";
    /// A number, but there is no list, or it has expired.
    NoList = "no_list.txt";
    /// The chosen entry has left the bank meanwhile.
    Gone = "gone.txt";
    /// A message without words.
    Empty = "empty.txt";
    /// A message with a sensitive word that no rule answers; must not say which.
    Refused = "refused.txt";
    /// A menu button whose key is neither an entry's id nor a question.
    MenuUnknown = "menu_unknown.txt";
    /// The answer takes longer than WeChat waits; it comes with the follower's next message.
    Searching = "searching.txt";
    /// The answer took so long that looking for it was given up.
    Apology = "apology.txt";
    /// The late answer is a hand-off, which cannot be sent: only a message of the follower is handed over.
    LateHandoff = "late_handoff.txt";
    /// The follower has sent too many messages within a minute.
    TooOften = "too_often.txt";
    /// A human is asked for, and there is none to hand over to.
    Human = "human.txt";
    /// Thanks for 有用.
    Useful = "useful.txt";
    /// After 没用: what was wrong?
    Useless = "useless.txt";
    /// Thanks for what was wrong.
    Commented = "commented.txt";
}

/// The answer to a question.
#[derive(Serialize)]
pub struct Answer<'a> {
    /// The entry's wording of the question.
    pub question: &'a str,
    /// Its answer.
    pub answer: &'a str,
    /// What else may have been meant; best first, may be empty.
    pub also: Vec<Suggestion>,
    /// What a link says of 有用, for `tap`; empty: not to be asked.
    pub useful: String,
    /// Likewise of 没用.
    pub useless: String,
}

impl Page for Answer<'_> {
    const NAME: &'static str = "answer.txt";
    fn samples() -> Vec<Self> {
        let sample = |also, id: fn(&str) -> String| Self {
            question: "怎么开户",
            answer: "带上身份证。",
            also,
            useful: id("useful:a"),
            useless: id("useless:a"),
        };
        let none = |_: &str| String::new();
        vec![
            sample(Suggestion::samples(3), str::to_owned),
            sample(Vec::new(), none),
            sample(Suggestion::samples(1), none),
        ]
    }
}

/// The bank does not know, again.
#[derive(Serialize)]
pub struct NotFoundAgain {
    /// Whether it says so itself; otherwise a rule's words stand before it.
    pub opens: bool,
    /// Whether questions can be tapped.
    pub taps: bool,
    /// What a link says of a human, for `tap`; empty: there is none to hand over to.
    pub human: String,
    /// What is asked most; may be empty.
    pub hot: Vec<Suggestion>,
}

impl Page for NotFoundAgain {
    const NAME: &'static str = "not_found_again.txt";
    fn samples() -> Vec<Self> {
        let sample = |opens, human: &str, count| Self {
            opens,
            taps: opens,
            human: human.to_owned(),
            hot: Suggestion::samples(count),
        };
        vec![
            sample(true, "human", 5),
            sample(true, "", 0),
            sample(true, "human", 0),
            sample(true, "", 1),
            sample(false, "human", 5),
            sample(false, "human", 0),
            sample(false, "", 1),
        ]
    }
}

/// The answer is a file that cannot be shown.
#[derive(Serialize)]
pub struct MediaAway {
    /// Whether it may be shown soon: WeChat does not have it at the moment.
    pub later: bool,
    /// Whether it is asked for in WeChat; pages cannot show WeChat's files.
    pub in_wechat: bool,
}

impl Page for MediaAway {
    const NAME: &'static str = "media_away.txt";
    fn samples() -> Vec<Self> {
        let cases = [(true, true), (false, true), (false, false)];
        cases.map(|(later, in_wechat)| Self { later, in_wechat }).into()
    }
}

/// A waiting answer, told to a message that may be a new question.
#[derive(Serialize)]
pub struct LateAndNew<'a> {
    /// What has waited.
    pub late: &'a str,
    /// What the message gets itself; empty: it is not in this reply.
    pub answer: &'a str,
}

impl Page for LateAndNew<'_> {
    const NAME: &'static str = "late_and_new.txt";
    fn samples() -> Vec<Self> {
        let late = "火星上不收电费。";
        ["带上身份证。", ""].map(|answer| Self { late, answer }).into()
    }
}

/// A message's own answer, while another waits.
#[derive(Serialize)]
pub struct LateWaits<'a> {
    /// What the message gets itself.
    pub answer: &'a str,
}

impl Page for LateWaits<'_> {
    const NAME: &'static str = "late_waits.txt";
    fn samples() -> Vec<Self> {
        vec![Self {
            answer: "带上身份证。"
        }]
    }
}

/// 没用, and no answer right before it.
#[derive(Serialize)]
pub struct NothingToJudge {
    /// What a link says of a human, for `tap`; empty: there is none to hand over to.
    pub human: String,
}

impl Page for NothingToJudge {
    const NAME: &'static str = "nothing_to_judge.txt";
    fn samples() -> Vec<Self> {
        ["human", ""]
            .map(|human| Self {
                human: human.to_owned(),
            })
            .into()
    }
}

/// Several entries fit; the follower chooses by number or by tap.
#[derive(Serialize)]
pub struct Suggestions {
    /// At least one, best first.
    pub items: Vec<Suggestion>,
    /// Whether this is the list's first page.
    pub first: bool,
    /// Whether questions can be tapped.
    pub taps: bool,
    /// Whether 更多 shows another page.
    pub more: bool,
    /// 更多 as a link.
    pub more_link: String,
}

/// One line of [`Suggestions`].
#[derive(Serialize)]
pub struct Suggestion {
    /// What to reply to choose it; counts on over the pages, from 1.
    pub number: usize,
    /// The entry's question.
    pub question: String,
    /// The question as a link that chooses it when tapped.
    pub link: String,
}

impl Suggestion {
    fn samples(count: usize) -> Vec<Self> {
        let item = |number| Self {
            number,
            question: "怎么开户".into(),
            link: "怎么开户".into(),
        };
        (1..=count).map(item).collect()
    }
}

impl Page for Suggestions {
    const NAME: &'static str = "suggestions.txt";
    fn samples() -> Vec<Self> {
        let page = |count, (first, more)| Self {
            items: Suggestion::samples(count),
            first,
            taps: first,
            more,
            more_link: "更多".into(),
        };
        let pages = [(true, true), (true, false), (false, true), (false, false)];
        // One item is the shortest list, ten the longest that `matching.max_suggestions` allows.
        let lists = [2, 1, 10].into_iter();
        lists.flat_map(|count| pages.map(|which| page(count, which))).collect()
    }
}

/// What stands for a subject, with a list of what the bank knows about it.
#[derive(Serialize)]
pub struct Category<'a> {
    /// The category's default reply.
    pub reply: &'a str,
    /// At least one.
    pub items: Vec<Suggestion>,
    /// Whether questions can be tapped.
    pub taps: bool,
    /// Whether 更多 shows another page.
    pub more: bool,
    /// 更多 as a link.
    pub more_link: String,
}

impl Page for Category<'_> {
    const NAME: &'static str = "category.txt";
    fn samples() -> Vec<Self> {
        let page = |(count, more)| Self {
            reply: "开户请带身份证。",
            items: Suggestion::samples(count),
            taps: more,
            more,
            more_link: "更多".into(),
        };
        [(2, true), (1, false), (10, true), (10, false)].map(page).into()
    }
}

/// The number is none of the list's.
#[derive(Serialize)]
pub struct ChooseAgain {
    /// Entries shown so far.
    pub count: usize,
}

impl Page for ChooseAgain {
    const NAME: &'static str = "choose_again.txt";
    fn samples() -> Vec<Self> {
        vec![Self { count: 5 }, Self { count: 1 }]
    }
}

/// A message in a kind that cannot be answered.
#[derive(Serialize)]
pub struct Unsupported {
    /// `voice`, `image`, `video`, `location`, `link`, `file` or `other`.
    pub kind: &'static str,
}

impl Page for Unsupported {
    const NAME: &'static str = "unsupported.txt";
    fn samples() -> Vec<Self> {
        ["voice", "image", "video", "location", "link", "file", "other"]
            .map(|kind| Self { kind })
            .into()
    }
}

/// A mini-program's page, as a link in a text.
#[derive(Serialize)]
#[expect(missing_docs, reason = "as in `bank::Answer::Miniprogram`")]
pub struct MiniprogramLink<'a> {
    pub title: &'a str,
    pub appid: &'a str,
    pub pagepath: &'a str,
    pub url: &'a str,
}

impl Page for MiniprogramLink<'_> {
    const NAME: &'static str = "miniprogram.txt";
    fn samples() -> Vec<Self> {
        let page = |url| Self {
            title: "查询",
            appid: "wx0000000000000000",
            pagepath: "pages/a",
            url,
        };
        vec![page(""), page("https://example.com/")]
    }
}
