//! As much of Rust's grammar as the house rules need: which paths a file names, and on which line.
//!
//! [`named_paths`] is the entry point. Comments, strings and characters are no code; `use` groups are spelt out; what
//! `crate`, `self`, `super` and `wxfaq` mean is worked out from the file's own place. Macros are read as written.

/// A path as the code means it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedPath {
    /// Counted from 1.
    pub line: usize,
    /// `["crate", "bank", "Entry"]` when it starts in this crate, else `["tokio", "time"]`. `*` for a glob.
    pub segments: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Name(String),
    /// `::`
    Separator,
    Sign(char),
}

/// Every path of at least two segments in `source`, and every lone name that is imported, in the order they stand.
///
/// `module` is the file's own place: `["store", "sql"]` for `src/store/sql/mod.rs`.
pub fn named_paths(module: &[String], source: &str) -> Vec<NamedPath> {
    let tokens = tokens(source);
    let mut reader = Reader {
        tokens: &tokens,
        module: module.to_vec(),
        depth: 0,
        inline: Vec::new(),
        found: Vec::new(),
    };
    reader.read();
    reader.found
}

/// The part of `source` before its `#[cfg(test)] mod tests`, which stands at the end by custom.
pub fn without_tests(source: &str) -> &str {
    let mut offset = 0;
    let mut lines = source.split_inclusive('\n').peekable();
    while let Some(line) = lines.next() {
        if line.trim() == "#[cfg(test)]"
            && lines
                .peek()
                .is_some_and(|next| next.trim_start().starts_with("mod tests"))
        {
            return &source[..offset];
        }
        offset += line.len();
    }
    source
}

/// Whether `name` stands in the code itself, and on which lines.
pub fn lines_naming(source: &str, name: &str) -> Vec<usize> {
    let is_it = |token: &Token| matches!(token, Token::Name(found) if found == name);
    tokens(source)
        .into_iter()
        .filter(|(token, _)| is_it(token))
        .map(|(_, line)| line)
        .collect()
}

fn tokens(source: &str) -> Vec<(Token, usize)> {
    let code: Vec<char> = source.chars().collect();
    let starts = |at: usize, text: &str| text.chars().enumerate().all(|(i, c)| code.get(at + i) == Some(&c));
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let mut tokens = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < code.len() {
        let start = at;
        if starts(at, "//") {
            while at < code.len() && code[at] != '\n' {
                at += 1;
            }
        } else if starts(at, "/*") {
            let mut depth = 0;
            loop {
                if starts(at, "/*") {
                    depth += 1;
                    at += 2;
                } else if starts(at, "*/") {
                    depth -= 1;
                    at += 2;
                } else {
                    at += 1;
                }
                if depth == 0 || at >= code.len() {
                    break;
                }
            }
        } else if let Some(end) = string_end(&code, at) {
            at = end;
        } else if code[at] == '\'' {
            at = character_end(&code, at);
        } else if is_name(code[at]) {
            while at < code.len() && is_name(code[at]) {
                at += 1;
            }
            tokens.push((Token::Name(code[start..at].iter().collect()), line));
        } else if starts(at, "::") {
            at += 2;
            tokens.push((Token::Separator, line));
        } else {
            at += 1;
            if !code[start].is_whitespace() {
                tokens.push((Token::Sign(code[start]), line));
            }
        }
        at = at.min(code.len());
        line += code[start..at].iter().filter(|c| **c == '\n').count();
    }
    tokens
}

/// Where the string literal that starts at `at` ends: plain, raw, byte or C string. `None`: there is none.
fn string_end(code: &[char], at: usize) -> Option<usize> {
    let mut here = at;
    while here < at + 2 && matches!(code.get(here), Some('b' | 'c' | 'r')) {
        here += 1;
    }
    let is_raw = code[at..here].contains(&'r');
    let mut hashes = 0;
    while is_raw && code.get(here) == Some(&'#') {
        hashes += 1;
        here += 1;
    }
    if code.get(here) != Some(&'"') {
        return None;
    }
    here += 1;
    while here < code.len() {
        if code[here] == '\\' && !is_raw {
            here += 2;
        } else if code[here] == '"' && (0..hashes).all(|i| code.get(here + 1 + i) == Some(&'#')) {
            return Some(here + 1 + hashes);
        } else {
            here += 1;
        }
    }
    Some(code.len())
}

/// Where the character literal at `at` ends; only its quote is skipped when it is a lifetime.
fn character_end(code: &[char], at: usize) -> usize {
    if code.get(at + 1) == Some(&'\\') {
        let mut here = at + 3;
        while here < code.len() && code[here] != '\'' {
            here += 1;
        }
        here + 1
    } else if code.get(at + 2) == Some(&'\'') {
        at + 3
    } else {
        at + 1
    }
}

struct Reader<'t> {
    tokens: &'t [(Token, usize)],
    module: Vec<String>,
    depth: usize,
    /// Depths at which the inline modules around here opened; their names stand at the end of `module`.
    inline: Vec<usize>,
    found: Vec<NamedPath>,
}

impl Reader<'_> {
    fn name(&self, at: usize) -> Option<&str> {
        match self.tokens.get(at) {
            Some((Token::Name(name), _)) => Some(name),
            _ => None,
        }
    }

    fn is(&self, at: usize, token: &Token) -> bool {
        self.tokens.get(at).is_some_and(|(found, _)| found == token)
    }

    fn read(&mut self) {
        let mut at = 0;
        while at < self.tokens.len() {
            match &self.tokens[at].0 {
                Token::Sign('{') => self.depth += 1,
                Token::Sign('}') => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.inline.last() == Some(&self.depth) {
                        self.inline.pop();
                        self.module.pop();
                    }
                }
                Token::Name(name) if name == "mod" && self.is(at + 2, &Token::Sign('{')) => {
                    if let Some(module) = self.name(at + 1).map(str::to_owned) {
                        self.inline.push(self.depth);
                        self.module.push(module);
                        at += 1;
                    }
                }
                Token::Name(name) if name == "use" => {
                    at = self.read_tree(at + 1, &[]);
                    continue;
                }
                Token::Name(_) => {
                    at = self.read_expression(at);
                    continue;
                }
                _ => {}
            }
            at += 1;
        }
    }

    /// A path outside a `use`: names joined by `::`, as far as they go.
    fn read_expression(&mut self, start: usize) -> usize {
        let mut at = start;
        let mut segments = Vec::new();
        while let Some(name) = self.name(at) {
            segments.push(name.to_owned());
            if !self.is(at + 1, &Token::Separator) {
                at += 1;
                break;
            }
            at += 2;
        }
        if segments.len() > 1 {
            self.keep(start, segments);
        }
        at
    }

    /// One tree of a `use`: a path, maybe ending in `*`, `as x` or a group of trees. Returns where it ends.
    fn read_tree(&mut self, start: usize, prefix: &[String]) -> usize {
        let mut segments = prefix.to_vec();
        let mut at = start;
        loop {
            if let Some(name) = self.name(at) {
                if name != "self" || segments.is_empty() {
                    segments.push(name.to_owned());
                }
            } else if self.is(at, &Token::Sign('*')) {
                segments.push("*".to_owned());
            } else if self.is(at, &Token::Sign('{')) {
                at += 1;
                while at < self.tokens.len() && !self.is(at, &Token::Sign('}')) {
                    at = self.read_tree(at, &segments);
                    if self.is(at, &Token::Sign(',')) {
                        at += 1;
                    }
                }
                return at + 1;
            } else if !self.is(at, &Token::Separator) {
                break;
            }
            at += 1;
            if self.name(at) == Some("as") {
                at += 2;
                break;
            }
        }
        if segments.len() > prefix.len() || !prefix.is_empty() {
            self.keep(start, segments);
        }
        at.max(start + 1)
    }

    fn keep(&mut self, at: usize, segments: Vec<String>) {
        let relative = segments
            .iter()
            .take_while(|segment| matches!(segment.as_str(), "super" | "self"))
            .count();
        let segments = match segments.first().map(String::as_str) {
            Some("wxfaq") => [vec!["crate".to_owned()], segments[1..].to_vec()].concat(),
            Some("self" | "super") => {
                let up = segments[..relative]
                    .iter()
                    .filter(|segment| *segment == "super")
                    .count();
                let base = &self.module[..self.module.len().saturating_sub(up)];
                [&["crate".to_owned()], base, &segments[relative..]].concat()
            }
            _ => segments,
        };
        self.found.push(NamedPath {
            line: self.tokens[at].1,
            segments,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(module: &str, source: &str, expected: &[&str]) {
        let module: Vec<String> = module
            .split("::")
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect();
        let found: Vec<String> = named_paths(&module, source)
            .iter()
            .map(|path| format!("{}:{}", path.line, path.segments.join("::")))
            .collect();
        assert_eq!(found, expected, "{source}");
    }

    #[test]
    fn paths_are_found_where_they_stand() {
        check("bank", "fn f() {\n    tokio::spawn(x);\n}", &["2:tokio::spawn"]);
        check("bank", "use tokio;", &["1:tokio"]);
        check("bank", "use ::tokio::time as t;", &["1:tokio::time"]);
        check(
            "bank",
            "#[tokio::test]\nfn f(a: crate::web::X<std::fs::File>) {}",
            &["1:tokio::test", "2:crate::web::X", "2:std::fs::File"],
        );
        check("bank", "let store = redis.store; x.web::<u8>();", &[]);
        check("", "fn main() { wxfaq::app::run() }", &["1:crate::app::run"]);
        check("bank", "$crate::web::f!()", &["1:crate::web::f"]);
    }

    #[test]
    fn groups_are_spelt_out() {
        check(
            "",
            "use crate::{bank::{self, Entry}, web};",
            &["1:crate::bank", "1:crate::bank::Entry", "1:crate::web"],
        );
        check(
            "",
            "use std::{\n    fs,\n    time::*,\n};\nuse a::b;",
            &["2:std::fs", "3:std::time::*", "5:a::b"],
        );
        check("", "use {a::b, c as d};", &["1:a::b", "1:c"]);
    }

    #[test]
    fn super_is_followed() {
        check("matching::text", "use super::super::web::X;", &["1:crate::web::X"]);
        check(
            "matching",
            "mod tests { use super::*; fn f() { super::super::web::f() } } use super::bot;",
            &["1:crate::matching::*", "1:crate::web::f", "1:crate::bot"],
        );
        check("matching", "use self::text::fold;", &["1:crate::matching::text::fold"]);
    }

    #[test]
    fn comments_and_literals_are_no_code() {
        check(
            "",
            "// a::b\n/* c::d /* e::f */ g::h */ \"i::j\\\" k::l\" r#\"m::n\"o::p\"# b'\"' '\\'' x::y",
            &["2:x::y"],
        );
        check("", "fn f<'a>(c: char) { c == '\"' || a::b == 'c' }", &["1:a::b"]);
        check("", "//! [`crate::web`]\n/// `tokio::spawn`\nstruct A;", &[]);
    }

    #[test]
    fn tests_are_cut_off() {
        assert_eq!(without_tests("a\n#[cfg(test)]\nmod tests {\n"), "a\n");
        assert_eq!(
            without_tests("a\n#[cfg(test)]\nfn b() {}\n"),
            "a\n#[cfg(test)]\nfn b() {}\n"
        );
    }
}
