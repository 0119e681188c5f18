//! Analysis: from text to terms, with the operator's dictionaries.
//!
//! [`Analyzer::analyze`] is the entry point; bank and queries pass through it alike. A text becomes a row of [`Unit`]s
//! (one Chinese character, or one whole Latin or digit run), from which character uni- and bigrams and sounds are
//! read, and a list of [`Word`]s. Synonyms are rewritten to the first member of their class before anything is read,
//! so both sides meet in every field. Stop words are left out of the words only.

mod cut;

pub use cut::Cut;

use super::pinyin::{Readings, Syllable};
use super::text;
use crate::bank::Dictionaries;
use jieba_rs::{Jieba, Token};
use rustc_hash::{FxBuildHasher, FxHashMap, FxHashSet};

/// Longest analysed query, in characters of the normalised text; what follows is ignored.
pub const MAX_CHARS: usize = 500;

/// Longest text that is normalised, in characters; four times [`MAX_CHARS`] leaves room for what normalising drops.
pub const MAX_READ_CHARS: usize = 4 * MAX_CHARS;

/// Normalisation, segmentation and word lists, ready for use; immutable, shared behind an `Arc`.
pub struct Analyzer {
    jieba: Jieba,
    stopwords: FxHashSet<String>,
    /// Normalised member to normalised first member of its class.
    synonyms: FxHashMap<String, String>,
    /// The keys of `synonyms`, sorted.
    members: Box<[String]>,
    contrast: ContrastGroups,
}

/// The field `units`: a Chinese character by its code, a run by a 30-bit hash below a bit that says of what it is a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Unit(pub u32);

/// The field `bigrams`: two units side by side, by a hash of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bigram(pub u32);

/// The field `words`: a word by the 32-bit hash of its text. Of 100,000 words in one bank about one pair shares a hash;
/// then a score is a little off, on every machine alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Word(pub u32);

/// The field `sounds`: two syllables side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SoundBigram(pub u32);

/// A member of a contrast group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names say it: positions in the operator's file")]
pub struct Contrasted {
    pub group: u16,
    pub member: u16,
}

/// What one text consists of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Analysis {
    /// As [`Analyzer::normalize`] gives it, with the operator's synonyms in place.
    pub text: String,
    /// In order, with repetitions.
    pub units: Vec<Unit>,
    /// Where each unit begins in `text`; as many as units.
    pub unit_starts: Vec<u32>,
    /// In order, without repetitions or stop words, long words followed by the words inside them.
    pub words: Vec<Word>,
    /// Byte ranges of the words in `text`.
    pub word_spans: Vec<(u32, u32)>,
    /// Members of contrast groups that the text names, sorted.
    pub contrasts: Vec<Contrasted>,
}

impl Contrasted {
    /// Both numbers in one; in the order of the pair.
    pub fn code(self) -> u32 {
        u32::from(self.group) << 16 | u32::from(self.member)
    }

    /// The group of a member with that code.
    pub fn group_of(code: u32) -> u16 {
        (code >> 16) as u16
    }
}

impl Analysis {
    /// The text of one unit.
    pub fn unit_text(&self, at: usize) -> &str {
        let start = self.unit_starts[at] as usize;
        let end = self
            .unit_starts
            .get(at + 1)
            .map_or(self.text.len(), |next| *next as usize);
        self.text[start..end].trim_end()
    }
}

impl Bigram {
    /// Of two neighbours.
    pub fn new(first: Unit, second: Unit) -> Self {
        // Fibonacci hashing of both codes, folded.
        let both = (u64::from(first.0) << 32 | u64::from(second.0)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self((both ^ both >> 32) as u32)
    }
}

impl SoundBigram {
    /// Of two neighbours.
    pub fn new(first: Syllable, second: Syllable) -> Self {
        Self((first.index() as u32) << 16 | second.index() as u32)
    }

    /// Every way in which two neighbouring units with such readings sound.
    pub fn of<'a>(first: &'a [Syllable], second: &'a [Syllable]) -> impl Iterator<Item = Self> + 'a {
        let pairs = first.iter();
        pairs.flat_map(move |first| second.iter().map(move |second| Self::new(*first, *second)))
    }
}

impl Word {
    /// Of a word, or of any text that is looked up as a whole.
    pub fn new(text: &str) -> Self {
        let hash = fnv(text);
        Self((hash ^ hash >> 32) as u32)
    }
}

impl Unit {
    const LETTERS: u32 = 1 << 31;
    const DIGITS: u32 = 1 << 30;

    /// Of one character or one run.
    pub fn new(text: &str) -> Self {
        let mut chars = text.chars();
        match (chars.next(), chars.next()) {
            (Some(c), None) if text::is_han(c) => Self(u32::from(c)),
            (first, _) => {
                let kind = if first.is_some_and(char::is_numeric) {
                    Self::DIGITS
                } else {
                    Self::LETTERS
                };
                Self(kind | (fnv(text) >> 34) as u32)
            }
        }
    }

    /// Of one Chinese character.
    pub fn of_char(c: char) -> Self {
        Self(u32::from(c))
    }

    /// `None` for a run.
    pub fn as_char(self) -> Option<char> {
        if self.is_number() || self.is_latin() {
            None
        } else {
            char::from_u32(self.0)
        }
    }

    /// Whether it is a run of digits.
    pub fn is_number(self) -> bool {
        self.0 & Self::DIGITS != 0
    }

    /// Whether it is a run of letters.
    pub fn is_latin(self) -> bool {
        self.0 & Self::LETTERS != 0
    }

    /// How it sounds; empty for runs and signs.
    pub fn readings(self) -> Readings {
        self.as_char().map(Readings::of).unwrap_or_default()
    }
}

impl Analyzer {
    /// Takes 0.1–0.3 s: it loads jieba's dictionary, anew each time, because one kept to be copied takes 32 MiB.
    pub fn new(dictionaries: &Dictionaries) -> Self {
        let mut jieba = Jieba::new();
        for user in &dictionaries.user {
            add_word(
                &mut jieba,
                &text::normalize(&user.word),
                user.frequency,
                user.tag.as_deref(),
            );
        }
        let groups = |groups: &[Vec<String>]| -> Vec<Vec<String>> {
            groups
                .iter()
                .map(|group| group.iter().map(|word| text::normalize(word)).collect())
                .collect()
        };
        let (synonyms, contrast) = (groups(&dictionaries.synonyms), groups(&dictionaries.contrast));
        for word in synonyms.iter().chain(&contrast).flatten() {
            add_word(&mut jieba, word, None, None);
        }
        let mut classes = FxHashMap::default();
        for class in &synonyms {
            for member in &class[1..] {
                classes.entry(member.clone()).or_insert_with(|| class[0].clone());
            }
        }
        let mut members: Vec<String> = classes.keys().cloned().collect();
        members.sort_unstable();
        Self {
            members: members.into(),
            stopwords: dictionaries
                .stopwords
                .iter()
                .map(|word| text::normalize(word))
                .collect(),
            contrast: ContrastGroups::new(&contrast, &classes),
            synonyms: classes,
            jieba,
        }
    }

    /// The text that decides whether two questions are the same; also the key of the match cache. Never shown. Of a very
    /// long text only the first [`MAX_READ_CHARS`] characters count.
    pub fn normalize(&self, text: &str) -> String {
        let end = text.char_indices().nth(MAX_READ_CHARS).map_or(text.len(), |(at, _)| at);
        text::normalize(&text[..end])
    }

    /// The terms of a text; of a very long one those of its first [`MAX_CHARS`] characters.
    pub fn analyze(&self, text: &str) -> Analysis {
        self.analyze_normalized(&self.normalize(text))
    }

    /// As [`Analyzer::analyze`], for a text that is normalised already.
    pub fn analyze_normalized(&self, normalized: &str) -> Analysis {
        let end = normalized
            .char_indices()
            .nth(MAX_CHARS)
            .map_or(normalized.len(), |(at, _)| at);
        let normalized = &normalized[..end];
        let tokens = self.jieba.cut(normalized, false);
        let text = self.with_synonyms(&tokens);
        let tokens = match &text {
            Some(text) => self.jieba.cut(text, false),
            None => tokens,
        };
        let text = text.as_deref().unwrap_or(normalized);
        let (mut unit_starts, mut codes) = (Vec::with_capacity(text.len() / 3), Vec::with_capacity(text.len() / 3));
        for (at, unit) in units(text) {
            unit_starts.push(at as u32);
            codes.push(Unit::new(unit));
        }
        let (word_spans, words) = self.words(text, &tokens);
        Analysis {
            contrasts: self.contrast.named(text),
            units: codes,
            unit_starts,
            words,
            word_spans,
            text: text.to_owned(),
        }
    }

    /// The words of a long text, sorted, each once: what an answer is matched by.
    pub fn vocabulary(&self, text: &str) -> Box<[Word]> {
        let normalized = text::normalize(text);
        let (_, mut words) = self.words(&normalized, &self.jieba.cut(&normalized, false));
        words.sort_unstable();
        words.into()
    }

    /// How a member of a contrast group is written, normalised.
    pub fn contrast_word(&self, contrasted: Contrasted) -> Option<&str> {
        let members = self.contrast.by_first.values().flatten();
        let mut found = members.filter(|(_, other)| *other == contrasted);
        found.next().map(|(word, _)| word.as_str())
    }

    /// Whether `word` is one the operator wants ignored.
    pub fn is_stopword(&self, word: &str) -> bool {
        self.stopwords.contains(word)
    }

    /// Members of synonym classes that begin with `text` and go on, as they are normalised, in order.
    pub fn synonyms_beginning<'a>(&'a self, text: &'a str) -> impl Iterator<Item = &'a str> {
        let start = self.members.partition_point(|member| member.as_str() <= text);
        let after = self.members[start..].iter().map(String::as_str);
        after.take_while(move |member| member.starts_with(text))
    }

    /// A normalised text with the first member of its class for every synonym.
    pub fn rewrite(&self, text: &str) -> String {
        let rewritten = self.with_synonyms(&self.jieba.cut(text, false));
        rewritten.unwrap_or_else(|| text.to_owned())
    }

    /// `None` when there is no synonym in it.
    fn with_synonyms(&self, tokens: &[Token<'_>]) -> Option<String> {
        let first = |token: &Token<'_>| self.synonyms.get(token.word);
        if self.synonyms.is_empty() || !tokens.iter().any(|token| first(token).is_some()) {
            return None;
        }
        let words = tokens
            .iter()
            .map(|token| first(token).map_or(token.word, String::as_str));
        Some(words.collect())
    }

    /// The words of `text`, which is cut into `tokens`: their places, and what they are.
    fn words(&self, text: &str, tokens: &[Token<'_>]) -> (Vec<(u32, u32)>, Vec<Word>) {
        let some = 2 * tokens.len();
        let (mut spans, mut words) = (Vec::with_capacity(some), Vec::with_capacity(some));
        let mut seen = FxHashSet::with_capacity_and_hasher(some, FxBuildHasher);
        let mut keep = |start: usize, end: usize| {
            let word = Word::new(&text[start..end]);
            if !self.stopwords.contains(&text[start..end]) && seen.insert(word) {
                spans.push((start as u32, end as u32));
                words.push(word);
            }
        };
        let mut parts: Vec<(usize, &str)> = Vec::new();
        let mut at = 0;
        for token in tokens {
            let (start, end) = (at, at + token.word.len());
            at = end;
            if !token.word.chars().any(|c| text::is_han(c) || c.is_alphanumeric()) {
                continue;
            }
            keep(start, end);
            parts.clear();
            parts.extend(units(token.word));
            let mixed = parts.iter().any(|(_, part)| part.len() > 1 && part.is_ascii());
            let longest = if parts.len() > 2 { parts.len() - 1 } else { 0 };
            for size in (1..=longest.min(3)).chain((longest == 0 && mixed && parts.len() == 2).then_some(1)) {
                for window in parts.windows(size) {
                    let (first, last) = (window[0], window[size - 1]);
                    let inner = &token.word[first.0..last.0 + last.1.len()];
                    let is_run = size == 1 && inner.is_ascii();
                    if is_run || (size > 1 && self.jieba.has_word(inner)) {
                        keep(start + first.0, start + first.0 + inner.len());
                    }
                }
            }
        }
        (spans, words)
    }
}

/// FNV-1a: the same on every machine, unlike the standard library's hasher.
fn fnv(text: &str) -> u64 {
    let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, fold)
}

/// Frequency 0 would make jieba ignore the word for ever, so the parser refuses it; an empty word would match anywhere.
fn add_word(jieba: &mut Jieba, word: &str, frequency: Option<usize>, tag: Option<&str>) {
    if !word.is_empty() {
        jieba.add_word(word, frequency, tag);
    }
}

/// The units of a normalised text with their byte offsets; spaces are left out.
pub fn units(text: &str) -> impl Iterator<Item = (usize, &str)> {
    #[derive(PartialEq, Clone, Copy)]
    enum Kind {
        Space,
        Single,
        Digits,
        Letters,
    }
    let kind = |c: char| match c {
        ' ' => Kind::Space,
        '.' | '%' => Kind::Digits,
        _ if text::is_han(c) => Kind::Single,
        _ if c.is_numeric() => Kind::Digits,
        _ => Kind::Letters,
    };
    let mut rest = text.char_indices().peekable();
    std::iter::from_fn(move || {
        loop {
            let (start, c) = rest.next()?;
            let first = kind(c);
            let mut end = start + c.len_utf8();
            while first != Kind::Single
                && let Some((at, next)) = rest.next_if(|(_, next)| kind(*next) == first)
            {
                end = at + next.len_utf8();
            }
            if first != Kind::Space {
                return Some((start, &text[start..end]));
            }
        }
    })
}

/// Finds the members of contrast groups in a text.
struct ContrastGroups {
    /// By first character: members, longest first.
    by_first: FxHashMap<char, Vec<(String, Contrasted)>>,
}

impl ContrastGroups {
    fn new(groups: &[Vec<String>], synonyms: &FxHashMap<String, String>) -> Self {
        let mut by_first: FxHashMap<char, Vec<(String, Contrasted)>> = FxHashMap::default();
        for (group, members) in groups.iter().enumerate() {
            for (member, word) in members.iter().enumerate() {
                let word = synonyms.get(word).unwrap_or(word);
                let Some(first) = word.chars().next() else { continue };
                let contrasted = Contrasted {
                    group: group as u16,
                    member: member as u16,
                };
                by_first.entry(first).or_default().push((word.clone(), contrasted));
            }
        }
        for members in by_first.values_mut() {
            members.sort_by(|a, b| b.0.len().cmp(&a.0.len()).then(a.1.cmp(&b.1)));
        }
        Self { by_first }
    }

    /// Sorted. A member inside a longer one is not named: 取消关注 does not name 关注.
    fn named(&self, text: &str) -> Vec<Contrasted> {
        let mut named = Vec::new();
        let mut at = 0;
        while let Some(c) = text[at..].chars().next() {
            let members = self.by_first.get(&c).map_or(&[][..], Vec::as_slice);
            let longest = members
                .iter()
                .find(|(word, _)| text[at..].starts_with(word.as_str()))
                .map(|(word, _)| word);
            if let Some(longest) = longest {
                named.extend(
                    members
                        .iter()
                        .filter(|(word, _)| word == longest)
                        .map(|(_, contrasted)| *contrasted),
                );
            }
            at += longest.map_or(c.len_utf8(), String::len);
        }
        named.sort_unstable();
        named.dedup();
        named
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bank::dictionary::UserWord;

    fn analyzer() -> Analyzer {
        let group = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        Analyzer::new(&Dictionaries {
            user: vec![UserWord {
                word: "Ｔ＋１".into(),
                frequency: None,
                tag: None,
            }],
            stopwords: group(&["的"]),
            synonyms: vec![group(&["北交所", "北京证券交易所"])],
            contrast: vec![group(&["关注", "取消关注"]), group(&["手机银行", "网银"])],
            sensitive: vec![],
        })
    }

    fn words(text: &str) -> Vec<String> {
        let analysis = analyzer().analyze(text);
        analysis
            .word_spans
            .iter()
            .map(|&(start, end)| analysis.text[start as usize..end as usize].to_owned())
            .collect()
    }

    #[test]
    fn operator_words_are_cut_whole_in_any_width() {
        assert_eq!(words("t+1的规则").first().map(String::as_str), Some("t+1"));
        assert!(!words("t+1的规则").contains(&"的".to_owned()), "a stop word");
        assert!(words("Ｔ＋１ 是什么").contains(&"t+1".to_owned()));
    }

    #[test]
    fn synonyms_meet_in_every_field() {
        let analyzer = analyzer();
        let (long, short) = (
            analyzer.analyze("北京证券交易所怎么开户"),
            analyzer.analyze("北交所如何开户？"),
        );
        assert_eq!(long, short);
    }

    #[test]
    fn runs_are_one_unit_each() {
        let cut = |text| units(text).map(|(_, unit)| unit).collect::<Vec<_>>();
        assert_eq!(cut("a股300etf涨5.5%"), ["a", "股", "300", "etf", "涨", "5.5%"]);
        assert_eq!(cut("apple pay"), ["apple", "pay"]);
    }

    #[test]
    fn the_longest_contrast_member_counts() {
        let named = |text| {
            analyzer()
                .analyze(text)
                .contrasts
                .iter()
                .map(|c| (c.group, c.member))
                .collect::<Vec<_>>()
        };
        assert_eq!(named("取消关注后还能用网银吗"), [(0, 1), (1, 1)]);
        assert_eq!(named("关注"), [(0, 0)]);
        assert_eq!(named("天气"), []);
    }
}
