//! Normalisation: the one text in which questions are compared.
//!
//! [`normalize`] is the entry point: a pure function of the text, in time linear in its length, with no dictionary in
//! it. It decides whether two questions are the same and keys the match cache, so what it drops must never change a
//! question's meaning. Its result is for matching only and is never shown. Numbers are [`super::numerals`]'s work;
//! the operator's synonyms are applied later, by the tokenizer.
//!
//! Order: face codes and emoji → NFKC, lower case, simplified characters → punctuation → question words → fillers →
//! numbers → spaces.

mod phrases;

use super::{effort, numerals};
use phrases::{Affixes, Phrases};
use std::borrow::Cow;
use std::sync::LazyLock;
use unicode_normalization::UnicodeNormalization;

/// The text that decides whether two questions are the same.
///
/// Holds letters and digits, `+`, `.`, `%` and `&` where they belong to a word or a number, and single spaces between
/// Latin words and nowhere else. Empty when the text holds nothing but signs.
pub fn normalize(text: &str) -> String {
    let folded = fold(&without_faces(text));
    let words = separate(&folded);
    let canonical = QUESTION_WORDS.replace(&words);
    let asked = without_fillers(&canonical);
    join(numerals::canonical(&asked))
}

/// [`normalize`] without what makes different wordings equal: no question word, filler or number is touched.
///
/// What somebody has typed so far is compared in this form as well, because a wording that is half there may be taken
/// for another.
pub fn plain(text: &str) -> String {
    join(separate(&fold(&without_faces(text))))
}

/// Ways to ask that begin with `text` and go on, so that it may be one of them half typed.
pub fn wordings_beginning(text: &str) -> impl Iterator<Item = &'static str> {
    let phrases = CANONICAL.iter().map(|(from, _)| *from);
    phrases.filter(move |phrase| phrase.len() > text.len() && phrase.starts_with(text))
}

/// Whether all of `text` may be a half-typed opening that asks for nothing.
pub fn may_become_opening(text: &str) -> bool {
    let mut openings = OPENINGS.iter().chain(OPENINGS_APART);
    openings.any(|opening| opening.len() > text.len() && opening.starts_with(text))
}

static QUESTION_WORDS: LazyLock<Phrases> = LazyLock::new(|| Phrases::new(CANONICAL));
static SPOKEN_ASIDES: LazyLock<Phrases> = LazyLock::new(|| Phrases::new(ASIDES));
static POLITE_OPENINGS: LazyLock<Affixes> = LazyLock::new(|| Affixes::new(OPENINGS, |text| text.chars().next()));
static POLITE_ENDINGS: LazyLock<Affixes> = LazyLock::new(|| Affixes::new(ENDINGS, |text| text.chars().next_back()));

/// Whether `c` is written without spaces between words.
pub fn is_han(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}' | '〇' | '々')
}

/// Faces as WeChat sends them, without the leading `/:` (公众号开发文档 › 表情), longest first where one begins another.
const FACE_CODES: &[&str] = &[
    ":,@-D", ":,@P", ":,@o", ":,@f", ":,@x", ":,@@", ":,@!", ":8-)", ":--b", ":-S", ":@x", ":8*", ":&-(", ":!!!",
    ":'(", ":'|", ":-|", ":-O", ":>-|", ":P-(", ":X-)", ":)", ":~", ":B", ":|", ":<", ":$", ":X", ":Z", ":@", ":P",
    ":D", ":O", ":(", ":+", ":Q", ":T", ":d", ":g", ":!", ":L", ":>", ":*", ":8", "8-)", "--b", ",@-D", ",@P", ",@o",
    ",@f", ",@x", ",@@", ",@!", "|-)", "?", "@@", "@x", "@>", "@)", "!!!", "&-(", "B-)", "<@", ">-|", "P-(", "X-)",
    "8*", "<W>", "<L>", "<O>", "handclap", "showlove", "basketb", "ladybug", "coffee", "strong", "circle", "footb",
    "heart", "break", "kotow", "share", "shake", "wipe", "beer", "rose", "fade", "cake", "bome", "shit", "moon",
    "gift", "weak", "jump", "turn", "skip", "love", "bye", "dig", "eat", "pig", "sun", "hug", "bad", "lvu", "xx", "pd",
    "oo", "li", "kn", "jj", "no", "ok", "oY", "v",
];

/// Names WeChat puts between brackets instead of a face. A closed list: `[卡号]` is text.
const FACE_NAMES: &str = "微笑 撇嘴 色 发呆 得意 流泪 害羞 闭嘴 睡 大哭 尴尬 发怒 调皮 呲牙 惊讶 难过 酷 冷汗 抓狂 吐 偷笑 愉快 白眼 傲慢 饥饿 困 \
    惊恐 流汗 憨笑 悠闲 大兵 奋斗 咒骂 疑问 嘘 晕 疯了 折磨 衰 骷髅 敲打 再见 擦汗 抠鼻 鼓掌 糗大了 坏笑 左哼哼 右哼哼 哈欠 鄙视 委屈 快哭了 阴险 亲亲 \
    吓 可怜 菜刀 西瓜 啤酒 篮球 乒乓 咖啡 饭 猪头 玫瑰 凋谢 嘴唇 爱心 心碎 蛋糕 闪电 炸弹 刀 足球 瓢虫 便便 月亮 太阳 礼物 拥抱 强 弱 握手 胜利 抱拳 勾引 \
    拳头 差劲 爱你 爱情 飞吻 跳跳 发抖 怄火 转圈 磕头 回头 跳绳 投降 激动 乱舞 献吻 左太极 右太极 嘿哈 捂脸 奸笑 机智 皱眉 耶 吃瓜 加油 汗 天啊 社会社会 旺柴 \
    好的 打脸 哇 翻白眼 让我看看 叹气 苦涩 裂开 合十 红包 發 福 囧 烟花 爆竹 恐惧 脸红 破涕为笑 无语 失望 生病 笑脸 悠闲 庆祝 鬼魂 幽灵 加油加油 666";

fn without_faces(text: &str) -> Cow<'_, str> {
    if !text.contains(['/', '[']) {
        return text.into();
    }
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        effort::spend(1);
        if let Some(after) = rest
            .strip_prefix("/:")
            .and_then(after_face_code)
            .or_else(|| after_face_name(rest))
        {
            kept.push(' ');
            rest = after;
        } else {
            kept.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    kept.into()
}

fn after_face_code(text: &str) -> Option<&str> {
    FACE_CODES.iter().find_map(|code| text.strip_prefix(code))
}

fn after_face_name(text: &str) -> Option<&str> {
    const LONGEST_NAME_BYTES: usize = 12;
    let inside = text.strip_prefix('[')?;
    let window = inside.as_bytes().iter().take(LONGEST_NAME_BYTES + 1);
    let end = window.into_iter().position(|&byte| byte == b']')?;
    FACE_NAMES
        .split_whitespace()
        .any(|name| name == &inside[..end])
        .then(|| &inside[end + 1..])
}

/// NFKC, lower case, simplified characters, and the variants those leave.
fn fold(text: &str) -> String {
    let table = &**FOLDED;
    let alone = |c: char| {
        let folded = table
            .get(c as usize)
            .and_then(|folded| char::from_u32(u32::from(*folded)));
        folded.filter(|folded| *folded != NEEDS_NEIGHBOURS)
    };
    let mut folded = String::with_capacity(text.len());
    for c in text.chars() {
        let Some(c) = alone(c) else { return fold_together(text) };
        folded.push(c);
    }
    folded
}

fn fold_together(text: &str) -> String {
    let lower: String = text.nfkc().flat_map(char::to_lowercase).collect();
    fast2s::convert(&lower)
        .chars()
        .map(|c| VARIANTS.iter().find(|(from, _)| *from == c).map_or(c, |v| v.1))
        .collect()
}

/// Stands in [`FOLDED`] for what cannot be folded without its neighbours.
const NEEDS_NEIGHBOURS: char = '\0';

/// What a character becomes whatever stands beside it; the usual ones of Chinese text, so that most texts need no more.
static FOLDED: LazyLock<Vec<u16>> = LazyLock::new(|| {
    /// Simplified one way or another, as their neighbours demand.
    const CONTEXTUAL: &str = "兒覆夥藉瞭麽幺於乾著苧闔鍾讎畫";
    let usual =
        |code: u32| matches!(code, 0x20..=0x7e | 0x2018..=0x201d | 0x3001..=0x3011 | 0x4e00..=0x9fff | 0xff01..=0xff5e);
    let folded = |code: u32| {
        let c = char::from_u32(code).filter(|c| usual(code) && !CONTEXTUAL.contains(*c))?;
        let folded = fold_together(c.encode_utf8(&mut [0; 4]));
        let mut chars = folded.chars();
        chars.next().filter(|_| chars.next().is_none())
    };
    (0..=0xffff)
        .map(|code| folded(code).unwrap_or(NEEDS_NEIGHBOURS) as u16)
        .collect()
});

/// Characters typed for one another so often that they carry no difference.
const VARIANTS: &[(char, char)] = &[
    ('帐', '账'),
    ('妳', '你'),
    ('祂', '他'),
    ('喫', '吃'),
    ('佔', '占'),
    ('裏', '里'),
];

/// Keeps letters, digits and the signs inside words and numbers; each other run of signs becomes one space, but white
/// space between Chinese characters disappears, because nobody separates words with it on purpose.
fn separate(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut gap = Gap::None;
    let mut chars = text.chars().peekable();
    let mut last = None;
    while let Some(c) = chars.next() {
        effort::spend(1);
        let (before, after) = (last.replace(c), chars.peek().copied());
        if is_han(c) || c.is_alphanumeric() || belongs(c, before, after) {
            let apart = |previous: char| match gap {
                Gap::None => false,
                Gap::Space => !(is_han(c) && is_han(previous)),
                Gap::Sign => true,
            };
            if gap != Gap::None && kept.chars().next_back().is_some_and(apart) {
                kept.push(' ');
            }
            kept.push(c);
            gap = Gap::None;
        } else if c.is_whitespace() {
            gap = gap.max(Gap::Space);
        } else if !is_invisible(c) {
            gap = Gap::Sign;
        }
    }
    kept
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Gap {
    None,
    Space,
    Sign,
}

/// Joiners, direction marks and variation selectors: pasted along with text, seen by nobody.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}')
}

/// Whether a sign is part of the word or number around it: `T+1`, `1.5`, `5%`, `S&P`.
fn belongs(c: char, before: Option<char>, after: Option<char>) -> bool {
    let is = |side: Option<char>, test: fn(&char) -> bool| side.as_ref().is_some_and(test);
    match c {
        '+' => is(before, char::is_ascii_alphanumeric),
        '.' => is(before, char::is_ascii_digit) && is(after, char::is_ascii_digit),
        '%' => is(before, char::is_ascii_digit),
        '&' => is(before, char::is_ascii_alphabetic) && is(after, char::is_ascii_alphabetic),
        _ => false,
    }
}

/// Ways to ask the same. Where one phrase begins with another the longer stands first; some stand for themselves, so
/// that the shorter one does not take them apart.
const CANONICAL: &[(&str, &str)] = &[
    ("怎么样才能", "怎么"),
    ("怎么样", "怎么样"),
    ("怎样才能", "怎么"),
    ("怎样", "怎么"),
    ("怎么才能", "怎么"),
    ("如何才能", "怎么"),
    ("如何", "怎么"),
    ("咋样", "怎么样"),
    ("咋个", "怎么"),
    ("咋", "怎么"),
    ("肿么", "怎么"),
    ("怎麽", "怎么"),
    ("点样", "怎么"),
    ("为什麽", "为什么"),
    ("为甚么", "为什么"),
    ("为啥子", "为什么"),
    ("为啥", "为什么"),
    ("为何", "为什么"),
    ("为嘛", "为什么"),
    ("啥时候", "什么时候"),
    ("啥时间", "什么时候"),
    ("什么时间", "什么时候"),
    ("何时", "什么时候"),
    ("几时", "什么时候"),
    ("什么地方", "哪里"),
    ("啥地方", "哪里"),
    ("何处", "哪里"),
    ("甚么", "什么"),
    ("什麽", "什么"),
    ("神马", "什么"),
    ("啥", "什么"),
    ("可以不可以", "能不能"),
    ("可不可以", "能不能"),
    ("是否可以", "能不能"),
    ("是否能够", "能不能"),
    ("是否能", "能不能"),
    ("能够", "能"),
    ("能否", "能不能"),
    ("可否", "能不能"),
    ("是否", "是不是"),
    ("有无", "有没有"),
    ("木有", "没有"),
    ("多长时间", "多久"),
    ("多少时间", "多久"),
    ("几多", "多少"),
    ("哪一个", "哪个"),
    ("在哪里", "在哪里"),
    ("在哪儿", "在哪里"),
    ("在哪个", "在哪个"),
    ("在哪些", "在哪些"),
    ("在哪家", "在哪家"),
    ("在哪种", "在哪种"),
    ("在哪", "在哪里"),
    ("哪儿", "哪里"),
    ("登陆", "登录"),
    ("請問", "请问"),
];

/// Openings that ask for nothing.
const OPENINGS: &[&str] = &[
    "你好",
    "您好",
    "哈喽",
    "哈罗",
    "嗨喽",
    "早上好",
    "上午好",
    "中午好",
    "下午好",
    "晚上好",
    "大家好",
    "在吗",
    "在么",
    "在不在",
    "有人吗",
    "不好意思",
    "打扰一下",
    "打扰了",
    "打扰下",
    "劳驾",
    "麻烦问一下",
    "麻烦问下",
    "麻烦您",
    "麻烦你",
    "麻烦",
    "我有个问题想咨询一下",
    "我有个问题想问一下",
    "我有个问题",
    "有个问题",
    "我想咨询一下",
    "我想咨询下",
    "我想咨询",
    "想咨询一下",
    "想咨询下",
    "想咨询",
    "咨询一下",
    "咨询下",
    "我想请教一下",
    "我想请教",
    "想请教一下",
    "想请教",
    "请教一下",
    "请教下",
    "请教",
    "我想问一下",
    "我想问下",
    "我想问问",
    "我想问",
    "想问一下",
    "想问下",
    "想问问",
    "想问",
    "问一下",
    "问下",
    "问问",
    "我想了解一下",
    "我想了解下",
    "想了解一下",
    "想了解下",
    "我想知道",
    "想知道",
    "谁知道",
    "有谁知道",
    "有人知道",
    "嗯嗯",
    "嗯",
    "呃",
    "哎呀",
    "客服你好",
    "客服您好",
    "老师你好",
    "老师您好",
    "哈",
    "啊",
    "哦",
];

/// Openings only where a sign follows: 亲 is also the beginning of 亲属, 那个 of a question.
const OPENINGS_APART: &[&str] = &[
    "亲爱的",
    "亲们",
    "亲",
    "老师",
    "客服",
    "小编",
    "那个",
    "那啥",
    "就是",
    "额",
    "喂",
    "哎",
    "诶",
    "唉",
    "嗨",
    "hi",
    "hello",
    "朋友们",
    "各位",
];

/// Endings that ask for nothing. 吗 and 么 stay: they make a question of a statement. 呗 stays: 花呗.
const ENDINGS: &[&str] = &[
    "非常感谢",
    "谢谢您",
    "谢谢你",
    "谢谢了",
    "谢谢啦",
    "谢谢",
    "谢了",
    "多谢",
    "感谢",
    "麻烦了",
    "拜托了",
    "在线等",
    "求解答",
    "求解",
    "求告知",
    "求指教",
    "求助",
    "请问",
    "急急急",
    "呀",
    "啊",
    "呢",
    "哦",
    "噢",
    "哈",
    "啦",
    "嘛",
    "哟",
    "喔",
    "哇",
    "吖",
    "诶",
    "嗯",
    "呃",
];

/// Dropped wherever they stand: stories come before 请问 as often as questions come after it.
const ASIDES: &[(&str, &str)] = &[
    ("请问一下", " "),
    ("请问下", " "),
    ("请问", " "),
    ("嗯", " "),
    ("呃", " "),
];

/// Drops politeness, as long as something is left of the question.
fn without_fillers(text: &str) -> String {
    let without_asides = SPOKEN_ASIDES.replace(text);
    let mut rest = without_asides.trim();
    while let Some(shorter) = without_opening(rest).or_else(|| without_ending(rest)) {
        effort::spend(1);
        rest = shorter.trim();
    }
    // 「你好」 and 「谢谢」 alone are what the follower says.
    if rest.is_empty() {
        text.to_owned()
    } else {
        rest.to_owned()
    }
}

fn without_opening(text: &str) -> Option<&str> {
    let apart = |opening: &&str| text.strip_prefix(*opening).filter(|rest| rest.starts_with(' '));
    let mut openings = POLITE_OPENINGS.of(text.chars().next());
    let rest = openings.find_map(|opening| text.strip_prefix(opening));
    match rest {
        None if text.contains(' ') => OPENINGS_APART.iter().find_map(apart),
        _ => rest,
    }
}

fn without_ending(text: &str) -> Option<&str> {
    let mut endings = POLITE_ENDINGS.of(text.chars().next_back());
    endings.find_map(|ending| text.strip_suffix(ending))
}

/// Leaves a space only where two Latin words would otherwise become one.
fn join(text: String) -> String {
    if !text.contains(' ') {
        return text;
    }
    let mut joined = String::with_capacity(text.len());
    let mut pieces = text.split(' ').filter(|piece| !piece.is_empty());
    joined.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let is_wordy = |c: Option<char>| c.is_some_and(|c| !is_han(c));
        if is_wordy(joined.chars().next_back()) && is_wordy(piece.chars().next()) {
            joined.push(' ');
        }
        joined.push_str(piece);
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_that_differ_only_in_form_are_equal() {
        let check = |text: &str, expected: &str| assert_eq!(normalize(text), expected, "{text}");
        check("科创板如何开户？", "科创板怎么开户");
        check("科創板怎樣開戶", "科创板怎么开户");
        check("  科创板　咋开户!! ", "科创板怎么开户");
        check("你好，请问一下科创板怎么开户呀，谢谢！", "科创板怎么开户");
        check("科创板怎么开户😭[微笑]/::)", "科创板怎么开户");
        check("亲，ＥＴＦ是啥", "etf是什么");
        check("亲属可以代办吗", "亲属可以代办吗");
        check("登陆不了帐户", "登录不了账户");
        check("可否提前还款", "能不能提前还款");
        check("Apple  Pay，怎么用", "apple pay怎么用");
        check("T + 1 是T+1吗", "t 1是t+1吗");
        check("[卡号]输错了", "卡号输错了");
        check("在哪个银行办", "在哪个银行办");
        check("在哪办", "在哪里办");
        check("我想买\u{200b}基金", "我想买基金");
    }

    #[test]
    fn folding_one_by_one_is_folding_together() {
        let check = |text: &str| assert_eq!(fold(text), fold_together(text), "{text}");
        let all: Vec<char> = (0..=0xffff).filter_map(char::from_u32).collect();
        for chars in all.windows(2) {
            check(&chars.iter().collect::<String>());
        }
        // Whatever stands beside a character that needs no neighbours, it becomes the same.
        for contextual in "兒覆夥藉瞭麽幺於乾著苧闔鍾讎畫".chars() {
            for c in "寬答批回甚慰狼望樊隆坤卦口憑看麻家書校定仇計企的a？".chars() {
                check(&format!("{c}{contextual}{c}"));
            }
        }
        for text in ["ＥＴＦ基金，怎麼買？", "乾隆皇帝", "e\u{301}tf", "ﾊﾟｽ", "🙂好", "…", "①"]
        {
            check(text);
        }
    }

    #[test]
    fn politeness_alone_stays() {
        assert_eq!(normalize("你好"), "你好");
        assert_eq!(normalize("谢谢你！"), "谢谢你");
        assert_eq!(normalize("[微笑]😭！？"), "");
        assert_eq!(normalize(""), "");
    }

    #[test]
    fn numbers_are_compared_by_value() {
        let check = |a: &str, b: &str| assert_eq!(normalize(a), normalize(b));
        check("五十万门槛", "50万门槛");
        check("500000门槛", "50万门槛");
        check("二零二四年", "2024年");
        check("三个月", "3个月");
        check("百分之五", "5%");
    }
}
