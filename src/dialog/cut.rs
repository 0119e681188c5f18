//! Cutting a long text into parts that fit one passive reply.
//!
//! [`cut`] is the entry point. It never divides a visible character or a link, and prefers the end of a paragraph, of a
//! line, of a sentence, in this order, as long as the part stays reasonably full.

use std::ops::Range;
use unicode_segmentation::UnicodeSegmentation;

/// The first part of `text`, at most `max_bytes` long, and the rest; `None` when all of it fits.
///
/// Both parts together are `text` but for white space where it was cut. The first part is never empty: when a single
/// link or character is longer than `max_bytes`, it is divided at a character, or kept whole.
pub fn cut(text: &str, max_bytes: usize) -> Option<(&str, &str)> {
    if text.len() <= max_bytes {
        return None;
    }
    let links = links(text, max_bytes);
    let limit = hard_limit(text, max_bytes, &links);
    let window = &text[..limit];
    let floor = limit / 2;
    let soft = ["\n\n", "\n", "。", "！", "？", "；", "……", ". ", "，", " "]
        .iter()
        .filter_map(|mark| window.rfind(mark).map(|at| at + mark.len()))
        .find(|end| *end > floor && !divides(&links, *end));
    let end = soft.unwrap_or(limit);
    Some((text[..end].trim_end(), text[end..].trim_start()))
}

/// The last boundary of a visible character at or below `max_bytes` that lies in no link, if there is one.
fn hard_limit(text: &str, max_bytes: usize, links: &[Range<usize>]) -> usize {
    let mut end = 0;
    let mut outside_link = 0;
    for (start, grapheme) in text.grapheme_indices(true) {
        let next = start + grapheme.len();
        if next > max_bytes {
            break;
        }
        end = next;
        if !divides(links, end) {
            outside_link = end;
        }
    }
    match (outside_link, end) {
        (0, 0) => text.graphemes(true).next().map_or(text.len(), str::len),
        (0, end) => end,
        (outside, _) => outside,
    }
}

/// Where links stand in the first `max_bytes` and the link that reaches beyond them; ascending.
fn links(text: &str, max_bytes: usize) -> Vec<Range<usize>> {
    let starts = text
        .match_indices("<a ")
        .map(|(start, _)| start)
        .take_while(|start| *start <= max_bytes);
    starts
        .map(|start| {
            start
                ..text[start..]
                    .find("</a>")
                    .map_or(text.len(), |end| start + end + "</a>".len())
        })
        .collect()
}

/// Whether a cut at `at` would divide one of `links`.
fn divides(links: &[Range<usize>], at: usize) -> bool {
    links.iter().any(|link| link.start < at && at < link.end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_text_that_fits_is_left_alone() {
        assert_eq!(cut("一二三", 9), None);
    }

    #[test]
    fn the_cut_prefers_the_end_of_a_sentence() {
        assert_eq!(
            cut("第一句话说完了。第二句话也说完了。第三句", 52),
            Some(("第一句话说完了。第二句话也说完了。", "第三句"))
        );
    }

    #[test]
    fn a_line_break_beats_a_full_stop() {
        assert_eq!(
            cut("第一行很长很长\n第二行。后面还有", 38),
            Some(("第一行很长很长", "第二行。后面还有"))
        );
    }

    #[test]
    fn a_link_is_never_divided() {
        let text = "请看这里的说明文字：<a href=\"https://example.com/a。b\">点我。点我</a>完";
        let (first, rest) = cut(text, 60).unwrap();
        assert_eq!(first, "请看这里的说明文字：");
        assert!(rest.starts_with("<a "));
    }

    #[test]
    fn a_visible_character_is_never_divided() {
        let family = "👨‍👩‍👧‍👦";
        let text = format!("好{family}");
        assert_eq!(cut(&text, 10), Some(("好", family)));
    }

    proptest! {
        #[test]
        fn parts_fit_and_lose_nothing(text in "[ \n。，<a/>中文x😀]{0,80}", max in 8_usize..64) {
            let squeeze = |text: &str| text.split_whitespace().collect::<String>();
            let (mut left, mut parts) = (text.as_str(), String::new());
            while let Some((first, rest)) = cut(left, max) {
                prop_assert!(first.len() <= max && rest.len() < left.len());
                parts.push_str(first);
                left = rest;
            }
            parts.push_str(left);
            prop_assert_eq!(squeeze(&parts), squeeze(&text));
        }
    }
}
