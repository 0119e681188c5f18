//! Numbers in one spelling: 三千 is 3000, 二零二四 is 2024, 50万 is 500000, 百分之五 is 5%.
//!
//! [`canonical`] is the entry point. It rewrites only what cannot be read otherwise: 万一, 一般, 五六个 and 三百五 stay.
//! Both the bank and the query pass through it, so a missed number costs a little, a wrong one a right answer.

use super::effort;

/// `text` with its numbers in Arabic digits; everything else as it is.
pub fn canonical(text: &str) -> String {
    if !text.contains(|c: char| c.is_ascii_digit() || c == '百' || digit(c).or(unit(c)).is_some()) {
        return text.to_owned();
    }
    let mut chars = Vec::with_capacity(text.len());
    chars.extend(text.chars());
    let mut rewritten = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let (percent, start) = if chars[at..].starts_with(&['百', '分', '之']) {
            (true, at + 3)
        } else {
            (false, at)
        };
        let number = written_in_digits(&chars, start).or_else(|| written_in_chinese(&chars, start, percent));
        let Some((value, end)) = number else {
            rewritten.push(chars[at]);
            at += 1;
            continue;
        };
        match value {
            Spelled::AsTyped => rewritten.extend(&chars[start..end]),
            Spelled::Anew(value) => rewritten.push_str(&value),
        }
        if percent {
            rewritten.push('%');
        }
        at = end;
    }
    rewritten
}

/// A number in digits.
enum Spelled {
    AsTyped,
    Anew(String),
}

/// What may follow a single Chinese digit so that it is a count: 三个月, but not 一般 or 一下.
const MEASURES: &[&str] = &[
    "个月",
    "个工作日",
    "个交易日",
    "个小时",
    "年",
    "月",
    "天",
    "日",
    "号",
    "周",
    "小时",
    "分钟",
    "元",
    "块",
    "岁",
    "倍",
    "张",
    "笔",
    "成",
];

fn digit(c: char) -> Option<u64> {
    Some(match c {
        '零' | '〇' => 0,
        '一' => 1,
        '二' | '两' => 2,
        '三' => 3,
        '四' => 4,
        '五' => 5,
        '六' => 6,
        '七' => 7,
        '八' => 8,
        '九' => 9,
        _ => return None,
    })
}

fn unit(c: char) -> Option<u64> {
    match c {
        '十' => Some(10),
        '百' => Some(100),
        '千' => Some(1_000),
        '万' => Some(10_000),
        '亿' => Some(100_000_000),
        _ => None,
    }
}

/// `50万`, `1.5亿`, `10w`: digits with a unit behind them, and where the number ends. Plain digits need no rewriting and
/// come back as they are, so that they are skipped as a whole.
fn written_in_digits(chars: &[char], start: usize) -> Option<(Spelled, usize)> {
    if !chars.get(start)?.is_ascii_digit() {
        return None;
    }
    let digits = chars[start..].iter().take_while(|c| c.is_ascii_digit() || **c == '.');
    let end = start + digits.count();
    effort::spend(end - start);
    let factor = match chars.get(end) {
        Some('w') if !chars.get(end + 1).is_some_and(char::is_ascii_alphanumeric) => 10_000,
        Some(&c) => unit(c).filter(|&factor| factor > 10).unwrap_or(1),
        None => 1,
    };
    let scaled = if factor > 1 {
        let digits: String = chars[start..end].iter().collect();
        scale(&digits, factor)
    } else {
        None
    };
    Some(scaled.map_or((Spelled::AsTyped, end), |value| (Spelled::Anew(value), end + 1)))
}

/// `None` when the product is not a whole number below 10^15.
fn scale(digits: &str, factor: u64) -> Option<String> {
    const MAX_DIGITS: usize = 7;
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.len() > MAX_DIGITS || fraction.len() > MAX_DIGITS || fraction.contains('.') {
        return None;
    }
    let scale = 10_u64.pow(fraction.len() as u32);
    let value: u64 = format!("{whole}{fraction}").parse().ok()?;
    let product = value * factor;
    product.is_multiple_of(scale).then(|| (product / scale).to_string())
}

/// Value and end of the Chinese numeral at `start`, when it can only be a number.
fn written_in_chinese(chars: &[char], start: usize, percent: bool) -> Option<(Spelled, usize)> {
    const LONGEST: usize = 16;
    // No farther than needed: a long run is looked at from each of its characters.
    let numeral = chars[start..]
        .iter()
        .take(LONGEST + 1)
        .take_while(|c| digit(**c).or(unit(**c)).is_some())
        .count();
    effort::spend(numeral);
    let end = start + numeral;
    let run = &chars[start..end];
    let before = start.checked_sub(1).map(|i| chars[i]);
    match run {
        [] => None,
        _ if run.len() > LONGEST => None,
        [single] if *single != '十' => {
            let counts = percent || MEASURES.iter().any(|measure| follows(&chars[end..], measure));
            // 星期一号线, 礼拜三天: the digit belongs to the word before it.
            let bound = matches!(before, Some('期' | '拜' | '周')) && !percent;
            let value = digit(*single)?;
            (counts && !bound).then(|| (Spelled::Anew(value.to_string()), end))
        }
        _ if run.iter().all(|c| digit(*c).is_some()) => {
            // 二零二四 is a year; 五六 is five or six.
            let spelled = run.len() >= 3 && !run.contains(&'两');
            let digits = run.iter().filter_map(|c| digit(*c)).map(|d| d.to_string());
            spelled.then(|| (Spelled::Anew(digits.collect()), end))
        }
        _ => Some((Spelled::Anew(value(run)?.to_string()), end)),
    }
}

fn follows(chars: &[char], word: &str) -> bool {
    word.chars().enumerate().all(|(at, c)| chars.get(at) == Some(&c))
}

/// The value of a numeral with units, when it is well formed: digits and units alternate, units fall within each
/// 万 and 亿. 万一 and 千万 (but not 一千万) and the ambiguous 三百五 have none.
fn value(run: &[char]) -> Option<u64> {
    let (mut total, mut section, mut pending) = (0_u64, 0_u64, None);
    let (mut last_unit, mut zero) = (u64::MAX, false);
    for (at, &c) in run.iter().enumerate() {
        if let Some(d) = digit(c) {
            if pending.is_some() {
                return None;
            }
            if d == 0 {
                zero = true;
            } else {
                pending = Some(d);
            }
            continue;
        }
        let unit = unit(c)?;
        if unit < 10_000 {
            let count = pending
                .take()
                .or((unit == 10 && (at == 0 || zero || section == 0)).then_some(1))?;
            if unit >= last_unit {
                return None;
            }
            section += count * unit;
            last_unit = unit;
        } else {
            let sum = section + pending.take().unwrap_or(0);
            if sum == 0 || (total != 0 && unit >= 100_000_000) {
                return None;
            }
            total += sum * unit;
            (section, last_unit) = (0, u64::MAX);
        }
        zero = false;
    }
    if let Some(d) = pending {
        let exact = zero || last_unit == 10 || section == 0 && total == 0;
        return exact.then_some(total + section + d);
    }
    Some(total + section)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With work that grows faster than the text, each of these would take minutes.
    #[test]
    fn a_million_characters_are_read_in_linear_time() {
        for run in ["一", "十", "一万零", ".", "1", "百分之", "9.", "三百五"] {
            let text = run.repeat(1_000_000 / run.len());
            assert!(!canonical(&text).is_empty(), "{run}");
        }
    }

    #[test]
    fn only_what_is_surely_a_number_is_rewritten() {
        let check = |text: &str, expected: &str| assert_eq!(canonical(text), expected, "{text}");
        check("三千", "3000");
        check("十", "10");
        check("十二", "12");
        check("二十", "20");
        check("一百零五", "105");
        check("一万零二十", "10020");
        check("两千三百万", "23000000");
        check("二零二四年", "2024年");
        check("50万", "500000");
        check("1.5万", "15000");
        check("10w", "100000");
        check("10wan", "10wan");
        check("0.00001万", "0.00001万");
        check("三个月", "3个月");
        check("百分之十", "10%");
        check("百分之五", "5%");
        check("688开头", "688开头");
        for stays in [
            "万一",
            "一般",
            "一下",
            "五六个",
            "三百五",
            "千万别",
            "百分之",
            "星期一天",
            "两融",
            "一个",
            "9999999999亿",
        ] {
            check(stays, stays);
        }
    }
}
