//! Text of others as it is shown to who works at a terminal: names, comments, what followers wrote.
//!
//! [`one_line`] is the one way there. What would colour, move or rename the terminal, begin a line of its own, or turn the
//! reading order of what follows, is a blank. It is for people only: files and JSON hold texts as they are.

/// What was typed, in one line.
pub fn one_line(text: &str) -> String {
    text.chars().map(|c| if acts(c) { ' ' } else { c }).collect()
}

/// The same for a message of several lines, which stay apart.
pub fn lines(text: &str) -> String {
    text.split('\n').map(one_line).collect::<Vec<_>>().join("\n")
}

/// Whether a terminal does something with it other than show it.
fn acts(c: char) -> bool {
    let is_break = matches!(c, '\u{2028}' | '\u{2029}');
    // https://www.unicode.org/reports/tr9/#Directional_Formatting_Characters
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || is_break || turns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_text_acts_on_the_terminal() {
        for (text, shown) in [
            ("王编辑 é ①", "王编辑 é ①"),
            ("ev\u{1b}[31mil\u{1b}]0;title\u{7}", "ev [31mil ]0;title "),
            ("a\nb\r\tc\u{9b}2J\u{7f}", "a b  c 2J "),
            ("a\u{2028}b\u{2029}", "a b "),
            (
                "\u{202e}txt.exe\u{202c}\u{2066}a\u{2069}\u{200f}\u{61c}",
                " txt.exe  a   ",
            ),
        ] {
            assert_eq!(one_line(text), shown);
        }
        assert_eq!(lines("a\u{1b}\n\nb\n"), "a \n\nb\n");
    }
}
