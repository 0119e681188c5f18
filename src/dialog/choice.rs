//! Short replies to what was offered: a number in any writing, an ordinal word, 更多.
//!
//! [`Choice::parse`] is the entry point; whether something was offered is the caller's business.

/// What a short reply means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// The n-th item, from 1; 0 was written as such. At most 99.
    Nth(usize),
    /// 最后一个.
    Last,
    /// The next page, or the next part.
    More,
}

const MORE: [&str; 9] = [
    "更多",
    "下一页",
    "继续",
    "接着说",
    "还有吗",
    "还有呢",
    "看更多",
    "查看更多",
    "more",
];
/// 回复, as followers copy it from our own words.
const REPLY: [&str; 6] = ["请回复", "請回覆", "請回復", "回复", "回覆", "回復"];
const LEADS: [&str; 12] = [
    "请回复",
    "回复",
    "我选择",
    "我选",
    "选择",
    "选",
    "我要",
    "我想看",
    "看",
    "第",
    "no",
    "#",
];
const TAILS: [&str; 9] = ["个问题", "个", "条", "项", "号", "题", "吧", "的", "了"];

impl Choice {
    /// `None` when the text is anything else, such as a question.
    pub fn parse(text: &str) -> Option<Self> {
        let plain: String = text
            .chars()
            .filter(|c| !c.is_whitespace())
            .map(plain)
            .collect::<String>()
            .to_lowercase();
        let mut core = bare(&plain);
        if MORE.contains(&core) {
            return Some(Self::More);
        }
        while let Some(rest) = LEADS.iter().find_map(|lead| core.strip_prefix(lead)) {
            core = bare(rest);
        }
        while let Some(rest) = TAILS.iter().find_map(|tail| core.strip_suffix(tail)) {
            core = rest;
        }
        match core {
            "最后" | "最后一" => Some(Self::Last),
            _ => number(core).map(Self::Nth),
        }
    }
}

/// What stands after a leading 回复, quotes taken off, as in 回复“人工”; `None` when there is no such word or nothing
/// after it.
pub fn after_reply(text: &str) -> Option<&str> {
    let text = bare(text);
    let rest = REPLY.iter().find_map(|word| text.strip_prefix(word))?;
    Some(bare(rest)).filter(|rest| !rest.is_empty())
}

/// The text without quotes, brackets, full stops and the marks of keycap emoji around it. Inside, punctuation stays:
/// 2.5 is no choice.
fn bare(text: &str) -> &str {
    text.trim_matches(|c: char| !c.is_alphanumeric() && c != '#')
}

/// The character without width or circle.
fn plain(c: char) -> char {
    let moved = |from: char, to: char| char::from_u32(c as u32 - from as u32 + to as u32).unwrap_or(c);
    match c {
        '０'..='９' => moved('０', '0'),
        'ａ'..='ｚ' => moved('ａ', 'a'),
        'Ａ'..='Ｚ' => moved('Ａ', 'A'),
        '①'..='⑨' => moved('①', '1'),
        '⑩' => '十',
        '㊀'..='㊉' => "一二三四五六七八九十"
            .chars()
            .nth(c as usize - '㊀' as usize)
            .unwrap_or(c),
        '壹' => '一',
        '贰' | '貳' => '二',
        '叁' | '參' => '三',
        '個' => '个',
        '條' => '条',
        '號' => '号',
        '題' => '题',
        c => c,
    }
}

/// 0–99 in digits or Chinese numerals.
fn number(text: &str) -> Option<usize> {
    let is_short = (1..=2).contains(&text.len());
    if is_short && text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().ok();
    }
    let digit = |c: char| match c {
        '两' | '兩' => Some(2),
        _ => "〇一二三四五六七八九".chars().position(|known| known == c),
    };
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
        ] {
            assert_eq!(Choice::parse(text), Some(Choice::Nth(2)), "{text}");
        }
        assert_eq!(Choice::parse("十二"), Some(Choice::Nth(12)));
        assert_eq!(Choice::parse("二十"), Some(Choice::Nth(20)));
        assert_eq!(Choice::parse("0"), Some(Choice::Nth(0)));
        assert_eq!(Choice::parse("最后一个"), Some(Choice::Last));
    }

    #[test]
    fn more_is_read_in_its_usual_writings() {
        for text in ["更多", "更多。", "下一页", "继续", "MORE", "更多…", "“更多”"] {
            assert_eq!(Choice::parse(text), Some(Choice::More), "{text}");
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
            "300",
            "2023",
            "第二个月怎么还款",
            "一卡通",
            "更多基金",
            "看",
            "10万",
            "2.5",
            "一二",
        ] {
            assert_eq!(Choice::parse(text), None, "{text}");
        }
    }
}
