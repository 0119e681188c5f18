//! Short replies to what was offered: a number in any writing, an ordinal word (上面那个, 倒数第二个), 更多.
//!
//! [`Pick::parse`] is the entry point; whether something was offered, and whether the bank has the text as a question, is
//! the caller's business.

use unicode_normalization::UnicodeNormalization;

/// What a short reply means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// The n-th item, from 1; 0 was written as such. At most 99.
    Nth(usize),
    /// The n-th item from the end, from 1: 最后一个 is the first.
    FromLast(usize),
    /// 中间那个.
    Middle,
    /// The next page, or the next part.
    More,
}

/// A short reply that may be a choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pick {
    #[expect(missing_docs, reason = "the type says it")]
    pub choice: Choice,
    /// Whether it is written as lists ask for it: a number alone, or 更多. Anything else may also be a question that
    /// happens to look like a choice.
    pub as_asked: bool,
}

/// Words for the next page or part, simplified and without spaces.
const MORE: &str = "更多 更多问题 更多答案 更多内容 其他问题 其它问题 别的问题 下一页 下页 下一批 下一部分 继续 继续看 继续读 继续阅读 继续说 接着说 \
    接着看 接着 再来一个 来一个 再来几个 再来一批 往下 往下看 还有吗 还有呢 还有没有 还有别的 还有别的吗 还有其他的吗 还有更多吗 换一批 换一页 换一组 more next";

/// What people write before a number or a word for more, in any order and number; the longest counts.
const LEADS: &str = "请回复 回复 请 麻烦 帮我 我 想 要 就 就要 那 那就 再 来 我选择 选择 选项 选 我要 我想看 想看 看看 看 查看 打开 点击 点开 点 \
    问题 序号 编号 数字 输入 发送 发 给我 给 第 no number #";

/// What people write after them; the longest counts.
const TAILS: &str =
    "那个问题 个问题 问题 个 条 项 号 题 行 种 那个 这个 吧 的 了 呢 啊 呀 哦 谢谢 谢谢你 多谢 感谢 thanks please";

/// What announces a question, though leads, number and tails would make it the first item.
const ANNOUNCED: &str = "一个 一个问题 来一个问题 再来一个问题";

/// What means the first item once leads and tails are gone.
const FIRST: &str = "上面 最上面 上边 最上边 上头 前面 最前面 头一 首";

/// What means the one in the middle.
const MIDDLE: &str = "中间 中间的 正中间 当中";

/// What means the last item.
const LAST: &str = "最后 最后一 最后1 下面 最下面 下边 最下边 末尾 最末 后面 最后面";

/// What counts from the end.
const BACKWARDS: &str = "倒数第";

/// 回复, as followers copy it from our own words.
const REPLY: &str = "请回复 請回覆 請回復 回复 回覆 回復";

/// Characters of the words above and of numbers that are also written otherwise.
const VARIANTS: [(&str, &str); 5] = [
    (
        "個條項號題種選擇點擊開這還發給請覆復繼續閱讀頁換後別問輸數編謝說內邊間頭轉沒無滿麼決",
        "个条项号题种选择点击开这还发给请复复继续阅读页换后别问输数编谢说内边间头转没无满么决",
    ),
    ("壹贰叁肆伍陆柒捌玖拾零", "一二三四五六七八九十〇"),
    ("貳參陸两兩", "二三六二二"),
    ("弍弎", "二三"),
    ("們幫煩", "们帮烦"),
];

/// Characters that stand for a whole number: the first and the last of a run, and the first one's number. Roman numerals
/// are here because their compatibility form is Latin letters.
const NUMBERS: [(char, char, u32); 6] = [
    ('❶', '❿', 1),
    ('➀', '➉', 1),
    ('➊', '➓', 1),
    ('⓵', '⓾', 1),
    ('Ⅰ', 'Ⅻ', 1),
    ('ⅰ', 'ⅻ', 1),
];

impl Pick {
    /// `None` when the text is anything else, such as a question.
    pub fn parse(text: &str) -> Option<Self> {
        let plain = plain(text);
        let whole = bare(&plain);
        let core = without_tails(without_leads(whole));
        if is_one_of(ANNOUNCED, whole) {
            return None;
        }
        let choice = match core {
            _ if is_one_of(MORE, whole) || is_one_of(MORE, core) => Choice::More,
            core if is_one_of(FIRST, core) => Choice::Nth(1),
            core if is_one_of(MIDDLE, core) => Choice::Middle,
            core if is_one_of(LAST, core) => Choice::FromLast(1),
            core => match core.strip_prefix(BACKWARDS) {
                Some(rest) => Choice::FromLast(number(rest)?),
                None => Choice::Nth(number(core)?),
            },
        };
        Some(Self {
            choice,
            as_asked: whole == "更多" || (whole == core && matches!(choice, Choice::Nth(_))),
        })
    }
}

/// What stands after a leading 回复, quotes taken off, as in 回复“人工”; `None` when there is no such word or nothing
/// after it.
pub fn after_reply(text: &str) -> Option<&str> {
    let text = bare(text);
    let rest = REPLY.split_whitespace().find_map(|word| text.strip_prefix(word))?;
    Some(bare(rest)).filter(|rest| !rest.is_empty())
}

/// Whether `text` is one of the `words`, which stand apart by spaces.
pub(super) fn is_one_of(words: &str, text: &str) -> bool {
    words.split_whitespace().any(|word| word == text)
}

fn without_leads(text: &str) -> &str {
    stripped_start(text, LEADS, MORE)
}

fn without_tails(text: &str) -> &str {
    stripped_end(text, TAILS, MORE)
}

/// `text` without any number of `leads`, the longest first; what is one of `kept`, which may begin like a lead, stays.
pub(super) fn stripped_start<'a>(mut text: &'a str, leads: &str, kept: &str) -> &'a str {
    let rest = |text| {
        let rests = leads
            .split_whitespace()
            .filter_map(|lead| str::strip_prefix(text, lead));
        rests.min_by_key(|rest: &&str| rest.len())
    };
    while let Some(rest) = rest(text).filter(|_| !is_one_of(kept, text)) {
        text = bare(rest);
    }
    text
}

/// As [`stripped_start`], at the end.
pub(super) fn stripped_end<'a>(mut text: &'a str, tails: &str, kept: &str) -> &'a str {
    let rest = |text| {
        let rests = tails
            .split_whitespace()
            .filter_map(|tail| str::strip_suffix(text, tail));
        rests.min_by_key(|rest: &&str| rest.len())
    };
    while let Some(rest) = rest(text).filter(|_| !is_one_of(kept, text)) {
        text = bare(rest);
    }
    text
}

/// The text without quotes, brackets, full stops and the marks of keycap emoji around it. Inside, punctuation stays:
/// 2.5 is no choice.
pub(super) fn bare(text: &str) -> &str {
    text.trim_matches(|c: char| !c.is_alphanumeric() && c != '#')
}

/// Without spaces, width, circles and case, in simplified characters.
pub(super) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars().filter(|c| !c.is_whitespace()) {
        match whole_number(c) {
            Some(number) => plain.push_str(&number.to_string()),
            None => plain.push(c),
        }
    }
    plain.nfkc().flat_map(char::to_lowercase).map(simplified).collect()
}

fn whole_number(c: char) -> Option<u32> {
    if c == '🔟' {
        return Some(10);
    }
    let run = NUMBERS.iter().find(|(first, last, _)| (*first..=*last).contains(&c));
    run.map(|(first, _, number)| number + (c as u32 - *first as u32))
}

fn simplified(c: char) -> char {
    let same = |(from, to): &(&str, &str)| {
        let at = from.chars().position(|variant| variant == c)?;
        to.chars().nth(at)
    };
    VARIANTS.iter().find_map(same).unwrap_or(c)
}

/// 0–99 in digits or Chinese numerals.
fn number(text: &str) -> Option<usize> {
    let is_short = (1..=2).contains(&text.len());
    if is_short && text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().ok();
    }
    let digit = |c: char| "〇一二三四五六七八九".chars().position(|known| known == c);
    let chars: Vec<char> = text.chars().collect();
    match chars[..] {
        ['十'] => Some(10),
        [units] => digit(units),
        ['十', units] => Some(10 + digit(units)?),
        [tens, '十'] => Some(digit(tens)? * 10),
        [tens, '十', units] => Some(digit(tens)? * 10 + digit(units)?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(text: &str) -> Option<Choice> {
        Pick::parse(text).map(|pick| pick.choice)
    }

    #[test]
    fn numbers_are_read_in_any_writing() {
        for text in [
            "2",
            "２",
            "二",
            "②",
            "2.",
            "2、",
            "2。",
            " 2 ",
            "(2)",
            "（2）",
            "第二个",
            "第2个",
            "第２條",
            "选2",
            "我选第二个",
            "2号",
            "两",
            "2️⃣",
            "二。",
            "第二个问题",
            "回复2",
            "㊁",
            "No.2",
            "#2",
            "“2”",
            "贰",
            "02",
            "第 2 个",
            "回复：2",
            "选择“2”",
            "点2",
            "查看2",
            "选项2",
            "问题2",
            "序号2",
            "输入2",
            "发2",
            "要第二个",
            "就第二个",
            "想看第二个",
            "查看第二个",
            "我看第二个",
            "给我第二个",
            "第二个呢",
            "第2項",
            "第二行",
            "第二种",
            "2谢谢",
            "2，谢谢！",
            "❷",
            "⑵",
            "⒉",
            "Ⅱ",
            "ⅱ",
            "➁",
            "⓶",
            "請選2",
            "發送2",
            "那就第二个吧",
            "我要看第二個問題",
            "兩",
            "點擊第二個",
        ] {
            assert_eq!(choice(text), Some(Choice::Nth(2)), "{text}");
        }
        assert_eq!(choice("十二"), Some(Choice::Nth(12)));
        assert_eq!(choice("二十"), Some(Choice::Nth(20)));
        for (text, n) in [
            ("0", 0),
            ("零", 0),
            ("〇", 0),
            ("肆", 4),
            ("玖", 9),
            ("拾", 10),
            ("⑩", 10),
            ("❿", 10),
            ("🔟", 10),
            ("⑫", 12),
        ] {
            assert_eq!(choice(text), Some(Choice::Nth(n)), "{text}");
        }
    }

    #[test]
    fn ordinal_words_name_the_ends_and_the_middle() {
        for (text, meant) in [
            ("第一个", Choice::Nth(1)),
            ("上面那个", Choice::Nth(1)),
            ("最上面的", Choice::Nth(1)),
            ("就上面那个吧", Choice::Nth(1)),
            ("前面那个问题", Choice::Nth(1)),
            ("中间那个", Choice::Middle),
            ("最后一个", Choice::FromLast(1)),
            ("倒数第一个", Choice::FromLast(1)),
            ("下面那个", Choice::FromLast(1)),
            ("最後一個", Choice::FromLast(1)),
            ("倒数第二个", Choice::FromLast(2)),
            ("我要倒数第2条", Choice::FromLast(2)),
        ] {
            assert_eq!(choice(text), Some(meant), "{text}");
        }
        for text in [
            "上面说的费用",
            "最后交易日",
            "下面怎么办",
            "倒数第",
            "中间商",
            "最后期限",
        ] {
            assert_eq!(choice(text), None, "{text}");
        }
    }

    #[test]
    fn more_is_read_in_its_usual_writings() {
        for text in [
            "更多",
            "更多。",
            "下一页",
            "继续",
            "MORE",
            "更多…",
            "“更多”",
            "回复更多",
            "回复“更多”",
            "继续阅读",
            "繼續",
            "更多问题",
            "看看更多",
            "看更多",
            "查看更多",
            "换一批",
            "換一批",
            "其他问题",
            "再来更多",
            "继续吧",
            "还有别的吗",
            "更多的",
            "我要看更多",
        ] {
            assert_eq!(choice(text), Some(Choice::More), "{text}");
        }
    }

    #[test]
    fn a_number_alone_is_as_lists_ask_for_it_and_other_words_are_not() {
        for text in ["2", "２。", "“二”", "更多"] {
            assert!(Pick::parse(text).unwrap().as_asked, "{text}");
        }
        for text in ["第二个", "点2", "2号", "回复更多", "2谢谢", "继续", "最后"] {
            assert!(!Pick::parse(text).unwrap().as_asked, "{text}");
        }
    }

    #[test]
    fn variants_stand_in_pairs() {
        for (from, to) in VARIANTS {
            assert_eq!(from.chars().count(), to.chars().count(), "{from}");
        }
    }

    #[test]
    fn what_was_to_be_replied_is_found() {
        for text in ["回复人工", "回复“人工”", "回覆：人工。", "请回复 人工"] {
            assert_eq!(after_reply(text), Some("人工"), "{text}");
        }
        for text in ["人工", "回复", "回复“”", "怎么回复人工", ""] {
            assert_eq!(after_reply(text), None, "{text}");
        }
    }

    #[test]
    fn questions_are_no_choices() {
        for text in [
            "",
            "二维码在哪",
            "一个问题",
            "再来一个问题",
            "300",
            "2023",
            "第二个月怎么还款",
            "一卡通",
            "更多基金",
            "看",
            "10万",
            "2.5",
            "一二",
            "2021年基金从业考试",
            "第二个月账单",
            "二类户",
            "第二年",
            "继续教育",
            "继续教育学时",
            "更多基金怎么买",
            "查看持仓",
            "问题",
            "谢谢",
            "选项",
            "一般要几天",
            "三方存管",
            "第三方存管",
            "点一点",
            "五险一金",
            "九价",
            "下一步怎么办",
            "我要开户",
            "发票",
            "双十一",
            "查看更多基金",
        ] {
            assert_eq!(choice(text), None, "{text}");
        }
    }
}
