//! Links a follower can tap: what they name, and how they are written.
//!
//! WeChat sends the link's text back with its `bizmsgmenuid`; [`Tap`] is what that id says, so that a tap needs neither
//! matching nor session. [`link`] writes one. On clients that do not know such links the text can be typed instead.

use crate::bank::EntryId;

/// What a tapped line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tap {
    /// The entry.
    Entry(EntryId),
    /// The next page, or the next part.
    More,
    /// A human.
    Human,
    /// This entry's answer was of use.
    Useful(EntryId),
    /// It was of none.
    Useless(EntryId),
}

impl Tap {
    /// `None` when the id is not one of ours.
    pub fn parse(menu_id: &str) -> Option<Self> {
        let entry = |id| EntryId::parse(id).ok();
        match menu_id.split_once(':') {
            Some(("entry", id)) => entry(id).map(Self::Entry),
            Some(("useful", id)) => entry(id).map(Self::Useful),
            Some(("useless", id)) => entry(id).map(Self::Useless),
            None if menu_id == "more" => Some(Self::More),
            None if menu_id == "human" => Some(Self::Human),
            _ => None,
        }
    }

    /// The `bizmsgmenuid`.
    pub fn menu_id(&self) -> String {
        match self {
            Self::Entry(id) => format!("entry:{id}"),
            Self::More => "more".to_owned(),
            Self::Human => "human".to_owned(),
            Self::Useful(id) => format!("useful:{id}"),
            Self::Useless(id) => format!("useless:{id}"),
        }
    }
}

/// A link whose tap sends `text` with `bizmsgmenuid` = `id`.
pub fn link(text: &str, id: &str) -> String {
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

/// `text` with what can be tapped as plain words, for clients that do not know such links; other links stay.
pub fn without_taps(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, link)) = rest.split_once("<a href=\"weixin://bizmsgmenu?") {
        plain.push_str(before);
        let words = link.split_once('>').map_or("", |(_, words)| words);
        let (words, after) = words.split_once("</a>").unwrap_or((words, ""));
        plain.push_str(words);
        rest = after;
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tap_survives_its_link() {
        let id = || EntryId::parse("kc-001").unwrap();
        for tap in [
            Tap::Entry(id()),
            Tap::More,
            Tap::Human,
            Tap::Useful(id()),
            Tap::Useless(id()),
        ] {
            assert_eq!(Tap::parse(&tap.menu_id()), Some(tap));
        }
    }

    #[test]
    fn taps_become_words_where_nobody_can_tap() {
        let text = format!("看<a href=\"https://e.com\">这里</a>，或{}。", link("更多", "more"));
        assert_eq!(without_taps(&text), "看<a href=\"https://e.com\">这里</a>，或更多。");
        assert_eq!(without_taps("没有链接"), "没有链接");
        assert_eq!(without_taps("<a href=\"weixin://bizmsgmenu?x"), "");
    }

    #[test]
    fn what_others_put_into_a_menu_is_no_tap() {
        for id in [
            "",
            "101",
            "entry:",
            "entry:a b",
            "entry:<a>",
            "more:",
            "human:x",
            "Entry:a",
        ] {
            assert_eq!(Tap::parse(id), None, "{id}");
        }
    }
}
