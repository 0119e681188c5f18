//! What comes of a message: the reply, the session after it, and what is to be counted, kept or made good.

use super::{Answered, Session, TemplateError, Verdict};
use crate::bank::{Answer, EntryId, RuleId};
use crate::matching::Score;
use crate::wechat::{Inbound, Reply};
use std::ops::Range;

/// A reply with the session after it.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    #[expect(missing_docs, reason = "the type says it")]
    pub reply: Reply,
    /// `None`: the follower is to be forgotten.
    pub session: Option<Session>,
    /// Which places of the session's list the reply shows; empty: none.
    pub shown: Range<usize>,
    /// What happened, for logs and counts.
    pub told: Told,
    /// Whose words are in the reply, be they a greeting, a hint or a refusal, and of two the one
    /// whose words come first; `None`: no rule's.
    pub rule: Option<Box<RuleId>>,
    /// A template that failed on this message's values; the embedded one's words stand in the reply.
    pub fault: Option<Box<TemplateError>>,
    /// What the follower thinks of an answer, to be kept.
    pub feedback: Option<Feedback>,
    /// The answer that the reply says is not to be had, because WeChat does not have its file at the moment.
    pub lacks: Option<Box<Answer>>,
}

/// What a follower thinks of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feedback {
    #[expect(missing_docs, reason = "the type says it")]
    pub given: Given,
    /// The answer.
    pub about: Answered,
}

/// The two forms of feedback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given {
    #[expect(missing_docs, reason = "the type says it")]
    Verdict(Verdict),
    /// The message itself says what was wrong.
    Comment,
}

impl Outcome {
    pub(super) fn new(reply: Reply, session: Option<Session>, told: Told) -> Self {
        Self {
            reply,
            session,
            shown: 0..0,
            told,
            rule: None,
            fault: None,
            feedback: None,
            lacks: None,
        }
    }

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
    Rule,
    /// That the subject is not talked about.
    Refused,
    /// A human, or that there is none.
    Human,
    /// Thanks for a verdict or for words about an answer.
    Feedback,
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
    /// That these are too many messages.
    TooOften,
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
            Self::Rule => "rule",
            Self::Refused => "refused",
            Self::Human => "human",
            Self::Feedback => "feedback",
            Self::Greeting => "greeting",
            Self::Hint => "hint",
            Self::Sourced => "source",
            Self::Late => "late",
            Self::Searching => "searching",
            Self::TooOften => "limited",
            Self::Nothing => "nothing",
        }
    }
}
