//! Short texts that are no questions: a wish for a human, a verdict on the answer before.
//!
//! [`wants_human`] and [`Verdict::parse`] read them in their usual wordings. Whether the bank has such a text as a
//! question of its own, which then counts, is the caller's business.

use super::choice::{bare, is_one_of, plain, stripped_end, stripped_start};

/// Who or what is asked for, once [`HUMAN_LEADS`] and [`HUMAN_TAILS`] are gone; simplified, without spaces.
const HUMANS: &str =
    "人工 真人 活人 人工客服 人工服务 在线客服 真人客服 客服人员 人工坐席 坐席 人工台 客服 客服小姐姐 工作人员";
/// What people write before it, in any order and number; the longest counts.
const HUMAN_LEADS: &str = "请 麻烦 帮我 给我 我 想 要 想要 需要 找 叫 接 转 转接 联系 呼叫 切换 切换到 换 换个 换成 有没有 有 回复 个 到 一下 找个 跟 和 与";
/// What people write after it; the longest counts.
const HUMAN_TAILS: &str = "吧 啊 呀 吗 谢谢 一下 聊 聊聊 沟通 说话 说 对话 咨询 帮忙 处理 回答 来 在吗 在不在";

/// What a follower thinks of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// 有用.
    Useful,
    /// 没用.
    Useless,
}

const USEFUL: &str = "有用 有用的 很有用 有帮助 很有帮助 有效 解决了 已解决 解决 满意 useful helpful";
const USELESS: &str =
    "没用 没用的 没有用 无用 没什么用 没啥用 不管用 没帮助 没有帮助 没解决 没有解决 未解决 不满意 没回答 useless";

/// Whether the text asks for a human and for nothing else.
pub fn wants_human(text: &str) -> bool {
    let plain = plain(text);
    let whole = bare(&plain);
    let core = stripped_end(stripped_start(whole, HUMAN_LEADS, HUMANS), HUMAN_TAILS, HUMANS);
    is_one_of(HUMANS, core)
}

impl Verdict {
    /// `None` when the text is anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let plain = plain(text);
        match bare(&plain) {
            word if is_one_of(USEFUL, word) => Some(Self::Useful),
            word if is_one_of(USELESS, word) => Some(Self::Useless),
            // With or without a colour of the skin.
            "" if text.starts_with('👍') && text.chars().count() <= 2 => Some(Self::Useful),
            "" if text.starts_with('👎') && text.chars().count() <= 2 => Some(Self::Useless),
            _ => None,
        }
    }

    /// The name in databases and for programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Useful => "useful",
            Self::Useless => "useless",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_for_a_human_is_read_in_its_usual_wordings() {
        for text in [
            "人工",
            "转人工",
            "转人工客服",
            "人工客服",
            "人工服务",
            "找人工",
            "我要人工",
            "我想找真人聊聊",
            "转接人工吧",
            "轉人工",
            "“人工”",
            "回复人工",
            "客服",
            "联系客服",
            "在线客服在吗",
            "请帮我转人工，谢谢！",
            "人 工",
        ] {
            assert!(wants_human(text), "{text}");
        }
    }

    #[test]
    fn a_question_about_humans_is_no_wish_for_one() {
        for text in [
            "",
            "人工客服几点上班",
            "人工费用多少",
            "人工智能",
            "客服电话是多少",
            "怎么联系基金公司客服",
            "我要投诉客服",
            "人工受精保险赔吗",
            "证券公司客服",
            "我",
        ] {
            assert!(!wants_human(text), "{text}");
        }
    }

    #[test]
    fn verdicts_are_read_and_other_words_are_not() {
        for text in ["有用", "有用。", "“有用”", "很有帮助", "解决了", "👍", "👍🏽"] {
            assert_eq!(Verdict::parse(text), Some(Verdict::Useful), "{text}");
        }
        for text in ["没用", "沒用", "没有帮助！", "没解决", "不满意", "👎", "没什么用"] {
            assert_eq!(Verdict::parse(text), Some(Verdict::Useless), "{text}");
        }
        for text in ["", "有", "有用吗", "没用过怎么办", "好的", "👍👍👍好", "这个有用吗"] {
            assert_eq!(Verdict::parse(text), None, "{text}");
        }
    }
}
